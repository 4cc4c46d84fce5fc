//! Finding out what this installation knows of one role assignment.

use crate::id::{PrincipalId, UserId};
use crate::rbac::AssignmentName;
use crate::rbac::ledger::LedgerEntry;
use crate::store::foreign_access::ForeignAccess;
use crate::store::ledger_walk::{LedgerPosition, OwnedEntry};
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of an assignment.
#[derive(Debug, Clone)]
pub enum KnownAssignment {
    /// This service made it, or would: the ledger of that user has it. Of several the one that was written last.
    Ours { user: UserId, entry: Box<LedgerEntry> },
    /// Somebody else made it, as the last sweep saw it.
    Foreign(Box<ForeignAccess>),
}

/// What others gave these Entra objects, as the last sweep saw it, and how many rows of such cannot be read. One above
/// subscriptions was seen under each of them.
pub async fn given_by_others(
    store: &StateStore,
    principals: &BTreeSet<PrincipalId>,
) -> Result<(Vec<ForeignAccess>, usize), StoreError> {
    let (mut given, mut unreadable) = (BTreeMap::new(), 0);
    for principal in principals {
        let seen = store.seen_access_of(*principal).await?;
        unreadable += seen.unreadable.len();
        for access in seen.foreign {
            given.entry(access.key.assignment).or_insert(access);
        }
    }
    Ok((given.into_values().collect(), unreadable))
}

/// What is known of the assignment of that name. Reads the ledgers of everyone.
pub async fn find_assignment(
    store: &StateStore,
    name: AssignmentName,
) -> Result<Option<KnownAssignment>, StoreError> {
    let mut found: Option<OwnedEntry> = None;
    let mut pages = store.ledger_pages(&LedgerPosition::default());
    while let Some(rows) = pages.next().await? {
        for owned in rows.into_iter().filter_map(|row| row.owned) {
            let entry = &owned.stored.entry;
            let is_later = found.as_ref().is_none_or(|known| known.stored.entry.written < entry.written);
            if entry.assignment == name && is_later {
                found = Some(owned);
            }
        }
    }
    if let Some(OwnedEntry { user, stored }) = found {
        return Ok(Some(KnownAssignment::Ours { user, entry: Box::new(stored.entry) }));
    }
    let foreign = store.foreign_access().await?.into_iter().find(|access| access.key.assignment == name);
    Ok(foreign.map(|access| KnownAssignment::Foreign(Box::new(access))))
}
