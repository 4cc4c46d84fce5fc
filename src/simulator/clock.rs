//! Azure's own clock, and the only source of time and randomness in the simulator.
//!
//! It runs with real time plus an offset, or stays at one instant until it is moved. It only moves forward.

use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The end of the clock. Adding to a later time would panic, and HTTP dates cannot express it.
pub const LATEST: OffsetDateTime = datetime!(9000-01-01 00:00 UTC);

/// How Azure's clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartClock {
    /// Real time; moving the clock adds to it.
    #[default]
    Real,
    /// Fixed at this instant; only moving the clock changes it.
    Manual(OffsetDateTime),
}

impl StartClock {
    /// The time when the clock has been moved by `offset`.
    pub fn at(self, offset: Duration) -> OffsetDateTime {
        let time = match self {
            Self::Real => real_now().saturating_add(offset),
            Self::Manual(start) => start.saturating_add(offset),
        };
        time.min(LATEST)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is separate from the service and owns its clock"
)]
fn real_now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A random GUID, as Azure gives to requests and to assignments whose maker did not name them.
#[expect(clippy::disallowed_methods, reason = "the simulator is separate from the service and owns its ids")]
pub fn new_guid() -> Uuid {
    Uuid::new_v4()
}
