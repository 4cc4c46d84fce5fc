//! A selector is pinned to one group: when exactly one living group matches it, and for as long as that group lives.

use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World, binding, caller};
use crate::support::requests::group_input;
use crate::support::rows::{delete, later, nonsense, quiet, write};
use azure_backup_scim::ports::tables::TableWrite;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::store::codec::RowFields;
use serde_json::{Value, json};
use uuid::Uuid;

fn operators() -> (World, Node) {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    (world, node)
}

/// A group whose name is not its externalId.
fn group(node: &Node, name: &str, external_id: &str) -> String {
    let body = json!({"displayName": name, "externalId": external_id});
    let projection = Projection::all(ResourceType::Group);
    node.run(node.service.provisioning.create_group(&caller(), &group_input(&body), &projection)).unwrap().id
}

fn rename(node: &Node, group: &str, path: &str, value: &str) {
    node.try_patch_group(group, json!({"op": "replace", "path": path, "value": value})).unwrap();
}

#[track_caller]
fn assert_refused(node: &Node, person: &Person, reason: &str) {
    assert_eq!(node.grants(person), [("refused".to_owned(), reason.to_owned())]);
}

fn by_name(name: &str, group: &str, role: &str, scope: &str) -> Value {
    json!({"name": name, "group": {"displayName": group, "allowDisplayName": true}, "role": role, "scope": scope})
}

#[test]
fn two_spellings_of_a_display_name_are_one_pin() {
    let world = quiet(World::new());
    let node = world.start();
    node.adopt(&[
        by_name("b1", "Ops", "Backup Operator", VAULT_EAST),
        by_name("b2", "ops", "Backup Reader", VAULT_EAST),
        binding(3, "other", Reader, VAULT_WEST),
    ]);
    let ops = node.group("OPS");
    let other = node.group("other");
    let ana = node.provision("ana");
    node.join(&other, &[&ana]);
    node.join(&ops, &[&ana]);
    node.leave(&other, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds(&ana, Reader, VAULT_EAST);
    assert!(!world.holds(&ana, Reader, VAULT_WEST));
    assert_eq!(node.run(node.service.store.rows("b:", 10)).unwrap().len(), 2);
}

#[test]
fn a_younger_group_whose_member_comes_first_does_not_take_the_binding_from_an_older_empty_one() {
    let (world, node) = operators();
    let older = node.group("operators");
    let younger = group(&node, "impostors", "operators");
    let ana = node.provision("ana");
    let eve = node.provision("eve");
    node.join(&younger, &[&eve]);
    node.join(&older, &[&ana]);
    assert_refused(&node, &eve, "binding-ambiguous");
    assert_refused(&node, &ana, "binding-ambiguous");
    assert!(node.run(node.service.store.rows("b:", 10)).unwrap().is_empty());
    let standing = node.service.health.snapshot();
    assert!(standing.is_finding() && standing.bindings_troubled == 1, "{standing:?}");

    rename(&node, &younger, "externalId", "something-else");
    later(&world, &node);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds_nothing(&eve);
}

#[test]
fn once_pinned_no_other_group_gives_anything_and_a_refused_one_inherits_only_alone() {
    let (world, node) = operators();
    let first = node.group("operators");
    let people = ["ana", "eve", "fay"].map(|name| node.provision(name));
    let [ana, eve, fay] = &people;
    node.join(&first, &[ana]);
    let claimants = [group(&node, "second", "operators"), group(&node, "third", "operators")];
    node.join(&claimants[0], &[eve]);
    node.join(&claimants[1], &[fay]);
    node.delete_group(&first);
    later(&world, &node);
    assert_eq!(world.azure().assignments().len(), 0, "two groups match");
    node.delete_group(&claimants[0]);
    later(&world, &node);
    world.assert_holds(fay, Operator, VAULT_EAST);
    world.assert_holds_nothing(eve);
}

#[test]
fn a_pinned_group_that_lost_the_value_gives_nothing_new_and_takes_nothing_from_its_members() {
    let (world, node) = operators();
    let pinned = node.group("operators");
    let people = ["ana", "ben", "cleo", "dora"].map(|name| node.provision(name));
    let [ana, ben, cleo, dora] = &people;
    node.join(&pinned, &[ana, ben]);
    rename(&node, &pinned, "externalId", "other");
    node.join(&pinned, &[cleo]);
    assert_refused(&node, cleo, "binding-stale");
    let heir = group(&node, "heir", "operators");
    node.join(&heir, &[dora]);
    assert_refused(&node, dora, "binding-ambiguous");
    // An assignment that is deleted in Azure is created again.
    world.assert_holds(ana, Operator, VAULT_EAST);
    let held =
        world.azure().assignments().into_iter().find(|held| held.principal_id == ana.principal).unwrap();
    world.azure().delete_assignment(held.name).unwrap();
    later(&world, &node);
    world.assert_holds(ana, Operator, VAULT_EAST);
    // Leavers go, and do not come back by it.
    node.leave(&pinned, &[ben]);
    world.assert_holds_nothing(ben);
    node.join(&pinned, &[ben]);
    world.assert_holds_nothing(ben);
    assert_refused(&node, ben, "binding-stale");

    rename(&node, &pinned, "externalId", "operators");
    later(&world, &node);
    world.assert_holds(cleo, Operator, VAULT_EAST);
    world.assert_holds_nothing(dora);
}

#[test]
fn a_display_name_whose_group_is_gone_is_not_pinned_anew_by_itself() {
    let world = quiet(World::new());
    let node = world.start();
    node.adopt(&[by_name("b1", "Ops", "Backup Operator", VAULT_EAST)]);
    let ana = node.provision("ana");
    let eve = node.provision("eve");
    let ops = node.group("ops");
    node.join(&ops, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    node.delete_group(&ops);
    let again = node.group("OPS");
    node.join(&again, &[&eve]);
    later(&world, &node);
    assert_refused(&node, &eve, "binding-ambiguous");
    assert_eq!(world.azure().assignments().len(), 0);
}

#[test]
fn an_index_row_that_a_deleted_group_left_behind_claims_nothing() {
    let (world, node) = operators();
    let index = |n: u128| TableWrite::Insert {
        key: format!("{}{}", crate::support::keys::group_external_prefix("operators"), Uuid::from_u128(n)),
        properties: RowFields::row().done(),
    };
    write(&world, &node, &(0..5).map(index).collect::<Vec<_>>());
    let ana = node.provision("ana");
    let operators = node.group("operators");
    node.join(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn an_index_row_of_a_group_that_does_not_carry_the_value_claims_nothing() {
    let (world, node) = operators();
    let other = node.group("other");
    let index = format!("{}{other}", crate::support::keys::group_external_prefix("operators"));
    write(&world, &node, &[TableWrite::Insert { key: index.clone(), properties: RowFields::row().done() }]);
    let ana = node.provision("ana");
    let ben = node.provision("ben");
    let operators = node.group("operators");
    node.join(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    // One whose header cannot be read may carry it.
    node.delete_group(&operators);
    write(&world, &node, &[nonsense(&format!("g:{other}"))]);
    let again = group(&node, "again", "operators");
    node.join(&again, &[&ben]);
    assert_refused(&node, &ben, "binding-ambiguous");
}

/// What a release without `bg:` rows left.
fn forget_leads(world: &World, node: &Node) {
    for row in node.run(node.service.store.rows("bg:", 100)).unwrap() {
        delete(world, node, &row.key);
    }
}

#[test]
fn the_pins_of_a_former_release_count_also_where_the_group_has_lost_the_value() {
    let (world, node) = operators();
    let pinned = node.group("operators");
    let ana = node.provision("ana");
    let ben = node.provision("ben");
    let cleo = node.provision("cleo");
    node.join(&pinned, &[&ana, &ben]);
    forget_leads(&world, &node);
    rename(&node, &pinned, "externalId", "other");
    world.assert_holds(&ana, Operator, VAULT_EAST);
    // Its holders have led back to it meanwhile.
    node.join(&pinned, &[&cleo]);
    assert_refused(&node, &cleo, "binding-stale");
    node.leave(&pinned, &[&ben]);
    world.assert_holds_nothing(&ben);

    // The end of the group reaches its heir too.
    forget_leads(&world, &node);
    let heir = group(&node, "heir", "operators");
    let dora = node.provision("dora");
    node.join(&heir, &[&dora]);
    node.delete_group(&pinned);
    node.settle();
    world.assert_holds(&dora, Operator, VAULT_EAST);
    world.assert_holds_nothing(&ana);
}

#[test]
fn who_reads_the_pins_of_a_person_reads_none_of_other_groups() {
    let (world, node) = operators();
    let ana = node.provision("ana");
    let operators = node.group("operators");
    node.join(&operators, &[&ana]);
    let pin = |n: u32| TableWrite::Insert {
        key: format!("b:{n:064}"),
        properties: RowFields::row()
            .text("attribute", "externalId")
            .text("value", n.to_string())
            .text("group", Uuid::from_u128(u128::from(n)).to_string())
            .done(),
    };
    write(&world, &node, &(0..5_002).map(pin).collect::<Vec<_>>());
    world.faults.reset();
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
    let counts = world.faults.counts();
    assert!(counts.rows_read < 100, "{counts:?}");
    // The same for the end of a group, and for a change of the bindings.
    node.join(&operators, &[&ana]);
    world.pass(60);
    world.faults.reset();
    node.adopt(&[binding(1, "operators", Reader, VAULT_EAST)]);
    node.settle();
    assert!(world.holds(&ana, Reader, VAULT_EAST) && !world.holds(&ana, Operator, VAULT_EAST));
    node.delete_group(&operators);
    world.assert_holds_nothing(&ana);
    let counts = world.faults.counts();
    assert!(counts.rows_read < 1000, "{counts:?}");
}

#[test]
fn a_change_of_bindings_works_beside_a_thousand_groups_that_share_one_bound_value() {
    let world = quiet(World::new().bind("shared", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start_with(InlineLimits { people_max: 0, ..InlineLimits::default() });
    let ana = node.provision("ana");
    let eve = node.provision("eve");
    let readers = node.group("readers");
    node.join(&readers, &[&ana]);
    node.settle();
    world.assert_holds(&ana, Reader, VAULT_WEST);
    node.join(&node.group("shared"), &[&eve]);
    node.settle();
    world.assert_holds(&eve, Operator, VAULT_EAST);
    for n in 0..1_005 {
        group(&node, &format!("shared {n}"), "shared");
        group(&node, &format!("sharing {n}"), "sharing");
    }
    // One index of names that cannot be read fails its own selector alone, too.
    write(&world, &node, &[nonsense(&crate::support::keys::group_name("broken"))]);
    world.pass(60);
    node.adopt(&[
        binding(1, "shared", Reader, VAULT_EAST),
        by_name("b3", "broken", "Backup Reader", VAULT_EAST),
    ]);
    node.settle();
    world.assert_holds_nothing(&ana);
    assert!(world.holds(&eve, Reader, VAULT_EAST) && !world.holds(&eve, Operator, VAULT_EAST));
    assert!(node.run(node.service.store.rows("i:", 10)).unwrap().is_empty(), "the job is done");
    assert_eq!(node.service.health.snapshot().quarantined, 0);

    // The same where no group of that value is pinned: its members are reconciled in some more ticks, and no one is granted
    // anything.
    node.adopt(&[binding(1, "readers", Reader, VAULT_WEST), binding(2, "sharing", Operator, VAULT_EAST)]);
    (0..3).for_each(|_| node.settle());
    world.assert_holds(&ana, Reader, VAULT_WEST);
    world.assert_holds_nothing(&eve);
}
