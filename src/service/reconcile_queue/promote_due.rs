//! `w:` rows whose time has come become `d:`, many in one transaction.

use crate::id::UserId;
use crate::ports::tables::{ETag, EtagMatch, PAGE_ROWS_MAX, TableRow, TableWrite};
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::reconcile_queue::{self, QueuedRequest};
use crate::store::{StoreError, keys, leaver_hints};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Looks that one tick wakes.
const WAKES_MAX: usize = 5 * PAGE_ROWS_MAX;
/// Looks of one transaction: at most three rows each.
const WAKES_AT_ONCE: usize = 32;

/// A look whose time has come.
pub(super) struct DueRequest {
    row: TableRow,
    look: QueuedRequest,
}

impl DueRequest {
    fn deletion(&self) -> TableWrite {
        TableWrite::Delete { key: self.row.key.clone(), condition: EtagMatch::Exact(self.row.etag.clone()) }
    }

    /// The look becomes one of now, as a new mark or over one that is `there`.
    fn writes(&self, there: bool) -> Vec<TableWrite> {
        let QueuedRequest { user, request: mark, .. } = &self.look;
        let mut writes = vec![reconcile_queue::promote(*user, mark, there, &self.row.key), self.deletion()];
        writes.extend(mark.taken_away.then(|| leaver_hints::hint_due(*user, mark)));
        writes
    }
}

impl ReconcileTick {
    /// What is due becomes a look of now, revocations first. Answers whether there was any.
    pub(super) async fn promote_due(
        &self,
        round: &mut TickRound,
        until: Duration,
    ) -> Result<bool, StoreError> {
        let now = round.time(self.store().clock.monotonic());
        let (from, _) = keys::range_of("w:");
        let from = if round.cursors.due.is_empty() { from } else { format!("{}!", round.cursors.due) };
        let rows = self.store().rows_between(from, format!("w:{};", keys::stamp(now)), WAKES_MAX).await?;
        // What is woken is gone, so a place is only kept where more is due.
        let last = rows.last().map(|row| row.key.clone()).filter(|_| rows.len() >= WAKES_MAX);
        round.cursors.due = last.unwrap_or_default();
        let mut due: Vec<DueRequest> = rows.into_iter().filter_map(|row| self.readable_due(row)).collect();
        due.sort_by_key(|due| (!due.look.request.left, !due.look.request.taken_away));
        for part in due.chunks(WAKES_AT_ONCE) {
            self.promote_batch(part).await?;
            if self.is_past(until) {
                round.cursors.due.clear();
                break;
            }
        }
        Ok(!due.is_empty())
    }

    /// A look later; `None` where it cannot be read or is set aside.
    pub(super) fn readable_due(&self, row: TableRow) -> Option<DueRequest> {
        if self.is_quarantined(&row) {
            return None;
        }
        match QueuedRequest::read(&row) {
            Ok(look) => Some(DueRequest { row, look }),
            Err(error) => {
                self.record_result("a mark", &row, Err(error));
                None
            }
        }
    }

    /// All at once where nobody among them is marked already, else one by one. Answers the versions of the hints that were
    /// written, as far as they are known.
    pub(super) async fn promote_batch(
        &self,
        part: &[DueRequest],
    ) -> Result<BTreeMap<UserId, ETag>, StoreError> {
        let users: BTreeSet<UserId> = part.iter().map(|due| due.look.user).collect();
        if part.is_empty() {
            return Ok(BTreeMap::new());
        }
        if users.len() == part.len() {
            let writes: Vec<TableWrite> = part.iter().flat_map(|due| due.writes(false)).collect();
            match self.store().transact_unjournaled(&writes).await {
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
                Ok(committed) => return Ok(versions(part, &writes, &committed.etags)),
            }
        }
        let mut all = BTreeMap::new();
        for due in part {
            all.extend(self.wake_one(due).await?);
        }
        Ok(all)
    }

    async fn wake_one(&self, due: &DueRequest) -> Result<BTreeMap<UserId, ETag>, StoreError> {
        for there in [false, true] {
            let writes = due.writes(there);
            match self.store().transact_unjournaled(&writes).await {
                Ok(committed) => return Ok(versions(std::slice::from_ref(due), &writes, &committed.etags)),
                Err(StoreError::Conflict { index: 0, .. }) if !there => {}
                Err(StoreError::Conflict { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(BTreeMap::new())
    }
}

fn versions(part: &[DueRequest], writes: &[TableWrite], etags: &[Option<ETag>]) -> BTreeMap<UserId, ETag> {
    let by_key: BTreeMap<&str, &ETag> =
        writes.iter().zip(etags).filter_map(|(write, etag)| Some((write.key(), etag.as_ref()?))).collect();
    let version = |due: &DueRequest| {
        let etag = by_key.get(keys::hint(due.look.user).as_str())?;
        Some((due.look.user, ETag::clone(etag)))
    };
    part.iter().filter_map(version).collect()
}
