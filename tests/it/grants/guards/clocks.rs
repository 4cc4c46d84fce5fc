//! Clocks: a worker's time to send ends by whichever clock says so first, and a row is unsettled by whichever is ahead.

use super::Pair;
use crate::support::clock::ManualClock;
use crate::support::fault_injection::{Side, When};
use crate::support::harness::{START, VAULT_EAST, World};
use crate::support::rows::quiet;
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::tables::TableOps;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::ext::NumericalDuration;

/// The tables have a clock of their own, which does not move.
fn with_a_clock_of_its_own() -> Pair {
    let tables = |_| Arc::new(TableEngine::memory(Arc::new(ManualClock::at(START)))) as Arc<dyn TableOps>;
    Pair::on(quiet(World::on(tables).bind("operators", Operator, VAULT_EAST)))
}

fn start() -> OffsetDateTime {
    ManualClock::at(START).now()
}

/// While the open is on its way that happens to the clock of the process.
fn nothing_is_sent_after(happens: impl Fn(&ManualClock)) {
    let pair = with_a_clock_of_its_own();
    let (_, ana) = pair.joined();
    let open = pair.one.hold_write(&format!("l:{}:", ana.id), Side::After);
    let look = pair.one.begin_look(&ana);
    pair.one.reached(&open);
    happens(&pair.world.clock);
    open.release();
    pair.one.end(look);
    assert!(pair.world.azure().calls().is_empty(), "{:?}", pair.world.azure().calls());
    let entry = pair.one.entry(&ana);
    assert!(entry.unsettled_until.is_some(), "a later reader cannot know that nothing was sent: {entry:?}");
    assert_eq!(pair.one.rows("w:").len(), 1, "a look later is left");
}

#[test]
fn nothing_is_sent_by_a_machine_that_was_suspended_after_the_open() {
    nothing_is_sent_after(|clock| clock.set_wall(30.seconds()));
}

#[test]
fn nothing_is_sent_after_the_worker_s_time_though_the_wall_clock_was_set_back() {
    nothing_is_sent_after(|clock| {
        clock.advance(Duration::from_secs(30));
        clock.set_wall((-3600).seconds());
    });
}

#[test]
fn a_machine_that_was_suspended_between_the_last_reading_and_the_call_sends_nothing() {
    let pair = with_a_clock_of_its_own();
    let (_, ana) = pair.joined();
    // The second reading of the settings is the one before the call.
    let pointer = pair.one.faults.hold(When::page().key("s:").nth(2), Side::After);
    let look = pair.one.begin_look(&ana);
    pair.one.reached(&pointer);
    pair.world.clock.set_wall(1.hours());
    pointer.release();
    pair.one.end(look);
    assert!(pair.world.azure().calls().is_empty());
}

#[test]
fn what_is_left_of_the_worker_s_time_is_enough_to_send() {
    let pair = with_a_clock_of_its_own();
    let (_, ana) = pair.joined();
    let open = pair.one.hold_write(&format!("l:{}:", ana.id), Side::After);
    let look = pair.one.begin_look(&ana);
    pair.one.reached(&open);
    pair.world.clock.advance(Duration::from_secs(10));
    open.release();
    pair.one.end(look);
    pair.world.assert_holds(&ana, Operator, VAULT_EAST);
}

/// A row that an open leaves unsettled, where the clock of this process differs so much from that of the tables.
#[track_caller]
fn check_until(differs: time::Duration, expected: time::Duration) {
    let pair = with_a_clock_of_its_own();
    pair.world.clock.set_wall(differs);
    let (_, ana) = pair.joined();
    pair.world
        .azure()
        .add_rule(FaultRule::new(FaultAction::LoseRequest).method(CallMethod::Put).times(1))
        .unwrap();
    pair.one.look(&ana);
    let entry = pair.one.entry(&ana);
    assert_eq!(entry.unsettled_until, Some(start() + expected + 150.seconds()));
    assert_eq!(entry.written, start(), "everything else is on the clock of the tables");
}

/// Facts: F-017.
#[test]
fn a_row_is_unsettled_until_the_later_of_both_clocks_says_that_no_call_may_land() {
    check_until(0.seconds(), 0.seconds());
    check_until(240.seconds(), 240.seconds());
    check_until((-240).seconds(), 0.seconds());
    // No two clocks that are set differ by more than ten minutes: further than that ours is not believed.
    check_until(2.hours(), 600.seconds());
}

/// Facts: F-059.
#[test]
fn a_leaver_is_revoked_once_for_all_though_the_clock_of_the_tables_lags() {
    let pair = with_a_clock_of_its_own();
    let (group, ana) = pair.joined();
    pair.world.clock.set_wall(240.seconds());
    let granting = pair.begin_held(&ana, CallMethod::Put);
    pair.two.node.leave(&group, &[&ana]);
    pair.one.look(&ana);
    let waiting = pair.one.rows("w:");
    let at = crate::support::keys::request_time(&waiting[0].key);
    assert!(at >= start() + 390.seconds(), "no answer before then says that the grant will not land: {at}");
    pair.deliver();
    pair.two.end(granting);
    pair.world.assert_holds_nothing(&ana);
}
