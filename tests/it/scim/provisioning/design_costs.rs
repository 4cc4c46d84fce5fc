//! What operations cost, where no test of one feature says it: round trips that wait for one another, and what grows.

use super::*;
use crate::support::fault_injection::Counts;

/// Members of one transaction of a job.
const ADDED_AT_ONCE: usize = 24;
const REMOVED_AT_ONCE: usize = 19;
/// Members of one page of a walk.
const WALKED_AT_ONCE: usize = 48;

async fn cost<T>(p: &Process, work: impl Future<Output = Result<T, ServiceError>>) -> (Counts, T) {
    p.faults.reset();
    let given = work.await.unwrap();
    (p.faults.counts(), given)
}

/// Transactions until nothing is left of jobs and walks.
async fn transactions_of_the_rest(p: &Process) -> usize {
    p.faults.reset();
    p.roll_everything().await;
    for key in p.keys("dg:").await {
        while !p.store.fan_out_page(group_id(key.trim_start_matches("dg:"))).await.unwrap().is_done {}
    }
    p.faults.counts().transactions
}

async fn put_user(p: &Process, id: &str, title: &str, projection: &Projection) -> Counts {
    let body = json!({"userName": "ana", "title": title});
    cost(p, p.service.replace_user(&caller(), user_id(id), &user_input(&body), projection)).await.0
}

async fn groups_with(p: &Process, number: usize, member: &str) {
    for n in 0..number {
        let group = p.group(&format!("group {n} of {number}")).await;
        p.add_quietly(&group, &[member.to_owned()]).await;
    }
}

#[tokio::test]
async fn a_user_is_put_in_two_trips_and_shown_with_two_reads_for_each_group() {
    let p = process();
    let id = p.user("ana").await;
    let (bare, all) = (without(ResourceType::User, "groups"), Projection::all(ResourceType::User));
    assert_eq!(put_user(&p, &id, "Boss", &bare).await.depth, 2, "put");
    assert_eq!(put_user(&p, &id, "Boss", &bare).await.depth, 1, "put that changes nothing");
    groups_with(&p, 3, &id).await;
    assert_eq!(put_user(&p, &id, "Clerk", &all).await.depth, 4, "put and answer with groups");
    let few = cost(&p, p.get_user(&id)).await.0;
    groups_with(&p, 10, &id).await;
    let more = cost(&p, p.get_user(&id)).await.0;
    // The name, and beside it what the group is in.
    assert_eq!((few.depth, more.depth, more.requests - few.requests), (3, 3, 2 * 10), "{few:?} {more:?}");
}

#[tokio::test]
async fn a_look_up_is_one_trip_and_a_hit_one_more() {
    let p = process();
    let id = p.user("ana").await;
    let group = p.create_group(json!({"displayName": "ops", "externalId": "x1"})).await.unwrap().id;
    let by_id = |id: &str| format!("id eq \"{id}\"");
    for (filter, trips) in [(by_id(&id), 1), (by_id(GUID), 1), ("externalId eq \"x\"".to_owned(), 1)] {
        let query = [("filter", filter.as_str()), ("excludedAttributes", "groups")];
        let (depth, found) = p.depth(p.users(&query)).await;
        assert_eq!((depth, found.total), (trips, usize::from(filter.contains(&id))), "{filter}");
    }
    for (filter, trips, hits) in [
        ("displayName eq \"nobody\"", 1, 0),
        ("externalId eq \"nobody\"", 1, 0),
        ("displayName eq \"OPS\"", 2, 1),
        ("externalId eq \"x1\"", 2, 1),
        (by_id(&group).as_str(), 1, 1),
    ] {
        let query = [("filter", filter), ("excludedAttributes", "members")];
        let (depth, found) = p.depth(p.groups(&query)).await;
        assert_eq!((depth, found.total), (trips, hits), "{filter}");
    }
}

#[tokio::test]
async fn a_group_is_shown_with_one_trip_for_each_thousand_members() {
    let p = process();
    for (members, pages) in [(999, 1), (2_500, 3)] {
        let group = p.group(&format!("of {members}")).await;
        fill(&p, &group, members).await;
        let (counts, shown) = cost(&p, p.get_group(&group)).await;
        assert_eq!(shown.body["members"].as_array().unwrap().len(), members);
        assert_eq!((counts.depth, counts.requests), (2 + pages, 2 + pages), "{counts:?}");
    }
}

#[tokio::test]
async fn a_member_is_removed_in_three_trips_with_the_members_in_the_answer() {
    let p = process();
    let ids = people(&p, 5).await;
    let group = p.group("ops").await;
    p.add_quietly(&group, &ids).await;
    assert_eq!(cost(&p, p.remove(&group, &ids[..1])).await.0.depth, 3, "remove");
    assert_eq!(cost(&p, p.remove(&group, &ids[..1])).await.0.depth, 2, "the same, where nothing changes");
}

/// The commit, and as many transactions as it has parts; one more each that ends those who leave, and the job.
#[tokio::test]
async fn more_members_than_one_transaction_holds_cost_a_transaction_for_each_part() {
    let p = process();
    let ids = people(&p, 90).await;
    let group = p.group("ops").await;
    let added = cost(&p, p.add(&group, &ids)).await.0;
    let parts = ids.len().div_ceil(ADDED_AT_ONCE);
    assert_eq!(added.transactions, 1 + parts + 2, "{added:?}");
    let removed = cost(&p, p.remove(&group, &ids)).await.0;
    let parts = ids.len().div_ceil(REMOVED_AT_ONCE);
    assert_eq!(removed.transactions, 1 + parts + 2, "{removed:?}");

    let put = json!({"displayName": "ops", "members": refs(&ids[..30])});
    let all = Projection::all(ResourceType::Group);
    let replace = async |put: &Value| {
        p.service.replace_group(&caller(), group_id(&group), &group_input(put), &all).await
    };
    let few = cost(&p, replace(&put)).await.0;
    assert_eq!(few.transactions, 1 + 2 + 2, "{few:?}");
    let put = json!({"displayName": "ops", "members": refs(&ids[60..])});
    let other = cost(&p, replace(&put)).await.0;
    assert_eq!(other.transactions, 1 + 2 + 2 + 2, "{other:?}");
    assert_eq!(p.members(&group).await, ids[60..].iter().cloned().collect());
}

/// The record of the commit dates what the records of the parts name.
#[tokio::test]
async fn a_change_of_many_members_is_recorded_when_it_is_committed() {
    let p = process();
    let ids = people(&p, 30).await;
    let group = p.group("ops").await;
    p.add(&group, &ids).await.unwrap();
    let of_group = |record: &Value| record["changes"].to_string().contains(&group);
    let records: Vec<Value> = p.records().await.into_iter().filter(of_group).skip(1).collect();
    let changed = json!({"kind": "resource-changed", "type": "Group", "id": group, "revisionBefore": 1, "revisionAfter": 2, "attributes": ["members"]});
    assert_eq!(records[0]["changes"], json!([changed]));
    let parts = &records[1..];
    assert!(parts.iter().all(|record| record["origin"] == records[0]["op"]), "{parts:?}");
    let added = parts.iter().flat_map(|record| record["changes"].as_array().unwrap());
    assert_eq!(added.filter(|change| change["revision"] == 2).count(), 30);
}

#[tokio::test]
async fn a_delete_is_answered_in_two_trips_and_its_job_has_a_transaction_for_each_part() {
    let p = process();
    let ids = people(&p, 60).await;
    let group = p.group("ops").await;
    p.add(&group, &ids).await.unwrap();
    groups_with(&p, 40, &ids[0]).await;
    let counts = cost(&p, p.service.delete_user(&caller(), user_id(&ids[0]))).await.0;
    assert_eq!(counts.depth, 2, "delete a user");
    assert_eq!(transactions_of_the_rest(&p).await, 41_usize.div_ceil(REMOVED_AT_ONCE) + 1);
    let counts = cost(&p, p.service.delete_group(&caller(), group_id(&group))).await.0;
    assert_eq!(counts.depth, 2, "delete a group");
    // Its people are counted first, for the breakers.
    assert_eq!(transactions_of_the_rest(&p).await, 1 + 59_usize.div_ceil(REMOVED_AT_ONCE) + 1);
}

#[tokio::test]
async fn nesting_is_answered_in_two_trips_and_walked_a_page_at_a_time() {
    let p = process();
    let ids = people(&p, 100).await;
    let (ops, night) = (p.group("ops").await, p.group("night").await);
    p.add(&night, &ids).await.unwrap();
    for op in ["add", "remove"] {
        let body = json!({"Operations": [{"op": op, "path": "members", "value": [{"value": night}]}]});
        let bare = without(ResourceType::Group, "members");
        let patch = group_patch(&body).unwrap();
        let counts = cost(&p, p.service.patch_group(&caller(), group_id(&ops), &patch, &bare)).await.0;
        assert_eq!((counts.depth, counts.transactions), (2, 1), "{op}");
        // Those who lose something are counted first, for the breakers.
        let counting = usize::from(op == "remove");
        let pages = ids.len().div_ceil(WALKED_AT_ONCE);
        assert_eq!(transactions_of_the_rest(&p).await, counting + pages + 1, "{op}");
    }
}

/// What no member of those exists is found out by the commit, and costs nobody else anything.
#[tokio::test]
async fn a_member_who_does_not_exist_is_met_by_the_commit_and_dropped() {
    let p = process();
    let ids = people(&p, 2).await;
    let group = p.group("ops").await;
    let users_asked = |counts: &Counts| counts.gets;
    let known = cost(&p, p.add(&group, &ids[..1])).await.0;
    let (unknown, answer) = cost(&p, p.add(&group, &[ids[1].clone(), GUID.to_owned()])).await;
    assert_eq!(values(&answer.unwrap().body["members"]), ids.iter().cloned().collect());
    assert_eq!((known.transactions, unknown.transactions), (1, 2), "{known:?} {unknown:?}");
    assert_eq!(users_asked(&known), 2, "the group, and whether the member is one");
    // One who is deleted while his membership is still there leaves without him.
    p.service.delete_user(&caller(), user_id(&ids[0])).await.unwrap();
    p.remove(&group, &ids[..1]).await.unwrap();
    assert_eq!(p.members(&group).await, ids[1..].iter().cloned().collect());
    assert!(p.keys(&format!("ug:{}:", ids[0])).await.is_empty());
    p.roll_everything().await;
}
