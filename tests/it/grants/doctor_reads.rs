//! What `doctor` reads of the state and of Azure: also where the ledger is over, and what cannot be read as just that.

use crate::support::harness::{Node, VAULT_EAST, World};
use crate::support::rows::{nonsense, of_a_later_release, quiet, write};
use azure_backup_scim::app;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::access::doctor::examine;
use azure_backup_scim::service::access::doctor::facts::{DoctorFacts, ServiceIdentity};
use azure_backup_scim::service::access::doctor::gather::{DoctorReaders, gather};
use azure_backup_scim::simulator;

/// In another subscription.
const VAULT_FAR: &str = "/subscriptions/00000000-0000-0000-0000-000000000002/resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/far";

fn facts(world: &World, node: &Node) -> DoctorFacts {
    let control = format!("{}/control", world.arm_url());
    let (access, directory) =
        (app::local_access_reader(&control).unwrap(), app::local_directory(&control).unwrap());
    let store = &node.service.store;
    let readers = DoctorReaders {
        store,
        orders: &node.orders,
        requests: &node.requests,
        is_simulated: false,
        access: access.as_ref(),
        directory: directory.as_ref(),
        secrets: None,
    };
    node.run(async {
        let pointer = store.pointer().await.unwrap();
        let snapshot = node.service.active_bindings.read(&pointer).await.unwrap();
        gather(&readers, &snapshot, None, &|_| {}).await.unwrap()
    })
}

#[test]
fn a_subscription_that_the_ledger_is_over_with_is_still_read() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("far", Reader, VAULT_FAR));
    world.azure().add_scope(&simulator::Scope::parse(VAULT_FAR).unwrap()).unwrap();
    let node = world.start();
    let ana = node.provision("ana");
    let groups = ["operators", "far"].map(|name| node.group(name));
    groups.iter().for_each(|group| node.join(group, &[&ana]));
    world.assert_holds(&ana, Reader, VAULT_FAR);
    node.leave(&groups[1], &[&ana]);
    assert!(!world.holds(&ana, Reader, VAULT_FAR));
    node.adopt(&world.bindings()[..1]);
    node.settle();

    let facts = facts(&world, &node);
    let scopes: Vec<&str> = facts.scopes.iter().map(|facts| facts.scope.as_str()).collect();
    assert_eq!(scopes, [VAULT_EAST]);
    let subscriptions: Vec<&str> = facts.subscriptions.iter().map(|facts| facts.id.as_str()).collect();
    assert_eq!(
        subscriptions,
        ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"]
    );
    assert!(matches!(facts.identity, ServiceIdentity::MadeOurs(_)), "{:?}", facts.identity);
}

#[test]
fn the_rows_of_ticks_and_sweeps_that_cannot_be_read_are_not_taken_for_good_news() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    node.settle();
    let work = facts(&world, &node).work;
    assert!(!work.overdue_unreadable && !work.sweep_unreadable, "{work:?}");
    assert!(work.counted.is_some() && work.swept.counted.is_some(), "{work:?}");
    for rows in [["s:sweep", "s:overdue"].map(nonsense), ["s:sweep", "s:overdue"].map(of_a_later_release)] {
        write(&world, &node, &rows);
        let facts = facts(&world, &node);
        assert!(facts.work.overdue_unreadable && facts.work.sweep_unreadable, "{:?}", facts.work);
        let found = examine(&facts).findings;
        let work: Vec<&str> = found
            .iter()
            .filter(|finding| finding.check == "work")
            .map(|finding| finding.level.as_str())
            .collect();
        assert_eq!(work, ["error", "error"]);
    }
}
