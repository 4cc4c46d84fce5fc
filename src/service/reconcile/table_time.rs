//! The table service's clock, which times in rows are compared on.

use std::time::Duration;
use time::OffsetDateTime;

/// The table service's clock, carried on by our own between two answers.
#[derive(Debug, Clone, Copy)]
pub struct TableTime {
    pub date: OffsetDateTime,
    /// Our own monotonic clock, after that answer: so this time lags behind the service's and never runs ahead of it.
    pub at: Duration,
}

impl TableTime {
    /// The time now, on the table service's clock.
    pub fn now(&self, monotonic: Duration) -> OffsetDateTime {
        self.date + monotonic.saturating_sub(self.at)
    }
}
