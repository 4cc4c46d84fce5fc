//! The rules of a plan, each over a person made up of a few lines.

mod evidence;
mod full_subscription;
mod holds;
mod pending;

use super::*;
use crate::id::{GroupId, InstanceId, OpId, PrincipalId};
use crate::rbac::ledger::PendingStep;
use crate::rbac::ledger::{AssignmentState, LedgerEntry, RetryState, StepKind};
use crate::rbac::{AssignmentName, BackupRole, BindingName, PrincipalType, ReasonCode, Scope};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);
const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

fn later(seconds: i64) -> OffsetDateTime {
    NOW + time::Duration::seconds(seconds)
}

fn name(number: u128) -> AssignmentName {
    AssignmentName::derive(&scope(number), BackupRole::Operator, principal(), instance())
}

fn binding(text: &str) -> BindingName {
    BindingName::parse(text).unwrap()
}

fn instance() -> InstanceId {
    InstanceId::new(Uuid::from_u128(8))
}

/// The change that every plan here follows from.
fn cause() -> OpId {
    OpId::new(Uuid::from_u128(5))
}

fn principal() -> PrincipalId {
    PrincipalId::new(Uuid::from_u128(7))
}

/// Each assignment has a scope of its own.
fn scope(number: u128) -> Scope {
    let vault = format!("providers/Microsoft.RecoveryServices/vaults/v{number}");
    Scope::parse(&format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/backup/{vault}")).unwrap()
}

fn wanted(number: u128, bindings: &[&str]) -> (AssignmentName, DesiredGrant) {
    let reason = |text: &&str| GrantReason {
        binding: binding(text),
        group: GroupId::new(Uuid::from_u128(1)),
        through: Vec::new(),
    };
    let wanted = DesiredGrant {
        principal: principal(),
        principal_type: PrincipalType::User,
        role: BackupRole::Operator,
        scope: scope(number),
        reasons: bindings.iter().map(reason).collect(),
    };
    (name(number), wanted)
}

fn wants(grants: impl IntoIterator<Item = (AssignmentName, DesiredGrant)>) -> Desired {
    Desired { grants: grants.into_iter().collect(), ..Desired::default() }
}

fn entry(number: u128, holding: AssignmentState, bindings: &[&str]) -> LedgerEntry {
    LedgerEntry {
        assignment: name(number),
        principal: principal(),
        role: BackupRole::Operator,
        scope: scope(number),
        state: holding,
        unsettled_until: None,
        op: OpId::new(Uuid::from_u128(9)),
        bindings: bindings.iter().map(|text| binding(text)).collect(),
        correlation: None,
        retry: None,
        unwanted_since: None,
        hold: None,
        since: later(-600),
        written: later(-600),
    }
}

fn unsettled(entry: LedgerEntry, seconds: i64) -> LedgerEntry {
    LedgerEntry { unsettled_until: Some(later(seconds)), ..entry }
}

fn retry(entry: LedgerEntry, kind: StepKind, seconds: i64) -> LedgerEntry {
    let (not_before, reason) = (later(seconds), ReasonCode::AzureRefused);
    let retry = RetryState { kind, attempts: 1, not_before, reason, cause: Some(cause()) };
    LedgerEntry { retry: Some(retry), ..entry }
}

fn fact(entry: LedgerEntry, belief: Evidence) -> ObservedEntry {
    ObservedEntry { entry, evidence: belief }
}

fn settled(entry: LedgerEntry) -> ObservedEntry {
    fact(entry, Evidence::Ledger)
}

fn holding(facts: impl IntoIterator<Item = ObservedEntry>) -> Actual {
    Actual {
        now: NOW,
        observed: facts.into_iter().collect(),
        throttled: BTreeMap::new(),
        blocks: BTreeMap::new(),
        room: BTreeMap::new(),
        requested_by: cause(),
        requested_at: NOW,
        holds: Holds::default(),
        instance: instance(),
    }
}

fn plan_of(desired: &Desired, actual: &Actual) -> Plan {
    plan(desired, actual, &PlanLimits::default())
}

/// Kind and number of each step, in their order.
fn steps(plan: &Plan) -> Vec<(StepKind, u128)> {
    plan.steps.iter().map(|step| (step.kind, number(step.assignment))).collect()
}

fn number(name: AssignmentName) -> u128 {
    (0..1000).find(|number| self::name(*number) == name).unwrap()
}

fn deferred(plan: &Plan) -> Vec<(StepKind, u128, ReasonCode, OffsetDateTime)> {
    let parts = |d: &DeferredStep| (d.kind, number(d.assignment), d.reason, d.not_before);
    plan.deferred.iter().map(parts).collect()
}

/// What is so when every step was answered well and every row was written.
fn applied(actual: &Actual, plan: &Plan) -> Actual {
    let mut entries: BTreeMap<AssignmentName, LedgerEntry> =
        actual.observed.iter().map(|fact| (fact.entry.assignment, fact.entry.clone())).collect();
    for step in &plan.steps {
        let holding =
            if step.kind == StepKind::Grant { AssignmentState::Present } else { AssignmentState::Gone };
        let before = step.entry.clone().unwrap_or_else(|| entry(number(step.assignment), holding, &[]));
        let after =
            LedgerEntry { unsettled_until: None, retry: None, bindings: step.bindings.clone(), ..before };
        entries.insert(step.assignment, after.becoming(holding, actual.now));
    }
    for settle in &plan.settled {
        entries.insert(settle.entry.assignment, settle.entry.clone());
    }
    Actual { observed: entries.into_values().map(settled).collect(), ..actual.clone() }
}

/// A person with something of everything.
fn mixed() -> (Desired, Actual) {
    let desired = wants([
        wanted(1, &["new"]),
        wanted(2, &["kept"]),
        wanted(3, &["other", "kept"]),
        wanted(4, &["back"]),
        wanted(5, &["late"]),
    ]);
    let azure = |holds| Evidence::Azure { holds, due: true };
    let actual = holding([
        settled(entry(2, AssignmentState::Present, &["kept"])),
        settled(entry(3, AssignmentState::Present, &["kept"])),
        settled(entry(4, AssignmentState::Gone, &["back"])),
        fact(unsettled(entry(5, AssignmentState::Present, &["late"]), -1), azure(true)),
        settled(entry(6, AssignmentState::Present, &["gone"])),
        fact(unsettled(entry(7, AssignmentState::Gone, &["gone"]), -1), azure(true)),
        fact(unsettled(entry(8, AssignmentState::Gone, &["gone"]), -1), azure(false)),
        settled(entry(9, AssignmentState::HeldByOther(name(99)), &["gone"])),
    ]);
    (desired, actual)
}

#[test]
fn the_second_plan_is_empty() {
    let (desired, mut actual) = mixed();
    for _ in 0..3 {
        let plan = plan_of(&desired, &actual);
        actual = applied(&actual, &plan);
        if !plan.has_more {
            break;
        }
    }
    assert_eq!(plan_of(&desired, &actual), Plan::default());
}

#[test]
fn revocations_come_first() {
    let (desired, actual) = mixed();
    let plan = plan_of(&desired, &actual);
    let (revoke, grant) = (StepKind::Revoke, StepKind::Grant);
    assert_eq!(steps(&plan), [(revoke, 6), (revoke, 7), (grant, 4), (grant, 1)]);
    assert!(plan.steps.iter().all(|step| step.held_before == (step.kind == revoke)));
}

#[test]
fn the_order_of_facts_does_not_matter() {
    let (desired, mut actual) = mixed();
    let sorted = |mut plan: Plan| {
        plan.steps.sort_by_key(|step| step.assignment);
        plan.settled.sort_by_key(|settle| settle.entry.assignment);
        plan
    };
    let plan = sorted(plan_of(&desired, &actual));
    for _ in 0..actual.observed.len() {
        actual.observed.rotate_left(1);
        assert_eq!(sorted(plan_of(&desired, &actual)), plan);
    }
    actual.observed.reverse();
    assert_eq!(sorted(plan_of(&desired, &actual)), plan);
}

#[test]
fn a_round_has_sixteen_steps_and_the_next_one_the_rest() {
    let desired = wants((0..20).map(|number| wanted(number, &["b"])));
    let nothing = holding([]);
    let first = plan_of(&desired, &nothing);
    assert_eq!((first.steps.len(), first.has_more), (16, true));
    let second = plan_of(&desired, &applied(&nothing, &first));
    assert_eq!((second.steps.len(), second.has_more), (4, false));
}

#[test]
fn what_fits_a_round_exactly_leaves_nothing_for_the_next_one() {
    let desired = wants((0..16).map(|number| wanted(number, &["b"])));
    let due = |number| {
        let entry = unsettled(entry(number, AssignmentState::Gone, &["b"]), -1);
        fact(entry, Evidence::Azure { holds: false, due: true })
    };
    for rows in [0, 32] {
        let plan = plan_of(&desired, &holding((100..100 + rows).map(due)));
        assert_eq!((plan.steps.len(), plan.settled.len(), plan.has_more), (16, rows as usize, false));
    }
}

#[test]
fn a_close_writes_forty_eight_rows_steps_included() {
    let due = |number| {
        let entry = unsettled(entry(number, AssignmentState::Gone, &["b"]), -1);
        fact(entry, Evidence::Azure { holds: false, due: true })
    };
    let desired = wants((100..110).map(|number| wanted(number, &["b"])));
    let plan = plan_of(&desired, &holding((0..60).map(due)));
    assert_eq!((plan.steps.len(), plan.settled.len(), plan.has_more), (10, 38, true));
}

#[test]
fn what_was_never_tried_comes_first_and_then_what_was_tried_longest_ago() {
    let gone = |number| entry(number, AssignmentState::Gone, &["b"]);
    let desired = wants([1, 2, 3].map(|number| wanted(number, &["b"])));
    let actual = holding([
        settled(retry(gone(1), StepKind::Grant, -10)),
        settled(retry(gone(2), StepKind::Grant, -20)),
        settled(gone(3)),
    ]);
    let grant = StepKind::Grant;
    assert_eq!(steps(&plan_of(&desired, &actual)), [(grant, 3), (grant, 2), (grant, 1)]);
}

#[test]
fn a_step_that_failed_waits_for_its_time_and_one_of_the_other_kind_does_not() {
    let failed = |kind, seconds| retry(entry(1, AssignmentState::Present, &["b"]), kind, seconds);
    let plan_with = |entry| plan_of(&wants([]), &holding([settled(entry)]));
    let waiting = plan_with(failed(StepKind::Revoke, 10));
    assert_eq!(deferred(&waiting), [(StepKind::Revoke, 1, ReasonCode::AzureRefused, later(10))]);
    assert!(waiting.steps.is_empty() && !waiting.has_more);
    for entry in [failed(StepKind::Revoke, 0), failed(StepKind::Grant, 10)] {
        assert_eq!(steps(&plan_with(entry)), [(StepKind::Revoke, 1)]);
    }
}

#[test]
fn a_throttle_defers_steps_of_its_kind_in_its_subscription() {
    let desired = wants([wanted(1, &["b"])]);
    let throttled = |subscription: &str, kind, seconds| {
        let mut actual = holding([settled(entry(2, AssignmentState::Present, &["c"]))]);
        actual.throttled.insert((subscription.to_owned(), kind), later(seconds));
        plan_of(&desired, &actual)
    };
    let grants = throttled(SUBSCRIPTION, StepKind::Grant, 40);
    assert_eq!(steps(&grants), [(StepKind::Revoke, 2)]);
    assert_eq!(deferred(&grants), [(StepKind::Grant, 1, ReasonCode::Throttled, later(40))]);
    let revocations = throttled(SUBSCRIPTION, StepKind::Revoke, 40);
    assert_eq!(steps(&revocations), [(StepKind::Grant, 1)]);
    for (subscription, seconds) in [(SUBSCRIPTION, 0), ("00000000-0000-0000-0000-000000000002", 40)] {
        assert!(throttled(subscription, StepKind::Grant, seconds).deferred.is_empty());
    }
}

#[test]
fn a_binding_that_moves_grants_first() {
    let desired = wants([wanted(2, &["b"])]);
    let before = holding([settled(entry(1, AssignmentState::Present, &["b"]))]);
    let first = plan_of(&desired, &before);
    assert_eq!((steps(&first), first.has_more), (vec![(StepKind::Grant, 2)], true));
    let second = plan_of(&desired, &applied(&before, &first));
    assert_eq!((steps(&second), second.has_more), (vec![(StepKind::Revoke, 1)], false));
}

#[test]
fn a_binding_whose_new_grant_waits_keeps_the_old_one() {
    let desired = wants([wanted(2, &["b"])]);
    let mut actual = holding([settled(entry(1, AssignmentState::Present, &["b"]))]);
    actual.throttled.insert((SUBSCRIPTION.to_owned(), StepKind::Grant), later(40));
    let plan = plan_of(&desired, &actual);
    assert!(plan.steps.is_empty() && !plan.has_more);
    assert_eq!(
        deferred(&plan),
        [
            (StepKind::Grant, 2, ReasonCode::Throttled, later(40)),
            (StepKind::Revoke, 1, ReasonCode::Throttled, later(40))
        ]
    );
}

#[test]
fn a_foreign_assignment_is_never_revoked() {
    let other = AssignmentState::HeldByOther(name(99));
    let azure = |holds, due| Evidence::Azure { holds, due };
    for belief in [Evidence::Ledger, azure(true, true), azure(false, true)] {
        let row = retry(entry(1, other, &["b"]), StepKind::Grant, 0);
        let plan = plan_of(&wants([]), &holding([fact(row, belief.clone())]));
        assert!(plan.steps.is_empty(), "{belief:?}");
        let holding: Vec<_> = plan.settled.iter().map(|settle| settle.entry.state).collect();
        assert_eq!(holding, [AssignmentState::Gone], "{belief:?}");
    }
}

#[test]
fn a_foreign_assignment_that_is_gone_makes_room_for_ours() {
    let desired = wants([wanted(1, &["b"])]);
    let other = retry(entry(1, AssignmentState::HeldByOther(name(99)), &["b"]), StepKind::Grant, 0);
    let seen = |holds_it| {
        let belief = Evidence::Azure { holds: holds_it, due: true };
        plan_of(&desired, &holding([fact(other.clone(), belief)]))
    };
    assert_eq!(steps(&seen(false)), [(StepKind::Grant, 1)]);
    let still = seen(true);
    let again = still.settled.first().and_then(|settle| settle.entry.retry.as_ref()).unwrap();
    assert!(still.steps.is_empty());
    assert_eq!((again.not_before, again.reason), (later(3600), ReasonCode::ForeignAssignment));
}

#[test]
fn what_is_another_records_is_gone_without_a_step() {
    let unsettled_row = unsettled(entry(1, AssignmentState::Present, &["b"]), 100);
    for row in [entry(1, AssignmentState::Present, &["b"]), unsettled_row] {
        let plan = plan_of(&wants([]), &holding([fact(row, Evidence::NotOurs)]));
        let settle = plan.settled.first().unwrap();
        assert!(plan.steps.is_empty() && settle.entry.is_settled_and_gone());
        assert_eq!(settle.observed, None);
    }
    let gone = fact(entry(1, AssignmentState::Gone, &["b"]), Evidence::NotOurs);
    assert_eq!(plan_of(&wants([]), &holding([gone])), Plan::default());
}

/// (wanted, Azure holds it) of a row whose time has not come → the step, which does not settle it.
#[test]
fn an_unsettled_row_is_acted_on_and_stays_unsettled_until_its_time() {
    for (is_wanted, azure_holds, step) in [
        (true, true, None),
        (true, false, Some(StepKind::Grant)),
        (false, true, Some(StepKind::Revoke)),
        (false, false, None),
    ] {
        let desired = wants(is_wanted.then(|| wanted(1, &["b"])));
        let row = unsettled(entry(1, AssignmentState::Present, &["b"]), 100);
        let early = fact(row.clone(), Evidence::Azure { holds: azure_holds, due: false });
        let plan = plan_of(&desired, &holding([early]));
        assert_eq!(plan.steps.first().map(|step| (step.kind, step.settles)), step.map(|kind| (kind, false)));
        assert!(plan.settled.iter().all(|settle| settle.entry.unsettled_until == row.unsettled_until));

        let due = fact(row, Evidence::Azure { holds: azure_holds, due: true });
        let plan = plan_of(&desired, &holding([due]));
        assert_eq!(plan.steps.first().map(|step| (step.kind, step.settles)), step.map(|kind| (kind, true)));
        let observed: Vec<_> = plan.settled.iter().map(|settle| settle.observed).collect();
        assert_eq!(observed, if step.is_some() { vec![] } else { vec![Some(azure_holds)] });
    }
}

#[test]
fn where_azure_cannot_be_asked_a_grant_waits_and_a_revocation_does_not() {
    let row = || {
        let belief = Evidence::Unasked { reason: ReasonCode::NoAnswer, not_before: later(30) };
        fact(unsettled(entry(1, AssignmentState::Present, &["b"]), -1), belief)
    };
    let plan = plan_of(&wants([wanted(1, &["b"])]), &holding([row()]));
    assert!(plan.steps.is_empty() && plan.settled.is_empty());
    assert_eq!(deferred(&plan), [(StepKind::Grant, 1, ReasonCode::NoAnswer, later(30))]);

    let plan = plan_of(&wants([]), &holding([row()]));
    assert_eq!(steps(&plan), [(StepKind::Revoke, 1)]);
    assert!(!plan.steps[0].settles);

    // One that got no answer is sent again: it does not wait for a question either.
    let unanswered =
        LedgerEntry { unwanted_since: Some(NOW), ..unsettled(entry(1, AssignmentState::Gone, &["b"]), 100) };
    let belief = Evidence::Unasked { reason: ReasonCode::Throttled, not_before: later(3600) };
    let plan = plan_of(&wants([]), &holding([fact(unanswered, belief)]));
    assert_eq!(steps(&plan), [(StepKind::Revoke, 1)]);
}

#[test]
fn what_this_installation_cannot_have_made_is_left_alone() {
    let row = LedgerEntry {
        assignment: AssignmentName::new(Uuid::from_u128(5)),
        ..entry(1, AssignmentState::Present, &["b"])
    };
    let plan = plan_of(&wants([]), &holding([settled(row)]));
    assert!(plan.steps.is_empty() && plan.settled.is_empty());
    assert_eq!((plan.deferred[0].reason, plan.deferred[0].not_before), (ReasonCode::NotOurs, later(3600)));
}

#[test]
fn frozen_keeps_what_is_held() {
    let desired = Desired { frozen: true, ..Desired::default() };
    let rows = [
        settled(entry(1, AssignmentState::Present, &["b"])),
        settled(entry(2, AssignmentState::Gone, &["b"])),
    ];
    assert_eq!(plan_of(&desired, &holding(rows)), Plan::default());
    let due = unsettled(entry(1, AssignmentState::Present, &["b"]), -1);
    let plan = plan_of(&desired, &holding([fact(due, Evidence::Azure { holds: true, due: true })]));
    let settle = plan.settled.first().unwrap();
    assert!(plan.steps.is_empty());
    assert_eq!((settle.entry.state, settle.observed), (AssignmentState::Present, Some(true)));
}

fn blocked(text: &str, reason: ReasonCode) -> BlockedGrant {
    BlockedGrant { binding: binding(text), role: BackupRole::Operator, scope: scope(1), reason }
}

/// The one wait of a person whose binding `b` is blocked.
fn wait(reason: ReasonCode, before: &[PendingStep], now: OffsetDateTime) -> PendingStep {
    let desired = Desired { blocked: vec![blocked("b", reason)], ..Desired::default() };
    let mut waits = pending_steps(&desired, &[], &[], before, now);
    assert_eq!(waits.len(), 1);
    waits.remove(0)
}

#[test]
fn a_wait_keeps_its_since_and_its_pause_grows_once_it_is_over() {
    let first = wait(ReasonCode::PendingPrincipal, &[], NOW);
    assert_eq!((first.since, first.attempts, first.not_before), (NOW, 1, later(30)));
    let early = wait(ReasonCode::PendingPrincipal, std::slice::from_ref(&first), later(10));
    assert_eq!(early, first);
    let second = wait(ReasonCode::PendingPrincipal, &[first], later(30));
    assert_eq!((second.since, second.attempts, second.not_before), (NOW, 2, later(90)));
    let mut last = second;
    for _ in 0..20 {
        let now = last.not_before;
        last = wait(ReasonCode::PendingPrincipal, &[last], now);
        assert!(last.not_before - now <= time::Duration::hours(1));
    }
    assert_eq!(last.since, NOW);
}

#[test]
fn another_reason_begins_another_pause_and_not_another_wish() {
    let first = wait(ReasonCode::PendingPrincipal, &[], NOW);
    let second = wait(ReasonCode::PrincipalConflict, &[first], later(40));
    assert_eq!((second.since, second.attempts, second.not_before), (NOW, 1, later(70)));
}

#[test]
fn what_is_wanted_and_failed_or_was_deferred_is_a_wait_and_what_is_held_is_none() {
    let desired = wants([wanted(1, &["b"]), wanted(2, &["c", "d"]), wanted(3, &["e"])]);
    let after = [
        retry(entry(1, AssignmentState::Gone, &["b"]), StepKind::Grant, 30),
        entry(3, AssignmentState::Present, &["e"]),
        retry(entry(4, AssignmentState::Present, &["f"]), StepKind::Revoke, 30),
    ];
    let throttled = DeferredStep {
        assignment: name(2),
        kind: StepKind::Grant,
        reason: ReasonCode::Throttled,
        not_before: later(40),
    };
    let waits = pending_steps(&desired, &after, &[throttled], &[], NOW);
    let found: Vec<_> =
        waits.iter().map(|wait| (wait.binding.as_str(), wait.reason, wait.not_before)).collect();
    assert_eq!(
        found,
        [
            ("b", ReasonCode::AzureRefused, later(30)),
            ("c", ReasonCode::Throttled, later(40)),
            ("d", ReasonCode::Throttled, later(40))
        ]
    );
}

#[test]
fn the_next_look_is_the_earliest() {
    let unsettled = unsettled(entry(1, AssignmentState::Present, &["b"]), 150);
    let failed = retry(entry(2, AssignmentState::Gone, &["b"]), StepKind::Grant, 60);
    let deferred = DeferredStep {
        assignment: name(3),
        kind: StepKind::Grant,
        reason: ReasonCode::Throttled,
        not_before: later(90),
    };
    let wait = wait(ReasonCode::PendingPrincipal, &[], NOW);
    let desired = wants([wanted(1, &["b"]), wanted(2, &["b"])]);
    let at = |after: &[LedgerEntry], deferred: &[DeferredStep], waits: &[PendingStep]| {
        requeue_at(&desired, after, deferred, waits)
            .map(|again| ((again.at - NOW).whole_seconds(), again.takes_away))
    };
    assert_eq!(at(&[], &[], &[]), None);
    assert_eq!(
        at(&[entry(1, AssignmentState::Present, &["b"]), entry(2, AssignmentState::Gone, &["b"])], &[], &[]),
        None
    );
    assert_eq!(at(std::slice::from_ref(&unsettled), &[], &[]), Some((150, false)));
    assert_eq!(at(&[unsettled.clone(), failed.clone()], &[], &[]), Some((60, false)));
    let deferred = [deferred];
    assert_eq!(at(std::slice::from_ref(&unsettled), &deferred, &[]), Some((90, false)));
    assert_eq!(at(&[unsettled, failed], &deferred, &[wait]), Some((30, false)));
}

#[test]
fn the_next_look_is_for_something_taken_away_only_with_a_revocation() {
    let desired = wants([wanted(1, &["b"])]);
    let taken_away = |after: &[LedgerEntry], deferred: &[DeferredStep]| {
        requeue_at(&desired, after, deferred, &[]).is_some_and(|again| again.takes_away)
    };
    let deferred = |kind| DeferredStep {
        assignment: name(3),
        kind,
        reason: ReasonCode::Throttled,
        not_before: later(90),
    };
    let present = || entry(1, AssignmentState::Present, &["b"]);
    // Unwanted and unsettled: whatever the row says, a grant that is under way may land.
    for holding in [AssignmentState::Gone, AssignmentState::Present] {
        assert!(taken_away(&[unsettled(entry(2, holding, &["b"]), 150)], &[]));
    }
    assert!(taken_away(&[retry(entry(2, AssignmentState::Present, &["b"]), StepKind::Revoke, 30)], &[]));
    assert!(!taken_away(&[retry(present(), StepKind::Revoke, 30)], &[]), "wanted again");
    assert!(taken_away(&[], &[deferred(StepKind::Revoke)]));
    assert!(!taken_away(&[unsettled(present(), 150), retry(present(), StepKind::Grant, 30)], &[]));
    assert!(!taken_away(&[], &[deferred(StepKind::Grant)]));
}

fn failing(number: u128, holding: AssignmentState, kind: StepKind, reason: ReasonCode) -> LedgerEntry {
    let (not_before, cause) = (later(600), Some(cause()));
    let retry = RetryState { kind, attempts: 3, not_before, reason, cause };
    LedgerEntry { retry: Some(retry), ..entry(number, holding, &["b"]) }
}

#[test]
fn a_later_change_of_what_decided_ends_the_pause_of_a_failed_step() {
    let row = failing(1, AssignmentState::Present, StepKind::Revoke, ReasonCode::AzureRefused);
    let mut actual = holding([settled(row)]);
    assert!(plan_of(&wants([]), &actual).steps.is_empty());
    actual.requested_by = OpId::new(Uuid::from_u128(6));
    assert_eq!(steps(&plan_of(&wants([]), &actual)), [(StepKind::Revoke, 1)]);
}

#[test]
fn where_the_scope_refuses_its_block_decides_and_not_the_row() {
    let row = failing(1, AssignmentState::Present, StepKind::Revoke, ReasonCode::ScopeLocked);
    let mut actual = holding([settled(row)]);
    let probing = plan_of(&wants([]), &actual);
    assert_eq!(steps(&probing), [(StepKind::Revoke, 1)]);
    let block =
        |seconds| ScopeBlock { reason: ReasonCode::ScopeLocked, attempts: 1, not_before: later(seconds) };
    for (seconds, expected) in [(40, 0), (0, 1)] {
        actual.blocks.insert(probing.steps[0].block_key(), block(seconds));
        assert_eq!(plan_of(&wants([]), &actual).steps.len(), expected);
    }
    // A grant there, and a revocation of another role, are no business of that block.
    let other = wants([wanted(1, &["b"])]);
    let mut actual = holding([settled(entry(1, AssignmentState::Gone, &["b"]))]);
    actual.blocks.insert(probing.steps[0].block_key(), block(40));
    assert_eq!(steps(&plan_of(&other, &actual)), [(StepKind::Grant, 1)]);
}

#[test]
fn an_unwanted_row_that_is_not_revoked_now_says_since_when() {
    let row = failing(1, AssignmentState::Present, StepKind::Revoke, ReasonCode::AzureRefused);
    let plan = plan_of(&wants([]), &holding([settled(row)]));
    assert_eq!((plan.settled.len(), plan.settled[0].entry.unwanted_since), (1, Some(NOW)));
    let noted = plan.settled[0].entry.clone();
    let again = |desired: &Desired, seconds| {
        let actual = Actual { now: later(seconds), ..holding([settled(noted.clone())]) };
        plan_of(desired, &actual).settled
    };
    assert!(again(&wants([]), 60).is_empty(), "the wish keeps its time");
    let cleared = again(&wants([wanted(1, &["b"])]), 60);
    assert_eq!(cleared[0].entry.unwanted_since, None, "wanted again");
}

#[test]
fn an_unsettled_row_that_is_not_wanted_is_written_once_so_that_no_call_settles_it_past_this_look() {
    let row = unsettled(entry(1, AssignmentState::Present, &["b"]), 100);
    let absent = Evidence::Azure { holds: false, due: false };
    let plan = plan_of(&wants([]), &holding([fact(row.clone(), absent.clone())]));
    let noted = plan.settled.first().unwrap();
    assert_eq!((noted.entry.unwanted_since, noted.entry.unsettled_until), (Some(NOW), row.unsettled_until));
    assert_eq!(plan_of(&wants([]), &holding([fact(noted.entry.clone(), absent)])), Plan::default());
}

/// The old role of a binding that moved, and the new one that a full subscription refuses.
fn full(room: Option<RoomClaim>, old: AssignmentState) -> (Desired, Actual) {
    let refused = failing(2, AssignmentState::Gone, StepKind::Grant, ReasonCode::AssignmentLimit);
    let mut actual = holding([settled(entry(1, old, &["b"])), settled(refused)]);
    actual.room.extend(room.map(|claim| (SUBSCRIPTION.to_owned(), claim)));
    (wants([wanted(2, &["b"])]), actual)
}

#[test]
fn in_a_full_subscription_a_binding_that_moves_revokes_first_and_then_grants() {
    let (desired, actual) = full(None, AssignmentState::Present);
    let first = plan_of(&desired, &actual);
    assert_eq!(
        (steps(&first), first.makes_room.as_deref()),
        (vec![(StepKind::Revoke, 1)], Some(SUBSCRIPTION))
    );
    let (desired, actual) = full(Some(RoomClaim::Ours), AssignmentState::Gone);
    let second = plan_of(&desired, &actual);
    assert_eq!((steps(&second), second.steps[0].made_room), (vec![(StepKind::Grant, 2)], true));
}

#[test]
fn one_person_at_a_time_makes_room_and_nobody_once_the_place_was_lost() {
    for (room, not_before) in
        [(RoomClaim::Taken { until: later(900) }, later(30)), (RoomClaim::Stopped, later(600))]
    {
        let (desired, actual) = full(Some(room), AssignmentState::Present);
        let plan = plan_of(&desired, &actual);
        assert!(plan.steps.is_empty() && plan.makes_room.is_none() && !plan.has_more, "{room:?}");
        assert!(deferred(&plan).contains(&(StepKind::Revoke, 1, ReasonCode::AssignmentLimit, not_before)));
    }
}

#[test]
fn room_in_one_subscription_is_not_made_in_another() {
    let (desired, mut actual) = full(None, AssignmentState::Present);
    let elsewhere = "/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/backup";
    let old = &mut actual.observed[0].entry;
    old.scope = Scope::parse(elsewhere).unwrap();
    old.assignment = AssignmentName::derive(&old.scope, old.role, old.principal, instance());
    let plan = plan_of(&desired, &actual);
    assert!(plan.steps.is_empty() && plan.makes_room.is_none());
}
