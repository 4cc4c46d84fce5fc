//! What Azure lets the service's own identity do, once it was told which rights that holds.

use super::super::*;
use azure_backup_scim::simulator::{ControlError, HandMade, OwnRight};

const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
/// What Role Based Access Control Administrator may do with assignments.
const ACTIONS: [&str; 3] = [
    "*/read",
    "Microsoft.Authorization/roleAssignments/write",
    "microsoft.authorization/roleassignments/delete",
];

/// As a deployment writes it: on write the bound role for people, on delete two roles for people.
fn condition() -> String {
    let clause = |action: &str, source: &str, roles: &str| {
        format!(
            "((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/{action}'}})) OR \
             (@{source}[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{roles}}} AND \
             @{source}[Microsoft.Authorization/roleAssignments:PrincipalType] ForAnyOfAnyValues:StringEqualsIgnoreCase {{'User'}}))"
        )
    };
    let both = format!("{READER}, {OPERATOR}");
    format!("{} AND {}", clause("write", "Request", READER), clause("delete", "Resource", &both))
}

fn right(at: &str, condition: Option<String>) -> OwnRight {
    OwnRight { scope: scope(at), condition, actions: ACTIONS.map(str::to_owned).to_vec() }
}

fn with_role(role: &str, person: Uuid) -> Value {
    json!({ "roleDefinitionId": role_id(role), "principalId": person, "principalType": "User" })
}

fn limited() -> World {
    let world = World::start();
    world.azure.set_own_rights(vec![right(VAULT, Some(condition()))]).unwrap();
    world
}

/// Facts: F-097, F-099.
#[actix_web::test]
async fn a_grant_passes_where_the_condition_is_true_for_it() {
    let world = limited();
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);

    for refused in [
        with_role(OWNER, guid(100)),
        with_role(OPERATOR, guid(100)),
        json!({ "roleDefinitionId": role_id(READER), "principalId": guid(101), "principalType": "ServicePrincipal" }),
        json!({ "roleDefinitionId": role_id(READER), "principalId": guid(101) }),
    ] {
        let answer = world.put(VAULT, guid(2), refused).await;
        answer.assert_error(403, "AuthorizationFailed");
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("ABAC condition") && message.contains("roleAssignments/write"), "{message}");
    }
    assert_eq!(world.azure.assignments().len(), 1);
    assert_eq!(world.azure.calls().last().unwrap().status, Some(403));
}

/// On delete Azure looks at what is there, not at what the caller says.
/// Facts: F-027, F-099.
#[actix_web::test]
async fn a_revocation_is_judged_by_the_assignment_that_is_there() {
    let world = limited();
    for (number, role) in [(1, READER), (2, OPERATOR), (3, OWNER_LIKE)] {
        let made =
            HandMade { name: Some(guid(number)), ..HandMade::new(scope(VAULT), role, guid(100 + number)) };
        world.azure.make_assignment(&made).unwrap();
    }

    assert_eq!(world.delete(VAULT, guid(1)).await.status, 200);
    assert_eq!(
        world.delete(VAULT, guid(2)).await.status,
        200,
        "a role that is no longer bound can still be revoked"
    );
    world.delete(VAULT, guid(3)).await.assert_error(403, "AuthorizationFailed");
    assert_eq!(world.delete(VAULT, guid(1)).await.status, 204);
    let below = HandMade { name: Some(guid(4)), ..HandMade::new(scope(GROUP), OWNER_LIKE, guid(104)) };
    world.azure.make_assignment(&below).unwrap();
    assert_eq!(world.delete(VAULT, guid(4)).await.status, 204, "of that name there is nothing at this scope");
    assert_eq!(world.azure.assignments().len(), 2);
}

/// A role outside of both lists.
const OWNER_LIKE: &str = "Backup Contributor";

#[actix_web::test]
async fn a_right_holds_at_its_scope_and_below_and_nowhere_else() {
    let world = World::start();
    let other = VAULT.replace("/east", "/west");
    world.azure.add_scope(&scope(&other)).unwrap();
    world.azure.set_own_rights(vec![right(VAULT, None)]).unwrap();
    for elsewhere in [GROUP, SUBSCRIPTION, &other] {
        let answer = world.grant(elsewhere, guid(1), guid(100)).await;
        answer.assert_error(403, "AuthorizationFailed");
        assert!(!answer.body["error"]["message"].as_str().unwrap().contains("ABAC"));
        world.delete(elsewhere, guid(1)).await.assert_error(403, "AuthorizationFailed");
        world.get(elsewhere, guid(1)).await.assert_error(403, "AuthorizationFailed");
        world.list(elsewhere, "").await.assert_error(403, "AuthorizationFailed");
    }
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);
    assert_eq!(world.list(VAULT, "atScope()").await.names(), [guid(1)]);

    world.azure.set_own_rights(vec![right(GROUP, None)]).unwrap();
    assert_eq!(world.grant(&other, guid(2), guid(100)).await.status, 201);
    assert_eq!(world.get(&other, guid(2)).await.status, 200);
}

#[actix_web::test]
async fn rights_add_up_and_each_needs_its_action() {
    let world = World::start();
    let reading = OwnRight { actions: vec!["*/read".to_owned()], ..right(SUBSCRIPTION, None) };
    world.azure.set_own_rights(vec![reading.clone()]).unwrap();
    world.grant(VAULT, guid(1), guid(100)).await.assert_error(403, "AuthorizationFailed");
    assert_eq!(world.list(VAULT, "").await.status, 200);

    world.azure.set_own_rights(vec![reading, right(VAULT, Some(condition()))]).unwrap();
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);

    world.azure.set_own_rights(Vec::new()).unwrap();
    world.get(VAULT, guid(1)).await.assert_error(403, "AuthorizationFailed");
    let definition = format!("{VAULT}/providers/Microsoft.Authorization/roleDefinitions/{READER}");
    let answer = Answer::of(world.arm(Method::GET, &definition).send().await.unwrap()).await;
    answer.assert_error(403, "AuthorizationFailed");
    world.azure.lift_own_rights().unwrap();
    assert_eq!(world.get(VAULT, guid(1)).await.status, 200);
}

#[actix_web::test]
async fn rights_are_set_over_http_and_a_condition_that_is_none_is_refused_with_its_place() {
    let world = World::start();
    let rights = json!([{ "scope": VAULT, "condition": condition(), "actions": ACTIONS }]);
    assert_eq!(world.control(Method::GET, "/own-rights", Value::Null).await.body, Value::Null);
    assert_eq!(world.control(Method::PUT, "/own-rights", rights.clone()).await.status, 204);
    assert_eq!(world.control(Method::GET, "/own-rights", Value::Null).await.body, rights);
    world.put(VAULT, guid(1), with_role(OWNER, guid(100))).await.assert_error(403, "AuthorizationFailed");

    let broken = world.azure.set_own_rights(vec![right(VAULT, Some("Exists @Request[a".to_owned()))]);
    assert!(matches!(broken, Err(ControlError::Invalid(text)) if text.contains("at byte 7")));
    world.put(VAULT, guid(1), with_role(OWNER, guid(100))).await.assert_error(403, "AuthorizationFailed");
    assert_eq!(world.control(Method::DELETE, "/own-rights", Value::Null).await.status, 204);
    assert_eq!(world.azure.own_rights(), None);
}
