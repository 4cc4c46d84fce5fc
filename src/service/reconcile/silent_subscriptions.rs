//! Which subscriptions give no answer during one tick. Nothing more is sent there until the next one, so that a subscription
//! that hangs does not take the time of the others.

use crate::events::log_event;
use crate::id::UserId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Unanswered calls in a row, of different people, after which a subscription is left alone.
const IN_A_ROW: usize = 3;

#[derive(Debug, Default)]
struct Heard {
    /// Whose calls had no answer since the last one that had.
    silent: BTreeMap<String, BTreeSet<UserId>>,
    /// Calls that wait for their answer.
    under_way: BTreeMap<(UserId, String), usize>,
    stopped: BTreeSet<String>,
}

impl Heard {
    fn unanswered(&mut self, user: UserId, subscription: &str) {
        let silent = self.silent.entry(subscription.to_owned()).or_default();
        silent.insert(user);
        if silent.len() >= IN_A_ROW && self.stopped.insert(subscription.to_owned()) {
            log_event!(
                SubscriptionSilent,
                subscription,
                "ARM gives no answer for a subscription: it is skipped until the next tick"
            );
        }
    }
}

/// What was heard of Azure during one tick.
#[derive(Debug, Default)]
pub struct SilentSubscriptions(Mutex<Heard>);

impl SilentSubscriptions {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins.
    pub fn begin<'a>(&'a self, user: UserId, subscription: &'a str) -> WatchedCall<'a> {
        *self.heard().under_way.entry((user, subscription.to_owned())).or_default() += 1;
        WatchedCall { silent: self, user, subscription }
    }

    /// Whatever this person waits for takes too long: it counts as unanswered already.
    pub fn give_up_on(&self, user: UserId) {
        let mut heard = self.heard();
        let waiting = heard.under_way.keys().filter(|(who, _)| *who == user);
        let subscriptions: Vec<String> = waiting.map(|(_, subscription)| subscription.clone()).collect();
        for subscription in subscriptions {
            heard.unanswered(user, &subscription);
        }
    }

    /// The subscriptions that are left alone.
    pub fn stopped(&self) -> BTreeSet<String> {
        self.heard().stopped.clone()
    }

    /// Whether a subscription is left alone.
    pub fn is_stopped(&self, subscription: &str) -> bool {
        self.heard().stopped.contains(subscription)
    }
}

/// A call under way, until it has ended or was given up.
pub struct WatchedCall<'a> {
    silent: &'a SilentSubscriptions,
    user: UserId,
    subscription: &'a str,
}

impl WatchedCall<'_> {
    /// Notes whether the call was answered.
    pub fn end(self, answered: bool) {
        let mut heard = self.silent.heard();
        if answered {
            heard.silent.remove(self.subscription);
        } else {
            heard.unanswered(self.user, self.subscription);
        }
    }
}

impl Drop for WatchedCall<'_> {
    fn drop(&mut self) {
        let key = (self.user, self.subscription.to_owned());
        let mut heard = self.silent.heard();
        if let Some(number) = heard.under_way.get_mut(&key) {
            *number -= 1;
        }
        heard.under_way.retain(|_, number| *number > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn user(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    /// Who called, and whether an answer came.
    #[track_caller]
    fn check(calls: &[(u128, bool)], expected: bool) {
        let silent = SilentSubscriptions::default();
        for (who, answered) in calls {
            silent.begin(user(*who), "s").end(*answered);
        }
        assert_eq!(silent.is_stopped("s"), expected, "{calls:?}");
        assert!(silent.heard().under_way.is_empty() && !silent.is_stopped("other"));
    }

    #[test]
    fn three_people_in_a_row_without_an_answer_stop_a_subscription() {
        check(&[(1, false), (2, false)], false);
        check(&[(1, false), (2, false), (3, false)], true);
        check(&[(1, false), (1, false), (1, false), (2, false)], false);
        check(&[(1, false), (2, false), (4, true), (3, false)], false);
        check(&[(1, false), (2, false), (3, false), (4, true)], true);
    }

    #[test]
    fn who_takes_too_long_counts_before_the_end() {
        let silent = SilentSubscriptions::default();
        let calls: Vec<WatchedCall<'_>> = (0..3).map(|n| silent.begin(user(n), "s")).collect();
        (0..3).for_each(|n| silent.give_up_on(user(n)));
        silent.give_up_on(user(9));
        assert!(silent.is_stopped("s"));
        drop(calls);
        assert!(silent.heard().under_way.is_empty());
    }
}
