//! How many lists are read at a time. Each holds a part of its page in memory, so the number of them bounds what all lists
//! together hold. Writes never pass here.

use crate::service::ServiceError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long a list waits for its turn.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// `Retry-After` of the answer to a list that had no turn.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// The turns of lists.
#[derive(Clone)]
pub(super) struct ReadGate(Arc<Semaphore>);

impl ReadGate {
    pub fn new(lists_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(lists_max)))
    }

    /// A turn, which lasts until the answer is dropped.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        match timeout(WAIT_MAX, self.0.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(ServiceError::Busy { retry_after: BUSY_RETRY, source: None }),
        }
    }
}
