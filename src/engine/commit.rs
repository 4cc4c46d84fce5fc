//! One transaction: first decided against the rows as they are, then applied whole.
//!
//! No row is written twice in a transaction, so every write can be judged by the rows before it, and a transaction
//! that is refused has touched nothing.

use super::record::{self, Record};
use super::{Outcome, Request, Rows, StoreError};
use crate::ports::tables::{ETag, EtagMatch, RowProperties, TableError, TableWrite, rules};

/// A row as the transaction leaves it; without properties it is gone.
struct Change {
    key: Vec<u8>,
    properties: Option<RowProperties>,
}

/// Carries out one transaction. The outer error means that the rows can no longer be trusted: whatever the store has
/// gathered with this transaction must not be committed.
pub(super) fn execute(rows: &mut dyn Rows, request: &Request) -> Result<Outcome, StoreError> {
    match decide(rows, request) {
        Ok(changes) => apply(rows, changes).map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn decide(rows: &dyn Rows, request: &Request) -> Result<Vec<Change>, TableError> {
    let mut changes = Vec::with_capacity(request.writes.len());
    for (index, write) in request.writes.iter().enumerate() {
        let key = record::row_key(&request.partition, write.key());
        let present = present(rows, &key).map_err(StoreError::unknown)?;
        let properties = outcome(index, write, present)?;
        if let Some(properties) = &properties {
            rules::check_entity(&request.partition, write.key(), properties)?;
        }
        changes.push(Change { key, properties });
    }
    Ok(changes)
}

fn present(rows: &dyn Rows, key: &[u8]) -> Result<Option<Record>, StoreError> {
    let Some(bytes) = rows.get(key)? else { return Ok(None) };
    Ok(Some(Record::decode(&bytes)?))
}

/// The properties that a write leaves, `None` for a delete.
fn outcome(
    index: usize,
    write: &TableWrite,
    present: Option<Record>,
) -> Result<Option<RowProperties>, TableError> {
    let properties = match write {
        TableWrite::Insert { .. } if present.is_some() => return Err(TableError::Exists { index }),
        TableWrite::Insert { properties, .. } | TableWrite::InsertOrReplace { properties, .. } => {
            properties.clone()
        }
        TableWrite::InsertOrMerge { properties, .. } => {
            merged(present.map(|record| record.properties).unwrap_or_default(), properties)
        }
        TableWrite::Replace { properties, condition, .. } => {
            demand(index, condition, present)?;
            properties.clone()
        }
        TableWrite::Merge { properties, condition, .. } => {
            merged(demand(index, condition, present)?.properties, properties)
        }
        TableWrite::Delete { condition, .. } => {
            demand(index, condition, present)?;
            return Ok(None);
        }
    };
    Ok(Some(properties))
}

fn demand(index: usize, condition: &EtagMatch, present: Option<Record>) -> Result<Record, TableError> {
    let record = present.ok_or(TableError::Missing { index })?;
    match condition {
        EtagMatch::Exact(etag) if *etag != record::etag(record.version) => Err(TableError::Changed { index }),
        _ => Ok(record),
    }
}

fn merged(mut present: RowProperties, named: &RowProperties) -> RowProperties {
    present.extend(named.clone());
    present
}

fn apply(rows: &mut dyn Rows, changes: Vec<Change>) -> Result<Vec<Option<ETag>>, StoreError> {
    changes.into_iter().map(|change| put(rows, change)).collect()
}

fn put(rows: &mut dyn Rows, change: Change) -> Result<Option<ETag>, StoreError> {
    let Some(properties) = change.properties else {
        rows.remove(&change.key)?;
        return Ok(None);
    };
    let version = rows.next_version();
    rows.put(&change.key, &Record::encode(version, &properties))?;
    Ok(Some(record::etag(version)))
}
