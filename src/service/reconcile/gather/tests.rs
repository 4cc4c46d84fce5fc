//! Which rows are believed, what Azure is asked of the others, and when again.

use crate::audit::{ChangeCause, ChangeOrigin};
use crate::id::{InstanceId, OpId};
use crate::ports::tables::{ETag, RowProperties};
use crate::rbac::ledger::{RetryState, StepKind};
use crate::rbac::{BackupRole, BindingName};
use crate::scim::{Resource, ResourceType};
use crate::service::reconcile::gather::*;
use crate::store::reconcile_queue::ReconcileRequest;
use serde_json::json;
use time::macros::datetime;
use uuid::Uuid;

const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn at(seconds: i64) -> OffsetDateTime {
    NOON + time::Duration::seconds(seconds)
}

fn scope(number: usize) -> Scope {
    let subscription = Uuid::from_u128(1);
    let vault = format!("resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/v{number}");
    Scope::parse(&format!("/subscriptions/{subscription}/{vault}")).unwrap()
}

fn name(number: usize) -> AssignmentName {
    let principal = PrincipalId::new(Uuid::nil());
    let instance = InstanceId::new(Uuid::nil());
    AssignmentName::derive(&scope(number), BackupRole::Operator, principal, instance)
}

fn entry(number: usize, holding: AssignmentState, until: Option<i64>) -> LedgerEntry {
    LedgerEntry {
        assignment: name(number),
        principal: PrincipalId::new(Uuid::nil()),
        role: BackupRole::Operator,
        scope: scope(number),
        state: holding,
        unsettled_until: until.map(at),
        op: OpId::new(Uuid::nil()),
        bindings: vec![BindingName::parse("a").unwrap()],
        correlation: None,
        retry: None,
        unwanted_since: None,
        hold: None,
        since: at(-600),
        written: at(-50),
    }
}

fn retry(entry: LedgerEntry, not_before: i64) -> LedgerEntry {
    let kind = StepKind::Grant;
    let reason = ReasonCode::ForeignAssignment;
    let retry = RetryState { kind, attempts: 1, not_before: at(not_before), reason, cause: None };
    LedgerEntry { retry: Some(retry), ..entry }
}

pub fn ledger(entries: impl IntoIterator<Item = LedgerEntry>) -> UserLedger {
    let stored = |entry: LedgerEntry| StoredEntry {
        entry,
        etag: ETag("1".to_owned()),
        kept: RowProperties::default(),
    };
    UserLedger { entries: entries.into_iter().map(stored).collect(), ..UserLedger::default() }
}

/// A round for a person whose record is gone and who never held anything: what a test is about, it sets.
pub fn gathered() -> GatheredState {
    let user = UserId::new(Uuid::from_u128(11));
    let origin = ChangeOrigin {
        cause: ChangeCause::Request,
        actor: "entra".to_owned(),
        op: OpId::new(Uuid::from_u128(12)),
    };
    let actual = Actual {
        now: NOON,
        observed: Vec::new(),
        throttled: BTreeMap::new(),
        blocks: BTreeMap::new(),
        room: BTreeMap::new(),
        requested_by: origin.op,
        requested_at: NOON,
        holds: Holds::default(),
        instance: InstanceId::new(Uuid::nil()),
    };
    GatheredState {
        user,
        request: QueuedRequest { user, request: ReconcileRequest::gain(origin), etag: ETag("1".to_owned()) },
        time: TableTime { date: NOON, at: Duration::ZERO },
        pointer: ActiveVersionRow::Absent,
        levers: Levers::default(),
        header: HeaderState::Gone,
        principal: None,
        desired: Desired::default(),
        selector_pins: Vec::new(),
        missing_leads: Vec::new(),
        ledger: UserLedger::default(),
        actual,
        blocks: ScopeBlocks::new(),
        claims: RoomClaims::default(),
        snapshot: ActiveSnapshot::Absent,
        batches: Batches::default(),
        new_holds: BTreeMap::new(),
        to_pin: BTreeSet::new(),
    }
}

/// The same person with a record that names a principal.
pub fn living(active: bool, pinned: Option<PrincipalId>, principal: PrincipalId) -> GatheredState {
    let serde_json::Value::Object(attributes) = json!({"active": active}) else { unreachable!() };
    let resource = Resource::from_stored(ResourceType::User, attributes);
    let person = PersonHeader { resource, pinned, etag: ETag("1".to_owned()) };
    GatheredState { header: HeaderState::Readable(person), principal: Some(principal), ..gathered() }
}

/// The same person with a record whose header cannot be read.
pub fn unreadable() -> GatheredState {
    GatheredState { header: HeaderState::Unreadable, ..gathered() }
}

/// By what name Azure is asked of that one entry, and whether its answer settles the row.
fn question(entry: LedgerEntry) -> Option<(AssignmentName, bool)> {
    let asked = questions(&ledger([entry.clone()]), NOON);
    match asked.get(&entry.assignment)? {
        Question::Ask { name, due } => Some((*name, *due)),
        Question::NextRound => panic!("one question fits"),
    }
}

#[test]
fn azure_is_asked_of_what_is_unsettled_and_an_answer_settles_only_after_its_time() {
    assert_eq!(question(entry(1, AssignmentState::Present, None)), None);
    assert_eq!(question(entry(1, AssignmentState::Gone, None)), None);
    for holding in [AssignmentState::Present, AssignmentState::Gone, AssignmentState::HeldByOther(name(2))] {
        assert_eq!(question(entry(1, holding, Some(1))), Some((name(1), false)));
        assert_eq!(question(entry(1, holding, Some(0))), Some((name(1), true)));
        assert_eq!(question(entry(1, holding, Some(-1))), Some((name(1), true)));
    }
}

#[test]
fn a_foreign_assignment_is_asked_for_by_its_own_name_when_its_time_has_come() {
    let foreign = entry(1, AssignmentState::HeldByOther(name(2)), None);
    assert_eq!(question(foreign.clone()), Some((name(2), true)));
    assert_eq!(question(retry(foreign.clone(), 1)), None);
    assert_eq!(question(retry(foreign, 0)), Some((name(2), true)));
}

#[test]
fn one_round_asks_first_what_an_answer_settles() {
    let early = (0..ASKS_MAX).map(|number| entry(number, AssignmentState::Present, Some(60)));
    let due = (ASKS_MAX..ASKS_MAX + 5).map(|number| entry(number, AssignmentState::Gone, Some(-60)));
    let asked = questions(&ledger(early.chain(due)), NOON);
    assert_eq!(asked.len(), ASKS_MAX + 5);
    let is_asked = |number: usize| matches!(asked.get(&name(number)), Some(Question::Ask { .. }));
    assert_eq!((0..ASKS_MAX + 5).filter(|number| is_asked(*number)).count(), ASKS_MAX);
    assert!((ASKS_MAX..ASKS_MAX + 5).all(is_asked));
}

#[test]
fn a_question_without_an_answer_is_asked_again_after_as_long_as_it_was_missed() {
    let pause = |entry: LedgerEntry| ask_again(&entry, NOON).as_secs();
    assert_eq!(pause(entry(1, AssignmentState::Gone, Some(-10))), 30);
    assert_eq!(pause(entry(1, AssignmentState::Gone, Some(-100))), 100);
    assert_eq!(pause(entry(1, AssignmentState::Gone, Some(-2000))), 600);
    // Before its time nothing is missed: it counts from when the row was written.
    assert_eq!(pause(entry(1, AssignmentState::Gone, Some(100))), 50);
    assert_eq!(pause(entry(1, AssignmentState::Gone, None)), 50);
    assert_eq!(pause(retry(entry(1, AssignmentState::HeldByOther(name(2)), None), -200)), 200);
    assert_eq!(pause(retry(entry(1, AssignmentState::Gone, Some(-100)), -200)), 100);
}

#[test]
fn the_clock_of_the_tables_goes_on_with_ours_and_never_back() {
    let time = TableTime { date: NOON, at: Duration::from_secs(100) };
    assert_eq!(time.now(Duration::from_secs(100)), NOON);
    assert_eq!(time.now(Duration::from_secs(107)), at(7));
    assert_eq!(time.now(Duration::from_secs(90)), NOON);
}

#[test]
fn an_assignment_of_that_name_counts_only_with_its_scope_principal_and_role() {
    let entry = entry(1, AssignmentState::Present, None);
    let own = PrincipalId::new(Uuid::nil());
    let other = PrincipalId::new(Uuid::from_u128(9));
    assert!(same_triple(&entry, &scope(1), own, BackupRole::Operator));
    assert!(!same_triple(&entry, &scope(2), own, BackupRole::Operator));
    assert!(!same_triple(&entry, &scope(1), other, BackupRole::Operator));
    assert!(!same_triple(&entry, &scope(1), own, BackupRole::Reader));
}
