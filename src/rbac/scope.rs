//! Azure scopes that a backup role may be bound to.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// What a scope names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    Subscription,
    ResourceGroup,
    RecoveryServicesVault,
    BackupVault,
}

/// A scope: as written, compared without case, segment by segment.
#[derive(Debug, Clone)]
pub struct Scope {
    text: String,
    folded: String,
    kind: ScopeKind,
}

/// Why a text is not a scope that can be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error("a scope begins with /subscriptions/{{guid}}")]
    NoSubscription,
    #[error("management groups and the tenant root are not bound")]
    TooBroad,
    #[error("segment {segment:?} is empty or holds characters that Azure does not allow there")]
    Segment { segment: String },
    #[error(
        "only a subscription, a resource group, a Recovery Services vault or a Backup vault can be bound"
    )]
    Kind,
}

impl Scope {
    /// Reads a scope; one trailing slash is dropped.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() || text.to_ascii_lowercase().starts_with("/providers/") {
            return Err(ScopeError::TooBroad);
        }
        let segments: Vec<&str> = text.split('/').skip(1).collect();
        if !text.starts_with('/') {
            return Err(ScopeError::NoSubscription);
        }
        for segment in &segments {
            if !segment_ok(segment) {
                return Err(ScopeError::Segment { segment: segment.chars().take(64).collect() });
            }
        }
        let kind = kind_of(&segments)?;
        Ok(Self { text: text.to_owned(), folded: text.to_ascii_lowercase(), kind })
    }

    /// Lower case, for comparing and for names.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it names.
    pub const fn kind(&self) -> ScopeKind {
        self.kind
    }

    /// The subscription GUID in lower case: throttling is counted by it.
    pub fn subscription(&self) -> &str {
        self.folded.split('/').nth(2).unwrap_or_default()
    }

    /// The last segment: the name of the vault, group or subscription, for people.
    pub fn short_name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }
}

fn segment_ok(segment: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    !segment.is_empty()
        && segment.chars().count() <= 90
        && segment.chars().all(plain)
        && !segment.ends_with('.')
        && segment != ".."
}

fn kind_of(segments: &[&str]) -> Result<ScopeKind, ScopeError> {
    let is = |at: usize, word: &str| segments.get(at).is_some_and(|s| s.eq_ignore_ascii_case(word));
    let subscription = segments.get(1).is_some_and(|s| s.len() == 36 && uuid::Uuid::try_parse(s).is_ok());
    if !is(0, "subscriptions") || !subscription {
        return Err(ScopeError::NoSubscription);
    }
    let vault = |provider: &str, kind: &str| is(4, "providers") && is(5, provider) && is(6, kind);
    match segments.len() {
        2 => Ok(ScopeKind::Subscription),
        4 if is(2, "resourceGroups") => Ok(ScopeKind::ResourceGroup),
        8 if is(2, "resourceGroups") && vault("Microsoft.RecoveryServices", "vaults") => {
            Ok(ScopeKind::RecoveryServicesVault)
        }
        8 if is(2, "resourceGroups") && vault("Microsoft.DataProtection", "backupVaults") => {
            Ok(ScopeKind::BackupVault)
        }
        _ => Err(ScopeError::Kind),
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Scope {}

impl PartialOrd for Scope {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scope {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl Hash for Scope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
