//! Microsoft's own clients for Python and JavaScript, unchanged, against `local --tls`: both go through [`STEPS`].
//!
//! They are installed below the target folder, in the versions that `clients/` pins. Where they cannot be installed, the
//! tests say so aloud and pass.

use crate::support::installed::{folder, installed, python_with, said, said_if_not_installed};
use crate::support::local_process::LocalProcess;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What each step does, and what must come of it. `clients/steps.py` and `clients/steps.mjs` do them in this order. A page
/// of a list has one entry.
const STEPS: [(&str, &str); 18] = [
    ("creates an assignment of Backup Reader at the vault for Jane", "{ONE} User {JANE} {READER} east"),
    ("creates the same again", "{ONE} User {JANE} {READER} east"),
    ("creates it under another name: a conflict", "409 RoleAssignmentExists"),
    ("creates one of Backup Operator under its name", "400 RoleAssignmentUpdateNotPermitted"),
    ("creates one of Backup Operator at the resource group for John", "{TWO} User {JOHN} {OPERATOR} backup"),
    ("lists at, above and below the vault, in pages", "{ONE} {TWO} in 2 pages"),
    ("lists at and above the resource group: atScope()", "{TWO}"),
    ("lists by principal: principalId eq Jane", "{ONE}"),
    ("lists by principal: assignedTo John", "{TWO}"),
    ("gets the first one", "{ONE} User {JANE} {READER} east"),
    ("deletes it", "{ONE} User {JANE} {READER} east"),
    ("deletes it again", "nothing"),
    ("gets it: an error of the client's own type", "404 RoleAssignmentNotFound"),
    ("gets a role definition", "Backup Reader"),
    ("lists role definitions by roleName", "{OPERATOR}"),
    ("sets a secret twice, gets the latest and the first version", "two one"),
    ("lists the versions of the secret", "2 enabled"),
    ("gets a secret that does not exist", "404 SecretNotFound"),
];

const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup";
const VAULT: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/east";

/// What the steps are done with: roles, people and names of assignments.
const VALUES: [(&str, &str); 7] = [
    ("READER", "a795c7a0-d4a2-40c1-ae25-d81f01202912"),
    ("OPERATOR", "00c29273-979b-4161-815c-10b084fb9324"),
    ("JANE", "4f3b6c1e-8a1d-4a8e-9a53-0d6c1f2e7b90"),
    ("JOHN", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("ONE", "11111111-1111-4111-8111-111111111111"),
    ("TWO", "22222222-2222-4222-8222-222222222222"),
    ("OTHER", "33333333-3333-4333-8333-333333333333"),
];

const REQUIREMENTS: &str = include_str!("clients/requirements.txt");
const PACKAGE: &str = include_str!("clients/package.json");
const PACKAGE_LOCK: &str = include_str!("clients/package-lock.json");

/// Facts: F-001, F-002, F-014, F-087, F-089, F-094, F-104, F-105, F-169.
#[actix_web::test]
async fn the_clients_for_python_go_through_every_step() {
    let Some(python) = said_if_missing("Python", python()) else { return };
    let azure = TlsAzure::start();
    azure.set_page_size(1).await;

    let output = azure.run(python, include_str!("clients/steps.py"));

    assert_steps(&output);
    azure.assert_all_recognised().await;
}

/// Facts: F-001, F-002, F-014, F-087, F-089, F-094, F-104, F-105, F-169, F-171.
#[actix_web::test]
async fn the_clients_for_javascript_go_through_every_step() {
    let Some(node) = said_if_missing("JavaScript", node()) else { return };
    let azure = TlsAzure::start();
    azure.set_page_size(1).await;

    let output = azure.run(node, include_str!("clients/steps.mjs"));

    assert_steps(&output);
    azure.assert_all_recognised().await;
}

#[actix_web::test]
async fn the_examples_of_the_documentation_run() {
    for (language, fence, client) in [("Python", "python", python()), ("JavaScript", "js", node())] {
        let Some(client) = said_if_missing(language, client) else { continue };
        let azure = TlsAzure::start();

        let output = azure.run(client, example(fence));

        assert_eq!(output.trim(), "hello", "{language}");
        azure.assert_all_recognised().await;
    }
}

/// The one example in that language.
fn example(fence: &str) -> &'static str {
    let page = include_str!("../../../docs/local.md");
    let (_, example) = page.split_once(&format!("```{fence}\n")).unwrap();
    example.split_once("```").unwrap().0
}

fn assert_steps(output: &str) {
    let mut lines = output.lines();
    for (number, (step, expected)) in STEPS.iter().enumerate() {
        let expected = VALUES
            .iter()
            .fold((*expected).to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
        assert_eq!(lines.next(), Some(format!("{} {expected}", number + 1).as_str()), "the client {step}");
    }
    assert_eq!(lines.next(), None);
}

/// A `local --tls` of its own.
struct TlsAzure {
    local: LocalProcess,
    _state: tempfile::TempDir,
}

impl TlsAzure {
    fn start() -> Self {
        azure_backup_scim::app::install_tls();
        let state = tempfile::tempdir().unwrap();
        Self { local: LocalProcess::start(state.path(), &["--tls"]), _state: state }
    }

    /// What a program says that is given to an interpreter.
    fn run(&self, mut interpreter: Command, program: &str) -> String {
        let ready = &self.local.ready;
        let ca_file = ready.ca_file.as_ref().unwrap();
        let mut child = interpreter
            .env("ARM_URL", &ready.arm_url)
            .env("VAULT_URL", &ready.vault_url)
            .env("REQUESTS_CA_BUNDLE", ca_file)
            .env("NODE_EXTRA_CA_CERTS", ca_file)
            .env("NO_PROXY", "127.0.0.1")
            .env("SUBSCRIPTION", SUBSCRIPTION)
            .env("GROUP", GROUP)
            .env("VAULT", VAULT)
            .envs(VALUES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let (said, complaints) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{said}{complaints}");
        said.into_owned()
    }

    fn control(&self, path: &str) -> String {
        format!("{}{path}", self.local.ready.control_url)
    }

    async fn set_page_size(&self, page_size: u32) {
        let client = reqwest::Client::new();
        let limits = client.get(self.control("/limits")).send().await.unwrap();
        let mut limits: serde_json::Value = limits.json().await.unwrap();
        limits["page_size"] = page_size.into();
        let set = client.put(self.control("/limits")).json(&limits).send().await.unwrap();
        assert!(set.status().is_success());
    }

    async fn assert_all_recognised(&self) {
        let unrecognised = reqwest::get(self.control("/unrecognised")).await.unwrap();
        assert_eq!(unrecognised.text().await.unwrap(), "[]");
    }
}

fn said_if_missing<T>(language: &str, found: Result<T, String>) -> Option<T> {
    said_if_not_installed(&format!("Microsoft's clients for {language}"), found)
}

/// Python, with the clients.
fn python() -> Result<Command, String> {
    static HOME: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let mut python = python_with(&HOME, "azure-clients-python", REQUIREMENTS)?;
    python.arg("-");
    Ok(python)
}

/// Node, with the clients.
fn node() -> Result<Command, String> {
    static HOME: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let home = HOME.get_or_init(install_for_node).clone()?;
    let mut node = Command::new("node");
    node.args(["--input-type=module", "-"]).current_dir(home);
    Ok(node)
}

fn install_for_node() -> Result<PathBuf, String> {
    let version = said(Command::new("node").arg("--version"))?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < 20) {
        return Err(format!("they need Node.js 20 or later, not {version}"));
    }
    installed(&folder("azure-clients-javascript", &[PACKAGE, PACKAGE_LOCK]), |folder| {
        std::fs::write(folder.join("package.json"), PACKAGE).unwrap();
        std::fs::write(folder.join("package-lock.json"), PACKAGE_LOCK).unwrap();
        let quiet = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries", "1"];
        said(Command::new("npm").args(quiet).current_dir(folder)).map(drop)
    })
}
