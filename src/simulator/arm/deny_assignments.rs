//! Azure's rules for deny assignments: which one forbids a call, and what a listing shows.

use super::deny_assignment::DenyAssignment;
use super::filter::AssignmentFilter;
use super::role_assignments::refuse_missing;
use super::scope::Scope;
use crate::simulator::errors::AzureError;
use crate::simulator::request::NextLink;
use crate::simulator::state::AzureState;
use serde_json::{Value, json};
use uuid::Uuid;

/// The deny assignment that forbids this to that principal.
/// Facts: F-034, F-101.
pub fn denying<'a>(
    state: &'a AzureState,
    scope: &Scope,
    principal: Uuid,
    action: &str,
) -> Option<&'a DenyAssignment> {
    state.deny_assignments.values().find(|deny| deny.denies(scope, principal, action))
}

/// One page of the deny assignments at, above and below a scope, or at and above it. One that does not hold below its
/// scope is shown there all the same.
/// Facts: F-032, F-033.
pub fn list(
    state: &AzureState,
    page_size: usize,
    scope: &Scope,
    filter: &AssignmentFilter,
    after: Option<u64>,
    link: &NextLink,
) -> Result<Value, AzureError> {
    refuse_missing(state, scope)?;
    let chosen = |deny: &&DenyAssignment| {
        let near = deny.scope.covers(scope) || (!filter.at_scope && scope.covers(&deny.scope));
        let names = |id: Uuid| deny.principals.iter().any(|principal| principal.id == id);
        near && filter.principal.is_none_or(names) && after.is_none_or(|number| number < deny.sequence)
    };
    let mut rest: Vec<&DenyAssignment> = state.deny_assignments.values().filter(chosen).collect();
    rest.sort_by_key(|deny| deny.sequence);
    let page = rest.get(..page_size).unwrap_or(&rest);
    let mut answer = json!({ "value": page.iter().map(|deny| deny.body()).collect::<Vec<_>>() });
    let last = page.last().filter(|_| page.len() < rest.len());
    if let (Some(last), Some(fields)) = (last, answer.as_object_mut()) {
        fields.insert("nextLink".to_owned(), json!(link.after(&format!("{:016x}", last.sequence))));
    }
    Ok(answer)
}
