//! The local table engine: the rules of Azure Table Storage over an ordered map of bytes, in memory or in one file.
//!
//! `ports::tables::rules` refuses what the service refuses, [`commit`] decides and applies a transaction, [`record`] is the form
//! of keys and rows in bytes, [`memory`] and [`file`] keep the bytes, and [`writer`] gathers waiting transactions
//! into one flush of the file, which [`table_file`] makes and [`reopening`] opens again after an error. Two wraps fit any table, this one or another: [`dated`] puts it on another clock, [`faults`]
//! is for tests.
//!
//! Left out on purpose: queries other than key ranges, the `Timestamp` property, and more than one table.

mod commit;
pub mod dated;
pub mod faults;
mod file;
mod memory;
mod record;
mod reopening;
mod table_file;
mod writer;

use crate::ports::clock::Clock;
use crate::ports::tables::{
    ETag, KeyRange, PageContinuation, RowPage, TableAnswer, TableError, TableOps, TableRow, TableWrite, rules,
};
use async_trait::async_trait;
use record::Record;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use table_file::keep_private;

/// Bytes after which a page ends: what many readers hold together stays small.
const PAGE_BYTES: usize = 1024 * 1024;

/// A table. Clones share its rows, as two services on one storage account do.
#[derive(Clone)]
pub struct Engine {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

/// Why a table file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("{} has format {found}, and this release knows only format {}", path.display(), table_file::FORMAT)]
    Format { path: PathBuf, found: u64 },
    #[error("{} is cut off, damaged or no table file: put a copy of it back", path.display())]
    Corrupt {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    #[error("{} cannot be opened", path.display())]
    Unopenable {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    #[error("the writer of {} cannot be started", path.display())]
    Writer {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Engine {
    /// A table that is gone when its last clone is dropped.
    pub fn memory(clock: Arc<dyn Clock>) -> Self {
        Self { store: Arc::new(memory::Memory::default()), clock }
    }

    /// The table in the file at `path`, made when there is none. A transaction is on disk when it is answered.
    ///
    /// The file belongs to one process at a time. Dropping the last clone waits for the flush under way.
    pub fn redb(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, EngineError> {
        Ok(Self { store: Arc::new(file::File::open(path.as_ref())?), clock })
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
impl TableOps for Engine {
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError> {
        rules::check_key("PartitionKey", partition)?;
        rules::check_key("RowKey", key)?;
        let found = self.store.get(&record::row_key(partition, key)).map_err(StoreError::unknown)?;
        let row = found.map(|bytes| row(key.to_owned(), &bytes)).transpose();
        Ok(self.answer(row.map_err(StoreError::unknown)?))
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        rules::check_range(partition, range)?;
        check_continuation(range)?;
        let mut from = record::row_key(partition, &range.from);
        if let Some(PageContinuation(next)) = &range.continuation {
            from = from.max(record::row_key(partition, next));
        }
        let to = record::row_key(partition, &range.to);
        if from >= to {
            return Ok(self.answer(RowPage::default()));
        }
        let found = self.store.range(&from, &to, range.rows_max).map_err(StoreError::unknown)?;
        Ok(self.answer(page(found).map_err(StoreError::unknown)?))
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        rules::check_transaction(partition, writes)?;
        let request = Request { partition: partition.to_owned(), writes: writes.to_vec() };
        let etags = self.store.transact(request).await?;
        Ok(self.answer(etags))
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

fn page(found: Found) -> Result<RowPage, StoreError> {
    let mut page = RowPage { rows: Vec::with_capacity(found.pairs.len()), continuation: None };
    for (key, value) in found.pairs {
        page.rows.push(row(record::key_text(&key)?, &value)?);
    }
    if let Some(next) = found.next {
        page.continuation = Some(PageContinuation(record::key_text(&next)?));
    }
    Ok(page)
}

fn row(key: String, bytes: &[u8]) -> Result<TableRow, StoreError> {
    let Record { version, properties } = Record::decode(bytes)?;
    Ok(TableRow { key, properties, etag: record::etag(version) })
}

/// One transaction as it waits for its turn.
struct Request {
    partition: String,
    writes: Vec<TableWrite>,
}

/// What a transaction comes to.
type Outcome = Result<Vec<Option<ETag>>, TableError>;

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// The first pairs of a range, and where it goes on.
#[derive(Default)]
struct Found {
    pairs: Vec<Pair>,
    bytes: usize,
    next: Option<Vec<u8>>,
}

impl Found {
    /// Takes one more pair; false, and the pair is the next one, where there are enough rows or bytes.
    fn push_within(&mut self, key: &[u8], value: &[u8], rows_max: usize) -> bool {
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
trait Store: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// The first `rows_max` pairs of `from <= key < to`, or about [`PAGE_BYTES`] of them; `from` is less than `to`.
    fn range(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<Found, StoreError>;
    /// Durable, where the store can be, once answered. Carried out even if the caller is gone by then.
    async fn transact(&self, request: Request) -> Outcome;
    /// Whether the last transaction could not be written.
    fn is_failing(&self) -> bool {
        false
    }
}

/// The rows as a running transaction sees and changes them.
trait Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError>;
    /// A number that no row of this table ever had as its version.
    fn next_version(&mut self) -> u64;
}

/// The bytes could not be had, or are not what was put there.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error("the table file cannot be read or written")]
    File(#[from] redb::Error),
    #[error("a row of the table cannot be understood")]
    Record(#[from] record::RecordError),
}

impl StoreError {
    /// As the caller sees it, with every cause in one text.
    fn unknown(self) -> TableError {
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
