//! What concerns many people at once is done by one of them: probing a scope that refused, making room where a
//! subscription is full.

use super::{Pair, Process};
use crate::support::fault_injection::Side;
use crate::support::harness::{Node, Person, VAULT_EAST, World, binding};
use crate::support::rows::write;
use azure_backup_scim::id::UserId;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::rbac::Scope;
use azure_backup_scim::service::reconcile::RequestState;
use azure_backup_scim::simulator::{ArmLimits, CallMethod, FaultAction, FaultRule};
use azure_backup_scim::store::room_claims;
use uuid::Uuid;

/// Two people who hold the role of the one binding.
fn two_who_hold(pair: &Pair) -> (String, [Person; 2]) {
    let group = pair.one.node.group("operators");
    let people = ["ana", "ben"].map(|name| pair.one.node.provision(name));
    for person in &people {
        pair.one.node.join(&group, &[person]);
        pair.one.look(person);
        pair.world.assert_holds(person, Operator, VAULT_EAST);
    }
    pair.world.azure().clear_calls();
    (group, people)
}

/// Process one is about to open for ana, with a row of that kind in it; meanwhile process two opens for ben, and its
/// revocation is in hand. Then ana's open arrives.
fn race(pair: &Pair, [ana, ben]: &[Person; 2], row: &str) {
    pair.world.azure().clear_calls();
    let open = pair.one.hold_write(row, Side::Before);
    let first = pair.one.begin_look(ana);
    pair.one.reached(&open);
    let second = pair.begin_held(ben, CallMethod::Delete);
    open.release();
    pair.one.end(first);
    let revoked: Vec<Option<Uuid>> =
        pair.calls(CallMethod::Delete).into_iter().map(|call| call.principal).collect();
    assert_eq!(revoked, [Some(ben.principal)], "one of them is enough");
    pair.world.assert_holds(ana, Operator, VAULT_EAST);
    pair.deliver();
    pair.two.end(second);
    assert!(!pair.world.holds(ben, Operator, VAULT_EAST));
}

#[test]
fn a_scope_that_refused_is_probed_by_one_of_two() {
    let pair = Pair::new();
    let (group, people) = two_who_hold(&pair);
    let code = "ScopeLocked".to_owned();
    let lock =
        FaultAction::Fail { status: 409, code, message: None, retry_after_seconds: None, executed: false };
    pair.world.azure().add_rule(FaultRule::new(lock).method(CallMethod::Delete).times(1)).unwrap();
    pair.one.node.leave(&group, &[&people[0], &people[1]]);
    people.iter().for_each(|person| assert_eq!(pair.one.look(person).request, RequestState::Requeued));
    assert_eq!(pair.calls(CallMethod::Delete).len(), 1, "the other one waits for the first");
    pair.world.pass(60);
    people.iter().for_each(|person| pair.one.mark(person, "boss"));
    race(&pair, &people, "sb:");
    // The probe succeeded: the block is lifted.
    pair.one.mark(&people[0], "lead");
    pair.one.look(&people[0]);
    pair.world.assert_holds_nothing(&people[0]);
}

/// A subscription that holds as many assignments as it can, when the binding of both moves to another role.
fn full() -> (Pair, [Person; 2]) {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    let limits = ArmLimits { buckets: false, assignments_per_subscription: 2, ..ArmLimits::default() };
    world.azure().set_limits(limits).unwrap();
    let pair = Pair::on(world);
    let (_, people) = two_who_hold(&pair);
    pair.one.node.adopt(&[binding(1, "operators", Reader, VAULT_EAST)]);
    people.iter().for_each(|person| pair.one.mark(person, "boss"));
    (pair, people)
}

fn claimed_by(process: &Process) -> UserId {
    let claim = process.rows("s:room:");
    assert_eq!(claim.len(), 1, "{claim:?}");
    let text = format!("{:?}", claim[0].properties["user"]);
    UserId::parse(text.split('"').nth(1).unwrap()).unwrap()
}

/// The person who made room gets the place at the next look.
#[track_caller]
fn assert_moved(pair: &Pair, person: &Person) {
    pair.two.mark(person, "lead");
    pair.two.look(person);
    pair.world.assert_holds(person, Reader, VAULT_EAST);
}

#[test]
fn room_in_a_full_subscription_is_made_by_one_of_two() {
    let (pair, people) = full();
    race(&pair, &people, "s:room:");
    assert_moved(&pair, &people[1]);
    assert_eq!(pair.world.azure().assignments().len(), 2);
}

#[test]
fn a_claim_that_is_over_is_taken_by_one_of_two() {
    let (pair, people) = full();
    let subscription = Scope::parse(VAULT_EAST).unwrap().subscription().to_owned();
    let dead = UserId::new(Uuid::from_u128(9));
    claim(&pair.world, &pair.one.node, &subscription, dead);
    assert_eq!(claimed_by(&pair.one), dead);
    pair.world.pass(1000);
    race(&pair, &people, "s:room:");
    assert_moved(&pair, &people[1]);
}

fn claim(world: &World, node: &Node, subscription: &str, user: UserId) {
    let now = node.run(node.service.store.read("s:bindings")).unwrap().date;
    write(world, node, &[room_claims::claim(subscription, user, now, None)]);
}
