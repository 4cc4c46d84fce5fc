//! The files of the Functions app: the host finds exactly the functions that were meant, and sends each request to the
//! one that was meant. Every lint is shown to find what it is for, in a copy that was broken for it.

use crate::support::host::{Finding, HostJson, Layout, METHODS, SettingsError};
use crate::support::host_client::{ask, ready, recording, repository};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// In the order in which they are tried.
const FUNCTIONS: [&str; 5] = ["Health", "Reconcile", "ScimGroups", "ScimUsers", "ScimWellKnown"];

/// A copy of the app's files that a test may break.
struct App(TempDir);

impl App {
    fn copy() -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        std::fs::copy(repository().join("host.json"), copy.path("host.json")).unwrap();
        for function in FUNCTIONS {
            let file = format!("{function}/function.json");
            std::fs::create_dir(copy.path(function)).unwrap();
            std::fs::copy(repository().join(&file), copy.path(&file)).unwrap();
        }
        copy
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(self, name: &str, text: &str) -> Self {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
        self
    }

    /// Changes one JSON file.
    fn change(self, name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut file: Value =
            serde_json::from_str(&std::fs::read_to_string(self.path(name)).unwrap()).unwrap();
        change(&mut file);
        self.write(name, &file.to_string())
    }

    /// Changes the trigger of one function.
    fn trigger(self, function: &str, member: &str, value: Value) -> Self {
        self.change(&format!("{function}/function.json"), |file| file["bindings"][0][member] = value)
    }

    fn discover(&self) -> Result<Layout, SettingsError> {
        discover(self.0.path())
    }

    #[track_caller]
    fn check(&self, expected: &[&str]) {
        let found: Vec<String> = self.discover().unwrap().findings.iter().map(Finding::to_string).collect();
        assert_eq!(found, expected);
    }
}

fn discover(root: &Path) -> Result<Layout, SettingsError> {
    Layout::discover(root, &HostJson::read(root, &BTreeMap::new())?)
}

fn names(layout: &Layout) -> Vec<&str> {
    layout.functions.iter().map(|function| function.name.as_str()).collect()
}

/// Facts: F-121.
#[test]
fn the_host_finds_the_five_functions_and_nothing_to_say_about_them() {
    let layout = discover(&repository()).unwrap();
    assert_eq!(layout.findings, []);
    assert_eq!(names(&layout), FUNCTIONS);
    assert_eq!(names(&App::copy().discover().unwrap()), FUNCTIONS);
}

#[test]
fn host_json_asks_for_streaming_and_falls_back_to_forwarding() {
    let host = HostJson::read(&repository(), &BTreeMap::new()).unwrap();
    assert!(host.proxying && host.forwarding);
    assert_eq!((host.route_prefix.as_str(), host.function_timeout.as_secs()), ("", 240));
    assert_eq!(
        (host.executable.as_str(), &host.arguments[..]),
        ("azure-backup-scim", &["serve".to_owned()][..])
    );
    assert!(!host.has_extension_bundle, "nothing needs it, and it costs start-up time");
}

/// Facts: F-075.
#[test]
fn the_timer_fires_at_every_minute() {
    let layout = discover(&repository()).unwrap();
    let schedule = &layout.timer("Reconcile").unwrap().schedule;
    let moment = time::macros::datetime!(2026-03-01 10:00:59 UTC);
    assert_eq!(schedule.next(moment), Some(time::macros::datetime!(2026-03-01 10:01:00 UTC)));
    assert_eq!(
        schedule.next(moment + time::Duration::SECOND),
        Some(time::macros::datetime!(2026-03-01 10:02 UTC))
    );
}

#[test]
fn local_settings_hold_no_secret() {
    let text = std::fs::read_to_string(repository().join("local.settings.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "FUNCTIONS_WORKER_RUNTIME": "custom",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "TABLES_CONNECTION_STRING": "UseDevelopmentStorage=true",
        "KEY_VAULT_URL": "https://your-vault.vault.azure.net",
    });
    assert_eq!(file, json!({ "IsEncrypted": false, "Values": expected }));
}

/// Facts: F-116.
#[test]
fn a_catch_all_that_sorts_first_is_found_to_swallow_the_others() {
    let app = App::copy();
    std::fs::rename(app.path("ScimWellKnown"), app.path("ScimCatchAll")).unwrap();
    app.check(&[
        "ScimGroups: GET /scim/v2/Groups goes to ScimCatchAll, which is tried first",
        "ScimGroups: GET /scim/v2/Groups/probe/probe goes to ScimCatchAll, which is tried first",
        "ScimUsers: GET /scim/v2/Users goes to ScimCatchAll, which is tried first",
        "ScimUsers: GET /scim/v2/Users/probe/probe goes to ScimCatchAll, which is tried first",
    ]);
}

/// Facts: F-123.
#[test]
fn a_route_that_reaches_the_envelope_is_found() {
    let open = "ScimWellKnown: its route reaches the envelope of Reconcile from outside";
    App::copy().trigger("ScimWellKnown", "route", json!("{*path}")).check(&[open]);
    App::copy()
        .trigger("Health", "route", json!("reconcile"))
        .check(&[&open.replace("ScimWellKnown", "Health")]);
}

/// Facts: F-122.
#[test]
fn an_http_function_without_its_output_is_found() {
    let app = App::copy().change("ScimUsers/function.json", |file| {
        file["bindings"].as_array_mut().unwrap().truncate(1);
    });
    app.check(&[
        "ScimUsers: an HTTP function without exactly one http output gets an envelope, not the request",
    ]);
}

/// Facts: F-121.
#[test]
fn a_function_that_the_host_would_reject_is_found() {
    let twice = "ScimUsers: has the same route as ScimGroups";
    App::copy().trigger("ScimUsers", "route", json!("SCIM/v2/groups/{*path}")).check(&[twice]);
    let reserved = "Health: the route admin/health begins with a word that the host keeps for itself";
    App::copy().trigger("Health", "route", json!("admin/health")).check(&[reserved]);
    let level = "Health: authLevel is no level of authorization";
    App::copy().trigger("Health", "authLevel", json!("anonymus")).check(&[level]);
    let methods = "Health: methods is no list of methods";
    App::copy().trigger("Health", "methods", json!(["get", "fetch"])).check(&[methods]);
    let schedule = "Reconcile: schedule is no NCRONTAB expression of six fields";
    App::copy().trigger("Reconcile", "schedule", json!("* * * * *")).check(&[schedule]);
    let route = "Health: the route a//b has an empty segment";
    App::copy().trigger("Health", "route", json!("a//b")).check(&[route]);
    let direction = "Health: the binding httpTrigger has the wrong direction";
    App::copy().trigger("Health", "direction", json!("out")).check(&[direction]);
    let unnamed = "Health: name is no name of a binding";
    App::copy().trigger("Health", "name", json!("")).check(&[unnamed]);
}

#[test]
fn bindings_that_cannot_work_are_found() {
    let queue = "Reconcile: a binding of type queueTrigger needs an extension bundle, or is not known";
    App::copy().trigger("Reconcile", "type", json!("queueTrigger")).check(&[queue]);
    let none = App::copy().write("Reconcile/function.json", r#"{"bindings": []}"#);
    none.check(&["Reconcile: has no bindings"]);
    let two = App::copy().change("Health/function.json", |file| {
        let trigger = file["bindings"][0].clone();
        file["bindings"].as_array_mut().unwrap().push(trigger);
    });
    two.check(&["Health: has not exactly one trigger"]);
    let broken = App::copy().write("Health/function.json", "{}").discover().unwrap();
    assert!(matches!(&broken.findings[..], [Finding::Unreadable { function, .. }] if function == "Health"));
}

/// Facts: F-121.
#[test]
fn names_that_the_host_does_not_take_are_found() {
    let timer = std::fs::read_to_string(repository().join("Reconcile/function.json")).unwrap();
    App::copy().write("2nd/function.json", &timer).check(&["2nd: not a name for a function"]);
    App::copy().write("host/function.json", &timer).check(&["host: not a name for a function"]);
}

/// Facts: F-121.
#[test]
fn a_function_that_the_host_never_sees_is_found() {
    let lost = |path| {
        format!(
            "{path}: is no direct child of the app's folder, or not spelled function.json, so it is never found"
        )
    };
    let deep = App::copy().write("functions/Repair/function.json", "{}");
    deep.check(&[&lost("functions/Repair/function.json")]);
    App::copy().write("Repair/functions.json", "{}").check(&[&lost("Repair/functions.json")]);
}

#[test]
fn a_folder_of_a_package_that_holds_no_function_is_found() {
    let app = App::copy();
    assert!(Layout::unused_folders(app.0.path()).is_empty());
    let app = app.write("src/main.rs", "");
    assert_eq!(Layout::unused_folders(app.0.path()), ["src"]);
}

/// Facts: F-143.
#[test]
fn what_the_host_reads_past_in_host_json_is_found() {
    let app = App::copy().change("host.json", |file| {
        file["customHandler"]["enableProxyingHttpRequests"] = json!(true);
        file["customHandler"]["description"]["arguments"] = json!(["serve --log debug"]);
    });
    app.check(&[
        "host.json: customHandler.enableProxyingHttpRequests is no key that the host knows",
        "host.json: the argument \"serve --log debug\" has a space in it, and arguments are joined unquoted",
    ]);
}

#[test]
fn routes_in_host_json_do_not_go_with_functions() {
    let routes = json!({ "routes": [{ "route": "{*route}" }] });
    let app = App::copy().change("host.json", |file| file["customHandler"]["http"] = routes);
    assert!(matches!(app.discover(), Err(SettingsError::RoutesAndFunctions)));
}

/// Facts: F-116.
#[test]
fn every_scim_request_reaches_the_function_that_is_meant_for_it() {
    let layout = discover(&repository()).unwrap();
    let id = "0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10";
    let rest =
        ["", "/ServiceProviderConfig", "/Schemas", "/Schemas/urn:x:y", "/ResourceTypes", "/Me", "/Bulk"];
    let rest = rest.into_iter().chain(["/.search", "/Usersx", "/nobody/knows/this"]);
    let mut intended: Vec<(String, &str)> = vec![("/healthz".to_owned(), "Health")];
    intended.extend(rest.map(|path| (format!("/scim/v2{path}"), "ScimWellKnown")));
    for (word, function) in [("Users", "ScimUsers"), ("Groups", "ScimGroups")] {
        for tail in ["", "/.search", &format!("/{id}"), &format!("/{id}/more"), "/%2F"] {
            intended.push((format!("/scim/v2/{word}{tail}"), function));
        }
    }
    for (path, function) in intended {
        for path in [path.clone(), format!("{path}/"), path.to_uppercase(), path.to_lowercase()] {
            for method in METHODS {
                let reached = layout.resolve(method, &path).map(|(function, _)| function.name.as_str());
                assert_eq!(reached, Some(function), "{method} {path}");
            }
        }
    }
}

/// Facts: F-119.
#[test]
fn what_is_outside_is_nobodys() {
    let layout = discover(&repository()).unwrap();
    for path in [
        "/",
        "/Reconcile",
        "/reconcile/",
        "//Reconcile",
        "//scim/v2/Users",
        "/scim//v2/Users",
        "/healthz/x",
        "/healthz//",
    ] {
        assert!(METHODS.iter().all(|method| layout.resolve(method, path).is_none()), "{path}");
    }
    assert!(layout.resolve("GET", "/api/scim/v2/Users").is_none());
}

/// As the host's own route matcher answered.
/// Facts: F-117.
#[test]
fn an_empty_segment_is_caught_behind_the_first_of_a_catch_all() {
    let layout = discover(&repository()).unwrap();
    for (path, function) in [
        ("/scim/v2//Users", "ScimWellKnown"),
        ("/scim/v2/Users//", "ScimWellKnown"),
        ("/scim/v2/Users///a", "ScimWellKnown"),
        ("/scim/v2/Users/a//b/", "ScimUsers"),
        ("/scim/v1/Users", "ScimWellKnown"),
        ("/scim", "ScimWellKnown"),
    ] {
        let reached = layout.resolve("GET", path).map(|(function, _)| function.name.as_str());
        assert_eq!(reached, Some(function), "{path}");
    }
}

/// Over the wire, not only in the table: the record of the call names the function.
#[test]
fn the_call_is_recorded_under_the_function_that_was_reached() {
    let host = ready(recording());
    assert_eq!(host.layout().findings, []);
    for path in [
        "/scim/v2/Users/",
        "/SCIM/V2/groups",
        "/scim/v2/Schemas",
        "/scim/v2",
        "/scim/v2/?count=1",
        "/healthz",
    ] {
        assert_eq!(
            ask(&host, "GET", path).send().got().target(),
            path,
            "the handler sees what the client wrote"
        );
    }
    let reached: Vec<String> = host.calls().into_iter().map(|call| call.function).collect();
    let well_known = "ScimWellKnown";
    assert_eq!(reached, ["ScimUsers", "ScimGroups", well_known, well_known, well_known, "Health"]);
    assert_eq!(ask(&host, "GET", "/nobody").send().status, 404);
    assert_eq!(host.calls().len(), 6, "what reaches no function is no call");
}
