//! What gives a role to many people at once.

use super::{DAY, HOUR, MINUTE, Stage, holders, join, limited};
use crate::grants::plan::pending::package;
use crate::support::fault_injection::{Side, When};
use crate::support::harness::{Person, VAULT_EAST, World, binding, bindings_file, members};
use crate::support::rows::quiet;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::service::bindings::active::Activation;
use azure_backup_scim::service::bindings::bundled::BundleState;
use serde_json::json;
use std::env;

/// So many people of a first sync; `FIRST_SYNC_PEOPLE` says another number.
fn first_sync() -> usize {
    env::var("FIRST_SYNC_PEOPLE").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

#[test]
fn a_first_sync_needs_no_order_where_the_file_says_how_many_people_there_are() {
    let people = first_sync();
    let stage = Stage::under(people, limited(people + people / 4, 50));
    stage.assert_nothing_held();
    assert!(!stage.node.service.health.snapshot().is_finding());
}

#[test]
fn a_first_sync_beyond_max_principals_fills_the_binding_and_the_rest_waits_for_room() {
    let stage = Stage::under(20, limited(20, 20));
    let more: Vec<Person> = (0..10).map(|n| stage.node.provision(&format!("more{n}"))).collect();
    join(&stage.node, &stage.group, &more);
    stage.node.settle();
    assert_eq!((stage.holders(), holders(&stage.world, &more)), (20, 0));
    let refused = [("refused".to_owned(), "max-principals".to_owned())];
    assert_eq!(stage.node.grants(&more[0]), refused);
    stage.assert_nothing_held();
    assert!(stage.node.service.health.snapshot().is_finding());

    // Room: who leaves lets another one in, within the hour.
    stage.node.set_active(&stage.people[0], false);
    stage.node.delete_user(&stage.people[1]);
    stage.node.settle();
    for _ in 0..3 {
        stage.world.pass(HOUR + 10 * MINUTE);
        stage.node.settle();
    }
    assert_eq!((stage.holders(), holders(&stage.world, &more)), (18, 2));

    // Or a file that says how many there are.
    stage.node.adopt(&[limited(30, 20)]);
    stage.node.settle();
    assert_eq!((stage.holders(), holders(&stage.world, &more)), (18, 10));
    stage.assert_nothing_held();
}

#[test]
fn a_lower_limit_takes_nothing_from_anyone() {
    let stage = Stage::under(20, limited(30, 20));
    stage.node.adopt(&[limited(10, 10)]);
    stage.days(2);
    assert_eq!(stage.holders(), 20);
    stage.assert_nothing_held();
}

#[test]
fn a_stolen_token_gives_fifty_people_a_role_within_an_hour_and_the_rest_is_held() {
    let stage = Stage::long_ago(5, binding(1, "operators", Operator, VAULT_EAST));
    let invented: Vec<Person> = (0..70).map(|n| stage.node.provision(&format!("x{n}"))).collect();
    join(&stage.node, &stage.group, &invented);
    stage.node.settle();
    assert_eq!(holders(&stage.world, &invented), 50);
    assert_eq!(stage.node.audit_of("breaker-tripped").len(), 1);
    let batch = stage.batch();
    assert_eq!(stage.people_of(batch).len(), 20);
    let waits = [("waiting".to_owned(), "held-by-breaker".to_owned())];
    let held = invented.iter().find(|p| holders(&stage.world, std::slice::from_ref(*p)) == 0).unwrap();
    assert_eq!(stage.node.grants(held), waits);
    assert_eq!(stage.node.service.health.snapshot().batches_held, 1);

    // Time alone releases nothing.
    stage.days(2);
    assert_eq!(holders(&stage.world, &invented), 50);
    stage.release();
    assert_eq!(holders(&stage.world, &invented), 70);
    stage.assert_no_hold_is_left();
}

#[test]
fn rejected_grants_are_not_given_until_the_person_joins_anew() {
    let stage = Stage::long_ago(2, limited(500, 4));
    let more: Vec<Person> = (0..6).map(|n| stage.node.provision(&format!("more{n}"))).collect();
    join(&stage.node, &stage.group, &more);
    stage.node.settle();
    assert_eq!(holders(&stage.world, &more), 4);
    stage.reject();
    stage.days(2);
    assert_eq!(holders(&stage.world, &more), 4);
    let rejected: Vec<&Person> =
        more.iter().filter(|p| holders(&stage.world, std::slice::from_ref(*p)) == 0).collect();
    let refused = [("refused".to_owned(), "rejected-by-order".to_owned())];
    assert_eq!(stage.node.grants(rejected[0]), refused);

    stage.node.leave(&stage.group, &rejected);
    stage.node.settle();
    stage.assert_no_hold_is_left();
    stage.node.join(&stage.group, &rejected);
    stage.node.settle();
    assert_eq!(holders(&stage.world, &more), 6);
}

#[test]
fn who_comes_back_within_the_hour_counts_once() {
    let stage = Stage::long_ago(6, limited(500, 2));
    let cat = stage.node.provision("cat");
    for _ in 0..4 {
        stage.node.join(&stage.group, &[&cat]);
        stage.node.settle();
        stage.world.assert_holds(&cat, Operator, VAULT_EAST);
        stage.node.set_active(&cat, false);
        stage.node.settle();
        stage.world.assert_holds_nothing(&cat);
        stage.node.set_active(&cat, true);
        stage.node.settle();
        stage.world.assert_holds(&cat, Operator, VAULT_EAST);
    }
    stage.assert_nothing_held();
}

#[test]
fn held_people_who_lose_their_reason_are_no_longer_held() {
    let stage = Stage::long_ago(6, limited(500, 1));
    let more: Vec<Person> = (0..4).map(|n| stage.node.provision(&format!("more{n}"))).collect();
    join(&stage.node, &stage.group, &more);
    stage.node.settle();
    assert_eq!(holders(&stage.world, &more), 1);
    let everyone: Vec<&Person> = more.iter().collect();
    stage.node.leave(&stage.group, &everyone);
    stage.node.settle();
    assert_eq!(holders(&stage.world, &more), 0);
    stage.assert_no_hold_is_left();
    stage.node.carry_out(stage.node.release_of(stage.batch()));
    stage.world.pass(DAY);
    stage.node.settle();
    assert_eq!(holders(&stage.world, &more), 0);
}

#[test]
fn who_is_kept_by_a_renamed_binding_counts_before_anyone_reconciles_them() {
    let stage = Stage::under(10, limited(12, 12));
    let mut renamed = limited(12, 12);
    renamed["name"] = json!("renamed");
    assert_eq!(
        package(&stage.node, &bindings_file(&[renamed]), "20260301T100200Z"),
        BundleState::Done(Activation::Stored)
    );
    // New people are reconciled at once, before the fan-out of the file has reached anyone.
    let more: Vec<Person> = (0..5).map(|n| stage.node.provision(&format!("more{n}"))).collect();
    join(&stage.node, &stage.group, &more);
    assert_eq!((stage.holders(), holders(&stage.world, &more)), (10, 2));
    stage.days(2);
    assert_eq!((stage.holders(), holders(&stage.world, &more)), (10, 2));
}

/// The count of everyone walks over the ledger while somebody who was counted has no row there yet.
#[test]
fn who_passed_a_moment_ago_stays_counted_when_everyone_is_counted() {
    let world = quiet(World::new());
    let node = world.start();
    node.adopt(&[limited(10, 10)]);
    let group = node.group("operators");
    let people: Vec<Person> = (0..11).map(|n| node.provision(&format!("p{n}"))).collect();
    join(&node, &group, &people[..9]);
    let [tenth, eleventh] = [&people[9], &people[10]];
    let point = world.faults.hold(When::transact().key(&format!("l:{}", tenth.id)), Side::Before);
    node.begin(&group, members("add", &[tenth]));
    node.run(point.reached());
    // The first tick of the installation sweeps, and counts everyone.
    let other = world.start();
    other.run(other.service.tick.run()).unwrap();
    assert!(other.service.health.snapshot().sweep_finished.is_some());
    other.join(&group, &[eleventh]);
    point.release();
    node.settle();
    other.settle();
    assert_eq!(holders(&world, &people), 10);
    assert_eq!(other.grants(eleventh), [("refused".to_owned(), "max-principals".to_owned())]);
}
