//! Bindings that moved to another role or scope. The new grant comes first; what the binding gave before goes when the new one
//! is there. Where the subscription is full that order would hold the old role for ever: there one person at a time is revoked
//! and then granted, and if the freed place is lost to another assignment, the moving stops.

use crate::rbac::ledger::{AssignmentState, StepKind};
use crate::rbac::plan::model::{
    Actual, DeferredStep, Desired, DesiredGrant, Inputs, Plan, RoomClaim, Step, note_unwanted_since,
};
use crate::rbac::{BindingName, ReasonCode};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How soon a person is reconciled again while another one makes room.
const TAKEN_LOOK: Duration = Duration::from_secs(30);

/// What bindings still give that is no longer wanted: subscription and binding.
pub(super) fn still_given(desired: &Desired, actual: &Actual) -> BTreeSet<(String, BindingName)> {
    let old = actual.observed.iter().map(|fact| &fact.entry).filter(|entry| {
        let held = entry.state == AssignmentState::Present || entry.unsettled_until.is_some();
        held && !desired.grants.contains_key(&entry.assignment)
    });
    old.flat_map(|entry| {
        let subscription = entry.scope.subscription();
        entry.bindings.iter().map(move |binding| (subscription.to_owned(), binding.clone()))
    })
    .collect()
}

/// A grant that was refused for want of room may be sent: this person made room, and gave up what the binding gave before.
pub(super) fn has_made_room(step: &Step, inputs: &Inputs<'_>) -> bool {
    let retry = step.entry.as_ref().and_then(|entry| entry.retry.as_ref());
    let refused = retry.is_some_and(|retry| retry.reason == ReasonCode::AssignmentLimit);
    let subscription = step.scope.subscription();
    let gives =
        |binding: &BindingName| inputs.still_given.contains(&(subscription.to_owned(), binding.clone()));
    step.kind == StepKind::Grant
        && refused
        && inputs.actual.room.get(subscription) == Some(&RoomClaim::Ours)
        && !step.bindings.iter().any(gives)
}

/// Takes the revocations out of `steps` that wait for a grant of the same binding.
pub(super) fn hold(desired: &Desired, actual: &Actual, steps: &mut Vec<Step>, plan: &mut Plan) {
    let grants: Vec<Step> = steps.iter().filter(|step| step.kind == StepKind::Grant).cloned().collect();
    let waiting = waiting_grants(desired, plan);
    let mut kept = Vec::with_capacity(steps.len());
    for step in steps.drain(..) {
        let granting = |grant: &Step| grant.bindings.iter().any(|binding| step.bindings.contains(binding));
        let grant = step.bindings.iter().find_map(|binding| waiting.get(binding));
        match grant {
            _ if step.kind == StepKind::Grant => kept.push(step),
            // What a braked Entra object holds waits for nothing.
            _ if desired.braked.contains(&step.principal) => kept.push(step),
            _ if grants.iter().any(granting) => plan.has_more = true,
            Some((grant, subscription)) => {
                let full =
                    grant.reason == ReasonCode::AssignmentLimit && step.scope.subscription() == subscription;
                if !full {
                    defer_revocation(&step, grant.clone(), desired, actual, plan);
                } else if grants.iter().any(|grant| grant.scope.subscription() == subscription) {
                    plan.has_more = true;
                } else {
                    kept.extend(make_room(step, grant, desired, actual, plan));
                }
            }
            None => kept.push(step),
        }
    }
    *steps = kept;
}

/// Binding → the grant of it that has to wait, and where.
fn waiting_grants(desired: &Desired, plan: &Plan) -> BTreeMap<BindingName, (DeferredStep, String)> {
    let mut waiting = BTreeMap::new();
    for deferred in plan.deferred.iter().filter(|deferred| deferred.kind == StepKind::Grant) {
        let Some(wanted) = desired.grants.get(&deferred.assignment) else { continue };
        let subscription = wanted.scope.subscription().to_owned();
        let bindings = DesiredGrant::bindings(wanted).into_iter();
        waiting.extend(bindings.map(|binding| (binding, (deferred.clone(), subscription.clone()))));
    }
    waiting
}

/// The revocation waits as long as the grant, for the same reason.
fn defer_revocation(step: &Step, grant: DeferredStep, desired: &Desired, actual: &Actual, plan: &mut Plan) {
    plan.settled.extend(step.entry.as_ref().and_then(|entry| note_unwanted_since(entry, desired, actual)));
    plan.deferred.push(DeferredStep { assignment: step.assignment, kind: step.kind, ..grant });
}

/// The revocation that frees a place, if it is this person's turn: one of a round.
fn make_room(
    step: Step,
    grant: &DeferredStep,
    desired: &Desired,
    actual: &Actual,
    plan: &mut Plan,
) -> Option<Step> {
    let subscription = step.scope.subscription().to_owned();
    let not_before = match actual.room.get(&subscription) {
        Some(RoomClaim::Stopped) => grant.not_before,
        Some(RoomClaim::Taken { until }) => (*until).min(actual.now + TAKEN_LOOK),
        Some(RoomClaim::Ours) | None if plan.makes_room.is_none() => {
            // The grant follows in the next round, at once.
            plan.makes_room = Some(subscription);
            plan.has_more = true;
            return Some(step);
        }
        Some(RoomClaim::Ours) | None => {
            plan.has_more = true;
            return None;
        }
    };
    defer_revocation(&step, DeferredStep { not_before, ..grant.clone() }, desired, actual, plan);
    None
}
