//! Looking at everybody who is marked, in three lines: people from whom something was taken, as soon as they are seen; those
//! whom other bindings concern; and who only gains. Each goes on from where the last tick stopped.
//!
//! Searching for revocations means reading all marks. It is done again in between, but only as often as its cost stays
//! small beside the work: a page of marks for so many people who were looked at.

use super::Tick;
use crate::id::UserId;
use crate::ports::tables::{ETag, PAGE_ROWS_MAX, Row};
use crate::service::effects::LOOKS_AT_ONCE;
use crate::service::reconcile::Looked;
use crate::store::cadence::Cursors;
use crate::store::marks::{Look, Mark};
use crate::store::{StoreError, keys};
use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// People who are looked at for each page that a search for revocations reads.
const PEOPLE_A_PAGE: usize = 2 * LOOKS_AT_ONCE;
/// Revocations that one search takes up; the next one finds the rest.
const FOUND_MAX: usize = 10_000;
/// With so many in a row for whom Azure asked to wait, the others need not be looked at now.
const FOR_NOTHING_MAX: usize = 3 * LOOKS_AT_ONCE;

/// Revocations that other bindings are the cause of: half of what Azure allows at once, and half of what it allows each second
/// after that, so that a large change of the bindings leaves people who leave their share.
const MOVED_AT_ONCE: usize = 100;
const MOVED_A_SECOND: f64 = 5.0;

/// How much of its share the line of other bindings has used, as far as this process knows.
#[derive(Debug, Default)]
pub(super) struct Share {
    used: f64,
    at: Duration,
}

impl Share {
    fn is_used_up(&mut self, now: Duration) -> bool {
        self.used = (self.used - now.saturating_sub(self.at).as_secs_f64() * MOVED_A_SECOND).max(0.0);
        self.at = now;
        self.used >= MOVED_AT_ONCE as f64
    }

    fn use_up(&mut self, revoked: usize) {
        self.used += revoked as f64;
    }
}

/// The line that a mark stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Leaving,
    Moving,
    Gaining,
}

impl Line {
    const fn of(mark: &Mark) -> Self {
        match (mark.taken_away, mark.left) {
            (true, true) => Self::Leaving,
            (true, false) => Self::Moving,
            (false, _) => Self::Gaining,
        }
    }

    const fn cursor(self, cursors: &mut Cursors) -> &mut String {
        match self {
            Self::Leaving => &mut cursors.leaving,
            Self::Moving => &mut cursors.moving,
            Self::Gaining => &mut cursors.gaining,
        }
    }
}

/// One tick under way.
pub(super) struct Round {
    /// When it ends, on the monotonic clock.
    pub until: Duration,
    cursors: Cursors,
    /// Revocations that this tick has tried: the same version of a mark is not tried twice.
    tried: BTreeMap<UserId, ETag>,
    /// People who were looked at since the last search for revocations, and how many make the next one worth it.
    since: usize,
    search_after: usize,
}

/// A mark, and whom it is about.
struct Marked {
    row: Row,
    user: UserId,
    line: Line,
}

impl Round {
    pub fn new(until: Duration, cursors: Cursors) -> Self {
        Self { until, cursors, tried: BTreeMap::new(), since: 0, search_after: PEOPLE_A_PAGE }
    }

    /// Half of the time that is left at `now`: what goes before others leaves them their share.
    pub fn half_of_the_rest(&self, now: Duration) -> Duration {
        now + self.until.saturating_sub(now) / 2
    }

    pub const fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    fn searched(&mut self, rows: usize) {
        self.since = 0;
        self.search_after = PEOPLE_A_PAGE * rows.div_ceil(PAGE_ROWS_MAX).max(1);
    }
}

impl Tick {
    /// Everybody from whom something was taken. After a deadline, those who were not reached come first.
    pub(super) async fn revoke(&self, round: &mut Round) -> Result<(), StoreError> {
        let found = self.search(round).await?;
        let stopped = found.iter().position(|marked| marked.row.key > round.cursors.leaving);
        let (reached, rest) = found.split_at(stopped.unwrap_or(0));
        let order: Vec<&Marked> = rest.iter().chain(reached).collect();
        for part in order.chunks(LOOKS_AT_ONCE) {
            if self.over(round) {
                return Ok(());
            }
            self.look(part).await;
            for marked in part {
                round.tried.insert(marked.user, marked.row.etag.clone());
                round.cursors.leaving.clone_from(&marked.row.key);
            }
        }
        round.cursors.leaving.clear();
        Ok(())
    }

    /// Reads all marks, and keeps those of revocations.
    async fn search(&self, round: &mut Round) -> Result<Vec<Marked>, StoreError> {
        let (mut found, mut read) = (Vec::new(), 0);
        let (from, to) = keys::range_of("d:");
        let mut pages = self.store().pages(from, to);
        while let Some(rows) = pages.next().await? {
            read += rows.len();
            let marked = rows.into_iter().filter_map(|row| self.marked(row));
            let new = |marked: &Marked| round.tried.get(&marked.user) != Some(&marked.row.etag);
            let wanted = marked.filter(|marked| marked.line == Line::Leaving).filter(new);
            found.extend(wanted.take(FOUND_MAX - found.len()));
        }
        round.searched(read);
        Ok(found)
    }

    /// Whom a mark is about; `None` where it cannot be read or is set aside.
    fn marked(&self, row: Row) -> Option<Marked> {
        if self.is_aside(&row) {
            return None;
        }
        match Look::read(&row) {
            Ok(look) => Some(Marked { user: look.user, line: Line::of(&look.mark), row }),
            Err(error) => {
                self.conclude("a mark", &row, Err(error));
                None
            }
        }
    }

    /// `worked`: people who were looked at meanwhile. Whoever left since is looked at before anything else goes on.
    pub(super) async fn between(&self, round: &mut Round, worked: usize) -> Result<(), StoreError> {
        round.since += worked;
        if round.since >= round.search_after { self.revoke(round).await } else { Ok(()) }
    }

    /// Everybody else. Those who move take at most half of the time, and what those who gain leave of the other half.
    pub(super) async fn everybody(&self, round: &mut Round) -> Result<(), StoreError> {
        let half = round.half_of_the_rest(self.store().clock.monotonic());
        self.line(Line::Moving, half, round).await?;
        let half_was_over = self.is_past(half);
        self.line(Line::Gaining, round.until, round).await?;
        if half_was_over && !self.over(round) {
            self.line(Line::Moving, round.until, round).await?;
        }
        Ok(())
    }

    /// One line until that time, from where the last tick stopped, and round again to there.
    async fn line(&self, line: Line, until: Duration, round: &mut Round) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("d:");
        let start = line.cursor(&mut round.cursors).clone();
        let after = format!("{start}!");
        if start.is_empty() {
            return self.pass(line, (from, to), until, round).await.map(|_| ());
        }
        if self.pass(line, (after.clone(), to), until, round).await? {
            self.pass(line, (from, after), until, round).await?;
        }
        Ok(())
    }

    /// Looks at one range. Answers whether it came to its end: not where the time is over, its share of revocations is used
    /// up, or Azure asks to wait.
    async fn pass(
        &self,
        line: Line,
        (from, to): (String, String),
        until: Duration,
        round: &mut Round,
    ) -> Result<bool, StoreError> {
        let mut pages = self.store().pages(from, to);
        let mut for_nothing = 0;
        while let Some(rows) = pages.next().await? {
            let marked = rows.into_iter().filter_map(|row| self.marked(row));
            let marked: Vec<Marked> = marked.filter(|marked| marked.line == line).collect();
            for part in marked.chunks(LOOKS_AT_ONCE) {
                if self.is_past(until) || self.share_is_used_up(line) || for_nothing >= FOR_NOTHING_MAX {
                    return Ok(false);
                }
                let looked = self.look(&part.iter().collect::<Vec<_>>()).await;
                let throttled = looked.iter().filter(|looked| looked.throttled).count();
                for_nothing = if throttled == part.len() { for_nothing + throttled } else { 0 };
                if line == Line::Moving {
                    self.share().use_up(looked.iter().map(|looked| looked.revoked).sum());
                }
                if let Some(last) = part.last() {
                    line.cursor(&mut round.cursors).clone_from(&last.row.key);
                }
                self.between(round, part.len()).await?;
            }
        }
        line.cursor(&mut round.cursors).clear();
        Ok(true)
    }

    fn share(&self) -> MutexGuard<'_, Share> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share_is_used_up(&self, line: Line) -> bool {
        line == Line::Moving && self.share().is_used_up(self.store().clock.monotonic())
    }

    /// Looks at people side by side. What came of each; of one that failed, nothing.
    async fn look(&self, part: &[&Marked]) -> Vec<Looked> {
        let users: Vec<UserId> = part.iter().map(|marked| marked.user).collect();
        let mut all = Vec::with_capacity(part.len());
        for (marked, looked) in part.iter().zip(self.effects.look(&users).await) {
            match &looked {
                Ok(_) => self.aside.ended(&marked.row.key),
                Err(error) => self.aside.failed(&marked.row, error),
            }
            all.push(looked.unwrap_or_default());
        }
        all
    }
}
