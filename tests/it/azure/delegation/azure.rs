//! The deployed rights in the simulated Azure: what it answers to anybody who has the identity's token, whatever program
//! that is. Over raw HTTP, and through our own client.

use super::*;
use crate::azure::simulator::{World as Azure, options, scope};
use crate::support::clock::ManualClock;
use azure_backup_scim::app;
use azure_backup_scim::id::PrincipalId;
use azure_backup_scim::ports::role_assignments::{AssignmentError, CreateOutcome, RoleAssignments as _};
use azure_backup_scim::rbac::{self, AssignmentName, BackupRole, RoleAssignment};
use azure_backup_scim::simulator::{
    ArmLimits, DirectoryPrincipal, HandMade, PrincipalType, SimulatorOptions,
};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A place in Azure under the rights of `richer()`.
struct Place {
    scope: String,
    /// What can be given there: bound there or above, for a right holds below its scope too.
    given: Vec<&'static str>,
    is_delegated: bool,
}

fn place(scope: String, given: &[&'static str], is_delegated: bool) -> Place {
    Place { scope, given: given.to_vec(), is_delegated }
}

fn inside() -> Vec<Place> {
    let (ours, disks) = (group(A, "backup"), group(B, "backup"));
    vec![
        place(vault(&ours, "east"), &[OPERATOR, READER, CONTRIBUTOR], true),
        place(vault(&ours, "west"), &[CONTRIBUTOR], true),
        place(ours.clone(), &[CONTRIBUTOR], true),
        place(B.to_owned(), &[READER], true),
        place(disks.clone(), &[READER], true),
        place(backup_vault(&disks, "disks"), &[OPERATOR, CONTRIBUTOR, READER], true),
        place(backup_vault(&disks, "other"), &[READER], true),
        place(vault(&group(C, "backup"), "old"), &[], true),
    ]
}

/// Neighbours whose names begin alike, what lies above, and what has nothing to do with us.
fn outside() -> Vec<Place> {
    let stranger = "/subscriptions/00000000-0000-0000-0000-00000000000d";
    [
        A.to_owned(),
        group(A, "backup2"),
        vault(&group(A, "backup2"), "east"),
        C.to_owned(),
        group(C, "backup"),
        vault(&group(C, "backup"), "old2"),
        backup_vault(&group(C, "backup"), "old"),
        stranger.to_owned(),
        vault(&group(stranger, "backup"), "east"),
    ]
    .map(|scope| place(scope, &[], false))
    .into()
}

fn deployed() -> Azure {
    let places = inside().into_iter().chain(outside());
    let options = SimulatorOptions {
        scopes: places.map(|place| scope(&place.scope)).collect(),
        limits: ArmLimits { buckets: false, ..ArmLimits::default() },
        ..options()
    };
    let azure = Azure::start_with(options);
    azure.azure.set_own_rights(rights(&richer().file)).unwrap();
    azure
}

fn wanted(role: Uuid, principal: Uuid, kind: Option<&str>) -> Value {
    let definition = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
    let mut properties = json!({ "roleDefinitionId": definition, "principalId": principal });
    if let Some(kind) = kind {
        properties["principalType"] = json!(kind);
    }
    properties
}

/// The roles that the simulated Azure knows: of one it does not know there can be no assignment to delete.
const ASSIGNED: [&str; 7] = [
    CONTRIBUTOR,
    OPERATOR,
    READER,
    "Owner",
    "Contributor",
    "User Access Administrator",
    "Role Based Access Control Administrator",
];

#[actix_web::test]
async fn whoever_has_the_identity_gives_what_is_bound_and_nothing_else_nowhere_else() {
    let azure = deployed();
    let mut given = Vec::new();
    for place in inside().into_iter().chain(outside()) {
        for (role, id) in ROLES {
            let (name, principal) = (Uuid::new_v4(), Uuid::new_v4());
            let id = Uuid::try_parse(id).unwrap();
            let answer = azure.put(&place.scope, name, wanted(id, principal, Some("User"))).await;
            if place.given.contains(&role) {
                assert_eq!(answer.status, 201, "{role} at {}: {:?}", place.scope, answer.body);
                given.push(name);
            } else {
                answer.assert_error(403, "AuthorizationFailed");
            }
        }
    }
    let held: Vec<Uuid> = azure.azure.assignments().iter().map(|held| held.name).collect();
    assert_eq!(held, given, "Azure holds what it let in and nothing else");
    assert_eq!(given.len(), 11);
}

/// Facts: F-028.
#[actix_web::test]
async fn whoever_has_the_identity_takes_backup_roles_where_they_are_delegated_and_nothing_else() {
    let azure = deployed();
    for place in inside().into_iter().chain(outside()) {
        for role in ASSIGNED {
            let made = HandMade::new(scope(&place.scope), role, Uuid::new_v4());
            let name = azure.azure.make_assignment(&made).unwrap().name;
            let answer = azure.delete(&place.scope, name).await;
            let is_there = azure.azure.assignments().iter().any(|held| held.name == name);
            if place.is_delegated && REVOCABLE.contains(&role) {
                assert_eq!((answer.status, is_there), (200, false), "{role} at {}", place.scope);
            } else {
                answer.assert_error(403, "AuthorizationFailed");
                assert!(is_there, "{role} at {}", place.scope);
            }
        }
    }
}

#[actix_web::test]
async fn above_every_subscription_there_is_no_right_at_all() {
    let azure = deployed();
    for above in ["", "/providers/Microsoft.Management/managementGroups/contoso"] {
        for (_, id) in ROLES {
            let id = Uuid::try_parse(id).unwrap();
            let answer = azure.put(above, Uuid::new_v4(), wanted(id, Uuid::new_v4(), Some("User"))).await;
            answer.assert_error(403, "AuthorizationFailed");
        }
        azure.delete(above, Uuid::new_v4()).await.assert_error(403, "AuthorizationFailed");
    }
    assert!(azure.azure.assignments().is_empty());
}

/// Facts: F-009.
#[actix_web::test]
async fn a_bound_role_goes_to_people_and_services_only() {
    let azure = deployed();
    let east = vault(&group(A, "backup"), "east");
    let types = [
        (PrincipalType::User, true),
        (PrincipalType::ServicePrincipal, true),
        (PrincipalType::Group, false),
        (PrincipalType::ForeignGroup, false),
    ];
    for (kind, is_ours) in types {
        let id = Uuid::new_v4();
        azure.azure.add_principal(DirectoryPrincipal::new(id, kind)).unwrap();
        let body = wanted(role_id(READER), id, Some(kind.name()));
        let written = azure.put(&east, Uuid::new_v4(), body).await;
        let by_hand = HandMade { principal_type: Some(kind), ..HandMade::new(scope(&east), OPERATOR, id) };
        let name = azure.azure.make_assignment(&by_hand).unwrap().name;
        let deleted = azure.delete(&east, name).await;
        if is_ours {
            assert_eq!((written.status, deleted.status), (201, 200), "{kind:?}");
        } else {
            written.assert_error(403, "AuthorizationFailed");
            deleted.assert_error(403, "AuthorizationFailed");
        }
    }
    for kind in [Some("Device"), Some(""), None] {
        let answer = azure.put(&east, Uuid::new_v4(), wanted(role_id(READER), Uuid::new_v4(), kind)).await;
        answer.assert_error(403, "AuthorizationFailed");
    }
}

/// A write list must not be empty, so at a scope that was left it names an id that no role has.
/// Facts: F-025.
#[actix_web::test]
async fn the_id_that_no_role_has_gives_nothing() {
    let azure = deployed();
    let old = vault(&group(C, "backup"), "old");
    let answer = azure.put(&old, Uuid::new_v4(), wanted(Uuid::nil(), Uuid::new_v4(), Some("User"))).await;
    answer.assert_error(400, "RoleDefinitionDoesNotExist");
    assert!(azure.azure.assignments().is_empty());
}

/// Somebody else's assignment cannot be turned into another role under its own name, nor ours into Owner.
#[actix_web::test]
async fn no_assignment_is_turned_into_owner() {
    let azure = deployed();
    let east = vault(&group(A, "backup"), "east");
    let (name, person) = (Uuid::new_v4(), Uuid::new_v4());
    let reader = wanted(role_id(READER), person, Some("User"));
    assert_eq!(azure.put(&east, name, reader.clone()).await.status, 201);
    let owner = wanted(role_id("Owner"), person, Some("User"));
    azure.put(&east, name, owner).await.assert_error(403, "AuthorizationFailed");
    assert_eq!(azure.put(&east, name, reader).await.status, 200);
    assert_eq!(azure.azure.assignments()[0].role, role_id(READER));
}

fn is_refused<T: std::fmt::Debug>(answer: Result<T, AssignmentError>) -> bool {
    matches!(&answer, Err(AssignmentError::Rejected { code, status: 403, .. }) if code == "AuthorizationFailed")
}

/// Facts: F-097.
#[actix_web::test]
async fn our_own_client_is_told_so_outside_of_the_delegated_scopes() {
    let azure = deployed();
    let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z"));
    let arm = app::arm(&azure.simulator.arm_url(), SecretString::from("simulated"), clock).unwrap();
    for place in inside().into_iter().chain(outside()) {
        let at = rbac::Scope::parse(&place.scope).unwrap();
        for role in BackupRole::ALL {
            let wanted = RoleAssignment {
                name: AssignmentName::new(Uuid::new_v4()),
                scope: at.clone(),
                role,
                principal: PrincipalId::parse(&Uuid::new_v4().to_string()).unwrap(),
                principal_type: rbac::PrincipalType::User,
                description: String::new(),
            };
            let created = arm.create(&wanted, TIMEOUT).await;
            if place.given.contains(&role.name()) {
                assert_eq!(created.unwrap().value, CreateOutcome::Created, "{role} at {at}");
            } else {
                assert!(is_refused(created), "{role} at {at}");
            }
            let deleted = arm.delete(&at, &wanted.name, TIMEOUT).await;
            assert_eq!(is_refused(deleted), !place.is_delegated, "{role} at {at}");
            assert_eq!(is_refused(arm.get(&at, &wanted.name, TIMEOUT).await), !place.is_delegated, "{at}");
        }
        assert_eq!(is_refused(arm.list(&at, TIMEOUT).await), !place.is_delegated, "{at}");
    }
    assert!(azure.azure.assignments().is_empty(), "what was given was taken away again");
}
