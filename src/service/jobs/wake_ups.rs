//! Jobs of orders: they only make people be reconciled. Each step may be repeated.

use crate::events::log_event;
use crate::id::{OpId, PrincipalId, UserId};
use crate::rbac::Scope;
use crate::rbac::ledger::LedgerEntry;
use crate::service::jobs::chunk::ChunkResult;
use crate::service::join_reads::join_reads;
use crate::store::jobs::StoredJob;
use crate::store::ledger::{self, PrincipalHolder, StoredEntry};
use crate::store::ledger_walk::{LedgerPosition, LedgerRow, OwnedEntry};
use crate::store::reconcile_queue::{self, DueRequest, QueuePosition};
use crate::store::{StateStore, StoreError, TableWrite};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use time::macros::datetime;

/// Requests of later that one step promotes: three rows each.
const WAKE_ROWS: usize = 30;
/// Steps of one wake-up, for 60,000 requests: what is requeued meanwhile must not keep it going.
const WAKE_STEPS_MAX: i64 = 2000;
/// People that one transaction enqueues: two rows each.
const PEOPLE_A_TRANSACTION: usize = 40;
/// People of a batch of one step: three rows each, where their requests of later are promoted.
const HELD_A_STEP: usize = 30;
/// Ledger rows that one transaction unsettles, beside two rows for each person.
const UNSETTLED_A_TRANSACTION: usize = 30;
/// Later than every request.
const LAST: OffsetDateTime = datetime!(9999-12-31 23:59:59 UTC);

/// Promotes the requests of later behind the job's position. What is requeued meanwhile lies ahead of it.
pub(super) async fn wake_waiting(store: &StateStore, job: &StoredJob) -> Result<ChunkResult, StoreError> {
    let after = match job.after.as_str() {
        "" => QueuePosition::default(),
        after => QueuePosition::behind(after),
    };
    let page = store.due_requests(&after, LAST, WAKE_ROWS).await?;
    if job.chunks >= WAKE_STEPS_MAX {
        log_event!(WorkDeferred, job.id = %job.id, "a wake-up ends with its bound; who still waits is reconciled within the hour");
        return end(store, job).await;
    }
    let Some(last) = page.items.last().map(|item| item.row.key().to_owned()) else {
        return end(store, job).await;
    };
    let due: Vec<DueRequest> = page.items.into_iter().filter_map(|item| item.read.ok()).collect();
    let people = due.iter().map(|due| due.queued.user).collect();
    store.promote_requests(&due).await?;
    store.transact_unjournaled(&[job.go_on_after(&last)]).await?;
    Ok(ChunkResult { people, ..ChunkResult::default() })
}

/// Enqueues the record that holds an Entra object now. Where that cannot be read, everyone whose ledger names the object.
pub(super) async fn wake_holder(
    store: &StateStore,
    job: &StoredJob,
    principal: PrincipalId,
) -> Result<ChunkResult, StoreError> {
    let people = match store.holder(principal).await? {
        PrincipalHolder::Record(user) => vec![user],
        PrincipalHolder::Free => Vec::new(),
        PrincipalHolder::Unreadable => {
            return wake_people(store, job, |row| row.names_principal(principal)).await;
        }
    };
    let mut writes = vec![job.end()];
    writes.extend(people.iter().flat_map(|user| reconcile_queue::enqueue_now(*user, &job.request)));
    store.transact_unjournaled(&writes).await?;
    Ok(ChunkResult { people, ..ChunkResult::ended() })
}

/// Enqueues the people of one page of the ledger whose steps at the scope failed, wait or are under way.
pub(super) async fn wake_people_of_scope(
    store: &StateStore,
    job: &StoredJob,
    scope: &Scope,
) -> Result<ChunkResult, StoreError> {
    // Other bindings may take away what is held and settled.
    let all = job.request.priority.takes_away();
    wake_people(store, job, |row| row.is_busy_at(scope) || all && row.holds_at(scope)).await
}

async fn wake_people(
    store: &StateStore,
    job: &StoredJob,
    concerns: impl Fn(&LedgerRow) -> bool,
) -> Result<ChunkResult, StoreError> {
    let Some(rows) = next_rows(store, job).await? else { return end(store, job).await };
    let people: BTreeSet<UserId> =
        rows.iter().filter(|row| concerns(row)).filter_map(|row| row.user).collect();
    let people: Vec<UserId> = people.into_iter().collect();
    for part in people.chunks(PEOPLE_A_TRANSACTION) {
        let writes: Vec<TableWrite> =
            part.iter().flat_map(|user| reconcile_queue::enqueue_now(*user, &job.request)).collect();
        store.transact_unjournaled(&writes).await?;
    }
    if let Some(last) = rows.last() {
        store.transact_unjournaled(&[job.go_on_after(last.position.as_key())]).await?;
    }
    Ok(ChunkResult { people, ..ChunkResult::default() })
}

/// Enqueues the people of a batch, from the job's position on.
pub(super) async fn wake_people_of_batch(
    store: &StateStore,
    job: &StoredJob,
    batch: OpId,
) -> Result<ChunkResult, StoreError> {
    let people = store.held_people_after(batch, &job.after, HELD_A_STEP).await?;
    let Some(last) = people.last() else { return end(store, job).await };
    if job.request.priority.takes_away() {
        // Left behind, the request of later would count as a revocation that still waits.
        let waiting = join_reads(people.iter().map(|user| waiting_request(store, *user))).await?;
        store.promote_requests(&waiting.into_iter().flatten().collect::<Vec<_>>()).await?;
    }
    let mut writes = vec![job.go_on_after(&last.to_string())];
    writes.extend(people.iter().flat_map(|user| reconcile_queue::enqueue_decided(*user, &job.request)));
    store.transact_unjournaled(&writes).await?;
    Ok(ChunkResult { people, ..ChunkResult::default() })
}

/// The request of later that the hint of a person names.
async fn waiting_request(store: &StateStore, user: UserId) -> Result<Option<DueRequest>, StoreError> {
    let Some(at) = store.hint(user).await?.and_then(|hint| hint.due) else { return Ok(None) };
    Ok(store.request_at(at, user).await?.and_then(|item| item.read.ok()))
}

/// Unsettles the next rows that are at the scope: the reconcile of each person asks Azure by name, and closes them.
pub(super) async fn forget_scope(
    store: &StateStore,
    job: &StoredJob,
    scope: &Scope,
) -> Result<ChunkResult, StoreError> {
    let now = store.table_time().await?;
    let Some(rows) = next_rows(store, job).await? else { return end(store, job).await };
    let mut writes = Vec::new();
    let mut people = BTreeSet::new();
    let mut last = None;
    for row in &rows {
        if writes.len() >= UNSETTLED_A_TRANSACTION {
            break;
        }
        last = Some(row.position.as_key());
        let Some(OwnedEntry { user, stored }) = row.owned.as_ref().filter(|_| row.holds_at(scope)) else {
            continue;
        };
        let StoredEntry { entry, etag, kept } = stored;
        let entry = LedgerEntry { unsettled_until: Some(now), written: now, ..entry.clone() };
        writes.push(ledger::write(*user, &entry, Some((etag, Some(kept)))));
        people.insert(*user);
    }
    writes.extend(people.iter().flat_map(|user| reconcile_queue::enqueue_now(*user, &job.request)));
    writes.extend(last.map(|last| job.go_on_after(last)));
    store.transact_unjournaled(&writes).await?;
    Ok(ChunkResult { people: people.into_iter().collect(), ..ChunkResult::default() })
}

/// The rows of the ledger behind the job's position.
async fn next_rows(store: &StateStore, job: &StoredJob) -> Result<Option<Vec<LedgerRow>>, StoreError> {
    store.ledger_pages(&LedgerPosition::after_key(&job.after)).next().await
}

async fn end(store: &StateStore, job: &StoredJob) -> Result<ChunkResult, StoreError> {
    store.transact_unjournaled(&[job.end()]).await?;
    Ok(ChunkResult::ended())
}
