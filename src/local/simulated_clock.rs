//! One clock for everything in `local`: the simulated Azure's. Moving it moves the service too.

use crate::app::SystemClock;
use crate::ports::clock::Clock;
use crate::simulator::SimulatorHandle;
use std::time::Duration;
use time::OffsetDateTime;

/// The simulated Azure's time.
pub struct SimulatedClock {
    azure: SimulatorHandle,
    system: SystemClock,
}

impl SimulatedClock {
    pub fn new(azure: SimulatorHandle, system: SystemClock) -> Self {
        Self { azure, system }
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> OffsetDateTime {
        self.azure.now()
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}
