//! The secrets of the vault and their versions.

use crate::simulator::clock::new_guid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Longest name of a secret.
const NAME_CHARS_MAX: usize = 127;
/// A secret with all its versions, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultSecret {
    pub versions: Vec<SecretVersion>,
    /// Soft-deleted: still there, but no call finds it.
    pub deleted: bool,
}

/// One version of a secret. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVersion {
    pub id: String,
    pub value: String,
    pub content_type: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub enabled: bool,
    pub not_before: Option<i64>,
    pub expires: Option<i64>,
    pub created: i64,
    pub updated: i64,
}

/// A version to be made. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    pub value: String,
    #[serde(default)]
    pub content_type: Option<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub nbf: Option<i64>,
    #[serde(default)]
    pub exp: Option<i64>,
    #[serde(default = "enabled")]
    pub enabled: bool,
}

const fn enabled() -> bool {
    true
}

impl NewSecret {
    /// An enabled version without a window.
    pub fn new(value: &str) -> Self {
        let tags = BTreeMap::new();
        Self { value: value.to_owned(), content_type: None, tags, nbf: None, exp: None, enabled: true }
    }

    /// The version, made now.
    pub fn into_version(self, now: OffsetDateTime) -> SecretVersion {
        SecretVersion {
            id: new_guid().simple().to_string(),
            value: self.value,
            content_type: self.content_type,
            tags: self.tags,
            enabled: self.enabled,
            not_before: self.nbf,
            expires: self.exp,
            created: now.unix_timestamp(),
            updated: now.unix_timestamp(),
        }
    }
}

/// What to change in a version; what is left out stays. Times are unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretUpdate {
    pub enabled: Option<bool>,
    pub nbf: Option<i64>,
    pub exp: Option<i64>,
    pub tags: Option<BTreeMap<String, String>>,
}

impl SecretUpdate {
    /// Changes the version.
    pub fn apply(self, version: &mut SecretVersion, now: OffsetDateTime) {
        version.enabled = self.enabled.unwrap_or(version.enabled);
        version.not_before = self.nbf.or(version.not_before);
        version.expires = self.exp.or(version.expires);
        version.tags = self.tags.unwrap_or_else(|| std::mem::take(&mut version.tags));
        version.updated = now.unix_timestamp();
    }
}

/// The key of a secret: names are compared without case. `None` for what Key Vault does not take for a name.
/// Facts: F-105.
pub fn secret_key(name: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let fits = !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(known);
    fits.then(|| name.to_ascii_lowercase())
}
