//! The faults that rules are for, planted in a running service, and the same without the fault. They run in a process of their
//! own, because a process has one log: what is judged is what it wrote.

use crate::grants::over_http::Front;
use crate::grants::plan::pending;
use crate::resilience::lost_state::{lose_table, start_deployed};
use crate::support::clock::ManualClock;
use crate::support::fault_injection::{Fault as TableFault, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::{nonsense, quiet, write};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::rbac::BackupRole::{Contributor, Operator};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule, HandMade, LockLevel, Scope};
use azure_backup_scim::telemetry::{self, LogOutput};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Begins a line of the child that says what follows, and until when it goes.
const MARK: &str = "fault ";

/// A fault by its name, the rule that it is for, and a service with or without it. Returns when it ended.
type Plant = fn(&Stage, bool) -> OffsetDateTime;
pub const FAULTS: [(&str, &str, Plant); 19] = [
    ("a lock holds a leaver for 20 minutes", "revocations-overdue", overdue),
    ("a lock forbids a revocation", "scope-blocked", lock),
    ("the right was taken away", "scope-blocked", right),
    ("a policy forbids it", "scope-blocked", policy),
    ("six of ten people are removed at once", "breaker-tripped", breaker),
    ("a file that revokes is packaged", "bindings-pending", file_that_revokes),
    ("an order that changes nothing", "order-refused", order),
    ("150 requests with a wrong token", "unauthorized-burst", burst),
    ("a row of the queue cannot be read", "rows-set-aside", row),
    ("a sealed record is removed", "audit-damaged", audit),
    ("the table was emptied", "state-lost", state_lost),
    ("an assignment made by hand", "foreign-access", foreign),
    ("3,199 assignments of others in the subscription", "quota-nearly-used", quota),
    ("a lock holds the leaver of a drill for 40 minutes", "drill-red", drill),
    ("drills are set, and a pause keeps them off for two days", "drill-red", no_drill),
    ("the timer does not come", "no-tick", no_timer),
    ("the tables are away", "no-tick", no_tables),
    ("no call for six hours", "no-call", no_call),
    ("a health check that is degraded", "health-test", degraded),
];

/// What the child has while a fault is planted.
pub struct Stage {
    clock: Arc<CurrentClock>,
}

/// The clock of the world that runs now.
#[derive(Default)]
struct CurrentClock(Mutex<Option<ManualClock>>);

impl Clock for CurrentClock {
    fn now(&self) -> OffsetDateTime {
        let clock = self.0.lock().unwrap();
        clock.as_ref().map_or(OffsetDateTime::UNIX_EPOCH, |clock| clock.now())
    }
    fn monotonic(&self) -> Duration {
        let clock = self.0.lock().unwrap();
        clock.as_ref().map_or(Duration::ZERO, |clock| clock.monotonic())
    }
}

impl Stage {
    fn world(&self) -> World {
        let world = quiet(World::new());
        *self.clock.0.lock().unwrap() = Some(world.clock.clone());
        world
    }

    /// A service whose group of operators has so many people, who hold the role.
    fn operators(&self, people: usize) -> (World, Node, String, Vec<Person>) {
        let world = self.world().bind("operators", Operator, VAULT_EAST);
        let node = world.start_with(TICKS_ONLY);
        let group = node.group("operators");
        let people: Vec<Person> = (0..people).map(|number| node.provision(&format!("p{number}"))).collect();
        node.join(&group, &people.iter().collect::<Vec<_>>());
        node.settle();
        people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
        (world, node, group, people)
    }
}

fn minutes(world: &World, node: &Node, number: u64) {
    for _ in 0..number {
        node.run(node.service.tick.run()).unwrap();
        world.pass(MINUTE);
    }
    node.run(node.service.tick.run()).unwrap();
}

fn overdue(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, group, people) = stage.operators(1);
    if faulty {
        world.azure().add_lock(&Scope::parse(VAULT_EAST).unwrap(), LockLevel::CanNotDelete).unwrap();
    }
    node.leave(&group, &[&people[0]]);
    minutes(&world, &node, 20);
    world.clock.now()
}

/// A leaver, and an Azure that refuses it or does not.
fn refused(stage: &Stage, refusal: Option<&str>) -> OffsetDateTime {
    let (world, node, group, people) = stage.operators(1);
    if let Some(code) = refusal {
        let code = code.to_owned();
        let refusal = FaultAction::Fail {
            status: 403,
            code,
            message: None,
            retry_after_seconds: None,
            executed: false,
        };
        world.azure().add_rule(FaultRule::new(refusal).method(CallMethod::Delete)).unwrap();
    }
    node.leave(&group, &[&people[0]]);
    minutes(&world, &node, 1);
    world.clock.now()
}

fn lock(stage: &Stage, faulty: bool) -> OffsetDateTime {
    refused(stage, faulty.then_some("ScopeLocked"))
}

fn right(stage: &Stage, faulty: bool) -> OffsetDateTime {
    refused(stage, faulty.then_some("AuthorizationFailed"))
}

fn policy(stage: &Stage, faulty: bool) -> OffsetDateTime {
    refused(stage, faulty.then_some("RequestDisallowedByPolicy"))
}

fn breaker(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, group, people) = stage.operators(10);
    let leaving = if faulty { 6 } else { 2 };
    node.leave(&group, &people[..leaving].iter().collect::<Vec<_>>());
    minutes(&world, &node, 1);
    world.clock.now()
}

fn file_that_revokes(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let world = stage.world();
    let node = world.start();
    let [east, west] = [VAULT_EAST, VAULT_WEST].map(pending::operators_at);
    pending::package(&node, &east, "20260228T120000Z");
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    pending::package(&node, if faulty { &west } else { &east }, "20260301T080000Z");
    minutes(&world, &node, 1);
    world.clock.now()
}

fn state_lost(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (mut world, node, ..) = stage.operators(1);
    let instance = node.run(node.service.store.known_instance()).unwrap().unwrap();
    if faulty {
        lose_table(&world, &node);
    }
    node.kill();
    world.name_installation(instance);
    let (node, _) = start_deployed(&world);
    minutes(&world, &node, 1);
    world.clock.now()
}

fn order(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, ..) = stage.operators(1);
    node.place(if faulty { OrderVerb::Resume } else { OrderVerb::Pause });
    minutes(&world, &node, 1);
    world.clock.now()
}

fn burst(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, ..) = stage.operators(1);
    let front = Front::of(node);
    let guess = || drop(front.http.send("GET", "/scim/v2/Users", &["authorization: Bearer guessed"], b""));
    (0..if faulty { 150 } else { 5 }).for_each(|_| guess());
    world.pass(MINUTE);
    // The count comes with the next request.
    front.tick();
    world.clock.now()
}

fn row(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, group, people) = stage.operators(1);
    if faulty {
        write(&world, &node, &[nonsense(&format!("i:{}", Uuid::nil()))]);
    }
    node.leave(&group, &[&people[0]]);
    minutes(&world, &node, 2);
    world.assert_holds_nothing(&people[0]);
    world.clock.now()
}

fn audit(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, ..) = stage.operators(1);
    world.pass(DAY);
    minutes(&world, &node, 4);
    if faulty {
        let store = &node.service.store;
        let first = node.run(store.audit(None, 1)).unwrap().remove(0);
        let op = first["op"].as_str().unwrap().to_owned();
        node.run(store.delete_records(&[op], &[])).unwrap();
    }
    world.pass(DAY);
    minutes(&world, &node, 4);
    world.clock.now()
}

fn foreign(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, ..) = stage.operators(1);
    if faulty {
        let made = HandMade::new(Scope::parse(VAULT_EAST).unwrap(), Contributor.name(), Uuid::new_v4());
        world.azure().make_assignment(&made).unwrap();
    }
    world.pass(HOUR);
    minutes(&world, &node, 1);
    world.clock.now()
}

/// One is ours: 3,200 in all, or one less.
fn quota(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let subscription = VAULT_EAST.split("/resourceGroups").next().unwrap();
    let world = stage.world();
    let node = world.start_with(TICKS_ONLY);
    node.adopt(&[json!({
        "name": "all", "group": { "externalId": "operators" }, "role": "Backup Operator", "scope": subscription,
        "allowBroadScope": true,
    })]);
    let (group, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&group, &[&ana]);
    node.settle();
    let others = if faulty { 3199 } else { 3198 };
    for number in 0..others {
        let scope = Scope::parse(VAULT_WEST).unwrap();
        let made = HandMade::new(scope, "Backup Reader", Uuid::from_u128(number + 1));
        world.azure().make_assignment(&made).unwrap();
    }
    world.pass(HOUR);
    minutes(&world, &node, 1);
    world.clock.now()
}

fn drill(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let world = stage.world().with_drill(None);
    let node = world.start_with(TICKS_ONLY);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 1);
    if faulty {
        world.azure().add_lock(&Scope::parse(VAULT_WEST).unwrap(), LockLevel::CanNotDelete).unwrap();
    }
    minutes(&world, &node, 40);
    world.clock.now()
}

fn no_drill(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let world = stage.world().with_drill(Some(Duration::from_secs(DAY)));
    let node = world.start_with(TICKS_ONLY);
    if faulty {
        node.carry_out(OrderVerb::Pause);
    }
    minutes(&world, &node, 5);
    world.pass(DAY);
    minutes(&world, &node, 5);
    world.pass(DAY);
    minutes(&world, &node, 40);
    world.clock.now()
}

fn no_timer(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, ..) = stage.operators(1);
    match faulty {
        true => world.pass(11 * MINUTE),
        false => minutes(&world, &node, 11),
    }
    world.clock.now()
}

fn no_tables(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, ..) = stage.operators(1);
    if faulty {
        world.faults.inject(When::any().always(), TableFault::RequestLost);
    }
    for _ in 0..11 {
        world.pass(MINUTE);
        assert_eq!(node.run(node.service.tick.run()).is_err(), faulty);
    }
    world.clock.now()
}

fn no_call(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, ..) = stage.operators(1);
    let front = Front::of(node);
    let call = |token: String| drop(front.http.send("GET", "/scim/v2/Users?count=1", &[&token], b""));
    call(crate::scim::http_edge::bearer());
    world.pass(6 * HOUR);
    if !faulty {
        call(crate::scim::http_edge::bearer());
    }
    // Of an unknown caller, and the host's own: neither is a call of the identity provider.
    call("authorization: Bearer guessed".to_owned());
    front.tick();
    world.pass(MINUTE);
    world.clock.now()
}

/// The answer is printed; it is no line of the log.
fn degraded(stage: &Stage, faulty: bool) -> OffsetDateTime {
    let (world, node, ..) = stage.operators(1);
    if faulty {
        node.carry_out(OrderVerb::Pause);
    }
    let front = Front::of(node);
    front.tick();
    let answer = front.http.send("GET", "/healthz", &[], b"");
    eprintln!("healthz {}", answer.text());
    world.clock.now()
}

/// What a run left behind.
#[derive(Debug, Clone)]
pub struct Run {
    pub lines: Vec<String>,
    pub now: OffsetDateTime,
}

/// By fault, without it and with it.
pub type Runs = BTreeMap<String, [Run; 2]>;

/// Plants every fault, in a process of its own.
pub fn run_all() -> Runs {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["deploy::alerts::faults::every_fault_is_planted_in_this_process", "--exact", "--ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stdout));
    let mut runs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.strip_prefix(MARK).and_then(|mark| mark.split_once(" | ")) {
            Some((name, now)) => {
                let now = OffsetDateTime::parse(now, &Rfc3339).unwrap();
                runs.entry(name.to_owned()).or_default().push(Run { lines: std::mem::take(&mut lines), now });
            }
            None => lines.push(line.to_owned()),
        }
    }
    assert_eq!(runs.len(), FAULTS.len(), "each ran: {:?}", runs.keys());
    runs.into_iter().map(|(name, runs)| (name, runs.try_into().unwrap())).collect()
}

#[test]
#[ignore = "the child of each_alert_fires_with_its_fault_and_is_silent_without"]
fn every_fault_is_planted_in_this_process() {
    let stage = Stage { clock: Arc::default() };
    telemetry::install("info", LogOutput::Stderr, stage.clock.clone()).unwrap();
    for (name, _, plant) in FAULTS {
        for faulty in [false, true] {
            let now = plant(&stage, faulty);
            eprintln!("{MARK}{name} | {}", now.format(&Rfc3339).unwrap());
        }
    }
}
