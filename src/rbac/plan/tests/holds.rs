//! Steps that an operator or a breaker keeps back.

use super::*;

fn paused(facts: impl IntoIterator<Item = ObservedEntry>) -> Actual {
    let holds = Holds { paused: true, ..Holds::default() };
    Actual { holds, ..super::holding(facts) }
}

fn held(reason: ReasonCode, facts: impl IntoIterator<Item = ObservedEntry>) -> Actual {
    let held = BTreeMap::from([(name(1), reason)]);
    Actual { holds: Holds { held, ..Holds::default() }, ..super::holding(facts) }
}

fn present(number: u128) -> ObservedEntry {
    settled(entry(number, AssignmentState::Present, &["b"]))
}

#[test]
fn a_pause_keeps_grants_and_revocations_back() {
    let desired = wants([wanted(2, &["b"])]);
    let plan = plan_of(&desired, &paused([present(1)]));
    assert_eq!(steps(&plan), []);
    let revocation = (StepKind::Revoke, 1, ReasonCode::Paused, later(600));
    let both = [revocation, (StepKind::Grant, 2, ReasonCode::Paused, later(3600))];
    assert_eq!(deferred(&plan), both);
    // Since when it is unwanted is written all the same.
    assert!(plan.settled.iter().all(|row| row.entry.unwanted_since == Some(NOW)));
    assert_eq!(plan.settled.len(), 1);
}

#[test]
fn nothing_holds_back_what_a_person_who_leaves_or_is_braked_loses() {
    let leaving = Desired { leaving: true, ..Desired::default() };
    let braked = Desired { braked: [principal()].into(), ..Desired::default() };
    for desired in [leaving, braked] {
        for reason in [ReasonCode::HeldByBreaker, ReasonCode::KeptByOrder] {
            assert_eq!(steps(&plan_of(&desired, &held(reason, [present(1)]))), [(StepKind::Revoke, 1)]);
        }
        assert_eq!(steps(&plan_of(&desired, &paused([present(1)]))), [(StepKind::Revoke, 1)]);
    }
}

#[test]
fn a_brake_revokes_also_while_the_bindings_cannot_be_read() {
    let frozen = Desired { frozen: true, ..Desired::default() };
    assert_eq!(steps(&plan_of(&frozen, &super::holding([present(1)]))), []);
    let braked = Desired { braked: [principal()].into(), ..frozen };
    assert_eq!(steps(&plan_of(&braked, &super::holding([present(1)]))), [(StepKind::Revoke, 1)]);
}

#[test]
fn a_hold_concerns_its_assignment_alone() {
    let plan = plan_of(&Desired::default(), &held(ReasonCode::HeldByBreaker, [present(1), present(2)]));
    assert_eq!(steps(&plan), [(StepKind::Revoke, 2)]);
    assert_eq!(deferred(&plan).len(), 1);
}

#[test]
fn what_an_order_keeps_is_not_unwanted_and_says_so() {
    let actual = held(ReasonCode::KeptByOrder, [present(1)]);
    let plan = plan_of(&Desired::default(), &actual);
    assert_eq!((steps(&plan), plan.settled.len()), (vec![], 0));
    let after = [actual.observed[0].entry.clone()];
    let pending = pending_steps(&Desired::default(), &after, &plan.deferred, &[], NOW);
    let shown: Vec<_> = pending.iter().map(|wait| (wait.wanted, wait.reason)).collect();
    assert_eq!(shown, [(true, ReasonCode::KeptByOrder)]);
    let again = requeue_at(&Desired::default(), &after, &plan.deferred, &pending).unwrap();
    assert!(!again.takes_away);
}

#[test]
fn what_was_unwanted_before_an_order_kept_it_is_so_no_longer() {
    let mut unwanted = entry(1, AssignmentState::Present, &["b"]);
    unwanted.unwanted_since = Some(NOW);
    let plan = plan_of(&Desired::default(), &held(ReasonCode::KeptByOrder, [settled(unwanted)]));
    assert_eq!(plan.settled.iter().map(|row| row.entry.unwanted_since).collect::<Vec<_>>(), [None]);
}

#[test]
fn what_is_kept_is_granted_no_second_time() {
    let plan = plan_of(
        &Desired::default(),
        &held(ReasonCode::KeptByOrder, [settled(entry(1, AssignmentState::Gone, &["b"]))]),
    );
    assert_eq!((steps(&plan), deferred(&plan)), (vec![], vec![]));
}
