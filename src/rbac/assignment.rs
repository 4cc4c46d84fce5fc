//! A role assignment as Azure holds it, and the name that is ours.

use super::{BackupRole, BindingName, Scope};
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

    /// The GUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// Reads a GUID.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        PrincipalId::parse(text).map(|id| Self(id.uuid()))
    }
}

/// Before the id of the installation, in the description of an assignment.
const MANAGED: &str = "Managed by azure-backup-scim, installation ";
/// Characters of a description: Azure takes 1,024.
const DESCRIPTION_CHARS_MAX: usize = 1000;

/// What the portal shows of an assignment of ours: who made it, and why. The id of the installation comes first, so that it can be
/// read there when it is nowhere else.
pub fn description(bindings: &[BindingName], instance: InstanceId) -> String {
    let names: Vec<&str> = bindings.iter().map(BindingName::as_str).collect();
    let mut text = format!("{MANAGED}{instance}, binding {}; do not edit", names.join(", "));
    text.truncate(text.char_indices().nth(DESCRIPTION_CHARS_MAX).map_or(text.len(), |(at, _)| at));
    text
}

impl fmt::Display for AssignmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_hyphenated())
    }
}

/// What kind of Entra object a principal is. Azure's own default is `User`, so it is always sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                         Microsoft.RecoveryServices/vaults/east";
    const PRINCIPAL: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
    const INSTANCE: &str = "11111111-2222-4333-8444-555555555555";

    fn derive(scope: &str, role: BackupRole, principal: &str, instance: &str) -> AssignmentName {
        let scope = Scope::parse(scope).unwrap();
        let principal = PrincipalId::parse(principal).unwrap();
        AssignmentName::derive(&scope, role, principal, InstanceId::parse(instance).unwrap())
    }

    /// The names that stand in Azure and in the ledger must come out of every later version.
    #[test]
    fn the_name_of_a_triple_never_changes() {
        let name = derive(VAULT, BackupRole::Operator, PRINCIPAL, INSTANCE);
        assert_eq!(name.to_string(), "cc66d3ab-2b09-588a-b58d-105ac737494d");
    }

    #[test]
    fn case_does_not_change_a_name() {
        let name = derive(VAULT, BackupRole::Operator, PRINCIPAL, INSTANCE);
        let shouted =
            derive(&VAULT.to_uppercase(), BackupRole::Operator, &PRINCIPAL.to_uppercase(), INSTANCE);
        assert_eq!(name, shouted);
        assert_eq!(name, derive(&format!("{VAULT}/"), BackupRole::Operator, PRINCIPAL, INSTANCE));
    }

    #[test]
    fn every_part_changes_a_name() {
        let other = "22222222-2222-4333-8444-555555555555";
        let names = std::collections::HashSet::from([
            derive(VAULT, BackupRole::Operator, PRINCIPAL, INSTANCE),
            derive(&format!("{VAULT}2"), BackupRole::Operator, PRINCIPAL, INSTANCE),
            derive(VAULT, BackupRole::Reader, PRINCIPAL, INSTANCE),
            derive(VAULT, BackupRole::Operator, other, INSTANCE),
            derive(VAULT, BackupRole::Operator, PRINCIPAL, other),
        ]);
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn a_description_names_the_installation_however_many_bindings_there_are() {
        let instance = InstanceId::parse(INSTANCE).unwrap();
        let names: Vec<BindingName> =
            (0..200).map(|n| BindingName::parse(&format!("b{n}")).unwrap()).collect();
        assert_eq!(
            description(&names[..2], instance),
            format!("Managed by azure-backup-scim, installation {INSTANCE}, binding b0, b1; do not edit")
        );
        let long = description(&names, instance);
        assert!(long.contains(INSTANCE) && long.chars().count() == DESCRIPTION_CHARS_MAX);
    }

    #[test]
    fn a_name_is_a_guid_in_lower_case() {
        let name = AssignmentName::parse(&PRINCIPAL.to_uppercase()).unwrap();
        assert_eq!(name.to_string(), PRINCIPAL);
        for text in ["", "east", "6f9619ff8b864d01b42d00cf4fc964ff", "{6f9619ff-8b86-4d01-b42d-00cf4fc964ff}"]
        {
            assert!(AssignmentName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn principal_types_have_the_words_of_azure() {
        assert_eq!(PrincipalType::User.as_str(), "User");
        assert_eq!(PrincipalType::ServicePrincipal.as_str(), "ServicePrincipal");
    }
}
