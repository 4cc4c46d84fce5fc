//! The rows in memory.

use super::{Found, Outcome, Request, Rows, Store, StoreError, commit};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// A map behind a lock that is held for one read or one transaction, never across an await.
#[derive(Default)]
pub(super) struct Memory {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    version: u64,
}

impl Memory {
    /// A transaction is decided before it is applied, so even a panic leaves whole transactions behind.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().rows.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<Found, StoreError> {
        let (state, mut found) = (self.read(), Found::default());
        for (key, value) in state.rows.range(from.to_vec()..to.to_vec()) {
            if !found.push_within(key, value, rows_max) {
                break;
            }
        }
        Ok(found)
    }

    async fn transact(&self, request: Request) -> Outcome {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        commit::execute(&mut *state, &request).map_err(StoreError::unknown)?
    }
}

impl Rows for State {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.rows.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.rows.remove(key);
        Ok(())
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}
