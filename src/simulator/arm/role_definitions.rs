//! Role definitions as ARM shows them, and the two shapes of their ids.

use super::built_in_roles::{BUILT_IN_ROLES, BuiltInRole};
use super::scope::Scope;
use serde_json::{Value, json};
use uuid::Uuid;

/// The role of that GUID.
pub fn by_id(id: Uuid) -> Option<&'static BuiltInRole> {
    BUILT_IN_ROLES.iter().find(|role| role.id == id)
}

/// The role of that name, in any case.
pub fn by_name(name: &str) -> Option<&'static BuiltInRole> {
    BUILT_IN_ROLES.iter().find(|role| role.name.eq_ignore_ascii_case(name))
}

/// The GUID in a role definition id: bare, or under a subscription or another scope.
pub fn parse_id(text: &str) -> Option<Uuid> {
    let (before, guid) = text.rsplit_once('/')?;
    let before = before.to_ascii_lowercase();
    let scope = before.strip_suffix("/providers/microsoft.authorization/roledefinitions")?;
    Scope::parse(scope)?;
    Uuid::try_parse(guid).ok()
}

/// The definition's id as ARM writes it when asked at `scope`: with the subscription, if there is one.
pub fn id_at(scope: &Scope, id: Uuid) -> String {
    let prefix = scope.subscription().map(|s| format!("/subscriptions/{s}")).unwrap_or_default();
    format!("{prefix}/providers/Microsoft.Authorization/roleDefinitions/{id}")
}

/// The definition as ARM shows it when asked at `scope`.
pub fn body(scope: &Scope, role: &BuiltInRole) -> Value {
    json!({
        "id": id_at(scope, role.id),
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
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
        },
    })
}
