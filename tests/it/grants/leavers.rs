//! What takes access away is not held up by what else is under way for the same person, or by what the scope refuses.

use crate::support::harness::{
    Node, PATCH_OP, Person, VAULT_EAST, VAULT_WEST, World, binding, caller, members,
};
use crate::support::requests::{group_id, group_input, group_patch};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{ArmLimits, CallMethod, FaultAction, FaultRule, HandMade, Scope};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

fn quiet(world: World) -> World {
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    world
}

fn refuse(status: u16, code: &str, method: CallMethod) -> FaultRule {
    let code = code.to_owned();
    let refusal =
        FaultAction::Fail { status, code, message: None, retry_after_seconds: None, executed: false };
    FaultRule::new(refusal).method(method)
}

/// Ticks once a minute for so long.
fn minutes(world: &World, node: &Node, number: usize) {
    for _ in 0..number {
        node.run(node.service.tick.run()).unwrap();
        world.pass(60);
    }
    node.run(node.service.tick.run()).unwrap();
}

fn calls(world: &World, method: CallMethod) -> usize {
    world.azure().calls().iter().filter(|call| call.method == method).count()
}

/// Grants of the person are held in the network when she leaves, and answered afterwards.
fn leaves_while_a_grant_is_under_way(world: &World, node: &Node, leave: impl Fn(&str, &Person)) -> Person {
    let operators = node.group("operators");
    let ana = node.provision("ana");
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Put).times(1)).unwrap();
    node.begin(&operators, members("add", &[&ana]));
    world.until_held(node);
    leave(&operators, &ana);
    world.azure().deliver(world.azure().held()[0].number).unwrap();
    node.until_quiet(0);
    ana
}

/// The clock does not move: nothing that waits for a time becomes due.
fn until_revoked(world: &World, node: &Node, person: &Person) {
    let azure = world.azure();
    let principal = person.principal;
    let gone = azure.until(|azure| azure.assignments().iter().all(|held| held.principal_id != principal));
    node.run(async { tokio::time::timeout(Duration::from_secs(20), gone).await.expect("still held") });
}

#[test]
fn who_leaves_while_the_grant_is_under_way_is_revoked_once_it_is_answered() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let ana = leaves_while_a_grant_is_under_way(&world, &node, |group, ana| node.leave(group, &[ana]));
    let requeued = node.run(node.service.store.rows("w:", 10)).unwrap();
    assert!(requeued.iter().all(|row| row.properties.contains_key("taken_away")), "{requeued:?}");
    until_revoked(&world, &node, &ana);
}

#[test]
fn who_is_deactivated_while_the_grant_is_under_way_is_revoked_once_it_is_answered() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let ana = leaves_while_a_grant_is_under_way(&world, &node, |_, ana| node.set_active(ana, false));
    until_revoked(&world, &node, &ana);
}

#[test]
fn a_grant_does_not_wait_for_a_revocation_that_hangs() {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start_with(InlineLimits { wait: Duration::ZERO, people_max: 0 });
    let operators = node.group("operators");
    let readers = node.group("readers");
    let ana = node.provision("ana");
    node.join(&operators, &[&ana]);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);

    node.leave(&operators, &[&ana]);
    node.join(&readers, &[&ana]);
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Delete).times(1)).unwrap();
    let service = node.service.clone();
    let tick = node.spawn(async move { service.tick.run().await });
    world.until_held(&node);
    let azure = world.azure();
    let principal = ana.principal;
    let granted = azure.until(|azure| {
        azure
            .assignments()
            .iter()
            .any(|held| held.principal_id == principal && held.role == Reader.definition_id())
    });
    node.run(async {
        tokio::time::timeout(Duration::from_secs(20), granted).await.expect("the grant waits")
    });
    assert_eq!(world.azure().held().len(), 1, "the revocation still hangs");
    world.azure().deliver(world.azure().held()[0].number).unwrap();
    node.run(tick).unwrap().unwrap();
    node.settle();
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
}

#[test]
fn a_person_who_returns_during_an_unanswered_revocation_is_reconciled_without_a_failure() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let (node, group, people) = crowd(&world, 1);
    world.azure().add_rule(FaultRule::new(FaultAction::LoseRequest).method(CallMethod::Delete)).unwrap();
    node.leave(&group, &[&people[0]]);
    node.settle();
    node.join(&group, &[&people[0]]);
    node.settle();
    assert_eq!(node.service.health.snapshot().quarantined, 0);
    world.azure().clear_rules();
    minutes(&world, &node, 5);
    world.assert_holds(&people[0], Operator, VAULT_EAST);
    assert_eq!(node.grants(&people[0]), [("held".to_owned(), "member".to_owned())]);
    assert!(node.run(node.service.store.rows("dl:", 10)).unwrap().is_empty());
}

#[test]
fn a_mistake_in_an_added_member_does_not_block_a_removal_in_the_same_request() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let operators = node.group("operators");
    let ana = node.provision("ana");
    let ben = node.provision("ben");
    node.join(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    let nested = json!({"op": "add", "path": "members", "value": [{"value": operators}, {"value": ben.id}]});
    let body = json!({"schemas": [PATCH_OP], "Operations": [members("remove", &[&ana]), nested]});
    let projection = Projection::all(ResourceType::Group);
    node.run(node.service.provisioning.patch_group(
        &caller(),
        group_id(&operators),
        &group_patch(&body).unwrap(),
        &projection,
    ))
    .unwrap();
    world.assert_holds_nothing(&ana);
    assert_eq!(node.members_of(&operators), [ben.id]);
    assert_eq!(node.audit_of("member-dropped").len(), 1, "the group is left out, recorded");
}

#[test]
fn who_is_left_out_of_a_put_goes_though_it_names_a_group() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let operators = node.group("operators");
    let other = node.group("other");
    let ana = node.provision("ana");
    let ben = node.provision("ben");
    node.join(&operators, &[&ana, &ben]);
    let members = json!([{"value": ben.id}, {"value": other}]);
    let body = json!({"displayName": "operators", "externalId": "operators", "members": members});
    let projection = Projection::all(ResourceType::Group);
    node.run(node.service.provisioning.replace_group(
        &caller(),
        group_id(&operators),
        &group_input(&body),
        &projection,
    ))
    .unwrap();
    world.assert_holds_nothing(&ana);
    world.assert_holds(&ben, Operator, VAULT_EAST);
}

#[test]
fn a_member_who_is_replaced_by_nothing_is_removed() {
    for nothing in [json!(null), json!([])] {
        let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
        let node = world.start();
        let operators = node.group("operators");
        let ana = node.provision("ana");
        let ben = node.provision("ben");
        node.join(&operators, &[&ana, &ben]);
        let path = format!("members[value eq \"{}\"]", ana.id);
        node.try_patch_group(&operators, json!({"op": "replace", "path": path, "value": nothing})).unwrap();
        assert_eq!(node.members_of(&operators), std::slice::from_ref(&ben.id));
        world.assert_holds_nothing(&ana);
        world.assert_holds(&ben, Operator, VAULT_EAST);
    }
}

/// `number` people who hold the role, in a service that leaves everything to its ticks.
fn crowd(world: &World, number: usize) -> (Node, String, Vec<Person>) {
    let node = world.start_with(InlineLimits { wait: Duration::ZERO, people_max: 0 });
    let group = node.group("operators");
    let people: Vec<Person> = (0..number).map(|n| node.provision(&format!("p{n}"))).collect();
    for part in people.chunks(16) {
        node.join(&group, &part.iter().collect::<Vec<_>>());
    }
    node.settle();
    (node, group, people)
}

#[test]
fn where_a_scope_refuses_revocations_one_probes_and_all_go_once_it_allows_them() {
    for (status, code) in [
        (409, "ScopeLocked"),
        (403, "AuthorizationFailed"),
        (403, "RequestDisallowedByPolicy"),
        (403, "DenyAssignmentAuthorizationFailed"),
    ] {
        let world =
            quiet(World::new().bind("operators", Operator, VAULT_EAST)).without_limits_on_revocations();
        let (node, group, people) = crowd(&world, 32);
        world.azure().add_rule(refuse(status, code, CallMethod::Delete)).unwrap();
        for part in people.chunks(16) {
            node.leave(&group, &part.iter().collect::<Vec<_>>());
        }
        node.settle();
        world.azure().clear_calls();
        minutes(&world, &node, 60);
        // 30 s, doubling to 10 minutes: about ten probes an hour over all people, and a few concurrent ones at first.
        assert!(calls(&world, CallMethod::Delete) <= 16, "{code}: {}", calls(&world, CallMethod::Delete));
        world.azure().clear_rules();
        minutes(&world, &node, 12);
        people.iter().for_each(|person| world.assert_holds_nothing(person));
    }
}

#[test]
fn a_right_that_is_missing_for_one_role_holds_up_no_other() {
    let world = World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_EAST);
    let node = quiet_node(&world);
    let operators = node.group("operators");
    let readers = node.group("readers");
    let ana = node.provision("ana");
    let ben = node.provision("ben");
    world.azure().add_rule(refuse(403, "AuthorizationFailed", CallMethod::Put).times(1)).unwrap();
    node.join(&operators, &[&ana]);
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
    node.join(&readers, &[&ben]);
    world.assert_holds(&ben, Reader, VAULT_EAST);
    minutes(&world, &node, 2);
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

fn quiet_node(world: &World) -> Node {
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    world.start()
}

#[test]
fn a_throttled_leaver_is_reconciled_when_retry_after_is_over() {
    for seconds in [1, 5, 47] {
        let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
        let (node, group, people) = crowd(&world, 1);
        let rule = FaultRule::new(FaultAction::Throttle { retry_after_seconds: Some(seconds) })
            .method(CallMethod::Delete);
        world.azure().add_rule(rule.times(1)).unwrap();
        node.leave(&group, &[&people[0]]);
        node.run(node.service.tick.run()).unwrap();
        world.assert_holds(&people[0], Operator, VAULT_EAST);
        world.pass(seconds + 1);
        node.run(node.service.tick.run()).unwrap();
        world.assert_holds_nothing(&people[0]);
    }
}

/// Facts: F-010.
#[test]
fn in_a_full_subscription_a_binding_moves_one_person_after_the_other() {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    let full = ArmLimits { buckets: false, assignments_per_subscription: 3, ..ArmLimits::default() };
    world.azure().set_limits(full).unwrap();
    let (node, _, people) = crowd(&world, 3);
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));

    world.pass(60);
    node.adopt(&[binding(1, "operators", Reader, VAULT_EAST)]);
    let mut without = 0;
    for _ in 0..120 {
        node.run(node.service.tick.run()).unwrap();
        let held = world.azure().assignments();
        without = without.max(3 - held.len());
        world.pass(60);
    }
    for person in &people {
        assert!(!world.holds(person, Operator, VAULT_EAST) && world.holds(person, Reader, VAULT_EAST));
    }
    assert!(without <= 1, "at no time was more than one person without a role");
}

#[test]
fn where_the_freed_place_is_lost_no_further_binding_moves_until_there_is_room() {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    let full = ArmLimits { buckets: false, assignments_per_subscription: 3, ..ArmLimits::default() };
    world.azure().set_limits(full).unwrap();
    let (node, _, people) = crowd(&world, 3);
    world.pass(60);
    // Others who create assignments there take every place that is freed.
    world.azure().add_rule(refuse(400, "RoleAssignmentLimitExceeded", CallMethod::Put)).unwrap();
    node.adopt(&[binding(1, "operators", Reader, VAULT_EAST)]);
    minutes(&world, &node, 120);
    let holding = people.iter().filter(|person| world.holds(person, Operator, VAULT_EAST)).count();
    assert_eq!(holding, 2, "one place was lost, and no more were given up");

    world.azure().clear_rules();
    minutes(&world, &node, 240);
    for person in &people {
        assert!(!world.holds(person, Operator, VAULT_EAST) && world.holds(person, Reader, VAULT_EAST));
    }
}

/// An assignment of others does not count as a leaver's.
#[test]
fn a_full_subscription_still_revokes_leavers() {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    let full = ArmLimits { buckets: false, assignments_per_subscription: 2, ..ArmLimits::default() };
    world.azure().set_limits(full).unwrap();
    let (node, group, people) = crowd(&world, 1);
    let made = HandMade::new(Scope::parse(VAULT_EAST).unwrap(), Reader.name(), Uuid::from_u128(77));
    world.azure().make_assignment(&made).unwrap();
    node.leave(&group, &[&people[0]]);
    node.settle();
    world.assert_holds_nothing(&people[0]);
    assert_eq!(world.azure().assignments().len(), 1);
}
