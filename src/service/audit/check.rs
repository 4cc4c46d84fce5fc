//! Compares what was sealed with what the table holds now: finds the records that were committed late, and those that were
//! changed or removed.
//!
//! Before a day is sealed, the heads of the last days are compared. Once a week it is all of them whose records are kept.

use super::seal::{AuditSealer, SealRead};
use crate::audit::chain::{AuditHead, HeadEntry, RecordHash};
use crate::events::log_event;
use crate::store::audit_chain::{ChainCheck, ChainState, LATE_KEPT_MAX, StoredHead};
use crate::store::{PAGE_ROWS_MAX, StoreError};
use std::collections::BTreeMap;
use time::{Date, Duration, OffsetDateTime, Weekday};

/// The days whose heads are compared before each day is sealed.
const DAYS: i64 = 3;
/// On the way to the present, after a long time without sealing, nothing is compared: no record was late since then.
const CATCHING_UP_AFTER: Duration = Duration::days(2);

/// What a head is compared with.
#[derive(Debug, Default)]
struct CheckedHead {
    /// Records that are in no head.
    late: Vec<String>,
    /// Records that are not what was sealed, or gone.
    damaged: usize,
}

impl AuditSealer {
    /// Compares one head. `None`: there is none left to compare before the day is sealed.
    pub(super) async fn check(&self, read: &SealRead) -> Result<Option<ChainState>, StoreError> {
        let state = &read.state;
        let check = match state.check.filter(|check| check.day == state.day) {
            Some(check) => check,
            None => ChainCheck { day: state.day, next: self.first_to_check(state, read.now).await? },
        };
        if check.next >= state.next {
            return Ok(None);
        }
        let checked = self.check_head(check.next).await?;
        let mut after = state.clone();
        after.note_damage(check.next, checked.damaged > 0);
        let new = checked.late.into_iter().filter(|op| !state.late.contains(op));
        after.late.extend(new.take(LATE_KEPT_MAX.saturating_sub(state.late.len())));
        after.check = Some(ChainCheck { next: check.next + 1, ..check });
        Ok(Some(after))
    }

    async fn first_to_check(&self, state: &ChainState, now: OffsetDateTime) -> Result<u64, StoreError> {
        let ended = state.day.midnight().assume_utc() + Duration::DAY;
        if now - ended > CATCHING_UP_AFTER {
            return Ok(state.next);
        }
        if state.day.weekday() == Weekday::Monday {
            // What is being deleted because of its age is no damage.
            let deleting = state.expiring.as_ref().filter(|expiring| state.through >= expiring.op);
            return Ok(deleting.map_or(state.expired, |expiring| expiring.below));
        }
        let from = day_start(state.day, DAYS);
        let mut first = state.next;
        while first > state.expired && self.is_from(first - 1, from).await? {
            first -= 1;
        }
        Ok(first)
    }

    async fn is_from(&self, number: u64, day: Date) -> Result<bool, StoreError> {
        let head = self.store.audit_head(number).await?;
        Ok(head.and_then(|head| AuditHead::parse(&head.text).ok()).is_some_and(|head| head.day >= day))
    }

    async fn check_head(&self, number: u64) -> Result<CheckedHead, StoreError> {
        let mut checked = CheckedHead::default();
        let Some(StoredHead { text, adopted, after }) = self.store.audit_head(number).await? else {
            checked.damage(number, "", "the row of a head is gone");
            return Ok(checked);
        };
        let Ok(head) = AuditHead::parse(&text) else {
            checked.damage(number, "", "the row of a head was changed");
            return Ok(checked);
        };
        let (late, own): (Vec<&HeadEntry>, Vec<&HeadEntry>) =
            head.entries.iter().partition(|entry| entry.late);
        let mut sealed: BTreeMap<&str, RecordHash> =
            own.into_iter().map(|entry| (entry.op.as_str(), entry.hash)).collect();
        let elsewhere = self.store.late_records(&after, &head.through).await?;
        let mut pages = self.store.journal_lines(&after, &head.through);
        while let Some(lines) = pages.at_most(PAGE_ROWS_MAX).await? {
            for line in lines {
                match sealed.remove(line.op.as_str()) {
                    Some(hash) if hash == line.hash() => {}
                    Some(_) => checked.damage(number, &line.op, "a sealed audit record was changed"),
                    None if elsewhere.contains_key(&line.op) => {}
                    None => checked.late.push(line.op),
                }
            }
        }
        if adopted {
            return Ok(checked);
        }
        for op in sealed.into_keys() {
            checked.damage(number, op, "a sealed audit record is gone");
        }
        for entry in late {
            let line = self.store.journal_line(&entry.op).await?;
            if line.is_none_or(|line| line.hash() != entry.hash) {
                checked.damage(number, &entry.op, "a sealed audit record was changed, or is gone");
            }
        }
        Ok(checked)
    }
}

impl CheckedHead {
    fn damage(&mut self, head: u64, record: &str, what: &str) {
        // The first one is enough for the log; `audit verify` names the place.
        if self.damaged == 0 {
            log_event!(AuditDamaged, head, record, "{what}");
        }
        self.damaged += 1;
    }
}

fn day_start(day: Date, days_before: i64) -> Date {
    day.checked_sub(Duration::days(days_before)).unwrap_or(day)
}
