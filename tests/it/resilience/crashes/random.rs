//! Random histories: four people, three groups whose bindings overlap, two services, and everything that can go wrong.

use super::invariants::{calm, problems};
use super::script::{Action, Bindings, Cast, Failure};
use crate::support::fault_injection::{Fault, Faults, Point, Side, When};
use crate::support::harness::{Node, VAULT_EAST, VAULT_WEST, World};
use azure_backup_scim::rbac::BackupRole::{Contributor, Operator, Reader};
use azure_backup_scim::simulator::{ArmLimits, FaultAction as Trouble, FaultRule};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;

const PEOPLE: usize = 4;
const GROUPS: usize = 3;
const OPERATIONS: usize = 30;
const FILES: [Bindings; 3] = [
    &[
        ("a", Operator, VAULT_EAST),
        ("b", Operator, VAULT_EAST),
        ("b", Reader, VAULT_WEST),
        ("c", Reader, VAULT_WEST),
    ],
    &[("a", Operator, VAULT_WEST), ("b", Operator, VAULT_EAST), ("c", Contributor, VAULT_EAST)],
    &[("a", Operator, VAULT_EAST), ("c", Reader, VAULT_WEST), ("c", Operator, VAULT_EAST)],
];

/// Knuth's MMIX generator; the upper bits are the good ones.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }

    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.roll(choices.len())].clone()
    }
}

type Answered = Result<Result<Option<String>, Failure>, JoinError>;
/// What runs, each with the request that it is.
type Running = FuturesUnordered<Pin<Box<dyn Future<Output = (Action, Answered)>>>>;

/// A service and its own way to the tables.
struct Process {
    node: Node,
    faults: Arc<Faults>,
}

struct Chaos {
    world: World,
    dice: Dice,
    processes: Vec<Process>,
    cast: Cast,
    /// Calls in the network whose callers are dead.
    orphans: usize,
    /// For the failure message.
    log: Vec<String>,
}

/// What an operation came to.
enum Ended {
    /// All of it was answered, or died with its process.
    Answered,
    Crashed,
    Held,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut world = World::new().without_limits_on_revocations();
        world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
        world.rebind(FILES[0]);
        let first = Process { node: world.start(), faults: world.faults.clone() };
        let cast = Cast::enter(&first.node, PEOPLE, &["a", "b", "c"]);
        let mut chaos =
            Self { world, dice: Dice(seed), processes: vec![first], cast, orphans: 0, log: Vec::new() };
        let second = chaos.process();
        chaos.processes.push(second);
        chaos
    }

    fn process(&mut self) -> Process {
        self.world.revive();
        Process { node: self.world.start(), faults: self.world.faults.clone() }
    }

    fn action(&mut self) -> Action {
        let who = self.dice.roll(PEOPLE);
        let group = self.dice.roll(GROUPS);
        match self.dice.roll(100) {
            0..22 => Action::Join(group, vec![who]),
            22..27 => Action::Nest(group, self.dice.roll(GROUPS)),
            27..30 => Action::Unnest(group, self.dice.roll(GROUPS)),
            30..34 => Action::Join(group, vec![0, 1, 2, 3]),
            34..48 => Action::Leave(group, vec![who]),
            48..60 => Action::Active(who, self.dice.chance(50)),
            60..65 => Action::DeleteUser(who),
            65..73 => Action::Post(who),
            73..76 => Action::DeleteGroup(group),
            76..81 => Action::PostGroup(group),
            81..87 => Action::Rename(group, self.dice.of(&["a", "b", "c", "z"])),
            87..90 => Action::Bind(self.dice.of(&FILES)),
            90..94 => Action::Sweep,
            _ => Action::Tick,
        }
    }

    /// What goes wrong while the next operation is under way.
    fn trouble(&mut self, process: usize) -> Option<Point> {
        let faults = self.processes[process].faults.clone();
        let nth = self.dice.roll(20) + 1;
        if self.dice.chance(8) {
            return Some(faults.crash(When::any().nth(nth), self.dice.of(&[Side::Before, Side::After])));
        }
        if self.dice.chance(35) {
            let fault = self.dice.of(&[
                Fault::RequestLost,
                Fault::AnswerLost,
                Fault::Throttled { retry_after: Duration::from_secs(1) },
            ]);
            faults.inject(self.dice.of(&[When::any().nth(nth), When::transact().nth(nth % 4)]), fault);
        }
        if self.dice.chance(20) {
            let fault = self.dice.of(&[Fault::ShortPage { rows_max: 1 }, Fault::EmptyPage]);
            faults.inject(When::page().nth(nth % 6).times(4), fault);
        }
        if self.dice.chance(30) {
            let rule = self.arm_trouble();
            self.world.azure().add_rule(rule).unwrap();
        }
        None
    }

    fn arm_trouble(&mut self) -> FaultRule {
        let fail = |executed| Trouble::Fail {
            status: 500,
            code: "InternalServerError".to_owned(),
            message: None,
            retry_after_seconds: None,
            executed,
        };
        let trouble = self.dice.of(&[
            Trouble::LoseRequest,
            Trouble::LoseAnswer,
            Trouble::Hold,
            Trouble::Hold,
            Trouble::Throttle { retry_after_seconds: Some(20) },
            fail(true),
            fail(false),
        ]);
        FaultRule::new(trouble).skip(u32::try_from(self.dice.roll(3)).unwrap()).times(1)
    }

    fn begin(&mut self, process: usize, action: Action, running: &Running) {
        action.prepare(&mut self.world);
        let node = &self.processes[process].node;
        let bindings = self.world.bindings().to_vec();
        let begun = node.spawn(action.clone().perform(node.service.clone(), self.cast.clone(), bindings));
        running.push(Box::pin(async move { (action, begun.await) }));
    }

    fn operate(&mut self) {
        let process = self.dice.roll(2);
        let action = self.action();
        let together = self.dice.chance(12).then(|| self.action());
        // Ticks and sweeps of two processes overlap more often than requests do.
        let background = matches!(action, Action::Tick | Action::Sweep) && self.dice.chance(50);
        let together = if background { Some(Action::Tick) } else { together };
        let point = self.trouble(process);
        self.log.push(format!("{process}: {action:?}, at once {together:?}, crash {}", point.is_some()));
        let mut running = Running::new();
        self.begin(process, action, &running);
        if let Some(other) = together {
            self.begin(1 - process, other, &running);
        }
        self.see(process, &mut running, point.as_ref());
        self.processes.iter().for_each(|process| process.faults.clear());
        self.world.azure().clear_rules();
    }

    /// What becomes of that which runs.
    fn see(&mut self, process: usize, running: &mut Running, point: Option<&Point>) {
        let mut point = point;
        loop {
            match self.wait(process, running, point) {
                Ended::Answered => return,
                Ended::Crashed => {
                    self.kill(process);
                    point = None;
                }
                Ended::Held if self.dice.chance(50) => {
                    self.kill(0);
                    self.kill(1);
                    self.orphans = self.world.azure().held().len();
                    return;
                }
                Ended::Held => self.let_go(),
            }
        }
    }

    /// Until everything that runs has ended, a call is held, or the crash point is reached.
    fn wait(&mut self, process: usize, running: &mut Running, point: Option<&Point>) -> Ended {
        let azure = self.world.azure();
        let orphans = self.orphans;
        let mut answers = Vec::new();
        let all = async {
            while let Some(ended) = running.next().await {
                answers.push(ended);
            }
        };
        let crashed = async {
            match point {
                Some(point) => point.reached().await,
                None => std::future::pending().await,
            }
        };
        let ended = async {
            tokio::select! {
                biased;
                () = crashed => Ended::Crashed,
                () = azure.until(|azure| azure.held().len() > orphans) => Ended::Held,
                () = all => Ended::Answered,
            }
        };
        let ended = async { tokio::time::timeout(Duration::from_secs(60), ended).await };
        let ended = self.processes[process].node.run(ended);
        for (action, answer) in answers {
            self.note(&action, answer);
        }
        ended.unwrap_or_else(|_| panic!("stuck: {:#?}", self.log))
    }

    /// What the identity provider learns.
    fn note(&mut self, action: &Action, answer: Answered) {
        self.log.push(format!("  {action:?}: {answer:?}"));
        let bug = answer.as_ref().is_err_and(JoinError::is_panic);
        assert!(!bug, "{action:?} panicked after {:#?}", self.log);
        if let Ok(Ok(Some(id))) = answer {
            match action {
                Action::Post(who) => self.cast.people[*who].id = id,
                Action::PostGroup(group) => self.cast.groups[*group] = id,
                _ => {}
            }
        }
    }

    /// Held calls arrive or are lost.
    fn let_go(&mut self) {
        let azure = self.world.azure();
        self.orphans = 0;
        for call in azure.held() {
            let delivered = self.dice.chance(60);
            self.log.push(format!("  {:?} {}: delivered {delivered}", call.method, call.number));
            match delivered {
                true => drop(azure.deliver(call.number).unwrap()),
                false => azure.drop_held(call.number).unwrap(),
            }
        }
    }

    fn kill(&mut self, process: usize) {
        self.log.push(format!("kill {process}"));
        let held = self.world.azure().held().len() - self.orphans;
        self.processes[process].node.until_quiet(held);
        let new = self.process();
        std::mem::replace(&mut self.processes[process], new).node.kill();
    }

    /// No call stays in the network for longer than two minutes.
    fn pass(&mut self) {
        let seconds = u64::try_from(self.dice.roll(180)).unwrap() + 1;
        let held = !self.world.azure().held().is_empty();
        let seconds = if held { seconds.min(90) } else { seconds };
        self.log.push(format!("{seconds} s pass"));
        self.world.pass(seconds);
        if held {
            self.let_go();
        }
    }

    fn play(&mut self, seed: u64) {
        for _ in 0..OPERATIONS {
            match self.dice.roll(100) {
                0..20 => self.pass(),
                20..24 => {
                    let process = self.dice.roll(2);
                    self.kill(process);
                }
                _ => self.operate(),
            }
        }
        self.let_go();
        self.world.azure().reset_faults();
        let last = self.process();
        calm(&self.world, &last.node);
        // What was tried often has long pauses by now.
        for _ in 0..3 {
            self.world.pass(3700);
            last.node.settle();
        }
        let mut found = problems(&self.world, &last.node);
        let swept = last.node.audit_of("difference-found");
        found.extend((!swept.is_empty()).then(|| format!("left to the sweep: {swept:#?}")));
        assert!(found.is_empty(), "seed {seed}: {found:#?}\nafter {:#?}", self.log);
    }
}

fn histories(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        Chaos::new(seed).play(seed);
    }
}

#[test]
fn random_histories_end_as_scim_says() {
    histories(0..20);
}

#[test]
fn more_random_histories_end_as_scim_says() {
    histories(20..40);
}
