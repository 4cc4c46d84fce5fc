//! A deny assignment as Azure holds and shows it. Azure makes them for deployment stacks and managed applications, and
//! people can in a preview.

use super::condition::action_matches;
use super::custom_role::RolePermission;
use super::scope::Scope;
use crate::simulator::clock::new_guid;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// The type of the principal that is everybody; its id is all zeros.
const SYSTEM_DEFINED: &str = "SystemDefined";

/// A principal of a deny assignment, by the words of ARM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenyPrincipal {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub principal_type: String,
}

impl DenyPrincipal {
    /// A principal of that type.
    pub fn new(id: Uuid, principal_type: &str) -> Self {
        Self { id, principal_type: principal_type.to_owned() }
    }

    /// Every user, group and service principal of the directory.
    pub fn everyone() -> Self {
        Self::new(Uuid::nil(), SYSTEM_DEFINED)
    }
}

/// A deny assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DenyAssignment {
    #[serde(default = "new_guid")]
    pub id: Uuid,
    pub deny_assignment_name: String,
    #[serde(default)]
    pub description: String,
    pub scope: Scope,
    pub permissions: Vec<RolePermission>,
    pub principals: Vec<DenyPrincipal>,
    #[serde(default)]
    pub exclude_principals: Vec<DenyPrincipal>,
    #[serde(default)]
    pub do_not_apply_to_child_scopes: bool,
    /// Kept and shown, not evaluated: one with a condition denies nothing here.
    #[serde(default)]
    pub condition: Option<String>,
    /// Orders listings; never given twice.
    #[serde(default)]
    pub sequence: u64,
}

impl DenyAssignment {
    /// One for everybody, at a scope and below.
    pub fn new(name: &str, scope: Scope, permission: RolePermission) -> Self {
        Self {
            id: new_guid(),
            deny_assignment_name: name.to_owned(),
            description: String::new(),
            scope,
            permissions: vec![permission],
            principals: vec![DenyPrincipal::everyone()],
            exclude_principals: Vec::new(),
            do_not_apply_to_child_scopes: false,
            condition: None,
            sequence: 0,
        }
    }

    /// For these principals instead.
    pub fn of(mut self, principals: Vec<DenyPrincipal>) -> Self {
        self.principals = principals;
        self
    }

    /// Except for these principals.
    pub fn except(mut self, principals: Vec<DenyPrincipal>) -> Self {
        self.exclude_principals = principals;
        self
    }

    /// At its scope alone.
    pub const fn not_below(mut self) -> Self {
        self.do_not_apply_to_child_scopes = true;
        self
    }

    /// Whether it denies this action there to that principal. Groups are not resolved.
    pub fn denies(&self, scope: &Scope, principal: Uuid, action: &str) -> bool {
        let names = |list: &[DenyPrincipal]| list.iter().any(|p| p.id == principal);
        let everyone = self.principals.contains(&DenyPrincipal::everyone());
        let here = self.scope == *scope || (self.scope.covers(scope) && !self.do_not_apply_to_child_scopes);
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| action_matches(pattern, action));
        let covers = |p: &RolePermission| matches(&p.actions) && !matches(&p.not_actions);
        here && self.condition.is_none()
            && (everyone || names(&self.principals))
            && !names(&self.exclude_principals)
            && self.permissions.iter().any(covers)
    }

    /// As ARM shows it.
    pub fn body(&self) -> Value {
        let path = "providers/Microsoft.Authorization/denyAssignments";
        let id = format!("{}/{path}/{}", self.scope.to_string().trim_end_matches('/'), self.id);
        json!({
            "id": id,
            "name": self.id,
            "type": "Microsoft.Authorization/denyAssignments",
            "properties": {
                "denyAssignmentName": self.deny_assignment_name,
                "description": self.description,
                "scope": self.scope,
                "permissions": self.permissions,
                "principals": self.principals,
                "excludePrincipals": self.exclude_principals,
                "doNotApplyToChildScopes": self.do_not_apply_to_child_scopes,
                "isSystemProtected": true,
                "condition": self.condition,
            },
        })
    }
}
