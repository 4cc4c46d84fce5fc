//! Any scope of Azure, also those that are never bound: where assignments of others are.

use super::scope::Scope;
use std::cmp::Ordering;
use std::fmt;

/// Longer than any scope that Azure makes.
const SCOPE_CHARS_MAX: usize = 2048;

/// A scope of any kind: as Azure writes it, compared without case, segment by segment.
#[derive(Debug, Clone)]
pub struct ArmScope {
    text: String,
    folded: String,
}

impl ArmScope {
    /// Reads a scope; one trailing slash is dropped, and the tenant root is `/`. `None`: it is none, or has control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        let plain = trimmed.chars().count() <= SCOPE_CHARS_MAX && !trimmed.chars().any(char::is_control);
        if !text.starts_with('/') || !plain {
            return None;
        }
        let text = if trimmed.is_empty() { "/" } else { trimmed };
        Some(Self { text: text.to_owned(), folded: text.to_ascii_lowercase() })
    }

    /// As Azure writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Lower case, for comparing.
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// Whether it is above every subscription of its part of the tenant: the tenant root, or a management group.
    pub fn is_above_subscriptions(&self) -> bool {
        self.subscription().is_none()
    }

    /// The subscription GUID in lower case, where it is in one.
    pub fn subscription(&self) -> Option<&str> {
        self.folded.strip_prefix("/subscriptions/")?.split('/').next()
    }

    /// This scope and each one that its text names above it, in lower case.
    pub fn folded_at_or_above(&self) -> impl Iterator<Item = &str> {
        let slashes = self.folded.match_indices('/').map(|(at, _)| at).skip(1);
        slashes.chain([self.folded.len()]).filter_map(|end| self.folded.get(..end))
    }

    /// Whether `other` is this scope or lies below it. Of a management group that cannot be told by its name.
    pub fn covers(&self, other: &ArmScope) -> bool {
        let below = other.folded.strip_prefix(self.folded.as_str());
        self.text == "/" || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl From<&Scope> for ArmScope {
    fn from(scope: &Scope) -> Self {
        Self { text: scope.as_str().to_owned(), folded: scope.folded().to_owned() }
    }
}

impl PartialEq for ArmScope {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for ArmScope {}

impl PartialOrd for ArmScope {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ArmScope {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl fmt::Display for ArmScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> ArmScope {
        ArmScope::parse(text).unwrap()
    }

    #[test]
    fn scopes_are_compared_without_case_and_segment_by_segment() {
        assert_eq!(scope("/Subscriptions/S/"), scope("/subscriptions/s"));
        assert!(scope("/subscriptions/s").covers(&scope("/subscriptions/S/resourceGroups/a")));
        assert!(scope("/subscriptions/s").covers(&scope("/subscriptions/s")));
        assert!(!scope("/subscriptions/s").covers(&scope("/subscriptions/s2")));
        assert!(!scope("/subscriptions/s/resourceGroups/a").covers(&scope("/subscriptions/s")));
        assert!(scope("/").covers(&scope("/subscriptions/s")));
    }

    #[test]
    fn what_is_above_subscriptions_is_told() {
        for text in ["/", "/providers/Microsoft.Management/managementGroups/m"] {
            assert!(scope(text).is_above_subscriptions());
            assert_eq!(scope(text).as_str(), text);
        }
        assert_eq!(scope("/subscriptions/ABC/resourceGroups/a").subscription(), Some("abc"));
    }

    #[test]
    fn what_is_no_scope_is_not_read() {
        for text in ["", "subscriptions/s", "/a\u{1b}", &format!("/{}", "a".repeat(2049))] {
            assert_eq!(ArmScope::parse(text), None, "{text:?}");
        }
    }
}
