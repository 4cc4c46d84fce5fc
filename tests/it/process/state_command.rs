//! `state` and `recover` as processes, on tables of Azurite and against a `local` that keeps its rows there.

use crate::storage::azurite;
use crate::support::harness::{VAULT_EAST, bindings_file};
use crate::support::idp::{Idp, member};
use crate::support::local_process::LocalProcess;
use azure_backup_scim::ports::tables::{EtagMatch, KeyRange, TableOps, TableWrite};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;
use uuid::Uuid;

const FINDINGS: i32 = 1;
const USAGE: i32 = 2;
/// The table of a `local` on a table service.
const LOCAL_TABLE: &str = "scimlocal";

/// A `local` whose rows are in an account of their own, with a person who holds a role.
struct Desk {
    local: LocalProcess,
    tables: String,
    folder: TempDir,
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[track_caller]
fn ends_with(output: &Output, code: i32, said: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    assert!(text(output).contains(said), "{said} in {}", text(output));
}

impl Desk {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bindings = folder.path().join("bindings.json");
        let binding = json!({"name": "operators", "group": {"externalId": "vault-operators"}, "role": "Backup Operator",
            "scope": VAULT_EAST});
        std::fs::write(&bindings, bindings_file(&[binding])).unwrap();
        let tables = azurite::own_connection_string();
        let bindings = bindings.display().to_string();
        let arguments = ["--tables", &tables, "--bindings", &bindings];
        let local = LocalProcess::start(&folder.path().join("state"), &arguments);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        let ana = idp.create_user("ana@contoso.example", Uuid::new_v4()).await;
        let group = idp.create_group("vault-operators").await;
        idp.patch(&format!("/Groups/{group}"), member("add", &ana)).await;
        let desk = Self { local, tables, folder };
        desk.post("tick").await;
        assert_eq!(desk.held().await.len(), 1);
        desk
    }

    async fn post(&self, path: &str) {
        let url = format!("{}/{path}", self.local.ready.control_url);
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// What the simulated Azure holds.
    async fn held(&self) -> Vec<Value> {
        let url = format!("{}/assignments", self.local.ready.control_url);
        let answer = reqwest::Client::new().get(url).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        body.as_array().cloned().unwrap_or_default()
    }

    /// A command of the operator Olga on that table.
    fn on_table(&self, table: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .args(arguments)
            .args(["--tables", &self.tables])
            .env_clear()
            .env("USER", "olga")
            .env("TABLES_TABLE", table)
            .output()
            .unwrap()
    }

    /// The same on the running `local`.
    fn on_local(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .args(arguments)
            .args(["--control-url", &self.local.ready.control_url])
            .env_clear()
            .env("USER", "olga")
            .output()
            .unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The lines of an export without header and footer.
fn rows(file: &PathBuf) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter(|line| line.starts_with(r#"{"key":"#)).map(str::to_owned).collect()
}

#[actix_web::test]
async fn a_state_goes_into_a_file_and_into_an_empty_table() {
    let mut desk = Desk::open().await;
    desk.local.kill();
    let (file, again) = (desk.file("state.ndjson"), desk.file("again.ndjson"));
    let [file_text, again_text] = [&file, &again].map(|path| path.display().to_string());
    let exported = desk.on_table(LOCAL_TABLE, &["state", "export", "--out", &file_text]);
    ends_with(&exported, 0, "exact: nothing was changed");
    assert!(!desk.file("state.ndjson.part").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    ends_with(&desk.on_table(LOCAL_TABLE, &["state", "export", "--out", &file_text]), USAGE, "there already");
    let check = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
        command.args(["state", "check"]).arg(desk.file(name)).arg("--json").env_clear().output().unwrap()
    };
    let checked: Value = serde_json::from_slice(&check("state.ndjson").stdout).unwrap();
    assert_eq!(
        (&checked["whole"], &checked["exact"], &checked["tenant"]),
        (&json!(true), &json!(true), &json!("default"))
    );

    let azurite = azurite::client(&desk.tables, "restored");
    azurite.create_table().await.unwrap();
    let cut: Vec<u8> = std::fs::read(&file).unwrap();
    std::fs::write(desk.file("cut.ndjson"), &cut[..cut.len() - 200]).unwrap();
    ends_with(&check("cut.ndjson"), FINDINGS, "cut off");
    let restore = |name: &str| {
        let path = desk.file(name).display().to_string();
        desk.on_table("restored", &["state", "restore", &path, "--because", "the table was deleted"])
    };
    ends_with(&restore("cut.ndjson"), FINDINGS, "cut off");
    ends_with(&restore("state.ndjson"), 0, "restored and compared");
    ends_with(&restore("state.ndjson"), 0, "restored before");
    let onto_itself = desk.on_table(LOCAL_TABLE, &["state", "restore", &file_text, "--because", "a mistake"]);
    ends_with(&onto_itself, USAGE, "holds a state already");

    let exported = desk.on_table("restored", &["state", "export", "--out", &again_text, "--json"]);
    let line: Value = serde_json::from_slice(&exported.stdout).unwrap();
    let (before, after) = (rows(&file), rows(&again));
    assert_eq!(line["rows"], after.len());
    assert!(before.is_subset(&after));
    let new: Vec<&String> = after.difference(&before).collect();
    assert_eq!(new.len(), 3, "the pause, the outcome and the record: {new:?}");
    azurite::client(&desk.tables, "orders").create_table().await.unwrap();
    ends_with(&desk.on_table("restored", &["orders"]), 0, "state-restore");
    ends_with(&desk.on_table("restored", &["audit", "--kind", "state-restored", "--since", "1h"]), 0, "olga");
}

#[actix_web::test]
async fn what_the_ledger_lost_comes_back_by_an_order_with_the_hash_of_its_plan() {
    let desk = Desk::open().await;
    ends_with(&desk.on_local(&["recover"]), 0, "Nothing of ours was lost");
    ends_with(&desk.on_local(&["recover", "--begin", "--because", "a try"]), FINDINGS, "not lost");
    let azurite = azurite::client(&desk.tables, LOCAL_TABLE);
    let range = KeyRange { from: "l:".to_owned(), to: "l;".to_owned(), rows_max: 100, continuation: None };
    for row in azurite.page("default", &range).await.unwrap().value.rows {
        let delete = TableWrite::Delete { key: row.key, condition: EtagMatch::Any };
        azurite.transact("default", &[delete]).await.unwrap();
    }
    let before = desk.held().await;

    let shown = desk.on_local(&["recover"]);
    ends_with(&shown, FINDINGS, "lost-ours  kept");
    let plan: Value = serde_json::from_slice(&desk.on_local(&["recover", "--json"]).stdout).unwrap();
    assert_eq!(plan["lost"][0]["follows"], "kept");
    let hash = plan["hash"].as_str().unwrap();
    assert!(
        text(&shown).contains(&format!("azure-backup-scim recover {hash} --because TEXT")),
        "{}",
        text(&shown)
    );
    ends_with(&desk.on_local(&["recover", hash]), USAGE, "--because");
    let old = "0".repeat(64);
    ends_with(&desk.on_local(&["recover", &old, "--because", "an old plan"]), FINDINGS, hash);
    ends_with(
        &desk.on_local(&["recover", hash, "--because", "the ledger was deleted"]),
        0,
        "1 stay, 0 are revoked",
    );
    desk.post("tick").await;
    ends_with(&desk.on_local(&["recover"]), 0, "Nothing of ours was lost");
    assert_eq!(desk.held().await, before, "nothing was written over");
}
