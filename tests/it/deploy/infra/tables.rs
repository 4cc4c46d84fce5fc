//! Who may do what with the rows of the three tables: read out of `infra/app/state-storage.bicep`.

use super::bicep::Evaluation;
use super::{template, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Storage Table Data Contributor.
const CONTRIBUTOR: &str = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3";
/// Storage Table Data Reader.
const READER: &str = "76199698-9eea-4c19-bc75-cec21354c6b6";
/// Storage Blob Data Contributor.
const BLOB_CONTRIBUTOR: &str = "ba92f5b4-2d11-453d-a403-e96b0029c9fe";
/// Storage Blob Data Reader.
const BLOB_READER: &str = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1";
/// The role of our own, by its name in the template.
const CONSUMER: &str = "orderConsumer";
const SERVICE: &str = "00000000-0000-0000-0000-000000000001";
const AUDITORS: &str = "00000000-0000-0000-0000-0000000000aa";
const OPERATORS: &str = "00000000-0000-0000-0000-0000000000bb";
const ADMINS: &str = "00000000-0000-0000-0000-0000000000dd";

/// Asks the template, deployed for these principals. An empty text is none.
fn deployed<T>(people: [&str; 3], ask: impl FnOnce(&Evaluation<'_>) -> T) -> T {
    deployed_with(people, "unlocked", ask)
}

fn deployed_with<T>(
    [auditors, operators, admins]: [&str; 3],
    heads_policy: &str,
    ask: impl FnOnce(&Evaluation<'_>) -> T,
) -> T {
    let template = template("app/state-storage.bicep");
    let parameters = [
        ("name", "ststate"),
        ("location", "westeurope"),
        ("redundancy", "Standard_ZRS"),
        ("servicePrincipalId", SERVICE),
        ("readerPrincipalId", auditors),
        ("readerPrincipalType", "Group"),
        ("operatorPrincipalId", operators),
        ("operatorPrincipalType", "User"),
        ("identityAdminPrincipalId", admins),
        ("identityAdminPrincipalType", "Group"),
        ("workspaceId", "log"),
        ("headsPolicy", heads_policy),
    ];
    let parameters = parameters.into_iter().map(|(name, value)| (name, json!(value)));
    let parameters = parameters.chain([("headsDays", json!(400))]).collect();
    ask(&Evaluation { template: &template, files: BTreeMap::new(), parameters })
}

/// Table, role and principal of every assignment.
fn assigned(people: [&str; 3]) -> BTreeSet<(String, String, String)> {
    let assignments =
        deployed(people, |evaluation| evaluation.resources("Microsoft.Authorization/roleAssignments"));
    let names: BTreeSet<String> = assignments.iter().map(|one| text(&one["name"])).collect();
    assert_eq!(names.len(), assignments.len(), "Azure refuses one assignment twice: {names:?}");
    let each = assignments.iter().map(|one| {
        let properties = &one["properties"];
        (text(&one["scope"]["name"]), text(&properties["roleDefinitionId"]), text(&properties["principalId"]))
    });
    each.collect()
}

fn set(expected: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    let each = expected.iter().map(|(table, role, who)| ((*table).into(), (*role).into(), (*who).into()));
    each.collect()
}

/// What the service may always do.
const OF_THE_SERVICE: [(&str, &str, &str); 4] = [
    ("scim", CONTRIBUTOR, SERVICE),
    ("orders", CONSUMER, SERVICE),
    ("requests", CONTRIBUTOR, SERVICE),
    ("heads", BLOB_CONTRIBUTOR, SERVICE),
];

/// The service, and what people may do beside it.
fn with(people: &[(&str, &str, &str)]) -> BTreeSet<(String, String, String)> {
    set(&[&OF_THE_SERVICE[..], people].concat())
}

#[test]
fn operators_write_orders_and_the_service_cannot() {
    let expected = [
        ("scim", READER, AUDITORS),
        ("scim", READER, OPERATORS),
        ("requests", READER, AUDITORS),
        ("requests", READER, OPERATORS),
        ("orders", CONTRIBUTOR, OPERATORS),
        ("heads", BLOB_READER, AUDITORS),
    ];
    assert_eq!(assigned([AUDITORS, OPERATORS, ""]), with(&expected));
}

#[test]
fn the_admin_of_the_identity_provider_reads_and_gives_no_order() {
    let expected = [("scim", READER, ADMINS), ("requests", READER, ADMINS)];
    assert_eq!(assigned(["", "", ADMINS]), with(&expected));
}

#[test]
fn without_an_operator_no_one_can_give_an_order() {
    let expected =
        [("scim", READER, AUDITORS), ("requests", READER, AUDITORS), ("heads", BLOB_READER, AUDITORS)];
    assert_eq!(assigned([AUDITORS, "", ""]), with(&expected));
    assert_eq!(assigned(["", "", ""]), with(&[]));
}

/// Facts: F-061.
#[test]
fn a_group_that_is_several_of_these_reads_by_one_assignment() {
    for auditors in [OPERATORS.to_owned(), OPERATORS.to_uppercase()] {
        let expected = [
            ("scim", READER, auditors.as_str()),
            ("requests", READER, auditors.as_str()),
            ("orders", CONTRIBUTOR, OPERATORS),
            ("heads", BLOB_READER, auditors.as_str()),
        ];
        for admins in ["", &auditors, OPERATORS] {
            assert_eq!(assigned([&auditors, OPERATORS, admins]), with(&expected));
        }
    }
}

/// Without `add`, `write` and `update`: what carries an order out can never have written it.
/// Facts: F-062.
#[test]
fn the_role_of_the_service_on_orders_reads_and_deletes_and_nothing_else() {
    let roles = deployed([AUDITORS, OPERATORS, ""], |evaluation| {
        evaluation.resources("Microsoft.Authorization/roleDefinitions")
    });
    let [role] = roles.as_slice() else { panic!("one role, not {roles:?}") };
    let entities = "Microsoft.Storage/storageAccounts/tableServices/tables/entities";
    let permissions = json!([{
        "actions": [],
        "notActions": [],
        "dataActions": [format!("{entities}/read"), format!("{entities}/delete")],
        "notDataActions": [],
    }]);
    assert_eq!(role["properties"]["permissions"], permissions);
    assert_eq!(role["properties"]["assignableScopes"], json!(["resourceGroup().id"]));
    assert!(text(&role["properties"]["roleName"]).contains("ststate"), "unique in the directory");
}

/// The `who` of an order is a claim. Azure's own log is what proves it.
/// Facts: F-063.
#[test]
fn the_callers_that_write_or_delete_rows_are_logged() {
    let settings =
        deployed(["", "", ""], |evaluation| evaluation.resources("Microsoft.Insights/diagnosticSettings"));
    let scopes: Vec<String> = settings.iter().map(|setting| text(&setting["scope"]["name"])).collect();
    assert_eq!(scopes, ["tables", "blobs"], "of all tables, and of the heads of the audit");
    for setting in &settings {
        let logs = setting["properties"]["logs"].as_array().unwrap();
        let enabled: Vec<&Value> =
            logs.iter().filter(|log| log["enabled"] == json!(true)).map(|log| &log["category"]).collect();
        assert_eq!(enabled, [&json!("StorageWrite"), &json!("StorageDelete")]);
    }
}

/// Facts: F-190.
#[test]
fn the_heads_have_a_policy_that_a_lock_takes_out_of_the_template() {
    let kind = "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies";
    let policies = |policy| deployed_with(["", "", ""], policy, |evaluation| evaluation.resources(kind));
    let unlocked = policies("unlocked");
    let [policy] = unlocked.as_slice() else { panic!("one policy, not {unlocked:?}") };
    assert_eq!(policy["name"], "default");
    let kept = json!({ "immutabilityPeriodSinceCreationInDays": 400, "allowProtectedAppendWrites": false });
    assert_eq!(policy["properties"], kept);
    assert!(policies("locked").is_empty(), "Azure would refuse to update it");
}
