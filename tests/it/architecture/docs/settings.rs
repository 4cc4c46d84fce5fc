//! The settings as `docs/operate.md` lists them, beside what `config` reads.

use super::{codes, document, files, read};
use azure_backup_scim::config::Config;
use std::collections::{BTreeMap, BTreeSet};

/// What must be set, and enough for every credential.
const BASE: [(&str, &str); 5] = [
    ("TABLES_ENDPOINT", "http://127.0.0.1:1"),
    ("KEY_VAULT_URL", "http://127.0.0.1:2"),
    ("ARM_ENDPOINT", "http://127.0.0.1:3"),
    ("AZURE_STATIC_TOKEN", "any"),
    ("DRILL_PRINCIPAL_ID", "00000000-0000-0000-0000-000000000001"),
];
/// What only the Functions host reads of the settings of a deployment.
const OF_THE_HOST: [&str; 2] = ["AzureWebJobs", "APPLICATIONINSIGHTS_"];
/// What azd itself fills in.
const OF_AZD: [&str; 3] = ["AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID"];

/// A row of the table.
struct Setting {
    name: String,
    unit: String,
    default: String,
    limits: String,
}

fn settings() -> Vec<Setting> {
    let rows = document("docs/operate.md").section("Settings").rows();
    let five = rows.into_iter().filter(|row| row.len() == 5);
    let settings = five.map(|row| {
        let [name, _, unit, default, limits] = row.try_into().unwrap();
        Setting { name: name.trim_matches('`').to_owned(), unit, default, limits }
    });
    settings.collect()
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.contains('_') && text.chars().all(plain)
}

/// The names that `config` reads, its tests left out.
fn known() -> BTreeSet<String> {
    let sources =
        files(".rs").into_iter().filter(|path| path.starts_with("src/config") && !path.contains("tests"));
    let sources: String = sources.map(|path| read(&path)).collect();
    sources.split('"').skip(1).step_by(2).filter(|text| is_name(text)).map(str::to_owned).collect()
}

/// What is read with one setting more, or the name of the setting that is wrong.
fn parse(name: &str, value: Option<&str>) -> Result<String, Vec<String>> {
    let pairs = BASE.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut variables: BTreeMap<String, String> = pairs.collect();
    variables.remove(name);
    if name == "TABLES_CONNECTION_STRING" {
        variables.remove("TABLES_ENDPOINT");
    }
    variables.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    match Config::parse(&variables) {
        Ok(config) => Ok(format!("{config:?}")),
        Err(error) => Err(error.mistakes.iter().map(|mistake| mistake.variable.to_owned()).collect()),
    }
}

#[track_caller]
fn assert_accepted(name: &str, value: &str) {
    assert!(parse(name, Some(value)).is_ok(), "{name} may be {value}: {:?}", parse(name, Some(value)));
}

#[track_caller]
fn assert_rejected(name: &str, value: &str) {
    assert_eq!(parse(name, Some(value)), Err(vec![name.to_owned()]), "{name} may not be {value}");
}

#[test]
fn the_table_of_settings_is_that_of_the_program() {
    let documented: Vec<String> = document("docs/operate.md").section("Settings").first_names();
    let unique: BTreeSet<String> = documented.iter().cloned().collect();
    assert_eq!(unique.len(), documented.len(), "a setting once");
    assert_eq!(unique, known());
    assert!(settings().len() > 10);
}

#[test]
fn the_defaults_and_limits_of_settings_are_as_documented() {
    let mut checked = BTreeSet::new();
    for Setting { name, unit, default, limits } in settings() {
        let literal = default
            .strip_prefix('`')
            .and_then(|text| text.strip_suffix('`'))
            .filter(|text| !text.contains('`'));
        if let Some(literal) = literal {
            assert_eq!(parse(&name, None), parse(&name, Some(literal)), "{name} is {literal} by default");
            checked.insert("default");
        }
        if default.starts_with("required") {
            assert_eq!(parse(&name, None), Err(vec![name.clone()]), "{name} is required");
            checked.insert("required");
        }
        if let Some((least, most)) = range(&limits) {
            let is_number = ["minutes", "months", "hours"].contains(&unit.as_str());
            let text = |size: usize| if is_number { size.to_string() } else { "a".repeat(size) };
            assert_accepted(&name, &text(least));
            assert_accepted(&name, &text(most));
            assert_rejected(&name, &text(most + 1));
            if is_number || least > 1 {
                assert_rejected(&name, &text(least - 1));
            }
            checked.insert("range");
        } else if limits.starts_with('`') {
            codes(&limits).iter().for_each(|choice| assert_accepted(&name, choice));
            assert_rejected(&name, "another");
            checked.insert("choice");
        } else if limits == "an origin" {
            assert_accepted(&name, "http://127.0.0.1:9");
            assert_rejected(&name, "https://contoso.example/path");
            assert_rejected(&name, "http://contoso.example");
            checked.insert("origin");
        }
    }
    assert_eq!(checked, BTreeSet::from(["choice", "default", "origin", "range", "required"]));
}

/// The first range that is named, as `1 to 1440`.
fn range(limits: &str) -> Option<(usize, usize)> {
    let (least, rest) = limits.split_once(" to ")?;
    Some((least.parse().ok()?, rest.split(' ').next()?.parse().ok()?))
}

/// Facts: F-072, F-078.
#[test]
fn a_deployment_sets_only_settings_that_exist() {
    let template = read("infra/app/function-app.bicep");
    let (_, settings) = template.split_once("name: 'appsettings'").unwrap();
    let (settings, _) = settings.split_once("\n}\n").unwrap();
    let names = settings.lines().filter_map(|line| line.trim().split_once(": ").map(|(name, _)| name));
    let ours: Vec<&str> = names
        .filter(|name| name.contains('_') && !OF_THE_HOST.iter().any(|other| name.starts_with(other)))
        .collect();
    assert!(ours.len() > 5, "{ours:?}");
    for name in ours {
        assert!(known().contains(name), "{name} is set and never read");
    }
}

#[test]
fn the_settings_of_a_deployment_are_documented() {
    let parameters = read("infra/main.parameters.json");
    let names = parameters.split("${").skip(1).filter_map(|text| text.split(['}', '=']).next());
    let scripts = ["DEPLOY_ROLE_DELEGATION"];
    assert!(read("infra/delegate.sh").contains(scripts[0]));
    let known: BTreeSet<String> =
        names.filter(|name| !OF_AZD.contains(name)).chain(scripts).map(str::to_owned).collect();
    let documented = document("docs/deploy.md").section("Settings of a deployment").first_names();
    assert_eq!(documented.into_iter().collect::<BTreeSet<_>>(), known);
}
