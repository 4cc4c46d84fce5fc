//! `grants[]` and `grantState`: how what is desired or held for a person stands, with the reason.

use crate::audit::rfc3339;
use crate::id::UserId;
use crate::rbac::ledger::{Attempt, Entry, Holding, Wait};
use crate::rbac::{BindingName, ReasonCode, State};
use crate::scim::Access;
use crate::store::{Store, StoreError};
use serde_json::{Value, json};

/// What the ledger says of a person, one element for each binding, role and scope.
pub async fn access_of(store: &Store, user: UserId) -> Result<Access, StoreError> {
    let ledger = store.ledger(user).await?;
    let mut grants: Vec<(State, Value)> = Vec::new();
    for stored in &ledger.entries {
        let Some((state, reason)) = standing(&stored.entry) else { continue };
        for binding in &stored.entry.bindings {
            if !ledger.waits.iter().any(|wait| wait.is_for(binding, stored.entry.role, &stored.entry.scope)) {
                grants.push((state, held(binding, &stored.entry, state, reason)));
            }
        }
    }
    grants.extend(ledger.waits.iter().map(|wait| (wait.reason.state(), waiting(wait))));
    let worst = grants.iter().map(|(state, _)| *state).max();
    let grant_state = worst.and_then(|state| serde_json::to_value(state).ok()?.as_str().map(str::to_owned));
    Ok(Access { grants: grants.into_iter().map(|(_, grant)| grant).collect(), grant_state })
}

/// How an entry stands; `None`: it is of no interest any more.
fn standing(entry: &Entry) -> Option<(State, ReasonCode)> {
    let revoking = entry.tried.as_ref().filter(|tried| tried.attempt == Attempt::Revoke);
    match (entry.holding, entry.unsettled_until) {
        (Holding::Present, Some(_)) => Some((State::Granting, ReasonCode::InFlight)),
        (Holding::Present, None) => Some(
            revoking.map_or((State::Held, ReasonCode::Member), |tried| (tried.reason.state(), tried.reason)),
        ),
        (Holding::HeldByOther(_), _) => Some((State::HeldByOther, ReasonCode::ForeignAssignment)),
        (Holding::Gone, Some(_)) => Some((State::Revoking, ReasonCode::NoReasonLeft)),
        (Holding::Gone, None) => None,
    }
}

fn held(binding: &BindingName, entry: &Entry, state: State, reason: ReasonCode) -> Value {
    json!({
        "binding": binding.as_str(), "role": entry.role.name(), "scope": entry.scope.as_str(),
        "state": state, "reason": reason.as_str(), "since": rfc3339(entry.since),
    })
}

fn waiting(wait: &Wait) -> Value {
    json!({
        "binding": wait.binding.as_str(), "role": wait.role.name(), "scope": wait.scope.as_str(),
        "state": wait.reason.state(), "reason": wait.reason.as_str(), "since": rfc3339(wait.since),
    })
}
