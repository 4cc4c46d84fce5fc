//! Deny assignments: shown by a listing, and stronger than any role.

use super::super::*;
use azure_backup_scim::simulator::{DenyAssignment, DenyPrincipal, OwnRight, RolePermission};

const DENIED: &str = "/providers/Microsoft.Authorization/denyAssignments";
const CALLER: u128 = 0xca11_e400_0000_4000_8000_0000_0000_0001;

fn deletions() -> RolePermission {
    RolePermission::actions(&["*/delete"])
}

fn denied(number: u128, at: &str) -> DenyAssignment {
    let name = format!("Deny assignment {number}");
    DenyAssignment { id: guid(number), ..DenyAssignment::new(&name, scope(at), deletions()) }
}

/// Azure: a deny assignment names actions, principals and exceptions. Everybody is one principal, of zeros.
/// Facts: F-032.
#[actix_web::test]
async fn a_deny_assignment_has_the_shape_of_its_specification() {
    let world = World::start();
    let deny = denied(1, GROUP).except(vec![DenyPrincipal::new(guid(100), "ServicePrincipal")]).not_below();
    world.azure.deny(deny).unwrap();

    let shown = world.filtered(&format!("{GROUP}{DENIED}"), "atScope()").await;

    assert_eq!((shown.status, shown.names()), (200, vec![guid(1)]));
    let entry = &shown.body["value"][0];
    assert_eq!(entry["id"], json!(format!("{GROUP}{DENIED}/{}", guid(1))));
    assert_eq!(entry["type"], "Microsoft.Authorization/denyAssignments");
    assert_eq!(
        entry["properties"],
        json!({
            "denyAssignmentName": "Deny assignment 1", "description": "", "scope": GROUP,
            "permissions": [{ "actions": ["*/delete"], "notActions": [], "dataActions": [], "notDataActions": [] }],
            "principals": [{ "id": "00000000-0000-0000-0000-000000000000", "type": "SystemDefined" }],
            "excludePrincipals": [{ "id": guid(100), "type": "ServicePrincipal" }],
            "doNotApplyToChildScopes": true, "isSystemProtected": true, "condition": null,
        })
    );
}

/// Azure: `atScope()` shows what is at or above the scope, in pages. That one that does not hold below its scope is
/// shown there all the same is not published.
/// Facts: F-032, F-033.
#[actix_web::test]
async fn deny_assignments_are_listed_at_or_above() {
    let world = World::start();
    let places = ["/", SUBSCRIPTION, GROUP, VAULT];
    for (number, place) in (1..).zip(places) {
        world.azure.deny(denied(number, place)).unwrap();
    }
    world.azure.deny(denied(5, SUBSCRIPTION).not_below()).unwrap();
    let listed = async |at: &str, filter: &str| world.filtered(&format!("{at}{DENIED}"), filter).await;

    assert_eq!(listed(GROUP, "atScope()").await.names(), [guid(1), guid(2), guid(3), guid(5)]);
    assert_eq!(listed(SUBSCRIPTION, "").await.names(), [1, 2, 3, 4, 5].map(guid));
    let of_nobody = listed(VAULT, &format!("principalId eq '{}'", guid(100))).await;
    assert!(of_nobody.names().is_empty());

    world.azure.set_limits(ArmLimits { page_size: 2, ..ArmLimits::default() }).unwrap();
    let first = listed(GROUP, "atScope()").await;
    let link = first.body["nextLink"].as_str().unwrap();
    let last = Answer::of(world.client.get(link).send().await.unwrap()).await;
    assert_eq!((first.names(), last.names()), (vec![guid(1), guid(2)], vec![guid(3), guid(5)]));
    assert!(last.body.get("nextLink").is_none());
}

/// Azure: what a deny assignment denies no role gives: 403 `DenyAssignmentAuthorizationFailed`, which names it.
/// Facts: F-034, F-101.
#[actix_web::test]
async fn a_denied_action_is_refused_whatever_the_rights() {
    let world = World::start();
    world.grant(VAULT, guid(1), guid(100)).await;
    let everything = OwnRight { scope: scope("/"), condition: None, actions: vec!["*".to_owned()] };
    world.azure.set_own_rights(vec![everything]).unwrap();
    world.azure.deny(denied(9, SUBSCRIPTION)).unwrap();

    let refused = world.delete(VAULT, guid(1)).await;

    refused.assert_error(403, "DenyAssignmentAuthorizationFailed");
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("Deny assignment 9") && message.contains(&guid(9).to_string()), "{message}");
    assert_eq!(world.grant(VAULT, guid(2), guid(101)).await.status, 201);
    world.azure.remove_deny_assignment(guid(9)).unwrap();
    assert_eq!(world.delete(VAULT, guid(1)).await.status, 200);
}

/// Azure: whom a deny assignment excepts it does not deny; nor what it excepts, nor below where it does not hold.
/// Facts: F-101.
#[actix_web::test]
async fn who_and_what_is_excepted_is_not_denied() {
    let world = World::start();
    let caller = DenyPrincipal::new(Uuid::from_u128(CALLER), "ServicePrincipal");
    let other = DenyPrincipal::new(guid(100), "User");
    let conditional =
        DenyAssignment { condition: Some("@Resource[a] StringEquals 'b'".to_owned()), ..denied(5, VAULT) };
    for harmless in [
        denied(1, GROUP).except(vec![caller.clone()]),
        denied(2, VAULT).of(vec![other]),
        denied(3, GROUP).not_below(),
        DenyAssignment {
            permissions: vec![deletions().except(&["Microsoft.Authorization/*"])],
            ..denied(4, VAULT)
        },
        conditional,
    ] {
        world.azure.deny(harmless).unwrap();
    }
    world.grant(VAULT, guid(1), guid(100)).await;
    assert_eq!(world.delete(VAULT, guid(1)).await.status, 200);

    world.azure.deny(denied(6, VAULT).of(vec![caller])).unwrap();

    world.grant(VAULT, guid(1), guid(100)).await;
    world.delete(VAULT, guid(1)).await.assert_error(403, "DenyAssignmentAuthorizationFailed");
}

/// By hand, and over HTTP, they are made and removed; one disappears with its scope.
#[actix_web::test]
async fn deny_assignments_are_ordered_over_http() {
    let world = World::start();
    let deny = json!({
        "denyAssignmentName": "stack", "scope": VAULT, "permissions": [{ "actions": ["*"], "notActions": ["*/read"] }],
        "principals": [{ "id": "00000000-0000-0000-0000-000000000000", "type": "SystemDefined" }],
    });
    let made = world.control(Method::POST, "/deny-assignments", deny.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    world.grant(VAULT, guid(1), guid(100)).await.assert_error(403, "DenyAssignmentAuthorizationFailed");
    let listed = world.control(Method::GET, "/deny-assignments", Value::Null).await;
    assert_eq!(
        (&listed.body[0]["denyAssignmentName"], &listed.body[0]["id"]),
        (&json!("stack"), &made.body["id"])
    );

    let path = format!("/deny-assignments/{}", made.body["id"].as_str().unwrap());
    assert_eq!(world.control(Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(world.control(Method::DELETE, &path, Value::Null).await.status, 404);
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);

    assert_eq!(world.control(Method::POST, "/deny-assignments", deny).await.status, 201);
    world.azure.remove_scope(&scope(VAULT)).unwrap();
    assert!(world.azure.deny_assignments().is_empty());
}

/// A caller without the right to read is refused: by its rights, or by a rule that plays one.
/// Facts: F-031.
#[actix_web::test]
async fn a_missing_right_hides_deny_assignments() {
    let world = World::start();
    let reads = OwnRight {
        scope: scope("/"),
        condition: None,
        actions: vec!["Microsoft.Authorization/roleAssignments/read".to_owned()],
    };
    world.azure.set_own_rights(vec![reads]).unwrap();
    assert_eq!(world.list(VAULT, "atScope()").await.status, 200);
    let refused = world.filtered(&format!("{VAULT}{DENIED}"), "atScope()").await;
    refused.assert_error(403, "AuthorizationFailed");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("denyAssignments/read"));
}
