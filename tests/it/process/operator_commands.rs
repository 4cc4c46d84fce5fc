//! The commands of an operator as processes, against a `local` that runs.

use crate::support::idp::{Idp, member};
use crate::support::local_process::LocalProcess;
use azure_backup_scim::audit::rfc3339;
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use time::OffsetDateTime;
use uuid::Uuid;

const FINDINGS: i32 = 1;
const USAGE: i32 = 2;
const DEPENDENCY: i32 = 3;

pub(super) struct Desk {
    pub(super) local: LocalProcess,
    pub(super) idp: Idp,
    _state: TempDir,
}

impl Desk {
    pub(super) fn open() -> Self {
        let state = tempfile::tempdir().unwrap();
        let local = LocalProcess::start(state.path(), &[]);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        Self { local, idp, _state: state }
    }

    /// A command of the operator Olga.
    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .args(arguments)
            .args(["--control-url", &self.local.ready.control_url])
            .env_clear()
            .env("USER", "olga")
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ends_with(&self, arguments: &[&str], code: i32, said: &str) {
        let output = self.run(arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Facts: F-063, F-181.
#[test]
fn the_query_that_proves_who_wrote_an_order_is_printed_without_asking_anything() {
    let order = "01a226d4-e1b4-7b4e-9b71-894553c2a5b9";
    let orders = |author: &str| {
        let program = env!("CARGO_BIN_EXE_azure-backup-scim");
        Command::new(program).args(["orders", "--author", author]).env_clear().output().unwrap()
    };
    let printed = String::from_utf8(orders(order).stdout).unwrap();
    assert!(printed.starts_with("StorageTableLogs\n"), "{printed}");
    assert_eq!(
        printed.matches(&format!("has \"{order}\"")).count(),
        3,
        "address, key and name of the request"
    );
    for column in ["TimeGenerated", "RequesterObjectId", "RequesterUpn", "CallerIpAddress"] {
        assert!(printed.contains(column), "{column} in {printed}");
    }
    // What is no id would become part of the query.
    assert_eq!(orders("\" or true or \"").status.code(), Some(2));
}

#[actix_web::test]
async fn an_operator_revokes_a_person_by_name_and_lifts_that_again() {
    let desk = Desk::open();
    let principal = Uuid::new_v4();
    let ana = desk.idp.create_user("ana@contoso.example", principal).await;
    let group = desk.idp.create_group("vault-operators").await;
    desk.idp.patch(&format!("/Groups/{group}"), member("add", &ana)).await;
    let grants = async || {
        let body = desk.idp.get(&format!("/Users/{ana}?attributes=grants")).await.body;
        body["urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User"]["grants"][0]["reason"].clone()
    };
    assert_eq!(grants().await, "member");

    let revoked = desk.json(&["revoke", "ANA@contoso.example", "--because", "incident 7", "--json"]);
    assert_eq!(
        (&revoked[0]["state"], &revoked[0]["target"]),
        (&json!("done"), &json!(principal.to_string()))
    );
    assert_eq!(grants().await, "braked");
    desk.ends_with(&["revoke", &ana, "--because", "again"], FINDINGS, "braked already");
    desk.ends_with(&["lift", &principal.to_string(), "--because", "cleared"], 0, "lifted");
    // The order is done where the person is enqueued.
    let begun = Instant::now();
    while grants().await != "member" {
        assert!(begun.elapsed() < Duration::from_secs(30), "the role should be back");
    }

    let orders = desk.json(&["orders", "--json"]);
    let told: Vec<_> = orders.iter().map(|order| (order["verb"].clone(), order["state"].clone())).collect();
    let expected = [("revoke", "done"), ("revoke", "refused"), ("lift", "done")];
    assert_eq!(told, expected.map(|(verb, state)| (json!(verb), json!(state))));
    assert!(orders.iter().all(|order| order["who"] == "olga"), "{orders:?}");
}

#[actix_web::test]
async fn whom_an_operator_means_must_be_one_person() {
    let desk = Desk::open();
    for name in ["ana", "ana-2"] {
        let body = json!({"userName": name, "emails": [{"value": "ana@contoso.example"}], "externalId": Uuid::new_v4()});
        assert_eq!(desk.idp.post("/Users", body).await.status, 201);
    }
    let body = json!({"userName": "nobody-in-entra"});
    assert_eq!(desk.idp.post("/Users", body).await.status, 201);
    let revoke = |person| ["revoke", person, "--because", "x"];
    desk.ends_with(&revoke("ana@contoso.example"), USAGE, "ana-2");
    desk.ends_with(&revoke("zoe"), USAGE, "no userName, mail address, object id or SCIM id");
    desk.ends_with(&revoke("nobody-in-entra"), USAGE, "no Entra object id");
    desk.ends_with(&["lift", "ana-2", "--because", "x"], USAGE, "is braked");
    for n in 0..21 {
        let body = json!({"userName": format!("m{n}"), "emails": [{"value": "team@contoso.example"}], "externalId": Uuid::new_v4()});
        assert_eq!(desk.idp.post("/Users", body).await.status, 201);
    }
    desk.ends_with(&revoke("team@contoso.example"), USAGE, "there may be more");
    assert!(desk.json(&["orders", "--json"]).is_empty());
}

#[actix_web::test]
async fn a_mistake_in_an_order_is_told_at_once_and_orders_nothing() {
    let desk = Desk::open();
    desk.ends_with(&["pause", "--because", "  "], USAGE, "the reason is missing");
    desk.ends_with(&["pause"], USAGE, "--because");
    desk.ends_with(&["forget", "vaults/east", "--because", "x"], USAGE, "scope");
    desk.ends_with(&["repin", "east", "not-an-id", "--because", "x"], USAGE, "group id");
    desk.ends_with(&["apply", "abc", "--because", "x"], USAGE, "64 hex digits");
    desk.ends_with(&["resume", "--because", "x"], FINDINGS, "not paused");
    assert_eq!(desk.json(&["orders", "--json"]).len(), 1);
}

#[actix_web::test]
async fn a_local_that_does_not_run_is_a_dependency_that_failed() {
    let mut desk = Desk::open();
    desk.local.kill();
    desk.ends_with(&["orders"], DEPENDENCY, "cannot read the state");
    desk.ends_with(&["pause", "--because", "x"], DEPENDENCY, "cannot place the order");
}

#[actix_web::test]
async fn an_operator_reads_what_a_breaker_holds_and_decides() {
    let desk = Desk::open();
    let group = desk.idp.create_group("vault-operators").await;
    for name in ["ana", "ben", "cem"] {
        let person = desk.idp.create_user(&format!("{name}@contoso.example"), Uuid::new_v4()).await;
        desk.idp.patch(&format!("/Groups/{group}"), member("add", &person)).await;
    }
    desk.ends_with(&["breaker"], 0, "the breakers hold nothing");
    desk.idp.delete(&format!("/Groups/{group}")).await;
    let listed = || -> Vec<Value> {
        let output = desk.run(&["breaker", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let is_whole = |batches: &[Value]| batches.first().is_some_and(|batch| batch["people"] == 3);
    let batches = (0..200).map(|_| listed()).find(|batches| is_whole(batches)).expect("three are held");
    assert_eq!((&batches[0]["state"], &batches[0]["holds"]), (&json!("held"), &json!("revocations")));
    let batch = batches[0]["batch"].as_str().unwrap().to_owned();
    let place = format!("--control-url {}", desk.local.ready.control_url);
    desk.ends_with(&["breaker"], FINDINGS, &format!("azure-backup-scim breaker show {batch} {place}"));
    desk.ends_with(&["breaker", "show", &batch], FINDINGS, "cem@contoso.example");
    let hash = batches[0]["hash"].as_str().unwrap().to_owned();
    let release = format!("azure-backup-scim breaker release {batch} {hash} --because TEXT {place}");
    desk.ends_with(&["breaker", "show", &batch], FINDINGS, &release);
    desk.ends_with(&["breaker", "show", "abc"], USAGE, "operation id");
    desk.ends_with(
        &["breaker", "release", &Uuid::new_v4().to_string(), &hash, "--because", "x"],
        USAGE,
        "there is no batch",
    );
    desk.ends_with(&["breaker", "reject", &batch, "all", "--because", "x"], USAGE, "16 hex digits");
    let others = "0".repeat(16);
    desk.ends_with(&["breaker", "reject", &batch, &others, "--because", "x"], FINDINGS, "not what was read");

    desk.ends_with(&["breaker", "reject", &batch, &hash, "--because", "a mistake"], 0, "rejected");
    desk.ends_with(&["breaker"], 0, "the breakers hold nothing");
    desk.ends_with(&["breaker", "--all"], 0, "rejected");
    desk.ends_with(&["breaker", "release", &batch, &hash, "--because", "no mistake"], 0, "released");
    desk.ends_with(
        &["breaker", "reject", &batch, &hash, "--because", "too late"],
        FINDINGS,
        "released already",
    );
}

#[actix_web::test]
async fn an_operator_asks_why_and_which_groups_there_are() {
    let desk = Desk::open();
    let ana = desk.idp.create_user("ana@contoso.example", Uuid::new_v4()).await;
    let group = desk.idp.create_group("vault-operators").await;
    desk.idp.create_group("night shift").await;
    desk.idp.patch(&format!("/Groups/{group}"), member("add", &ana)).await;
    desk.ends_with(&["explain", "ANA@contoso.example"], 0, "member of vault-operators");
    desk.ends_with(&["explain", "ANA@contoso.example"], 0, "no: there is no group whose");
    desk.ends_with(&["explain", "nobody"], USAGE, "no userName");
    let told = desk.json(&["explain", &ana, "--json"]).remove(0);
    assert_eq!((&told["state"], &told["activeBindings"]), (&json!("active"), &json!("known")));
    let answers = told["bindings"].as_array().unwrap();
    assert!(answers.iter().any(|answer| answer["why"] == "member" && answer["holds"] == true), "{told}");

    let url = format!("{}/assignments", desk.local.ready.control_url);
    let held: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let held = held.as_array().or_else(|| held["value"].as_array()).unwrap();
    let (id, name) = (held[0]["id"].as_str().unwrap(), held[0]["name"].as_str().unwrap());
    for named in [id, name] {
        desk.ends_with(&["explain", named], 0, "made by this service, through operators-east; held since ");
        desk.ends_with(&["explain", named], 0, "member of vault-operators");
    }
    let told = desk.json(&["explain", id, "--json"]).remove(0);
    assert_eq!(
        (&told["userName"], &told["bindings"][0]["why"]),
        (&json!("ana@contoso.example"), &json!("member"))
    );
    desk.ends_with(
        &["explain", &Uuid::new_v4().to_string()],
        USAGE,
        "no role assignment of this name is known",
    );
    desk.ends_with(&["explain", "/subscriptions/s"], USAGE, "this is no role assignment");

    desk.ends_with(&["groups"], 0, "bound by operators-east");
    let unmatched = desk.json(&["groups", "--json"]).into_iter().filter(|line| line["kind"] != "group");
    let unmatched: Vec<Value> = unmatched.map(|line| json!([line["kind"], line["binding"]])).collect();
    assert!(unmatched.contains(&json!(["binding-without-group", "readers-west"])), "{unmatched:?}");
    let unbound = desk.json(&["groups", "--unbound", "--json"]);
    assert_eq!(unbound.len(), 1, "{unbound:?}");
    assert_eq!(unbound[0]["suggestion"]["name"], "night-shift");

    let while_held = rfc3339(OffsetDateTime::now_utc());
    desk.idp.delete(&format!("/Users/{ana}")).await;
    desk.ends_with(&["explain", "ana@contoso.example"], 0, "a user who is deleted");
    desk.ends_with(&["audit", "--person", "ana@contoso.example"], 0, "revoke");
    let named = format!("{ana} (ana@contoso.example)");
    desk.ends_with(&["audit", "--person", &ana], 0, &named);
    let pseudonyms = desk.run(&["audit", "--person", &ana, "--pseudonyms"]);
    let pseudonyms = String::from_utf8(pseudonyms.stdout).unwrap();
    assert!(pseudonyms.contains(&ana) && !pseudonyms.contains("ana@contoso.example"), "{pseudonyms}");
    desk.ends_with(&["audit", "--person", &Uuid::new_v4().to_string()], FINDINGS, "no records");
    desk.ends_with(&["audit", "--person", "nobody"], USAGE, "no userName");
    desk.ends_with(&["revoke", "ana@contoso.example", "--because", "x"], USAGE, "no userName");
    let text = String::from_utf8(desk.run(&["audit", "--person", &ana]).stdout).unwrap();
    assert!(text.starts_with("time (UTC) ") && text.contains("  grant done: Backup Operator at "), "{text}");
    assert!(text.contains("  revoke done: ") && text.contains(", effective by "), "{text}");

    desk.ends_with(&["explain", &ana, "--at", &while_held], 0, "  yes since ");
    desk.ends_with(&["explain", &ana, "--at", &while_held], 0, "of binding operators-east (request of ");
    let now = rfc3339(OffsetDateTime::now_utc());
    desk.ends_with(&["explain", &ana, "--at", &now], 0, ": the user was deleted (request of ");
    desk.ends_with(&["explain", &ana, "--at", "24h"], 0, "the audit begins later");

    desk.ends_with(&["erase", "ana@contoso.example", "--because", "a request"], 0, "erased");
    desk.ends_with(&["audit", "--person", "ana@contoso.example"], USAGE, "no userName");
    let erased = String::from_utf8(desk.run(&["audit", "--person", &ana]).stdout).unwrap();
    assert!(erased.contains(&ana) && !erased.contains("ana@contoso.example"), "{erased}");
}
