//! One rate limiter: a burst, and a rate at which it fills again. It belongs to this process, and no correctness depends on it.

use std::time::Duration;

/// A token bucket on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateLimiter {
    burst: f64,
    per_second: f64,
    used: f64,
    at: Duration,
}

impl RateLimiter {
    /// A full bucket of `burst`, which gains `per_second`.
    pub(super) const fn new(burst: f64, per_second: f64) -> Self {
        Self { burst, per_second, used: 0.0, at: Duration::ZERO }
    }

    fn refill(&mut self, now: Duration) {
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        self.used = (self.used - gained).max(0.0);
        self.at = now;
    }

    /// Whether nothing is left.
    pub(super) fn is_used_up(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.used >= self.burst
    }

    /// Uses so many, also where fewer are left: the work is done already.
    pub(super) fn take(&mut self, number: usize) {
        self.used += number as f64;
    }

    /// Uses one, or returns how long until there is one.
    pub(super) fn take_one(&mut self, now: Duration) -> Option<Duration> {
        self.refill(now);
        let missing = self.used + 1.0 - self.burst;
        if missing > 0.0 {
            return Some(Duration::from_secs_f64(missing / self.per_second));
        }
        self.used += 1.0;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let mut limiter = RateLimiter::new(2.0, 0.5);
        assert_eq!((limiter.take_one(at(9)), limiter.take_one(at(9))), (None, None));
        assert_eq!(limiter.take_one(at(9)), Some(at(2)));
        assert_eq!(limiter.take_one(at(10)), Some(at(1)));
        assert_eq!(limiter.take_one(at(11)), None);
        assert_eq!(
            (limiter.take_one(at(90)), limiter.take_one(at(90))),
            (None, None),
            "no more than the burst"
        );
        assert!(limiter.take_one(at(90)).is_some());
    }

    #[test]
    fn work_that_is_done_counts_also_beyond_what_is_left() {
        let mut limiter = RateLimiter::new(3.0, 1.0);
        limiter.take(5);
        assert!(limiter.is_used_up(at(0)) && limiter.is_used_up(at(2)));
        assert!(!limiter.is_used_up(at(3)));
    }
}
