//! What to send to Azure for one person.

use crate::id::InstanceId;
use crate::rbac::ledger::{AssignmentState, LedgerEntry, RETRY_MAX, RetryState, StepKind};
use crate::rbac::plan::model::*;
use crate::rbac::plan::moves;
use crate::rbac::{AssignmentName, PrincipalType, ReasonCode};
use std::collections::BTreeSet;
use time::OffsetDateTime;

enum Verdict {
    Quiet,
    Step(Step),
    Settle(SettledRow),
    Defer(DeferredStep),
}

/// Compares what a person should hold with what they hold.
pub fn plan(desired: &Desired, actual: &Actual, limits: &PlanLimits) -> Plan {
    let inputs = Inputs { desired, actual, limits, still_given: moves::still_given(desired, actual) };
    let mut plan = Plan::default();
    let mut steps = Vec::new();
    let known: BTreeSet<AssignmentName> = actual.observed.iter().map(|fact| fact.entry.assignment).collect();
    for fact in &actual.observed {
        let verdict = judge_entry(fact, &inputs);
        plan.settled.extend(missing_unwanted_since(fact, &verdict, &inputs));
        plan.apply_verdict(verdict, &mut steps, &inputs);
    }
    for (name, wanted) in desired.grants.iter().filter(|(name, _)| !known.contains(name)) {
        plan.apply_verdict(send(grant(*name, wanted, None, true), &inputs), &mut steps, &inputs);
    }
    moves::hold(desired, actual, &mut steps, &mut plan);
    steps.sort_by_key(order);
    plan.has_more |= steps.len() > limits.steps_max;
    steps.truncate(limits.steps_max);
    let room = limits.close_rows_max.saturating_sub(steps.len());
    plan.has_more |= plan.settled.len() > room;
    plan.settled.truncate(room);
    plan.steps = steps;
    plan
}

impl Plan {
    fn apply_verdict(&mut self, verdict: Verdict, steps: &mut Vec<Step>, inputs: &Inputs<'_>) {
        match verdict {
            Verdict::Quiet => {}
            Verdict::Step(step) => steps.push(step),
            Verdict::Settle(mut settle) => {
                settle.entry.unwanted_since = unwanted_since(&settle.entry, inputs.desired, inputs.actual);
                self.settled.push(settle);
            }
            Verdict::Defer(deferred) => self.deferred.push(deferred),
        }
    }
}

/// Revocations first, steps that were never tried before others, then the one tried longest ago.
fn order(step: &Step) -> (StepKind, bool, Option<OffsetDateTime>) {
    let retry = step.entry.as_ref().and_then(|entry| entry.retry.as_ref());
    (step.kind, retry.is_some(), retry.map(|retry| retry.not_before))
}

fn judge_entry(fact: &ObservedEntry, inputs: &Inputs<'_>) -> Verdict {
    let Inputs { desired, actual, limits, .. } = *inputs;
    let entry = &fact.entry;
    let wanted = desired.grants.get(&entry.assignment);
    let stays = wanted.is_some() || is_kept(entry, desired, actual);
    let kind = if stays { StepKind::Grant } else { StepKind::Revoke };
    let (held, due) = match &fact.evidence {
        Evidence::NotOurs if entry.is_settled_and_gone() && entry.state == AssignmentState::Gone => {
            return Verdict::Quiet;
        }
        Evidence::NotOurs => return settled_row(entry, AssignmentState::Gone, None, actual.now),
        Evidence::Undecided { .. } if entry.is_settled_and_gone() && wanted.is_none() => {
            return Verdict::Quiet;
        }
        Evidence::Undecided { not_before } => {
            return defer(entry.assignment, kind, ReasonCode::RowUnreadable, *not_before);
        }

        // Deleting by our own name is safe whatever Azure holds: a revocation does not wait for an answer.
        Evidence::Unasked { .. } if may_revoke_blindly(entry, wanted, inputs) => {
            return send(revoke(entry, false), inputs);
        }
        Evidence::Unasked { reason, not_before } => {
            return defer(entry.assignment, kind, *reason, *not_before);
        }
        Evidence::Ledger => (entry.state, true),
        Evidence::Azure { holds, due } => (observed(entry, *holds), *due),
    };
    let asked = matches!(fact.evidence, Evidence::Azure { .. }).then_some(held == AssignmentState::Present);
    match (wanted, held) {
        (None, AssignmentState::Present) if desired.freezes(entry) => {
            unchanged(entry, held, asked.filter(|_| due), actual, limits)
        }
        (None, AssignmentState::Present) if is_kept(entry, desired, actual) => {
            match unchanged(entry, held, asked.filter(|_| due), actual, limits) {
                Verdict::Quiet => kept(entry, actual.now),
                settled => settled,
            }
        }
        (Some(wanted), AssignmentState::Gone) => {
            send(grant(entry.assignment, wanted, Some(entry), due), inputs)
        }
        (None, AssignmentState::Present) => send(revoke(entry, due), inputs),
        (Some(wanted), AssignmentState::Present) if due && entry.bindings != wanted.bindings() => {
            let entry = LedgerEntry { bindings: wanted.bindings(), ..entry.clone() };
            settled_row(&entry, held, asked.filter(|_| entry.unsettled_until.is_some()), actual.now)
        }
        (None, AssignmentState::HeldByOther(_)) => {
            settled_row(entry, AssignmentState::Gone, asked, actual.now)
        }
        _ => unchanged(entry, held, asked.filter(|_| due), actual, limits),
    }
}

/// An operator rejected the revocation: it waits for the reason to return.
fn kept(entry: &LedgerEntry, now: OffsetDateTime) -> Verdict {
    defer(entry.assignment, StepKind::Revoke, ReasonCode::KeptByOrder, now + RETRY_MAX)
}

fn may_revoke_blindly(entry: &LedgerEntry, wanted: Option<&DesiredGrant>, inputs: &Inputs<'_>) -> bool {
    let Inputs { desired, actual, .. } = *inputs;
    let may_be_held = entry.state == AssignmentState::Present
        || entry.unwanted_since.is_some() && entry.state == AssignmentState::Gone;
    wanted.is_none() && !desired.freezes(entry) && !is_kept(entry, desired, actual) && may_be_held
}

/// What Azure's answer to a question by name means for an entry.
fn observed(entry: &LedgerEntry, holds: bool) -> AssignmentState {
    match (entry.state, holds) {
        (AssignmentState::HeldByOther(other), true) if entry.unsettled_until.is_none() => {
            AssignmentState::HeldByOther(other)
        }
        (_, true) => AssignmentState::Present,
        (_, false) => AssignmentState::Gone,
    }
}

/// Nothing to send. The row is written only where that says something new.
fn unchanged(
    entry: &LedgerEntry,
    held: AssignmentState,
    asked: Option<bool>,
    actual: &Actual,
    limits: &PlanLimits,
) -> Verdict {
    if let AssignmentState::HeldByOther(_) = held {
        let again = entry.retry.as_ref().is_none_or(|retry| retry.not_before <= actual.now);
        if !again {
            return Verdict::Quiet;
        }
        let not_before = actual.now + limits.foreign_look;
        let retry = RetryState {
            kind: StepKind::Grant,
            attempts: 1,
            not_before,
            reason: ReasonCode::ForeignAssignment,
            cause: None,
        };
        let entry = LedgerEntry { retry: Some(retry), ..entry.clone() };
        return Verdict::Settle(SettledRow { entry: entry.becoming(held, actual.now), observed: None });
    }
    match asked {
        Some(_) if entry.unsettled_until.is_some() => settled_row(entry, held, asked, actual.now),
        _ if entry.unsettled_until.is_none() && entry.retry.is_some() => {
            settled_row(entry, held, None, actual.now)
        }
        _ => Verdict::Quiet,
    }
}

fn settled_row(
    entry: &LedgerEntry,
    holding: AssignmentState,
    observed: Option<bool>,
    now: OffsetDateTime,
) -> Verdict {
    let entry = LedgerEntry { unsettled_until: None, retry: None, ..entry.clone() }.becoming(holding, now);
    Verdict::Settle(SettledRow { entry, observed })
}

/// Since when an entry is unwanted, if its row does not say it and neither a step nor a settlement of this round writes it. The
/// write changes the row's ETag: a call that is still under way cannot settle the row past this reconcile.
fn missing_unwanted_since(
    fact: &ObservedEntry,
    verdict: &Verdict,
    inputs: &Inputs<'_>,
) -> Option<SettledRow> {
    let entry = &fact.entry;
    let left_alone = matches!(verdict, Verdict::Defer(DeferredStep { reason: ReasonCode::NotOurs, .. }));
    let written = matches!(verdict, Verdict::Step(_) | Verdict::Settle(_));
    if left_alone || written { None } else { note_unwanted_since(entry, inputs.desired, inputs.actual) }
}

fn defer(
    assignment: AssignmentName,
    kind: StepKind,
    reason: ReasonCode,
    not_before: OffsetDateTime,
) -> Verdict {
    Verdict::Defer(DeferredStep { assignment, kind, reason, not_before })
}

fn grant(
    assignment: AssignmentName,
    wanted: &DesiredGrant,
    entry: Option<&LedgerEntry>,
    settles: bool,
) -> Step {
    Step {
        kind: StepKind::Grant,
        assignment,
        principal: wanted.principal,
        principal_type: wanted.principal_type,
        role: wanted.role,
        scope: wanted.scope.clone(),
        bindings: wanted.bindings(),
        reasons: wanted.reasons.clone(),
        held_before: false,
        entry: entry.cloned(),
        settles,
        made_room: false,
    }
}

fn revoke(entry: &LedgerEntry, settles: bool) -> Step {
    Step {
        kind: StepKind::Revoke,
        assignment: entry.assignment,
        principal: entry.principal,
        principal_type: PrincipalType::User,
        role: entry.role,
        scope: entry.scope.clone(),
        bindings: entry.bindings.clone(),
        reasons: BTreeSet::new(),
        held_before: true,
        entry: Some(entry.clone()),
        settles,
        made_room: false,
    }
}

/// Checks ownership before any delete: the ledger row, and the name recomputed from it.
fn is_ours(step: &Step, instance: InstanceId) -> bool {
    AssignmentName::derive(&step.scope, step.role, step.principal, instance) == step.assignment
}

/// Sends a step unless the assignment is not ours, Azure throttles its kind there, or one of its kind failed a short while ago.
fn send(step: Step, inputs: &Inputs<'_>) -> Verdict {
    let actual = inputs.actual;
    if !is_ours(&step, actual.instance) {
        return defer(step.assignment, step.kind, ReasonCode::NotOurs, actual.now + RETRY_MAX);
    }
    if let Some(held) = actual.holds.defer(&step, inputs.desired, actual.now) {
        return Verdict::Defer(held);
    }
    let throttle = actual.throttled.get(&(step.scope.subscription().to_owned(), step.kind));
    if let Some(not_before) = throttle.filter(|at| **at > actual.now) {
        return defer(step.assignment, step.kind, ReasonCode::Throttled, *not_before);
    }
    if let Some(block) = actual.blocks.get(&step.block_key()).filter(|block| block.not_before > actual.now) {
        return defer(step.assignment, step.kind, block.reason, block.not_before);
    }
    let made_room = moves::has_made_room(&step, inputs);
    match step.entry.as_ref().and_then(|entry| pausing(entry, step.kind, actual)) {
        Some(retry) if !made_room => defer(step.assignment, step.kind, retry.reason, retry.not_before),
        _ => Verdict::Step(Step { made_room, ..step }),
    }
}

/// The failure that a step like this one still has to wait for. A later change of what decided ends the wait, unless Azure
/// asked for it; where the scope refused, the scope's own block decides.
fn pausing<'a>(entry: &'a LedgerEntry, kind: StepKind, actual: &Actual) -> Option<&'a RetryState> {
    let retry = entry.retry.as_ref().filter(|retry| retry.kind == kind)?;
    let asked_to_wait = retry.reason == ReasonCode::Throttled;
    let decided_anew = !asked_to_wait && retry.cause.is_some_and(|cause| cause != actual.requested_by);
    let pauses = retry.not_before > actual.now && !decided_anew && !retry.reason.is_of_the_scope();
    pauses.then_some(retry)
}
