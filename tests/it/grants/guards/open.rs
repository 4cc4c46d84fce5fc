//! Gather and open: what was read is still so when it is acted upon.

use super::{Pair, look_now};
use crate::support::fault_injection::{Side, When};
use crate::support::harness::{VAULT_EAST, VAULT_WEST, binding};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::simulator::{CallMethod, Scope};

#[test]
fn who_leaves_between_the_reading_and_the_open_is_not_granted() {
    let pair = Pair::new();
    let (group, ana) = pair.joined();
    let open = pair.one.hold_write(&format!("l:{}:", ana.id), Side::Before);
    let look = pair.one.begin_look(&ana);
    pair.one.reached(&open);
    pair.two.node.leave(&group, &[&ana]);
    open.release();
    pair.one.end(look);
    assert!(pair.calls(CallMethod::Put).is_empty());
    assert!(!pair.one.is_marked(&ana), "the second reading saw that she left");
}

#[test]
fn who_comes_back_between_the_reading_and_the_open_keeps_the_role() {
    let pair = Pair::new();
    let (group, ana) = pair.granted();
    pair.two.node.leave(&group, &[&ana]);
    let open = pair.one.hold_write(&format!("l:{}:", ana.id), Side::Before);
    let look = pair.one.begin_look(&ana);
    pair.one.reached(&open);
    pair.two.node.join(&group, &[&ana]);
    open.release();
    pair.one.end(look);
    assert!(pair.calls(CallMethod::Delete).is_empty());
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn the_mark_is_read_alone_and_first() {
    let pair = Pair::new();
    let (group, ana) = pair.joined();
    let mark = pair.one.faults.hold(When::get().key(&look_now(&ana)), Side::Before);
    pair.one.faults.reset();
    let look = pair.one.begin_look(&ana);
    pair.one.reached(&mark);
    assert_eq!(pair.one.faults.counts().requests, 1, "nothing is read beside it");
    let groups = pair.one.faults.hold(When::page().key(&format!("ug:{}:", ana.id)), Side::After);
    mark.release();
    pair.one.reached(&groups);
    // Her groups were read; what is read after them must not be newer than they are.
    pair.two.node.leave(&group, &[&ana]);
    groups.release();
    pair.one.end(look);
    assert!(pair.calls(CallMethod::Put).is_empty());
}

#[test]
fn bindings_that_change_between_the_open_and_the_call_let_nothing_be_sent() {
    let pair = Pair::new();
    let (_, ana) = pair.joined();
    let open = pair.one.hold_write(&format!("l:{}:", ana.id), Side::After);
    let look = pair.one.begin_look(&ana);
    pair.one.reached(&open);
    pair.two.node.adopt(&[binding(1, "operators", Reader, VAULT_WEST)]);
    open.release();
    pair.one.end(look);
    let scopes: Vec<Scope> = pair.calls(CallMethod::Put).into_iter().map(|call| call.scope).collect();
    assert_eq!(scopes, [Scope::parse(VAULT_WEST).unwrap()], "the former binding gives nothing any more");
    pair.world.assert_holds(&ana, Reader, VAULT_WEST);
}

#[test]
fn a_row_that_was_settled_since_the_reading_is_read_again_before_it_is_opened() {
    let pair = Pair::new();
    let (group, ana) = pair.joined();
    let ledger = format!("l:{}:", ana.id);
    // The grant is executed, and its close is under way when she leaves.
    let close = pair.two.faults.hold(When::transact().key(&ledger).nth(2), Side::Before);
    let granting = pair.two.begin_look(&ana);
    pair.two.reached(&close);
    pair.one.node.leave(&group, &[&ana]);
    let open = pair.one.hold_write(&ledger, Side::Before);
    let revoking = pair.one.begin_look(&ana);
    pair.one.reached(&open);
    // The grant is closed: it settles the row, and leaves the mark alone.
    let next = pair.two.faults.hold(When::get().key(&look_now(&ana)).nth(2), Side::Before);
    close.release();
    pair.two.reached(&next);
    assert_eq!(pair.two.entry(&ana).unsettled_until, None);
    open.release();
    pair.one.end(revoking);
    next.release();
    pair.two.end(granting);
    pair.world.assert_holds_nothing(&ana);
    assert!(pair.one.entry(&ana).is_settled_and_gone());
    let opened = pair.one.node.audit_of("effect-opened");
    assert!(opened.iter().all(|opened| opened["follows"].is_null()), "{opened:#?}");
}
