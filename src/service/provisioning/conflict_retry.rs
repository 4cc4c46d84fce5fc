//! How often a request reads again after it met a change by somebody else.

use crate::backoff::Backoff;
use crate::service::ServiceError;
use crate::store::StateStore;
use std::time::Duration;

/// Attempts of one request.
const TRIES_MAX: u32 = 30;
/// How long a request goes on trying.
const TRYING_MAX: Duration = Duration::from_secs(20);
/// The pause after a conflict, at most.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(250));
/// What a client is told to wait that met too many changes.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// The attempts of one request.
pub struct ConflictRetry<'a> {
    store: &'a StateStore,
    begun: Duration,
    conflicts: u32,
}

impl<'a> ConflictRetry<'a> {
    pub fn new(store: &'a StateStore) -> Self {
        Self { store, begun: store.clock.monotonic(), conflicts: 0 }
    }

    /// Waits a little before the next attempt; an error when there were enough.
    pub async fn again(&mut self) -> Result<(), ServiceError> {
        self.conflicts += 1;
        let elapsed = self.store.clock.monotonic().saturating_sub(self.begun);
        if self.conflicts >= TRIES_MAX || elapsed >= TRYING_MAX {
            return Err(ServiceError::Busy { retry_after: BUSY_RETRY, source: None });
        }
        tokio::time::sleep(BACKOFF.pause(self.conflicts).mul_f64(self.store.ids.jitter())).await;
        Ok(())
    }
}
