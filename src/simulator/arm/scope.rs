//! Scopes as Azure compares them: without case, segment by segment, one trailing slash ignored.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a scope names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKind {
    Root,
    ManagementGroup,
    Subscription,
    ResourceGroup,
    Resource,
}

/// A place in Azure. Keeps the spelling it was given and compares without case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    segments: Vec<String>,
    folded: Vec<String>,
    kind: ScopeKind,
}

impl Scope {
    /// Reads a scope; `None` if the text has none of Azure's shapes.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Self::from_segments(&[]);
        }
        let segments: Vec<&str> = text.strip_prefix('/')?.split('/').collect();
        Self::from_segments(&segments)
    }

    /// The scope of these path segments.
    pub fn from_segments(segments: &[&str]) -> Option<Self> {
        let folded: Vec<String> = segments.iter().map(|s| s.to_ascii_lowercase()).collect();
        let kind = kind_of(&folded.iter().map(String::as_str).collect::<Vec<_>>())?;
        Some(Self { segments: segments.iter().map(|s| (*s).to_owned()).collect(), folded, kind })
    }

    /// The tenant root.
    pub const fn root() -> Self {
        Self { segments: Vec::new(), folded: Vec::new(), kind: ScopeKind::Root }
    }

    /// What it names.
    pub const fn kind(&self) -> ScopeKind {
        self.kind
    }

    /// The subscription id in lower case, if it lies in one.
    pub fn subscription(&self) -> Option<&str> {
        matches!(self.kind, ScopeKind::Subscription | ScopeKind::ResourceGroup | ScopeKind::Resource)
            .then(|| self.folded.get(1).map(String::as_str))
            .flatten()
    }

    /// Whether `other` is this scope or lies below it. Every management group is taken to be above every subscription.
    /// Facts: F-030.
    pub fn covers(&self, other: &Self) -> bool {
        other.folded.starts_with(&self.folded)
            || (self.kind == ScopeKind::ManagementGroup && other.subscription().is_some())
    }

    /// The scopes above it, without the tenant root.
    pub fn parents(&self) -> Vec<Self> {
        let segments: Vec<&str> = self.segments.iter().map(String::as_str).collect();
        (1..segments.len()).filter_map(|count| Self::from_segments(segments.get(..count)?)).collect()
    }

    /// The last segment.
    pub fn short_name(&self) -> &str {
        self.segments.last().map_or("/", String::as_str)
    }
}

fn kind_of(folded: &[&str]) -> Option<ScopeKind> {
    if folded.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let kind = match folded {
        [] => return Some(ScopeKind::Root),
        ["providers", "microsoft.management", "managementgroups", _] => {
            return Some(ScopeKind::ManagementGroup);
        }
        ["subscriptions", _] => ScopeKind::Subscription,
        ["subscriptions", _, "resourcegroups", _] => ScopeKind::ResourceGroup,
        ["subscriptions", _, "resourcegroups", _, "providers", _, names @ ..]
            if !names.is_empty() && names.len().is_multiple_of(2) =>
        {
            ScopeKind::Resource
        }
        _ => return None,
    };
    folded.get(1).is_some_and(|id| Uuid::try_parse(id).is_ok()).then_some(kind)
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Scope {}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.segments.join("/"))
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not an Azure scope"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/app";

    #[track_caller]
    fn check(above: &str, below: &str, expected: bool) {
        let above = Scope::parse(above).unwrap();
        let below = Scope::parse(below).unwrap();
        assert_eq!(above.covers(&below), expected);
    }

    /// Facts: F-030.
    #[test]
    fn covering_goes_segment_by_segment_and_without_case() {
        check(GROUP, &GROUP.to_uppercase(), true);
        check(GROUP, &format!("{GROUP}2"), false);
        check(GROUP, &format!("{GROUP}/"), true);
        check(GROUP, &format!("{GROUP}/providers/Microsoft.RecoveryServices/vaults/v"), true);
        check(&format!("{GROUP}/providers/Microsoft.RecoveryServices/vaults/v"), GROUP, false);
        check("/", GROUP, true);
        check("/providers/Microsoft.Management/managementGroups/m", GROUP, true);
    }

    #[test]
    fn only_the_shapes_of_azure_are_scopes() {
        for text in ["subscriptions", "/subscriptions/x", "/subscriptions", &format!("{GROUP}/providers/A")] {
            assert!(Scope::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_vault_lies_in_a_group_and_a_subscription() {
        let vault = Scope::parse(&format!("{GROUP}/providers/Microsoft.RecoveryServices/vaults/v")).unwrap();
        let kinds: Vec<ScopeKind> = vault.parents().iter().map(Scope::kind).collect();
        assert_eq!(kinds, [ScopeKind::Subscription, ScopeKind::ResourceGroup]);
    }
}
