//! `audit export` and `audit verify` as processes: against a `local` that runs, and then without it.

use crate::process::operator_commands::Desk;
use crate::support::idp::member;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};
use uuid::Uuid;

fn verify(file: &Path, heads: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
    command.args(["audit", "verify"]).arg(file).arg("--heads").arg(heads).args(more).env_clear();
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn order(desk: &Desk, path: &str, body: serde_json::Value) {
    let url = format!("{}{path}", desk.local.ready.control_url);
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

#[actix_web::test]
async fn an_exported_audit_is_verified_without_the_service() {
    let desk = Desk::open();
    let ana = desk.idp.create_user("ana@contoso.example", Uuid::new_v4()).await;
    let group = desk.idp.create_group("vault-operators").await;
    desk.idp.patch(&format!("/Groups/{group}"), member("add", &ana)).await;
    for _ in 0..2 {
        order(&desk, "/clock/advance", json!({"seconds": 86_400})).await;
        order(&desk, "/tick", json!({})).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, heads) = (folder.path().join("audit.jsonl"), folder.path().join("heads"));
    let (file_text, heads_text) = (file.to_str().unwrap(), heads.to_str().unwrap());

    let exported = desk.run(&["audit", "export", file_text, "--heads", heads_text]);

    assert!(exported.status.success(), "{exported:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().count() > 4, "{text}");
    let from_table = desk.run(&["audit", "verify", file_text, "--json"]);
    assert_eq!(from_table.status.code(), Some(0), "{from_table:?}");
    assert!(String::from_utf8_lossy(&from_table.stderr).contains("the heads are those of the table"));
    let again = desk.run(&["audit", "export", file_text]);
    assert_eq!(again.status.code(), Some(2), "a file that is there is kept: {again:?}");
    let (other, first) = (folder.path().join("other.jsonl"), heads.join("0000000000"));
    let head = std::fs::read(&first).unwrap();
    std::fs::write(&first, "another head").unwrap();
    let refused = desk.run(&["audit", "export", other.to_str().unwrap(), "--heads", heads_text]);
    assert_eq!(refused.status.code(), Some(2), "a head that is there is kept: {refused:?}");
    assert_eq!(std::fs::read(&first).unwrap(), b"another head");
    assert!(!other.exists(), "what is not whole is no export");
    std::fs::write(&first, head).unwrap();
    drop(desk);

    let verified = verify(&file, &heads, &[]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert!(said(&verified).starts_with(&format!("verified: {} records, heads 0 to ", text.lines().count())));
    let json: serde_json::Value = serde_json::from_str(&said(&verify(&file, &heads, &["--json"]))).unwrap();
    assert_eq!((&json["verified"], &json["headsFrom"]), (&json!(true), &json!("folder")));
    let day = json["firstDay"].as_str().unwrap().to_owned();

    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&file, lines[1..].join("\n") + "\n").unwrap();
    let op = lines[0].split('"').nth(3).unwrap();
    let fewer = verify(&file, &heads, &[]);
    assert_eq!(fewer.status.code(), Some(1), "{fewer:?}");
    assert_eq!(said(&fewer).trim_end(), format!("missing record {op} head 0 day {day} line 1"));
    let json: serde_json::Value = serde_json::from_str(&said(&verify(&file, &heads, &["--json"]))).unwrap();
    assert_eq!((&json["kind"], &json["record"], &json["line"]), (&json!("missing"), &json!(op), &json!(1)));

    std::fs::write(&file, &text).unwrap();
    let before = vec!["--since", "2020-01-01"];
    let reversed = vec!["--since", "2999-01-02", "--until", "2999-01-01"];
    let mistakes = [before, reversed, vec!["--since", "yesterday"], vec!["--since", "2999-01-01"]];
    for (arguments, code) in mistakes.map(|arguments| (arguments, 2)) {
        assert_eq!(verify(&file, &heads, &arguments).status.code(), Some(code), "{arguments:?}");
    }
    assert_eq!(verify(&folder.path().join("none"), &heads, &[]).status.code(), Some(2));
    assert_eq!(verify(&file, &folder.path().join("none"), &[]).status.code(), Some(2));
}
