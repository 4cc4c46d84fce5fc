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
    StepTimes {
        received: text("origin").and_then(|op| OpId::parse(op).ok()?.time()),
        opened: text("time").and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok()),
        confirmed: Some(entry.written),
        seen: Some(seen),
    }
}
