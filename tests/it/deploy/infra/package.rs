//! `infra/package.sh`, in a small project of its own: what it puts into the package and when it refuses.
#![cfg(unix)]

use super::{read, root};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Stands for the binary: writes down what it was asked, and stamps.
const BINARY: &str = r#"#!/bin/sh
echo "$@" >>"$(dirname "$0")/../asked"
case "$*" in
    "config check "*) grep -q '"version": 1' "$3" ;;
    "config stamp "*) echo 20261125T120000Z >"$6" ;;
esac
"#;

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        for (path, text) in [
            ("infra/package.sh", read("infra/package.sh").as_str()),
            (
                "host.json",
                r#"{ "customHandler": { "description": { "defaultExecutablePath": "handler" } } }"#,
            ),
            ("local.settings.json", "{}"),
            ("bindings.json", r#"{ "version": 1 }"#),
            ("ScimUsers/function.json", "{}"),
            ("Reconcile/function.json", "{}"),
            ("src/main.rs", "fn main() {}"),
            ("built", BINARY),
        ] {
            project.write(path, text);
        }
        for executable in ["infra/package.sh", "built"] {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(project.path().join(executable), mode).unwrap();
        }
        project
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn package(&self) -> Output {
        self.package_with(&[])
    }

    fn package_with(&self, settings: &[(&str, &str)]) -> Output {
        let mut command = Command::new(self.path().join("infra/package.sh"));
        command.envs(settings.iter().copied());
        command.args(["--binary", "built"]).current_dir(self.path()).output().unwrap()
    }

    /// What the binary was asked.
    fn asked(&self) -> String {
        std::fs::read_to_string(self.path().join("asked")).unwrap()
    }

    /// Every file of the package with its mode.
    fn packaged(&self) -> BTreeMap<String, u32> {
        let mut found = BTreeMap::new();
        collect(&self.path().join("dist"), "", &mut found);
        found
    }

    /// Nothing half made is left beside the package.
    fn leftovers(&self) -> usize {
        let entries = std::fs::read_dir(self.path()).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("dist."))
            .count()
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut BTreeMap<String, u32>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name, entry.metadata().unwrap().permissions().mode() & 0o777);
        }
    }
}

#[track_caller]
fn assert_refused(output: &Output, because: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains(because), "{errors}");
}

/// Facts: F-074, F-156.
#[test]
fn a_package_holds_what_is_deployed_and_nothing_else() {
    let project = Project::new();
    let output = project.package();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = [
        ("Reconcile/function.json", 0o644),
        ("ScimUsers/function.json", 0o644),
        ("bindings.json", 0o644),
        ("bindings.stamp", 0o644),
        ("handler", 0o755),
        ("host.json", 0o644),
    ];
    assert_eq!(project.packaged(), expected.map(|(name, mode)| (name.to_owned(), mode)).into());
    assert_eq!(project.leftovers(), 0);
}

#[test]
fn the_bindings_are_checked_before_they_are_stamped() {
    let project = Project::new();
    project.package();
    let asked = std::fs::read_to_string(project.path().join("asked")).unwrap();
    let commands: Vec<&str> = asked.lines().filter_map(|line| line.strip_prefix("config ")).collect();
    assert!(
        matches!(commands.as_slice(), [check, stamp]
        if check.starts_with("check ") && stamp.starts_with("stamp --file ")),
        "{asked}"
    );
}

#[test]
fn the_binding_of_drills_is_added_where_they_are_set() {
    let project = Project::new();
    project.package();
    assert!(!project.asked().contains("--drill"), "off by default");
    let set = [("DRILL", "true"), ("AZURE_SUBSCRIPTION_ID", "a"), ("AZURE_ENV_NAME", "prod")];
    let output = project.package_with(&set);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = "--drill /subscriptions/a/resourceGroups/rg-prod-drill";
    assert!(project.asked().contains(expected), "{}", project.asked());
    assert_refused(&project.package_with(&set[..2]), "AZURE_ENV_NAME is not known");
}

#[test]
fn bindings_with_a_mistake_leave_the_package_as_it_was() {
    let project = Project::new();
    project.package();
    let before = project.packaged();
    project.write("bindings.json", r#"{ "version": 2 }"#);
    assert_refused(&project.package(), "bindings.json is not in order");
    assert_eq!(project.packaged(), before);
    let kept = std::fs::read_to_string(project.path().join("dist/bindings.json")).unwrap();
    assert!(kept.contains(r#""version": 1"#));
    assert_eq!(project.leftovers(), 0);
}

/// Panics and log records of dependencies name source files, and so whoever built the binary.
#[test]
fn a_binary_that_names_a_machine_is_not_packaged() {
    for place in ["/home/", "/.cargo/", "/.rustup/"] {
        let project = Project::new();
        project.write("built", &format!("{BINARY}# \u{0}{place}lib.rs\u{0}\n"));
        assert_refused(&project.package(), "names 1 path");
        assert!(!project.path().join("dist").exists() && project.leftovers() == 0, "{place}");
    }
    let project = Project::new();
    let checkout = project.path().canonicalize().unwrap();
    project.write("built", &format!("{BINARY}# {}/src/main.rs\n", checkout.display()));
    assert_refused(&project.package(), "names 1 path");
}

#[test]
fn a_folder_that_is_no_package_is_not_replaced() {
    let project = Project::new();
    project.write("dist/thesis.txt", "the only copy");
    assert_refused(&project.package(), "is not a package");
    assert_eq!(std::fs::read_to_string(project.path().join("dist/thesis.txt")).unwrap(), "the only copy");
}

/// Facts: F-156.
#[test]
fn the_host_has_to_name_the_binary() {
    let project = Project::new();
    project.write("host.json", "{}");
    assert_refused(&project.package(), "defaultExecutablePath");
}

/// azd starts a hook as a program.
#[test]
fn the_scripts_can_be_executed() {
    for name in ["package.sh", "check-bindings.sh", "delegate.sh", "lock-heads.sh"] {
        let mode = std::fs::metadata(root().join("infra").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{name}");
    }
}
