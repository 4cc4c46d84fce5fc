//! The reason code of a call that ARM rejected.

use crate::ports::role_assignments::RejectionReason;
use crate::rbac::ReasonCode;

/// The reason code that plan, audit and `grants[]` show for a rejection.
pub const fn reason_of(rejection: RejectionReason) -> ReasonCode {
    match rejection {
        RejectionReason::PrincipalNotFound => ReasonCode::PrincipalNotFound,
        RejectionReason::PrincipalType => ReasonCode::PrincipalType,
        RejectionReason::ScopeLocked => ReasonCode::ScopeLocked,
        RejectionReason::NotAuthorized => ReasonCode::NotAuthorized,
        RejectionReason::PolicyDenied => ReasonCode::PolicyDenied,
        RejectionReason::AssignmentLimit => ReasonCode::AssignmentLimit,
        RejectionReason::ScopeNotFound => ReasonCode::ScopeNotFound,
        RejectionReason::AssignmentNotFound | RejectionReason::AssignmentExists | RejectionReason::Other => {
            ReasonCode::AzureRefused
        }
    }
}
