//! The greatest damage that the service can do with its rights.

use super::facts::RoleFacts;
use super::right::{RightReach, ServiceRight, role_name};
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::condition::AssignmentAction;
use crate::rbac::privileged::{OWNER, PRINCIPAL_KINDS};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the service can give and take at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GreatestDamage {
    /// Why that is not known.
    pub unknown: Option<&'static str>,
    /// Not everything could be read.
    pub is_partial: bool,
    pub give: DamageReach,
    pub take: DamageReach,
    /// What its own roles let it do to backups, at these scopes and below.
    pub acts: BTreeMap<Vec<&'static str>, BTreeSet<ArmScope>>,
}

impl GreatestDamage {
    /// What a right adds. With one that leads to any role every role can be given and taken.
    pub fn add(&mut self, right: &ServiceRight<'_>, roles: &RoleFacts) {
        let give = right.reach(AssignmentAction::Give);
        let scope = &right.assignment.scope;
        self.is_partial |= !right.is_role_read();
        if right.ways_to_any(&give, roles).is_empty() {
            self.give.add(give, scope, roles);
            self.take.add(right.reach(AssignmentAction::Take), scope, roles);
            return;
        }
        for reach in [&mut self.give, &mut self.take] {
            reach.roles.entry(ReachedRoles::Any).or_default().insert(scope.clone());
            reach.kinds.extend(PRINCIPAL_KINDS);
        }
    }
}

/// What can be given, or taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DamageReach {
    /// At these scopes and below.
    pub roles: BTreeMap<ReachedRoles, BTreeSet<ArmScope>>,
    pub kinds: BTreeSet<&'static str>,
}

/// Roles in reach. In order: the worst first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReachedRoles {
    Any,
    /// Owner is among those that are left out.
    AnyBut(Vec<String>),
    One(String),
}

impl fmt::Display for ReachedRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReachedRoles::Any => f.write_str("ANY role, Owner included,"),
            ReachedRoles::AnyBut(left_out) => write!(f, "ANY role but {}", joined(left_out)),
            ReachedRoles::One(name) => f.write_str(name),
        }
    }
}

impl DamageReach {
    fn add(&mut self, reach: RightReach, scope: &ArmScope, roles: &RoleFacts) {
        let name = |role| role_name(role, roles);
        let found = match reach.is_any {
            true if reach.left_out.contains(&OWNER) => {
                vec![ReachedRoles::AnyBut(reach.left_out.into_iter().map(name).collect())]
            }
            true => vec![ReachedRoles::Any],
            false => reach.roles.into_iter().map(name).map(ReachedRoles::One).collect(),
        };
        self.kinds.extend(reach.kinds);
        for roles in found {
            self.roles.entry(roles).or_default().insert(scope.clone());
        }
    }

    /// The roles that are in reach at the same scopes, together.
    pub fn by_scopes(&self) -> Vec<(Vec<&ReachedRoles>, &BTreeSet<ArmScope>)> {
        let mut by_scopes: BTreeMap<&BTreeSet<ArmScope>, Vec<&ReachedRoles>> = BTreeMap::new();
        for (roles, scopes) in &self.roles {
            by_scopes.entry(scopes).or_default().push(roles);
        }
        let mut found: Vec<_> = by_scopes.into_iter().map(|(scopes, roles)| (roles, scopes)).collect();
        found.sort();
        found
    }

    /// Where roles are in reach that no condition names.
    pub fn any_role_at(&self) -> BTreeSet<&ArmScope> {
        let any = self.roles.iter().filter(|(roles, _)| !matches!(roles, ReachedRoles::One(_)));
        any.flat_map(|(_, scopes)| scopes).collect()
    }
}

/// Kinds of principals as prose has them, users first.
pub fn plural(kinds: &BTreeSet<&str>) -> String {
    let words = [
        ("User", "users"),
        ("ServicePrincipal", "service principals"),
        ("Group", "groups"),
        ("ForeignGroup", "groups of other tenants"),
    ];
    let named = words.iter().filter(|(kind, _)| kinds.contains(kind));
    let named: Vec<String> = named.map(|(_, word)| (*word).to_owned()).collect();
    if named.len() == words.len() { "anyone".to_owned() } else { joined(&named) }
}

/// As a sentence has them: a, b and c.
pub fn joined(texts: &[String]) -> String {
    match texts.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}
