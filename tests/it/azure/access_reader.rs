//! Reading who has access, against the simulated Azure; what it does not answer comes from a script.

use super::arm_client::{Server, answer, error};
use super::simulator::{COLLECTION, GROUP, OPERATOR, SUBSCRIPTION, VAULT, World, guid, scope};
use azure_backup_scim::app;
use azure_backup_scim::id::PrincipalId;
use azure_backup_scim::ports::azure_access::{
    AccessAssignment, AccessReader, DenyAssignment, HolderKind, LockLevel, ManagementLock,
};
use azure_backup_scim::ports::role_assignments::{AssignmentError, RejectionReason};
use azure_backup_scim::rbac::verbs::Permission;
use azure_backup_scim::rbac::{AssignmentName, Scope, arm_scope::ArmScope};
use azure_backup_scim::simulator::{
    ArmLimits, CustomRole, DenyAssignment as Denial, DenyPrincipal, HandMade, LockLevel as Level, OwnRight,
    PrincipalType, RolePermission,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::{Uuid, uuid};

const TIMEOUT: Duration = Duration::from_secs(10);
const MANAGEMENT_GROUP: &str = "/providers/Microsoft.Management/managementGroups/contoso";
const OWNER: Uuid = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
const ON: OffsetDateTime = datetime!(2025-11-03 08:15 UTC);

fn reader(world: &World) -> Arc<dyn AccessReader> {
    app::local_access_reader(&world.simulator.control_url()).unwrap()
}

fn vault() -> Scope {
    Scope::parse(VAULT).unwrap()
}

fn principal(number: u128) -> PrincipalId {
    PrincipalId::new(guid(number))
}

fn names(found: &[AccessAssignment]) -> Vec<AssignmentName> {
    found.iter().map(|assignment| assignment.name).collect()
}

fn named(numbers: &[u128]) -> Vec<AssignmentName> {
    numbers.iter().map(|number| AssignmentName::new(guid(*number))).collect()
}

/// Owner at each level, of each kind of principal; the last one at a vault beside it.
fn world_of_levels() -> World {
    let world = World::start();
    let other = VAULT.replace("/east", "/west");
    world.azure.add_scope(&scope(&other)).unwrap();
    let places = ["/", MANAGEMENT_GROUP, SUBSCRIPTION, GROUP, VAULT, &other];
    let types = [
        PrincipalType::User,
        PrincipalType::Group,
        PrincipalType::ServicePrincipal,
        PrincipalType::ForeignGroup,
        PrincipalType::User,
        PrincipalType::User,
    ];
    for (number, (place, kind)) in (1..).zip(places.into_iter().zip(types)) {
        let made = HandMade::new(scope(place), "Owner", guid(100 + number)).of_type(kind).by(guid(900), ON);
        world.azure.make_assignment(&HandMade { name: Some(guid(number)), ..made }).unwrap();
    }
    world
}

#[tokio::test]
async fn what_is_inherited_is_read_with_who_gave_it() {
    let world = world_of_levels();

    let found = reader(&world).at_or_above(&vault(), TIMEOUT).await.unwrap();

    assert_eq!(names(&found), named(&[1, 2, 3, 4, 5]));
    let expected = |number: u128, place: &str, holder| AccessAssignment {
        name: AssignmentName::new(guid(number)),
        scope: ArmScope::parse(place).unwrap(),
        role: OWNER,
        principal: principal(100 + number),
        holder,
        condition: None,
        created_on: Some(ON),
        created_by: Some(principal(900)),
    };
    assert_eq!(found[0], expected(1, "/", HolderKind::User));
    assert_eq!(found[1], expected(2, MANAGEMENT_GROUP, HolderKind::Group));
    assert_eq!(found[2], expected(3, SUBSCRIPTION, HolderKind::ServicePrincipal));
    assert_eq!(found[3], expected(4, GROUP, HolderKind::Group));
    assert!(world.simulator.unrecognised().is_empty());
}

#[tokio::test]
async fn what_lies_below_is_read_around_a_scope_only() {
    let world = world_of_levels();
    let group = Scope::parse(GROUP).unwrap();

    let above = reader(&world).at_or_above(&group, TIMEOUT).await.unwrap();
    let around = reader(&world).around(&group, TIMEOUT).await.unwrap();

    assert_eq!(names(&above), named(&[1, 2, 3, 4]));
    assert_eq!(names(&around), named(&[1, 2, 3, 4, 5, 6]));
}

/// Facts: F-047.
#[tokio::test]
async fn every_page_is_read() {
    let world = world_of_levels();
    world.azure.set_limits(ArmLimits { page_size: 2, ..ArmLimits::default() }).unwrap();
    for number in 1..=3 {
        let permission = RolePermission::actions(&["*"]);
        world
            .azure
            .deny(Denial {
                condition: Some("c".to_owned()),
                ..Denial::new(&number.to_string(), scope(VAULT), permission)
            })
            .unwrap();
    }

    assert_eq!(reader(&world).at_or_above(&vault(), TIMEOUT).await.unwrap().len(), 5);
    assert_eq!(reader(&world).denied(&vault(), TIMEOUT).await.unwrap().len(), 3);
    assert_eq!(world.azure.calls().len(), 3 + 2);
}

#[tokio::test]
async fn a_condition_is_told_apart_from_none() {
    let world = World::start();
    let plain = HandMade { name: Some(guid(1)), ..HandMade::new(scope(VAULT), "Owner", guid(100)) };
    world.azure.make_assignment(&plain).unwrap();
    let under = HandMade { name: Some(guid(2)), ..HandMade::new(scope(VAULT), OPERATOR, guid(101)) };
    world.azure.make_assignment(&under.under("@Resource[a] StringEquals 'b'")).unwrap();

    let found = reader(&world).at_or_above(&vault(), TIMEOUT).await.unwrap();

    let conditions: Vec<_> = found.iter().map(|assignment| assignment.condition.as_deref()).collect();
    assert_eq!(conditions, [None, Some("@Resource[a] StringEquals 'b'")]);
}

#[tokio::test]
async fn a_role_definition_is_read_with_its_actions() {
    let world = World::start();
    let role = CustomRole {
        id: guid(1),
        role_name: "Restorer".to_owned(),
        description: String::new(),
        assignable_scopes: vec![scope(SUBSCRIPTION)],
        permissions: vec![
            RolePermission::actions(&["*/read", "*/restore/action"]).except(&["Microsoft.KeyVault/*"]),
            RolePermission { data_actions: vec!["*".to_owned()], ..RolePermission::default() },
        ],
    };
    world.azure.set_custom_role(role).unwrap();

    let found = reader(&world).role_definition(&vault(), guid(1), TIMEOUT).await.unwrap().unwrap();

    assert_eq!((found.id, found.name.as_str()), (guid(1), "Restorer"));
    let actions = ["*/read".to_owned(), "*/restore/action".to_owned()].to_vec();
    let first = Permission { actions, not_actions: vec!["Microsoft.KeyVault/*".to_owned()] };
    assert_eq!(found.permissions, [first, Permission::default()]);
    let owner = reader(&world).role_definition(&vault(), OWNER, TIMEOUT).await.unwrap().unwrap();
    assert_eq!((owner.name.as_str(), &owner.permissions[0].actions), ("Owner", &vec!["*".to_owned()]));
    assert_eq!(reader(&world).role_definition(&vault(), guid(2), TIMEOUT).await, Ok(None));
}

/// Facts: F-033.
#[tokio::test]
async fn whom_a_deny_assignment_denies_is_read() {
    let world = World::start();
    let permission = RolePermission::actions(&["*"]).except(&["*/read"]);
    let everyone = Denial::new("stack", scope(SUBSCRIPTION), permission.clone())
        .except(vec![DenyPrincipal::new(guid(100), "ServicePrincipal")])
        .not_below();
    world.azure.deny(everyone).unwrap();
    let some = Denial::new("managed", scope(VAULT), permission)
        .of(vec![DenyPrincipal::new(guid(101), "User"), DenyPrincipal::new(guid(102), "Group")]);
    world.azure.deny(Denial { condition: Some("@Resource[a] StringEquals 'b'".to_owned()), ..some }).unwrap();

    let found = reader(&world).denied(&vault(), TIMEOUT).await.unwrap();

    let permissions =
        vec![Permission { actions: vec!["*".to_owned()], not_actions: vec!["*/read".to_owned()] }];
    let stack = DenyAssignment {
        name: "stack".to_owned(),
        scope: ArmScope::parse(SUBSCRIPTION).unwrap(),
        permissions: permissions.clone(),
        principals: Vec::new(),
        everyone: true,
        excluded: vec![principal(100)],
        only_at_scope: true,
        conditional: false,
    };
    let managed = DenyAssignment {
        name: "managed".to_owned(),
        scope: ArmScope::parse(VAULT).unwrap(),
        permissions,
        principals: vec![principal(101), principal(102)],
        everyone: false,
        excluded: Vec::new(),
        only_at_scope: false,
        conditional: true,
    };
    assert_eq!(found, [stack, managed]);
}

#[tokio::test]
async fn locks_are_read_with_their_scopes() {
    let world = World::start();
    let root = world.azure.add_lock(&scope("/"), Level::ReadOnly).unwrap();
    let group = world.azure.add_lock(&scope(GROUP), Level::CanNotDelete).unwrap();
    world.azure.add_lock(&scope(VAULT), Level::ReadOnly).unwrap();

    let found = reader(&world).locks(&Scope::parse(GROUP).unwrap(), TIMEOUT).await.unwrap();

    let lock = |number: u64, place: &str, level| ManagementLock {
        name: format!("lock-{number}"),
        scope: ArmScope::parse(place).unwrap(),
        level,
    };
    assert_eq!(found, [lock(root, "/", LockLevel::ReadOnly), lock(group, GROUP, LockLevel::CanNotDelete)]);
}

#[tokio::test]
async fn a_lock_of_an_unknown_level_is_read_and_one_without_a_scope_is_not() {
    let read = async |id: &str| {
        let lock = json!({ "id": id, "name": "l", "properties": { "level": "NotSpecified" } });
        let server = Server::start(vec![answer(200, json!({ "value": [lock] }))]).await;
        server.client().locks(&vault(), TIMEOUT).await
    };
    let read_one = read(&format!("{GROUP}/providers/microsoft.authorization/Locks/l")).await.unwrap();
    assert_eq!((read_one[0].level, read_one[0].scope.as_str()), (LockLevel::Other, GROUP));
    assert!(matches!(read("/subscriptions/l").await, Err(AssignmentError::Unknown { .. })));
}

/// Facts: F-031.
#[tokio::test]
async fn a_missing_right_is_told_apart_from_an_empty_answer() {
    let world = World::start();
    let elsewhere = OwnRight {
        scope: scope(&VAULT.replace("/east", "/west")),
        condition: None,
        actions: vec!["*".to_owned()],
    };
    world.azure.set_own_rights(vec![elsewhere]).unwrap();
    let reader = reader(&world);
    let refusals = [
        reader.at_or_above(&vault(), TIMEOUT).await.unwrap_err(),
        reader.around(&vault(), TIMEOUT).await.unwrap_err(),
        reader.role_definition(&vault(), OWNER, TIMEOUT).await.unwrap_err(),
        reader.denied(&vault(), TIMEOUT).await.unwrap_err(),
        reader.locks(&vault(), TIMEOUT).await.unwrap_err(),
    ];
    for refusal in refusals {
        let AssignmentError::Rejected { reason, code, status, .. } = &refusal else { panic!("{refusal:?}") };
        assert_eq!(
            (*reason, code.as_str(), *status),
            (RejectionReason::NotAuthorized, "AuthorizationFailed", 403)
        );
    }

    world.azure.lift_own_rights().unwrap();
    assert_eq!(reader.at_or_above(&vault(), TIMEOUT).await, Ok(Vec::new()));
    world.azure.remove_scope(&scope(VAULT)).unwrap();
    for gone in [
        reader.at_or_above(&vault(), TIMEOUT).await.unwrap_err(),
        reader.role_definition(&vault(), guid(2), TIMEOUT).await.unwrap_err(),
    ] {
        assert!(
            matches!(gone, AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. }),
            "{gone:?}"
        );
    }
}

fn listed(properties: &Value) -> Value {
    let mut all = json!({
        "scope": VAULT, "principalId": guid(100), "principalType": "User",
        "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{OWNER}"),
    });
    all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
    json!({ "name": guid(1), "properties": all })
}

async fn read_one(entry: Value) -> Result<Vec<AccessAssignment>, AssignmentError> {
    let server = Server::start(vec![answer(200, json!({ "value": [listed(&json!({})), entry] }))]).await;
    server.client().at_or_above(&vault(), TIMEOUT).await
}

#[tokio::test]
async fn what_a_release_does_not_know_is_read_all_the_same() {
    for kind in [json!("AgentIdentity"), json!(""), Value::Null] {
        let found = read_one(listed(&json!({ "principalType": kind, "createdBy": "", "createdOn": "soon" })))
            .await
            .unwrap();
        assert_eq!((found[0].holder, found[1].holder), (HolderKind::User, HolderKind::Other));
        assert_eq!((found[1].created_by, found[1].created_on), (None, None));
    }
    let blank = read_one(listed(&json!({ "condition": " ", "conditionVersion": "2.0" }))).await.unwrap();
    assert!(!blank[1].is_conditional());
}

#[tokio::test]
async fn one_entry_that_is_nonsense_makes_the_answer_unusable() {
    for wrong in [
        json!({ "principalId": "ana" }),
        json!({ "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/owner" }),
        json!({ "scope": "subscriptions" }),
        json!({ "scope": null }),
    ] {
        let error = read_one(listed(&wrong)).await.unwrap_err();
        assert!(matches!(error, AssignmentError::Unknown { .. }), "{wrong}: {error:?}");
    }
    let server =
        Server::start(vec![answer(200, json!({ "name": guid(2), "properties": { "roleName": "Other" } }))])
            .await;
    let other = server.client().role_definition(&vault(), guid(1), TIMEOUT).await.unwrap_err();
    assert!(matches!(other, AssignmentError::Unknown { .. }), "{other:?}");
    // One that shows no permissions does not give nothing.
    let bare = json!({ "name": guid(1), "properties": { "roleName": "Bare" } });
    let server = Server::start(vec![answer(200, bare)]).await;
    let bare = server.client().role_definition(&vault(), guid(1), TIMEOUT).await.unwrap_err();
    assert!(matches!(bare, AssignmentError::Unknown { .. }), "{bare:?}");
}

/// Facts: F-035.
#[tokio::test]
async fn a_denial_that_only_audits_or_has_a_condition_in_a_permission_is_conditional() {
    let denial = |permission: Value, effect: Value| {
        json!({ "value": [{ "name": guid(1), "properties": {
            "scope": VAULT, "permissions": [permission], "denyAssignmentEffect": effect,
            "principals": [{ "id": "00000000-0000-0000-0000-000000000000", "type": "SystemDefined" }],
        }}]})
    };
    let all = || json!({ "actions": ["*"] });
    let some = json!({ "actions": ["*"], "condition": "@Resource[a] StringEquals 'b'" });
    for (permission, effect, conditional) in [
        (all(), Value::Null, false),
        (all(), json!("Enforced"), false),
        (all(), json!("audit"), true),
        (some, Value::Null, true),
    ] {
        let server = Server::start(vec![answer(200, denial(permission, effect))]).await;
        let found = server.client().denied(&vault(), TIMEOUT).await.unwrap();
        assert_eq!((found[0].conditional, found[0].everyone), (conditional, true));
        assert_eq!((found[0].name.clone(), found[0].only_at_scope), (guid(1).to_string(), false));
    }
}

#[tokio::test]
async fn a_listing_is_not_followed_to_another_origin() {
    let elsewhere = Server::start(vec![]).await;
    let link = format!("{}{VAULT}{COLLECTION}?api-version=2022-04-01", elsewhere.url);
    let page = || answer(200, json!({ "value": [], "nextLink": link }));
    let server = Server::start(vec![page(), page()]).await;

    for error in [
        server.client().around(&vault(), TIMEOUT).await.unwrap_err(),
        server.client().denied(&vault(), TIMEOUT).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, AssignmentError::Unknown { detail } if detail.contains("another origin")),
            "{error:?}"
        );
    }
    assert!(elsewhere.seen().is_empty(), "the token stays where it belongs");
}

/// Facts: F-036.
#[tokio::test]
async fn only_the_code_of_an_absent_definition_says_that_there_is_none() {
    for (status, code) in [(404, "ResourceNotFound"), (404, "NotFound"), (400, "RoleDefinitionDoesNotExist")]
    {
        let server = Server::start(vec![error(status, code)]).await;
        let found = server.client().role_definition(&vault(), OWNER, TIMEOUT).await;
        assert!(matches!(found, Err(AssignmentError::Rejected { .. })), "{status} {code}: {found:?}");
    }
    let server = Server::start(vec![error(404, "RoleDefinitionDoesNotExist")]).await;
    assert_eq!(server.client().role_definition(&vault(), OWNER, TIMEOUT).await, Ok(None));
}
