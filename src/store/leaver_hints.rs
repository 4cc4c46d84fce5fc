//! The hint `dl:{user}`: something was taken from this person and may still be held. It is written with every mark that takes
//! away, so the leavers are found without reading everybody who is marked, and it says in which order they come.
//!
//! A hint without a mark costs a look for nothing; a mark without a hint would cost a leaver his place. So a hint is only
//! deleted under the version that was read before his marks were, and every mark that takes away gives it a new version.

use crate::id::UserId;
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::rbac::ReasonCode;
use crate::store::codec::{RowFields, RowReader};
use crate::store::reconcile_queue::ReconcileRequest;
use crate::store::{StoreError, keys};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Subscriptions that a hint names; with more, it names none.
const SUBSCRIPTIONS_MAX: usize = 20;

/// Somebody from whom something was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaverHint {
    pub user: UserId,
    /// It was taken by something else than other bindings.
    pub left: bool,
    /// Since when it is wished, as far as it is known.
    pub unwanted_since: OffsetDateTime,
    /// The time above stays, whatever else is taken from this person.
    pub is_pinned: bool,
    /// When a revocation was last tried that did not work. One that was only throttled does not count.
    pub tried: Option<OffsetDateTime>,
    /// When the look later is due; `None`: the look is due now.
    pub due: Option<OffsetDateTime>,
    /// The person came back: nothing has to be waited for.
    pub is_over: bool,
    /// The subscriptions in which the revocations wait; none where that is not known.
    pub subscriptions: BTreeSet<String>,
    /// What was in the way when this person was last looked at.
    pub reason: Option<ReasonCode>,
    pub etag: ETag,
}

impl LeaverHint {
    /// Reads a `dl:` row. A hint without any time has waited longest.
    pub fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let corrupt = |_| StoreError::Corrupt { row: row.key.clone(), property: "key".to_owned() };
        let pinned = reader.time_opt("wished")?;
        let changed = reader.time_opt("changed")?;
        let due = reader.parsed_opt("due", |text| keys::parse_stamp(text).ok_or(()))?;
        let subscriptions = reader.text_opt("subscriptions")?.unwrap_or_default();
        Ok(Self {
            user: UserId::parse(keys::last_part(&row.key)).map_err(corrupt)?,
            left: reader.flag("left")?,
            unwanted_since: pinned.or(changed).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            is_pinned: pinned.is_some(),
            tried: reader.time_opt("tried")?,
            due,
            is_over: reader.flag("over")?,
            subscriptions: subscriptions.split_whitespace().map(str::to_owned).collect(),
            reason: reader.text_opt("reason")?.and_then(ReasonCode::parse),
            etag: row.etag.clone(),
        })
    }

    /// Never tried before tried, then who was tried longest ago, then who has waited longest. Trying moves somebody back and
    /// being throttled does not, so whoever was not reached comes first the next time.
    pub fn order(&self) -> (Option<OffsetDateTime>, OffsetDateTime, UserId) {
        (self.tried, self.unwanted_since, self.user)
    }

    /// The hint goes, if nothing was taken from this person since it was read.
    pub fn end(&self) -> TableWrite {
        TableWrite::Delete { key: keys::hint(self.user), condition: EtagMatch::Exact(self.etag.clone()) }
    }

    /// What is taken later does not move this person back.
    pub fn keep_wish(&self) -> TableWrite {
        let properties = RowFields::row().time("wished", self.unwanted_since).done();
        TableWrite::InsertOrMerge { key: keys::hint(self.user), properties }
    }

    /// Everything that was wished when this was read is done: what was taken since counts from its own time.
    pub fn restart_wish(&self) -> TableWrite {
        let properties = RowFields::some().text("wished", "").text("tried", "").done();
        let condition = EtagMatch::Exact(self.etag.clone());
        TableWrite::Merge { key: keys::hint(self.user), properties, condition }
    }
}

/// What a revocation waits for, for the hint of its person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingRevocation {
    /// Since when it is wished, where that is known; else the hint keeps what it says.
    pub wished: Option<OffsetDateTime>,
    /// When it was tried without success, if this look tried it.
    pub tried: Option<OffsetDateTime>,
    /// Where it waits.
    pub subscriptions: BTreeSet<String>,
    /// What is in the way of the one that has waited longest.
    pub reason: Option<ReasonCode>,
}

/// A change took something away: a look is due now, wherever it will have to wait.
pub fn hint_now(user: UserId, mark: &ReconcileRequest) -> TableWrite {
    let op = mark.origin.op;
    let fields = hint_of(mark).text("op", op.to_string()).text("due", "").text("subscriptions", "");
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
    mark: &ReconcileRequest,
    waiting: &WaitingRevocation,
) -> TableWrite {
    let names: Vec<&str> = waiting.subscriptions.iter().map(String::as_str).collect();
    let names = if names.len() > SUBSCRIPTIONS_MAX { String::new() } else { names.join(" ") };
    let reason = waiting.reason.map(|reason| reason.as_str().to_owned());
    let fields = hint_of(mark).text("due", keys::stamp(at)).text("subscriptions", names);
    let mut fields = fields.text_if("reason", reason);
    for (name, time) in [("wished", waiting.wished), ("tried", waiting.tried)] {
        fields = match time {
            Some(time) => fields.time(name, time),
            None => fields,
        };
    }
    TableWrite::InsertOrMerge { key: keys::hint(user), properties: fields.done() }
}

/// A look that was later is due now: order and places stay.
pub fn hint_due(user: UserId, mark: &ReconcileRequest) -> TableWrite {
    TableWrite::InsertOrMerge { key: keys::hint(user), properties: hint_of(mark).text("due", "").done() }
}

/// Nothing is wished any more of somebody who came back: the next tick sees to it that the look later and the hint go.
pub fn hint_over(user: UserId) -> TableWrite {
    TableWrite::InsertOrMerge {
        key: keys::hint(user),
        properties: RowFields::row().flag("over", true).done(),
    }
}

/// `left` is only ever set: whoever left stays before those who only move.
fn hint_of(mark: &ReconcileRequest) -> RowFields {
    let fields = RowFields::row().flag("over", false);
    if mark.left { fields.flag("left", true) } else { fields }
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

    fn mark_at(at: OffsetDateTime) -> ReconcileRequest {
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, at.unix_timestamp().unsigned_abs(), 0);
        let origin = ChangeOrigin {
            cause: ChangeCause::Request,
            actor: "a".to_owned(),
            op: OpId::new(Uuid::new_v7(stamp)),
        };
        ReconcileRequest::taking(origin)
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
    fn a_wish_counts_from_its_change_and_one_that_is_pinned_stays() {
        let (early, late) =
            (hint_now(user(1), &mark_at(NOON)), hint_now(user(1), &mark_at(NOON + time::Duration::HOUR)));
        assert_eq!(hint([early.clone()]).unwanted_since, NOON);
        assert_eq!(hint([early.clone(), late.clone()]).unwanted_since, NOON + time::Duration::HOUR);
        let pin = hint([early.clone()]).keep_wish();
        let pinned = hint([early, pin, late]);
        assert_eq!((pinned.unwanted_since, pinned.is_pinned, pinned.left), (NOON, true, true));
    }

    #[test]
    fn a_look_later_says_where_it_waits_and_a_new_change_forgets_that() {
        let subscriptions = BTreeSet::from(["s1".to_owned(), "s2".to_owned()]);
        let waiting = WaitingRevocation {
            wished: None,
            tried: Some(NOON),
            subscriptions: subscriptions.clone(),
            reason: None,
        };
        let (now, later) =
            (hint_now(user(1), &mark_at(NOON)), hint_at(NOON, user(1), &mark_at(NOON), &waiting));
        let waits = hint([now.clone(), later.clone()]);
        assert_eq!((waits.due, waits.tried, waits.subscriptions), (Some(NOON), Some(NOON), subscriptions));
        let again = hint([now.clone(), later, now]);
        assert_eq!((again.due, again.tried, again.subscriptions), (None, Some(NOON), BTreeSet::new()));
    }

    #[test]
    fn never_tried_comes_first_then_tried_longest_ago_then_the_earliest_wish() {
        let of = |n: u128, tried: Option<i64>, wished: i64| {
            let at = |minutes| NOON + time::Duration::minutes(minutes);
            let mut hint = hint([hint_now(user(n), &mark_at(at(wished)))]);
            (hint.user, hint.tried) = (user(n), tried.map(at));
            hint
        };
        let mut all = [of(1, Some(5), 0), of(2, None, 9), of(3, Some(1), 3), of(4, None, 2)];
        all.sort_by_key(LeaverHint::order);
        assert_eq!(all.map(|hint| hint.user), [user(4), user(2), user(3), user(1)]);
    }
}
