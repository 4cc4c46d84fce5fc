//! The rows in one redb file: read from a snapshot, written by one thread, a group of transactions a flush.
//!
//! A read runs on the caller's thread: it is answered from the page cache, or by a few reads of the disk. It never
//! waits for a write.

use super::group_commit::GroupCommitWriter;
use super::reopening_database::ReopeningDatabase;
use super::row_store::{
    FoundRows, RowStore, RowStoreError, RowTransaction, TransactionOutcome, TransactionRequest,
};
use super::table_file::{self, EngineError, META, ROWS};
use super::transaction;
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, Table};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The highest version that any row was ever given.
const META_VERSION: &str = "version";

pub(super) struct FileStore {
    // Dropped first: its thread uses the database, and the file is unlocked once both are dropped.
    writer: GroupCommitWriter,
    database: Arc<ReopeningDatabase>,
    is_failing: Arc<AtomicBool>,
}

impl FileStore {
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let database = table_file::open_or_make(path)?;
        let again = path.to_owned();
        let database = ReopeningDatabase::new(database, Box::new(move || table_file::open(&again)));
        Self::start(database).map_err(|source| EngineError::Writer { path: path.to_owned(), source })
    }

    fn start(database: ReopeningDatabase) -> std::io::Result<Self> {
        let database = Arc::new(database);
        let shared = database.clone();
        let is_failing = Arc::new(AtomicBool::new(false));
        let failing = is_failing.clone();
        let writer = GroupCommitWriter::start(move |requests| {
            let committed = shared.run(|database| commit(database, requests));
            match (failing.swap(committed.is_err(), Ordering::Relaxed), &committed) {
                (false, Err(error)) => {
                    log_event!(StoreNotWritable, error = %ErrorChain(error), "the table file cannot be written")
                }
                (true, Ok(_)) => tracing::info!("the table file can be written again"),
                _ => {}
            }
            committed
        })?;
        Ok(Self { writer, database, is_failing })
    }
}

#[async_trait]
impl RowStore for FileStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowStoreError> {
        self.database.run(|database| {
            let rows = database.begin_read().map_err(redb::Error::from)?;
            let rows = rows.open_table(ROWS).map_err(redb::Error::from)?;
            Ok(rows.get(key).map_err(redb::Error::from)?.map(|value| value.value().to_vec()))
        })
    }

    fn range(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<FoundRows, RowStoreError> {
        self.database.run(|database| {
            let rows = database.begin_read().map_err(redb::Error::from)?;
            let rows = rows.open_table(ROWS).map_err(redb::Error::from)?;
            let mut found = FoundRows::default();
            for pair in rows.range(from..to).map_err(redb::Error::from)? {
                let (key, value) = pair.map_err(redb::Error::from)?;
                if !found.push_within(key.value(), value.value(), rows_max) {
                    break;
                }
            }
            Ok(found)
        })
    }

    fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    async fn transact(&self, request: TransactionRequest) -> TransactionOutcome {
        self.writer.transact(request).await
    }
}

/// Carries out the transactions one after another and flushes once. Each is whole or nothing by itself; an error
/// means that none of them is in the file, or that the outcome is unknown.
fn commit(
    database: &Database,
    requests: &[TransactionRequest],
) -> Result<Vec<TransactionOutcome>, RowStoreError> {
    let transaction = database.begin_write().map_err(redb::Error::from)?;
    let outcomes = run(&transaction, requests)?;
    if outcomes.iter().any(Result::is_ok) {
        transaction.commit().map_err(redb::Error::from)?;
    }
    Ok(outcomes)
}

fn run(
    transaction: &redb::WriteTransaction,
    requests: &[TransactionRequest],
) -> Result<Vec<TransactionOutcome>, RowStoreError> {
    let mut meta = transaction.open_table(META).map_err(redb::Error::from)?;
    let version = meta.get(META_VERSION).map_err(redb::Error::from)?.map_or(0, |version| version.value());
    let mut rows =
        FileTransaction { rows: transaction.open_table(ROWS).map_err(redb::Error::from)?, version };
    let outcomes = requests.iter().map(|request| transaction::execute(&mut rows, request)).collect();
    meta.insert(META_VERSION, rows.version).map_err(redb::Error::from)?;
    outcomes
}

struct FileTransaction<'t> {
    rows: Table<'t, &'static [u8], &'static [u8]>,
    version: u64,
}

impl RowTransaction for FileTransaction<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowStoreError> {
        Ok(self.rows.get(key).map_err(redb::Error::from)?.map(|value| value.value().to_vec()))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowStoreError> {
        self.rows.insert(key, value).map_err(redb::Error::from)?;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), RowStoreError> {
        self.rows.remove(key).map_err(redb::Error::from)?;
        Ok(())
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}

#[cfg(test)]
mod tests;
