//! What the evidence for a row decides: the ledger, an answer of Azure by name, no answer, another record's principal.

use super::*;

const HELD: AssignmentState = AssignmentState::Present;
const GONE: AssignmentState = AssignmentState::Gone;

fn foreign() -> AssignmentState {
    AssignmentState::HeldByOther(name(99))
}

fn unwanted(entry: LedgerEntry) -> LedgerEntry {
    LedgerEntry { unwanted_since: Some(later(-60)), ..entry }
}

/// The plan for one row, which is wanted through `b` or not at all.
fn plan_for(row: LedgerEntry, is_wanted: bool, evidence: Evidence) -> Plan {
    plan_of(&wants(is_wanted.then(|| wanted(1, &["b"]))), &holding([fact(row, evidence)]))
}

/// What becomes of a row that no step is sent for: state, `settled`, and what was observed.
#[track_caller]
fn check_settled(plan: &Plan, expected: &[(AssignmentState, Option<bool>)]) {
    let found: Vec<_> = plan.settled.iter().map(|row| (row.entry.state, row.observed)).collect();
    assert_eq!(found, expected);
    assert!(plan.steps.is_empty() && plan.deferred.is_empty(), "{plan:?}");
    assert!(plan.settled.iter().all(|row| row.entry.unsettled_until.is_none()), "{plan:?}");
}

#[test]
fn while_the_holder_of_a_principal_is_unreadable_only_an_unwanted_row_that_is_gone_is_quiet() {
    let undecided = || Evidence::Undecided { not_before: later(30) };
    let check = |row: LedgerEntry, is_wanted, expected: Option<StepKind>| {
        let plan = plan_for(row, is_wanted, undecided());
        let expected: Vec<_> =
            expected.map(|kind| (kind, 1, ReasonCode::RowUnreadable, later(30))).into_iter().collect();
        assert_eq!(deferred(&plan), expected);
        assert!(plan.steps.is_empty());
    };
    check(entry(1, GONE, &["b"]), false, None);
    check(entry(1, foreign(), &["b"]), false, None);
    check(entry(1, GONE, &["b"]), true, Some(StepKind::Grant));
    check(entry(1, HELD, &["b"]), false, Some(StepKind::Revoke));
    check(unsettled(entry(1, GONE, &["b"]), 100), false, Some(StepKind::Revoke));
}

#[test]
fn a_row_of_another_records_principal_is_closed_unless_it_is_gone_already() {
    for row in [
        entry(1, foreign(), &["b"]),
        unsettled(entry(1, GONE, &["b"]), 100),
        retry(entry(1, HELD, &["b"]), StepKind::Revoke, 600),
    ] {
        let plan = plan_for(row, false, Evidence::NotOurs);
        check_settled(&plan, &[(GONE, None)]);
        assert_eq!(plan.settled[0].entry.retry, None, "nothing is tried for it any more");
    }
}

#[test]
fn without_an_answer_only_what_may_be_held_and_is_not_wanted_is_revoked() {
    let unasked = || Evidence::Unasked { reason: ReasonCode::NoAnswer, not_before: later(30) };
    let check = |row: LedgerEntry, is_wanted, revokes: bool| {
        let plan = plan_for(row.clone(), is_wanted, unasked());
        let expected: &[_] = if revokes { &[(StepKind::Revoke, 1)] } else { &[] };
        assert_eq!(steps(&plan), expected, "{row:?}");
        assert_eq!(plan.deferred.len(), usize::from(!revokes), "{row:?}");
    };
    let open = |state| unsettled(entry(1, state, &["b"]), 100);
    check(open(HELD), false, true);
    check(unwanted(open(GONE)), false, true);
    // No wish began for it: the step waits for the answer.
    check(open(GONE), false, false);
    check(unwanted(open(foreign())), false, false);
    check(entry(1, foreign(), &["b"]), false, false);
    for row in [open(HELD), unwanted(open(GONE))] {
        check(row.clone(), true, false);
        let frozen = Desired { frozen: true, ..wants([]) };
        let plan = plan_of(&frozen, &holding([fact(row, unasked())]));
        assert!(plan.steps.is_empty(), "frozen");
    }
}

#[test]
fn what_azure_holds_by_our_name_is_ours_whatever_an_unsettled_row_says() {
    for state in [HELD, GONE, foreign()] {
        let row = || unsettled(entry(1, state, &["b"]), -1);
        let azure = |holds| Evidence::Azure { holds, due: true };
        check_settled(&plan_for(row(), true, azure(true)), &[(HELD, Some(true))]);
        check_settled(&plan_for(row(), false, azure(false)), &[(GONE, Some(false))]);
        assert_eq!(steps(&plan_for(row(), false, azure(true))), [(StepKind::Revoke, 1)], "{state:?}");
        assert_eq!(steps(&plan_for(row(), true, azure(false))), [(StepKind::Grant, 1)], "{state:?}");
    }
}

#[test]
fn a_foreign_assignment_that_is_gone_and_not_wanted_ends_no_open() {
    let row = retry(entry(1, foreign(), &["b"]), StepKind::Grant, 0);
    let plan = plan_for(row, false, Evidence::Azure { holds: false, due: true });
    check_settled(&plan, &[(GONE, None)]);
}

#[test]
fn a_foreign_assignment_is_written_again_only_when_its_time_has_come() {
    let row = |seconds| retry(entry(1, foreign(), &["b"]), StepKind::Grant, seconds);
    for (seconds, rows) in [(10, 0), (0, 1), (-10, 1)] {
        let plan = plan_for(row(seconds), true, Evidence::Ledger);
        assert_eq!((plan.settled.len(), plan.steps.len()), (rows, 0), "{seconds}");
    }
}

#[test]
fn a_row_whose_bindings_changed_is_written_with_the_new_ones() {
    let desired = wants([wanted(1, &["b", "c"])]);
    let bindings = |plan: &Plan| -> Vec<Vec<BindingName>> {
        plan.settled.iter().map(|row| row.entry.bindings.clone()).collect()
    };
    let both = || vec![vec![binding("b"), binding("c")]];
    let plan = plan_of(&desired, &holding([settled(entry(1, HELD, &["b"]))]));
    check_settled(&plan, &[(HELD, None)]);
    assert_eq!(bindings(&plan), both());

    let row = || unsettled(entry(1, HELD, &["b"]), 0);
    let due = plan_of(&desired, &holding([fact(row(), Evidence::Azure { holds: true, due: true })]));
    check_settled(&due, &[(HELD, Some(true))]);
    assert_eq!(bindings(&due), both());
    // Before its time no answer settles the row, so its bindings wait too.
    let early = plan_of(&desired, &holding([fact(row(), Evidence::Azure { holds: true, due: false })]));
    assert_eq!(early, Plan::default());
}

#[test]
fn a_settled_row_forgets_the_step_that_failed() {
    let failed = retry(entry(1, HELD, &["b"]), StepKind::Revoke, 600);
    let plan = plan_for(failed, true, Evidence::Ledger);
    check_settled(&plan, &[(HELD, None)]);
    assert_eq!(plan.settled[0].entry.retry, None);
}
