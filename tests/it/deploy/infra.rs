//! The deployment files: what the template would delegate is read out of it and held to the rules of the code.

mod bicep;
mod compiled_delegation;
mod compiled_main;
mod compiled_watch;
mod package;
mod scripts;
mod tables;

use azure_backup_scim::bindings::Bindings;
use azure_backup_scim::rbac::{BackupRole, PrincipalType, Scope};
use bicep::{Evaluation, Template};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Azure's limit for the text of a condition.
const CONDITION_BYTES_MAX: usize = 8 * 1024;
/// The text that no role has as its id: a list of it alone allows nothing.
const NO_ROLE: &str = "00000000-0000-0000-0000-000000000000";
const PRINCIPAL: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
const EAST: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a";
const WEST: &str = "/subscriptions/00000000-0000-0000-0000-00000000000b";

/// The condition under which the service may hand out roles at `scope`, when `infra/` is deployed with this
/// `bindings.json`: evaluated from `infra/delegation.bicep`.
pub fn delegation_condition(bindings: &str, scope: &str) -> String {
    let scope = Scope::parse(scope).expect("a scope that can be bound");
    let conditions = delegated(bindings);
    conditions.get(scope.folded()).unwrap_or_else(|| panic!("nothing is delegated at {scope}")).clone()
}

/// Every scope at which something is delegated, with its condition.
pub fn delegated(bindings: &str) -> BTreeMap<String, String> {
    let delegations = evaluate(bindings, |evaluation| {
        evaluation.evaluate(&evaluation.template.outputs["delegations"], &Vec::new())
    });
    let each = delegations.as_array().unwrap().iter();
    let pairs: Vec<_> = each.map(|one| (text(&one["scope"]), text(&one["condition"]))).collect();
    let count = pairs.len();
    let conditions: BTreeMap<_, _> = pairs.into_iter().collect();
    assert_eq!(conditions.len(), count, "a scope once");
    conditions
}

fn evaluate<T>(bindings: &str, ask: impl FnOnce(&Evaluation<'_>) -> T) -> T {
    evaluate_for(PRINCIPAL, bindings, ask)
}

fn evaluate_for<T>(principal: &str, bindings: &str, ask: impl FnOnce(&Evaluation<'_>) -> T) -> T {
    let template = template("delegation.bicep");
    let files = BTreeMap::from([
        ("../bindings.json", bindings.to_owned()),
        ("backup-roles.json", read("infra/backup-roles.json")),
        ("delegation-condition.txt", read("infra/delegation-condition.txt")),
    ]);
    let parameters = ["workspaceId", "drillScope"].map(|name| (name, json!("")));
    let parameters: BTreeMap<_, _> =
        parameters.into_iter().chain([("principalId", json!(principal))]).collect();
    ask(&Evaluation { template: &template, files, parameters })
}

fn template(name: &str) -> Template {
    bicep::parse(&read(&format!("infra/{name}")))
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// All that a role assignment of ours can say of its principal. The match fails to build when a type is added.
fn principal_types() -> Vec<&'static str> {
    let all = [PrincipalType::User, PrincipalType::ServicePrincipal];
    for one in all {
        match one {
            PrincipalType::User | PrincipalType::ServicePrincipal => {}
        }
    }
    all.map(PrincipalType::as_str).to_vec()
}

/// What the condition has to be, from the rules of the code instead of the template.
fn expected(bindings: &Bindings, scope: &Scope) -> String {
    let at_scope: BTreeSet<BackupRole> = bindings
        .bindings
        .iter()
        .filter(|binding| binding.scope == *scope)
        .map(|binding| binding.role)
        .collect();
    let ids = |roles: &BTreeSet<BackupRole>| {
        roles.iter().map(|role| role.definition_id().to_string()).collect::<Vec<_>>().join(", ")
    };
    let write = if at_scope.is_empty() { NO_ROLE.to_owned() } else { ids(&at_scope) };
    let delete = ids(&BackupRole::ALL.into_iter().collect());
    let types = principal_types().iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let clause = |action: &str, source: &str, roles: &str| {
        let attribute = format!("@{source}[Microsoft.Authorization/roleAssignments:");
        format!(
            "( ( !(ActionMatches{{'Microsoft.Authorization/roleAssignments/{action}'}}) ) OR ( \
             {attribute}RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{roles}}} AND \
             {attribute}PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {{{types}}} ) )"
        )
    };
    format!("{} AND {}", clause("write", "Request", &write), clause("delete", "Resource", &delete))
}

fn binding(name: &str, role: &str, scope: &str) -> Value {
    json!({ "name": name, "group": { "externalId": name }, "role": role, "scope": scope, "allowBroadScope": true })
}

fn file(bindings: &[Value], retired: &[&str]) -> String {
    json!({ "version": 1, "retired": retired, "bindings": bindings }).to_string()
}

fn vault(subscription: &str, name: &str) -> String {
    format!("{subscription}/resourceGroups/Backup/providers/Microsoft.RecoveryServices/vaults/{name}")
}

fn backup_vault(subscription: &str, name: &str) -> String {
    format!("{subscription}/resourceGroups/Backup/providers/Microsoft.DataProtection/backupVaults/{name}")
}

/// Every kind of scope, in two subscriptions, one scope in two spellings, and two scopes that were left.
fn everything() -> String {
    file(
        &[
            binding("readers-all", "Backup Reader", WEST),
            binding("operators-east", "Backup Operator", &vault(EAST, "East")),
            binding("readers-east", "Backup Reader", &vault(EAST, "EAST").to_uppercase()),
            binding("admins", "Backup Contributor", &format!("{EAST}/resourceGroups/Backup/")),
            binding("disks", "Backup Operator", &backup_vault(WEST, "disks")),
            binding("readers-disks", "Backup Reader", &backup_vault(WEST, "disks")),
            binding("admins-disks", "Backup Contributor", &(backup_vault(WEST, "disks") + "/")),
        ],
        &[&(vault(WEST, "Old") + "/"), &format!("{WEST}/resourceGroups/left")],
    )
}

/// Facts: F-103.
#[test]
fn the_lists_of_the_template_are_those_of_the_code() {
    let closed: Value = serde_json::from_str(&read("infra/backup-roles.json")).unwrap();
    let roles = BackupRole::ALL.map(|role| (role.name().to_owned(), json!(role.definition_id().to_string())));
    assert_eq!(closed["roles"], Value::Object(roles.into_iter().collect()));
    assert_eq!(closed["principalTypes"]["write"], json!(principal_types()));
    assert_eq!(closed["principalTypes"]["delete"], json!(principal_types()));
}

#[test]
fn a_fresh_checkout_binds_nothing_and_delegates_nothing() {
    let bindings = read("bindings.json");
    let parsed = Bindings::parse(bindings.as_bytes()).expect("the file is in order");
    assert!(parsed.bindings.is_empty(), "nobody is granted anything");
    assert_eq!(delegated(&bindings), BTreeMap::new());
    assert_eq!(evaluate(&bindings, |evaluation| evaluation.modules()), []);
}

/// Facts: F-155.
#[test]
fn each_scope_of_the_file_is_delegated_once_with_the_roles_bound_there() {
    let bindings = everything();
    let parsed = Bindings::parse(bindings.as_bytes()).expect("the file is in order");
    let wanted: BTreeMap<_, _> =
        parsed.scopes().iter().map(|scope| (scope.folded().to_owned(), expected(&parsed, scope))).collect();
    assert_eq!(wanted.len(), 6, "four bound, two retired");
    assert_eq!(delegated(&bindings), wanted);
}

#[test]
fn the_example_of_local_is_delegated_as_the_code_says() {
    let bindings = read("src/local/bindings.json");
    let parsed = Bindings::parse(bindings.as_bytes()).unwrap();
    for scope in parsed.scopes() {
        assert_eq!(delegation_condition(&bindings, scope.as_str()), expected(&parsed, &scope));
    }
}

/// Facts: F-155.
#[test]
fn the_order_of_the_file_does_not_change_a_condition() {
    let east = vault(EAST, "east");
    let (operators, readers) = (binding("a", "Backup Operator", &east), binding("b", "Backup Reader", &east));
    let one = file(&[operators.clone(), readers.clone()], &[]);
    let other = file(&[readers, operators], &[]);
    assert_eq!(delegation_condition(&one, &east), delegation_condition(&other, &east));
}

/// Facts: F-025.
#[test]
fn at_a_retired_scope_no_role_can_be_given_and_each_can_be_taken() {
    let left = vault(EAST, "left");
    let condition = delegation_condition(&file(&[], &[&left]), &left);
    let (write, delete) = condition.split_once(" AND ( ( !(ActionMatches").unwrap();
    assert!(write.contains(&format!("GuidEquals {{{NO_ROLE}}}")), "{write}");
    for role in BackupRole::ALL {
        assert!(!write.contains(&role.definition_id().to_string()), "{role}");
        assert!(delete.contains(&role.definition_id().to_string()), "{role}");
    }
}

#[test]
fn a_file_without_the_optional_keys_is_delegated_too() {
    let east = vault(EAST, "east");
    let bindings = json!({ "version": 1, "bindings": [binding("a", "Backup Reader", &east)] }).to_string();
    assert_eq!(delegated(&bindings).len(), 1);
}

/// Facts: F-093.
#[test]
fn a_condition_is_one_complete_line_within_azures_limit() {
    for (scope, condition) in delegated(&everything()) {
        assert!(condition.len() < CONDITION_BYTES_MAX, "{scope}: {} bytes", condition.len());
        assert!(!condition.contains("__"), "{scope}: a placeholder was left: {condition}");
        assert!(!condition.contains(['\n', '\r', '\t']) && !condition.contains("  "), "{scope}: {condition}");
        assert_eq!(condition.trim(), condition);
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            assert_eq!(condition.matches(open).count(), condition.matches(close).count(), "{condition}");
        }
    }
}

#[test]
fn line_endings_of_another_system_change_nothing() {
    let east = vault(EAST, "east");
    let bindings = file(&[binding("a", "Backup Reader", &east)], &[]);
    let windows = evaluate(&bindings, |evaluation| {
        let mut files = evaluation.files.clone();
        let text = files.get_mut("delegation-condition.txt").unwrap();
        *text = text.replace('\n', "\r\n");
        let other =
            Evaluation { template: evaluation.template, files, parameters: evaluation.parameters.clone() };
        other.value("delegations")[0]["condition"].clone()
    });
    assert_eq!(text(&windows), delegation_condition(&bindings, &east));
}

/// Facts: F-079.
#[test]
fn each_kind_of_scope_goes_to_its_module_in_its_own_subscription() {
    let (east, west) = (EAST.replace("/subscriptions/", ""), WEST.replace("/subscriptions/", ""));
    let expected = [
        ("app/delegation-backup-vault.bicep", format!("resourceGroup({west}, backup)"), json!("disks")),
        ("app/delegation-recovery-vault.bicep", format!("resourceGroup({east}, backup)"), json!("east")),
        ("app/delegation-recovery-vault.bicep", format!("resourceGroup({west}, backup)"), json!("old")),
        ("app/delegation-resource-group.bicep", format!("resourceGroup({east}, backup)"), Value::Null),
        ("app/delegation-resource-group.bicep", format!("resourceGroup({west}, left)"), Value::Null),
        ("app/delegation-subscription.bicep", format!("subscription({west})"), Value::Null),
    ];
    let mut modules = evaluate(&everything(), |evaluation| evaluation.modules());
    modules.sort_by_key(|(path, scope, _)| (path.clone(), scope.to_string()));
    let seen: Vec<_> = modules
        .iter()
        .map(|(path, scope, params)| (path.as_str(), text(scope), params["vaultName"].clone()))
        .collect();
    assert_eq!(seen, expected);
    let conditions: BTreeSet<String> = delegated(&everything()).into_values().collect();
    for (path, scope, params) in &modules {
        assert_eq!(params["principalId"], json!(PRINCIPAL), "{path} {scope}");
        assert!(conditions.contains(&text(&params["condition"])), "{path} {scope}");
    }
}

/// Role Based Access Control Administrator is never given without the condition, and nothing broader ever.
#[test]
fn the_right_to_hand_out_roles_always_carries_its_condition() {
    const ADMINISTRATOR: &str = "f58310d9-a9f6-439a-9e8d-f62e7b41a168";
    let mut delegations = 0;
    for path in templates() {
        let source = read(&path);
        for forbidden in ["8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"] {
            assert!(!source.contains(forbidden), "{path} gives Owner or User Access Administrator");
        }
        let template = bicep::parse(&source);
        let assignments =
            template.resources.iter().filter(|one| one.kind.starts_with("Microsoft.Authorization/"));
        for assignment in assignments {
            let body = format!("{:?}", assignment.body);
            assert!(body.contains("guid"), "{path}: the name of an assignment is derived");
            if source.contains(ADMINISTRATOR) {
                delegations += 1;
                for property in [
                    r#"(Literal(String("condition")), Name("condition"))"#,
                    r#"(Literal(String("conditionVersion")), Literal(String("2.0")))"#,
                ] {
                    assert!(body.contains(property), "{path}: {property}");
                }
            }
        }
    }
    assert_eq!(delegations, 4, "one for each kind of scope");
}

/// `azd down` deletes the resource groups in which the deployment of `main.bicep` made something.
/// Facts: F-072, F-080.
#[test]
fn main_deploys_into_its_own_resource_group_only() {
    let main = template("main.bicep");
    assert!(!main.modules.is_empty());
    for module in &main.modules {
        assert!(!module.kind.contains("delegation"), "{} would be in the reach of azd down", module.kind);
        let body = format!("{:?}", module.body);
        assert!(body.contains(r#"(Literal(String("scope")), Name("group"))"#), "{}", module.kind);
    }
    let types: Vec<_> = main.resources.iter().map(|one| one.kind.split('@').next().unwrap()).collect();
    // The other one is that of drills, in which nothing is made: it may go.
    assert_eq!(types, ["Microsoft.Resources/resourceGroups"; 2]);
}

/// Every template, by its path in the repository.
fn templates() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["infra", "infra/app"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".bicep") {
                found.push(format!("{folder}/{name}"));
            }
        }
    }
    assert!(found.len() > 10, "the templates were found");
    found
}
