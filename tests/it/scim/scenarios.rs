//! Plays every scenario of `tests/scim-cases` against `local`, with the runner that also plays them against others: alone,
//! and behind the stand-in for the Functions host, in both of its transports.

use crate::support::cloud::{Cloud, TOKEN};
use crate::support::host::{Host, HostOptions, State, Transport};
use crate::support::local_process::{LocalProcess, Ready};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Needs what ServiceProviderConfig announces only where a setting says so.
const SKIPPED_WITHOUT_CURSORS: &str = "cursor-paging";
/// A directory that was read only in part must not pass for a good run.
const PASSED_MIN: usize = 90;
/// How long the first line of `local` may take on a busy machine.
const SAID_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Played {
    id: String,
    result: String,
}

/// Facts: F-082, F-083, F-085, F-158, F-159, F-160, F-161, F-164, F-165, F-166.
#[test]
fn every_scenario_has_the_result_that_is_expected_of_it() {
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &[]);
    assert_as_expected(&local.ready.base_url, &local.ready.token, Cursors::Silent);
}

#[test]
fn behind_a_host_that_proxies_every_scenario_has_the_same_result() {
    play_local_behind(Transport::Proxy);
}

#[test]
fn behind_a_host_that_forwards_every_scenario_has_the_same_result() {
    play_local_behind(Transport::Forward);
}

#[test]
fn the_packaged_app_on_azurite_has_the_same_result_behind_a_host_that_proxies() {
    let cloud = Cloud::start();
    assert_behind_host_as_expected(&cloud.host(Transport::Proxy), TOKEN, Cursors::Silent);
}

/// With the setting that says how lists are paged, no scenario about cursors is skipped.
#[test]
fn the_packaged_app_on_azurite_that_announces_cursors_is_walked_behind_a_host_that_forwards() {
    let cloud = Cloud::start();
    let mut settings = cloud.settings(&cloud.addresses());
    settings.insert("SCIM_ANNOUNCE_CURSORS".to_owned(), "true".to_owned());
    let host = cloud.host_with(Transport::Forward, &settings);
    assert_behind_host_as_expected(&host, TOKEN, Cursors::Announced);
}

/// Whether ServiceProviderConfig says how lists are paged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cursors {
    Announced,
    Silent,
}

/// The functions of this repository before `local` on its embedded store, which says how lists are paged. It does not know that a host stands before it,
/// so the one request that follows a `Location` goes past the host.
fn play_local_behind(transport: Transport) {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().to_str().unwrap();
    let options = HostOptions::new(env!("CARGO_MANIFEST_DIR"))
        .program(
            env!("CARGO_BIN_EXE_azure-backup-scim"),
            &["local", "--json", "--announce-cursors", "--state", folder],
        )
        .transport(transport);
    let host = Host::start(options).unwrap();
    let token = said_by_local(&host).token;

    assert_behind_host_as_expected(&host, &token, Cursors::Announced);
}

/// Every scenario through a running host, whatever its handler is and keeps its state in; and every request that reached a function, reached the right one.
fn assert_behind_host_as_expected(host: &Host, token: &str, cursors: Cursors) {
    assert!(matches!(host.settled(), State::Ready { .. }), "{:?}: {:?}", host.state(), host.lines());

    assert_as_expected(&format!("{}/scim/v2", host.url()), token, cursors);

    let calls = host.calls();
    assert!(calls.len() > PASSED_MIN, "{} calls went through the host", calls.len());
    for call in &calls {
        assert!(call.success && call.status != 0, "{call:?}");
        let path = call.path.to_lowercase();
        let intended = match path.split('/').nth(3).unwrap_or_default() {
            "users" => "ScimUsers",
            "groups" => "ScimGroups",
            _ => "ScimWellKnown",
        };
        assert_eq!(call.function, intended, "{call:?}");
    }
}

/// What `local --json` says when it is ready. `base_url` is its own address, behind the host.
fn said_by_local(host: &Host) -> Ready {
    let deadline = Instant::now() + SAID_TIMEOUT;
    loop {
        let lines = host.lines();
        if let Some(ready) = lines.iter().find_map(|line| serde_json::from_str(&line.text).ok()) {
            return ready;
        }
        assert!(Instant::now() < deadline, "local was not ready in {SAID_TIMEOUT:?}: {lines:?}");
        std::thread::yield_now();
    }
}

/// Plays all against one service: nothing fails, and the list above is skipped.
fn assert_as_expected(base_url: &str, token: &str, cursors: Cursors) {
    let folder = tempfile::tempdir().unwrap();
    let (report, output) = play(base_url, token, &folder.path().join("report.json"));
    let with = |result: &str| -> BTreeSet<&str> {
        report.iter().filter(|played| played.result == result).map(|played| played.id.as_str()).collect()
    };
    assert_eq!(with("failed"), BTreeSet::new(), "{output}");
    let mut skipped = BTreeSet::new();
    if cursors == Cursors::Silent {
        skipped.insert(SKIPPED_WITHOUT_CURSORS);
    }
    assert_eq!(with("skipped"), skipped, "{output}");
    let passed = with("passed").len();
    assert!(passed > PASSED_MIN, "{passed} passed\n{output}");
    assert_eq!(passed + skipped.len(), report.len(), "{output}");
}

/// The report, and what the runner printed.
fn play(base_url: &str, token: &str, report: &Path) -> (Vec<Played>, String) {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scim-cases");
    let output = Command::new("python3")
        .arg(cases.join("run.py"))
        .arg(&cases)
        .args([base_url, token])
        .args(["--quiet", "--json"])
        .arg(report)
        .output()
        .expect("python3, 3.9 or newer, plays the scenarios");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(report).unwrap_or_else(|_| panic!("no report was written\n{said}"));
    (serde_json::from_str(&text).unwrap_or_else(|_| panic!("the report is not whole\n{said}")), said)
}
