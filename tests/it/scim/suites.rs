//! Conformance suites and clients that others wrote, in the versions that `suites/` pins, against `local`: scim2-tester,
//! scim-sanity, scim2-cli, and scim-sim as a provider that pushes.
//!
//! They are installed below the target folder. Where they cannot be installed, the test says so aloud and passes.

use crate::support::installed::{python_with, said_if_not_installed};
use crate::support::local_process::LocalProcess;
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

/// Checks that fail, and why they may. Each must fail: a waiver that is not needed goes.
const WAIVED: [(&str, &str, &str); 1] = [(
    "scim2-tester",
    "check_remove_attribute",
    // Removing `active` leaves it false: a user whose `active` is unassigned would count as active.
    "PATCH modify() did not remove attribute 'active'",
)];
/// Checks that need what ServiceProviderConfig or ResourceTypes do not announce.
const SKIPPED: [&str; 3] =
    ["Agent CRUD Lifecycle", "AgenticApplication CRUD Lifecycle", "Agent Rapid Lifecycle"];
/// A suite that ended early must not pass for a good run.
const CHECKS_MIN: [(&str, usize); 4] =
    [("scim2-tester", 130), ("scim-sanity", 31), ("scim2-cli", 9), ("scim-sim", 7)];

#[derive(Debug, Deserialize)]
struct Check {
    suite: String,
    check: String,
    result: String,
    why: String,
}

impl Check {
    fn is_waived(&self) -> bool {
        WAIVED.contains(&(self.suite.as_str(), self.check.as_str(), self.why.as_str()))
    }
}

#[test]
fn the_suites_of_others_find_nothing_but_what_is_waived() {
    static HOME: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let python = python_with(&HOME, "scim-suites", include_str!("suites/requirements.txt"));
    let Some(mut python) = said_if_not_installed("the conformance suites of others", python) else { return };
    let state = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &[]);
    let ran = python
        .args(["-c", include_str!("suites/suites.py")])
        .env("BASE_URL", &local.ready.base_url)
        .env("TOKEN", &local.ready.token)
        .env("HOME", home.path())
        .env("NO_PROXY", "127.0.0.1")
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let lines = String::from_utf8(ran.stdout).unwrap();
    let checks: Vec<Check> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

    let failed = with_result(&checks, "failed");
    assert!(failed.iter().all(|check| check.is_waived()), "{failed:#?}");
    for (suite, check, _) in WAIVED {
        assert!(checks.iter().any(Check::is_waived), "{suite} no longer fails in {check}");
    }
    let skipped = with_result(&checks, "skipped");
    assert!(skipped.iter().all(|check| SKIPPED.contains(&check.check.as_str())), "{skipped:#?}");
    for (suite, min) in CHECKS_MIN {
        let number = checks.iter().filter(|check| check.suite == suite).count();
        assert!(number >= min, "{suite} ended after {number} checks");
    }
}

fn with_result<'a>(checks: &'a [Check], result: &str) -> Vec<&'a Check> {
    checks.iter().filter(|check| check.result == result).collect()
}
