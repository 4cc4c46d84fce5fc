//! Requests that take away and have no hint, such as an earlier release wrote, or one that cannot be read. Each tick compares a
//! few pages of requests with the hints of the same people, from where the last tick stopped.

use crate::id::UserId;
use crate::ports::tables::{PAGE_ROWS_MAX, TableRow, TableWrite};
use crate::store::reconcile_queue::leaver_hints::{self, LeaverHint, WaitingRevocation};
use crate::store::reconcile_queue::queue_item::QueuePosition;
use crate::store::reconcile_queue::request::QueuedRequest;
use crate::store::{StateStore, StoreError, keys};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};

/// Requests that one tick reads, of each kind.
const ROWS_MAX: usize = 5 * PAGE_ROWS_MAX;
/// Hints that are read beside them.
const HINTS_MAX: usize = 2 * ROWS_MAX;
/// Hints that are read concurrently.
const READS_AT_ONCE: usize = 16;
/// Hints of one transaction.
const WRITES_MAX: usize = 90;

impl StateStore {
    /// Adds the hints that are missing in the next stretch of both queues, and moves the positions on. Returns whether any was
    /// missing.
    pub async fn add_missing_hints(
        &self,
        requests: &mut QueuePosition,
        requests_later: &mut QueuePosition,
    ) -> Result<bool, StoreError> {
        let now = self.missing_for_requests(requests).await?;
        // A person with a request in both queues needs one hint: that of now.
        let mut later = self.missing_for_later_requests(requests_later).await?;
        later.retain(|write| now.iter().all(|other| other.key() != write.key()));
        for part in [now.as_slice(), later.as_slice()].concat().chunks(WRITES_MAX) {
            self.transact_unjournaled(part).await?;
        }
        Ok(!now.is_empty() || !later.is_empty())
    }

    /// Both ranges are sorted by person, so the hints of a stretch are a stretch too.
    async fn missing_for_requests(
        &self,
        position: &mut QueuePosition,
    ) -> Result<Vec<TableWrite>, StoreError> {
        let rows = self.next_stretch("d:", position).await?;
        let mut requests: Vec<QueuedRequest> = rows.iter().filter_map(taking_away).collect();
        let (Some(first), Some(last)) = (requests.first(), requests.last()) else { return Ok(Vec::new()) };
        let from = keys::hint(first.user);
        let to = format!("{}!", keys::hint(last.user));
        let rows = self.rows_between(from, to, HINTS_MAX).await?;
        if rows.len() >= HINTS_MAX
            && let Some(read) = rows.last().and_then(|row| UserId::parse(keys::last_part(&row.key)).ok())
        {
            // The people behind the last hint are for the next tick.
            requests.retain(|queued| queued.user <= read);
            *position = QueuePosition::behind(keys::request(read));
        }
        let known: BTreeMap<&str, bool> =
            rows.iter().map(|row| (row.key.as_str(), LeaverHint::read(row).is_ok())).collect();
        let missing = |queued: &QueuedRequest| {
            let write = leaver_hints::hint_now(queued.user, &queued.request);
            missing_write(write, known.get(keys::hint(queued.user).as_str()).copied())
        };
        Ok(requests.iter().filter_map(missing).collect())
    }

    async fn missing_for_later_requests(
        &self,
        position: &mut QueuePosition,
    ) -> Result<Vec<TableWrite>, StoreError> {
        let rows = self.next_stretch("w:", position).await?;
        let requests = rows.iter().filter_map(|row| Some((keys::request_time(&row.key)?, taking_away(row)?)));
        let write = |(at, queued): (time::OffsetDateTime, QueuedRequest)| async move {
            let hint = self.get(&keys::hint(queued.user)).await?;
            let waiting = WaitingRevocation {
                unwanted_since: queued.request.origin.op.time(),
                ..WaitingRevocation::default()
            };
            let write = leaver_hints::hint_at(at, queued.user, &queued.request, &waiting);
            Ok::<_, StoreError>(missing_write(write, hint.map(|row| LeaverHint::read(&row).is_ok())))
        };
        let requests: Vec<_> = requests.map(write).collect();
        let writes: Vec<Option<TableWrite>> =
            stream::iter(requests).buffered(READS_AT_ONCE).try_collect().await?;
        // A person with two requests needs one hint, for the first of them.
        let mut people = BTreeSet::new();
        Ok(writes.into_iter().flatten().filter(|write| people.insert(write.key().to_owned())).collect())
    }

    /// The next rows of a range. The position goes on, and back to the beginning from the end.
    async fn next_stretch(
        &self,
        prefix: &str,
        position: &mut QueuePosition,
    ) -> Result<Vec<TableRow>, StoreError> {
        let (rows, next) = self.queue_rows(prefix, position, ROWS_MAX).await?;
        *position = next.unwrap_or_default();
        Ok(rows)
    }
}

/// The write of a hint that is missing, or that is there and cannot be read: then it replaces what is there.
fn missing_write(hint: TableWrite, is_readable: Option<bool>) -> Option<TableWrite> {
    match (is_readable, hint) {
        (Some(true), _) => None,
        (Some(false), TableWrite::InsertOrMerge { key, properties }) => {
            Some(TableWrite::InsertOrReplace { key, properties })
        }
        (_, hint) => Some(hint),
    }
}

/// A request that takes away. One that cannot be read is quarantined when its turn comes.
fn taking_away(row: &TableRow) -> Option<QueuedRequest> {
    QueuedRequest::read(row).ok().filter(|queued| queued.request.priority.takes_away())
}
