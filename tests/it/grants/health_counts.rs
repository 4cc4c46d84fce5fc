//! What health counts beside what is overdue, and what it tells a caller with a token.

use crate::grants::over_http::Front;
use crate::scim::http_edge::bearer;
use crate::support::harness::{Node, OWN, TICK_DEADLINE, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::{later, ledger_row, nonsense, of_a_later_release, quiet, write};
use azure_backup_scim::app;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::connectivity::{Dependency, UnreachableKind};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything is left to ticks.
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

fn health(node: &Node) -> Value {
    Value::Object(app::health_report(&node.service))
}

/// What another process shows that reads what the ticks counted.
fn health_elsewhere(world: &World, name: &str, expected: &Value) -> Value {
    let other = world.start_with(TICKS_ONLY);
    let watching = other.spawn(other.service.clone().watch_for_ever());
    let shown = other.run(async {
        for _ in 0..2000 {
            let shown = health(&other)[name].clone();
            if &shown == expected {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        health(&other)[name].clone()
    });
    watching.abort();
    shown
}

/// The process that ticks calls ARM; the others show what it met, until it reaches it again.
#[test]
fn every_process_shows_which_dependency_the_ticks_could_not_reach() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start_with(TICKS_ONLY);
    let ended = |failure| {
        node.connectivity.record(Dependency::Arm, failure, world.clock.monotonic());
        node.settle();
    };
    ended(Some(UnreachableKind::CertificateExpired));
    let expected = json!({"arm": "certificate-expired"});
    assert_eq!(health(&node)["unreachable"], expected);
    assert_eq!(health(&node)["status"], "degraded");
    assert_eq!(health_elsewhere(&world, "unreachable", &expected), expected);

    // A dependency that this process does not call stays as another one left it.
    let other = world.start_with(TICKS_ONLY);
    world.pass(400);
    other.settle();
    assert_eq!(health_elsewhere(&world, "unreachable", &expected), expected);

    ended(None);
    assert_eq!(health(&node)["unreachable"], json!({}));
    assert_eq!(health_elsewhere(&world, "unreachable", &json!({})), json!({}));

    // Where no process calls it any more, it is forgotten.
    ended(Some(UnreachableKind::CertificateExpired));
    drop(node);
    world.pass(16 * 60);
    other.settle();
    assert_eq!(health_elsewhere(&world, "unreachable", &json!({})), json!({}));
}

#[test]
fn people_without_an_object_id_are_counted_once_however_many_grants_wait_for_it() {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start_with(TICKS_ONLY);
    let groups = ["operators", "readers"].map(|name| node.group(name));
    let [ana, ben, _] = ["ana", "ben", "cleo"].map(|name| node.create_user(json!({"userName": name})));
    let member = |id: &String| json!({"op": "add", "path": "members", "value": [{"value": id}]});
    groups.iter().for_each(|group| node.try_patch_group(group, member(&ana)).unwrap());
    node.try_patch_group(&groups[0], member(&ben)).unwrap();
    node.join(&groups[0], &[&node.provision("dora")]);
    later(&world, &node);
    let shown = health(&node);
    assert_eq!(shown["grantsPending"], json!({"pending-principal": 3}), "{shown}");
    assert_eq!(shown["peopleWithoutPrincipal"], 2, "who is in no bound group needs none: {shown}");
    assert_eq!(health_elsewhere(&world, "peopleWithoutPrincipal", &json!(2)), 2);

    let id = json!({"op": "add", "value": {OWN: {"entraObjectId": uuid::Uuid::new_v4().to_string()}}});
    node.patch_user(&ana, id);
    later(&world, &node);
    assert_eq!(health(&node)["peopleWithoutPrincipal"], 1);
}

#[test]
fn bindings_whose_selector_matches_no_living_group_are_counted() {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start_with(TICKS_ONLY);
    let without_group = || {
        later(&world, &node);
        let details = node.service.health.details()["bindingsWithoutGroup"].clone();
        (health(&node)["bindingsWithoutGroup"].as_u64().unwrap(), details)
    };
    assert_eq!(without_group(), (2, json!(["b1", "b2"])));
    let operators = node.group("operators");
    assert_eq!(without_group(), (1, json!(["b2"])));
    // Pinned, and the value is lost: there is a group, which is another trouble.
    node.join(&operators, &[&node.provision("ana")]);
    node.settle();
    let rename = json!({"op": "replace", "path": "externalId", "value": "others"});
    node.try_patch_group(&operators, rename).unwrap();
    assert_eq!(without_group().0, 1);
    node.delete_group(&operators);
    assert_eq!(without_group(), (2, json!(["b1", "b2"])));
    assert_eq!(health_elsewhere(&world, "bindingsWithoutGroup", &json!(2)), 2);
    // It is no trouble by itself: the groups come after the file.
    assert_eq!(health(&node)["status"], Value::Null);
}

#[test]
fn the_oldest_request_that_ticks_do_not_reach_is_shown_in_every_process() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start_ticking(TICKS_ONLY, Duration::ZERO);
    let operators = node.group("operators");
    let people = ["ana", "ben"].map(|name| node.provision(name));
    for person in &people {
        node.join(&operators, &[person]);
        world.pass(60);
    }
    node.run(node.service.tick.run()).unwrap();
    assert_eq!(health(&node)["oldestRequest"], "2026-03-01T10:00:00Z");
    let oldest = json!("2026-03-01T10:00:00Z");
    assert_eq!(health_elsewhere(&world, "oldestRequest", &oldest), oldest);
    node.kill();

    let node = world.start_ticking(TICKS_ONLY, TICK_DEADLINE);
    node.settle();
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
    assert_eq!(health(&node)["oldestRequest"], Value::Null);
}

#[test]
fn who_shows_a_token_sees_the_keys_and_names_behind_the_counts() {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let front = Front::of(world.start_with(TICKS_ONLY));
    let node = &front.node;
    let ana = node.provision("ana");
    let operators = node.group("operators");
    node.join(&operators, &[&ana]);
    front.tick();
    let row = ledger_row(node, &ana.id);
    write(&world, node, &[nonsense(&row.key)]);
    front.change_members("remove", &operators, &[&ana]);
    later(&world, node);

    let plain = front.health(&[]);
    assert_eq!((&plain["status"], &plain["revocationsOverdue"]["people"]), (&json!("degraded"), &json!(1)));
    assert_eq!(front.health(&["authorization: Bearer wrong"]), plain);
    for hidden in [ana.id.as_str(), "b2", env!("CARGO_PKG_VERSION")] {
        assert!(!plain.to_string().contains(hidden), "{hidden} in {plain}");
    }
    let mut shown = front.health(&[&bearer()]);
    let details = shown.as_object_mut().unwrap().remove("details").unwrap();
    assert_eq!(shown, plain);
    let expected = json!({
        "version": env!("CARGO_PKG_VERSION"), "revocationsOverdue": [ana.id], "setAside": [],
        "rowsUnreadable": [row.key], "groupLimitReached": [], "bindingsTroubled": [],
        "bindingsWithoutGroup": ["b2"], "foreignAssignments": [],
    });
    assert_eq!(details, expected);
}

/// A group that no pin leads to is read by its header, which may be damaged or of a later release.
#[test]
fn a_group_whose_header_cannot_be_read_ends_no_sweep() {
    for damage in [nonsense, of_a_later_release] {
        let world =
            quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
        let node = world.start_with(TICKS_ONLY);
        let operators = node.group("operators");
        write(&world, &node, &[damage(&format!("g:{operators}"))]);

        node.settle();

        let shown = health(&node);
        assert!(shown["lastSweep"].is_string(), "{shown}");
        assert_eq!(shown["bindingsWithoutGroup"], 1, "only the one of readers: {shown}");
        assert_eq!(shown["rowsUnreadable"], 1, "{shown}");
    }
}
