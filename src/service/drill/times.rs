//! The times of a step, out of the ledger and of the record that opened it: those that the audit shows.

use crate::id::OpId;
use crate::rbac::ledger::LedgerEntry;
use crate::store::drills::StepTimes;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// `record` is the one that opened the last step of the entry. `seen`: Azure was asked by name.
pub(super) fn of_step(record: Option<&Value>, entry: &LedgerEntry, seen: OffsetDateTime) -> StepTimes {
    let text = |name: &str| record?.get(name)?.as_str();
    let received = text("origin").and_then(|op| OpId::parse(op).ok()?.time());
    let opened = text("time").and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
    // The first two are of the clock of a process, the others of that of the table service, which says whole seconds.
    let opened = opened.map(|opened| no_earlier(opened, received));
    let confirmed = no_earlier(entry.written, opened.or(received));
    StepTimes { received, opened, confirmed: Some(confirmed), seen: Some(seen.max(confirmed)) }
}

fn no_earlier(time: OffsetDateTime, before: Option<OffsetDateTime>) -> OffsetDateTime {
    before.map_or(time, |before| time.max(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PrincipalId;
    use crate::rbac::{AssignmentName, BackupRole, Scope};
    use serde_json::json;
    use time::macros::datetime;
    use uuid::Uuid;

    #[test]
    fn no_time_is_earlier_than_the_one_before_it() {
        let scope = Scope::parse("/subscriptions/00000000-0000-0000-0000-000000000001").unwrap();
        let (name, principal) = (AssignmentName::new(Uuid::nil()), PrincipalId::new(Uuid::nil()));
        let written = datetime!(2026-03-01 10:00:04 UTC);
        let op = OpId::new(Uuid::nil());
        let entry = LedgerEntry::never_opened(name, principal, BackupRole::Reader, scope, op, written);
        let opened = datetime!(2026-03-01 10:00:04.150 UTC);
        let record = json!({"time": "2026-03-01T10:00:04.150Z"});
        let times = of_step(Some(&record), &entry, written);
        assert_eq!((times.opened, times.confirmed, times.seen), (Some(opened), Some(opened), Some(opened)));
    }
}
