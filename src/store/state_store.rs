//! The rows of one tenant: reads, pages, and transactions with their commit proof.

use crate::audit::AuditRecord;
use crate::backoff::Backoff;
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::id::InstanceId;
use crate::ports::clock::Clock;
use crate::ports::ids::IdSource;
use crate::ports::tables::{
    ETag, KeyRange, PAGE_ROWS_MAX, TRANSACTION_OPS_MAX, TableAnswer, TableError, TableOps, TableRow,
    TableWrite,
};
use crate::store::error::{AWAY_RETRY, StoreError, is_throttle, read_error, write_error};
use crate::store::read_meter::{self, ReadLimits, ReadMeter};
use crate::store::recent_findings::RecentFindings;
use crate::store::{journal, keys};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Sends of one transaction while its outcome is unknown.
const SENDS_MAX: u32 = 4;
/// The pauses between the sends, with jitter.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(400));
/// Pages without a row, one after the other: a service that goes on like that has nothing to say.
const EMPTY_PAGES_MAX: usize = 100;
/// Rows that are asked for after a page that ended early, at least.
const PAGE_ROWS_MIN: usize = 4;
/// A row that cannot be read and was not met for so long was mended, or is gone: people who wait are reconciled hourly.
const UNREADABLE_FOR: Duration = Duration::from_secs(2 * 3600);

/// A transaction that was committed.
#[derive(Debug)]
pub struct CommittedWrites {
    /// The ETags of the rows in the order of the writes (the journal row is not among them). Empty where the answer
    /// was lost and the commit proof was read instead: then the rows must be read again.
    pub etags: Vec<Option<ETag>>,
    /// The table service's clock.
    pub date: OffsetDateTime,
}

impl CommittedWrites {
    /// The ETag that write `index` gave its row, if it is known.
    pub fn etag(&self, index: usize) -> Option<ETag> {
        self.etags.get(index).cloned().flatten()
    }

    /// The same without the ETag of write `index`.
    pub fn without_etag(mut self, index: usize) -> Self {
        if let Some(etag) = self.etags.get_mut(index) {
            *etag = None;
        }
        self
    }
}

/// The rows of one tenant.
#[derive(Clone)]
pub struct StateStore {
    tables: Arc<dyn TableOps>,
    tenant: String,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    unreadable: Arc<RecentFindings>,
    /// The installation that the settings name.
    expected_instance: Option<InstanceId>,
    /// Where this is here, what is read is counted and bounded.
    meter: Option<Arc<ReadMeter>>,
}

impl StateStore {
    /// `tenant` is the partition key: `[a-z0-9-]{1,36}`.
    pub fn new(
        tables: Arc<dyn TableOps>,
        tenant: String,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        let unreadable = Arc::new(RecentFindings::new(clock.clone(), UNREADABLE_FOR));
        Self { tables, tenant, clock, ids, unreadable, expected_instance: None, meter: None }
    }

    /// The same rows, which must be of that installation.
    pub fn of_installation(self, expected_instance: Option<InstanceId>) -> Self {
        Self { expected_instance, ..self }
    }

    /// The installation that the settings name.
    pub(super) const fn expected_instance(&self) -> Option<InstanceId> {
        self.expected_instance
    }

    /// The partition of this installation.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Rows that could not be read.
    pub fn unreadable(&self) -> Arc<RecentFindings> {
        self.unreadable.clone()
    }

    /// What a row says. `None` where it cannot be read: then it is counted and logged, and hurts only what it decides.
    pub fn readable<T>(&self, row: &TableRow, read: Result<T, StoreError>) -> Option<T> {
        match read {
            Ok(value) => {
                self.unreadable.forget(&row.key);
                Some(value)
            }
            Err(error) => {
                self.cannot_read(&row.key, &error);
                None
            }
        }
    }

    /// A row, or a part of it, cannot be read.
    pub(in crate::store) fn cannot_read(&self, key: &str, error: &StoreError) {
        if self.unreadable.record(key) {
            log_event!(RowUnreadable, row = key, error = %ErrorChain(error), "a row cannot be read; only what it decides waits");
        }
    }

    /// The same rows, of which the clones of this handle together read so many and not one more: after that every read is
    /// an error. Whatever is read counts, and a read that finds nothing counts as a row.
    pub fn metered(&self, limits: ReadLimits) -> Self {
        Self { meter: Some(Arc::new(ReadMeter::new(limits))), ..self.clone() }
    }

    /// One row, with the service's clock.
    pub async fn read(&self, key: &str) -> Result<TableAnswer<Option<TableRow>>, StoreError> {
        let reserved = read_meter::reserve(self.meter.as_ref(), 1).await?;
        let answer = self.tables.get(&self.tenant, key).await.map_err(read_error)?;
        reserved.used(1, answer.value.iter().map(TableRow::bytes).sum());
        Ok(answer)
    }

    /// One row.
    pub async fn get(&self, key: &str) -> Result<Option<TableRow>, StoreError> {
        Ok(self.read(key).await?.value)
    }

    /// Every row whose key begins with `prefix` (which ends in `:`); more than `rows_max` is an error.
    pub async fn rows(&self, prefix: &str, rows_max: usize) -> Result<Vec<TableRow>, StoreError> {
        let (from, to) = keys::range_of(prefix);
        let rows = self.rows_between(from, to, rows_max.saturating_add(1)).await?;
        if rows.len() > rows_max {
            return Err(StoreError::TooMany { rows_max });
        }
        Ok(rows)
    }

    /// The first `rows_max` rows of a range; fewer only where the range holds no more.
    pub async fn rows_between(
        &self,
        from: String,
        to: String,
        rows_max: usize,
    ) -> Result<Vec<TableRow>, StoreError> {
        let mut rows = Vec::new();
        let mut pages = self.pages(from, to);
        while rows.len() < rows_max {
            let wanted = (rows_max - rows.len()).min(PAGE_ROWS_MAX);
            let Some(more) = pages.at_most(wanted).await? else { break };
            rows.extend(more);
        }
        Ok(rows)
    }

    /// A range of any length, page by page, so that it is never held whole.
    pub fn pages(&self, from: String, to: String) -> RowPages<'_> {
        let range = KeyRange { from, to, rows_max: PAGE_ROWS_MAX, continuation: None };
        RowPages { store: self, rest: Some(range), rows_max: PAGE_ROWS_MAX, keys_only: false }
    }

    /// The same, of rows without their properties.
    pub fn key_pages(&self, from: String, to: String) -> RowPages<'_> {
        RowPages { keys_only: true, ..self.pages(from, to) }
    }

    /// Commits `writes` together with their journal row. After any doubt the journal row is the proof.
    pub async fn commit(
        &self,
        record: &AuditRecord,
        writes: Vec<TableWrite>,
    ) -> Result<CommittedWrites, StoreError> {
        let mut all = Vec::with_capacity(writes.len() + 1);
        all.push(journal::insert(record));
        all.extend(writes);
        if all.len() > TRANSACTION_OPS_MAX {
            return Err(StoreError::TooLarge { rule: format!("{} rows", all.len()) });
        }
        let mut doubt = None;
        for sends in 1..=SENDS_MAX {
            let error = match self.tables.transact(&self.tenant, &all).await {
                Ok(answer) => return Ok(committed(answer)),
                Err(error) => error,
            };
            let answered = !matches!(error, TableError::Unknown { .. });
            // A journal row that is there is an earlier send's, whatever became of its answer.
            if answered && doubt.is_none() && !matches!(error, TableError::Exists { index: 0 }) {
                return Err(write_error(error, 1));
            }
            match self.proof(record).await {
                Ok(Some(committed)) => return Ok(committed),
                Ok(None) if answered => return Err(write_error(error, 1)),
                Err(proof) if !is_throttle(&proof) => return Err(proof),
                Ok(None) | Err(_) => doubt = Some(error),
            }
            tokio::time::sleep(BACKOFF.pause(sends).mul_f64(0.5 + self.ids.jitter())).await;
        }
        Err(StoreError::Away { retry_after: AWAY_RETRY, source: doubt })
    }

    async fn proof(&self, record: &AuditRecord) -> Result<Option<CommittedWrites>, StoreError> {
        let answer = self.read(&keys::journal(record.op)).await?;
        let date = answer.date;
        Ok(answer.value.map(|_| CommittedWrites { etags: Vec::new(), date }))
    }

    /// Commits writes that only move requests: their conditions make them safe to repeat, so they carry no proof.
    pub async fn transact_unjournaled(&self, writes: &[TableWrite]) -> Result<CommittedWrites, StoreError> {
        let answer =
            self.tables.transact(&self.tenant, writes).await.map_err(|error| write_error(error, 0))?;
        Ok(CommittedWrites { etags: answer.value, date: answer.date })
    }
}

/// A range that is read page by page.
pub struct RowPages<'a> {
    store: &'a StateStore,
    rest: Option<KeyRange>,
    /// Fewer than there may be after a page that ended early: its rows are large, and the next one's probably too.
    rows_max: usize,
    /// The rows come without properties.
    keys_only: bool,
}

impl RowPages<'_> {
    /// Whether the last page said that there is no further one.
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_none()
    }

    /// The next rows, at least one; `None` at the end. After an error there are none.
    pub async fn next(&mut self) -> Result<Option<Vec<TableRow>>, StoreError> {
        self.at_most(PAGE_ROWS_MAX).await
    }

    /// The same, of a page that has at most so many.
    pub async fn at_most(&mut self, rows_max: usize) -> Result<Option<Vec<TableRow>>, StoreError> {
        for _ in 0..EMPTY_PAGES_MAX {
            let Some(range) = self.rest.take() else { return Ok(None) };
            let reserved =
                read_meter::reserve(self.store.meter.as_ref(), rows_max.min(self.rows_max)).await?;
            let range = KeyRange { rows_max: reserved.rows(), ..range };
            let (tables, tenant) = (&self.store.tables, &self.store.tenant);
            let page = match self.keys_only {
                true => tables.key_page(tenant, &range).await,
                false => tables.page(tenant, &range).await,
            };
            let page = page.map_err(read_error)?.value;
            reserved.used(page.rows.len(), page.rows.iter().map(TableRow::bytes).sum());
            let ended_early = page.continuation.is_some() && page.rows.len() < range.rows_max;
            let twice = page.rows.len().saturating_mul(2);
            self.rows_max =
                if ended_early { twice.clamp(PAGE_ROWS_MIN, PAGE_ROWS_MAX) } else { PAGE_ROWS_MAX };
            self.rest = page.continuation.map(|next| KeyRange { continuation: Some(next), ..range });
            if !page.rows.is_empty() {
                return Ok(Some(page.rows));
            }
        }
        Err(StoreError::Away { retry_after: AWAY_RETRY, source: None })
    }
}

fn committed(answer: TableAnswer<Vec<Option<ETag>>>) -> CommittedWrites {
    CommittedWrites { etags: answer.value.into_iter().skip(1).collect(), date: answer.date }
}
