//! What a close makes of a round, where it takes nothing but the round.

use crate::id::{InstanceId, PrincipalId};
use crate::rbac::BindingName;
use crate::rbac::plan::DeferredStep;
use crate::rbac::{AssignmentName, BackupRole, Scope};
use crate::service::reconcile::close::*;
use crate::service::reconcile::gather::tests::{gathered, ledger, living, unreadable};
use crate::service::reconcile::requeue::{rounded_up, waiting};
use crate::store::reconcile_queue::leaver_hints::WaitingRevocation;
use time::macros::datetime;
use uuid::Uuid;

const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn at(seconds: i64) -> OffsetDateTime {
    NOON + time::Duration::seconds(seconds)
}

fn scope(number: u128) -> Scope {
    let subscription = Uuid::from_u128(number);
    let vault = "resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/east";
    Scope::parse(&format!("/subscriptions/{subscription}/{vault}")).unwrap()
}

fn name(number: u128) -> AssignmentName {
    let principal = PrincipalId::new(Uuid::nil());
    let instance = InstanceId::new(Uuid::nil());
    AssignmentName::derive(&scope(number), BackupRole::Operator, principal, instance)
}

fn binding(text: &str) -> BindingName {
    BindingName::parse(text).unwrap()
}

/// An assignment in a subscription of its own.
fn entry(number: u128, holding: AssignmentState) -> LedgerEntry {
    LedgerEntry {
        assignment: name(number),
        principal: PrincipalId::new(Uuid::nil()),
        role: BackupRole::Operator,
        scope: scope(number),
        state: holding,
        unsettled_until: None,
        op: OpId::new(Uuid::nil()),
        bindings: vec![binding("a")],
        correlation: None,
        retry: None,
        unwanted_since: None,
        hold: None,
        since: at(-600),
        written: at(-600),
    }
}

fn unwanted(number: u128, since: i64) -> LedgerEntry {
    LedgerEntry { unwanted_since: Some(at(since)), ..entry(number, AssignmentState::Present) }
}

fn failed(entry: LedgerEntry, kind: StepKind, reason: ReasonCode) -> LedgerEntry {
    let retry = RetryState { kind, attempts: 1, not_before: at(30), reason, cause: None };
    LedgerEntry { retry: Some(retry), ..entry }
}

fn put_off(number: u128, reason: ReasonCode) -> DeferredStep {
    DeferredStep { assignment: name(number), kind: StepKind::Revoke, reason, not_before: at(60) }
}

#[track_caller]
fn check_rounded(seconds: i64, nanoseconds: i64, step: u64, expected: i64) {
    let moment = at(seconds) + time::Duration::nanoseconds(nanoseconds);
    assert_eq!(rounded_up(moment, Duration::from_secs(step)), at(expected));
}

#[test]
fn a_requeue_is_never_earlier_than_its_time() {
    check_rounded(0, 0, 30, 0);
    check_rounded(0, 1, 30, 30);
    check_rounded(1, 0, 30, 30);
    check_rounded(29, 999_999_999, 30, 30);
    check_rounded(30, 0, 30, 30);
    check_rounded(-1, 0, 30, 0);
    check_rounded(7, 0, 1, 7);
    check_rounded(7, 1, 1, 8);
    let before_1970 = datetime!(1969-12-31 23:59:31 UTC);
    assert_eq!(rounded_up(before_1970, Duration::from_secs(30)), OffsetDateTime::UNIX_EPOCH);
}

#[test]
fn a_hint_says_since_when_and_where_a_revocation_waits() {
    let places = |numbers: &[u128]| numbers.iter().map(|n| scope(*n).subscription().to_owned()).collect();
    assert_eq!(waiting(&[], &[], NOON), WaitingRevocation::default());
    // What is wanted waits for nothing, whatever failed.
    let granted = failed(entry(1, AssignmentState::Gone), StepKind::Grant, ReasonCode::AzureRefused);
    assert_eq!(
        waiting(&[granted, entry(2, AssignmentState::Present)], &[], NOON),
        WaitingRevocation::default()
    );

    let two = [unwanted(1, -10), unwanted(2, -20), entry(3, AssignmentState::Present)];
    let expected = WaitingRevocation {
        unwanted_since: Some(at(-20)),
        tried_at: None,
        subscriptions: places(&[1, 2]),
        reason: Some(ReasonCode::NoReasonLeft),
    };
    assert_eq!(waiting(&two, &[], NOON), expected);
}

#[test]
fn a_hint_says_what_blocks_the_oldest_revocation() {
    let reason =
        |after: &[LedgerEntry], deferred: &[DeferredStep]| waiting(after, deferred, NOON).reason.unwrap();
    let locked = || failed(unwanted(1, -20), StepKind::Revoke, ReasonCode::ScopeLocked);
    assert_eq!(reason(&[unwanted(2, -10), locked()], &[]), ReasonCode::ScopeLocked);
    assert_eq!(reason(&[unwanted(2, -30), locked()], &[]), ReasonCode::NoReasonLeft);
    // What puts it off now is said before what failed then.
    assert_eq!(reason(&[locked()], &[put_off(1, ReasonCode::Throttled)]), ReasonCode::Throttled);
    assert_eq!(reason(&[locked()], &[put_off(2, ReasonCode::Throttled)]), ReasonCode::ScopeLocked);
    // What puts off a revocation whose row cannot be read is said as well.
    assert_eq!(reason(&[], &[put_off(1, ReasonCode::Throttled)]), ReasonCode::Throttled);
    // A grant that failed is not in the way of a revocation.
    let granted = failed(unwanted(1, -20), StepKind::Grant, ReasonCode::AzureRefused);
    assert_eq!(reason(&[granted], &[]), ReasonCode::NoReasonLeft);
}

#[test]
fn a_revocation_was_tried_where_it_failed_or_may_still_land_and_not_where_azure_throttled_it() {
    let tried_at = |after: LedgerEntry| waiting(&[after], &[], NOON).tried_at;
    let unsettled = |entry: LedgerEntry| LedgerEntry { unsettled_until: Some(at(150)), ..entry };
    assert_eq!(tried_at(unwanted(1, -10)), None);
    assert_eq!(tried_at(failed(unwanted(1, -10), StepKind::Revoke, ReasonCode::NoAnswer)), Some(NOON));
    assert_eq!(tried_at(failed(unwanted(1, -10), StepKind::Revoke, ReasonCode::Throttled)), None);
    assert_eq!(tried_at(failed(unwanted(1, -10), StepKind::Grant, ReasonCode::NoAnswer)), None);
    assert_eq!(
        tried_at(unsettled(LedgerEntry { state: AssignmentState::Gone, ..unwanted(1, -10) })),
        Some(NOON)
    );
    let throttled = failed(
        LedgerEntry { state: AssignmentState::Gone, ..unwanted(1, -10) },
        StepKind::Revoke,
        ReasonCode::Throttled,
    );
    assert_eq!(tried_at(unsettled(throttled)), None, "also where the row was unsettled before");
    // The grant is what is under way.
    assert_eq!(tried_at(unsettled(unwanted(1, -10))), None);
}

fn wait(name: &str, reason: ReasonCode) -> PendingStep {
    PendingStep {
        binding: binding(name),
        role: BackupRole::Operator,
        scope: scope(1),
        wanted: true,
        reason,
        since: at(-60),
        attempts: 1,
        not_before: at(30),
    }
}

#[test]
fn waits_are_written_where_something_else_than_their_beginning_differs() {
    let same = |one: PendingStep, other: PendingStep| comparable(&[one]) == comparable(&[other]);
    let base = || wait("a", ReasonCode::Throttled);
    assert!(same(base(), PendingStep { since: at(-10), ..base() }));
    assert!(!same(base(), wait("b", ReasonCode::Throttled)));
    assert!(!same(base(), wait("a", ReasonCode::NoAnswer)));
    assert!(!same(base(), PendingStep { scope: scope(2), ..base() }));
    assert!(!same(base(), PendingStep { role: BackupRole::Reader, ..base() }));
    assert!(!same(base(), PendingStep { attempts: 2, ..base() }));
    assert!(!same(base(), PendingStep { not_before: at(31), ..base() }));
    assert_ne!(comparable(&[base()]), comparable(&[]));
}

#[test]
fn a_foreign_assignment_is_recorded_where_it_comes_goes_or_changes() {
    let foreign = |number: u128| entry(1, AssignmentState::HeldByOther(name(number)));
    let change =
        |before: Option<LedgerEntry>, after: LedgerEntry| match foreign_change(before.as_ref(), &after) {
            Some(AuditEvent::ForeignAssignmentChanged { before, after, .. }) => Some((before, after)),
            _ => None,
        };
    assert_eq!(change(None, entry(1, AssignmentState::Present)), None);
    assert_eq!(change(None, foreign(7)), Some((None, Some(name(7)))));
    assert_eq!(change(Some(foreign(7)), foreign(7)), None);
    assert_eq!(change(Some(foreign(7)), foreign(8)), Some((Some(name(7)), Some(name(8)))));
    assert_eq!(change(Some(foreign(7)), entry(1, AssignmentState::Gone)), Some((Some(name(7)), None)));
}

#[test]
fn other_reasons_for_the_same_assignment_are_recorded() {
    let of = |names: &[&str]| {
        let bindings = names.iter().map(|text| binding(text)).collect();
        LedgerEntry { bindings, ..entry(1, AssignmentState::Present) }
    };
    assert_eq!(reasons_change(None, &of(&["a"])), None);
    assert_eq!(reasons_change(Some(&of(&["a"])), &of(&["a"])), None);
    let expected = AuditEvent::AssignmentBindingsChanged {
        assignment: entry(1, AssignmentState::Present).assignment,
        before: vec![binding("a")],
        after: vec![binding("a"), binding("b")],
    };
    assert_eq!(reasons_change(Some(&of(&["a"])), &of(&["a", "b"])), Some(expected));
}

#[test]
fn a_row_that_is_closed_without_a_call_is_recorded_where_it_was_held() {
    let gone = || entry(1, AssignmentState::Gone);
    let unsettled = || LedgerEntry { unsettled_until: Some(at(60)), ..gone() };
    let held = || entry(1, AssignmentState::Present);
    let recorded = |before: Option<LedgerEntry>, after| released_change(before.as_ref(), &after).is_some();
    assert!(recorded(Some(held()), gone()));
    assert!(recorded(Some(unsettled()), gone()));
    assert!(!recorded(Some(held()), held()));
    assert!(!recorded(Some(held()), unsettled()));
    assert!(!recorded(Some(gone()), gone()));
    assert!(!recorded(None, gone()));
}

/// Binding, kind and reason of what is recorded of the waits before and after a round.
fn recorded(before: &[PendingStep], after: &[PendingStep]) -> Vec<(String, StepKind, Option<ReasonCode>)> {
    let mut gathered = gathered();
    gathered.ledger.waits = before.to_vec();
    let parts = |change| match change {
        AuditEvent::WaitChanged { person, binding, operation, reason } if person == gathered.user => {
            (binding.to_string(), operation, reason)
        }
        other => panic!("{other:?}"),
    };
    wait_changes(&gathered, after).into_iter().map(parts).collect()
}

#[test]
fn a_wait_is_recorded_where_it_begins_changes_its_reason_or_ends() {
    let throttled = || wait("a", ReasonCode::Throttled);
    let unanswered = || wait("a", ReasonCode::NoAnswer);
    let revocation = || PendingStep { wanted: false, ..throttled() };
    let began = |reason| vec![("a".to_owned(), StepKind::Grant, Some(reason))];
    let ended = || vec![("a".to_owned(), StepKind::Grant, None)];
    assert_eq!(recorded(&[], &[]), []);
    assert_eq!(recorded(&[], &[throttled()]), began(ReasonCode::Throttled));
    assert_eq!(recorded(&[throttled()], &[throttled()]), []);
    assert_eq!(
        recorded(&[throttled()], &[PendingStep { attempts: 2, not_before: at(90), ..throttled() }]),
        []
    );
    assert_eq!(recorded(&[throttled()], &[unanswered()]), began(ReasonCode::NoAnswer));
    assert_eq!(recorded(&[throttled()], &[]), ended());
    // A revocation of the same binding is another wait.
    let turned = recorded(&[throttled()], &[revocation()]);
    let revoke = ("a".to_owned(), StepKind::Revoke, Some(ReasonCode::Throttled));
    assert_eq!(turned, [vec![revoke], ended()].concat());
    // So is one at another scope, and one of another binding.
    let elsewhere = || PendingStep { scope: scope(2), ..throttled() };
    assert_eq!(recorded(&[elsewhere()], &[throttled()]), [began(ReasonCode::Throttled), ended()].concat());
    let other = recorded(&[wait("b", ReasonCode::Throttled)], &[throttled()]);
    assert_eq!(other, [began(ReasonCode::Throttled), vec![("b".to_owned(), StepKind::Grant, None)]].concat());
}

/// A principal that the ledger's rows name, and one that none of them does.
const OWN: PrincipalId = PrincipalId::new(Uuid::nil());
const OTHER: PrincipalId = PrincipalId::new(Uuid::from_u128(9));

fn freed(mut gathered: GatheredState, after: &[LedgerEntry]) -> Vec<PrincipalId> {
    let pin = |principal| PrincipalPin { principal, etag: ETag("1".to_owned()) };
    gathered.ledger.pins = vec![pin(OWN), pin(OTHER)];
    principals_to_free(&gathered, after).into_iter().map(|pin| pin.principal).collect()
}

#[test]
fn a_principal_is_freed_where_the_record_is_gone_or_names_another() {
    assert_eq!(freed(gathered(), &[]), [OWN, OTHER]);
    assert_eq!(freed(living(true, Some(OWN), OWN), &[]), [OTHER]);
    assert_eq!(freed(living(true, Some(OTHER), OTHER), &[]), [OWN]);
    let mut frozen = living(true, Some(OWN), OWN);
    frozen.desired.frozen = true;
    assert_eq!(freed(frozen, &[]), []);
    let mut gone_and_frozen = gathered();
    gone_and_frozen.desired.frozen = true;
    assert_eq!(freed(gone_and_frozen, &[]), [OWN, OTHER]);
}

#[test]
fn a_principal_is_kept_while_a_row_of_it_may_be_held_or_cannot_be_read() {
    let unsettled = LedgerEntry { unsettled_until: Some(at(60)), ..entry(1, AssignmentState::Gone) };
    for busy in [entry(1, AssignmentState::Present), unsettled] {
        assert_eq!(freed(gathered(), &[entry(2, AssignmentState::Gone), busy]), [OTHER]);
    }
    assert_eq!(freed(gathered(), &[entry(2, AssignmentState::Gone)]), [OWN, OTHER]);
    assert_eq!(freed(unreadable(), &[]), []);
    let mut rows_unreadable = gathered();
    rows_unreadable.ledger.rows_unreadable = 1;
    assert_eq!(freed(rows_unreadable, &[]), []);
}

#[test]
fn what_a_round_wrote_stands_in_for_what_it_read() {
    let mut gathered = gathered();
    gathered.ledger = ledger([entry(1, AssignmentState::Present), entry(2, AssignmentState::Present)]);
    let rewrite = |entry| Rewrite { entry, etag: None, kind: None, settles: true, change: None };
    let written = [rewrite(entry(2, AssignmentState::Gone)), rewrite(entry(3, AssignmentState::Gone))];
    let mut states: Vec<_> =
        entries_after(&gathered, &written).into_iter().map(|entry| (entry.scope, entry.state)).collect();
    states.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [(1, AssignmentState::Present), (2, AssignmentState::Gone), (3, AssignmentState::Gone)];
    assert_eq!(states, expected.map(|(number, state)| (scope(number), state)));
}
