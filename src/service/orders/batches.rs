//! `breaker release` and `breaker reject`: what becomes of a batch.

use crate::audit::AuditEvent;
use crate::id::{OpId, UserId};
use crate::rbac::breaker::{BatchKind, OpVerdict};
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::store::StoreError;
use crate::store::batches::{self, BatchDecision, BatchRow, BatchState, StoredBatch};
use crate::store::holds::BatchPeople;
use crate::store::jobs::JobKind;
use crate::store::reconcile_queue::{OperationsSince, Priority};
use std::collections::BTreeSet;
use time::{Duration, OffsetDateTime};

/// How long a batch waits for the operations that it holds people of.
const GROWS_FOR: Duration = Duration::HOUR;
/// The latest of them, which are asked for.
const GROWING_OPS_MAX: usize = 100;

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
        let read = self.store.batch_people(id).await?;
        if self.may_grow(&batch, &read, now).await? {
            return Ok(OrderDecision::Refuse(OrderRefusal::BatchGrows));
        }
        if read.hash != people {
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

    /// Whether an operation that the batch holds still goes through its people, by a job, by fan-outs or by requests: those who
    /// are not in the batch yet belong to it, and the operator has not read them. One that has gone on for long does not keep the
    /// batch from being decided; people of it who come later are judged afresh.
    async fn may_grow(
        &self,
        batch: &StoredBatch,
        read: &BatchPeople,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let since = now - GROWS_FOR;
        let mut ops: BTreeSet<OpId> =
            read.people.iter().filter_map(|person| Some(person.cause.as_ref()?.op)).collect();
        let is_new = |op: &&OpId| op.time().is_some_and(|made| made > since);
        for op in ops.iter().rev().filter(is_new).take(GROWING_OPS_MAX) {
            if self.store.has_job(*op).await? {
                return Ok(true);
            }
        }
        ops.extend(self.ops_held_in(batch).await?);
        let operations = OperationsSince { ops, since };
        let listed: BTreeSet<UserId> = read.people.iter().map(|person| person.user).collect();
        Ok(self.store.has_fan_out_of(&operations).await?
            || self.store.has_request_of(&operations, &listed).await?)
    }

    /// The operations that the tallies say are held in a batch: one that was judged a moment ago may have nobody in it yet.
    async fn ops_held_in(&self, batch: &StoredBatch) -> Result<Vec<OpId>, StoreError> {
        let mut judged = self.store.tally_of_all().await?.tally.map(|all| all.ops).unwrap_or_default();
        for name in &batch.bindings {
            judged.extend(self.store.tally(name).await?.tally.map(|tally| tally.ops).unwrap_or_default());
        }
        let held = judged.into_iter().filter(|judged| judged.verdict == OpVerdict::Held(batch.id));
        Ok(held.map(|judged| judged.op).collect())
    }
}
