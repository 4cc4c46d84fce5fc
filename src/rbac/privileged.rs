//! Roles and actions through which their holder comes to any role.

use super::verbs::RoleDefinition;
use std::collections::BTreeSet;
use uuid::{Uuid, uuid};

pub const OWNER: Uuid = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
pub const USER_ACCESS_ADMINISTRATOR: Uuid = uuid!("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9");
pub const RBAC_ADMINISTRATOR: Uuid = uuid!("f58310d9-a9f6-439a-9e8d-f62e7b41a168");
pub const CONTRIBUTOR: Uuid = uuid!("b24988ac-6180-42a0-ab88-20f7382dd24c");

/// Roles that a right to give roles must not reach.
pub const PRIVILEGED: [(&str, Uuid); 4] = [
    ("Owner", OWNER),
    ("User Access Administrator", USER_ACCESS_ADMINISTRATOR),
    ("Role Based Access Control Administrator", RBAC_ADMINISTRATOR),
    ("Contributor", CONTRIBUTOR),
];

/// Actions that lead to any role whatever the condition of an assignment says: it narrows role assignments alone.
const LEADING_TO_ANY: [&str; 4] = [
    "Microsoft.Authorization/roleDefinitions/write",
    "Microsoft.Authorization/roleAssignmentScheduleRequests/write",
    "Microsoft.Authorization/roleEligibilityScheduleRequests/write",
    "Microsoft.Authorization/elevateAccess/action",
];

/// Kinds of principals that roles are given to, as conditions name them.
pub const PRINCIPAL_KINDS: [&str; 4] = ["User", "ServicePrincipal", "Group", "ForeignGroup"];

/// Whether the role leads to any role, whatever condition narrows its assignment.
pub fn leads_to_any(role: &RoleDefinition) -> bool {
    LEADING_TO_ANY.iter().any(|action| role.permissions.iter().any(|permission| permission.covers(action)))
}

/// A role that is not among these: a condition that names only these tells none of the others apart.
pub fn unnamed_role(named: &BTreeSet<Uuid>) -> Uuid {
    let mut other = uuid!("d0c70000-0000-4000-8000-00000000d0c7");
    while named.contains(&other) {
        other = Uuid::from_u128(other.as_u128().wrapping_add(1));
    }
    other
}
