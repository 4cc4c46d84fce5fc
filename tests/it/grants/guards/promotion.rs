//! A look later whose time has come meets a mark that is there already.

use super::{Pair, look_now, says};
use crate::support::fault_injection::{Side, When};
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule};

#[test]
fn a_look_later_that_is_due_takes_nothing_from_a_mark_that_is_there() {
    let pair = Pair::new();
    let (group, ana) = pair.joined();
    // The answer to her grant is lost, so she is looked at later, and nothing is taken from her.
    pair.world
        .azure()
        .add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Put).times(1))
        .unwrap();
    pair.one.look(&ana);
    let waiting = pair.one.rows("w:");
    assert!(waiting.len() == 1 && !says(&waiting[0], "taken_away"), "{waiting:?}");
    pair.world.pass(200);

    let due = pair.one.faults.hold(When::page().key("w:"), Side::Before);
    let service = pair.one.node.service.clone();
    let tick = pair.one.begin(async move { service.tick.run().await.unwrap() });
    pair.one.reached(&due);
    pair.two.node.leave(&group, &[&ana]);
    let before = pair.two.get(&look_now(&ana)).unwrap();
    assert!(says(&before, "taken_away") && says(&before, "left"));
    // What was due is woken, and then leavers are looked for once more.
    let leavers = pair.one.faults.hold(When::page().key("dl:"), Side::Before);
    due.release();
    pair.one.reached(&leavers);
    let after = pair.two.get(&look_now(&ana)).unwrap();
    assert!(says(&after, "taken_away") && says(&after, "left"), "{after:?}");
    for what in ["cause", "actor", "op"] {
        assert_eq!(after.properties.get(what), before.properties.get(what), "{what}");
    }
    assert_ne!(after.etag, before.etag, "who has read it already reads again");
    assert!(pair.two.rows("w:").is_empty());
    leavers.release();
    pair.one.end(tick);
    pair.world.assert_holds_nothing(&ana);
}
