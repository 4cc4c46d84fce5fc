//! A role assignment as Azure holds it, and the name that is ours.

use super::{BackupRole, Scope};
use crate::id::{IdError, InstanceId, PrincipalId};
use std::fmt;
use uuid::{Uuid, uuid};

/// The UUIDv5 namespace of our assignment names. Never changes.
const NAMESPACE: Uuid = uuid!("7c0f6d5e-9f0a-5c3f-8f0e-0b1f6a7e5d21");

/// The name of a role assignment: a GUID, unique in the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssignmentName(Uuid);

impl AssignmentName {
    /// The name that this installation gives the triple: UUIDv5 over scope (folded), role, principal and instance.
    pub fn derive(scope: &Scope, role: BackupRole, principal: PrincipalId, instance: InstanceId) -> Self {
        let text = format!("{}|{}|{}|{}", scope.folded(), role.definition_id(), principal, instance);
        Self(Uuid::new_v5(&NAMESPACE, text.as_bytes()))
    }

    /// Wraps a GUID that Azure or a row named.
    pub const fn new(value: Uuid) -> Self {
        Self(value)
    }

    /// Reads a GUID.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        PrincipalId::parse(text).map(|id| Self(id.uuid()))
    }
}

impl fmt::Display for AssignmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hyphenated())
    }
}

/// What kind of Entra object a principal is. Azure's own default is `User`, so it is always sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalType {
    User,
    ServicePrincipal,
}

impl PrincipalType {
    /// Azure's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            PrincipalType::User => "User",
            PrincipalType::ServicePrincipal => "ServicePrincipal",
        }
    }
}

/// An assignment that should exist in Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleAssignment {
    pub name: AssignmentName,
    pub scope: Scope,
    pub role: BackupRole,
    pub principal: PrincipalId,
    pub principal_type: PrincipalType,
    /// Shown in the portal, at most 2 KB. A hint for people, never a proof of ownership.
    pub description: String,
}
