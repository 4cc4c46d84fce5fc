//! Bulk requests in the use cases: what a cut leaves, and the deadline.

use super::{Process, caller, process, two_processes};
use crate::support::clock::ManualClock;
use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::START;
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::scim::{BulkRequest, ResourceType};
use azure_backup_scim::service::provisioning::OperationResult;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A group, two people in it, one of whom reports to the other, a second group around it, and a rename.
fn request() -> BulkRequest {
    let manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let post = |path: &str, id: &str, data: Value| json!({"method": "POST", "path": path, "bulkId": id, "data": data});
    let refs =
        |ids: &[&str]| ids.iter().map(|id| json!({"value": format!("bulkId:{id}")})).collect::<Vec<_>>();
    let rename = json!({"Operations": [{"op": "replace", "path": "title", "value": "Lead"}]});
    let operations = json!([
        post("/Groups", "outer", json!({"displayName": "outer", "members": refs(&["inner"])})),
        post("/Groups", "inner", json!({"displayName": "inner", "members": refs(&["ana", "ben"])})),
        post("/Users", "ana", json!({"userName": "ana", manager: {"manager": {"value": "bulkId:ben"}}})),
        post("/Users", "ben", json!({"userName": "ben"})),
        {"method": "PATCH", "path": "/Users/bulkId:ben", "data": rename},
    ]);
    BulkRequest::parse(json!({"Operations": operations})).unwrap()
}

fn status(result: &OperationResult) -> u16 {
    match &result.outcome {
        Ok(status) => *status,
        Err(error) => error.scim_error().map_or(503, |error| error.status),
    }
}

/// Everyone by name, with their ids.
async fn everyone(p: &Process, kind: ResourceType) -> BTreeMap<String, Value> {
    let (page, name) = match kind {
        ResourceType::User => (p.users(&[]).await, "userName"),
        ResourceType::Group => (p.groups(&[]).await, "displayName"),
    };
    page.resources.into_iter().map(|one| (one[name].as_str().unwrap().to_owned(), one)).collect()
}

/// What is there is whole, and refers to nothing that is not there.
async fn assert_whole(p: &Process) {
    let users = everyone(p, ResourceType::User).await;
    let groups = everyone(p, ResourceType::Group).await;
    let ids: BTreeSet<&str> =
        users.values().chain(groups.values()).map(|one| one["id"].as_str().unwrap()).collect();
    for (name, expected) in [("inner", 2), ("outer", 1)] {
        let Some(group) = groups.get(name) else { continue };
        let members = group["members"].as_array().unwrap();
        assert_eq!(members.len(), expected, "{group}");
        assert!(members.iter().all(|member| ids.contains(member["value"].as_str().unwrap())), "{group}");
    }
    if let Some(ana) = users.get("ana") {
        let manager = &ana["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]["manager"]["value"];
        assert_eq!(manager, &users["ben"]["id"], "{ana}");
    }
    assert_eq!(p.keys("un:").await.len(), users.len());
    assert_eq!(p.keys("gn:").await.len(), groups.len());
}

/// Before and after each transaction of a bulk request the process ends; another one finds whole operations, and is sent the same
/// request.
#[tokio::test]
async fn what_a_cut_leaves_is_whole_and_the_request_can_be_sent_again() {
    let mut cuts = 0;
    for side in [Side::Before, Side::After] {
        for nth in 1.. {
            let (one, two) = two_processes();
            let stuck = one.faults.crash(When::transact().nth(nth), side);
            let service = one.service.clone();
            let mut running = tokio::spawn(async move { service.run_bulk(&caller(), request()).await });
            let is_over = tokio::select! {
                () = stuck.reached() => false,
                _ = &mut running => true,
            };
            running.abort();
            if is_over {
                assert_eq!(nth, 6, "every operation is one transaction");
                break;
            }
            cuts += 1;
            assert_whole(&two).await;
            let again = two.service.run_bulk(&caller(), request()).await;
            assert!(again.iter().all(|result| [200, 201, 409].contains(&status(result))), "{again:?}");
            assert_whole(&two).await;
        }
    }
    assert_eq!(cuts, 10);
}

#[tokio::test]
async fn an_operation_whose_answer_was_lost_happens_once() {
    let p = process();
    for nth in [1, 3, 5] {
        p.faults.inject(When::transact().nth(nth), Fault::AnswerLost);
    }
    let results = p.service.run_bulk(&caller(), request()).await;
    assert_eq!(results.iter().map(status).collect::<Vec<_>>(), [201, 201, 201, 201, 200]);
    assert_whole(&p).await;
    assert_eq!((everyone(&p, ResourceType::User).await.len(), p.keys("m:").await.len()), (2, 3));
}

/// Storage that is away fails the operations that meet it, and those that refer to them.
#[tokio::test]
async fn an_operation_that_storage_refuses_fails_alone() {
    let p = process();
    let busy = Fault::Throttled { retry_after: Duration::from_secs(1) };
    // Ben, whom the others refer to.
    p.faults.inject(When::transact(), busy);
    let results = p.service.run_bulk(&caller(), request()).await;
    assert_eq!(results.iter().map(status).collect::<Vec<_>>(), [409, 409, 409, 503, 409]);
    assert_eq!(p.users(&[]).await.total, 0);
}

/// One operation takes so long that the time of the request is over: it ends, and the others are not begun.
#[tokio::test]
async fn operations_that_were_not_begun_in_time_are_503() {
    let manual = ManualClock::at(START);
    let clock: Arc<dyn Clock> = Arc::new(manual.clone());
    let p = Process::on(&TableEngine::memory(clock.clone()), &clock);
    let users = |names: &[&str]| {
        let post = |name: &&str| json!({"method": "POST", "path": "/Users", "bulkId": name, "data": {"userName": name}});
        let operations: Vec<Value> = names.iter().map(post).collect();
        BulkRequest::parse(json!({"Operations": operations})).unwrap()
    };
    let sender = caller();
    let slow = p.faults.hold(When::transact().nth(2), Side::Before);
    let (results, ()) =
        tokio::join!(p.service.run_bulk(&sender, users(&["ana", "ben", "cleo", "dan"])), async {
            slow.reached().await;
            manual.advance(Duration::from_secs(20));
            slow.release();
        });
    assert_eq!(results.iter().map(status).collect::<Vec<_>>(), [201, 201, 503, 503]);
    assert_eq!(p.users(&[]).await.total, 2);
    let again = p.service.run_bulk(&caller(), users(&["cleo", "dan"])).await;
    assert_eq!(again.iter().map(status).collect::<Vec<_>>(), [201, 201]);
}

/// Two who refer to each other, of whom one cannot be created, and a third who is joined by neither.
#[tokio::test]
async fn of_a_circle_that_is_not_whole_the_results_say_so() {
    let p = process();
    p.create_group(json!({"displayName": "taken"})).await.unwrap();
    let group = |id: &str, name: &str, member: &str| {
        let data = json!({"displayName": name, "members": [{"value": format!("bulkId:{member}")}]});
        json!({"method": "POST", "path": "/Groups", "bulkId": id, "data": data})
    };
    let operations = json!([group("a", "first", "b"), group("b", "taken", "a"), group("c", "third", "a")]);
    let request = BulkRequest::parse(json!({"Operations": operations})).unwrap();
    let results = p.service.run_bulk(&caller(), request).await;
    assert_eq!(results.iter().map(status).collect::<Vec<_>>(), [409, 409, 201]);
    let groups = everyone(&p, ResourceType::Group).await;
    assert!(results[0].location.as_ref().unwrap().ends_with(groups["first"]["id"].as_str().unwrap()));
    assert_eq!(groups["first"]["members"], json!([]));
    assert_eq!(groups["third"]["members"][0]["value"], groups["first"]["id"]);
}

/// The answer to a request was lost, and it is sent again: the newcomer exists, and is still a member.
#[tokio::test]
async fn a_list_of_members_that_is_sent_again_removes_none_of_them() {
    for is_put in [true, false] {
        let p = process();
        let ids = [p.user("ana").await, p.user("leaver").await];
        let group = p.group("ops").await;
        p.patch(&group, json!([{"op": "add", "path": "members", "value": [{"value": ids[0]}]}]))
            .await
            .unwrap();
        let request = || {
            let members = json!([{"value": ids[0]}, {"value": "bulkId:new"}]);
            let change = match is_put {
                true => json!({"method": "PUT", "path": format!("/Groups/{group}"),
                    "data": {"displayName": "ops", "members": members}}),
                false => json!({"method": "PATCH", "path": format!("/Groups/{group}"),
                    "data": {"Operations": [{"op": "replace", "path": "members", "value": members}]}}),
            };
            let new =
                json!({"method": "POST", "path": "/Users", "bulkId": "new", "data": {"userName": "new"}});
            BulkRequest::parse(json!({"Operations": [new, change]})).unwrap()
        };
        let first = p.service.run_bulk(&caller(), request()).await;
        assert_eq!(first.iter().map(status).collect::<Vec<_>>(), [201, 200], "{first:?}");
        let members = p.members(&group).await;
        assert_eq!(members.len(), 2);

        let again = p.service.run_bulk(&caller(), request()).await;
        assert_eq!(again.iter().map(status).collect::<Vec<_>>(), [409, 409], "{again:?}");
        assert_eq!(p.members(&group).await, members, "put {is_put}");

        // Who is not in the list leaves all the same.
        p.patch(&group, json!([{"op": "add", "path": "members", "value": [{"value": ids[1]}]}]))
            .await
            .unwrap();
        let again = p.service.run_bulk(&caller(), request()).await;
        assert_eq!(again.iter().map(status).collect::<Vec<_>>(), [409, 200], "{again:?}");
        assert_eq!(p.members(&group).await, members, "put {is_put}");
    }
}

/// Whatever an operation failed of when it is sent again, what it was to create exists, and stays a member.
#[tokio::test]
async fn whoever_is_named_by_a_failed_operation_stays_a_member_when_the_request_is_sent_again() {
    let manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let post = |path: &str, id: &str, data: Value| json!({"method": "POST", "path": path, "bulkId": id, "data": data});
    let ana = || post("/Users", "a", json!({"userName": "a"}));
    let list = |x: &str, id: &str| json!([{"value": x}, {"value": format!("bulkId:{id}")}]);
    let replace = |members: Value| json!([{"op": "replace", "path": "members", "value": members}]);
    type Made<'a> = Box<dyn Fn(&str) -> (Vec<Value>, Value) + 'a>;
    let made: [Made<'_>; 3] = [
        // The group fails because the person in it does.
        Box::new(|x| {
            let inner = json!({"displayName": "in", "members": [{"value": "bulkId:a"}]});
            (vec![ana(), post("/Groups", "in", inner)], replace(list(x, "in")))
        }),
        // So does a person whose manager exists.
        Box::new(|x| {
            let new = json!({"userName": "new", manager: {"manager": {"value": "bulkId:a"}}});
            (vec![ana(), post("/Users", "new", new)], replace(list(x, "new")))
        }),
        Box::new(|x| {
            let all = json!([
                {"op": "remove", "path": "members"},
                {"op": "add", "path": "members", "value": list(x, "a")},
            ]);
            (vec![ana()], all)
        }),
    ];
    for (n, made) in made.iter().enumerate() {
        let p = process();
        let x = p.user("x").await;
        let group = p.group("ops").await;
        let (mut operations, change) = made(&x);
        operations.push(json!({
            "method": "PATCH", "path": format!("/Groups/{group}"), "data": {"Operations": change},
        }));
        let request = BulkRequest::parse(json!({"Operations": operations})).unwrap();
        p.service.run_bulk(&caller(), request.clone()).await;
        let members = p.members(&group).await;
        assert_eq!(members.len(), 2, "{n}");
        let again = p.service.run_bulk(&caller(), request).await;
        assert_eq!(status(&again[0]), 409, "{n}: {again:?}");
        assert_eq!(p.members(&group).await, members, "{n}");
    }
}

/// What a request takes out again after it named it as a member, it takes out when it is sent again as well.
#[tokio::test]
async fn who_is_named_and_taken_out_again_leaves() {
    let p = process();
    let (x, new) = (p.user("x").await, p.user("new").await);
    let group = p.group("ops").await;
    let both = json!([{"value": x}, {"value": new}]);
    p.patch(&group, json!([{"op": "add", "path": "members", "value": both}])).await.unwrap();
    let change = json!([
        {"op": "replace", "path": "members", "value": [{"value": x}, {"value": "bulkId:new"}]},
        {"op": "remove", "path": "members[value eq \"bulkId:new\"]"},
    ]);
    let request = BulkRequest::parse(json!({"Operations": [
        {"method": "POST", "path": "/Users", "bulkId": "new", "data": {"userName": "new"}},
        {"method": "PATCH", "path": format!("/Groups/{group}"), "data": {"Operations": change}},
    ]}))
    .unwrap();
    p.service.run_bulk(&caller(), request).await;
    assert_eq!(p.members(&group).await.len(), 1);
}

/// Whether the newcomer is a member cannot be known: who is not named stays, until it can.
#[tokio::test]
async fn a_list_is_not_carried_out_while_it_is_not_known_who_is_in_it() {
    let p = process();
    let ids = [p.user("ana").await, p.user("new").await];
    let group = p.group("ops").await;
    let both = json!([{"value": ids[0]}, {"value": ids[1]}]);
    p.patch(&group, json!([{"op": "add", "path": "members", "value": both}])).await.unwrap();
    let request = || {
        let change = json!([{"op": "replace", "path": "members", "value": [{"value": "bulkId:new"}]}]);
        BulkRequest::parse(json!({"Operations": [
            {"method": "POST", "path": "/Users", "bulkId": "new", "data": {"userName": "new"}},
            {"method": "PATCH", "path": format!("/Groups/{group}"), "data": {"Operations": change}},
        ]}))
        .unwrap()
    };
    let members = p.members(&group).await;
    p.faults.inject(When::get().key("un:").always(), Fault::RequestLost);
    let results = p.service.run_bulk(&caller(), request()).await;
    assert_eq!(results.iter().map(status).collect::<Vec<_>>(), [503, 503], "{results:?}");
    p.faults.clear();
    assert_eq!(p.members(&group).await, members);
    let results = p.service.run_bulk(&caller(), request()).await;
    assert_eq!(results.iter().map(status).collect::<Vec<_>>(), [409, 200], "{results:?}");
    assert_eq!(p.members(&group).await.len(), 1);
}
