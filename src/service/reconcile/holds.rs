//! What a breaker holds of one person: on the rows of the ledger, each with its batch.

use crate::rbac::ledger::LedgerEntry;
use crate::rbac::plan::Desired;
use crate::rbac::{AssignmentName, ReasonCode};
use crate::store::batches::Batches;
use crate::store::ledger::UserLedger;
use std::collections::BTreeMap;

/// Assignments whose next step a batch holds, and why it may not be sent.
pub fn held_steps(
    ledger: &UserLedger,
    desired: &Desired,
    batches: &Batches,
) -> BTreeMap<AssignmentName, ReasonCode> {
    let held = |entry: &LedgerEntry| {
        let wanted = desired.grants.contains_key(&entry.assignment);
        Some((entry.assignment, batches.reason_of(entry.hold_after(wanted)?, wanted)?))
    };
    ledger.entries.iter().filter_map(|stored| held(&stored.entry)).collect()
}
