//! How each version of the bearer token stands: what `token list` shows, and what a new version or a revocation changes.

use super::set::{choose, label};
use crate::ports::secrets::SecretVersion;
use std::cmp::Reverse;
use time::OffsetDateTime;

/// What a version is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionStanding {
    /// Its token is accepted.
    Valid,
    /// It will be accepted once its window begins.
    NotYet,
    /// It is over.
    Expired,
    /// It was disabled: revoked.
    Disabled,
    /// Newer ones of its label took its place.
    Replaced,
}

impl VersionStanding {
    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            VersionStanding::Valid => "valid",
            VersionStanding::NotYet => "not-yet",
            VersionStanding::Expired => "expired",
            VersionStanding::Disabled => "disabled",
            VersionStanding::Replaced => "replaced",
        }
    }
}

/// A version of the bearer token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenVersion {
    pub version: SecretVersion,
    /// What audit records call its holder.
    pub label: String,
    pub standing: VersionStanding,
}

/// All versions, the newest first.
pub fn token_versions(versions: &[SecretVersion], now: OffsetDateTime) -> Vec<TokenVersion> {
    let chosen = choose(versions, now);
    let standing = |version: &SecretVersion| {
        let is_chosen = chosen.iter().any(|one| one.id == version.id);
        let is_coming = version.not_before.is_some_and(|from| from > now);
        match (is_chosen, is_coming) {
            (true, true) => VersionStanding::NotYet,
            (true, false) => VersionStanding::Valid,
            _ if !version.enabled => VersionStanding::Disabled,
            _ if version.expires.is_some_and(|end| end <= now) => VersionStanding::Expired,
            _ => VersionStanding::Replaced,
        }
    };
    let told = versions.iter().map(|version| TokenVersion {
        version: version.clone(),
        label: label(version),
        standing: standing(version),
    });
    let mut told: Vec<TokenVersion> = told.collect();
    told.sort_by_key(|one| (Reverse(one.version.created), one.version.id.clone()));
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    const NOON: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

    fn version(id: &str, days_old: i64, label: &str) -> SecretVersion {
        SecretVersion {
            id: id.to_owned(),
            enabled: true,
            created: NOON - Duration::days(days_old),
            not_before: None,
            expires: None,
            label: Some(label.to_owned()),
        }
    }

    #[test]
    fn each_version_says_why_it_counts_or_not() {
        use VersionStanding::{Disabled, Expired, NotYet, Replaced, Valid};
        let over = Some(NOON - Duration::hours(1));
        let versions = [
            version("a", 9, "entra"),
            version("b", 8, "entra"),
            version("c", 7, "entra"),
            SecretVersion { not_before: Some(NOON + Duration::days(1)), ..version("d", 1, "entra") },
            SecretVersion { expires: over, ..version("e", 6, "okta") },
            SecretVersion { enabled: false, ..version("f", 5, "okta") },
            version("g", 4, "okta"),
        ];
        let told = token_versions(&versions, NOON);
        let told: Vec<_> = told.iter().map(|one| (one.version.id.as_str(), one.standing)).collect();
        let expected = [
            ("d", NotYet),
            ("g", Valid),
            ("f", Disabled),
            ("e", Expired),
            ("c", Valid),
            ("b", Valid),
            ("a", Replaced),
        ];
        assert_eq!(told, expected);
    }
}
