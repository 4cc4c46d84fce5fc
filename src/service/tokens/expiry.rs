//! The log of bearer tokens that are about to expire: a line a day for each label without a token that lasts longer.

use crate::events::log_event;
use crate::service::tokens::set::TokenSet;
use std::collections::BTreeMap;
use time::{Date, OffsetDateTime};

/// Time for an operator to make another token and to put it into the identity provider.
const WARN_DAYS: i64 = 30;

/// What was logged: the last day, by label.
#[derive(Debug, Default)]
pub(super) struct ExpiryLog(BTreeMap<String, Date>);

impl ExpiryLog {
    /// Logs what is due of these tokens.
    pub(super) fn log(&mut self, set: &TokenSet, now: OffsetDateTime) {
        for (label, expires) in set.last_ends(now) {
            let days = (expires - now).whole_days();
            if days < WARN_DAYS && self.is_due(label, now) {
                log_event!(
                    TokenExpires, token.label = label, days, on = %expires.date(),
                    "the last bearer token of a label expires soon"
                );
            }
        }
    }

    /// Once a day.
    fn is_due(&mut self, label: &str, now: OffsetDateTime) -> bool {
        self.0.insert(label.to_owned(), now.date()) != Some(now.date())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_label_is_due_once_a_day() {
        let mut log = ExpiryLog::default();
        let morning = datetime!(2026-11-25 08:00 UTC);
        assert!(log.is_due("entra", morning));
        assert!(!log.is_due("entra", datetime!(2026-11-25 23:00 UTC)));
        assert!(log.is_due("okta", morning), "each label");
        assert!(log.is_due("entra", datetime!(2026-11-26 01:00 UTC)), "the next day");
    }
}
