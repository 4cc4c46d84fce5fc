//! How often a request reads again after a conflict with the change of another request.

use crate::backoff::Backoff;
use crate::service::ServiceError;
use crate::store::StateStore;
use std::time::Duration;

/// Attempts of one request.
const ATTEMPTS_MAX: u32 = 30;

/// How long a request is retried.
const ELAPSED_MAX: Duration = Duration::from_secs(20);

/// The pause after a conflict, at most.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(100));

/// `Retry-After` of the answer after too many conflicts.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// The attempts of one request.
pub(super) struct ConflictRetry<'a> {
    store: &'a StateStore,
    begun: Duration,
    conflicts: u32,
}

impl<'a> ConflictRetry<'a> {
    pub fn new(store: &'a StateStore) -> Self {
        Self { store, begun: store.clock.monotonic(), conflicts: 0 }
    }

    /// Until when the request is worked on, on the monotonic clock.
    pub fn deadline(&self) -> Duration {
        self.begun + ELAPSED_MAX
    }

    /// Pauses before the next attempt; an error after too many.
    pub async fn pause(&mut self) -> Result<(), ServiceError> {
        self.conflicts += 1;
        let elapsed = self.store.clock.monotonic().saturating_sub(self.begun);
        if self.conflicts >= ATTEMPTS_MAX || elapsed >= ELAPSED_MAX {
            return Err(ServiceError::Busy { retry_after: BUSY_RETRY, source: None });
        }
        tokio::time::sleep(BACKOFF.pause(self.conflicts).mul_f64(self.store.ids.jitter())).await;
        Ok(())
    }
}
