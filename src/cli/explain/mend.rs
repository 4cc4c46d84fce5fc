//! What would change an answer, and who can do that, in the words of `docs/reason-codes.md`.

use crate::rbac::ReasonCode;
use crate::service::access::explain::{Answer, BindingAnswer};

const IDENTITY_ADMIN: &str = "identity admin";
const BACKUP_ADMIN: &str = "backup admin";
const AZURE_ADMIN: &str = "Azure admin";
const OPERATOR: &str = "operator";

/// What somebody can do about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mend {
    pub who: &'static str,
    pub how: String,
}

impl Mend {
    /// `None`: all is as it should be, or ends by itself.
    pub(super) fn of(answer: &BindingAnswer) -> Option<Self> {
        if let Some(leaving) = answer.leaving {
            return of_reason(leaving);
        }
        let (who, how) = match &answer.answer {
            Answer::Wanted { reason, .. } | Answer::Blocked(reason) => return of_reason(*reason),
            Answer::Deleted => (IDENTITY_ADMIN, "create the user again".to_owned()),
            Answer::Inactive => (IDENTITY_ADMIN, "activate the user".to_owned()),
            Answer::NoGroup { attribute, .. } => (
                IDENTITY_ADMIN,
                format!(
                    "assign the group to the provisioning app, or correct the {attribute} in the binding"
                ),
            ),
            Answer::NotMember { .. } => (IDENTITY_ADMIN, "add the person to the group".to_owned()),
            Answer::NoMatch { .. } => {
                (IDENTITY_ADMIN, "correct the attribute, or the `where` of the binding".to_owned())
            }
        };
        Some(Self { who, how })
    }
}

fn of_reason(reason: ReasonCode) -> Option<Mend> {
    let (who, how) = match reason {
        ReasonCode::Member
        | ReasonCode::InFlight
        | ReasonCode::NoReasonLeft
        | ReasonCode::PrincipalReleasing
        | ReasonCode::Throttled
        | ReasonCode::NoAnswer
        | ReasonCode::Other => return None,
        ReasonCode::ForeignAssignment => (AZURE_ADMIN, "delete the assignment that was made by hand"),
        ReasonCode::KeptByOrder => (OPERATOR, "`breaker release`, or `revoke` the person"),
        ReasonCode::PendingPrincipal => {
            (IDENTITY_ADMIN, "map the Entra object id to externalId or entraObjectId")
        }
        ReasonCode::PrincipalConflict => {
            (IDENTITY_ADMIN, "delete the other user of this object id, or correct it")
        }
        ReasonCode::Paused => (OPERATOR, "`resume`"),
        ReasonCode::HeldByBreaker => (OPERATOR, "`breaker`: release or reject the batch"),
        ReasonCode::BindingsPending => (OPERATOR, "`plan --pending`, then `apply`"),
        ReasonCode::BindingsUnreadable => (OPERATOR, "start the release that stored the bindings"),
        ReasonCode::RowUnreadable => (OPERATOR, "find the row in the log and restore it"),
        ReasonCode::Braked => (OPERATOR, "`lift` the person"),
        ReasonCode::RejectedByOrder => (OPERATOR, "let the person leave the group and join again"),
        ReasonCode::MaxPrincipals => (BACKUP_ADMIN, "raise maxPrincipals of the binding"),
        ReasonCode::IdentityChanged => (OPERATOR, "`accept-identity`, if it is the same person"),
        ReasonCode::BindingAmbiguous => {
            (IDENTITY_ADMIN, "leave the value on one group, or have an operator `repin` the right one")
        }
        ReasonCode::BindingStale => (IDENTITY_ADMIN, "give the group its former value again"),
        ReasonCode::NotOurs => (OPERATOR, "check that this table belongs to this installation"),
        ReasonCode::PrincipalNotFound => (IDENTITY_ADMIN, "check that Entra has an object with this id"),
        ReasonCode::PrincipalType => (IDENTITY_ADMIN, "check the userType and the object id"),
        ReasonCode::ScopeLocked => (AZURE_ADMIN, "remove the management lock"),
        ReasonCode::NotAuthorized => (AZURE_ADMIN, "give the service its right at the scope"),
        ReasonCode::PolicyDenied => (AZURE_ADMIN, "exempt the scope from the policy"),
        ReasonCode::AssignmentLimit => (AZURE_ADMIN, "remove role assignments of the subscription"),
        ReasonCode::ScopeNotFound => (BACKUP_ADMIN, "correct the scope of the binding"),
        ReasonCode::AzureRefused => (AZURE_ADMIN, "find Azure's code in the audit of the person"),
    };
    Some(Mend { who, how: how.to_owned() })
}
