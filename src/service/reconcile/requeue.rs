//! When a person is reconciled again after a round: the fate of the request, and what the hint of a leaver keeps.

use crate::events::log_event;
use crate::rbac::ReasonCode;
use crate::rbac::ledger::{AssignmentState, LedgerEntry, RETRY_MAX, REVOKE_RETRY_MAX, StepKind};
use crate::rbac::plan::{DeferredStep, Plan, Requeue};
use crate::service::reconcile::gather::GatheredState;
use crate::store::reconcile_queue::leaver_hints::WaitingRevocation;
use crate::store::users::HeaderState;
use crate::store::{ETag, TableWrite, reconcile_queue};
use std::time::Duration;
use time::OffsetDateTime;

/// Principals that one close frees: with everything else that it may write, they fit one transaction.
pub(super) const FREED_MAX: usize = 3;
/// `w:` times are rounded up to this, so that requests merge.
const LATER_STEP: Duration = Duration::from_secs(30);
/// Those of leavers are not: they are reconciled when they are due, and the key has a resolution of one second.
const LEAVER_STEP: Duration = Duration::from_secs(1);
/// How soon a person is reconciled again while the bindings cannot be read.
const FROZEN_RETRY: Duration = Duration::from_secs(60);

/// What a round left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundResult {
    /// `d:` is gone, and nothing waits.
    Settled,
    /// `d:` became `w:`.
    Requeued,
    /// `d:` is still there: more to do at once.
    Continue,
}

/// Completes or requeues `d:`. Steps left over keep it. If something has to wait, `w:` replaces it.
pub(super) fn requeue_writes(
    gathered: &GatheredState,
    plan: &Plan,
    after: &[LedgerEntry],
    again: Option<Requeue>,
    request_etag: ETag,
    now: OffsetDateTime,
    writes: &mut Vec<TableWrite>,
) -> RoundResult {
    if plan.has_more {
        return RoundResult::Continue;
    }
    writes.push(reconcile_queue::complete(gathered.user, request_etag));
    let Some(again) = again else { return RoundResult::Settled };
    let mut request = gathered.request.request.waiting(again.takes_away);
    // The operation is judged with what it took from an active person, and with nothing else.
    let is_of_operation = after.iter().any(|entry| entry.unwanted_since.is_some());
    request.taken = request.taken.filter(|_| is_of_operation && !gathered.desired.leaving);
    let at = match again.takes_away {
        true => rounded_up(again.at.max(now), LEAVER_STEP),
        false => rounded_up(again.at.max(now) + spread_by_user(gathered, again.at - now), LATER_STEP),
    };
    let mut waiting = waiting(after, &plan.deferred, now);
    if gathered.ledger.rows_unreadable > 0 {
        waiting.reason.get_or_insert(ReasonCode::RowUnreadable);
    }
    if gathered.desired.frozen {
        waiting.reason.get_or_insert(ReasonCode::BindingsUnreadable);
    }
    writes.extend(reconcile_queue::enqueue_at(at, gathered.user, &request, &waiting));
    RoundResult::Requeued
}

/// While the bindings cannot be read, no request is done: each is requeued.
pub(super) fn while_frozen(
    gathered: &GatheredState,
    again: Option<Requeue>,
    now: OffsetDateTime,
) -> Option<Requeue> {
    if !gathered.desired.frozen {
        return again;
    }
    let reason = ReasonCode::BindingsUnreadable.as_str();
    log_event!(WorkDeferred, user.id = %gathered.user, reason, "reconcile deferred: the bindings cannot be read");
    let at = again.map_or(now + FROZEN_RETRY, |again| again.at.min(now + FROZEN_RETRY));
    let takes_away =
        again.is_some_and(|again| again.takes_away) || gathered.request.request.priority.takes_away();
    Some(Requeue { at, takes_away })
}

/// While the person's header or a row of theirs cannot be read, the request is not done either: mending the row by hand
/// enqueues no one. A person from whom something was taken may hold it by such a row.
pub(super) fn while_unreadable(
    gathered: &GatheredState,
    again: Option<Requeue>,
    now: OffsetDateTime,
) -> Option<Requeue> {
    let rows_unreadable = gathered.ledger.rows_unreadable > 0;
    if !matches!(gathered.header, HeaderState::Unreadable) && !rows_unreadable {
        return again;
    }
    let takes_away = again.is_some_and(|again| again.takes_away)
        || rows_unreadable && gathered.request.request.priority.takes_away();
    let latest = now + if takes_away { REVOKE_RETRY_MAX } else { RETRY_MAX };
    let at = again.map_or(latest, |again| again.at.min(latest));
    Some(Requeue { at, takes_away })
}

/// What the hint of a leaver keeps: since when, where the revocations wait, and whether one was tried. A throttled one counts
/// as not tried.
pub(super) fn waiting(
    after: &[LedgerEntry],
    deferred: &[DeferredStep],
    now: OffsetDateTime,
) -> WaitingRevocation {
    let was_tried =
        |entry: &LedgerEntry| match entry.retry.as_ref().filter(|retry| retry.kind == StepKind::Revoke) {
            Some(retry) => retry.reason != ReasonCode::Throttled,
            None => entry.unsettled_until.is_some() && entry.state == AssignmentState::Gone,
        };
    let deferral = deferred.iter().find(|deferred| deferred.takes_away());
    let mut waiting = WaitingRevocation {
        reason: deferral.map(|deferred| deferred.reason),
        ..WaitingRevocation::default()
    };
    // What is held back is no obstacle: where anything else waits, that is what is in the way.
    let mut obstacle = None;
    for entry in after.iter().filter(|entry| entry.unwanted_since.is_some()) {
        let reason = reason_of_waiting(entry, deferred);
        let rank = (reason.is_hold(), entry.unwanted_since);
        if obstacle.is_none_or(|before| rank < before) {
            obstacle = Some(rank);
            waiting.reason = Some(reason);
        }
        waiting.unwanted_since = [waiting.unwanted_since, entry.unwanted_since].into_iter().flatten().min();
        waiting.subscriptions.insert(entry.scope.subscription().to_owned());
        waiting.tried_at = waiting.tried_at.or(was_tried(entry).then_some(now));
    }
    waiting
}

/// Why an unwanted entry is still there.
fn reason_of_waiting(entry: &LedgerEntry, deferred: &[DeferredStep]) -> ReasonCode {
    let failed = entry.retry.as_ref().filter(|retry| retry.kind == StepKind::Revoke);
    let deferral = deferred.iter().find(|deferred| deferred.assignment == entry.assignment);
    let reason = deferral.map(|deferred| deferred.reason).or(failed.map(|retry| retry.reason));
    reason.unwrap_or(ReasonCode::NoReasonLeft)
}

/// Whether a revocation that waited is no longer needed, though nothing was taken away since. Nothing else removes the hint.
pub(super) fn is_wanted_again(gathered: &GatheredState, after: &[LedgerEntry]) -> bool {
    let before = gathered.ledger.entries.iter().any(|stored| stored.entry.unwanted_since.is_some());
    before
        && !gathered.request.request.priority.takes_away()
        && after.iter().all(|entry| entry.unwanted_since.is_none())
}

/// More principals than one close frees: the rest follows at once.
pub(super) fn while_principals_are_left(
    again: Option<Requeue>,
    to_free: usize,
    now: OffsetDateTime,
) -> Option<Requeue> {
    if to_free <= FREED_MAX {
        return again;
    }
    let takes_away = again.is_some_and(|again| again.takes_away);
    Some(Requeue { at: again.map_or(now, |again| again.at.min(now)), takes_away })
}

/// Spreads hourly reconciles by the person's id, so that they do not coincide.
fn spread_by_user(gathered: &GatheredState, wait: time::Duration) -> Duration {
    let first_byte = u64::from(gathered.user.uuid().as_bytes().first().copied().unwrap_or_default());
    if wait >= time::Duration::minutes(30) { Duration::from_secs(first_byte) } else { Duration::ZERO }
}

pub(super) fn rounded_up(at: OffsetDateTime, step: Duration) -> OffsetDateTime {
    let step = i64::try_from(step.as_secs()).unwrap_or(30);
    let seconds = at.unix_timestamp() + i64::from(at.nanosecond() > 0);
    let rounded = seconds.div_euclid(step) * step + if seconds.rem_euclid(step) == 0 { 0 } else { step };
    OffsetDateTime::from_unix_timestamp(rounded).unwrap_or(at)
}

#[cfg(test)]
mod tests;
