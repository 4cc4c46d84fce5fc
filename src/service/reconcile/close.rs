//! Close: what the answers mean, written in one transaction; and what happens where that transaction meets a change.

use crate::audit::AuditEvent;
use crate::events::log_event;
use crate::id::OpId;
use crate::ports::role_assignments::{EFFECTIVE_AFTER, RejectionReason};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, PendingStep, RetryState, StepKind};
use crate::rbac::plan::{self, Plan};
use crate::rbac::{AssignmentName, ReasonCode};
use crate::service::reconcile::calls::{CallOutcome, CompletedCall};
use crate::service::reconcile::gather::GatheredState;
use crate::service::reconcile::open::pin_writes;
use crate::service::reconcile::reconciler::Reconciler;
use crate::service::reconcile::refusal::reason_of;
use crate::service::reconcile::requeue::{
    FREED_MAX, RoundResult, is_wanted_again, requeue_writes, while_frozen, while_principals_are_left,
    while_unreadable,
};
use crate::store::ledger::{PrincipalPin, StoredEntry};
use crate::store::reconcile_queue::leaver_hints;
use crate::store::reconcile_queue::{self, ReconcileRequest};
use crate::store::users::HeaderState;
use crate::store::{ETag, StoreError, TableAnswer, TableWrite, ledger};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Attempts at writing a row that another process keeps changing.
const MARK_TRIES: u32 = 10;
/// When it is tried again after those.
const MARK_RETRY: Duration = Duration::from_secs(30);

/// Rows of the ledger that one close writes: the rest of what only tidies comes with the next one.
const CLOSE_ROWS_MAX: usize = 48;

/// A row as the close wants it, and the version it must meet.
struct Rewrite {
    entry: LedgerEntry,
    etag: Option<ETag>,
    /// What this worker sent for it, if it did.
    kind: Option<StepKind>,
    /// The answer settles it.
    settles: bool,
    change: Option<AuditEvent>,
}

impl Reconciler {
    /// `request_etag` is the version of `d:` that the open (or the gather) got.
    pub(super) async fn close(
        &self,
        gathered: &GatheredState,
        plan: &Plan,
        acted: Vec<CompletedCall>,
        request_etag: ETag,
        opened: bool,
    ) -> Result<RoundResult, StoreError> {
        let now = gathered.time.now(self.store.clock.monotonic());
        let mut rewrites = self.rewrites(gathered, plan, acted, now);
        add_holds(gathered, &mut rewrites, now);
        let after = entries_after(gathered, &rewrites);
        let waits =
            plan::pending_steps(&gathered.desired, &after, &plan.deferred, &gathered.ledger.waits, now);
        let op = self.store.ids.op();
        let mut changes: Vec<AuditEvent> =
            rewrites.iter().filter_map(|rewrite| rewrite.change.clone()).collect();
        changes.extend(wait_changes(gathered, &waits));
        let mut writes: Vec<TableWrite> = Vec::new();
        let freed = principals_to_free(gathered, &after);
        let again = plan::requeue_at(&gathered.desired, &after, &plan.deferred, &waits);
        let again = while_unreadable(gathered, while_frozen(gathered, again, now), now);
        let again = while_principals_are_left(again, freed.len(), now);
        let closed = requeue_writes(gathered, plan, &after, again, request_etag, now, &mut writes);
        writes.extend(
            rewrites
                .iter()
                .map(|rewrite| gathered.ledger.write(gathered.user, &rewrite.entry, rewrite.etag.as_ref())),
        );
        writes.extend(gathered.batch_writes(&after, now));
        if gathered.ledger.waits_are_damaged || comparable(&waits) != comparable(&gathered.ledger.waits) {
            writes.extend(ledger::write_waits(gathered.user, &waits, gathered.ledger.waits_etag.as_ref()));
        }
        if !opened {
            writes.extend(pin_writes(&gathered.selector_pins, op, &mut changes));
        }
        if closed != RoundResult::Continue && is_wanted_again(gathered, &after) {
            writes.extend(leaver_hints::hint_over_unless_written(gathered.user, &writes));
        }
        if closed != RoundResult::Continue {
            for pin in freed.into_iter().take(FREED_MAX) {
                writes.extend(self.store.unpin(gathered.user, pin).await?);
                let person = gathered.user;
                let principal = pin.principal;
                changes.push(AuditEvent::PrincipalReleased { person, principal });
            }
        }
        let logged = changes.clone();
        match self.write(gathered, op, changes, writes).await {
            Err(StoreError::Conflict { .. }) => {
                self.close_row_by_row(gathered, with_earlier_holds(gathered, rewrites)).await?;
                Ok(RoundResult::Continue)
            }
            Err(error) => Err(error),
            Ok(()) => {
                logged.iter().for_each(|change| log_change(gathered, change, now));
                Ok(closed)
            }
        }
    }

    async fn write(
        &self,
        gathered: &GatheredState,
        op: OpId,
        changes: Vec<AuditEvent>,
        writes: Vec<TableWrite>,
    ) -> Result<(), StoreError> {
        match (writes.is_empty(), changes.is_empty()) {
            (true, _) => Ok(()),
            // Every write has its condition, so repeating it is safe without a proof.
            (false, true) => self.store.transact_unjournaled(&writes).await.map(|_| ()),
            (false, false) => {
                self.store.commit(&self.record(gathered, op, changes), writes).await.map(|_| ())
            }
        }
    }

    fn rewrites(
        &self,
        gathered: &GatheredState,
        plan: &Plan,
        acted: Vec<CompletedCall>,
        now: OffsetDateTime,
    ) -> Vec<Rewrite> {
        let mut rewrites: Vec<Rewrite> =
            acted.into_iter().map(|call| self.rewrite_after(call, gathered, now)).collect();
        for settle in &plan.settled {
            let stored = gathered
                .ledger
                .entries
                .iter()
                .find(|stored| stored.entry.assignment == settle.entry.assignment);
            let open = settle.entry.op;
            let person = gathered.user;
            let LedgerEntry { principal, assignment, .. } = settle.entry;
            let observed = |held| AuditEvent::EffectObserved { person, principal, assignment, open, held };
            let change = settle.observed.map(observed);
            let before = stored.map(|stored| &stored.entry);
            let change = change
                .or_else(|| foreign_change(before, &settle.entry))
                .or_else(|| reasons_change(before, &settle.entry))
                .or_else(|| released_change(before, &settle.entry));
            let etag = stored.map(|stored| stored.etag.clone());
            rewrites.push(Rewrite { entry: settle.entry.clone(), etag, kind: None, settles: true, change });
        }
        rewrites
    }

    /// What an answer makes of the row that the open wrote.
    fn rewrite_after(&self, call: CompletedCall, gathered: &GatheredState, now: OffsetDateTime) -> Rewrite {
        let CompletedCall { opened, outcome, correlation } = call;
        let kind = opened.step.kind;
        let settles = opened.step.settles && !matches!(outcome, CallOutcome::Unknown);
        let cause = Some(gathered.actual.requested_by);
        let before = if opened.step.held_before { AssignmentState::Present } else { AssignmentState::Gone };
        let open = opened.entry.op;
        let mut entry = LedgerEntry {
            correlation: correlation.clone().or(opened.entry.correlation.clone()),
            ..opened.entry
        };
        entry = match &outcome {
            CallOutcome::Created | CallOutcome::Deleted => {
                LedgerEntry { retry: None, ..entry }.becoming(entry_goal(kind), now)
            }
            CallOutcome::HeldBy(other) => {
                let not_before = now + self.limits.plan.foreign_look;
                let retry = RetryState {
                    kind,
                    attempts: 1,
                    not_before,
                    reason: ReasonCode::ForeignAssignment,
                    cause,
                };
                LedgerEntry { retry: Some(retry), ..entry }
                    .becoming(AssignmentState::HeldByOther(*other), now)
            }
            CallOutcome::Throttled(wait) => {
                let attempts = entry.retry.as_ref().map_or(1, |retry| retry.attempts);
                let retry = RetryState {
                    kind,
                    attempts,
                    not_before: now + *wait,
                    reason: ReasonCode::Throttled,
                    cause,
                };
                LedgerEntry { retry: Some(retry), ..entry }.becoming(before, now)
            }
            CallOutcome::Rejected { reason: RejectionReason::ScopeNotFound, .. }
                if kind == StepKind::Revoke =>
            {
                LedgerEntry { retry: None, ..entry }.becoming(AssignmentState::Gone, now)
            }
            CallOutcome::Rejected { reason, .. } => {
                entry.becoming(before, now).failed(kind, reason_of(*reason), now, cause)
            }
            CallOutcome::Unknown => entry.failed(kind, ReasonCode::NoAnswer, now, cause),
        };
        if settles {
            entry.unsettled_until = None;
        } else if !matches!(outcome, CallOutcome::Unknown) {
            // Earlier calls may still land: what is wanted stays, and Azure is asked after the row's time.
            entry.state = entry_goal(kind);
        }
        if entry.is_settled_and_gone() {
            entry.unwanted_since = None;
        }
        let code = code_of(&outcome);
        let answered = AuditEvent::EffectAnswered {
            person: gathered.user,
            principal: entry.principal,
            assignment: entry.assignment,
            operation: kind,
            open,
            executed: code.is_none(),
            code,
            correlation,
        };
        let change = (!matches!(outcome, CallOutcome::Unknown)).then_some(answered);
        Rewrite { entry, etag: Some(opened.etag), kind: Some(kind), settles, change }
    }

    /// The close met a change. Where only `d:` changed, a row is settled under its own version and `d:` is left alone; a
    /// row that changed, or that may not be settled, is written again, unsettled, together with `d:`.
    async fn close_row_by_row(
        &self,
        gathered: &GatheredState,
        rewrites: Vec<Rewrite>,
    ) -> Result<(), StoreError> {
        for rewrite in rewrites.into_iter().filter(|rewrite| rewrite.kind.is_some()) {
            let op = self.store.ids.op();
            if rewrite.settles {
                let written = gathered.ledger.write(gathered.user, &rewrite.entry, rewrite.etag.as_ref());
                let mut writes = vec![written];
                writes.extend(self.request_after_grant(gathered, &rewrite).await?);
                let changes = rewrite.change.clone().into_iter().collect();
                match self.store.commit(&self.record(gathered, op, changes), writes).await {
                    Ok(_) => continue,
                    Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.requeue_row(gathered, &rewrite).await?;
        }
        Ok(())
    }

    /// A grant was answered after `d:` was gone: a reconcile meanwhile may have found nothing yet in Azure, so the person is
    /// reconciled again now, as at a leaver.
    async fn request_after_grant(
        &self,
        gathered: &GatheredState,
        rewrite: &Rewrite,
    ) -> Result<Vec<TableWrite>, StoreError> {
        let granted =
            rewrite.kind == Some(StepKind::Grant) && rewrite.entry.state == AssignmentState::Present;
        if !granted || self.store.has_request(gathered.user).await? {
            return Ok(Vec::new());
        }
        let touch = self.store.ids.op().to_string();
        Ok(reconcile_queue::enqueue_again(
            gathered.user,
            &ReconcileRequest::leaver(gathered.request.request.origin.clone()),
            false,
            &touch,
        ))
    }

    async fn requeue_row(&self, gathered: &GatheredState, rewrite: &Rewrite) -> Result<(), StoreError> {
        for _ in 0..MARK_TRIES {
            let TableAnswer { value, date } =
                self.store.ledger_entry(gathered.user, rewrite.entry.assignment).await?;
            let Some(StoredEntry { mut entry, etag, kept }) = value else { return Ok(()) };
            entry.unsettled_until = entry.unsettled_until.or(Some(date));
            entry.written = date;
            let granted = rewrite.kind == Some(StepKind::Grant);
            let mut writes = vec![ledger::write(gathered.user, &entry, Some((&etag, Some(&kept))))];
            writes.extend(self.touch_or_enqueue(gathered, granted).await?);
            let op = self.store.ids.op();
            let changes = rewrite.change.clone().into_iter().collect();
            match self.store.commit(&self.record(gathered, op, changes), writes).await {
                Err(StoreError::Conflict { .. }) => {}
                other => return other.map(|_| ()),
            }
        }
        Err(StoreError::Away { retry_after: MARK_RETRY, source: None })
    }

    /// A request that is there is only touched, and its cause stays. If it is gone, this reconcile's own is written again.
    /// After a grant it takes away: what was sent may be unwanted by now.
    async fn touch_or_enqueue(
        &self,
        gathered: &GatheredState,
        granted: bool,
    ) -> Result<Vec<TableWrite>, StoreError> {
        let there = self.store.has_request(gathered.user).await?;
        let touch = self.store.ids.op().to_string();
        let own = &gathered.request.request;
        let request = if granted { &ReconcileRequest::leaver(own.origin.clone()) } else { own };
        Ok(reconcile_queue::enqueue_again(gathered.user, request, there, &touch))
    }
}

/// Through which groups a person has an assignment; nothing where it is not wanted.
fn why_granted(gathered: &GatheredState, assignment: AssignmentName) -> String {
    let wanted = gathered.desired.grants.get(&assignment);
    let reasons = wanted.into_iter().flat_map(|wanted| &wanted.reasons).map(ToString::to_string);
    reasons.collect::<Vec<_>>().join("; ")
}

/// One log line for each thing that came of a round.
fn log_change(gathered: &GatheredState, change: &AuditEvent, now: OffsetDateTime) {
    let user = gathered.user;
    let label = gathered.request.request.origin.label();
    match change {
        AuditEvent::EffectAnswered { assignment, operation, executed, code, .. } => {
            let because = why_granted(gathered, *assignment);
            // The clocks of the audit: received, confirmed by Azure, in force everywhere.
            let received = gathered.request.request.origin.op.time().filter(|_| *executed);
            let confirmed = received.map(|at| Duration::try_from(now - at).unwrap_or_default());
            log_event!(
                StepAnswered, user.id = %user, assignment.name = %assignment, operation = operation.as_str(),
                token.label = label, executed, code, because,
                confirmed_ms = confirmed.map(millis), effective_ms = confirmed.map(|at| millis(at + EFFECTIVE_AFTER)),
                "ARM answered a {}", operation.as_str()
            );
        }
        AuditEvent::EffectObserved { assignment, held, .. } => {
            tracing::info!(user.id = %user, assignment.name = %assignment, held, "ARM was asked for the role assignment by name");
        }
        AuditEvent::WaitChanged { binding, operation, reason, .. } => {
            let reason = reason.map_or("ended", ReasonCode::as_str);
            let operation = operation.as_str();
            log_event!(WaitChanged, user.id = %user, binding = %binding, operation, token.label = label, reason, "pending {operation} changed"
            );
        }
        _ => {}
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// The code of an answer that did not execute the call.
fn code_of(outcome: &CallOutcome) -> Option<String> {
    match outcome {
        CallOutcome::HeldBy(_) => Some("RoleAssignmentExists".to_owned()),
        CallOutcome::Throttled(_) => Some("TooManyRequests".to_owned()),
        CallOutcome::Rejected { code, .. } => Some(code.clone()),
        CallOutcome::Created | CallOutcome::Deleted | CallOutcome::Unknown => None,
    }
}

fn entry_goal(kind: StepKind) -> AssignmentState {
    if kind == StepKind::Grant { AssignmentState::Present } else { AssignmentState::Gone }
}

/// Holds that begin, and those that end. What begins was no step of this round, so no other rewrite is about it but one that says
/// since when it is unwanted.
fn add_holds(gathered: &GatheredState, rewrites: &mut Vec<Rewrite>, now: OffsetDateTime) {
    let begins = gathered.held_entries(now);
    rewrites.retain(|rewrite| begins.iter().all(|(entry, _)| entry.assignment != rewrite.entry.assignment));
    for rewrite in rewrites.iter_mut() {
        rewrite.entry.hold = gathered.hold_after(&rewrite.entry);
    }
    let rewrite = |entry: LedgerEntry, change| {
        let stored =
            gathered.ledger.entries.iter().find(|stored| stored.entry.assignment == entry.assignment);
        let etag = stored.map(|stored| stored.etag.clone());
        Rewrite { entry, etag, kind: None, settles: true, change }
    };
    rewrites.extend(begins.into_iter().map(|(entry, change)| rewrite(entry, Some(change))));
    let written: BTreeSet<AssignmentName> = rewrites.iter().map(|rewrite| rewrite.entry.assignment).collect();
    let others = gathered.ledger.entries.iter().map(|stored| &stored.entry);
    let ended = others
        .filter(|entry| !written.contains(&entry.assignment) && entry.hold != gathered.hold_after(entry));
    let room = CLOSE_ROWS_MAX.saturating_sub(rewrites.len());
    let ended: Vec<Rewrite> =
        ended.take(room).map(|entry| rewrite(LedgerEntry { hold: None, ..entry.clone() }, None)).collect();
    rewrites.extend(ended);
}

/// The rows as they were held before: a hold ends together with the person's row in its batch.
fn with_earlier_holds(gathered: &GatheredState, rewrites: Vec<Rewrite>) -> Vec<Rewrite> {
    let earlier = |entry: &LedgerEntry| {
        let stored =
            gathered.ledger.entries.iter().find(|stored| stored.entry.assignment == entry.assignment);
        stored.and_then(|stored| stored.entry.hold)
    };
    let with_hold = |rewrite: Rewrite| {
        let hold = earlier(&rewrite.entry);
        Rewrite { entry: LedgerEntry { hold, ..rewrite.entry }, ..rewrite }
    };
    rewrites.into_iter().map(with_hold).collect()
}

fn entries_after(gathered: &GatheredState, rewrites: &[Rewrite]) -> Vec<LedgerEntry> {
    let mut all: BTreeMap<_, LedgerEntry> = gathered
        .ledger
        .entries
        .iter()
        .map(|stored| (stored.entry.assignment, stored.entry.clone()))
        .collect();
    for rewrite in rewrites {
        all.insert(rewrite.entry.assignment, rewrite.entry.clone());
    }
    all.into_values().collect()
}

fn foreign_change(before: Option<&LedgerEntry>, after: &LedgerEntry) -> Option<AuditEvent> {
    let holder = |entry: &LedgerEntry| match entry.state {
        AssignmentState::HeldByOther(other) => Some(other),
        _ => None,
    };
    let assignment = after.assignment;
    let before = before.and_then(holder);
    let after = holder(after);
    (before != after).then_some(AuditEvent::ForeignAssignmentChanged { assignment, before, after })
}

/// The assignment stays, for other reasons than before.
fn reasons_change(before: Option<&LedgerEntry>, after: &LedgerEntry) -> Option<AuditEvent> {
    let before = before?;
    (before.bindings != after.bindings).then(|| AuditEvent::AssignmentBindingsChanged {
        assignment: after.assignment,
        before: before.bindings.clone(),
        after: after.bindings.clone(),
    })
}

/// The row is closed without a call: its principal is another record's.
fn released_change(before: Option<&LedgerEntry>, after: &LedgerEntry) -> Option<AuditEvent> {
    let was_held = before.is_some_and(|before| !before.is_settled_and_gone());
    (was_held && after.is_settled_and_gone())
        .then_some(AuditEvent::AssignmentHandedOver { assignment: after.assignment })
}

/// What a wait is about, without the times that move by themselves.
fn comparable(waits: &[PendingStep]) -> Vec<(String, &'static str, u32, OffsetDateTime)> {
    let name = |wait: &PendingStep| {
        format!("{}|{}|{}|{}", wait.binding, wait.role, wait.scope.folded(), wait.wanted)
    };
    waits.iter().map(|wait| (name(wait), wait.reason.as_str(), wait.attempts, wait.not_before)).collect()
}

/// Refusals and waits that began, changed or ended.
fn wait_changes(gathered: &GatheredState, after: &[PendingStep]) -> Vec<AuditEvent> {
    let before = &gathered.ledger.waits;
    let same = |list: &[PendingStep], wait: &PendingStep, reason: bool| {
        list.iter().any(|other| {
            let same = other.is_for(&wait.binding, wait.role, &wait.scope) && other.wanted == wait.wanted;
            same && (!reason || other.reason == wait.reason)
        })
    };
    let change = |wait: &PendingStep, reason| AuditEvent::WaitChanged {
        person: gathered.user,
        binding: wait.binding.clone(),
        operation: if wait.wanted { StepKind::Grant } else { StepKind::Revoke },
        reason,
    };
    let began =
        after.iter().filter(|wait| !same(before, wait, true)).map(|wait| change(wait, Some(wait.reason)));
    let ended = before.iter().filter(|wait| !same(after, wait, false)).map(|wait| change(wait, None));
    began.chain(ended).collect()
}

/// A principal is freed where the record is gone or no longer has that id, and every row of both is settled and gone; a row
/// that cannot be read may be one of them.
fn principals_to_free<'a>(gathered: &'a GatheredState, after: &[LedgerEntry]) -> Vec<&'a PrincipalPin> {
    let may_free = |pin: &&PrincipalPin| {
        let same = gathered.desired.frozen || gathered.principal == Some(pin.principal);
        let named = match gathered.header {
            HeaderState::Gone => false,
            HeaderState::Unreadable => true,
            HeaderState::Readable(_) => same,
        };
        let busy = after.iter().any(|entry| entry.principal == pin.principal && !entry.is_settled_and_gone());
        !named && !busy && gathered.ledger.rows_unreadable == 0
    };
    gathered.ledger.pins.iter().filter(may_free).collect()
}

#[cfg(test)]
mod tests;
