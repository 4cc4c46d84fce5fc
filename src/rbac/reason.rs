//! The one table of reason codes and states: the same in plan, audit, log and `grants[]`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of a grant, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantState {
    /// Azure holds it, and we made it.
    Held,
    /// A foreign assignment gives the same.
    HeldByOther,
    /// On its way in.
    Granting,
    /// On its way out.
    Revoking,
    /// Something must happen first. Checked again automatically.
    Waiting,
    /// A rule forbids it. Checked again automatically.
    Refused,
    /// Azure refused or gave no answer. Retried automatically.
    Failed,
}

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident => $code:literal, $state:ident;)*) => {
        /// Why a grant is in its state. Stable text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ReasonCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &'static [ReasonCode] = &[$(ReasonCode::$name,)*];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(ReasonCode::$name => $code,)* }
            }

            /// The state that a grant with this reason is in.
            pub const fn state(self) -> GrantState {
                match self { $(ReasonCode::$name => GrantState::$state,)* }
            }
        }
    };
}

reason_codes! {
    /// A member of the bound group, and Azure holds it.
    Member => "member", Held;
    /// A foreign assignment gives the same role at the same scope.
    ForeignAssignment => "foreign-assignment", HeldByOther;
    /// No reason is left, and an operator rejected the revocation: the person keeps the role.
    KeptByOrder => "kept-by-order", Held;
    /// A call was sent, or is about to be; its end is not known yet.
    InFlight => "in-flight", Granting;
    /// The last reason went; the revocation is not confirmed yet.
    NoReasonLeft => "no-reason-left", Revoking;
    /// The person's Entra object id is not known.
    PendingPrincipal => "pending-principal", Waiting;
    /// Another living record has the same Entra object id.
    PrincipalConflict => "principal-conflict", Waiting;
    /// An earlier record of this Entra object id still has revocations to finish.
    PrincipalReleasing => "principal-releasing", Waiting;
    /// Azure asked us to wait.
    Throttled => "throttled", Waiting;
    /// An operator paused the service: grants wait, and revocations of people who are still active.
    Paused => "paused", Waiting;
    /// Too much was taken away, or given, at once: an operator must release or reject the batch.
    HeldByBreaker => "held-by-breaker", Waiting;
    /// A bundled file of bindings would give it, and waits for an operator's `apply`.
    BindingsPending => "bindings-pending", Waiting;
    /// The active bindings cannot be read; only people who are gone or inactive are revoked.
    BindingsUnreadable => "bindings-unreadable", Waiting;
    /// A row that decides about it cannot be read; what is held stays, nothing new is given.
    RowUnreadable => "row-unreadable", Waiting;
    /// An operator revoked the person: no binding gives anything until the brake is lifted.
    Braked => "braked", Refused;
    /// A breaker held the grant, and an operator rejected it.
    RejectedByOrder => "rejected-by-order", Refused;
    /// The binding gives its role to as many people as it may.
    MaxPrincipals => "max-principals", Refused;
    /// The Entra object id differs from the one first pinned.
    IdentityChanged => "identity-changed", Refused;
    /// Another group is pinned to this binding's selector, or several groups match it and none is pinned.
    BindingAmbiguous => "binding-ambiguous", Refused;
    /// The group that is pinned to this binding's selector no longer carries its value; people who hold the role keep it.
    BindingStale => "binding-stale", Refused;
    /// The ledger names an assignment that this installation cannot have made; it is left alone.
    NotOurs => "not-ours", Refused;
    /// Entra does not know the principal (yet).
    PrincipalNotFound => "principal-not-found", Failed;
    /// Azure says the principal is of another type, or of a type that holds no roles.
    PrincipalType => "principal-type", Failed;
    /// A management lock forbids the change.
    ScopeLocked => "scope-locked", Failed;
    /// This service lacks the permission, or its condition forbids it.
    NotAuthorized => "not-authorized", Failed;
    /// An Azure policy forbids the change.
    PolicyDenied => "policy-denied", Failed;
    /// The subscription holds as many role assignments as it can.
    AssignmentLimit => "assignment-limit", Failed;
    /// The scope does not exist.
    ScopeNotFound => "scope-not-found", Failed;
    /// Azure refused for another reason; its code is in the audit record.
    AzureRefused => "azure-refused", Failed;
    /// Azure gave no reliable answer.
    NoAnswer => "no-answer", Failed;
    /// A reason that a later release gave and this one does not know.
    Other => "other", Failed;
}

impl ReasonCode {
    /// Reads the stable text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// Whether a rule of this service keeps the step back until an operator or a limit lets it go.
    pub const fn is_hold(self) -> bool {
        matches!(self, ReasonCode::Paused | ReasonCode::HeldByBreaker)
    }

    /// Whether the failure is the scope's: it meets every step of that kind there, for every person.
    pub const fn is_of_the_scope(self) -> bool {
        matches!(self, ReasonCode::ScopeLocked | ReasonCode::NotAuthorized | ReasonCode::PolicyDenied)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique() {
        let codes: HashSet<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), ReasonCode::ALL.len());
    }

    #[test]
    fn codes_are_kebab_case() {
        for code in ReasonCode::ALL {
            let words = code.as_str().split('-');
            let plain = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
            assert!(words.into_iter().all(plain), "{code}");
        }
    }

    #[test]
    fn a_code_is_written_and_read_as_its_text() {
        for code in ReasonCode::ALL {
            let text = serde_json::to_value(code).unwrap();
            assert_eq!(text, code.as_str());
            assert_eq!(serde_json::from_value::<ReasonCode>(text).unwrap(), *code);
            assert_eq!(ReasonCode::parse(code.as_str()), Some(*code));
            assert_eq!(code.to_string(), code.as_str());
        }
        for text in ["", "Throttled", "throttled ", "a-code-of-a-later-release"] {
            assert_eq!(ReasonCode::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_state_has_a_reason_and_the_best_comes_first() {
        let best_first = [
            (GrantState::Held, "held"),
            (GrantState::HeldByOther, "held-by-other"),
            (GrantState::Granting, "granting"),
            (GrantState::Revoking, "revoking"),
            (GrantState::Waiting, "waiting"),
            (GrantState::Refused, "refused"),
            (GrantState::Failed, "failed"),
        ];
        assert!(best_first.is_sorted());
        for (state, text) in best_first {
            assert_eq!(serde_json::to_value(state).unwrap(), text);
            assert!(ReasonCode::ALL.iter().any(|code| code.state() == state), "{text}");
        }
    }
}
