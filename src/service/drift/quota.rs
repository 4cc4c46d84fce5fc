//! How many role assignments a bound subscription has: when it is nearly full, Azure soon refuses grants.
//!
//! It decides nothing. At a vault the service may not read the whole subscription: there `doctor` counts, with the right of an
//! operator.

use crate::events::log_event;
use crate::ports::azure_access::{ASSIGNMENTS_MANY, ASSIGNMENTS_MAX, AccessReader};
use crate::ports::clock::Clock;
use crate::rbac::Scope;
use crate::rbac::arm_scope::ArmScope;
use std::time::Duration;

/// How long Azure is given for one answer, at most and at least.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// A line for each of these subscriptions that is nearly full. `until` is on the monotonic clock.
pub(super) async fn log_nearly_full(
    reader: &dyn AccessReader,
    clock: &dyn Clock,
    subscriptions: &[Scope],
    until: Duration,
) {
    for subscription in subscriptions {
        let left = until.saturating_sub(clock.monotonic()).min(ANSWER_TIMEOUT);
        if left < ANSWER_TIMEOUT_MIN {
            return;
        }
        let Ok(listed) = reader.around(subscription, left).await else { continue };
        // What is inherited from above does not count.
        let id = subscription.subscription();
        let counts = |scope: &ArmScope| scope.subscription() == Some(id);
        let assignments = listed.iter().filter(|assignment| counts(&assignment.scope)).count();
        if assignments >= ASSIGNMENTS_MANY {
            log_event!(
                QuotaNearlyUsed,
                subscription = id,
                assignments,
                assignments_max = ASSIGNMENTS_MAX,
                "a subscription has nearly as many role assignments as it can hold"
            );
        }
    }
}
