//! The bindings that came with this program: they are stored once the tables answer, if their stamp is the newest.
//!
//! Without a stamp nothing is stored: a program that was built and started by hand must not change who holds what.

use super::snapshots::{AdoptError, Adoption, Snapshots};
use crate::chain::Chain;
use crate::store::{Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Before the second attempt; doubled for each further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A file of bindings and its stamp, as they were found beside the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Package {
    Stamped {
        bindings: Vec<u8>,
        stamp: String,
    },
    /// There is a file and no stamp.
    Unstamped,
    /// There is no file, or it cannot be read.
    Missing,
}

/// What became of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageState {
    /// The tables have not answered yet.
    Pending,
    Done(Adoption),
    Unstamped,
    Missing,
    /// The file, its stamp, or what is stored is not in order; nothing was changed.
    Broken,
}

impl PackageState {
    /// The word that health and logs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            PackageState::Pending => "pending",
            PackageState::Done(Adoption::Stored) => "stored",
            PackageState::Done(Adoption::InForce) => "in force",
            PackageState::Done(Adoption::Older) => "older than those in force",
            PackageState::Done(Adoption::SameStampOtherBytes) => "changed without a new stamp",
            PackageState::Done(Adoption::Future) => "stamped too far in the future",
            PackageState::Unstamped => "not stamped",
            PackageState::Missing => "missing",
            PackageState::Broken => "not in order",
        }
    }

    /// Whether somebody has to look into it.
    pub const fn is_finding(self) -> bool {
        !matches!(
            self,
            PackageState::Pending
                | PackageState::Done(Adoption::Stored | Adoption::InForce | Adoption::Older)
        )
    }
}

/// Stores the package of this process.
pub struct Packaged {
    store: Store,
    snapshots: Arc<Snapshots>,
    state: Mutex<PackageState>,
}

impl Packaged {
    pub fn new(store: Store, snapshots: Arc<Snapshots>) -> Self {
        Self { store, snapshots, state: Mutex::new(PackageState::Pending) }
    }

    /// What became of it so far.
    pub fn state(&self) -> PackageState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until the tables have answered once.
    pub async fn settle(&self, package: &Package) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.attempt(package).await {
                Ok(state) => return self.conclude(state),
                Err(error) if !helps_to_wait(&error) => {
                    tracing::error!(error = %Chain(&error), "the packaged bindings change nothing");
                    return self.conclude(PackageState::Broken);
                }
                Err(error) => {
                    let wait = pause.mul_f64(1.0 + self.store.ids.jitter() / 4.0);
                    tracing::warn!(
                        error = %Chain(&error),
                        wait_ms = wait.as_millis() as u64,
                        "the bindings wait for the tables"
                    );
                    tokio::time::sleep(wait).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn attempt(&self, package: &Package) -> Result<PackageState, AdoptError> {
        let state = match package {
            Package::Missing => PackageState::Missing,
            Package::Unstamped => PackageState::Unstamped,
            Package::Stamped { bindings, stamp } => {
                PackageState::Done(self.snapshots.adopt_stamped(bindings, stamp).await?)
            }
        };
        // From here on this process knows where a person's object id is taken from.
        self.snapshots.read(&self.store.pointer().await?).await?;
        Ok(state)
    }

    /// What is wrong with a file was told where it was compared, or where it failed.
    fn conclude(&self, state: PackageState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        if matches!(state, PackageState::Unstamped | PackageState::Missing) {
            tracing::error!(bindings = state.as_str(), "the packaged bindings change nothing");
        } else if !state.is_finding() {
            tracing::info!(bindings = state.as_str(), "the packaged bindings were looked at");
        }
    }
}

/// Tables that are away come back, and who came in between is done soon; nothing else mends itself.
const fn helps_to_wait(error: &AdoptError) -> bool {
    matches!(error, AdoptError::Store(StoreError::Away { .. } | StoreError::Conflict { .. }))
}
