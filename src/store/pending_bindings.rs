//! `s:bindings-pending`: a bundled file that is stored and not active, because its plan waits for an operator. It counts only
//! while its stamp is newer than the active one: a release that does not know the row activates a newer file past it.

use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use time::OffsetDateTime;

/// The name of the row.
pub(super) const NAME: &str = "bindings-pending";

/// A stored file that waits, and what its plan was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingBindings {
    pub stamp: String,
    /// Of the file.
    pub hash: String,
    /// The hash of its plan.
    pub plan: String,
    pub revocations: usize,
    pub grants: usize,
    pub since: OffsetDateTime,
}

/// The row as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRow {
    /// `None`: it cannot be read.
    pub pending: Option<PendingBindings>,
    pub etag: ETag,
}

impl PendingRow {
    /// The file that waits: newer than the active one, which has that stamp.
    pub fn waiting(&self, active: Option<&str>) -> Option<&PendingBindings> {
        let active = active.unwrap_or_default();
        self.pending.as_ref().filter(|pending| pending.stamp.as_str() > active)
    }
}

impl StateStore {
    /// The file that waits, or waited.
    pub async fn pending_row(&self) -> Result<Option<PendingRow>, StoreError> {
        let row = self.get(&keys::setting(NAME)).await?;
        Ok(row.map(|row| self.pending_in(&row)))
    }

    pub(super) fn pending_in(&self, row: &TableRow) -> PendingRow {
        PendingRow { pending: self.readable(row, read(row)), etag: row.etag.clone() }
    }
}

fn read(row: &TableRow) -> Result<PendingBindings, StoreError> {
    let reader = RowReader::new(row)?;
    let number = |name: &str| Ok::<_, StoreError>(usize::try_from(reader.int(name)?).unwrap_or_default());
    Ok(PendingBindings {
        stamp: reader.text("stamp")?.to_owned(),
        hash: reader.text("hash")?.to_owned(),
        plan: reader.text("plan")?.to_owned(),
        revocations: number("revocations")?,
        grants: number("grants")?,
        since: reader.time("since")?,
    })
}

/// A file waits, in the place of what the row said before.
pub fn write(pending: &PendingBindings, before: Option<&PendingRow>) -> TableWrite {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let properties = RowFields::row()
        .text("stamp", pending.stamp.as_str())
        .text("hash", pending.hash.as_str())
        .text("plan", pending.plan.as_str())
        .int("revocations", number(pending.revocations))
        .int("grants", number(pending.grants))
        .time("since", pending.since)
        .done();
    let key = keys::setting(NAME);
    match before {
        Some(row) => TableWrite::Replace { key, properties, condition: EtagMatch::Exact(row.etag.clone()) },
        None => TableWrite::Insert { key, properties },
    }
}

/// No file waits any more.
pub fn remove(row: &PendingRow) -> TableWrite {
    TableWrite::Delete { key: keys::setting(NAME), condition: EtagMatch::Exact(row.etag.clone()) }
}
