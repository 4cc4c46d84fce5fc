//! What operators order: pause and resume, the brake, and what gets a record or a scope out of a dead end.

use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::{
    Node, ORDERS, OWN, Person, TICK_DEADLINE, VAULT_EAST, VAULT_WEST, World, caller,
};
use crate::support::requests::{group_input, user_id};
use crate::support::rows::{delete, nonsense, quiet, write};
use azure_backup_scim::bindings::PrincipalSource;
use azure_backup_scim::id::{GroupId, PrincipalId, UserId};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::tables::{TableOps, TableWrite};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::rbac::{BindingName, Scope};
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::access::people::find_people;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{self, CallMethod, FaultAction, FaultRule};
use azure_backup_scim::store::codec::RowFields;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

const HOUR: u64 = 3600;
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

fn operators() -> (World, Node) {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    (world, node)
}

fn principal(person: &Person) -> PrincipalId {
    PrincipalId::new(person.principal)
}

fn user(person: &Person) -> UserId {
    user_id(&person.id)
}

fn revoke(person: &Person) -> OrderVerb {
    OrderVerb::Revoke { principal: principal(person) }
}

fn lift(person: &Person) -> OrderVerb {
    OrderVerb::Lift { principal: principal(person) }
}

fn is_paused(node: &Node) -> bool {
    node.service.health.snapshot().paused.is_some()
}

#[track_caller]
fn assert_waits(node: &Node, person: &Person, reason: &str) {
    assert_eq!(node.grants(person), [("waiting".to_owned(), reason.to_owned())]);
}

#[test]
fn a_pause_stops_grants_and_what_memberships_take_away_until_resume() {
    let (world, node) = operators();
    let group = node.group("operators");
    let [ana, ben] = ["ana", "ben"].map(|name| node.provision(name));
    node.join(&group, &[&ana]);
    node.carry_out(OrderVerb::Pause);
    assert!(is_paused(&node) && node.service.health.snapshot().is_finding());

    node.join(&group, &[&ben]);
    node.leave(&group, &[&ana]);
    world.pass(2 * HOUR);
    node.settle();
    world.assert_holds_nothing(&ben);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_waits(&node, &ana, "paused");
    assert_waits(&node, &ben, "paused");
    let overdue = node.service.health.snapshot().overdue;
    assert_eq!((overdue.people, overdue.held_back), (0, 1), "{overdue:?}");

    node.carry_out(OrderVerb::Resume);
    assert!(!is_paused(&node));
    world.assert_holds(&ben, Operator, VAULT_EAST);
    world.assert_holds_nothing(&ana);
}

#[test]
fn a_pause_keeps_nobody_who_leaves() {
    let (world, node) = operators();
    let group = node.group("operators");
    let [ana, ben, cem] = ["ana", "ben", "cem"].map(|name| node.provision(name));
    node.join(&group, &[&ana, &ben, &cem]);
    node.carry_out(OrderVerb::Pause);
    node.set_active(&ana, false);
    node.delete_user(&ben);
    world.assert_holds_nothing(&ana);
    world.assert_holds_nothing(&ben);
    node.carry_out(revoke(&cem));
    world.assert_holds_nothing(&cem);
}

#[test]
fn who_left_a_group_under_a_pause_and_is_deactivated_then_loses_the_role_at_once() {
    let (world, node) = operators();
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    node.carry_out(OrderVerb::Pause);
    node.leave(&group, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    node.set_active(&ana, false);
    world.assert_holds_nothing(&ana);
}

#[test]
fn an_order_that_changes_nothing_is_refused_and_says_why() {
    let (_world, node) = operators();
    let ana = node.provision("ana");
    let refused = |verb| {
        let outcome = node.order(verb);
        assert!(outcome.is_refused, "{outcome:?}");
        outcome.detail
    };
    assert_eq!(refused(OrderVerb::Resume), "the service is not paused");
    assert_eq!(refused(lift(&ana)), "the object id is not braked");
    node.carry_out(OrderVerb::Pause);
    node.carry_out(revoke(&ana));
    assert_eq!(refused(OrderVerb::Pause), "the service is paused already");
    assert_eq!(refused(revoke(&ana)), "the object id is braked already");
    let kinds: Vec<_> = node.audit_of("order-refused").iter().map(|change| change["verb"].clone()).collect();
    assert_eq!(kinds, [json!("resume"), json!("lift"), json!("pause"), json!("revoke")]);
}

#[test]
fn a_brake_takes_every_role_and_no_push_and_no_new_record_gives_one_until_it_is_lifted() {
    let world = quiet(
        World::new()
            .bind("operators", Operator, VAULT_EAST)
            .bind("readers", Reader, VAULT_EAST)
            .bind("west", Reader, VAULT_WEST)
            .bind("more", Operator, VAULT_WEST),
    );
    let node = world.start();
    let groups = ["operators", "readers", "west", "more"].map(|name| node.group(name));
    let ana = node.provision("ana");
    for group in &groups[..3] {
        node.join(group, &[&ana]);
    }
    node.carry_out(revoke(&ana));
    world.assert_holds_nothing(&ana);
    assert!(node.grants(&ana).iter().all(|(state, reason)| state == "refused" && reason == "braked"));
    assert_eq!(node.service.health.snapshot().brakes, 1);

    node.join(&groups[3], &[&ana]);
    world.assert_holds_nothing(&ana);
    // A second record with the same object id.
    let twin = node.provision_as("ana-2", ana.principal);
    node.join(&groups[0], &[&twin]);
    // A record that is deleted and made again.
    node.delete_user(&ana);
    let again = node.provision_as("ana", ana.principal);
    node.join(&groups[1], &[&again]);
    for _ in 0..3 {
        world.pass(2 * HOUR);
        node.settle();
        world.assert_holds_nothing(&ana);
    }

    node.delete_user(&twin);
    node.carry_out(lift(&ana));
    world.assert_holds(&ana, Reader, VAULT_EAST);
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
}

#[test]
fn a_brake_revokes_also_who_cannot_be_read_and_while_the_bindings_cannot() {
    for broken in ["u:", "c:"] {
        let (world, node) = operators();
        let group = node.group("operators");
        let ana = node.provision("ana");
        node.join(&group, &[&ana]);
        let key = node.run(node.service.store.rows(broken, 10)).unwrap()[0].key.clone();
        write(&world, &node, &[nonsense(&key)]);
        node.kill();
        let node = world.start_without_bindings(InlineLimits::default(), TICK_DEADLINE);
        node.carry_out(revoke(&ana));
        world.assert_holds_nothing(&ana);
    }
}

#[test]
fn a_brake_on_an_object_id_that_no_record_has_meets_the_record_that_takes_it_later() {
    let (world, node) = operators();
    let group = node.group("operators");
    let id = Uuid::new_v4();
    node.carry_out(OrderVerb::Revoke { principal: PrincipalId::new(id) });
    let ana = node.provision_as("ana", id);
    node.join(&group, &[&ana]);
    world.assert_holds_nothing(&ana);
    assert_eq!(node.grants(&ana), [("refused".to_owned(), "braked".to_owned())]);
}

#[test]
fn an_accepted_identity_grants_again_and_only_the_one_that_the_operator_saw() {
    let (world, node) = operators();
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    let change = |principal: Uuid| {
        let value = json!({OWN: {"entraObjectId": principal.to_string()}});
        node.patch_user(&ana.id, json!({"op": "replace", "value": value}));
    };
    let (second, third) = (Uuid::new_v4(), Uuid::new_v4());
    change(second);
    assert_eq!(node.grants(&ana), [("refused".to_owned(), "identity-changed".to_owned())]);
    world.assert_holds_nothing(&ana);

    let accept =
        |principal| OrderVerb::AcceptIdentity { user: user(&ana), principal: PrincipalId::new(principal) };
    assert_eq!(node.order(accept(third)).detail, "the user's object id is not the one that the order names");
    node.carry_out(accept(second));
    world.assert_holds(&Person { id: ana.id.clone(), principal: second }, Operator, VAULT_EAST);
    world.assert_holds_nothing(&ana);
    assert_eq!(node.order(accept(second)).detail, "the user's object id is accepted already");
}

fn group_named(node: &Node, name: &str, external_id: &str) -> String {
    let body = json!({"displayName": name, "externalId": external_id});
    let projection = Projection::all(ResourceType::Group);
    node.run(node.service.provisioning.create_group(&caller(), &group_input(&body), &projection)).unwrap().id
}

#[test]
fn a_repin_gives_the_role_to_the_members_of_the_other_group_alone() {
    let (world, node) = operators();
    let old = node.group("operators");
    let [ana, ben] = ["ana", "ben"].map(|name| node.provision(name));
    node.join(&old, &[&ana]);
    let new = group_named(&node, "successors", "operators");
    node.join(&new, &[&ben]);
    world.assert_holds_nothing(&ben);

    let repin = |group: &str| OrderVerb::Repin {
        binding: BindingName::parse("b1").unwrap(),
        group: GroupId::parse(group).unwrap(),
    };
    node.carry_out(repin(&new));
    world.assert_holds(&ben, Operator, VAULT_EAST);
    world.assert_holds_nothing(&ana);
    assert_eq!(node.order(repin(&new)).detail, "the binding is pinned to that group already");
    let other = node.group("unrelated");
    let refused = node.order(repin(&other)).detail;
    assert_eq!(refused, "the group does not exist, or does not carry the value of the binding's selector");
}

#[test]
fn a_retry_ends_the_pauses_of_a_person_and_of_a_scope() {
    let by_person = |ana: &Person| OrderVerb::RetryPerson { user: user(ana) };
    let by_scope = |_: &Person| OrderVerb::RetryScope { scope: Scope::parse(VAULT_EAST).unwrap() };
    let retries: [&dyn Fn(&Person) -> OrderVerb; 2] = [&by_person, &by_scope];
    for (retry, code) in
        retries.iter().flat_map(|retry| [(retry, "ScopeLocked"), (retry, "PrincipalNotFound")])
    {
        let (world, node) = operators();
        let group = node.group("operators");
        let ana = node.provision("ana");
        let status = if code == "ScopeLocked" { 409 } else { 400 };
        let code = code.to_owned();
        let refusal =
            FaultAction::Fail { status, code, message: None, retry_after_seconds: None, executed: false };
        world.azure().add_rule(FaultRule::new(refusal).method(CallMethod::Put)).unwrap();
        node.join(&group, &[&ana]);
        for _ in 0..8 {
            world.pass(2 * HOUR);
            node.settle();
        }
        world.azure().clear_rules();
        node.settle();
        world.assert_holds_nothing(&ana);
        node.carry_out(retry(&ana));
        world.assert_holds(&ana, Operator, VAULT_EAST);
    }
}

#[test]
fn a_retry_of_nobody_is_refused() {
    let (_world, node) = operators();
    let outcome = node.order(OrderVerb::RetryPerson { user: UserId::new(Uuid::new_v4()) });
    assert_eq!(
        (outcome.is_refused, outcome.detail.as_str()),
        (true, "the user does not exist, or cannot be read")
    );
}

/// Facts: F-016.
#[test]
fn a_scope_that_is_gone_is_forgotten_and_one_that_is_there_is_not() {
    let (world, node) = operators();
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    let forget = || OrderVerb::Forget { scope: Scope::parse(VAULT_EAST).unwrap() };
    assert_eq!(node.order(forget()).detail, "azure does not say that the scope is gone: the scope exists");
    assert_eq!(node.grants(&ana), [("held".to_owned(), "member".to_owned())]);

    world.azure().remove_scope(&simulator::Scope::parse(VAULT_EAST).unwrap()).unwrap();
    node.carry_out(forget());
    assert_eq!(node.grants(&ana), [("failed".to_owned(), "scope-not-found".to_owned())]);
    let states: Vec<_> = node.run(node.service.store.ledger_of_all()).unwrap();
    assert!(states.iter().all(|row| row["state"] == "gone"), "{states:?}");
    assert!(node.order(forget()).is_refused, "there is nothing left to forget");
}

#[test]
fn a_retry_of_a_scope_where_nothing_failed_is_refused() {
    let (world, node) = operators();
    let (group, ana) = (node.group("operators"), node.provision("ana"));
    node.join(&group, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    for scope in [VAULT_EAST, "/subscriptions/00000000-0000-0000-0000-00000000000f"] {
        let outcome = node.order(OrderVerb::RetryScope { scope: Scope::parse(scope).unwrap() });
        assert!(outcome.is_refused, "{outcome:?}");
    }
}

#[test]
fn an_order_is_carried_out_once_also_where_another_one_undid_it_since() {
    let (_world, node) = operators();
    let id = node.place(OrderVerb::Pause);
    let placed = node.run(node.orders.placed(10)).unwrap().remove(0).order.unwrap();
    node.settle();
    assert!(is_paused(&node));
    node.carry_out(OrderVerb::Resume);
    // The row comes back: its delete was lost.
    node.run(node.orders.place(&placed)).unwrap();
    node.settle();
    assert!(!is_paused(&node));
    assert_eq!(node.run(node.orders.placed(10)).unwrap().len(), 0);
    assert!(!node.outcome(id).unwrap().is_refused);
}

#[test]
fn a_row_that_is_no_order_is_refused_or_removed_and_the_others_go_on() {
    let (world, node) = operators();
    let place = |key: &str, verb: &str, because: &str| {
        let row = RowFields::row()
            .text("verb", verb)
            .text("target", "")
            .text("who", "olga")
            .text("because", because);
        let insert = TableWrite::Insert { key: key.to_owned(), properties: row.done() };
        node.run(world.faults.transact(ORDERS, &[insert])).unwrap();
    };
    place("00000000-not-an-id", "pause", "no id");
    place("00000000-0000-4000-8000-000000000001", "pause", "an id without a time");
    let ids: Vec<_> = (0..3).map(|_| node.service.store.ids.op()).collect();
    place(&ids[0].to_string(), "adopt", "a later release");
    place(&ids[1].to_string(), "pause", "  ");
    place(&ids[2].to_string(), "pause", "this one is good");
    node.settle();
    assert!(is_paused(&node));
    let details = ids.iter().map(|id| node.outcome(*id).unwrap().detail).collect::<Vec<_>>();
    assert_eq!(details[0], "this release knows no order \"adopt\"");
    assert_eq!(details[1], "the reason is missing: say why");
    assert_eq!(node.run(node.orders.placed(10)).unwrap().len(), 0);
}

#[test]
fn orders_that_cannot_be_read_turn_health_and_nothing_else() {
    let (world, node) = operators();
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    // The settings are the first page that a tick reads, and the orders the second.
    world.faults.inject(When::page().nth(2), Fault::RequestLost);
    node.run(node.service.tick.run()).unwrap();
    assert!(node.service.health.snapshot().orders_unreadable);
    assert!(node.service.health.snapshot().is_finding());
    node.run(node.service.tick.run()).unwrap();
    assert!(!node.service.health.snapshot().orders_unreadable);
}

#[test]
fn an_order_whose_row_cannot_be_removed_ends_no_tick_and_is_not_repeated() {
    let (world, node) = operators();
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    let order = node.place(OrderVerb::Pause);
    // The service may read orders, and not delete them.
    world.faults.inject(When::transact().key(&order.to_string()).always(), Fault::RequestLost);
    node.run(node.service.tick.run()).unwrap();
    assert!(is_paused(&node) && node.service.health.snapshot().orders_unreadable);
    node.set_active(&ana, false);
    node.run(node.service.tick.run()).unwrap();
    world.assert_holds_nothing(&ana);
    assert_eq!(node.audit_of("order-carried-out").len(), 1);
}

/// A grant is opened, and before it is sent another process sets a lever.
fn set_before_the_call(
    verb: impl Fn(&Person) -> OrderVerb,
    joins: impl Fn(&Node, &Person),
) -> (World, Node, Person) {
    let mut world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start_with(TICKS_ONLY);
    let ana = node.provision("ana");
    joins(&node, &ana);
    world.azure().clear_calls();
    // The settings are read for the orders, for the plan, and before the call.
    let point = world.faults.hold(When::page().key("s:").nth(3), Side::Before);
    let tick = node.service.tick.clone();
    let running = node.spawn(async move { tick.run().await });
    node.run(point.reached());
    world.revive();
    let other = world.start_without_bindings(InlineLimits::default(), TICK_DEADLINE);
    other.carry_out(verb(&ana));
    point.release();
    node.run(running).unwrap().unwrap();
    node.kill();
    (world, other, ana)
}

fn join_operators(node: &Node, ana: &Person) {
    let group = node.group("operators");
    node.join(&group, &[ana]);
}

#[test]
fn a_brake_or_a_pause_that_is_set_while_a_grant_is_open_keeps_it_from_being_sent() {
    for verb in [|ana: &Person| revoke(ana), |_: &Person| OrderVerb::Pause] {
        let (world, _node, _) = set_before_the_call(verb, join_operators);
        let sent = world.azure().calls().into_iter().filter(|call| call.method == CallMethod::Put).count();
        assert_eq!(sent, 0);
    }
}

#[test]
fn a_brake_meets_a_record_that_takes_the_object_id_while_the_brake_is_committed() {
    let mut world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start_with(TICKS_ONLY);
    node.settle();
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    // The object id is free: the reconcile takes it in a transaction of its own.
    let held = format!("l:{}:pin:{}", ana.id, ana.principal);
    for key in [format!("p:{}", ana.principal), held] {
        delete(&world, &node, &key);
    }
    let order = node.place(revoke(&ana));
    // The order has read that nobody holds it, and is about to be committed.
    let point = world.faults.hold(When::transact().key(&format!("o:{order}")), Side::Before);
    let tick = node.service.tick.clone();
    let running = node.spawn(async move { tick.run().await });
    node.run(point.reached());
    world.revive();
    let other = world.start();
    // The other process takes the object id and grants meanwhile.
    other.leave(&group, &[&ana]);
    other.join(&group, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    point.release();
    node.run(running).unwrap().unwrap();
    other.settle();
    world.assert_holds_nothing(&ana);
}

#[test]
fn under_a_pause_a_change_of_where_the_object_id_is_read_takes_nothing() {
    let (world, node) = operators();
    let group = node.group("operators");
    let principal = Uuid::new_v4();
    let body = json!({"userName": "ana", "externalId": principal.to_string()});
    let ana = Person { id: node.create_user(body), principal };
    node.join(&group, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    node.carry_out(OrderVerb::Pause);
    let file = json!({"version": 1, "principal": {"from": ["entraObjectId"]}, "bindings": world.bindings()});
    node.run(node.service.active_bindings.activate(file.to_string().as_bytes())).unwrap();
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    node.carry_out(OrderVerb::Resume);
    world.assert_holds_nothing(&ana);
}

#[test]
fn a_wake_up_ends_though_everyone_waits_again() {
    let (world, node) = operators();
    let group = node.group("operators");
    node.carry_out(OrderVerb::Pause);
    let people: Vec<Person> = (0..70).map(|n| node.provision(&format!("p{n}"))).collect();
    for part in people.chunks(20) {
        node.join(&group, &part.iter().collect::<Vec<_>>());
    }
    node.settle();
    // Ended and begun again in one tick: the wake-up meets a pause.
    node.place(OrderVerb::Resume);
    node.place(OrderVerb::Pause);
    world.pass(1);
    node.settle();
    assert!(is_paused(&node));
    assert!(node.run(node.service.store.rows("i:", 10)).unwrap().is_empty());
    node.carry_out(OrderVerb::Resume);
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
}

#[test]
fn a_record_that_names_the_object_id_of_another_does_not_lend_it_to_an_order() {
    let (_world, node) = operators();
    let [victim, thief] = ["victim", "thief"].map(|name| node.provision(name));
    let value = json!({OWN: {"entraObjectId": victim.principal.to_string()}});
    node.patch_user(&thief.id, json!({"op": "replace", "value": value}));
    let fresh = node.provision_as("fresh", victim.principal);
    let principals = |name: &str| {
        let sources = [PrincipalSource::EntraObjectId, PrincipalSource::ExternalId];
        let found = node.run(find_people(&node.service.store, &sources, name)).unwrap();
        assert_eq!(found.len(), 1);
        found[0].principals.iter().copied().collect::<Vec<_>>()
    };
    assert_eq!(principals("thief"), [principal(&thief)]);
    assert_eq!(principals("fresh"), []);
    assert_eq!(principals(&fresh.id), []);
    assert_eq!(principals("victim"), [principal(&victim)]);
}

#[test]
fn a_repin_of_a_whole_team_is_not_held_by_a_breaker() {
    let (world, node) = operators();
    let old = node.group("operators");
    let people: Vec<Person> = (0..12).map(|n| node.provision(&format!("p{n}"))).collect();
    node.join(&old, &people.iter().collect::<Vec<_>>());
    let new = group_named(&node, "successors", "operators");
    let binding = BindingName::parse("b1").unwrap();
    node.carry_out(OrderVerb::Repin { binding, group: GroupId::parse(&new).unwrap() });
    people.iter().for_each(|person| world.assert_holds_nothing(person));
}

#[test]
fn the_names_of_a_deleted_user_are_erased_once_and_those_of_a_living_one_never() {
    let (_world, node) = operators();
    let ana = node.provision("ana");
    let erase = || OrderVerb::Erase { user: user(&ana) };
    let names = || node.run(node.service.store.kept_user_name(user(&ana))).unwrap();
    let records = node.audit().len();
    let refused = node.order(erase());
    assert!(refused.is_refused && refused.detail.contains("the user exists"), "{refused:?}");
    assert_eq!(names().as_deref(), Some("ana"));
    node.delete_user(&ana);
    assert_eq!(names().as_deref(), Some("ana"));
    node.carry_out(erase());
    assert_eq!(names(), None);
    assert!(node.order(erase()).is_refused);
    // The record of the order says of whom, and those of before are all there.
    let last = node.audit_of("order-carried-out").pop().unwrap();
    assert_eq!((&last["verb"], &last["target"]), (&json!("erase"), &json!(ana.id)));
    assert!(
        node.audit().len() > records
            && node.audit().iter().all(|change| !change.to_string().contains("\"ana\""))
    );
}
