//! Whether there is a state to work with. Where there is none, SCIM is 503, no tick and no reconcile does anything, and the log and
//! health say who can go on.
//!
//! What holds is decided where it is done: every reconcile reads it with the settings. This is what a process knows of it, for
//! requests, which read no settings; it is asked by the first request and by every tick, and watched in between.

use crate::events::log_event;
use crate::service::ServiceError;
use crate::service::health::HealthStatus;
use crate::store::settings::TenantSettings;
use crate::store::state_hold::StateHold;
use crate::store::{StateStore, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// `Retry-After` while there is no state. Identity providers try again by themselves, and slow down.
const NO_STATE_WAIT: Duration = Duration::from_secs(300);
/// The line is repeated while it lasts.
const LOG_EVERY: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Known {
    /// The settings were read once.
    was_read: bool,
    hold: Option<StateHold>,
    /// When that was last logged, on the monotonic clock.
    logged: Option<Duration>,
}

/// What this process knows of the state as a whole.
pub struct StateGate {
    store: StateStore,
    health: Arc<HealthStatus>,
    /// The settings name an installation: an empty table is then a lost one.
    is_named: bool,
    known: Mutex<Known>,
    found: Notify,
}

impl StateGate {
    pub fn new(store: StateStore, health: Arc<HealthStatus>, is_named: bool) -> Self {
        Self { store, health, is_named, known: Mutex::default(), found: Notify::new() }
    }

    /// Waits until there is a state again where there was none: what a process stores at its start is stored once more.
    pub async fn found_again(&self) {
        self.found.notified().await;
    }

    /// Reads whether there is a state, and writes down what is found for the first time. Returns the settings as they were read.
    pub async fn look(&self) -> Result<TenantSettings, StoreError> {
        let mut settings = self.store.settings().await?;
        if settings.hold == Some(StateHold::Lost(None)) {
            self.store.note_lost().await?;
            settings = self.store.settings().await?;
        }
        self.note_setting(&settings).await?;
        self.take(settings.hold.clone());
        Ok(settings)
    }

    /// Where there is no state, nothing is written.
    async fn note_setting(&self, settings: &TenantSettings) -> Result<(), StoreError> {
        match (&settings.hold, &settings.instance_row) {
            (None, Some(row)) => self.store.note_setting(row).await,
            _ => Ok(()),
        }
    }

    /// Lets a SCIM request pass, if there is a state. The first one asks, where a table without one would be taken for a new one.
    pub async fn admit(&self) -> Result<(), ServiceError> {
        let (was_read, hold) = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            (known.was_read, known.hold.clone())
        };
        let hold = if self.is_named && !was_read { self.look().await?.hold } else { hold };
        match hold {
            None => Ok(()),
            Some(hold) => Err(ServiceError::NoState { hold, retry_after: NO_STATE_WAIT }),
        }
    }

    /// Before a resource is said not to be there: a table that was emptied a moment ago has none. An identity provider takes a 404 on
    /// a delete for a success.
    pub async fn confirm(&self) -> Result<(), ServiceError> {
        if !self.is_named {
            return Ok(());
        }
        match self.look().await?.hold {
            None => Ok(()),
            Some(hold) => Err(ServiceError::NoState { hold, retry_after: NO_STATE_WAIT }),
        }
    }

    fn take(&self, hold: Option<StateHold>) {
        self.health.state_held(hold.as_ref());
        let now = self.store.clock.monotonic();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.was_read = true;
        let is_news = known.hold.as_ref().map(StateHold::as_str) != hold.as_ref().map(StateHold::as_str);
        let is_due = known.logged.is_none_or(|logged| logged + LOG_EVERY <= now);
        if known.hold.is_some() && hold.is_none() {
            self.found.notify_one();
        }
        if is_news || hold.is_some() && is_due {
            known.logged = Some(now);
            log_hold(hold.as_ref());
        }
        known.hold = hold;
    }
}

fn log_hold(hold: Option<&StateHold>) {
    match hold {
        None => log_event!(StateFound, "there is a state again: the service goes on"),
        Some(StateHold::Restoring) => {
            log_event!(StateRestoring, "a restore of the state is not complete: nothing is done until it is");
        }
        Some(StateHold::Lost(_)) => log_event!(
            StateLost,
            "the table is empty though INSTANCE_ID is set: the state was lost. Nothing is done until `state restore` or `recover --begin`"
        ),
        Some(StateHold::OtherInstance { row, setting }) => log_event!(
            OtherInstallation,
            row = %row,
            setting = %setting,
            "the state is of another installation than INSTANCE_ID names: nothing is done"
        ),
    }
}
