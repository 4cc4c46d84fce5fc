//! What is logged of requests whose caller is not known: one line a minute with their number. Anybody can send any number of
//! them, and a line for each would bury the others.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Between two lines of one kind.
const EVERY: Duration = Duration::from_secs(60);

/// Why a caller is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 401.
    Unauthorized,
    /// 503: it cannot be told.
    Undecided,
}

/// The refusals that were not logged yet, of all workers.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<[Counted; 2]>);

#[derive(Debug, Default)]
struct Counted {
    count: u64,
    last_line: Option<Duration>,
}

impl Refusals {
    /// Counts a refusal.
    pub fn count(&self, refusal: Refusal) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [unauthorized, undecided] = &mut *counted;
        match refusal {
            Refusal::Unauthorized => unauthorized.count += 1,
            Refusal::Undecided => undecided.count += 1,
        }
    }

    /// Logs what is due. The first refusal is due at once, those after it a minute later, with whatever request comes then.
    pub fn log(&self, now: Duration) {
        let [unauthorized, undecided] = {
            let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            counted.each_mut().map(|counted| counted.take(now))
        };
        if let Some(count) = unauthorized {
            tracing::warn!(count, status = 401, "requests without a valid bearer token were refused");
        }
        if let Some(count) = undecided {
            tracing::warn!(
                count,
                status = 503,
                "requests were refused because bearer tokens cannot be checked now"
            );
        }
    }
}

impl Counted {
    fn take(&mut self, now: Duration) -> Option<u64> {
        let is_due = self.last_line.is_none_or(|last| now.saturating_sub(last) >= EVERY);
        if self.count == 0 || !is_due {
            return None;
        }
        self.last_line = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_minute_with_its_number() {
        let mut counted = Counted::default();
        let mut lines = Vec::new();
        for second in 0..=180 {
            counted.count += 100;
            lines.extend(counted.take(Duration::from_secs(second)).map(|count| (second, count)));
        }
        assert_eq!(lines, [(0, 100), (60, 6000), (120, 6000), (180, 6000)]);
        assert_eq!(counted.take(Duration::from_secs(900)), None, "nothing came since");
    }
}
