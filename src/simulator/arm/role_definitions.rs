//! Role definitions as ARM shows them, built-in and custom, and the two shapes of their ids.

use super::built_in_roles::{BUILT_IN_ROLES, BuiltInRole};
use super::custom_role::CustomRole;
use super::filter::DefinitionFilter;
use super::scope::Scope;
use crate::simulator::state::AzureState;
use serde_json::{Value, json};
use uuid::Uuid;

/// A role definition of either kind.
#[derive(Debug, Clone, Copy)]
pub enum RoleDefinition<'a> {
    BuiltIn(&'static BuiltInRole),
    Custom(&'a CustomRole),
}

impl RoleDefinition<'_> {
    pub const fn id(self) -> Uuid {
        match self {
            Self::BuiltIn(role) => role.id,
            Self::Custom(role) => role.id,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::BuiltIn(role) => role.name,
            Self::Custom(role) => &role.role_name,
        }
    }

    /// The definition as ARM shows it when asked at `scope`.
    pub fn body(self, scope: &Scope) -> Value {
        let properties = match self {
            Self::BuiltIn(role) => built_in(role),
            Self::Custom(role) => role.properties(),
        };
        json!({
            "id": id_at(scope, self.id()),
            "name": self.id(),
            "type": "Microsoft.Authorization/roleDefinitions",
            "properties": properties,
        })
    }
}

fn built_in(role: &BuiltInRole) -> Value {
    json!({
        "roleName": role.name,
        "type": "BuiltInRole",
        "description": role.description,
        "assignableScopes": ["/"],
        "permissions": [{
            "actions": role.actions,
            "notActions": role.not_actions,
            "dataActions": [],
            "notDataActions": [],
        }],
    })
}

fn all(state: &AzureState) -> impl Iterator<Item = RoleDefinition<'_>> {
    let custom = state.custom_roles.values().map(RoleDefinition::Custom);
    BUILT_IN_ROLES.iter().map(RoleDefinition::BuiltIn).chain(custom)
}

/// The role of that GUID, wherever it can be assigned.
/// Facts: F-036, F-103.
pub fn by_id(state: &AzureState, id: Uuid) -> Option<RoleDefinition<'_>> {
    all(state).find(|role| role.id() == id)
}

/// The role of that name, in any case.
/// Facts: F-037.
pub fn by_name<'a>(state: &'a AzureState, name: &str) -> Option<RoleDefinition<'a>> {
    all(state).find(|role| role.name().eq_ignore_ascii_case(name))
}

/// The roles that can be assigned at a scope and that a filter selects.
/// Facts: F-037.
pub fn list<'a>(
    state: &'a AzureState,
    scope: &Scope,
    filter: &DefinitionFilter,
) -> impl Iterator<Item = RoleDefinition<'a>> {
    all(state).filter(|role| {
        let (kind, is_here) = match role {
            RoleDefinition::BuiltIn(_) => ("BuiltInRole", true),
            RoleDefinition::Custom(role) => ("CustomRole", role.is_assignable_at(scope)),
        };
        is_here
            && filter.kind.is_none_or(|wanted| wanted == kind)
            && filter.role_name.as_ref().is_none_or(|name| role.name().eq_ignore_ascii_case(name))
    })
}

/// The GUID in a role definition id: bare, or under a subscription or another scope.
/// Facts: F-029.
pub fn parse_id(text: &str) -> Option<Uuid> {
    let (before, guid) = text.rsplit_once('/')?;
    let before = before.to_ascii_lowercase();
    let scope = before.strip_suffix("/providers/microsoft.authorization/roledefinitions")?;
    Scope::parse(scope)?;
    Uuid::try_parse(guid).ok()
}

/// The definition's id as ARM writes it when asked at `scope`: with the subscription, if there is one.
/// Facts: F-029.
pub fn id_at(scope: &Scope, id: Uuid) -> String {
    let prefix = scope.subscription().map(|s| format!("/subscriptions/{s}")).unwrap_or_default();
    format!("{prefix}/providers/Microsoft.Authorization/roleDefinitions/{id}")
}
