//! Who can do what at a scope, against an evaluator that goes through every holder, scope, verb and action by itself.

use crate::resilience::crashes::random::Dice;
use azure_backup_scim::id::PrincipalId;
use azure_backup_scim::ports::azure_access::{AccessAssignment, DenyAssignment, DirectoryMember, HolderKind};
use azure_backup_scim::rbac::arm_scope::ArmScope;
use azure_backup_scim::rbac::scope::ScopeKind;
use azure_backup_scim::rbac::verbs::{Permission, RoleDefinition, Verb};
use azure_backup_scim::rbac::{AssignmentName, Scope};
use azure_backup_scim::service::access::report::rows::{AccessRow, AzureView, TargetAccess, access_rows};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Tenants, and the variable that asks for more.
const TENANTS: u64 = 200;
const TENANTS_VARIABLE: &str = "REPORT_TENANTS";
const PEOPLE: usize = 4;
const GROUPS: usize = 3;
const ROLES: usize = 4;

const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";
const RECOVERY: &str = "providers/Microsoft.RecoveryServices/vaults";
const BACKUP: &str = "providers/Microsoft.DataProtection/backupVaults";

/// The actions of each verb, and whether they are taken on a Recovery Services vault and on a Backup vault.
const ACTIONS: [(&str, Verb, bool, bool); 19] = [
    (
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/restore/action",
        Verb::Restore,
        true,
        false,
    ),
    (
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/recoveryPoints/provisionInstantItemRecovery/action",
        Verb::Restore,
        true,
        false,
    ),
    ("Microsoft.RecoveryServices/locations/backupCrossRegionRestore/action", Verb::Restore, true, false),
    ("Microsoft.DataProtection/backupVaults/backupInstances/restore/action", Verb::Restore, false, true),
    (
        "Microsoft.DataProtection/subscriptions/resourceGroups/providers/locations/crossRegionRestore/action",
        Verb::Restore,
        false,
        true,
    ),
    (
        "Microsoft.RecoveryServices/Vaults/backupFabrics/protectionContainers/protectedItems/delete",
        Verb::DeleteData,
        true,
        false,
    ),
    ("Microsoft.DataProtection/backupVaults/backupInstances/delete", Verb::DeleteData, false, true),
    ("Microsoft.RecoveryServices/Vaults/backupPolicies/write", Verb::ChangePolicy, true, false),
    ("Microsoft.RecoveryServices/Vaults/backupPolicies/delete", Verb::ChangePolicy, true, false),
    ("Microsoft.RecoveryServices/Vaults/backupconfig/write", Verb::ChangePolicy, true, false),
    ("Microsoft.RecoveryServices/Vaults/write", Verb::ChangePolicy, true, false),
    ("Microsoft.DataProtection/backupVaults/backupPolicies/write", Verb::ChangePolicy, false, true),
    ("Microsoft.DataProtection/backupVaults/backupPolicies/delete", Verb::ChangePolicy, false, true),
    ("Microsoft.DataProtection/backupVaults/write", Verb::ChangePolicy, false, true),
    ("Microsoft.RecoveryServices/Vaults/backupResourceGuardProxies/delete", Verb::DetachGuard, true, false),
    (
        "Microsoft.RecoveryServices/Vaults/backupResourceGuardProxies/unlockDelete/action",
        Verb::DetachGuard,
        true,
        false,
    ),
    (
        "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/delete",
        Verb::DetachGuard,
        false,
        true,
    ),
    (
        "Microsoft.DataProtection/backupVaults/backupResourceGuardProxies/unlockDelete/action",
        Verb::DetachGuard,
        false,
        true,
    ),
    ("Microsoft.Authorization/roleAssignments/write", Verb::GiveAccess, true, true),
];

/// What roles and deny assignments are made of.
const PATTERNS: [&str; 12] = [
    "*",
    "Microsoft.RecoveryServices/*",
    "microsoft.dataprotection/*",
    "Microsoft.Authorization/*/write",
    "*/recoveryPoints/restore/action",
    "*/backupInstances/restore/action",
    "*/protectedItems/delete",
    "*/backupPolicies/*",
    "*/backupResourceGuardProxies/*",
    "*/read",
    "Microsoft.DataProtection/*/delete",
    "*/roleAssignments/*",
];

fn scopes() -> Vec<ArmScope> {
    let texts = [
        "/".to_owned(),
        SUBSCRIPTION.to_owned(),
        format!("{SUBSCRIPTION}/resourceGroups/a"),
        format!("{SUBSCRIPTION}/resourceGroups/a2"),
        format!("{SUBSCRIPTION}/resourceGroups/a/{RECOVERY}/east"),
        format!("{SUBSCRIPTION}/resourceGroups/A/{BACKUP}/west"),
        format!("{SUBSCRIPTION}/resourceGroups/a2/{RECOVERY}/east"),
    ];
    texts.iter().map(|text| ArmScope::parse(text).unwrap()).collect()
}

fn id(number: usize) -> PrincipalId {
    PrincipalId::new(Uuid::from_u128(number as u128 + 1))
}

struct Tenant {
    assignments: Vec<AccessAssignment>,
    denied: Vec<DenyAssignment>,
    roles: BTreeMap<Uuid, RoleDefinition>,
    /// Direct members: people are below `PEOPLE`, groups behind.
    members: Vec<BTreeSet<usize>>,
}

fn some(dice: &mut Dice, from: usize, most: usize) -> Vec<usize> {
    let number = dice.roll(most + 1);
    (0..number).map(|_| dice.roll(from)).collect()
}

fn permission(dice: &mut Dice) -> Permission {
    let named = |places: Vec<usize>| places.iter().map(|place| PATTERNS[*place].to_owned()).collect();
    Permission {
        actions: named(some(dice, PATTERNS.len(), 3)),
        not_actions: named(some(dice, PATTERNS.len(), 1)),
    }
}

impl Tenant {
    fn random(seed: u64) -> Self {
        let dice = &mut Dice::new(seed);
        let roles = (0..ROLES).map(|n| {
            let id = Uuid::from_u128(0x900 + n as u128);
            let permissions = (0..=dice.roll(2)).map(|_| permission(dice)).collect();
            (id, RoleDefinition { id, name: format!("role {n}"), permissions })
        });
        let roles: BTreeMap<Uuid, RoleDefinition> = roles.collect();
        let members = (0..GROUPS).map(|_| some(dice, PEOPLE + GROUPS, 4).into_iter().collect()).collect();
        let ids: Vec<Uuid> = roles.keys().copied().collect();
        let assignments = (0..dice.roll(6)).map(|n| {
            let principal = dice.roll(PEOPLE + GROUPS);
            AccessAssignment {
                name: AssignmentName::new(Uuid::from_u128(n as u128)),
                scope: dice.of(&scopes()),
                role: dice.of(&ids),
                principal: id(principal),
                holder: if principal < PEOPLE { HolderKind::User } else { HolderKind::Group },
                condition: None,
                created_on: None,
                created_by: None,
            }
        });
        let assignments = assignments.collect();
        let denied = (0..dice.roll(3)).map(|n| {
            let ids = |places: Vec<usize>| places.into_iter().map(id).collect();
            DenyAssignment {
                name: n.to_string(),
                scope: dice.of(&scopes()),
                permissions: vec![permission(dice)],
                principals: ids(some(dice, PEOPLE + GROUPS, 2)),
                everyone: dice.roll(4) == 0,
                excluded: ids(some(dice, PEOPLE + GROUPS, 1)),
                only_at_scope: dice.roll(3) == 0,
                conditional: dice.roll(5) == 0,
            }
        });
        let denied = denied.collect();
        Self { assignments, denied, roles, members }
    }

    /// Everyone in a group, through groups in it.
    fn people_of(&self, group: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut open = vec![group];
        while let Some(next) = open.pop() {
            if seen.insert(next) && next >= PEOPLE {
                open.extend(&self.members[next - PEOPLE]);
            }
        }
        seen.retain(|member| *member < PEOPLE);
        seen
    }

    fn is_one_of(&self, person: usize, principals: &[PrincipalId]) -> bool {
        (0..PEOPLE + GROUPS).filter(|principal| principals.contains(&id(*principal))).any(|principal| {
            principal == person || principal >= PEOPLE && self.people_of(principal).contains(&person)
        })
    }

    fn can(&self, person: usize, target: &ArmScope, verb: Verb) -> bool {
        let text = target.as_str();
        let (is_backup, is_recovery) = (text.contains("backupVaults"), text.contains("RecoveryServices"));
        ACTIONS
            .iter()
            .filter(|(_, of, recovery, backup)| {
                *of == verb
                    && if is_backup {
                        *backup
                    } else if is_recovery {
                        *recovery
                    } else {
                        true
                    }
            })
            .any(|(action, ..)| self.may_take(person, target, action))
    }

    fn may_take(&self, person: usize, target: &ArmScope, action: &str) -> bool {
        let covers = |permissions: &[Permission]| {
            permissions.iter().any(|permission| {
                let any = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, action));
                any(&permission.actions) && !any(&permission.not_actions)
            })
        };
        let given = self.assignments.iter().any(|given| {
            is_below(target, &given.scope)
                && self.is_one_of(person, &[given.principal])
                && covers(&self.roles[&given.role].permissions)
        });
        let denied = self.denied.iter().any(|deny| {
            let reaches =
                if deny.only_at_scope { deny.scope == *target } else { is_below(target, &deny.scope) };
            reaches
                && !deny.conditional
                && (deny.everyone || self.is_one_of(person, &deny.principals))
                && !self.is_one_of(person, &deny.excluded)
                && covers(&deny.permissions)
        });
        given && !denied
    }

    /// What Azure and Entra ID answer to the questions of a report.
    fn view(&self) -> AzureView {
        let targets = scopes().into_iter().filter_map(|scope| Scope::parse(scope.as_str()).ok());
        let targets = targets.map(|target| {
            let here = ArmScope::from(&target);
            let assignments = self.assignments.iter().filter(|given| is_below(&here, &given.scope)).cloned();
            let denied = self.denied.iter().filter(|deny| is_below(&here, &deny.scope)).cloned();
            TargetAccess { assignments: assignments.collect(), denied: denied.collect(), target }
        });
        let groups = (PEOPLE..PEOPLE + GROUPS).map(|group| {
            let member =
                |person| DirectoryMember { principal: id(person), kind: HolderKind::User, name: None };
            (id(group), self.people_of(group).into_iter().map(member).collect())
        });
        AzureView {
            targets: targets.collect(),
            roles: self.roles.clone(),
            groups: groups.collect(),
            unresolved: BTreeSet::new(),
        }
    }
}

fn is_below(scope: &ArmScope, above: &ArmScope) -> bool {
    let parts = |scope: &ArmScope| -> Vec<String> {
        scope.as_str().to_lowercase().split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    parts(scope).starts_with(&parts(above))
}

/// Character by character, without case.
fn glob(pattern: &str, text: &str) -> bool {
    fn from(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => from(&pattern[1..], text) || !text.is_empty() && from(pattern, &text[1..]),
            (Some(p), Some(t)) => p.eq_ignore_ascii_case(t) && from(&pattern[1..], &text[1..]),
            _ => false,
        }
    }
    from(pattern.as_bytes(), text.as_bytes())
}

#[test]
fn the_rows_are_those_of_an_evaluator_that_asks_for_everything() {
    let tenants = std::env::var(TENANTS_VARIABLE).map_or(TENANTS, |text| text.parse().unwrap());
    let mut found = 0;
    for seed in 0..tenants {
        let tenant = Tenant::random(seed);
        let view = tenant.view();
        let rows: Vec<_> = access_rows(&view).collect();
        let mut shown = BTreeSet::new();
        for row in &rows {
            let verbs = row.verbs.unwrap().iter();
            shown.extend(verbs.map(|verb| (row.holder, ArmScope::from(&row.target), verb)));
        }
        let mut expected = BTreeSet::new();
        for scope in scopes().into_iter().filter(|scope| Scope::parse(scope.as_str()).is_ok()) {
            for person in 0..PEOPLE {
                let can = Verb::ALL.into_iter().filter(|verb| tenant.can(person, &scope, *verb));
                expected.extend(can.map(|verb| (id(person), scope.clone(), verb)));
            }
        }
        assert_eq!(shown, expected, "seed {seed}");
        found += expected.len();
    }
    assert!(found > 200, "{found}");
}

/// Whom a deny assignment spares must not be hidden where it cannot be found out who that is.
#[test]
fn who_may_be_spared_is_shown() {
    let members = vec![BTreeSet::new(); GROUPS];
    let mut tenant = Tenant { assignments: Vec::new(), denied: Vec::new(), roles: BTreeMap::new(), members };
    let (person, group) = (0, PEOPLE);
    let role = Uuid::from_u128(0x900);
    let all = Permission { actions: vec!["*".to_owned()], not_actions: Vec::new() };
    tenant
        .roles
        .insert(role, RoleDefinition { id: role, name: "all".to_owned(), permissions: vec![all.clone()] });
    tenant.assignments.push(AccessAssignment {
        name: AssignmentName::new(Uuid::from_u128(1)),
        scope: scopes()[1].clone(),
        role,
        principal: id(person),
        holder: HolderKind::User,
        condition: None,
        created_on: None,
        created_by: None,
    });
    tenant.denied.push(DenyAssignment {
        name: "but for a group".to_owned(),
        scope: scopes()[1].clone(),
        permissions: vec![all],
        principals: Vec::new(),
        everyone: true,
        excluded: vec![id(group)],
        only_at_scope: false,
        conditional: false,
    });
    let mut view = tenant.view();
    assert_eq!(access_rows(&view).count(), 0, "the group is known to be empty");
    view.groups.remove(&id(group));
    view.unresolved.insert(id(group));
    let rows: Vec<_> = access_rows(&view).collect();
    let all_verbs = |row: &AccessRow| row.verbs.unwrap().iter().count() == Verb::ALL.len();
    assert!(
        !rows.is_empty()
            && rows.iter().filter(|row| row.target.kind() == ScopeKind::Subscription).all(all_verbs)
    );
}
