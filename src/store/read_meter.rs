//! How much one request may read. Every row counts, whatever it is for.

use crate::store::StoreError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What a metered store reads at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    pub rows_max: usize,
    /// The page that passes it is the last one.
    pub bytes_max: usize,
}

/// What is left of the limits. Reads that are under way together have reserved their rows, so that they do not read more
/// than there was left.
pub(super) struct ReadMeter {
    limits: ReadLimits,
    left: Mutex<Left>,
    returned: Notify,
}

struct Left {
    rows: usize,
    bytes: usize,
    /// Reads under way, which may return some of what they reserved.
    under_way: usize,
}

impl ReadMeter {
    pub fn new(limits: ReadLimits) -> Self {
        let left = Left { rows: limits.rows_max, bytes: limits.bytes_max, under_way: 0 };
        Self { limits, left: Mutex::new(left), returned: Notify::new() }
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `wanted` rows, at least one. If none is left, it waits for what the reads under way return.
    async fn reserve(&self, wanted: usize) -> Result<usize, StoreError> {
        loop {
            let returned = self.returned.notified();
            {
                let mut left = self.left();
                if left.bytes == 0 {
                    return Err(StoreError::TooManyBytes { bytes_max: self.limits.bytes_max });
                }
                if left.rows > 0 {
                    let rows = wanted.min(left.rows);
                    left.rows -= rows;
                    left.under_way += 1;
                    return Ok(rows);
                }
                if left.under_way == 0 {
                    return Err(StoreError::TooMany { rows_max: self.limits.rows_max });
                }
            }
            returned.await;
        }
    }

    fn return_unused(&self, reserved: usize, used: usize, bytes: usize) {
        let mut left = self.left();
        left.rows += reserved.saturating_sub(used);
        left.bytes = left.bytes.saturating_sub(bytes);
        left.under_way -= 1;
        drop(left);
        self.returned.notify_waiters();
    }
}

/// Rows that one read may answer. A read that fails returns all of them.
pub(super) struct Reserved<'a> {
    meter: Option<&'a ReadMeter>,
    rows: usize,
    used: usize,
    bytes: usize,
}

/// Rows for one read; as many as are wanted where nothing is counted.
pub(super) async fn reserve(
    meter: Option<&Arc<ReadMeter>>,
    wanted: usize,
) -> Result<Reserved<'_>, StoreError> {
    let meter = meter.map(Arc::as_ref);
    let rows = match meter {
        Some(meter) => meter.reserve(wanted).await?,
        None => wanted,
    };
    Ok(Reserved { meter, rows, used: 0, bytes: 0 })
}

impl Reserved<'_> {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The read answered so much.
    pub fn used(mut self, rows: usize, bytes: usize) {
        (self.used, self.bytes) = (rows, bytes);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(meter) = self.meter {
            meter.return_unused(self.rows, self.used, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn meter(rows_max: usize, bytes_max: usize) -> Arc<ReadMeter> {
        Arc::new(ReadMeter::new(ReadLimits { rows_max, bytes_max }))
    }

    #[tokio::test]
    async fn what_is_read_is_never_more_than_the_limit() {
        let meter = meter(10, 1000);
        let first = reserve(Some(&meter), 8).await.unwrap();
        let second = reserve(Some(&meter), 8).await.unwrap();
        assert_eq!((first.rows(), second.rows()), (8, 2));
        let mut third = Box::pin(reserve(Some(&meter), 8));
        assert!(third.as_mut().now_or_never().is_none(), "it waits for what others return");
        first.used(3, 10);
        let third = third.await.unwrap();
        assert_eq!(third.rows(), 5);
        third.used(5, 10);
        second.used(2, 10);
        assert!(matches!(reserve(Some(&meter), 1).await, Err(StoreError::TooMany { rows_max: 10 })));
    }

    #[tokio::test]
    async fn a_read_that_fails_costs_nothing_and_bytes_count_too() {
        let meter = meter(10, 100);
        drop(reserve(Some(&meter), 10).await.unwrap());
        reserve(Some(&meter), 10).await.unwrap().used(1, 100);
        assert!(matches!(reserve(Some(&meter), 1).await, Err(StoreError::TooManyBytes { bytes_max: 100 })));
    }
}
