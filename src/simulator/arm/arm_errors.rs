//! The errors that the simulated ARM answers with.

use super::deny_assignment::DenyAssignment;
use super::scope::{Scope, ScopeKind};
use crate::simulator::errors::AzureError;
use uuid::Uuid;

impl AzureError {
    /// Facts: F-097.
    pub fn not_authorized(client: Uuid, action: &str, over: &str, condition_said_no: bool) -> Self {
        let lacks = match condition_said_no {
            true => "authorization or an ABAC condition not fulfilled",
            false => "authorization",
        };
        let message = format!(
            "The client '{client}' with object id '{client}' does not have {lacks} to perform action '{action}' over \
             scope '{over}' or the scope is invalid. If access was recently granted, please refresh your credentials."
        );
        Self::new(403, "AuthorizationFailed", message)
    }

    /// Facts: F-034.
    pub fn denied(client: Uuid, action: &str, over: &Scope, deny: &DenyAssignment) -> Self {
        let DenyAssignment { id, deny_assignment_name: name, scope, .. } = deny;
        let message = format!(
            "The client '{client}' with object id '{client}' has permission to perform action '{action}' on scope \
             '{over}'; however, the access is denied because of the deny assignment with name '{name}' and Id \
             '{id}' at scope '{scope}'."
        );
        Self::new(403, "DenyAssignmentAuthorizationFailed", message)
    }

    /// Facts: F-013.
    pub fn missing_api_version() -> Self {
        Self::new(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    }

    /// Facts: F-012.
    pub fn content(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestContent", message)
    }

    /// Facts: F-015.
    pub fn scope_not_found(missing: &Scope) -> Self {
        let name = missing.short_name();
        match missing.kind() {
            ScopeKind::Subscription => Self::new(
                404,
                "SubscriptionNotFound",
                format!("The subscription '{name}' could not be found."),
            ),
            ScopeKind::ResourceGroup => Self::new(
                404,
                "ResourceGroupNotFound",
                format!("Resource group '{name}' could not be found."),
            ),
            _ => Self::new(404, "ResourceNotFound", format!("The resource '{missing}' could not be found.")),
        }
    }

    /// Facts: F-003.
    pub fn scope_locked(scope: &Scope, operation: &str) -> Self {
        Self::new(
            409,
            "ScopeLocked",
            format!(
                "The scope '{scope}' cannot perform {operation} operation because following scope(s) are locked. \
                 Please remove the lock and try again."
            ),
        )
    }

    /// Facts: F-014.
    pub fn assignment_not_found(name: Uuid) -> Self {
        Self::new(404, "RoleAssignmentNotFound", format!("The role assignment '{name}' is not found."))
    }

    /// Facts: F-001.
    pub fn assignment_exists() -> Self {
        Self::new(409, "RoleAssignmentExists", "The role assignment already exists.")
    }

    /// Facts: F-002.
    pub fn update_not_permitted() -> Self {
        Self::new(
            400,
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
        )
    }

    /// Facts: F-010.
    pub fn limit_exceeded() -> Self {
        Self::new(
            400,
            "RoleAssignmentLimitExceeded",
            "The role assignment limit for the subscription was reached. No more role assignments can be created.",
        )
    }

    /// Facts: F-011.
    pub fn invalid_assignment_name(name: &str) -> Self {
        let message = format!("The role assignment ID '{name}' is not valid. It must be a GUID.");
        Self::new(400, "InvalidRoleAssignmentId", message)
    }

    /// Facts: F-011.
    pub fn invalid_principal_id(id: &str) -> Self {
        Self::new(
            400,
            "InvalidPrincipalId",
            format!("The principal ID '{id}' is not valid. It must be a GUID."),
        )
    }

    /// Facts: F-007.
    pub fn principal_not_found(id: Uuid) -> Self {
        let id = id.simple();
        Self::new(400, "PrincipalNotFound", format!("Principal {id} does not exist in the directory."))
    }

    /// Facts: F-008.
    pub fn unmatched_principal_type(id: Uuid, stated: &str, real: &str) -> Self {
        let message = format!("The principal '{id}' is stated to be of type {stated}, its type is {real}.");
        Self::new(400, "UnmatchedPrincipalType", message)
    }

    /// 400 in a PUT, 404 in a GET.
    /// Facts: F-036.
    pub fn definition_not_found(status: u16, id: Uuid) -> Self {
        let message = format!("The specified role definition with ID '{id}' does not exist.");
        Self::new(status, "RoleDefinitionDoesNotExist", message)
    }
}
