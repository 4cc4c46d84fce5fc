//! What the service's own identity may do, and whether a call is within it.
//!
//! Azure allows an action where one of the caller's role assignments at or above the scope has the action and a condition
//! that is true for the call. Until the rights of the identity are set, it may do everything. What a deny assignment
//! forbids it may not do, whatever its rights.

use super::condition::{AccessCheck, action_matches};
use super::deny_assignments;
use super::own_right::ParsedRight;
use super::request::ArmOperation;
use super::role_assignments::CALLER;
use super::role_definitions;
use super::scope::Scope;
use crate::simulator::errors::AzureError;
use crate::simulator::state::AzureState;
use serde_json::Value;
use uuid::Uuid;

/// Rejects with 403 what the identity has no right to do.
/// Facts: F-016, F-031, F-097, F-101.
pub fn refuse_forbidden(
    state: &AzureState,
    scope: &Scope,
    operation: &ArmOperation,
) -> Result<(), AzureError> {
    let access = access(state, scope, operation);
    if let Some(deny) = deny_assignments::denying(state, scope, CALLER, &access.asked.action) {
        return Err(AzureError::denied(CALLER, &access.asked.action, scope, deny));
    }
    let Some(rights) = state.own_rights.as_ref() else { return Ok(()) };
    let has_action = |right: &&ParsedRight| {
        let matches = |pattern: &String| action_matches(pattern, &access.asked.action);
        right.scope.covers(scope) && right.actions.iter().any(matches)
    };
    let near: Vec<&ParsedRight> = rights.iter().filter(has_action).collect();
    let allows = |right: &ParsedRight| {
        right.condition.as_ref().is_none_or(|c| !access.is_known || c.allows(&access.asked))
    };
    if near.iter().any(|right| allows(right)) {
        return Ok(());
    }
    let over = operation.assignment_name().map_or_else(
        || scope.to_string(),
        |name| format!("{}/providers/Microsoft.Authorization/roleAssignments/{name}", scope),
    );
    Err(AzureError::not_authorized(CALLER, &access.asked.action, &over, !near.is_empty()))
}

struct Asked {
    asked: AccessCheck,
    /// Whether there is anything that a condition could look at.
    is_known: bool,
}

/// What a condition is asked about a call.
/// Facts: F-027, F-028, F-099.
fn access(state: &AzureState, scope: &Scope, operation: &ArmOperation) -> Asked {
    let known = |asked| Asked { asked, is_known: true };
    match operation {
        ArmOperation::PutAssignment { body, .. } => known(write(body)),
        ArmOperation::DeleteAssignment { name } => {
            let there = state.assignments.get(name).filter(|a| a.scope == *scope);
            // It is not documented what Azure answers where there is nothing to delete. Here it is 204, as without a condition.
            let asked = there.map_or_else(
                || AccessCheck::delete(None, None, None),
                |a| AccessCheck::delete(Some(a.role), Some(a.principal_id), Some(a.principal_type.name())),
            );
            Asked { asked, is_known: there.is_some() }
        }
        ArmOperation::GetAssignment { .. } | ArmOperation::ListAssignments { .. } => {
            known(AccessCheck::to("Microsoft.Authorization/roleAssignments/read"))
        }
        ArmOperation::GetDefinition { .. } | ArmOperation::ListDefinitions { .. } => {
            known(AccessCheck::to("Microsoft.Authorization/roleDefinitions/read"))
        }
        ArmOperation::ListDenyAssignments { .. } => {
            known(AccessCheck::to("Microsoft.Authorization/denyAssignments/read"))
        }
        ArmOperation::ListLocks { .. } => known(AccessCheck::to("Microsoft.Authorization/locks/read")),
    }
}

/// The attributes in the body of a PUT. An attribute that the body leaves out does not exist, the principal's type included.
/// Facts: F-099.
fn write(body: &[u8]) -> AccessCheck {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
    let role = text("roleDefinitionId").and_then(role_definitions::parse_id);
    let principal = text("principalId").and_then(|id| Uuid::try_parse(id).ok());
    AccessCheck::write(role, principal, text("principalType"))
}
