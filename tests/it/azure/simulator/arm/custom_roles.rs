//! Role definitions that an organisation makes for itself.

use super::super::*;
use azure_backup_scim::simulator::{CustomRole, HandMade, RolePermission};

const DEFINITIONS: &str = "/providers/Microsoft.Authorization/roleDefinitions";
const RESTORE: &str = "Microsoft.DataProtection/backupVaults/backupInstances/restore/action";

fn restorer(number: u128, at: &str) -> CustomRole {
    CustomRole {
        id: guid(number),
        role_name: format!("Restorer {number}"),
        description: "Restores.".to_owned(),
        assignable_scopes: vec![scope(at)],
        permissions: vec![RolePermission::actions(&[RESTORE, "*/read"]).except(&["Microsoft.KeyVault/*"])],
    }
}

/// Azure: a custom role has the shape of a built-in one, and says where it can be assigned.
/// Facts: F-036.
#[actix_web::test]
async fn a_custom_role_is_read_by_its_id() {
    let world = World::start();
    world.azure.set_custom_role(restorer(1, SUBSCRIPTION)).unwrap();

    let shown = world.filtered(&format!("{VAULT}{DEFINITIONS}/{}", guid(1)), "").await;

    assert_eq!((shown.status, &shown.body["name"]), (200, &json!(guid(1))));
    assert_eq!(shown.body["id"], json!(format!("{SUBSCRIPTION}{DEFINITIONS}/{}", guid(1))));
    assert_eq!(
        shown.body["properties"],
        json!({
            "roleName": "Restorer 1", "type": "CustomRole", "description": "Restores.",
            "assignableScopes": [SUBSCRIPTION],
            "permissions": [{
                "actions": [RESTORE, "*/read"], "notActions": ["Microsoft.KeyVault/*"],
                "dataActions": [], "notDataActions": [],
            }],
        })
    );
    let absent = world.filtered(&format!("{VAULT}{DEFINITIONS}/{}", guid(2)), "").await;
    absent.assert_error(404, "RoleDefinitionDoesNotExist");
}

/// Azure: a listing shows the roles that can be assigned at its scope; a filter selects by name and by kind. That a
/// read by id finds a role that cannot be assigned there is not published.
/// Facts: F-037.
#[actix_web::test]
async fn a_custom_role_is_listed_where_it_can_be_assigned() {
    let world = World::start();
    let elsewhere = VAULT.replace("/east", "/west");
    world.azure.add_scope(&scope(&elsewhere)).unwrap();
    world.azure.set_custom_role(restorer(1, GROUP)).unwrap();
    world.azure.set_custom_role(restorer(2, &elsewhere)).unwrap();
    let listed = async |at: &str, filter: &str| world.filtered(&format!("{at}{DEFINITIONS}"), filter).await;

    assert_eq!(listed(VAULT, "type eq 'CustomRole'").await.names(), [guid(1)]);
    assert_eq!(listed(&elsewhere, "type eq 'CustomRole'").await.names(), [guid(1), guid(2)]);
    assert!(listed(SUBSCRIPTION, "type eq 'CustomRole'").await.names().is_empty());
    assert_eq!(listed(VAULT, "roleName eq 'restorer 1'").await.names(), [guid(1)]);
    let built_in = listed(VAULT, "type eq 'BuiltInRole'").await.names().len();
    assert_eq!(listed(VAULT, "").await.names().len(), built_in + 1);
    assert_eq!(world.filtered(&format!("{VAULT}{DEFINITIONS}/{}", guid(2)), "").await.status, 200);
}

/// Azure: a custom role is assigned as a built-in one is. An assignment whose role is gone names a definition that is
/// not there.
#[actix_web::test]
async fn a_custom_role_is_assigned() {
    let world = World::start();
    let role = json!({
        "id": guid(1), "roleName": "Restorer", "assignableScopes": [SUBSCRIPTION],
        "permissions": [{ "actions": [RESTORE] }],
    });
    assert_eq!(world.control(Method::POST, "/role-definitions", role).await.status, 204);

    world.azure.make_assignment(&HandMade::new(scope(SUBSCRIPTION), "restorer", guid(100))).unwrap();
    let by_the_service = world.put(VAULT, guid(2), json!({
        "roleDefinitionId": role_id(&guid(1).to_string()), "principalId": guid(100), "principalType": "User",
    }));
    assert_eq!(by_the_service.await.status, 201);
    let listed = world.control(Method::GET, "/role-definitions", Value::Null).await;
    assert_eq!(listed.body[0]["permissions"][0]["actions"], json!([RESTORE]));

    let path = format!("/role-definitions/{}", guid(1));
    assert_eq!(world.control(Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(world.control(Method::DELETE, &path, Value::Null).await.status, 404);
    assert_eq!(world.list(VAULT, "").await.names().len(), 2);
    let gone = world.filtered(&format!("{VAULT}{DEFINITIONS}/{}", guid(1)), "").await;
    gone.assert_error(404, "RoleDefinitionDoesNotExist");
}
