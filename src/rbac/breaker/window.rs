//! What was counted in each of the last minutes.

use super::WINDOW;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// One more than the window has, so that no 60 minutes are ever counted short.
const MINUTES: i64 = (WINDOW.as_secs() / 60) as i64;

/// One minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MinuteCount {
    /// People who held the role before anything was counted in this minute.
    pub before: usize,
    /// New people who were given it.
    pub granted: usize,
    /// People whom the operations of this minute take it from.
    pub revoked: usize,
}

/// The minutes of the window, those in which nothing was counted left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window(BTreeMap<i64, MinuteCount>);

impl Window {
    /// Each minute, since the epoch, with its counts.
    pub fn minutes(&self) -> impl Iterator<Item = (i64, MinuteCount)> {
        self.0.iter().map(|(minute, count)| (*minute, *count))
    }

    /// New people of the window.
    pub fn granted(&self, now: OffsetDateTime) -> usize {
        self.since(now).map(|count| count.granted).sum()
    }

    /// People of the window from whom something was taken.
    pub fn revoked(&self, now: OffsetDateTime) -> usize {
        self.since(now).map(|count| count.revoked).sum()
    }

    /// How many people held the role when the window began; `people` hold it now.
    pub fn people_at_start(&self, people: usize, now: OffsetDateTime) -> usize {
        self.since(now).next().map_or(people, |first| first.before)
    }

    pub(super) fn grant(&mut self, people: usize, now: OffsetDateTime) {
        self.at(people, now).granted += 1;
    }

    pub(super) fn revoke(&mut self, size: usize, people: usize, now: OffsetDateTime) {
        let count = self.at(people, now);
        count.revoked = count.revoked.saturating_add(size);
    }

    fn at(&mut self, people: usize, now: OffsetDateTime) -> &mut MinuteCount {
        let first = first_minute(now);
        self.0.retain(|minute, _| *minute >= first);
        let before = MinuteCount { before: people, ..MinuteCount::default() };
        self.0.entry(minute_of(now)).or_insert(before)
    }

    fn since(&self, now: OffsetDateTime) -> impl Iterator<Item = &MinuteCount> {
        self.0.range(first_minute(now)..).map(|(_, count)| count)
    }
}

impl FromIterator<(i64, MinuteCount)> for Window {
    fn from_iter<I: IntoIterator<Item = (i64, MinuteCount)>>(minutes: I) -> Self {
        Self(minutes.into_iter().collect())
    }
}

/// The minute of a time, since the epoch.
pub(super) fn minute_of(now: OffsetDateTime) -> i64 {
    now.unix_timestamp().div_euclid(60)
}

/// The first minute of the window that ends now.
pub(super) fn first_minute(now: OffsetDateTime) -> i64 {
    minute_of(now) - MINUTES
}
