//! The error codes of ARM that mean something here.

use crate::ports::role_assignments::RejectionReason;

/// Every code with a meaning, as ARM writes it.
const KNOWN: [(&str, RejectionReason); 15] = [
    ("PrincipalNotFound", RejectionReason::PrincipalNotFound),
    ("UnmatchedPrincipalType", RejectionReason::PrincipalType),
    ("PrincipalTypeNotSupported", RejectionReason::PrincipalType),
    ("InvalidPrincipalId", RejectionReason::PrincipalType),
    ("ScopeLocked", RejectionReason::ScopeLocked),
    ("AuthorizationFailed", RejectionReason::NotAuthorized),
    ("LinkedAuthorizationFailed", RejectionReason::NotAuthorized),
    ("DenyAssignmentAuthorizationFailed", RejectionReason::NotAuthorized),
    ("RequestDisallowedByPolicy", RejectionReason::PolicyDenied),
    ("RoleAssignmentLimitExceeded", RejectionReason::AssignmentLimit),
    ("ResourceNotFound", RejectionReason::ScopeNotFound),
    ("ResourceGroupNotFound", RejectionReason::ScopeNotFound),
    ("SubscriptionNotFound", RejectionReason::ScopeNotFound),
    ("RoleAssignmentNotFound", RejectionReason::AssignmentNotFound),
    ("RoleAssignmentExists", RejectionReason::AssignmentExists),
];

/// What a code means. Its case does not matter.
pub fn reason(code: &str) -> RejectionReason {
    let known = KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(code));
    known.map_or(RejectionReason::Other, |(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_whatever_its_case_and_any_other_has_no_meaning() {
        for (code, expected) in KNOWN {
            assert_eq!(reason(code), expected);
            assert_eq!(reason(&code.to_ascii_uppercase()), expected);
        }
        for code in ["", "ScopeLocked2", "BadRequest", "NotFound"] {
            assert_eq!(reason(code), RejectionReason::Other, "{code}");
        }
    }

    #[test]
    fn an_absent_scope_is_not_an_absent_assignment() {
        for code in ["ResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound"] {
            assert_eq!(reason(code), RejectionReason::ScopeNotFound, "{code}");
        }
        assert_eq!(reason("RoleAssignmentNotFound"), RejectionReason::AssignmentNotFound);
    }
}
