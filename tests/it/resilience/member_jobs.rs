//! Changes of members that take more than one transaction: killed at their calls, met by other requests, and beside other
//! processes. From the commit on everybody reads all of it, and before the commit nothing.
//!
//! `MEMBER_JOB_PEOPLE` is how many members each case changes (60 if it is not set).

mod many;
mod rules;

use crate::resilience::crashes::invariants::{calm, problems};
use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::{Node, PATCH_OP, Person, VAULT_EAST, World, caller, members};
use crate::support::requests::{group_id, group_input, group_patch, user_id};
use crate::support::rows::{nonsense, quiet, write};
use azure_backup_scim::id::{OpId, UserId};
use azure_backup_scim::ports::tables::{EtagMatch, TableWrite};
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::ServiceError;
use azure_backup_scim::service::jobs::run_chunk;
use azure_backup_scim::service::provisioning::Provisioning;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::store::members as members_of_store;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// One in so many calls of any kind, beside each transaction.
const STRIDE: usize = 37;

fn people_of_a_case() -> usize {
    std::env::var("MEMBER_JOB_PEOPLE").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

struct Stage {
    world: World,
    node: Node,
    group: String,
    people: Vec<Person>,
}

/// What is asked of the group.
#[derive(Clone)]
enum Asked {
    Patch(Value),
    Put(Value),
    Post(Value),
}

impl Stage {
    /// A bound group with the first `joined` of so many people. Nothing is reconciled inline.
    fn of(people: usize, joined: usize) -> Self {
        let world = World::new().bind("operators", Operator, VAULT_EAST).without_limits_on_revocations();
        let world = quiet(world);
        let node = world.start_with(InlineLimits { wait: Duration::ZERO, people_max: 0 });
        let group = node.group("operators");
        let people: Vec<Person> = (0..people).map(|n| node.provision(&format!("p{n}"))).collect();
        if joined > 0 {
            node.join(&group, &people[..joined].iter().collect::<Vec<_>>());
        }
        node.settle();
        node.settle();
        Self { world, node, group, people }
    }

    fn ids(&self, from: usize, to: usize) -> Vec<Value> {
        self.people[from..to].iter().map(|person| json!({"value": person.id})).collect()
    }

    fn put(&self, from: usize, to: usize) -> Asked {
        let members = self.ids(from, to);
        Asked::Put(json!({"displayName": "operators", "externalId": "operators", "members": members}))
    }

    fn add(&self, from: usize, to: usize) -> Asked {
        Asked::Patch(members("add", &self.people[from..to].iter().collect::<Vec<_>>()))
    }

    fn remove(&self, from: usize, to: usize) -> Asked {
        Asked::Patch(members("remove", &self.people[from..to].iter().collect::<Vec<_>>()))
    }

    fn ask(&self, asked: Asked) -> Result<(), ServiceError> {
        self.node.run(send(self.node.service.provisioning.clone(), self.group.clone(), asked))
    }

    fn places(&self, group: &str) -> BTreeSet<usize> {
        let members = self.node.members_of(group);
        (0..self.people.len()).filter(|at| members.contains(&self.people[*at].id)).collect()
    }

    fn members(&self) -> BTreeSet<usize> {
        self.places(&self.group)
    }

    fn rows(&self, prefix: &str) -> usize {
        self.node.run(self.node.service.store.rows(prefix, 100_000)).unwrap().len()
    }

    /// The service ends where it is, and another one starts.
    fn restart(self) -> Self {
        let Stage { mut world, node, group, people } = self;
        node.until_quiet(0);
        node.kill();
        world.revive();
        let node = world.start();
        Stage { world, node, group, people }
    }

    /// Everything is done: nobody is left over, both directions agree, and Azure holds what it should.
    #[track_caller]
    fn assert_converged(&self, what: &str) {
        calm(&self.world, &self.node);
        // These people have no externalId, so nothing is asked about its index.
        let mut problems = problems(&self.world, &self.node);
        problems.retain(|problem| !problem.starts_with("the indexes"));
        assert_eq!(problems, Vec::<String>::new(), "{what}");
        assert_eq!(self.rows("i:"), 0, "{what}: a job is left");
    }
}

async fn send(service: Arc<Provisioning>, group: String, asked: Asked) -> Result<(), ServiceError> {
    let projection = Projection::parse(ResourceType::Group, None, Some("members")).unwrap();
    let (caller, id) = (caller(), group_id(&group));
    match asked {
        Asked::Patch(operation) => {
            let body = json!({"schemas": [PATCH_OP], "Operations": [operation]});
            service.patch_group(&caller, id, &group_patch(&body)?, &projection).await.map(drop)
        }
        Asked::Put(body) => {
            service.replace_group(&caller, id, &group_input(&body), &projection).await.map(drop)
        }
        Asked::Post(body) => service.create_group(&caller, &group_input(&body), &projection).await.map(drop),
    }
}

/// The process dies at that call of the request, and another one starts.
fn killed_at(stage: Stage, asked: Asked, when: When, side: Side) -> Stage {
    let request = send(stage.node.service.provisioning.clone(), stage.group.clone(), asked);
    killed_in(stage, request, when, side)
}

/// The same of anything that the process does.
fn killed_in<T: Send + 'static>(
    stage: Stage,
    doing: impl Future<Output = T> + Send + 'static,
    when: When,
    side: Side,
) -> Stage {
    stage.world.faults.reset();
    let point = stage.world.faults.crash(when, side);
    let running = stage.node.spawn(doing);
    stage.node.run(async {
        tokio::select! {
            () = point.reached() => {}
            _ = running => {}
        }
    });
    stage.restart()
}

/// A group and a request about it, with who is in before and after.
struct Case {
    name: &'static str,
    stage: fn(usize) -> Stage,
    asked: fn(&Stage) -> Asked,
    before: fn(usize) -> BTreeSet<usize>,
    after: fn(usize) -> BTreeSet<usize>,
}

fn none(_: usize) -> BTreeSet<usize> {
    BTreeSet::new()
}

fn all(people: usize) -> BTreeSet<usize> {
    (0..people).collect()
}

fn cases() -> Vec<Case> {
    let empty = |_: &Stage| Asked::Patch(json!({"op": "remove", "path": "members"}));
    vec![
        Case {
            name: "PATCH that adds",
            stage: |people| Stage::of(people, 0),
            asked: |stage| stage.add(0, stage.people.len()),
            before: none,
            after: all,
        },
        Case {
            name: "PUT of others",
            stage: |people| Stage::of(people, people / 2),
            asked: |stage| stage.put(stage.people.len() / 3, stage.people.len()),
            before: |people| (0..people / 2).collect(),
            after: |people| (people / 3..people).collect(),
        },
        Case {
            name: "PATCH that empties",
            stage: |people| Stage::of(people, people),
            asked: empty,
            before: all,
            after: none,
        },
    ]
}

/// The calls of the request and of its job.
fn crashes(case: &Case) -> Vec<(String, When, Side)> {
    let people = people_of_a_case();
    let stage = (case.stage)(people);
    stage.world.faults.reset();
    stage.ask((case.asked)(&stage)).unwrap();
    let crashes = stage.world.faults.counts().crashes(STRIDE);
    assert_eq!(stage.members(), (case.after)(people), "{}", case.name);
    stage.assert_converged(case.name);
    crashes
}

#[test]
fn a_change_is_whole_or_has_not_happened_wherever_its_process_dies() {
    let people = people_of_a_case();
    for case in cases() {
        for (call, when, side) in crashes(&case) {
            let what = format!("{}, {call}", case.name);
            let stage = (case.stage)(people);
            let asked = (case.asked)(&stage);
            let stage = killed_at(stage, asked, when, side);

            let (before, after) = ((case.before)(people), (case.after)(people));
            let read = stage.members();
            assert!(read == before || read == after, "{what}: {read:?}");
            stage.assert_converged(&what);
            assert_eq!(stage.members(), read, "{what}");
        }
    }
}

#[test]
fn a_new_group_has_all_its_members_or_does_not_exist() {
    let people = people_of_a_case();
    let body = |stage: &Stage| Asked::Post(json!({"displayName": "night", "members": stage.ids(0, people)}));
    let stage = Stage::of(people, 0);
    stage.world.faults.reset();
    stage.ask(body(&stage)).unwrap();
    for (call, when) in stage.world.faults.counts().moments(STRIDE) {
        let stage = Stage::of(people, 0);
        let asked = body(&stage);
        let stage = killed_at(stage, asked, when, Side::After);
        let groups = stage.node.run(stage.node.service.store.rows("g:", 10)).unwrap();
        let night = groups
            .iter()
            .map(|row| row.key.trim_start_matches("g:").to_owned())
            .find(|id| *id != stage.group);
        if let Some(night) = &night {
            assert_eq!(stage.places(night), all(people), "{call}");
        }
        stage.assert_converged(&call);
        if let Some(night) = night {
            assert_eq!(stage.places(&night), all(people), "{call}");
        }
    }
}

/// A request whose process dies after its commit and the first chunk: the job is under way.
fn under_way(stage: Stage, asked: Asked) -> Stage {
    let stage = killed_at(stage, asked, When::transact().nth(3), Side::Before);
    assert_eq!(stage.rows("i:"), 1);
    stage
}

#[test]
fn who_is_removed_while_a_change_rolls_forward_stays_removed() {
    let stage = Stage::of(60, 0);
    let asked = stage.add(0, 60);
    let stage = under_way(stage, asked);
    assert_eq!(stage.members(), all(60));
    // One whose row is there, and one whose row is not yet.
    stage.ask(stage.remove(0, 1)).unwrap();
    stage.ask(stage.remove(59, 60)).unwrap();
    assert_eq!(stage.members(), (1..59).collect());
    stage.assert_converged("after the removals");
    assert_eq!(stage.members(), (1..59).collect());
    stage.world.assert_holds_nothing(&stage.people[0]);
    stage.world.assert_holds_nothing(&stage.people[59]);
    stage.world.assert_holds(&stage.people[30], Operator, VAULT_EAST);
}

#[test]
fn a_request_that_meets_a_change_finishes_it_first() {
    let stage = Stage::of(90, 60);
    let asked = stage.put(0, 1);
    let stage = under_way(stage, asked);
    stage.ask(stage.add(60, 90)).unwrap();
    assert_eq!(stage.members(), (60..90).chain([0]).collect());
    stage.assert_converged("after the second change");
    assert_eq!(stage.members(), (60..90).chain([0]).collect());
}

#[test]
fn a_group_that_is_deleted_while_its_members_change_leaves_nothing() {
    for joined in [0, 60] {
        let stage = Stage::of(60, joined);
        let asked = if joined == 0 { stage.add(0, 60) } else { stage.put(0, 1) };
        let stage = under_way(stage, asked);
        stage.node.delete_group(&stage.group);
        stage.assert_converged("after the delete");
        for prefix in ["m:", "ug:", "g:", "i:"] {
            assert_eq!(stage.rows(prefix), 0, "{prefix}");
        }
        assert!(stage.world.azure().assignments().is_empty());
    }
}

#[test]
fn who_is_deleted_while_a_change_rolls_forward_is_dropped_and_recorded() {
    let stage = Stage::of(60, 0);
    let mut last = stage.people.iter().enumerate().collect::<Vec<_>>();
    last.sort_by(|a, b| a.1.id.cmp(&b.1.id));
    let gone = last[59].0;
    let asked = stage.add(0, 60);
    let stage = under_way(stage, asked);
    stage.node.delete_user(&stage.people[gone]);
    stage.assert_converged("after the delete");
    assert_eq!(stage.members().len(), 59);
    let dropped = stage.node.audit_of("member-dropped");
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(dropped[0]["member"], json!(stage.people[gone].id));
}

#[test]
fn a_group_that_names_a_lost_job_can_be_read_changed_and_deleted() {
    for (deletes, is_broken) in [(false, false), (true, false), (false, true), (true, true)] {
        let stage = Stage::of(60, 0);
        let asked = stage.add(0, 60);
        let stage = under_way(stage, asked);
        let job = stage.node.run(stage.node.service.store.rows("i:", 10)).unwrap().remove(0).key;
        let gone = TableWrite::Delete { key: job.clone(), condition: EtagMatch::Any };
        let lost = if is_broken { nonsense(&job) } else { gone.clone() };
        write(&stage.world, &stage.node, &[lost]);
        let present = stage.members().len();
        assert!(present < 60, "{present}");
        if deletes {
            stage.node.delete_group(&stage.group);
        } else {
            stage.ask(stage.add(0, 60)).unwrap();
            assert_eq!(stage.members(), all(60));
        }
        if is_broken && !deletes {
            // It stays, counted, for an operator to look at; a delete cancels it.
            let jobs = stage.node.run(stage.node.service.store.rows("i:", 10)).unwrap();
            assert!(jobs.iter().any(|row| row.key == job), "{jobs:?}");
            write(&stage.world, &stage.node, &[gone]);
        }
        stage.assert_converged("without the job");
        assert_eq!(stage.rows("m:"), if deletes { 0 } else { 60 });
    }
}

#[test]
fn two_processes_that_roll_one_change_do_it_once() {
    let stage = Stage::of(90, 0);
    let asked = stage.add(0, 90);
    let stage = under_way(stage, asked);
    let other = stage.world.start();
    let (one, two) = (stage.node.service.tick.clone(), other.service.tick.clone());
    let running =
        [stage.node.spawn(async move { one.run().await }), other.spawn(async move { two.run().await })];
    for tick in running {
        stage.node.run(tick).unwrap().unwrap();
    }
    stage.assert_converged("two ticks");
    assert_eq!(stage.members(), all(90));
    assert_eq!(stage.node.audit_of("member-added").len(), 90);
}

/// Facts: F-086.
#[test]
fn a_put_without_members_empties_the_group() {
    let stage = Stage::of(30, 30);
    stage.ask(Asked::Put(json!({"displayName": "operators", "externalId": "operators"}))).unwrap();
    assert_eq!(stage.members(), none(0));
    stage.assert_converged("emptied");
    assert!(stage.world.azure().assignments().is_empty());
}

#[test]
fn lost_answers_and_throttled_calls_do_not_break_a_change() {
    let stage = Stage::of(60, 30);
    stage.world.faults.reset();
    for nth in [2, 4] {
        stage.world.faults.inject(When::transact().nth(nth), Fault::AnswerLost);
    }
    stage.world.faults.inject(When::transact().nth(3), Fault::RequestLost);
    stage.ask(stage.put(20, 60)).unwrap();
    stage.assert_converged("after lost answers");
    assert_eq!(stage.members(), (20..60).collect());
}

/// Members whose rows nothing else is known of, as many as there are numbers.
fn write_members(stage: &Stage, numbers: std::ops::Range<u128>) {
    let group = group_id(&stage.group);
    let op = stage.node.service.store.ids.op();
    let rows: Vec<TableWrite> = numbers
        .flat_map(|number| {
            let batch = members_of_store::add(group, UserId::new(Uuid::from_u128(number)).into(), op);
            // All but the header of the member.
            batch.writes().into_iter().filter(|write| !write.key().starts_with("u:")).collect::<Vec<_>>()
        })
        .collect();
    for part in rows.chunks(100) {
        stage.node.run(stage.node.service.store.transact_unjournaled(part)).unwrap();
    }
}

#[test]
fn more_members_than_a_row_can_name_are_removed_all_but_those_who_stay() {
    let stage = Stage::of(2, 1);
    write_members(&stage, 0..10_100);
    stage.ask(stage.put(0, 2)).unwrap();
    stage.node.settle();
    assert_eq!(stage.rows("i:"), 0);
    assert_eq!((stage.rows("m:"), stage.rows("ug:")), (2, 2));
    assert_eq!(stage.members(), all(2));
}

/// A group whose id begins with one of these digits.
fn group_with(stage: &Stage, digits: &[char]) -> String {
    (0..)
        .map(|number| stage.node.group(&format!("group {number} {}", digits[0])))
        .find(|id| id.starts_with(digits))
        .unwrap()
}

/// The memberships of two groups go in different chunks. Whoever is in both of them, and was reconciled in between, is reconciled
/// again.
#[test]
fn a_walk_begins_again_where_a_later_chunk_takes_out_another_group_above() {
    let stage = Stage::of(100, 40);
    let (first, last) = (group_with(&stage, &['0', '1']), group_with(&stage, &['e', 'f']));
    let team = stage.node.group("team");
    stage.node.join(&team, &stage.people[40..].iter().collect::<Vec<_>>());
    let nest = |outer: &str, inner: &str| {
        let operation = json!({"op": "add", "path": "members", "value": [{"value": inner}]});
        stage.node.try_patch_group(outer, operation).unwrap();
    };
    for inner in [&first, &last] {
        nest(inner, &team);
        nest(&stage.group, inner);
    }
    (0..3).for_each(|_| stage.node.settle());
    assert_eq!(stage.world.azure().assignments().len(), 100);

    let asked = Asked::Patch(json!({"op": "remove", "path": "members"}));
    let stage = killed_at(stage, asked, When::transact().nth(2), Side::Before);
    let store = &stage.node.service.store;
    let keys = |prefix: &str| -> Vec<String> {
        stage.node.run(store.rows(prefix, 1000)).unwrap().into_iter().map(|row| row.key).collect()
    };
    let job = OpId::parse(keys("i:")[0].trim_start_matches("i:")).unwrap();
    let chunk = || stage.node.run(run_chunk(store, &stage.node.service.active_bindings, job)).unwrap();

    // The first group is taken out, and the walk has met the first of its people: they are still in the other group.
    chunk();
    assert_eq!(keys("dg:"), [format!("dg:{first}")]);
    let page_of = |group: &str| stage.node.run(store.fan_out_page(group_id(group))).unwrap();
    // The people are counted, the group hands its request on, and is done.
    (0..3).for_each(|_| drop(page_of(&first)));
    assert_eq!(keys("dg:"), [format!("dg:{team}")]);
    assert_eq!(page_of(&team).users.len(), 48);
    for prefix in ["d:", "dl:"] {
        let delete = |key| TableWrite::Delete { key, condition: EtagMatch::Any };
        let of_team = |key: &String| stage.people[40..].iter().any(|person| key.ends_with(&person.id));
        let seen: Vec<TableWrite> = keys(prefix).into_iter().filter(of_team).map(delete).collect();
        write(&stage.world, &stage.node, &seen);
    }
    while !chunk().done {}
    (0..3).for_each(|_| drop(page_of(&last)));
    stage.assert_converged("both groups are out");
    for person in &stage.people[40..] {
        stage.world.assert_holds_nothing(person);
    }
}
