//! What the service's own right lets it hand out: the condition as the template deploys it, asked by the evaluator and by
//! the simulated Azure. What is expected stands in tables written by hand; nothing of the service says what is right here.

mod azure;
mod life;
mod reading;

use crate::deploy::infra::{delegated, delegation_condition};
use azure_backup_scim::rbac::condition::{AssignmentAction, AssignmentCondition, Verdict};
use azure_backup_scim::simulator::{AccessCheck, AttributeSource, Condition, OwnRight, Scope};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use uuid::Uuid;

const CONTRIBUTOR: &str = "Backup Contributor";
const OPERATOR: &str = "Backup Operator";
const READER: &str = "Backup Reader";

/// Roles as Azure publishes them, and one that somebody made.
const ROLES: [(&str, &str); 12] = [
    (CONTRIBUTOR, "5e467623-bb1f-42f4-a55d-6e525e11384b"),
    (OPERATOR, "00c29273-979b-4161-815c-10b084fb9324"),
    (READER, "a795c7a0-d4a2-40c1-ae25-d81f01202912"),
    ("Backup MUA Admin", "c2a970b4-16a7-4a51-8c84-8a8ea6ee0bb8"),
    ("Backup MUA Operator", "f54b6d04-23c6-443e-b462-9c16ab7b4a52"),
    ("Disk Restore Operator", "b50d9833-a0cb-478e-945f-707fcc997c13"),
    ("Site Recovery Contributor", "6670b86e-a3f7-4917-ac9b-5d6ab1be4567"),
    ("Owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"),
    ("Contributor", "b24988ac-6180-42a0-ab88-20f7382dd24c"),
    ("User Access Administrator", "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"),
    ("Role Based Access Control Administrator", "f58310d9-a9f6-439a-9e8d-f62e7b41a168"),
    ("a custom role", "3f2b7c1e-5a94-4d0e-9c55-1d6f0a7be812"),
];

/// What may be taken away again, wherever something is delegated.
const REVOCABLE: [&str; 3] = [CONTRIBUTOR, OPERATOR, READER];

/// Types of principals as a request may spell them, and whether the service ever writes them.
const TYPES: [(Option<&str>, bool); 8] = [
    (Some("User"), true),
    (Some("ServicePrincipal"), true),
    (Some("user"), true),
    (Some("Group"), false),
    (Some("ForeignGroup"), false),
    (Some("Device"), false),
    (Some(""), false),
    (None, false),
];

/// The actions of Role Based Access Control Administrator, which is what the template gives.
const ADMINISTRATOR: [&str; 4] = [
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleAssignments/delete",
    "*/read",
    "Microsoft.Support/*",
];

const A: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a";
const B: &str = "/subscriptions/00000000-0000-0000-0000-00000000000b";
const C: &str = "/subscriptions/00000000-0000-0000-0000-00000000000c";

fn group(subscription: &str, name: &str) -> String {
    format!("{subscription}/resourceGroups/{name}")
}

fn vault(group: &str, name: &str) -> String {
    format!("{group}/providers/Microsoft.RecoveryServices/vaults/{name}")
}

fn backup_vault(group: &str, name: &str) -> String {
    format!("{group}/providers/Microsoft.DataProtection/backupVaults/{name}")
}

fn role_id(name: &str) -> Uuid {
    let (_, id) = ROLES.into_iter().find(|(known, _)| *known == name).unwrap();
    Uuid::try_parse(id).unwrap()
}

/// A file of bindings, each of (group, role, scope), with the scopes that were left.
fn file(bindings: &[(&str, &str, &str)], retired: &[&str]) -> String {
    let binding = |(group, role, scope): &(&str, &str, &str)| {
        let place = scope.trim_end_matches('/').rsplit('/').next().unwrap().to_lowercase();
        let name = format!("{group}-{}-{place}", role.replace(' ', "-").to_lowercase());
        json!({ "name": name, "group": { "externalId": group }, "role": role, "scope": scope, "allowBroadScope": true })
    };
    let bindings: Vec<Value> = bindings.iter().map(binding).collect();
    let from = ["entraObjectId", "externalId"];
    json!({ "version": 1, "principal": { "from": from }, "retired": retired, "bindings": bindings })
        .to_string()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// What the identity holds once `infra/` was deployed with this file.
fn rights(file: &str) -> Vec<OwnRight> {
    let right = |(scope, condition): (String, String)| OwnRight {
        scope: Scope::parse(&scope).unwrap(),
        condition: Some(condition),
        actions: ADMINISTRATOR.map(str::to_owned).to_vec(),
    };
    delegated(file).into_iter().map(right).collect()
}

/// A file, and which roles can be handed out at each scope of it.
struct Deployment {
    file: String,
    bound: Vec<(String, Vec<&'static str>)>,
}

/// The file that `local` starts with.
fn example() -> Deployment {
    let backup = group("/subscriptions/00000000-0000-0000-0000-000000000001", "backup");
    let bound = vec![
        (vault(&backup, "east"), vec![OPERATOR]),
        (vault(&backup, "west"), vec![READER]),
        (backup, vec![CONTRIBUTOR]),
    ];
    Deployment { file: read("src/local/bindings.json"), bound }
}

/// Every kind of scope, two roles at one, one scope in two spellings, and one that was left.
fn richer() -> Deployment {
    let east = vault(&group(A, "backup"), "East");
    let disks = backup_vault(&group(B, "backup"), "disks");
    let old = vault(&group(C, "backup"), "old");
    let file = file(
        &[
            ("operators", OPERATOR, &east),
            ("night-shift", OPERATOR, &(east.clone() + "/")),
            ("readers", READER, &east.to_uppercase()),
            ("admins", CONTRIBUTOR, &(group(A, "Backup") + "/")),
            ("auditors", READER, B),
            ("operators", OPERATOR, &disks),
            ("admins", CONTRIBUTOR, &disks),
        ],
        &[&old],
    );
    let bound = vec![
        (east, vec![OPERATOR, READER]),
        (group(A, "backup"), vec![CONTRIBUTOR]),
        (B.to_owned(), vec![READER]),
        (disks, vec![OPERATOR, CONTRIBUTOR]),
        (old, vec![]),
    ];
    Deployment { file, bound }
}

/// The richer one later: roles have left their scopes, and a scope has left the file.
fn later() -> Deployment {
    let east = vault(&group(A, "backup"), "east");
    let disks = backup_vault(&group(B, "backup"), "disks");
    let file = file(&[("readers", READER, &east), ("admins", CONTRIBUTOR, &disks)], &[&group(A, "backup")]);
    let bound = vec![(east, vec![READER]), (group(A, "backup"), vec![]), (disks, vec![CONTRIBUTOR])];
    Deployment { file, bound }
}

/// Calls `look` with each scope's condition and the roles bound there.
fn at_each_scope(mut look: impl FnMut(&str, &Condition, &[&str])) {
    for deployment in [example(), richer(), later()] {
        assert_eq!(
            delegated(&deployment.file).len(),
            deployment.bound.len(),
            "no scope beside those of the file"
        );
        for (scope, bound) in &deployment.bound {
            let condition = Condition::parse(&delegation_condition(&deployment.file, scope)).unwrap();
            look(scope, &condition, bound);
        }
    }
}

#[test]
fn a_condition_lets_in_what_is_bound_at_its_scope_and_lets_out_the_backup_roles() {
    at_each_scope(|scope, condition, bound| {
        for (role, id) in ROLES {
            let id = Some(Uuid::try_parse(id).unwrap());
            for (kind, is_ours) in TYPES {
                for principal in [Some(Uuid::new_v4()), None] {
                    let write = condition.allows(&AccessCheck::write(id, principal, kind));
                    assert_eq!(
                        write,
                        is_ours && bound.contains(&role),
                        "write {role} to {kind:?} at {scope}"
                    );
                    let delete = condition.allows(&AccessCheck::delete(id, principal, kind));
                    assert_eq!(
                        delete,
                        is_ours && REVOCABLE.contains(&role),
                        "delete {role} of {kind:?} at {scope}"
                    );
                }
            }
        }
        for (kind, _) in TYPES {
            assert!(
                !condition.allows(&AccessCheck::write(None, None, kind)),
                "write no role to {kind:?} at {scope}"
            );
            assert!(
                !condition.allows(&AccessCheck::delete(None, None, kind)),
                "delete no role of {kind:?} at {scope}"
            );
        }
    });
}

/// `doctor` reads conditions by itself: what it says of each deployed one is what Azure does.
#[test]
fn doctor_understands_a_deployed_condition_as_azure_does() {
    at_each_scope(|scope, condition, _| {
        let read = AssignmentCondition::parse(&condition.to_string()).unwrap();
        for (role, id) in ROLES {
            let id = Uuid::try_parse(id).unwrap();
            for kind in TYPES.into_iter().filter_map(|(kind, _)| kind) {
                let give = AccessCheck::write(Some(id), None, Some(kind));
                let take = AccessCheck::delete(Some(id), None, Some(kind));
                for (action, check) in [(AssignmentAction::Give, give), (AssignmentAction::Take, take)] {
                    let expected = if condition.allows(&check) { Verdict::Yes } else { Verdict::No };
                    assert_eq!(
                        read.verdict(action, id, kind),
                        expected,
                        "{action:?} {role} {kind:?} at {scope}"
                    );
                }
            }
        }
    });
}

/// What a caller sends with a delete, and what stands there before a write, must not make the difference.
/// Facts: F-028, F-099.
#[test]
fn a_write_is_judged_by_what_is_asked_and_a_delete_by_what_is_there() {
    let pretend = |access: AccessCheck, source, role: &str| {
        let id = role_id(role).to_string();
        access.with(source, "Microsoft.Authorization/roleAssignments:RoleDefinitionId", &[&id]).with(
            source,
            "Microsoft.Authorization/roleAssignments:PrincipalType",
            &["User"],
        )
    };
    let (owner, reader) = (Some(role_id("Owner")), Some(role_id(READER)));
    at_each_scope(|scope, condition, bound| {
        let harmless = bound.first().copied().unwrap_or(READER);
        let write =
            pretend(AccessCheck::write(owner, None, Some("User")), AttributeSource::Resource, harmless);
        assert!(!condition.allows(&write), "Owner over {harmless} at {scope}");
        let delete =
            pretend(AccessCheck::delete(owner, None, Some("User")), AttributeSource::Request, harmless);
        assert!(!condition.allows(&delete), "delete Owner, said to be {harmless}, at {scope}");

        let delete =
            pretend(AccessCheck::delete(reader, None, Some("User")), AttributeSource::Request, "Owner");
        assert!(condition.allows(&delete), "what is asked with a delete is of no interest at {scope}");
        for role in bound {
            let write = AccessCheck::write(Some(role_id(role)), None, Some("User"));
            assert!(
                condition.allows(&pretend(write, AttributeSource::Resource, "Owner")),
                "{role} at {scope}"
            );
        }
    });
}

/// Facts: F-100.
#[test]
fn no_spelling_of_an_action_goes_round_a_condition() {
    let owner = Some(role_id("Owner"));
    at_each_scope(|scope, condition, _| {
        for access in
            [AccessCheck::write(owner, None, Some("User")), AccessCheck::delete(owner, None, Some("User"))]
        {
            for action in [access.action.to_uppercase(), access.action.to_lowercase()] {
                let mut spelled = access.clone();
                spelled.action = action;
                assert!(!condition.allows(&spelled), "{} at {scope}", spelled.action);
            }
        }
        assert!(
            condition.allows(&AccessCheck::to("Microsoft.Authorization/roleAssignments/read")),
            "{scope}"
        );
    });
}

/// The write list shrinks with the file and the delete list does not.
#[test]
fn a_role_that_left_the_file_can_no_longer_be_given_and_still_be_taken() {
    let (before, after) = (richer().file, later().file);
    let user = Some("User");
    for (scope, role) in [
        (vault(&group(A, "backup"), "east"), OPERATOR),
        (group(A, "backup"), CONTRIBUTOR),
        (backup_vault(&group(B, "backup"), "disks"), OPERATOR),
    ] {
        let id = Some(role_id(role));
        let allows = |file: &str, access: &AccessCheck| {
            Condition::parse(&delegation_condition(file, &scope)).unwrap().allows(access)
        };
        let (write, delete) = (AccessCheck::write(id, None, user), AccessCheck::delete(id, None, user));
        assert!(allows(&before, &write) && !allows(&after, &write), "write {role} at {scope}");
        assert!(allows(&before, &delete) && allows(&after, &delete), "delete {role} at {scope}");
    }
}

/// The file that is deployed is in order, and what it delegates lies at its own scopes. In a fresh checkout it delegates
/// nothing: it names a subscription that nobody has.
#[test]
fn the_file_at_the_top_level_passes_the_check_and_delegates_at_its_own_scopes_only() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bindings.json");
    let checked = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
        .args(["config", "check"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let text = read("bindings.json");
    let parsed: Value = serde_json::from_str(&text).unwrap();
    let bound = parsed["bindings"].as_array().unwrap().iter().map(|binding| &binding["scope"]);
    let named = bound.chain(parsed["retired"].as_array().unwrap());
    let folded = named.map(|scope| scope.as_str().unwrap().trim_end_matches('/').to_lowercase());
    let nobodys = "/subscriptions/00000000-0000-0000-0000-000000000000";
    let wanted: BTreeSet<String> = folded.filter(|scope| !scope.starts_with(nobodys)).collect();
    assert_eq!(delegated(&text).into_keys().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(rights(&text).len(), wanted.len());
}
