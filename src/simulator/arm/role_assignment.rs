//! A role assignment as Azure holds and shows it.

use super::directory_principal::PrincipalType;
use super::scope::Scope;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;
use uuid::Uuid;

const ARM_TIME: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");

/// A role assignment. Scope and role definition id keep the spelling they were made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    pub name: Uuid,
    /// Orders listings; never given twice.
    pub sequence: u64,
    pub scope: Scope,
    pub role_definition_id: String,
    /// The GUID at the end of `role_definition_id`.
    pub role: Uuid,
    pub principal_id: Uuid,
    pub principal_type: PrincipalType,
    pub description: Option<String>,
    pub condition: Option<String>,
    pub condition_version: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_on: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_on: OffsetDateTime,
    pub created_by: Uuid,
    pub updated_by: Uuid,
}

impl RoleAssignment {
    /// Whether it gives the same role to the same principal at the same scope.
    pub fn is_triple(&self, scope: &Scope, role: Uuid, principal: Uuid) -> bool {
        self.scope == *scope && self.role == role && self.principal_id == principal
    }

    /// As ARM shows it.
    pub fn body(&self) -> Value {
        let path = "providers/Microsoft.Authorization/roleAssignments";
        let id = format!("{}/{path}/{}", self.scope.to_string().trim_end_matches('/'), self.name);
        json!({
            "id": id,
            "name": self.name,
            "type": "Microsoft.Authorization/roleAssignments",
            "properties": self.properties(),
        })
    }

    fn properties(&self) -> Map<String, Value> {
        let time = |at: OffsetDateTime| at.format(ARM_TIME).unwrap_or_default();
        let fields = [
            ("scope", json!(self.scope)),
            ("roleDefinitionId", json!(self.role_definition_id)),
            ("principalId", json!(self.principal_id)),
            ("principalType", json!(self.principal_type)),
            ("description", json!(self.description)),
            ("condition", json!(self.condition)),
            ("conditionVersion", json!(self.condition_version)),
            ("createdOn", json!(time(self.created_on))),
            ("updatedOn", json!(time(self.updated_on))),
            ("createdBy", json!(self.created_by)),
            ("updatedBy", json!(self.updated_by)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
