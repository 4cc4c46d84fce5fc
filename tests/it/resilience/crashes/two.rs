//! Two services side by side: clients of both ask for memberships, both tick all the while, one of them sweeps, one is
//! killed at any call and comes back with an older package or a newer one, transactions of the tables arrive late. What
//! was answered is so at the end, and Azure holds exactly that.

use super::invariants::{calm, problems};
use super::random::Dice;
use super::script::{Action, Bindings, Cast, Failure};
use crate::support::fault_injection::{Faults, Point, Side, When};
use crate::support::harness::{Node, VAULT_EAST, VAULT_WEST, World, binding, bindings_file};
use crate::support::requests::user_id;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::bindings::active::Activation;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{ArmLimits, FaultAction as Trouble, FaultRule};
use futures_util::FutureExt;
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const PEOPLE: usize = 10;
const GROUPS: usize = 3;
const ROUNDS: usize = 10;

/// Requests of each person in one round, one after the other.
const WAVES: usize = 3;

/// The packages, oldest first. The stamp of each is its number.
const PACKAGES: [Bindings; 3] = [
    &[("a", Operator, VAULT_EAST), ("b", Operator, VAULT_EAST), ("c", Reader, VAULT_WEST)],
    &[("a", Operator, VAULT_WEST), ("b", Operator, VAULT_EAST), ("c", Reader, VAULT_WEST)],
    &[("a", Operator, VAULT_WEST), ("b", Reader, VAULT_EAST), ("b", Operator, VAULT_WEST)],
];

/// What an identity provider knows of a person: what it asked for last, and was told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    groups: BTreeSet<usize>,
    active: bool,
}

struct Process {
    node: Node,
    faults: Arc<Faults>,
    /// Transactions of it that are late.
    late: Vec<Point>,
}

struct Pair {
    world: World,
    dice: Dice,
    processes: Vec<Process>,
    cast: Cast,
    said: Vec<Said>,
    /// The newest package that any process has started with.
    newest: usize,
    log: Vec<String>,
}

type Answer = Result<Option<String>, Failure>;

fn stamp(package: usize) -> String {
    format!("20260228T12000{package}Z")
}

fn file(package: usize) -> Vec<u8> {
    let entries = PACKAGES[package].iter().enumerate();
    let entries: Vec<Value> =
        entries.map(|(n, (group, role, scope))| binding(n + 1, group, *role, scope)).collect();
    bindings_file(&entries).into_bytes()
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut world = World::new().without_limits_on_revocations();
        world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
        let mut dice = Dice::new(seed);
        let first = Self::process(&mut world, &mut dice, 0);
        let cast = Cast::enter(&first.node, PEOPLE, &["a", "b", "c"]);
        let second = Self::process(&mut world, &mut dice, 0);
        let said = vec![Said { groups: BTreeSet::new(), active: true }; PEOPLE];
        let processes = vec![first, second];
        Self { world, dice, processes, cast, said, newest: 0, log: Vec::new() }
    }

    /// A process that starts with that package, and does more or less at once.
    fn process(world: &mut World, dice: &mut Dice, package: usize) -> Process {
        world.revive();
        let people_max = dice.of(&[0, 4, 256]);
        let node = world.start_with(InlineLimits { wait: Duration::from_millis(20), people_max });
        let adopted =
            node.run(node.service.active_bindings.activate_stamped(&file(package), &stamp(package))).unwrap();
        assert!(
            matches!(adopted, Activation::Stored | Activation::InForce | Activation::Older),
            "{adopted:?}"
        );
        Process { node, faults: world.faults.clone(), late: Vec::new() }
    }

    /// The next action of a person's client.
    fn next_action(&mut self, who: usize) -> Action {
        let group = self.dice.roll(GROUPS);
        match self.dice.roll(10) {
            0..5 => Action::Join(group, vec![who]),
            5..8 => Action::Leave(group, vec![who]),
            _ => Action::Active(who, !self.said[who].active),
        }
    }

    fn trouble(&mut self, process: usize) -> Option<Point> {
        let nth = self.dice.roll(60) + 1;
        let faults = self.processes[process].faults.clone();
        if self.dice.chance(40) {
            let point = faults.delay(When::transact().nth(nth / 3 + 1));
            self.processes[process].late.push(point);
        }
        // A slow Azure: what is asked for meanwhile changes the same people.
        self.world.azure().add_rule(FaultRule::new(Trouble::DelayAnswer { ms: 30 }).skip(4)).unwrap();
        if self.dice.chance(40) {
            let trouble = self.dice.of(&[
                Trouble::LoseAnswer,
                Trouble::LoseRequest,
                Trouble::Throttle { retry_after_seconds: Some(20) },
            ]);
            self.world.azure().add_rule(FaultRule::new(trouble).skip(2).times(2)).unwrap();
        }
        self.dice.chance(60).then(|| faults.crash(When::any().nth(nth), Side::Before))
    }

    /// All clients ask at once, while both services tick, and one of them sweeps.
    fn round(&mut self) {
        let doomed = self.dice.roll(2);
        let mut crash = self.trouble(doomed);
        let mut background: Vec<JoinHandle<Answer>> =
            [0, 1].map(|process| self.ask(process, Action::Tick)).into();
        if self.dice.chance(50) {
            background.push(self.ask(doomed, Action::Sweep));
        }
        for _ in 0..WAVES {
            let mut asked: Vec<(usize, Action, JoinHandle<Answer>)> = Vec::new();
            for who in 0..PEOPLE {
                let action = self.next_action(who);
                let process = self.dice.roll(2);
                asked.push((who, action.clone(), self.ask(process, action)));
            }
            let over = || asked.iter().all(|(_, _, answer)| answer.is_finished());
            if self.died_before(over, doomed, crash.as_ref()) {
                crash = None;
                self.replace(doomed);
            }
            for (who, action, answer) in asked {
                self.insist(who, action, answer, doomed, &mut crash);
            }
        }
        if self.died_before(|| background.iter().all(JoinHandle::is_finished), doomed, crash.as_ref()) {
            self.replace(doomed);
        }
        self.processes.iter().for_each(|process| process.faults.clear());
        self.world.azure().clear_rules();
        self.arrive();
        let seconds = u64::try_from(self.dice.roll(120)).unwrap();
        self.world.pass(seconds);
    }

    fn ask(&self, process: usize, action: Action) -> JoinHandle<Answer> {
        let node = &self.processes[process].node;
        node.spawn(action.perform(node.service.clone(), self.cast.clone(), Vec::new()))
    }

    /// Waits until that is so, or the doomed process has met its crash. Returns whether it has.
    fn died_before(&self, over: impl Fn() -> bool, doomed: usize, crash: Option<&Point>) -> bool {
        let over = async {
            while !over() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let crashed = async {
            match crash {
                Some(point) => point.reached().await,
                None => std::future::pending().await,
            }
        };
        let ended = async {
            tokio::select! {
            biased;
            () = crashed => true, () = over => false }
        };
        let ended = async { tokio::time::timeout(Duration::from_secs(60), ended).await };
        self.processes[1 - doomed].node.run(ended).unwrap_or_else(|_| panic!("stuck: {:#?}", self.log))
    }

    /// `kill -9`, and another process in its place, with an older package, the same, or a newer one.
    fn replace(&mut self, process: usize) {
        self.processes[process].node.until_quiet(0);
        let package = self.dice.roll((self.newest + 2).min(PACKAGES.len()));
        self.newest = self.newest.max(package);
        self.log.push(format!("process {process} dies, and starts with package {package}"));
        let new = Self::process(&mut self.world, &mut self.dice, package);
        std::mem::replace(&mut self.processes[process], new).node.kill();
    }

    /// Transactions that are late are carried out now, those of a dead process aside.
    fn arrive(&mut self) {
        for process in &mut self.processes {
            for point in std::mem::take(&mut process.late) {
                if point.reached().now_or_never().is_none() {
                    continue;
                }
                self.log.push("a late transaction arrives".to_owned());
                point.release();
                let arrived = async { tokio::time::timeout(Duration::from_secs(20), point.reached()).await };
                process.node.run(arrived).unwrap();
            }
        }
    }

    /// A client that was not answered asks again, through either service, until it is answered.
    fn insist(
        &mut self,
        who: usize,
        action: Action,
        first: JoinHandle<Answer>,
        doomed: usize,
        crash: &mut Option<Point>,
    ) {
        let mut answer = match first.now_or_never() {
            Some(Ok(answer)) => answer,
            // It died with its process.
            None => Err(Failure::Busy),
            Some(Err(error)) if error.is_cancelled() => Err(Failure::Busy),
            Some(Err(error)) => panic!("{action:?}: {error}"),
        };
        self.log.push(format!("{who}: {action:?}: {answer:?}"));
        for _ in 0..20 {
            match answer {
                Ok(_) => return self.acknowledged(who, &action),
                Err(Failure::Busy) => {}
                Err(failure) => panic!("{action:?} was refused: {failure:?}, {:#?}", self.log),
            }
            let process = self.dice.roll(2);
            let asked = self.ask(process, action.clone());
            if self.died_before(|| asked.is_finished(), doomed, crash.as_ref()) {
                *crash = None;
                self.replace(doomed);
            }
            answer = asked
                .now_or_never()
                .map_or(Err(Failure::Busy), |answer| answer.unwrap_or(Err(Failure::Busy)));
        }
        panic!("{action:?} is never carried out: {:#?}", self.log);
    }

    fn acknowledged(&mut self, who: usize, action: &Action) {
        let said = &mut self.said[who];
        match action {
            Action::Join(group, _) => drop(said.groups.insert(*group)),
            Action::Leave(group, _) => drop(said.groups.remove(group)),
            Action::Active(_, active) => said.active = *active,
            _ => {}
        }
    }

    fn play(&mut self) {
        for round in 0..ROUNDS {
            self.log.push(format!("round {round}"));
            self.round();
        }
        self.world.rebind(PACKAGES[self.newest]);
        let node = &self.processes[0].node;
        calm(&self.world, node);
        for _ in 0..3 {
            self.world.pass(3700);
            let ticks = self.processes.iter().map(|process| process.node.service.tick.run());
            node.run(join_all(ticks)).into_iter().for_each(|ticked| ticked.unwrap());
            node.settle();
        }
        let mut found = problems(&self.world, node);
        found.extend(self.not_as_said(node));
        let swept = node.audit_of("difference-found");
        found.extend((!swept.is_empty()).then(|| format!("left to the sweep: {swept:#?}")));
        assert!(found.is_empty(), "{found:#?}\nafter {:#?}", self.log);
        let in_force = node.run(node.service.store.pointer()).unwrap().stamp().unwrap().to_owned();
        assert_eq!(in_force, stamp(self.newest), "after {:#?}", self.log);
    }

    /// Everything that was answered and is not so, in what SCIM shows, and in the fold of the audit.
    fn not_as_said(&self, node: &Node) -> Vec<String> {
        let mut folded: BTreeMap<(String, String), bool> = BTreeMap::new();
        let mut problems = Vec::new();
        // Records of one group are ordered by its revision: two services make ops at the same moment.
        let mut changes = node.audit();
        changes.sort_by_key(|change| change["revision"].as_i64());
        for change in changes {
            let joined = match change["kind"].as_str().unwrap() {
                "member-added" => true,
                "member-removed" => false,
                _ => continue,
            };
            let text = |name: &str| change[name].as_str().unwrap().to_owned();
            let before = folded.insert((text("group"), text("member")), joined);
            if before.unwrap_or(false) == joined {
                problems.push(format!("the audit says twice: {change}"));
            }
        }
        for (number, group) in self.cast.groups.iter().enumerate() {
            let members: BTreeSet<String> = node.members_of(group).into_iter().collect();
            for (said, person) in self.said.iter().zip(&self.cast.people) {
                let wanted = said.groups.contains(&number);
                let is = members.contains(&person.id);
                let audited = folded.get(&(group.clone(), person.id.clone())).copied().unwrap_or(false);
                if wanted != is || wanted != audited {
                    problems
                        .push(format!("{} in {number}: told {wanted}, is {is}, audit {audited}", person.id));
                }
            }
        }
        for (said, person) in self.said.iter().zip(&self.cast.people) {
            let projection =
                azure_backup_scim::scim::Projection::all(azure_backup_scim::scim::ResourceType::User);
            let user = node
                .run(node.service.provisioning.get_user(user_id(&person.id), &projection))
                .unwrap()
                .shown()
                .unwrap()
                .body;
            if user["active"] != said.active {
                problems.push(format!("{} should be active: {}", person.id, said.active));
            }
        }
        problems
    }
}

/// Seeds make the histories differ and do not bring one back: two runtimes decide what comes first. A failure prints its log.
fn pairs(seeds: std::ops::Range<u64>) {
    seeds.for_each(|seed| Pair::new(seed).play());
}

#[test]
fn two_services_of_which_one_is_killed_again_and_again_keep_every_promise() {
    pairs(0..6);
}

#[test]
fn two_services_keep_every_promise_in_other_histories() {
    pairs(6..12);
}
