//! `breaker release` and `breaker reject`: what becomes of a batch.

use crate::audit::AuditEvent;
use crate::id::OpId;
use crate::rbac::breaker::BatchKind;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::store::StoreError;
use crate::store::batches::{self, BatchDecision, BatchRow, BatchState};
use crate::store::jobs::JobKind;
use crate::store::reconcile_queue::Priority;
use time::OffsetDateTime;

impl Orders {
    /// The batch says what becomes of its people, if they are those whom the operator read; a job makes each of them be
    /// reconciled. A released batch can no longer be rejected, and a rejected one can still be released.
    pub(super) async fn decide_batch(
        &self,
        order: &CarriedOrder<'_>,
        (id, people): (OpId, &str),
        state: BatchState,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        let batch = match self.store.batch_row(id).await? {
            BatchRow::Known(batch) => batch,
            BatchRow::Absent => return Ok(OrderDecision::Refuse(OrderRefusal::NoSuchBatch)),
            BatchRow::Unreadable => return Ok(OrderDecision::Refuse(OrderRefusal::BatchUnreadable)),
        };
        if batch.state == state || batch.state == BatchState::Released {
            let decision = batch.state.as_str();
            return Ok(OrderDecision::Refuse(OrderRefusal::DecidedAlready { decision }));
        }
        if self.store.batch_people(id).await?.hash != people {
            return Ok(OrderDecision::Refuse(OrderRefusal::BatchMoved { batch: id }));
        }
        let decision = BatchDecision { order: order.order.id, at: now };
        // Leavers come before what was released.
        let priority = match (state, batch.kind) {
            (BatchState::Released, BatchKind::Revocations) => Priority::Rebinding,
            _ => Priority::Gain,
        };
        let what = batch.kind.as_str();
        let detail = match state {
            BatchState::Rejected => format!("rejected: the {what} of the batch stay undone"),
            BatchState::Held | BatchState::Released => format!("released: the {what} of the batch are sent"),
        };
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: vec![
                batches::decide(&batch, state, &decision),
                order.job(JobKind::PeopleOfBatch(id), priority),
            ],
            changes: vec![AuditEvent::BatchDecided { batch: id, decision: state.as_str() }],
            detail,
        }))
    }
}
