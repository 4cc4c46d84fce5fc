//! What ARM refuses, and with which code.

use super::super::*;
use azure_backup_scim::simulator::{DirectoryPrincipal, LockLevel, PrincipalType};

/// Azure: a change without a bearer token is 401. (Reads need none here, so that anyone can look with curl.)
#[actix_web::test]
async fn a_change_needs_a_bearer_token_and_a_read_does_not() {
    let world = World::start();
    let url = format!("{}{}?api-version=2022-04-01", world.simulator.arm_url(), assignment(VAULT, guid(1)));

    for method in [Method::PUT, Method::DELETE] {
        let answer = Answer::of(world.client.request(method, &url).send().await.unwrap()).await;
        answer.assert_error(401, "InvalidAuthenticationToken");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    Answer::of(world.client.get(&url).send().await.unwrap())
        .await
        .assert_error(404, "RoleAssignmentNotFound");
}

/// Azure: a request without api-version is 400 `MissingApiVersionParameter`.
/// Facts: F-013.
#[actix_web::test]
async fn an_api_version_is_needed() {
    let world = World::start();
    let url = format!("{}{}", world.simulator.arm_url(), assignment(VAULT, guid(1)));

    let answer = Answer::of(world.client.get(url).send().await.unwrap()).await;

    answer.assert_error(400, "MissingApiVersionParameter");
}

/// Azure: 404 says which of subscription, resource group and resource is missing.
/// Facts: F-015.
#[actix_web::test]
async fn a_missing_scope_is_named_by_its_kind() {
    let world = World::start();
    let elsewhere = SUBSCRIPTION.replace('1', "2");

    world.grant(&elsewhere, guid(1), guid(100)).await.assert_error(404, "SubscriptionNotFound");
    world
        .list(&format!("{SUBSCRIPTION}/resourceGroups/backup2"), "")
        .await
        .assert_error(404, "ResourceGroupNotFound");
    world.get(&format!("{VAULT}2"), guid(1)).await.assert_error(404, "ResourceNotFound");
    world.delete(&format!("{VAULT}2"), guid(1)).await.assert_error(404, "ResourceNotFound");
}

/// Azure: a name that is no GUID, a principal id that is no GUID, an unknown role: each has its own code.
/// Facts: F-011, F-036.
#[actix_web::test]
async fn ids_that_cannot_be_are_refused() {
    let world = World::start();
    let mut properties = reader(guid(100));
    properties["principalId"] = json!("ana@contoso.example");
    world.put(VAULT, guid(1), properties).await.assert_error(400, "InvalidPrincipalId");

    let mut properties = reader(guid(100));
    properties["roleDefinitionId"] = json!(role_id(&guid(9).to_string()));
    world.put(VAULT, guid(1), properties).await.assert_error(400, "RoleDefinitionDoesNotExist");

    let path = format!("{VAULT}{COLLECTION}/ana");
    let request = world.arm(Method::PUT, &path).json(&json!({ "properties": reader(guid(100)) }));
    Answer::of(request.send().await.unwrap()).await.assert_error(400, "InvalidRoleAssignmentId");
}

/// Azure: role and principal are required, and description and condition are limited to 2 KB and 8 KB.
/// Facts: F-012, F-093.
#[actix_web::test]
async fn a_body_that_cannot_be_read_is_refused() {
    let world = World::start();
    let request = world.arm(Method::PUT, &assignment(VAULT, guid(1))).body("{");
    Answer::of(request.send().await.unwrap()).await.assert_error(400, "InvalidRequestContent");
    world
        .put(VAULT, guid(1), json!({ "principalId": guid(100) }))
        .await
        .assert_error(400, "InvalidRequestContent");
    for (name, bytes) in [("description", 2049), ("condition", 8193)] {
        let mut properties = reader(guid(100));
        properties[name] = json!("x".repeat(bytes));
        world.put(VAULT, guid(1), properties).await.assert_error(400, "InvalidRequestContent");
    }
    assert!(world.azure.assignments().is_empty());
}

/// Azure: a CanNotDelete lock lets assignments be made and forbids deleting them, at its scope and below.
/// Facts: F-004.
#[actix_web::test]
async fn a_cannotdelete_lock_lets_grants_through_and_blocks_revokes() {
    let world = World::start();
    let lock = world.azure.add_lock(&scope(GROUP), LockLevel::CanNotDelete).unwrap();

    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);
    world.delete(VAULT, guid(1)).await.assert_error(409, "ScopeLocked");

    world.azure.remove_lock(lock).unwrap();
    assert_eq!(world.delete(VAULT, guid(1)).await.status, 200);
}

/// Azure: a ReadOnly lock forbids both; a lock below does not reach up.
/// Facts: F-003, F-005.
#[actix_web::test]
async fn a_readonly_lock_blocks_both_at_its_scope_and_below() {
    let world = World::start();
    world.grant(VAULT, guid(1), guid(100)).await;
    world.azure.add_lock(&scope(VAULT), LockLevel::ReadOnly).unwrap();

    world.grant(VAULT, guid(2), guid(101)).await.assert_error(409, "ScopeLocked");
    world.delete(VAULT, guid(1)).await.assert_error(409, "ScopeLocked");
    assert_eq!(world.grant(GROUP, guid(3), guid(101)).await.status, 201);
}

/// Azure: an id that is not in the directory is 400 `PrincipalNotFound`. Until told otherwise every object id is a person.
/// Facts: F-007.
#[actix_web::test]
async fn strict_principals_are_only_those_that_were_added() {
    let world = World::start();
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);
    world.azure.set_strict_principals(true).unwrap();

    world.grant(VAULT, guid(2), guid(101)).await.assert_error(400, "PrincipalNotFound");
    world.azure.add_principal(DirectoryPrincipal::new(guid(101), PrincipalType::User)).unwrap();
    assert_eq!(world.grant(VAULT, guid(2), guid(101)).await.status, 201);
}

/// Azure: a principal that is made late is unknown for a while, and then known.
/// Facts: F-007.
#[actix_web::test]
async fn a_principal_can_appear_after_calls_or_at_a_time() {
    let world = World::start();
    let person = |id| DirectoryPrincipal::new(id, PrincipalType::User);
    let later = world.azure.now() + time::Duration::seconds(30);
    world.azure.add_principal(DirectoryPrincipal { appears_after_calls: 1, ..person(guid(100)) }).unwrap();
    world.azure.add_principal(DirectoryPrincipal { appears_at: Some(later), ..person(guid(101)) }).unwrap();

    world.grant(VAULT, guid(1), guid(100)).await.assert_error(400, "PrincipalNotFound");
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);
    world.grant(VAULT, guid(2), guid(101)).await.assert_error(400, "PrincipalNotFound");
    world.azure.advance(30).unwrap();
    assert_eq!(world.grant(VAULT, guid(2), guid(101)).await.status, 201);
}

/// Azure: a stated type that is not the principal's is `UnmatchedPrincipalType`; the type that is not stated is `User`.
/// Facts: F-008, F-009, F-090.
#[actix_web::test]
async fn the_stated_type_must_be_the_real_one() {
    let world = World::start();
    world.azure.add_principal(DirectoryPrincipal::new(guid(100), PrincipalType::ServicePrincipal)).unwrap();
    let mut properties = json!({ "roleDefinitionId": role_id(READER), "principalId": guid(100) });

    world.put(VAULT, guid(1), properties.clone()).await.assert_error(400, "UnmatchedPrincipalType");
    properties["principalType"] = json!("ServicePrincipal");
    assert_eq!(world.put(VAULT, guid(1), properties).await.status, 201);
}

/// Azure: a subscription holds 4,000 assignments, those at its groups and resources counted; deleting makes room.
/// Facts: F-010, F-092.
#[actix_web::test]
async fn a_full_subscription_refuses_new_assignments() {
    let world = World::start();
    assert_eq!(world.azure.limits().assignments_per_subscription, 4000);
    world.azure.set_limits(ArmLimits { assignments_per_subscription: 2, ..ArmLimits::default() }).unwrap();
    world.grant(VAULT, guid(1), guid(100)).await;
    world.grant(GROUP, guid(2), guid(100)).await;

    world.grant(SUBSCRIPTION, guid(3), guid(100)).await.assert_error(400, "RoleAssignmentLimitExceeded");
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 200);
    world.delete(VAULT, guid(1)).await;
    assert_eq!(world.grant(SUBSCRIPTION, guid(3), guid(100)).await.status, 201);
}

/// Azure: with a resource its assignments go.
/// Facts: F-015.
#[actix_web::test]
async fn removing_a_scope_removes_its_assignments() {
    let world = World::start();
    world.grant(VAULT, guid(1), guid(100)).await;
    world.grant(SUBSCRIPTION, guid(2), guid(100)).await;

    world.azure.remove_scope(&scope(GROUP)).unwrap();

    world.get(VAULT, guid(1)).await.assert_error(404, "ResourceGroupNotFound");
    assert_eq!(world.list(SUBSCRIPTION, "").await.names(), [guid(2)]);
}

/// Azure: several slashes at the beginning of a path count as one. The link to the next page is one that works.
/// Facts: F-171.
#[actix_web::test]
async fn slashes_too_many_before_a_scope_do_not_count() {
    let world = World::start();
    world.azure.set_limits(ArmLimits { page_size: 1, ..ArmLimits::default() }).unwrap();
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);
    let made = world.grant(&format!("/{VAULT}"), guid(2), guid(101)).await;
    assert_eq!((made.status, made.body["properties"]["scope"].as_str()), (201, Some(VAULT)));
    for slashes in ["", "/", "//"] {
        assert_eq!(world.get(&format!("{slashes}{VAULT}"), guid(2)).await.status, 200, "{slashes}");
    }
    let definition = format!("/{}", role_id(READER));
    assert_eq!(Answer::of(world.arm(Method::GET, &definition).send().await.unwrap()).await.status, 200);
    let page = world.list(&format!("/{VAULT}"), "atScope()").await;
    let next = page.body["nextLink"].as_str().unwrap();
    let next = Answer::of(world.client.get(next).send().await.unwrap()).await;
    assert_eq!((page.names(), next.names()), (vec![guid(1)], vec![guid(2)]));
    assert!(world.simulator.unrecognised().is_empty());

    let inside = VAULT.replace("/providers", "//providers");
    world.get(&inside, guid(1)).await.assert_error(400, "UnrecognisedRequest");
}

/// Not a fact of Azure: what nobody wrote down is refused and kept, so that a run that needed it fails.
#[actix_web::test]
async fn an_unknown_request_is_refused_and_kept() {
    let world = World::start();
    let unknown = [
        (Method::GET, format!("{VAULT}/providers/Microsoft.Authorization/classicAdministrators")),
        (Method::PATCH, assignment(VAULT, guid(1))),
        (Method::GET, "/subscriptions".to_owned()),
    ];
    for (method, path) in &unknown {
        let answer = Answer::of(world.arm(method.clone(), path).send().await.unwrap()).await;
        answer.assert_error(400, "UnrecognisedRequest");
    }
    world.list(VAULT, "roleDefinitionId eq 'x'").await.assert_error(400, "UnrecognisedRequest");

    assert_eq!(world.simulator.unrecognised().len(), 4);
    let listed = world.control(Method::GET, "/unrecognised", Value::Null).await;
    assert_eq!(listed.body[1]["verb"], "PATCH");
    assert!(world.azure.calls().is_empty());
}
