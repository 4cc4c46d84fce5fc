//! The state folder of `local`: what is in it is its owner's alone, belongs together, and to one process at a time.

use crate::support::harness::VAULT_EAST;
use crate::support::local_process::LocalProcess;
use reqwest::Client;
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// `local` on a folder on which it does not start: the exit code and what it says.
fn refused(state: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
        .args(["local", "--listen", "127.0.0.1:0", "--demo", "--state"])
        .arg(state)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_folder_in_use_is_said_to_be_in_use_and_which_option_chooses_another() {
    let state = tempfile::tempdir().unwrap();
    let running = LocalProcess::start(state.path(), &[]);
    let (code, text) = refused(state.path());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("in use by another process") && text.contains("--state"), "{text}");
    drop(running);
    LocalProcess::start(state.path(), &[]);
}

#[tokio::test]
async fn rows_that_are_gone_or_cut_off_are_not_replaced_by_none_while_azure_holds_roles() {
    let state = tempfile::tempdir().unwrap();
    let mut local = LocalProcess::start(state.path(), &[]);
    let url = format!("{}/assignments", local.ready.control_url);
    let person = "4f3b6c1e-8a1d-4a8e-9a53-0d6c1f2e7b90";
    let grant = json!({"scope": VAULT_EAST, "role": "backup operator", "principal": person});
    assert_eq!(Client::new().post(url).json(&grant).send().await.unwrap().status(), 201);
    local.kill();
    let table = state.path().join("tables.redb");
    let whole = std::fs::read(&table).unwrap();

    for length in [0, whole.len() / 2] {
        std::fs::write(&table, &whole[..length]).unwrap();
        let (code, text) = refused(state.path());
        assert_eq!(code, Some(3), "{text}");
        assert!(text.contains("tables.redb is cut off") && text.contains("--state"), "{text}");
    }
    std::fs::remove_file(&table).unwrap();
    let (code, text) = refused(state.path());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("is missing") && text.contains("1 role assignments"), "{text}");
    assert!(!table.exists());

    std::fs::write(&table, &whole).unwrap();
    LocalProcess::start(state.path(), &[]);
}

#[cfg(unix)]
#[test]
fn every_file_of_an_existing_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let state = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(state.path(), 0o755);
    let files = ["tables.redb", "token", "azure.json", "lock"].map(|name| state.path().join(name));
    for _ in 0..2 {
        let mut local = LocalProcess::start(state.path(), &[]);
        local.kill();
        for file in &files {
            assert_eq!(mode(file), 0o600, "{}", file.display());
            // As an earlier release, or a copy, left them.
            open(file, 0o644);
        }
        std::fs::write(state.path().join("azure.json.tmp"), "").unwrap();
        open(&state.path().join("azure.json.tmp"), 0o644);
    }
}
