//! A plan that is made beside the ticks: a plan of a large tenant takes longer than a tick, and leavers do not wait for it.

use crate::ports::clock::Clock;
use crate::store::{ETag, StoreError};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// How long an order waits for its plan. What takes longer goes on, and the next tick asks for it again.
const WAIT: Duration = Duration::from_secs(2);

/// A plan that an order finds was finished at most so long ago: people may have moved since. That is longer than two ticks, so that
/// a plan that takes longer than an order waits is found by the next tick.
const PLAN_AGE_MAX: Duration = Duration::from_secs(180);

/// What the plan of a file is of: the pointer and the row of the file that waits, as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedOver {
    pub pointer: Option<ETag>,
    pub waiting: ETag,
}

/// A plan, and when it was made.
struct DatedPlan<P> {
    plan: P,
    /// On the monotonic clock.
    finished: Duration,
}

/// A plan that is being made.
struct Planning<K, P> {
    /// What it is made over.
    over: K,
    task: JoinHandle<Result<DatedPlan<P>, StoreError>>,
}

impl<K, P> Drop for Planning<K, P> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes one plan at a time.
pub(super) struct BackgroundPlanner<K, P>(Mutex<Option<Planning<K, P>>>);

impl<K, P> Default for BackgroundPlanner<K, P> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<K: PartialEq, P: Send + 'static> BackgroundPlanner<K, P> {
    /// The plan, once. `None`: it is still being made, or was made too long ago and is begun again by the next tick.
    pub async fn plan(
        &self,
        over: K,
        clock: Arc<dyn Clock>,
        make: impl Future<Output = Result<P, StoreError>> + Send + 'static,
    ) -> Result<Option<P>, StoreError> {
        let mut current = self.0.lock().await;
        if current.as_ref().is_none_or(|planning| planning.over != over) {
            let clock = clock.clone();
            let make = async move {
                let plan = make.await?;
                Ok(DatedPlan { plan, finished: clock.monotonic() })
            };
            *current = Some(Planning { over, task: tokio::spawn(make) });
        }
        let Some(planning) = current.as_mut() else { return Ok(None) };
        let Ok(joined) = tokio::time::timeout(WAIT, &mut planning.task).await else { return Ok(None) };
        *current = None;
        // One that panicked is begun again by the next tick.
        let Some(DatedPlan { plan, finished }) = joined.ok().transpose()? else { return Ok(None) };
        let age = clock.monotonic().saturating_sub(finished);
        Ok(Some(plan).filter(|_| age <= PLAN_AGE_MAX))
    }
}
