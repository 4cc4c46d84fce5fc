//! The bindings that came with this program: they are stored when the tables answer, if their stamp is the newest.
//!
//! Without a stamp nothing is stored: a program that was built and started by hand must not change who holds what.

use crate::backoff::Backoff;
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::service::bindings::active::{ActivateError, Activation, ActiveBindings};
use crate::service::bindings::pending::{self, BundleOutcome};
use crate::store::{StateStore, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The pauses between attempts, with jitter.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// How often a file that waits is compared again: an order activates it, or another file.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

/// A file of bindings and its stamp, as they were found beside the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundledFile {
    Stamped {
        bindings: Vec<u8>,
        stamp: String,
    },
    /// There is a file and no stamp.
    Unstamped,
    /// There is no file, or it cannot be read.
    Missing,
}

/// The state of a bundled file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleState {
    /// The tables have not answered yet, or there is no state in them to work with.
    Pending,
    Done(Activation),
    /// Its plan waits for an operator's `apply`.
    Waits,
    Unstamped,
    Missing,
    /// The file, its stamp, or what is stored is not in order; nothing was changed.
    Broken,
}

impl BundleState {
    /// The word that health and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            BundleState::Pending => "pending",
            BundleState::Done(Activation::Stored) => "stored",
            BundleState::Done(Activation::InForce) => "in force",
            BundleState::Done(Activation::Older) => "older than those in force",
            BundleState::Done(Activation::SameStampOtherBytes) => "changed without a new stamp",
            BundleState::Done(Activation::Future) => "stamped too far in the future",
            BundleState::Waits => "waiting for apply",
            BundleState::Unstamped => "not stamped",
            BundleState::Missing => "missing",
            BundleState::Broken => "not in order",
        }
    }

    /// Whether it needs a person's attention. That a file waits is a finding of its own, which every process has.
    pub const fn is_finding(self) -> bool {
        !matches!(
            self,
            BundleState::Pending
                | BundleState::Waits
                | BundleState::Done(Activation::Stored | Activation::InForce | Activation::Older)
        )
    }
}

/// Stores the package of this process.
pub struct BundledBindings {
    store: StateStore,
    active_bindings: Arc<ActiveBindings>,
    state: Mutex<BundleState>,
}

impl BundledBindings {
    pub fn new(store: StateStore, active_bindings: Arc<ActiveBindings>) -> Self {
        Self { store, active_bindings, state: Mutex::new(BundleState::Pending) }
    }

    /// Its state so far.
    pub fn state(&self) -> BundleState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the file once, as things are now.
    pub async fn activate_once(&self, package: &BundledFile) -> Result<BundleState, ActivateError> {
        let state = self.attempt(package).await?;
        self.record_state(state);
        Ok(state)
    }

    /// Tries until the tables have answered once, and for as long as the file waits for an operator.
    pub async fn activate_until_answered(&self, package: &BundledFile) {
        let mut failures = 0;
        loop {
            match self.activate_once(package).await {
                Ok(BundleState::Waits | BundleState::Pending) => tokio::time::sleep(COMPARE_EVERY).await,
                Ok(_) => return,
                Err(error) if !helps_to_wait(&error) => {
                    log_event!(BindingsNotStored, error = %ErrorChain(&error), "the bundled bindings were not stored");
                    return self.record_state(BundleState::Broken);
                }
                Err(error) => {
                    failures += 1;
                    let wait = BACKOFF.pause(failures).mul_f64(1.0 + self.store.ids.jitter() / 4.0);
                    log_event!(WorkDeferred, error = %ErrorChain(&error),
                        wait_ms = wait.as_millis() as u64,
                        "storing the bundled bindings failed and is retried"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn attempt(&self, package: &BundledFile) -> Result<BundleState, ActivateError> {
        // It is stored where there is a state, or where the first one begins.
        if self.store.settings().await?.hold.is_some() {
            return Ok(BundleState::Pending);
        }
        let state = match package {
            BundledFile::Missing => BundleState::Missing,
            BundledFile::Unstamped => BundleState::Unstamped,
            BundledFile::Stamped { bindings, stamp } => {
                match pending::activate_or_hold(&self.active_bindings, bindings, stamp).await? {
                    BundleOutcome::Compared(activation) => BundleState::Done(activation),
                    BundleOutcome::Waits => BundleState::Waits,
                }
            }
        };
        // From here on this process knows where a person's object id is taken from.
        self.active_bindings.read(&self.store.pointer().await?).await?;
        Ok(state)
    }

    /// A mistake in a file was logged where it was compared, or where it failed.
    fn record_state(&self, state: BundleState) {
        let before =
            std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state);
        if before == state {
            return;
        }
        if matches!(state, BundleState::Unstamped | BundleState::Missing) {
            log_event!(BindingsNotStored, bindings = state.as_str(), "the bundled bindings were not stored");
        } else if !state.is_finding() {
            tracing::info!(
                bindings = state.as_str(),
                "the bundled bindings were compared with the active ones"
            );
        }
    }
}

/// Whether waiting helps: tables that are away come back, and a conflict passes. Other errors stay.
const fn helps_to_wait(error: &ActivateError) -> bool {
    matches!(error, ActivateError::Store(StoreError::Away { .. } | StoreError::Conflict { .. }))
}
