//! What a tick does with more than it can do, and with what keeps failing.

use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World, binding};
use azure_backup_scim::id::{OpId, UserId};
use azure_backup_scim::ports::tables::{EtagMatch, TableOps, TableRow, TableWrite};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::health::BindingsHealth;
use azure_backup_scim::service::jobs;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{ArmLimits, CallMethod, FaultAction, FaultRule, RecordedCall};
use azure_backup_scim::store::codec::RowFields;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Everything is left to ticks.
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

fn operators() -> World {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    world
}

fn crowd(node: &Node, number: usize) -> Vec<Person> {
    (0..number).map(|n| node.provision(&format!("p{n}@contoso.example"))).collect()
}

fn calls(world: &World, method: CallMethod) -> Vec<RecordedCall> {
    world.azure().calls().into_iter().filter(|call| call.method == method).collect()
}

/// People with a request of now.
fn requests(node: &Node) -> usize {
    node.run(node.service.store.rows("d:", 1000)).unwrap().len()
}

/// Runs a tick whose time is over while Azure hangs on its first calls of that kind.
fn tick_that_runs_out_of_time(world: &World, node: &Node, method: CallMethod, calls: usize) {
    tick_that_is_slow(world, node, method, calls, 46);
}

/// Runs a tick in which Azure hangs for so long on its first calls of that kind.
fn tick_that_is_slow(world: &World, node: &Node, method: CallMethod, calls: usize, seconds: u64) {
    let times = u32::try_from(calls).unwrap();
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(method).times(times)).unwrap();
    let service = node.service.clone();
    let tick = node.spawn(async move { service.tick.run().await });
    let azure = world.azure();
    node.run(async {
        let reached = azure.until(|azure| azure.held().len() == calls);
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
    });
    world.pass(seconds);
    for call in azure.held() {
        azure.deliver(call.number).unwrap();
    }
    node.run(tick).unwrap().unwrap();
}

#[test]
fn a_tick_goes_on_where_the_last_one_stopped() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    // What follows from the first bindings is done.
    node.settle();
    let people = crowd(&node, 24);
    node.join(&group, &people.iter().collect::<Vec<_>>());
    tick_that_runs_out_of_time(&world, &node, CallMethod::Put, 8);
    let first: BTreeSet<_> = calls(&world, CallMethod::Put).iter().map(|call| call.principal).collect();
    assert_eq!(first.len(), 8, "the first eight, and then it was over");
    node.kill();

    // All who were reached are enqueued again: without a position, the next tick would begin with them.
    let node = world.start_with(TICKS_ONLY);
    let (reached, rest): (Vec<_>, Vec<_>) =
        people.iter().partition(|person| first.contains(&Some(person.principal)));
    for person in &reached {
        node.patch_user(&person.id, json!({"op": "replace", "path": "title", "value": "again"}));
    }
    world.azure().clear_calls();
    tick_that_runs_out_of_time(&world, &node, CallMethod::Put, 8);
    let second: BTreeSet<_> = calls(&world, CallMethod::Put).iter().map(|call| call.principal).collect();
    assert!(second.iter().all(|one| rest.iter().any(|person| Some(person.principal) == *one)), "{second:?}");
    assert_eq!(requests(&node), 16, "those who were reached before did not come before the others");
    node.settle();
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
}

#[test]
fn revocations_too_go_on_where_the_last_tick_stopped() {
    let world = operators().without_limits_on_revocations();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, 24);
    let all: Vec<_> = people.iter().collect();
    node.join(&group, &all);
    node.settle();
    node.leave(&group, &all);
    world.azure().clear_calls();
    tick_that_runs_out_of_time(&world, &node, CallMethod::Delete, 8);
    let first: BTreeSet<_> = calls(&world, CallMethod::Delete).iter().map(|call| call.name).collect();
    assert_eq!(first.len(), 8);
    for person in &people {
        node.set_active(person, false);
    }
    world.azure().clear_calls();
    tick_that_runs_out_of_time(&world, &node, CallMethod::Delete, 8);
    assert_eq!(calls(&world, CallMethod::Delete).iter().filter(|call| first.contains(&call.name)).count(), 0);
    assert_eq!(requests(&node), 16, "those who were reached before did not come before the others");
    node.settle();
    assert!(world.azure().assignments().is_empty());
}

#[test]
fn a_request_or_a_job_that_keeps_failing_is_quarantined_and_the_rest_goes_on() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, 12);
    let broken = |key: &str| TableWrite::InsertOrReplace {
        key: key.to_owned(),
        properties: RowFields::row().text("nonsense", "x").done(),
    };
    let poisoned = people[0].id.clone();
    let user = UserId::parse(&poisoned).unwrap();
    let assignment = uuid::Uuid::new_v4();
    let rows = [
        broken(&format!("d:{}", uuid::Uuid::nil())),
        broken(&format!("w:20260301T090000Z:{}", uuid::Uuid::nil())),
        broken(&format!("i:{}", uuid::Uuid::nil())),
        broken(&format!("dg:{}", uuid::Uuid::nil())),
        broken(&format!("l:{user}:{assignment}")),
    ];
    node.run(world.faults.transact("default", &rows)).unwrap();
    node.join(&group, &people.iter().collect::<Vec<_>>());
    let other = node.group("others");
    node.join(&other, &[&people[1]]);
    node.delete_group(&other);

    node.settle();
    people[1..].iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
    assert!(node.run(node.service.store.rows("i:", 10)).unwrap().len() == 1, "the other job is done");
    let standing = node.service.health.snapshot();
    // A request that cannot be read still names the person, and so it is completed.
    assert_eq!(standing.quarantined, 2);
    assert!(standing.rows_unreadable >= 1, "{standing:?}");
    assert_eq!(standing.to_json()["setAside"], 2);
    // A row of a person that cannot be read is left alone; it holds up nothing else of theirs.
    world.assert_holds(&people[0], Operator, VAULT_EAST);

    let mended = TableWrite::Delete { key: format!("dg:{}", uuid::Uuid::nil()), condition: EtagMatch::Any };
    node.run(world.faults.transact("default", &[mended])).unwrap();
    world.pass(2 * 3700);
    node.settle();
    assert_eq!(node.service.health.snapshot().quarantined, 1);
}

#[test]
fn renaming_a_group_into_a_binding_begins_its_walk_at_once() {
    let world = operators();
    let node = world.start();
    let group = node.group("nobody-binds-this");
    let people = crowd(&node, 3);
    node.join(&group, &people.iter().collect::<Vec<_>>());
    people.iter().for_each(|person| world.assert_holds_nothing(person));
    let operation = json!({"op": "replace", "path": "externalId", "value": "operators"});
    node.try_patch_group(&group, operation).unwrap();
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
    assert!(node.run(node.service.store.rows("dg:", 10)).unwrap().is_empty());
}

#[test]
fn the_group_that_takes_a_deleted_groups_place_is_enqueued_at_once() {
    let world = operators();
    let node = world.start();
    let ana = node.provision("ana");
    let eve = node.provision("eve");
    let group = node.group("operators");
    node.join(&group, &[&ana]);
    let heir = node.group("heir");
    node.join(&heir, &[&eve]);
    node.try_patch_group(&heir, json!({"op": "replace", "path": "externalId", "value": "operators"}))
        .unwrap();
    world.assert_holds_nothing(&eve);
    node.delete_group(&group);
    world.assert_holds_nothing(&ana);
    world.assert_holds(&eve, Operator, VAULT_EAST);
}

/// A member of each of two bound groups, at two scopes, and an hour later.
fn two_scopes() -> (World, Node, Person) {
    let world = operators().bind("readers", Reader, VAULT_WEST);
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    for group in ["operators", "readers"] {
        node.join(&node.group(group), &[&ana]);
    }
    node.settle();
    world.pass(3700);
    world.azure().clear_calls();
    (world, node, ana)
}

#[test]
fn a_sweep_that_died_is_taken_up_again_soon() {
    let (mut world, node, ana) = two_scopes();
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::List).times(1)).unwrap();
    let service = node.service.clone();
    node.spawn(async move { service.tick.run().await });
    world.until_held(&node);
    node.kill();
    world.azure().reset_faults();
    world.revive();
    for held in world.azure().assignments() {
        world.azure().delete_assignment(held.name).unwrap();
    }

    let node = world.start();
    node.settle();
    world.assert_holds_nothing(&ana);
    world.pass(601);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds(&ana, Reader, VAULT_WEST);
}

#[test]
fn a_sweep_whose_time_is_over_goes_on_with_the_next_scope() {
    let (world, node, ana) = two_scopes();
    for held in world.azure().assignments() {
        world.azure().delete_assignment(held.name).unwrap();
    }
    let before = node.service.health.snapshot().sweep_finished;
    tick_that_runs_out_of_time(&world, &node, CallMethod::List, 1);
    assert_eq!(calls(&world, CallMethod::List).len(), 1);
    assert_eq!(node.service.health.snapshot().sweep_finished, before);
    node.settle();
    // Each scope was compared, and then asked for what others gave.
    assert_eq!(calls(&world, CallMethod::List).len(), 2 + 2, "the first scope is not compared again");
    assert!(node.service.health.snapshot().sweep_finished > before);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds(&ana, Reader, VAULT_WEST);
}

/// Facts: F-070, F-078.
#[test]
fn two_processes_sweep_once_an_hour_between_them() {
    let (world, node, _) = two_scopes();
    let other = world.start();
    for _ in 0..60 {
        node.settle();
        other.settle();
        world.pass(60);
    }
    // Two scopes, each compared, and then asked for what others gave.
    assert_eq!(calls(&world, CallMethod::List).len(), 2 + 2);
}

#[test]
fn health_shows_the_active_bindings_and_when_a_tick_and_a_sweep_last_finished() {
    let world = operators();
    let node = world.start();
    let standing = node.service.health.snapshot();
    assert!(matches!(standing.bindings, BindingsHealth::InForce { .. }), "{standing:?}");
    assert_eq!((standing.tick_finished, standing.sweep_finished), (None, None));
    node.settle();
    let text = node.service.health.snapshot().to_json();
    assert_eq!(text["tickFinished"], "2026-03-01T10:00:00Z");
    assert_eq!(text["sweepFinished"], "2026-03-01T10:00:00Z");
    assert_eq!(text["bindings"], json!({"state": "in-force", "stamp": "20260301T100000Z"}));
}

#[test]
fn a_tick_over_nothing_reads_little_and_writes_nothing() {
    let world = operators();
    let node = world.start();
    node.settle();
    world.faults.reset();
    node.run(node.service.tick.run()).unwrap();
    let counts = world.faults.counts();
    assert_eq!(counts.transactions, 0, "{counts:?}");
    assert!(counts.requests <= 15, "{counts:?}");
}

#[test]
fn requests_that_fall_due_together_are_promoted_together_and_a_revocation_comes_first() {
    let world = operators().without_limits_on_revocations();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, 48);
    for part in people.chunks(24) {
        node.join(&group, &part.iter().collect::<Vec<_>>());
    }
    node.settle();
    let (leaving, staying) = people.split_at(24);
    let refused = FaultAction::Fail {
        status: 400,
        code: "BadRequest".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    world.azure().add_rule(FaultRule::new(refused).method(CallMethod::Delete)).unwrap();
    node.leave(&group, &leaving.iter().collect::<Vec<_>>());
    node.settle();
    assert_eq!(node.run(node.service.store.rows("w:", 100)).unwrap().len(), 24);

    world.azure().clear_rules();
    world.pass(60);
    world.faults.reset();
    node.run(node.service.tick.run()).unwrap();
    // One to wake eight of them, an open and a close for each, and one that ends their hints.
    assert_eq!(world.faults.counts().transactions, 3 + 2 * 24 + 1);
    leaving.iter().for_each(|person| world.assert_holds_nothing(person));
    staying.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
}

#[test]
fn an_element_of_a_job_that_keeps_failing_is_set_aside_and_the_job_goes_on() {
    let world = operators().without_limits_on_revocations();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, 30);
    for part in people.chunks(15) {
        node.join(&group, &part.iter().collect::<Vec<_>>());
    }
    node.settle();
    let heir = node.group("heir");
    node.try_patch_group(&heir, json!({"op": "replace", "path": "externalId", "value": "operators"}))
        .unwrap();
    let eve = node.provision("eve@contoso.example");
    node.join(&heir, &[&eve]);
    node.settle();
    world.assert_holds_nothing(&eve);
    // One row names no user.
    let no_user =
        TableWrite::Insert { key: format!("m:{group}:nobody"), properties: RowFields::row().done() };
    node.run(world.faults.transact("default", &[no_user])).unwrap();

    node.delete_group(&group);
    node.settle();
    people.iter().for_each(|person| world.assert_holds_nothing(person));
    world.assert_holds(&eve, Operator, VAULT_EAST);
    let left = |prefix: &str| node.run(node.service.store.rows(prefix, 100)).unwrap().len();
    assert_eq!((left("i:"), left(&format!("m:{group}:"))), (1, 1));
    assert_eq!(node.service.health.snapshot().quarantined, 1);
    // The job is left alone, though its own steps gave its row another version.
    world.faults.reset();
    node.run(node.service.tick.run()).unwrap();
    let counts = world.faults.counts();
    assert_eq!(counts.transactions, 0, "{counts:?}");
    assert!(counts.requests <= 15, "{counts:?}");

    let mended = TableWrite::Delete { key: format!("m:{group}:nobody"), condition: EtagMatch::Any };
    node.run(world.faults.transact("default", &[mended])).unwrap();
    world.pass(3700);
    node.settle();
    assert_eq!((left("i:"), left(&format!("m:{group}:"))), (0, 0));
    assert_eq!(node.service.health.snapshot().quarantined, 0);
}

#[test]
fn a_small_job_does_not_wait_for_the_end_of_a_large_one() {
    let world = operators().bind("readers", Reader, VAULT_WEST).without_limits_on_revocations();
    let node = world.start_with(TICKS_ONLY);
    let large = node.group("operators");
    let small = node.group("readers");
    let many = crowd(&node, 96);
    let few = (0..30).map(|n| node.provision(&format!("few{n}")));
    let few: Vec<Person> = few.collect();
    for (group, people) in [(&large, &many), (&small, &few)] {
        people.chunks(24).for_each(|part| node.join(group, &part.iter().collect::<Vec<_>>()));
    }
    node.settle();
    node.delete_group(&large);
    world.pass(1);
    node.delete_group(&small);
    world.azure().clear_calls();
    node.settle();
    let left: Vec<_> = calls(&world, CallMethod::Delete).iter().map(|call| call.scope.clone()).collect();
    let west = azure_backup_scim::simulator::Scope::parse(VAULT_WEST).unwrap();
    let first = left.iter().position(|scope| *scope == west).unwrap();
    assert!(first < 48, "after {first} of the large group");
    assert!(world.azure().assignments().is_empty());
}

#[test]
fn a_person_whose_reconcile_keeps_failing_after_its_open_is_quarantined() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let ana = node.provision("ana@contoso.example");
    let ben = node.provision("ben@contoso.example");
    // The first reconcile of all makes the id of the installation.
    node.join(&group, &[&ben]);
    node.settle();
    node.join(&group, &[&ana]);
    // The settings are read for the orders, for the plan, and again between the open and the call: the pointer moved, and then
    // the id of the installation cannot be read.
    let rows =
        ["s:bindings", "s:instance"].map(|key| node.run(node.service.store.get(key)).unwrap().unwrap());
    let broken = |row: &TableRow| TableWrite::InsertOrReplace {
        key: row.key.clone(),
        properties: RowFields::row().text("stamp", "other").text("hash", "other").done(),
    };
    let point = world.faults.hold(When::page().key("s:").nth(3), Side::Before);
    let service = node.service.clone();
    let tick = node.spawn(async move { service.tick.run().await.unwrap() });
    node.run(point.reached());
    node.run(world.faults.transact("default", &rows.each_ref().map(broken))).unwrap();
    point.release();
    node.run(tick).unwrap();
    assert_eq!(node.service.health.snapshot().quarantined, 1);

    let mended = rows.map(|row| TableWrite::InsertOrReplace { key: row.key, properties: row.properties });
    node.run(world.faults.transact("default", &mended)).unwrap();
    world.faults.reset();
    node.run(node.service.tick.run()).unwrap();
    let counts = world.faults.counts();
    assert!(counts.transactions == 0 && counts.requests <= 15, "{counts:?}");
    world.pass(200);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn joiners_have_their_share_of_a_tick_that_moves_a_crowd() {
    let mut world = operators();
    world.rebind(&[("operators", Operator, VAULT_EAST), ("readers", Reader, VAULT_WEST)]);
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let readers = node.group("readers");
    let people = crowd(&node, 24);
    node.join(&group, &people.iter().collect::<Vec<_>>());
    let ana = node.provision("ana@contoso.example");
    node.settle();
    let other = [binding(1, "operators", Reader, VAULT_EAST), binding(2, "readers", Reader, VAULT_WEST)];
    node.adopt(&other);
    node.join(&readers, &[&ana]);
    world.azure().clear_calls();
    tick_that_is_slow(&world, &node, CallMethod::Put, 8, 23);
    let order: Vec<_> = calls(&world, CallMethod::Put).iter().map(|call| call.principal).collect();
    assert_eq!(order.iter().position(|principal| *principal == Some(ana.principal)), Some(8));
    people.iter().for_each(|person| world.assert_holds(person, Reader, VAULT_EAST));
}

#[test]
fn a_late_sweep_goes_before_a_backlog() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    node.settle();
    for late in [false, true] {
        world.pass(3700);
        let people: Vec<_> = (0..8).map(|n| node.provision(&format!("{late}{n}@contoso.example"))).collect();
        node.join(&group, &people.iter().collect::<Vec<_>>());
        world.azure().clear_calls();
        tick_that_runs_out_of_time(&world, &node, CallMethod::Put, 8);
        // The scope is compared, and then asked for what others gave.
        assert_eq!(calls(&world, CallMethod::List).len(), if late { 2 } else { 0 });
    }
}

#[test]
fn a_sweep_whose_time_is_over_at_its_differences_goes_on_with_the_rest() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, 40);
    people.chunks(20).for_each(|part| node.join(&group, &part.iter().collect::<Vec<_>>()));
    node.settle();
    world.pass(3700);
    for held in world.azure().assignments() {
        world.azure().delete_assignment(held.name).unwrap();
    }
    let before = node.service.health.snapshot().sweep_finished;
    let point = world.faults.hold(When::transact().key("l:"), Side::Before);
    let service = node.service.clone();
    let tick = node.spawn(async move { service.tick.run().await.unwrap() });
    node.run(point.reached());
    world.pass(46);
    point.release();
    node.run(tick).unwrap();
    let found = node.audit_of("difference-found").len();
    assert!((1..40).contains(&found), "{found} of 40");
    assert_eq!(node.service.health.snapshot().sweep_finished, before);
    node.settle();
    assert_eq!(node.audit_of("difference-found").len(), 40);
    assert!(node.service.health.snapshot().sweep_finished > before);
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
}

#[test]
fn a_tick_whose_places_cannot_be_read_begins_anew() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let ana = node.provision("ana@contoso.example");
    node.join(&group, &[&ana]);
    let broken = |key: &str| TableWrite::InsertOrReplace {
        key: key.to_owned(),
        properties: RowFields::row().int("leaving_after", 1).int("state", 1).done(),
    };
    node.run(world.faults.transact("default", &[broken("s:tick"), broken("s:sweep")])).unwrap();
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert!(node.service.health.snapshot().sweep_finished.is_some());
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other() {
    let world = operators();
    let node = world.start();
    node.provision("ana@contoso.example");
    let op = uuid::Uuid::nil();
    let broken = TableWrite::Insert { key: format!("j:{op}"), properties: RowFields::row().done() };
    node.run(world.faults.transact("default", &[broken])).unwrap();
    let records = node.run(node.service.store.audit(None, 100)).unwrap();
    assert_eq!(records[0]["op"], op.to_string());
    assert!(records[0]["unreadable"].as_str().unwrap().contains("time"), "{}", records[0]);
    assert!(records[1..].iter().any(|record| record["changes"][0]["kind"] == "resource-created"));
}

#[test]
fn a_failure_is_remembered_by_a_tick_whose_time_is_over_before_it_comes_there() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let ana = node.provision("ana@contoso.example");
    node.join(&group, &[&ana]);
    let broken = TableWrite::Insert {
        key: format!("dg:{}", uuid::Uuid::nil()),
        properties: RowFields::row().text("nonsense", "x").done(),
    };
    node.run(world.faults.transact("default", &[broken])).unwrap();
    node.settle();
    assert_eq!(node.service.health.snapshot().quarantined, 1);
    world.pass(31);
    node.leave(&group, &[&ana]);
    tick_that_runs_out_of_time(&world, &node, CallMethod::Delete, 1);
    assert_eq!(node.service.health.snapshot().quarantined, 1);
}

#[test]
fn every_group_in_a_deleted_groups_place_is_enqueued_though_an_element_of_its_job_fails() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, 25);
    people.chunks(20).for_each(|part| node.join(&group, &part.iter().collect::<Vec<_>>()));
    node.settle();
    for n in 0..95 {
        let heir = node.group(&format!("heir{n}"));
        let renamed = json!({"op": "replace", "path": "externalId", "value": "operators"});
        node.try_patch_group(&heir, renamed).unwrap();
    }
    node.settle();
    let no_user =
        TableWrite::Insert { key: format!("m:{group}:nobody"), properties: RowFields::row().done() };
    node.run(world.faults.transact("default", &[no_user])).unwrap();
    node.delete_group(&group);
    let job = node.run(node.service.store.rows("i:", 10)).unwrap().remove(0);
    let job = OpId::parse(crate::support::keys::last_part(&job.key)).unwrap();
    let roll = || node.run(jobs::run_chunk(&node.service.store, &node.service.active_bindings, job));
    while roll().is_ok() {}
    assert_eq!(node.run(node.service.store.rows("dg:", 1000)).unwrap().len(), 95);
}

#[test]
fn a_shared_row_that_cannot_be_read_or_believed_blocks_no_person() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let ana = node.provision("ana@contoso.example");
    node.join(&group, &[&ana]);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);

    let row = |key: &str, properties| TableWrite::InsertOrReplace { key: key.to_owned(), properties };
    let nonsense = || RowFields::row().text("nonsense", "x").done();
    let subscription = &VAULT_EAST["/subscriptions/".len()..][..36];
    let far = time::macros::datetime!(8999-12-31 0:00 UTC);
    let rows = [
        row("b:00", nonsense()),
        row("s:throttle:99:ask", nonsense()),
        row(&format!("s:throttle:{subscription}:revoke"), RowFields::row().time("not_before", far).done()),
        row("s:tick", nonsense()),
    ];
    node.run(world.faults.transact("default", &rows)).unwrap();
    node.leave(&group, &[&ana]);
    node.settle();
    world.assert_holds_nothing(&ana);
    assert_eq!(node.service.health.snapshot().quarantined, 0);
}

#[test]
fn ticks_that_fail_one_after_the_other_are_a_finding() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    node.settle();
    world.faults.inject(When::any().always(), Fault::Throttled { retry_after: Duration::from_secs(1) });
    for finding in [false, false, true] {
        assert!(node.run(node.service.tick.run()).is_err());
        assert_eq!(node.service.health.snapshot().is_finding(), finding);
    }
    world.faults.clear();
    node.settle();
    assert!(!node.service.health.snapshot().is_finding());
}
