//! The faults that other tests order happen as ordered.

use crate::storage::tables::{insert, number, range};
use crate::support::clock::ManualClock;
use crate::support::fault_injection::{Counts, Fault, Faults, Side, When};
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::ports::tables::{KeyRange, TableError, TableOps};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use std::sync::Arc;
use std::time::Duration;

fn faults() -> Arc<Faults> {
    Faults::new(Arc::new(TableEngine::memory(Arc::new(ManualClock::at("2026-01-05T08:00:00Z")))))
}

async fn put(faults: &Faults, key: &str) -> Result<(), TableError> {
    faults.transact("p", &[insert(key, number(1))]).await.map(|_| ())
}

async fn is_there(faults: &Faults, key: &str) -> bool {
    faults.get("p", key).await.unwrap().value.is_some()
}

/// The number of rows of each page.
async fn page_lengths(faults: &Faults) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut whole = range("a", "z");
    loop {
        let page = faults.page("p", &whole).await.unwrap().value;
        lengths.push(page.rows.len());
        match page.continuation {
            Some(next) => whole = KeyRange { continuation: Some(next), ..whole },
            None => return lengths,
        }
    }
}

#[tokio::test]
async fn calls_made_together_are_one_deep() {
    let faults = faults();
    put(&faults, "a").await.unwrap();
    faults.reset();
    join_all((0..40).map(|_| is_there(&faults, "a"))).await;
    assert_eq!(
        faults.counts(),
        Counts { requests: 40, depth: 1, gets: 40, rows_read: 40, ..Counts::default() }
    );
    join(is_there(&faults, "b"), page_lengths(&faults)).await;
    put(&faults, "b").await.unwrap();
    let expected =
        Counts { requests: 43, depth: 3, gets: 41, pages: 1, transactions: 1, writes: 1, rows_read: 41 };
    assert_eq!(faults.counts(), expected);
}

#[tokio::test]
async fn a_lost_request_is_not_carried_out_and_a_lost_answer_is() {
    let faults = faults();
    faults.inject(When::transact(), Fault::RequestLost);
    assert!(matches!(put(&faults, "a").await, Err(TableError::Unknown { .. })));
    assert!(!is_there(&faults, "a").await);
    faults.inject(When::transact(), Fault::AnswerLost);
    assert!(matches!(put(&faults, "a").await, Err(TableError::Unknown { .. })));
    assert!(is_there(&faults, "a").await);
}

#[tokio::test]
async fn a_throttled_call_is_not_carried_out_and_names_the_wait() {
    let faults = faults();
    let retry_after = Duration::from_secs(3);
    faults.inject(When::any(), Fault::Throttled { retry_after });
    let refused = put(&faults, "a").await;
    assert!(matches!(refused, Err(TableError::Throttled {
retry_after: wait }) if wait == retry_after));
    assert!(!is_there(&faults, "a").await);
}

#[tokio::test]
async fn a_fault_meets_the_call_that_is_meant() {
    let faults = faults();
    faults.inject(When::transact().key("b").nth(2).times(2), Fault::RequestLost);
    let mut refused = Vec::new();
    for key in ["b1", "a1", "b2", "a2", "b3", "b4"] {
        if put(&faults, key).await.is_err() {
            refused.push(key);
        }
    }
    assert_eq!(refused, ["b2", "b3"]);
}

#[tokio::test]
async fn pages_are_short_or_empty_and_go_on() {
    let faults = faults();
    for key in ["a", "b", "c", "d", "e"] {
        put(&faults, key).await.unwrap();
    }
    assert_eq!(page_lengths(&faults).await, [5]);
    faults.inject(When::page().always(), Fault::ShortPage { rows_max: 2 });
    assert_eq!(page_lengths(&faults).await, [2, 2, 1]);
    faults.inject(When::page(), Fault::EmptyPage);
    faults.inject(When::page().nth(3).times(2), Fault::EmptyPage);
    assert_eq!(page_lengths(&faults).await, [0, 2, 0, 0, 2, 1]);
    faults.clear();
    assert_eq!(page_lengths(&faults).await, [5]);
}

#[tokio::test]
async fn a_call_is_held_before_it_is_carried_out() {
    let faults = faults();
    let point = faults.hold(When::transact(), Side::Before);
    let held = tokio::spawn({
        let faults = Arc::clone(&faults);
        async move { put(&faults, "a").await }
    });
    point.reached().await;
    assert!(!is_there(&faults, "a").await);
    point.release();
    held.await.unwrap().unwrap();
    assert!(is_there(&faults, "a").await);
}

#[tokio::test]
async fn a_call_is_held_after_it_was_carried_out() {
    let faults = faults();
    let point = faults.hold(When::transact(), Side::After);
    let (held, there) = join(put(&faults, "a"), async {
        point.reached().await;
        let there = is_there(&faults, "a").await;
        point.release();
        there
    })
    .await;
    held.unwrap();
    assert!(there);
}

#[tokio::test]
async fn after_a_crash_no_call_is_answered() {
    for (side, carried_out) in [(Side::Before, false), (Side::After, true)] {
        let engine = Arc::new(TableEngine::memory(Arc::new(ManualClock::at("2026-01-05T08:00:00Z"))));
        let faults = Faults::new(engine.clone());
        let point = faults.crash(When::transact().nth(2), side);
        put(&faults, "a").await.unwrap();
        let service = tokio::spawn({
            let faults = Arc::clone(&faults);
            async move { put(&faults, "b").await }
        });
        point.reached().await;
        assert!(!service.is_finished());
        service.abort();
        assert!(faults.get("p", "a").now_or_never().is_none());
        assert_eq!(engine.get("p", "b").await.unwrap().value.is_some(), carried_out);
    }
}

/// Facts: F-060.
#[tokio::test]
async fn a_delayed_transaction_arrives_after_its_caller_gave_up() {
    let faults = faults();
    let point = faults.delay(When::transact());
    assert!(matches!(put(&faults, "a").await, Err(TableError::Unknown { .. })));
    point.reached().await;
    assert!(!is_there(&faults, "a").await);
    point.release();
    point.reached().await;
    assert!(is_there(&faults, "a").await);
}
