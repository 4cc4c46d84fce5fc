//! What a plan says that the limits make wait, beside what then waits.

use super::{HOUR, MINUTE, Stage, holders, join, limited};
use crate::grants::plan::pending::package;
use crate::grants::plan::{file_plan, plan_now};
use crate::support::fault_injection::{Side, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, binding, bindings_file};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::rbac::ReasonCode;
use azure_backup_scim::rbac::ledger::StepKind;
use azure_backup_scim::service::access::preview::TenantPlan;
use azure_backup_scim::service::bindings::bundled::BundleState;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// Everything is left to ticks, so that a plan is made before anything happens.
const NOTHING_INLINE: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

/// What waits, by its reason.
fn waiting(plan: &TenantPlan, kind: StepKind, reason: ReasonCode) -> usize {
    let waits = plan.people.iter().flat_map(|person| &person.waits);
    waits.filter(|wait| wait.kind == kind && wait.reason == reason).count()
}

fn held(stage: &Stage) -> BTreeSet<(Uuid, String)> {
    let held = stage.world.azure().assignments().into_iter();
    held.map(|held| (held.principal_id, held.scope.to_string())).collect()
}

/// People in batches that wait for an operator.
fn in_batches(stage: &Stage) -> usize {
    stage.batches().iter().map(|batch| stage.people_of(batch.id).len()).sum()
}

fn revocations_and_grants(stage: &Stage, happens: impl FnOnce()) -> (usize, usize) {
    let before = held(stage);
    happens();
    let after = held(stage);
    (before.difference(&after).count(), after.difference(&before).count())
}

/// The plan says what then happens, and afterwards that nothing is left to do.
#[track_caller]
fn assert_foreseen(stage: &Stage, node: &Node, revocations_and_grants_expected: (usize, usize), held: usize) {
    let plan = plan_now(node);
    let before = in_batches(stage);
    let (revocations, grants) = plan.would_be_held();
    assert_eq!(
        (plan.revocations_and_grants(), revocations + grants),
        (revocations_and_grants_expected, held)
    );
    assert!(!plan.changes_nothing());
    let full = waiting(&plan, StepKind::Grant, ReasonCode::MaxPrincipals);
    let happened = revocations_and_grants(stage, || {
        for _ in 0..3 {
            node.settle();
            stage.world.pass(HOUR + 10 * MINUTE);
        }
        node.settle();
    });
    assert_eq!((happened, in_batches(stage) - before), (revocations_and_grants_expected, held));
    let rest = plan_now(node);
    assert!(rest.changes_nothing(), "{:#?}", rest.lines());
    assert_eq!(waiting(&rest, StepKind::Grant, ReasonCode::MaxPrincipals), full);
}

fn provision(node: &Node, name: &str, people: usize) -> Vec<Person> {
    (0..people).map(|number| node.provision(&format!("{name}{number}"))).collect()
}

#[test]
fn people_beyond_max_principals_are_planned_as_waiting() {
    let stage = Stage::under(6, limited(12, 12));
    let node = stage.world.start_with(NOTHING_INLINE);
    join(&node, &stage.group, &provision(&node, "more", 14));
    let plan = plan_now(&node);
    assert_eq!(waiting(&plan, StepKind::Grant, ReasonCode::MaxPrincipals), 8);
    let full = plan.full.values().next().unwrap();
    assert_eq!((full.people, full.waiting, full.people_wanted()), (12, 8, 20));
    assert_foreseen(&stage, &node, (0, 6), 0);
    assert_eq!(waiting(&plan_now(&node), StepKind::Grant, ReasonCode::MaxPrincipals), 8);
}

#[test]
fn people_who_leave_make_room_in_a_plan() {
    let stage = Stage::under(10, limited(10, 10));
    join(&stage.node, &stage.group, &provision(&stage.node, "more", 5));
    stage.node.settle();
    let node = stage.world.start_with(NOTHING_INLINE);
    assert!(plan_now(&node).changes_nothing());
    node.set_active(&stage.people[0], false);
    node.delete_user(&stage.people[1]);
    assert_foreseen(&stage, &node, (2, 2), 0);
}

#[test]
fn grants_that_a_breaker_holds_are_planned_as_held() {
    let stage = Stage::long_ago(5, limited(500, 6));
    join(&stage.node, &stage.group, &provision(&stage.node, "first", 2));
    let node = stage.world.start_with(NOTHING_INLINE);
    stage.world.pass(MINUTE);
    join(&node, &stage.group, &provision(&node, "more", 8));
    // Two of this hour's six are given.
    assert_foreseen(&stage, &node, (0, 4), 4);

    // What is held already is not held anew.
    let rest = plan_now(&node);
    assert!(rest.changes_nothing());
    assert_eq!(waiting(&rest, StepKind::Grant, ReasonCode::HeldByBreaker), 4);
    assert_eq!(rest.would_be_held(), (0, 0));
    stage.release();
    assert!(plan_now(&node).changes_nothing());
}

#[test]
fn an_operation_that_a_breaker_holds_is_planned_as_held_whole() {
    let stage = Stage::long_ago(20, limited(500, 50));
    let node = stage.world.start_with(NOTHING_INLINE);
    // One operation of ten people: above a fifth of twenty, and above five.
    node.leave(&stage.group, &stage.people[..10].iter().collect::<Vec<_>>());
    // Never held.
    node.set_active(&stage.people[10], false);
    assert_foreseen(&stage, &node, (1, 0), 10);
}

#[test]
fn removals_one_by_one_pass_up_to_the_limit_in_a_plan() {
    let stage = Stage::long_ago(20, limited(500, 50));
    let node = stage.world.start_with(NOTHING_INLINE);
    for person in &stage.people[..8] {
        node.leave(&stage.group, &[person]);
    }
    assert_foreseen(&stage, &node, (5, 0), 3);
}

#[test]
fn a_deleted_group_is_planned_as_held_before_its_job_begins() {
    let stage = Stage::long_ago(40, limited(500, 50));
    let node = stage.world.start_with(NOTHING_INLINE);
    node.delete_group(&stage.group);
    let plan = plan_now(&node);
    assert_eq!((plan.revocations_and_grants(), plan.would_be_held()), ((0, 0), (40, 0)));
    node.settle();
    assert_eq!((stage.holders(), in_batches(&stage)), (40, 40));
}

#[test]
fn a_change_of_members_under_way_is_planned_as_if_it_were_done() {
    let stage = Stage::long_ago(60, limited(500, 6));
    let node = stage.world.start_with(NOTHING_INLINE);
    let more = provision(&node, "more", 10);
    let named =
        |people: &[Person]| people.iter().map(|person| json!({"value": person.id})).collect::<Vec<_>>();
    // Forty leave, and of ten who come six are given the role in this hour.
    let members: Vec<Value> = [named(&stage.people[..20]), named(&more)].concat();
    let killed = stage.world.start_with(NOTHING_INLINE);
    let point = stage.world.faults.hold(When::transact().key("i:").nth(3), Side::Before);
    killed.begin(&stage.group, json!({"op": "replace", "path": "members", "value": members}));
    killed.run(point.reached());
    killed.kill();
    assert_foreseen(&stage, &node, (0, 6), 40 + 4);
}

/// The group of the binding with these people beside, in a group in a group.
fn nested(stage: &Stage, people: usize) -> (String, Vec<Person>) {
    let (inner, innermost) = (stage.node.group("inner"), stage.node.group("innermost"));
    stage.node.nest(&stage.group, &inner);
    stage.node.nest(&inner, &innermost);
    let people = provision(&stage.node, "nested", people);
    join(&stage.node, &innermost, &people);
    stage.days(30);
    assert_eq!(holders(&stage.world, &people), people.len());
    (inner, people)
}

#[test]
fn the_people_of_a_group_that_leaves_are_planned_as_one_operation() {
    let stage = Stage::long_ago(10, limited(500, 50));
    let (inner, people) = nested(&stage, 20);
    let node = stage.world.start_with(NOTHING_INLINE);
    node.unnest(&stage.group, &inner);
    assert_foreseen(&stage, &node, (0, 0), people.len());
}

#[test]
fn the_people_of_a_group_in_a_deleted_group_are_planned_as_one_operation() {
    let stage = Stage::long_ago(10, limited(500, 50));
    let (inner, people) = nested(&stage, 20);
    let node = stage.world.start_with(NOTHING_INLINE);
    node.delete_group(&inner);
    assert_foreseen(&stage, &node, (0, 0), people.len());
}

/// Gives another role to everyone of the group, through a binding of that name.
fn readers(max_principals: usize) -> Value {
    let mut readers = binding(2, "operators", Reader, VAULT_WEST);
    readers["maxPrincipals"] = json!(max_principals);
    readers
}

#[test]
fn a_file_that_is_applied_fills_its_bindings_as_planned_and_keeps_its_hash() {
    let stage = Stage::under(20, limited(500, 50));
    let (node, batches) = (&stage.node, stage.batches().len());
    let file = bindings_file(&[limited(500, 50), readers(15)]);
    let planned = file_plan(node, &file);
    assert_eq!(planned.plan.revocations_and_grants(), (0, 15));
    assert_eq!(waiting(&planned.plan, StepKind::Grant, ReasonCode::MaxPrincipals), 5);
    // The hash and the reason to wait are of everything that the file causes.
    let (hash, cause) = (planned.plan.hash(), planned.wait.unwrap().to_string());
    assert_eq!(planned.plan.lines().len(), 20);
    assert!(cause.contains("20 new people, more than 15"), "{cause}");
    assert_eq!(package(node, &file, "20260301T100200Z"), BundleState::Waits);
    let happened = revocations_and_grants(&stage, || {
        node.carry_out(OrderVerb::Apply { hash });
        node.settle();
    });
    assert_eq!((happened, stage.batches().len()), ((0, 15), batches));
}

#[test]
fn the_breakers_judge_nothing_of_a_file_that_must_be_applied() {
    let stage = Stage::long_ago(20, limited(500, 4));
    let none = bindings_file(&[json!({"name": "others", "group": {"externalId": "others"},
        "role": "Backup Operator", "scope": VAULT_EAST})]);
    assert_eq!(file_plan(&stage.node, &none).plan.revocations_and_grants(), (20, 0));
    // What happens without the file is judged all the same.
    let node = stage.world.start_with(NOTHING_INLINE);
    join(&node, &stage.group, &provision(&node, "more", 7));
    let mut old = limited(500, 4);
    old["name"] = json!("b1");
    let both = bindings_file(&[old, readers(500), binding(3, "operators", Operator, VAULT_WEST)]);
    let planned = file_plan(&node, &both);
    assert_eq!((planned.plan.revocations_and_grants(), planned.plan.would_be_held()), ((0, 4 + 54), (0, 3)));
}
