//! One tick under way: its time, its positions, and what it has tried.

use crate::id::UserId;
use crate::service::reconcile::SilentSubscriptions;
use crate::service::reconcile_queue::inline::CONCURRENT_RECONCILES;
use crate::store::tick_cursors::TickCursors;
use crate::store::{ETag, PAGE_ROWS_MAX};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// People who are reconciled for each page that a search for leavers reads.
const PEOPLE_A_PAGE: usize = 2 * CONCURRENT_RECONCILES;

/// One tick under way.
pub(super) struct TickRound {
    /// When it ends, on the monotonic clock.
    pub until: Duration,
    pub cursors: TickCursors,
    /// The subscriptions that gave no answer in this tick.
    pub silent: Arc<SilentSubscriptions>,
    /// The first time, on the table service's clock, at which a leaver who waits can be reconciled.
    pub next_leaver: Option<OffsetDateTime>,
    /// Whether the last search met people whom other bindings concern.
    pub has_rebindings: bool,
    /// Whether a fan-out enqueued groups that are in its group.
    pub has_nested: bool,
    /// When the tick began, and how much of it leavers have had.
    began: Duration,
    leavers_had: Duration,
    /// The table service's clock, and when it said so.
    date: (OffsetDateTime, Duration),
    /// The hints whose people had their turn: the same version has no second one.
    attempted: BTreeMap<UserId, ETag>,
    /// People who were reconciled or enqueued since the last search for leavers, and how many make the next one worth it.
    since: usize,
    search_after: usize,
}

impl TickRound {
    /// `date` is the table service's clock at `now`.
    pub fn new(now: Duration, date: OffsetDateTime, deadline: Duration, cursors: TickCursors) -> Self {
        Self {
            until: now + deadline,
            cursors,
            silent: Arc::default(),
            next_leaver: None,
            has_rebindings: false,
            has_nested: false,
            began: now,
            leavers_had: Duration::ZERO,
            date: (date, now),
            attempted: BTreeMap::new(),
            since: 0,
            search_after: PEOPLE_A_PAGE,
        }
    }

    /// When the tick began, on the table service's clock.
    pub const fn began_at(&self) -> OffsetDateTime {
        self.date.0
    }

    /// The end of one of so many equal parts of the time that is left: a stage leaves the others their share.
    pub fn part_of_the_rest(&self, parts: u32, now: Duration) -> Duration {
        now + self.until.saturating_sub(now) / parts
    }

    /// Until when leavers may go on now: they have half of a tick, and then as much as everything else has. So the other stages
    /// have a quarter, however many leave.
    pub fn leavers_until(&self, now: Duration) -> Duration {
        let others = now.saturating_sub(self.began).saturating_sub(self.leavers_had);
        let may_have = self.until.saturating_sub(self.began) / 2 + others;
        now + may_have.saturating_sub(self.leavers_had)
    }

    pub fn leavers_had(&mut self, time: Duration) {
        self.leavers_had += time;
    }

    /// The table service's time.
    pub fn time(&self, now: Duration) -> OffsetDateTime {
        let (date, at) = self.date;
        date + now.saturating_sub(at)
    }

    /// How long until that time.
    pub fn until_time(&self, at: OffsetDateTime, now: Duration) -> Duration {
        Duration::try_from(at - self.time(now)).unwrap_or_default()
    }

    pub fn was_tried(&self, user: UserId, hint: &ETag) -> bool {
        self.attempted.get(&user) == Some(hint)
    }

    pub fn try_once(&mut self, user: UserId, hint: ETag) {
        self.attempted.insert(user, hint);
    }

    /// A search for leavers read so many rows. The next one waits until its cost is small beside the work.
    pub fn searched(&mut self, rows: usize) {
        self.since = 0;
        self.search_after = PEOPLE_A_PAGE * rows.div_ceil(PAGE_ROWS_MAX).max(1);
    }

    /// Counts people who were reconciled or enqueued. Returns whether to search for leavers again.
    pub fn worked(&mut self, people: usize) -> bool {
        self.since += people;
        self.since >= self.search_after
    }

    /// Notes that a leaver can be reconciled from then on.
    pub fn leaver_waits_until(&mut self, at: OffsetDateTime) {
        self.next_leaver = Some(self.next_leaver.map_or(at, |next| next.min(at)));
    }
}
