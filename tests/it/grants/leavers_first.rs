//! Leavers go first, and one person's trouble blocks no other: who has priority, in which order ticks take people up, and
//! that each stage of a tick makes progress whatever the others meet.

mod load;

use crate::grants::over_http::Front;
use crate::support::clock::ManualClock;
use crate::support::fault_injection::{Side, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World, binding, members};
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::ports::tables::{TableOps, TableRow};
use azure_backup_scim::rbac::BackupRole::{self, Operator};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{
    self, ArmLimits, CallMethod, FaultAction, FaultRule, Simulator, SimulatorHandle, StartClock,
};
use azure_backup_scim::store::codec::RowReader;
use load::{Slow, requests_of_strangers};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Everything is left to ticks.
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

fn quiet(world: World) -> World {
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    world
}

fn operators() -> World {
    quiet(World::new().bind("operators", Operator, VAULT_EAST))
}

fn rows(node: &Node, prefix: &str) -> Vec<TableRow> {
    node.run(node.service.store.rows(prefix, 100_000)).unwrap()
}

fn tick(node: &Node) {
    node.run(node.service.tick.run()).unwrap();
}

fn crowd(node: &Node, name: &str, number: usize) -> Vec<Person> {
    (0..number).map(|n| node.provision(&format!("{name}{n}@contoso.example"))).collect()
}

fn join_all(node: &Node, group: &str, people: &[Person]) {
    people.chunks(24).for_each(|part| node.join(group, &part.iter().collect::<Vec<_>>()));
}

fn leave_all(node: &Node, group: &str, people: &[Person]) {
    node.leave(group, &people.iter().collect::<Vec<_>>());
}

/// The vault of a subscription of its own.
fn vault(subscription: usize) -> String {
    VAULT_EAST.replace("000000000001", &format!("{subscription:012}"))
}

/// A world with a vault in each of so many subscriptions, where the group `g1` operates the first, and so on.
fn subscriptions(number: usize, tables: impl FnOnce(ManualClock) -> Arc<dyn TableOps>) -> (Simulator, World) {
    let clock = ManualClock::at("2026-03-01T10:00:00Z");
    let scopes = (1..=number).map(|n| simulator::Scope::parse(&vault(n)).unwrap()).collect();
    let clocked = StartClock::Manual(azure_backup_scim::ports::clock::Clock::now(&clock));
    let options =
        simulator::SimulatorOptions { scopes, clock: clocked, ..simulator::SimulatorOptions::default() };
    let simulator = Simulator::start(options).unwrap();
    let mut world = World::around(&simulator, clock.clone(), tables(clock));
    for n in 1..=number {
        world = world.bind(&format!("g{n}"), Operator, &vault(n));
    }
    (simulator, quiet(world))
}

fn engine(clock: ManualClock) -> Arc<dyn TableOps> {
    Arc::new(TableEngine::memory(Arc::new(clock)))
}

fn at(scope: &str, action: FaultAction, method: CallMethod) -> FaultRule {
    FaultRule::new(action).method(method).scope(simulator::Scope::parse(scope).unwrap())
}

fn takes_away(row: &TableRow) -> bool {
    row.properties.contains_key("taken_away")
}

// Who has priority.

#[test]
fn a_rename_that_no_binding_sees_gives_no_person_priority() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("unbound");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    node.settle();
    let rename = |path: &str, value: &str| {
        node.try_patch_group(&group, json!({"op": "replace", "path": path, "value": value})).unwrap();
        rows(&node, "dg:").remove(0)
    };
    assert!(!takes_away(&rename("displayName", "Unbound 2")));
    // A name that comes to a binding gives, and one that goes takes nothing: the pinned group's members keep what they hold.
    assert!(!takes_away(&rename("externalId", "operators")));
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert!(!takes_away(&rename("externalId", "others")));
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_group_that_is_bound_by_its_display_name_takes_nothing_when_it_is_renamed() {
    let world = quiet(World::new());
    let node = world.start_with(TICKS_ONLY);
    let group = json!({"displayName": "Ops", "allowDisplayName": true});
    node.adopt(&[json!({"name": "b1", "group": group, "role": "Backup Operator", "scope": VAULT_EAST})]);
    let ops = node.group("ops");
    let rename = |path: &str, value: &str| {
        node.try_patch_group(&ops, json!({"op": "replace", "path": path, "value": value})).unwrap();
        rows(&node, "dg:").remove(0)
    };
    assert!(!takes_away(&rename("displayName", "OPS")), "the same name in other case");
    assert!(!takes_away(&rename("externalId", "x")));
    assert!(!takes_away(&rename("displayName", "Operators")));
}

#[test]
fn who_stops_matching_a_where_leaves_and_who_starts_does_not() {
    let world = quiet(World::new());
    let node = world.start_with(TICKS_ONLY);
    let department = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
    let mut bound = binding(1, "operators", Operator, VAULT_EAST);
    bound["where"] = json!(format!("{department} eq \"Finance\" or title eq \"Auditor\""));
    node.adopt(&[bound]);
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    node.settle();
    let change = |path: &str, value: Value| {
        node.patch_user(&ana.id, json!({"op": "replace", "path": path, "value": value}));
        takes_away(&rows(&node, "d:").remove(0))
    };
    assert!(!change(department, json!("Finance")));
    tick(&node);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert!(!change("nickName", json!("an")));
    assert!(!change("title", json!("Auditor")), "one of both is enough");
    assert!(!change(department, json!("Sales")));
    tick(&node);
    assert!(change("title", json!("Clerk")));
    assert_eq!(rows(&node, "dl:").len(), 1);
    tick(&node);
    world.assert_holds_nothing(&ana);
    assert!(rows(&node, "dl:").is_empty());
}

// In which order.

#[test]
fn a_person_who_left_during_a_grant_is_revoked_within_two_ticks_however_many_join() {
    let world = operators().bind("readers", BackupRole::Reader, VAULT_WEST);
    let node = world.start();
    node.settle();
    let operators = node.group("operators");
    let readers = node.group("readers");
    let ana = node.provision("ana");
    let people = crowd(&node, "p", 600);
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Put).times(1)).unwrap();
    node.begin(&operators, members("add", &[&ana]));
    world.until_held(&node);
    node.leave(&operators, &[&ana]);
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Delete)).unwrap();
    world.azure().deliver(world.azure().held()[0].number).unwrap();
    node.until_quiet(1);
    node.kill();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.azure().clear_rules();
    world.azure().held().iter().for_each(|held| world.azure().drop_held(held.number).unwrap());
    let throttled = FaultAction::Throttle { retry_after_seconds: Some(3600) };
    world.azure().add_rule(FaultRule::new(throttled).method(CallMethod::Put)).unwrap();
    let node = world.start_with(TICKS_ONLY);
    join_all(&node, &readers, &people);
    world.pass(200);
    tick(&node);
    world.pass(60);
    tick(&node);
    world.assert_holds_nothing(&ana);
}

/// A crowd that holds roles, goes and comes back, by turns, over HTTP.
struct Storm {
    group: String,
    people: Vec<Person>,
    is_in: Vec<bool>,
    next: usize,
}

impl Storm {
    /// So many of them change.
    fn blow(&mut self, front: &Front, number: usize) {
        let who: Vec<usize> = (0..number).map(|n| (self.next + n) % self.people.len()).collect();
        self.next += number;
        let (leaving, coming): (Vec<usize>, Vec<usize>) = who.iter().partition(|n| self.is_in[**n]);
        for (part, is_in) in [(leaving, false), (coming, true)] {
            let people: Vec<&Person> = part.iter().map(|n| &self.people[*n]).collect();
            front.change_members(if is_in { "add" } else { "remove" }, &self.group, &people);
            part.iter().for_each(|n| self.is_in[*n] = is_in);
        }
    }
}

/// Ends the tick, or comes to where it waits for Azure.
fn go_on(node: &Node, clock: &ManualClock, running: &mut Option<JoinHandle<()>>) {
    let Some(mut tick) = running.take() else { return };
    let sleeps = node.run(async {
        let ended = async {
            tokio::select! {
            ended = &mut tick => {
            ended.unwrap();
            false }
            () = clock.sleeper_waits() => true, }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("a tick ends or waits")
    });
    *running = sleeps.then_some(tick);
}

/// The second of the storm in which they leave.
const LEAVE_AT: usize = 6;

#[test]
fn three_leavers_are_gone_in_time_though_a_token_flaps_four_hundred_holders() {
    let world = operators().without_limits_on_revocations();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let unbound = node.group("unbound");
    let people = crowd(&node, "p", 400);
    let leavers = crowd(&node, "leaver", 3);
    join_all(&node, &group, &people);
    join_all(&node, &group, &leavers);
    node.join(&unbound, &[&leavers[0]]);
    node.settle();
    assert_eq!(world.azure().assignments().len(), 403);
    world.azure().set_limits(ArmLimits { buckets: true, ..ArmLimits::default() }).unwrap();
    world.clock.let_sleep();
    // What the requests of the token begin at once competes with the ticks.
    let front = Front::of(world.start_with(InlineLimits { wait: Duration::ZERO, ..InlineLimits::default() }));
    let mut storm = Storm { group, is_in: vec![true; 400], people, next: 0 };
    let mut running = None;
    let mut gone_after = None;
    for second in 0..160 {
        storm.blow(&front, 120);
        if second == LEAVE_AT {
            front.change_members("remove", &storm.group, &leavers.iter().collect::<Vec<_>>());
        }
        // Another membership of one of them flaps too, which must not move her back.
        let flap = if second % 2 == 0 { "remove" } else { "add" };
        front.change_members(flap, &unbound, &[&leavers[0]]);
        if second % 60 == 1 && running.is_none() {
            let service = node.service.clone();
            running = Some(node.spawn(async move { service.tick.run().await.unwrap() }));
        }
        go_on(&node, &world.clock, &mut running);
        front.node.until_quiet(0);
        if second >= LEAVE_AT && leavers.iter().all(|leaver| !world.holds(leaver, Operator, VAULT_EAST)) {
            gone_after = Some(second - LEAVE_AT);
            break;
        }
        world.pass(1);
    }
    println!("the leavers were gone after {gone_after:?} s");
    assert!(gone_after.is_some_and(|seconds| seconds <= 400 / 10 + 60), "{gone_after:?}");
    if let Some(tick) = running {
        tick.abort();
    }
}

#[test]
fn a_leaver_who_is_throttled_is_taken_up_again_by_the_same_tick() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    node.settle();
    world.clock.let_sleep();
    let throttled = FaultAction::Throttle { retry_after_seconds: Some(5) };
    world.azure().add_rule(FaultRule::new(throttled).method(CallMethod::Delete).times(1)).unwrap();
    node.leave(&group, &[&ana]);
    let service = node.service.clone();
    let mut running = Some(node.spawn(async move { service.tick.run().await.unwrap() }));
    for _ in 0..5 {
        go_on(&node, &world.clock, &mut running);
        assert!(running.is_some(), "the tick waits for her");
        world.assert_holds(&ana, Operator, VAULT_EAST);
        world.pass(1);
    }
    go_on(&node, &world.clock, &mut running);
    if running.is_some() {
        world.pass(1);
        go_on(&node, &world.clock, &mut running);
    }
    world.assert_holds_nothing(&ana);
}

#[test]
fn what_is_taken_while_the_hint_goes_is_found_by_the_next_tick() {
    let world = operators().bind("readers", BackupRole::Reader, VAULT_WEST);
    let node = world.start_with(TICKS_ONLY);
    let operators = node.group("operators");
    let readers = node.group("readers");
    let ana = node.provision("ana");
    node.join(&operators, &[&ana]);
    node.join(&readers, &[&ana]);
    node.settle();
    node.leave(&operators, &[&ana]);
    let point = world.faults.hold(When::transact().key("dl:"), Side::Before);
    let service = node.service.clone();
    let running = node.spawn(async move { service.tick.run().await.unwrap() });
    node.run(point.reached());
    node.leave(&readers, &[&ana]);
    point.release();
    node.run(running).unwrap();
    assert_eq!(rows(&node, "dl:").len(), usize::from(world.holds(&ana, BackupRole::Reader, VAULT_WEST)));
    tick(&node);
    world.assert_holds_nothing(&ana);
    assert!(rows(&node, "dl:").is_empty());
}

#[test]
fn requests_that_an_earlier_release_wrote_without_hints_are_found() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, "p", 4);
    join_all(&node, &group, &people);
    // With those who stay, four are no mass.
    join_all(&node, &group, &crowd(&node, "stays", 3));
    node.settle();
    let throttled = FaultAction::Throttle { retry_after_seconds: Some(600) };
    world.azure().add_rule(FaultRule::new(throttled).method(CallMethod::Delete)).unwrap();
    leave_all(&node, &group, &people[..2]);
    tick(&node);
    world.azure().clear_rules();
    leave_all(&node, &group, &people[2..]);
    // One of them has two requests: one of later, and since a moment ago one of now.
    join_all(&node, &group, &people[..1]);
    leave_all(&node, &group, &people[..1]);
    assert!(rows(&node, "w:").iter().filter(|row| takes_away(row)).count() == 2);
    load::remove(&world, &rows(&node, "dl:"));
    assert!(rows(&node, "dl:").is_empty());
    tick(&node);
    assert_eq!(rows(&node, "dl:").len(), 4, "each of them waits for azure, and has a hint again");
    world.pass(700);
    tick(&node);
    people.iter().for_each(|person| world.assert_holds_nothing(person));
    tick(&node);
    assert!(rows(&node, "dl:").is_empty());
}

#[test]
fn a_hint_that_cannot_be_read_does_not_block_the_revocation() {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, "p", 2);
    join_all(&node, &group, &people);
    node.settle();
    leave_all(&node, &group, &people);
    load::spoil(&world, &rows(&node, "dl:"));
    tick(&node);
    tick(&node);
    people.iter().for_each(|person| world.assert_holds_nothing(person));
    tick(&node);
    assert!(rows(&node, "dl:").is_empty());
}

// One person's trouble blocks no other.

/// Rows that a tick reads before it calls Azure for a leaver, with so many ledger rows and requests of others.
fn rows_before_the_first_call(ledger: usize, requests: usize) -> usize {
    let world = operators();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    node.settle();
    load::ledger_of_strangers(&world, &rows(&node, &format!("l:{}:", ana.id))[0], ledger);
    requests_of_strangers(&world, requests);
    node.leave(&group, &[&ana]);
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Delete).times(1)).unwrap();
    world.faults.reset();
    let service = node.service.clone();
    node.spawn(async move { service.tick.run().await });
    world.until_held(&node);
    let read = world.faults.counts().rows_read;
    node.kill();
    read
}

#[test]
fn a_tick_reads_no_more_before_the_first_leaver_however_many_are_enqueued() {
    let few = rows_before_the_first_call(1000, 1000);
    assert_eq!(rows_before_the_first_call(5000, 10_000), few);
    assert!(few < 50, "{few} rows");
}

/// By hand, like `a_large_installation`.
#[test]
#[ignore = "takes minutes"]
fn a_tick_of_a_large_installation_reads_no_more_before_the_first_leaver() {
    let (ledger, requests) = size_of_a_large_installation();
    let read = rows_before_the_first_call(ledger, requests);
    println!("{read} rows before the first leaver's call, with {ledger} ledger rows and {requests} requests");
    assert!(read < 50, "{read} rows");
}

fn size_of_a_large_installation() -> (usize, usize) {
    let number = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    (number("LARGE_LEDGER", 200_000), number("LARGE_MARKS", 150_000))
}

#[test]
fn a_subscription_that_hangs_and_one_that_throttles_block_no_other() {
    let (_simulator, world) = subscriptions(3, engine);
    let world = world.without_limits_on_revocations();
    let node = world.start_ticking(TICKS_ONLY, Duration::from_secs(9));
    let groups: Vec<String> = (1..=3).map(|n| node.group(&format!("g{n}"))).collect();
    let hangs = crowd(&node, "h", 20);
    let throttled = crowd(&node, "t", 20);
    let eve = node.provision("eve");
    let joe = node.provision("joe");
    join_all(&node, &groups[1], &hangs);
    join_all(&node, &groups[2], &throttled);
    node.join(&groups[0], &[&eve]);
    node.settle();
    world.pass(60);
    world.azure().add_rule(at(&vault(2), FaultAction::Hold, CallMethod::Delete)).unwrap();
    world.azure().add_rule(at(&vault(2), FaultAction::Hold, CallMethod::Put)).unwrap();
    let wait = FaultAction::Throttle { retry_after_seconds: Some(600) };
    world.azure().add_rule(at(&vault(3), wait, CallMethod::Delete)).unwrap();
    leave_all(&node, &groups[1], &hangs);
    leave_all(&node, &groups[2], &throttled);
    join_all(&node, &groups[1], &crowd(&node, "j", 30));
    world.pass(1);
    node.leave(&groups[0], &[&eve]);
    node.join(&groups[0], &[&joe]);
    tick(&node);
    world.pass(60);
    tick(&node);
    world.assert_holds_nothing(&eve);
    world.assert_holds(&joe, Operator, &vault(1));
    let calls = world.azure().calls();
    let throttled = calls.iter().filter(|call| call.status == Some(429)).count();
    assert!(throttled <= 8, "{throttled} calls met the throttle");
    let held = world.azure().held().len();
    assert!((3..=32).contains(&held), "{held} calls hang");
    let waiting = |person: &Person| node.grants(person);
    assert!(hangs.iter().any(|person| waiting(person).iter().any(|(_, reason)| reason == "no-answer")));
}

#[test]
fn every_stage_of_a_tick_gets_on_while_all_of_them_have_too_much_to_do() {
    let mut slow = None;
    let (_simulator, world) = subscriptions(2, |clock| {
        let tables = Arc::new(Slow::around(engine(clock.clone()), clock));
        slow = Some(tables.clone());
        tables
    });
    let slow = slow.unwrap();
    let world = world.without_limits_on_revocations().with_max_principals(1500);
    let node = world.start_with(TICKS_ONLY);
    let first = node.group("g1");
    let second = node.group("g2");
    let large = node.group("large");
    let renamed = node.group("renamed");
    let leavers = crowd(&node, "l", 300);
    let members = crowd(&node, "m", 1200);
    join_all(&node, &first, &leavers);
    join_all(&node, &large, &members);
    join_all(&node, &renamed, &members);
    node.settle();
    node.settle();
    world.pass(2 * 3600 + 1);
    world.azure().add_rule(at(&vault(2), FaultAction::LoseRequest, CallMethod::Put)).unwrap();
    join_all(&node, &second, &crowd(&node, "j", 90));
    leave_all(&node, &first, &leavers);
    node.delete_group(&large);
    let rename = json!({"op": "replace", "path": "externalId", "value": "g9"});
    node.try_patch_group(&renamed, rename).unwrap();
    load::requests_that_are_due(&world, 16_000);

    slow.pages_of_the_ledger(4);
    slow.each_page_of_the_ledger_takes(Duration::from_secs(1));
    slow.each_call_takes(Duration::from_millis(40));
    let mut before = progress(&world, &node);
    for number in 1..=3 {
        tick(&node);
        let after = progress(&world, &node);
        for ((stage, left), (_, less)) in before.iter().zip(&after) {
            assert!(less != left || left == DONE, "tick {number}: {stage} stays at {left}: {after:?}");
        }
        before = after;
        world.pass(15);
    }
}

const DONE: &str = "done";

/// The position of each stage.
fn progress(world: &World, node: &Node) -> Vec<(&'static str, String)> {
    let number = |prefix: &str| rows(node, prefix).len().to_string();
    let place = |key: &str, name: &str| {
        let row = node.run(node.service.store.get(key)).unwrap();
        format!("{:?}", row.and_then(|row| row.properties.get(name).cloned()))
    };
    let job = rows(node, "i:").first().map(|job| {
        let target = RowReader::new(job).unwrap().text("target").unwrap().to_owned();
        number(&format!("m:{target}:"))
    });
    let walk = rows(node, "dg:").first().map(|row| place(&row.key, "cursor"));
    let done = || DONE.to_owned();
    vec![
        ("leavers", world.azure().assignments().len().to_string()),
        ("requests that are due", number("w:")),
        ("the large delete", job.unwrap_or_else(done)),
        ("the walk", walk.unwrap_or_else(done)),
        ("the sweep", place("s:sweep", "after")),
        ("gains", place("s:tick", "gaining_after")),
    ]
}

// The sweep over a long ledger.

fn assignments_deleted_by_hand(azure: &SimulatorHandle) {
    for held in azure.assignments() {
        azure.delete_assignment(held.name).unwrap();
    }
}

/// A world in which reading the whole ledger takes long, by pages of so many rows.
fn long_ledger(
    people: usize,
    page_rows: usize,
    page_takes: Duration,
) -> (World, Arc<Slow>, Node, Vec<Person>) {
    let mut slow = None;
    let world = World::on_moving(|clock| {
        let tables = Arc::new(Slow::around(engine(clock.clone()), clock));
        slow = Some(tables.clone());
        tables
    });
    let world = quiet(world.bind("operators", Operator, VAULT_EAST));
    let slow = slow.unwrap();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, "p", people);
    join_all(&node, &group, &people);
    node.settle();
    world.pass(3 * 3600);
    assignments_deleted_by_hand(&world.azure());
    slow.pages_of_the_ledger(page_rows);
    slow.each_page_of_the_ledger_takes(page_takes);
    (world, slow, node, people)
}

#[test]
fn a_sweep_over_a_ledger_that_takes_half_of_its_time_to_read_mends() {
    let (world, _slow, node, people) = long_ledger(1, 1000, Duration::from_secs(24));
    for _ in 0..3 {
        tick(&node);
        world.pass(60);
    }
    world.assert_holds(&people[0], Operator, VAULT_EAST);
    assert!(node.service.health.snapshot().sweep_finished.is_some());
}

#[test]
fn a_sweep_over_a_ledger_of_many_pages_gets_on_in_every_tick_and_comes_to_the_end() {
    let (world, slow, node, people) = long_ledger(24, 4, Duration::from_secs(60));
    let found = || node.audit_of("difference-found").len();
    let finished = node.service.health.snapshot().sweep_finished;
    let mut before = found();
    let mut ticks = 0;
    while before < people.len() {
        tick(&node);
        let now = found();
        assert!(now > before, "{now} of {} after {ticks} ticks", people.len());
        (before, ticks) = (now, ticks + 1);
        world.pass(30);
    }
    assert!(ticks > 1, "it took more than one part");
    slow.clear();
    node.settle();
    assert!(node.service.health.snapshot().sweep_finished > finished);
    node.settle();
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
}

/// The numbers of the issue: by hand, with `cargo test --release -- --ignored a_large_installation`.
#[test]
#[ignore = "takes minutes"]
fn a_large_installation_revokes_a_leaver_as_fast_as_a_small_one() {
    let (ledger, requests) = size_of_a_large_installation();
    load::large_installation(ledger, requests);
}
