//! The rows in one redb file: read from a snapshot, written by one thread, a group of transactions a flush.
//!
//! A read runs on the caller's thread: it is answered from the page cache, or by a few reads of the disk. It never
//! waits for a write.

use super::writer::Writer;
use super::{EngineError, Found, Outcome, Request, Rows, Store, StoreError, commit};
use async_trait::async_trait;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition};
use std::path::Path;
use std::sync::Arc;

/// The format that this release reads and writes.
pub(super) const FORMAT: u64 = 1;
/// Bytes of the file that are kept in memory.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The format of the file.
const META_FORMAT: &str = "format";
/// The highest version that any row was ever given.
const META_VERSION: &str = "version";

pub(super) struct File {
    // Dropped first: its thread uses the database, and the file is free for others once both are gone.
    writer: Writer,
    database: Arc<Database>,
}

impl File {
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let opened = Database::builder().set_cache_size(CACHE_BYTES_MAX).create(path);
        let database = Arc::new(opened.map_err(|error| unopened(path, error))?);
        let format = prepare(&database).map_err(|error| unusable(path, error))?;
        if format != FORMAT {
            return Err(EngineError::Format { path: path.to_owned(), found: format });
        }
        let shared = Arc::clone(&database);
        let writer = Writer::start(move |requests| commit(&shared, requests))
            .map_err(|source| EngineError::Writer { path: path.to_owned(), source })?;
        Ok(Self { writer, database })
    }
}

fn unopened(path: &Path, error: DatabaseError) -> EngineError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => EngineError::InUse { path: path.to_owned() },
        other => unusable(path, other.into()),
    }
}

fn unusable(path: &Path, error: redb::Error) -> EngineError {
    let (path, source) = (path.to_owned(), Box::new(error));
    match &*source {
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => EngineError::Corrupt { path, source },
        redb::Error::Io(io) if damage(io.kind()) => EngineError::Corrupt { path, source },
        _ => EngineError::Unopenable { path, source },
    }
}

fn damage(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

/// Makes the tables of a new file, and answers the format of any file.
fn prepare(database: &Database) -> Result<u64, redb::Error> {
    if let Some(format) = format(database)? {
        return Ok(format);
    }
    let transaction = database.begin_write()?;
    transaction.open_table(ROWS)?;
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    transaction.commit()?;
    Ok(FORMAT)
}

fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(META_FORMAT)?.map(|format| format.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[async_trait]
impl Store for File {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.database.begin_read().map_err(redb::Error::from)?;
        let rows = rows.open_table(ROWS).map_err(redb::Error::from)?;
        Ok(rows.get(key).map_err(redb::Error::from)?.map(|value| value.value().to_vec()))
    }

    fn range(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<Found, StoreError> {
        let rows = self.database.begin_read().map_err(redb::Error::from)?;
        let rows = rows.open_table(ROWS).map_err(redb::Error::from)?;
        let mut found = Found::default();
        for pair in rows.range(from..to).map_err(redb::Error::from)? {
            let (key, value) = pair.map_err(redb::Error::from)?;
            if !found.push_within(key.value(), value.value(), rows_max) {
                break;
            }
        }
        Ok(found)
    }

    async fn transact(&self, request: Request) -> Outcome {
        self.writer.transact(request).await
    }
}

/// Carries out the transactions one after another and flushes once. Each is whole or nothing by itself; an error
/// means that none of them is in the file, or that nobody knows.
fn commit(database: &Database, requests: &[Request]) -> Result<Vec<Outcome>, StoreError> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    let outcomes = run(&transaction, requests)?;
    if outcomes.iter().any(Result::is_ok) {
        transaction.commit().map_err(redb::Error::from)?;
    }
    Ok(outcomes)
}

fn run(transaction: &redb::WriteTransaction, requests: &[Request]) -> Result<Vec<Outcome>, StoreError> {
    let mut meta = transaction.open_table(META).map_err(redb::Error::from)?;
    let version = meta.get(META_VERSION).map_err(redb::Error::from)?.map_or(0, |version| version.value());
    let mut rows = FileRows { rows: transaction.open_table(ROWS).map_err(redb::Error::from)?, version };
    let outcomes = requests.iter().map(|request| commit::execute(&mut rows, request)).collect();
    meta.insert(META_VERSION, rows.version).map_err(redb::Error::from)?;
    outcomes
}

struct FileRows<'t> {
    rows: Table<'t, &'static [u8], &'static [u8]>,
    version: u64,
}

impl Rows for FileRows<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(key).map_err(redb::Error::from)?.map(|value| value.value().to_vec()))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.rows.insert(key, value).map_err(redb::Error::from)?;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.rows.remove(key).map_err(redb::Error::from)?;
        Ok(())
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}
