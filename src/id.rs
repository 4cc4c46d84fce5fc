//! Identifiers that several concepts share. Each is built by `parse` or by the id source, printed by `Display`.

use std::fmt;
use time::OffsetDateTime;
use uuid::Uuid;

/// Text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind}")]
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
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let at = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
        Some(at + std::time::Duration::from_nanos(u64::from(nanos)))
    }
}

id!(
    /// This installation, made once and kept with the state; part of every assignment name.
    InstanceId,
    "instance id"
);

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
