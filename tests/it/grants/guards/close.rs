//! Close: what was learned meanwhile is not written over, and what is not known any more is marked.

use super::{Pair, look_now, says};
use crate::support::fault_injection::{Side, When};
use crate::support::harness::{VAULT_EAST, World};
use crate::support::rows::quiet;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::rbac::ledger::AssignmentState;
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule};

#[test]
fn who_leaves_while_the_grant_is_closed_keeps_the_mark_and_is_revoked() {
    let pair = Pair::new();
    let (group, ana) = pair.joined();
    let close = pair.one.faults.hold(When::transact().key(&look_now(&ana)).nth(2), Side::Before);
    let look = pair.one.begin_look(&ana);
    pair.one.reached(&close);
    pair.two.node.leave(&group, &[&ana]);
    close.release();
    pair.one.end(look);
    pair.world.assert_holds_nothing(&ana);
    assert!(pair.one.entry(&ana).is_settled_and_gone());
}

#[test]
fn a_close_does_not_write_over_a_row_that_was_settled_meanwhile() {
    let pair = Pair::new();
    let (group, ana) = pair.joined();
    let ledger = format!("l:{}:", ana.id);
    // Azure has the grant in hand when she leaves, and has not carried it out when it is asked.
    let granting = pair.begin_held(&ana, CallMethod::Put);
    pair.one.node.leave(&group, &[&ana]);
    let noting = pair.one.hold_write(&ledger, Side::Before);
    let looking = pair.one.begin_look(&ana);
    pair.one.reached(&noting);
    // The grant is answered, and settles the row without touching the mark.
    let next = pair.two.faults.hold(When::get().key(&look_now(&ana)).nth(2), Side::Before);
    pair.deliver();
    pair.two.reached(&next);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
    noting.release();
    pair.one.end(looking);
    pair.world.assert_holds_nothing(&ana);
    next.release();
    pair.two.end(granting);
}

#[test]
fn an_answer_to_a_call_whose_row_changed_since_settles_nothing_and_leaves_a_mark() {
    let pair = Pair::new();
    let (group, ana) = pair.granted();
    pair.one.node.leave(&group, &[&ana]);
    // She comes back while Azure has the revocation in hand; who looks finds the role still there.
    let revoking = pair.begin_held(&ana, CallMethod::Delete);
    pair.one.node.join(&group, &[&ana]);
    pair.one.look(&ana);
    assert!(!pair.one.is_marked(&ana));
    let next = pair.two.faults.hold(When::get().key(&look_now(&ana)).nth(2), Side::Before);
    pair.deliver();
    pair.two.reached(&next);
    assert!(pair.two.is_marked(&ana));
    assert!(pair.two.entry(&ana).unsettled_until.is_some());
    next.release();
    pair.two.end(revoking);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_call_that_took_too_long_unsettles_the_row_that_was_settled_without_it() {
    let pair = Pair::new();
    let (group, ana) = pair.granted();
    pair.one.node.leave(&group, &[&ana]);
    let revoking = pair.begin_held(&ana, CallMethod::Delete);
    // Long after any network would have let it land, Azure is asked, and the role is still there.
    pair.one.node.join(&group, &[&ana]);
    pair.world.pass(200);
    pair.one.look(&ana);
    let entry = pair.one.entry(&ana);
    assert_eq!((entry.state, entry.unsettled_until), (AssignmentState::Present, None));
    pair.deliver();
    pair.two.end(revoking);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_row_that_is_opened_while_it_is_marked_keeps_the_later_time() {
    let pair = Pair::new();
    let (group, ana) = pair.granted();
    pair.one.node.leave(&group, &[&ana]);
    let revoking = pair.begin_held(&ana, CallMethod::Delete);
    pair.one.node.join(&group, &[&ana]);
    pair.one.look(&ana);
    // The close of the revocation and the row alone meet a change; then the row is read, to be marked.
    let marking = pair.two.faults.hold(When::transact().key(&format!("l:{}:", ana.id)).nth(3), Side::Before);
    pair.deliver();
    pair.two.reached(&marking);
    pair.world.pass(20);
    pair.one.mark(&ana, "boss");
    pair.one.look(&ana);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
    let opened = pair.one.entry(&ana);
    let next = pair.two.faults.hold(When::get().key(&look_now(&ana)).nth(2), Side::Before);
    marking.release();
    pair.two.reached(&next);
    let marked = pair.two.entry(&ana);
    assert_eq!((marked.op, marked.state), (opened.op, AssignmentState::Present));
    assert_eq!(marked.unsettled_until, opened.unsettled_until);
    assert!(pair.two.is_marked(&ana));
    next.release();
    pair.two.end(revoking);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_grant_that_is_closed_after_its_mark_is_gone_marks_the_person_as_a_leaver() {
    let pair = Pair::new();
    let (_, ana) = pair.joined();
    let close = pair.two.faults.hold(When::transact().key(&look_now(&ana)).nth(2), Side::Before);
    let granting = pair.two.begin_look(&ana);
    pair.two.reached(&close);
    // The other process looks, finds everything as it should be, and takes the mark away.
    pair.one.mark(&ana, "boss");
    pair.one.look(&ana);
    assert!(!pair.one.is_marked(&ana));
    let next = pair.two.faults.hold(When::get().key(&look_now(&ana)).nth(2), Side::Before);
    close.release();
    pair.two.reached(&next);
    assert_eq!(pair.two.entry(&ana).unsettled_until, None);
    assert_marked_as_leaver(&pair, &ana);
    next.release();
    pair.two.end(granting);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_grant_whose_row_and_mark_are_gone_by_its_close_marks_the_person_as_a_leaver() {
    let pair = Pair::new();
    let (group, ana) = pair.joined();
    let granting = pair.begin_held(&ana, CallMethod::Put);
    pair.one.mark(&ana, "boss");
    pair.one.node.leave(&group, &[&ana]);
    pair.one.look(&ana);
    assert!(!pair.one.is_marked(&ana));
    // The mark is asked for with the row alone, then with the row that is marked, then by the next reading.
    let next = pair.two.faults.hold(When::get().key(&look_now(&ana)).nth(3), Side::Before);
    pair.deliver();
    pair.two.reached(&next);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_marked_as_leaver(&pair, &ana);
    next.release();
    pair.two.end(granting);
    pair.world.assert_holds_nothing(&ana);
}

#[track_caller]
fn assert_marked_as_leaver(pair: &Pair, ana: &crate::support::harness::Person) {
    let mark = pair.two.get(&look_now(ana)).expect("a mark");
    assert!(says(&mark, "taken_away") && says(&mark, "left"), "{mark:?}");
    let hint = pair.two.get(&format!("dl:{}", ana.id)).expect("a hint");
    assert!(says(&hint, "left"), "{hint:?}");
}

#[test]
fn who_leaves_while_a_grant_is_under_way_waits_among_the_leavers() {
    let pair = Pair::new();
    let (group, ana) = pair.joined();
    let granting = pair.begin_held(&ana, CallMethod::Put);
    pair.one.node.leave(&group, &[&ana]);
    // Azure holds nothing yet, so there is nothing to take; but the grant may still land.
    pair.one.look(&ana);
    assert!(pair.calls(CallMethod::Delete).is_empty());
    let waiting = pair.one.rows("w:");
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert!(says(&waiting[0], "taken_away") && says(&waiting[0], "left"), "{waiting:?}");
    assert!(pair.one.get(&format!("dl:{}", ana.id)).is_some());
    pair.deliver();
    pair.two.end(granting);
}

#[test]
fn an_object_id_is_free_only_when_nothing_of_it_is_held_or_may_still_land() {
    let fail = |code: &str| FaultAction::Fail {
        status: 409,
        code: code.to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    for trouble in [FaultAction::LoseRequest, fail("ScopeLocked")] {
        let pair = Pair::on(quiet(World::new().bind("operators", Operator, VAULT_EAST)));
        let (group, ana) = pair.granted();
        pair.world
            .azure()
            .add_rule(FaultRule::new(trouble.clone()).method(CallMethod::Delete).times(1))
            .unwrap();
        pair.one.node.delete_user(&ana);
        pair.one.look(&ana);
        pair.world.assert_holds(&ana, Operator, VAULT_EAST);
        // The same person in a new record has to wait.
        let again = pair.one.node.provision_as("ana-again", ana.principal);
        pair.one.node.join(&group, &[&again]);
        pair.one.look(&again);
        let waits = ("waiting".to_owned(), "principal-releasing".to_owned());
        assert_eq!(pair.one.node.grants(&again), [waits], "{trouble:?}");
        assert!(pair.one.get(&format!("p:{}", ana.principal)).is_some());
        assert!(pair.one.get(&format!("l:{}:pin:{}", ana.id, ana.principal)).is_some());

        pair.world.pass(400);
        pair.one.node.settle();
        pair.world.pass(400);
        pair.one.node.settle();
        assert!(pair.one.get(&format!("l:{}:pin:{}", ana.id, ana.principal)).is_none());
        pair.world.assert_holds(&again, Operator, VAULT_EAST);
        let held = ("held".to_owned(), "member".to_owned());
        assert_eq!(pair.one.node.grants(&again), [held], "{trouble:?}");
    }
}
