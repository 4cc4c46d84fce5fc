//! What others gave at the bound scopes and above them: seen by sweeps, recorded where it changes, never touched.

use crate::support::fault_injection::{Fault, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::{nonsense, quiet, write};
use azure_backup_scim::app;
use azure_backup_scim::id::PrincipalId;
use azure_backup_scim::rbac::BackupRole::{Contributor, Operator, Reader};
use azure_backup_scim::service::access::assignments::given_by_others;
use azure_backup_scim::simulator::{
    self, CallMethod, CustomRole, FaultAction, FaultRule, HandMade, PrincipalType, RolePermission,
};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

const HOUR: u64 = 3600;
const OWNER: &str = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";

/// The next sweep, and what the audit says that it saw.
fn swept(world: &World, node: &Node) -> Vec<(String, String, String)> {
    let known = node.audit_of("foreign-access-seen").len();
    world.pass(HOUR);
    node.settle();
    let text = |change: &Value, name: &str| change[name].as_str().unwrap().to_owned();
    let seen = node.audit_of("foreign-access-seen");
    seen[known..]
        .iter()
        .map(|seen| (text(seen, "seen"), text(seen, "role"), text(seen, "principal")))
        .collect()
}

fn seen(what: &str, role: &str, who: Uuid) -> (String, String, String) {
    (what.to_owned(), role.to_owned(), who.to_string())
}

fn somebody() -> Person {
    Person { id: String::new(), principal: Uuid::new_v4() }
}

fn give(world: &World, scope: &str, role: &str, who: &Person) -> Uuid {
    let made = HandMade::new(simulator::Scope::parse(scope).unwrap(), role, who.principal);
    world.azure().make_assignment(&made).unwrap().name
}

fn subscription_of(scope: &str) -> String {
    scope.split('/').take(3).collect::<Vec<_>>().join("/")
}

fn count_in_health(node: &Node) -> Value {
    app::health_report(&node.service)["foreignAssignments"].clone()
}

/// A service that has granted something.
fn started(world: &World) -> Node {
    let node = world.start();
    let (readers, ben) = (node.group("readers"), node.provision("ben"));
    node.join(&readers, &[&ben]);
    node
}

fn world() -> World {
    quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST))
}

#[test]
fn what_others_give_is_recorded_once_where_it_appears_and_where_it_goes() {
    let world = world();
    let node = started(&world);
    swept(&world, &node);
    assert_eq!(count_in_health(&node), 0);
    let (eve, owner, reader) = (somebody(), somebody(), somebody());
    let by_hand = world.hand_made(&eve, Contributor, VAULT_EAST);
    give(&world, &subscription_of(VAULT_EAST), OWNER, &owner);
    // Gives no verb, and is no backup role.
    give(&world, VAULT_EAST, "Reader", &reader);
    let mut found = swept(&world, &node);
    found.sort();
    let (contributor, owns) =
        (seen("appeared", "Backup Contributor", eve.principal), seen("appeared", "Owner", owner.principal));
    assert_eq!(found, [contributor, owns]);
    assert_eq!(count_in_health(&node), 1, "the inherited one is no finding");
    assert_eq!(swept(&world, &node), []);
    world.azure().delete_assignment(by_hand).unwrap();
    assert_eq!(swept(&world, &node), [seen("gone", "Backup Contributor", eve.principal)]);
    assert_eq!(count_in_health(&node), 0);
    assert_eq!(swept(&world, &node), []);
    let last = node.audit_of("foreign-access-seen").pop().unwrap();
    assert_eq!(last["verbs"].as_array().unwrap().len(), 4);
    assert_eq!((&last["record"]["cause"], &last["record"]["actor"]), (&"sweep".into(), &"service".into()));
}

#[test]
fn what_this_service_gives_is_not_taken_for_somebody_elses() {
    let world = world();
    let node = world.start();
    let (operators, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(swept(&world, &node), []);
    // Nor where the ledger has lost it.
    let row = format!("l:{}:", ana.id);
    let rows = node.run(node.service.store.rows(&row, 10)).unwrap();
    let entry = rows.iter().find(|row| row.properties.contains_key("state")).unwrap();
    crate::support::rows::delete(&world, &node, &entry.key);
    assert_eq!(swept(&world, &node), []);
}

#[test]
fn a_scope_that_leaves_the_bindings_is_no_longer_watched() {
    let mut world = world();
    let node = started(&world);
    let (eve, owner) = (somebody(), somebody());
    world.hand_made(&eve, Contributor, VAULT_WEST);
    give(&world, &subscription_of(VAULT_EAST), OWNER, &owner);
    assert_eq!(swept(&world, &node).len(), 2);
    world.rebind(&[("operators", Operator, VAULT_EAST)]);
    world.pass(60);
    let node = world.start();
    // The subscription is above the vault that is left.
    assert_eq!(swept(&world, &node), [seen("unwatched", "Backup Contributor", eve.principal)]);
}

#[test]
fn where_azure_does_not_answer_nothing_is_taken_for_gone() {
    let world = world();
    let node = started(&world);
    let eve = somebody();
    world.hand_made(&eve, Contributor, VAULT_EAST);
    assert_eq!(swept(&world, &node).len(), 1);
    let refused = FaultAction::Fail {
        status: 403,
        code: "AuthorizationFailed".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    // The sweep's own lists of the two scopes are answered.
    let rule = FaultRule::new(refused).method(CallMethod::List).skip(2);
    let rule = world.azure().add_rule(rule).unwrap();
    assert_eq!(swept(&world, &node), []);
    let health = app::health_report(&node.service);
    assert_eq!((&health["foreignAssignments"], &health["scopesUnsurveyed"]), (&1.into(), &2.into()));
    world.azure().remove_rule(rule).unwrap();
    assert_eq!(swept(&world, &node), []);
    assert_eq!(count_in_health(&node), 1);
}

#[test]
fn a_person_who_leaves_still_shows_what_somebody_else_gave() {
    let world = world();
    let node = world.start();
    let (operators, ana) = (node.group("operators"), node.provision("ana"));
    let by_hand = world.hand_made(&ana, Operator, VAULT_EAST);
    node.join(&operators, &[&ana]);
    assert_eq!(node.grants(&ana), [("held-by-other".to_owned(), "foreign-assignment".to_owned())]);
    assert_eq!(swept(&world, &node).len(), 1);
    node.leave(&operators, &[&ana]);
    node.settle();
    let grants = node.grants_of(&ana);
    assert_eq!(grants.len(), 1, "{grants:?}");
    assert_eq!((&grants[0]["wanted"], &grants[0]["holds"]), (&false.into(), &true.into()));
    assert_eq!((&grants[0]["state"], &grants[0]["binding"]), (&"held-by-other".into(), &"b1".into()));
    world.azure().delete_assignment(by_hand).unwrap();
    swept(&world, &node);
    assert_eq!(node.grants_of(&ana), Vec::<Value>::new());
}

/// What cannot be read or recorded hurts nothing but this.
#[test]
fn damage_and_faults_of_these_rows_end_no_sweep() {
    let world = world();
    let node = started(&world);
    let eve = somebody();
    world.hand_made(&eve, Contributor, VAULT_EAST);
    write(&world, &node, &[nonsense(&format!("fa:{}:nonsense:x", eve.principal))]);
    assert_eq!(swept(&world, &node).len(), 1);
    world.faults.inject(When::page().key("fa:").always(), Fault::RequestLost);
    let (operators, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&operators, &[&ana]);
    let name =
        world.azure().assignments().iter().find(|held| held.principal_id == ana.principal).unwrap().name;
    world.azure().delete_assignment(name).unwrap();
    assert_eq!(swept(&world, &node), []);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

/// A role that cannot be read is no backup role, or what it gives stays as it was.
#[test]
fn definitions_that_cannot_be_read_make_no_finding_and_lose_none() {
    let world = world();
    let node = started(&world);
    let (eve, owner) = (somebody(), somebody());
    world.hand_made(&eve, Contributor, VAULT_EAST);
    assert_eq!(swept(&world, &node).len(), 1);
    let late = world.start();
    give(&world, VAULT_EAST, OWNER, &owner);
    let lost = FaultRule::new(FaultAction::LoseRequest).method(CallMethod::Get);
    let rule = world.azure().add_rule(lost).unwrap();
    // This process has read no definition yet.
    assert_eq!(swept(&world, &late), []);
    assert_eq!(count_in_health(&late), 1);
    assert_ne!(app::health_report(&late.service)["scopesUnsurveyed"], 0);
    world.azure().remove_rule(rule).unwrap();
    assert_eq!(swept(&world, &late), [seen("appeared", "Owner", owner.principal)]);
}

#[test]
fn what_was_made_at_a_vault_goes_with_it() {
    let world = world();
    let node = started(&world);
    let (eve, owner) = (somebody(), somebody());
    world.hand_made(&eve, Contributor, VAULT_EAST);
    give(&world, &subscription_of(VAULT_EAST), OWNER, &owner);
    assert_eq!(swept(&world, &node).len(), 2);
    world.azure().remove_scope(&simulator::Scope::parse(VAULT_EAST).unwrap()).unwrap();
    assert_eq!(swept(&world, &node), [seen("gone", "Backup Contributor", eve.principal)]);
}

#[test]
fn before_the_first_grant_others_are_seen_too() {
    let world = world();
    let node = world.start();
    let eve = somebody();
    world.hand_made(&eve, Contributor, VAULT_EAST);
    assert_eq!(swept(&world, &node), [seen("appeared", "Backup Contributor", eve.principal)]);
    // And what this service gives from now on is its own.
    let (operators, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(swept(&world, &node), []);
}

#[test]
fn bindings_that_cannot_be_read_make_a_sweep_forget_nothing() {
    let world = world();
    let node = started(&world);
    let eve = somebody();
    world.hand_made(&eve, Contributor, VAULT_EAST);
    assert_eq!(swept(&world, &node).len(), 1);
    write(&world, &node, &[nonsense("s:bindings")]);
    let late = world.start();
    assert_eq!(swept(&world, &late), []);
    assert_eq!(late.run(late.service.store.foreign_access()).unwrap().len(), 1);
}

#[test]
fn a_scope_that_could_not_be_surveyed_is_counted() {
    let world = world();
    let node = started(&world);
    swept(&world, &node);
    assert_eq!(app::health_report(&node.service)["scopesUnsurveyed"], 0);
    world.faults.inject(When::page().key("fa:").always(), Fault::RequestLost);
    swept(&world, &node);
    assert_eq!(app::health_report(&node.service)["scopesUnsurveyed"], 2);
}

#[test]
fn a_wait_that_azure_asks_of_the_survey_is_stored_for_every_process() {
    let world = world();
    let node = started(&world);
    swept(&world, &node);
    let throttle = FaultAction::Throttle { retry_after_seconds: Some(120) };
    // The sweep's own lists of the two scopes are answered.
    world.azure().add_rule(FaultRule::new(throttle).method(CallMethod::List).skip(2)).unwrap();
    let before = world.azure().calls().len();
    swept(&world, &node);
    let calls = world.azure().calls();
    let throttled = calls[before..].iter().filter(|call| call.status == Some(429)).count();
    assert_eq!(throttled, 1, "the other scope is not asked for");
    assert_eq!(app::health_report(&node.service)["scopesUnsurveyed"], 2);
    assert_eq!(node.run(node.service.store.rows("s:throttle:", 10)).unwrap().len(), 1);
}

/// Each process keeps definitions for a day; what is recorded is what one of them has read just now.
#[test]
fn a_definition_that_changed_is_recorded_once_however_many_processes_sweep() {
    let world = world();
    let custom = |action: &str| CustomRole {
        id: Uuid::from_u128(77),
        role_name: "Restorer".to_owned(),
        description: String::new(),
        assignable_scopes: vec![simulator::Scope::parse(VAULT_EAST).unwrap()],
        permissions: vec![RolePermission::actions(&[action])],
    };
    const RESTORE: &str = "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/\
                           recoveryPoints/restore/action";
    const POLICY: &str = "Microsoft.RecoveryServices/vaults/backupPolicies/write";
    world.azure().set_custom_role(custom(RESTORE)).unwrap();
    let node = started(&world);
    let eve = somebody();
    give(&world, VAULT_EAST, "Restorer", &eve);
    assert_eq!(swept(&world, &node), [seen("appeared", "Restorer", eve.principal)]);
    world.azure().set_custom_role(custom(POLICY)).unwrap();
    let late = world.start();
    assert_eq!(swept(&world, &late), [seen("changed", "Restorer", eve.principal)]);
    assert_eq!(swept(&world, &node), [], "this one has an older definition in memory");
    assert_eq!(swept(&world, &late), []);
    let access = node.run(node.service.store.foreign_access()).unwrap().remove(0);
    assert_eq!(access.verbs.unwrap().names(), ["change-policy@recovery-services"]);
}

/// A right to assign roles is the service's own only where its condition narrows it to the backup roles.
#[test]
fn a_right_to_give_any_role_is_a_finding_whatever_its_condition_says() {
    let world = world();
    let node = started(&world);
    swept(&world, &node);
    let right_of = |role: &str, condition: &str| {
        let scope = simulator::Scope::parse(VAULT_EAST).unwrap();
        let mut made = HandMade::new(scope, role, Uuid::new_v4());
        made.principal_type = Some(PrincipalType::ServicePrincipal);
        made.condition = Some(condition.to_owned());
        made.condition_version = Some("2.0".to_owned());
        world.azure().make_assignment(&made).unwrap();
    };
    let right = |condition: &str| right_of("Role Based Access Control Administrator", condition);
    let clause_of = |action: &str, source: &str, roles: &str| {
        format!(
            "((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/{action}'}})) OR \
             (@{source}[Microsoft.Authorization/roleAssignments:RoleDefinitionId] {roles}))"
        )
    };
    let ours = format!("ForAnyOfAnyValues:GuidEquals {{{}}}", Operator.definition_id());
    let clause = |action: &str, source: &str| clause_of(action, source, &ours);
    let narrow = format!("{} AND {}", clause("write", "Request"), clause("delete", "Resource"));
    right(&narrow);
    // As at a retired scope, where nothing may be given any more.
    let nothing = "ForAnyOfAnyValues:GuidEquals {00000000-0000-0000-0000-000000000000}";
    right(&format!("{} AND {}", clause_of("write", "Request", nothing), clause("delete", "Resource")));
    assert_eq!(swept(&world, &node).len(), 2);
    assert_eq!(count_in_health(&node), 0);
    let but_nothing = "ForAnyOfAllValues:GuidNotEquals {00000000-0000-0000-0000-000000000000}";
    let wide = [("write", "Request"), ("delete", "Resource")]
        .map(|(action, source)| clause_of(action, source, but_nothing));
    right(&wide.join(" AND "));
    right(&clause("write", "Request"));
    right("@Principal[id] ForAnyOfAnyValues:GuidEquals @Principal[id]");
    // The condition narrows role assignments alone, and this role can do more.
    right_of("User Access Administrator", &narrow);
    assert_eq!(swept(&world, &node).len(), 4);
    assert_eq!(count_in_health(&node), 4);
}

#[test]
fn rows_about_others_that_cannot_be_read_are_counted_for_who_asks_about_a_person() {
    let world = world();
    let node = started(&world);
    let eve = PrincipalId::new(somebody().principal);
    let subscription = subscription_of(VAULT_EAST).rsplit('/').next().unwrap().to_owned();
    write(&world, &node, &[nonsense(&format!("fa:{eve}:{}:{subscription}", Uuid::new_v4()))]);
    let (given, unreadable) = node.run(given_by_others(&node.service.store, &BTreeSet::from([eve]))).unwrap();
    assert_eq!((given.len(), unreadable), (0, 1));
}
