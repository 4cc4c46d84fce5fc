//! The rows of the breakers: what damage to them means, and what judging costs.

use super::{HOUR, Stage, holders, join, limited};
use crate::support::harness::{Person, VAULT_EAST, binding};
use crate::support::rows::{nonsense, of_a_later_release, write};
use azure_backup_scim::id::OpId;
use azure_backup_scim::ports::tables::{EtagMatch, TableWrite};
use azure_backup_scim::rbac::BackupRole::Operator;

/// The key of the only binding's tally.
fn tally(stage: &Stage) -> String {
    let rows = stage.node.run(stage.node.service.store.rows("t:", 10)).unwrap();
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).filter(|key| *key != "t:all").collect();
    assert_eq!(keys.len(), 1);
    keys[0].to_owned()
}

fn remove(key: &str) -> TableWrite {
    TableWrite::Delete { key: key.to_owned(), condition: EtagMatch::Any }
}

#[test]
fn a_tally_that_cannot_be_read_gives_nothing_new_for_an_hour_and_takes_away_as_ever() {
    let stage = Stage::long_ago(20, binding(1, "operators", Operator, VAULT_EAST));
    write(&stage.world, &stage.node, &[nonsense(&tally(&stage)), nonsense("t:all")]);
    let cat = stage.node.provision("cat");
    stage.node.join(&stage.group, &[&cat]);
    stage.leave(0, 1);
    stage.world.assert_holds_nothing(&cat);
    let waits = [("waiting".to_owned(), "row-unreadable".to_owned())];
    assert_eq!(stage.node.grants(&cat), waits);
    assert_eq!(stage.holders(), 19);

    // Made anew, it knows who holds what: a mass is held.
    stage.leave(1, 9);
    assert_eq!(stage.holders(), 19);
    stage.batch();
    stage.world.pass(HOUR + 300);
    stage.node.settle();
    stage.world.assert_holds(&cat, Operator, VAULT_EAST);
}

#[test]
fn an_installation_without_tallies_counts_its_ledger_first() {
    let stage = Stage::long_ago(20, limited(500, 3));
    write(&stage.world, &stage.node, &[remove(&tally(&stage)), remove("t:all")]);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    assert_eq!(stage.holders(), 20);

    // It is a month old, whatever the row says: no first sync.
    let stage = Stage::long_ago(20, limited(500, 3));
    write(&stage.world, &stage.node, &[remove(&tally(&stage)), remove("t:all")]);
    let more: Vec<Person> = (0..5).map(|n| stage.node.provision(&format!("more{n}"))).collect();
    join(&stage.node, &stage.group, &more);
    stage.node.settle();
    assert_eq!(holders(&stage.world, &more), 3);
}

#[test]
fn a_tally_of_a_later_release_is_left_alone_and_what_it_counts_waits_loudly() {
    let stage = Stage::of(20);
    let key = tally(&stage);
    write(&stage.world, &stage.node, &[of_a_later_release(&key)]);
    let cat = stage.node.provision("cat");
    stage.node.join(&stage.group, &[&cat]);
    stage.leave(0, 1);
    assert_eq!(stage.holders(), 20);
    stage.world.assert_holds_nothing(&cat);
    assert!(stage.node.service.health.snapshot().rows_unreadable > 0);
    // Who leaves is no matter of the breakers.
    stage.node.set_active(&stage.people[5], false);
    stage.node.settle();
    assert_eq!(stage.holders(), 19);
    write(&stage.world, &stage.node, &[remove(&key)]);
    stage.world.pass(2 * HOUR);
    stage.node.settle();
    assert_eq!(stage.holders(), 18);
    stage.world.assert_holds(&cat, Operator, VAULT_EAST);
}

#[test]
fn a_batch_that_cannot_be_read_holds_what_it_held() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    let key = format!("s:batch:{}", stage.batch());
    write(&stage.world, &stage.node, &[nonsense(&key)]);
    stage.days(1);
    assert_eq!(stage.holders(), 20);
    let health = stage.node.service.health.snapshot();
    assert!(health.is_finding() && health.batches_held == 1);

    // No order can say what becomes of it. Without the row the people are in a batch that can be decided.
    let batch = OpId::parse(key.strip_prefix("s:batch:").unwrap()).unwrap();
    let outcome = stage.node.order(stage.node.release_of(batch));
    assert!(outcome.is_refused && outcome.detail.contains("cannot be read"), "{outcome:?}");
    assert_eq!(stage.holders(), 20);
    write(&stage.world, &stage.node, &[remove(&key)]);
    stage.days(1);
    stage.release();
    stage.days(1);
    assert_eq!(stage.holders(), 0);
}

#[test]
fn a_person_of_a_batch_whose_row_cannot_be_read_is_part_of_what_is_decided() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    let batch = stage.batch();
    let read = stage.node.release_of(batch);
    let key = format!("h:{batch}:{}", stage.people[0].id);
    write(&stage.world, &stage.node, &[nonsense(&key)]);
    assert!(stage.node.order(read).is_refused, "the operator read something else");
    let people = stage.node.run(stage.node.service.store.batch_people(batch)).unwrap();
    assert_eq!((people.people.len(), people.unreadable), (19, 1));
    stage.release();
    stage.days(1);
    assert_eq!(stage.holders(), 0);
}

#[test]
fn a_batch_is_not_decided_while_its_operation_is_still_carried_out() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    let batch = stage.batch();
    let people = stage.node.run(stage.node.service.store.batch_people(batch)).unwrap().people;
    let job = format!("i:{}", people[0].cause.as_ref().unwrap().op);
    write(&stage.world, &stage.node, &[nonsense(&job)]);
    let outcome = stage.node.order(stage.node.release_of(batch));
    assert!(outcome.is_refused && outcome.detail.contains("still goes through"), "{outcome:?}");
    assert_eq!(stage.holders(), 20);

    // A job that never ends does not keep the batch for ever.
    stage.world.pass(2 * HOUR);
    stage.release();
    stage.days(1);
    assert_eq!(stage.holders(), 0);
}

#[test]
fn a_batch_whose_row_is_lost_can_still_be_decided() {
    let stage = Stage::of(20);
    stage.node.delete_group(&stage.group);
    stage.node.settle();
    let key = format!("s:batch:{}", stage.batch());
    write(&stage.world, &stage.node, &[remove(&key)]);
    for _ in 0..3 {
        stage.world.pass(2 * HOUR);
        stage.node.settle();
    }
    assert_eq!(stage.holders(), 20);
    stage.release();
    for _ in 0..3 {
        stage.world.pass(2 * HOUR);
        stage.node.settle();
    }
    assert_eq!(stage.holders(), 0);
}

/// The requests of a change and its reconcile.
fn requests(stage: &Stage, change: impl FnOnce()) -> usize {
    stage.world.faults.reset();
    change();
    stage.world.faults.counts().requests
}

#[test]
fn a_round_with_nothing_to_count_asks_for_no_tally() {
    let stage = Stage::of(10);
    let person = &stage.people[0];
    let gone = requests(&stage, || stage.node.set_active(person, false));
    stage.world.assert_holds_nothing(person);
    // Reading the tallies, and writing them, is what a removal costs more: two requests at once, and one.
    let removed = requests(&stage, || stage.node.leave(&stage.group, &[&stage.people[1]]));
    stage.world.assert_holds_nothing(&stage.people[1]);
    assert!(removed > gone, "{removed} {gone}");
    let touched = stage.node.run(stage.node.service.store.rows("t:", 10)).unwrap();
    stage.node.set_active(&stage.people[2], false);
    stage.node.settle();
    assert_eq!(stage.node.run(stage.node.service.store.rows("t:", 10)).unwrap(), touched);
}
