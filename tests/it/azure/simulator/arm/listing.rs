//! Listings of role assignments.

use super::super::*;
use azure_backup_scim::simulator::HandMade;

/// One assignment at each level: root 1, subscription 2, group 3, vault 4, the vault of another group 5.
fn world_of_levels() -> World {
    let world = World::start();
    let other = VAULT.replace("/backup/", "/backup2/");
    world.azure.add_scope(&scope(&other)).unwrap();
    for (number, place) in ["/", SUBSCRIPTION, GROUP, VAULT, &other].into_iter().enumerate() {
        let name = guid(number as u128 + 1);
        let made = HandMade { name: Some(name), ..HandMade::new(scope(place), "Backup Reader", guid(100)) };
        world.azure.make_assignment(&made).unwrap();
    }
    world
}

/// Azure: without a filter a listing shows what is at, above and below the scope; a name that only begins alike is elsewhere.
/// Facts: F-021.
#[actix_web::test]
async fn an_unfiltered_listing_shows_at_above_and_below() {
    let world = world_of_levels();

    assert_eq!(world.list(GROUP, "").await.names(), [guid(1), guid(2), guid(3), guid(4)]);
    assert_eq!(world.list(&VAULT.to_uppercase(), "").await.names(), [guid(1), guid(2), guid(3), guid(4)]);
}

/// Azure: `atScope()` shows what is at the scope or above it, not what is below.
/// Facts: F-021.
#[actix_web::test]
async fn at_scope_means_at_or_above() {
    let world = world_of_levels();

    assert_eq!(world.list(GROUP, "atScope()").await.names(), [guid(1), guid(2), guid(3)]);
    assert_eq!(world.list(VAULT, "atScope()").await.names(), [guid(1), guid(2), guid(3), guid(4)]);
    assert_eq!(world.list("", "atScope()").await.names(), [guid(1)]);
}

/// Azure: `principalId eq` and `assignedTo` select one principal's, at, above and below; both go with `atScope()`.
/// Facts: F-094.
#[actix_web::test]
async fn listings_are_filtered_by_principal() {
    let world = world_of_levels();
    world.grant(GROUP, guid(6), guid(101)).await;
    world.grant(VAULT, guid(7), guid(101)).await;
    let id = guid(101);

    assert_eq!(world.list(GROUP, &format!("principalId eq '{id}'")).await.names(), [guid(6), guid(7)]);
    assert_eq!(world.list(GROUP, &format!("assignedTo('{id}')")).await.names(), [guid(6), guid(7)]);
    let both = format!("atScope() and principalId eq '{id}'");
    assert_eq!(world.list(GROUP, &both).await.names(), [guid(6)]);
}

/// Azure: a long listing comes in pages; `nextLink` is followed as it is, with the filter in it.
/// Facts: F-095.
#[actix_web::test]
async fn pages_are_linked() {
    let world = World::start();
    world.azure.set_limits(ArmLimits { page_size: 2, ..ArmLimits::default() }).unwrap();
    for number in 1..=5 {
        world.grant(VAULT, guid(number), guid(100 + number)).await;
    }

    let mut page = world.list(VAULT, "atScope()").await;
    let mut names = page.names();
    while let Some(link) = page.body["nextLink"].as_str() {
        assert_eq!(page.names().len(), 2);
        page = Answer::of(world.client.get(link).send().await.unwrap()).await;
        names.extend(page.names());
    }

    assert_eq!(names, [guid(1), guid(2), guid(3), guid(4), guid(5)]);
    assert!(world.simulator.unrecognised().is_empty());
}

/// Azure: a listing lags behind writes; a read by name does not.
/// Facts: F-020, F-022.
#[actix_web::test]
async fn a_stale_listing_shows_what_was_and_a_read_by_name_what_is() {
    let world = World::start();
    world.azure.set_limits(ArmLimits { list_staleness_seconds: 60, ..ArmLimits::default() }).unwrap();
    world.grant(VAULT, guid(1), guid(100)).await;
    assert!(world.list(VAULT, "").await.names().is_empty());
    assert_eq!(world.get(VAULT, guid(1)).await.status, 200);

    world.azure.advance(60).unwrap();
    assert_eq!(world.list(VAULT, "").await.names(), [guid(1)]);

    world.delete(VAULT, guid(1)).await;
    world.azure.advance(59).unwrap();
    assert_eq!(world.list(VAULT, "").await.names(), [guid(1)]);
    world.get(VAULT, guid(1)).await.assert_error(404, "RoleAssignmentNotFound");

    world.azure.advance(1).unwrap();
    assert!(world.list(VAULT, "").await.names().is_empty());
}
