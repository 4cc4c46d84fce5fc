//! Management locks, as a listing shows them.

use super::super::*;
use azure_backup_scim::simulator::{LockLevel, OwnRight};

const LOCKS: &str = "/providers/Microsoft.Authorization/locks";

async fn listed(world: &World, at: &str, filter: &str) -> Answer {
    let url = format!("{}{at}{LOCKS}?api-version=2016-09-01{filter}", world.simulator.arm_url());
    Answer::of(world.client.get(url).send().await.unwrap()).await
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.body["value"].as_array().unwrap().iter().map(|lock| lock["id"].as_str().unwrap()).collect()
}

/// Azure: locks have an api-version of their own, and a lock names its scope in its id alone.
/// Facts: F-006.
#[actix_web::test]
async fn a_lock_has_the_shape_of_its_specification() {
    let world = World::start();
    let number = world.azure.add_lock(&scope(GROUP), LockLevel::CanNotDelete).unwrap();
    let shown = listed(&world, GROUP, "").await;
    let name = format!("lock-{number}");
    assert_eq!(shown.status, 200);
    assert_eq!(
        shown.body["value"][0],
        json!({
            "id": format!("{GROUP}{LOCKS}/{name}"), "name": name, "type": "Microsoft.Authorization/locks",
            "properties": { "level": "CanNotDelete" },
        })
    );
    let other = world.filtered(&format!("{GROUP}{LOCKS}"), "").await;
    assert_ne!(other.status, 200, "the version of role assignments is another one");
}

/// Azure: without a filter a listing shows the locks at, above and below the scope, and with `atScope()` those at or above.
/// Facts: F-006.
#[actix_web::test]
async fn locks_are_listed_at_or_above() {
    let world = World::start();
    for place in [SUBSCRIPTION, GROUP, VAULT] {
        world.azure.add_lock(&scope(place), LockLevel::ReadOnly).unwrap();
    }
    assert_eq!(ids(&listed(&world, GROUP, "").await).len(), 3);
    let above = listed(&world, GROUP, "&$filter=atScope()").await;
    assert_eq!(ids(&above).len(), 2);
    assert!(ids(&above).iter().all(|id| !id.starts_with(VAULT)), "{above:?}");
}

/// Azure: to read locks takes `Microsoft.Authorization/locks/read`.
/// Facts: F-031.
#[actix_web::test]
async fn a_missing_right_hides_locks() {
    let world = World::start();
    let reads = OwnRight {
        scope: scope("/"),
        condition: None,
        actions: vec!["Microsoft.Authorization/roleAssignments/read".to_owned()],
    };
    world.azure.set_own_rights(vec![reads]).unwrap();
    let refused = listed(&world, VAULT, "").await;
    refused.assert_error(403, "AuthorizationFailed");
    assert!(refused.body["error"]["message"].as_str().unwrap().contains("locks/read"));
}
