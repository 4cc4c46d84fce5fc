//! Conditions on versions in the use cases: who wins where several name one version, and what is read for it.

use super::{GUID, Process, caller, people, process, refs, shown, status, two_processes, without};
use crate::support::fault_injection::{Fault, Side, When};
use crate::support::requests::{group_id, group_input, group_patch, user_id, user_patch};
use azure_backup_scim::id::{GroupId, UserId};
use azure_backup_scim::ports::tables::{EtagMatch, PropertyValue, TableWrite};
use azure_backup_scim::scim::{Preconditions, Projection, ResourceType};
use azure_backup_scim::service::{RequestTarget, ResourceAnswer, ServiceError};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;

fn user_in(id: &str, if_match: &str) -> RequestTarget<UserId> {
    RequestTarget { id: user_id(id), preconditions: Preconditions::parse(Some(if_match), None).unwrap() }
}

fn group_in(id: &str, if_match: &str) -> RequestTarget<GroupId> {
    RequestTarget { id: group_id(id), preconditions: Preconditions::parse(Some(if_match), None).unwrap() }
}

async fn retitle(p: &Process, target: RequestTarget<UserId>, title: &str) -> Result<String, ServiceError> {
    let body = json!({"Operations": [{"op": "replace", "path": "title", "value": title}]});
    let bare = without(ResourceType::User, "groups");
    let patch = user_patch(&body).unwrap();
    p.service.patch_user(&caller(), target, &patch, &bare).await.map(|user| user.version)
}

async fn add(p: &Process, target: RequestTarget<GroupId>, users: &[String]) -> Result<(), ServiceError> {
    let body = json!({"Operations": [{"op": "add", "path": "members", "value": refs(users)}]});
    let bare = without(ResourceType::Group, "members");
    p.service.patch_group(&caller(), target, &group_patch(&body).unwrap(), &bare).await.map(drop)
}

/// How many of these were carried out; the others were told that the version is another.
#[track_caller]
fn won<T>(answers: &[Result<T, ServiceError>]) -> usize {
    for answer in answers {
        if let Err(error) = answer {
            assert_eq!(error.scim_error().map(|error| error.status), Some(412), "{error:?}");
        }
    }
    answers.iter().filter(|answer| answer.is_ok()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_with_one_version_exactly_one_wins() {
    let (one, two) = two_processes();
    let ids = people(&one, 8).await;
    let group = one.group("ops").await;
    for writers in [2, 4] {
        for round in 0..20 {
            let version = one.get_user(&ids[0]).await.unwrap().version;
            let processes = [&one, &two, &one, &two];
            let titles: Vec<String> =
                (0..writers).map(|writer| format!("{writers} {round} {writer}")).collect();
            let writes = titles
                .iter()
                .zip(processes)
                .map(|(title, process)| retitle(process, user_in(&ids[0], &version), title));
            let answers = join_all(writes).await;
            assert_eq!(won(&answers), 1, "{answers:?}");
            let winner = answers.iter().position(Result::is_ok).unwrap();
            let now = two.get_user(&ids[0]).await.unwrap();
            assert_eq!(
                (&now.body["title"], &now.version),
                (&json!(titles[winner]), answers[winner].as_ref().unwrap())
            );

            one.patch(&group, json!([{"op": "remove", "path": "members"}])).await.unwrap();
            let version = one.get_group(&group).await.unwrap().version;
            let adds = (0..writers).zip(processes).map(|(writer, process)| {
                let (group, version) = (&group, &version);
                let coming = &ids[writer + 1..writer + 2];
                async move { add(process, group_in(group, version), coming).await }
            });
            let answers = join_all(adds).await;
            assert_eq!(won(&answers), 1, "{answers:?}");
            let winner = answers.iter().position(Result::is_ok).unwrap();
            assert_eq!(two.members(&group).await, BTreeSet::from([ids[winner + 1].clone()]));
        }
    }
}

/// The commit of the first writer meets that of the second, and reads again.
#[tokio::test]
async fn a_retry_after_a_conflict_is_judged_by_the_version_that_it_reads() {
    let (one, two) = two_processes();
    let id = one.user("ana").await;
    let version = one.get_user(&id).await.unwrap().version;
    let held = one.faults.hold(When::transact(), Side::Before);
    let (late, quick) = tokio::join!(retitle(&one, user_in(&id, &version), "late"), async {
        held.reached().await;
        let quick = retitle(&two, user_in(&id, &version), "quick").await;
        held.release();
        quick
    });
    assert_eq!((status(late), quick.is_ok()), (412, true));
    assert_eq!(two.get_user(&id).await.unwrap().body["title"], "quick");

    // What moves no version is no conflict that a client hears of.
    let version = one.get_user(&id).await.unwrap().version;
    let held = one.faults.hold(When::transact(), Side::Before);
    let (late, ()) = tokio::join!(retitle(&one, user_in(&id, &version), "at last"), async {
        held.reached().await;
        let row = two.store.header(user_id(&id)).await.unwrap().unwrap();
        let same =
            TableWrite::Merge { key: row.key, properties: Default::default(), condition: EtagMatch::Any };
        two.store.transact_unjournaled(&[same]).await.unwrap();
        held.release();
    });
    assert!(late.is_ok(), "{late:?}");
    assert_eq!(two.get_user(&id).await.unwrap().body["title"], "at last");
}

/// The answer to the commit is lost: the journal says that it was this request's own.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_no_other_version() {
    let p = process();
    let id = p.user("ana").await;
    let version = p.get_user(&id).await.unwrap().version;
    p.faults.inject(When::transact(), Fault::AnswerLost);
    assert!(retitle(&p, user_in(&id, &version), "x").await.is_ok());
    assert_eq!(p.get_user(&id).await.unwrap().body["title"], "x");
    assert_eq!(status(retitle(&p, user_in(&id, &version), "y").await), 412);
}

#[tokio::test]
async fn a_change_by_a_job_is_one_version_and_its_end_none() {
    let (one, two) = two_processes();
    let ids = people(&one, 60).await;
    let group = one.group("ops").await;
    let version = one.get_group(&group).await.unwrap().version;
    // The process ends after its commit: the header carries the job.
    let stuck = one.faults.crash(When::transact().nth(2), Side::Before);
    let service = one.service.clone();
    let (target, body) =
        (group_in(&group, &version), json!({"displayName": "ops", "members": refs(&ids[..50])}));
    let put = tokio::spawn(async move {
        let all = Projection::all(ResourceType::Group);
        service.replace_group(&caller(), target, &group_input(&body), &all).await
    });
    stuck.reached().await;
    put.abort();
    let under_way = two.get_group(&group).await.unwrap();
    assert_ne!(under_way.version, version);
    assert_eq!(two.members(&group).await.len(), 50);
    let header = two.store.resource(group_id(&group)).await.unwrap().unwrap();
    assert!(header.job.is_some());

    assert_eq!(status(add(&two, group_in(&group, &version), &ids[50..51]).await), 412);
    let writes = (50..54).map(|n| add(&two, group_in(&group, &under_way.version), &ids[n..n + 1]));
    let answers = join_all(writes).await;
    assert_eq!(won(&answers), 1, "{answers:?}");
    assert_eq!(two.members(&group).await.len(), 51);
}

/// Someone who was deleted before the job came to them is shown until then: the version moves with them.
#[tokio::test]
async fn a_member_whom_a_job_drops_moves_the_version() {
    let (one, two) = two_processes();
    let ids = people(&one, 40).await;
    let group = one.group("ops").await;
    let stuck = one.faults.crash(When::transact().nth(2), Side::Before);
    let service = one.service.clone();
    let (target, body) = (group_id(&group), json!({"displayName": "ops", "members": refs(&ids)}));
    let put = tokio::spawn(async move {
        let all = Projection::all(ResourceType::Group);
        service.replace_group(&caller(), target, &group_input(&body), &all).await
    });
    stuck.reached().await;
    put.abort();
    two.service.delete_user(&caller(), user_id(&ids[7])).await.unwrap();
    let before = two.get_group(&group).await.unwrap();
    two.roll_everything().await;
    let after = two.get_group(&group).await.unwrap();
    assert_ne!(before.body["members"], after.body["members"]);
    assert_ne!(before.version, after.version);
    assert_eq!(two.members(&group).await.len(), 39);
}

#[tokio::test]
async fn a_condition_costs_no_request_and_a_known_group_is_not_read() {
    let p = process();
    let ids = people(&p, 30).await;
    let group = p.group("ops").await;
    p.add_quietly(&group, &ids[..20]).await;
    let version = p.get_group(&group).await.unwrap().version;
    let read = |if_none_match: &str| RequestTarget {
        id: group_id(&group),
        preconditions: Preconditions::parse(None, Some(if_none_match)).unwrap(),
    };
    let all = Projection::all(ResourceType::Group);
    let (depth, answer) = p.depth(p.service.get_group(read(&version), &all)).await;
    assert_eq!((depth, p.faults.counts().requests), (1, 1));
    assert!(matches!(answer.unwrap(), ResourceAnswer::VersionOnly(known) if known == version));
    let (plain, _) = p.depth(p.service.get_group(group_id(&group), &all)).await;
    let (conditional, answer) = p.depth(p.service.get_group(read("\"0\""), &all)).await;
    assert_eq!((conditional, shown(answer.unwrap()).version), (plain, version.clone()));

    let (plain, _) = p.depth(add(&p, group_id(&group).into(), &ids[20..21])).await;
    let plain = (plain, p.faults.counts().requests);
    let version = p.get_group(&group).await.unwrap().version;
    let (conditional, added) = p.depth(add(&p, group_in(&group, &version), &ids[21..22])).await;
    assert_eq!((conditional, p.faults.counts().requests), plain);
    added.unwrap();
    let (refused, answer) = p.depth(add(&p, group_in(&group, &version), &ids[22..23])).await;
    assert_eq!((refused, status(answer)), (1, 412));
}

#[tokio::test]
async fn a_delete_in_another_version_takes_nothing_away() {
    let p = process();
    let id = p.user("ana").await;
    let version = p.get_user(&id).await.unwrap().version;
    p.set_user(&id, "title", json!("x")).await.unwrap();
    let before = p.everything().await;
    assert_eq!(status(p.service.delete_user(&caller(), user_in(&id, &version)).await), 412);
    assert_eq!(status(p.service.delete_user(&caller(), user_in(GUID, "*")).await), 412);
    assert_eq!(status(p.service.delete_user(&caller(), user_in(GUID, &version)).await), 404);
    assert_eq!(p.everything().await, before);
    let version = p.get_user(&id).await.unwrap().version;
    p.service.delete_user(&caller(), user_in(&id, &version)).await.unwrap();
    assert_eq!(status(p.get_user(&id).await), 404);
}

/// A header whose document cannot be read still has a version.
#[tokio::test]
async fn a_damaged_resource_is_deleted_in_its_version() {
    let p = process();
    let id = p.user("ana").await;
    let group = p.group("ops").await;
    p.add(&group, std::slice::from_ref(&id)).await.unwrap();
    let version = p.get_user(&id).await.unwrap().version;
    let key = format!("u:{id}");
    let broken = [("doc0".to_owned(), PropertyValue::Binary(b"{".to_vec()))];
    let properties = broken.into_iter().collect();
    let damage = TableWrite::Merge { key, properties, condition: EtagMatch::Any };
    p.store.transact_unjournaled(&[damage]).await.unwrap();
    assert_eq!(status(p.service.delete_user(&caller(), user_in(&id, "W/\"1\"")).await), 412);
    p.service.delete_user(&caller(), user_in(&id, &version)).await.unwrap();
}

/// One of two who remove the same member with one version finds that it is done, and is told that the version is another.
#[tokio::test]
async fn what_another_request_has_done_already_is_no_success_under_an_old_version() {
    let (one, two) = two_processes();
    let ids = people(&one, 1).await;
    let group = one.group("ops").await;
    add(&one, group_in(&group, &one.get_group(&group).await.unwrap().version), &ids).await.unwrap();
    let version = one.get_group(&group).await.unwrap().version;
    let remove = |p: &Process| {
        let target = group_in(&group, &version);
        let (service, ids) = (p.service.clone(), ids.clone());
        async move {
            let body = json!({"Operations": [{"op": "remove", "path": "members", "value": refs(&ids)}]});
            let bare = without(ResourceType::Group, "members");
            service.patch_group(&caller(), target, &group_patch(&body).unwrap(), &bare).await.map(drop)
        }
    };
    // The header was read, and the rows of the member are read once the other one has removed it.
    let held = ["m:", "ug:"].map(|rows| two.faults.hold(When::get().key(rows), Side::Before));
    let (late, quick) = tokio::join!(remove(&two), async {
        for point in &held {
            point.reached().await;
        }
        let quick = remove(&one).await;
        for point in &held {
            point.release();
        }
        quick
    });
    assert!(quick.is_ok(), "{quick:?}");
    assert_eq!(late.unwrap_err().scim_error().map(|error| error.status), Some(412));
}
