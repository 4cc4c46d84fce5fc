//! `explain`: why a person has, or has not, what a binding gives.

use crate::support::harness::{
    Node, Person, TICK_DEADLINE, VAULT_EAST, VAULT_WEST, World, binding, member_ids,
};
use crate::support::requests::user_id;
use crate::support::rows::{nonsense, quiet, write};
use azure_backup_scim::id::PrincipalId;
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::rbac::ReasonCode;
use azure_backup_scim::service::access::explain::{
    Answer, BindingAnswer, ExplainedBindings, Explanation, explain,
};
use azure_backup_scim::service::access::people::{find_people, find_people_ever};
use azure_backup_scim::service::access::preview::PersonState;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{self, LockLevel};
use serde_json::json;

/// A service with two bindings: operators at one vault, and readers of a department at another.
fn world() -> (World, Node) {
    let world = quiet(World::new());
    let node = world.start();
    let mut readers = binding(2, "readers", Reader, VAULT_WEST);
    readers["where"] = json!("title eq \"DBA\"");
    node.adopt(&[binding(1, "operators", Operator, VAULT_EAST), readers]);
    (world, node)
}

fn explained(node: &Node, id: &str) -> Explanation {
    let service = &node.service;
    node.run(async {
        let snapshot = service.active_bindings.read(&service.store.pointer().await.unwrap()).await.unwrap();
        explain(&service.store, snapshot, user_id(id)).await.unwrap().unwrap()
    })
}

fn answers(node: &Node, id: &str) -> Vec<BindingAnswer> {
    match explained(node, id).bindings {
        ExplainedBindings::Known(answers) => answers,
        other => panic!("{other:?}"),
    }
}

/// What is said of the first binding.
fn first(node: &Node, person: &Person) -> BindingAnswer {
    answers(node, &person.id).remove(0)
}

/// The code of what is said of the first binding, and whether the role is held.
#[track_caller]
fn check(node: &Node, person: &Person, code: &str, holds: bool) {
    let answer = first(node, person);
    assert_eq!((answer.answer.code(), answer.holds), (code, holds), "{answer:?}");
}

#[test]
fn who_is_in_no_group_is_told_which_group_it_is() {
    let (_world, node) = world();
    let ana = node.provision("ana");
    let answer = first(&node, &ana);
    let value = "operators".to_owned();
    assert_eq!(answer.answer, Answer::NoGroup { attribute: "externalId", value });
    node.group("operators");
    let group = "operators".to_owned();
    assert_eq!(first(&node, &ana).answer, Answer::NotMember { group, reason: None });
    let of_both = answers(&node, &ana.id);
    assert_eq!(of_both.iter().map(|answer| answer.binding.as_str()).collect::<Vec<_>>(), ["b1", "b2"]);
}

#[test]
fn who_holds_the_role_is_told_the_way_through_the_groups() {
    let (world, node) = world();
    let (operators, night, ana) = (node.group("operators"), node.group("night"), node.provision("ana"));
    node.nest(&operators, &night);
    node.join(&night, &[&ana]);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    let answer = first(&node, &ana);
    let way = "member of night, which is in operators".to_owned();
    assert_eq!(answer.answer, Answer::Wanted { way, reason: ReasonCode::Member });
    assert!(answer.holds && answer.since.is_some() && answer.still_held.is_none());
}

#[test]
fn a_condition_that_does_not_match_shows_what_it_read() {
    let (_world, node) = world();
    let (readers, ana) = (node.group("readers"), node.provision("ana"));
    node.join(&readers, &[&ana]);
    let second = || answers(&node, &ana.id).remove(1).answer;
    let Answer::NoMatch { condition, values } = second() else { panic!("{:?}", second()) };
    assert_eq!(condition, "title eq \"DBA\"");
    assert_eq!(values.into_iter().collect::<Vec<_>>(), [("title".to_owned(), None)]);
    node.patch_user(&ana.id, json!({"op": "replace", "path": "title", "value": "Clerk"}));
    let Answer::NoMatch { values, .. } = second() else { panic!("{:?}", second()) };
    assert_eq!(values["title"], Some(json!("Clerk")));
    node.patch_user(&ana.id, json!({"op": "replace", "path": "title", "value": "DBA"}));
    node.settle();
    assert_eq!(second().code(), "member");
}

#[test]
fn what_keeps_a_member_from_the_role_is_named() {
    let (world, node) = world();
    let operators = node.group("operators");
    let [ana, ben, cleo] = ["ana", "ben", "cleo"].map(|name| node.provision(name));
    let nobody = node.create_user(json!({"userName": "nobody"}));
    node.try_patch_group(&operators, member_ids("add", &[&nobody])).unwrap();
    node.join(&operators, &[&ana, &ben, &cleo]);
    node.settle();
    assert_eq!(answers(&node, &nobody)[0].answer.code(), "pending-principal");
    check(&node, &ana, "member", true);

    node.carry_out(OrderVerb::Revoke { principal: PrincipalId::new(ana.principal) });
    check(&node, &ana, "braked", false);

    // Whoever is no longer wanted and cannot be revoked still holds it.
    world.azure().add_lock(&simulator::Scope::parse(VAULT_EAST).unwrap(), LockLevel::CanNotDelete).unwrap();
    node.leave(&operators, &[&ben]);
    node.settle();
    let answer = first(&node, &ben);
    assert_eq!((answer.answer.code(), answer.holds), ("not-a-member", true));
    assert_eq!(answer.still_held, Some(ReasonCode::ScopeLocked));

    node.set_active(&cleo, false);
    node.settle();
    check(&node, &cleo, "inactive", true);
    assert_eq!(explained(&node, &cleo.id).state, PersonState::Inactive);
}

#[test]
fn a_deleted_person_is_found_by_the_name_they_had() {
    let (_world, node) = world();
    let (operators, ana) = (node.group("operators"), node.provision("Ana"));
    node.join(&operators, &[&ana]);
    node.delete_user(&ana);
    node.settle();
    let store = &node.service.store;
    assert_eq!(node.run(find_people(store, &[], "ana")).unwrap(), [], "an order never means the deleted");
    let found = node.run(find_people_ever(store, &[], "ana")).unwrap();
    assert_eq!(found.iter().map(|person| person.user).collect::<Vec<_>>(), [Some(user_id(&ana.id))]);
    let explanation = explained(&node, &ana.id);
    assert_eq!(explanation.state, PersonState::Deleted);
    assert_eq!(explanation.user_name.as_deref(), Some("Ana"));
    check(&node, &ana, "deleted", false);
}

#[test]
fn what_is_held_through_a_binding_that_is_gone_is_listed() {
    let (world, node) = world();
    let (operators, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&operators, &[&ana]);
    node.settle();
    world.azure().add_lock(&simulator::Scope::parse(VAULT_EAST).unwrap(), LockLevel::CanNotDelete).unwrap();
    node.adopt(&[binding(2, "readers", Reader, VAULT_WEST)]);
    node.settle();
    let others = explained(&node, &ana.id).others;
    assert_eq!(others.len(), 1);
    assert_eq!((others[0].binding.as_str(), others[0].holds), ("b1", true));
}

#[test]
fn who_keeps_the_role_by_an_order_is_told_so() {
    let (world, node) = world();
    let operators = node.group("operators");
    let people: Vec<Person> = ["ana", "ben", "cleo"].iter().map(|name| node.provision(name)).collect();
    node.join(&operators, &people.iter().collect::<Vec<_>>());
    node.settle();
    node.delete_group(&operators);
    node.settle();
    let batch = node.run(node.service.store.batches()).unwrap().each().next().unwrap().id;
    let held = first(&node, &people[0]);
    assert_eq!((held.holds, held.still_held), (true, Some(ReasonCode::HeldByBreaker)));
    node.carry_out(node.reject_of(batch));
    let kept = first(&node, &people[0]);
    assert_eq!((kept.answer.code(), kept.holds), ("no-group", true));
    assert_eq!(kept.still_held, Some(ReasonCode::KeptByOrder));
    world.assert_holds(&people[0], Operator, VAULT_EAST);
}

#[test]
fn what_is_held_at_a_scope_of_before_is_listed() {
    let (world, node) = world();
    let (operators, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&operators, &[&ana]);
    node.settle();
    world.azure().add_lock(&simulator::Scope::parse(VAULT_EAST).unwrap(), LockLevel::CanNotDelete).unwrap();
    node.adopt(&[binding(1, "operators", Operator, VAULT_WEST)]);
    node.settle();
    check(&node, &ana, "member", true);
    let others = explained(&node, &ana.id).others;
    assert_eq!(others.len(), 1, "{others:?}");
    assert_eq!((others[0].scope.as_str(), others[0].holds), (VAULT_EAST, true));
}

#[test]
fn two_users_of_one_object_id_are_a_conflict_that_someone_must_mend() {
    let (_world, node) = world();
    let (operators, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&operators, &[&ana]);
    let extension = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User";
    let body = json!({"userName": "ana-2", extension: {"entraObjectId": ana.principal.to_string()}});
    let double = node.create_user(body);
    node.try_patch_group(&operators, member_ids("add", &[&double])).unwrap();
    node.settle();
    let explanation = explained(&node, &double);
    assert!(explanation.waits_for.is_some());
    assert_eq!(answers(&node, &double)[0].answer.code(), "principal-conflict");
}

#[test]
fn a_binding_that_gives_nothing_new_says_so_to_members_and_others() {
    let (_world, node) = world();
    let operators = node.group("operators");
    let [ana, ben, cleo] = ["ana", "ben", "cleo"].map(|name| node.provision(name));
    node.join(&operators, &[&ana]);
    node.settle();
    node.try_patch_group(&operators, json!({"op": "replace", "path": "externalId", "value": "x"})).unwrap();
    node.join(&operators, &[&ben]);
    node.settle();
    check(&node, &ana, "member", true);
    check(&node, &ben, "binding-stale", false);
    let group = "operators".to_owned();
    let reason = Some(ReasonCode::BindingStale);
    assert_eq!(first(&node, &cleo).answer, Answer::NotMember { group, reason });
}

#[test]
fn without_bindings_that_can_be_read_nothing_is_said_of_them() {
    let world = quiet(World::new());
    let node = world.start();
    let ana = node.provision("ana");
    assert_eq!(explained(&node, &ana.id).bindings, ExplainedBindings::Absent);
    node.adopt(&[binding(1, "operators", Operator, VAULT_EAST)]);
    node.join(&node.group("operators"), &[&ana]);
    node.settle();
    for row in node.run(node.service.store.rows("c:", 10)).unwrap() {
        write(&world, &node, &[nonsense(&row.key)]);
    }
    let other = world.start_without_bindings(InlineLimits::default(), TICK_DEADLINE);
    let explanation = explained(&other, &ana.id);
    assert_eq!(explanation.bindings, ExplainedBindings::Unreadable);
    assert_eq!(explanation.others.len(), 1);
}
