//! Orders at every crash point: the tick that carries one out dies at its table calls, or hangs there while another process
//! ticks. Whatever happened, the order is carried out once and whole, and the audit says so once.

use crate::grants::plan::pending::package;
use crate::grants::plan::plan_of;
use crate::resilience::crashes::invariants::calm;
use crate::support::fault_injection::{Counts, Faults, Side};
use crate::support::harness::{Node, OWN, Person, VAULT_EAST, VAULT_WEST, World, binding, bindings_file};
use crate::support::rows::quiet;
use azure_backup_scim::id::{OpId, PrincipalId};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::rbac::Scope;
use azure_backup_scim::service::bindings::bundled::BundleState;
use azure_backup_scim::simulator;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// A world in which an order is placed.
struct Stage {
    world: World,
    node: Node,
    group: String,
    people: Vec<Person>,
}

impl Stage {
    fn set() -> Self {
        let mut world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
        let node = world.start();
        // The services that start later bring no file of their own.
        world.rebind(&[]);
        let group = node.group("operators");
        let people: Vec<Person> = ["ana", "ben", "cem"].map(|name| node.provision(name)).into();
        node.join(&group, &people.iter().collect::<Vec<_>>());
        node.settle();
        Self { world, node, group, people }
    }

    /// Who holds the role.
    fn holders(&self) -> Vec<usize> {
        let holds = |at: &usize| self.world.holds(&self.people[*at], Operator, VAULT_EAST);
        (0..self.people.len()).filter(holds).collect()
    }

    /// The bindings of another file, which takes the role of everybody and gives another one.
    fn moved(&self) -> Vec<Value> {
        vec![binding(1, "operators", Operator, VAULT_WEST)]
    }

    /// A stamp of now, which is newer than the one in force.
    fn newest_stamp(&self) -> String {
        azure_backup_scim::id::format_stamp(self.world.clock.now() + Duration::from_secs(60))
    }

    fn principal(&self, at: usize) -> PrincipalId {
        PrincipalId::new(self.people[at].principal)
    }
}

/// One order: what comes before it, and what is so afterwards.
struct Case {
    name: &'static str,
    prepare: fn(&Stage),
    verb: fn(&Stage) -> OrderVerb,
    check: fn(&Stage),
}

const NEW_IDENTITY: Uuid = Uuid::from_u128(77);

/// A file that takes the role of everyone, and gives another one.
fn apply() -> Case {
    Case {
        name: "apply",
        prepare: |stage| {
            let state = package(&stage.node, &bindings_file(&stage.moved()), &stage.newest_stamp());
            assert_eq!(state, BundleState::Waits);
        },
        verb: |stage| OrderVerb::Apply { hash: plan_of(&stage.node, &bindings_file(&stage.moved())).hash() },
        check: |stage| {
            let west = |person: &Person| stage.world.holds(person, Operator, VAULT_WEST);
            assert!(stage.people.iter().all(west) && stage.holders().is_empty());
            assert!(stage.node.run(stage.node.service.store.pending_row()).unwrap().is_none());
        },
    }
}

fn cases() -> Vec<Case> {
    vec![
        apply(),
        Case {
            name: "pause",
            prepare: |_| {},
            verb: |_| OrderVerb::Pause,
            check: |stage| {
                stage.node.leave(&stage.group, &[&stage.people[0]]);
                calm(&stage.world, &stage.node);
                assert_eq!(stage.holders(), [0, 1, 2]);
            },
        },
        Case {
            name: "resume",
            prepare: |stage| {
                stage.node.carry_out(OrderVerb::Pause);
                stage.node.leave(&stage.group, &[&stage.people[0]]);
                stage.node.leave(&stage.group, &[&stage.people[1]]);
                assert_eq!(stage.holders(), [0, 1, 2]);
            },
            verb: |_| OrderVerb::Resume,
            check: |stage| assert_eq!(stage.holders(), [2]),
        },
        Case {
            name: "revoke",
            prepare: |_| {},
            verb: |stage| OrderVerb::Revoke { principal: stage.principal(1) },
            check: |stage| assert_eq!(stage.holders(), [0, 2]),
        },
        Case {
            name: "lift",
            prepare: |stage| {
                stage.node.carry_out(OrderVerb::Revoke { principal: stage.principal(1) });
                assert_eq!(stage.holders(), [0, 2]);
            },
            verb: |stage| OrderVerb::Lift { principal: stage.principal(1) },
            check: |stage| assert_eq!(stage.holders(), [0, 1, 2]),
        },
        Case {
            name: "accept-identity",
            prepare: |stage| {
                let value = json!({OWN: {"entraObjectId": NEW_IDENTITY.to_string()}});
                stage.node.patch_user(&stage.people[2].id, json!({"op": "replace", "value": value}));
                assert_eq!(stage.holders(), [0, 1]);
            },
            verb: |stage| OrderVerb::AcceptIdentity {
                user: crate::support::requests::user_id(&stage.people[2].id),
                principal: PrincipalId::new(NEW_IDENTITY),
            },
            check: |stage| {
                let person = Person { id: stage.people[2].id.clone(), principal: NEW_IDENTITY };
                stage.world.assert_holds(&person, Operator, VAULT_EAST);
            },
        },
        Case {
            name: "forget",
            prepare: |stage| {
                stage.world.azure().remove_scope(&simulator::Scope::parse(VAULT_EAST).unwrap()).unwrap();
            },
            verb: |_| OrderVerb::Forget { scope: Scope::parse(VAULT_EAST).unwrap() },
            check: |stage| {
                let rows = stage.node.run(stage.node.service.store.ledger_of_all()).unwrap();
                assert!(rows.iter().all(|row| row["state"] == "gone"), "{rows:?}");
            },
        },
    ]
}

/// The order was carried out once, the audit says so once, and nothing of it is left.
#[track_caller]
fn check(case: &Case, stage: &Stage, order: OpId, what: &str) {
    calm(&stage.world, &stage.node);
    let outcome = stage.node.outcome(order).unwrap_or_else(|| panic!("{what}: no outcome"));
    assert!(!outcome.is_refused, "{what}: {outcome:?}");
    let verb = outcome.verb.clone();
    let recorded = stage.node.audit().into_iter().filter(|change| {
        change["kind"] == "order-carried-out"
            && change["verb"] == verb
            && change["order"] == order.to_string()
    });
    assert_eq!(recorded.count(), 1, "{what}");
    assert!(
        stage.node.run(stage.node.orders.placed(10)).unwrap().is_empty(),
        "{what}: the order is still placed"
    );
    assert!(
        stage.node.run(stage.node.service.store.rows("i:", 10)).unwrap().is_empty(),
        "{what}: a job is left"
    );
    (case.check)(stage);
}

fn placed(case: &Case) -> (Stage, OpId) {
    let stage = Stage::set();
    (case.prepare)(&stage);
    let order = stage.node.place((case.verb)(&stage));
    stage.world.faults.reset();
    (stage, order)
}

/// Each transaction of the tick, and one in so many calls of any kind.
const STRIDE: usize = 23;

/// The calls of a tick, which may be stopped at any.
fn counts_of(case: &Case) -> Counts {
    let (stage, order) = placed(case);
    stage.node.run(stage.node.service.tick.run()).unwrap();
    let counts = stage.world.faults.counts();
    check(case, &stage, order, case.name);
    counts
}

#[test]
fn an_order_is_carried_out_once_wherever_its_tick_dies() {
    for case in cases() {
        for (call, when, side) in counts_of(&case).crashes(STRIDE) {
            let what = format!("{}, {call}", case.name);
            let (stage, order) = placed(&case);
            let point = stage.world.faults.crash(when, side);
            let tick = stage.node.service.tick.clone();
            let running = stage.node.spawn(async move { tick.run().await });
            stage.node.run(async {
                tokio::select! {
                    () = point.reached() => {}
                    _ = running => {}
                }
            });
            let Stage { mut world, node, group, people } = stage;
            node.until_quiet(0);
            node.kill();
            world.revive();
            let node = world.start();
            check(&case, &Stage { world, node, group, people }, order, &what);
        }
    }
}

#[test]
fn an_order_is_carried_out_once_while_two_processes_tick() {
    for case in cases() {
        for (call, when) in counts_of(&case).moments(STRIDE) {
            let what = format!("{}, held at {call}", case.name);
            let (mut stage, order) = placed(&case);
            let faults: std::sync::Arc<Faults> = stage.world.faults.clone();
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
            let other = stage.world.start();
            other.settle();
            // A tick that made fewer calls than were counted meets the hold later.
            point.release();
            stage.node.until_quiet(0);
            check(&case, &stage, order, &what);
        }
    }
}
