//! The stage of the tick. How far a drill is, is a row; a tick does one committed step after the other, as far as it comes.

use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::id::PrincipalId;
use crate::ports::role_assignments::RoleAssignments;
use crate::service::bindings::active::ActiveBindings;
use crate::service::health::HealthStatus;
use crate::service::provisioning::Provisioning;
use crate::store::drills::StoredDrill;
use crate::store::{StateStore, StoreError, TableAnswer};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Steps that one tick does at most: a drill has a dozen.
const STEPS_MAX: usize = 32;
/// While no drill is green, that is logged so often.
const LATE_EVERY: Duration = Duration::from_secs(3600);

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepEnd {
    /// The row is another now.
    Moved,
    /// Nothing to do before the next tick.
    Waits,
}

/// The settings of drills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrillSettings {
    /// The Entra object of the leaver.
    pub principal: PrincipalId,
    /// Between the beginnings of two drills; `None`: only by order.
    pub every: Option<Duration>,
}

impl DrillSettings {
    /// How long it may be that no drill was green.
    fn green_within(&self, deadline: Duration) -> Option<Duration> {
        self.every.map(|every| 2 * every + deadline)
    }
}

/// The stage.
pub struct Drills {
    pub(super) store: StateStore,
    pub(super) provisioning: Arc<Provisioning>,
    pub(super) active_bindings: Arc<ActiveBindings>,
    pub(super) assignments: Arc<dyn RoleAssignments>,
    health: Arc<HealthStatus>,
    pub(super) settings: Option<DrillSettings>,
    /// A drill that takes longer is red.
    pub(super) deadline: Duration,
}

impl Drills {
    /// A drill has a grant and a revocation, and each may take as long as a revocation that is not overdue.
    pub fn new(
        provisioning: Arc<Provisioning>,
        active_bindings: Arc<ActiveBindings>,
        assignments: Arc<dyn RoleAssignments>,
        health: Arc<HealthStatus>,
        (settings, overdue_after): (Option<DrillSettings>, Duration),
    ) -> Self {
        let store = active_bindings.store().clone();
        let deadline = 2 * overdue_after;
        let green_within = settings.and_then(|settings| settings.green_within(deadline));
        health.drills_set(settings.is_some(), green_within);
        Self { store, provisioning, active_bindings, assignments, health, settings, deadline }
    }

    /// Steps until then, on the monotonic clock, and at least one.
    pub async fn run(&self, until: Duration) -> Result<(), StoreError> {
        // By what this tick read before: an installation without drills reads nothing for them.
        if !self.health.has_drill() {
            return Ok(());
        }
        for _ in 0..STEPS_MAX {
            let TableAnswer { value: stored, date: now } = self.read().await?;
            self.health.drill(stored.as_ref().map(|stored| &stored.state), now);
            if self.tell_if_late(stored.as_ref(), now).await? {
                continue;
            }
            let ended = match &stored {
                Some(stored) if stored.state.running.is_some() => self.step(stored, now).await,
                stored => self.begin_if_due(stored.as_ref(), now).await,
            };
            match ended {
                Ok(StepEnd::Moved) => {}
                Ok(StepEnd::Waits) => break,
                // Another process was first: what it left is read.
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            if self.store.clock.monotonic() >= until {
                break;
            }
        }
        Ok(())
    }

    /// The row. Health shows where it cannot be read.
    async fn read(&self) -> Result<TableAnswer<Option<StoredDrill>>, StoreError> {
        let read = self.store.drill().await;
        if let Err(StoreError::Corrupt { .. } | StoreError::TooNew { .. }) = read {
            self.health.drill_unreadable();
        }
        read
    }

    /// An error line when no drill has been green for too long, and again every hour. Returns whether the row is another now.
    async fn tell_if_late(
        &self,
        stored: Option<&StoredDrill>,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let within = self.settings.and_then(|settings| settings.green_within(self.deadline));
        let (Some(stored), Some(within)) = (stored, within) else { return Ok(false) };
        // A row that is not whole is made red first: writing it would make it whole, and the drill green.
        if !stored.is_whole {
            return Ok(false);
        }
        let state = &stored.state;
        let green = state.green.unwrap_or(state.since);
        let is_told = state.late_logged.is_some_and(|at| at + LATE_EVERY > now);
        if green + within > now || is_told {
            return Ok(false);
        }
        let hours = (now - green).whole_hours();
        log_event!(DrillLate, hours, "no drill was green for too long");
        let mut state = state.clone();
        state.late_logged = Some(now);
        match self.store.transact_unjournaled(&[state.write(Some(stored))]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// What failed here is tried again by the next tick.
    pub(super) fn log_failed_step(error: &dyn std::error::Error) {
        log_event!(WorkDeferred, error = %ErrorChain(error), "a step of a drill failed and is retried by the next tick");
    }
}
