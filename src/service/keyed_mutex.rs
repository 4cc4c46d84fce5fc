//! One writer at a time for each resource, inside this process. It keeps conflicts rare; nothing rests on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

/// The resources with a writer, or one that waits.
#[derive(Default)]
pub struct KeyedMutex(Mutex<HashMap<Uuid, Weak<tokio::sync::Mutex<()>>>>);

impl KeyedMutex {
    /// Waits for the turn at `id`, which lasts until the answer is dropped.
    pub async fn lock(self: &Arc<Self>, id: Uuid) -> KeyedMutexGuard {
        // Made before the wait: a caller that gives up waiting leaves no entry behind either.
        let mut turn =
            KeyedMutexGuard { queue: Arc::clone(self), id, lock: Some(self.lock_of(id)), guard: None };
        if let Some(lock) = &turn.lock {
            turn.guard = Some(Arc::clone(lock).lock_owned().await);
        }
        turn
    }

    fn lock_of(&self, id: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks();
        if let Some(lock) = locks.get(&id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(id, Arc::downgrade(&lock));
        lock
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<Uuid, Weak<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn at one resource.
pub struct KeyedMutexGuard {
    queue: Arc<KeyedMutex>,
    id: Uuid,
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for KeyedMutexGuard {
    fn drop(&mut self) {
        let mut locks = self.queue.locks();
        self.guard = None;
        self.lock = None;
        if locks.get(&self.id).is_some_and(|lock| lock.strong_count() == 0) {
            locks.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn one_at_a_time_and_no_entry_is_left() {
        let queue = Arc::new(KeyedMutex::default());
        let id = Uuid::nil();
        let first = queue.lock(id).await;
        assert!(queue.lock(id).now_or_never().is_none(), "the lock is held");
        assert!(queue.lock(Uuid::max()).now_or_never().is_some(), "others do not wait");
        drop(first);
        drop(queue.lock(id).await);
        assert!(queue.locks().is_empty());
    }
}
