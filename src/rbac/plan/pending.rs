//! What a round leaves waiting, and when to reconcile again.

use crate::rbac::ledger::{AssignmentState, LedgerEntry, PendingStep, StepKind, pause};
use crate::rbac::plan::model::{BlockedGrant, DeferredStep, Desired};
use crate::rbac::{BackupRole, BindingName, ReasonCode, Scope};
use time::OffsetDateTime;

/// The list of what cannot be had, or taken, for now, after a round. `before` is the list of the round before: what is on
/// both keeps its `since`, whatever the reason is now, and its pause grows once it is over.
pub fn pending_steps(
    desired: &Desired,
    after: &[LedgerEntry],
    deferred: &[DeferredStep],
    before: &[PendingStep],
    now: OffsetDateTime,
) -> Vec<PendingStep> {
    let mut pending = Vec::new();
    for blocked in &desired.blocked {
        pending.push(refusal(blocked, before, now));
    }
    pending.extend(late_revocations(after, deferred, before, now));
    for (name, wanted) in &desired.grants {
        let failed =
            after.iter().find(|entry| entry.assignment == *name).and_then(|entry| entry.retry.as_ref());
        let deferred = deferred.iter().find(|deferred| deferred.assignment == *name);
        let (reason, attempts, not_before) = match (failed, deferred) {
            (Some(retry), deferred) if retry.kind == StepKind::Grant => {
                let put_off = deferred.map_or(retry.not_before, |deferred| deferred.not_before);
                (retry.reason, retry.attempts, retry.not_before.max(put_off))
            }
            (_, Some(deferred)) => (deferred.reason, 1, deferred.not_before),
            _ => continue,
        };
        for binding in wanted.bindings() {
            let since = since(before, &binding, wanted.role, &wanted.scope, now);
            let role = wanted.role;
            let scope = wanted.scope.clone();
            pending.push(PendingStep {
                binding,
                role,
                scope,
                wanted: true,
                reason,
                since,
                attempts,
                not_before,
            });
        }
    }
    pending
}

/// What is still held because its revocation was deferred before it was tried. (One that was tried says so on its own row.)
/// What an operator's order keeps counts as wanted.
fn late_revocations(
    after: &[LedgerEntry],
    deferred: &[DeferredStep],
    before: &[PendingStep],
    now: OffsetDateTime,
) -> Vec<PendingStep> {
    let mut pending = Vec::new();
    for entry in after.iter().filter(|entry| entry.state == AssignmentState::Present && entry.retry.is_none())
    {
        let put_off = deferred
            .iter()
            .find(|deferred| deferred.kind == StepKind::Revoke && deferred.assignment == entry.assignment);
        let Some(DeferredStep { reason, not_before, .. }) = put_off.cloned() else { continue };
        let kept = reason == ReasonCode::KeptByOrder;
        for binding in entry.bindings.clone() {
            let role = entry.role;
            let scope = entry.scope.clone();
            let earlier =
                before.iter().find(|wait| wait.is_for(&binding, role, &scope) && wait.wanted == kept);
            let since = entry.unwanted_since.or(earlier.map(|wait| wait.since)).unwrap_or(now);
            pending.push(PendingStep {
                binding,
                role,
                scope,
                wanted: kept,
                reason,
                since,
                attempts: 1,
                not_before,
            });
        }
    }
    pending
}

fn refusal(blocked: &BlockedGrant, before: &[PendingStep], now: OffsetDateTime) -> PendingStep {
    let BlockedGrant { binding, role, scope, reason } = blocked.clone();
    let earlier = before.iter().find(|wait| wait.is_for(&binding, role, &scope) && wait.reason == reason);
    let (attempts, not_before) = match earlier {
        Some(wait) if wait.not_before > now => (wait.attempts, wait.not_before),
        Some(wait) => {
            let attempts = wait.attempts.saturating_add(1);
            (attempts, now + pause(attempts))
        }
        None => (1, now + pause(1)),
    };
    let since = since(before, &binding, role, &scope, now);
    PendingStep { binding, role, scope, wanted: true, reason, since, attempts, not_before }
}

fn since(
    before: &[PendingStep],
    binding: &BindingName,
    role: BackupRole,
    scope: &Scope,
    now: OffsetDateTime,
) -> OffsetDateTime {
    let same = before.iter().find(|wait| wait.is_for(binding, role, scope) && wait.wanted);
    same.map_or(now, |wait| wait.since)
}

/// When a person must be reconciled again, and whether a revocation is among the causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requeue {
    pub at: OffsetDateTime,
    pub takes_away: bool,
}

/// What a round left unfinished: unsettled rows, failed steps, foreign assignments, waits. `None`: nothing. It takes away where
/// something unwanted may be held, whatever its row says: a call that is still under way may land.
pub fn requeue_at(
    desired: &Desired,
    after: &[LedgerEntry],
    deferred: &[DeferredStep],
    pending: &[PendingStep],
) -> Option<Requeue> {
    let mut causes: Vec<(OffsetDateTime, bool)> = Vec::new();
    for entry in after {
        let leaving = !desired.grants.contains_key(&entry.assignment);
        let own = entry.unsettled_until.map(|at| (at, leaving));
        let retry = entry.retry.as_ref();
        let retry = retry.map(|retry| (retry.not_before, retry.kind == StepKind::Revoke && leaving));
        // What was put off counts instead of the row's own times: a throttle lasts longer than a row's own pause.
        let put_off = deferred.iter().any(|deferred| deferred.assignment == entry.assignment);
        causes.extend(own.into_iter().chain(retry).filter(|_| !put_off));
    }
    causes.extend(deferred.iter().map(|deferred| (deferred.not_before, deferred.takes_away())));
    causes.extend(pending.iter().map(|wait| (wait.not_before, false)));
    let at = causes.iter().map(|(at, _)| *at).min()?;
    Some(Requeue { at, takes_away: causes.iter().any(|(_, takes_away)| *takes_away) })
}
