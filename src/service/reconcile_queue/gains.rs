//! People who only gain, from where the last tick stopped, and round again to there.

use crate::id::UserId;
use crate::service::reconcile_queue::inline::CONCURRENT_RECONCILES;
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::StoreError;
use crate::store::reconcile_queue::{Priority, QueueItem, QueuePosition, QueuedRequest, RowIdentity};
use crate::store::throttles::CallKind;

/// After so many throttled people in a row, where every subscription is throttled, the others are left to the next tick.
const FOR_NOTHING_MAX: usize = 3 * CONCURRENT_RECONCILES;

impl ReconcileTick {
    /// Reconciles the people who are no leavers. People whom other bindings concern take at most half of the time, and what
    /// those who gain leave of the other half.
    pub(super) async fn others(&self, round: &mut TickRound) -> Result<(), StoreError> {
        let half = round.part_of_the_rest(2, self.store().clock.monotonic());
        self.rebindings(round, half).await?;
        let half_was_over = self.is_past(half);
        self.gains(round).await?;
        if half_was_over && !self.is_over(round) {
            self.rebindings(round, round.until).await?;
        }
        Ok(())
    }

    async fn gains(&self, round: &mut TickRound) -> Result<(), StoreError> {
        let start = round.cursors.gains.clone();
        let reached_end = self.gains_between(&start, None, round).await?;
        if reached_end && !start.is_start() {
            self.gains_between(&QueuePosition::default(), Some(&start), round).await?;
        }
        Ok(())
    }

    /// Reconciles the people of one range. Returns whether it came to its end: not where the time is over or Azure throttles.
    async fn gains_between(
        &self,
        after: &QueuePosition,
        until: Option<&QueuePosition>,
        round: &mut TickRound,
    ) -> Result<bool, StoreError> {
        let mut pages = self.store().requests_between(after, until);
        let mut for_nothing = 0;
        while let Some(items) = pages.next().await? {
            let last = items.last().map(|item| item.row.position());
            let gains: Vec<(RowIdentity, UserId)> =
                items.into_iter().filter_map(|item| self.readable_gain(item)).collect();
            for part in gains.chunks(CONCURRENT_RECONCILES) {
                let waits = for_nothing >= FOR_NOTHING_MAX && self.is_all_throttled(CallKind::Grant, round);
                if self.is_over(round) || waits {
                    return Ok(false);
                }
                let people: Vec<_> = part.iter().map(|(row, user)| (*user, row)).collect();
                let outcomes = self.reconcile_batch(&people, round).await;
                let throttled = outcomes.iter().filter(|outcome| outcome.throttled).count();
                for_nothing = if throttled == part.len() { for_nothing + throttled } else { 0 };
                if let Some((row, _)) = part.last() {
                    round.cursors.gains = row.position();
                }
                self.leavers_between(round, part.len()).await?;
            }
            if let Some(last) = last {
                round.cursors.gains = last;
            }
        }
        round.cursors.gains = QueuePosition::default();
        Ok(true)
    }

    /// A person who only gains; `None` where something is taken away, or the row cannot be read or is quarantined.
    fn readable_gain(&self, item: QueueItem<QueuedRequest>) -> Option<(RowIdentity, UserId)> {
        let (row, queued) = self.readable_item("a reconcile request", item)?;
        (queued.request.priority == Priority::Gain).then_some((row, queued.user))
    }

    /// `worked`: people who were reconciled or enqueued meanwhile. People who left since then come first.
    pub(super) async fn leavers_between(
        &self,
        round: &mut TickRound,
        worked: usize,
    ) -> Result<(), StoreError> {
        if !round.worked(worked) {
            return Ok(());
        }
        self.leavers_in_turn(round).await
    }
}
