//! What the service's own identity may do, and whether a call is within it.
//!
//! Azure allows an action where one of the caller's role assignments at or above the scope has the action and a condition
//! that is true for the call. As long as nobody has said what the identity holds, it may do everything.

use super::condition::{Access, Condition, ConditionError, action_matches};
use super::error::AzureError;
use super::request::{Operation, Request};
use super::role_assignments::CALLER;
use super::role_definitions;
use super::scope::Scope;
use super::state::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A role assignment of the service's own identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnRight {
    pub scope: Scope,
    /// Condition text, version 2.0; without one everything in `actions` is allowed.
    #[serde(default)]
    pub condition: Option<String>,
    /// The actions of the role; `*` stands for any characters.
    pub actions: Vec<String>,
}

/// The same, its condition understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Right {
    scope: Scope,
    condition: Option<Condition>,
    actions: Vec<String>,
}

impl TryFrom<OwnRight> for Right {
    type Error = ConditionError;

    fn try_from(right: OwnRight) -> Result<Self, ConditionError> {
        let OwnRight { scope, condition, actions } = right;
        let condition = condition.map(|text| Condition::parse(&text)).transpose()?;
        Ok(Self { scope, condition, actions })
    }
}

impl From<Right> for OwnRight {
    fn from(right: Right) -> Self {
        let Right { scope, condition, actions } = right;
        Self { scope, condition: condition.map(String::from), actions }
    }
}

/// 403 where the identity may not do this.
pub fn refuse_forbidden(state: &State, request: &Request) -> Result<(), AzureError> {
    let Some(rights) = state.own_rights.as_ref() else { return Ok(()) };
    let Some(access) = access(state, request) else { return Ok(()) };
    let has_action = |right: &&Right| {
        let matches = |pattern: &String| action_matches(pattern, &access.asked.action);
        right.scope.covers(&request.scope) && right.actions.iter().any(matches)
    };
    let near: Vec<&Right> = rights.iter().filter(has_action).collect();
    let allows =
        |right: &Right| right.condition.as_ref().is_none_or(|c| !access.is_known || c.allows(&access.asked));
    if near.iter().any(|right| allows(right)) {
        return Ok(());
    }
    let over = request.name().map_or_else(
        || request.scope.to_string(),
        |name| format!("{}/providers/Microsoft.Authorization/roleAssignments/{name}", request.scope),
    );
    Err(AzureError::not_authorized(CALLER, &access.asked.action, &over, !near.is_empty()))
}

struct Asked {
    asked: Access,
    /// Whether there is anything that a condition could look at.
    is_known: bool,
}

/// What a call is to a condition; `None` for what no right is needed for.
fn access(state: &State, request: &Request) -> Option<Asked> {
    let known = |asked| Some(Asked { asked, is_known: true });
    match &request.operation {
        Operation::PutAssignment { body, .. } => known(write(body)),
        Operation::DeleteAssignment { name } => {
            let there = state.assignments.get(name).filter(|a| a.scope == request.scope);
            // Nobody wrote down what Azure says where there is nothing to delete: taken for 204, as without a condition.
            let asked = there.map_or_else(
                || Access::delete(None, None, None),
                |a| Access::delete(Some(a.role), Some(a.principal_id), Some(a.principal_type.name())),
            );
            Some(Asked { asked, is_known: there.is_some() })
        }
        Operation::GetAssignment { .. } | Operation::ListAssignments { .. } => {
            known(Access::to("Microsoft.Authorization/roleAssignments/read"))
        }
        Operation::GetDefinition { .. } | Operation::ListDefinitions { .. } => {
            known(Access::to("Microsoft.Authorization/roleDefinitions/read"))
        }
        Operation::Vault(_) | Operation::Identity(_) | Operation::Graph(_) => None,
    }
}

/// The attributes that stand in the body of a PUT. What it leaves out is not there, the principal's type included.
fn write(body: &[u8]) -> Access {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.pointer(&format!("/properties/{name}")).and_then(Value::as_str);
    let role = text("roleDefinitionId").and_then(role_definitions::parse_id);
    let principal = text("principalId").and_then(|id| Uuid::try_parse(id).ok());
    Access::write(role, principal, text("principalType"))
}
