//! What `delegation.bicep` deploys: the evaluator of these tests beside the compiler, which evaluates without Azure.
//!
//! `compiled_delegation/recorded.json` has what Bicep CLI 0.49.2 made of six files of bindings on 2026-11-28, and holds
//! the evaluator where there is no compiler. Where there is one, it is asked about these, the files of this repository,
//! and random ones.

use super::{evaluate_for, everything, read, text};
use crate::deploy::compiler::{Compiler, Session, TemplateCopy};
use crate::support::dice::Dice;
use azure_backup_scim::bindings::Bindings;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::{Uuid, uuid};

const RECORDED: &str = include_str!("compiled_delegation/recorded.json");
/// For whom the record was made.
const PRINCIPAL: &str = "11111111-1111-1111-1111-111111111111";
/// Role Based Access Control Administrator.
const ADMINISTRATOR: &str = "f58310d9-a9f6-439a-9e8d-f62e7b41a168";
/// From which `guid()` of a template makes its ids.
const TEMPLATE_GUIDS: Uuid = uuid!("11fb06fb-712d-4ddd-98c7-e71bbd588830");
const RANDOM_FILES: usize = 200;

#[derive(Debug, Clone, Deserialize)]
struct Recorded {
    case: String,
    bindings: Value,
    diagnostics: Vec<Value>,
    predicted: Vec<Map<String, Value>>,
    delegations: Value,
}

/// What a deployment makes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Deployed {
    /// The properties of each role assignment, by its id.
    assignments: BTreeMap<String, Value>,
    /// The output.
    delegations: Value,
}

impl Recorded {
    fn deployed(&self) -> Deployed {
        let assignments = self.predicted.iter().cloned().map(|mut assignment| {
            let id = assignment.remove("id").unwrap();
            (text(&id), Value::Object(assignment))
        });
        Deployed { assignments: assignments.collect(), delegations: self.delegations.clone() }
    }
}

fn recorded() -> Vec<Recorded> {
    serde_json::from_str(RECORDED).unwrap()
}

/// What it is by the evaluator.
fn evaluated(bindings: &str) -> Deployed {
    let (modules, delegations) = evaluate_for(PRINCIPAL, bindings, |evaluation| {
        let delegations = &evaluation.template.outputs["delegations"];
        (evaluation.modules(), evaluation.evaluate(delegations, &Vec::new()))
    });
    let assignments =
        modules.iter().map(|(path, scope, parameters)| assignment(path, &text(scope), parameters));
    Deployed { assignments: assignments.collect(), delegations }
}

/// The one role assignment of a module, by its id.
fn assignment(path: &str, place: &str, parameters: &Value) -> (String, Value) {
    let (kind, arguments) = place.strip_suffix(')').and_then(|call| call.split_once('(')).unwrap();
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let (subscription, scope) = match (kind, arguments.as_slice()) {
        ("subscription", [subscription]) => (*subscription, format!("/subscriptions/{subscription}")),
        ("resourceGroup", [subscription, group]) => {
            (*subscription, format!("/subscriptions/{subscription}/resourceGroups/{group}"))
        }
        _ => panic!("no place for a module: {place}"),
    };
    let vault = |kind: &str| format!("{scope}/providers/{kind}/{}", text(&parameters["vaultName"]));
    let scope = match path {
        "app/delegation-subscription.bicep" | "app/delegation-resource-group.bicep" => scope,
        "app/delegation-recovery-vault.bicep" => vault("Microsoft.RecoveryServices/vaults"),
        "app/delegation-backup-vault.bicep" => vault("Microsoft.DataProtection/backupVaults"),
        _ => panic!("no module of the delegation: {path}"),
    };
    let authorization = "providers/Microsoft.Authorization";
    let role = format!("/subscriptions/{subscription}/{authorization}/roleDefinitions/{ADMINISTRATOR}");
    let principal = text(&parameters["principalId"]);
    let name = Uuid::new_v5(&TEMPLATE_GUIDS, format!("{scope}-{principal}-{role}").as_bytes());
    let properties = json!({
        "principalId": principal,
        "principalType": "ServicePrincipal",
        "roleDefinitionId": role,
        "condition": parameters["condition"],
        "conditionVersion": "2.0",
    });
    (format!("{scope}/{authorization}/roleAssignments/{name}"), properties)
}

/// What it is by the compiler.
fn compiled(session: &mut Session, templates: &TemplateCopy) -> Deployed {
    let parameters = templates.parameters("delegation.bicep", &[("principalId", PRINCIPAL)]);
    let snapshot = session.snapshot(&parameters);
    assert_eq!(snapshot["diagnostics"], json!([]));
    let assignments = snapshot["predictedResources"].as_array().unwrap().iter().map(|resource| {
        assert_eq!(resource["type"], "Microsoft.Authorization/roleAssignments", "{resource}");
        let mut properties = resource["properties"].clone();
        properties.as_object_mut().unwrap().remove("description");
        (text(&resource["id"]), properties)
    });
    Deployed { assignments: assignments.collect(), delegations: snapshot["outputs"]["delegations"].clone() }
}

/// Facts: F-155.
#[test]
fn the_evaluator_deploys_what_was_recorded_of_the_compiler() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 6);
    for case in recorded {
        assert_eq!(case.diagnostics, [] as [Value; 0], "{}", case.case);
        assert_eq!(evaluated(&case.bindings.to_string()), case.deployed(), "{}", case.case);
    }
}

#[test]
fn a_record_that_says_otherwise_is_noticed() {
    let case = recorded().into_iter().find(|case| case.case == "one-of-each").unwrap();
    let bindings = case.bindings.to_string();
    assert_eq!(evaluated(&bindings), case.deployed());
    let plant: [fn(&mut Recorded); 6] = [
        |case| drop(case.predicted.pop()),
        |case| drop(case.predicted[0].insert("condition".to_owned(), json!("true"))),
        |case| drop(case.predicted[0].insert("principalId".to_owned(), json!(ADMINISTRATOR))),
        |case| drop(case.predicted[0].insert("roleDefinitionId".to_owned(), json!("Owner"))),
        |case| drop(case.predicted[0].insert("id".to_owned(), json!("/subscriptions"))),
        |case| case.delegations.as_array_mut().unwrap().reverse(),
    ];
    for change in plant {
        let mut doctored = case.clone();
        change(&mut doctored);
        assert_ne!(evaluated(&bindings), doctored.deployed());
    }
}

/// Facts: F-155.
#[test]
fn the_compiler_deploys_what_the_evaluator_says_for_any_file() {
    let what = format!("the delegation of {RANDOM_FILES} random files of bindings, by the compiler");
    let Some(compiler) = Compiler::find(&what) else { return };
    let mut session = compiler.session();
    let mut files = vec![read("bindings.json"), read("src/local/bindings.json"), everything()];
    files.extend(recorded().iter().map(|case| case.bindings.to_string()));
    let mut dice = Dice::new(15);
    files.extend((0..RANDOM_FILES).map(|_| random_file(&mut dice)));
    for file in &files {
        assert_eq!(compiled(&mut session, &TemplateCopy::new(file)), evaluated(file), "{file}");
    }

    let file = everything();
    for (template, old, new) in [
        ("infra/delegation.bicep", "empty(at.roles) ? noRole", "empty(at.roles) ? deleteRoles"),
        ("infra/delegation.bicep", "== 'backupvaults'", "== 'vaults'"),
        ("infra/delegation.bicep", "file.?retired ?? []", "[]"),
        ("infra/app/delegation-subscription.bicep", ADMINISTRATOR, "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"),
        ("infra/app/delegation-resource-group.bicep", "condition: condition", "condition: 'true'"),
        ("infra/backup-roles.json", "\"User\", ", ""),
    ] {
        let planted = TemplateCopy::new(&file).replace(template, old, new);
        assert_ne!(compiled(&mut session, &planted), evaluated(&file), "{template}: {new}");
    }
}

/// The resource group of drills is bound by the package alone: the service may give its one role there, and nothing more.
#[test]
fn the_resource_group_of_drills_is_delegated_as_a_binding_would_be() {
    let Some(compiler) = Compiler::find("the delegation of drills, by the compiler") else { return };
    let mut session = compiler.session();
    let scope = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/rg-prod-drill";
    let file = everything();
    let templates = TemplateCopy::new(&file);
    let parameters = [("principalId", PRINCIPAL), ("drillScope", scope)];
    let snapshot = session.snapshot(&templates.parameters("delegation.bicep", &parameters));
    let with = elements_of(&snapshot["outputs"]["delegations"]);
    let bound = azure_backup_scim::bindings::with_drill(file.as_bytes(), scope);
    let same = compiled(&mut session, &TemplateCopy::new(std::str::from_utf8(&bound).unwrap()));
    assert_eq!(with, elements_of(&same.delegations));
    assert!(with.iter().any(|one| one.contains("rg-prod-drill")), "{with:?}");
}

/// In no order.
fn elements_of(list: &Value) -> std::collections::BTreeSet<String> {
    list.as_array().unwrap().iter().map(ToString::to_string).collect()
}

/// A file that the service takes.
fn random_file(dice: &mut Dice) -> String {
    loop {
        let file = attempt(dice).to_string();
        if Bindings::parse(file.as_bytes()).is_ok() {
            return file;
        }
    }
}

fn attempt(dice: &mut Dice) -> Value {
    let bindings: Vec<Value> = (0..dice.roll(7)).map(|at| binding(dice, at)).collect();
    let mut file = json!({ "version": 1, "bindings": bindings });
    if dice.roll(4) > 0 {
        file["retired"] = (0..dice.roll(3)).map(|_| json!(scope(dice))).collect();
    }
    if dice.roll(2) == 0 {
        file["principal"] = json!({ "from": ["entraObjectId", "externalId"] });
    }
    if dice.roll(2) == 0 {
        file["$schema"] = json!("bindings.schema.json");
    }
    file
}

fn binding(dice: &mut Dice, at: usize) -> Value {
    let group = match dice.roll(3) {
        0 => json!({ "displayName": "Ops '${at}' \\ \u{1F512}", "allowDisplayName": true }),
        1 => json!({ "id": Uuid::from_u128(at as u128 + 1) }),
        _ => json!({ "externalId": format!("group-{}", dice.roll(3)) }),
    };
    let role = dice.of(&["Backup Contributor", "Backup Operator", "Backup Reader"]);
    let scope = scope(dice);
    let mut binding =
        json!({ "name": format!("binding-{at}"), "group": group, "role": role, "scope": scope });
    binding["allowBroadScope"] = json!(true);
    if dice.roll(4) == 0 {
        binding["where"] = json!("title eq \"it's ${x}\"");
    }
    if dice.roll(4) == 0 {
        binding["maxPrincipals"] = json!(100);
    }
    binding
}

/// Few enough that they meet, in every spelling.
fn scope(dice: &mut Dice) -> String {
    let names =
        ["backup", "Backup_(west)-1.x", "R\u{fc}ck", "\u{5099}\u{4efd}", "\u{3a3}\u{391}\u{3a3}", "vaults"];
    let subscription = dice.of(&["00000000000a", "00000000000b", "00000000000c", "000000000000"]);
    let mut scope = format!("/subscriptions/00000000-0000-0000-0000-{subscription}");
    let kind = dice.roll(8);
    if kind > 0 {
        scope += &format!("/resourceGroups/{}", dice.of(&names));
    }
    if kind > 2 {
        let vaults = dice.of(&["Microsoft.RecoveryServices/vaults", "Microsoft.DataProtection/backupVaults"]);
        scope += &format!("/providers/{vaults}/{}", dice.of(&names));
    }
    let scope = match dice.roll(4) {
        0 => scope.to_uppercase(),
        1 => scope.to_lowercase(),
        _ => scope,
    };
    if dice.roll(4) == 0 { scope + "/" } else { scope }
}
