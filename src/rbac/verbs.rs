//! What a role lets its holder do to backups: the verbs of a role, computed from the actions of its definition and never from its name.
//!
//! The prose of a role and its actions disagree in places, and Microsoft adds actions to built-in roles.

use super::arm_scope::ArmScope;
use std::fmt;
use uuid::Uuid;

/// Something that a person can do to what a vault holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Start a restore, mount a recovery point, or restore in the paired region.
    Restore,
    /// Delete what is protected, with its recovery points.
    DeleteData,
    /// Change or delete a backup policy, or what the vault keeps and for how long.
    ChangePolicy,
    /// Remove or unlock the Resource Guard of the vault. The guard itself may still refuse.
    DetachGuard,
    /// Give and take roles.
    GiveAccess,
}

/// What the actions of a verb begin with, for the two kinds of vault; no prefix for what concerns both.
const RECOVERY_SERVICES: &str = "Microsoft.RecoveryServices/";
const DATA_PROTECTION: &str = "Microsoft.DataProtection/";

impl Verb {
    /// Every verb, in the order of the columns of a report.
    pub const ALL: [Verb; 5] =
        [Verb::Restore, Verb::DeleteData, Verb::ChangePolicy, Verb::DetachGuard, Verb::GiveAccess];

    /// The stable name, in JSON, CSV and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Restore => "restore",
            Verb::DeleteData => "delete-data",
            Verb::ChangePolicy => "change-policy",
            Verb::DetachGuard => "detach-guard",
            Verb::GiveAccess => "give-access",
        }
    }

    /// The verb of that stable name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == text)
    }

    /// The actions that are tested: one of them gives the verb.
    const fn actions(self) -> &'static [&'static str] {
        match self {
            Verb::Restore => &[
                "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/restore/action",
                "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/provisionInstantItemRecovery/action",
                "Microsoft.RecoveryServices/locations/backupCrossRegionRestore/action",
                "Microsoft.DataProtection/backupVaults/backupInstances/restore/action",
                "Microsoft.DataProtection/subscriptions/resourceGroups/providers/locations/crossRegionRestore/action",
            ],
            Verb::DeleteData => &[
                "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/delete",
                "Microsoft.DataProtection/backupVaults/backupInstances/delete",
            ],
            Verb::ChangePolicy => &[
                "Microsoft.RecoveryServices/vaults/backupPolicies/write",
                "Microsoft.RecoveryServices/vaults/backupPolicies/delete",
                "Microsoft.RecoveryServices/vaults/backupconfig/write",
                "Microsoft.RecoveryServices/vaults/write",
                "Microsoft.DataProtection/backupVaults/backupPolicies/write",
                "Microsoft.DataProtection/backupVaults/backupPolicies/delete",
                "Microsoft.DataProtection/backupVaults/write",
            ],
            Verb::DetachGuard => &[
                "Microsoft.RecoveryServices/vaults/backupResourceGuardProxies/delete",
                "Microsoft.RecoveryServices/vaults/backupResourceGuardProxies/unlockDelete/action",
                "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/delete",
                "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/unlockDelete/action",
            ],
            Verb::GiveAccess => &["Microsoft.Authorization/roleAssignments/write"],
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which kind of vault an action is taken on: a role at a Recovery Services vault does nothing to a Backup vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultKind {
    RecoveryServices,
    BackupVault,
    /// A resource group or a subscription can hold both.
    Any,
}

impl VaultKind {
    /// What lies at that scope.
    pub fn at(scope: &ArmScope) -> Self {
        let is_in = |provider: &str| scope.folded().contains(provider);
        if is_in("/providers/microsoft.recoveryservices/vaults/") {
            VaultKind::RecoveryServices
        } else if is_in("/providers/microsoft.dataprotection/backupvaults/") {
            VaultKind::BackupVault
        } else {
            VaultKind::Any
        }
    }

    fn takes(self, action: &str) -> bool {
        match self {
            VaultKind::RecoveryServices => !action.starts_with(DATA_PROTECTION),
            VaultKind::BackupVault => !action.starts_with(RECOVERY_SERVICES),
            VaultKind::Any => true,
        }
    }
}

/// A set of verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Verbs(u8);

impl Verbs {
    /// No verb.
    pub const NONE: Verbs = Verbs(0);

    const fn bit(verb: Verb) -> u8 {
        1 << verb as u8
    }

    /// Whether the verb is in it.
    pub const fn has(self, verb: Verb) -> bool {
        self.0 & Self::bit(verb) != 0
    }

    /// Whether no verb is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of either.
    #[must_use]
    pub const fn and(self, other: Verbs) -> Verbs {
        Verbs(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn of(self, other: Verbs) -> Verbs {
        Verbs(self.0 & other.0)
    }

    /// The verbs, in the order of columns.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| self.has(*verb))
    }
}

impl FromIterator<Verb> for Verbs {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        Verbs(verbs.into_iter().fold(0, |bits, verb| bits | Self::bit(verb)))
    }
}

/// What a role gives, at either kind of vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoleVerbs {
    recovery_services: Verbs,
    backup_vault: Verbs,
}

/// How a verb is named that a role gives at one kind of vault alone.
const ONLY_RECOVERY_SERVICES: &str = "@recovery-services";
const ONLY_BACKUP_VAULT: &str = "@backup-vault";

impl RoleVerbs {
    /// What these permissions give.
    pub fn of(granted: &[Permission]) -> Self {
        Self {
            recovery_services: verbs_of(granted, &[], VaultKind::RecoveryServices),
            backup_vault: verbs_of(granted, &[], VaultKind::BackupVault),
        }
    }

    /// What it gives at that kind of vault.
    pub const fn at(self, kind: VaultKind) -> Verbs {
        match kind {
            VaultKind::RecoveryServices => self.recovery_services,
            VaultKind::BackupVault => self.backup_vault,
            VaultKind::Any => self.recovery_services.and(self.backup_vault),
        }
    }

    /// Whether it gives no verb anywhere.
    pub const fn is_empty(self) -> bool {
        self.at(VaultKind::Any).is_empty()
    }

    /// As records have it: a verb that it gives at one kind of vault alone says at which.
    pub fn names(self) -> Vec<String> {
        let name = |verb: Verb| match (self.recovery_services.has(verb), self.backup_vault.has(verb)) {
            (true, false) => format!("{verb}{ONLY_RECOVERY_SERVICES}"),
            (false, true) => format!("{verb}{ONLY_BACKUP_VAULT}"),
            _ => verb.to_string(),
        };
        self.at(VaultKind::Any).iter().map(name).collect()
    }

    /// Reads what [`names`](Self::names) wrote; what it does not know is left out.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut verbs = Self::default();
        for name in names {
            let (verb, only) = name.find('@').map_or((name, ""), |at| name.split_at(at));
            let Some(verb) = Verb::parse(verb) else { continue };
            let verb: Verbs = [verb].into_iter().collect();
            if only.is_empty() || only == ONLY_RECOVERY_SERVICES {
                verbs.recovery_services = verbs.recovery_services.and(verb);
            }
            if only.is_empty() || only == ONLY_BACKUP_VAULT {
                verbs.backup_vault = verbs.backup_vault.and(verb);
            }
        }
        verbs
    }
}

/// One element of the permissions of a role definition or of a deny assignment. Data actions concern no verb.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permission {
    pub actions: Vec<String>,
    pub not_actions: Vec<String>,
}

impl Permission {
    /// Whether it names the action and does not except it.
    pub fn covers(&self, action: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches_action(pattern, action));
        any(&self.actions) && !any(&self.not_actions)
    }
}

/// A role definition, built-in or custom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleDefinition {
    pub id: Uuid,
    pub name: String,
    pub permissions: Vec<Permission>,
}

/// The verbs that `granted` gives at a vault of that kind, except for what `denied` takes away. An action that is denied by one
/// of the deny assignments is denied, whatever gives it.
pub fn verbs_of(granted: &[Permission], denied: &[Permission], kind: VaultKind) -> Verbs {
    let allows = |action: &&str| kind.takes(action) && covers(granted, action) && !covers(denied, action);
    Verb::ALL.into_iter().filter(|verb| verb.actions().iter().any(allows)).collect()
}

fn covers(permissions: &[Permission], action: &str) -> bool {
    permissions.iter().any(|permission| permission.covers(action))
}

/// Whether a pattern of a role definition names the action: without case, `*` stands for any text, slashes included.
pub(super) fn matches_action(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == action };
    let Some(mut left) = action.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, behind)) => left = behind,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(actions: &[&str], not_actions: &[&str]) -> Permission {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Permission { actions: owned(actions), not_actions: owned(not_actions) }
    }

    #[track_caller]
    fn check_pattern(pattern: &str, action: &str, expected: bool) {
        assert_eq!(matches_action(pattern, action), expected, "{pattern} {action}");
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let restore = "Microsoft.DataProtection/backupVaults/backupInstances/restore/action";
        for pattern in [
            "*",
            "*/action",
            "Microsoft.DataProtection/*/action",
            "microsoft.dataprotection/backupVAULTS/*",
            "Microsoft.*/backupInstances/*/action",
            "**",
            restore,
        ] {
            check_pattern(pattern, restore, true);
        }
        for pattern in [
            "",
            "*/read",
            "Microsoft.DataProtection/*/delete",
            "Microsoft.DataProtection/backupVaults",
            "Microsoft.DataProtection/backupVaults/backupInstances/restore/action/*",
            "*restore/action/*action",
        ] {
            check_pattern(pattern, restore, false);
        }
        // What is behind a star is not read twice.
        check_pattern("a*ab", "ab", false);
        check_pattern("a*b*b", "ab", false);
    }

    #[track_caller]
    fn check(granted: &[Permission], denied: &[Permission], kind: VaultKind, expected: &[Verb]) {
        let verbs: Vec<Verb> = verbs_of(granted, denied, kind).iter().collect();
        assert_eq!(verbs, expected);
    }

    /// Facts: F-039.
    #[test]
    fn verbs_come_from_actions_and_what_is_excepted() {
        let owner = permission(&["*"], &[]);
        check(std::slice::from_ref(&owner), &[], VaultKind::Any, &Verb::ALL);
        let contributor = permission(&["*"], &["Microsoft.Authorization/*/Write"]);
        let all_but_giving = &Verb::ALL[..4];
        check(std::slice::from_ref(&contributor), &[], VaultKind::Any, all_but_giving);
        // What one permission excepts another one can give.
        let both = [contributor, permission(&["Microsoft.Authorization/roleAssignments/*"], &[])];
        check(&both, &[], VaultKind::Any, &Verb::ALL);
        check(&[permission(&["*/read"], &[])], &[], VaultKind::Any, &[]);
        check(&[], &[], VaultKind::Any, &[]);
    }

    /// Facts: F-039.
    #[test]
    fn a_role_for_one_kind_of_vault_does_nothing_to_the_other() {
        let mua = [permission(&["Microsoft.DataProtection/*/action"], &[])];
        check(&mua, &[], VaultKind::RecoveryServices, &[]);
        check(&mua, &[], VaultKind::BackupVault, &[Verb::Restore, Verb::DetachGuard]);
        check(&mua, &[], VaultKind::Any, &[Verb::Restore, Verb::DetachGuard]);
        let access = [permission(&["Microsoft.Authorization/roleAssignments/write"], &[])];
        check(&access, &[], VaultKind::RecoveryServices, &[Verb::GiveAccess]);
    }

    #[test]
    fn what_is_denied_is_denied_whatever_gives_it() {
        let owner = [permission(&["*"], &[])];
        let deny = [permission(&["*/delete", "*/action"], &["Microsoft.DataProtection/*"])];
        check(&owner, &deny, VaultKind::RecoveryServices, &[Verb::ChangePolicy, Verb::GiveAccess]);
        check(&owner, &deny, VaultKind::BackupVault, &Verb::ALL);
        check(&owner, &owner, VaultKind::Any, &[]);
    }

    #[test]
    fn what_a_role_gives_is_read_as_it_is_written() {
        let mua =
            RoleVerbs::of(&[permission(&["Microsoft.DataProtection/*/action", "*/backupPolicies/*"], &[])]);
        assert_eq!(mua.names(), ["restore@backup-vault", "change-policy", "detach-guard@backup-vault"]);
        assert_eq!(RoleVerbs::from_names(mua.names().iter().map(String::as_str)), mua);
        assert!(mua.at(VaultKind::RecoveryServices).iter().eq([Verb::ChangePolicy]));
        let reads = RoleVerbs::of(&[permission(&["*/read"], &[])]);
        assert!(reads.is_empty() && reads.names().is_empty());
        assert_eq!(
            RoleVerbs::from_names(["fly", "restore@elsewhere", "restore@", "restore@vault", ""]),
            RoleVerbs::default()
        );
    }

    #[test]
    fn names_are_stable_and_found_again() {
        for verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.as_str()), Some(verb));
        }
        let some: Verbs = [Verb::GiveAccess, Verb::Restore].into_iter().collect();
        assert_eq!(some.iter().map(Verb::as_str).collect::<Vec<_>>(), ["restore", "give-access"]);
        assert!(some.has(Verb::Restore) && !some.has(Verb::DeleteData) && !some.is_empty());
        assert_eq!(some.and(Verbs::NONE), some);
    }
}
