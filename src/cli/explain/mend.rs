//! What would change an answer, and who can do that: in short, what `docs/reason-codes.md` says.

use crate::rbac::ReasonCode;
use crate::service::access::doctor::finding::Mender;
use crate::service::access::explain::{Answer, BindingAnswer};
use crate::service::access::preview::PersonState;

const IDENTITY_ADMIN: &str = Mender::IdentityAdmin.as_str();
const BACKUP_ADMIN: &str = Mender::BackupAdmin.as_str();
const AZURE_ADMIN: &str = Mender::AzureAdmin.as_str();
const OPERATOR: &str = Mender::Operator.as_str();
const EITHER: &str = Mender::IdentityOrBackupAdmin.as_str();

/// What somebody can do about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Mend {
    pub who: &'static str,
    pub how: String,
}

impl Mend {
    /// Of a user to whom no binding gives anything.
    pub(in crate::cli) fn of_state(state: PersonState) -> Option<Self> {
        let how = match state {
            PersonState::Deleted => "create the user again",
            PersonState::Inactive => "activate the user",
            PersonState::Active | PersonState::Unreadable => return None,
        };
        Some(Self { who: IDENTITY_ADMIN, how: how.to_owned() })
    }

    /// Of a person who is in none of the groups.
    pub(in crate::cli) fn of_stranger() -> Self {
        Self { who: IDENTITY_ADMIN, how: "add the person to the group".to_owned() }
    }

    /// `None`: it ends by itself, or nothing is wrong.
    pub(in crate::cli) fn of_reason(reason: ReasonCode) -> Option<Self> {
        of_reason(reason)
    }

    /// `None`: all is as it should be, or ends by itself.
    pub(in crate::cli) fn of(answer: &BindingAnswer) -> Option<Self> {
        if let Some(still_held) = answer.still_held {
            return of_reason(still_held);
        }
        let (who, how) = match &answer.answer {
            Answer::Wanted { reason, .. }
            | Answer::Blocked { reason, .. }
            | Answer::NotMember { reason: Some(reason), .. } => return of_reason(*reason),
            Answer::Deleted => return Self::of_state(PersonState::Deleted),
            Answer::Inactive => return Self::of_state(PersonState::Inactive),
            Answer::NoGroup { attribute, .. } => (
                EITHER,
                format!(
                    "assign the group to the provisioning app, or correct the {attribute} in the binding"
                ),
            ),
            Answer::NotMember { reason: None, .. } => return Some(Self::of_stranger()),
            Answer::NoMatch { .. } => {
                (EITHER, "correct the attribute, or the `where` of the binding".to_owned())
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
        | ReasonCode::NoAnswer => return None,
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
        ReasonCode::RowUnreadable => (OPERATOR, "deploy the release that wrote the row that the log names"),
        ReasonCode::Braked => (OPERATOR, "`lift` the person"),
        ReasonCode::RejectedByOrder => (IDENTITY_ADMIN, "let the person leave the group and join again"),
        ReasonCode::MaxPrincipals => (BACKUP_ADMIN, "raise maxPrincipals of the binding"),
        ReasonCode::IdentityChanged => {
            (IDENTITY_ADMIN, "set the former object id again, or have an operator `accept-identity`")
        }
        ReasonCode::BindingAmbiguous => {
            (EITHER, "leave the value on one group, or have an operator `repin` the right one")
        }
        ReasonCode::BindingStale => (EITHER, "give the group its former value again, or change the binding"),
        ReasonCode::NotOurs => (OPERATOR, "check that this table belongs to this installation"),
        ReasonCode::PrincipalNotFound => (IDENTITY_ADMIN, "check that Entra has an object with this id"),
        ReasonCode::PrincipalType => (IDENTITY_ADMIN, "check the userType and the object id"),
        ReasonCode::ScopeLocked => (AZURE_ADMIN, "remove the management lock"),
        ReasonCode::NotAuthorized => (AZURE_ADMIN, "give the service its right at the scope"),
        ReasonCode::PolicyDenied => ("owner of the policy", "exempt the scope from the policy"),
        ReasonCode::AssignmentLimit => (AZURE_ADMIN, "remove role assignments of the subscription"),
        ReasonCode::ScopeNotFound => (BACKUP_ADMIN, "correct the scope of the binding"),
        ReasonCode::AzureRefused => (AZURE_ADMIN, "find Azure's code in the audit of the person"),
        ReasonCode::Other => (OPERATOR, "deploy the later release again"),
    };
    Some(Mend { who, how: how.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_mend_a_reason_is_who_the_documents_name() {
        let documents = include_str!("../../../docs/reason-codes.md");
        for reason in ReasonCode::ALL {
            let (_, section) = documents.split_once(&format!("### {reason}\n")).unwrap();
            let (_, who) = section.split_once("Who can mend it: ").unwrap();
            let who = who.lines().next().unwrap();
            match of_reason(*reason) {
                Some(mend) => assert!(who.contains(mend.who), "{reason}: {} is not in {who:?}", mend.who),
                None => assert!(who.starts_with("no repair is needed"), "{reason}: {who:?}"),
            }
        }
    }
}
