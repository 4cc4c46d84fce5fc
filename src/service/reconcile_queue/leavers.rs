//! Leavers first: whoever has a hint, in the order that the hints give, without reading anybody else.
//!
//! A hint says where a revocation waits, so people who wait for a subscription that Azure throttles, or that gives no answer,
//! cost nothing until that is over. A hint goes when its person was looked at and nothing was taken away meanwhile.

use crate::ports::tables::{TRANSACTION_OPS_MAX, TableRow, TableWrite};
use crate::service::reconcile::{ReconcileOutcome, RequestState};
use crate::service::reconcile_queue::inline::{LOOKS_AT_ONCE, log_deferred};
use crate::service::reconcile_queue::promote_due::DueRequest;
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::leaver_hints::LeaverHint;
use crate::store::throttles::CallKind;
use crate::store::{StoreError, keys};
use futures_util::future::try_join_all;
use std::collections::VecDeque;
use std::time::Duration;
use time::OffsetDateTime;

/// Hints that are read and put in order together.
const WINDOW_ROWS: usize = 5000;
/// The shortest pause before leavers who wait are looked for again.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// A hint, and its row.
#[derive(Debug, Clone)]
pub(super) struct HintedLeaver {
    pub row: TableRow,
    pub hint: LeaverHint,
}

/// When somebody with a hint can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Now,
    At(OffsetDateTime),
    /// Not in this tick.
    NotNow,
}

/// What became of those whose turn it was.
#[derive(Debug, Default)]
struct Turns {
    /// Their hints go, unless something was taken meanwhile.
    finished: Vec<LeaverHint>,
    /// Theirs go too, unless they changed at all: who left a look later wrote since when it is wished.
    without_mark: Vec<LeaverHint>,
    /// What was wished was done, and something was taken meanwhile.
    anew: Vec<LeaverHint>,
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

    /// Everybody from whom something was taken, until `until`; at least a few. Windows that were not reached come next.
    async fn leavers(&self, round: &mut TickRound, until: Duration) -> Result<(), StoreError> {
        (round.next_leaver, round.some_move) = (None, false);
        let start = round.cursors.leavers.clone();
        let (mut read, mut from) = (0, start.clone());
        loop {
            let rows = self.hints_after(&from).await?;
            read += rows.len();
            let last = rows.last().map(|row| row.key.clone()).filter(|_| rows.len() >= WINDOW_ROWS);
            let in_time = self.leavers_of_window(rows, round, until).await?;
            let wrapped = from < start;
            from = last.unwrap_or_default();
            round.cursors.leavers.clone_from(&from);
            let circle_is_over =
                if from.is_empty() { start.is_empty() || wrapped } else { wrapped && from >= start };
            if circle_is_over {
                break;
            }
            if !in_time {
                // The windows that were not reached may hold some.
                round.some_move = true;
                break;
            }
        }
        round.searched(read);
        Ok(())
    }

    /// Hints from that place on.
    pub(super) async fn hints_after(&self, after: &str) -> Result<Vec<TableRow>, StoreError> {
        let (from, to) = keys::range_of(keys::HINTS);
        let from = if after.is_empty() { from } else { format!("{after}!") };
        self.store().rows_between(from, to, WINDOW_ROWS).await
    }

    /// The hints of a window that can be read and are not set aside.
    pub(super) fn readable_hints(&self, rows: Vec<TableRow>) -> impl Iterator<Item = HintedLeaver> {
        rows.into_iter().filter(|row| !self.is_quarantined(row)).filter_map(|row| {
            match LeaverHint::read(&row) {
                Ok(hint) => Some(HintedLeaver { row, hint }),
                Err(error) => {
                    self.record_result("a hint", &row, Err(error));
                    None
                }
            }
        })
    }

    /// Answers whether everybody in it who could be looked at was reached.
    async fn leavers_of_window(
        &self,
        rows: Vec<TableRow>,
        round: &mut TickRound,
        until: Duration,
    ) -> Result<bool, StoreError> {
        let (mut leavers, movers): (Vec<_>, Vec<_>) =
            self.readable_hints(rows).partition(|hinted| hinted.hint.left);
        round.some_move |= !movers.is_empty();
        leavers.sort_by_key(|hinted| hinted.hint.order());
        let mut queue = VecDeque::from(leavers);
        let (mut waiting, mut turns, mut in_time) = (Vec::new(), Turns::default(), true);
        loop {
            let part = self.ready(&mut queue, &mut waiting, round);
            if part.is_empty() {
                break;
            }
            self.reconcile_leavers(&part, round, &mut turns).await?;
            if self.is_past(until) {
                in_time = false;
                break;
            }
        }
        waiting.extend(queue.into_iter().map(|hinted| hinted.hint));
        self.update_hints(turns, &waiting).await;
        Ok(in_time)
    }

    /// The next few who can be looked at now.
    fn ready(
        &self,
        queue: &mut VecDeque<HintedLeaver>,
        waiting: &mut Vec<LeaverHint>,
        round: &mut TickRound,
    ) -> Vec<HintedLeaver> {
        let mut part = Vec::new();
        while part.len() < LOOKS_AT_ONCE
            && !self.is_over(round)
            && let Some(hinted) = queue.pop_front()
        {
            if round.was_tried(hinted.hint.user, &hinted.row.etag) {
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
            _ if round.silence.is_stopped(subscription) => Ready::NotNow,
            Some(until) => Ready::At(until),
            None => Ready::Now,
        };
        let now = round.time(self.store().clock.monotonic());
        if hint.is_over {
            return Ready::Now;
        }
        ready(hint.due, hint.subscriptions.iter().map(blocked), now)
    }

    /// The turn of a few: what was later becomes now, and each is looked at.
    async fn reconcile_leavers(
        &self,
        part: &[HintedLeaver],
        round: &mut TickRound,
        turns: &mut Turns,
    ) -> Result<(), StoreError> {
        let taken = self.promote_and_reconcile(part, round).await?;
        let now = round.time(self.store().clock.monotonic());
        for (hint, looked) in taken {
            match looked.request {
                RequestState::Completed => turns.finished.push(hint),
                RequestState::Absent => turns.without_mark.push(hint),
                RequestState::Pending if looked.revoked > 0 && !looked.throttled => turns.anew.push(hint),
                RequestState::Requeued => round.leaver_waits_until(now),
                RequestState::Pending => {}
            }
        }
        Ok(())
    }

    /// The same without what becomes of the hints, which come with the version that they have now.
    async fn promote_and_reconcile(
        &self,
        part: &[HintedLeaver],
        round: &mut TickRound,
    ) -> Result<Vec<(LeaverHint, ReconcileOutcome)>, StoreError> {
        let mut hints: Vec<LeaverHint> = part.iter().map(|hinted| hinted.hint.clone()).collect();
        let later = hints.iter().filter_map(|hint| Some(keys::request_at(hint.due?, hint.user)));
        let rows = try_join_all(later.map(|key| async move { self.store().get(&key).await })).await?;
        let due: Vec<DueRequest> =
            rows.into_iter().flatten().filter_map(|row| self.readable_due(row)).collect();
        let versions = self.promote_batch(&due).await?;
        for hint in &mut hints {
            if let Some(etag) = versions.get(&hint.user) {
                hint.etag.clone_from(etag);
            }
        }
        let people: Vec<_> = part.iter().map(|hinted| (hinted.hint.user, &hinted.row)).collect();
        let looked = self.reconcile_batch(&people, round).await;
        for (hint, hinted) in hints.iter().zip(part) {
            round.try_once(hint.user, hinted.row.etag.clone());
        }
        Ok(hints.into_iter().zip(looked).collect())
    }

    /// Those who move have their turn. What came of each.
    pub(super) async fn reconcile_rebound(
        &self,
        part: &[HintedLeaver],
        round: &mut TickRound,
    ) -> Result<Vec<ReconcileOutcome>, StoreError> {
        let taken = self.promote_and_reconcile(part, round).await?;
        let hints_of = |left: RequestState| {
            let with = taken.iter().filter(move |(_, looked)| looked.request == left);
            with.map(|(hint, _)| hint.clone()).collect()
        };
        let (finished, without_mark) = (hints_of(RequestState::Completed), hints_of(RequestState::Absent));
        self.update_hints(Turns { finished, without_mark, anew: Vec::new() }, &[]).await;
        Ok(taken.into_iter().map(|(_, looked)| looked).collect())
    }

    /// Brings the hints up to date. What fails is done by the next tick: a hint too many costs a look, no more.
    async fn update_hints(&self, turns: Turns, waiting: &[LeaverHint]) {
        for ended in [self.end_hints(turns).await, self.keep_wishes(waiting).await] {
            if let Err(error) = ended {
                log_deferred("a hint", &error);
            }
        }
    }

    async fn end_hints(&self, turns: Turns) -> Result<(), StoreError> {
        let mut anew = turns.anew;
        for part in turns.finished.chunks(TRANSACTION_OPS_MAX) {
            let ends: Vec<TableWrite> = part.iter().map(LeaverHint::end).collect();
            match self.store().transact_unjournaled(&ends).await {
                Ok(_) => {}
                Err(StoreError::Conflict { .. }) => anew.extend(self.end_one_by_one(part).await?),
                Err(error) => return Err(error),
            }
        }
        self.end_one_by_one(&turns.without_mark).await?;
        for hint in anew {
            self.restart_wish(&hint).await?;
        }
        Ok(())
    }

    /// Answers those from whom something was taken meanwhile.
    async fn end_one_by_one(&self, hints: &[LeaverHint]) -> Result<Vec<LeaverHint>, StoreError> {
        let mut changed = Vec::new();
        for hint in hints {
            match self.store().transact_unjournaled(&[hint.end()]).await {
                Ok(_) => {}
                Err(StoreError::Conflict { .. }) => changed.push(hint.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(changed)
    }

    /// What was wished before is done, so what is wished now counts from its own time. Only an order: a hint that changes once
    /// more, or that cannot be read, is left as it is.
    async fn restart_wish(&self, hint: &LeaverHint) -> Result<(), StoreError> {
        let Some(row) = self.store().get(&keys::hint(hint.user)).await? else { return Ok(()) };
        let Ok(hint) = LeaverHint::read(&row) else { return Ok(()) };
        if !hint.is_pinned && hint.tried.is_none() {
            return Ok(());
        }
        match self.store().transact_unjournaled(&[hint.restart_wish()]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Who was seen and still waits keeps the time of the wish, whatever else is taken from the same person meanwhile.
    async fn keep_wishes(&self, waiting: &[LeaverHint]) -> Result<(), StoreError> {
        // A time that is not known yet is not made one that counts.
        let unpinned =
            |hint: &&LeaverHint| !hint.is_pinned && hint.unwanted_since > OffsetDateTime::UNIX_EPOCH;
        let pins: Vec<TableWrite> = waiting.iter().filter(unpinned).map(LeaverHint::keep_wish).collect();
        for part in pins.chunks(TRANSACTION_OPS_MAX) {
            self.store().transact_unjournaled(part).await?;
        }
        Ok(())
    }

    /// Leavers whose time comes while this tick lasts are looked at then: nobody waits for the next one.
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
                // A clock that stands still brings nobody's time.
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

/// When a look that is due then can be done, where its revocations wait in places that are free or not: one that is free is
/// enough.
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
    fn a_leaver_is_ready_when_the_look_is_due_and_one_place_is_free() {
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
