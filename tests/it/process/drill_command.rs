//! `drill` as a process, against a `local` that runs: by order, from outside over SCIM, and the past.

use crate::support::chaos::{Chaos, Trouble, When};
use crate::support::idp::Idp;
use crate::support::local_process::LocalProcess;
use serde_json::{Value, json};
use std::process::{Command, Output};
use tempfile::TempDir;
use uuid::Uuid;

const FINDINGS: i32 = 1;
const USAGE: i32 = 2;
const DEPENDENCY: i32 = 3;
/// The leaver that `local` knows.
const LEAVER: &str = "d0000000-0000-4000-8000-000000000001";
const SCOPE: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/drill";

struct Desk {
    local: LocalProcess,
    idp: Idp,
    _state: TempDir,
}

impl Desk {
    /// With a binding of that name for the group of drills.
    fn open(binding: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let group = json!({"externalId": "azure-backup-scim-drill"});
        let binding = json!({"name": binding, "group": group, "role": "Backup Reader", "scope": SCOPE});
        let file = state.path().join("bindings.json");
        let bindings = json!({"version": 1, "bindings": [binding]});
        std::fs::write(&file, bindings.to_string()).unwrap();
        let local = LocalProcess::start(&state.path().join("state"), &["--bindings", file.to_str().unwrap()]);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        Self { local, idp, _state: state }
    }

    fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .arg("drill")
            .args(arguments)
            .args(["--control-url", &self.local.ready.control_url])
            .env_clear()
            .env("USER", "olga")
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ends_with(&self, arguments: &[&str], environment: &[(&str, &str)], code: i32) -> String {
        let output = self.run_with(arguments, environment);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    }

    #[track_caller]
    fn by_order(&self, arguments: &[&str], code: i32) -> String {
        self.ends_with(&[&["--because", "it is Monday"], arguments].concat(), &[], code)
    }

    fn lines(text: &str) -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn total(&self, path: &str) -> Value {
        self.idp.get(path).await.body["totalResults"].clone()
    }

    /// What Azure holds.
    async fn held(&self) -> Vec<Value> {
        let url = format!("{}/assignments", self.local.ready.control_url);
        let held: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        held.as_array().or_else(|| held["value"].as_array()).unwrap().clone()
    }

    async fn assert_nothing_left(&self) {
        assert_eq!((self.total("/Users").await, self.total("/Groups").await), (json!(0), json!(0)));
        assert_eq!(self.held().await, Vec::<Value>::new());
    }
}

#[actix_web::test]
async fn an_operator_orders_a_drill_and_reads_how_it_went() {
    let desk = Desk::open("drill");
    let text = desk.by_order(&[], 0);
    for part in ["green", "grant       received", "held in Azure after", "gone in Azure after", "by "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let told = Desk::lines(&desk.by_order(&["--json"], 0)).remove(0);
    assert_eq!((&told["state"], &told["reason"]), (&json!("green"), &Value::Null));
    for step in ["grant", "revocation"] {
        for time in ["received", "opened", "confirmed", "seen"] {
            assert!(told[step][time].is_string(), "{step} {time}: {told}");
        }
    }
    assert!(told["revocation"]["effective"].is_string(), "{told}");
    // The result comes when Azure and the directory have nothing left of it.
    desk.assert_nothing_left().await;

    let history = desk.ends_with(&["--history"], &[], 0);
    assert!(history.contains("1 green drill days of the last 30, 0 red; no red drill is known"), "{history}");
    let lines = Desk::lines(&desk.ends_with(&["--history", "1", "--json"], &[], 0));
    assert_eq!((lines.len(), &lines[0]["drill"], &lines[1]["greenDays"]), (2, &told["drill"], &json!(1)));
    let report = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
        .args(["report", "--control-url", &desk.local.ready.control_url])
        .env_clear()
        .output()
        .unwrap();
    let report = String::from_utf8(report.stdout).unwrap();
    assert!(report.contains("\ndrills: 1 green drill days of the last 30"), "{report}");
    assert!(desk.by_order(&["--no-wait"], 0).contains("placed"));
}

#[actix_web::test]
async fn a_red_drill_is_a_finding_and_a_local_that_is_away_a_dependency() {
    let mut desk = Desk::open("drill");
    let name = json!({"userName": "azure-backup-scim-drill-leaver"});
    assert_eq!(desk.idp.post("/Users", name).await.status, 201);
    let text = desk.by_order(&[], FINDINGS);
    assert!(text.contains("red in phase begun: name-taken"), "{text}");
    assert_eq!(desk.total("/Users").await, 1);
    let history = desk.ends_with(&["--history"], &[], FINDINGS);
    assert!(history.contains("1 red; the last red one ended at "), "{history}");

    desk.ends_with(&[], &[], USAGE);
    desk.ends_with(&["--because", " "], &[], USAGE);
    desk.local.kill();
    desk.by_order(&[], DEPENDENCY);
    desk.ends_with(&["--history"], &[], DEPENDENCY);
}

#[actix_web::test]
async fn a_drill_is_played_from_outside_over_scim_with_a_token_of_the_environment() {
    let desk = Desk::open("drill");
    let (url, token) = (desk.local.ready.base_url.clone(), desk.local.ready.token.clone());
    let outside = ["--scim", url.as_str(), "--principal", LEAVER];
    let environment = [("DRILL_SCIM_TOKEN", token.as_str())];
    let text = desk.ends_with(&outside, &environment, 0);
    for part in ["drill from outside: green", "grant seen in Azure", "revocation gone in Azure"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&token), "{text}");
    assert_eq!(desk.total("/Users").await, 0);

    // What a run that was killed left is removed by the next one.
    let user = json!({
        "userName": "azure-backup-scim-drill-leaver-from-outside", "externalId": LEAVER, "active": true,
    });
    assert_eq!(desk.idp.post("/Users", user).await.status, 201);
    let named = [("DRILL_SCIM_TOKEN", token.as_str()), ("DRILL_PRINCIPAL_ID", LEAVER)];
    let text = desk.ends_with(&["--scim", &url, "--json"], &named, 0);
    let told = Desk::lines(&text).remove(0);
    assert_eq!((&told["state"], &told["askedAzure"]), (&json!("green"), &json!(true)));
    assert_eq!((desk.total("/Users").await, desk.total("/Groups").await), (json!(0), json!(0)));
    assert_eq!(desk.held().await, Vec::<Value>::new());
}

#[actix_web::test]
async fn a_drill_from_outside_touches_nothing_of_a_client_and_says_what_is_missing() {
    let desk = Desk::open("drill");
    let (url, token) = (desk.local.ready.base_url.clone(), desk.local.ready.token.clone());
    let outside = ["--scim", url.as_str(), "--principal", LEAVER];
    let environment = [("DRILL_SCIM_TOKEN", token.as_str())];
    let other = json!({
        "userName": "azure-backup-scim-drill-leaver-from-outside", "externalId": Uuid::new_v4().to_string(),
    });
    assert_eq!(desk.idp.post("/Users", other).await.status, 201);
    let text = desk.ends_with(&outside, &environment, FINDINGS);
    assert!(text.contains("red in phase begun: name-taken"), "{text}");
    assert_eq!(desk.total("/Users").await, 1);

    assert!(desk.ends_with(&outside, &[], USAGE).contains("DRILL_SCIM_TOKEN"));
    assert!(desk.ends_with(&["--scim", &url], &environment, USAGE).contains("DRILL_PRINCIPAL_ID"));
    let wrong = [("DRILL_SCIM_TOKEN", "another-token-0123456789-abcdefghijklmn")];
    assert!(desk.ends_with(&outside, &wrong, USAGE).contains("401"));
    let clear = ["--scim", "http://scim.contoso.example/scim/v2", "--principal", LEAVER];
    desk.ends_with(&clear, &environment, USAGE);
    let away = ["--scim", "http://127.0.0.1:9/scim/v2", "--principal", LEAVER];
    desk.ends_with(&away, &environment, DEPENDENCY);
}

/// A drill from outside through a proxy that does this to its calls.
struct OutsideDrill {
    desk: Desk,
    chaos: Chaos,
    url: String,
}

impl OutsideDrill {
    fn with(troubles: &[(When, Trouble)]) -> Self {
        let desk = Desk::open("drill");
        let base = desk.local.ready.base_url.clone();
        let origin = base.strip_suffix("/scim/v2").unwrap();
        let chaos = Chaos::before(origin);
        for (when, trouble) in troubles {
            chaos.order(when.clone(), trouble.clone());
        }
        let url = format!("{}/scim/v2", chaos.url());
        Self { desk, chaos, url }
    }

    #[track_caller]
    fn play(&self, arguments: &[&str], code: i32) -> String {
        let outside = [&["--scim", &self.url, "--principal", LEAVER], arguments].concat();
        self.desk.ends_with(&outside, &[("DRILL_SCIM_TOKEN", &self.desk.local.ready.token)], code)
    }
}

fn refusal(status: u16) -> Trouble {
    let body = json!({"detail": "not now"}).to_string();
    Trouble::Answer { status, content_type: "application/scim+json", body }
}

#[actix_web::test]
async fn a_drill_from_outside_deletes_what_it_made_where_the_answer_was_lost() {
    for path in ["/Users", "/Groups"] {
        let lost = [(When::any().method("POST").path(path), Trouble::LoseAnswer)];
        let outside = OutsideDrill::with(&lost);
        let text = outside.play(&[], DEPENDENCY);
        assert!(
            text.contains("SCIM gave no answer to POST") && !text.contains("may be left"),
            "{path}: {text}"
        );
        outside.desk.assert_nothing_left().await;
        assert_eq!(outside.chaos.count(|call| call.method == "POST" && call.target.ends_with(path)), 1);
    }
}

#[actix_web::test]
async fn a_drill_from_outside_asks_a_busy_service_again() {
    let delete = |path| When::any().method("DELETE").path(path);
    let grants = || When::reads().path("attributes=grants");
    let outside = OutsideDrill::with(&[
        (grants(), refusal(429)),
        (grants().nth(2), refusal(502)),
        (delete("/Users"), Trouble::Busy { retry_after: 1 }),
        (delete("/Users").nth(2), Trouble::LoseAnswer),
        (delete("/Groups"), Trouble::LoseRequest),
        (delete("/Groups").nth(2), refusal(429)),
    ]);
    let told = Desk::lines(&outside.play(&["--json"], 0)).remove(0);
    assert_eq!((&told["state"], &told["left"]), (&json!("green"), &json!([])));
    outside.desk.assert_nothing_left().await;
    for path in ["/Users/", "/Groups/"] {
        let tries = outside.chaos.count(|call| call.method == "DELETE" && call.target.contains(path));
        assert_eq!(tries, 3, "{path}");
    }
}

#[actix_web::test]
async fn a_drill_from_outside_deletes_the_leaver_first_and_says_what_is_left() {
    let outside = OutsideDrill::with(&[
        (When::any().method("PATCH"), refusal(409)),
        (When::any().method("DELETE").path("/Groups/").always(), refusal(409)),
    ]);
    let text = outside.play(&[], FINDINGS);
    assert!(text.contains("red in phase deactivated: SCIM answered 409: not now"), "{text}");
    assert!(text.contains("may be left: /Groups/") && !text.contains("may be left: /Users"), "{text}");
    let deleted: Vec<String> = outside
        .chaos
        .calls()
        .into_iter()
        .filter(|call| call.method == "DELETE")
        .map(|call| call.target)
        .collect();
    assert!(deleted[0].contains("/Users/") && deleted[1].contains("/Groups/"), "{deleted:?}");
    assert_eq!(
        (outside.desk.total("/Users").await, outside.desk.total("/Groups").await),
        (json!(0), json!(1))
    );
    assert_eq!(outside.desk.held().await, Vec::<Value>::new());

    // Where the leaver is what is left, the group is deleted all the same; and it is said where the drill failed too.
    outside.chaos.calm();
    outside.chaos.order(When::any().method("DELETE").path("/Users/").nth(1).always(), refusal(401));
    outside.chaos.order(When::any().method("PATCH"), Trouble::LoseRequest);
    let text = outside.play(&["--json"], DEPENDENCY);
    let told = Desk::lines(text.lines().next().unwrap()).remove(0);
    assert_eq!((&told["state"], told["left"].as_array().unwrap().len()), (&json!("failed"), 1));
    assert!(told["left"][0]["what"].as_str().unwrap().starts_with("/Users/"), "{told}");
    assert!(told["left"][0]["reason"].as_str().unwrap().contains("401"), "{told}");
    assert_eq!(
        (outside.desk.total("/Users").await, outside.desk.total("/Groups").await),
        (json!(1), json!(0))
    );

    // The next one deletes it.
    outside.chaos.calm();
    outside.play(&[], 0);
    outside.desk.assert_nothing_left().await;
}

#[test]
fn packaging_adds_the_binding_of_drills_to_a_file_that_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bindings.json");
    let retired = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/gone";
    let text = json!({"version": 1, "retired": [retired], "bindings": []}).to_string();
    std::fs::write(&file, &text).unwrap();
    let stamp = |scope: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
        command.args(["config", "stamp", "--drill", scope, "--file"]).arg(&file).output().unwrap()
    };
    let read = || std::fs::read_to_string(&file).unwrap();
    assert_eq!(stamp("nonsense").status.code(), Some(USAGE));
    assert_eq!(read(), text);
    assert!(stamp(SCOPE).status.success());
    let with: Value = serde_json::from_str(&read()).unwrap();
    assert_eq!(
        (&with["bindings"][0]["name"], &with["bindings"][0]["scope"]),
        (&json!("drill"), &json!(SCOPE))
    );
    assert_eq!(with["retired"][0], retired);
    assert!(folder.path().join("bindings.stamp").exists());
    assert_eq!(stamp(SCOPE).status.code(), Some(USAGE), "there is one already");
}

#[actix_web::test]
async fn without_the_binding_of_drills_an_order_is_red() {
    let desk = Desk::open("another");
    assert!(desk.by_order(&[], FINDINGS).contains("no-binding"));
    desk.assert_nothing_left().await;
}
