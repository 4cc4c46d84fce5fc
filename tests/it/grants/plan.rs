//! What a plan says beside what then happens.

pub(crate) mod pending;
mod random;

use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World, binding, bindings_file};
use crate::support::rows::{later, quiet};
use azure_backup_scim::app;
use azure_backup_scim::id::PrincipalId;
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::rbac::ReasonCode;
use azure_backup_scim::service::access::preview::{PreviewOf, TenantPlan, preview, under_limits};
use azure_backup_scim::service::bindings::active::ActiveSnapshot;
use azure_backup_scim::service::bindings::pending::{FilePlan, FileToPlan, plan_of_file};
use azure_backup_scim::simulator::{CallMethod, FaultAction as Trouble, FaultRule};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the service would do if this file were active.
pub fn plan_of(node: &Node, file: &str) -> TenantPlan {
    file_plan(node, file).plan
}

/// The same, with the reason why the file must wait.
pub fn file_plan(node: &Node, file: &str) -> FilePlan {
    let file = FileToPlan::parse(file.as_bytes()).unwrap();
    let planned = node.run(async {
        let store = &node.service.store;
        let active = node.service.active_bindings.read(&store.pointer().await?).await?;
        plan_of_file(store, active, file, None, &|_| {}).await?.under_limits(store, node.revocations).await
    });
    planned.unwrap()
}

/// What the service would do now.
pub fn plan_now(node: &Node) -> TenantPlan {
    let active = &node.service.active_bindings;
    let snapshot = node.run(async { active.read(&node.service.store.pointer().await?).await }).unwrap();
    plan_under(node, snapshot)
}

fn plan_under(node: &Node, snapshot: ActiveSnapshot) -> TenantPlan {
    let of = [PreviewOf { snapshot, under_pause: true }];
    let store = &node.service.store;
    let plan = node.run(async {
        let plan = preview(store, &of, None, &|_| {}).await?.remove(0);
        under_limits(store, plan, node.revocations, None).await
    });
    plan.unwrap()
}

/// Verb, role and the last part of the scope of each of a person's steps.
fn steps_of(plan: &TenantPlan, person: &Person) -> Vec<String> {
    let of_person = plan.people.iter().find(|plan| plan.person.to_string() == person.id);
    let text = |step: &azure_backup_scim::service::access::preview::PlannedStep| {
        format!("{} {} {}", step.kind.as_str(), step.role, step.scope.short_name())
    };
    of_person.map(|plan| plan.steps.iter().map(text).collect()).unwrap_or_default()
}

fn reasons_of(plan: &TenantPlan, person: &Person) -> Vec<ReasonCode> {
    let of_person = plan.people.iter().find(|plan| plan.person.to_string() == person.id);
    of_person.map(|plan| plan.waits.iter().map(|wait| wait.reason).collect()).unwrap_or_default()
}

#[test]
fn a_plan_names_each_grant_revocation_and_change_of_bindings() {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start();
    let (operators, readers) = (node.group("operators"), node.group("readers"));
    let [ana, bob, eve] = ["ana", "bob", "eve"].map(|name| node.provision(name));
    node.join(&operators, &[&ana, &bob]);
    node.join(&readers, &[&eve]);
    assert!(plan_now(&node).people.is_empty());

    let moved = bindings_file(&[
        json!({"name": "same", "group": {"externalId": "operators"}, "role": "Backup Operator", "scope": VAULT_EAST}),
        binding(2, "readers", Reader, VAULT_EAST),
    ]);
    let plan = plan_of(&node, &moved);
    assert_eq!(steps_of(&plan, &eve), ["revoke Backup Reader west", "grant Backup Reader east"]);
    assert!(steps_of(&plan, &ana).is_empty());
    let kept = &plan.people.iter().find(|plan| plan.person.to_string() == ana.id).unwrap().kept[0];
    assert_eq!((kept.before[0].as_str(), kept.after[0].as_str()), ("b1", "same"));
    let totals = plan.by_binding();
    let of = |name: &str| totals.iter().find(|(binding, _)| binding.as_str() == name).unwrap().1;
    assert_eq!((of("b2").grants, of("b2").revocations, of("same").kept), (1, 1, 2));
    assert_eq!(plan.name_of(&eve.id), Some("eve"));
}

#[test]
fn a_plan_says_what_cannot_be_had_and_why() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let operators = node.group("operators");
    let ana = node.provision("ana");
    let nameless = Person { id: node.create_user(json!({"userName": "nameless"})), principal: ana.principal };
    let double = node.provision_as("double", ana.principal);
    node.join(&operators, &[&ana, &nameless, &double]);
    later(&world, &node);
    let plan = plan_now(&node);
    assert!(plan.changes_nothing());
    assert_eq!(reasons_of(&plan, &nameless), [ReasonCode::PendingPrincipal]);
    assert_eq!(reasons_of(&plan, &double), [ReasonCode::PrincipalConflict]);
}

#[test]
fn a_pause_after_a_failure_and_a_throttle_do_not_move_a_plan() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let operators = node.group("operators");
    let ana = node.provision("ana");
    let scope = azure_backup_scim::simulator::Scope::parse(VAULT_EAST).unwrap();
    world.azure().add_lock(&scope, azure_backup_scim::simulator::LockLevel::ReadOnly).unwrap();
    node.join(&operators, &[&ana]);
    let first = plan_now(&node);
    assert_eq!(steps_of(&first, &ana), ["grant Backup Operator east"]);
    later(&world, &node);
    let second = plan_now(&node);
    assert_eq!(first.hash(), second.hash());
    let step = &second.people[0].steps[0];
    assert_eq!(step.failing, Some(ReasonCode::ScopeLocked));
}

#[test]
fn the_hash_is_of_the_sorted_lines() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let plan = plan_now(&node);
    assert_eq!(plan.hash(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let operators = node.group("operators");
    let ana = node.provision("ana");
    node.join(&operators, &[&ana]);
    let plan = plan_of(&node, &bindings_file(&[binding(1, "others", Operator, VAULT_EAST)]));
    let scope = VAULT_EAST.to_ascii_lowercase();
    assert_eq!(plan.lines(), [format!("revoke {} Backup Operator {scope}", ana.id)]);
}

#[test]
fn a_brake_and_a_pause_show_as_what_they_are() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let operators = node.group("operators");
    let [ana, ben, cem] = ["ana", "ben", "cem"].map(|name| node.provision(name));
    node.join(&operators, &[&ana, &ben]);
    node.carry_out(OrderVerb::Revoke { principal: PrincipalId::new(ana.principal) });
    assert_eq!(reasons_of(&plan_now(&node), &ana), [ReasonCode::Braked]);

    node.carry_out(OrderVerb::Pause);
    node.join(&operators, &[&cem]);
    node.leave(&operators, &[&ben]);
    let plan = plan_now(&node);
    assert!(plan.changes_nothing());
    assert_eq!(reasons_of(&plan, &ben), [ReasonCode::Paused]);
    assert_eq!(reasons_of(&plan, &cem), [ReasonCode::Paused]);
    node.set_active(&ben, false);
    world.assert_holds_nothing(&ben);
}

#[test]
fn what_azure_is_asked_about_is_in_the_plan_only_if_it_may_be_asked() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let operators = node.group("operators");
    let ana = node.provision("ana");
    world.azure().add_rule(FaultRule::new(Trouble::LoseAnswer).method(CallMethod::Put)).unwrap();
    node.join(&operators, &[&ana]);
    assert_eq!(reasons_of(&plan_now(&node), &ana), [ReasonCode::InFlight]);
    let active = &node.service.active_bindings;
    let snapshot = node.run(async { active.read(&node.service.store.pointer().await?).await }).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let arm = app::arm(&world.arm_url(), SecretString::from("simulated"), clock).unwrap();
    let of = [PreviewOf { snapshot, under_pause: true }];
    let plans = node.run(preview(&node.service.store, &of, Some(arm.as_ref()), &|_| {})).unwrap();
    assert!(plans[0].people.is_empty(), "{:#?}", plans[0].people);
}

#[test]
fn a_plan_reads_pages_and_no_row_per_person() {
    const PEOPLE: usize = 120;
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let operators = node.group("operators");
    let people: Vec<Person> = (0..PEOPLE).map(|number| node.provision(&format!("p{number}"))).collect();
    for part in people.chunks(20) {
        node.join(&operators, &part.iter().collect::<Vec<_>>());
    }
    node.settle();
    world.faults.reset();
    let file = bindings_file(&[binding(1, "operators", Reader, VAULT_WEST)]);
    let plan = plan_of(&node, &file);
    assert_eq!(plan.revocations_and_grants(), (PEOPLE, PEOPLE));
    let counts = world.faults.counts();
    assert!(counts.requests < 20, "{counts:?}");
}

/// A value for tests of files.
pub fn file(from: &[&str], bindings: &[Value]) -> String {
    json!({"version": 1, "principal": {"from": from}, "bindings": bindings}).to_string()
}
