//! How the latest attempts to reach each dependency ended, as far as this process made them. It decides nothing: it is for health,
//! the log and `doctor`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use time::OffsetDateTime;

/// A service that this one calls over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    Tables,
    KeyVault,
    Arm,
    /// The identity endpoint of the Functions app.
    Identity,
}

impl Dependency {
    pub const ALL: [Self; 4] = [Self::Tables, Self::KeyVault, Self::Arm, Self::Identity];

    /// Its name in health and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::KeyVault => "keyVault",
            Self::Arm => "arm",
            Self::Identity => "identity",
        }
    }
}

/// Why an attempt reached no dependency, or something else in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnreachableKind {
    NameNotFound,
    Refused,
    CertificateNotTrusted,
    CertificateExpired,
    CertificateForAnotherName,
    TimedOut,
    /// The connection broke, or TLS could not be agreed on.
    Broken,
    /// An answer came that no service of Azure gives: a proxy, a sign-in page, another program on the port.
    NotAzure,
}

impl UnreachableKind {
    pub const ALL: [Self; 8] = [
        Self::NameNotFound,
        Self::Refused,
        Self::CertificateNotTrusted,
        Self::CertificateExpired,
        Self::CertificateForAnotherName,
        Self::TimedOut,
        Self::Broken,
        Self::NotAzure,
    ];

    /// Its name in health and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NameNotFound => "name-not-found",
            Self::Refused => "connection-refused",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateForAnotherName => "certificate-for-another-name",
            Self::TimedOut => "timed-out",
            Self::Broken => "connection-broken",
            Self::NotAzure => "not-azure",
        }
    }

    /// The same in words, as part of an error.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::NameNotFound => "its name is not found",
            Self::Refused => "the connection is refused",
            Self::CertificateNotTrusted => "its certificate is not trusted",
            Self::CertificateExpired => "its certificate has expired, or is not valid yet",
            Self::CertificateForAnotherName => "its certificate is for another name",
            Self::TimedOut => "no answer in time",
            Self::Broken => "the connection broke",
            Self::NotAzure => "the answer is not Azure's",
        }
    }

    /// What [`as_str`](Self::as_str) names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it can happen with this dependency. The identity endpoint is plain http at an address, and in the place of a
    /// certificate there is nothing to be wrong.
    pub fn can_occur(self, with: Dependency) -> bool {
        match self {
            Self::NameNotFound
            | Self::CertificateNotTrusted
            | Self::CertificateExpired
            | Self::CertificateForAnotherName => with != Dependency::Identity,
            Self::Refused | Self::TimedOut | Self::Broken | Self::NotAzure => true,
        }
    }

    /// Whether it needs a person. The others pass by themselves, and what they delay is counted elsewhere.
    pub fn needs_person(self) -> bool {
        !matches!(self, Self::TimedOut | Self::Broken)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// `None`: the dependency answered.
    pub failure: Option<UnreachableKind>,
    pub at: OffsetDateTime,
}

/// The latest attempt with each dependency.
#[derive(Debug, Default)]
pub struct Connectivity(Mutex<BTreeMap<Dependency, Reached>>);

impl Connectivity {
    /// Keeps how an attempt ended. Returns whether the one before ended otherwise; the first is news where it failed.
    pub fn record(&self, dependency: Dependency, reached: Reached) -> bool {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = latest.insert(dependency, reached);
        before.and_then(|before| before.failure) != reached.failure
    }

    /// The dependencies that were called, with the latest attempt.
    pub fn latest(&self) -> BTreeMap<Dependency, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
