//! A 429 from ARM: a row that every process respects, and a note in this process.

use crate::events::log_event;
use crate::rbac::Scope;
use crate::service::health::HealthStatus;
use crate::store::throttles::{self, CallKind};
use crate::store::{StateStore, StoreError};
use std::time::Duration;
use time::OffsetDateTime;

/// Azure asked to wait `wait` from `now` on, by the table service's clock. Once it is written, a process that hears the same of
/// Azure does not write it again.
pub(super) async fn store_throttle(
    store: &StateStore,
    health: &HealthStatus,
    scope: &Scope,
    kind: CallKind,
    now: OffsetDateTime,
    wait: Duration,
) -> Result<(), StoreError> {
    let subscription = scope.subscription();
    let not_before = now + wait;
    health.throttled(subscription, kind, not_before, now);
    if health.is_news(subscription, kind, not_before) {
        log_event!(
            Throttled,
            operation = kind.as_str(),
            wait_s = wait.as_secs(),
            "ARM throttled the request (429)"
        );
        store.transact_unjournaled(&[throttles::store_wait(subscription, kind, not_before)]).await?;
        health.throttle_stored(subscription, kind, not_before);
    }
    Ok(())
}
