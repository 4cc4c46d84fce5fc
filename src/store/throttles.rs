//! Where Azure asked us to wait: one row for each subscription and kind of call, which every process respects.

use crate::events::log_event;
use crate::ports::tables::{TableRow, TableWrite};
use crate::rbac::Scope;
use crate::rbac::ledger::StepKind;
use crate::store::codec::{RowFields, RowReader};
use crate::store::keys;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// Longer than the longest Retry-After that is heeded, an hour: what lies further ahead was not written by us.
const AHEAD_MAX: Duration = Duration::from_secs(2 * 3600);

/// What Azure counts apart: reads, writes and deletes have a budget each, so that a grant never costs a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// Asking by name, and listing.
    Ask,
    Revoke,
    Grant,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ask, Self::Revoke, Self::Grant];

    /// The text in rows, logs and the health check.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Revoke => "revoke",
            Self::Grant => "grant",
        }
    }
}

impl From<StepKind> for CallKind {
    fn from(kind: StepKind) -> Self {
        match kind {
            StepKind::Revoke => Self::Revoke,
            StepKind::Grant => Self::Grant,
        }
    }
}

/// Subscription and kind of call → not before, on the table service's clock. Times that have passed may stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredThrottles(BTreeMap<(String, CallKind), OffsetDateTime>);

impl StoredThrottles {
    /// Until when a kind of call must wait there, if it must.
    pub fn until(&self, scope: &Scope, kind: CallKind, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let until = self.0.get(&(scope.subscription().to_owned(), kind)).copied();
        until.filter(|until| counts(*until, now))
    }

    /// Nothing at all is sent there until then, for a reason of our own.
    pub fn stop(&mut self, subscription: &str, until: OffsetDateTime) {
        for kind in CallKind::ALL {
            let stopped = self.0.entry((subscription.to_owned(), kind)).or_insert(until);
            *stopped = until.max(*stopped);
        }
    }

    /// Subscription, kind and time of each that counts now.
    pub fn each(&self, now: OffsetDateTime) -> impl Iterator<Item = (&str, CallKind, OffsetDateTime)> {
        let counting = self.0.iter().filter(move |(_, until)| counts(**until, now));
        counting.map(|((subscription, kind), until)| (subscription.as_str(), *kind, *until))
    }

    /// What a plan needs to know: steps only.
    pub fn steps(&self, now: OffsetDateTime) -> BTreeMap<(String, StepKind), OffsetDateTime> {
        let of = |kind: StepKind| {
            self.each(now)
                .filter(move |(_, call, _)| *call == CallKind::from(kind))
                .map(move |(subscription, _, until)| ((subscription.to_owned(), kind), until))
        };
        of(StepKind::Revoke).chain(of(StepKind::Grant)).collect()
    }

    /// Takes a row of the settings, if it is one of these. A kind that this release does not know is ignored, and one
    /// that cannot be read holds nothing up: Azure asks to wait again.
    pub(super) fn read_row(&mut self, row: &TableRow) {
        let name = row.key.strip_prefix("s:throttle:").and_then(|rest| rest.split_once(':'));
        let Some((subscription, kind)) = name else { return };
        let Some(kind) = CallKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
            return;
        };
        match RowReader::new(row).and_then(|reader| reader.time("not_before")) {
            Ok(not_before) => {
                self.0.insert((subscription.to_owned(), kind), not_before);
            }
            Err(error) => {
                log_event!(RowUnreadable, error = %error, "a stored throttle cannot be read and is ignored")
            }
        }
    }
}

/// A wait that lies ahead, and no further than any that is ever written.
fn counts(until: OffsetDateTime, now: OffsetDateTime) -> bool {
    until > now && until <= now + AHEAD_MAX
}

/// Azure asked every process to wait with this kind of call in this subscription. The last word counts.
pub fn store_wait(subscription: &str, kind: CallKind, not_before: OffsetDateTime) -> TableWrite {
    let key = keys::setting(&format!("throttle:{subscription}:{}", kind.as_str()));
    TableWrite::InsertOrReplace { key, properties: RowFields::row().time("not_before", not_before).done() }
}
