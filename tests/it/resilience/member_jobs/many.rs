//! What one request does to many rows beside a change of members: the delete of a user in many groups, and a large group that
//! comes into another one or leaves it. The ticks that follow are killed as well.

use super::{Asked, Stage, all, killed_at, killed_in, none, people_of_a_case, send};
use crate::support::fault_injection::{Side, When};
use crate::support::harness::{caller, member_ids};
use crate::support::requests::{group_id, user_id};
use azure_backup_scim::audit::{ChangeCause, ChangeOrigin};
use azure_backup_scim::store::reconcile_queue::{ReconcileRequest, enqueue_group};
use futures_util::future::BoxFuture;
use serde_json::json;
use std::collections::BTreeSet;

/// Calls of one case at which the process dies, where not at all of them.
const POINTS: usize = 8;
/// Ticks that follow a request: requests of groups, of people, and what waits for them.
const TICKS: usize = 3;

/// What the service does.
type Doing = BoxFuture<'static, ()>;

/// The service does this, and then its ticks.
fn with_ticks(stage: &Stage, doing: impl Future<Output = ()> + Send + 'static) -> Doing {
    let tick = stage.node.service.tick.clone();
    Box::pin(async move {
        doing.await;
        for _ in 0..TICKS {
            // Where the tables are gone, the process is.
            let _ = tick.run().await;
        }
    })
}

/// Kills the process at its calls on the way. `check` is asked before anything converges, and afterwards.
fn killed_anywhere(
    name: &str,
    stage: &dyn Fn() -> Stage,
    doing: &dyn Fn(&Stage) -> Doing,
    check: &dyn Fn(&Stage, &str) -> bool,
) {
    let whole = stage();
    whole.world.faults.reset();
    whole.node.run(doing(&whole));
    let crashes = whole.world.faults.counts().spread_crashes(POINTS);
    assert!(check(&whole, name), "{name}: it has not happened");
    whole.assert_converged(name);
    assert!(check(&whole, name), "{name}: it has not happened");
    for (call, when, side) in crashes {
        let what = format!("{name}, {call}");
        let stage = stage();
        let doing = doing(&stage);
        let stage = killed_in(stage, doing, when, side);
        let has_happened = check(&stage, &what);
        stage.assert_converged(&what);
        assert_eq!(check(&stage, &what), has_happened, "{what}");
    }
}

/// How many of the people hold the role.
fn holders(stage: &Stage) -> usize {
    stage.world.azure().assignments().len()
}

#[test]
fn the_delete_of_a_user_in_many_groups_is_whole_wherever_its_process_dies() {
    let groups = people_of_a_case();
    let stage = || {
        let stage = Stage::of(2, 2);
        for number in 0..groups {
            let group = stage.node.group(&format!("group {number}"));
            stage.node.join(&group, &stage.people.iter().collect::<Vec<_>>());
        }
        stage
    };
    let delete = |stage: &Stage| {
        let (provisioning, id) = (stage.node.service.provisioning.clone(), user_id(&stage.people[0].id));
        with_ticks(stage, async move { drop(provisioning.delete_user(&caller(), id).await) })
    };
    let check = |stage: &Stage, what: &str| {
        let is_gone = stage.rows("u:") == 1;
        // Members are read through the rows of the groups: of a deleted user none is left once everything is done.
        let is_member = stage.members().contains(&0);
        assert!(is_gone || is_member, "{what}: the user is there, and lost a group");
        if stage.rows("i:") == 0 {
            assert_eq!(stage.rows("m:"), (groups + 1) * if is_gone { 1 } else { 2 }, "{what}");
        }
        is_gone
    };
    killed_anywhere("the delete of a user", &stage, &delete, &check);
}

/// A group with people, which is in the bound group or not.
fn inner(is_nested: bool) -> (Stage, String) {
    let people = people_of_a_case();
    let stage = Stage::of(people, 0);
    let inner = stage.node.group("inner");
    for part in stage.people.chunks(24) {
        stage.node.join(&inner, &part.iter().collect::<Vec<_>>());
    }
    if is_nested {
        stage.node.nest(&stage.group, &inner);
    }
    (0..TICKS).for_each(|_| stage.node.settle());
    assert_eq!(holders(&stage), if is_nested { people } else { 0 });
    (stage, inner)
}

/// The id of the group in the stage that is not the bound one.
fn inner_of(stage: &Stage) -> String {
    let groups = stage.node.run(stage.node.service.store.rows("g:", 10)).unwrap();
    let ids = groups.iter().map(|row| row.key.trim_start_matches("g:").to_owned());
    ids.into_iter().find(|id| *id != stage.group).unwrap()
}

fn nests(op: &'static str) -> impl Fn(&Stage) -> Doing {
    move |stage| {
        let operation = Asked::Patch(member_ids(op, &[&inner_of(stage)]));
        let request = send(stage.node.service.provisioning.clone(), stage.group.clone(), operation);
        with_ticks(stage, async move { drop(request.await) })
    }
}

#[test]
fn a_large_group_comes_into_another_one_wherever_the_process_dies() {
    let check = |stage: &Stage, what: &str| {
        let is_nested = stage.node.members_of(&stage.group) == [inner_of(stage)];
        assert!(is_nested || holders(stage) == 0, "{what}: a role without a reason");
        is_nested
    };
    killed_anywhere("nesting", &|| inner(false).0, &nests("add"), &check);
}

#[test]
fn a_large_group_leaves_another_one_wherever_the_process_dies() {
    let check = |stage: &Stage, what: &str| {
        let has_left = stage.node.members_of(&stage.group).is_empty();
        assert!(has_left || holders(stage) == stage.people.len(), "{what}: a role was taken for no reason");
        has_left
    };
    killed_anywhere("un-nesting", &|| inner(true).0, &nests("remove"), &check);
}

/// `MEMBER_JOB_PEOPLE` members come and go, one kill after the other, in a group that gives nothing.
#[test]
#[ignore = "takes minutes with 10,000 members"]
fn a_group_of_any_size_has_all_members_or_none_wherever_the_process_dies() {
    let people = people_of_a_case();
    let mut stage = Stage::of(people, 0);
    stage.group = stage.node.group("plain");
    let asked = |stage: &Stage, full: bool| match full {
        false => stage.add(0, people),
        true => Asked::Patch(json!({"op": "remove", "path": "members"})),
    };
    let mut calls = [0, 0];
    for full in [false, true] {
        stage.world.faults.reset();
        stage.ask(asked(&stage, full)).unwrap();
        calls[usize::from(full)] = stage.world.faults.counts().requests;
        (0..TICKS).for_each(|_| stage.node.settle());
    }
    for point in 1..=20 {
        let before = stage.members();
        let full = !before.is_empty();
        let call = calls[usize::from(full)] * point / 21;
        let request = asked(&stage, full);
        stage = killed_at(stage, request, When::any().nth(call), Side::After);
        let read = stage.members();
        let after: BTreeSet<usize> = if full { none(people) } else { all(people) };
        assert!(read == before || read == after, "call {call}: {} members", read.len());
        for _ in 0..people / 100 + TICKS {
            stage.node.settle();
        }
        assert_eq!(stage.rows("i:"), 0, "call {call}: a job is left");
        assert_eq!(stage.members(), read, "call {call}");
        assert_eq!((stage.rows("m:"), stage.rows("ug:")), (read.len(), read.len()), "call {call}");
    }
}

/// What it takes to deactivate somebody of the group, in a process that does so at once, until the role is gone.
fn cost_of_a_leaver(stage: &Stage, leaver: usize) -> usize {
    let node = stage.world.start();
    // The process has read what it keeps.
    node.set_active(&stage.people[leaver - 1], false);
    stage.world.faults.reset();
    node.set_active(&stage.people[leaver], false);
    stage.world.assert_holds_nothing(&stage.people[leaver]);
    stage.world.faults.counts().requests
}

/// A change of the very group is under way, and a fan-out to its people: a leaver waits for neither, and costs no more.
#[test]
fn a_leaver_costs_the_same_while_the_group_changes() {
    let people = people_of_a_case();
    let calm = cost_of_a_leaver(&Stage::of(people, people / 2), 1);
    let stage = Stage::of(people, people / 2);
    let asked = stage.add(people / 2, people);
    let stage = killed_at(stage, asked, When::transact().nth(3), Side::Before);
    let op = stage.node.service.store.ids.op();
    let origin = ChangeOrigin { cause: ChangeCause::Request, actor: "entra".to_owned(), op };
    let fan_out = enqueue_group(group_id(&stage.group), &ReconcileRequest::taking_away(origin));
    stage.node.run(stage.node.service.store.transact_unjournaled(&[fan_out])).unwrap();
    assert_eq!((stage.rows("i:"), stage.rows("dg:")), (1, 1));
    assert_eq!(cost_of_a_leaver(&stage, 1), calm);
    assert_eq!((stage.rows("i:"), stage.rows("dg:")), (1, 1), "neither was needed");
    stage.assert_converged("after the leaver");
}
