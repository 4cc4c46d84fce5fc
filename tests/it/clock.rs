//! A clock that stands still until the test moves it.

use azure_backup_scim::ports::clock::Clock;
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Clones are the same clock.
#[derive(Clone)]
pub struct ManualClock {
    start: OffsetDateTime,
    passed: Arc<Mutex<Duration>>,
}

impl ManualClock {
    pub fn at(rfc3339: &str) -> Self {
        Self::starting(OffsetDateTime::parse(rfc3339, &Rfc3339).expect("an RFC 3339 time"))
    }

    pub fn starting(start: OffsetDateTime) -> Self {
        Self { start, passed: Arc::default() }
    }

    /// Both the wall clock and the monotonic time move.
    pub fn advance(&self, by: Duration) {
        *self.passed.lock().unwrap() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        self.start + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
