//! Why state could not be read or written, and what the answers of the table service mean for it.

use crate::ports::tables::{TableError, TableRow};
use std::time::Duration;

/// How long a caller waits if storage names no wait of its own.
pub(super) const AWAY_RETRY: Duration = Duration::from_secs(5);

/// Why state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A row was not as the decision assumed: read again. Nothing was written.
    #[error("write {index} of the transaction met a row that is {found}")]
    Conflict { index: usize, found: FoundRow },
    /// Storage is busy or away; nothing is lost, and trying again later helps.
    #[error("storage cannot be reached")]
    Away {
        retry_after: Duration,
        #[source]
        source: Option<TableError>,
    },
    /// More than one transaction can hold: a limit of 100 rows, 4 MiB, or 1 MiB a row.
    #[error("the change does not fit one transaction: {rule}")]
    TooLarge { rule: String },
    /// What was sent breaks a rule of the table service: a bug of ours.
    #[error("the table service refuses what was sent: {rule}")]
    Invalid { rule: String },
    /// There are more rows than the caller allows itself to read.
    #[error("there are more than {rows_max} rows to read")]
    TooMany { rows_max: usize },
    /// The rows to read are larger than the caller allows itself.
    #[error("there are more than {bytes_max} bytes to read")]
    TooManyBytes { bytes_max: usize },
    /// A row that cannot be understood.
    #[error("property {property} of row {row} cannot be understood")]
    Corrupt { row: String, property: String },
    /// A row that a later release wrote.
    #[error("row {row} has format {version}, which this release does not know")]
    TooNew { row: String, version: i64 },
}

impl StoreError {
    /// A row whose key does not name what it should.
    pub(super) fn corrupt_key(row: &TableRow) -> Self {
        Self::Corrupt { row: row.key.clone(), property: "key".to_owned() }
    }
}

/// What a conditional write met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundRow {
    There,
    Gone,
    Changed,
}

impl std::fmt::Display for FoundRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FoundRow::There => "there already",
            FoundRow::Gone => "gone",
            FoundRow::Changed => "changed",
        })
    }
}

pub(super) fn is_throttle(error: &StoreError) -> bool {
    matches!(error, StoreError::Away { source: Some(TableError::Throttled { .. }), .. })
}

pub(super) fn read_error(source: TableError) -> StoreError {
    match source {
        TableError::Throttled { retry_after } => StoreError::Away { retry_after, source: Some(source) },
        TableError::Invalid { rule } => StoreError::Invalid { rule },
        source => StoreError::Away { retry_after: AWAY_RETRY, source: Some(source) },
    }
}

/// `skipped` writes stand before the caller's own in the transaction.
pub(super) fn write_error(error: TableError, skipped: usize) -> StoreError {
    let conflict = |index: usize, found| StoreError::Conflict { index: index.saturating_sub(skipped), found };
    match error {
        TableError::Exists { index } => conflict(index, FoundRow::There),
        TableError::Missing { index } => conflict(index, FoundRow::Gone),
        TableError::Changed { index } => conflict(index, FoundRow::Changed),
        TableError::TooLarge { rule } => StoreError::TooLarge { rule },
        TableError::Invalid { rule } => StoreError::Invalid { rule },
        other => read_error(other),
    }
}
