//! How often a request reads again after a conflict with the change of another request.

use crate::backoff::Backoff;
use crate::service::ServiceError;
use crate::store::StateStore;
use std::time::Duration;

/// Attempts of one request.
const ATTEMPTS_MAX: u32 = 30;

/// How long a request is retried.
const ELAPSED_MAX: Duration = Duration::from_secs(20);

/// How long an operation of a bulk request is retried at least.
const IN_BULK_MIN: Duration = Duration::from_secs(2);

/// The pause after a conflict, at most.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(100));

/// `Retry-After` of the answer after too many conflicts.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// The attempts of one request.
pub(super) struct ConflictRetry<'a> {
    store: &'a StateStore,
    /// On the monotonic clock.
    deadline: Duration,
    conflicts: u32,
}

impl<'a> ConflictRetry<'a> {
    pub fn new(store: &'a StateStore) -> Self {
        Self { store, deadline: store.clock.monotonic() + ELAPSED_MAX, conflicts: 0 }
    }

    /// The same for an operation of a bulk request, which has what is left of its time, and a little where that is over soon.
    pub fn in_bulk(store: &'a StateStore, deadline: Duration) -> Self {
        let deadline = deadline.max(store.clock.monotonic() + IN_BULK_MIN);
        Self { store, deadline, conflicts: 0 }
    }

    /// Until when the request is worked on, on the monotonic clock.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Pauses before the next attempt; an error after too many.
    pub async fn pause(&mut self) -> Result<(), ServiceError> {
        self.conflicts += 1;
        if self.conflicts >= ATTEMPTS_MAX || self.store.clock.monotonic() >= self.deadline {
            return Err(ServiceError::Busy { retry_after: BUSY_RETRY, source: None });
        }
        tokio::time::sleep(BACKOFF.pause(self.conflicts).mul_f64(self.store.ids.jitter())).await;
        Ok(())
    }
}
