//! What a condition is asked about.

use std::collections::BTreeMap;
use uuid::Uuid;

pub(super) const WRITE: &str = "Microsoft.Authorization/roleAssignments/write";
pub(super) const DELETE: &str = "Microsoft.Authorization/roleAssignments/delete";

/// Where an attribute comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttributeSource {
    Request,
    Resource,
    Principal,
    Environment,
}

/// An action that is about to be executed, and its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessCheck {
    pub action: String,
    attributes: BTreeMap<(AttributeSource, String), Vec<String>>,
}

impl AccessCheck {
    /// An action of which nothing else is known.
    pub fn to(action: &str) -> Self {
        Self { action: action.to_owned(), attributes: BTreeMap::new() }
    }

    /// Making or changing a role assignment. Azure evaluates the condition on the request only.
    pub fn write(role: Option<Uuid>, principal: Option<Uuid>, principal_type: Option<&str>) -> Self {
        Self::to(WRITE).assignment(AttributeSource::Request, role, principal, principal_type)
    }

    /// Deleting a role assignment. Azure evaluates the condition on the existing assignment only.
    pub fn delete(role: Option<Uuid>, principal: Option<Uuid>, principal_type: Option<&str>) -> Self {
        Self::to(DELETE).assignment(AttributeSource::Resource, role, principal, principal_type)
    }

    /// Adds an attribute. An attribute without values does not exist.
    pub fn with(mut self, source: AttributeSource, name: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.attributes.insert((source, name.to_owned()), values);
        self
    }

    fn assignment(
        self,
        source: AttributeSource,
        role: Option<Uuid>,
        id: Option<Uuid>,
        kind: Option<&str>,
    ) -> Self {
        let role = role.map(|role| role.to_string());
        let id = id.map(|id| id.to_string());
        let known =
            [("RoleDefinitionId", role.as_deref()), ("PrincipalId", id.as_deref()), ("PrincipalType", kind)];
        known.into_iter().fold(self, |access, (name, value)| match value {
            Some(value) => {
                access.with(source, &format!("Microsoft.Authorization/roleAssignments:{name}"), &[value])
            }
            None => access,
        })
    }

    pub(super) fn values(&self, source: AttributeSource, name: &str) -> &[String] {
        self.attributes.get(&(source, name.to_owned())).map_or(&[], Vec::as_slice)
    }
}
