//! Bindings that move inside a subscription that holds as many role assignments as it can.

use super::*;

const ELSEWHERE: &str = "/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/backup";

/// A grant of `binding` that was refused for want of room.
fn refused(number: u128, binding: &str) -> LedgerEntry {
    let refused = failing(number, AssignmentState::Gone, StepKind::Grant, ReasonCode::AssignmentLimit);
    LedgerEntry { bindings: vec![super::binding(binding)], ..refused }
}

fn held(number: u128, binding: &str) -> ObservedEntry {
    settled(entry(number, AssignmentState::Present, &[binding]))
}

fn with_room(claim: RoomClaim, facts: impl IntoIterator<Item = ObservedEntry>) -> Actual {
    Actual { room: BTreeMap::from([(SUBSCRIPTION.to_owned(), claim)]), ..holding(facts) }
}

#[test]
fn the_grant_waits_until_what_the_binding_gave_before_is_known_to_be_gone() {
    let desired = wants([wanted(2, &["b"])]);
    let check = |old: ObservedEntry, expected: &[(StepKind, u128)]| {
        let plan = plan_of(&desired, &with_room(RoomClaim::Ours, [old, settled(refused(2, "b"))]));
        assert_eq!(steps(&plan), expected);
    };
    let under_way = |holds| {
        let row = unsettled(entry(1, AssignmentState::Gone, &["b"]), 100);
        fact(row, Evidence::Azure { holds, due: false })
    };
    check(held(1, "b"), &[(StepKind::Revoke, 1)]);
    check(under_way(true), &[(StepKind::Revoke, 1)]);
    check(under_way(false), &[]);
    check(settled(entry(1, AssignmentState::Gone, &["b"])), &[(StepKind::Grant, 2)]);
}

#[test]
fn what_the_binding_gives_and_still_should_is_not_given_up_first() {
    let desired = wants([wanted(1, &["b"]), wanted(2, &["b"])]);
    let plan = plan_of(&desired, &with_room(RoomClaim::Ours, [held(1, "b"), settled(refused(2, "b"))]));
    assert_eq!(steps(&plan), [(StepKind::Grant, 2)]);
}

#[test]
fn only_the_person_who_made_room_sends_the_grant_before_its_pause_is_over() {
    let desired = wants([wanted(2, &["b"])]);
    let refused = || settled(refused(2, "b"));
    for claim in [RoomClaim::Taken { until: later(900) }, RoomClaim::Stopped] {
        assert!(plan_of(&desired, &with_room(claim, [refused()])).steps.is_empty(), "{claim:?}");
    }
    assert!(plan_of(&desired, &holding([refused()])).steps.is_empty());
}

#[test]
fn no_room_is_made_in_a_round_that_grants_there() {
    let (mut other, mut scope) = (wanted(3, &["c"]), scope(3));
    let plan_with = |other: (AssignmentName, DesiredGrant)| {
        let desired = wants([wanted(2, &["b"]), other]);
        plan_of(&desired, &holding([held(1, "b"), settled(refused(2, "b"))]))
    };
    // The grant would take the place that the revocation frees.
    let plan = plan_with(other.clone());
    assert_eq!((steps(&plan), plan.has_more), (vec![(StepKind::Grant, 3)], true));
    assert_eq!(plan.makes_room, None);
    // One into another subscription takes none.
    scope.clone_from(&Scope::parse(ELSEWHERE).unwrap());
    other.0 = AssignmentName::derive(&scope, other.1.role, other.1.principal, instance());
    other.1.scope = scope;
    let plan = plan_with(other);
    let kinds: Vec<StepKind> = plan.steps.iter().map(|step| step.kind).collect();
    assert_eq!(kinds, [StepKind::Revoke, StepKind::Grant]);
    assert_eq!(plan.makes_room.as_deref(), Some(SUBSCRIPTION));
}

#[test]
fn one_place_is_made_in_a_round_and_the_next_one_follows_at_once() {
    let desired = wants([wanted(3, &["b"]), wanted(4, &["c"])]);
    let rows = || [held(1, "b"), held(2, "c"), settled(refused(3, "b")), settled(refused(4, "c"))];
    for actual in [holding(rows()), with_room(RoomClaim::Ours, rows())] {
        let plan = plan_of(&desired, &actual);
        assert_eq!((steps(&plan), plan.has_more), (vec![(StepKind::Revoke, 1)], true));
    }
}
