//! Who has access in Azure, whoever gave it: what answers to people are made of. No reconcile rests on it.

use crate::id::PrincipalId;
use crate::ports::role_assignments::AssignmentError;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{Permission, RoleDefinition};
use crate::rbac::{AssignmentName, Scope};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// Role assignments that a subscription can hold.
pub const ASSIGNMENTS_MAX: usize = 4000;
/// From here on people should make room.
pub const ASSIGNMENTS_MANY: usize = 3200;

/// What kind of Entra object holds an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HolderKind {
    User,
    /// Its members have the role.
    Group,
    ServicePrincipal,
    /// A kind that this release does not know, or none was named.
    Other,
}

impl HolderKind {
    /// The word of ARM.
    pub const fn as_str(self) -> &'static str {
        match self {
            HolderKind::User => "User",
            HolderKind::Group => "Group",
            HolderKind::ServicePrincipal => "ServicePrincipal",
            HolderKind::Other => "Other",
        }
    }

    /// The kind that ARM names.
    pub fn parse(text: &str) -> Self {
        match text {
            "User" => HolderKind::User,
            "Group" | "ForeignGroup" => HolderKind::Group,
            "ServicePrincipal" => HolderKind::ServicePrincipal,
            _ => HolderKind::Other,
        }
    }
}

/// A role assignment of any role and anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessAssignment {
    pub name: AssignmentName,
    /// Where it was made, which can be above the scope that was asked for.
    pub scope: ArmScope,
    /// The GUID of the role definition.
    pub role: Uuid,
    pub principal: PrincipalId,
    pub holder: HolderKind,
    /// The text of the condition that narrows it.
    pub condition: Option<String>,
    pub created_on: Option<OffsetDateTime>,
    /// The Entra object that made it.
    pub created_by: Option<PrincipalId>,
}

impl AccessAssignment {
    /// Whether a condition narrows it.
    pub const fn is_conditional(&self) -> bool {
        self.condition.is_some()
    }
}

/// What a management lock forbids at its scope and below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockLevel {
    /// Roles can be given and cannot be taken.
    CanNotDelete,
    /// Roles can be neither given nor taken.
    ReadOnly,
    /// A level that this release does not know, or none was named.
    Other,
}

impl LockLevel {
    /// The word of ARM.
    pub const fn as_str(self) -> &'static str {
        match self {
            LockLevel::CanNotDelete => "CanNotDelete",
            LockLevel::ReadOnly => "ReadOnly",
            LockLevel::Other => "Other",
        }
    }

    /// The level that ARM names.
    pub fn parse(text: &str) -> Self {
        let known = [LockLevel::CanNotDelete, LockLevel::ReadOnly];
        let found = known.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text));
        found.unwrap_or(LockLevel::Other)
    }
}

/// A management lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementLock {
    pub name: String,
    /// Where it was made, which can be above the scope that was asked for.
    pub scope: ArmScope,
    pub level: LockLevel,
}

/// An assignment that takes actions away from principals, whatever gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyAssignment {
    /// The name that the portal shows; unique at its scope.
    pub name: String,
    pub scope: ArmScope,
    pub permissions: Vec<Permission>,
    /// Whom it denies; everybody where `everyone`.
    pub principals: Vec<PrincipalId>,
    pub everyone: bool,
    /// Whom it does not deny all the same.
    pub excluded: Vec<PrincipalId>,
    /// It holds at its scope alone, not below.
    pub only_at_scope: bool,
    /// Whether a condition narrows it, or it only audits: then it does not deny everything that it names.
    pub conditional: bool,
}

/// Reads who has access. Every call ends within `timeout`, and nothing is retried.
#[async_trait]
pub trait AccessReader: Send + Sync {
    /// Every role assignment at or above `scope`. Those that another tenant made through Azure Lighthouse are never shown.
    async fn at_or_above(
        &self,
        scope: &Scope,
        timeout: Duration,
    ) -> Result<Vec<AccessAssignment>, AssignmentError>;
    /// Every role assignment at, above or below `scope`.
    async fn around(
        &self,
        scope: &Scope,
        timeout: Duration,
    ) -> Result<Vec<AccessAssignment>, AssignmentError>;
    /// The role definition of that GUID, as it is at `scope`. `None`: there is none.
    async fn role_definition(
        &self,
        scope: &Scope,
        role: Uuid,
        timeout: Duration,
    ) -> Result<Option<RoleDefinition>, AssignmentError>;
    /// Every deny assignment at or above `scope`.
    async fn denied(&self, scope: &Scope, timeout: Duration) -> Result<Vec<DenyAssignment>, AssignmentError>;
    /// Every management lock at or above `scope`.
    async fn locks(&self, scope: &Scope, timeout: Duration) -> Result<Vec<ManagementLock>, AssignmentError>;
}

/// Why Microsoft Graph could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// 401 or 403: the caller has no right to read it.
    #[error("the directory refuses to be read: {code}")]
    Refused { code: String },
    /// Throttled, away, or nonsense.
    #[error("the directory gave no answer that can be relied on: {detail}")]
    Unknown { detail: String },
}

/// A member of an Entra group, directly or through groups in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryMember {
    pub principal: PrincipalId,
    pub kind: HolderKind,
    pub name: Option<String>,
}

/// A direct member of an Entra group. What the caller may not read is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectMember {
    pub principal: PrincipalId,
    pub kind: HolderKind,
    pub display_name: Option<String>,
    /// Of people.
    pub user_principal_name: Option<String>,
    pub account_enabled: Option<bool>,
}

/// Who is assigned to an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppAssignment {
    pub principal: PrincipalId,
    pub kind: HolderKind,
    pub display_name: Option<String>,
}

/// Reads Entra ID through Microsoft Graph. Every call ends within `timeout`, and nothing is retried.
#[async_trait]
pub trait DirectoryReader: Send + Sync {
    /// The people, service principals and groups in a group, through groups in it too. `None`: there is no such group.
    async fn members_of(
        &self,
        group: PrincipalId,
        timeout: Duration,
    ) -> Result<Option<Vec<DirectoryMember>>, DirectoryError>;
    /// The people, service principals and groups that are in a group themselves. `None`: there is no such group.
    async fn direct_members_of(
        &self,
        group: PrincipalId,
        timeout: Duration,
    ) -> Result<Option<Vec<DirectMember>>, DirectoryError>;
    /// Who is assigned to the application of that service principal; one who has several of its roles comes as often.
    /// `None`: there is no such service principal.
    async fn assigned_to(
        &self,
        app: PrincipalId,
        timeout: Duration,
    ) -> Result<Option<Vec<AppAssignment>>, DirectoryError>;
    /// The names of those objects, as far as they exist: a userPrincipalName, else a display name.
    async fn names_of(
        &self,
        objects: &[PrincipalId],
        timeout: Duration,
    ) -> Result<BTreeMap<PrincipalId, String>, DirectoryError>;
}
