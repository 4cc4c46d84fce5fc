//! The state as a file. Rows are read page by page, so it takes as little memory for a large tenant as for a small one.
//!
//! A table has no snapshots. The rows are read twice, the second time without their properties, and the file is exact where both
//! readings met the same rows in the same versions: no version is used twice, so each row was then as it is in the file at the moment between the readings.

use crate::store::state_copy::{is_bookkeeping, is_incomplete};
use crate::store::state_file::{FileFooter, FileHeader, StateFileWriter};
use crate::store::{StateStore, StoreError, TableRow};
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
pub enum StateExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write")]
    Write(#[from] io::Error),
    /// The table is no state: a restore is not complete, or the service waits because the state was lost.
    #[error("the state in the table is not complete: it was lost, or a restore of it has not ended")]
    Incomplete,
    #[error("the table has no rows of tenant {tenant}: another table, or another tenant?")]
    Empty { tenant: String },
}

/// Writes every row of the tenant. `progress` is given the number of rows so far, of both readings.
pub async fn export(
    store: &StateStore,
    out: &mut dyn Write,
    progress: &dyn Fn(usize),
) -> Result<FileFooter, StateExportError> {
    let exported = store.table_time().await?;
    let instance = store.known_instance().await?;
    let header = FileHeader { tenant: store.tenant().to_owned(), instance, exported };
    let mut file = StateFileWriter::begin(out, &header)?;
    let mut versions = Versions::default();
    let mut pages = store.every_row();
    while let Some(rows) = pages.next().await? {
        for row in &rows {
            if is_incomplete(&row.key) {
                return Err(StateExportError::Incomplete);
            }
            versions.add(row);
            file.row(&row.key, &row.properties)?;
        }
        progress(versions.rows);
    }
    if versions.rows == 0 {
        return Err(StateExportError::Empty { tenant: store.tenant().to_owned() });
    }
    let exact = versions.are_still(store, progress).await?;
    Ok(file.end(exact)?)
}

/// Which rows were read, in which versions.
#[derive(Default)]
struct Versions {
    hash: Sha256,
    rows: usize,
}

impl Versions {
    fn add(&mut self, row: &TableRow) {
        self.rows += 1;
        if !is_bookkeeping(&row.key) {
            self.hash.update(format!("{}\n{}\n", row.key, row.etag.0));
        }
    }

    /// Whether another reading meets the same.
    async fn are_still(self, store: &StateStore, progress: &dyn Fn(usize)) -> Result<bool, StoreError> {
        let mut again = Self::default();
        let mut pages = store.every_key();
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(|row| again.add(row));
            progress(self.rows + again.rows);
        }
        Ok(again.hash.finalize() == self.hash.finalize())
    }
}
