//! PUT, GET and DELETE of one role assignment, and role definitions.

use super::super::*;

/// Azure: a PUT answers 201 where it creates, with every property, the read-only ones included.
/// Facts: F-087.
#[actix_web::test]
async fn a_put_creates_and_shows_what_azure_keeps() {
    let world = World::start();

    let answer = world.grant(VAULT, guid(1), guid(100)).await;

    assert_eq!(answer.status, 201);
    assert_eq!(answer.body["id"], assignment(VAULT, guid(1)));
    assert_eq!(answer.body["type"], "Microsoft.Authorization/roleAssignments");
    let properties = &answer.body["properties"];
    assert_eq!(properties["scope"], VAULT);
    assert_eq!(properties["roleDefinitionId"], role_id(READER));
    assert_eq!(properties["principalId"], guid(100).to_string());
    assert_eq!(properties["principalType"], "User");
    assert_eq!(properties["createdOn"], "2026-03-01T12:00:00.0000000Z");
    for name in ["updatedOn", "createdBy", "updatedBy"] {
        assert!(properties[name].is_string(), "{name}");
    }
    assert_eq!(world.get(VAULT, guid(1)).await.body, answer.body);
}

/// Azure: the same name with the same triple answers 200; only description and condition can change, and a PUT without a
/// condition drops it.
/// Facts: F-087, F-088.
#[actix_web::test]
async fn the_same_put_again_answers_200_and_replaces_description_and_condition() {
    let world = World::start();
    let mut properties = reader(guid(100));
    properties["description"] = json!("by the service");
    properties["condition"] = json!("@Resource[x] StringEquals 'y'");
    properties["conditionVersion"] = json!("2.0");
    world.put(VAULT, guid(1), properties).await;
    world.azure.advance(60).unwrap();

    let answer = world.grant(VAULT, guid(1), guid(100)).await;

    assert_eq!(answer.status, 200);
    let properties = &answer.body["properties"];
    for name in ["description", "condition", "conditionVersion"] {
        assert!(properties[name].is_null(), "{name}");
    }
    assert_eq!(properties["createdOn"], "2026-03-01T12:00:00.0000000Z");
    assert_eq!(properties["updatedOn"], "2026-03-01T12:01:00.0000000Z");
}

/// Azure: scope, role and principal are unique together; a second name for them is 409 `RoleAssignmentExists`, and the error
/// does not tell the other name. Case of the scope and shape of the role id make no difference.
/// Facts: F-001.
#[actix_web::test]
async fn a_second_name_for_the_same_triple_is_refused_without_naming_the_first() {
    let world = World::start();
    world.grant(VAULT, guid(1), guid(100)).await;
    let mut properties = reader(guid(100));
    properties["roleDefinitionId"] =
        json!(format!("/providers/Microsoft.Authorization/roleDefinitions/{}", READER.to_uppercase()));

    let answer = world.put(&VAULT.to_lowercase(), guid(2), properties).await;

    answer.assert_error(409, "RoleAssignmentExists");
    assert!(!answer.body.to_string().contains(&guid(1).to_string()));
    assert_eq!(world.azure.assignments().len(), 1);
}

/// Azure: principal, role and scope of a name cannot change, and names are unique in the tenant.
/// Facts: F-002, F-088.
#[actix_web::test]
async fn another_triple_under_a_name_in_use_is_refused() {
    let world = World::start();
    world.grant(VAULT, guid(1), guid(100)).await;

    world.grant(VAULT, guid(1), guid(101)).await.assert_error(400, "RoleAssignmentUpdateNotPermitted");
    world.grant(GROUP, guid(1), guid(100)).await.assert_error(400, "RoleAssignmentUpdateNotPermitted");
    let mut operator = reader(guid(100));
    operator["roleDefinitionId"] = json!(role_id(OPERATOR));
    world.put(VAULT, guid(1), operator).await.assert_error(400, "RoleAssignmentUpdateNotPermitted");
}

/// Azure: role definition ids come back in two shapes, bare and with the subscription; spelling of scopes varies too.
/// Facts: F-029, F-030.
#[actix_web::test]
async fn an_assignment_keeps_the_spelling_it_was_made_with() {
    let world = World::start();
    let bare = format!("/providers/Microsoft.Authorization/roleDefinitions/{READER}");
    let mut properties = reader(guid(100));
    properties["roleDefinitionId"] = json!(bare);

    world.put(&VAULT.to_uppercase().replace("/PROVIDERS/", "/providers/"), guid(1), properties).await;

    let kept = world.get(VAULT, guid(1)).await;
    assert_eq!(kept.body["properties"]["roleDefinitionId"], bare);
    assert_ne!(kept.body["properties"]["scope"], VAULT);
    assert_eq!(world.azure.assignments()[0].scope, scope(VAULT));
}

/// Azure: a DELETE answers 200 with what it deleted, and 204 where there is nothing or never was.
/// Facts: F-027, F-089.
#[actix_web::test]
async fn a_delete_answers_200_with_the_object_and_then_204() {
    let world = World::start();
    let made = world.grant(VAULT, guid(1), guid(100)).await;

    let first = world.delete(VAULT, guid(1)).await;
    let second = world.delete(VAULT, guid(1)).await;

    assert_eq!((first.status, first.body), (200, made.body));
    assert_eq!((second.status, second.body), (204, Value::Null));
    world.get(VAULT, guid(1)).await.assert_error(404, "RoleAssignmentNotFound");
}

/// Azure: an assignment is found at its own scope only.
/// Facts: F-014.
#[actix_web::test]
async fn a_name_is_not_found_at_another_scope() {
    let world = World::start();
    world.grant(VAULT, guid(1), guid(100)).await;

    world.get(GROUP, guid(1)).await.assert_error(404, "RoleAssignmentNotFound");
    assert_eq!(world.delete(GROUP, guid(1)).await.status, 204);
    assert_eq!(world.get(VAULT, guid(1)).await.status, 200);
}

/// Azure: a role definition is read by id at a scope or without one, with its actions.
/// Facts: F-103.
#[actix_web::test]
async fn role_definitions_show_their_actions() {
    let world = World::start();
    let definitions = "/providers/Microsoft.Authorization/roleDefinitions";

    for place in ["", VAULT] {
        let path = format!("{place}{definitions}/{OPERATOR}");
        let answer = Answer::of(world.arm(Method::GET, &path).send().await.unwrap()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["properties"]["roleName"], "Backup Operator");
        let actions = answer.body["properties"]["permissions"][0]["actions"].to_string();
        assert!(actions.contains("recoveryPoints/restore/action"));
        assert!(!actions.contains("backupPolicies/write"));
    }
    let unknown = format!("{definitions}/{}", guid(9));
    Answer::of(world.arm(Method::GET, &unknown).send().await.unwrap())
        .await
        .assert_error(404, "RoleDefinitionDoesNotExist");
}

/// Azure: definitions are listed at a scope and filtered by name; Contributor cannot assign roles.
/// Facts: F-037.
#[actix_web::test]
async fn role_definitions_are_listed_and_found_by_name() {
    let world = World::start();
    let path = format!("{GROUP}/providers/Microsoft.Authorization/roleDefinitions");

    let all = world.filtered(&path, "").await;
    let named = world.filtered(&path, "roleName eq 'Contributor'").await;

    assert_eq!(all.names().len(), 9);
    assert_eq!(named.names().len(), 1);
    let not_actions = named.body["value"][0]["properties"]["permissions"][0]["notActions"].to_string();
    assert!(not_actions.contains("Microsoft.Authorization/*/Write"));
}

/// Azure: every answer carries ids for support, the time, and what is left of the bucket.
#[actix_web::test]
async fn every_answer_has_the_headers_of_arm() {
    let world = World::start();

    let put = world.grant(VAULT, guid(1), guid(100)).await;
    let get = world.get(VAULT, guid(2)).await;
    let delete = world.delete(VAULT, guid(1)).await;

    for answer in [&put, &get, &delete] {
        assert_eq!(answer.header("date"), "Sun, 01 Mar 2026 12:00:00 GMT");
        assert!(Uuid::try_parse(answer.header("x-ms-correlation-request-id")).is_ok());
        assert!(Uuid::try_parse(answer.header("x-ms-request-id")).is_ok());
    }
    assert_eq!(put.header("x-ms-ratelimit-remaining-subscription-writes"), "199");
    assert_eq!(get.header("x-ms-ratelimit-remaining-subscription-reads"), "249");
    assert_eq!(delete.header("x-ms-ratelimit-remaining-subscription-deletes"), "199");
}
