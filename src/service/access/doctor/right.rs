//! One right of the service to give or take roles, as Azure holds it, and how wide it is.

use super::facts::RoleFacts;
use crate::ports::azure_access::AccessAssignment;
use crate::rbac::BackupRole;
use crate::rbac::condition::{AssignmentAction, AssignmentCondition, Verdict};
use crate::rbac::privileged::{
    CONTRIBUTOR, OWNER, PRINCIPAL_KINDS, PRIVILEGED, RBAC_ADMINISTRATOR, USER_ACCESS_ADMINISTRATOR,
    leads_to_any, unnamed_role,
};
use crate::rbac::verbs::RoleDefinition;
use std::collections::BTreeSet;
use uuid::Uuid;

/// The kinds of principals that the service gives roles to.
pub const OUR_KINDS: [&str; 2] = ["User", "ServicePrincipal"];

/// What narrows a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Narrowing {
    Nothing,
    Condition(AssignmentCondition),
    /// There is a condition, and it cannot be understood: what it allows is not known.
    NotUnderstood,
}

/// A right.
#[derive(Debug, Clone)]
pub struct ServiceRight<'a> {
    pub assignment: &'a AccessAssignment,
    /// What its role says, whatever narrows it.
    gives: Verdict,
    takes: Verdict,
    /// Whether its role leads to any role in another way.
    leads: bool,
    pub narrowing: Narrowing,
}

impl<'a> ServiceRight<'a> {
    /// `None`: the role gives and takes no roles, and leads to none. One whose definition could not be read may do all of that.
    pub fn of(assignment: &'a AccessAssignment, roles: &RoleFacts) -> Option<Self> {
        let can = |action: AssignmentAction| match roles.get(&assignment.role) {
            Some(Ok(role)) => {
                Verdict::of(role.permissions.iter().any(|permission| permission.covers(action.as_str())))
            }
            // What these built-in roles say is known.
            Some(Err(_)) | None if [OWNER, USER_ACCESS_ADMINISTRATOR].contains(&assignment.role) => {
                Verdict::Yes
            }
            Some(Err(_)) | None => Verdict::Depends,
        };
        let (gives, takes) = (can(AssignmentAction::Give), can(AssignmentAction::Take));
        let leads = match roles.get(&assignment.role) {
            Some(Ok(role)) => leads_to_any(role),
            Some(Err(_)) | None => ![RBAC_ADMINISTRATOR, CONTRIBUTOR].contains(&assignment.role),
        };
        let narrowing = match assignment.condition.as_deref().map(AssignmentCondition::parse) {
            None => Narrowing::Nothing,
            Some(Ok(condition)) => Narrowing::Condition(condition),
            Some(Err(_)) => Narrowing::NotUnderstood,
        };
        let is_right = gives.max(takes) != Verdict::No || leads;
        is_right.then_some(Self { assignment, gives, takes, leads, narrowing })
    }

    /// Whether the definition of its role could be read.
    pub fn is_role_read(&self) -> bool {
        self.gives != Verdict::Depends
    }

    /// The roles through which its holder comes to any role: its own, or those that it gives to itself or to others.
    pub fn ways_to_any(&self, give: &RightReach, roles: &RoleFacts) -> BTreeSet<String> {
        let own = self.leads.then_some(self.assignment.role);
        let given = give.roles.iter().copied().filter(|role| gives_roles(*role, roles));
        own.into_iter().chain(given).map(|role| role_name(role, roles)).collect()
    }

    /// Whether it lets its holder do that.
    pub fn verdict(&self, action: AssignmentAction, role: Uuid, kind: &str) -> Verdict {
        let by_role = match action {
            AssignmentAction::Give => self.gives,
            AssignmentAction::Take => self.takes,
        };
        let narrowed = match &self.narrowing {
            Narrowing::Nothing => Verdict::Yes,
            Narrowing::Condition(condition) => condition.verdict(action, role, kind),
            Narrowing::NotUnderstood => Verdict::Depends,
        };
        by_role.min(narrowed)
    }

    /// Everything that it may allow, whatever else that depends on.
    pub fn reach(&self, action: AssignmentAction) -> RightReach {
        let mut reach = RightReach::default();
        let named: BTreeSet<Uuid> = match &self.narrowing {
            // A delegation that gives nothing names zeros, which are the id of no role.
            Narrowing::Condition(condition) => {
                condition.named_ids().into_iter().filter(|id| !id.is_nil()).collect()
            }
            Narrowing::Nothing | Narrowing::NotUnderstood => BTreeSet::new(),
        };
        let backup = BackupRole::ALL.map(BackupRole::definition_id);
        let privileged = PRIVILEGED.map(|(_, id)| id);
        let other = unnamed_role(&named);
        let roles: BTreeSet<Uuid> =
            named.into_iter().chain(backup).chain(privileged).chain([other]).collect();
        for role in &roles {
            for kind in PRINCIPAL_KINDS {
                if self.verdict(action, *role, kind) != Verdict::No {
                    reach.roles.insert(*role);
                    reach.kinds.insert(kind);
                }
            }
        }
        // The roles that were tried beside it say nothing more then, but for those that it leaves out.
        reach.is_any = reach.roles.remove(&other);
        reach.left_out = roles.difference(&reach.roles).filter(|role| **role != other).copied().collect();
        reach
    }
}

/// What a right may allow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RightReach {
    /// Roles that no condition names are among them.
    pub is_any: bool,
    pub roles: BTreeSet<Uuid>,
    /// Roles that were tried and are out of reach.
    pub left_out: BTreeSet<Uuid>,
    pub kinds: BTreeSet<&'static str>,
}

impl RightReach {
    /// The kinds of principals that the service never gives roles to.
    pub fn other_kinds(&self) -> BTreeSet<&'static str> {
        self.kinds.iter().copied().filter(|kind| !OUR_KINDS.contains(kind)).collect()
    }
}

/// Whether its holder can give roles, or come to do so. One that could not be read may be like that.
fn gives_roles(role: Uuid, roles: &RoleFacts) -> bool {
    if known_name(role).is_some() {
        return [OWNER, USER_ACCESS_ADMINISTRATOR, RBAC_ADMINISTRATOR].contains(&role);
    }
    match roles.get(&role) {
        Some(Ok(role)) => covers_one(role, &[AssignmentAction::Give.as_str()]) || leads_to_any(role),
        Some(Err(_)) | None => true,
    }
}

fn covers_one(role: &RoleDefinition, actions: &[&str]) -> bool {
    actions.iter().any(|action| role.permissions.iter().any(|permission| permission.covers(action)))
}

/// The name of a built-in role that is known by its id.
fn known_name(role: Uuid) -> Option<&'static str> {
    let privileged = PRIVILEGED.iter().find(|(_, id)| *id == role).map(|(name, _)| *name);
    BackupRole::from_definition(role).map(BackupRole::name).or(privileged)
}

/// The roles that a condition names, as far as they are not known by their id.
pub fn named_roles(assignment: &AccessAssignment) -> BTreeSet<Uuid> {
    let condition = assignment.condition.as_deref().and_then(|text| AssignmentCondition::parse(text).ok());
    let named = condition.map(|condition| condition.named_ids()).unwrap_or_default();
    named.into_iter().filter(|id| !id.is_nil() && known_name(*id).is_none()).collect()
}

/// What a role is called. A custom role may bear any name: its id is said, too.
pub fn role_name(role: Uuid, roles: &RoleFacts) -> String {
    match (known_name(role), roles.get(&role)) {
        (Some(name), _) => name.to_owned(),
        (None, Some(Ok(read))) => format!("{:?} ({role})", read.name),
        (None, _) => role.to_string(),
    }
}
