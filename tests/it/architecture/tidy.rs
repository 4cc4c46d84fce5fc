//! The rules of the architecture, read from the sources: imports point one way, and some words have one home.
//!
//! Prose alone does not hold. Every rule is also shown to find what it forbids, in a file planted for it.

mod circles;
mod imports;
mod paths;
mod row_keys;
mod rules;
mod tokens;

use rules::{FILE_LINES_MAX, Finding, MODULES, check};
use std::path::Path;

#[test]
fn the_sources_keep_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = sources(root, &root.join("src"));
    assert!(files.len() > 10, "the sources were found");
    let mut findings = check(&files);
    assert_eq!(circles::stale(&findings.circles), [""; 0], "no circle there any more: off the list");
    findings.circles.retain(|finding| !circles::is_known(finding));
    let findings = findings.all();
    assert!(findings.is_empty(), "{}", printed(&findings));
}

fn sources(root: &Path, folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(root, &path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

fn printed(findings: &[Finding]) -> String {
    let line = |finding: &Finding| format!("{}:{}: {}\n", finding.path, finding.line, finding.text);
    findings.iter().map(line).collect()
}

/// What the rules say of one planted file, a line each.
fn findings(path: &str, text: &str) -> Vec<String> {
    let findings = check(&[(path.to_owned(), text.to_owned())]).all();
    findings.iter().map(|finding| format!("{}: {}", finding.line, finding.text)).collect()
}

#[track_caller]
fn check_planted(path: &str, text: &str, expected: &[&str]) {
    assert_eq!(findings(path, text), expected);
}

#[test]
fn a_reversed_arrow_is_found_however_it_is_written() {
    let expected = &["1: scim may not import rbac"];
    for text in [
        "use crate::rbac::Scope;",
        "use crate::{id::UserId, rbac};",
        "use crate::{id::{self, UserId}, rbac::{Scope, role::BackupRole}};",
        "fn f() -> crate::rbac::Scope { todo!() }",
        "pub use super::super::rbac as other;",
        "use super::super::{id, rbac};",
        "mod inner { use super::super::super::rbac::Scope; }",
        "macro_rules! m { () => { $crate::rbac::f() } }",
        "use azure_backup_scim::rbac;",
    ] {
        check_planted("src/scim/filter.rs", text, expected);
    }
}

#[test]
fn every_pair_that_is_not_in_the_table_is_found() {
    for (module, allowed) in MODULES {
        for (other, _) in MODULES {
            let path = format!("src/{module}.rs");
            let may = other == module || allowed.iter().any(|list| list.contains(other));
            let found = findings(&path, &format!("use crate::{other}::X;"));
            assert_eq!(found.is_empty(), may, "{module} -> {other}: {found:?}");
        }
    }
}

/// Following allowed imports never leads back: the table itself has a direction.
#[test]
fn the_table_has_no_circle() {
    let mut left: Vec<_> = MODULES.to_vec();
    while !left.is_empty() {
        let waiting: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
        left.retain(|(_, allowed)| allowed.iter().any(|list| list.iter().any(|name| waiting.contains(name))));
        assert!(left.len() < waiting.len(), "a circle among {waiting:?}");
    }
}

#[test]
fn imports_that_stay_inside_are_nobodys_business() {
    check_planted(
        "src/rbac/scope.rs",
        "use super::role; use super::super::id; use self::x; use crate::rbac;",
        &[],
    );
    check_planted("src/rbac/mod.rs", "use self::scope::Scope; mod inner { use super::{scope, role}; }", &[]);
    check_planted("src/id.rs", "mod a { mod b { use super::super::IdError; } use super::IdError; }", &[]);
    check_planted("src/id.rs", "pub(crate) fn f() {} pub(in crate::id) fn g() {}", &[]);
}

#[test]
fn the_root_is_not_imported_as_a_whole() {
    check_planted("src/rbac/mod.rs", "use crate::*;", &["1: rbac may not import *"]);
    check_planted("src/rbac/mod.rs", "use crate as root;", &["1: rbac may not import as"]);
    check_planted("src/rbac/mod.rs", "use crate::{self as root};", &["1: rbac may not import self"]);
    check_planted("src/rbac.rs", "use super::service;", &["1: rbac may not import service"]);
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = r####"
        //! Not crate::service.
        /* nor /* crate::service */ crate::http */
        const A: &str = "crate::http \" crate::http"; const B: &str = r#"crate::http " crate::http"#;
        const C: &[u8] = b"crate::http"; const D: char = '"'; const E: char = '\''; fn f<'a>(x: &'a str) {}
        use crate::service;
    "####;
    check_planted("src/rbac/mod.rs", text, &["6: rbac may not import service"]);
}

#[test]
fn tests_may_import_more_and_their_neighbours_may_not() {
    let text = "#[cfg(test)]\nuse crate::engine;\n#[cfg(test)]\nmod tests {\n use crate::engine::Memory;\n fn f() {}\n}\n\
                use crate::service;";
    check_planted("src/store/mod.rs", text, &["8: store may not import service"]);
}

#[test]
fn a_file_is_a_test_only_where_its_parent_says_so() {
    let tests = |parent: &str, path: &str| {
        let files = [("src/store/mod.rs", parent), (path, "use crate::service;")];
        check(&files.map(|(path, text)| (path.to_owned(), text.to_owned()))).all().len()
    };
    assert_eq!(tests("#[cfg(test)] mod tests;", "src/store/tests.rs"), 0);
    assert_eq!(tests("#[cfg(test)] mod tests;", "src/store/tests/users.rs"), 0);
    assert_eq!(tests("mod tests;", "src/store/tests.rs"), 1);
    assert_eq!(tests("#[cfg(test)] mod tests;", "src/store/tests_not.rs"), 1);
}

#[test]
fn a_new_module_has_to_enter_the_table() {
    check_planted("src/utils.rs", "", &["1: module utils is not in the table"]);
    check_planted("src/helpers/mod.rs", "", &["1: module helpers is not in the table"]);
    check_planted("src/rbac/mod.rs", "use crate::utils;", &["1: rbac may not import utils"]);
}

#[test]
fn main_starts_the_cli_and_nothing_else() {
    check_planted("src/main.rs", "fn main() { azure_backup_scim::cli::run() }", &[]);
    let expected = &["1: main may not import service"];
    check_planted("src/main.rs", "use azure_backup_scim::{cli, service::X};", expected);
}

#[test]
fn actix_is_said_by_http_and_simulator_only() {
    check_planted("src/http/users.rs", "use actix_web::web;", &[]);
    check_planted("src/simulator/arm.rs", "use actix_web::web;", &[]);
    for path in ["src/app.rs", "src/service/mod.rs", "src/local/mod.rs", "src/main.rs", "src/http_client.rs"]
    {
        let found = findings(path, "#[actix_web::main] async fn f() {}");
        assert!(found.contains(&"1: only http and simulator say actix".to_owned()), "{path}: {found:?}");
    }
}

#[test]
fn azure_is_said_by_adapters_only() {
    check_planted("src/adapters/arm.rs", "use azure_core::http::Url;", &[]);
    let expected = &["1: only adapters says azure"];
    check_planted("src/app.rs", "use azure_core::http::Url;", expected);
    check_planted("src/simulator/arm.rs", "fn f(x: azure_identity::X) {}", expected);
    check_planted("src/service/mod.rs", "let azure_holds = 1; let azure_url = f(azure_holds);", &[]);
    check_planted("src/service/mod.rs", "use crate::ports::azure_access::AccessReader;", &[]);
}

#[test]
fn reqwest_is_said_by_adapters_and_local_only() {
    check_planted("src/local/demo.rs", "use reqwest::Client;", &[]);
    check_planted("src/adapters/rest.rs", "use reqwest::Client;", &[]);
    check_planted(
        "src/app.rs",
        "use reqwest::Client;",
        &["1: only adapters and the demo's client say reqwest"],
    );
}

#[test]
fn the_environment_is_read_by_config_only() {
    let expected: &[&str] = &["1: only config reads the environment"];
    for text in [
        "let x = std::env::var(\"X\");",
        "use std::env::{self, var_os};",
        "use std::env::vars;",
        "use std::env::*;",
        "EnvFilter::from_env(\"X\");",
        "EnvFilter::try_from_default_env();",
    ] {
        check_planted("src/config.rs", text, &[]);
        check_planted("src/cli/local.rs", text, expected);
    }
    check_planted("src/main.rs", "use std::env; env::args(); env!(\"X\"); Config::from_env();", &[]);
}

#[test]
fn the_time_is_read_by_the_clocks_only() {
    for text in ["std::time::SystemTime::now()", "Instant::now()", "time::OffsetDateTime::now_utc()"] {
        check_planted("src/adapters/clock.rs", text, &[]);
        check_planted("src/simulator/clock.rs", text, &[]);
        let expected = &["1: only the clock adapter and the simulator's clock read the time"];
        check_planted("src/adapters/rest.rs", text, expected);
        check_planted("src/service/mod.rs", text, expected);
    }
}

#[test]
fn a_file_has_a_bounded_length_its_tests_not_counted() {
    let code = "fn f() {}\n".repeat(FILE_LINES_MAX);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn t() {}\n".repeat(900));
    check_planted("src/id.rs", &(code.clone() + &tests), &[]);
    let expected = &["501: has 501 lines without tests, more than 500"];
    check_planted("src/id.rs", &(code + "fn g() {}\n" + &tests), expected);
}

/// The circles among planted files, each by its first file and its shortest way around.
fn planted_circles(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    check(&files).circles.into_iter().map(|finding| finding.text).collect()
}

#[test]
fn a_circle_between_files_is_found_however_it_is_written() {
    let (one, other) = ("src/rbac/one.rs", "src/rbac/other.rs");
    let way = "imports itself through others: src/rbac/one.rs -> src/rbac/other.rs -> src/rbac/one.rs";
    for text in [
        "use super::other::X;",
        "use crate::rbac::other::{X, Y};",
        "use crate::{id, rbac::{role, other}};",
        "use super::other as another;",
        "fn f() -> super::other::X { todo!() }",
        "mod inner { use super::super::other::X; }",
        "use crate::rbac; fn f() { rbac::other::f() }",
        "use azure_backup_scim::rbac::other;",
    ] {
        let back = "use super::one;";
        assert_eq!(planted_circles(&[(one, text), (other, back), ("src/rbac/mod.rs", "")]), [way], "{text}");
    }
}

#[test]
fn a_child_that_imports_from_its_parent_makes_a_circle_with_a_parent_that_imports_from_it() {
    let child = ("src/rbac/plan/moves.rs", "use super::Plan;");
    let way = "imports itself through others: src/rbac/plan.rs -> src/rbac/plan/moves.rs -> src/rbac/plan.rs";
    for parent in [
        "mod moves; use moves::Move;",
        "mod moves; fn f() { moves::f() }",
        "mod moves; pub use self::moves::X;",
    ] {
        assert_eq!(planted_circles(&[("src/rbac/plan.rs", parent), child]), [way], "{parent}");
    }
    assert_eq!(planted_circles(&[("src/rbac/plan.rs", "mod moves; struct Plan;"), child]), [""; 0]);
}

#[test]
fn a_long_circle_is_found_once_and_files_beside_it_are_not() {
    let files = [
        ("src/rbac/a.rs", "use super::b;"),
        ("src/rbac/b.rs", "use super::c; pub(in crate::rbac::d) fn f() {}"),
        ("src/rbac/c.rs", "use super::a; use super::d;"),
        (
            "src/rbac/d.rs",
            "use crate::id; #[cfg(test)] use super::a; use other::a::b; fn f(a: u8) { x.a::<b>() }",
        ),
        ("src/rbac/mod.rs", "mod a; mod b; mod c; mod d;"),
        ("src/id.rs", "#[cfg(test)] mod tests { use crate::rbac::d; }"),
    ];
    let way =
        "imports itself through others: src/rbac/a.rs -> src/rbac/b.rs -> src/rbac/c.rs -> src/rbac/a.rs";
    assert_eq!(planted_circles(&files), [way]);
}

#[test]
fn row_keys_are_known_to_store_only() {
    let keys = "1: only store names store::keys";
    for (text, expected) in [
        ("use crate::store::keys;", keys),
        ("use crate::store::{StoreError, keys::range_of};", keys),
        ("use crate::store; fn f() { store::keys::user(id); }", keys),
        ("use crate::ports::tables::{ETag, TableWrite};", "1: only store names ports::tables::TableWrite"),
        (
            "use crate::ports::tables; fn f() { tables::TableWrite::Delete { key } }",
            "1: only store names ports::tables::TableWrite",
        ),
        (
            "use crate::store::TableWrite; fn f() { TableWrite::Delete { key } }",
            "1: only store names store::TableWrite::Delete",
        ),
        ("fn f() { crate::ports::tables::EtagMatch::Any }", "1: only store names ports::tables::EtagMatch"),
        ("use crate::ports::tables::KeyRange as Keys;", "1: only store names ports::tables::KeyRange"),
        ("use crate::ports::tables::*;", "1: only store names ports::tables::*"),
        ("let prefix = \"dl:\";", "1: only store writes the key \"dl:\""),
        ("format!(\"u:{id}\");", "1: only store writes the key \"u:{id}\""),
        ("let end = r\"w;\";", "1: only store writes the key r\"w;\""),
    ] {
        for path in ["src/service/tick.rs", "src/http/users.rs"] {
            check_planted(path, text, &[expected]);
        }
        for path in ["src/store/marks.rs", "src/engine/mod.rs", "src/adapters/tables.rs"] {
            assert_eq!(check(&[(path.to_owned(), text.to_owned())]).row_keys, [], "{path}: {text}");
        }
    }
    for text in [
        "use crate::ports::tables::{ETag, TableOps}; use crate::store::{Store, users}; use std::ops::Range;",
        "let a = \"urn:ietf\"; let b = \"https://a\"; let c = \"a: b\".len(); let d = \"Id:\"; let e = \"1:\";",
        "#[cfg(test)] mod tests { use crate::store::keys; const KEY: &str = \"d:\"; }",
    ] {
        let found = check(&[("src/service/tick.rs".to_owned(), text.to_owned())]).row_keys;
        assert_eq!(found, []);
    }
}
