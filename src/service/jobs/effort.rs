//! How hard a chunk of a job is tried.

use crate::audit::AuditRecord;
use crate::store::batch::WriteBatch;
use crate::store::{MayMiss, StateStore, StoreError};

/// Memberships that one chunk removes: five rows each, beside the journal row and the job.
pub(super) const CHUNK_MEMBERSHIPS: usize = 19;
/// Attempts at one chunk, where others work on the same rows.
pub(super) const TRIES_MAX: u32 = 10;

/// How a chunk is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Elements of it.
    pub size: usize,
    /// Rows that are still missing after several reads are damaged, and no reason to fail.
    pub without_missing: bool,
    /// Nothing has failed yet.
    pub is_first: bool,
}

impl Effort {
    pub fn after(tries: u32) -> Self {
        let size = if tries <= TRIES_MAX { CHUNK_MEMBERSHIPS } else { 1 };
        Self { size, without_missing: tries >= TRIES_MAX, is_first: tries == 0 }
    }

    pub async fn commit(
        self,
        store: &StateStore,
        record: &AuditRecord,
        batch: &WriteBatch,
    ) -> Result<(), StoreError> {
        match self.without_missing {
            true => store.commit_batch(record, batch, MayMiss::Everything).await.map(drop),
            false => store.commit(record, batch.writes()).await.map(drop),
        }
    }
}
