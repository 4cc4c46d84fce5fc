//! `pause` and `resume`.

use crate::audit::AuditEvent;
use crate::orders::Order;
use crate::service::orders::{OrderDecision, OrderEffect, OrderRefusal, Orders, job_of};
use crate::store::StoreError;
use crate::store::jobs::JobKind;
use crate::store::levers::{self, LeverOrder};
use time::OffsetDateTime;

impl Orders {
    pub(super) async fn pause(
        &self,
        order: &Order,
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
    pub(super) async fn resume(&self, order: &Order) -> Result<OrderDecision, StoreError> {
        let Some(pause) = self.store.levers().await?.pause else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NotPaused));
        };
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: vec![levers::resume(&pause), job_of(order, JobKind::WakeWaiting)],
            changes: vec![AuditEvent::PauseChanged { paused: false }],
            detail: "resumed: everyone who waits is reconciled".to_owned(),
        }))
    }
}

/// What the row of a lever says.
pub(super) fn lever_of(order: &Order, since: OffsetDateTime) -> LeverOrder {
    LeverOrder { order: order.id, who: order.who.clone(), because: order.because.clone(), since }
}
