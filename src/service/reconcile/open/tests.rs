//! The row as an open writes it, and what an answer means.

use crate::id::{InstanceId, PrincipalId};
use crate::ports::role_assignments::{ArmAnswer, AssignmentError, CreateOutcome, RejectionReason};
use crate::rbac::Scope;
use crate::rbac::ledger::RetryState;
use crate::rbac::{AssignmentName, BackupRole, BindingName, PrincipalType, ReasonCode};
use crate::service::reconcile::act::{created, failed};
use crate::service::reconcile::calls::CallOutcome;
use crate::service::reconcile::gather::tests::{gathered, living, unreadable};
use crate::service::reconcile::open::*;
use std::collections::BTreeSet;
use time::macros::datetime;
use uuid::Uuid;

const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn at(seconds: i64) -> OffsetDateTime {
    NOON + time::Duration::seconds(seconds)
}

fn op(number: u128) -> OpId {
    OpId::new(Uuid::from_u128(number))
}

fn binding(text: &str) -> BindingName {
    BindingName::parse(text).unwrap()
}

fn step(kind: StepKind, entry: Option<LedgerEntry>) -> Step {
    let vault = "resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/east";
    let scope = Scope::parse(&format!("/subscriptions/{}/{vault}", Uuid::from_u128(1))).unwrap();
    let principal = PrincipalId::new(Uuid::from_u128(7));
    let instance = InstanceId::new(Uuid::nil());
    Step {
        kind,
        assignment: AssignmentName::derive(&scope, BackupRole::Operator, principal, instance),
        principal,
        principal_type: PrincipalType::User,
        role: BackupRole::Operator,
        scope,
        bindings: vec![binding("new")],
        reasons: BTreeSet::new(),
        held_before: kind == StepKind::Revoke,
        entry,
        settles: true,
        made_room: false,
    }
}

fn opened(step: &Step) -> LedgerEntry {
    about_to_become(step, op(2), NOON, at(-5), at(150))
}

/// A row that an earlier open wrote and its close settled.
fn earlier(holding: AssignmentState) -> LedgerEntry {
    let retry = RetryState {
        kind: StepKind::Grant,
        attempts: 3,
        not_before: at(-60),
        reason: ReasonCode::NoAnswer,
        cause: None,
    };
    LedgerEntry {
        state: holding,
        op: op(1),
        bindings: vec![binding("old")],
        unsettled_until: None,
        correlation: Some("earlier".to_owned()),
        retry: Some(retry),
        since: at(-600),
        written: at(-300),
        ..opened(&step(StepKind::Grant, None))
    }
}

#[test]
fn a_first_grant_opens_a_row_that_says_what_will_be_and_is_unsettled() {
    let step = step(StepKind::Grant, None);
    let entry = opened(&step);
    assert_eq!((entry.assignment, entry.principal), (step.assignment, step.principal));
    assert_eq!((entry.role, &entry.scope), (step.role, &step.scope));
    assert_eq!((entry.state, entry.unsettled_until), (AssignmentState::Present, Some(at(150))));
    assert_eq!((entry.op, entry.bindings), (op(2), vec![binding("new")]));
    assert_eq!((entry.since, entry.written), (NOON, NOON));
    assert_eq!((entry.unwanted_since, entry.retry, entry.correlation), (None, None, None));
}

#[test]
fn a_revocation_opens_the_row_as_gone_and_keeps_since_when_it_is_unwanted() {
    let revoked = |unwanted_since| {
        let held = LedgerEntry { unwanted_since, ..earlier(AssignmentState::Present) };
        opened(&step(StepKind::Revoke, Some(held)))
    };
    let entry = revoked(None);
    assert_eq!((entry.state, entry.unsettled_until), (AssignmentState::Gone, Some(at(150))));
    assert_eq!(entry.unwanted_since, Some(at(-5)), "since the change that took it away");
    assert_eq!(revoked(Some(at(-900))).unwanted_since, Some(at(-900)));
}

#[test]
fn a_grant_clears_since_when_it_was_unwanted() {
    let unwanted = LedgerEntry { unwanted_since: Some(at(-900)), ..earlier(AssignmentState::Gone) };
    assert_eq!(opened(&step(StepKind::Grant, Some(unwanted))).unwanted_since, None);
}

#[test]
fn what_an_earlier_step_left_is_carried_along_and_since_moves_only_with_the_holding() {
    let entry = opened(&step(StepKind::Grant, Some(earlier(AssignmentState::Gone))));
    assert_eq!((entry.since, entry.written), (NOON, NOON));
    assert_eq!(entry.retry.map(|retry| retry.attempts), Some(3));
    assert_eq!(entry.correlation.as_deref(), Some("earlier"));
    let again = opened(&step(StepKind::Grant, Some(earlier(AssignmentState::Present))));
    assert_eq!((again.since, again.written), (at(-600), NOON));
}

#[test]
fn an_answer_that_it_was_there_already_is_a_grant_and_another_s_is_not() {
    let answer = |value| created(ArmAnswer { value, correlation: Some("c".to_owned()) });
    for creation in [CreateOutcome::Created, CreateOutcome::AlreadyOurs] {
        assert!(matches!(answer(creation), (CallOutcome::Created, Some(correlation)) if correlation == "c"));
    }
    let other = step(StepKind::Grant, None).assignment;
    assert!(matches!(answer(CreateOutcome::HeldBy(other)).0, CallOutcome::HeldBy(name) if name == other));
}

#[test]
fn only_an_error_that_azure_answered_with_is_relied_on() {
    let sent = |error| failed(&step(StepKind::Revoke, None), "entra", error).0;
    let wait = Duration::from_secs(7);
    let throttled = AssignmentError::Throttled { retry_after: wait, correlation: None };
    assert!(matches!(sent(throttled), CallOutcome::Throttled(after) if after == wait));
    let rejected = AssignmentError::Rejected {
        reason: RejectionReason::ScopeLocked,
        code: "ScopeLocked".to_owned(),
        status: 409,
        correlation: None,
    };
    assert!(
        matches!(sent(rejected), CallOutcome::Rejected { reason: RejectionReason::ScopeLocked, code } if code == "ScopeLocked")
    );
    assert!(matches!(sent(AssignmentError::Unknown { detail: "reset".to_owned() }), CallOutcome::Unknown));
}

#[test]
fn a_revocation_says_what_took_the_role_away() {
    let why = |gathered: &GatheredState| reasons(gathered, &step(StepKind::Revoke, None));
    let (own, other) = (PrincipalId::new(Uuid::from_u128(7)), PrincipalId::new(Uuid::from_u128(8)));
    assert_eq!(why(&gathered()), ["the user was deleted"]);
    assert_eq!(why(&unreadable()), ["no group of the user gives it any more"]);
    assert_eq!(why(&living(false, Some(own), own)), ["the user is inactive"]);
    assert_eq!(why(&living(true, Some(other), own)), ["the Entra object id changed"]);
    for pinned in [None, Some(own)] {
        assert_eq!(why(&living(true, pinned, own)), ["no group of the user gives it any more"]);
    }
}

#[test]
fn a_grant_says_which_groups_give_it() {
    let [group, inner, own] = [3, 4, 5].map(|n| crate::id::GroupId::new(Uuid::from_u128(n)));
    let said = |through: Vec<crate::id::GroupId>| {
        let reason = crate::rbac::plan::GrantReason { binding: binding("new"), group, through };
        let step = Step { reasons: BTreeSet::from([reason]), ..step(StepKind::Grant, None) };
        reasons(&gathered(), &step)
    };
    assert_eq!(said(Vec::new()), [format!("member of group {group} of binding new")]);
    let way = format!("group {own}, which is in group {inner}, which is in group {group}");
    assert_eq!(said(vec![own, inner]), [format!("member of {way} of binding new")]);
}

#[test]
fn the_record_of_an_open_says_what_is_wanted_and_which_open_it_ends() {
    let record = |kind, entry| match super::opened(&gathered(), &step(kind, entry)) {
        AuditEvent::EffectOpened { wanted, held_before, follows, .. } => (wanted, held_before, follows),
        other => panic!("{other:?}"),
    };
    let settled = || Some(earlier(AssignmentState::Present));
    let unsettled =
        || Some(LedgerEntry { unsettled_until: Some(at(60)), ..earlier(AssignmentState::Present) });
    for (kind, wanted) in [(StepKind::Grant, true), (StepKind::Revoke, false)] {
        assert_eq!(record(kind, None), (wanted, !wanted, None));
        assert_eq!(record(kind, settled()), (wanted, !wanted, None));
        assert_eq!(record(kind, unsettled()), (wanted, !wanted, Some(op(1))));
    }
}
