//! The sweep: whom it marks, and what it does not compare.

use super::{Pair, look_now};
use crate::support::harness::{Person, VAULT_EAST};
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::rbac::ledger::AssignmentState;
use azure_backup_scim::simulator::{HandMade, Scope};
use uuid::Uuid;

const LISTS_LAG: u64 = 15 * 60;

fn sweep(pair: &Pair) {
    pair.one.run(pair.one.node.service.tick.sweep()).unwrap();
}

fn differences(pair: &Pair) -> Vec<String> {
    let found = pair.one.node.audit_of("difference-found").into_iter();
    found.map(|change| change["person"].as_str().unwrap().to_owned()).collect()
}

/// A person whose record was deleted after the role was taken, and the name of the assignment.
fn gone(pair: &Pair) -> (String, Person, Uuid) {
    let (group, ana) = pair.granted();
    let name = pair.world.azure().assignments()[0].name;
    pair.one.node.delete_user(&ana);
    pair.one.node.settle();
    pair.world.assert_holds_nothing(&ana);
    (group, ana, name)
}

/// The same assignment, by a call that arrived after everything.
fn lands(pair: &Pair, person: &Person, name: Uuid) {
    let scope = Scope::parse(VAULT_EAST).unwrap();
    let made = HandMade { name: Some(name), ..HandMade::new(scope, Operator.name(), person.principal) };
    pair.world.azure().make_assignment(&made).unwrap();
}

/// Facts: F-020.
#[test]
fn what_was_written_a_short_while_ago_is_not_compared() {
    let pair = Pair::new();
    let (_, ana) = pair.granted();
    pair.world.azure().delete_assignment(pair.world.azure().assignments()[0].name).unwrap();
    for (passes, found) in [(0, 0), (LISTS_LAG - 1, 0), (1, 1)] {
        pair.world.pass(passes);
        sweep(&pair);
        assert_eq!(differences(&pair).len(), found, "after {passes} s more");
        assert_eq!(pair.one.is_marked(&ana), found > 0);
    }
    pair.one.look(&ana);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_young_row_of_the_holder_of_the_object_id_keeps_an_old_one_from_being_compared() {
    let pair = Pair::new();
    let (group, ana, _) = gone(&pair);
    pair.world.pass(LISTS_LAG);
    // The same assignment again, of a new record, and a list that shows it before the ledger row is settled for long.
    let again = pair.one.node.provision_as("ana-again", ana.principal);
    pair.one.node.join(&group, &[&again]);
    pair.one.look(&again);
    pair.world.assert_holds(&again, Operator, VAULT_EAST);
    pair.one.node.leave(&group, &[&again]);
    pair.one.look(&again);
    lands(&pair, &ana, pair_name(&pair, &again));
    sweep(&pair);
    assert_eq!(differences(&pair), Vec::<String>::new());
    assert!(!pair.one.is_marked(&again) && !pair.one.is_marked(&ana));
    pair.world.pass(LISTS_LAG);
    sweep(&pair);
    assert_eq!(differences(&pair), [again.id.as_str()]);
}

fn pair_name(pair: &Pair, person: &Person) -> Uuid {
    Uuid::parse_str(&pair.one.entry(person).assignment.to_string()).unwrap()
}

#[test]
fn what_the_holder_of_the_object_id_holds_is_no_difference_of_an_older_record() {
    let pair = Pair::new();
    let (group, ana, _) = gone(&pair);
    let again = pair.one.node.provision_as("ana-again", ana.principal);
    pair.one.node.join(&group, &[&again]);
    pair.one.look(&again);
    pair.world.pass(LISTS_LAG);
    sweep(&pair);
    assert_eq!(differences(&pair), Vec::<String>::new());
    assert!(pair.one.get(&look_now(&ana)).is_none() && pair.one.get(&look_now(&again)).is_none());
    assert!(pair.one.entry(&ana).is_settled_and_gone());
}

#[test]
fn a_difference_marks_the_record_that_holds_the_object_id_and_it_takes_the_role_back() {
    let pair = Pair::new();
    let (_, ana, name) = gone(&pair);
    let again = pair.one.node.provision_as("ana-again", ana.principal);
    pair.one.look(&again);
    assert!(pair.one.get(&format!("l:{}:pin:{}", again.id, ana.principal)).is_some());
    lands(&pair, &ana, name);
    pair.world.pass(LISTS_LAG);
    sweep(&pair);
    assert_eq!(differences(&pair), [again.id.as_str()]);
    assert!(pair.one.is_marked(&again) && !pair.one.is_marked(&ana));
    let entry = pair.one.entry(&again);
    assert_eq!((entry.state, entry.unsettled_until), (AssignmentState::Gone, Some(entry.written)));
    pair.one.look(&again);
    pair.world.assert_holds_nothing(&again);
}

#[test]
fn a_difference_beside_a_free_object_id_is_taken_back_too() {
    let pair = Pair::new();
    let (_, ana, name) = gone(&pair);
    assert!(pair.one.get(&format!("p:{}", ana.principal)).is_none());
    lands(&pair, &ana, name);
    pair.world.pass(LISTS_LAG);
    sweep(&pair);
    assert_eq!(differences(&pair), [ana.id.as_str()]);
    pair.one.look(&ana);
    pair.world.assert_holds_nothing(&ana);
}

#[test]
fn a_difference_beside_a_free_object_id_marks_the_record_whose_row_was_written_last() {
    let pair = Pair::new();
    let (group, ana, name) = gone(&pair);
    pair.world.pass(60);
    let again = pair.one.node.provision_as("ana-again", ana.principal);
    pair.one.node.join(&group, &[&again]);
    pair.one.look(&again);
    pair.one.node.delete_user(&again);
    pair.one.node.settle();
    pair.world.assert_holds_nothing(&again);
    assert!(pair.one.get(&format!("p:{}", ana.principal)).is_none());
    lands(&pair, &ana, name);
    pair.world.pass(LISTS_LAG);
    sweep(&pair);
    assert_eq!(differences(&pair), [again.id.as_str()]);
    assert!(pair.one.is_marked(&again) && !pair.one.is_marked(&ana));
    pair.one.look(&again);
    pair.world.assert_holds_nothing(&again);
}
