//! Azure's rules for role assignments: what PUT, GET, DELETE and a listing do and answer.

use super::condition::CONDITION_BYTES_MAX;
use super::directory_principal::PrincipalType;
use super::filter::AssignmentFilter;
use super::management_lock::LockLevel;
use super::role_assignment::RoleAssignment;
use super::role_definitions;
use super::scope::Scope;
use crate::simulator::errors::AzureError;
use crate::simulator::request::NextLink;
use crate::simulator::state::AzureState;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};
use uuid::{Uuid, uuid};

const DESCRIPTION_BYTES_MAX: usize = 2048;

/// Who makes and changes assignments: all callers are the same identity to Azure.
pub const CALLER: Uuid = uuid!("ca11e400-0000-4000-8000-000000000001");

/// The numbers that a test may want smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArmLimits {
    /// Role assignments in one subscription, whatever the scope in it.
    /// Facts: F-092.
    pub assignments_per_subscription: usize,
    /// Assignments in one page of a listing.
    /// Facts: F-095.
    pub page_size: usize,
    /// A listing shows the state of so many seconds ago, by Azure's clock.
    /// Facts: F-020.
    pub list_staleness_seconds: u32,
    /// Whether token buckets are counted.
    /// Facts: F-096.
    pub buckets: bool,
}

impl Default for ArmLimits {
    fn default() -> Self {
        Self { assignments_per_subscription: 4000, page_size: 100, list_staleness_seconds: 0, buckets: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody {
    properties: PutProperties,
    #[serde(rename = "id")]
    _id: Option<Value>,
    #[serde(rename = "name")]
    _name: Option<Value>,
    #[serde(rename = "type")]
    _type: Option<Value>,
}

/// What may be sent. Read-only properties are taken and ignored, so that an answer can be sent back as it came.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PutProperties {
    role_definition_id: String,
    principal_id: String,
    principal_type: Option<PrincipalType>,
    description: Option<String>,
    condition: Option<String>,
    condition_version: Option<String>,
    #[serde(rename = "scope")]
    _scope: Option<Value>,
    #[serde(rename = "createdOn")]
    _created_on: Option<Value>,
    #[serde(rename = "updatedOn")]
    _updated_on: Option<Value>,
    #[serde(rename = "createdBy")]
    _created_by: Option<Value>,
    #[serde(rename = "updatedBy")]
    _updated_by: Option<Value>,
}

/// A checked PUT.
struct Wanted {
    role: Uuid,
    principal: Uuid,
    principal_type: PrincipalType,
    properties: PutProperties,
}

impl Wanted {
    /// Facts: F-012, F-090, F-093.
    fn parse(body: &[u8]) -> Result<Self, AzureError> {
        let body: PutBody = serde_json::from_slice(body)
            .map_err(|error| AzureError::content(format!("The request content was invalid: {error}.")))?;
        let properties = body.properties;
        let too_long = |text: &Option<String>, max| text.as_ref().is_some_and(|text| text.len() > max);
        if too_long(&properties.description, DESCRIPTION_BYTES_MAX) {
            return Err(AzureError::content("The description is longer than 2 KB."));
        }
        if too_long(&properties.condition, CONDITION_BYTES_MAX) {
            return Err(AzureError::content("The condition is longer than 8 KB."));
        }
        let role = role_definitions::parse_id(&properties.role_definition_id)
            .ok_or_else(|| AzureError::content("The role definition id is not valid."))?;
        let principal = Uuid::try_parse(&properties.principal_id)
            .map_err(|_| AzureError::invalid_principal_id(&properties.principal_id))?;
        let principal_type = properties.principal_type.unwrap_or(PrincipalType::User);
        Ok(Self { role, principal, principal_type, properties })
    }
}

/// Makes an assignment, or changes description and condition of the one that has this name and triple.
/// The answer says whether it was made (201) or was there (200).
/// Facts: F-002, F-005, F-087, F-088.
pub fn put(
    state: &mut AzureState,
    limits: &ArmLimits,
    now: OffsetDateTime,
    scope: &Scope,
    name: Uuid,
    body: &[u8],
) -> Result<(u16, Value), AzureError> {
    refuse_missing(state, scope)?;
    let read_only = |level| level == LockLevel::ReadOnly;
    refuse_locked(state, scope, "write", read_only)?;
    let wanted = Wanted::parse(body)?;
    if role_definitions::by_id(state, wanted.role).is_none() {
        return Err(AzureError::definition_not_found(400, wanted.role));
    }
    if let Some(current) = state.assignments.get(&name) {
        if !current.is_triple(scope, wanted.role, wanted.principal) {
            return Err(AzureError::update_not_permitted());
        }
        let changed = updated(current.clone(), wanted.properties, now);
        let answer = changed.body();
        state.put_assignment(changed, now);
        return Ok((200, answer));
    }
    refuse_creation(state, limits, now, scope, &wanted)?;
    let made = created(state.next_number(), now, scope, name, wanted);
    let answer = made.body();
    state.put_assignment(made, now);
    Ok((201, answer))
}

fn updated(mut current: RoleAssignment, sent: PutProperties, now: OffsetDateTime) -> RoleAssignment {
    current.description = sent.description;
    current.condition = sent.condition;
    current.condition_version = sent.condition_version;
    current.updated_on = now;
    current.updated_by = CALLER;
    current
}

fn created(sequence: u64, now: OffsetDateTime, scope: &Scope, name: Uuid, wanted: Wanted) -> RoleAssignment {
    RoleAssignment {
        name,
        sequence,
        scope: scope.clone(),
        role_definition_id: wanted.properties.role_definition_id,
        role: wanted.role,
        principal_id: wanted.principal,
        principal_type: wanted.principal_type,
        description: wanted.properties.description,
        condition: wanted.properties.condition,
        condition_version: wanted.properties.condition_version,
        created_on: now,
        updated_on: now,
        created_by: CALLER,
        updated_by: CALLER,
    }
}

/// Facts: F-001, F-010, F-092.
fn refuse_creation(
    state: &mut AzureState,
    limits: &ArmLimits,
    now: OffsetDateTime,
    scope: &Scope,
    wanted: &Wanted,
) -> Result<(), AzureError> {
    if state.assignments.values().any(|a| a.is_triple(scope, wanted.role, wanted.principal)) {
        return Err(AzureError::assignment_exists());
    }
    refuse_principal(state, now, wanted.principal, wanted.principal_type)?;
    let beside = |a: &&RoleAssignment| a.scope.subscription() == scope.subscription();
    let in_subscription = state.assignments.values().filter(beside).count();
    if scope.subscription().is_some() && in_subscription >= limits.assignments_per_subscription {
        return Err(AzureError::limit_exceeded());
    }
    Ok(())
}

/// Facts: F-007, F-008, F-091.
fn refuse_principal(
    state: &mut AzureState,
    now: OffsetDateTime,
    id: Uuid,
    stated: PrincipalType,
) -> Result<(), AzureError> {
    let real = match state.principals.get(&id) {
        Some(principal) if principal.absent || principal.appears_at.is_some_and(|at| now < at) => {
            return Err(AzureError::principal_not_found(id));
        }
        Some(principal) if principal.appears_after_calls > 0 => {
            state.principals.change(&id, |principal| principal.appears_after_calls -= 1);
            return Err(AzureError::principal_not_found(id));
        }
        Some(principal) => principal.principal_type,
        None if *state.strict_principals => return Err(AzureError::principal_not_found(id)),
        None => PrincipalType::User,
    };
    if real != stated {
        return Err(AzureError::unmatched_principal_type(id, stated.name(), real.name()));
    }
    Ok(())
}

/// The assignment of that name at that scope. Always current.
/// Facts: F-014, F-022.
pub fn get(state: &AzureState, scope: &Scope, name: Uuid) -> Result<Value, AzureError> {
    refuse_missing(state, scope)?;
    match state.assignments.get(&name).filter(|a| a.scope == *scope) {
        Some(assignment) => Ok(assignment.body()),
        None => Err(AzureError::assignment_not_found(name)),
    }
}

/// Deletes: 200 with what was deleted, 204 where there was nothing.
/// Facts: F-004, F-089.
pub fn delete(
    state: &mut AzureState,
    now: OffsetDateTime,
    scope: &Scope,
    name: Uuid,
) -> Result<(u16, Option<Value>), AzureError> {
    refuse_missing(state, scope)?;
    refuse_locked(state, scope, "delete", |_| true)?;
    if state.assignments.get(&name).is_none_or(|a| a.scope != *scope) {
        return Ok((204, None));
    }
    let removed = state.remove_assignment(name, now);
    Ok((200, removed.map(|a| a.body())))
}

/// One page of the assignments at, above and below a scope, or at and above it, as they stood a while ago.
/// Facts: F-020, F-021, F-095.
pub fn list(
    state: &AzureState,
    limits: &ArmLimits,
    now: OffsetDateTime,
    scope: &Scope,
    filter: &AssignmentFilter,
    after: Option<u64>,
    link: &NextLink,
) -> Result<Value, AzureError> {
    refuse_missing(state, scope)?;
    let lag = Duration::seconds(i64::from(limits.list_staleness_seconds));
    let seen_at = (!lag.is_zero()).then(|| now.saturating_sub(lag));
    let chosen = |a: &RoleAssignment| {
        let near = a.scope.covers(scope) || (!filter.at_scope && scope.covers(&a.scope));
        near && filter.principal.is_none_or(|id| id == a.principal_id) && after.is_none_or(|n| n < a.sequence)
    };
    let mut rest = state.assignments_at(seen_at);
    rest.retain(|a| chosen(a));
    let page = rest.get(..limits.page_size).unwrap_or(&rest);
    let mut answer = Map::new();
    answer.insert("value".to_owned(), page.iter().map(|a| a.body()).collect());
    if let Some(last) = page.last().filter(|_| page.len() < rest.len()) {
        answer.insert("nextLink".to_owned(), json!(link.after(&format!("{:016x}", last.sequence))));
    }
    Ok(Value::Object(answer))
}

/// 404 by what is missing: subscription, group or resource.
/// Facts: F-015.
pub fn refuse_missing(state: &AzureState, scope: &Scope) -> Result<(), AzureError> {
    match state.missing_scope(scope) {
        Some(missing) => Err(AzureError::scope_not_found(&missing)),
        None => Ok(()),
    }
}

/// Facts: F-003.
fn refuse_locked(
    state: &AzureState,
    scope: &Scope,
    operation: &str,
    forbids: impl Fn(LockLevel) -> bool,
) -> Result<(), AzureError> {
    match state.locks_at(scope).find(|lock| forbids(lock.level)) {
        Some(lock) => Err(AzureError::scope_locked(&lock.scope, operation)),
        None => Ok(()),
    }
}
