//! `requests` as a process: ten mistakes of a set-up, and the line that names the cause of each.

use crate::support::harness::PATCH_OP;
use crate::support::idp::{Idp, member};
use crate::support::local_process::LocalProcess;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::Command;
use tempfile::TempDir;
use uuid::Uuid;

const EAST: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                    Microsoft.RecoveryServices/vaults/east";

/// An identity provider, a service, and its operator.
struct Setup {
    local: LocalProcess,
    idp: Idp,
    /// The group of the binding that asks for an externalId.
    operators: String,
    _folder: TempDir,
}

impl Setup {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bindings = json!({"version": 1, "principal": {"from": ["externalId"]}, "bindings": [
            {"name": "operators-east", "group": {"externalId": "vault-operators"}, "role": "Backup Operator",
             "scope": EAST, "where": "not (userType eq \"Guest\")"},
            {"name": "readers-east", "group": {"displayName": "Vault Readers", "allowDisplayName": true},
             "role": "Backup Reader", "scope": EAST},
        ]});
        let file = folder.path().join("bindings.json");
        std::fs::write(&file, bindings.to_string()).unwrap();
        let arguments = ["--bindings", file.to_str().unwrap()];
        let local = LocalProcess::start(&folder.path().join("state"), &arguments);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        let operators = idp.create_group("vault-operators").await;
        Self { local, idp, operators, _folder: folder }
    }

    async fn person(&self, body: Value) -> String {
        let made = self.idp.post("/Users", body).await;
        made.body["id"].as_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .arg("requests")
            .args(arguments)
            .args(["--control-url", &self.local.ready.control_url])
            .env_clear()
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// What the command says has these lines, one below the other.
    #[track_caller]
    fn says(&self, arguments: &[&str], lines: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, Some(0), "{said}");
        let mut rest = said.as_str();
        for line in lines {
            let at = rest.find(line);
            assert!(at.is_some(), "{line:?} is not there, or not in its place:\n{said}");
            rest = &rest[at.unwrap()..];
        }
        said
    }
}

#[actix_web::test]
async fn a_wrong_mapping_a_dropped_attribute_and_an_unknown_member_are_named() {
    let setup = Setup::start().await;
    let operators = format!("/Groups/{}", setup.operators);
    let bob = setup.person(json!({"userName": "bob@contoso.example", "externalId": "bob.miller"})).await;
    setup.idp.patch(&operators, member("add", &bob)).await;
    setup.says(
        &["--user", "bob"],
        &[
            "created the user bob@contoso.example",
            "added to vault-operators: bob@contoso.example",
            "now: bob@contoso.example, Backup Operator at east (operators-east): no (pending-principal): member of \
             vault-operators, since ",
            "no Entra object id: the identity provider sends another attribute, externalId is \"bob.miller\", which \
             is no object id",
            "what would change it: map the Entra object id to externalId or entraObjectId (identity admin)",
        ],
    );
    let user = format!("/Users/{bob}");
    let unknown = json!({"op": "add", "value": {"shoeSize": 44, "title": "Chief"}});
    setup.idp.patch(&user, unknown.clone()).await;
    setup.says(
        &["--user", &bob, "--refused"],
        &["changed the user bob@contoso.example: title", "left out: shoeSize (unknown-attribute)"],
    );
    // Sent again, nothing changes, and no audit record has it.
    setup.idp.patch(&user, unknown).await;
    setup.says(
        &["--user", &bob, "--refused"],
        &[
            "not applied as a whole",
            "User bob@contoso.example: shoeSize",
            "nothing changed; left out: shoeSize",
        ],
    );
    let nobody = Uuid::new_v4().to_string();
    setup.idp.patch(&operators, member("add", &nobody)).await;
    let left_out =
        format!("left out of vault-operators, since nothing that can be its member has this id: {nobody}");
    setup.says(&["--group", "vault-operators"], &[&left_out]);
    // Taking out someone who is not in is a success that changes nothing.
    let cem = setup.person(json!({"userName": "cem@contoso.example"})).await;
    setup.idp.patch(&operators, member("remove", &cem)).await;
    setup.says(
        &["--user", "cem", "--refused"],
        &[
            "not applied as a whole",
            "PUT or PATCH Group vault-operators: remove members cem@contoso.example",
            "no member of the group has the ids that were to be taken out",
        ],
    );
    // Also by what is no id, and beside what is applied.
    setup.idp.patch(&operators, member("remove", "cem@contoso.example")).await;
    setup.says(
        &["--group", "vault-operators", "--refused"],
        &["not applied as a whole", "remove members \"not-an-id\""],
    );
    let path = format!("members[value eq \"{cem}\" and type eq \"Group\"]");
    setup.idp.patch(&operators, json!({"op": "remove", "path": path})).await;
    setup
        .says(&["--group", "vault-operators", "--refused"], &["remove members \"a-filter-without-a-match\""]);
    let rename = json!({"op": "replace", "path": "externalId", "value": "another"});
    let body = json!({"schemas": [PATCH_OP], "Operations": [member("remove", &cem), rename]});
    let answer = setup.idp.send(Method::PATCH, &operators, Some(&body)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    setup.says(&["--user", "cem", "--refused"], &["the rest was applied"]);
}

#[actix_web::test]
async fn a_refused_name_is_one_line_however_often_it_is_tried() {
    let setup = Setup::start().await;
    setup.person(json!({"userName": "bob@contoso.example"})).await;
    let body = json!({"userName": "BOB@contoso.example", "title": "Secret", "active": true});
    let mut first = Value::Null;
    for n in 0..40 {
        let refused = setup.idp.post("/Users", body.clone()).await;
        assert_eq!(refused.status, 409);
        if n == 0 {
            first = refused.body["detail"].clone();
        }
    }
    let (_, request) = first.as_str().unwrap().split_once("(request ").unwrap();
    let request = request.trim_end_matches(')');
    let line = "refused 409 uniqueness, 40 times until ";
    let said = setup.says(
        &["--user", "bob"],
        &[
            line,
            request,
            "POST User: active \"true\", userName \"BOB@contoso.example\", title\n",
            "this userName exists",
        ],
    );
    assert!(!said.contains("Secret"), "{said}");
    let said = setup.says(&["--id", request], &[line]);
    assert!(!said.contains("created the user"), "{said}");
    let (code, said) = setup.run(&["--id", "bob"]);
    assert!(code == Some(2) && said.contains("is no X-Request-Id"), "{said}");
}

#[actix_web::test]
async fn who_was_never_created_is_found_and_so_is_each_of_equal_requests() {
    let setup = Setup::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let refused =
            setup.idp.post("/Users", json!({"userName": "zoe@contoso.example", "externalId": []})).await;
        assert_eq!(refused.status, 400);
        let detail = refused.body["detail"].as_str().unwrap().to_owned();
        ids.push(detail.split_once("(request ").unwrap().1.trim_end_matches(')').to_owned());
    }
    setup
        .says(&["--user", "zoe"], &["refused 400 invalidValue, 3 times", "userName \"zoe@contoso.example\""]);
    for (id, known) in [(&ids[0], true), (&ids[1], false), (&ids[2], true)] {
        let said = setup.says(&["--id", id], &["refused 400 invalidValue, 3 times"]);
        assert_eq!(said.contains("it may be one of these equal requests"), !known, "{said}");
    }
    let read = setup.idp.get("/Users/nothing").await.body["detail"].as_str().unwrap().to_owned();
    let id = read.split_once("(request ").unwrap().1.trim_end_matches(')').to_owned();
    let counted = "1 time 404: GET /scim/v2/Users/{id}";
    setup.says(&["--id", &id], &["no record has the id of this request", "only counted", counted]);
}

#[actix_web::test]
async fn a_person_is_found_in_a_change_of_a_whole_group_beside_many_others() {
    let setup = Setup::start().await;
    let mut people = Vec::new();
    for n in 0..40 {
        people.push(setup.person(json!({"userName": format!("m{n}@contoso.example")})).await);
    }
    let members: Vec<Value> = people.iter().map(|id| json!({ "value": id })).collect();
    let made = setup.idp.post("/Groups", json!({"displayName": "Night Shift", "members": members})).await;
    let group = made.body["id"].as_str().unwrap().to_owned();
    setup.says(
        &["--user", "m39"],
        &["created the group Night Shift", "added to Night Shift: ", "m39@contoso.example"],
    );
    setup.idp.delete(&format!("/Groups/{group}")).await;
    setup.says(&["--user", "m39"], &[&format!("removed from {group}: "), "m39@contoso.example"]);
    let token = setup.run(&["--token", "another"]).1;
    assert!(token.contains("no requests"), "{token}");
    let until = setup.run(&["--since", "2d", "--until", "1d"]).1;
    assert!(until.contains("no requests"), "{until}");
}

#[actix_web::test]
async fn a_wrong_token_is_counted_and_an_oversized_push_is_named() {
    let setup = Setup::start().await;
    let stranger = Idp::new(&setup.local.ready.base_url, "wrong-wrong-wrong-wrong-wrong-wrong");
    for _ in 0..3 {
        let agent = [("user-agent", "Okta SCIM Client 1.0.0")];
        let path = "/Users?filter=userName%20eq%20%22x%22";
        stranger.send_with(reqwest::Method::GET, path, &agent, None).await.unwrap();
    }
    let members: Vec<Value> = (0..10_001).map(|_| json!({"value": Uuid::new_v4()})).collect();
    let path = format!("/Groups/{}", setup.operators);
    let body = json!({"displayName": "vault-operators", "members": members});
    let answer = setup.idp.send(reqwest::Method::PUT, &path, Some(&body)).await.unwrap();
    assert_eq!(answer.status, 413);
    setup.says(
        &[],
        &[
            "refused 413",
            "PUT Group vault-operators",
            "at most 10000 members can be named in one request",
            "3 times 401, no valid bearer token: GET /scim/v2/Users by \"Okta SCIM Client 1.0.0\"",
        ],
    );
}

#[actix_web::test]
async fn a_group_without_an_external_id_a_guest_and_a_rename_are_named() {
    let setup = Setup::start().await;
    let night = setup.idp.post("/Groups", json!({"displayName": "Night Shift"})).await;
    let night = night.body["id"].as_str().unwrap().to_owned();
    let cem = setup.idp.create_user("cem@contoso.example", Uuid::new_v4()).await;
    setup.idp.member("add", &night, &cem).await;
    setup.says(
        &["--user", "cem"],
        &[
            "added to Night Shift: cem@contoso.example",
            "now: no binding means a group of cem@contoso.example, so no role is due",
            "now: no binding means Night Shift, so its members get no role from it; it has no externalId",
        ],
    );
    let dan =
        json!({"userName": "dan#EXT#@contoso.example", "externalId": Uuid::new_v4(), "userType": "Guest"});
    let dan = setup.person(dan).await;
    setup.idp.member("add", &setup.operators, &dan).await;
    setup.says(
        &["--user", &dan],
        &[
            "no: where not (userType eq \"Guest\") does not match; userType is \"Guest\"",
            "what would change it: correct the attribute, or the `where` of the binding",
        ],
    );
    let readers = setup.idp.post("/Groups", json!({"displayName": "Vault Readers"})).await;
    let readers = readers.body["id"].as_str().unwrap().to_owned();
    setup.idp.member("add", &readers, &cem).await;
    setup.says(&["--user", "cem"], &["Azure, ", "grant done: Backup Reader at east for cem@contoso.example"]);
    let rename = json!({"op": "replace", "value": {"id": readers, "displayName": "Readers EMEA"}});
    setup.idp.patch(&format!("/Groups/{readers}"), rename).await;
    let eve = setup.idp.create_user("eve@contoso.example", Uuid::new_v4()).await;
    setup.idp.member("add", &readers, &eve).await;
    setup.says(
        &["--user", "eve"],
        &[
            "added to Readers EMEA: eve@",
            "no (binding-stale): member of Readers EMEA",
            "give the group its former value again",
        ],
    );
    let said = setup.says(&["--group", "Readers EMEA", "--json"], &["resource-changed"]);
    assert!(said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");
}

#[actix_web::test]
async fn an_operation_of_a_bulk_request_is_named_like_a_request_of_its_own() {
    let setup = Setup::start().await;
    setup.person(json!({"userName": "bob@contoso.example"})).await;
    let bulk = json!({"Operations": [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": {"userName": "ana@contoso.example"}},
        {"method": "POST", "path": "/Users", "bulkId": "b", "data": {"userName": "bob@contoso.example"}},
        {"method": "PATCH", "path": "/Users/nothing", "data": {"Operations": [
            {"op": "replace", "path": "active", "value": false}]}},
    ]});
    assert_eq!(setup.idp.post("/Bulk", bulk).await.status, 200);
    setup.says(
        &[],
        &[
            "created the user ana@contoso.example",
            ", operation 2)",
            "POST User: userName \"bob@contoso.example\"",
            ", operation 3)",
            "PATCH User nothing: active \"false\"",
            "there is no User with this id",
        ],
    );
}
