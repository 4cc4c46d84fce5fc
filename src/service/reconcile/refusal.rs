//! What ARM's error codes mean to us. Errors are matched by code, never by status.

use crate::rbac::ReasonCode;

/// The scope of an assignment no longer exists, and the assignment with it.
pub fn scope_is_gone(code: &str) -> bool {
    ["ResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(code))
}

/// Our word for ARM's error code.
pub fn reason_of(code: &str) -> ReasonCode {
    match code {
        "PrincipalNotFound" => ReasonCode::PrincipalNotFound,
        "UnmatchedPrincipalType" | "PrincipalTypeNotSupported" | "InvalidPrincipalId" => {
            ReasonCode::PrincipalType
        }
        "ScopeLocked" => ReasonCode::ScopeLocked,
        "AuthorizationFailed" | "LinkedAuthorizationFailed" | "DenyAssignmentAuthorizationFailed" => {
            ReasonCode::NotAuthorized
        }
        "RequestDisallowedByPolicy" => ReasonCode::PolicyDenied,
        "RoleAssignmentLimitExceeded" => ReasonCode::AssignmentLimit,
        code if scope_is_gone(code) => ReasonCode::ScopeNotFound,
        _ => ReasonCode::AzureRefused,
    }
}
