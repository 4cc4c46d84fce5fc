//! A queue for each thing that several tasks of this process would otherwise write at the same time. It saves conflicts;
//! nothing is correct only because of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

/// How many gates there may be before the unused ones are cleared.
const SWEEP_AT: usize = 1024;

/// Queues by key. A gate goes when nobody stands in it.
pub struct Gates<K> {
    gates: Mutex<HashMap<K, Weak<Queue<()>>>>,
}

impl<K> Default for Gates<K> {
    fn default() -> Self {
        Self { gates: Mutex::new(HashMap::new()) }
    }
}

impl<K: Eq + Hash> Gates<K> {
    /// Waits for the turn; it ends when the guard is dropped.
    pub async fn enter(&self, key: K) -> OwnedMutexGuard<()> {
        self.gate(key).lock_owned().await
    }

    fn gate(&self, key: K) -> Arc<Queue<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(&key).and_then(Weak::upgrade) {
            return gate;
        }
        if gates.len() >= SWEEP_AT {
            gates.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Arc::new(Queue::new(()));
        gates.insert(key, Arc::downgrade(&gate));
        gate
    }
}
