//! The local table engine: the rules of Azure Table Storage over an ordered map of bytes, in memory or in one file.
//!
//! `ports::tables::rules` rejects what the service rejects. [`transaction`] decides and applies a transaction, and [`row_record`]
//! encodes keys and rows. [`memory_store`] and [`file_store`] keep the bytes. [`group_commit`] gathers waiting transactions into
//! one flush of the file, which [`table_file`] creates and [`reopening_database`] reopens after an error. [`with_clock`] fits any
//! table, this one or another: its answers carry the time of another clock.
//!
//! Left out on purpose: queries other than key ranges, the `Timestamp` property, and more than one table.

mod file_store;
mod group_commit;
mod memory_store;
mod reopening_database;
mod row_record;
mod row_store;
mod table_file;
mod transaction;
pub mod with_clock;

use crate::ports::clock::Clock;
use crate::ports::tables::{
    ETag, KeyRange, PageContinuation, RowPage, RowProperties, TableAnswer, TableError, TableOps, TableRow,
    TableWrite, rules,
};
use async_trait::async_trait;
use row_record::RowRecord;
use row_store::{FoundRows, RowStore, RowStoreError, TransactionRequest};
use std::path::Path;
use std::sync::Arc;

pub use table_file::EngineError;
pub(crate) use table_file::keep_private;

/// A table. Clones share its rows, as two services on one storage account do.
#[derive(Clone)]
pub struct TableEngine {
    store: Arc<dyn RowStore>,
    clock: Arc<dyn Clock>,
}

impl TableEngine {
    /// A table in memory, which ends with its last clone.
    pub fn memory(clock: Arc<dyn Clock>) -> Self {
        Self { store: Arc::new(memory_store::MemoryStore::default()), clock }
    }

    /// The table in the file at `path`, made when there is none. A transaction is on disk when it is answered.
    ///
    /// The file belongs to one process at a time. Dropping the last clone waits for the flush under way.
    pub fn redb(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, EngineError> {
        Ok(Self { store: Arc::new(file_store::FileStore::open(path.as_ref())?), clock })
    }

    /// Whether the last write failed, as on a disk that is full. The next one that succeeds ends it.
    pub fn is_failing(&self) -> bool {
        self.store.is_failing()
    }

    fn answer<T>(&self, value: T) -> TableAnswer<T> {
        TableAnswer { value, date: self.clock.now() }
    }
}

#[async_trait]
impl TableOps for TableEngine {
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError> {
        rules::check_key("PartitionKey", partition)?;
        rules::check_key("RowKey", key)?;
        let found = self.store.get(&row_record::row_key(partition, key)).map_err(RowStoreError::unknown)?;
        let row = found.map(|bytes| row(key.to_owned(), &bytes)).transpose();
        Ok(self.answer(row.map_err(RowStoreError::unknown)?))
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        self.page_of(partition, range, row)
    }

    async fn key_page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        self.page_of(partition, range, row_without_properties)
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        rules::check_transaction(partition, writes)?;
        let request = TransactionRequest { partition: partition.to_owned(), writes: writes.to_vec() };
        let etags = self.store.transact(request).await?;
        Ok(self.answer(etags))
    }
}

/// Reads a stored row.
type ReadRow = fn(String, &[u8]) -> Result<TableRow, RowStoreError>;

impl TableEngine {
    fn page_of(
        &self,
        partition: &str,
        range: &KeyRange,
        read: ReadRow,
    ) -> Result<TableAnswer<RowPage>, TableError> {
        rules::check_range(partition, range)?;
        check_continuation(range)?;
        let mut from = row_record::row_key(partition, &range.from);
        if let Some(PageContinuation(next)) = &range.continuation {
            from = from.max(row_record::row_key(partition, next));
        }
        let to = row_record::row_key(partition, &range.to);
        if from >= to {
            return Ok(self.answer(RowPage::default()));
        }
        let found = self.store.range(&from, &to, range.rows_max).map_err(RowStoreError::unknown)?;
        Ok(self.answer(page(found, read).map_err(RowStoreError::unknown)?))
    }
}

/// A continuation of this engine is the key where the next page begins.
fn check_continuation(range: &KeyRange) -> Result<(), TableError> {
    match &range.continuation {
        Some(PageContinuation(key)) if rules::check_key("continuation", key).is_err() => {
            let rule = "the continuation is not one that was given out".to_owned();
            Err(TableError::Invalid { rule })
        }
        _ => Ok(()),
    }
}

fn page(found: FoundRows, read: ReadRow) -> Result<RowPage, RowStoreError> {
    let mut page = RowPage { rows: Vec::with_capacity(found.pairs.len()), continuation: None };
    for (key, value) in found.pairs {
        page.rows.push(read(row_record::key_text(&key)?, &value)?);
    }
    if let Some(next) = found.next {
        page.continuation = Some(PageContinuation(row_record::key_text(&next)?));
    }
    Ok(page)
}

fn row(key: String, bytes: &[u8]) -> Result<TableRow, RowStoreError> {
    let RowRecord { version, properties } = RowRecord::decode(bytes)?;
    Ok(TableRow { key, properties, etag: row_record::etag(version) })
}

fn row_without_properties(key: String, bytes: &[u8]) -> Result<TableRow, RowStoreError> {
    let etag = row_record::etag(RowRecord::version_in(bytes)?);
    Ok(TableRow { key, properties: RowProperties::new(), etag })
}
