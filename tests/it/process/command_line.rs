//! The commands as processes: what a mistake of the caller ends with.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Mistakes of usage or configuration.
const USAGE: i32 = 2;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
        .args(arguments)
        .env_clear()
        .env("TABLES_ENDPOINT", "ftp://nowhere")
        .output()
        .unwrap()
}

#[track_caller]
fn check(arguments: &[&str], said: &str) {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {text}");
    assert!(text.contains(said), "{arguments:?}: {text}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_mistake_of_usage_ends_with_2_and_says_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bindings.json");
    std::fs::write(&file, include_str!("../../../src/local/bindings.json")).unwrap();
    let nowhere = folder.path().join("no such folder").join("stamp");
    let under_a_file = file.join("state");
    std::fs::write(folder.path().join("token"), "short").unwrap();
    check(&["audit", "--control-url", "foo"], "is not a control address");
    check(&["audit", "--tables", &format!("@{}", text(&nowhere))], "cannot read");
    check(&["audit", "--kind", "member-addd"], "member-added");
    check(&["local", "--state", text(&under_a_file)], "cannot use the state folder");
    check(&["local", "--state", text(folder.path())], "no token of 32 characters");
    check(&["local", "--json", "--demo"], "cannot be used with");
    check(&["config", "stamp", "--file", text(&file), "--out", text(&nowhere)], "cannot write");
    check(
        &["config", "stamp", "--file", text(&file), "--out", text(&file)],
        "take the place of the bindings",
    );
    assert!(std::fs::read_to_string(&file).unwrap().contains("vault-operators"));
}

#[test]
fn a_port_that_is_taken_is_a_mistake_of_usage_wherever_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(&["local", "--listen", &address, "--state", text(folder.path())], "cannot listen");
    check(&["local", "--listen", &address, "--state", text(folder.path())], "--listen");
    check(&["serve", "--listen", &address], "cannot listen");
    check(&["serve", "--listen", &address], "--listen");
}

#[test]
fn the_mistakes_of_the_file_and_of_the_settings_are_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bindings.json");
    std::fs::write(&file, r#"{"version": 2, "bindings": []}"#).unwrap();
    check(&["config", "check", "--settings", text(&file)], "/version");
    check(&["config", "check", "--settings", text(&file)], "TABLES_ENDPOINT");
}

#[test]
fn the_name_of_the_binding_of_drills_is_refused_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bindings.json");
    let scope = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup";
    let group = serde_json::json!({"externalId": "fire-drill"});
    let binding =
        serde_json::json!({"name": "drill", "group": group, "role": "Backup Reader", "scope": scope});
    std::fs::write(&file, serde_json::json!({"version": 1, "bindings": [binding]}).to_string()).unwrap();
    let said = "/bindings/0/name: \"drill\" is reserved for the binding of drills";
    check(&["config", "check", text(&file)], said);
    check(&["config", "stamp", "--file", text(&file)], said);
    assert!(!folder.path().join("bindings.stamp").exists());
}

const MISTAKEN: &str = r#"{
  "version": 1,
  "bindings": [
    { "name": "east", "gruop": { "externalId": "a" }, "role": "Backup Operater",
      "scope": "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup" }
  ]
}
"#;

#[test]
fn a_mistake_has_its_line_its_binding_and_the_word_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("next.json");
    std::fs::write(&file, MISTAKEN).unwrap();
    let said = |what: &str| check(&["config", "check", text(&file)], what);
    said("next.json:4:23: binding east: /bindings/0/gruop: is not known here: did you mean \"group\"?");
    said(
        "next.json:4:55: binding east: /bindings/0/role: \"Backup Operater\" is not a role that is handed out: did you mean",
    );
    said("next.json:4:5: binding east: /bindings/0: \"group\" is missing");
    std::fs::write(&file, "{ \"version\": }").unwrap();
    said("next.json: the file: is not JSON: expected value at line 1 column 14");
}

#[test]
fn a_file_is_checked_from_the_standard_input_and_as_json() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
        .args(["config", "check", "-", "--json"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(MISTAKEN.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mistakes = told["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 3, "{told:#}");
    assert!(mistakes.iter().all(|mistake| mistake["binding"] == "east" && mistake["line"] == 4), "{told:#}");
    assert_eq!((&told["bindings"], &told["settings"]), (&serde_json::Value::Null, &serde_json::Value::Null));
}

#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_refused_for_its_length() {
    check(&["config", "check", "/dev/zero"], "614400 are allowed");
}
