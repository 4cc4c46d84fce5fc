//! Azure scopes that a backup role may be bound to.

use std::cmp::Ordering;
use std::fmt;

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

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-00000000000A";
    const VAULTS: &str = "providers/Microsoft.RecoveryServices/vaults";

    fn group(name: &str) -> String {
        format!("{SUBSCRIPTION}/resourceGroups/{name}")
    }

    #[track_caller]
    fn check(text: &str, expected: ScopeKind) {
        let scope = Scope::parse(text).unwrap();
        assert_eq!(scope.kind(), expected);
        assert_eq!(scope.as_str(), text, "printed as written");
        assert_eq!(scope.to_string(), text);
    }

    #[track_caller]
    fn check_error(text: &str, expected: &ScopeError) {
        assert_eq!(&Scope::parse(text).unwrap_err(), expected);
    }

    #[track_caller]
    fn check_segment(text: &str, segment: &str) {
        check_error(text, &ScopeError::Segment { segment: segment.to_owned() });
    }

    #[test]
    fn four_kinds_of_scope_are_read() {
        check(SUBSCRIPTION, ScopeKind::Subscription);
        check(&group("backup"), ScopeKind::ResourceGroup);
        check(&format!("{}/{VAULTS}/east", group("backup")), ScopeKind::RecoveryServicesVault);
        let vault = format!("{}/providers/Microsoft.DataProtection/backupVaults/east", group("backup"));
        check(&vault, ScopeKind::BackupVault);
        check(&vault.to_lowercase(), ScopeKind::BackupVault);
        check(&vault.to_uppercase(), ScopeKind::BackupVault);
    }

    #[test]
    fn names_that_azure_allows_are_read() {
        for name in ["a", "Backup_(west)-1.x", "R\u{fc}cksicherung", "\u{5099}\u{4efd}", &"a".repeat(90)] {
            check(&group(name), ScopeKind::ResourceGroup);
        }
    }

    #[test]
    fn one_trailing_slash_is_dropped() {
        let scope = Scope::parse(&(group("backup") + "/")).unwrap();
        assert_eq!(scope.as_str(), group("backup"));
        check_segment(&(group("backup") + "//"), "");
    }

    #[test]
    fn what_is_broader_than_a_subscription_is_refused() {
        for text in ["", "/", "/providers/Microsoft.Management/managementGroups/root", "/PROVIDERS/x"] {
            check_error(text, &ScopeError::TooBroad);
        }
    }

    #[test]
    fn a_scope_begins_with_a_subscription() {
        for text in [
            "subscriptions/00000000-0000-0000-0000-00000000000a",
            "/subscriptions",
            "/subscriptions/east",
            "/subscriptions/0000000000000000000000000000000a",
            "/tenants/00000000-0000-0000-0000-00000000000a",
        ] {
            check_error(text, &ScopeError::NoSubscription);
        }
        check_segment(
            "/subscriptions/{00000000-0000-0000-0000-00000000000a}",
            "{00000000-0000-0000-0000-00000000000a}",
        );
    }

    #[test]
    fn nothing_that_changes_the_path_gets_through() {
        for name in [
            ".", "..", "a.", "a%2Fb", "%2e%2e", "a?b", "a#b", "a b", " a", "a\n", "a\r", "a\\b", "a;b",
            "a\u{0}", "a:b", "a*",
        ] {
            check_segment(&group(name), name);
            check_segment(&format!("{}/{VAULTS}/{name}x?", group("backup")), &format!("{name}x?"));
        }
        check_segment(&group("backup/../other"), "..");
        check_segment(&group("\u{202e}backup"), "\u{202e}backup");
        check_segment(&group(&"a".repeat(91)), &"a".repeat(64));
    }

    #[test]
    fn other_resources_are_not_bound() {
        for tail in [
            "",
            "/backup/providers",
            "/backup/providers/Microsoft.RecoveryServices/vaults",
            "/backup/providers/Microsoft.RecoveryServices/vaults/east/backupPolicies/daily",
            "/backup/providers/Microsoft.RecoveryServices/backupVaults/east",
            "/backup/providers/Microsoft.Compute/virtualMachines/vm1",
        ] {
            check_error(&format!("{SUBSCRIPTION}/resourceGroups{tail}"), &ScopeError::Kind);
        }
        check_error(&format!("{SUBSCRIPTION}/{VAULTS}/east"), &ScopeError::Kind);
        check_error(&format!("{SUBSCRIPTION}/providers/Microsoft.RecoveryServices"), &ScopeError::Kind);
    }

    #[test]
    fn scopes_are_compared_without_case_and_as_a_whole() {
        let scope = |name: &str| Scope::parse(&group(name)).unwrap();
        let shouted = Scope::parse(&group("backup").to_uppercase()).unwrap();
        assert_eq!(scope("backup"), shouted);
        assert_eq!(scope("backup").cmp(&shouted), Ordering::Equal);
        assert_eq!(scope("backup").folded(), shouted.folded());

        assert_ne!(scope("rg1"), scope("rg10"));
        assert_ne!(scope("rg1"), Scope::parse(SUBSCRIPTION).unwrap());
        assert_eq!(scope("rg1").partial_cmp(&scope("rg10")), Some(Ordering::Less));
        assert_eq!(scope("RG2").partial_cmp(&scope("rg1")), Some(Ordering::Greater));
    }

    #[test]
    fn a_scope_tells_its_subscription_and_its_own_name() {
        let vault = Scope::parse(&format!("{}/{VAULTS}/East", group("backup"))).unwrap();
        assert_eq!(vault.subscription(), "00000000-0000-0000-0000-00000000000a");
        assert_eq!(vault.short_name(), "East");
        assert_eq!(Scope::parse(SUBSCRIPTION).unwrap().short_name(), "00000000-0000-0000-0000-00000000000A");
    }
}
