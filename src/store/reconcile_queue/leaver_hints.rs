//! The hint `dl:{user}`: something was taken from this person and may still be held. It is written with every request that
//! takes away, so leavers are found without reading every request, and it says in which order they come.
//!
//! A hint without a request costs one reconcile for nothing; a request without a hint would cost a leaver their priority. So a
//! hint is only deleted under the version that was read before the requests were, and every request that takes away gives it a
//! new version.

use crate::id;
use crate::id::UserId;
use crate::ports::tables::{ETag, EtagMatch, TRANSACTION_OPS_MAX, TableRow, TableWrite};
use crate::rbac::ReasonCode;
use crate::store::codec::{RowFields, RowReader};
use crate::store::reconcile_queue::queue_item::{QueueItem, QueuePage, QueuePosition};
use crate::store::reconcile_queue::request::{Priority, ReconcileRequest};
use crate::store::{RowPages, StateStore, StoreError, keys};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Subscriptions that a hint names; with more, it names none.
const SUBSCRIPTIONS_MAX: usize = 20;

/// A person from whom something was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaverHint {
    pub user: UserId,
    /// A leaver's, or of a person whom other bindings concern.
    pub priority: Priority,
    /// Since when it is unwanted, as far as it is known.
    pub unwanted_since: OffsetDateTime,
    /// The time above stays, whatever else is taken from this person.
    pub is_pinned: bool,
    /// When a revocation was last tried that did not work. One that was only throttled does not count.
    pub tried_at: Option<OffsetDateTime>,
    /// When the request of later is due; `None`: the request is due now.
    pub due: Option<OffsetDateTime>,
    /// The person came back: nothing has to be waited for.
    pub is_over: bool,
    /// The subscriptions in which the revocations wait; none where that is not known.
    pub subscriptions: BTreeSet<String>,
    /// Why the revocation waited at the last reconcile.
    pub reason: Option<ReasonCode>,
    pub etag: ETag,
}

impl LeaverHint {
    /// Reads a `dl:` row. A hint without any time has waited longest.
    pub(in crate::store) fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let pinned = reader.time_opt("wished")?;
        let changed = reader.time_opt("changed")?;
        let due = reader.parsed_opt("due", |text| id::parse_stamp(text).ok_or(()))?;
        let subscriptions = reader.text_opt("subscriptions")?.unwrap_or_default();
        Ok(Self {
            user: UserId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row))?,
            priority: if reader.flag("left")? { Priority::Leaver } else { Priority::Rebinding },
            unwanted_since: pinned.or(changed).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            is_pinned: pinned.is_some(),
            tried_at: reader.time_opt("tried")?,
            due,
            is_over: reader.flag("over")?,
            subscriptions: subscriptions.split_whitespace().map(str::to_owned).collect(),
            reason: reader.text_opt("reason")?.and_then(ReasonCode::parse),
            etag: row.etag.clone(),
        })
    }

    /// The order of leavers: never tried first, then tried longest ago, then waiting longest. An attempt moves a person back
    /// and a throttle does not, so a person who was not reached comes first the next time.
    pub fn order(&self) -> (Option<OffsetDateTime>, OffsetDateTime, UserId) {
        (self.tried_at, self.unwanted_since, self.user)
    }

    /// Whether everything that was taken away was held back at the last reconcile, and still is.
    pub fn is_held_back(&self, is_paused: bool) -> bool {
        self.reason.is_some_and(|reason| reason.is_hold() && (is_paused || reason != ReasonCode::Paused))
    }

    /// The hint goes, if nothing was taken from this person since it was read.
    fn end(&self) -> TableWrite {
        TableWrite::Delete { key: keys::hint(self.user), condition: EtagMatch::Exact(self.etag.clone()) }
    }

    /// What is taken later does not move this person back.
    fn keep_unwanted_since(&self) -> TableWrite {
        let properties = RowFields::row().time("wished", self.unwanted_since).done();
        TableWrite::InsertOrMerge { key: keys::hint(self.user), properties }
    }

    /// Every revocation that waited when this was read is done: what was taken since counts from its own time.
    fn reset_unwanted_since(&self) -> TableWrite {
        let properties = RowFields::some().text("wished", "").text("tried", "").done();
        let condition = EtagMatch::Exact(self.etag.clone());
        TableWrite::Merge { key: keys::hint(self.user), properties, condition }
    }
}

impl StateStore {
    /// A person's hint. One that cannot be read says nothing.
    pub async fn hint(&self, user: UserId) -> Result<Option<LeaverHint>, StoreError> {
        let row = self.get(&keys::hint(user)).await?;
        Ok(row.and_then(|row| self.readable(&row, LeaverHint::read(&row))))
    }
}

/// What a revocation waits for, for the hint of its person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingRevocation {
    /// Since when it is unwanted, where that is known; else the hint keeps what it says.
    pub unwanted_since: Option<OffsetDateTime>,
    /// When it was tried without success, if this reconcile tried it.
    pub tried_at: Option<OffsetDateTime>,
    /// Where it waits.
    pub subscriptions: BTreeSet<String>,
    /// What is in the way of the one that has waited longest.
    pub reason: Option<ReasonCode>,
}

/// A change took something away: a reconcile is due now, wherever it will have to wait.
pub fn hint_now(user: UserId, request: &ReconcileRequest) -> TableWrite {
    let op = request.origin.op;
    // What was in the way before need not be in the way of what is taken now.
    let fields = hint_of(request).text("op", op.to_string()).text("due", "").text("subscriptions", "");
    let fields = fields.text("reason", "");
    let fields = match op.time() {
        Some(at) => fields.time("changed", at),
        None => fields,
    };
    TableWrite::InsertOrMerge { key: keys::hint(user), properties: fields.done() }
}

/// A revocation waits until `at`.
pub fn hint_at(
    at: OffsetDateTime,
    user: UserId,
    request: &ReconcileRequest,
    waiting: &WaitingRevocation,
) -> TableWrite {
    let names: Vec<&str> = waiting.subscriptions.iter().map(String::as_str).collect();
    let names = if names.len() > SUBSCRIPTIONS_MAX { String::new() } else { names.join(" ") };
    let reason = waiting.reason.map(|reason| reason.as_str().to_owned());
    let fields = hint_of(request).text("due", id::format_stamp(at)).text("subscriptions", names);
    let mut fields = fields.text_if("reason", reason);
    for (name, time) in [("wished", waiting.unwanted_since), ("tried", waiting.tried_at)] {
        fields = match time {
            Some(time) => fields.time(name, time),
            None => fields,
        };
    }
    TableWrite::InsertOrMerge { key: keys::hint(user), properties: fields.done() }
}

/// A request of later is due now: its order and subscriptions stay.
pub fn hint_due(user: UserId, request: &ReconcileRequest) -> TableWrite {
    TableWrite::InsertOrMerge { key: keys::hint(user), properties: hint_of(request).text("due", "").done() }
}

/// No revocation waits for a person who came back: the next tick removes the request of later and the hint.
pub fn hint_over(user: UserId) -> TableWrite {
    TableWrite::InsertOrMerge {
        key: keys::hint(user),
        properties: RowFields::row().flag("over", true).done(),
    }
}

/// The flag is only ever set: a leaver stays before the people whom only other bindings concern.
fn hint_of(request: &ReconcileRequest) -> RowFields {
    let fields = RowFields::row().flag("over", false);
    if request.priority == Priority::Leaver { fields.flag("left", true) } else { fields }
}

/// Adds to a round's writes that nothing is unwanted any more, unless the hint is written already.
pub fn hint_over_unless_written(user: UserId, writes: &[TableWrite]) -> Option<TableWrite> {
    let key = keys::hint(user);
    writes.iter().all(|write| write.key() != key).then(|| hint_over(user))
}

/// Hints whose people had their turn.
#[derive(Debug, Default)]
pub struct EndedHints {
    /// The hint ends, unless something was taken away meanwhile.
    pub completed: Vec<LeaverHint>,
    /// The hint ends, unless it changed at all: a request of later that was left keeps since when it waits.
    pub absent: Vec<LeaverHint>,
    /// What was unwanted was revoked, and something was taken away meanwhile.
    pub restarted: Vec<LeaverHint>,
}

/// Hints, page by page.
pub struct HintPages<'a>(RowPages<'a>);

impl HintPages<'_> {
    /// The next hints, at least one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<QueueItem<LeaverHint>>>, StoreError> {
        let rows = self.0.next().await?;
        Ok(rows.map(|rows| rows.iter().map(item).collect()))
    }
}

impl StateStore {
    /// Hints from a position on, at most so many.
    pub async fn leaver_hints(
        &self,
        after: &QueuePosition,
        rows_max: usize,
    ) -> Result<QueuePage<LeaverHint>, StoreError> {
        let (rows, next) = self.queue_rows(keys::HINTS, after, rows_max).await?;
        Ok(QueuePage { items: rows.iter().map(item).collect(), next })
    }

    /// All hints.
    pub fn all_leaver_hints(&self) -> HintPages<'_> {
        let (from, to) = keys::range_of(keys::HINTS);
        HintPages(self.pages(from, to))
    }

    /// Ends hints.
    pub async fn end_hints(&self, ended: EndedHints) -> Result<(), StoreError> {
        let mut restarted = ended.restarted;
        for part in ended.completed.chunks(TRANSACTION_OPS_MAX) {
            let ends: Vec<TableWrite> = part.iter().map(LeaverHint::end).collect();
            match self.transact_unjournaled(&ends).await {
                Ok(_) => {}
                Err(StoreError::Conflict { .. }) => restarted.extend(self.end_one_by_one(part).await?),
                Err(error) => return Err(error),
            }
        }
        self.end_one_by_one(&ended.absent).await?;
        for hint in restarted {
            self.reset_unwanted_since(&hint).await?;
        }
        Ok(())
    }

    /// Returns the hints of people from whom something was taken meanwhile.
    async fn end_one_by_one(&self, hints: &[LeaverHint]) -> Result<Vec<LeaverHint>, StoreError> {
        let mut changed = Vec::new();
        for hint in hints {
            match self.transact_unjournaled(&[hint.end()]).await {
                Ok(_) => {}
                Err(StoreError::Conflict { .. }) => changed.push(hint.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(changed)
    }

    /// What was unwanted before is revoked, so what is unwanted now counts from its own time. It only decides an order: a hint
    /// that changes once more, or that cannot be read, is left as it is.
    async fn reset_unwanted_since(&self, hint: &LeaverHint) -> Result<(), StoreError> {
        let Some(hint) = self.hint(hint.user).await? else { return Ok(()) };
        if !hint.is_pinned && hint.tried_at.is_none() {
            return Ok(());
        }
        match self.transact_unjournaled(&[hint.reset_unwanted_since()]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// People who still wait keep the time since which they do, whatever else is taken from them meanwhile.
    pub async fn pin_unwanted_since(&self, waiting: &[LeaverHint]) -> Result<(), StoreError> {
        // A time that is not known yet is not made one that counts.
        let unpinned =
            |hint: &&LeaverHint| !hint.is_pinned && hint.unwanted_since > OffsetDateTime::UNIX_EPOCH;
        let pins: Vec<TableWrite> =
            waiting.iter().filter(unpinned).map(LeaverHint::keep_unwanted_since).collect();
        for part in pins.chunks(TRANSACTION_OPS_MAX) {
            self.transact_unjournaled(part).await?;
        }
        Ok(())
    }
}

fn item(row: &TableRow) -> QueueItem<LeaverHint> {
    QueueItem::of(row, LeaverHint::read(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{ChangeCause, ChangeOrigin};
    use crate::id::OpId;
    use crate::ports::tables::RowProperties;
    use time::macros::datetime;
    use uuid::Uuid;

    const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn user(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    fn request_of(at: OffsetDateTime) -> ReconcileRequest {
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, at.unix_timestamp().unsigned_abs(), 0);
        let origin = ChangeOrigin {
            cause: ChangeCause::Request,
            actor: "a".to_owned(),
            op: OpId::new(Uuid::new_v7(stamp)),
        };
        ReconcileRequest::taking_away(origin)
    }

    /// What a table makes of writes that insert or merge.
    fn hint(writes: impl IntoIterator<Item = TableWrite>) -> LeaverHint {
        let mut all = RowProperties::new();
        for write in writes {
            let TableWrite::InsertOrMerge { properties, .. } = write else { panic!("another write") };
            all.extend(properties);
        }
        LeaverHint::read(&TableRow { key: keys::hint(user(1)), properties: all, etag: ETag("1".to_owned()) })
            .unwrap()
    }

    #[test]
    fn a_wait_counts_from_its_change_and_one_that_is_pinned_stays() {
        let early = hint_now(user(1), &request_of(NOON));
        let late = hint_now(user(1), &request_of(NOON + time::Duration::HOUR));
        assert_eq!(hint([early.clone()]).unwanted_since, NOON);
        assert_eq!(hint([early.clone(), late.clone()]).unwanted_since, NOON + time::Duration::HOUR);
        let pin = hint([early.clone()]).keep_unwanted_since();
        let pinned = hint([early, pin, late]);
        assert_eq!(
            (pinned.unwanted_since, pinned.is_pinned, pinned.priority),
            (NOON, true, Priority::Leaver)
        );
    }

    #[test]
    fn a_request_of_later_says_where_it_waits_and_a_new_change_forgets_that() {
        let subscriptions = BTreeSet::from(["s1".to_owned(), "s2".to_owned()]);
        let waiting = WaitingRevocation {
            unwanted_since: None,
            tried_at: Some(NOON),
            subscriptions: subscriptions.clone(),
            reason: None,
        };
        let now = hint_now(user(1), &request_of(NOON));
        let later = hint_at(NOON, user(1), &request_of(NOON), &waiting);
        let waits = hint([now.clone(), later.clone()]);
        assert_eq!((waits.due, waits.tried_at, waits.subscriptions), (Some(NOON), Some(NOON), subscriptions));
        let again = hint([now.clone(), later, now]);
        assert_eq!((again.due, again.tried_at, again.subscriptions), (None, Some(NOON), BTreeSet::new()));
    }

    #[test]
    fn never_tried_comes_first_then_tried_longest_ago_then_waiting_longest() {
        let of = |n: u128, tried: Option<i64>, wished: i64| {
            let at = |minutes| NOON + time::Duration::minutes(minutes);
            let mut hint = hint([hint_now(user(n), &request_of(at(wished)))]);
            (hint.user, hint.tried_at) = (user(n), tried.map(at));
            hint
        };
        let mut all = [of(1, Some(5), 0), of(2, None, 9), of(3, Some(1), 3), of(4, None, 2)];
        all.sort_by_key(LeaverHint::order);
        assert_eq!(all.map(|hint| hint.user), [user(4), user(2), user(3), user(1)]);
    }
}
