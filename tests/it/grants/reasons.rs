//! Why a role went, as the audit tells it.

use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::quiet;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use serde_json::json;

/// The reasons of the last revocation of a person.
fn reasons(node: &Node, person: &Person) -> Vec<String> {
    let opened = node.audit_of("effect-opened");
    let last =
        opened.iter().rfind(|change| change["person"] == person.id && change["wanted"] == false).unwrap();
    last["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}

fn world() -> World {
    quiet(World::new().bind("operators", Operator, VAULT_EAST)).without_limits_on_revocations()
}

fn granted(node: &Node) -> (String, Person) {
    let (group, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&group, &[&ana]);
    (group, ana)
}

#[test]
fn a_membership_that_ended_is_told() {
    let world = world();
    let node = world.start();
    let (group, ana) = granted(&node);
    node.leave(&group, &[&ana]);
    assert_eq!(reasons(&node, &ana), ["no group of the user gives it any more"]);
}

#[test]
fn a_condition_that_is_no_longer_met_is_told() {
    let mut world = world();
    let node = world.start();
    let (_, ana) = granted(&node);
    let mut bindings = world.bindings().to_vec();
    bindings[0]["where"] = json!("title eq \"DBA\"");
    node.patch_user(&ana.id, json!({"op": "add", "path": "title", "value": "DBA"}));
    node.settle();
    world.pass(60);
    node.adopt(&bindings);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    node.patch_user(&ana.id, json!({"op": "replace", "path": "title", "value": "Clerk"}));
    node.settle();
    world.assert_holds_nothing(&ana);
    assert_eq!(reasons(&node, &ana), ["the user no longer meets the `where` of binding b1"]);
    world.revive();
}

#[test]
fn a_binding_that_changed_or_went_is_told() {
    for (bindings, expected) in [
        (
            vec![("operators", Reader, VAULT_EAST)],
            "binding b1 gives another role, or at another scope, by now",
        ),
        (vec![], "binding b1 was taken out of the bindings"),
    ] {
        let mut world = world().bind("others", Reader, VAULT_WEST);
        let node = world.start();
        let (_, ana) = granted(&node);
        world.rebind(&bindings);
        let kept = json!({"name": "others", "group": {"externalId": "others"}, "role": "Backup Reader", "scope": VAULT_WEST});
        let file = [world.bindings(), &[kept]].concat();
        world.pass(60);
        node.adopt(&file);
        node.settle();
        assert_eq!(reasons(&node, &ana), [expected]);
    }
}
