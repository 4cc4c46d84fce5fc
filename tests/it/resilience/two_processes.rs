//! The app as Flex Consumption runs it, on Azurite and the simulated Azure: two processes for HTTP, and another one for the
//! timer, each under a host of its own. Clients ask both for conflicting things while processes are killed; afterwards
//! every answer and every row must be explained by one order of what was acknowledged.
//!
//! `SOAK_SECONDS` is how long the traffic goes on (6 if it is not set), `SOAK_SEED` what the clients choose by.

pub mod history;
mod releases;
pub mod traffic;
mod versions;

use crate::resilience::crashes::invariants;
use crate::resilience::crashes::random::Dice;
use crate::storage::azurite;
use crate::support::clock::ManualClock;
use crate::support::cloud::{BINDINGS, Cloud, PROGRAM, TOKEN, until};
use crate::support::harness::{Node, World};
use crate::support::host::{Host, Outcome as Fired, State, Transport};
use crate::support::idp::Idp;
use azure_backup_scim::adapters::tables::AzureTables;
use azure_backup_scim::engine::with_clock::WithClock;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::simulator::{ArmLimits, CallMethod, FaultAction, FaultRule, IdentitySettings};
use history::{AT_THE_END, History, Model, Outcome, Seen};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use traffic::{Traffic, text};
use uuid::Uuid;

const CLIENTS: u64 = 8;
const SECONDS: u64 = 6;
/// Between two ticks; a host fires once a minute.
const TICK_EVERY: Duration = Duration::from_millis(500);
/// Between two kills, in a long run.
const KILL_EVERY_MAX: Duration = Duration::from_secs(6);
/// How long ticks may take to do all that is due, after a long run on a busy machine.
const DRAIN_MAX: Duration = Duration::from_secs(300);
/// Resources of one page when everything is listed.
const PAGE: usize = 7;

/// Two processes that are asked, and one that is woken.
struct Flex {
    cloud: Cloud,
    http: [Host; 2],
    timer: Host,
}

/// What happened beside the requests.
#[derive(Debug, Default)]
struct Beside {
    http_kills: AtomicUsize,
    timer_kills: AtomicUsize,
    ticks: AtomicUsize,
    /// Milliseconds of the longest.
    tick_ms_max: AtomicUsize,
    ticks_cut_off: AtomicUsize,
}

/// Which program a process runs from its next start on.
trait Restarts: Sync {
    /// Process `turn` (the timer is the third) is about to be restarted, at this share of the whole time.
    fn before(&self, turn: usize, share: f64);
}

/// Every process is restarted with the program that it ran before.
struct SameRelease;

impl Restarts for SameRelease {
    fn before(&self, _turn: usize, _share: f64) {}
}

impl Flex {
    fn start() -> Self {
        Self::start_programs([PROGRAM, PROGRAM, PROGRAM].map(Path::new))
    }

    fn start_programs(programs: [&Path; 3]) -> Self {
        let cloud = Cloud::start();
        let limits = ArmLimits { buckets: false, ..cloud.azure.handle().limits() };
        cloud.azure.handle().set_limits(limits).unwrap();
        let mut settings = cloud.settings(&cloud.addresses());
        settings.insert("PUBLIC_BASE_URL".to_owned(), "https://scim.example".to_owned());
        let [first, second, timer] =
            programs.map(|program| cloud.host_running(program, Transport::Proxy, &settings));
        let http = [first, second];
        for host in http.iter().chain([&timer]) {
            assert!(matches!(host.settled(), State::Ready { .. }), "{:?}", host.lines());
        }
        let flex = Self { cloud, http, timer };
        until("the bindings are stored", || {
            let said = flex.timer.lines();
            said.iter()
                .any(|line| line.text.contains("the bundled bindings were compared with the active ones"))
                .then_some(())
        });
        flex
    }

    fn base_urls(&self) -> [String; 2] {
        self.http.each_ref().map(|host| format!("{}/scim/v2", host.url()))
    }

    fn tables(&self) -> AzureTables {
        let account = azurite::connection_string_of(azurite::DEVELOPMENT_ACCOUNT, &azurite::origin());
        azurite::client(&account, &self.cloud.table)
    }

    fn tick(&self) -> bool {
        matches!(self.timer.fire_timer("Reconcile", false, None).outcome, Fired::Succeeded { .. })
    }

    /// Roles that people hold in the simulated Azure.
    fn held(&self, principal: Uuid) -> usize {
        let held = self.cloud.azure.handle().assignments();
        held.iter().filter(|held| held.principal_id == principal).count()
    }

    /// Ticks until it is so.
    #[track_caller]
    fn tick_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + DRAIN_MAX;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: not within {DRAIN_MAX:?}");
            self.tick();
        }
    }

    /// Clients, timer and kills, for so long.
    fn soak(
        &self,
        runtime: &Runtime,
        seed: u64,
        seconds: u64,
        restarts: &impl Restarts,
    ) -> (History, Beside) {
        let [first, second] = self.base_urls();
        let traffic = Traffic::new([&first, &second], TOKEN);
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| runtime.spawn(traffic.clone().client(seed * 1000 + client))).collect();
        let beside = Beside::default();
        let going = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| self.keep_ticking(&going, &beside));
            let duration = Duration::from_secs(seconds);
            let killed = self.keep_killing(Dice::new(seed), duration, &traffic, &beside, restarts);
            traffic.stop();
            let ended = clients.into_iter().map(|client| runtime.block_on(client)).collect::<Vec<_>>();
            going.store(false, Ordering::Relaxed);
            killed.expect("a process that was killed should come back");
            ended.into_iter().for_each(|client| client.expect("a client should find nothing wrong"));
        });
        (traffic.history(), beside)
    }

    fn keep_ticking(&self, going: &AtomicBool, beside: &Beside) {
        while going.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let ended = if self.tick() { &beside.ticks } else { &beside.ticks_cut_off };
            ended.fetch_add(1, Ordering::Relaxed);
            let took_ms = usize::try_from(begun.elapsed().as_millis()).unwrap_or(usize::MAX);
            beside.tick_ms_max.fetch_max(took_ms, Ordering::Relaxed);
            std::thread::park_timeout(TICK_EVERY);
        }
    }

    /// SIGKILL for one process after the other, several times in any run.
    fn keep_killing(
        &self,
        mut dice: Dice,
        duration: Duration,
        traffic: &Traffic,
        beside: &Beside,
        restarts: &impl Restarts,
    ) -> Result<(), State> {
        let every = (duration / 5).min(KILL_EVERY_MAX);
        let begun = Instant::now();
        let mut turn = dice.roll(3);
        while begun.elapsed() + every < duration {
            wait_until(Instant::now() + every);
            turn += 1;
            restarts.before(turn % 3, begun.elapsed().div_duration_f64(duration));
            let (state, kills) = match turn % 3 {
                2 => (self.timer.restart(), &beside.timer_kills),
                http => {
                    traffic.disturb(http);
                    let state = self.http[http].restart();
                    traffic.disturb(http);
                    (state, &beside.http_kills)
                }
            };
            if !matches!(state, State::Ready { .. }) {
                return Err(state);
            }
            kills.fetch_add(1, Ordering::Relaxed);
        }
        wait_until(begun + duration);
        Ok(())
    }
}

pub fn wait_until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Work that waits for no time.
fn due(node: &Node) -> Vec<String> {
    let now = node.run(node.service.store.cursors()).unwrap().date;
    let keys = |prefix| invariants::rows(node, prefix).into_iter().map(|row| row.key);
    let later = keys("w:").filter(|key| {
        let stamp = key.split(':').nth(1).unwrap_or_default();
        azure_backup_scim::id::parse_stamp(stamp).is_none_or(|at| at <= now)
    });
    keys("d:").chain(keys("dg:")).chain(keys("i:")).chain(later).collect()
}

/// Everything of one kind, page by page, from one process.
pub async fn listed(idp: &Idp, path: &str, problems: &mut Vec<String>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let start = all.len() + 1;
        let page = idp.get(&format!("{path}?startIndex={start}&count={PAGE}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let resources = page.body["Resources"].as_array().cloned().unwrap_or_default();
        let total = page.body["totalResults"].as_u64().unwrap();
        let last = resources.is_empty();
        all.extend(resources);
        if last {
            if total != all.len() as u64 {
                problems.push(format!("{path} says {total} and lists {}", all.len()));
            }
            break;
        }
    }
    let ids: BTreeSet<String> = all.iter().map(|resource| text(resource, "id")).collect();
    if ids.len() != all.len() {
        problems.push(format!("{path} lists {} resources, {} different ones", all.len(), ids.len()));
    }
    all
}

/// What both processes say at the end, against what was acknowledged.
pub async fn judge(base_urls: &[String; 2], token: &str, history: &mut History) -> (Vec<String>, String) {
    let mut problems = Vec::new();
    let idps = base_urls.each_ref().map(|base_url| Idp::new(base_url, token));
    let users = listed(&idps[0], "/Users", &mut problems).await;
    let groups = listed(&idps[0], "/Groups", &mut problems).await;
    for (path, first) in [("/Users", &users), ("/Groups", &groups)] {
        if listed(&idps[1], path, &mut problems).await != *first {
            problems.push(format!("the processes list different {path}"));
        }
    }
    for user in &users {
        history.users.insert(text(user, "id"), (text(user, "nickName"), text(user, "userName")));
    }
    let unseen: Vec<String> = groups.iter().map(|group| text(group, "id")).collect();
    let unknown =
        |request: &&history::Request| request.kind == "create group" && request.outcome == Outcome::Unknown;
    let unknown_groups = history.requests.iter().filter(unknown).count();
    let (known, unseen): (Vec<_>, Vec<_>) = unseen.into_iter().partition(|id| history.groups.contains(id));
    if unseen.len() > unknown_groups {
        problems.push(format!("no request created one of the groups {unseen:?}"));
    }
    let model = Model::new(history);
    problems.extend(model.unexplained_users());
    problems.extend(model.shared_names());
    problems.extend(model.impossible_answers());
    let by_id =
        |list: &[Value]| list.iter().map(|it| (text(it, "id"), it.clone())).collect::<BTreeMap<_, _>>();
    let users_by_id = by_id(&users);
    let groups_by_id = by_id(&groups);
    for id in history.users.keys() {
        let seen =
            users_by_id.get(id).map_or_else(|| gone(history::Key::User(id.clone())), traffic::facts_of_user);
        seen.iter().for_each(|seen| model.check_seen(&mut problems, "the end", AT_THE_END, seen));
    }
    for id in &history.groups {
        let seen = groups_by_id
            .get(id)
            .map_or_else(|| gone(history::Key::Group(id.clone())), traffic::facts_of_group);
        seen.iter().for_each(|seen| model.check_seen(&mut problems, "the end", AT_THE_END, seen));
    }
    let members: usize = groups.iter().map(|group| group["members"].as_array().map_or(0, Vec::len)).sum();
    let counted = format!(
        "{} users and {} groups ({} of them made by an unknown request), {members} memberships",
        users.len(),
        groups.len(),
        groups.len() - known.len()
    );
    (problems, counted)
}

fn gone(key: history::Key) -> Vec<Seen> {
    vec![Seen::Fact(key, "no".to_owned())]
}

/// How many requests of each kind came to what.
pub fn figures(history: &History) -> String {
    let mut counts: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for request in &history.requests {
        let outcome = match request.outcome {
            Outcome::Acknowledged => "acknowledged".to_owned(),
            Outcome::Refused(status) => status.to_string(),
            Outcome::Unknown => "unknown".to_owned(),
        };
        *counts.entry(request.kind).or_default().entry(outcome).or_default() += 1;
    }
    let lines = counts.iter().map(|(kind, outcomes)| format!("  {kind}: {outcomes:?}\n"));
    format!("{} requests\n{}", history.requests.len(), lines.collect::<String>())
}

/// How often the processes complained, and of what.
fn complaints(flex: &Flex) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in flex.http.iter().chain([&flex.timer]).flat_map(Host::lines) {
        let said: Value = serde_json::from_str(&line.text).unwrap_or_default();
        if said["level"] != "INFO" {
            let text = format!("{}: {}", text(&said, "message"), text(&said, "error"));
            *counts.entry(text).or_default() += 1;
        }
    }
    counts
}

pub fn number_of(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn two_processes_and_a_timer_lose_nothing_under_conflicting_traffic_and_kills() {
    assert_nothing_is_lost(Flex::start(), &SameRelease);
}

/// Traffic and kills; then all that is due is done, and every answer, row and role must be explained.
fn assert_nothing_is_lost(flex: Flex, restarts: &impl Restarts) {
    let seed = number_of("SOAK_SEED", 1);
    let seconds = number_of("SOAK_SECONDS", SECONDS);
    let runtime = Runtime::new().unwrap();
    let (mut history, beside) = flex.soak(&runtime, seed, seconds, restarts);
    println!("seed {seed}, {seconds} s: {}{beside:?}, {:#?}", figures(&history), complaints(&flex));

    assert!(history.twice_at_once().is_empty(), "seed {seed}: {:?}", history.twice_at_once());

    let clock = ManualClock::starting(azure_backup_scim::adapters::clock::SystemClock::new().now());
    // Answers carry the time of a clock of ours, so that a test need not wait for the times in rows.
    let tables = WithClock::new(Arc::new(flex.tables()), Arc::new(clock.clone()));
    let world = World::around(&flex.cloud.azure, clock, Arc::new(tables));
    let node = world.start();
    let begun = Instant::now();
    flex.tick_until("nothing is due", || due(&node).is_empty());
    // The load takes roles from many people at once: the breakers hold some of it, and an operator releases it.
    for batch in node.run(node.service.store.batches()).unwrap().waiting() {
        node.carry_out(node.release_of(batch));
    }
    flex.tick_until("nothing is due", || due(&node).is_empty());
    println!("nothing was due after {:?}", begun.elapsed());

    let (problems, counted) = runtime.block_on(judge(&flex.base_urls(), TOKEN, &mut history));
    println!("{counted}");
    assert!(problems.is_empty(), "seed {seed}: {} problems: {}", problems.len(), problems.join("\n"));
    let bindings: Value = serde_json::from_str(BINDINGS).unwrap();
    let bindings = bindings["bindings"].as_array().unwrap();
    let roles = invariants::unexplained_roles(&world, bindings, &node);
    assert!(roles.is_empty(), "seed {seed}, before any wait: {roles:#?}");
    println!("{} assignments, before any wait", world.azure().assignments().len());

    // What waits for its time is left to a service for which the time has come.
    drop(flex.http);
    drop(flex.timer);
    world.azure().set_identity_settings(IdentitySettings::default()).unwrap();
    invariants::calm(&world, &node);
    let problems = invariants::problems_under(&world, bindings, &node);
    assert!(problems.is_empty(), "seed {seed}: {problems:#?}");
    println!("{} assignments at the end", world.azure().assignments().len());
    assert!(flex.cloud.azure.unrecognised().is_empty(), "{:?}", flex.cloud.azure.unrecognised());
}

/// The process that acknowledged a change dies while its first call to Azure is under way, and the call is lost.
fn acknowledge_and_die(flex: &Flex, process: usize, group: &str, user: &str, op: &str) {
    let azure = flex.cloud.azure.handle();
    for method in [CallMethod::Put, CallMethod::Delete, CallMethod::Get] {
        azure.add_rule(FaultRule::new(FaultAction::Hold).method(method)).unwrap();
    }
    let idp = Idp::new(&flex.base_urls()[process], TOKEN);
    let runtime = Runtime::new().unwrap();
    assert_eq!(runtime.block_on(idp.member(op, group, user)).status, 200);
    until("the call is under way", || (!azure.held().is_empty()).then_some(()));
    flex.http[process].kill();
    azure.reset_faults();
}

/// Facts: F-084, F-148, F-157.
#[test]
fn what_a_process_acknowledged_before_it_died_is_carried_out_by_the_timer_alone() {
    let flex = Flex::start();
    let principal = Uuid::from_u128(0x6f9d_1a3e_0000_4000_8000_0000_0000_0001);
    let idp = Idp::new(&flex.base_urls()[0], TOKEN);
    let runtime = Runtime::new().unwrap();
    let (user, group) = runtime.block_on(async {
        (idp.create_user("ana", principal).await, idp.create_group("vault-operators").await)
    });

    acknowledge_and_die(&flex, 0, &group, &user, "add");
    assert_eq!(flex.held(principal), 0);
    flex.tick_until("the role is granted", || flex.held(principal) == 1);

    acknowledge_and_die(&flex, 1, &group, &user, "remove");
    assert_eq!(flex.held(principal), 1);
    flex.tick_until("the role is revoked", || flex.held(principal) == 0);
}
