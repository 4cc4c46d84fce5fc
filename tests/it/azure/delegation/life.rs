//! The service under the rights that are deployed with its file, and under those of another file.

use super::*;
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World};
use azure_backup_scim::rbac::BackupRole;
use azure_backup_scim::simulator::{CallMethod, HandMade, RecordedCall};

/// Longer than any pause between two looks at a person.
const LONGEST_PAUSE_SECONDS: u64 = 3700;
const BACKUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup";
const ALL_OF_IT: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

/// The deployment of the rights: they are what this file delegates, and nothing else.
fn deploy(world: &World, file: &str) {
    world.azure().set_own_rights(rights(file)).unwrap();
}

/// The program with this file starts, and whatever follows from that happens.
fn package(node: &Node, file: &str) {
    assert!(
        node.run(node.service.active_bindings.activate(file.as_bytes())).unwrap(),
        "another file is in force"
    );
    node.settle();
}

/// A service under its own file.
fn installed(file: &str) -> (World, Node) {
    let world = World::new();
    deploy(&world, file);
    let node = world.start();
    package(&node, file);
    (world, node)
}

/// The calls that Azure refused because of the rights.
fn forbidden(world: &World) -> Vec<RecordedCall> {
    world.azure().calls().into_iter().filter(|call| call.status == Some(403)).collect()
}

/// What Azure answers to a PUT with the identity's token, whoever sends it.
fn put(world: &World, node: &Node, scope: &str, role: &str) -> u16 {
    let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{}", Uuid::new_v4());
    let url = format!("{}{path}?api-version=2022-04-01", world.arm_url());
    let definition = format!("/providers/Microsoft.Authorization/roleDefinitions/{}", role_id(role));
    let properties =
        json!({ "roleDefinitionId": definition, "principalId": Uuid::new_v4(), "principalType": "User" });
    let body = json!({ "properties": properties });
    let sent = reqwest::Client::new().put(url).bearer_auth("anything").json(&body).send();
    node.run(sent).unwrap().status().as_u16()
}

fn delete(world: &World, node: &Node, scope: &str, name: Uuid) -> u16 {
    let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}");
    let url = format!("{}{path}?api-version=2022-04-01", world.arm_url());
    let sent = reqwest::Client::new().delete(url).bearer_auth("anything").send();
    node.run(sent).unwrap().status().as_u16()
}

#[test]
fn the_normal_life_never_meets_the_limit_of_the_deployed_rights() {
    let (world, node) = installed(&read("src/local/bindings.json"));
    let [operators, readers, admins, night] =
        ["vault-operators", "vault-readers", "backup-admins", "night-shift"].map(|name| node.group(name));
    let [ana, bo, cy, di] = ["ana", "bo", "cy", "di"].map(|name| node.provision(name));
    node.join(&operators, &[&ana, &cy]);
    node.join(&night, &[&ana]);
    node.join(&readers, &[&bo]);
    node.join(&admins, &[&cy, &di]);
    world.assert_holds(&ana, BackupRole::Operator, VAULT_EAST);
    world.assert_holds(&bo, BackupRole::Reader, VAULT_WEST);
    world.assert_holds(&cy, BackupRole::Operator, VAULT_EAST);
    world.assert_holds(&cy, BackupRole::Contributor, BACKUP);
    world.assert_holds(&di, BackupRole::Contributor, BACKUP);

    node.leave(&operators, &[&ana]);
    world.assert_holds(&ana, BackupRole::Operator, VAULT_EAST);
    node.leave(&night, &[&ana]);
    world.assert_holds_nothing(&ana);
    node.set_active(&bo, false);
    world.assert_holds_nothing(&bo);
    node.set_active(&bo, true);
    world.assert_holds(&bo, BackupRole::Reader, VAULT_WEST);
    node.delete_user(&cy);
    world.assert_holds_nothing(&cy);
    node.delete_group(&admins);
    node.settle();
    world.assert_holds_nothing(&di);

    world.pass(LONGEST_PAUSE_SECONDS);
    node.settle();
    assert_eq!(forbidden(&world), []);
    assert_eq!(world.azure().assignments().len(), 1, "bo's");
}

#[test]
fn a_binding_whose_role_left_the_file_is_still_revoked() {
    let before = file(&[("operators", OPERATOR, VAULT_EAST), ("readers", READER, VAULT_EAST)], &[]);
    let after = file(&[("readers", READER, VAULT_EAST)], &[]);
    let (world, node) = installed(&before);
    let (operators, readers) = (node.group("operators"), node.group("readers"));
    let (ana, bo, cy) = (node.provision("ana"), node.provision("bo"), node.provision("cy"));
    node.join(&operators, &[&ana, &cy]);
    node.join(&readers, &[&bo, &cy]);
    world.assert_holds(&ana, BackupRole::Operator, VAULT_EAST);

    deploy(&world, &after);
    assert_eq!(put(&world, &node, VAULT_EAST, OPERATOR), 403, "nobody can be given the role any more");
    world.azure().clear_calls();
    package(&node, &after);

    world.assert_holds_nothing(&ana);
    assert!(!world.holds(&cy, BackupRole::Operator, VAULT_EAST), "the role has left");
    world.assert_holds(&cy, BackupRole::Reader, VAULT_EAST);
    world.assert_holds(&bo, BackupRole::Reader, VAULT_EAST);
    assert_eq!(node.grants(&ana), []);
    assert_eq!(forbidden(&world), []);
}

#[test]
fn a_scope_that_is_retired_is_still_revoked_and_gives_nothing() {
    let before = file(&[("operators", OPERATOR, VAULT_EAST), ("readers", READER, VAULT_WEST)], &[]);
    let after = file(&[("readers", READER, VAULT_WEST)], &[VAULT_EAST]);
    let (world, node) = installed(&before);
    let (operators, readers) = (node.group("operators"), node.group("readers"));
    let (ana, bo, late) = (node.provision("ana"), node.provision("bo"), node.provision("late"));
    node.join(&operators, &[&ana, &bo]);
    node.join(&readers, &[&bo]);
    world.assert_holds(&ana, BackupRole::Operator, VAULT_EAST);

    deploy(&world, &after);
    for (role, _) in ROLES {
        assert_eq!(put(&world, &node, VAULT_EAST, role), 403, "{role}");
    }
    world.azure().clear_calls();
    package(&node, &after);
    node.join(&operators, &[&late]);

    world.assert_holds_nothing(&ana);
    world.assert_holds_nothing(&late);
    assert!(!world.holds(&bo, BackupRole::Operator, VAULT_EAST), "the scope has left");
    world.assert_holds(&bo, BackupRole::Reader, VAULT_WEST);
    world.pass(LONGEST_PAUSE_SECONDS);
    node.settle();
    assert_eq!(forbidden(&world), [], "the sweep may still look there");
}

/// A file that is in force before the rights that belong to it: what it adds waits, and nothing else does.
/// Facts: F-024, F-098.
#[test]
fn what_the_rights_do_not_cover_yet_is_said_retried_and_granted_once_they_follow() {
    let before = file(&[("operators", OPERATOR, VAULT_EAST)], &[]);
    let after = file(
        &[
            ("operators", OPERATOR, VAULT_EAST),
            ("admins", CONTRIBUTOR, VAULT_EAST),
            ("readers", READER, VAULT_WEST),
        ],
        &[],
    );
    let (world, node) = installed(&before);
    let [operators, admins, readers] = ["operators", "admins", "readers"].map(|name| node.group(name));
    let [ana, bo, cy] = ["ana", "bo", "cy"].map(|name| node.provision(name));
    node.join(&operators, &[&ana, &bo]);
    package(&node, &after);
    world.azure().clear_calls();

    node.join(&admins, &[&ana]);
    node.join(&readers, &[&cy]);
    let refused = ("failed".to_owned(), "not-authorized".to_owned());
    let held = ("held".to_owned(), "member".to_owned());
    let mut standing = node.grants(&ana);
    standing.sort();
    assert_eq!(standing, [refused.clone(), held.clone()]);
    assert_eq!(node.grants(&cy), std::slice::from_ref(&refused));
    assert!(!forbidden(&world).is_empty());

    // Revocations go on at once: of other people, and of the one who waits.
    node.leave(&operators, &[&bo]);
    world.assert_holds_nothing(&bo);
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
    assert_eq!(node.grants(&ana), std::slice::from_ref(&refused));
    node.join(&operators, &[&bo]);
    world.assert_holds(&bo, BackupRole::Operator, VAULT_EAST);

    // It is tried again, and still refused.
    let tries = |person: &Person| {
        let of =
            |call: &&RecordedCall| call.method == CallMethod::Put && call.principal == Some(person.principal);
        forbidden(&world).iter().filter(of).count()
    };
    let earlier = (tries(&ana), tries(&cy));
    assert_eq!(earlier, (1, 1), "what was refused is not sent again at once");
    world.pass(LONGEST_PAUSE_SECONDS);
    node.settle();
    assert!(tries(&ana) > earlier.0 && tries(&cy) > earlier.1, "tried again");
    assert_eq!(node.grants(&cy), [refused]);
    world.assert_holds_nothing(&cy);

    deploy(&world, &after);
    world.pass(LONGEST_PAUSE_SECONDS);
    node.settle();
    world.assert_holds(&ana, BackupRole::Contributor, VAULT_EAST);
    world.assert_holds(&cy, BackupRole::Reader, VAULT_WEST);
    assert_eq!(node.grants(&ana), std::slice::from_ref(&held));
    assert_eq!(node.grants(&cy), [held]);
}

/// Nobody loses a role because the rights for his next one are late; who leaves loses it at once all the same.
#[test]
fn a_binding_that_moved_ahead_of_its_rights_keeps_what_it_gave_and_lets_leavers_go() {
    let moving = |text: String, name: &str| text.replace(name, "moving");
    let before = moving(file(&[("operators", OPERATOR, VAULT_EAST)], &[]), "operators-backup-operator-east");
    let after =
        moving(file(&[("operators", OPERATOR, VAULT_WEST)], &[VAULT_EAST]), "operators-backup-operator-west");
    let (world, node) = installed(&before);
    let operators = node.group("operators");
    let (ana, bo) = (node.provision("ana"), node.provision("bo"));
    node.join(&operators, &[&ana, &bo]);
    package(&node, &after);
    let is_refused = |(_, reason): &(String, String)| reason == "not-authorized";
    for person in [&ana, &bo] {
        world.assert_holds(person, BackupRole::Operator, VAULT_EAST);
        let grants = node.grants(person);
        assert!(grants.iter().any(is_refused), "{grants:?}");
    }

    node.leave(&operators, &[&bo]);
    world.assert_holds_nothing(&bo);

    deploy(&world, &after);
    world.pass(LONGEST_PAUSE_SECONDS);
    node.settle();
    world.assert_holds(&ana, BackupRole::Operator, VAULT_WEST);
    assert!(!world.holds(&ana, BackupRole::Operator, VAULT_EAST), "the move is complete");
    world.assert_holds_nothing(&bo);
}

/// Fresh rights take minutes to arrive, missing ones may take for ever: the pauses grow.
#[test]
fn a_right_that_is_missing_for_an_hour_is_tried_less_and_less() {
    let deployed = file(&[("operators", OPERATOR, VAULT_EAST)], &[]);
    let asked = file(&[("operators", OPERATOR, VAULT_EAST), ("readers", READER, VAULT_WEST)], &[]);
    let (world, node) = installed(&deployed);
    package(&node, &asked);
    let readers = node.group("readers");
    let ana = node.provision("ana");
    node.join(&readers, &[&ana]);
    for _ in 0..60 {
        world.pass(60);
        node.run(node.service.tick.run()).unwrap();
    }
    let tried: Vec<_> = forbidden(&world)
        .into_iter()
        .filter(|call| call.method == CallMethod::Put)
        .map(|call| call.at)
        .collect();
    assert!((4..=10).contains(&tried.len()), "{tried:?}");
    let pauses: Vec<_> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted() && pauses.first() < pauses.last(), "{pauses:?}");
}

/// Whoever is refused does not come out of it holding something when he left in the meantime.
#[test]
fn who_left_while_he_was_refused_is_granted_nothing_when_the_rights_follow() {
    let before = file(&[("operators", OPERATOR, VAULT_EAST)], &[]);
    let after = file(&[("operators", OPERATOR, VAULT_EAST), ("readers", READER, VAULT_WEST)], &[]);
    let (world, node) = installed(&before);
    package(&node, &after);
    let readers = node.group("readers");
    let ana = node.provision("ana");
    node.join(&readers, &[&ana]);
    node.leave(&readers, &[&ana]);
    deploy(&world, &after);
    world.pass(LONGEST_PAUSE_SECONDS);
    node.settle();
    world.assert_holds_nothing(&ana);
    assert_eq!(node.grants(&ana), []);
}

/// Whoever took over the program, or the state with its snapshots, still has only what was deployed.
#[test]
fn a_snapshot_that_asks_for_more_than_was_deployed_gets_nothing_from_azure() {
    let deployed = file(&[("operators", OPERATOR, VAULT_EAST)], &[]);
    let greedy = file(
        &[
            ("operators", CONTRIBUTOR, VAULT_EAST),
            ("operators", OPERATOR, VAULT_WEST),
            ("operators", CONTRIBUTOR, BACKUP),
            ("operators", READER, ALL_OF_IT),
        ],
        &[],
    );
    let (world, node) = installed(&deployed);
    package(&node, &greedy);
    let operators = node.group("operators");
    let mallory = node.provision("mallory");
    node.join(&operators, &[&mallory]);
    world.pass(LONGEST_PAUSE_SECONDS);
    node.settle();
    world.assert_holds_nothing(&mallory);
    let grants = node.grants(&mallory);
    assert_eq!(grants.len(), 4);
    assert!(grants.iter().all(|(_, reason)| reason == "not-authorized"), "{grants:?}");

    for scope in [VAULT_EAST, VAULT_WEST, BACKUP, ALL_OF_IT] {
        for (role, _) in ROLES {
            let status = if (role, scope) == (OPERATOR, VAULT_EAST) { 201 } else { 403 };
            assert_eq!(put(&world, &node, scope, role), status, "{role} at {scope}");
        }
        let made = HandMade::new(Scope::parse(scope).unwrap(), "Owner", Uuid::new_v4());
        let owner = world.azure().make_assignment(&made).unwrap().name;
        assert_eq!(delete(&world, &node, scope, owner), 403, "Owner at {scope}");
    }
}
