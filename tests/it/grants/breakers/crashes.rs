//! A trip, a release and a rejection at every crash point, and while another process ticks: whatever is held is held whole, and
//! what is decided happens once.

use super::Stage;
use crate::resilience::crashes::invariants::calm;
use crate::support::fault_injection::{Counts, Side};
use crate::support::harness::{Node, World};
use std::sync::Arc;

/// Each transaction of the tick, and one in so many calls of any kind.
const STRIDE: usize = 29;
const PEOPLE: usize = 6;

/// What is stopped: what comes before it, and what is so afterwards.
struct Case {
    name: &'static str,
    prepare: fn(&Stage),
    check: fn(&Stage, &str),
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "trip",
            prepare: |stage| {
                stage.put(&[]).unwrap();
            },
            check: |stage, what| {
                assert_eq!(stage.holders(), PEOPLE, "{what}");
                assert_eq!(stage.people_of(stage.batch()).len(), PEOPLE, "{what}");
                assert_eq!(stage.node.audit_of("breaker-tripped").len(), 1, "{what}");
                assert_eq!(stage.node.audit_of("step-held").len(), PEOPLE, "{what}");
            },
        },
        Case {
            name: "release",
            prepare: |stage| {
                stage.put(&[]).unwrap();
                stage.node.settle();
                stage.node.place(stage.node.release_of(stage.batch()));
            },
            check: |stage, what| {
                assert_eq!(stage.holders(), 0, "{what}");
                stage.assert_no_hold_is_left();
                assert_eq!(stage.node.audit_of("batch-decided").len(), 1, "{what}");
            },
        },
        Case {
            name: "reject",
            prepare: |stage| {
                stage.put(&[]).unwrap();
                stage.node.settle();
                stage.node.place(stage.node.reject_of(stage.batch()));
            },
            check: |stage, what| {
                assert_eq!(stage.holders(), PEOPLE, "{what}");
                (0..PEOPLE).for_each(|person| stage.assert_grant(person, "held", "kept-by-order"));
                assert_eq!(stage.node.audit_of("batch-decided").len(), 1, "{what}");
            },
        },
    ]
}

fn staged(case: &Case) -> Stage {
    let stage = Stage::of(PEOPLE);
    stage.days(2);
    // The tick does everything, so that every point is one of its calls.
    let stage = restarted(stage);
    (case.prepare)(&stage);
    stage.world.faults.reset();
    stage
}

/// `kill -9`, and a new process on the same tables and the same Azure.
fn restarted(stage: Stage) -> Stage {
    let Stage { mut world, node, group, people } = stage;
    node.until_quiet(0);
    node.kill();
    world.revive();
    let node = in_ticks(&world);
    Stage { world, node, group, people }
}

fn in_ticks(world: &World) -> Node {
    let inline = azure_backup_scim::service::reconcile_queue::inline::InlineLimits {
        wait: std::time::Duration::ZERO,
        people_max: 0,
    };
    world.start_with(inline)
}

#[track_caller]
fn check(case: &Case, stage: &Stage, what: &str) {
    calm(&stage.world, &stage.node);
    (case.check)(stage, what);
    let jobs = stage.node.run(stage.node.service.store.rows("i:", 10)).unwrap();
    assert!(jobs.is_empty(), "{what}: a job is left");
}

fn counts_of(case: &Case) -> Counts {
    let stage = staged(case);
    stage.node.run(stage.node.service.tick.run()).unwrap();
    let counts = stage.world.faults.counts();
    check(case, &stage, case.name);
    counts
}

#[test]
fn what_is_held_is_held_whole_wherever_a_tick_dies() {
    for case in cases() {
        for (call, when, side) in counts_of(&case).crashes(STRIDE) {
            let what = format!("{}, {call}", case.name);
            let stage = staged(&case);
            let point = stage.world.faults.crash(when, side);
            let tick = stage.node.service.tick.clone();
            let running = stage.node.spawn(async move { tick.run().await });
            stage.node.run(async {
                tokio::select! {
                    () = point.reached() => {}
                    _ = running => {}
                }
            });
            check(&case, &restarted(stage), &what);
        }
    }
}

#[test]
fn two_processes_that_judge_at_once_let_no_more_pass_than_one() {
    for case in cases() {
        for (call, when) in counts_of(&case).moments(STRIDE) {
            let what = format!("{}, held at {call}", case.name);
            let mut stage = staged(&case);
            let faults = Arc::clone(&stage.world.faults);
            let point = faults.hold(when, Side::Before);
            let tick = stage.node.service.tick.clone();
            let running = stage.node.spawn(async move { tick.run().await });
            stage.node.run(async {
                tokio::select! {
                    () = point.reached() => {}
                    _ = running => {}
                }
            });
            // The other process has the same tables, and nothing holds its calls.
            stage.world.revive();
            let other = in_ticks(&stage.world);
            other.settle();
            // A tick that made fewer calls than were counted meets the hold later.
            point.release();
            stage.node.until_quiet(0);
            let first = std::mem::replace(&mut stage.node, other);
            first.settle();
            check(&case, &stage, &what);
            first.kill();
        }
    }
}
