//! Time. Only the adapter behind this trait reads a clock.

use futures_util::future::BoxFuture;
use std::time::Duration;
use time::OffsetDateTime;

/// Wall time for records, monotonic time for measuring how long something took.
pub trait Clock: Send + Sync {
    /// The wall clock, UTC. May jump.
    fn now(&self) -> OffsetDateTime;
    /// Time since some fixed moment. Never goes back, and may stand still while a machine is paused.
    fn monotonic(&self) -> Duration;
    /// Waits for so long. A clock that does not move may return at once: the caller asks it again for the time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
