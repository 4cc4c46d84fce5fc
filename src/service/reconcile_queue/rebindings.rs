//! People whom other bindings concern, by their hints, with a limited share of the revocations.

use crate::service::rate_limit::RateLimiter;
use crate::service::reconcile_queue::inline::CONCURRENT_RECONCILES;
use crate::service::reconcile_queue::leavers::{HintedLeaver, WINDOW_ROWS};
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::StoreError;
use crate::store::reconcile_queue::leaver_hints::LeaverHint;
use crate::store::reconcile_queue::{Priority, QueueItem, QueuePosition};
use crate::store::throttles::CallKind;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

impl ReconcileTick {
    /// Reconciles people whom other bindings concern, from the position of the last tick, and round again to there.
    pub(super) async fn rebindings(&self, round: &mut TickRound, until: Duration) -> Result<(), StoreError> {
        if !round.has_rebindings {
            return Ok(());
        }
        let start = round.cursors.rebindings.clone();
        let mut wrapped = false;
        loop {
            let page = self.store().leaver_hints(&round.cursors.rebindings, WINDOW_ROWS).await?;
            if !self.rebindings_of_window(page.items, until, round).await? {
                return Ok(());
            }
            match page.next {
                Some(next) if !(wrapped && next >= start) => round.cursors.rebindings = next,
                None if !wrapped && !start.is_start() => {
                    wrapped = true;
                    round.cursors.rebindings = QueuePosition::default();
                }
                _ => break,
            }
        }
        round.cursors.rebindings = QueuePosition::default();
        Ok(())
    }

    /// Returns whether it came to the end: not where the time is over, the share of revocations is used up, or Azure throttles.
    async fn rebindings_of_window(
        &self,
        items: Vec<QueueItem<LeaverHint>>,
        until: Duration,
        round: &mut TickRound,
    ) -> Result<bool, StoreError> {
        let now = round.time(self.store().clock.monotonic());
        let rebound = self.readable_hints(items).filter(|HintedLeaver { hint, .. }| {
            let due = hint.is_over || hint.due.is_none_or(|due| due <= now);
            hint.priority == Priority::Rebinding && due && !round.was_tried(hint.user, &hint.etag)
        });
        let rebound: Vec<HintedLeaver> = rebound.collect();
        for part in rebound.chunks(CONCURRENT_RECONCILES) {
            if self.is_past(until) || self.rebinding_limit().is_used_up(self.store().clock.monotonic()) {
                return Ok(false);
            }
            let outcomes = self.reconcile_rebound(part, round).await?;
            self.rebinding_limit().take(outcomes.iter().map(|outcome| outcome.revoked).sum());
            if let Some(last) = part.last() {
                round.cursors.rebindings = last.row.position();
            }
            let throttled = outcomes.iter().all(|outcome| outcome.throttled);
            if throttled && self.is_all_throttled(CallKind::Revoke, round) {
                return Ok(false);
            }
            self.leavers_between(round, part.len()).await?;
        }
        Ok(true)
    }

    fn rebinding_limit(&self) -> MutexGuard<'_, RateLimiter> {
        self.rebinding_limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
