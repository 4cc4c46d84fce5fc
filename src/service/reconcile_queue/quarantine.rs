//! Requests and jobs that keep failing: quarantined for a growing time and listed, so that the rest goes on.
//!
//! Kept in the memory of this process, and nothing depends on it. A process that has just started retries them.

use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::ports::clock::Clock;
use crate::rbac::ledger::{RETRY_MAX, REVOKE_RETRY_MAX, pause};
use crate::service::health::HealthStatus;
use crate::store::StoreError;
use crate::store::reconcile_queue::RowIdentity;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Rows that are remembered; what fails beyond that is tried at every tick.
const ROWS_MAX: usize = 10_000;

struct Failed {
    /// The change that wrote the row: a row that another change wrote is tried at once.
    change: String,
    attempts: u32,
    until: Duration,
}

/// The quarantined rows, by key.
pub struct Quarantine {
    clock: Arc<dyn Clock>,
    health: Arc<HealthStatus>,
    rows: Mutex<HashMap<String, Failed>>,
}

impl Quarantine {
    pub fn new(clock: Arc<dyn Clock>, health: Arc<HealthStatus>) -> Self {
        Self { clock, health, rows: Mutex::default() }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, Failed>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the row, as this change wrote it, is left alone for now.
    pub fn is_quarantined(&self, row: &RowIdentity) -> bool {
        let now = self.clock.monotonic();
        self.rows().get(row.key()).is_some_and(|failed| failed.until > now && failed.change == row.change())
    }

    /// Records that a row failed. Storage that is away quarantines nothing.
    pub fn record_failure(&self, row: &RowIdentity, error: &StoreError) {
        if matches!(error, StoreError::Away { .. }) {
            return;
        }
        let now = self.clock.monotonic();
        let mut rows = self.rows();
        let kind = row.kind();
        let attempts = rows.get(row.key()).map_or(0, |failed| failed.attempts).saturating_add(1);
        if rows.len() >= ROWS_MAX && attempts == 1 {
            log_event!(RowSetAside, row = kind, error = %ErrorChain(error), "a row keeps failing: too many are quarantined already");
            return;
        }
        let longest = if row.is_leaver_hint() { REVOKE_RETRY_MAX } else { RETRY_MAX };
        let pause = pause(attempts).min(longest);
        let failed = Failed { change: row.change().to_owned(), attempts, until: now + pause };
        rows.insert(row.key().to_owned(), failed);
        self.health.quarantined(rows.len(), rows.keys());
        log_event!(RowSetAside, row = kind,
            attempts,
            pause_s = pause.as_secs(),
            error = %ErrorChain(error),
            "a row keeps failing and is quarantined"
        );
    }

    /// Forgets rows that have not failed again for long: they are gone, or another process finished them.
    pub fn forget_stale(&self) {
        let now = self.clock.monotonic();
        let mut rows = self.rows();
        rows.retain(|_, failed| failed.until + RETRY_MAX > now);
        self.health.quarantined(rows.len(), rows.keys());
    }

    /// Releases a row that was finished, or is gone.
    pub fn release(&self, row: &RowIdentity) {
        let mut rows = self.rows();
        if rows.remove(row.key()).is_some() {
            self.health.quarantined(rows.len(), rows.keys());
        }
    }
}
