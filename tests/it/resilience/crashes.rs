//! Every crash point: short histories, cut off at each table call and at each call to Azure, and random ones. Whatever
//! happened, once everything has settled Azure holds what SCIM says, and nothing is left over.

pub mod invariants;
pub mod random;
mod script;
mod two;

use crate::support::fault_injection::{Counts, Fault, Point, Side, When, crash_stride};
use crate::support::harness::{Node, VAULT_EAST, VAULT_WEST, World};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::simulator::{ArmLimits, FaultAction as Trouble, FaultRule};
use invariants::{Summary, calm, problems, summary};
use script::{Action, Bindings, Cast, Failure};
use std::time::Duration;

/// A short story, and how it began.
struct History {
    bindings: Bindings,
    people: usize,
    /// externalIds.
    groups: &'static [&'static str],
    setup: Vec<Action>,
    acts: Vec<Action>,
    /// The first two calls and the last are tried, and one in so many transactions and calls to Azure, and in so many reads.
    strides: (usize, usize),
}

const EAST: Bindings = &[("a", Operator, VAULT_EAST)];
const BOTH: Bindings = &[("a", Operator, VAULT_EAST), ("b", Operator, VAULT_EAST), ("b", Reader, VAULT_WEST)];
const WEST: Bindings = &[("a", Operator, VAULT_WEST)];

/// One in so many of those reads, where not every crash point is asked for.
const READS_STRIDE: usize = 3;

/// What a history comes to when nothing happens to it.
struct Clean {
    counts: Counts,
    arm_calls: usize,
    summary: Summary,
}

/// How an action ended.
enum Ended {
    Answered(Result<Option<String>, Failure>),
    /// The crash point was reached.
    Crashed,
    /// A call to Azure is held.
    Held,
}

/// One play of a history.
struct Stage {
    world: World,
    node: Node,
    cast: Cast,
}

impl Stage {
    fn set(history: &History) -> Self {
        let mut world = World::new().without_limits_on_revocations();
        world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
        world.rebind(history.bindings);
        let node = world.start();
        let cast = Cast::enter(&node, history.people, history.groups);
        let mut stage = Self { world, node, cast };
        for action in &history.setup {
            stage.act(action, None).unwrap();
        }
        stage.node.settle();
        stage.world.azure().clear_calls();
        stage.world.faults.reset();
        stage
    }

    fn begin(&mut self, action: &Action, point: Option<&Point>) -> Ended {
        action.prepare(&mut self.world);
        let service = self.node.service.clone();
        let cast = self.cast.clone();
        let bindings = self.world.bindings().to_vec();
        let azure = self.world.azure();
        let orphans = azure.held().len();
        let mut running = self.node.spawn(action.clone().perform(service, cast, bindings));
        let crashed = async {
            match point {
                Some(point) => point.reached().await,
                None => std::future::pending().await,
            }
        };
        let ended = async {
            tokio::select! {
                biased;
                answer = &mut running => Ended::Answered(answer.unwrap()),
                () = crashed => Ended::Crashed,
                () = azure.until(|azure| azure.held().len() > orphans) => Ended::Held,
            }
        };
        let ended = async { tokio::time::timeout(Duration::from_secs(60), ended).await };
        self.node.run(ended).expect("an action should end")
    }

    /// What the identity provider does: it asks again while the answer is 503.
    fn act(
        &mut self,
        action: &Action,
        first: Option<Result<Option<String>, Failure>>,
    ) -> Result<(), Failure> {
        let mut answer = first;
        for _ in 0..5 {
            let asked = answer.is_some();
            let answered = match answer.take() {
                Some(answered) => answered,
                None => match self.begin(action, None) {
                    Ended::Answered(answered) => answered,
                    _ => panic!("nothing should stop {action:?}"),
                },
            };
            match answered {
                Err(Failure::Busy) => {}
                Err(failure) if !asked && action.was_done(&failure) => return Ok(()),
                other => return other.map(|_| ()),
            }
        }
        Err(Failure::Busy)
    }

    /// `kill -9`, and a new process on the same tables and the same Azure.
    fn restart(self) -> Self {
        let Self { mut world, node, cast } = self;
        node.until_quiet(world.azure().held().len());
        node.kill();
        world.revive();
        let node = world.start();
        Self { world, node, cast }
    }

    #[track_caller]
    fn check(&self, case: &str) {
        calm(&self.world, &self.node);
        let found = problems(&self.world, &self.node);
        assert!(found.is_empty(), "{case}: {found:#?}");
    }

    /// Checks that everything settles by itself, asks for what was not answered, and checks the end.
    #[track_caller]
    fn end(mut self, case: &str, not_answered: &[Action], clean: &Clean) {
        self.check(case);
        if !not_answered.is_empty() {
            for action in not_answered {
                let done = self.act(action, None);
                assert_eq!(done, Ok(()), "{case}: {action:?} asked again");
            }
            self.check(&format!("{case}, asked again"));
        }
        assert_eq!(summary(&self.node), clean.summary, "{case}");
    }
}

fn clean(history: &History) -> Clean {
    let mut stage = Stage::set(history);
    for action in &history.acts {
        stage.act(action, None).unwrap();
    }
    let counts = stage.world.faults.counts();
    let arm_calls = stage.world.azure().calls().len();
    stage.check("nothing happened");
    Clean { counts, arm_calls, summary: summary(&stage.node) }
}

/// The service dies at that call.
fn crash(history: &History, clean: &Clean, when: When, side: Side, case: &str) {
    let mut stage = Stage::set(history);
    let point = stage.world.faults.crash(when, side);
    for (at, action) in history.acts.iter().enumerate() {
        match stage.begin(action, Some(&point)) {
            Ended::Answered(answer) => stage.act(action, Some(answer)).unwrap(),
            _ => return stage.restart().end(case, &history.acts[at..], clean),
        }
    }
    // Fewer calls than in the clean run, or the crash fell on work that no request waited for.
    stage.restart().end(case, &[], clean);
}

/// That call is lost, or its answer. A transaction that is lost is retried by us alone.
fn lose(history: &History, clean: &Clean, when: When, fault: Fault, may_be_busy: bool, case: &str) {
    let mut stage = Stage::set(history);
    stage.world.faults.inject(when, fault);
    for action in &history.acts {
        let Ended::Answered(answer) = stage.begin(action, None) else { panic!("{case}") };
        let excused = may_be_busy || matches!(action, Action::Tick);
        assert!(excused || answer.is_ok(), "{case}: {action:?} answered {answer:?}");
        stage.act(action, Some(answer)).unwrap();
    }
    stage.world.faults.clear();
    stage.end(case, &[], clean);
}

/// The numbers of the calls that are tried, among `calls`.
fn tried(calls: usize, stride: usize) -> impl Iterator<Item = usize> {
    (1..=calls).filter(move |n| *n <= 2 || n % stride == 0 || *n == calls)
}

fn every_table_call(history: &History) {
    let clean = clean(history);
    let (stride, reads_stride) = history.strides;
    let reads_left_out = crash_stride(READS_STRIDE);
    for n in tried(clean.counts.transactions, stride) {
        for side in [Side::Before, Side::After] {
            let when = When::transact().nth(n);
            crash(history, &clean, when, side, &format!("crash {side:?} transaction {n}"));
        }
        for fault in [Fault::RequestLost, Fault::AnswerLost] {
            let case = format!("{fault:?} at transaction {n}");
            lose(history, &clean, When::transact().nth(n), fault, false, &case);
        }
    }
    for (reads, when, what) in
        [(clean.counts.gets, When::get(), "get"), (clean.counts.pages, When::page(), "page")]
    {
        for n in tried(reads, reads_stride * reads_left_out) {
            let case = format!("crash before {what} {n}");
            crash(history, &clean, when.clone().nth(n), Side::Before, &case);
            let case = format!("{what} {n} lost");
            lose(history, &clean, when.clone().nth(n), Fault::AnswerLost, true, &case);
        }
    }
}

fn every_arm_call(history: &History) {
    let clean = clean(history);
    let fail = |executed| Trouble::Fail {
        status: 500,
        code: "InternalServerError".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed,
    };
    for n in tried(clean.arm_calls, history.strides.0) {
        for trouble in [Trouble::LoseRequest, Trouble::LoseAnswer, fail(false), fail(true)] {
            arm_trouble(history, &clean, n, trouble);
        }
        for late in [Late::Arrives, Late::ArrivesAfterTheRest, Late::Lost] {
            die_while_held(history, &clean, n, late);
        }
    }
}

fn nth(n: usize, trouble: Trouble) -> FaultRule {
    FaultRule::new(trouble).skip(u32::try_from(n - 1).unwrap()).times(1)
}

fn arm_trouble(history: &History, clean: &Clean, n: usize, trouble: Trouble) {
    let case = format!("{trouble:?} at call {n} to azure");
    let mut stage = Stage::set(history);
    stage.world.azure().add_rule(nth(n, trouble)).unwrap();
    for action in &history.acts {
        let Ended::Answered(answer) = stage.begin(action, None) else { panic!("{case}") };
        assert!(answer.is_ok(), "{case}: {action:?} answered {answer:?}");
    }
    stage.world.azure().clear_rules();
    stage.end(&case, &[], clean);
}

/// What becomes of a call whose caller died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    Arrives,
    /// The rest of the history has been asked for by then, and may say the opposite.
    ArrivesAfterTheRest,
    Lost,
}

/// The service dies while a call is in the network. The call arrives a minute later, or never.
fn die_while_held(history: &History, clean: &Clean, n: usize, late: Late) {
    let case = format!("died at call {n} to azure, which is late: {late:?}");
    let mut stage = Stage::set(history);
    stage.world.azure().add_rule(nth(n, Trouble::Hold)).unwrap();
    let mut not_answered: &[Action] = &[];
    for (at, action) in history.acts.iter().enumerate() {
        match stage.begin(action, None) {
            Ended::Answered(answer) => stage.act(action, Some(answer)).unwrap(),
            _ => {
                not_answered = &history.acts[at..];
                break;
            }
        }
    }
    let mut stage = stage.restart();
    let azure = stage.world.azure();
    azure.clear_rules();
    stage.node.settle();
    if late == Late::ArrivesAfterTheRest {
        for action in std::mem::take(&mut not_answered) {
            assert_eq!(stage.act(action, None), Ok(()), "{case}: {action:?}");
        }
    }
    stage.node.settle();
    stage.world.pass(60);
    stage.node.settle();
    for call in azure.held() {
        match late {
            Late::Lost => azure.drop_held(call.number).unwrap(),
            _ => drop(azure.deliver(call.number).unwrap()),
        }
    }
    stage.end(&case, not_answered, clean);
}

fn joins() -> History {
    let acts = vec![Action::Join(0, vec![0])];
    History { bindings: EAST, people: 1, groups: &["a"], setup: vec![], acts, strides: (1, 1) }
}

fn leaves() -> History {
    let setup = vec![Action::Join(0, vec![0])];
    let acts = vec![Action::Leave(0, vec![0])];
    History { bindings: EAST, people: 1, groups: &["a"], setup, acts, strides: (1, 1) }
}

fn goes_and_comes() -> History {
    let setup = vec![Action::Join(0, vec![0])];
    let acts = vec![Action::Active(0, false), Action::Active(0, true)];
    History { bindings: EAST, people: 1, groups: &["a"], setup, acts, strides: (1, 1) }
}

fn comes_and_goes() -> History {
    let acts = vec![Action::Join(0, vec![0]), Action::Leave(0, vec![0])];
    History { bindings: EAST, people: 1, groups: &["a"], setup: vec![], acts, strides: (1, 2) }
}

fn is_deleted() -> History {
    let setup = vec![Action::Join(0, vec![0]), Action::Join(1, vec![0])];
    let acts = vec![Action::DeleteUser(0)];
    History { bindings: BOTH, people: 1, groups: &["a", "b"], setup, acts, strides: (1, 1) }
}

fn group_is_deleted() -> History {
    let setup = vec![Action::Join(0, (0..20).collect()), Action::Join(0, (20..30).collect())];
    let acts = vec![Action::DeleteGroup(0)];
    History { bindings: EAST, people: 30, groups: &["a"], setup, acts, strides: (20, 200) }
}

fn group_is_renamed() -> History {
    let setup = vec![Action::Join(0, vec![0, 1])];
    let acts = vec![Action::Rename(0, "a"), Action::Tick, Action::Rename(0, "z"), Action::Tick];
    History { bindings: EAST, people: 2, groups: &["z"], setup, acts, strides: (1, 8) }
}

fn comes_back_as_another() -> History {
    let setup = vec![Action::Join(0, vec![0]), Action::Active(0, false)];
    let acts = vec![Action::Post(0)];
    History { bindings: EAST, people: 1, groups: &["a"], setup, acts, strides: (1, 1) }
}

fn bindings_change() -> History {
    let acts = vec![Action::Bind(WEST), Action::Tick];
    History {
        bindings: EAST,
        people: 1,
        groups: &["a"],
        setup: vec![Action::Join(0, vec![0])],
        acts,
        strides: (1, 2),
    }
}

fn two_groups_give_the_same() -> History {
    let setup = vec![Action::Join(0, vec![0]), Action::Join(1, vec![0])];
    let acts = vec![Action::Leave(1, vec![0]), Action::Leave(0, vec![0])];
    History { bindings: BOTH, people: 1, groups: &["a", "b"], setup, acts, strides: (1, 2) }
}

/// Over two pages of the walk, with a group in the inner one.
fn group_is_nested() -> History {
    let crew: Vec<usize> = (50..52).collect();
    let setup = parts(1, 0..50).into_iter().chain([Action::Join(2, crew), Action::Nest(1, 2)]).collect();
    let acts = vec![Action::Nest(0, 1)];
    History { bindings: EAST, people: 52, groups: &["a", "b", "c"], setup, acts, strides: (40, 800) }
}

fn group_is_unnested() -> History {
    let History { setup, acts, .. } = group_is_nested();
    let setup = setup.into_iter().chain(acts).collect();
    let acts = vec![Action::Unnest(0, 1)];
    History { bindings: EAST, people: 52, groups: &["a", "b", "c"], setup, acts, strides: (40, 800) }
}

/// Small, so that every point is tried.
fn nested_group_of_one() -> History {
    let setup = vec![Action::Join(1, vec![0])];
    let acts = vec![Action::Nest(0, 1), Action::Unnest(0, 1)];
    History { bindings: EAST, people: 1, groups: &["a", "b"], setup, acts, strides: (1, 2) }
}

/// In a middle group, so that its job takes out members and leaves the outer group.
fn nested_group_is_deleted() -> History {
    let setup =
        vec![Action::Join(2, vec![0]), Action::Join(1, vec![1]), Action::Nest(1, 2), Action::Nest(0, 1)];
    let acts = vec![Action::DeleteGroup(1)];
    History { bindings: EAST, people: 2, groups: &["a", "b", "c"], setup, acts, strides: (1, 2) }
}

/// As many requests as it takes.
fn parts(group: usize, people: std::ops::Range<usize>) -> Vec<Action> {
    people
        .clone()
        .step_by(20)
        .map(|from| Action::Join(group, (from..people.end.min(from + 20)).collect()))
        .collect()
}

macro_rules! histories {
    ($($history:ident => $at_tables:ident, $at_azure:ident;)*) => {
        $(
            #[test]
            fn $at_tables() {
                every_table_call(&$history());
            }

            #[test]
            fn $at_azure() {
                every_arm_call(&$history());
            }
        )*
    };
}

histories! {
    joins => joining_survives_a_fault_at_every_table_call, joining_survives_a_fault_at_every_call_to_azure;
    leaves => leaving_survives_a_fault_at_every_table_call, leaving_survives_a_fault_at_every_call_to_azure;
    comes_and_goes => joining_and_leaving_survive_a_fault_at_every_table_call,
        joining_and_leaving_survive_a_fault_at_every_call_to_azure;
    goes_and_comes => reactivating_survives_a_fault_at_every_table_call,
        reactivating_survives_a_fault_at_every_call_to_azure;
    is_deleted => deleting_a_user_survives_a_fault_at_every_table_call,
        deleting_a_user_survives_a_fault_at_every_call_to_azure;
    group_is_deleted => deleting_a_group_survives_a_fault_at_every_table_call,
        deleting_a_group_survives_a_fault_at_every_call_to_azure;
    group_is_renamed => renaming_a_group_survives_a_fault_at_every_table_call,
        renaming_a_group_survives_a_fault_at_every_call_to_azure;
    comes_back_as_another => replacing_a_leaver_survives_a_fault_at_every_table_call,
        replacing_a_leaver_survives_a_fault_at_every_call_to_azure;
    nested_group_of_one => nesting_one_person_survives_a_fault_at_every_table_call,
        nesting_one_person_survives_a_fault_at_every_call_to_azure;
    group_is_nested => nesting_a_group_survives_a_fault_at_every_table_call,
        nesting_a_group_survives_a_fault_at_every_call_to_azure;
    group_is_unnested => taking_a_group_out_survives_a_fault_at_every_table_call,
        taking_a_group_out_survives_a_fault_at_every_call_to_azure;
    nested_group_is_deleted => deleting_a_nested_group_survives_a_fault_at_every_table_call,
        deleting_a_nested_group_survives_a_fault_at_every_call_to_azure;
    bindings_change => changing_the_bindings_survives_a_fault_at_every_table_call,
        changing_the_bindings_survives_a_fault_at_every_call_to_azure;
    two_groups_give_the_same => overlapping_grants_survive_a_fault_at_every_table_call,
        overlapping_grants_survive_a_fault_at_every_call_to_azure;
}
