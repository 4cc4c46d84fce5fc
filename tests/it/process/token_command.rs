//! `token` as a process, on the vault of a running `local`.

use crate::support::local_process::LocalProcess;
use serde_json::{Value, json};
use std::process::{Command, Output};

const LABEL: &str = "okta";

struct Vault {
    local: LocalProcess,
    _state: tempfile::TempDir,
}

impl Vault {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        Self { local: LocalProcess::start(state.path(), &[]), _state: state }
    }

    fn token(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
        command.arg("token").args(arguments).args(["--vault", &self.local.ready.vault_url]);
        command.env("AZURE_CREDENTIAL", "static").env("AZURE_STATIC_TOKEN", "any");
        command.output().unwrap()
    }

    /// Versions of one second are told apart by their ids alone.
    fn pass_a_second(&self) {
        azure_backup_scim::app::install_tls();
        let advance = async {
            let url = format!("{}/clock/advance", self.local.ready.control_url);
            let answer =
                reqwest::Client::new().post(url).json(&json!({ "seconds": 1 })).send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
        };
        tokio::runtime::Runtime::new().unwrap().block_on(advance);
    }

    #[track_caller]
    fn made(&self, label: &str) -> Value {
        let output = self.token(&["new", "--label", label, "--show", "--json"]);
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Version and standing, the newest first.
    fn listed(&self) -> Vec<(String, String)> {
        let output = self.token(&["list", "--json"]);
        assert!(output.status.success(), "{}", said(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        let read = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            (text(&line, "version"), text(&line, "standing"))
        };
        lines.lines().map(read).collect()
    }

    fn standing(&self, version: &str) -> String {
        self.listed().into_iter().find(|(id, _)| id == version).unwrap().1
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Facts: F-191.
#[test]
fn a_token_is_made_listed_and_revoked() {
    let vault = Vault::start();
    assert_eq!(vault.listed(), []);
    let first = vault.made(LABEL);
    let second = vault.made(LABEL);
    let (one, two) = (first["version"].as_str().unwrap(), second["version"].as_str().unwrap());
    for made in [&first, &second] {
        let token = made["token"].as_str().unwrap();
        assert!(token.len() == 64 && token.bytes().all(|b| b.is_ascii_hexdigit()), "{token}");
    }
    assert_ne!(first["token"], second["token"]);
    assert_eq!((vault.standing(one), vault.standing(two)), ("valid".to_owned(), "valid".to_owned()));

    // What is listed shows no token.
    let listed = vault.token(&["list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains(one) && listed.contains(LABEL), "{listed}");
    assert!(!listed.contains(first["token"].as_str().unwrap()), "{listed}");

    let revoked = vault.token(&["revoke", &one[..8]]);
    assert!(revoked.status.success(), "{}", said(&revoked));
    assert_eq!((vault.standing(one), vault.standing(two)), ("disabled".to_owned(), "valid".to_owned()));
    let again = vault.token(&["revoke", one]);
    assert!(again.status.success(), "{}", said(&again));

    // The last one of a label would lock its identity provider out.
    let last = vault.token(&["revoke", two]);
    assert_eq!(last.status.code(), Some(2));
    assert!(said(&last).contains("token new --label okta"), "{}", said(&last));
    assert_eq!(vault.standing(two), "valid");
    assert!(vault.token(&["revoke", two, "--last"]).status.success());
    assert_eq!(vault.standing(two), "disabled");
}

/// Of each label two count, whatever others have.
#[test]
fn a_third_token_of_a_label_replaces_the_first() {
    let vault = Vault::start();
    let other = vault.made("entra");
    let first = vault.made(LABEL);
    vault.pass_a_second();
    let second = vault.made(LABEL);
    vault.pass_a_second();
    // The token in use may be the one that would count no longer.
    let refused = vault.token(&["new", "--label", LABEL, "--show"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains(first["version"].as_str().unwrap()), "{}", said(&refused));
    assert_eq!(vault.listed().len(), 3);
    let third = vault.token(&["new", "--label", LABEL, "--show", "--json", "--replace"]);
    let third: Value = serde_json::from_slice(&third.stdout).unwrap();
    assert_eq!(second["replaced"], json!([]));
    assert_eq!(third["replaced"], json!([first["version"]]));
    let standing = |made: &Value| vault.standing(made["version"].as_str().unwrap());
    assert_eq!([&first, &second, &third, &other].map(standing), ["replaced", "valid", "valid", "valid"]);
}

#[test]
fn a_mistake_makes_no_token() {
    let vault = Vault::start();
    let mistakes: [(&[&str], &str); 7] = [
        (&["new", "--label", "okta"], "--show"),
        (&["new", "--label", "a b", "--show"], "is no label"),
        (&["new", "--label", "service", "--show"], "is no label"),
        (&["new", "--label", "unlabelled", "--show"], "is no label"),
        (&["new", "--days", "0", "--show"], "0"),
        (&["revoke", "abcdef"], "no version begins with"),
        (&["list", "--secret", "no name"], "must be the name of a secret"),
    ];
    for (arguments, why) in mistakes {
        let output = vault.token(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(why), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(vault.listed(), []);
}
