//! What becomes of a 429: a row that every process respects, and a note for this one.

use super::status::Status;
use crate::rbac::Scope;
use crate::store::throttles::{self, Operation};
use crate::store::{Store, StoreError};
use std::time::Duration;
use time::OffsetDateTime;

/// No wait that Azure asks for counts for more: people are waiting for their revocations.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// Azure asked to wait `wait` from `now` on, by the table service's clock. Written once, not by everybody who hears it.
pub(super) async fn note(
    store: &Store,
    status: &Status,
    scope: &Scope,
    operation: Operation,
    (now, wait): (OffsetDateTime, Duration),
) -> Result<(), StoreError> {
    let (subscription, not_before) = (scope.subscription(), now + wait.min(WAIT_MAX));
    if status.throttled(subscription, operation, not_before, now) {
        let (operation_name, wait) = (operation.as_str(), wait.as_secs());
        tracing::warn!(operation = operation_name, wait_s = wait, "azure asks us to wait");
        store.move_looking(&[throttles::note(subscription, operation, not_before)]).await?;
    }
    Ok(())
}
