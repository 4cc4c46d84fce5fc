//! Random ids. The only place that asks for randomness.

use crate::id::OpId;
use crate::ports::clock::Clock;
use crate::ports::ids::IdSource;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::{ContextV7, Timestamp, Uuid};

/// Ids from the random source of the machine; operation ids carry the time of the given clock.
pub struct RandomIds {
    clock: Arc<dyn Clock>,
    /// Orders the operations of one millisecond, and those after a clock that went back.
    sequence: Mutex<ContextV7>,
}

impl RandomIds {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, sequence: Mutex::new(ContextV7::new().with_additional_precision()) }
    }
}

impl IdSource for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter behind ports::ids")]
    fn random(&self) -> Uuid {
        Uuid::new_v4()
    }

    /// Each is greater than all that this value gave before. A clock before 1970 counts as 1970.
    fn op(&self) -> OpId {
        let now = self.clock.now();
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        let sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        OpId::new(Uuid::new_v7(Timestamp::from_unix(&*sequence, seconds, now.nanosecond())))
    }

    /// 53 of the random bits of a version 4 UUID, as many as an `f64` holds.
    fn jitter(&self) -> f64 {
        let (_, low) = self.random().as_u64_pair();
        let bits = (low << 2) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use time::OffsetDateTime;

    /// Goes back a second at every look.
    struct Backwards(Mutex<OffsetDateTime>);

    impl Clock for Backwards {
        fn now(&self) -> OffsetDateTime {
            let mut now = self.0.lock().unwrap();
            *now -= Duration::from_secs(1);
            *now
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn ids() -> RandomIds {
        let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        RandomIds::new(Arc::new(Backwards(Mutex::new(start))))
    }

    #[test]
    fn operations_list_in_the_order_they_were_made_even_if_the_clock_goes_back() {
        let ids = ids();
        let ops: Vec<_> = (0..1000).map(|_| ids.op().to_string()).collect();
        assert!(ops.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn an_operation_carries_the_time_of_the_clock() {
        let op = ids().op();
        let (seconds, _) = op.uuid().get_timestamp().unwrap().to_unix();
        assert_eq!((op.uuid().get_version_num(), seconds), (7, 1_799_999_999));
    }

    #[test]
    fn jitter_spreads_over_the_unit_interval() {
        let ids = ids();
        let numbers: Vec<_> = (0..1000).map(|_| ids.jitter()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().any(|number| *number < 0.25) && numbers.iter().any(|number| *number > 0.75));
    }
}
