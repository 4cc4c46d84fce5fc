//! What keeps the rows of the engine: an ordered map of bytes, and its transactions.

use super::row_record;
use crate::ports::tables::{ETag, TableError, TableWrite};
use async_trait::async_trait;

/// Bytes after which a page ends: what many readers hold together stays small.
const PAGE_BYTES: usize = 1024 * 1024;

/// One transaction as it waits for its turn.
pub(super) struct TransactionRequest {
    pub(super) partition: String,
    pub(super) writes: Vec<TableWrite>,
}

/// What a transaction comes to.
pub(super) type TransactionOutcome = Result<Vec<Option<ETag>>, TableError>;

/// A key and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// The first pairs of a range, and where it goes on.
#[derive(Default)]
pub(super) struct FoundRows {
    pub(super) pairs: Vec<Pair>,
    pub(super) bytes: usize,
    pub(super) next: Option<Vec<u8>>,
}

impl FoundRows {
    /// Adds a pair. Where the page is full, the pair becomes the start of the next page, and the answer is false.
    pub(super) fn push_within(&mut self, key: &[u8], value: &[u8], rows_max: usize) -> bool {
        let full = self.pairs.len() >= rows_max || self.bytes >= PAGE_BYTES;
        if full {
            self.next = Some(key.to_vec());
        } else {
            self.bytes += key.len() + value.len();
            self.pairs.push((key.to_vec(), value.to_vec()));
        }
        !full
    }
}

/// An ordered map of bytes that runs transactions one after another. Reads see whole transactions only.
#[async_trait]
pub(super) trait RowStore: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowStoreError>;
    /// The first `rows_max` pairs of `from <= key < to`, or about [`PAGE_BYTES`] of them; `from` is less than `to`.
    fn range(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<FoundRows, RowStoreError>;
    /// Durable, where the store can be, once answered. Executed even if the caller has stopped waiting.
    async fn transact(&self, request: TransactionRequest) -> TransactionOutcome;
    /// Whether the last transaction could not be written.
    fn is_failing(&self) -> bool {
        false
    }
}

/// The rows as a running transaction sees and changes them.
pub(super) trait RowTransaction {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowStoreError>;
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowStoreError>;
    fn remove(&mut self, key: &[u8]) -> Result<(), RowStoreError>;
    /// A number that no row of this table ever had as its version.
    fn next_version(&mut self) -> u64;
}

/// The bytes could not be had, or are not what was put there.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowStoreError {
    #[error("the table file cannot be read or written")]
    FileStore(#[from] redb::Error),
    #[error("a row of the table cannot be understood")]
    RowRecord(#[from] row_record::RowRecordError),
}

impl RowStoreError {
    /// As the caller sees it, with every cause in one text.
    pub(super) fn unknown(self) -> TableError {
        let mut detail = self.to_string();
        let mut cause = std::error::Error::source(&self);
        while let Some(error) = cause {
            detail.push_str(": ");
            detail.push_str(&error.to_string());
            cause = error.source();
        }
        TableError::Unknown { detail }
    }
}
