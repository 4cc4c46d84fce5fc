//! Bulk requests over HTTP (RFC 7644 section 3.7): results, order, references, and what a mistake costs.

use crate::grants::over_http::Front;
use crate::scim::http_edge::TOKEN;
use crate::support::harness::{Person, VAULT_EAST, World};
use crate::support::idp::{Answer, Idp};
use azure_backup_scim::rbac::BackupRole::Operator;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::runtime::Runtime;

const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A service behind HTTP, whose group `operators` gives a role.
struct Stage {
    world: World,
    front: Front,
    idp: Idp,
    runtime: Runtime,
}

impl Stage {
    fn new() -> Self {
        let world = World::new().bind("operators", Operator, VAULT_EAST);
        let front = Front::of(world.start());
        let idp = Idp::new(&front.base_url(), TOKEN);
        Self { world, front, idp, runtime: Runtime::new().unwrap() }
    }

    fn send(&self, body: &Value) -> Answer {
        self.runtime.block_on(self.idp.send(Method::POST, "/Bulk", Some(body))).unwrap()
    }

    /// The results of these operations.
    #[track_caller]
    fn bulk(&self, operations: Value) -> Vec<Value> {
        let answer = self.send(&json!({"schemas": [BULK], "Operations": operations}));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]));
        answer.body["Operations"].as_array().unwrap().clone()
    }

    fn get(&self, path: &str) -> Answer {
        self.runtime.block_on(self.idp.get(path))
    }

    /// The resource that a result names.
    #[track_caller]
    fn shown(&self, result: &Value) -> Value {
        let location = result["location"].as_str().unwrap();
        let answer = self.get(location.split_once("/scim/v2").unwrap().1);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// Resources by name.
    fn total(&self, kind: &str) -> u64 {
        self.get(&format!("/{kind}?count=0")).body["totalResults"].as_u64().unwrap()
    }

    fn holder(&self, name: &str, group: &str) -> Person {
        let person = self.front.node.provision(name);
        self.front.node.join(group, &[&person]);
        self.world.assert_holds(&person, Operator, VAULT_EAST);
        person
    }
}

fn post(path: &str, bulk_id: &str, data: Value) -> Value {
    json!({"method": "POST", "path": path, "bulkId": bulk_id, "data": data})
}

fn user(bulk_id: &str) -> Value {
    post("/Users", bulk_id, json!({"userName": bulk_id}))
}

fn group(bulk_id: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|value| json!({"value": value})).collect();
    post("/Groups", bulk_id, json!({"displayName": bulk_id, "members": members}))
}

fn patch(path: &str, operations: Value) -> Value {
    json!({"method": "PATCH", "path": path, "data": {"Operations": operations}})
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().unwrap()).collect()
}

fn id(result: &Value) -> &str {
    result["location"].as_str().unwrap().rsplit('/').next().unwrap()
}

fn members(group: &Value) -> BTreeSet<&str> {
    group["members"].as_array().unwrap().iter().map(|member| member["value"].as_str().unwrap()).collect()
}

#[test]
fn every_operation_has_its_own_result_as_it_would_have_alone() {
    let stage = Stage::new();
    let results = stage.bulk(json!([user("ana"), user("ana "), group("ops", &["bulkId:ana"])]));
    assert_eq!(statuses(&results), ["201", "409", "201"]);
    let [ana, twin, ops] = &results[..] else { panic!("{results:?}") };
    assert_eq!((&ana["method"], &ana["bulkId"]), (&json!("POST"), &json!("ana")));
    assert_eq!(ana.get("response"), None);
    assert_eq!((twin.get("location"), &twin["response"]["scimType"]), (None, &json!("uniqueness")));
    assert_eq!(members(&stage.shown(ops)), BTreeSet::from([id(ana)]));
    assert_eq!(stage.shown(ops)["meta"]["version"], ops["version"]);

    let (user_path, group_path) = (format!("/Users/{}", id(ana)), format!("/Groups/{}", id(ops)));
    let results = stage.bulk(json!([
        patch(&user_path, json!([{"op": "replace", "path": "title", "value": "T"}])),
        {"method": "PUT", "path": group_path, "data": {"displayName": "operators"}},
        patch(&user_path, json!([{"op": "replace", "path": "active", "value": "perhaps"}])),
        {"method": "DELETE", "path": "/Users/no-id"},
        {"method": "DELETE", "path": group_path},
    ]));
    assert_eq!(statuses(&results), ["200", "200", "400", "404", "204"]);
    assert_eq!(stage.shown(&results[0])["title"], json!("T"));
    // She left the group by the next operation, which moved her version once more.
    let moved = [&ana["version"], &results[0]["version"], &stage.shown(&results[0])["meta"]["version"]];
    assert!(moved[0] != moved[1] && moved[1] != moved[2], "{moved:?}");
    assert_eq!(
        (results[2]["location"].as_str(), results[4].get("version")),
        (ana["location"].as_str(), None)
    );
    assert_eq!(results[2]["response"]["status"], json!("400"));
    assert_eq!(stage.get(&group_path).status, 404);
}

#[test]
fn an_operation_waits_for_the_one_that_creates_what_it_refers_to() {
    let stage = Stage::new();
    let results = stage.bulk(json!([
        patch("/Groups/bulkId:ops", json!([{"op": "add", "path": "members", "value": [{"value": "bulkId:ben"}]}])),
        group("ops", &["bulkId:ana"]),
        post("/Users", "ana", json!({"userName": "ana", ENTERPRISE: {"manager": {"value": "bulkId:ben"}}})),
        user("ben"),
        {"method": "DELETE", "path": "/Users/bulkId:cleo"},
        user("cleo"),
    ]));
    assert_eq!(statuses(&results), ["200", "201", "201", "201", "204", "201"]);
    assert_eq!(members(&stage.shown(&results[1])), BTreeSet::from([id(&results[2]), id(&results[3])]));
    assert_eq!(stage.shown(&results[2])[ENTERPRISE]["manager"]["value"], json!(id(&results[3])));
    assert_eq!((stage.total("Users"), stage.total("Groups")), (2, 1));
    assert_eq!(results[0]["location"], results[1]["location"]);
}

#[test]
fn those_who_refer_to_each_other_are_created_first_and_joined_after() {
    let stage = Stage::new();
    let manager = |bulk_id: &str, of: &str| {
        post(
            "/Users",
            bulk_id,
            json!({"userName": bulk_id, ENTERPRISE: {"manager": {"value": format!("bulkId:{of}")}}}),
        )
    };
    let results = stage.bulk(json!([
        group("a", &["bulkId:b", "bulkId:u"]),
        group("b", &["bulkId:c"]),
        group("c", &["bulkId:a", "bulkId:b"]),
        manager("u", "v"),
        manager("v", "u"),
    ]));
    assert_eq!(statuses(&results), ["201"; 5]);
    let ids: Vec<&str> = results.iter().map(id).collect();
    let shown: Vec<Value> = results.iter().map(|result| stage.shown(result)).collect();
    assert_eq!(members(&shown[0]), BTreeSet::from([ids[1], ids[3]]));
    assert_eq!(members(&shown[1]), BTreeSet::from([ids[2]]));
    assert_eq!(members(&shown[2]), BTreeSet::from([ids[0], ids[1]]));
    for (at, of) in [(3, 4), (4, 3)] {
        assert_eq!(shown[at][ENTERPRISE]["manager"]["value"], json!(ids[of]));
    }
    // A group that is nested later moves to another version after its own operation.
    assert_eq!(results[4]["version"], shown[4]["meta"]["version"]);
}

#[test]
fn a_lost_reference_is_409_and_what_takes_access_away_is_done() {
    let stage = Stage::new();
    let operators = stage.front.node.group("operators");
    let [ana, ben] = ["ana", "ben"].map(|name| stage.holder(name, &operators));
    let path = format!("/Groups/{operators}");
    let lost = json!([{"value": "bulkId:lost"}]);
    let failed = post("/Users", "failed", json!({"userName": ""}));
    let results = stage.bulk(json!([
        failed,
        group("g", &["bulkId:failed"]),
        patch(&path, json!([{"op": "add", "path": "members", "value": [{"value": "bulkId:g"}]}])),
        patch(&path, json!([{"op": "replace", "path": "members", "value": lost}])),
        patch(&path, json!([{"op": "remove", "path": "members", "value": lost}])),
        patch("/Users/bulkId:failed", json!([{"op": "replace", "path": "active", "value": false}])),
        {"method": "PUT", "path": path, "data": {"displayName": "operators", "externalId": "operators", "members": lost}},
    ]));
    assert_eq!(statuses(&results), ["400", "409", "409", "409", "409", "409", "409"]);
    let detail = results[2]["response"]["detail"].as_str().unwrap();
    assert!(detail.contains("bulkId:g"), "{detail}");
    assert_eq!(stage.front.node.members_of(&operators).len(), 2);

    let results = stage.bulk(json!([
        patch(&path, json!([
            {"op": "add", "path": "members", "value": lost},
            {"op": "remove", "path": format!("members[value eq \"{}\"]", ana.id)},
        ])),
        {"method": "PUT", "path": path, "data": {
            "displayName": "operators", "externalId": "operators", "members": [{"value": "bulkId:lost"}],
        }},
        patch(&format!("/Users/{}", ben.id), json!([
            {"op": "replace", "path": "manager", "value": "bulkId:lost"},
            {"op": "replace", "path": "active", "value": false},
        ])),
    ]));
    assert_eq!(statuses(&results), ["200", "409", "200"]);
    assert_eq!(stage.front.node.members_of(&operators), std::slice::from_ref(&ben.id));
    stage.front.node.settle();
    stage.world.assert_holds_nothing(&ana);
    stage.world.assert_holds_nothing(&ben);
    let store = &stage.front.node.service.store;
    let records = stage.front.node.run(store.audit(None, 1000)).unwrap();
    let dropped: Vec<String> = records
        .iter()
        .flat_map(|record| record["changes"].as_array().unwrap())
        .filter(|change| change["kind"] == "attributes-dropped")
        .map(|change| change["attributes"].to_string())
        .collect();
    assert_eq!(dropped, [r#"["members"]"#, r#"["manager"]"#]);
}

#[test]
fn a_version_counts_as_if_match() {
    let stage = Stage::new();
    let made = stage.bulk(json!([user("ana")]));
    let path = format!("/Users/{}", id(&made[0]));
    let title = |title: &str, version: &Value| {
        let mut operation = patch(&path, json!([{"op": "replace", "path": "title", "value": title}]));
        operation["version"] = version.clone();
        operation
    };
    let version = &made[0]["version"];
    let results = stage.bulk(json!([
        title("first", version),
        title("second", version),
        {"method": "DELETE", "path": path, "version": version},
        {"method": "DELETE", "path": path, "version": "7"},
        title("third", &json!("*")),
    ]));
    assert_eq!(statuses(&results), ["200", "412", "412", "400", "200"]);
    assert_eq!(stage.shown(&results[1])["title"], json!("third"));
    let results = stage.bulk(json!([{"method": "DELETE", "path": path, "version": results[4]["version"]}]));
    assert_eq!(statuses(&results), ["204"]);
}

#[test]
fn after_so_many_errors_nothing_more_is_begun() {
    let stage = Stage::new();
    let wrong = || json!({"method": "GET", "path": "/Users"});
    let ask = |errors: Value| {
        let operations =
            json!([wrong(), user(&format!("a {errors}")), wrong(), user(&format!("b {errors}"))]);
        let answer = stage.send(&json!({"failOnErrors": errors, "Operations": operations}));
        assert_eq!(answer.status, 200, "{answer:?}");
        let results = answer.body["Operations"].as_array().unwrap().clone();
        statuses(&results).join(" ")
    };
    assert_eq!(ask(json!(1)), "400");
    assert_eq!(ask(json!(0)), "400");
    assert_eq!(ask(json!(2)), "400 201 400");
    assert_eq!(ask(json!(3)), "400 201 400 201");
    assert_eq!(stage.total("Users"), 3);
}

#[test]
fn limits_and_mistakes_of_the_whole_request_change_nothing() {
    let stage = Stage::new();
    let config = stage.get("/ServiceProviderConfig").body;
    let operations_max = config["bulk"]["maxOperations"].as_u64().unwrap() as usize;
    let bytes_max = config["bulk"]["maxPayloadSize"].as_u64().unwrap() as usize;
    assert_eq!(config["bulk"]["supported"], json!(true));
    let mistake = json!({"method": "GET", "path": "/Users"});
    let mut many = vec![mistake; operations_max];
    assert_eq!(stage.bulk(json!(many)).len(), operations_max);
    many.push(user("one too many"));
    assert_eq!(stage.send(&json!({"Operations": many})).status, 413);
    let body = |bytes: usize| {
        let empty = json!({"Operations": [user("ana")], "padding": ""}).to_string().len();
        json!({"Operations": [user("ana")], "padding": "x".repeat(bytes - empty)})
    };
    assert_eq!(stage.send(&body(bytes_max + 1)).status, 413);
    for wrong in
        [json!({"Operations": "x"}), json!({}), json!({"Operations": [user("x")], "failOnErrors": -1})]
    {
        assert_eq!(stage.send(&wrong).status, 400, "{wrong}");
    }
    assert_eq!(stage.total("Users"), 0);
    assert_eq!(stage.send(&body(bytes_max)).status, 200);
    assert_eq!(stage.total("Users"), 1);
    assert_eq!(stage.get("/Bulk").status, 405);
    assert!(stage.bulk(json!([])).is_empty());
}

#[test]
fn roles_follow_as_they_would_alone() {
    let stage = Stage::new();
    let operators = stage.front.node.group("operators");
    let leaver = stage.holder("leaver", &operators);
    let (_, principal) = ("joiner", uuid::Uuid::from_u128(77));
    let results = stage.bulk(json!([
        post("/Users", "joiner", json!({"userName": "joiner", "externalId": principal.to_string()})),
        patch(
            &format!("/Groups/{operators}"),
            json!([
                {"op": "add", "path": "members", "value": [{"value": "bulkId:joiner"}]},
                {"op": "remove", "path": "members", "value": [{"value": leaver.id}]},
            ])
        ),
    ]));
    assert_eq!(statuses(&results), ["201", "200"]);
    stage.front.node.settle();
    stage.world.assert_holds_nothing(&leaver);
    let joiner = Person { id: id(&results[0]).to_owned(), principal };
    stage.world.assert_holds(&joiner, Operator, VAULT_EAST);
}
