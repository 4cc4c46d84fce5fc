//! Identifiers that several concepts share. Each is built by `parse` or by the id source, printed by `Display`.

use std::cmp::Ordering;
use std::fmt;
use time::OffsetDateTime;
use uuid::Uuid;

/// The actor of what no one ordered.
pub const SERVICE: &str = "service";

/// Text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}")]
pub struct IdError {
    kind: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that came from the id source or from a row.
            pub const fn new(value: Uuid) -> Self {
                Self(value)
            }

            /// Reads the 36-character hyphenated form, in any case. Braces, URNs and the 32-digit form are refused.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let hyphenated = text.len() == 36;
                match Uuid::try_parse(text) {
                    Ok(value) if hyphenated => Ok(Self(value)),
                    _ => Err(IdError { kind: $kind, text: text.chars().take(64).collect() }),
                }
            }

            /// The UUID itself.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.as_hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.as_hyphenated())
            }
        }
    };
}

id!(
    /// The SCIM id of a user: random, ours, never an Azure id.
    UserId,
    "user id"
);
id!(
    /// The SCIM id of a group: random, ours, never an Azure id.
    GroupId,
    "group id"
);
id!(
    /// The object id of a user, group or service principal in Entra ID.
    PrincipalId,
    "principal id"
);
id!(
    /// One operation of ours: a committed change, an open or a close. UUIDv7, so that journal rows list by time.
    OpId,
    "operation id"
);
impl OpId {
    /// When the operation began, by the clock of its process; `None` for an id of another version.
    pub fn time(&self) -> Option<OffsetDateTime> {
        time_of(self.0)
    }
}

/// The time in a UUIDv7.
fn time_of(id: Uuid) -> Option<OffsetDateTime> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    Some(at + std::time::Duration::from_nanos(u64::from(nanos)))
}

id!(
    /// One request to this service, as `X-Request-Id`, its log lines and its records name it. UUIDv7, so that requests list
    /// by time.
    RequestId,
    "request id"
);

impl RequestId {
    /// The least id of that millisecond: where a range of ids begins.
    pub fn first_at(time: OffsetDateTime) -> Self {
        let millis = (time.unix_timestamp_nanos() / 1_000_000).clamp(0, (1 << 48) - 1);
        Self(Uuid::from_u128(millis.unsigned_abs() << 80))
    }

    /// When the request arrived, by the clock of its process; `None` for an id of another version.
    pub fn time(&self) -> Option<OffsetDateTime> {
        time_of(self.0)
    }
}

id!(
    /// This installation, made once and kept with the state; part of every assignment name.
    InstanceId,
    "instance id"
);

/// A member of a group: a user or another group. Ordered as ids are, whichever the two are of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberId {
    User(UserId),
    Group(GroupId),
}

impl MemberId {
    /// The UUID itself. A user and a group never have the same.
    pub const fn uuid(&self) -> Uuid {
        match self {
            MemberId::User(user) => user.uuid(),
            MemberId::Group(group) => group.uuid(),
        }
    }

    /// The user, if it is one.
    pub const fn user(&self) -> Option<UserId> {
        match self {
            MemberId::User(user) => Some(*user),
            MemberId::Group(_) => None,
        }
    }

    /// The group, if it is one.
    pub const fn group(&self) -> Option<GroupId> {
        match self {
            MemberId::User(_) => None,
            MemberId::Group(group) => Some(*group),
        }
    }
}

impl From<UserId> for MemberId {
    fn from(user: UserId) -> Self {
        MemberId::User(user)
    }
}

impl From<GroupId> for MemberId {
    fn from(group: GroupId) -> Self {
        MemberId::Group(group)
    }
}

impl Ord for MemberId {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |id: &Self| (id.uuid(), id.group().is_some());
        place(self).cmp(&place(other))
    }
}

impl PartialOrd for MemberId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uuid().as_hyphenated())
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.group().is_some() { "group" } else { "user" };
        write!(f, "{kind} {self}")
    }
}

/// `YYYYMMDDThhmmssZ`, compared as text.
pub fn format_stamp(at: OffsetDateTime) -> String {
    let form = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    at.to_offset(time::UtcOffset::UTC).format(&form).unwrap_or_default()
}

/// Reads a stamp.
pub fn parse_stamp(text: &str) -> Option<OffsetDateTime> {
    let form = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    time::PrimitiveDateTime::parse(text, &form).ok().map(time::PrimitiveDateTime::assume_utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_read_back() {
        let at = time::macros::datetime!(2026-11-25 10:00:30 UTC);
        assert_eq!(format_stamp(at), "20261125T100030Z");
        assert_eq!(parse_stamp(&format_stamp(at)), Some(at));
        assert_eq!(parse_stamp("2026"), None);
    }
}
