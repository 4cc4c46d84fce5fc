//! Jobs of orders: they only make people be reconciled. Each step may be repeated.

use crate::id::{PrincipalId, UserId};
use crate::rbac::Scope;
use crate::rbac::ledger::LedgerEntry;
use crate::service::jobs::chunk::ChunkResult;
use crate::store::jobs::StoredJob;
use crate::store::ledger::{self, PrincipalHolder, StoredEntry};
use crate::store::ledger_walk::{LedgerPosition, LedgerRow};
use crate::store::reconcile_queue::{self, DueRequest, QueuePosition};
use crate::store::{StateStore, StoreError, TableWrite};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use time::macros::datetime;

/// Requests of later that one step promotes: three rows each.
const WAKE_ROWS: usize = 30;
/// People that one transaction enqueues: two rows each.
const PEOPLE_A_TRANSACTION: usize = 40;
/// Later than every request.
const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// Promotes the requests of later behind the job's position. What is requeued meanwhile lies ahead of it.
pub(super) async fn wake_waiting(store: &StateStore, job: &StoredJob) -> Result<ChunkResult, StoreError> {
    let after = match job.after.as_str() {
        "" => QueuePosition::default(),
        after => QueuePosition::behind(after),
    };
    let page = store.due_requests(&after, LAST, WAKE_ROWS).await?;
    let Some(last) = page.items.last().map(|item| item.row.key().to_owned()) else {
        return end(store, job).await;
    };
    let due: Vec<DueRequest> = page.items.into_iter().filter_map(|item| item.read.ok()).collect();
    let people = due.iter().map(|due| due.queued.user).collect();
    store.promote_requests(&due).await?;
    store.transact_unjournaled(&[job.go_on_after(&last)]).await?;
    Ok(ChunkResult { people, ..ChunkResult::default() })
}

/// Enqueues the record that holds an Entra object now.
pub(super) async fn wake_holder(
    store: &StateStore,
    job: &StoredJob,
    principal: PrincipalId,
) -> Result<ChunkResult, StoreError> {
    let people = match store.holder(principal).await? {
        PrincipalHolder::Record(user) => vec![user],
        PrincipalHolder::Free => Vec::new(),
        PrincipalHolder::Unreadable => return Err(job.failed_elements()),
    };
    let mut writes = vec![job.end()];
    writes.extend(people.iter().flat_map(|user| reconcile_queue::enqueue_now(*user, &job.request)));
    store.transact_unjournaled(&writes).await?;
    Ok(ChunkResult { people, ..ChunkResult::ended() })
}

/// Enqueues the people of one page of the ledger who have something at the scope.
pub(super) async fn wake_people_of_scope(
    store: &StateStore,
    job: &StoredJob,
    scope: &Scope,
) -> Result<ChunkResult, StoreError> {
    let mut pages = store.ledger_pages(&LedgerPosition::after_key(&job.after));
    let Some(rows) = pages.next().await? else { return end(store, job).await };
    let people = people_at(&rows, scope);
    for part in people.chunks(PEOPLE_A_TRANSACTION) {
        let writes: Vec<TableWrite> =
            part.iter().flat_map(|user| reconcile_queue::enqueue_now(*user, &job.request)).collect();
        store.transact_unjournaled(&writes).await?;
    }
    go_on(store, job, &rows, people).await
}

/// Unsettles the rows of one page that are at the scope: the reconcile of each person asks Azure by name, and closes them.
pub(super) async fn forget_scope(
    store: &StateStore,
    job: &StoredJob,
    scope: &Scope,
) -> Result<ChunkResult, StoreError> {
    let now = store.table_time().await?;
    let mut pages = store.ledger_pages(&LedgerPosition::after_key(&job.after));
    let Some(rows) = pages.next().await? else { return end(store, job).await };
    let people = people_at(&rows, scope);
    for owned in rows.iter().filter(|row| row.is_at(scope)).filter_map(|row| row.owned.as_ref()) {
        let StoredEntry { entry, etag, kept } = &owned.stored;
        let entry = LedgerEntry { unsettled_until: Some(now), written: now, ..entry.clone() };
        let mut writes = vec![ledger::write(owned.user, &entry, Some((etag, Some(kept))))];
        writes.extend(reconcile_queue::enqueue_now(owned.user, &job.request));
        match store.transact_unjournaled(&writes).await {
            // A row that changes meanwhile is being reconciled, and Azure answers there too.
            Ok(_) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    go_on(store, job, &rows, people).await
}

fn people_at(rows: &[LedgerRow], scope: &Scope) -> Vec<UserId> {
    let people: BTreeSet<UserId> =
        rows.iter().filter(|row| row.is_at(scope)).filter_map(|row| row.user).collect();
    people.into_iter().collect()
}

async fn go_on(
    store: &StateStore,
    job: &StoredJob,
    rows: &[LedgerRow],
    people: Vec<UserId>,
) -> Result<ChunkResult, StoreError> {
    if let Some(last) = rows.last() {
        store.transact_unjournaled(&[job.go_on_after(last.position.as_key())]).await?;
    }
    Ok(ChunkResult { people, ..ChunkResult::default() })
}

async fn end(store: &StateStore, job: &StoredJob) -> Result<ChunkResult, StoreError> {
    store.transact_unjournaled(&[job.end()]).await?;
    Ok(ChunkResult::ended())
}
