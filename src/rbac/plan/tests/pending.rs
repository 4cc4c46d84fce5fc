//! What a round leaves waiting, for whom and since when, and when the person is looked at again.

use super::*;

const HELD: AssignmentState = AssignmentState::Present;
const GONE: AssignmentState = AssignmentState::Gone;

fn put_off(number: u128, kind: StepKind, seconds: i64) -> DeferredStep {
    let (reason, not_before) = (ReasonCode::Throttled, later(seconds));
    DeferredStep { assignment: name(number), kind, reason, not_before }
}

/// Binding, `wanted`, since and not before of what is pending, in seconds.
fn pending(
    desired: &Desired,
    after: &[LedgerEntry],
    deferred: &[DeferredStep],
    before: &[PendingStep],
) -> Vec<(String, bool, i64, i64)> {
    let seconds = |at: OffsetDateTime| (at - NOW).whole_seconds();
    pending_steps(desired, after, deferred, before, NOW)
        .into_iter()
        .map(|wait| (wait.binding.to_string(), wait.wanted, seconds(wait.since), seconds(wait.not_before)))
        .collect()
}

fn waited(binding: &str, is_wanted: bool, since: i64) -> PendingStep {
    PendingStep {
        binding: super::binding(binding),
        role: BackupRole::Operator,
        scope: scope(1),
        wanted: is_wanted,
        reason: ReasonCode::Throttled,
        since: later(since),
        attempts: 1,
        not_before: later(0),
    }
}

#[test]
fn a_revocation_that_was_put_off_before_it_was_tried_is_pending() {
    let check = |row: LedgerEntry, put_off: DeferredStep, expected: &[(&str, i64)]| {
        let found = pending(&wants([]), &[row], &[put_off], &[]);
        let expected: Vec<_> =
            expected.iter().map(|(binding, since)| ((*binding).to_owned(), false, *since, 40)).collect();
        assert_eq!(found, expected);
    };
    let revoke = |number| put_off(number, StepKind::Revoke, 40);
    let held = || entry(1, HELD, &["b", "c"]);
    check(held(), revoke(1), &[("b", 0), ("c", 0)]);
    check(LedgerEntry { unwanted_since: Some(later(-90)), ..held() }, revoke(1), &[("b", -90), ("c", -90)]);
    check(retry(held(), StepKind::Revoke, 30), revoke(1), &[]);
    check(entry(1, GONE, &["b"]), revoke(1), &[]);
    check(held(), revoke(2), &[]);
    check(held(), put_off(1, StepKind::Grant, 40), &[]);
}

#[test]
fn a_revocation_that_failed_is_no_failed_grant_once_the_role_is_wanted_again() {
    let desired = wants([wanted(1, &["b"])]);
    let row = retry(entry(1, HELD, &["b"]), StepKind::Revoke, 30);
    assert_eq!(pending(&desired, std::slice::from_ref(&row), &[], &[]), []);
    // What puts off a grant is told by itself.
    let grant = put_off(1, StepKind::Grant, 40);
    assert_eq!(pending(&desired, &[row], &[grant], &[]), [("b".to_owned(), true, 0, 40)]);
}

#[test]
fn a_failed_grant_waits_for_the_later_of_its_own_time_and_what_puts_it_off() {
    let desired = wants([wanted(1, &["b"])]);
    let row = retry(entry(1, GONE, &["b"]), StepKind::Grant, 30);
    for (deferred, not_before) in [(20, 30), (40, 40)] {
        let deferred = put_off(1, StepKind::Grant, deferred);
        let found = pending(&desired, std::slice::from_ref(&row), &[deferred], &[]);
        assert_eq!(found, [("b".to_owned(), true, 0, not_before)]);
    }
}

#[test]
fn a_wish_keeps_its_time_and_takes_none_from_another_wish() {
    let desired = wants([wanted(1, &["b"])]);
    for (before, since) in
        [(waited("b", true, -90), -90), (waited("c", true, -90), 0), (waited("b", false, -90), 0)]
    {
        let found = pending(&desired, &[], &[put_off(1, StepKind::Grant, 40)], &[before]);
        assert_eq!(found, [("b".to_owned(), true, since, 40)]);
    }
}

#[test]
fn what_was_put_off_counts_instead_of_the_times_of_its_row() {
    let again = |after: &[LedgerEntry], deferred: &[DeferredStep]| {
        let again = requeue_at(&wants([]), after, deferred, &[]).unwrap();
        ((again.at - NOW).whole_seconds(), again.takes_away)
    };
    let unsettled = || unsettled(entry(1, HELD, &["b"]), 150);
    let failed = || retry(entry(1, HELD, &["b"]), StepKind::Revoke, 60);
    for row in [unsettled(), failed()] {
        assert_eq!(again(std::slice::from_ref(&row), &[put_off(1, StepKind::Revoke, 300)]), (300, true));
        assert_eq!(again(&[row], &[put_off(1, StepKind::Revoke, 20)]), (20, true));
    }
    // That of another row does not.
    assert_eq!(again(&[unsettled()], &[put_off(2, StepKind::Revoke, 300)]), (150, true));
    assert_eq!(again(&[failed()], &[put_off(2, StepKind::Revoke, 300)]), (60, true));
}
