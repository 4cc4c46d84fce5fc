//! `plan` as a process against a `local` that runs, and `local` with a changed file.

use crate::support::harness::{VAULT_EAST, VAULT_WEST, bindings_file};
use crate::support::idp::{Idp, member};
use crate::support::local_process::LocalProcess;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

const FINDINGS: i32 = 1;
const USAGE: i32 = 2;
/// How long a role may take to move on a busy machine.
const MOVED_WITHIN: Duration = Duration::from_secs(60);

/// A person in the bound group of a running `local`, and two files.
struct Desk {
    local: LocalProcess,
    arguments: Vec<String>,
    idp: Idp,
    ana: String,
    folder: TempDir,
}

fn binding(scope: &str) -> Value {
    json!({"name": "operators", "group": {"externalId": "vault-operators"}, "role": "Backup Operator", "scope": scope})
}

fn write(folder: &Path, name: &str, bindings: &[Value]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bindings_file(bindings)).unwrap();
    path
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

impl Desk {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let east = write(folder.path(), "east.json", &[binding(VAULT_EAST)]);
        write(folder.path(), "west.json", &[binding(VAULT_WEST)]);
        let arguments = vec!["--bindings".to_owned(), east.display().to_string()];
        let local = LocalProcess::start(&folder.path().join("state"), &["--bindings", &arguments[1]]);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        let ana = idp.create_user("ana@contoso.example", Uuid::new_v4()).await;
        let group = idp.create_group("vault-operators").await;
        idp.patch(&format!("/Groups/{group}"), member("add", &ana)).await;
        Self { local, arguments, idp, ana, folder }
    }

    fn plan(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
        command.arg("plan").args(arguments).args(["--control-url", &self.local.ready.control_url]);
        command.env_clear().output().unwrap()
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `local` with another file and nobody at the terminal, until it ends.
    fn local_with(&self, name: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .args(["local", "--listen", "127.0.0.1:0", "--json", "--bindings", &self.file(name), "--state"])
            .arg(self.folder.path().join("state"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The scopes of the person's grants.
    async fn scopes(&self) -> Vec<String> {
        let idp = Idp::new(&self.local.ready.base_url, &self.local.ready.token);
        let body = idp.get(&format!("/Users/{}?attributes=grants", self.ana)).await.body;
        let own = &body["urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User"]["grants"];
        let grants = own.as_array().cloned().unwrap_or_default();
        grants.iter().map(|grant| grant["scope"].as_str().unwrap().to_owned()).collect()
    }
}

#[actix_web::test]
async fn plan_shows_what_a_file_would_change_before_it_is_active() {
    let desk = Desk::open().await;
    let now = desk.plan(&[]);
    assert_eq!(now.status.code(), Some(0), "{}", text(&now));
    assert!(text(&now).contains("1 person read: 0 grants, 0 revocations"), "{}", text(&now));

    let west = desk.plan(&["--bindings", &desk.file("west.json")]);
    assert_eq!(west.status.code(), Some(FINDINGS));
    let said = text(&west);
    for line in [
        "  revokes Backup Operator @ east from 1 person\n    ana@contoso.example\n",
        "  grants Backup Operator @ west to 1 person\n    ana@contoso.example\n",
        "this file waits for an operator (it causes 1 revocation)",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let object: Value =
        serde_json::from_slice(&desk.plan(&["--bindings", &desk.file("west.json"), "--json"]).stdout)
            .unwrap();
    assert_eq!((&object["revocations"], &object["waits"]), (&json!(1), &json!(true)));
    assert_eq!(object["people"][0]["userName"], "ana@contoso.example");
    let (hash, control) = (object["hash"].as_str().unwrap(), &desk.local.ready.control_url);
    let next = format!("  azure-backup-scim apply {hash} --because TEXT --control-url {control}\n");
    assert!(said.ends_with(&next), "{next} in {said}");
    assert_eq!(desk.scopes().await, [VAULT_EAST]);
    assert_eq!(desk.idp.get("/Users").await.status, 200);
}

#[actix_web::test]
async fn a_mistake_is_told_and_plans_nothing() {
    let desk = Desk::open().await;
    std::fs::write(desk.folder.path().join("broken.json"), "{}").unwrap();
    for (arguments, said) in [
        (vec!["--bindings".to_owned(), desk.file("missing.json")], "cannot read"),
        (vec!["--bindings".to_owned(), desk.file("broken.json")], "\"version\" is missing"),
        (vec!["--pending".to_owned()], "no bundled file waits"),
        (
            vec!["--pending".to_owned(), "--bindings".to_owned(), desk.file("west.json")],
            "cannot be used with",
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = desk.plan(&arguments);
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(said), "{arguments:?}: {}", text(&output));
    }
}

#[actix_web::test]
async fn a_changed_file_of_local_needs_a_yes_where_it_takes_roles_away() {
    let mut desk = Desk::open().await;
    desk.local.kill();
    let refused = desk.local_with("west.json");
    assert_eq!(refused.status.code(), Some(USAGE));
    let said = text(&refused);
    assert!(said.contains("it causes 1 revocation; nothing was changed") && said.contains("--yes"), "{said}");

    // The file of before goes on as if nothing had been.
    let state = desk.folder.path().join("state");
    let arguments: Vec<&str> = desk.arguments.iter().map(String::as_str).collect();
    desk.local = LocalProcess::start(&state, &arguments);
    assert_eq!(desk.scopes().await, [VAULT_EAST]);
    desk.local.kill();

    // A file that only adds needs nothing.
    let more = json!({"name": "more", "group": {"externalId": "more"}, "role": "Backup Reader", "scope": VAULT_EAST});
    write(desk.folder.path(), "more.json", &[binding(VAULT_EAST), more]);
    desk.local = LocalProcess::start(&state, &["--bindings", &desk.file("more.json")]);
    desk.local.kill();

    desk.local = LocalProcess::start(&state, &["--bindings", &desk.file("west.json"), "--yes"]);
    let tick = format!("{}/tick", desk.local.ready.control_url);
    let deadline = Instant::now() + MOVED_WITHIN;
    while Instant::now() < deadline {
        reqwest::Client::new().post(&tick).send().await.unwrap();
        if desk.scopes().await == [VAULT_WEST] {
            return;
        }
    }
    panic!("the role did not move: {:?}", desk.scopes().await);
}
