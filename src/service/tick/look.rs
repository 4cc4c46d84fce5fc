//! Looking at the people who are marked and do not leave: those whom other bindings concern, then who only gains. Each line
//! goes on from where the last tick stopped.

use super::ReconcileTick;
use super::leavers::HintedLeaver;
use super::round::TickRound;
use crate::id::UserId;
use crate::ports::tables::TableRow;
use crate::service::effects::{LOOKS_AT_ONCE, log};
use crate::service::reconcile::ReconcileOutcome;
use crate::store::marks::QueuedRequest;
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

    fn use_up(&mut self, revoked: usize) {
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
    pub(super) async fn everybody(&self, round: &mut TickRound) -> Result<(), StoreError> {
        let half = round.part_of_the_rest(2, self.store().clock.monotonic());
        self.moving(round, half).await?;
        let half_was_over = self.is_past(half);
        self.gaining(round).await?;
        if half_was_over && !self.over(round) {
            self.moving(round, round.until).await?;
        }
        Ok(())
    }

    /// Those whom other bindings concern, by their hints.
    async fn moving(&self, round: &mut TickRound, until: Duration) -> Result<(), StoreError> {
        if !round.some_move {
            return Ok(());
        }
        let start = round.cursors.moving.clone();
        let mut wrapped = false;
        loop {
            let rows = self.window(&round.cursors.moving).await?;
            let last = rows.last().map(|row| row.key.clone());
            if !self.window_of_movers(rows, until, round).await? {
                return Ok(());
            }
            match last {
                Some(last) if !(wrapped && last >= start) => round.cursors.moving = last,
                None if !wrapped && !start.is_empty() => {
                    wrapped = true;
                    round.cursors.moving.clear();
                }
                _ => break,
            }
        }
        round.cursors.moving.clear();
        Ok(())
    }

    /// Answers whether it came to the end: not where the time is over, the share of revocations is used up, or Azure asks to wait.
    async fn window_of_movers(
        &self,
        rows: Vec<TableRow>,
        until: Duration,
        round: &mut TickRound,
    ) -> Result<bool, StoreError> {
        let now = round.time(self.store().clock.monotonic());
        let movers = self.hinted(rows).filter(|HintedLeaver { row, hint }| {
            let due = hint.is_over || hint.due.is_none_or(|due| due <= now);
            !hint.left && due && !round.was_tried(hint.user, &row.etag)
        });
        let movers: Vec<HintedLeaver> = movers.collect();
        for part in movers.chunks(LOOKS_AT_ONCE) {
            if self.is_past(until) || self.share().is_used_up(self.store().clock.monotonic()) {
                return Ok(false);
            }
            let looked = self.turn_of_movers(part, round).await?;
            self.share().use_up(looked.iter().map(|looked| looked.revoked).sum());
            if let Some(last) = part.last() {
                round.cursors.moving.clone_from(&last.row.key);
            }
            if looked.iter().all(|looked| looked.throttled) && self.nothing_goes(CallKind::Revoke, round) {
                return Ok(false);
            }
            self.between(round, part.len()).await?;
        }
        Ok(true)
    }

    /// Those who only gain, from where the last tick stopped, and round again to there.
    async fn gaining(&self, round: &mut TickRound) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("d:");
        let start = round.cursors.gaining.clone();
        let after = format!("{start}!");
        if start.is_empty() {
            return self.gaining_between(from, to, round).await.map(|_| ());
        }
        if self.gaining_between(after.clone(), to, round).await? {
            self.gaining_between(from, after, round).await?;
        }
        Ok(())
    }

    /// Looks at one range. Answers whether it came to its end: not where the time is over or Azure asks to wait.
    async fn gaining_between(
        &self,
        from: String,
        to: String,
        round: &mut TickRound,
    ) -> Result<bool, StoreError> {
        let mut pages = self.store().pages(from, to);
        let mut for_nothing = 0;
        while let Some(rows) = pages.next().await? {
            let last = rows.last().map(|row| row.key.clone());
            let marked: Vec<Marked> = rows.into_iter().filter_map(|row| self.gains(row)).collect();
            for part in marked.chunks(LOOKS_AT_ONCE) {
                let waits = for_nothing >= FOR_NOTHING_MAX && self.nothing_goes(CallKind::Grant, round);
                if self.over(round) || waits {
                    return Ok(false);
                }
                let people: Vec<_> = part.iter().map(|marked| (marked.user, &marked.row)).collect();
                let looked = self.look(&people, round).await;
                let throttled = looked.iter().filter(|looked| looked.throttled).count();
                for_nothing = if throttled == part.len() { for_nothing + throttled } else { 0 };
                if let Some(last) = part.last() {
                    round.cursors.gaining.clone_from(&last.row.key);
                }
                self.between(round, part.len()).await?;
            }
            if let Some(last) = last {
                round.cursors.gaining = last;
            }
        }
        round.cursors.gaining.clear();
        Ok(true)
    }

    /// Who only gains by a mark; `None` where something is taken away, or it cannot be read or is set aside.
    fn gains(&self, row: TableRow) -> Option<Marked> {
        if self.is_aside(&row) {
            return None;
        }
        match QueuedRequest::read(&row) {
            Ok(look) => (!look.mark.taken_away).then_some(Marked { user: look.user, row }),
            Err(error) => {
                self.conclude("a mark", &row, Err(error));
                None
            }
        }
    }

    /// `worked`: people who were looked at or marked meanwhile. Whoever left since is looked at before anything else goes on.
    pub(super) async fn between(&self, round: &mut TickRound, worked: usize) -> Result<(), StoreError> {
        if !round.worked(worked) {
            return Ok(());
        }
        self.leavers_in_turn(round).await
    }

    fn share(&self) -> MutexGuard<'_, RateLimiter> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no subscription of the bindings takes this kind of call now, as far as this process knows them.
    fn nothing_goes(&self, operation: CallKind, round: &TickRound) -> bool {
        let status = self.effects.status();
        let Some(known) = self.effects.snapshots.at_hand() else { return true };
        let mut scopes = known.bindings.scopes().into_iter();
        scopes.all(|scope| {
            let subscription = scope.subscription();
            round.silence.is_stopped(subscription)
                || status.throttled_until(subscription, operation).is_some()
        })
    }

    /// Looks at people side by side. What came of each; of one that failed or takes too long, nothing.
    pub(super) async fn look(
        &self,
        people: &[(UserId, &TableRow)],
        round: &TickRound,
    ) -> Vec<ReconcileOutcome> {
        let mut slow = pin!(tokio::time::sleep(self.slow_after));
        let looks: Vec<_> = people.iter().map(|(user, _)| self.begin_look(*user, round)).collect();
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
                    self.aside.ended(&row.key);
                    all.push(looked);
                    continue;
                }
                Some(Ok(Err(error))) => {
                    log("a reconcile", &error);
                    self.aside.failed(row, &error);
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

    fn begin_look(
        &self,
        user: UserId,
        round: &TickRound,
    ) -> JoinHandle<Result<ReconcileOutcome, StoreError>> {
        let (effects, silence) = (self.effects.clone(), round.silence.clone());
        tokio::spawn(async move { effects.reconciler.take_turn(user, silence).await })
    }
}
