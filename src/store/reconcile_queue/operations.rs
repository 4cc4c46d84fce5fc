//! What the queue says of operations on several people: whether they still go through them.

use crate::id::{GroupId, OpId, UserId};
use crate::rbac::breaker::TakenBy;
use crate::store::reconcile_queue::{QueuedRequest, ReconcileRequest};
use crate::store::{StateStore, StoreError, keys};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Operations that were begun after a time, each by its own id or by that of a part that was judged apart.
#[derive(Debug, Clone)]
pub struct OperationsSince {
    pub ops: BTreeSet<OpId>,
    pub since: OffsetDateTime,
}

impl OperationsSince {
    /// Whether a request is one of theirs. `part`: the part of its operation that is judged apart.
    fn made(&self, request: &ReconcileRequest, part: OpId) -> bool {
        // The id of a part says no time: it is as old as the request.
        let begun = |op: OpId| op.time().or_else(|| request.origin.op.time());
        let is_new = |op: &OpId| begun(*op).is_some_and(|begun| begun > self.since);
        let ops = [Some(request.origin.op), Some(part), request.taken.map(|taken| taken.op)];
        ops.into_iter().flatten().filter(is_new).any(|op| self.ops.contains(&op))
    }
}

impl StateStore {
    /// Everyone who waits to be reconciled now.
    pub async fn waiting_people(&self) -> Result<Vec<UserId>, StoreError> {
        let mut people = Vec::new();
        self.each_row("d:", |row| {
            let user = UserId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row));
            people.extend(self.readable(row, user));
        })
        .await?;
        Ok(people)
    }

    /// Whether a fan-out of one of these operations has not met everyone yet.
    pub async fn has_fan_out_of(&self, operations: &OperationsSince) -> Result<bool, StoreError> {
        let mut found = false;
        self.each_row("dg:", |row| {
            let group = GroupId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row));
            let request = self.readable(row, ReconcileRequest::read_row(row));
            if let (Some(group), Some(request)) = (self.readable(row, group), request) {
                let part = TakenBy::people_of_group(request.origin.op, group, 1).op;
                found |= operations.made(&request, part);
            }
        })
        .await?;
        Ok(found)
    }

    /// Whether anyone but these waits to be reconciled because of one of these operations.
    pub async fn has_request_of(
        &self,
        operations: &OperationsSince,
        but: &BTreeSet<UserId>,
    ) -> Result<bool, StoreError> {
        let mut found = false;
        self.each_row("d:", |row| {
            if let Some(QueuedRequest { user, request, .. }) = self.readable(row, QueuedRequest::read(row)) {
                let part = TakenBy::one_person(request.origin.op, user).op;
                found |= !but.contains(&user) && operations.made(&request, part);
            }
        })
        .await?;
        Ok(found)
    }
}
