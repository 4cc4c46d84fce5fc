//! Requests whose time has come are promoted, leavers first.

use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::reconcile_queue::{DueRequest, QueueItem};
use crate::store::{PAGE_ROWS_MAX, StoreError};
use std::cmp::Reverse;
use std::time::Duration;

/// Requests that one tick promotes.
const PROMOTED_MAX: usize = 5 * PAGE_ROWS_MAX;
/// Requests of one transaction: at most three rows each.
const BATCH_MAX: usize = 32;

impl ReconcileTick {
    /// Promotes what is due. Returns whether there was any.
    pub(super) async fn promote_due(
        &self,
        round: &mut TickRound,
        until: Duration,
    ) -> Result<bool, StoreError> {
        let now = round.time(self.store().clock.monotonic());
        let page = self.store().due_requests(&round.cursors.due, now, PROMOTED_MAX).await?;
        // What is promoted is gone, so a position is only kept where more is due.
        round.cursors.due = page.next.unwrap_or_default();
        let mut due: Vec<DueRequest> =
            page.items.into_iter().filter_map(|item| self.readable_due(item)).collect();
        due.sort_by_key(|due| Reverse(due.queued.request.priority));
        for part in due.chunks(BATCH_MAX) {
            self.store().promote_requests(part).await?;
            if self.is_past(until) {
                round.cursors.due = Default::default();
                break;
            }
        }
        Ok(!due.is_empty())
    }

    /// A request of later; `None` where it cannot be read or is quarantined.
    pub(super) fn readable_due(&self, item: QueueItem<DueRequest>) -> Option<DueRequest> {
        self.readable_item("a reconcile request", item).map(|(_, due)| due)
    }
}
