//! What people do in the portal beside the service: any role, any scope, any principal.

use super::super::*;
use azure_backup_scim::simulator::{ControlError, HandMade, LockLevel, PrincipalType};

const MANAGEMENT_GROUP: &str = "/providers/Microsoft.Management/managementGroups/contoso";
const ON: time::OffsetDateTime = datetime!(2025-11-03 08:15 UTC);

/// Azure: what was assigned above a vault is inherited, and a listing at the vault shows it where it was made.
#[actix_web::test]
async fn assignments_above_a_vault_are_shown_at_it() {
    let world = World::start();
    let places = ["/", MANAGEMENT_GROUP, SUBSCRIPTION, GROUP];
    let types = [
        PrincipalType::User,
        PrincipalType::Group,
        PrincipalType::ServicePrincipal,
        PrincipalType::ForeignGroup,
    ];
    for (number, (place, kind)) in (1..).zip(places.into_iter().zip(types)) {
        let made = HandMade::new(scope(place), "Owner", guid(100 + number)).of_type(kind);
        let made = HandMade { name: Some(guid(number)), ..made.by(guid(900), ON) };
        world.azure.make_assignment(&made).unwrap();
    }

    let listed = world.list(VAULT, "atScope()").await;

    assert_eq!(listed.names(), [guid(1), guid(2), guid(3), guid(4)]);
    for (number, (place, kind)) in places.into_iter().zip(types).enumerate() {
        let shown = &listed.body["value"][number]["properties"];
        assert_eq!((&shown["scope"], &shown["principalType"]), (&json!(place), &json!(kind)));
        assert_eq!(shown["createdBy"], json!(guid(900)));
        assert!(shown["createdOn"].as_str().unwrap().starts_with("2025-11-03T08:15:00"), "{shown}");
    }
    assert_eq!(world.list(SUBSCRIPTION, "atScope()").await.names(), [guid(1), guid(2), guid(3)]);
}

/// Azure: only description and condition of an assignment can be changed, under its name.
#[actix_web::test]
async fn the_condition_of_an_assignment_is_changed_and_taken_away() {
    let world = World::start();
    let made = HandMade { name: Some(guid(1)), ..HandMade::new(scope(VAULT), "Owner", guid(100)) };
    world.azure.make_assignment(&made.by(guid(900), ON).under("@Resource[a] StringEquals 'b'")).unwrap();
    let shown = async || world.get(VAULT, guid(1)).await.body["properties"].clone();
    let before = shown().await;
    assert_eq!(
        (&before["condition"], &before["conditionVersion"]),
        (&json!("@Resource[a] StringEquals 'b'"), &json!("2.0"))
    );

    let path = format!("/assignments/{}", guid(1));
    let change = async |body| world.control(Method::PATCH, &path, body).await.status;
    assert_eq!(change(json!({ "condition": "@Resource[a] StringEquals 'c'" })).await, 204);
    assert_eq!(shown().await["condition"], json!("@Resource[a] StringEquals 'c'"));
    assert_eq!(change(json!({ "condition": null })).await, 204);

    let after = shown().await;
    assert_eq!((&after["condition"], &after["conditionVersion"]), (&Value::Null, &Value::Null));
    for name in ["createdOn", "createdBy", "principalId", "roleDefinitionId", "scope"] {
        assert_eq!(before[name], after[name], "{name}");
    }
    world.azure.add_lock(&scope(VAULT), LockLevel::ReadOnly).unwrap();
    let locked = world.azure.set_assignment_condition(guid(1), None).unwrap_err();
    assert!(matches!(&locked, ControlError::Refused { code, .. } if code == "ScopeLocked"), "{locked}");
    assert!(world.azure.set_assignment_condition(guid(2), None).is_err());
}

/// Who made it and when can be said over HTTP too; without it, it was the identity that all callers are, now.
#[actix_web::test]
async fn who_made_an_assignment_is_said_over_http() {
    let world = World::start();
    let group = json!({
        "scope": "/", "role": "User Access Administrator", "principal": guid(100), "type": "Group",
        "created_by": guid(900), "created_on": "2025-11-03T08:15:00Z",
    });

    let made = world.control(Method::POST, "/assignments", group).await;

    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["properties"]["createdBy"], json!(guid(900)));
    let other = json!({ "scope": VAULT, "role": READER, "principal": guid(101) });
    let made = world.control(Method::POST, "/assignments", other).await;
    assert!(made.body["properties"]["createdOn"].as_str().unwrap().starts_with("2026-03-01T12:00:00"));
}

/// Azure: a principal holds roles under its own type. Where only known principals exist, that holds by hand, too.
#[actix_web::test]
async fn a_principal_that_does_not_exist_gets_nothing_by_hand() {
    let world = World::start();
    let group = HandMade::new(scope(VAULT), "Reader", guid(100)).of_type(PrincipalType::Group);
    world.azure.make_assignment(&group).unwrap();
    let as_a_user = HandMade::new(scope(GROUP), "Reader", guid(100));
    assert!(world.azure.make_assignment(&as_a_user).is_err());

    world.azure.set_strict_principals(true).unwrap();

    let unknown = HandMade { principal: guid(101), ..group };
    let refused = world.azure.make_assignment(&unknown).unwrap_err();
    assert!(
        matches!(&refused, ControlError::Refused { code, .. } if code == "PrincipalNotFound"),
        "{refused}"
    );
}
