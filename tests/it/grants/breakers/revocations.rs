//! What takes a role from many people at once.

use super::{DAY, HOUR, Stage, join, limited};
use crate::support::harness::{Person, TICK_DEADLINE, VAULT_EAST, VAULT_WEST, World, binding};
use crate::support::rows::quiet;
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{self, CallMethod, LockLevel};
use azure_backup_scim::store::batches::BatchState;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_deleted_group_of_two_hundred_is_held_until_one_order_releases_it() {
    let stage = Stage::of(200);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    assert_eq!(stage.holders(), 200);
    stage.assert_grant(7, "waiting", "held-by-breaker");
    let batch = stage.batch();
    assert_eq!(stage.people_of(batch).len(), 200);

    // Who is deactivated or deleted loses the role all the same.
    stage.node.set_active(&stage.people[0], false);
    stage.node.delete_user(&stage.people[1]);
    stage.node.settle();
    assert_eq!(stage.holders(), 198);
    assert_eq!(stage.people_of(batch).len(), 198);

    stage.world.pass(2 * HOUR);
    stage.node.settle();
    assert_eq!(stage.holders(), 198);
    let health = stage.node.service.health.snapshot();
    assert!(health.is_finding());
    assert_eq!((health.batches_held, health.overdue.in_batches), (1, 198));
    assert_eq!((health.overdue.people, health.overdue.held_back), (0, 198));
    assert_eq!(stage.node.audit_of("breaker-tripped").len(), 1);
    assert_eq!(stage.node.audit_of("step-held").len(), 200);

    stage.release();
    assert_eq!(stage.holders(), 0);
    stage.assert_no_hold_is_left();
    stage.node.settle();
    let health = stage.node.service.health.snapshot();
    assert_eq!((health.batches_held, health.overdue.in_batches, health.overdue.held_back), (0, 0, 0));
    assert!(!health.is_finding(), "{health:?}");
}

/// Each chunk of the delete takes fewer people than pass, and all of them together more.
#[test]
fn a_deleted_group_is_judged_by_all_its_people_and_not_by_those_of_a_chunk() {
    let stage = Stage::long_ago(110, limited(500, 50));
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    assert_eq!(stage.holders(), 110);
    assert_eq!(stage.people_of(stage.batch()).len(), 110);
}

#[test]
fn a_rejected_batch_keeps_everyone_for_ever_and_says_so() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    stage.reject();
    stage.days(3);
    assert_eq!(stage.holders(), 20);
    stage.assert_grant(3, "held", "kept-by-order");
    let health = stage.node.service.health.snapshot();
    assert_eq!((health.batches_held, health.overdue.people, health.overdue.held_back), (0, 0, 0));
    assert!(!health.is_finding(), "{health:?}");

    // A second thought is possible, and who leaves leaves.
    stage.node.set_active(&stage.people[0], false);
    stage.node.settle();
    assert_eq!(stage.holders(), 19);
    let batch = stage.batches()[0].id;
    stage.node.carry_out(stage.node.release_of(batch));
    assert_eq!(stage.holders(), 0);
    stage.assert_no_hold_is_left();
    assert!(stage.node.order(stage.node.reject_of(batch)).is_refused);
}

#[test]
fn a_decision_is_about_the_people_who_were_read() {
    let stage = Stage::of(40);
    let other = stage.node.group("other");
    stage.leave(0, 10);
    let batch = stage.batch();
    let (release, reject) = (stage.node.release_of(batch), stage.node.reject_of(batch));

    // More people join the batch before the orders are carried out.
    stage.leave(10, 20);
    assert_eq!(stage.people_of(batch).len(), 20);
    for order in [release, reject] {
        let outcome = stage.node.order(order);
        assert!(outcome.is_refused && outcome.detail.contains("breaker show"), "{outcome:?}");
    }
    assert_eq!((stage.holders(), stage.batch()), (40, batch));

    // Fewer are not what was read either. Something beside the batch does not count.
    let read = stage.node.release_of(batch);
    stage.node.set_active(&stage.people[0], false);
    stage.node.settle();
    assert!(stage.node.order(read).is_refused);
    let read = stage.node.release_of(batch);
    stage.node.join(&other, &[&stage.people[1]]);
    stage.node.carry_out(read);
    assert_eq!(stage.holders(), 20);
}

#[test]
fn a_hold_is_over_when_the_reason_returns() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    let batch = stage.batch();
    let again = stage.node.group("operators");
    join(&stage.node, &again, &stage.people[..10]);
    stage.node.settle();
    stage.assert_grant(3, "held", "member");
    assert_eq!(stage.people_of(batch).len(), 10);

    // Released, the batch takes from the others alone.
    stage.release();
    assert_eq!(stage.holders(), 10);

    // A later removal is judged by itself, though the person was in the batch once.
    stage.world.pass(DAY);
    stage.node.settle();
    stage.node.leave(&again, &[&stage.people[3]]);
    stage.node.settle();
    assert_eq!(stage.holders(), 9);
    stage.assert_no_hold_is_left();
}

#[test]
fn a_rejected_hold_is_over_when_the_reason_returns() {
    let stage = Stage::of(6);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    stage.reject();
    let again = stage.node.group("operators");
    join(&stage.node, &again, &stage.people);
    stage.node.settle();
    stage.assert_grant(3, "held", "member");
    stage.assert_no_hold_is_left();
    stage.days(2);
    stage.node.leave(&again, &[&stage.people[3]]);
    stage.node.settle();
    assert_eq!(stage.holders(), 5);
}

#[test]
fn patches_that_empty_a_group_are_held_from_the_one_that_crosses_the_limit() {
    let stage = Stage::of(100);
    stage.days(2);
    let everyone: Vec<&Person> = stage.people.iter().collect();
    stage.node.leave(&stage.group, &everyone);
    stage.node.settle();
    // 19 of 100 are below a fifth; what came after is held.
    assert_eq!(stage.holders(), 81);
    let batch = stage.batch();
    assert_eq!(stage.people_of(batch).len(), 81);
    stage.days(1);
    assert_eq!(stage.holders(), 81);
    stage.release();
    assert_eq!(stage.holders(), 0);
}

#[test]
fn a_put_without_members_is_held_and_answered_as_ever() {
    let stage = Stage::of(12);
    stage.put(&[]).unwrap();
    stage.node.settle();
    assert_eq!(stage.node.members_of(&stage.group), Vec::<String>::new());
    assert_eq!(stage.holders(), 12);
    stage.release();
    assert_eq!(stage.holders(), 0);
}

#[test]
fn a_patch_that_replaces_the_members_by_none_is_held() {
    let stage = Stage::of(12);
    stage.patch(json!({"op": "replace", "path": "members", "value": []})).unwrap();
    stage.node.settle();
    assert_eq!(stage.holders(), 12);
    stage.patch(json!({"op": "add", "path": "members", "value": [{"value": stage.people[0].id}]})).unwrap();
    stage.node.settle();
    stage.assert_grant(0, "held", "member");
    stage.release();
    assert_eq!(stage.holders(), 1);
}

#[test]
fn a_renamed_group_takes_nothing_from_its_members() {
    let stage = Stage::of(12);
    for name in ["displayName", "externalId"] {
        stage.patch(json!({"op": "replace", "path": name, "value": "other"})).unwrap();
        stage.node.settle();
    }
    stage.days(1);
    assert_eq!(stage.holders(), 12);
    stage.assert_nothing_held();
    // What is taken from a renamed group is judged as ever.
    stage.put(&[]).unwrap();
    stage.node.settle();
    assert_eq!(stage.holders(), 12);
    stage.batch();
}

#[test]
fn a_single_leaver_of_the_next_day_is_not_held_and_hides_behind_no_old_batch() {
    let stage = Stage::of(60);
    stage.days(2);
    // 38 of 60 cross the limit, one after the other.
    stage.leave(0, 38);
    let first = stage.batch();
    assert_eq!(stage.holders(), 60);
    stage.days(1);
    stage.leave(40, 41);
    assert_eq!(stage.holders(), 59);
    // Six of those 21 who are not held are too many, though they are few of 60.
    stage.leave(41, 47);
    assert_eq!(stage.holders(), 59);
    let held: Vec<_> = stage.batches().iter().map(|batch| batch.id).collect();
    assert_eq!(held.len(), 2, "a batch is closed with its window");
    assert_eq!(stage.people_of(held[1]).len(), 6);
    stage.node.carry_out(stage.node.release_of(first));
    assert_eq!(stage.holders(), 21);
    stage.node.carry_out(stage.node.reject_of(held[1]));
    stage.days(1);
    assert_eq!(stage.holders(), 21);
}

#[test]
fn a_small_team_is_not_emptied_within_an_hour() {
    let stage = Stage::of(3);
    stage.days(2);
    for person in 0..3 {
        stage.leave(person, person + 1);
    }
    assert_eq!(stage.holders(), 1, "the last one is held");
    stage.days(1);
    assert_eq!(stage.holders(), 1);
    stage.release();
    assert_eq!(stage.holders(), 0);
}

#[test]
fn two_people_who_lose_a_role_are_no_mass() {
    let stage = Stage::of(2);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    assert_eq!(stage.holders(), 0);
    stage.assert_nothing_held();
}

#[test]
fn what_other_bindings_take_is_judged_by_their_plan_alone() {
    let stage = Stage::of(20);
    stage.node.adopt(&[binding(1, "operators", Reader, VAULT_EAST)]);
    stage.node.settle();
    let read =
        |stage: &Stage| stage.people.iter().filter(|p| stage.world.holds(p, Reader, VAULT_EAST)).count();
    assert_eq!(read(&stage), 20);
    assert!(stage.people.iter().all(|person| !stage.world.holds(person, Operator, VAULT_EAST)));
    stage.node.adopt(&[binding(2, "others", Reader, VAULT_WEST)]);
    stage.node.settle();
    assert_eq!(stage.holders(), 0);
    stage.assert_nothing_held();
}

#[test]
fn a_later_change_of_the_person_does_not_launder_what_is_held() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    let title = json!({"op": "replace", "path": "title", "value": "DBA"});
    stage.people.iter().for_each(|person| stage.node.patch_user(&person.id, title.clone()));
    stage
        .node
        .adopt(&[binding(1, "operators", Operator, VAULT_EAST), binding(2, "others", Reader, VAULT_WEST)]);
    stage.days(2);
    assert_eq!(stage.holders(), 20);
    stage.batch();
}

#[test]
fn a_mass_that_no_longer_matches_a_where_is_held_beyond_the_limit() {
    let mut file = binding(1, "operators", Operator, VAULT_EAST);
    file["where"] = json!("not (title eq \"left\")");
    let stage = Stage::under(30, file);
    stage.days(2);
    let title = json!({"op": "replace", "path": "title", "value": "left"});
    stage.people.iter().for_each(|person| stage.node.patch_user(&person.id, title.clone()));
    stage.node.settle();
    assert_eq!(stage.holders(), 24, "a fifth of 30 may go one by one");
    stage.release();
    assert_eq!(stage.holders(), 0);
}

#[test]
fn a_braked_person_of_a_batch_loses_the_role() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    let principal = azure_backup_scim::id::PrincipalId::new(stage.people[0].principal);
    stage.node.carry_out(OrderVerb::Revoke { principal });
    stage.world.assert_holds_nothing(&stage.people[0]);
    assert_eq!(stage.holders(), 19);
}

#[test]
fn an_order_about_no_batch_is_refused() {
    let stage = Stage::of(1);
    let batch = stage.node.service.store.ids.op();
    assert!(stage.node.order(stage.node.release_of(batch)).is_refused);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    assert!(stage.batches().iter().all(|batch| batch.state == BatchState::Held));
}

#[test]
fn a_decided_batch_is_forgotten_when_nothing_of_it_is_left() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    stage.release();
    stage.days(3);
    stage.assert_nothing_held();
    assert!(stage.node.run(stage.node.service.store.rows("h:", 10)).unwrap().is_empty());
}

#[test]
fn a_person_who_leaves_a_group_of_many_bindings_trips_nothing() {
    let world = quiet(World::new());
    let node = world.start();
    let roles = ["Backup Operator", "Backup Reader", "Backup Contributor"];
    let scopes = [VAULT_EAST, VAULT_WEST];
    let all = roles.iter().flat_map(|role| scopes.map(|scope| (role, scope))).enumerate();
    let file: Vec<_> = all
        .map(|(n, (role, scope))| {
            json!({"name": format!("b{n}"), "group": {"externalId": "operators"}, "role": role, "scope": scope})
        })
        .collect();
    node.adopt(&file);
    let group = node.group("operators");
    let people: Vec<Person> = (0..20).map(|n| node.provision(&format!("p{n}"))).collect();
    join(&node, &group, &people);
    node.settle();
    for person in &people[..3] {
        node.leave(&group, &[person]);
        node.settle();
        world.assert_holds_nothing(person);
    }
    assert!(node.run(node.service.store.batches()).unwrap().each().next().is_none());
}

#[test]
fn a_rejected_person_who_is_deactivated_behind_a_lock_is_not_kept_when_active_again() {
    let stage = Stage::of(12);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    stage.reject();
    let vault = simulator::Scope::parse(VAULT_EAST).unwrap();
    let lock = stage.world.azure().add_lock(&vault, LockLevel::CanNotDelete).unwrap();
    stage.node.set_active(&stage.people[0], false);
    stage.node.settle();
    assert_eq!(stage.holders(), 12);
    stage.node.set_active(&stage.people[0], true);
    stage.node.settle();
    stage.world.azure().remove_lock(lock).unwrap();
    stage.days(1);
    assert_eq!(stage.holders(), 11);
}

#[test]
fn what_was_released_does_not_come_before_a_person_who_leaves() {
    let stage = Stage::of(60);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    let batch = stage.batch();
    let Stage { world, node, people, .. } = stage;
    node.kill();
    let node =
        world.start_without_bindings(InlineLimits { wait: Duration::ZERO, people_max: 0 }, TICK_DEADLINE);
    world.azure().clear_calls();
    node.place(node.release_of(batch));
    node.set_active(&people[59], false);
    node.run(node.service.tick.run()).unwrap();
    let calls = world.azure().calls();
    let mut deleted = calls.iter().filter(|call| call.method == CallMethod::Delete);
    let at = deleted.position(|call| call.principal == Some(people[59].principal)).unwrap();
    assert!(at < 16, "{at}");
}

#[test]
fn a_person_with_more_holds_than_one_close_writes_is_held_whole() {
    let world = quiet(World::new());
    let node = world.start();
    let vault =
        |n: usize| format!("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg{n}");
    (0..60).for_each(|n| {
        world.azure().add_scope(&simulator::Scope::parse(&vault(n)).unwrap()).unwrap();
    });
    let file: Vec<_> = (0..60)
        .map(|n| {
            json!({"name": format!("b{n}"), "group": {"externalId": "operators"}, "role": "Backup Reader", "scope": vault(n)})
        })
        .collect();
    node.adopt(&file);
    let group = node.group("operators");
    let people: Vec<Person> = (0..6).map(|n| node.provision(&format!("p{n}"))).collect();
    join(&node, &group, &people);
    node.settle();
    let held = || world.azure().assignments().len();
    assert_eq!(held(), 360);
    node.delete_group(&group);
    node.settle();
    assert_eq!(held(), 360);
    assert_eq!(node.service.health.snapshot().quarantined, 0);
    let batches = node.run(node.service.store.batches()).unwrap();
    let batch = batches.each().next().unwrap().id;
    node.carry_out(node.release_of(batch));
    node.settle();
    assert_eq!(held(), 0);
}

#[test]
fn a_batch_that_everyone_left_is_no_finding() {
    let stage = Stage::of(6);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    assert!(stage.node.service.health.snapshot().is_finding());
    stage.people.iter().for_each(|person| stage.node.delete_user(person));
    stage.node.settle();
    assert_eq!(stage.holders(), 0);
    stage.world.pass(5 * 60);
    stage.node.settle();
    let other = stage.world.start();
    other.settle();
    for node in [&stage.node, &other] {
        let health = node.service.health.snapshot();
        assert_eq!((health.batches_held, health.is_finding()), (0, false), "{health:?}");
    }
    // It takes in what crosses the limit within its hour, and is a finding again.
    let group = stage.node.group("operators");
    let people: Vec<Person> = (0..6).map(|n| stage.node.provision(&format!("next{n}"))).collect();
    join(&stage.node, &group, &people);
    stage.node.settle();
    stage.node.delete_group(&group);
    stage.node.settle();
    assert_eq!(stage.batches().len(), 1);
    assert!(stage.node.service.health.snapshot().is_finding());
}
