//! Packaged bindings: a file and its stamp come with each release, and the newest stamp is in force, whoever starts.

use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World, bindings_file};
use azure_backup_scim::ports::tables::{TableOps, TableWrite};
use azure_backup_scim::rbac::BackupRole::{self, Operator, Reader};
use azure_backup_scim::service::bindings::active::{ActivateError, Activation};
use azure_backup_scim::service::bindings::bundled::{BundleState, BundledBindings, BundledFile};
use azure_backup_scim::store::codec::RowFields;
use serde_json::json;

/// The world begins on the first of March at ten.
const YESTERDAY: &str = "20260228T120000Z";
const THIS_MORNING: &str = "20260301T080000Z";

/// A file that binds the one group.
fn file(role: BackupRole, scope: &str) -> Vec<u8> {
    let binding =
        json!({"name": "b1", "group": {"externalId": "operators"}, "role": role.name(), "scope": scope});
    bindings_file(&[binding]).into_bytes()
}

fn package(node: &Node, file: &[u8], stamp: &str) -> Activation {
    node.run(node.service.active_bindings.activate_stamped(file, stamp)).unwrap()
}

fn stamp_in_force(node: &Node) -> Option<String> {
    node.run(node.service.store.pointer()).unwrap().stamp().map(str::to_owned)
}

/// A person in the bound group, under the package of yesterday.
fn member() -> (World, Node, Person, String) {
    let world = World::new();
    let node = world.start();
    assert_eq!(package(&node, &file(Operator, VAULT_EAST), YESTERDAY), Activation::Stored);
    let (ana, group) = (node.provision("ana@contoso.example"), node.group("operators"));
    node.join(&group, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    (world, node, ana, group)
}

#[test]
fn a_newer_package_moves_everybody() {
    let (world, _old, ana, _) = member();
    let node = world.start();
    assert_eq!(package(&node, &file(Reader, VAULT_WEST), THIS_MORNING), Activation::Stored);
    node.settle();
    world.assert_holds(&ana, Reader, VAULT_WEST);
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
    assert_eq!(stamp_in_force(&node).as_deref(), Some(THIS_MORNING));
}

#[test]
fn an_older_package_started_again_works_on_under_the_newer_bindings() {
    let (world, _, ana, group) = member();
    let new = world.start();
    package(&new, &file(Reader, VAULT_WEST), THIS_MORNING);

    let old = world.start();
    assert_eq!(package(&old, &file(Operator, VAULT_EAST), YESTERDAY), Activation::Older);
    old.settle();
    assert_eq!(stamp_in_force(&old).as_deref(), Some(THIS_MORNING));
    world.assert_holds(&ana, Reader, VAULT_WEST);
    for (node, name) in [(&old, "ben"), (&new, "cleo")] {
        let person = node.provision(name);
        node.join(&group, &[&person]);
        world.assert_holds(&person, Reader, VAULT_WEST);
        assert!(!world.holds(&person, Operator, VAULT_EAST));
        node.leave(&group, &[&person]);
        world.assert_holds_nothing(&person);
    }
}

#[test]
fn the_package_in_force_is_stored_once() {
    let (world, _, _, _) = member();
    let node = world.start();
    world.faults.reset();
    assert_eq!(package(&node, &file(Operator, VAULT_EAST), YESTERDAY), Activation::InForce);
    assert_eq!(world.faults.counts().transactions, 0);
    assert_eq!(node.run(node.service.store.rows("c:", 10)).unwrap().len(), 1);
}

#[test]
fn the_same_stamp_with_other_bytes_changes_nothing() {
    let (world, node, ana, _) = member();
    let other = file(Reader, VAULT_WEST);
    assert_eq!(package(&node, &other, YESTERDAY), Activation::SameStampOtherBytes);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert!(!world.holds(&ana, Reader, VAULT_WEST));
}

#[test]
fn a_stamp_may_be_ten_minutes_ahead_and_no_more() {
    let (world, node, _, _) = member();
    assert_eq!(package(&node, &file(Reader, VAULT_WEST), "20260301T101001Z"), Activation::Future);
    assert_eq!(stamp_in_force(&node).as_deref(), Some(YESTERDAY));
    assert_eq!(package(&node, &file(Reader, VAULT_WEST), "20260301T101000Z"), Activation::Stored);
    // Its own time has not come yet, and it is in force.
    assert_eq!(package(&node, &file(Reader, VAULT_WEST), "20260301T101000Z"), Activation::InForce);
    world.pass(3600);
    assert_eq!(package(&node, &file(Operator, VAULT_EAST), "20260301T101001Z"), Activation::Stored);
}

#[test]
fn a_broken_file_or_a_broken_stamp_changes_nothing() {
    let (world, node, ana, _) = member();
    let adopt =
        |bytes: &[u8], stamp: &str| node.run(node.service.active_bindings.activate_stamped(bytes, stamp));
    for broken in [&b""[..], b"{", b"{}", b"\xff"] {
        assert!(matches!(adopt(broken, THIS_MORNING), Err(ActivateError::Bindings(_))), "{broken:?}");
    }
    let good = file(Reader, VAULT_WEST);
    for stamp in [
        "",
        "2026",
        "20260301T080000",
        "20260301T080000z",
        " 20260301T080000Z",
        "20261301T080000Z",
        "+20260301T080000Z",
    ] {
        assert!(matches!(adopt(&good, stamp), Err(ActivateError::Stamp)), "{stamp}");
    }
    node.settle();
    assert_eq!(stamp_in_force(&node).as_deref(), Some(YESTERDAY));
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

/// The row `s:bindings` with other properties.
fn pointer(world: &World, node: &Node, properties: RowFields) {
    let row = TableWrite::InsertOrReplace { key: "s:bindings".to_owned(), properties: properties.done() };
    node.run(world.faults.transact("default", &[row])).unwrap();
}

#[test]
fn a_package_that_is_newer_than_all_before_mends_a_pointer_that_cannot_be_read() {
    let (world, node, ana, _) = member();
    pointer(&world, &node, RowFields::row().text("nonsense", "x"));
    assert_eq!(package(&node, &file(Reader, VAULT_WEST), "20260227T080000Z"), Activation::Older);
    let standing = node.service.health.snapshot();
    assert!(standing.is_finding() && standing.rows_unreadable == 1, "{standing:?}");
    world.assert_holds(&ana, Operator, VAULT_EAST);

    world.pass(60);
    assert_eq!(package(&node, &file(Reader, VAULT_WEST), "20260301T100030Z"), Activation::Stored);
    node.settle();
    world.assert_holds(&ana, Reader, VAULT_WEST);
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
    assert!(!node.service.health.snapshot().is_finding());
}

#[test]
fn a_package_over_a_pointer_of_a_later_release_is_a_finding_and_not_waited_for() {
    let (world, node, _, _) = member();
    pointer(&world, &node, RowFields::some().int("v", 2));
    let packaged = BundledBindings::new(node.service.store.clone(), node.service.active_bindings.clone());
    let package = BundledFile::Stamped { bindings: file(Reader, VAULT_WEST), stamp: THIS_MORNING.to_owned() };
    let settled = packaged.activate_until_answered(&package);
    node.run(async { tokio::time::timeout(std::time::Duration::from_secs(20), settled).await }).unwrap();
    assert_eq!(packaged.state(), BundleState::Broken);
}

#[test]
fn two_processes_that_start_at_once_leave_the_newer_package_in_force() {
    let (mut world, first, ana, _) = member();
    // The one with the older of the two packages is about to store when the other one does.
    let point = world.faults.hold(When::transact().key("c:"), Side::Before);
    let service = first.service.clone();
    let slow = first.spawn(async move {
        let file = file(Reader, VAULT_EAST);
        service.active_bindings.activate_stamped(&file, "20260301T070000Z").await.unwrap()
    });
    first.run(point.reached());
    world.revive();
    let second = world.start();
    assert_eq!(package(&second, &file(Reader, VAULT_WEST), THIS_MORNING), Activation::Stored);
    point.release();
    assert_eq!(first.run(slow).unwrap(), Activation::Older);
    second.settle();
    world.assert_holds(&ana, Reader, VAULT_WEST);
    assert!(!world.holds(&ana, Reader, VAULT_EAST));
}

#[test]
fn a_start_that_is_cut_off_anywhere_is_made_good_by_the_next() {
    let clean = {
        let (world, node, _, _) = member();
        world.faults.reset();
        package(&node, &file(Reader, VAULT_WEST), THIS_MORNING);
        world.faults.counts().requests
    };
    for n in 1..=clean {
        for side in [Side::Before, Side::After] {
            let (mut world, node, ana, _) = member();
            let point = world.faults.crash(When::any().nth(n), side);
            let service = node.service.clone();
            node.spawn(async move {
                service.active_bindings.activate_stamped(&file(Reader, VAULT_WEST), THIS_MORNING).await
            });
            node.run(point.reached());
            node.kill();
            world.revive();
            let node = world.start();
            let again = package(&node, &file(Reader, VAULT_WEST), THIS_MORNING);
            assert!(matches!(again, Activation::Stored | Activation::InForce), "{n} {side:?}: {again:?}");
            node.settle();
            world.assert_holds(&ana, Reader, VAULT_WEST);
            assert!(!world.holds(&ana, Operator, VAULT_EAST), "{n} {side:?}");
        }
    }
}

#[test]
fn an_answer_that_is_lost_when_storing_is_found_out() {
    for fault in [Fault::RequestLost, Fault::AnswerLost] {
        let (world, node, ana, _) = member();
        world.faults.inject(When::transact().key("c:"), fault.clone());
        assert_eq!(package(&node, &file(Reader, VAULT_WEST), THIS_MORNING), Activation::Stored, "{fault:?}");
        node.settle();
        world.assert_holds(&ana, Reader, VAULT_WEST);
    }
}
