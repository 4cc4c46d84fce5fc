//! What becomes of a 429: a row that every process respects, and a note for this one.

use crate::rbac::Scope;
use crate::service::health::HealthStatus;
use crate::store::throttles::{self, CallKind};
use crate::store::{StateStore, StoreError};
use std::time::Duration;
use time::OffsetDateTime;

/// Azure asked to wait `wait` from `now` on, by the table service's clock. Once it is written, whoever hears the same of Azure
/// does not write it again.
pub(super) async fn store_throttle(
    store: &StateStore,
    status: &HealthStatus,
    scope: &Scope,
    operation: CallKind,
    (now, wait): (OffsetDateTime, Duration),
) -> Result<(), StoreError> {
    let (subscription, not_before) = (scope.subscription(), now + wait);
    status.throttled(subscription, operation, not_before, now);
    if status.is_news(subscription, operation, not_before) {
        let (operation_name, wait) = (operation.as_str(), wait.as_secs());
        tracing::warn!(operation = operation_name, wait_s = wait, "ARM throttled the request (429)");
        store.transact_unjournaled(&[throttles::store_wait(subscription, operation, not_before)]).await?;
        status.throttle_stored(subscription, operation, not_before);
    }
    Ok(())
}
