//! Looking at the people who are marked and do not leave: those whom other bindings concern, then who only gains. Each line
//! goes on from where the last tick stopped.

use crate::id::UserId;
use crate::ports::tables::TableRow;
use crate::service::reconcile::ReconcileOutcome;
use crate::service::reconcile_queue::inline::{LOOKS_AT_ONCE, log_deferred};
use crate::service::reconcile_queue::leavers::HintedLeaver;
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::reconcile_queue::QueuedRequest;
use crate::store::throttles::CallKind;
use crate::store::{StoreError, keys};
use std::pin::pin;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// With so many in a row for whom Azure asked to wait, and nothing to be had anywhere, the others need not be looked at now.
const FOR_NOTHING_MAX: usize = 3 * LOOKS_AT_ONCE;

/// Revocations that other bindings are the cause of: half of what Azure allows at once, and half of what it allows each second
/// after that, so that a large change of the bindings leaves people who leave their share.
const MOVED_AT_ONCE: usize = 100;
const MOVED_A_SECOND: f64 = 5.0;

/// How much of its share the line of other bindings has used, as far as this process knows.
#[derive(Debug, Default)]
pub(super) struct RateLimiter {
    used: f64,
    at: Duration,
}

impl RateLimiter {
    fn is_used_up(&mut self, now: Duration) -> bool {
        self.used = (self.used - now.saturating_sub(self.at).as_secs_f64() * MOVED_A_SECOND).max(0.0);
        self.at = now;
        self.used >= MOVED_AT_ONCE as f64
    }

    fn take(&mut self, revoked: usize) {
        self.used += revoked as f64;
    }
}

/// A mark of somebody who only gains, and whom it is about.
struct Marked {
    row: TableRow,
    user: UserId,
}

impl ReconcileTick {
    /// Everybody who does not leave. Those who move take at most half of the time, and what those who gain leave of the other
    /// half.
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

    /// Those whom other bindings concern, by their hints.
    async fn rebindings(&self, round: &mut TickRound, until: Duration) -> Result<(), StoreError> {
        if !round.some_move {
            return Ok(());
        }
        let start = round.cursors.rebindings.clone();
        let mut wrapped = false;
        loop {
            let rows = self.hints_after(&round.cursors.rebindings).await?;
            let last = rows.last().map(|row| row.key.clone());
            if !self.rebindings_of_window(rows, until, round).await? {
                return Ok(());
            }
            match last {
                Some(last) if !(wrapped && last >= start) => round.cursors.rebindings = last,
                None if !wrapped && !start.is_empty() => {
                    wrapped = true;
                    round.cursors.rebindings.clear();
                }
                _ => break,
            }
        }
        round.cursors.rebindings.clear();
        Ok(())
    }

    /// Answers whether it came to the end: not where the time is over, the share of revocations is used up, or Azure asks to wait.
    async fn rebindings_of_window(
        &self,
        rows: Vec<TableRow>,
        until: Duration,
        round: &mut TickRound,
    ) -> Result<bool, StoreError> {
        let now = round.time(self.store().clock.monotonic());
        let movers = self.readable_hints(rows).filter(|HintedLeaver { row, hint }| {
            let due = hint.is_over || hint.due.is_none_or(|due| due <= now);
            !hint.left && due && !round.was_tried(hint.user, &row.etag)
        });
        let movers: Vec<HintedLeaver> = movers.collect();
        for part in movers.chunks(LOOKS_AT_ONCE) {
            if self.is_past(until) || self.share().is_used_up(self.store().clock.monotonic()) {
                return Ok(false);
            }
            let looked = self.reconcile_rebound(part, round).await?;
            self.share().take(looked.iter().map(|looked| looked.revoked).sum());
            if let Some(last) = part.last() {
                round.cursors.rebindings.clone_from(&last.row.key);
            }
            if looked.iter().all(|looked| looked.throttled) && self.is_all_throttled(CallKind::Revoke, round)
            {
                return Ok(false);
            }
            self.leavers_between(round, part.len()).await?;
        }
        Ok(true)
    }

    /// Those who only gain, from where the last tick stopped, and round again to there.
    async fn gains(&self, round: &mut TickRound) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("d:");
        let start = round.cursors.gains.clone();
        let after = format!("{start}!");
        if start.is_empty() {
            return self.gains_between(from, to, round).await.map(|_| ());
        }
        if self.gains_between(after.clone(), to, round).await? {
            self.gains_between(from, after, round).await?;
        }
        Ok(())
    }

    /// Looks at one range. Answers whether it came to its end: not where the time is over or Azure asks to wait.
    async fn gains_between(
        &self,
        from: String,
        to: String,
        round: &mut TickRound,
    ) -> Result<bool, StoreError> {
        let mut pages = self.store().pages(from, to);
        let mut for_nothing = 0;
        while let Some(rows) = pages.next().await? {
            let last = rows.last().map(|row| row.key.clone());
            let marked: Vec<Marked> = rows.into_iter().filter_map(|row| self.readable_gain(row)).collect();
            for part in marked.chunks(LOOKS_AT_ONCE) {
                let waits = for_nothing >= FOR_NOTHING_MAX && self.is_all_throttled(CallKind::Grant, round);
                if self.is_over(round) || waits {
                    return Ok(false);
                }
                let people: Vec<_> = part.iter().map(|marked| (marked.user, &marked.row)).collect();
                let looked = self.reconcile_batch(&people, round).await;
                let throttled = looked.iter().filter(|looked| looked.throttled).count();
                for_nothing = if throttled == part.len() { for_nothing + throttled } else { 0 };
                if let Some(last) = part.last() {
                    round.cursors.gains.clone_from(&last.row.key);
                }
                self.leavers_between(round, part.len()).await?;
            }
            if let Some(last) = last {
                round.cursors.gains = last;
            }
        }
        round.cursors.gains.clear();
        Ok(true)
    }

    /// Who only gains by a mark; `None` where something is taken away, or it cannot be read or is set aside.
    fn readable_gain(&self, row: TableRow) -> Option<Marked> {
        if self.is_quarantined(&row) {
            return None;
        }
        match QueuedRequest::read(&row) {
            Ok(look) => (!look.request.taken_away).then_some(Marked { user: look.user, row }),
            Err(error) => {
                self.record_result("a mark", &row, Err(error));
                None
            }
        }
    }

    /// `worked`: people who were looked at or marked meanwhile. Whoever left since is looked at before anything else goes on.
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

    fn share(&self) -> MutexGuard<'_, RateLimiter> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no subscription of the bindings takes this kind of call now, as far as this process knows them.
    fn is_all_throttled(&self, operation: CallKind, round: &TickRound) -> bool {
        let status = &self.health;
        let Some(known) = self.active_bindings.last_read() else { return true };
        let mut scopes = known.bindings.scopes().into_iter();
        scopes.all(|scope| {
            let subscription = scope.subscription();
            round.silence.is_stopped(subscription)
                || status.throttled_until(subscription, operation).is_some()
        })
    }

    /// Looks at people side by side. What came of each; of one that failed or takes too long, nothing.
    pub(super) async fn reconcile_batch(
        &self,
        people: &[(UserId, &TableRow)],
        round: &TickRound,
    ) -> Vec<ReconcileOutcome> {
        let mut slow = pin!(tokio::time::sleep(self.slow_after));
        let looks: Vec<_> = people.iter().map(|(user, _)| self.spawn_reconcile(*user, round)).collect();
        let mut all = Vec::with_capacity(people.len());
        for ((user, row), look) in people.iter().zip(looks) {
            // All of them have the same time, and one that is done is taken before it is over.
            let ended = tokio::select! {
                biased;
                ended = look => Some(ended),
                () = slow.as_mut() => None,
            };
            match ended {
                Some(Ok(Ok(looked))) => {
                    self.quarantine.release(&row.key);
                    all.push(looked);
                    continue;
                }
                Some(Ok(Err(error))) => {
                    log_deferred("a reconcile", &error);
                    self.quarantine.record_failure(row, &error);
                }
                Some(Err(panicked)) => {
                    tracing::error!(user.id = %user, error = %panicked, "a reconcile panicked")
                }
                None => {
                    tracing::warn!(user.id = %user, "a reconcile takes long and goes on beside the others");
                    round.silence.give_up_on(*user);
                }
            }
            all.push(ReconcileOutcome::default());
        }
        all
    }

    fn spawn_reconcile(
        &self,
        user: UserId,
        round: &TickRound,
    ) -> JoinHandle<Result<ReconcileOutcome, StoreError>> {
        let (reconciler, silence) = (self.reconciler.clone(), round.silence.clone());
        tokio::spawn(async move { reconciler.reconcile_in_tick(user, silence).await })
    }
}
