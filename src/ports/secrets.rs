//! A vault of secrets, as far as bearer tokens need one: the versions of one secret, and the value of a version. The service
//! only reads; an operator adds and disables versions.

use async_trait::async_trait;
use secrecy::SecretString;
use std::time::Duration;
use time::OffsetDateTime;

/// One version of a secret, its value aside. What a version holds never changes; its attributes may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretVersion {
    pub id: String,
    pub enabled: bool,
    pub created: OffsetDateTime,
    pub not_before: Option<OffsetDateTime>,
    pub expires: Option<OffsetDateTime>,
    /// Who was given this version, from its tag `label`.
    pub label: Option<String>,
}

/// Why a call of the vault failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is no such secret, or it was deleted.
    #[error("the vault has no secret {name:?}")]
    Missing { name: String },
    /// The identity may not do that, or the version is disabled.
    #[error("the vault refuses access to secret {name:?} (status {status})")]
    Refused { name: String, status: u16 },
    /// The secret was deleted, and its name is kept until it is purged: it can be recovered.
    #[error("secret {name:?} was deleted: recover it, or purge it and begin anew")]
    Deleted { name: String },
    /// 429 or 503 with a wait.
    #[error("the vault is busy")]
    Throttled { retry_after: Duration },
    /// No answer, or none that can be understood.
    #[error("the vault cannot be reached: {detail}")]
    Away { detail: String },
}

/// A version to be added.
#[derive(Debug)]
pub struct NewVersion {
    pub value: SecretString,
    /// Who is given this version: the tag `label`.
    pub label: String,
    pub expires: OffsetDateTime,
}

/// The secrets of one vault.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// Every version of a secret, in no particular order.
    async fn versions(&self, name: &str) -> Result<Vec<SecretVersion>, SecretError>;
    /// What a version holds.
    async fn value(&self, name: &str, version: &str) -> Result<SecretString, SecretError>;
}

/// The secrets of one vault, with the right to set them.
#[async_trait]
pub trait SecretKeeper: SecretSource {
    /// Adds a version to a secret, which is made where there is none.
    async fn add_version(&self, name: &str, new: NewVersion) -> Result<SecretVersion, SecretError>;
    /// Disables a version, which stays.
    async fn disable(&self, name: &str, version: &str) -> Result<(), SecretError>;
}
