//! Carries out a recognised call to ARM.

use super::authorization;
use super::deny_assignments;
use super::filter::DefinitionFilter;
use super::management_lock::ManagementLock;
use super::request::ArmOperation;
use super::role_assignments::{self, ArmLimits};
use super::role_definitions;
use super::scope::Scope;
use crate::simulator::errors::AzureError;
use crate::simulator::state::AzureState;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

/// A status of 2xx and its body.
pub struct ArmSuccess {
    pub status: u16,
    pub body: Option<Value>,
}

impl ArmSuccess {
    const fn ok(body: Value) -> Self {
        Self { status: 200, body: Some(body) }
    }
}

/// Carries the call out, if the caller's rights allow it.
/// Facts: F-087.
pub fn execute(
    state: &mut AzureState,
    limits: &ArmLimits,
    now: OffsetDateTime,
    scope: &Scope,
    operation: &ArmOperation,
) -> Result<ArmSuccess, AzureError> {
    authorization::refuse_forbidden(state, scope, operation)?;
    match operation {
        ArmOperation::PutAssignment { name, body } => {
            let (status, body) = role_assignments::put(state, limits, now, scope, *name, body)?;
            Ok(ArmSuccess { status, body: Some(body) })
        }
        ArmOperation::GetAssignment { name } => {
            role_assignments::get(state, scope, *name).map(ArmSuccess::ok)
        }
        ArmOperation::DeleteAssignment { name } => {
            let (status, body) = role_assignments::delete(state, now, scope, *name)?;
            Ok(ArmSuccess { status, body })
        }
        ArmOperation::ListAssignments { filter, after, link } => {
            role_assignments::list(state, limits, now, scope, filter, *after, link).map(ArmSuccess::ok)
        }
        ArmOperation::GetDefinition { id } => get_definition(state, scope, *id).map(ArmSuccess::ok),
        ArmOperation::ListDefinitions { filter } => {
            list_definitions(state, scope, filter).map(ArmSuccess::ok)
        }
        ArmOperation::ListDenyAssignments { filter, after, link } => {
            deny_assignments::list(state, limits.page_size, scope, filter, *after, link).map(ArmSuccess::ok)
        }
        ArmOperation::ListLocks { at_scope } => list_locks(state, scope, *at_scope).map(ArmSuccess::ok),
    }
}

/// Facts: F-036.
fn get_definition(state: &AzureState, scope: &Scope, id: Uuid) -> Result<Value, AzureError> {
    role_assignments::refuse_missing(state, scope)?;
    match role_definitions::by_id(state, id) {
        Some(role) => Ok(role.body(scope)),
        None => Err(AzureError::definition_not_found(404, id)),
    }
}

/// Facts: F-037.
fn list_definitions(
    state: &AzureState,
    scope: &Scope,
    filter: &DefinitionFilter,
) -> Result<Value, AzureError> {
    role_assignments::refuse_missing(state, scope)?;
    let bodies = role_definitions::list(state, scope, filter).map(|role| role.body(scope));
    Ok(json!({ "value": bodies.collect::<Vec<_>>() }))
}

/// The locks at, above and below a scope, or at and above it.
/// Facts: F-006.
fn list_locks(state: &AzureState, scope: &Scope, at_scope: bool) -> Result<Value, AzureError> {
    role_assignments::refuse_missing(state, scope)?;
    let is_near =
        |lock: &&ManagementLock| lock.scope.covers(scope) || (!at_scope && scope.covers(&lock.scope));
    let mut near: Vec<&ManagementLock> = state.locks.values().filter(is_near).collect();
    near.sort_by_key(|lock| lock.id);
    Ok(json!({ "value": near.into_iter().map(ManagementLock::body).collect::<Vec<_>>() }))
}
