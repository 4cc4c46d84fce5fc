//! Who makes room in a subscription that holds as many role assignments as it can: one person at a time.

use crate::events::log_event;
use crate::id::UserId;
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::rbac::plan::RoomClaim;
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StoreError, keys};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// A claim that is older belongs to a person who was not reconciled since: the next one may take it.
const CLAIM_LASTS: Duration = Duration::from_secs(900);

/// One claim, as its row says it.
#[derive(Debug, Clone)]
pub struct StoredClaim {
    user: UserId,
    until: OffsetDateTime,
    stopped: bool,
    pub etag: ETag,
}

/// Subscription → claim.
#[derive(Debug, Clone, Default)]
pub struct RoomClaims(BTreeMap<String, StoredClaim>);

impl RoomClaims {
    /// What a plan for `user` needs to know. A claim that is over is none.
    pub fn as_seen_by(&self, user: UserId, now: OffsetDateTime) -> BTreeMap<String, RoomClaim> {
        let seen = |claim: &StoredClaim| match claim {
            StoredClaim { stopped: true, .. } => Some(RoomClaim::Stopped),
            claim if claim.user == user => Some(RoomClaim::Ours),
            claim if claim.until > now => Some(RoomClaim::Taken { until: claim.until }),
            _ => None,
        };
        self.0.iter().filter_map(|(subscription, claim)| Some((subscription.clone(), seen(claim)?))).collect()
    }

    /// The claim on that subscription, of any person.
    pub fn of(&self, subscription: &str) -> Option<&StoredClaim> {
        self.0.get(subscription)
    }

    /// Takes a row of the settings, if it is one of these. One that cannot be read is taken for a claim that is over: the next
    /// one replaces it.
    pub(super) fn read_row(&mut self, row: &TableRow) {
        let Some(subscription) = row.key.strip_prefix("s:room:") else { return };
        let claim = read(row).unwrap_or_else(|error| {
            log_event!(RowUnreadable, error = %error, "a claim on a full subscription cannot be read");
            let no_user = UserId::new(uuid::Uuid::nil());
            let until = OffsetDateTime::UNIX_EPOCH;
            StoredClaim { user: no_user, until, stopped: false, etag: row.etag.clone() }
        });
        self.0.insert(subscription.to_owned(), claim);
    }
}

fn read(row: &TableRow) -> Result<StoredClaim, StoreError> {
    let reader = RowReader::new(row)?;
    Ok(StoredClaim {
        user: reader.parsed("user", UserId::parse)?,
        until: reader.time("until")?,
        stopped: reader.flag("stopped")?,
        etag: row.etag.clone(),
    })
}

/// This person makes room there, unless another one began meanwhile.
pub fn claim(
    subscription: &str,
    user: UserId,
    now: OffsetDateTime,
    read: Option<&StoredClaim>,
) -> TableWrite {
    let key = key(subscription);
    let properties = properties(user, now).done();
    match read {
        Some(read) => TableWrite::Replace { key, properties, condition: EtagMatch::Exact(read.etag.clone()) },
        None => TableWrite::Insert { key, properties },
    }
}

/// The freed place was lost to another assignment: no further binding moves in that subscription.
pub fn stop(subscription: &str, user: UserId, now: OffsetDateTime) -> TableWrite {
    let properties = properties(user, now).flag("stopped", true).done();
    TableWrite::InsertOrReplace { key: key(subscription), properties }
}

/// Ends the claim: no person makes room there.
pub fn release(subscription: &str) -> TableWrite {
    TableWrite::Delete { key: key(subscription), condition: EtagMatch::Any }
}

fn key(subscription: &str) -> String {
    keys::setting(&format!("room:{subscription}"))
}

fn properties(user: UserId, now: OffsetDateTime) -> RowFields {
    RowFields::row().text("user", user.to_string()).time("until", now + CLAIM_LASTS)
}
