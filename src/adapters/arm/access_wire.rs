//! The JSON shapes of assignments of any role, role definitions and deny assignments, api-version 2022-04-01, and of
//! management locks, api-version 2016-09-01.
//!
//! A page with an entry that cannot be understood is an error: an answer about access is never made of a part.

use super::wire::{Page, link};
use crate::id::PrincipalId;
use crate::ports::azure_access::{AccessAssignment, DenyAssignment, HolderKind, LockLevel, ManagementLock};
use crate::rbac::AssignmentName;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{Permission, RoleDefinition};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

#[derive(Deserialize)]
struct Listing<T> {
    value: Vec<T>,
    #[serde(rename = "nextLink", default, deserialize_with = "link")]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Entry<T> {
    name: String,
    properties: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentProperties {
    role_definition_id: String,
    principal_id: String,
    principal_type: Option<String>,
    scope: String,
    condition: Option<String>,
    created_on: Option<String>,
    created_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionProperties {
    role_name: String,
    permissions: Option<Vec<PermissionBody>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PermissionBody {
    actions: Option<Vec<String>>,
    not_actions: Option<Vec<String>>,
    condition: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DenyProperties {
    deny_assignment_name: Option<String>,
    permissions: Option<Vec<PermissionBody>>,
    scope: String,
    do_not_apply_to_child_scopes: Option<bool>,
    principals: Option<Vec<PrincipalBody>>,
    exclude_principals: Option<Vec<PrincipalBody>>,
    condition: Option<String>,
    /// In previews of the API: `enforced`, or `audit`.
    deny_assignment_effect: Option<String>,
}

#[derive(Deserialize)]
struct PrincipalBody {
    id: String,
}

#[derive(Deserialize)]
struct LockBody {
    id: String,
    name: String,
    properties: LockProperties,
}

#[derive(Deserialize)]
struct LockProperties {
    level: Option<String>,
}

/// Reads a page of role assignments.
pub fn assignments(body: &[u8]) -> Result<Page<AccessAssignment>, String> {
    page(body, assignment)
}

/// Reads a page of deny assignments.
pub fn denials(body: &[u8]) -> Result<Page<DenyAssignment>, String> {
    page(body, denial)
}

/// Reads a page of management locks.
pub fn locks(body: &[u8]) -> Result<Page<ManagementLock>, String> {
    let listing: Listing<LockBody> =
        serde_json::from_slice(body).map_err(|error| format!("a listing cannot be understood: {error}"))?;
    let entries: Result<Vec<ManagementLock>, String> = listing.value.into_iter().map(lock).collect();
    Ok(Page { entries: entries?, next_link: listing.next_link })
}

/// Reads the role definition that was asked for by that id.
pub fn definition(body: &[u8], role: Uuid) -> Result<RoleDefinition, String> {
    let read: Entry<DefinitionProperties> = serde_json::from_slice(body)
        .map_err(|error| format!("a role definition cannot be understood: {error}"))?;
    if Uuid::try_parse(&read.name) != Ok(role) {
        return Err("the answer shows another role definition".to_owned());
    }
    // Without them it would seem to give nothing.
    let permissions = read.properties.permissions.ok_or("a role definition has no permissions")?;
    let permissions = self::permissions(Some(permissions));
    Ok(RoleDefinition { id: role, name: read.properties.role_name, permissions })
}

fn page<P: DeserializeOwned, T>(
    body: &[u8],
    read: impl Fn(Entry<P>) -> Result<T, String>,
) -> Result<Page<T>, String> {
    let listing: Listing<Entry<P>> =
        serde_json::from_slice(body).map_err(|error| format!("a listing cannot be understood: {error}"))?;
    let entries: Result<Vec<T>, String> = listing.value.into_iter().map(read).collect();
    Ok(Page { entries: entries?, next_link: listing.next_link })
}

fn assignment(entry: Entry<AssignmentProperties>) -> Result<AccessAssignment, String> {
    let Entry { name, properties } = entry;
    let created_on = properties.created_on.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok());
    Ok(AccessAssignment {
        name: AssignmentName::parse(&name).map_err(|error| error.to_string())?,
        scope: scope(&properties.scope)?,
        role: role(&properties.role_definition_id)?,
        principal: PrincipalId::parse(&properties.principal_id).map_err(|error| error.to_string())?,
        holder: properties.principal_type.as_deref().map_or(HolderKind::Other, HolderKind::parse),
        condition: properties.condition.filter(|text| is_given(Some(text))),
        created_on,
        created_by: properties.created_by.and_then(|text| PrincipalId::parse(&text).ok()),
    })
}

/// A lock names its scope in its id alone.
fn lock(body: LockBody) -> Result<ManagementLock, String> {
    const COLLECTION: &str = "/providers/microsoft.authorization/locks/";
    let place = body.id.to_ascii_lowercase().rfind(COLLECTION);
    let above = place.and_then(|place| body.id.get(..place)).ok_or("a lock has no scope")?;
    let above = if above.is_empty() { "/" } else { above };
    let level = body.properties.level.as_deref().map_or(LockLevel::Other, LockLevel::parse);
    Ok(ManagementLock { name: body.name, scope: scope(above)?, level })
}

fn denial(entry: Entry<DenyProperties>) -> Result<DenyAssignment, String> {
    let Entry { name, properties } = entry;
    let denied = principals(properties.principals)?;
    let (everyone, principals): (Vec<_>, Vec<_>) =
        denied.into_iter().partition(|principal| principal.uuid().is_nil());
    let effect = properties.deny_assignment_effect.as_deref();
    let conditional = is_given(properties.condition.as_deref())
        || properties.permissions.iter().flatten().any(|part| is_given(part.condition.as_deref()))
        || effect.is_some_and(|effect| !effect.eq_ignore_ascii_case("enforced"));
    Ok(DenyAssignment {
        name: properties.deny_assignment_name.filter(|shown| !shown.is_empty()).unwrap_or(name),
        scope: scope(&properties.scope)?,
        permissions: permissions(properties.permissions),
        principals,
        everyone: !everyone.is_empty(),
        excluded: self::principals(properties.exclude_principals)?,
        only_at_scope: properties.do_not_apply_to_child_scopes.unwrap_or(false),
        conditional,
    })
}

fn permissions(bodies: Option<Vec<PermissionBody>>) -> Vec<Permission> {
    let permission = |body: PermissionBody| Permission {
        actions: body.actions.unwrap_or_default(),
        not_actions: body.not_actions.unwrap_or_default(),
    };
    bodies.unwrap_or_default().into_iter().map(permission).collect()
}

fn principals(bodies: Option<Vec<PrincipalBody>>) -> Result<Vec<PrincipalId>, String> {
    let principal = |body: PrincipalBody| PrincipalId::parse(&body.id).map_err(|error| error.to_string());
    bodies.unwrap_or_default().into_iter().map(principal).collect()
}

fn scope(text: &str) -> Result<ArmScope, String> {
    ArmScope::parse(text).ok_or_else(|| "an entry of a listing has no scope".to_owned())
}

/// By the GUID at the end: a role definition id comes with and without its subscription.
fn role(id: &str) -> Result<Uuid, String> {
    let guid = id.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Uuid::try_parse(guid).map_err(|_| "an assignment has no role".to_owned())
}

fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.trim().is_empty())
}
