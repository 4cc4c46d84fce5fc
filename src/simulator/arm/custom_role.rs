//! Role definitions that an organisation makes for itself.

use super::scope::Scope;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Actions and data actions that are given or denied, and what is excepted of each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RolePermission {
    pub actions: Vec<String>,
    pub not_actions: Vec<String>,
    pub data_actions: Vec<String>,
    pub not_data_actions: Vec<String>,
}

impl RolePermission {
    /// These actions, nothing excepted.
    pub fn actions(actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self { actions, ..Self::default() }
    }

    /// The same, except for these.
    pub fn except(mut self, actions: &[&str]) -> Self {
        self.not_actions = actions.iter().map(|action| (*action).to_owned()).collect();
        self
    }
}

/// A custom role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CustomRole {
    pub id: Uuid,
    pub role_name: String,
    #[serde(default)]
    pub description: String,
    /// Where it can be assigned, and below.
    pub assignable_scopes: Vec<Scope>,
    pub permissions: Vec<RolePermission>,
}

impl CustomRole {
    /// Whether it can be assigned at a scope.
    pub fn is_assignable_at(&self, scope: &Scope) -> bool {
        self.assignable_scopes.iter().any(|assignable| assignable.covers(scope))
    }

    /// The properties as ARM shows them.
    pub fn properties(&self) -> Value {
        json!({
            "roleName": self.role_name,
            "type": "CustomRole",
            "description": self.description,
            "assignableScopes": self.assignable_scopes,
            "permissions": self.permissions,
        })
    }
}
