//! A person is a direct member of a thousand groups at most. What lies beyond gives nothing, and keeps nobody in.

use crate::support::harness::{Node, OWN, Person, VAULT_EAST, World, caller, members};
use crate::support::requests::{group_id, group_input, group_patch, user_id, user_patch};
use crate::support::rows::{later, quiet, write};
use azure_backup_scim::ports::tables::TableWrite;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::store::codec::RowFields;
use serde_json::json;
use uuid::Uuid;

fn operator() -> (World, Node, Person, String) {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let (ana, operators) = (node.provision("ana"), node.group("operators"));
    node.join(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    (world, node, ana, operators)
}

/// Memberships in so many groups, by ids behind all others; what a release without a limit left.
pub fn fill(world: &World, node: &Node, person: &Person, number: u128) {
    let rows = (0..number).flat_map(|n| {
        let group = Uuid::from_u128(u128::MAX - n);
        let keys = [format!("m:{group}:{}", person.id), format!("ug:{}:{group}", person.id)];
        keys.map(|key| TableWrite::InsertOrReplace { key, properties: RowFields::row().done() })
    });
    write(world, node, &rows.collect::<Vec<_>>());
}

#[test]
fn a_person_in_five_thousand_groups_is_revoked_when_inactive_without_reading_them() {
    let (world, node, ana, _) = operator();
    fill(&world, &node, &ana, 5_000);
    world.faults.reset();
    let projection = Projection::parse(ResourceType::User, None, Some("groups")).unwrap();
    let operation = json!({"op": "replace", "path": "active", "value": "False"});
    let body = json!({"schemas": [crate::support::harness::PATCH_OP], "Operations": [operation]});
    node.run(node.service.provisioning.patch_user(
        &caller(),
        user_id(&ana.id),
        &user_patch(&body).unwrap(),
        &projection,
    ))
    .unwrap();
    world.assert_holds_nothing(&ana);
    let counts = world.faults.counts();
    assert!(counts.rows_read < 100, "{counts:?}");
}

#[test]
fn a_person_in_five_thousand_groups_is_revoked_when_deleted_or_taken_out() {
    let (world, node, ana, operators) = operator();
    let ben = node.provision("ben");
    node.join(&operators, &[&ben]);
    fill(&world, &node, &ana, 5_000);
    fill(&world, &node, &ben, 5_000);
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
    let standing = node.service.health.snapshot();
    assert!(standing.is_finding() && standing.group_limit_reached == 1, "{standing:?}");
    node.delete_user(&ben);
    node.settle();
    world.assert_holds_nothing(&ben);
}

#[test]
fn one_more_than_a_thousand_groups_is_dropped_recorded_and_turns_health() {
    let (world, node, ana, operators) = operator();
    fill(&world, &node, &ana, 998);
    let (last, beyond) = (node.group("last"), node.group("beyond"));
    let ben = node.provision("ben");
    node.join(&last, &[&ana]);
    assert!(!node.service.health.snapshot().is_finding());
    // Whoever else is named by the request is taken in.
    node.join(&beyond, &[&ana, &ben]);
    assert_eq!(node.members_of(&beyond), std::slice::from_ref(&ben.id));
    let dropped = node.audit_of("member-dropped").remove(0);
    assert_eq!((&dropped["group"], &dropped["member"]), (&json!(beyond), &json!(ana.id)));
    let standing = node.service.health.snapshot();
    assert!(standing.is_finding(), "{standing:?}");
    assert_eq!(standing.to_json()["groupLimitReached"], 1);

    // Nor by a PUT, or with a new group; and a PUT that names nobody else takes away all the same.
    let projection = Projection::all(ResourceType::Group);
    let body = json!({"displayName": "beyond", "externalId": "beyond", "members": [{"value": ana.id}]});
    node.run(node.service.provisioning.replace_group(
        &caller(),
        group_id(&beyond),
        &group_input(&body),
        &projection,
    ))
    .unwrap();
    assert!(node.members_of(&beyond).is_empty());
    let body = json!({"displayName": "new", "members": [{"value": ana.id}]});
    let new = node
        .run(node.service.provisioning.create_group(&caller(), &group_input(&body), &projection))
        .unwrap();
    assert!(new.body["members"].as_array().is_none_or(Vec::is_empty), "{:?}", new.body);

    // Where she is in already nothing changes; where she leaves there is room again.
    node.join(&operators, &[&ana]);
    node.leave(&last, &[&ana]);
    node.join(&beyond, &[&ana]);
    assert_eq!(node.members_of(&beyond), std::slice::from_ref(&ana.id));
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.pass(25 * 3600);
    assert_eq!(node.service.health.snapshot().group_limit_reached, 0);
}

#[test]
fn taking_somebody_out_of_a_group_does_not_read_how_many_others_they_are_in() {
    let (world, node, ana, operators) = operator();
    fill(&world, &node, &ana, 1_500);
    world.faults.reset();
    let service = node.service.clone();
    let body =
        json!({"schemas": [crate::support::harness::PATCH_OP], "Operations": [members("remove", &[&ana])]});
    let projection = Projection::parse(ResourceType::Group, None, Some("members")).unwrap();
    world.faults.reset();
    let point = world.faults.hold(
        crate::support::fault_injection::When::transact(),
        crate::support::fault_injection::Side::After,
    );
    let change = node.spawn(async move {
        service
            .provisioning
            .patch_group(&caller(), group_id(&operators), &group_patch(&body).unwrap(), &projection)
            .await
            .map(|_| ())
    });
    node.run(point.reached());
    let counts = world.faults.counts();
    point.release();
    node.run(change).unwrap().unwrap();
    assert!(counts.rows_read < 20, "{counts:?}");
    world.assert_holds_nothing(&ana);
    later(&world, &node);
    world.assert_holds_nothing(&ana);
}

#[test]
fn the_groups_beyond_the_limit_give_nothing() {
    let (world, node, _, operators) = operator();
    let id =
        node.create_user(json!({"userName": "ben", OWN: {"entraObjectId": Uuid::from_u128(1).to_string()}}));
    let ben = Person { id, principal: Uuid::from_u128(1) };
    // All of these ids stand before any that is random.
    let rows = (0..1_000_u128).map(|n| TableWrite::Insert {
        key: format!("ug:{}:{}", ben.id, Uuid::from_u128(n)),
        properties: RowFields::row().done(),
    });
    write(&world, &node, &rows.collect::<Vec<_>>());
    let both = [format!("m:{operators}:{}", ben.id), format!("ug:{}:{operators}", ben.id)];
    write(&world, &node, &both.map(|key| TableWrite::Insert { key, properties: RowFields::row().done() }));
    node.patch_user(&ben.id, json!({"op": "add", "path": "title", "value": "x"}));
    world.assert_holds_nothing(&ben);
    assert_eq!(node.service.health.snapshot().group_limit_reached, 1);
}
