//! What only looks like a name is another name: a person with it is refused, a group with it is not the bound one, and a
//! value with it fulfils no condition.

use crate::support::harness::{Node, Person, VAULT_EAST, World, binding, caller};
use crate::support::requests::{group_input, user_input};
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::ServiceError;
use serde_json::{Value, json};

/// Each hides in a text without being seen, or sets it apart from another by nothing that is.
const HIDDEN: [char; 12] = [
    '\u{AD}',
    '\u{34F}',
    '\u{115F}',
    '\u{180E}',
    '\u{200B}',
    '\u{202E}',
    '\u{2028}',
    '\u{2060}',
    '\u{3164}',
    '\u{FEFF}',
    '\u{FFF9}',
    '\u{E0061}',
];

fn create_user(node: &Node, name: &str) -> Result<String, ServiceError> {
    let all = Projection::all(ResourceType::User);
    let body = json!({"userName": name});
    node.run(node.service.provisioning.create_user(&caller(), &user_input(&body), &all)).map(|user| user.id)
}

fn create_group(node: &Node, body: Value) -> String {
    let all = Projection::all(ResourceType::Group);
    node.run(node.service.provisioning.create_group(&caller(), &group_input(&body), &all)).unwrap().id
}

#[test]
fn a_user_name_that_hides_something_is_refused() {
    let world = World::new();
    let node = world.start();
    for hidden in HIDDEN {
        let refused = create_user(&node, &format!("ana{hidden}@contoso.example")).unwrap_err();
        assert!(matches!(refused, ServiceError::Scim(error) if error.status == 400), "{hidden:?}");
    }
    create_user(&node, "ana❤\u{FE0F}@contoso.example").expect("an emoji may choose its looks");
}

/// The one binding, of the group that `selector` names.
fn bound(selector: Value) -> (World, Node) {
    let world = World::new();
    let node = world.start();
    let mut one = binding(1, "", Operator, VAULT_EAST);
    one["group"] = selector;
    node.adopt(&[one]);
    (world, node)
}

#[track_caller]
fn gives(selector: Value, group: Value, expected: bool) {
    let (world, node) = bound(selector.clone());
    let ana = node.provision("ana");
    node.join(&create_group(&node, group.clone()), &[&ana]);
    node.settle();
    assert_eq!(world.holds(&ana, Operator, VAULT_EAST), expected, "{selector} {group}");
}

#[test]
fn a_group_that_looks_like_the_bound_one_gives_nothing() {
    let by_id = || json!({"externalId": "operators"});
    let by_name = || json!({"displayName": "Vault Operators", "allowDisplayName": true});
    gives(by_id(), json!({"displayName": "a", "externalId": "operators"}), true);
    for other in ["operators\u{200B}", "\u{FEFF}operators", "Operators"] {
        gives(by_id(), json!({"displayName": "a", "externalId": other}), false);
    }
    gives(by_name(), json!({"displayName": "VAULT operators"}), true);
    for other in ["Vault\u{2060} Operators", "Vault Operators ", "Ｖault Operators", "Vault\u{A0}Operators"]
    {
        gives(by_name(), json!({"displayName": other}), false);
    }
}

#[test]
fn the_honest_group_takes_the_binding_that_a_look_alike_stood_for() {
    let (world, node) = bound(json!({"externalId": "operators"}));
    let (mallory, ana) = (node.provision("mallory"), node.provision("ana"));
    let join = |external: &str, person: &Person| {
        let name = format!("group of {}", person.id);
        let group = create_group(&node, json!({"displayName": name, "externalId": external}));
        node.join(&group, &[person]);
    };
    join("oper\u{200B}ators", &mallory);
    join("operators", &ana);
    node.settle();
    world.assert_holds_nothing(&mallory);
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_value_that_looks_like_the_one_that_is_asked_for_fulfils_no_condition() {
    for (title, expected) in [("dba", true), ("D\u{200B}BA", false), (" DBA", false), ("ＤＢＡ", false)] {
        let world = World::new();
        let node = world.start();
        let mut one = binding(1, "operators", Operator, VAULT_EAST);
        one["where"] = json!("title eq \"DBA\"");
        node.adopt(&[one]);
        let ana = node.provision("ana");
        node.patch_user(&ana.id, json!({"op": "replace", "path": "title", "value": title}));
        node.join(&node.group("operators"), &[&ana]);
        assert_eq!(world.holds(&ana, Operator, VAULT_EAST), expected, "{title:?}");
    }
}
