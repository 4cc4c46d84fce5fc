//! The JSON shapes of role assignments, api-version 2022-04-01, as far as we read and write them.
//!
//! Errors here are sentences for a log: a body that cannot be parsed is never used in part.

use crate::id::PrincipalId;
use crate::ports::role_assignments::ListedAssignment;
use crate::rbac::{AssignmentName, BackupRole, RoleAssignment, Scope};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// What was read on one page of a listing, and where it goes on.
#[derive(Debug)]
pub struct Page<T> {
    pub entries: Vec<T>,
    pub next_link: Option<String>,
}

/// One page of a listing of role assignments.
#[derive(Debug, Deserialize)]
pub struct AssignmentPage {
    value: Vec<AssignmentBody>,
    #[serde(rename = "nextLink", default, deserialize_with = "link")]
    next_link: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AssignmentBody {
    name: String,
    properties: AssignmentProperties,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentProperties {
    role_definition_id: String,
    principal_id: String,
    scope: String,
    #[serde(default)]
    created_on: Option<String>,
}

/// Some services end a listing with an empty link instead of none.
pub fn link<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(input)?.filter(|link| !link.is_empty()))
}

/// Reads a page.
pub fn page(body: &[u8]) -> Result<AssignmentPage, String> {
    serde_json::from_slice(body).map_err(|error| format!("a listing cannot be understood: {error}"))
}

/// Reads one assignment, which must be of a backup role at a scope that can be bound.
pub fn assignment(body: &[u8]) -> Result<ListedAssignment, String> {
    let read: AssignmentBody = serde_json::from_slice(body)
        .map_err(|error| format!("an assignment cannot be understood: {error}"))?;
    let role = read.role().ok_or("an assignment of that name gives another role")?;
    let scope = Scope::parse(&read.properties.scope)
        .map_err(|error| format!("an assignment has an unknown scope: {error}"))?;
    read.listed(scope, role)
}

/// Reads the assignment that was asked for by that name.
pub fn named(body: &[u8], name: &AssignmentName) -> Result<ListedAssignment, String> {
    let found = assignment(body)?;
    (found.name == *name).then_some(found).ok_or_else(|| "the answer shows another assignment".to_owned())
}

/// Checks that the answer to a delete shows what was deleted. Its role and scope do not matter any more.
pub fn deleted(body: &[u8], name: &AssignmentName) -> Result<(), String> {
    let found: AssignmentBody = serde_json::from_slice(body)
        .map_err(|error| format!("the answer to a delete cannot be understood: {error}"))?;
    let same = AssignmentName::parse(&found.name).is_ok_and(|found| found == *name);
    same.then_some(()).ok_or_else(|| "the answer to a delete shows another assignment".to_owned())
}

/// Checks that the answer to a create describes what was wanted.
pub fn made(body: &[u8], wanted: &RoleAssignment) -> Result<(), String> {
    let made = assignment(body)?;
    let same = made.name == wanted.name
        && made.scope == wanted.scope
        && made.role == wanted.role
        && made.principal == wanted.principal;
    same.then_some(()).ok_or_else(|| "the answer to a create describes another assignment".to_owned())
}

/// The body of a create. Azure takes `User` where no type is sent, so it always is.
pub fn body(wanted: &RoleAssignment) -> Value {
    let role = wanted.role.definition_id();
    let subscription = wanted.scope.subscription();
    json!({ "properties": {
        "roleDefinitionId":
            format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"),
        "principalId": wanted.principal.to_string(),
        "principalType": wanted.principal_type.as_str(),
        "description": wanted.description,
    }})
}

impl AssignmentPage {
    /// A listing shows inherited assignments as well, and every role: only backup roles at exactly `scope` are kept.
    pub fn backup_roles_at(self, scope: &Scope) -> Result<Page<ListedAssignment>, String> {
        let here = self.value.iter().filter(|entry| entry.is_at(scope));
        let listed = here
            .filter_map(|entry| Some((entry, entry.role()?)))
            .map(|(entry, role)| entry.listed(scope.clone(), role));
        Ok(Page { entries: listed.collect::<Result<_, _>>()?, next_link: self.next_link })
    }
}

impl AssignmentBody {
    /// Segment by segment and without case: `/rg1` is not `/rg10`.
    fn is_at(&self, scope: &Scope) -> bool {
        let own = self.properties.scope.strip_suffix('/').unwrap_or(&self.properties.scope);
        let mut own = own.split('/');
        let same = scope
            .as_str()
            .split('/')
            .all(|segment| own.next().is_some_and(|other| other.eq_ignore_ascii_case(segment)));
        same && own.next().is_none()
    }

    /// By the GUID at the end: a role definition id comes with and without its subscription.
    fn role(&self) -> Option<BackupRole> {
        let id = self.properties.role_definition_id.trim_end_matches('/');
        Uuid::try_parse(id.rsplit('/').next()?).ok().and_then(BackupRole::from_definition)
    }

    fn listed(&self, scope: Scope, role: BackupRole) -> Result<ListedAssignment, String> {
        let principal = PrincipalId::parse(&self.properties.principal_id).map_err(|e| e.to_string())?;
        let name = AssignmentName::parse(&self.name).map_err(|e| e.to_string())?;
        let created_on =
            self.properties.created_on.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        Ok(ListedAssignment { name, scope, role, principal, created_on })
    }
}
