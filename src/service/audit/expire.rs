//! Deletes records that are older than they are kept. The deletion is a record itself, and nothing is deleted before that
//! record is sealed: so the chain says at every moment what is missing and why. Heads stay.

use super::seal::{AuditSealer, SealRead, SealStep};
use crate::audit::chain::{AuditHead, format_day};
use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::id::SERVICE;
use crate::store::StoreError;
use crate::store::audit_chain::{ChainState, Expiring};
use time::{Date, Month};

/// Heads whose records one record says are deleted.
const HEADS_MAX: u64 = 62;

impl AuditSealer {
    /// One step of a deletion. `None`: nothing is to be deleted now.
    pub(super) async fn expire(&self, read: &SealRead) -> Result<Option<SealStep>, StoreError> {
        let state = &read.state;
        match &state.expiring {
            Some(expiring) if state.expired >= expiring.below => {
                let after = ChainState { expiring: None, ..state.clone() };
                self.leave(read, &after).await.map(Some)
            }
            Some(expiring) if state.through.as_str() >= expiring.op.as_str() => {
                self.delete_head(read).await.map(Some)
            }
            // The record about it is not sealed yet.
            Some(_) => Ok(None),
            None => self.record_expiry(read).await,
        }
    }

    async fn delete_head(&self, read: &SealRead) -> Result<SealStep, StoreError> {
        let number = read.state.expired;
        if let Some(head) = self.head(number).await? {
            let ops: Vec<String> = head.entries.iter().map(|entry| entry.op.clone()).collect();
            let late = head.entries.into_iter().filter(|entry| entry.late).map(|entry| entry.op);
            self.store.delete_records(&ops, &late.collect::<Vec<_>>()).await?;
            tracing::info!(head = number, day = %head.day, records = ops.len(), "old audit records were deleted");
        }
        let mut after = ChainState { expired: number + 1, ..read.state.clone() };
        after.note_damage(number, false);
        self.leave(read, &after).await
    }

    /// Records that the heads which are old enough lose their records.
    async fn record_expiry(&self, read: &SealRead) -> Result<Option<SealStep>, StoreError> {
        let state = &read.state;
        let Some(etag) = &read.etag else { return Ok(None) };
        let kept_from = months_before(read.now.date(), self.retention_months);
        let mut last = None;
        for number in state.expired..state.next.min(state.expired + HEADS_MAX) {
            match self.head(number).await? {
                Some(head) if head.day < kept_from => last = Some(head),
                _ => break,
            }
        }
        let Some(last) = last else { return Ok(None) };
        let op = self.store.ids.op();
        let record = AuditRecord {
            op,
            time: read.now,
            origin: ChangeOrigin { cause: ChangeCause::Sweep, actor: SERVICE.to_owned(), op },
            request: None,
            stamp: None,
            outcome: None,
            changes: vec![AuditEvent::AuditExpired {
                through_head: i64::try_from(last.number).unwrap_or(i64::MAX),
                through_day: format_day(last.day),
                months: i64::from(self.retention_months),
            }],
        };
        let expiring = Some(Expiring { below: last.number + 1, op: op.to_string() });
        let after = ChainState { expiring, ..state.clone() };
        self.store.record_expiry(&record, etag, &after).await?;
        Ok(Some(SealStep::Done))
    }

    async fn head(&self, number: u64) -> Result<Option<AuditHead>, StoreError> {
        let head = self.store.audit_head(number).await?;
        Ok(head.and_then(|head| AuditHead::parse(&head.text).ok()))
    }
}

/// The same day of an earlier month, or the last one that it has.
fn months_before(day: Date, months: u32) -> Date {
    let count = i64::from(day.year()) * 12 + i64::from(u8::from(day.month())) - 1 - i64::from(months);
    let year = i32::try_from(count.div_euclid(12)).unwrap_or(day.year());
    let month = u8::try_from(count.rem_euclid(12) + 1).ok().and_then(|month| Month::try_from(month).ok());
    let month = month.unwrap_or(Month::January);
    let last = month.length(year);
    Date::from_calendar_date(year, month, day.day().min(last)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn months_are_those_of_the_calendar() {
        for (day, months, expected) in [
            (date!(2026 - 11 - 25), 13, date!(2025 - 10 - 25)),
            (date!(2026 - 01 - 31), 13, date!(2024 - 12 - 31)),
            (date!(2026 - 03 - 31), 13, date!(2025 - 02 - 28)),
            (date!(2025 - 03 - 31), 13, date!(2024 - 02 - 29)),
            (date!(2026 - 02 - 01), 120, date!(2016 - 02 - 01)),
        ] {
            assert_eq!(months_before(day, months), expected, "{day} less {months}");
        }
    }
}
