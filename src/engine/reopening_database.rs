//! A redb database that is reopened after an I/O error.
//!
//! After one, redb fails every call until it is opened again: without this, a disk that was full for a moment would fail every
//! write until a restart.

use super::row_store::RowStoreError;
use redb::Database;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Opens the database. It must not create one in the place of a file that vanished.
type Open = dyn Fn() -> Result<Database, redb::Error> + Send + Sync;

pub(super) struct ReopeningDatabase {
    open: Box<Open>,
    current: RwLock<Current>,
}

struct Current {
    /// Counts the openings, so that one failure closes one database.
    opening: u64,
    database: Option<Database>,
}

impl ReopeningDatabase {
    pub fn new(database: Database, open: Box<Open>) -> Self {
        Self { open, current: RwLock::new(Current { opening: 0, database: Some(database) }) }
    }

    /// Runs `work` on the database, opening it first where it is closed. After an I/O error it is closed, so that the next call
    /// reopens it. Calls run concurrently.
    pub fn run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, RowStoreError>,
    ) -> Result<T, RowStoreError> {
        loop {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = &current.database else {
                drop(current);
                self.reopen()?;
                continue;
            };
            return self.outcome(work(database), current);
        }
    }

    fn outcome<T>(
        &self,
        outcome: Result<T, RowStoreError>,
        current: RwLockReadGuard<'_, Current>,
    ) -> Result<T, RowStoreError> {
        if let Err(RowStoreError::FileStore(redb::Error::Io(_) | redb::Error::PreviousIo)) = &outcome {
            let failed = current.opening;
            drop(current);
            self.close(failed);
        }
        outcome
    }

    /// Closes the database of that opening, which also frees its file.
    fn close(&self, opening: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.opening == opening {
            current.database = None;
        }
    }

    fn reopen(&self) -> Result<(), RowStoreError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.database.is_none() {
            current.database = Some((self.open)()?);
            current.opening += 1;
        }
        Ok(())
    }
}
