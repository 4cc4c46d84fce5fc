//! `pause` and `resume`.

use crate::audit::AuditEvent;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::store::StoreError;
use crate::store::jobs::JobKind;
use crate::store::levers::{self, LeverOrder};
use crate::store::reconcile_queue::Priority;
use time::OffsetDateTime;

impl Orders {
    pub(super) async fn pause(
        &self,
        order: &CarriedOrder<'_>,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        if self.store.levers().await?.pause.is_some() {
            return Ok(OrderDecision::Refuse(OrderRefusal::Paused));
        }
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: vec![levers::pause(&lever_of(order, now))],
            changes: vec![AuditEvent::PauseChanged { paused: true }],
            detail: "paused: people who leave still lose their roles".to_owned(),
        }))
    }

    /// Everyone who waits is reconciled now.
    pub(super) async fn resume(&self, order: &CarriedOrder<'_>) -> Result<OrderDecision, StoreError> {
        let Some(pause) = self.store.levers().await?.pause else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NotPaused));
        };
        // It waited while the state was restored, or began anew: whoever gave it did not know of this pause.
        let id = order.order.id;
        // Ids have the clocks of operators, of which one may be fast; when the pause began is of the table's.
        let is_older = |by: &LeverOrder| id < by.order && id.time().is_some_and(|given| given < by.since);
        if pause.set_by.as_ref().is_some_and(is_older) {
            return Ok(OrderDecision::Refuse(OrderRefusal::BeforePause));
        }
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: vec![levers::resume(&pause), order.job(JobKind::WakeWaiting, Priority::Gain)],
            changes: vec![AuditEvent::PauseChanged { paused: false }],
            detail: "resumed: everyone who waits is reconciled".to_owned(),
        }))
    }
}

/// What the row of a lever says.
pub(super) fn lever_of(order: &CarriedOrder<'_>, since: OffsetDateTime) -> LeverOrder {
    LeverOrder { order: order.order.id, since }
}
