//! Who may act on an Entra object: only the record that holds it.

use super::{Pair, user};
use crate::support::harness::VAULT_EAST;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::rbac::ledger::{AssignmentState, LedgerEntry};
use azure_backup_scim::simulator::{CallMethod, HandMade, Scope};
use azure_backup_scim::store::ledger;
use uuid::Uuid;

#[test]
fn a_row_of_another_records_object_is_closed_and_what_that_record_holds_stays() {
    let pair = Pair::new();
    let (_, ana) = pair.granted();
    let again = pair.one.node.provision_as("ana-again", ana.principal);
    let held = pair.one.entry(&ana);

    // Azure holds that name, so a record that believes its own row would take it from the other.
    let unsettled = LedgerEntry { unsettled_until: Some(held.written), ..held };
    let row = ledger::write(user(&again), &unsettled, None);
    pair.one.run(pair.one.node.service.store.transact_unjournaled(&[row])).unwrap();
    pair.one.mark(&again, "Clerk");
    pair.one.look(&again);
    assert!(pair.one.entry(&again).is_settled_and_gone());
    assert_eq!(pair.calls(CallMethod::Delete).len(), 0);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_free_object_is_claimed_before_its_assignment_is_revoked_and_freed_after() {
    let pair = Pair::new();
    let (_, ana) = pair.granted();
    let name: Uuid = pair.world.azure().assignments()[0].name;
    let holder = format!("p:{}", ana.principal);
    pair.one.node.delete_user(&ana);
    pair.one.node.settle();
    assert!(pair.one.get(&holder).is_none());

    // A call that was under way all the time lands, and a sweep finds it.
    let scope = Scope::parse(VAULT_EAST).unwrap();
    let made = HandMade { name: Some(name), ..HandMade::new(scope, Operator.name(), ana.principal) };
    pair.world.azure().make_assignment(&made).unwrap();
    pair.world.pass(15 * 60);
    pair.one.run(pair.one.node.service.tick.sweep()).unwrap();

    let look = pair.begin_held(&ana, CallMethod::Delete);
    assert!(pair.one.get(&holder).is_some(), "no other record may take it now");
    pair.deliver();
    pair.two.end(look);
    pair.world.assert_holds_nothing(&ana);
    assert!(pair.one.get(&holder).is_none());
}

#[test]
fn a_foreign_assignment_is_asked_for_again_in_an_hour() {
    let pair = Pair::new();
    let group = pair.one.node.group("operators");
    let ana = pair.one.node.provision("ana");
    pair.world.hand_made(&ana, Operator, VAULT_EAST);
    pair.one.node.join(&group, &[&ana]);
    pair.one.look(&ana);
    let entry = pair.one.entry(&ana);
    assert!(matches!(entry.state, AssignmentState::HeldByOther(_)), "{entry:?}");
    assert_eq!((entry.retry.unwrap().not_before - entry.since).whole_minutes(), 60);
}
