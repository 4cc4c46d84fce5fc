//! The rows in memory.

use super::row_store::{
    FoundRows, RowStore, RowStoreError, RowTransaction, TransactionOutcome, TransactionRequest,
};
use super::transaction;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// A map behind a lock that is held for one read or one transaction, never across an await.
#[derive(Default)]
pub(super) struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    version: u64,
}

impl MemoryStore {
    /// A transaction is decided before it is applied, so even a panic leaves whole transactions behind.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RowStore for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowStoreError> {
        Ok(self.read().rows.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<FoundRows, RowStoreError> {
        let state = self.read();
        let mut found = FoundRows::default();
        for (key, value) in state.rows.range(from.to_vec()..to.to_vec()) {
            if !found.push_within(key, value, rows_max) {
                break;
            }
        }
        Ok(found)
    }

    async fn transact(&self, request: TransactionRequest) -> TransactionOutcome {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        transaction::execute(&mut *state, &request).map_err(RowStoreError::unknown)?
    }
}

impl RowTransaction for State {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RowStoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowStoreError> {
        self.rows.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), RowStoreError> {
        self.rows.remove(key);
        Ok(())
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}
