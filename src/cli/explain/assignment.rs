//! `explain ASSIGNMENT`: whose it is, who made it, and whether a binding still gives it.

use super::answers::{answer_json, seconds, write_bindings};
use super::others::OthersGave;
use crate::error_chain::escape_control;
use crate::id::UserId;
use crate::rbac::AssignmentName;
use crate::rbac::ledger::{AssignmentState, LedgerEntry};
use crate::service::access::assignments::KnownAssignment;
use crate::service::access::explain::{self, BindingAnswer, ExplainedBindings, Explanation};
use crate::service::bindings::active::ActiveSnapshot;
use crate::store::{StateStore, StoreError};
use serde_json::{Value, json};
use std::io::{self, Write};

/// The assignment that a text names: its resource id, or its GUID alone.
pub(super) fn named(text: &str) -> Option<AssignmentName> {
    let lower = text.to_ascii_lowercase();
    let (_, name) = lower.rsplit_once("/roleassignments/").unwrap_or(("", &lower));
    AssignmentName::parse(name).ok()
}

/// What is told of an assignment.
pub(super) enum Told {
    Ours { user: UserId, entry: Box<LedgerEntry>, explanation: Option<Box<Explanation>> },
    Foreign(OthersGave),
}

impl Told {
    pub(super) async fn of(
        store: &StateStore,
        snapshot: ActiveSnapshot,
        known: KnownAssignment,
    ) -> Result<Self, StoreError> {
        match known {
            KnownAssignment::Ours { user, entry } => {
                let explanation = explain::explain(store, snapshot, user).await?.map(Box::new);
                Ok(Self::Ours { user, entry, explanation })
            }
            KnownAssignment::Foreign(access) => {
                Ok(Self::Foreign(OthersGave::named(store, vec![*access]).await?))
            }
        }
    }
}

/// The answers of those bindings that gave it, or would.
fn answers<'a>(entry: &LedgerEntry, explanation: &'a Explanation) -> Vec<&'a BindingAnswer> {
    let ExplainedBindings::Known(all) = &explanation.bindings else { return Vec::new() };
    let gives = |answer: &&BindingAnswer| answer.role == entry.role && answer.scope == entry.scope;
    all.iter().filter(gives).collect()
}

pub(super) fn write_text(out: &mut impl Write, told: &Told) -> io::Result<()> {
    match told {
        Told::Ours { user, entry, explanation } => {
            let name = explanation.as_ref().and_then(|explanation| explanation.user_name.as_deref());
            let who = name.map_or_else(|| user.to_string(), escape_control);
            writeln!(out, "{}: {} at {}", entry.assignment, entry.role, entry.scope)?;
            writeln!(out, "  of {who}, object id {}", entry.principal)?;
            writeln!(out, "  {}", state(entry))?;
            let Some(explanation) = explanation else { return Ok(()) };
            let answers: Vec<BindingAnswer> = answers(entry, explanation).into_iter().cloned().collect();
            if answers.is_empty() {
                writeln!(out, "\nNo active binding gives this role at this scope.")?;
            }
            write_bindings(out, explanation.state, &answers)
        }
        Told::Foreign(others) => others.write_assignments(out),
    }
}

/// What the ledger believes, in a sentence.
fn state(entry: &LedgerEntry) -> String {
    let since = seconds(entry.since);
    let bindings: Vec<&str> = entry.bindings.iter().map(|binding| binding.as_str()).collect();
    let through =
        if bindings.is_empty() { String::new() } else { format!(", through {}", bindings.join(", ")) };
    let settled = if entry.unsettled_until.is_none() { "" } else { "; a call may still change that" };
    match entry.state {
        AssignmentState::Present => format!("made by this service{through}; held since {since}{settled}"),
        AssignmentState::Gone => format!("this service's{through}; gone since {since}{settled}"),
        AssignmentState::HeldByOther(other) => {
            format!("not made: assignment {other}, which others made, gives the same since {since}{settled}")
        }
    }
}

pub(super) fn to_json(told: &Told) -> Value {
    match told {
        Told::Ours { user, entry, explanation } => {
            let answers =
                explanation.as_ref().map(|explanation| answers(entry, explanation)).unwrap_or_default();
            json!({
                "assignment": entry.assignment.to_string(), "madeBy": "this service",
                "person": user.to_string(), "userName": explanation.as_ref().and_then(|e| e.user_name.as_ref()),
                "objectId": entry.principal.to_string(), "role": entry.role.name(), "scope": entry.scope.as_str(),
                "state": state(entry), "holds": entry.state == AssignmentState::Present,
                "settled": entry.unsettled_until.is_none(), "since": seconds(entry.since),
                "bindings": answers.into_iter().map(answer_json).collect::<Vec<_>>(),
            })
        }
        Told::Foreign(others) => others.to_json().pop().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_named_by_its_id_or_its_guid() {
        let guid = "cc66d3ab-2b09-588a-b58d-105ac737494d";
        let id = format!("/subscriptions/s/providers/Microsoft.Authorization/RoleAssignments/{guid}");
        let check = |text: &str| assert_eq!(named(text).map(|name| name.to_string()).as_deref(), Some(guid));
        check(guid);
        check(&guid.to_uppercase());
        check(&id);
        for text in ["", "ana", "/subscriptions/s", "/roleAssignments/x"] {
            assert!(named(text).is_none(), "{text}");
        }
    }
}
