//! A database that is opened anew after an error of its file.
//!
//! redb answers every call after an I/O error with the error before, until it is opened again: a disk that was full for a
//! moment would end the service for good.

use super::StoreError;
use redb::Database;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Opens the database. It must be there: one that vanished is not made again.
type Open = dyn Fn() -> Result<Database, redb::Error> + Send + Sync;

pub(super) struct Reopening {
    open: Box<Open>,
    current: RwLock<Current>,
}

struct Current {
    /// Counts the openings, so that one failure closes one database.
    opening: u64,
    database: Option<Database>,
}

impl Reopening {
    pub fn new(database: Database, open: Box<Open>) -> Self {
        Self { open, current: RwLock::new(Current { opening: 0, database: Some(database) }) }
    }

    /// Does the work on the database, which is opened first where it is not. After an error of the file it is closed: the next
    /// work opens it again. Works run side by side.
    pub fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
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
        outcome: Result<T, StoreError>,
        current: RwLockReadGuard<'_, Current>,
    ) -> Result<T, StoreError> {
        if let Err(StoreError::File(redb::Error::Io(_) | redb::Error::PreviousIo)) = &outcome {
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

    fn reopen(&self) -> Result<(), StoreError> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.database.is_none() {
            current.database = Some((self.open)()?);
            current.opening += 1;
            tracing::warn!("the table file was opened again after an error");
        }
        Ok(())
    }
}
