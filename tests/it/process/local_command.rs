//! The `local` command as its user meets it: a process, killed without warning, and the demo's verdict.

use crate::storage::azurite;
use crate::support::cloud::PATIENCE;
use crate::support::harness::VAULT_EAST;
use crate::support::local_process::LocalProcess;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use uuid::Uuid;

const OWN: &str = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User";

/// An identity provider and an operator with curl, in one.
struct Caller {
    http: Client,
    base_url: String,
    token: String,
    arm_url: String,
    control_url: String,
}

impl Caller {
    fn of(local: &LocalProcess) -> Self {
        // A provider that an earlier test installed serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ready = local.ready.clone();
        let http = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self {
            http,
            base_url: ready.base_url,
            token: ready.token,
            arm_url: ready.arm_url,
            control_url: ready.control_url,
        }
    }

    async fn call(&self, method: Method, url: String, body: Option<Value>) -> Value {
        let mut request = self.http.request(method, &url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{url}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn scim(&self, method: Method, path: &str, body: Value) -> Value {
        self.call(method, format!("{}{path}", self.base_url), Some(body)).await
    }

    async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.call(method, format!("{}{path}", self.control_url), body).await
    }

    async fn provision(&self, name: &str) -> (String, String) {
        let principal = Uuid::new_v4().to_string();
        let body = json!({"userName": name, OWN: {"entraObjectId": principal}});
        let user = self.scim(Method::POST, "/Users", body).await;
        (user["id"].as_str().unwrap().to_owned(), principal)
    }

    async fn group(&self) -> String {
        let body = json!({"displayName": "Vault operators", "externalId": "vault-operators"});
        self.scim(Method::POST, "/Groups", body).await["id"].as_str().unwrap().to_owned()
    }

    async fn member(&self, op: &str, group: &str, user: &str) {
        let operation = json!({"op": op, "path": "members", "value": [{"value": user}]});
        let body = json!({"Operations": [operation]});
        self.scim(Method::PATCH, &format!("/Groups/{group}"), body).await;
    }

    /// The assignments that Azure holds for a principal at the vault.
    async fn held(&self, principal: &str) -> Vec<Value> {
        let path = "providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01";
        let list = self.call(Method::GET, format!("{}{VAULT_EAST}/{path}", self.arm_url), None).await;
        let all = list["value"].as_array().unwrap().clone();
        all.into_iter().filter(|held| held["properties"]["principalId"] == principal).collect()
    }

    /// A tick that `local` began by itself may have somebody in hand, and then ours passes them by.
    async fn tick_until_held(&self, principal: &str, number: usize) {
        for _ in 0..100 {
            self.control(Method::POST, "/tick", None).await;
            if self.held(principal).await.len() == number {
                return;
            }
        }
        panic!("azure holds {:?}, not {number}", self.held(principal).await);
    }

    /// All such calls, until a restart: whoever looks at a person whose call is held sends one of their own.
    /// Whether the first assignment of the ledger is settled, once there is one.
    async fn first_settled(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ledger = self.control(Method::GET, "/ledger", None).await;
            if let Some(settled) = ledger["assignments"][0]["settled"].as_bool() {
                return settled;
            }
            assert!(Instant::now() < deadline, "nothing is in the ledger");
            self.control(Method::POST, "/tick", None).await;
        }
    }

    async fn hold_all(&self, method: &str) {
        let rule = json!({"action": "hold", "methods": [method]});
        self.control(Method::POST, "/rules", Some(rule)).await;
    }
}

#[tokio::test]
async fn killed_between_the_commit_and_the_call_the_role_appears_after_the_restart() {
    survives_kills(&[]).await;
}

#[tokio::test]
async fn killed_between_the_commit_and_the_call_the_role_appears_on_a_table_service_too() {
    let tables = azurite::own_connection_string();
    survives_kills(&["--tables", &tables]).await;
}

async fn survives_kills(arguments: &[&str]) {
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), arguments);
    let caller = Caller::of(&local);
    let (user, principal) = caller.provision("ana@contoso.example").await;
    let group = caller.group().await;
    caller.hold_all("PUT").await;
    caller.member("add", &group, &user).await;
    assert!(caller.held(&principal).await.is_empty());

    let local = local.restart();
    let caller = Caller::of(&local);
    caller.tick_until_held(&principal, 1).await;

    caller.hold_all("DELETE").await;
    caller.member("remove", &group, &user).await;
    assert_eq!(caller.held(&principal).await.len(), 1);

    let local = local.restart();
    let caller = Caller::of(&local);
    caller.tick_until_held(&principal, 0).await;
}

#[tokio::test]
async fn an_assignment_deleted_by_hand_comes_back_with_the_next_sweep() {
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &[]);
    let caller = Caller::of(&local);
    let (user, principal) = caller.provision("ana@contoso.example").await;
    let group = caller.group().await;
    caller.member("add", &group, &user).await;
    let name = caller.held(&principal).await[0]["name"].as_str().unwrap().to_owned();
    caller.control(Method::DELETE, &format!("/assignments/{name}"), None).await;
    assert!(caller.held(&principal).await.is_empty());

    caller.control(Method::POST, "/clock/advance", Some(json!({"seconds": 3700}))).await;
    caller.control(Method::POST, "/tick", None).await;
    assert_eq!(caller.held(&principal).await.len(), 1);
}

fn demo(state: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
        .args(["local", "--demo", "--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn the_demo_shows_every_step_and_passes_its_own_check() {
    let state = tempfile::tempdir().unwrap();
    let (code, text) = demo(state.path());
    assert_eq!(code, Some(0), "{text}");
    let steps: Vec<Vec<&str>> =
        text.split("\n\n").filter(|step| step.contains("who ")).map(|step| holders(step)).collect();
    let expected: [&[&str]; 7] = [
        &[],
        &["ana Backup Operator east", "ben Backup Operator east", "cleo Backup Reader west"],
        &["ana Backup Operator east", "ben Backup Operator east", "cleo Backup Reader west"],
        &["ana Backup Operator east", "cleo Backup Reader west"],
        &["ana Backup Operator east"],
        &["ana Backup Operator east", "cleo Backup Reader west"],
        &["cleo Backup Reader west"],
    ];
    assert_eq!(steps.len(), expected.len(), "{text}");
    for (step, expected) in steps.iter().zip(expected) {
        let mut lines: Vec<String> = step.iter().map(|line| short(line)).collect();
        lines.sort();
        assert_eq!(lines, expected, "{text}");
    }
}

fn holders(step: &str) -> Vec<&str> {
    step.lines().filter(|line| line.contains("@contoso.example")).collect()
}

/// `ana.1a2b3c4d@contoso.example  Backup Operator  east  binding …` as `ana Backup Operator east`.
fn short(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    format!("{} {} {} {}", words[0].split('.').next().unwrap(), words[1], words[2], words[3])
}

#[tokio::test]
async fn a_grant_broken_behind_the_services_back_fails_the_demo() {
    let state = tempfile::tempdir().unwrap();
    let mut local = LocalProcess::start(state.path(), &[]);
    let caller = Caller::of(&local);
    let (user, principal) = caller.provision("ana@contoso.example").await;
    let group = caller.group().await;
    caller.member("add", &group, &user).await;
    let name = caller.held(&principal).await[0]["name"].as_str().unwrap().to_owned();
    caller.control(Method::DELETE, &format!("/assignments/{name}"), None).await;
    local.kill();

    let (code, text) = demo(state.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("1 missing"), "{text}");
}

#[test]
fn a_bindings_file_with_mistakes_is_refused_with_all_of_them_and_nothing_is_made() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("bindings.json");
    std::fs::write(&file, r#"{"version": 2, "bindings": [{"name": "A", "role": "Owner"}]}"#).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
        .args(["local", "--listen", "127.0.0.1:0", "--state"])
        .arg(state.path().join("state"))
        .arg("--bindings")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for place in ["/version", "/bindings/0/name", "/bindings/0/role", "/bindings/0"] {
        assert!(text.contains(place), "{place} in {text}");
    }
    assert!(!state.path().join("state").exists());
}

#[tokio::test]
async fn on_a_table_service_the_rows_outlive_the_state_folder_and_live_by_the_simulated_clock() {
    let tables = azurite::own_connection_string();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let local = LocalProcess::start(first.path(), &["--tables", &tables]);
    let caller = Caller::of(&local);
    let (user, principal) = caller.provision("ana@contoso.example").await;
    let group = caller.group().await;
    caller.hold_all("PUT").await;
    caller.member("add", &group, &user).await;
    // Ticks of its own are under way beside these, and look when they want to.
    assert!(!caller.first_settled().await, "the held call may still land");
    caller.control(Method::DELETE, "/rules", None).await;
    let deadline = Instant::now() + PATIENCE;
    while !caller.first_settled().await {
        assert!(Instant::now() < deadline, "its time has passed");
        // A call that was slow begins its time anew.
        caller.control(Method::POST, "/clock/advance", Some(json!({"seconds": 400}))).await;
        caller.control(Method::POST, "/tick", None).await;
    }
    assert_eq!(caller.held(&principal).await.len(), 1);
    drop(local);

    let file = second.path().join("connection");
    std::fs::write(&file, &tables).unwrap();
    let local = LocalProcess::start(second.path(), &["--tables", &format!("@{}", file.display())]);
    let caller = Caller::of(&local);
    let found = caller.call(Method::GET, format!("{}/Users/{user}", caller.base_url), None).await;
    assert_eq!(found["userName"], "ana@contoso.example");
}

#[test]
fn a_connection_string_that_cannot_be_used_is_refused_without_its_key() {
    let local = |tables: &str| {
        let state = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .args(["local", "--listen", "127.0.0.1:0", "--tables", tables, "--state"])
            .arg(state.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let key = "c2VjcmV0LWtleQ==";
    for (tables, code) in [
        (format!("AccountName=acme;AccountKey={key};Colour=red"), 2),
        (format!("AccountName=acme;AccountKey={key};TableEndpoint=http://10.0.0.1"), 2),
        ("@/nowhere".to_owned(), 2),
        (format!("AccountName=acme;AccountKey={key};TableEndpoint=http://127.0.0.1:1/acme"), 3),
    ] {
        let (status, text) = local(&tables);
        assert_eq!(status, Some(code), "{text}");
        assert!(!text.contains(key), "{text}");
    }
}
