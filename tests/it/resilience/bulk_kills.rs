//! `local` is killed in the middle of a bulk request, at twenty points: each operation is whole or absent, nothing refers to what
//! does not exist, and sending the request again harms no one.

use crate::support::idp::Idp;
use crate::support::local_process::LocalProcess;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use uuid::Uuid;

const POINTS: usize = 20;
const USERS: usize = 24;
const GROUPS: usize = 6;
/// The operations that leave one audit record each, and so the records of a request that nothing cuts.
const RECORDS: usize = USERS + GROUPS + 1;
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Groups first, then a group of groups, then their people backwards: all of them refer to what comes later.
fn bulk(point: usize) -> Value {
    let mut operations = Vec::new();
    let post = |path: &str, bulk_id: String, data: Value| json!({"method": "POST", "path": path, "bulkId": bulk_id, "data": data});
    for group in 0..GROUPS {
        let members: Vec<Value> =
            members_of(group).map(|user| json!({"value": format!("bulkId:u{user}")})).collect();
        let name = format!("p{point}-g{group}");
        operations.push(post(
            "/Groups",
            format!("g{group}"),
            json!({"displayName": name, "members": members}),
        ));
    }
    let inner: Vec<Value> = (0..GROUPS).map(|group| json!({"value": format!("bulkId:g{group}")})).collect();
    let outer = json!({"displayName": format!("p{point}-outer"), "members": inner});
    operations.push(post("/Groups", "outer".to_owned(), outer));
    for user in (0..USERS).rev() {
        let mut data = json!({"userName": format!("p{point}-u{user}"), "externalId": Uuid::new_v4()});
        if user > 0 {
            data[ENTERPRISE] = json!({"manager": {"value": format!("bulkId:u{}", user - 1)}});
        }
        operations.push(post("/Users", format!("u{user}"), data));
    }
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations})
}

fn members_of(group: usize) -> impl Iterator<Item = usize> {
    (0..USERS).filter(move |user| user % GROUPS == group)
}

/// The audit records of requests since the service was made.
async fn records(client: &Client, control_url: &str) -> usize {
    let url = format!("{control_url}/audit?count=1000");
    let mut after = String::new();
    let mut count = 0;
    loop {
        let page: Value =
            client.get(format!("{url}&after={after}")).send().await.unwrap().json().await.unwrap();
        let page = page["records"].as_array().unwrap();
        count += page
            .iter()
            .filter(|record| record["op"] == record["origin"] && record["cause"] == "request")
            .count();
        match page.last() {
            Some(last) if page.len() == 1000 => after = last["op"].as_str().unwrap().to_owned(),
            _ => return count,
        }
    }
}

/// What there is of one request: members by the name of the group, managers by the name of the user.
#[derive(Debug, Default, PartialEq)]
struct Left {
    users: BTreeSet<String>,
    members: BTreeMap<String, BTreeSet<String>>,
    managers: BTreeMap<String, String>,
}

async fn left(idp: &Idp, point: usize) -> Left {
    let prefix = format!("p{point}-");
    let filter = |name: &str| format!("{name}%20sw%20%22{prefix}%22&count=200");
    let users = idp.get(&format!("/Users?filter={}", filter("userName"))).await.body;
    let groups = idp.get(&format!("/Groups?filter={}", filter("displayName"))).await.body;
    let list = |answer: &Value| answer["Resources"].as_array().cloned().unwrap_or_default();
    let (users, groups) = (list(&users), list(&groups));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let user_names = users.iter().map(|user| (text(&user["id"]), text(&user["userName"])));
    let group_names = groups.iter().map(|group| (text(&group["id"]), text(&group["displayName"])));
    let names: BTreeMap<String, String> = user_names.chain(group_names).collect();
    let name =
        |id: &Value| names.get(id.as_str().unwrap()).expect("a reference to something that is there").clone();
    let mut left = Left::default();
    for user in &users {
        left.users.insert(text(&user["userName"]));
        if let Some(manager) = user[ENTERPRISE].get("manager") {
            left.managers.insert(text(&user["userName"]), name(&manager["value"]));
        }
    }
    for group in &groups {
        let members = group["members"].as_array().into_iter().flatten().map(|member| name(&member["value"]));
        left.members.insert(text(&group["displayName"]), members.collect());
    }
    left
}

/// Each operation is whole: what it creates has everything that it names.
fn assert_whole(left: &Left, point: usize) {
    for user in &left.users {
        let number: usize = user.rsplit_once("-u").unwrap().1.parse().unwrap();
        let manager = number.checked_sub(1).map(|manager| format!("p{point}-u{manager}"));
        assert_eq!(left.managers.get(user), manager.as_ref(), "point {point}: {left:?}");
    }
    for (group, members) in &left.members {
        let expected: BTreeSet<String> = match group.rsplit_once("-g") {
            Some((_, number)) => {
                members_of(number.parse().unwrap()).map(|user| format!("p{point}-u{user}")).collect()
            }
            None => (0..GROUPS).map(|group| format!("p{point}-g{group}")).collect(),
        };
        assert_eq!(*members, expected, "point {point}, {group}");
    }
}

#[actix_web::test]
async fn a_process_that_is_killed_in_a_bulk_request_leaves_whole_operations() {
    let state = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut local = LocalProcess::start_at(address, state.path());
    // A provider that an earlier test installed serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let mut cut = 0;
    for point in 0..POINTS {
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        let before = records(&client, &local.ready.control_url).await;
        let body = bulk(point);
        let sent = tokio::spawn(async move { idp.send(Method::POST, "/Bulk", Some(&body)).await });
        let enough = before + 1 + point * (RECORDS - 2) / (POINTS - 1);
        while records(&client, &local.ready.control_url).await < enough && !sent.is_finished() {}
        local.kill();
        let answered = sent.await.unwrap().is_ok();
        local = local.restart();

        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        let found = left(&idp, point).await;
        cut += usize::from(!answered && found.users.len() + found.members.len() < RECORDS);
        assert_whole(&found, point);
        let again = idp.post("/Bulk", bulk(point)).await;
        assert_eq!(again.status, 200, "{again:?}");
        let after = left(&idp, point).await;
        // What is there refuses the operation that would make it once more, and so those that refer to that.
        assert_whole(&after, point);
        assert!(after.users.is_superset(&found.users), "point {point}");
        assert!(found.members.keys().all(|group| after.members.contains_key(group)), "point {point}");
    }
    assert!(cut >= POINTS / 2, "only {cut} of {POINTS} kills met a request that was under way");
}
