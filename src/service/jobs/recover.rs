//! The job of a recovery: what Azure holds of ours comes back into the ledger, unsettled with its time passed, so that the reconcile
//! of each record asks Azure by name. A row that came back meanwhile by itself is left alone.

use crate::audit::{AuditEvent, AuditRecord};
use crate::id::{OpId, PrincipalId, UserId};
use crate::rbac::ledger::{AssignmentState, LedgerEntry};
use crate::service::bindings::active::{ActiveBindings, ActiveSnapshot};
use crate::service::jobs::chunk::ChunkResult;
use crate::service::join_reads::join_reads;
use crate::store::jobs::StoredJob;
use crate::store::ledger::{self, PrincipalHolder, StoredEntry};
use crate::store::reconcile_queue::{self, ReconcileRequest};
use crate::store::recovered_rows::{RecoveredRow, RecoveredRows};
use crate::store::{StateStore, StoreError, TableWrite};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Rows of one step: each is a row of a ledger and at most two of the queue.
const ROWS_A_STEP: usize = 25;

/// What one row of the plan makes of the state as it is now.
struct Recovered {
    user: UserId,
    write: TableWrite,
    change: AuditEvent,
    is_wanted: bool,
}

/// What all rows of one step share.
struct Step<'a> {
    store: &'a StateStore,
    snapshot: &'a ActiveSnapshot,
    op: OpId,
    now: OffsetDateTime,
}

/// Brings the next rows back, and enqueues their records.
pub(super) async fn bring_back(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    job: &StoredJob,
    rows: &RecoveredRows,
) -> Result<ChunkResult, StoreError> {
    let done: usize = job.after.parse().unwrap_or_default();
    let next: Vec<&RecoveredRow> = rows.0.iter().skip(done).take(ROWS_A_STEP).collect();
    if next.is_empty() {
        store.transact_unjournaled(&[job.end()]).await?;
        return Ok(ChunkResult::ended());
    }
    let snapshot = active_bindings.read(&store.pointer().await?).await?;
    let now = store.table_time().await?;
    let step = Step { store, snapshot: &snapshot, op: store.ids.op(), now };
    let advance = job.go_on_after(&(done + next.len()).to_string());
    let found = join_reads(next.into_iter().map(|row| step.recover(row))).await?;
    let found: Vec<Recovered> = found.into_iter().flatten().collect();
    if found.is_empty() {
        store.transact_unjournaled(&[advance]).await?;
        return Ok(ChunkResult::default());
    }
    let mut people: BTreeMap<UserId, bool> = BTreeMap::new();
    for Recovered { user, is_wanted, .. } in &found {
        *people.entry(*user).or_insert(true) &= is_wanted;
    }
    let revoked = rows.people_revoked();
    let mut writes = vec![advance];
    let mut changes = Vec::with_capacity(found.len());
    for Recovered { write, change, .. } in found {
        writes.push(write);
        changes.push(change);
    }
    writes.extend(
        people
            .iter()
            .flat_map(|(user, keeps)| reconcile_queue::enqueue_now(*user, &request(job, *keeps, revoked))),
    );
    let record = AuditRecord {
        op: step.op,
        time: store.clock.now(),
        origin: job.request.origin.clone(),
        request: None,
        stamp: None,
        outcome: None,
        changes,
    };
    store.commit(&record, writes).await?;
    Ok(ChunkResult { people: people.into_keys().collect(), ..ChunkResult::default() })
}

/// Of who keeps everything, or loses something with so many others: the breakers judge them together.
fn request(job: &StoredJob, keeps: bool, revoked: usize) -> ReconcileRequest {
    let origin = job.request.origin.clone();
    match keeps {
        true => ReconcileRequest::gain(origin),
        false => ReconcileRequest::taking_away(origin).of_operation(revoked),
    }
}

impl Step<'_> {
    async fn recover(&self, row: &RecoveredRow) -> Result<Option<Recovered>, StoreError> {
        match row {
            RecoveredRow::Pin { principal, user } => self.recover_pin(*principal, *user).await,
            RecoveredRow::Assignment { .. } => self.recover_assignment(row).await,
        }
    }

    async fn recover_pin(
        &self,
        principal: PrincipalId,
        user: UserId,
    ) -> Result<Option<Recovered>, StoreError> {
        let is_held = self.store.holder(principal).await? == PrincipalHolder::Record(user);
        if !is_held || self.store.has_pin(user, principal).await? {
            return Ok(None);
        }
        let write = ledger::pin_again(user, principal, self.op);
        let change = AuditEvent::PrincipalPinned { person: user, principal };
        Ok(Some(Recovered { user, write, change, is_wanted: true }))
    }

    async fn recover_assignment(&self, row: &RecoveredRow) -> Result<Option<Recovered>, StoreError> {
        let RecoveredRow::Assignment { principal, user, role, scope, assignment, is_wanted } = row else {
            return Ok(None);
        };
        let (principal, role, assignment) = (*principal, *role, *assignment);
        // A record that took the principal since the plan was made decides about what it holds.
        let user = match self.store.holder(principal).await? {
            PrincipalHolder::Record(holder) => holder,
            PrincipalHolder::Free => *user,
            PrincipalHolder::Unreadable => return Ok(None),
        };
        let stored = match self.store.ledger_entry(user, assignment).await {
            Err(StoreError::Corrupt { .. } | StoreError::TooNew { .. }) => return Ok(None),
            stored => stored?.value,
        };
        if stored.as_ref().is_some_and(|stored| !stored.entry.is_settled_and_gone()) {
            return Ok(None);
        }
        let bindings = match self.snapshot {
            // One of them gave it, and which one is not known.
            ActiveSnapshot::Known(snapshot) => snapshot.bindings.giving(role, scope),
            ActiveSnapshot::Absent | ActiveSnapshot::Unreadable => Vec::new(),
        };
        let new = LedgerEntry::never_opened(assignment, principal, role, scope.clone(), self.op, self.now);
        let entry =
            LedgerEntry { state: AssignmentState::Present, unsettled_until: Some(self.now), bindings, ..new };
        let over = stored.as_ref().map(|StoredEntry { etag, kept, .. }| (etag, Some(kept)));
        let write = ledger::write(user, &entry, over);
        let scope = scope.clone();
        let change = AuditEvent::AssignmentRecovered { person: user, principal, role, scope, assignment };
        Ok(Some(Recovered { user, write, change, is_wanted: *is_wanted }))
    }
}
