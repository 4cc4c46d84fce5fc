//! Orders about what ARM holds: assignments, scopes, locks, principals and limits.

use super::control_error::{ControlError, found};
use super::simulator_handle::SimulatorHandle;
use crate::simulator::arm::directory_principal::{DirectoryPrincipal, PrincipalType};
use crate::simulator::arm::management_lock::{LockLevel, ManagementLock};
use crate::simulator::arm::role_assignment::RoleAssignment;
use crate::simulator::arm::role_assignments::{self, ArmLimits};
use crate::simulator::arm::role_definitions;
use crate::simulator::arm::scope::{Scope, ScopeKind};
use crate::simulator::clock::new_guid;
use crate::simulator::errors::AzureError;
use crate::simulator::state::{AzureState, STALENESS_SECONDS_MAX};
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

/// The version of the language of conditions.
const CONDITION_VERSION: &str = "2.0";

/// An assignment that a person makes by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandMade {
    pub scope: Scope,
    /// Name of a role, built-in or custom, or its GUID.
    pub role: String,
    pub principal: Uuid,
    #[serde(default, rename = "type")]
    pub principal_type: Option<PrincipalType>,
    /// A random one if left out.
    #[serde(default)]
    pub name: Option<Uuid>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub condition: Option<String>,
    #[serde(default)]
    pub condition_version: Option<String>,
    /// Who made it; the identity that all callers are, if left out.
    #[serde(default)]
    pub created_by: Option<Uuid>,
    /// When it was made; now, if left out.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub created_on: Option<OffsetDateTime>,
}

impl HandMade {
    /// One with a random name.
    pub fn new(scope: Scope, role: &str, principal: Uuid) -> Self {
        Self {
            scope,
            role: role.to_owned(),
            principal,
            principal_type: None,
            name: None,
            description: None,
            condition: None,
            condition_version: None,
            created_by: None,
            created_on: None,
        }
    }

    /// For a principal of another type than a user.
    pub const fn of_type(mut self, principal_type: PrincipalType) -> Self {
        self.principal_type = Some(principal_type);
        self
    }

    /// By this person, at that time.
    pub const fn by(mut self, person: Uuid, on: OffsetDateTime) -> Self {
        self.created_by = Some(person);
        self.created_on = Some(on);
        self
    }

    /// With a condition.
    pub fn under(mut self, condition: &str) -> Self {
        self.condition = Some(condition.to_owned());
        self.condition_version = Some(CONDITION_VERSION.to_owned());
        self
    }
}

impl SimulatorHandle {
    // What Azure holds.

    /// Every assignment, oldest first.
    pub fn assignments(&self) -> Vec<RoleAssignment> {
        let mut all: Vec<RoleAssignment> =
            self.with(|azure| azure.state.assignments.values().cloned().collect());
        all.sort_by_key(|assignment| assignment.sequence);
        all
    }

    /// Makes an assignment as a person does in the portal: Azure's rules hold, faults and throttles do not. A group or a
    /// service principal that was not added becomes known, and so does a management group.
    pub fn make_assignment(&self, made: &HandMade) -> Result<RoleAssignment, ControlError> {
        let name = made.name.unwrap_or_else(new_guid);
        self.order(|azure| {
            let now = azure.now();
            let body = put_body(&azure.state, made)?;
            introduce(&mut azure.state, made);
            role_assignments::put(&mut azure.state, &azure.limits, now, &made.scope, name, body.as_bytes())
                .map_err(refused)?;
            let found = azure.state.assignments.get(&name).cloned();
            let mut assignment = found_assignment(found, name)?;
            if made.created_by.is_some() || made.created_on.is_some() {
                assignment.created_by = made.created_by.unwrap_or(assignment.created_by);
                assignment.updated_by = assignment.created_by;
                assignment.created_on = made.created_on.unwrap_or(assignment.created_on);
                assignment.updated_on = assignment.created_on;
                azure.state.assignments.insert(name, assignment.clone());
            }
            Ok(assignment)
        })
    }

    /// Changes the condition of an assignment as a person does in the portal; `None` takes it away.
    pub fn set_assignment_condition(&self, name: Uuid, condition: Option<&str>) -> Result<(), ControlError> {
        self.order(|azure| {
            let now = azure.now();
            let there = found_assignment(azure.state.assignments.get(&name).cloned(), name)?;
            let body = json!({ "properties": {
                "roleDefinitionId": there.role_definition_id,
                "principalId": there.principal_id,
                "principalType": there.principal_type,
                "description": there.description,
                "condition": condition,
                "conditionVersion": condition.map(|_| CONDITION_VERSION),
            }});
            let body = body.to_string();
            role_assignments::put(&mut azure.state, &azure.limits, now, &there.scope, name, body.as_bytes())
                .map_err(refused)?;
            Ok(())
        })
    }

    /// Deletes an assignment as a person does in the portal.
    pub fn delete_assignment(&self, name: Uuid) -> Result<(), ControlError> {
        self.order(|azure| {
            let scope = azure.state.assignments.get(&name).map(|a| a.scope.clone());
            let scope = found_assignment(scope, name)?;
            let now = azure.now();
            role_assignments::delete(&mut azure.state, now, &scope, name).map_err(refused)?;
            Ok(())
        })
    }

    pub fn scopes(&self) -> Vec<Scope> {
        self.with(|azure| azure.state.scopes().to_vec())
    }

    /// Brings a scope and those above it into existence.
    pub fn add_scope(&self, scope: &Scope) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.add_scope(scope);
            Ok(())
        })
    }

    /// Removes a scope with everything at and below it.
    pub fn remove_scope(&self, scope: &Scope) -> Result<(), ControlError> {
        self.order(|azure| {
            let now = azure.now();
            azure.state.remove_scope(scope, now);
            Ok(())
        })
    }

    pub fn locks(&self) -> Vec<ManagementLock> {
        self.with(|azure| azure.state.locks.values().cloned().collect())
    }

    /// The id of the lock.
    pub fn add_lock(&self, scope: &Scope, level: LockLevel) -> Result<u64, ControlError> {
        self.order(|azure| {
            let id = azure.state.next_number();
            azure.state.locks.insert(id, ManagementLock { id, scope: scope.clone(), level });
            Ok(id)
        })
    }

    pub fn remove_lock(&self, id: u64) -> Result<(), ControlError> {
        self.order(|azure| found(azure.state.locks.remove(&id), "lock", id).map(drop))
    }

    // The directory.

    pub fn principals(&self) -> Vec<DirectoryPrincipal> {
        self.with(|azure| azure.state.principals.values().cloned().collect())
    }

    /// Adds or replaces a principal.
    pub fn add_principal(&self, principal: DirectoryPrincipal) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.principals.insert(principal.id, principal);
            Ok(())
        })
    }

    /// Removes a principal. Its assignments stay, as in Azure.
    pub fn remove_principal(&self, id: Uuid) -> Result<(), ControlError> {
        self.order(|azure| found(azure.state.principals.remove(&id), "principal", id).map(drop))
    }

    pub fn strict_principals(&self) -> bool {
        self.with(|azure| *azure.state.strict_principals)
    }

    /// Strict: only principals that were added exist. Otherwise any other object id is a user.
    pub fn set_strict_principals(&self, strict: bool) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.strict_principals.set(strict);
            Ok(())
        })
    }

    pub fn limits(&self) -> ArmLimits {
        self.with(|azure| azure.limits)
    }

    pub fn set_limits(&self, limits: ArmLimits) -> Result<(), ControlError> {
        if limits.page_size == 0 {
            return Err(ControlError::Invalid("`page_size` must be at least 1".to_owned()));
        }
        if limits.list_staleness_seconds > STALENESS_SECONDS_MAX {
            let text = format!("`list_staleness_seconds` can be {STALENESS_SECONDS_MAX} at most");
            return Err(ControlError::Invalid(text));
        }
        self.change(|azure| azure.limits = limits);
        Ok(())
    }
}

/// What the portal sends.
fn put_body(state: &AzureState, made: &HandMade) -> Result<String, ControlError> {
    let by_id = || role_definitions::by_id(state, Uuid::try_parse(&made.role).ok()?);
    let role = role_definitions::by_name(state, &made.role).or_else(by_id);
    let role = role.ok_or_else(|| ControlError::NotFound { what: "role", id: made.role.clone() })?;
    let body = json!({ "properties": {
        "roleDefinitionId": role_definitions::id_at(&made.scope, role.id()),
        "principalId": made.principal,
        "principalType": made.principal_type.unwrap_or(PrincipalType::User),
        "description": made.description,
        "condition": made.condition,
        "conditionVersion": made.condition_version,
    }});
    Ok(body.to_string())
}

/// The portal offers only what exists. A principal that was not added is a user, unless only those exist that were
/// added.
fn introduce(state: &mut AzureState, made: &HandMade) {
    if made.scope.kind() == ScopeKind::ManagementGroup {
        state.add_scope(&made.scope);
    }
    let is_known = *state.strict_principals || state.principals.contains_key(&made.principal);
    if let Some(stated) = made.principal_type.filter(|stated| *stated != PrincipalType::User && !is_known) {
        state.principals.insert(made.principal, DirectoryPrincipal::new(made.principal, stated));
    }
}

fn refused(error: AzureError) -> ControlError {
    ControlError::Refused { code: error.code, message: error.message }
}

fn found_assignment<T>(assignment: Option<T>, name: Uuid) -> Result<T, ControlError> {
    found(assignment, "assignment", name)
}
