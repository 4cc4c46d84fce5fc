//! ARM's error body and the codes that the simulator answers with.

use super::scope::{Scope, ScopeKind};
use serde_json::{Value, json};
use uuid::Uuid;

/// An error as ARM sends it: `{"error": {"code", "message"}}` under a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArmError {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl ArmError {
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// The body.
    pub fn body(&self) -> Value {
        json!({ "error": { "code": self.code, "message": self.message } })
    }

    pub fn unauthenticated() -> Self {
        Self::new(
            401,
            "InvalidAuthenticationToken",
            "The access token is missing or invalid. A bearer token is needed to change anything.",
        )
    }

    pub fn missing_api_version() -> Self {
        Self::new(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    }

    pub fn content(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequestContent", message)
    }

    pub fn too_many_requests() -> Self {
        Self::new(
            429,
            "TooManyRequests",
            "The request is being throttled. Retry after the time in Retry-After.",
        )
    }

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

    pub fn assignment_not_found(name: Uuid) -> Self {
        Self::new(404, "RoleAssignmentNotFound", format!("The role assignment '{name}' is not found."))
    }

    pub fn assignment_exists() -> Self {
        Self::new(409, "RoleAssignmentExists", "The role assignment already exists.")
    }

    pub fn update_not_permitted() -> Self {
        Self::new(
            400,
            "RoleAssignmentUpdateNotPermitted",
            "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
        )
    }

    pub fn limit_exceeded() -> Self {
        Self::new(
            400,
            "RoleAssignmentLimitExceeded",
            "The role assignment limit for the subscription was reached. No more role assignments can be created.",
        )
    }

    pub fn invalid_assignment_name(name: &str) -> Self {
        let message = format!("The role assignment ID '{name}' is not valid. It must be a GUID.");
        Self::new(400, "InvalidRoleAssignmentId", message)
    }

    pub fn invalid_principal_id(id: &str) -> Self {
        Self::new(
            400,
            "InvalidPrincipalId",
            format!("The principal ID '{id}' is not valid. It must be a GUID."),
        )
    }

    pub fn principal_not_found(id: Uuid) -> Self {
        let id = id.simple();
        Self::new(400, "PrincipalNotFound", format!("Principal {id} does not exist in the directory."))
    }

    pub fn unmatched_principal_type(id: Uuid, stated: &str, real: &str) -> Self {
        let message = format!("The principal '{id}' is stated to be of type {stated}, its type is {real}.");
        Self::new(400, "UnmatchedPrincipalType", message)
    }

    /// 400 in a PUT, 404 in a GET.
    pub fn definition_not_found(status: u16, id: Uuid) -> Self {
        let message = format!("The specified role definition with ID '{id}' does not exist.");
        Self::new(status, "RoleDefinitionDoesNotExist", message)
    }
}
