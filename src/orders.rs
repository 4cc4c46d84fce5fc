//! What an operator can order. An order is a row that the operator writes with their own rights, and that the next tick carries
//! out once, under the service's identity.

use crate::id::{GroupId, OpId, PrincipalId, SERVICE, UserId};
use crate::rbac::{BindingName, Scope};
use crate::scim;

/// Characters of the reason that an operator gives.
pub const BECAUSE_CHARS_MAX: usize = 1000;
/// Characters of the name that an operator claims.
pub const WHO_CHARS_MAX: usize = 256;
/// Characters of the hash of a plan: SHA-256 in hex.
const HASH_CHARS: usize = 64;
/// Characters of the hash of a batch's people, the first of SHA-256 in hex: an operator types it. Ids are ours and random, so it
/// cannot be aimed at.
pub const PEOPLE_HASH_CHARS: usize = 16;

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Made by the operator's command, sorted by time. The operation that carries the order out has the same id.
    pub id: OpId,
    /// Who orders, as they say themselves. The storage account's log proves it.
    pub who: String,
    pub because: String,
    pub verb: OrderVerb,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderVerb {
    /// No grant, and no revocation but of people who leave, until `resume`.
    Pause,
    Resume,
    /// The brake: whatever the bindings say, this Entra object holds nothing until `lift`.
    Revoke {
        principal: PrincipalId,
    },
    Lift {
        principal: PrincipalId,
    },
    /// The binding's selector means that group from now on.
    Repin {
        binding: BindingName,
        group: GroupId,
    },
    /// The user's present Entra object id is the right one. `principal` is what the operator saw.
    AcceptIdentity {
        user: UserId,
        principal: PrincipalId,
    },
    /// Reconcile a user now, without the pauses of earlier failures.
    RetryPerson {
        user: UserId,
    },
    /// The same for everyone whose steps wait at a scope.
    RetryScope {
        scope: Scope,
    },
    /// The scope is gone in Azure: what the ledger has there is closed.
    Forget {
        scope: Scope,
    },
    /// The names and addresses of a user who is gone are no longer kept.
    Erase {
        user: UserId,
    },
    /// The state was lost without an export: it begins anew.
    RecoverBegin,
    /// What Azure holds of ours and the ledger lost comes back into it, as the plan with that hash says.
    Recover {
        hash: String,
    },
    /// The plan with that hash may happen.
    Apply {
        hash: String,
    },
    /// What a breaker holds may happen. `people` is the hash of the people whom the operator read.
    ReleaseBatch {
        batch: OpId,
        people: String,
    },
    /// What a breaker holds must not happen.
    RejectBatch {
        batch: OpId,
        people: String,
    },
    /// A synthetic leaver comes and goes.
    Drill,
}

/// An order that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("this release knows no order {verb:?}")]
    Verb { verb: String },
    #[error("{text:?} cannot be the target of {verb}")]
    Target { verb: &'static str, text: String },
    #[error("the row cannot be read: {detail}")]
    Unreadable { detail: String },
    #[error("the reason is missing: say why")]
    NoReason,
    #[error("the name of the operator is missing: say who orders, with --who")]
    NoOperator,
    #[error("the {field} has more than {chars_max} characters")]
    TooLong { field: &'static str, chars_max: usize },
    #[error("the {field} has control characters")]
    Control { field: &'static str },
    #[error("the {field} has a character that cannot be seen (such as a zero-width or text direction mark)")]
    Hidden { field: &'static str },
    #[error("{SERVICE:?} is how the audit names the service itself: say who orders, with --who")]
    Service,
}

impl OrderVerb {
    /// The stable word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Revoke { .. } => "revoke",
            Self::Lift { .. } => "lift",
            Self::Repin { .. } => "repin",
            Self::AcceptIdentity { .. } => "accept-identity",
            Self::RetryPerson { .. } => "retry-person",
            Self::RetryScope { .. } => "retry-scope",
            Self::Forget { .. } => "forget",
            Self::Erase { .. } => "erase",
            Self::RecoverBegin => "recover-begin",
            Self::Recover { .. } => "recover",
            Self::Apply { .. } => "apply",
            Self::ReleaseBatch { .. } => "release-batch",
            Self::RejectBatch { .. } => "reject-batch",
            Self::Drill => "drill",
        }
    }

    /// What it is about, as it is stored: one text, or two with a space between.
    pub fn target(&self) -> String {
        match self {
            Self::Pause | Self::Resume | Self::Drill | Self::RecoverBegin => String::new(),
            Self::Revoke { principal } | Self::Lift { principal } => principal.to_string(),
            Self::Repin { binding, group } => format!("{group} {binding}"),
            Self::AcceptIdentity { user, principal } => format!("{user} {principal}"),
            Self::RetryPerson { user } | Self::Erase { user } => user.to_string(),
            Self::RetryScope { scope } | Self::Forget { scope } => scope.as_str().to_owned(),
            Self::Apply { hash } | Self::Recover { hash } => hash.clone(),
            Self::ReleaseBatch { batch, people } | Self::RejectBatch { batch, people } => {
                format!("{batch} {people}")
            }
        }
    }

    /// Reads what [`as_str`](Self::as_str) and [`target`](Self::target) print.
    pub fn parse(verb: &str, target: &str) -> Result<Self, OrderError> {
        let pair = || target.split_once(' ');
        let parsed = match verb {
            "pause" => ("pause", target.is_empty().then_some(Self::Pause)),
            "resume" => ("resume", target.is_empty().then_some(Self::Resume)),
            "recover-begin" => ("recover-begin", target.is_empty().then_some(Self::RecoverBegin)),
            "drill" => ("drill", target.is_empty().then_some(Self::Drill)),
            "revoke" => ("revoke", principal(target).map(|principal| Self::Revoke { principal })),
            "lift" => ("lift", principal(target).map(|principal| Self::Lift { principal })),
            "repin" => ("repin", pair().and_then(|(group, binding)| repin(group, binding))),
            "accept-identity" => {
                ("accept-identity", pair().and_then(|(user, principal)| accept_identity(user, principal)))
            }
            "retry-person" => {
                ("retry-person", UserId::parse(target).ok().map(|user| Self::RetryPerson { user }))
            }
            "retry-scope" => {
                ("retry-scope", Scope::parse(target).ok().map(|scope| Self::RetryScope { scope }))
            }
            "forget" => ("forget", Scope::parse(target).ok().map(|scope| Self::Forget { scope })),
            "erase" => ("erase", UserId::parse(target).ok().map(|user| Self::Erase { user })),
            "recover" => ("recover", parse_hash(target).map(|hash| Self::Recover { hash })),
            "apply" => ("apply", parse_hash(target).map(|hash| Self::Apply { hash })),
            "release-batch" => {
                let read = pair().and_then(|(batch, people)| read_batch(batch, people));
                ("release-batch", read.map(|(batch, people)| Self::ReleaseBatch { batch, people }))
            }
            "reject-batch" => {
                let read = pair().and_then(|(batch, people)| read_batch(batch, people));
                ("reject-batch", read.map(|(batch, people)| Self::RejectBatch { batch, people }))
            }
            _ => return Err(OrderError::Verb { verb: verb.chars().take(64).collect() }),
        };
        let (verb, parsed) = parsed;
        parsed.ok_or_else(|| OrderError::Target { verb, text: target.chars().take(256).collect() })
    }
}

fn principal(text: &str) -> Option<PrincipalId> {
    PrincipalId::parse(text).ok()
}

fn repin(group: &str, binding: &str) -> Option<OrderVerb> {
    let group = GroupId::parse(group).ok()?;
    BindingName::parse(binding).map(|binding| OrderVerb::Repin { binding, group })
}

fn accept_identity(user: &str, principal: &str) -> Option<OrderVerb> {
    let user = UserId::parse(user).ok()?;
    PrincipalId::parse(principal).ok().map(|principal| OrderVerb::AcceptIdentity { user, principal })
}

fn read_batch(batch: &str, people: &str) -> Option<(OpId, String)> {
    Some((OpId::parse(batch).ok()?, parse_people_hash(people)?))
}

/// A plan's hash, in lower case.
pub fn parse_hash(text: &str) -> Option<String> {
    parse_hex(text, HASH_CHARS)
}

/// The hash of a batch's people, in lower case.
pub fn parse_people_hash(text: &str) -> Option<String> {
    parse_hex(text, PEOPLE_HASH_CHARS)
}

fn parse_hex(text: &str, chars: usize) -> Option<String> {
    let is_hex = text.len() == chars && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| text.to_ascii_lowercase())
}

impl Order {
    /// Checks what the operator says.
    pub fn new(id: OpId, who: &str, because: &str, verb: OrderVerb) -> Result<Self, OrderError> {
        let (who, because) = said(who, because)?;
        Ok(Self { id, who, because, verb })
    }
}

/// Who does something, and why, as an operator says it.
pub fn said(who: &str, because: &str) -> Result<(String, String), OrderError> {
    let who = checked("name of the operator", who, WHO_CHARS_MAX)?;
    if who.is_empty() {
        return Err(OrderError::NoOperator);
    }
    if who.eq_ignore_ascii_case(SERVICE) {
        return Err(OrderError::Service);
    }
    let because = checked("reason", because, BECAUSE_CHARS_MAX)?;
    // The printed lines have TEXT in the place of a reason.
    if because.is_empty() || because == "TEXT" {
        return Err(OrderError::NoReason);
    }
    Ok((who, because))
}

fn checked(field: &'static str, text: &str, chars_max: usize) -> Result<String, OrderError> {
    let text = text.trim();
    if text.chars().count() > chars_max {
        return Err(OrderError::TooLong { field, chars_max });
    }
    if text.chars().any(char::is_control) {
        return Err(OrderError::Control { field });
    }
    if scim::has_hidden(text) {
        return Err(OrderError::Hidden { field });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const VAULT: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup";

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn verbs() -> Vec<OrderVerb> {
        let (user, principal) = (UserId::new(id(1)), PrincipalId::new(id(2)));
        let scope = Scope::parse(VAULT).unwrap();
        let batch = OpId::new(id(4));
        vec![
            OrderVerb::Pause,
            OrderVerb::Resume,
            OrderVerb::RecoverBegin,
            OrderVerb::Revoke { principal },
            OrderVerb::Lift { principal },
            OrderVerb::Repin { binding: BindingName::parse("east").unwrap(), group: GroupId::new(id(3)) },
            OrderVerb::AcceptIdentity { user, principal },
            OrderVerb::RetryPerson { user },
            OrderVerb::RetryScope { scope: scope.clone() },
            OrderVerb::Forget { scope },
            OrderVerb::Erase { user },
            OrderVerb::Recover { hash: "ef".repeat(32) },
            OrderVerb::Apply { hash: "ab".repeat(32) },
            OrderVerb::ReleaseBatch { batch, people: "cd".repeat(8) },
            OrderVerb::RejectBatch { batch, people: "cd".repeat(8) },
            OrderVerb::Drill,
        ]
    }

    #[test]
    fn an_order_is_read_as_it_is_written() {
        for verb in verbs() {
            assert_eq!(OrderVerb::parse(verb.as_str(), &verb.target()), Ok(verb));
        }
    }

    #[test]
    fn a_target_that_is_none_is_an_error() {
        for verb in verbs() {
            let wrong = OrderVerb::parse(verb.as_str(), "no such target");
            assert!(matches!(wrong, Err(OrderError::Target { .. })), "{verb:?}");
        }
        assert!(matches!(OrderVerb::parse("adopt", ""), Err(OrderError::Verb { .. })));
        assert_eq!(parse_hash(&"AB".repeat(32)), Some("ab".repeat(32)));
        assert_eq!(parse_hash("abcd"), None);
    }

    #[test]
    fn an_order_needs_a_reason_in_plain_text() {
        let order = |because: &str| Order::new(OpId::new(id(9)), "ana", because, OrderVerb::Pause);
        assert_eq!(order("  incident 7 ").unwrap().because, "incident 7");
        assert_eq!(order(" "), Err(OrderError::NoReason));
        assert_eq!(order("TEXT"), Err(OrderError::NoReason));
        assert_eq!(Order::new(OpId::new(id(9)), " ", "x", OrderVerb::Pause), Err(OrderError::NoOperator));
        assert!(matches!(order("a\u{1b}[2J"), Err(OrderError::Control { .. })));
        for hidden in ["\u{200b}", "a\u{202e}b", "a\u{2060}"] {
            assert!(matches!(order(hidden), Err(OrderError::Hidden { .. })), "{hidden:?}");
        }
        assert_eq!(Order::new(OpId::new(id(9)), "Service", "x", OrderVerb::Pause), Err(OrderError::Service));
        assert!(matches!(order(&"a".repeat(1001)), Err(OrderError::TooLong { .. })));
        assert!(order(&"é".repeat(1000)).is_ok());
    }
}
