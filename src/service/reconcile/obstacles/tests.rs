//! What the answers of one round say about scopes that refuse and about room in full subscriptions.

use crate::id::{InstanceId, OpId, PrincipalId};
use crate::ports::role_assignments::RejectionReason;
use crate::ports::tables::ETag;
use crate::rbac::ledger::{LedgerEntry, RetryState};
use crate::rbac::plan::DesiredGrant;
use crate::rbac::{AssignmentName, BackupRole, PrincipalType, Scope};
use crate::service::reconcile::calls::OpenedStep;
use crate::service::reconcile::gather::tests::{gathered, ledger};
use crate::service::reconcile::obstacles::*;
use std::collections::BTreeSet;
use time::macros::datetime;
use uuid::Uuid;

const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const FULL: u128 = 1;
const OTHER: u128 = 2;

fn at(seconds: i64) -> OffsetDateTime {
    NOON + time::Duration::seconds(seconds)
}

fn subscription(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

/// The row of an assignment in a subscription, and the grant that wants it.
fn row(number: u128) -> (LedgerEntry, DesiredGrant) {
    let scope = Scope::parse(&format!("/subscriptions/{}", subscription(number))).unwrap();
    let (principal, role) = (PrincipalId::new(Uuid::nil()), BackupRole::Operator);
    let instance = InstanceId::new(Uuid::nil());
    let assignment = AssignmentName::derive(&scope, role, principal, instance);
    let op = OpId::new(Uuid::nil());
    let entry = LedgerEntry::never_opened(assignment, principal, role, scope.clone(), op, at(-600));
    let principal_type = PrincipalType::User;
    (entry, DesiredGrant { principal, principal_type, role, scope, reasons: BTreeSet::new() })
}

fn call(kind: StepKind, number: u128, made_room: bool, outcome: CallOutcome) -> CompletedCall {
    let (entry, wanted) = row(number);
    let step = Step {
        kind,
        assignment: entry.assignment,
        principal: wanted.principal,
        principal_type: wanted.principal_type,
        role: wanted.role,
        scope: wanted.scope,
        bindings: Vec::new(),
        reasons: BTreeSet::new(),
        held_before: false,
        entry: None,
        settles: true,
        made_room,
    };
    let opened = OpenedStep { step, entry, etag: ETag("1".to_owned()) };
    CompletedCall { opened, outcome, correlation: None }
}

/// ARM rejected the call for that reason.
fn rejected(reason: RejectionReason) -> CallOutcome {
    CallOutcome::Rejected { reason, code: "Code".to_owned() }
}

fn revocation(outcome: CallOutcome) -> CompletedCall {
    call(StepKind::Revoke, FULL, false, outcome)
}

fn lock(attempts: u32, seconds: i64) -> ScopeBlock {
    ScopeBlock { reason: ReasonCode::ScopeLocked, attempts, not_before: at(seconds) }
}

/// What a round writes of blocks, where there was one before or not.
fn blocks(before: Option<ScopeBlock>, acted: &[CompletedCall]) -> Vec<TableWrite> {
    let mut gathered = gathered();
    let stored = before.map(|block| (key(), StoredBlock { block, etag: ETag("1".to_owned()) }));
    gathered.blocks.extend(stored);
    block_writes(&gathered, acted, NOON)
}

fn key() -> BlockKey {
    revocation(CallOutcome::Unknown).opened.step.block_key()
}

#[test]
fn a_scope_that_refuses_is_blocked_for_longer_each_time() {
    let locked = || [revocation(rejected(RejectionReason::ScopeLocked))];
    assert_eq!(blocks(None, &locked()), [scope_blocks::put(&key(), &lock(1, 30))]);
    assert_eq!(blocks(Some(lock(1, -5)), &locked()), [scope_blocks::put(&key(), &lock(2, 60))]);
    // What concerns one principal only says that the scope allows it.
    let refusal = [revocation(rejected(RejectionReason::PrincipalNotFound))];
    assert_eq!(blocks(None, &refusal), []);
    assert_eq!(blocks(Some(lock(1, -5)), &refusal), [scope_blocks::lift(&key())]);
}

#[test]
fn only_an_answer_lifts_a_block() {
    let after = |outcome| blocks(Some(lock(1, -5)), &[revocation(outcome)]);
    assert_eq!(after(CallOutcome::Deleted), [scope_blocks::lift(&key())]);
    for silent in [CallOutcome::Throttled(Duration::from_secs(5)), CallOutcome::Unknown] {
        assert_eq!(after(silent), []);
    }
    assert_eq!(blocks(None, &[revocation(CallOutcome::Deleted)]), [], "there is none to lift");
    assert_eq!(blocks(Some(lock(1, -5)), &[call(StepKind::Grant, FULL, false, CallOutcome::Created)]), []);
    // One of two at the same scope was refused: it still refuses.
    let both = [revocation(CallOutcome::Deleted), revocation(rejected(RejectionReason::ScopeLocked))];
    assert_eq!(blocks(Some(lock(1, -5)), &both), [scope_blocks::put(&key(), &lock(2, 60))]);
}

/// A person with one grant in the full subscription: wanted or not, and refused before or not.
fn person(claim: RoomClaim, is_wanted: bool, refused: Option<(StepKind, ReasonCode)>) -> GatheredState {
    let mut gathered = gathered();
    let (mut entry, wanted) = row(FULL);
    entry.retry = refused.map(|(kind, reason)| RetryState {
        kind,
        attempts: 1,
        not_before: at(60),
        reason,
        cause: None,
    });
    gathered.desired.grants.extend(is_wanted.then_some((entry.assignment, wanted)));
    gathered.ledger = ledger([entry]);
    gathered.actual.room.insert(subscription(FULL), claim);
    gathered
}

fn waiting(claim: RoomClaim) -> GatheredState {
    person(claim, true, Some((StepKind::Grant, ReasonCode::AssignmentLimit)))
}

fn room(gathered: &GatheredState, acted: &[CompletedCall]) -> Vec<TableWrite> {
    room_writes(gathered, &Plan::default(), acted, NOON)
}

fn released() -> Vec<TableWrite> {
    vec![room_claims::release(&subscription(FULL))]
}

#[test]
fn a_place_that_was_made_and_lost_stops_the_moving_there() {
    let lost =
        |made_room| [call(StepKind::Grant, FULL, made_room, rejected(RejectionReason::AssignmentLimit))];
    let gathered = waiting(RoomClaim::Ours);
    let stopped = room_claims::stop(&subscription(FULL), gathered.user, NOON);
    assert_eq!(room(&gathered, &lost(true)), [stopped]);
    assert_eq!(room(&gathered, &lost(false)), [], "this person made no room for it");
    let other = [call(StepKind::Grant, FULL, true, rejected(RejectionReason::ScopeLocked))];
    assert_eq!(room(&gathered, &other), [], "another reason");
    let elsewhere = [call(StepKind::Grant, OTHER, true, rejected(RejectionReason::AssignmentLimit))];
    assert_eq!(room(&gathered, &elsewhere), [], "another subscription");
    assert_eq!(room(&waiting(RoomClaim::Stopped), &lost(true)), [], "it is stopped already");
}

#[test]
fn a_grant_that_succeeds_ends_the_claim_unless_it_is_another_persons() {
    let granted = |number| [call(StepKind::Grant, number, false, CallOutcome::Created)];
    for claim in [RoomClaim::Ours, RoomClaim::Stopped] {
        assert_eq!(room(&waiting(claim), &granted(FULL)), released(), "{claim:?}");
        assert_eq!(room(&waiting(claim), &granted(OTHER)), [], "{claim:?}");
        assert_eq!(room(&waiting(claim), &[revocation(CallOutcome::Deleted)]), [], "{claim:?}");
    }
    assert_eq!(room(&waiting(RoomClaim::Taken { until: at(60) }), &granted(FULL)), []);
}

#[test]
fn a_claim_ends_when_its_person_needs_no_room_any_more() {
    let limit = Some((StepKind::Grant, ReasonCode::AssignmentLimit));
    let check = |gathered: &GatheredState, keeps: bool| {
        assert_eq!(room(gathered, &[]), if keeps { vec![] } else { released() });
    };
    check(&person(RoomClaim::Ours, true, limit), true);
    check(&person(RoomClaim::Ours, false, limit), false);
    check(&person(RoomClaim::Ours, true, None), false);
    check(&person(RoomClaim::Ours, true, Some((StepKind::Grant, ReasonCode::ScopeLocked))), false);
    check(&person(RoomClaim::Ours, true, Some((StepKind::Revoke, ReasonCode::AssignmentLimit))), false);
    check(&person(RoomClaim::Stopped, false, None), true);
    // A grant that waits for room in another subscription needs none here.
    let mut elsewhere = waiting(RoomClaim::Ours);
    elsewhere.actual.room = [(subscription(OTHER), RoomClaim::Ours)].into();
    assert_eq!(room(&elsewhere, &[]), [room_claims::release(&subscription(OTHER))]);
    // The plan's revocation makes room now.
    let plan = |number| Plan { makes_room: Some(subscription(number)), ..Plan::default() };
    let gathered = person(RoomClaim::Ours, true, None);
    assert_eq!(room_writes(&gathered, &plan(FULL), &[], NOON), []);
    assert_eq!(room_writes(&gathered, &plan(OTHER), &[], NOON), released());
}

#[test]
fn an_open_claims_the_probe_of_a_block_and_the_room_that_is_free() {
    let mut gathered = gathered();
    gathered.blocks.insert(key(), StoredBlock { block: lock(2, -5), etag: ETag("7".to_owned()) });
    let step = || revocation(CallOutcome::Unknown).opened.step;
    let plan = Plan { steps: vec![step(), step()], ..Plan::default() };
    // Two steps of one block are one probe.
    let probe = scope_blocks::probe(&key(), &lock(2, 30), &ETag("7".to_owned()));
    assert_eq!(claims(&gathered, &plan, NOON), [probe]);

    let makes_room = Plan { makes_room: Some(subscription(FULL)), ..Plan::default() };
    let claim = room_claims::claim(&subscription(FULL), gathered.user, NOON, None);
    assert_eq!(claims(&gathered, &makes_room, NOON), [claim]);
    assert_eq!(claims(&waiting(RoomClaim::Ours), &makes_room, NOON), [], "it is this person's already");
}
