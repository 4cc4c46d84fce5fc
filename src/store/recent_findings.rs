//! What is wrong and lasts: rows that cannot be read, for instance. Each is counted while it is met, and logged once, then
//! hourly.
//!
//! Only this process's memory, for the health check and the log: nothing is decided by it.

use crate::ports::clock::Clock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Findings that are remembered; what comes beyond that is logged every time it is met.
const FINDINGS_MAX: usize = 10_000;
/// A finding that lasts is logged again after that.
const LOG_AGAIN: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Duration,
    logged: Duration,
}

/// Findings of one kind, by key. One that was not met for a while is forgotten: it was mended, or is gone.
pub struct RecentFindings {
    clock: Arc<dyn Clock>,
    forget_after: Duration,
    seen: Mutex<BTreeMap<String, Seen>>,
}

impl RecentFindings {
    pub fn new(clock: Arc<dyn Clock>, forget_after: Duration) -> Self {
        Self { clock, forget_after, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a finding. Returns whether to log it: it is new, or was logged an hour ago.
    pub fn record(&self, key: &str) -> bool {
        let now = self.clock.monotonic();
        let mut seen = self.seen();
        if let Some(known) = seen.get_mut(key) {
            known.at = now;
            let due = now.saturating_sub(known.logged) >= LOG_AGAIN;
            if due {
                known.logged = now;
            }
            return due;
        }
        if seen.len() < FINDINGS_MAX {
            seen.insert(key.to_owned(), Seen { at: now, logged: now });
        }
        true
    }

    /// The finding is no more.
    pub fn forget(&self, key: &str) {
        self.seen().remove(key);
    }

    /// The first of them, by key.
    pub fn first(&self, number: usize) -> Vec<String> {
        self.seen().keys().take(number).cloned().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let now = self.clock.monotonic();
        let mut seen = self.seen();
        seen.retain(|_, known| now.saturating_sub(known.at) < self.forget_after);
        seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use time::OffsetDateTime;

    #[derive(Default)]
    struct Hands(AtomicU64);

    impl Clock for Hands {
        fn now(&self) -> OffsetDateTime {
            OffsetDateTime::UNIX_EPOCH
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_finding_is_logged_once_and_then_hourly_and_forgotten_when_it_is_met_no_more() {
        let clock = Arc::new(Hands::default());
        let findings = RecentFindings::new(clock.clone(), Duration::from_secs(7200));
        let at = |seconds| clock.0.store(seconds, Ordering::SeqCst);
        assert!(findings.record("u:1"));
        assert!(!findings.record("u:1"));
        assert!(findings.record("u:2"));
        at(3600);
        assert!(findings.record("u:1"));
        assert!(!findings.record("u:1"));
        assert_eq!((findings.count(), findings.first(1)), (2, vec!["u:1".to_owned()]));
        findings.forget("u:2");
        assert_eq!(findings.count(), 1);
        at(3600 + 7200);
        assert_eq!(findings.count(), 0);
    }
}
