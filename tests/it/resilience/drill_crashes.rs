//! Drills at every crash point: the service dies at a call to its tables or to Azure, or a call is late. Whatever happened, the
//! ticks after it leave nothing of the drill, in Azure or in the directory, and its result is there once.

use crate::grants::drill::{assert_nothing_left, drills, leaver, minutes, results, tick};
use crate::support::fault_injection::{Counts, Side, When};
use crate::support::harness::{Node, World};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{FaultAction as Trouble, FaultRule};
use std::time::Duration;

/// Minutes after which a drill is over, however it went.
const OVER: u64 = 45;
/// Ticks of a drill without trouble, in a process whose ticks do everything.
const TICKS: usize = 5;
/// One in so many calls, beside each transaction.
const STRIDE: usize = 7;
/// Everything is left to the ticks: each call of a drill is then one of a tick.
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

struct Stage {
    world: World,
    node: Node,
}

impl Stage {
    fn set(inline: InlineLimits) -> Self {
        let world = drills(None);
        let node = world.start_with(inline);
        node.settle();
        node.place(OrderVerb::Drill);
        world.azure().clear_calls();
        world.faults.reset();
        Self { world, node }
    }

    /// Ticks that come every minute, until `stop` comes first.
    fn play(&self, stop: impl AsyncFn()) {
        for _ in 0..TICKS {
            let running = self.node.service.tick.clone();
            let running = self.node.spawn(async move { running.run().await });
            let stopped = self.node.run(async {
                tokio::select! {
                    biased;
                    () = stop() => true,
                    _ = running => false,
                }
            });
            if stopped {
                return;
            }
            self.world.pass(60);
        }
    }

    /// `kill -9`, and a new process on the same tables and the same Azure.
    fn restart(self, inline: InlineLimits) -> Self {
        let Self { mut world, node } = self;
        node.until_quiet(world.azure().held().len());
        node.kill();
        world.revive();
        let node = world.start_with(inline);
        Self { world, node }
    }

    #[track_caller]
    fn check(&self, case: &str) {
        minutes(&self.world, &self.node, OVER);
        let results = results(&self.node);
        assert_eq!(results.len(), 1, "{case}: {results:?}");
        assert!(results[0].is_green(), "{case}: {results:?}");
        assert_nothing_left(&self.world, &self.node);
        assert_eq!(self.node.audit_of("drill-ended").len(), 1, "{case}");
    }
}

fn counts(inline: InlineLimits) -> (Counts, usize) {
    let stage = Stage::set(inline);
    stage.play(async || std::future::pending().await);
    let counted = (stage.world.faults.counts(), stage.world.azure().calls().len());
    assert_eq!(results(&stage.node).len(), 1, "the drill is over");
    stage.check("nothing happened");
    counted
}

fn dies_at_the_tables(inline: InlineLimits) {
    let (counts, _) = counts(inline);
    for (call, when, side) in counts.crashes(STRIDE) {
        died_at(inline, when, side).check(&call);
    }
}

/// The service died there, and another one goes on.
fn died_at(inline: InlineLimits, when: When, side: Side) -> Stage {
    let stage = Stage::set(inline);
    let point = stage.world.faults.crash(when, side);
    stage.play(async || point.reached().await);
    stage.restart(inline)
}

#[test]
fn nothing_of_a_drill_is_left_wherever_a_tick_dies_at_the_tables() {
    dies_at_the_tables(TICKS_ONLY);
}

#[test]
fn nothing_of_a_drill_is_left_wherever_a_process_dies_that_reconciles_at_once() {
    dies_at_the_tables(InlineLimits { wait: Duration::from_secs(20), ..InlineLimits::default() });
}

#[test]
fn nothing_of_a_drill_is_left_wherever_a_call_to_azure_goes_wrong() {
    let (_, calls) = counts(TICKS_ONLY);
    let fail = |executed| Trouble::Fail {
        status: 500,
        code: "InternalServerError".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed,
    };
    for n in 1..=calls {
        for trouble in [Trouble::LoseRequest, Trouble::LoseAnswer, fail(false), fail(true)] {
            let case = format!("{trouble:?} at call {n}");
            let stage = Stage::set(TICKS_ONLY);
            let skip = u32::try_from(n - 1).unwrap();
            stage.world.azure().add_rule(FaultRule::new(trouble).skip(skip).times(1)).unwrap();
            stage.check(&case);
        }
    }
}

/// A tick that hangs goes on when another process has played the drill to its end: it makes nothing anew.
#[test]
fn a_tick_that_is_late_makes_nothing_anew() {
    let (counts, _) = counts(TICKS_ONLY);
    for (call, when) in counts.moments(STRIDE) {
        let mut stage = Stage::set(TICKS_ONLY);
        let point = stage.world.faults.hold(when, Side::Before);
        stage.play(async || point.reached().await);
        // The other process has the same tables, and nothing holds its calls.
        stage.world.revive();
        let other = stage.world.start_with(TICKS_ONLY);
        minutes(&stage.world, &other, OVER);
        point.release();
        stage.node.until_quiet(0);
        let Stage { world, node } = stage;
        minutes(&world, &node, OVER);
        let all = results(&node);
        assert_eq!(all.len(), 1, "{call}: {all:?}");
        assert!(all[0].is_green(), "{call}: {all:?}");
        assert_nothing_left(&world, &node);
    }
}

/// The call arrives after the drill is over, or never: what it did is found and undone.
#[test]
fn nothing_of_a_drill_is_left_where_a_call_of_a_dead_process_arrives_late() {
    let (_, calls) = counts(TICKS_ONLY);
    for n in 1..=calls {
        for arrives in [false, true] {
            let case = format!("call {n} is late, and arrives: {arrives}");
            let stage = Stage::set(TICKS_ONLY);
            let skip = u32::try_from(n - 1).unwrap();
            stage.world.azure().add_rule(FaultRule::new(Trouble::Hold).skip(skip).times(1)).unwrap();
            let azure = stage.world.azure();
            stage.play(async || azure.until(|azure| !azure.held().is_empty()).await);
            let stage = stage.restart(TICKS_ONLY);
            let azure = stage.world.azure();
            azure.clear_rules();
            tick(&stage.node);
            stage.world.pass(60);
            tick(&stage.node);
            for call in azure.held() {
                match arrives {
                    true => drop(azure.deliver(call.number).unwrap()),
                    false => azure.drop_held(call.number).unwrap(),
                }
            }
            stage.check(&case);
        }
    }
}

/// The settings were taken away while a drill ran: a tick removes what it made all the same.
#[test]
fn a_drill_goes_on_to_its_end_where_drills_are_no_longer_set() {
    let (counts, _) = counts(TICKS_ONLY);
    for n in 1..=counts.transactions {
        let stage = Stage::set(TICKS_ONLY);
        let point = stage.world.faults.crash(When::transact().nth(n), Side::After);
        stage.play(async || point.reached().await);
        let Stage { mut world, node } = stage;
        node.until_quiet(0);
        node.kill();
        world.revive();
        let world = world.without_drill();
        let node = world.start_with(TICKS_ONLY);
        minutes(&world, &node, OVER);
        let was_begun = node.run(node.service.store.drill()).unwrap().value.is_some();
        match was_begun {
            true => assert_nothing_left(&world, &node),
            false => world.assert_holds_nothing(&leaver()),
        }
    }
}
