//! Who can do what at a scope, by what Azure says: assignments at or above it, the actions of their roles, the members of Entra
//! groups, and deny assignments. Pure.

use crate::id::PrincipalId;
use crate::ports::azure_access::{AccessAssignment, DenyAssignment, DirectoryMember, HolderKind};
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{Permission, RoleDefinition, VaultKind, Verbs, verbs_of};
use crate::rbac::{BackupRole, Scope};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What Azure says of one scope.
#[derive(Debug, Clone)]
pub struct TargetAccess {
    pub target: Scope,
    pub assignments: Vec<AccessAssignment>,
    pub denied: Vec<DenyAssignment>,
}

/// Everything that the rows of a report rest on.
#[derive(Debug, Clone, Default)]
pub struct AzureView {
    pub targets: Vec<TargetAccess>,
    /// Role definitions, as far as they could be read.
    pub roles: BTreeMap<Uuid, RoleDefinition>,
    /// The members of Entra groups, through groups in them too, as far as they could be read.
    pub groups: BTreeMap<PrincipalId, Vec<DirectoryMember>>,
    /// What deny assignments or role assignments name that may be a group, and could not be read.
    pub unresolved: BTreeSet<PrincipalId>,
}

/// What one holder can do at one scope through one assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRow {
    pub target: Scope,
    pub holder: PrincipalId,
    pub kind: HolderKind,
    /// The Entra group that has the assignment, where the holder is its member.
    pub through: Option<PrincipalId>,
    pub assignment: AccessAssignment,
    /// What the assignment gives there, less what is denied. `None`: its role could not be read.
    pub verbs: Option<Verbs>,
}

/// The rows of every target, in the order of targets and assignments. An assignment that gives no verb is left out, unless it
/// is of a backup role. A group whose members could not be read stands for them.
pub fn access_rows(view: &AzureView) -> impl Iterator<Item = AccessRow> {
    view.targets.iter().flat_map(|target| rows_of(view, target))
}

fn rows_of(view: &AzureView, at: &TargetAccess) -> Vec<AccessRow> {
    let mut rows = Vec::new();
    let vault = VaultKind::at(&ArmScope::from(&at.target));
    // Where nothing is denied a role gives the same to everybody.
    let mut given: BTreeMap<Uuid, Verbs> = BTreeMap::new();
    for assignment in &at.assignments {
        for (holder, kind, through) in holders(view, assignment) {
            let role = view.roles.get(&assignment.role);
            let verbs = role.map(|role| {
                let denied = denied_to(view, at, holder, kind);
                if !denied.is_empty() {
                    return verbs_of(&role.permissions, &denied, vault);
                }
                *given.entry(role.id).or_insert_with(|| verbs_of(&role.permissions, &[], vault))
            });
            let says_something = verbs.is_none_or(|verbs| !verbs.is_empty());
            if says_something || BackupRole::from_definition(assignment.role).is_some() {
                let (target, assignment) = (at.target.clone(), assignment.clone());
                rows.push(AccessRow { target, holder, kind, through, assignment, verbs });
            }
        }
    }
    rows
}

/// The principal itself, or the people and service principals of the group.
fn holders(
    view: &AzureView,
    assignment: &AccessAssignment,
) -> Vec<(PrincipalId, HolderKind, Option<PrincipalId>)> {
    let group = assignment.principal;
    match view.groups.get(&group).filter(|_| assignment.holder == HolderKind::Group) {
        None => vec![(group, assignment.holder, None)],
        Some(members) => {
            let people = members.iter().filter(|member| member.kind != HolderKind::Group);
            people.map(|member| (member.principal, member.kind, Some(group))).collect()
        }
    }
}

/// A deny assignment counts only where nobody whom it spares can be among the holders: who may be able to act is shown.
fn denied_to(view: &AzureView, at: &TargetAccess, holder: PrincipalId, kind: HolderKind) -> Vec<Permission> {
    let target = ArmScope::from(&at.target);
    let is_one_of = |principals: &[PrincipalId]| {
        let named: BTreeSet<PrincipalId> = principals.iter().copied().collect();
        named.contains(&holder)
            || named
                .iter()
                .filter_map(|group| view.groups.get(group))
                .flatten()
                .any(|member| member.principal == holder)
    };
    let applies = |deny: &&DenyAssignment| {
        // What a condition leaves denied is not known: nobody is taken for harmless by it.
        let reaches = !deny.conditional && (!deny.only_at_scope || deny.scope == target);
        let may_be_spared = is_one_of(&deny.excluded)
            || deny.excluded.iter().any(|spared| view.unresolved.contains(spared))
            || kind == HolderKind::Group && !deny.excluded.is_empty();
        reaches && (deny.everyone || is_one_of(&deny.principals)) && !may_be_spared
    };
    at.denied.iter().filter(applies).flat_map(|deny| deny.permissions.clone()).collect()
}
