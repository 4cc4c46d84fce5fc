//! A decision is about the people who were read: who belongs to the batch and is judged only later is not among them.

use super::{Stage, limited};
use crate::grants::plan::plan_now;
use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::Node;
use crate::support::requests::user_id;
use azure_backup_scim::app;
use azure_backup_scim::audit::{ChangeCause, ChangeOrigin};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::service::reconcile::{EffectLimits, Reconciler};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::store::batches::{self, BatchDecision, BatchState};
use azure_backup_scim::store::reconcile_queue::{ReconcileRequest, enqueue_now};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;

const NOTHING_INLINE: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

/// Looks at one person when the test says so.
fn reconciler(stage: &Stage, node: &Node) -> Reconciler {
    let service = &node.service;
    let clock = Arc::new(stage.world.clock.clone());
    let arm = app::arm(&stage.world.arm_url(), SecretString::from("simulated"), clock).unwrap();
    let (store, active_bindings) = (service.store.clone(), service.active_bindings.clone());
    Reconciler::new(store, arm, active_bindings, service.health.clone(), EffectLimits::default())
}

/// Ten people leave in one operation, and the first four of them are reconciled.
fn half_judged() -> (Stage, Node) {
    let stage = Stage::long_ago(40, limited(500, 50));
    let node = stage.world.start_with(NOTHING_INLINE);
    node.leave(&stage.group, &stage.people[..10].iter().collect::<Vec<_>>());
    let reconciler = reconciler(&stage, &node);
    for person in &stage.people[..4] {
        node.run(reconciler.reconcile(user_id(&person.id))).unwrap();
    }
    assert_eq!(stage.people_of(stage.batch()).len(), 4);
    (stage, node)
}

/// One of them cannot be reconciled for a while.
#[test]
fn a_batch_is_not_decided_while_people_of_its_operation_wait() {
    let (stage, node) = half_judged();
    let last = &stage.people[9];
    stage.world.faults.inject(When::page().key(&format!("l:{}", last.id)).always(), Fault::RequestLost);
    let _ = node.run(node.service.tick.run());
    assert_eq!(stage.people_of(stage.batch()).len(), 9);
    let order = node.place(node.reject_of(stage.batch()));
    let _ = node.run(node.service.tick.run());
    let outcome = node.outcome(order).unwrap();
    assert!(outcome.is_refused && outcome.detail.contains("still goes through"), "{outcome:?}");
    stage.world.faults.clear();
    // The person waits for a moment after the failures.
    stage.world.pass(60);
    stage.node.settle();
    assert_eq!(stage.people_of(stage.batch()).len(), 10);
    stage.reject();
    stage.assert_grant(9, "held", "kept-by-order");
}

/// A pause keeps six of them from being judged until the batch was decided: nobody has read them.
#[test]
fn who_is_judged_after_a_decision_is_held_in_a_batch_of_their_own() {
    for release in [false, true] {
        let (stage, node) = half_judged();
        node.carry_out(OrderVerb::Pause);
        stage.node.settle();
        let first = stage.batch();
        assert_eq!(stage.people_of(first).len(), 4);
        node.carry_out(if release { stage.node.release_of(first) } else { stage.node.reject_of(first) });
        node.carry_out(OrderVerb::Resume);
        stage.node.settle();
        assert_eq!(stage.holders(), if release { 36 } else { 40 });
        let second = stage.batch();
        assert_ne!(second, first);
        assert_eq!(stage.people_of(second).len(), 6);
        stage.assert_grant(9, "waiting", "held-by-breaker");
        stage.release();
        assert_eq!(stage.holders(), if release { 30 } else { 34 });
    }
}

/// The row of a batch as a decision leaves it, without what follows.
fn decide_by_hand(stage: &Stage, state: BatchState) {
    let store = &stage.node.service.store;
    let batch = stage.batches().pop().unwrap();
    let decision = BatchDecision { order: store.ids.op(), at: store.clock.now() };
    stage.node.run(store.transact_unjournaled(&[batches::decide(&batch, state, &decision)])).unwrap();
}

#[test]
fn a_plan_holds_those_who_were_not_read_whatever_was_decided() {
    for state in [BatchState::Released, BatchState::Rejected] {
        let (stage, node) = half_judged();
        decide_by_hand(&stage, state);
        assert_eq!(plan_now(&node).would_be_held(), (6, 0), "{state:?}");
    }
}

/// A batch is decided while another operation is about to join it.
#[test]
fn what_joins_a_batch_while_it_is_decided_is_held_in_another_one() {
    let stage = Stage::long_ago(60, limited(500, 50));
    stage.leave(0, 15);
    let first = stage.batch();
    let node = stage.world.start_with(NOTHING_INLINE);
    node.leave(&stage.group, &stage.people[15..30].iter().collect::<Vec<_>>());
    let reconciler = reconciler(&stage, &node);
    let user = user_id(&stage.people[15].id);
    // Read once to see whether it takes in more, and once more to join it.
    let point = stage.world.faults.hold(When::get().key("s:batch:").nth(2), Side::Before);
    let judged = node.spawn(async move { reconciler.reconcile(user).await });
    node.run(point.reached());
    decide_by_hand(&stage, BatchState::Released);
    point.release();
    node.run(judged).unwrap().unwrap();
    stage.node.settle();
    assert_eq!(stage.people_of(stage.batch()).len(), 15);
    assert_ne!(stage.batch(), first);
    // No job follows a row that was written by hand.
    assert_eq!(stage.holders(), 60);
}

/// The fan-out of a file that an operator agreed to meets people who left a group before: it did not take that from them.
#[test]
fn an_agreed_file_does_not_cover_removals_that_it_did_not_cause() {
    let stage = Stage::long_ago(20, limited(500, 50));
    let node = stage.world.start_with(NOTHING_INLINE);
    for person in &stage.people[..8] {
        node.leave(&stage.group, &[person]);
    }
    let op = node.service.store.ids.op();
    let file = ChangeOrigin { cause: ChangeCause::Snapshot, actor: "olga".to_owned(), op };
    assert!(file.is_agreed_file());
    for person in &stage.people[..8] {
        let request = ReconcileRequest::taking_away(file.clone());
        let writes = enqueue_now(user_id(&person.id), &request);
        node.run(node.service.store.transact_unjournaled(&writes)).unwrap();
    }
    stage.node.settle();
    assert_eq!((stage.holders(), stage.people_of(stage.batch()).len()), (15, 3));
}
