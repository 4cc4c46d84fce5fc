//! Leavers first: the people who have a hint, in the order that the hints give. No other person is read.
//!
//! A hint says where a revocation waits, so people who wait for a subscription that Azure throttles, or that gives no answer,
//! cost nothing until that is over. A hint is removed when its
//! person was reconciled and nothing was taken away meanwhile.

use crate::service::deferred::log_deferred;
use crate::service::reconcile::{ReconcileOutcome, RequestState};
use crate::service::reconcile_queue::inline::CONCURRENT_RECONCILES;
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::StoreError;
use crate::store::reconcile_queue::leaver_hints::{EndedHints, LeaverHint};
use crate::store::reconcile_queue::{DueRequest, Priority, QueueItem, RowIdentity};
use crate::store::throttles::CallKind;
use futures_util::future::try_join_all;
use std::collections::VecDeque;
use std::time::Duration;
use time::OffsetDateTime;

/// Hints that are read and put in order together.
pub(super) const WINDOW_ROWS: usize = 5000;
/// The shortest pause before the next search for leavers who wait.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// A hint, and which row it is.
#[derive(Debug, Clone)]
pub(super) struct HintedLeaver {
    pub row: RowIdentity,
    pub hint: LeaverHint,
}

/// When a person with a hint can be reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Now,
    At(OffsetDateTime),
    /// Not in this tick.
    NotNow,
}

impl ReconcileTick {
    /// Leavers go on, if it is their turn.
    pub(super) async fn leavers_in_turn(&self, round: &mut TickRound) -> Result<(), StoreError> {
        let clock = &self.store().clock;
        let begun = clock.monotonic();
        let until = round.leavers_until(begun);
        if self.is_past(until) {
            return Ok(());
        }
        let ended = self.leavers(round, until).await;
        round.leavers_had(clock.monotonic().saturating_sub(begun));
        ended
    }

    /// Reconciles the people from whom something was taken, until `until`, and at least a few. The next call starts with the
    /// windows that were not reached.
    async fn leavers(&self, round: &mut TickRound, until: Duration) -> Result<(), StoreError> {
        (round.next_leaver, round.has_rebindings) = (None, false);
        let start = round.cursors.leavers.clone();
        let mut read = 0;
        let mut from = start.clone();
        loop {
            let page = self.store().leaver_hints(&from, WINDOW_ROWS).await?;
            read += page.items.len();
            let in_time = self.leavers_of_window(page.items, round, until).await?;
            let wrapped = from < start;
            from = page.next.unwrap_or_default();
            round.cursors.leavers.clone_from(&from);
            let circle_is_over =
                if from.is_start() { start.is_start() || wrapped } else { wrapped && from >= start };
            if circle_is_over {
                break;
            }
            if !in_time {
                // The windows that were not reached may hold some.
                round.has_rebindings = true;
                break;
            }
        }
        round.searched(read);
        Ok(())
    }

    /// The hints that can be read and are not quarantined.
    pub(super) fn readable_hints(
        &self,
        items: Vec<QueueItem<LeaverHint>>,
    ) -> impl Iterator<Item = HintedLeaver> {
        let readable = |item| self.readable_item("a hint", item);
        items.into_iter().filter_map(readable).map(|(row, hint)| HintedLeaver { row, hint })
    }

    /// Returns whether every person in it who could be reconciled was reached.
    async fn leavers_of_window(
        &self,
        items: Vec<QueueItem<LeaverHint>>,
        round: &mut TickRound,
        until: Duration,
    ) -> Result<bool, StoreError> {
        let (mut leavers, rebindings): (Vec<_>, Vec<_>) =
            self.readable_hints(items).partition(|hinted| hinted.hint.priority == Priority::Leaver);
        round.has_rebindings |= !rebindings.is_empty();
        // Those who are held back come last: for them there is nothing to do.
        let is_paused = self.health.is_paused();
        leavers.sort_by_key(|hinted| (hinted.hint.is_held_back(is_paused), hinted.hint.order()));
        let mut queue = VecDeque::from(leavers);
        let mut waiting = Vec::new();
        let mut ended = EndedHints::default();
        let mut in_time = true;
        loop {
            let part = self.ready(&mut queue, &mut waiting, round);
            if part.is_empty() {
                break;
            }
            self.reconcile_leavers(&part, round, &mut ended).await?;
            if self.is_past(until) {
                in_time = false;
                break;
            }
        }
        waiting.extend(queue.into_iter().map(|hinted| hinted.hint));
        self.update_hints(ended, &waiting).await;
        Ok(in_time)
    }

    /// The next few who can be reconciled now.
    fn ready(
        &self,
        queue: &mut VecDeque<HintedLeaver>,
        waiting: &mut Vec<LeaverHint>,
        round: &mut TickRound,
    ) -> Vec<HintedLeaver> {
        let mut part = Vec::new();
        while part.len() < CONCURRENT_RECONCILES
            && !self.is_over(round)
            && let Some(hinted) = queue.pop_front()
        {
            if round.was_tried(hinted.hint.user, &hinted.hint.etag) {
                continue;
            }
            match self.is_ready(&hinted.hint, round) {
                Ready::Now => part.push(hinted),
                Ready::At(at) => {
                    round.leaver_waits_until(at);
                    waiting.push(hinted.hint);
                }
                Ready::NotNow => waiting.push(hinted.hint),
            }
        }
        part
    }

    fn is_ready(&self, hint: &LeaverHint, round: &TickRound) -> Ready {
        let status = &self.health;
        let blocked = |subscription: &String| match status.throttled_until(subscription, CallKind::Revoke) {
            _ if round.silent.is_stopped(subscription) => Ready::NotNow,
            Some(until) => Ready::At(until),
            None => Ready::Now,
        };
        let now = round.time(self.store().clock.monotonic());
        if hint.is_over {
            return Ready::Now;
        }
        ready(hint.due, hint.subscriptions.iter().map(blocked), now)
    }

    /// Takes a few: promotes their requests and reconciles each of them.
    async fn reconcile_leavers(
        &self,
        part: &[HintedLeaver],
        round: &mut TickRound,
        ended: &mut EndedHints,
    ) -> Result<(), StoreError> {
        let taken = self.promote_and_reconcile(part, round).await?;
        let now = round.time(self.store().clock.monotonic());
        for (hint, outcome) in taken {
            match outcome.request {
                RequestState::Completed => ended.completed.push(hint),
                RequestState::Absent => ended.absent.push(hint),
                RequestState::Pending if outcome.revoked > 0 && !outcome.throttled => {
                    ended.restarted.push(hint)
                }
                RequestState::Requeued => round.leaver_waits_until(now),
                RequestState::Pending => {}
            }
        }
        Ok(())
    }

    /// The same, but leaves the hints as they are and returns them with their present version.
    async fn promote_and_reconcile(
        &self,
        part: &[HintedLeaver],
        round: &mut TickRound,
    ) -> Result<Vec<(LeaverHint, ReconcileOutcome)>, StoreError> {
        let mut hints: Vec<LeaverHint> = part.iter().map(|hinted| hinted.hint.clone()).collect();
        let later = hints.iter().filter_map(|hint| Some((hint.due?, hint.user)));
        let reads = later.map(|(at, user)| self.store().request_at(at, user));
        let items = try_join_all(reads).await?;
        let due: Vec<DueRequest> =
            items.into_iter().flatten().filter_map(|item| self.readable_due(item)).collect();
        let versions = self.store().promote_requests(&due).await?;
        for hint in &mut hints {
            if let Some(etag) = versions.get(&hint.user) {
                hint.etag.clone_from(etag);
            }
        }
        let people: Vec<_> = part.iter().map(|hinted| (hinted.hint.user, &hinted.row)).collect();
        let outcome = self.reconcile_batch(&people, round).await;
        for (hint, hinted) in hints.iter().zip(part) {
            round.try_once(hint.user, hinted.hint.etag.clone());
        }
        Ok(hints.into_iter().zip(outcome).collect())
    }

    /// Reconciles the people whom a rebinding moves. Returns their outcomes.
    pub(super) async fn reconcile_rebound(
        &self,
        part: &[HintedLeaver],
        round: &mut TickRound,
    ) -> Result<Vec<ReconcileOutcome>, StoreError> {
        let taken = self.promote_and_reconcile(part, round).await?;
        let hints_of = |state: RequestState| {
            let with = taken.iter().filter(move |(_, outcome)| outcome.request == state);
            with.map(|(hint, _)| hint.clone()).collect()
        };
        let ended = EndedHints {
            completed: hints_of(RequestState::Completed),
            absent: hints_of(RequestState::Absent),
            restarted: Vec::new(),
        };
        self.update_hints(ended, &[]).await;
        Ok(taken.into_iter().map(|(_, outcome)| outcome).collect())
    }

    /// Updates the hints. If that fails, the next tick does it: a hint too many costs one reconcile.
    async fn update_hints(&self, ended: EndedHints, waiting: &[LeaverHint]) {
        for done in [self.store().end_hints(ended).await, self.store().pin_unwanted_since(waiting).await] {
            if let Err(error) = done {
                log_deferred("a hint", &error);
            }
        }
    }

    /// Reconciles leavers whose time comes while this tick lasts. They do not wait for the next tick.
    pub(super) async fn retry_waiting_leavers(&self, round: &mut TickRound) -> Result<(), StoreError> {
        let clock = &self.store().clock;
        while let Some(next) = round.next_leaver {
            let now = clock.monotonic();
            let pause = round.until_time(next, now).max(PAUSE_MIN);
            if now + pause >= round.until {
                break;
            }
            clock.sleep(pause).await;
            if clock.monotonic() < now + pause {
                // A clock that does not move never makes a leaver due.
                break;
            }
            if let Err(error) = self.leavers(round, round.until).await {
                log_deferred("the rest of the leavers", &error);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// When a reconcile that is due at `due` can run. Its revocations wait in subscriptions, and one that is free is enough.
fn ready(due: Option<OffsetDateTime>, places: impl Iterator<Item = Ready>, now: OffsetDateTime) -> Ready {
    let first = |one: Ready, other: Ready| match (one, other) {
        (Ready::Now, _) | (_, Ready::Now) => Ready::Now,
        (Ready::At(one), Ready::At(other)) => Ready::At(one.min(other)),
        (Ready::NotNow, other) => other,
        (one, Ready::NotNow) => one,
    };
    let free = match places.reduce(first) {
        None | Some(Ready::Now) => now,
        Some(Ready::At(at)) => at,
        Some(Ready::NotNow) => return Ready::NotNow,
    };
    let at = due.map_or(free, |due| due.max(free));
    if at <= now { Ready::Now } else { Ready::At(at) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn at(minutes: i64) -> OffsetDateTime {
        NOON + time::Duration::minutes(minutes)
    }

    #[track_caller]
    fn check(due: Option<i64>, places: &[Ready], expected: Ready) {
        assert_eq!(ready(due.map(at), places.iter().copied(), NOON), expected);
    }

    #[test]
    fn a_leaver_is_ready_when_the_request_is_due_and_one_place_is_free() {
        check(None, &[], Ready::Now);
        check(Some(-1), &[], Ready::Now);
        check(Some(2), &[], Ready::At(at(2)));
        check(None, &[Ready::At(at(1)), Ready::Now, Ready::NotNow], Ready::Now);
        check(None, &[Ready::At(at(3)), Ready::At(at(1))], Ready::At(at(1)));
        check(Some(2), &[Ready::At(at(1)), Ready::NotNow], Ready::At(at(2)));
        check(Some(2), &[Ready::At(at(5))], Ready::At(at(5)));
        check(None, &[Ready::NotNow, Ready::NotNow], Ready::NotNow);
    }
}
