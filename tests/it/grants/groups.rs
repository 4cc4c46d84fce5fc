//! `groups`: which bindings mean which group.

use crate::support::harness::{Node, VAULT_EAST, VAULT_WEST, World, binding, caller};
use crate::support::requests::{group_id, group_input};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::access::groups::{GroupOverview, overview};
use serde_json::json;

fn read(node: &Node) -> GroupOverview {
    let service = &node.service;
    node.run(async {
        let snapshot = service.active_bindings.read(&service.store.pointer().await.unwrap()).await.unwrap();
        overview(&service.store, &snapshot).await.unwrap()
    })
}

/// The bindings of a group, each with why it gives nothing new.
fn bindings_of(overview: &GroupOverview, group: &str) -> Vec<(String, Option<String>)> {
    let group = overview.groups.iter().find(|found| found.id == group_id(group)).unwrap();
    let text = |(name, reason): &(azure_backup_scim::rbac::BindingName, Option<_>)| {
        let reason: &Option<azure_backup_scim::rbac::ReasonCode> = reason;
        (name.to_string(), reason.map(|reason| reason.to_string()))
    };
    group.bindings.iter().map(text).collect()
}

fn second_group(node: &Node, external_id: &str) -> String {
    let body = json!({"displayName": "another", "externalId": external_id});
    let projection = Projection::all(ResourceType::Group);
    node.run(node.service.provisioning.create_group(&caller(), &group_input(&body), &projection)).unwrap().id
}

#[test]
fn every_group_names_its_bindings_and_every_binding_without_a_group_is_named() {
    let node = World::new().start();
    node.adopt(&[
        binding(1, "operators", Operator, VAULT_EAST),
        binding(2, "operators", Reader, VAULT_WEST),
        binding(3, "missing", Reader, VAULT_EAST),
    ]);
    let (operators, other) = (node.group("operators"), node.group("other"));
    let found = read(&node);
    assert_eq!(bindings_of(&found, &operators), [("b1".to_owned(), None), ("b2".to_owned(), None)]);
    assert_eq!(bindings_of(&found, &other), []);
    // A group in a bound one is reached by its bindings.
    node.nest(&operators, &other);
    let nested = read(&node).groups.into_iter().find(|group| group.id == group_id(&other)).unwrap();
    assert_eq!(nested.above.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b1", "b2"]);
    let unmatched: Vec<(&str, &str)> =
        found.without_group.iter().map(|one| (one.binding.as_str(), one.value.as_str())).collect();
    assert_eq!(unmatched, [("b3", "missing")]);
}

#[test]
fn a_group_that_shares_or_lost_the_value_says_so() {
    let node = World::new().start();
    node.adopt(&[binding(1, "operators", Operator, VAULT_EAST)]);
    let (first, second) = (node.group("operators"), second_group(&node, "operators"));
    let ambiguous = [("b1".to_owned(), Some("binding-ambiguous".to_owned()))];
    for group in [&first, &second] {
        assert_eq!(bindings_of(&read(&node), group), ambiguous);
    }
    // Once it is pinned, the other one means nothing.
    node.run(node.service.provisioning.delete_group(&caller(), group_id(&second))).unwrap();
    node.join(&first, &[&node.provision("ana")]);
    node.settle();
    let second = second_group(&node, "operators");
    assert_eq!(bindings_of(&read(&node), &first), [("b1".to_owned(), None)]);
    assert_eq!(bindings_of(&read(&node), &second), []);
    node.try_patch_group(&first, json!({"op": "replace", "path": "externalId", "value": "x"})).unwrap();
    let stale = [("b1".to_owned(), Some("binding-stale".to_owned()))];
    assert_eq!(bindings_of(&read(&node), &first), stale);
}
