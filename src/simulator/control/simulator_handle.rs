//! The simulator as tests in the same process see it. The control API over HTTP calls the same functions.

use super::control_error::{ControlError, found};
use crate::simulator::answer::AzureAnswer;
use crate::simulator::call_log::{RecordedCall, UnrecognisedRequest};
use crate::simulator::clock::LATEST;
use crate::simulator::fault_rules::{ActiveFaultRule, FaultRule};
use crate::simulator::request::ReceivedRequest;
use crate::simulator::simulated_azure::{Delivery, InFlightCall, SimulatedAzure};
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::sync::watch;

/// The most seconds that one order may move the clock: a hundred years, so that no sum overflows.
const ADVANCE_SECONDS_MAX: u64 = 100 * 366 * 86_400;

#[derive(Debug)]
struct Shared {
    azure: Mutex<SimulatedAzure>,
    changes: watch::Sender<u64>,
}

/// A handle to a running simulator. Cheap to clone; usable from any thread and any runtime.
#[derive(Debug, Clone)]
pub struct SimulatorHandle {
    shared: Arc<Shared>,
}

impl SimulatorHandle {
    pub(in crate::simulator) fn new(azure: SimulatedAzure) -> Self {
        Self { shared: Arc::new(Shared { azure: Mutex::new(azure), changes: watch::Sender::new(0) }) }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut SimulatedAzure) -> T) -> T {
        act(&mut self.shared.azure.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn change<T>(&self, act: impl FnOnce(&mut SimulatedAzure) -> T) -> T {
        let outcome = self.with(act);
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
        outcome
    }

    pub(super) fn order<T>(
        &self,
        act: impl FnOnce(&mut SimulatedAzure) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        self.change(|azure| {
            let outcome = act(azure)?;
            azure.save().map_err(|error| ControlError::StateFile(error.to_string()))?;
            Ok(outcome)
        })
    }

    pub(in crate::simulator) fn receive(&self, received: &ReceivedRequest) -> Delivery {
        self.change(|azure| azure.receive(received))
    }

    pub(in crate::simulator) fn execute(&self, call: InFlightCall) -> AzureAnswer {
        self.change(|azure| azure.execute(call))
    }

    /// Returns once `reached` holds. It is evaluated after every change. Put a timeout around it.
    pub async fn until(&self, reached: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !reached(self) && changes.changed().await.is_ok() {}
    }

    // Clock and limits.

    /// Azure's time.
    pub fn now(&self) -> OffsetDateTime {
        self.with(|azure| azure.now())
    }

    /// Moves Azure's clock forward; the time it is then.
    pub fn advance(&self, seconds: u64) -> Result<OffsetDateTime, ControlError> {
        let forward = i64::try_from(seconds.min(ADVANCE_SECONDS_MAX)).unwrap_or_default();
        if seconds > ADVANCE_SECONDS_MAX {
            return Err(ControlError::Invalid(format!("at most {ADVANCE_SECONDS_MAX} seconds at a time")));
        }
        self.order(|azure| {
            let offset = azure.state.clock_offset_seconds.saturating_add(forward);
            if azure.time_at(offset) >= LATEST {
                return Err(ControlError::Invalid(format!(
                    "the clock ends before the year {}",
                    LATEST.year()
                )));
            }
            azure.state.clock_offset_seconds.set(offset);
            Ok(azure.now())
        })
    }

    // Faults.

    pub fn rules(&self) -> Vec<ActiveFaultRule> {
        self.with(|azure| azure.rules.all().to_vec())
    }

    /// The id of the rule.
    pub fn add_rule(&self, rule: FaultRule) -> Result<u64, ControlError> {
        if let Some(problem) = rule.problem() {
            return Err(ControlError::Invalid(problem.to_owned()));
        }
        Ok(self.change(|azure| azure.rules.add(rule)))
    }

    pub fn remove_rule(&self, id: u64) -> Result<(), ControlError> {
        found(self.change(|azure| azure.rules.remove(id)).then_some(()), "rule", id)
    }

    pub fn clear_rules(&self) {
        self.change(|azure| azure.rules.clear());
    }

    /// The calls that are held in the network, oldest first.
    pub fn held(&self) -> Vec<RecordedCall> {
        self.with(|azure| {
            azure.calls.iter().filter(|c| azure.held.contains_key(&c.number)).cloned().collect()
        })
    }

    /// Delivers a held call now. Returns the status that Azure answered, even if no caller waits for it.
    pub fn deliver(&self, id: u64) -> Result<u16, ControlError> {
        found(self.change(|azure| azure.deliver(id)), "held call", id)
    }

    /// Loses a held call: it never arrives and its caller's connection breaks.
    pub fn drop_held(&self, id: u64) -> Result<(), ControlError> {
        found(self.change(|azure| azure.held.remove(&id)), "held call", id).map(drop)
    }

    /// Removes every rule and drops every held call. What Azure holds stays.
    pub fn reset_faults(&self) {
        self.change(|azure| {
            azure.rules.clear();
            azure.held.clear();
        });
    }

    // The logs.

    /// Every recognised call, oldest first. A request that is rejected before it is parsed (401, no api-version) is not logged,
    /// and no rule applies to it. So the challenge that Key Vault sends to a client without a token is not counted.
    pub fn calls(&self) -> Vec<RecordedCall> {
        self.with(|azure| azure.calls.iter().cloned().collect())
    }

    pub fn clear_calls(&self) {
        // A held call is still under way: its entry stays.
        self.change(|azure| {
            let held = &azure.held;
            azure.calls.retain(|call| held.contains_key(&call.number));
        });
    }

    /// Requests that the simulator does not recognise. A run that has any has failed.
    pub fn unrecognised(&self) -> Vec<UnrecognisedRequest> {
        self.with(|azure| azure.unrecognised.iter().cloned().collect())
    }
}
