//! A bundled file whose plan revokes anybody, or gives a role to too many, waits until an operator applies its plan.

use super::{file, file_plan, plan_now, plan_of};
use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World, members};
use crate::support::rows::{nonsense, quiet, write};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::rbac::breaker::GrantLimits;
use azure_backup_scim::service::bindings::active::Activation;
use azure_backup_scim::service::bindings::bundled::{BundleState, BundledBindings, BundledFile};
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule};
use serde_json::{Value, json};

/// The world begins on the first of March at ten.
const YESTERDAY: &str = "20260228T120000Z";
const AT_EIGHT: &str = "20260301T080000Z";
const AT_NINE: &str = "20260301T090000Z";

fn binding(name: &str, group: &str, role: &str, scope: &str) -> Value {
    json!({"name": name, "group": {"externalId": group}, "role": role, "scope": scope})
}

fn operators_east() -> Value {
    binding("operators", "operators", "Backup Operator", VAULT_EAST)
}

fn file_of(bindings: &[Value]) -> String {
    file(&["entraObjectId", "externalId"], bindings)
}

/// A process starts with this package.
pub fn package(node: &Node, file: &str, stamp: &str) -> BundleState {
    node.run(bundled(node).activate_once(&stamped(file, stamp))).unwrap()
}

fn bundled(node: &Node) -> BundledBindings {
    BundledBindings::new(node.service.store.clone(), node.service.active_bindings.clone())
}

fn stamped(file: &str, stamp: &str) -> BundledFile {
    BundledFile::Stamped { bindings: file.as_bytes().to_vec(), stamp: stamp.to_owned() }
}

fn active_stamp(node: &Node) -> Option<String> {
    node.run(node.service.store.pointer()).unwrap().stamp().map(str::to_owned)
}

/// Stamp, plan, revocations and grants of the file that waits, by the health of a process.
fn waiting(node: &Node) -> Option<(String, Option<String>, usize, usize)> {
    let waiting = node.service.health.snapshot().bindings_pending?;
    Some((waiting.stamp, Some(waiting.plan), waiting.revocations, waiting.grants))
}

/// Two operators, under the package of yesterday.
fn two_operators() -> (World, Node, [Person; 2], String) {
    let world = quiet(World::new());
    let node = world.start();
    let first = package(&node, &file_of(&[operators_east()]), YESTERDAY);
    assert_eq!(first, BundleState::Done(Activation::Stored));
    let group = node.group("operators");
    let people = ["ana", "ben"].map(|name| node.provision(name));
    node.join(&group, &[&people[0], &people[1]]);
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
    (world, node, people, group)
}

fn moved_west() -> String {
    operators_at(VAULT_WEST)
}

/// A file that binds the operators at a scope.
pub fn operators_at(scope: &str) -> String {
    file_of(&[binding("operators", "operators", "Backup Operator", scope)])
}

fn hash_of(node: &Node, file: &str) -> String {
    plan_of(node, file).hash()
}

#[test]
fn a_file_that_revokes_waits_in_every_process_and_changes_nothing() {
    let (world, old, people, _) = two_operators();
    let node = world.start();
    let hash = hash_of(&node, &moved_west());
    assert_eq!(package(&node, &moved_west(), AT_EIGHT), BundleState::Waits);
    let expected = Some((AT_EIGHT.to_owned(), Some(hash), 2, 2));
    assert_eq!(waiting(&node), expected);
    old.settle();
    assert_eq!(waiting(&old), expected);
    assert!(old.service.health.snapshot().is_finding());
    assert_eq!(active_stamp(&old).as_deref(), Some(YESTERDAY));
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
    assert!(plan_now(&old).changes_nothing());
    assert!(node.audit_of("setting-changed").iter().any(|change| change["what"] == "pending bindings"));
    // Another start of the same package adds nothing.
    world.faults.reset();
    assert_eq!(package(&world.start(), &moved_west(), AT_EIGHT), BundleState::Waits);
    assert_eq!(world.faults.counts().transactions, 0);
}

#[test]
fn an_applied_file_is_active_and_its_plan_happens() {
    let (world, node, people, _) = two_operators();
    package(&node, &moved_west(), AT_EIGHT);
    let hash = hash_of(&node, &moved_west());
    node.carry_out(OrderVerb::Apply { hash: hash.clone() });
    assert_eq!(active_stamp(&node).as_deref(), Some(AT_EIGHT));
    assert_eq!(waiting(&node), None);
    for person in &people {
        world.assert_holds(person, Operator, VAULT_WEST);
        assert!(!world.holds(person, Operator, VAULT_EAST));
    }
    assert_eq!(package(&node, &moved_west(), AT_EIGHT), BundleState::Done(Activation::InForce));
    assert!(node.order(OrderVerb::Apply { hash }).detail.contains("no bundled file waits"));
}

#[test]
fn a_plan_that_moved_is_refused_and_names_its_new_hash() {
    let (world, node, people, group) = two_operators();
    package(&node, &moved_west(), AT_EIGHT);
    let seen = hash_of(&node, &moved_west());
    node.leave(&group, &[&people[1]]);
    let outcome = node.order(OrderVerb::Apply { hash: seen });
    let now = hash_of(&node, &moved_west());
    assert!(outcome.is_refused && outcome.detail.contains(&now), "{outcome:?}");
    assert_eq!(active_stamp(&node).as_deref(), Some(YESTERDAY));
    world.assert_holds(&people[0], Operator, VAULT_EAST);
    node.carry_out(OrderVerb::Apply { hash: now });
    world.assert_holds(&people[0], Operator, VAULT_WEST);
    world.assert_holds_nothing(&people[1]);
}

#[test]
fn a_file_that_only_adds_a_few_is_active_at_once() {
    let (world, node, people, _) = two_operators();
    let more = file_of(&[operators_east(), binding("readers", "operators", "Backup Reader", VAULT_WEST)]);
    assert_eq!(package(&node, &more, AT_EIGHT), BundleState::Done(Activation::Stored));
    node.settle();
    people.iter().for_each(|person| world.assert_holds(person, Reader, VAULT_WEST));
}

#[test]
fn what_happens_without_the_file_too_is_no_reason_to_wait() {
    let (world, node, people, _) = two_operators();
    // A revocation that Azure does not carry out yet.
    let scope = azure_backup_scim::simulator::Scope::parse(VAULT_EAST).unwrap();
    world.azure().add_lock(&scope, azure_backup_scim::simulator::LockLevel::ReadOnly).unwrap();
    node.set_active(&people[0], false);
    let more = file_of(&[operators_east(), binding("readers", "operators", "Backup Reader", VAULT_WEST)]);
    assert_eq!(package(&node, &more, AT_EIGHT), BundleState::Done(Activation::Stored));
}

#[test]
fn a_newer_package_takes_the_place_and_the_active_file_packaged_again_withdraws() {
    let (_world, node, _, _) = two_operators();
    package(&node, &moved_west(), AT_EIGHT);
    let other = file_of(&[binding("others", "others", "Backup Operator", VAULT_EAST)]);
    assert_eq!(package(&node, &other, AT_NINE), BundleState::Waits);
    assert_eq!(waiting(&node).unwrap().0, AT_NINE);
    // The process of eight starts again.
    assert_eq!(package(&node, &moved_west(), AT_EIGHT), BundleState::Done(Activation::Older));
    assert_eq!(package(&node, &moved_west(), AT_NINE), BundleState::Done(Activation::SameStampOtherBytes));
    // And the one of yesterday.
    let first = file_of(&[operators_east()]);
    assert_eq!(package(&node, &first, YESTERDAY), BundleState::Done(Activation::InForce));
    assert_eq!(waiting(&node).unwrap().0, AT_NINE);
    assert_eq!(package(&node, &first, "20260301T100000Z"), BundleState::Done(Activation::Stored));
    assert_eq!(waiting(&node), None);
    assert!(node.run(node.service.store.pending_row()).unwrap().is_none());
}

#[test]
fn a_role_for_more_than_a_few_new_people_waits_unless_the_binding_is_new() {
    let (_world, node, _, group) = two_operators();
    let many: Vec<Person> = (0..=GrantLimits::default().new_grants_max)
        .map(|number| node.provision(&format!("p{number}")))
        .collect();
    let others = node.group("others");
    for part in many.chunks(20) {
        node.try_patch_group(&others, members("add", &part.iter().collect::<Vec<_>>())).unwrap();
    }
    let new = file_of(&[operators_east(), binding("new", "others", "Backup Reader", VAULT_WEST)]);
    let known = file_of(&[
        operators_east(),
        binding("others", "operators", "Backup Reader", VAULT_WEST),
        json!({"name": "operators-too", "group": {"externalId": "others"}, "role": "Backup Operator", "scope": VAULT_EAST}),
    ]);
    assert!(wait(&node, &new).is_none());
    assert!(wait(&node, &known).is_none());
    // The same people through a binding that gave its role before.
    node.try_patch_group(&group, json!({"op": "replace", "path": "externalId", "value": "former"})).unwrap();
    let taken = file_of(&[
        json!({
            "name": "operators", "group": {"id": others}, "role": "Backup Operator", "scope": VAULT_EAST
        }),
        json!({"name": "former", "group": {"id": group}, "role": "Backup Operator", "scope": VAULT_EAST}),
    ]);
    let cause = wait(&node, &taken).unwrap();
    assert!(cause.contains("operators gives its role to 51 new people, more than 50"), "{cause}");
    assert_eq!(package(&node, &taken, AT_EIGHT), BundleState::Waits);
}

fn wait(node: &Node, file: &str) -> Option<String> {
    file_plan(node, file).wait.map(|cause| cause.to_string())
}

#[test]
fn a_plan_that_cannot_be_made_leaves_everything_as_it_is() {
    let (world, node, _, _) = two_operators();
    let bundled = bundled(&node);
    world.faults.inject(When::page().key("u:").always(), Fault::RequestLost);
    assert!(node.run(bundled.activate_once(&stamped(&moved_west(), AT_EIGHT))).is_err());
    assert_eq!(bundled.state(), BundleState::Pending);
    assert_eq!(active_stamp(&node).as_deref(), Some(YESTERDAY));
    assert_eq!(waiting(&node), None);
}

#[test]
fn a_pause_does_not_make_a_file_look_harmless() {
    let (_world, node, _, _) = two_operators();
    node.carry_out(OrderVerb::Pause);
    assert_eq!(package(&node, &moved_west(), AT_EIGHT), BundleState::Waits);
    assert_eq!(waiting(&node).unwrap().2, 2);
}

#[test]
fn an_order_whose_plan_takes_longer_than_a_tick_keeps_no_leaver_waiting_and_is_carried_out_later() {
    let (world, node, people, _) = two_operators();
    let west = moved_west();
    assert_eq!(package(&node, &west, AT_EIGHT), BundleState::Waits);
    let order = node.place(OrderVerb::Apply { hash: hash_of(&node, &west) });
    let held = world.faults.hold(When::page().key("u:"), Side::Before);
    node.set_active(&people[0], false);
    node.run(node.service.tick.run()).unwrap();
    world.assert_holds_nothing(&people[0]);
    assert!(node.outcome(order).is_none());
    held.release();
    node.settle();
    // The plan moved meanwhile: a person left.
    assert!(node.outcome(order).unwrap().is_refused);
    node.carry_out(OrderVerb::Apply { hash: hash_of(&node, &west) });
    assert_eq!(active_stamp(&node).as_deref(), Some(AT_EIGHT));
}

#[test]
fn a_revocation_that_waits_for_azure_makes_a_file_wait_too() {
    let (world, node, people, _) = two_operators();
    // A row is unsettled: whether the person holds the role in the west is not known yet.
    let both = file_of(&[operators_east(), binding("west", "operators", "Backup Operator", VAULT_WEST)]);
    world.azure().add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Put).times(9)).unwrap();
    assert_eq!(package(&node, &both, AT_EIGHT), BundleState::Done(Activation::Stored));
    node.run(node.service.tick.run()).unwrap();
    assert_eq!(package(&node, &moved_west(), AT_NINE), BundleState::Waits);
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
}

#[test]
fn what_a_pause_keeps_back_does_not_count_as_happening_anyway() {
    let (_world, node, people, _) = two_operators();
    node.carry_out(OrderVerb::Pause);
    people.iter().for_each(|person| node.leave(&operators_group(&node), &[person]));
    node.settle();
    let none = file_of(&[binding("more", "more", "Backup Reader", VAULT_WEST)]);
    assert_eq!(package(&node, &none, AT_EIGHT), BundleState::Waits);
}

fn operators_group(node: &Node) -> String {
    let row = node.run(node.service.store.rows("g:", 10)).unwrap().remove(0);
    row.key.trim_start_matches("g:").to_owned()
}

#[test]
fn an_activation_over_an_unreadable_pointer_enqueues_everyone_who_was_ever_bound() {
    let (world, node, people, _) = two_operators();
    write(&world, &node, &[nonsense("s:bindings")]);
    let none = file_of(&[binding("more", "more", "Backup Reader", VAULT_WEST)]);
    assert_eq!(package(&node, &none, AT_EIGHT), BundleState::Waits);
    node.carry_out(OrderVerb::Apply { hash: hash_of(&node, &none) });
    node.settle();
    people.iter().for_each(|person| world.assert_holds_nothing(person));
}

#[test]
fn a_file_is_held_whole_or_not_at_all_wherever_its_process_dies() {
    for side in [Side::Before, Side::After] {
        let (mut world, node, people, _) = two_operators();
        world.faults.reset();
        let point = world.faults.crash(When::transact(), side);
        let (service, west) = (node.service.clone(), moved_west());
        let dying = node.spawn(async move {
            let bundled = BundledBindings::new(service.store.clone(), service.active_bindings.clone());
            bundled.activate_once(&stamped(&west, AT_EIGHT)).await.map(drop)
        });
        node.run(async {
            tokio::select! {
                () = point.reached() => {}
                ended = dying => panic!("{ended:?}"),
            }
        });
        node.kill();
        world.revive();
        let node = world.start();
        assert_eq!(package(&node, &moved_west(), AT_EIGHT), BundleState::Waits, "{side:?}");
        node.settle();
        assert_eq!(waiting(&node).unwrap().0, AT_EIGHT);
        assert_eq!(node.audit().iter().filter(|change| change["what"] == "pending bindings").count(), 1);
        people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
        node.carry_out(OrderVerb::Apply { hash: hash_of(&node, &moved_west()) });
        people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_WEST));
    }
}

#[test]
fn two_processes_that_start_with_the_same_package_hold_it_once() {
    let (world, node, _, _) = two_operators();
    let other = world.start();
    let held = world.faults.hold(When::transact(), Side::Before);
    let (service, west) = (node.service.clone(), moved_west());
    let first = node.spawn(async move {
        let bundled = BundledBindings::new(service.store.clone(), service.active_bindings.clone());
        bundled.activate_once(&stamped(&west, AT_EIGHT)).await.unwrap()
    });
    node.run(held.reached());
    assert_eq!(package(&other, &moved_west(), AT_EIGHT), BundleState::Waits);
    held.release();
    assert_eq!(node.run(first).unwrap(), BundleState::Waits);
    assert_eq!(node.audit().iter().filter(|change| change["what"] == "pending bindings").count(), 1);
    let stored = node.run(node.service.store.rows("c:", 10)).unwrap();
    assert_eq!(stored.len(), 2);
}
