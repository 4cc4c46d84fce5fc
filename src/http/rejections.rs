//! The log of unauthenticated requests: one line a minute with their count. They can be sent by anyone in any number, and a
//! line for each would bury the others.

use crate::events::log_event;
use actix_web::http::StatusCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Between two lines of one kind.
const EVERY: Duration = Duration::from_secs(60);

/// Why a request is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RejectedRequest {
    /// 401.
    Unauthorized,
    /// 503: the tokens cannot be checked now.
    Undecided,
}

/// The rejections that were not logged yet, of all workers.
#[derive(Debug, Default)]
pub(super) struct RejectionLog(Mutex<[RejectionCount; 2]>);

#[derive(Debug, Default)]
struct RejectionCount {
    count: u64,
    last_line: Option<Duration>,
}

impl RejectionLog {
    /// Counts a rejection.
    pub fn count(&self, rejection: RejectedRequest) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [unauthorized, undecided] = &mut *counted;
        match rejection {
            RejectedRequest::Unauthorized => unauthorized.count += 1,
            RejectedRequest::Undecided => undecided.count += 1,
        }
    }

    /// Logs what is due: the first rejection at once, later ones a minute after that, with the next request of any kind.
    pub fn log(&self, now: Duration) {
        let [unauthorized, undecided] = {
            let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            counted.each_mut().map(|counted| counted.take_count(now))
        };
        if let Some(count) = unauthorized {
            log_event!(
                RequestsUnauthorized,
                count,
                status = StatusCode::UNAUTHORIZED.as_u16(),
                "requests without a valid bearer token were refused"
            );
        }
        if let Some(count) = undecided {
            log_event!(
                TokensUndecided,
                count,
                status = StatusCode::SERVICE_UNAVAILABLE.as_u16(),
                "requests were refused because bearer tokens cannot be checked now"
            );
        }
    }
}

impl RejectionCount {
    fn take_count(&mut self, now: Duration) -> Option<u64> {
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
        let mut counted = RejectionCount::default();
        let mut lines = Vec::new();
        for second in 0..=180 {
            counted.count += 100;
            lines.extend(counted.take_count(Duration::from_secs(second)).map(|count| (second, count)));
        }
        assert_eq!(lines, [(0, 100), (60, 6000), (120, 6000), (180, 6000)]);
        assert_eq!(counted.take_count(Duration::from_secs(900)), None, "nothing came since");
    }
}
