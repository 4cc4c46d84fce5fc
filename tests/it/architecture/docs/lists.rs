//! What documents list, beside what the program has: reason codes, audit records, health, commands, roles, endpoints.

use super::{codes, document, files, read, root};
use crate::support::local_process::LocalProcess;
use azure_backup_scim::audit::{self, SETTING_CHANGED};
use azure_backup_scim::bindings::{BINDINGS_MAX, Bindings, FILE_BYTES_MAX, SELECTOR_CHARS_MAX};
use azure_backup_scim::events::Event;
use azure_backup_scim::ports::connectivity::{Dependency, UnreachableKind};
use azure_backup_scim::rbac::ledger::{RETRY_MAX, REVOKE_RETRY_MAX};
use azure_backup_scim::rbac::{BackupRole, ReasonCode};
use azure_backup_scim::scim::page::{COUNT_DEFAULT, COUNT_MAX};
use azure_backup_scim::scim::schema::SCHEMAS;
use azure_backup_scim::scim::urn;
use azure_backup_scim::store::members::DIRECT_GROUPS_MAX;
use regex_lite::Regex;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use tracing::Level;

/// What each entry of the reason codes says.
const ENTRY: [&str; 4] = ["State", "Cause", "Who can mend it", "How"];
/// What the health check of `serve` has beside that of `local`.
const SERVE_ONLY: [&str; 4] = ["tokens", "tokensRunOut", "tokensAgeDays", "packagedBindings"];
/// What it has only where something is wrong.
const SOMETIMES: [&str; 1] = ["store"];

#[track_caller]
fn assert_same(documented: impl IntoIterator<Item = String>, known: impl IntoIterator<Item = String>) {
    let documented: BTreeSet<String> = documented.into_iter().collect();
    let known: BTreeSet<String> = known.into_iter().collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&known).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "not documented: {missing:?}; documented and gone: {stale:?}"
    );
}

fn owned<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// What the program prints.
fn help(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The long flags of a command, those of every command left out.
fn flags(command: &[&str]) -> Vec<String> {
    let help = help(command);
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split(' ').next());
    flags.filter(|flag| *flag != "log").map(|flag| format!("--{flag}")).collect()
}

#[test]
fn every_reason_code_has_an_entry_and_every_entry_a_code() {
    let page = document("docs/reason-codes.md");
    let entries = page.text.lines().filter_map(|line| line.strip_prefix("### "));
    assert_same(owned(entries), ReasonCode::ALL.iter().map(ToString::to_string));
    for code in ReasonCode::ALL {
        let entry = page.section(code.as_str()).text;
        let labels = entry.lines().filter_map(|line| line.strip_prefix("- ")?.split(':').next());
        assert_eq!(labels.collect::<Vec<_>>(), ENTRY, "{code}");
        let state = serde_json::to_value(code.state()).unwrap();
        assert_eq!(codes(entry.trim_start()).first().map(String::as_str), state.as_str(), "{code}");
    }
    let states = ReasonCode::ALL.iter().map(|code| serde_json::to_value(code.state()).unwrap());
    assert_same(page.first_names(), states.map(|state| state.as_str().unwrap().to_owned()));
}

#[test]
fn the_kinds_of_audit_records_are_documented() {
    let kinds = || audit::kinds().map(|kind| kind.name).chain([SETTING_CHANGED]);
    let documented = document("docs/operate.md").section("Audit").first_names();
    assert_same(documented.into_iter().filter(|name| !name.starts_with("--")), owned(kinds()));

    let help = help(&["audit"]);
    let (_, taken) =
        help.lines().find(|line| line.contains("--kind")).unwrap().split_once("values: ").unwrap();
    assert_same(owned(taken.trim_end_matches(']').split(", ")), owned(kinds()));
}

#[test]
fn the_members_of_the_health_check_are_documented() {
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &[]);
    let address = local.ready.base_url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let open = health(&address, "");
    let authorized = health(&address, &format!("Authorization: Bearer {}\r\n", local.ready.token));
    assert!(!open.contains_key("details"), "details need a token");
    let members = authorized.keys().filter(|name| *name != "status").cloned();

    let table = document("docs/operate.md").section("Health").first_names();
    let documented =
        table.into_iter().filter(|name| !["ok", "degraded", "unavailable"].contains(&name.as_str()));
    assert_same(documented, members.chain(owned(SERVE_ONLY)).chain(owned(SOMETIMES)));
    for name in authorized["details"].as_object().unwrap().keys().filter(|name| *name != "version") {
        assert!(open.contains_key(name), "details explain a count: {name}");
    }
}

/// The health check, asked with these header lines.
fn health(address: &str, headers: &str) -> serde_json::Map<String, serde_json::Value> {
    let mut socket = TcpStream::connect(address).unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

/// The sources of the program, without the tests in them, as one text.
fn sources() -> String {
    let paths = files(".rs").into_iter().filter(|path| path.starts_with("src/"));
    let production = |text: String| text.split("#[cfg(test)]\n").next().unwrap().to_owned();
    paths.map(|path| production(read(&path))).collect()
}

#[test]
fn the_events_of_the_log_are_documented_each_with_what_to_do() {
    let operate = document("docs/operate.md");
    let known = Event::ALL.iter().map(|event| {
        let level = match event.level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "information",
        };
        format!("[`{event}`](#{}) {level}: {}", event.runbook(), event.meaning())
    });
    let rows = operate.section("Logs").rows();
    assert_same(rows.iter().map(|row| format!("{} {}: {}", row[0], row[1], row[2])), known);
    let anchors = operate.anchors();
    for event in Event::ALL {
        assert!(anchors.iter().any(|anchor| anchor == event.runbook()), "{event}: #{}", event.runbook());
    }
}

#[test]
fn each_event_is_written_and_no_warning_or_error_lacks_one() {
    let sources = sources();
    let plain = Regex::new(r"tracing::(warn|error)!").unwrap();
    let found: Vec<&str> = plain.find_iter(&sources).map(|found| found.as_str()).collect();
    assert_eq!(found, [""; 0], "log_event! of src/events.rs writes them");
    let written = Regex::new(r"log_event!\(\s*(\w+)").unwrap();
    let written: BTreeSet<&str> =
        written.captures_iter(&sources).map(|found| found.get(1).unwrap().as_str()).collect();
    let unwritten: Vec<_> =
        Event::ALL.iter().filter(|event| !written.contains(&*format!("{event:?}"))).collect();
    assert!(unwritten.is_empty(), "no line has the event: {unwritten:?}");
}

#[test]
fn the_commands_and_their_flags_are_documented() {
    let operate = document("docs/operate.md");
    let commands = |arguments: &[&str], before: &str| {
        let help = help(arguments);
        let (_, list) = help.split_once("Commands:\n").unwrap();
        let names = list
            .lines()
            .map_while(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
        let names = names.filter(|name| !["help", "config"].contains(name));
        names.map(|name| format!("{before}{name}")).collect::<Vec<_>>()
    };
    let known = commands(&[], "").into_iter().chain(commands(&["config"], "config "));
    let table = operate.section("Commands").first_names();
    assert_same(table.into_iter().filter(|name| name.parse::<u8>().is_err()), known);

    let elsewhere = ["--tables", "--control-url", "--json"];
    for flag in elsewhere {
        assert!(operate.text.contains(flag), "{flag}");
    }
    let table = operate.section("Audit").first_names().into_iter().filter(|name| name.starts_with("--"));
    assert_same(table.chain(owned(elsewhere)), flags(&["audit"]));
    assert_same(document("docs/local.md").section("Flags of local").first_names(), flags(&["local"]));
    for (command, known) in [
        (&["serve"][..], &["--listen"][..]),
        (
            &["plan"],
            &["--bindings", "--pending", "--ask-azure", "--all", "--json", "--tables", "--control-url"],
        ),
        (
            &["report"],
            &[
                "--person",
                "--can",
                "--at",
                "--recorded",
                "--json",
                "--csv",
                "--html",
                "--tables",
                "--control-url",
            ],
        ),
        (
            &["parity"],
            &["--file", "--group", "--columns", "--graph", "--app", "--json", "--tables", "--control-url"],
        ),
        (&["audit", "export"], &["--heads", "--since", "--until", "--tables", "--control-url"]),
        (&["audit", "verify"], &["--heads", "--since", "--until", "--json", "--tables", "--control-url"]),
        (&["config", "check"], &["--settings", "--json"]),
        (&["config", "stamp"], &["--file", "--out", "--drill"]),
        (
            &["drill"],
            &[
                "--because",
                "--who",
                "--no-wait",
                "--history",
                "--scim",
                "--principal",
                "--group",
                "--json",
                "--tables",
                "--control-url",
            ],
        ),
        (&["config", "schema"], &[]),
    ] {
        assert_eq!(flags(command), known);
        known.iter().for_each(|flag| assert!(operate.text.contains(flag), "{flag}"));
    }
}

#[test]
fn the_roles_are_documented() {
    let keys = document("docs/bindings.md").section("Keys").rows();
    let role = keys.iter().find(|row| row[0] == "`role`").unwrap();
    assert_same(codes(&role[1]), owned(BackupRole::ALL.map(BackupRole::name)));
}

#[test]
fn the_keys_of_the_bindings_file_are_documented() {
    let schema: serde_json::Value = serde_json::from_str(&read("bindings.schema.json")).unwrap();
    let keys = |pointer: &str| {
        let properties = schema.pointer(pointer).and_then(|value| value.pointer("/properties")).unwrap();
        properties.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let names = document("docs/bindings.md").section("Keys").first_names();
    let known = |key: &String| {
        names.iter().any(|name| {
            name == key || name.ends_with(&format!(".{key}")) || name.starts_with(&format!("{key}."))
        })
    };
    let top = keys("").into_iter().filter(|key| key != "$schema");
    for key in top.chain(keys("/$defs/Binding")) {
        assert!(known(&key), "docs/bindings.md does not say what {key} is");
    }
}

#[test]
fn the_attributes_that_matter_for_access_are_documented() {
    let page = document("docs/scim.md");
    let writes = page.section("How a write is read").text.replace('\n', " ");
    let listed = writes.split("access depends on").nth(1).and_then(|text| text.split("- If").next()).unwrap();
    let attributes =
        SCHEMAS.iter().flat_map(|schema| schema.attributes).chain(azure_backup_scim::scim::schema::COMMON);
    let deciding =
        attributes.filter(|attribute| attribute.deciding).map(|attribute| attribute.name.to_owned());
    assert_same(codes(listed).into_iter().filter(|name| name != "where"), deciding);

    let own = SCHEMAS.iter().find(|schema| schema.urn == urn::BACKUP_USER).unwrap();
    let names = own.attributes.iter().flat_map(|attribute| {
        std::iter::once(attribute).chain(attribute.sub_attributes).map(|attribute| attribute.name.to_owned())
    });
    assert_same(page.section("Our extension").first_names(), names);
}

#[test]
fn the_endpoints_are_documented() {
    let routes = read("src/http/routes.rs");
    let paths = routes.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
    let ours = paths.filter(|path| !["/", "/healthz", "/scim", "/scim/v2"].contains(path));
    let scim = document("docs/scim.md");
    let table = scim.rows().into_iter().flat_map(|row| codes(&row[0]));
    assert_same(table.filter(|name| name.starts_with('/')), owned(ours));
}

#[test]
fn the_limits_that_documents_name_are_those_of_the_code() {
    let check = |path: &str, said: String| {
        let text = document(path).text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&said), "{path} does not say {said:?}");
    };
    let file_kib = FILE_BYTES_MAX / 1024;
    check("docs/bindings.md", format!("at most {} bindings and {file_kib} KiB", grouped(BINDINGS_MAX)));
    check("docs/bindings.md", format!("with at most {SELECTOR_CHARS_MAX} characters"));
    let groups = grouped(DIRECT_GROUPS_MAX);
    check("docs/bindings.md", format!("a direct member of at most {groups} groups"));
    check("docs/operate.md", format!("at the limit of {groups} groups"));
    check("docs/scim.md", format!("| groups of a person | {groups}."));
    check("docs/scim.md", format!("| {COUNT_DEFAULT}; {} |", grouped(COUNT_MAX)));
    let (revoke, grant) = (REVOKE_RETRY_MAX.as_secs() / 60, RETRY_MAX.as_secs() / 3600);
    assert_eq!(grant, 1, "the documents say an hour");
    check("docs/reason-codes.md", format!("to an hour for a grant and to {revoke} minutes for a revocation"));
    check("docs/operate.md", format!("with pauses of at most {revoke} minutes"));
}

/// As documents write numbers: 1,000.
fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

#[test]
fn the_example_of_a_bindings_file_is_in_order() {
    let page = read("docs/bindings.md");
    let (_, example) = page.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let bindings = Bindings::parse(example.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(bindings.bindings.len(), 1);
}

#[test]
fn the_map_names_every_module_and_every_room() {
    let map = document("ARCHITECTURE.md").section("The code");
    let named: Vec<String> = map.first_names();
    let missing = |folder: &str, before: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = names.map(|name| name.trim_end_matches(".rs").to_owned());
        let is_named = |name: &String| {
            [format!("{before}{name}/"), format!("{before}{name}.rs")].iter().any(|path| named.contains(path))
        };
        names.filter(|name| name != "mod" && name != "lib" && !is_named(name)).collect::<Vec<_>>()
    };
    assert_eq!(missing("src", "src/"), [""; 0]);
    assert_eq!(missing("src/service", ""), [""; 0]);

    let stages: Vec<Vec<String>> = map.rows().into_iter().filter(|row| row.len() == 3).collect();
    assert!(stages.len() > 8);
    for row in &stages {
        for place in codes(&row[0]) {
            let place = format!("src/service/{place}");
            assert!(root().join(&place).exists(), "there is no {place}");
            for name in codes(&row[2]).iter().filter(|_| place.ends_with('/')) {
                let file = format!("{place}{name}.rs");
                assert!(root().join(&file).is_file(), "there is no {file}");
            }
        }
    }

    let table = read("tests/it/main.rs");
    let rooms = table.lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
    let declared = table.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    assert_same(owned(rooms), owned(declared));
}

#[test]
fn the_words_fit_a_screen() {
    let words = document("ARCHITECTURE.md").section("The words").rows();
    assert!((10..=20).contains(&words.len()), "{} words", words.len());
}

/// The table is that of the code: which kind can happen with which dependency.
#[test]
fn the_kinds_of_unreachable_dependencies_are_documented() {
    let page = read("docs/operate.md");
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let kind = UnreachableKind::parse(cells.get(1)?.trim_matches('`'))?;
            Some(format!("{} {}", kind.as_str(), cells.get(2)?))
        })
        .collect();
    let of_the_code = UnreachableKind::ALL.map(|kind| {
        let with = Dependency::ALL.into_iter().filter(|dependency| kind.can_occur(*dependency));
        format!("{} {}", kind.as_str(), with.map(Dependency::as_str).collect::<Vec<_>>().join(", "))
    });
    assert_eq!(documented, of_the_code.into_iter().collect());
}
