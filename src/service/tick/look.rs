//! Looking at everybody who is marked: revocations as soon as they are seen, the others from where the last tick stopped.
//!
//! Searching for revocations means reading all marks. It is done again in between, but only as often as its cost stays
//! small beside the work: a page of marks for so many people who were looked at.

use super::Tick;
use crate::id::UserId;
use crate::ports::tables::{ETag, PAGE_ROWS_MAX, Row};
use crate::service::effects::LOOKS_AT_ONCE;
use crate::service::reconcile::Looked;
use crate::store::cadence::Cursors;
use crate::store::marks::Look;
use crate::store::{StoreError, keys};
use std::collections::BTreeMap;
use std::time::Duration;

/// People who are looked at for each page that a search for revocations reads.
const PEOPLE_A_PAGE: usize = 2 * LOOKS_AT_ONCE;
/// Revocations that one search takes up; the next one finds the rest.
const FOUND_MAX: usize = 10_000;
/// With so many in a row for whom Azure asked to wait, the others need not be looked at now.
const FOR_NOTHING_MAX: usize = 3 * LOOKS_AT_ONCE;

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
}

impl Round {
    pub fn new(until: Duration, cursors: Cursors) -> Self {
        Self { until, cursors, tried: BTreeMap::new(), since: 0, search_after: PEOPLE_A_PAGE }
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
            let wanted = marked.filter(|(_, taken_away)| *taken_away).map(|(marked, _)| marked).filter(new);
            found.extend(wanted.take(FOUND_MAX - found.len()));
        }
        round.searched(read);
        Ok(found)
    }

    /// Whom a mark is about, and whether something was taken; `None` where it cannot be read or is set aside.
    fn marked(&self, row: Row) -> Option<(Marked, bool)> {
        if self.is_aside(&row) {
            return None;
        }
        match Look::read(&row) {
            Ok(look) => Some((Marked { user: look.user, row }, look.mark.taken_away)),
            Err(error) => {
                self.note("a mark", &row, Err(error));
                None
            }
        }
    }

    /// `worked`: people who were looked at meanwhile. Whoever left since is looked at before anything else goes on.
    pub(super) async fn between(&self, round: &mut Round, worked: usize) -> Result<(), StoreError> {
        round.since += worked;
        if round.since >= round.search_after { self.revoke(round).await } else { Ok(()) }
    }

    /// Everybody, from where the last tick stopped, and round again to there.
    pub(super) async fn everybody(&self, round: &mut Round) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("d:");
        let start = round.cursors.all.clone();
        let after = |key: &str| format!("{key}!");
        if start.is_empty() {
            return self.pass(from, to, round).await.map(|_| ());
        }
        if self.pass(after(&start), to, round).await? {
            self.pass(from, after(&start), round).await?;
        }
        Ok(())
    }

    /// Looks at one range. Answers whether it came to its end: not where the time is over, or where Azure asks to wait.
    async fn pass(&self, from: String, to: String, round: &mut Round) -> Result<bool, StoreError> {
        let mut pages = self.store().pages(from, to);
        let mut for_nothing = 0;
        while let Some(rows) = pages.next().await? {
            let marked: Vec<Marked> =
                rows.into_iter().filter_map(|row| self.marked(row)).map(|(marked, _)| marked).collect();
            for part in marked.chunks(LOOKS_AT_ONCE) {
                if self.over(round) || for_nothing >= FOR_NOTHING_MAX {
                    return Ok(false);
                }
                let throttled = self.look(&part.iter().collect::<Vec<_>>()).await;
                for_nothing = if throttled == part.len() { for_nothing + throttled } else { 0 };
                if let Some(last) = part.last() {
                    round.cursors.all.clone_from(&last.row.key);
                }
                self.between(round, part.len()).await?;
            }
        }
        round.cursors.all.clear();
        Ok(true)
    }

    /// Looks at people side by side. Answers for how many of them Azure asked to wait.
    async fn look(&self, part: &[&Marked]) -> usize {
        let users: Vec<UserId> = part.iter().map(|marked| marked.user).collect();
        let mut throttled = 0;
        for (marked, looked) in part.iter().zip(self.effects.look(&users).await) {
            throttled += usize::from(matches!(looked, Ok(Looked::Throttled)));
            match looked {
                Ok(_) => self.aside.ended(&marked.row.key),
                Err(error) => self.aside.failed(&marked.row.key, &marked.row.etag, &error),
            }
        }
        throttled
    }
}
