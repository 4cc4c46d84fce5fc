//! The search for marks that take away and have no hint, such as an earlier release wrote, or one that cannot be read. A few pages of all marks in each
//! tick, from where the last one stopped, beside the hints of the same people.

use crate::id::UserId;
use crate::ports::tables::{PAGE_ROWS_MAX, TableRow, TableWrite};
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::leaver_hints::{self, LeaverHint, WaitingRevocation};
use crate::store::reconcile_queue::QueuedRequest;
use crate::store::{StoreError, keys};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};

/// Marks that one tick reads, of each kind.
const ROWS_MAX: usize = 5 * PAGE_ROWS_MAX;
/// Hints that are read beside them.
const HINTS_MAX: usize = 2 * ROWS_MAX;
/// Hints that are read side by side.
const READS_AT_ONCE: usize = 16;
/// Hints of one transaction.
const WRITES_MAX: usize = 90;

impl ReconcileTick {
    /// Answers whether a hint was missing.
    pub(super) async fn add_missing_hints(&self, round: &mut TickRound) -> Result<bool, StoreError> {
        let now = self.marks_of_now(round).await?;
        // Who is marked twice needs one hint: that of now.
        let mut later = self.marks_of_later(round).await?;
        later.retain(|write| now.iter().all(|other| other.key() != write.key()));
        for part in [now.as_slice(), later.as_slice()].concat().chunks(WRITES_MAX) {
            self.store().transact_unjournaled(part).await?;
        }
        Ok(!now.is_empty() || !later.is_empty())
    }

    /// Both are sorted by person, so the hints of a stretch are a stretch too.
    async fn marks_of_now(&self, round: &mut TickRound) -> Result<Vec<TableWrite>, StoreError> {
        let rows = self.next_rows("d:", &mut round.cursors.requests).await?;
        let mut looks: Vec<QueuedRequest> = rows.iter().filter_map(taking).collect();
        let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return Ok(Vec::new()) };
        let (from, to) = (keys::hint(first.user), format!("{}!", keys::hint(last.user)));
        let rows = self.store().rows_between(from, to, HINTS_MAX).await?;
        if rows.len() >= HINTS_MAX
            && let Some(read) = rows.last().and_then(|row| UserId::parse(keys::last_part(&row.key)).ok())
        {
            // Whoever comes behind is for the next tick.
            looks.retain(|look| look.user <= read);
            round.cursors.requests = keys::request(read);
        }
        let known: BTreeMap<&str, bool> =
            rows.iter().map(|row| (row.key.as_str(), LeaverHint::read(row).is_ok())).collect();
        let missing = |look: &QueuedRequest| {
            let write = leaver_hints::hint_now(look.user, &look.request);
            missing(write, known.get(keys::hint(look.user).as_str()).copied())
        };
        Ok(looks.iter().filter_map(missing).collect())
    }

    async fn marks_of_later(&self, round: &mut TickRound) -> Result<Vec<TableWrite>, StoreError> {
        let rows = self.next_rows("w:", &mut round.cursors.requests_later).await?;
        let looks = rows.iter().filter_map(|row| Some((keys::request_time(&row.key)?, taking(row)?)));
        let write = |(at, look): (time::OffsetDateTime, QueuedRequest)| async move {
            let hint = self.store().get(&keys::hint(look.user)).await?;
            let waiting =
                WaitingRevocation { wished: look.request.origin.op.time(), ..WaitingRevocation::default() };
            let write = leaver_hints::hint_at(at, look.user, &look.request, &waiting);
            Ok::<_, StoreError>(missing(write, hint.map(|row| LeaverHint::read(&row).is_ok())))
        };
        let looks: Vec<_> = looks.map(write).collect();
        let writes: Vec<Option<TableWrite>> =
            stream::iter(looks).buffered(READS_AT_ONCE).try_collect().await?;
        // Somebody with two looks later needs one hint, for the first of them.
        let mut people = BTreeSet::new();
        Ok(writes.into_iter().flatten().filter(|write| people.insert(write.key().to_owned())).collect())
    }

    /// The next rows of a range. The place goes on, and back to the beginning from the end.
    async fn next_rows(&self, prefix: &str, place: &mut String) -> Result<Vec<TableRow>, StoreError> {
        let (from, to) = keys::range_of(prefix);
        let from = if place.is_empty() { from } else { format!("{place}!") };
        let rows = self.store().rows_between(from, to, ROWS_MAX).await?;
        let last = rows.last().map(|row| row.key.clone()).filter(|_| rows.len() >= ROWS_MAX);
        *place = last.unwrap_or_default();
        Ok(rows)
    }
}

/// The write of a hint that is not there, or that is there and cannot be read: then it takes the place of what is there.
fn missing(hint: TableWrite, is_readable: Option<bool>) -> Option<TableWrite> {
    match (is_readable, hint) {
        (Some(true), _) => None,
        (Some(false), TableWrite::InsertOrMerge { key, properties }) => {
            Some(TableWrite::InsertOrReplace { key, properties })
        }
        (_, hint) => Some(hint),
    }
}

/// A mark that takes away. What cannot be read is set aside where it is looked at.
fn taking(row: &TableRow) -> Option<QueuedRequest> {
    QueuedRequest::read(row).ok().filter(|look| look.request.taken_away)
}
