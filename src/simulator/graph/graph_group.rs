//! Groups and service principals as Graph shows them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A group of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GraphGroup {
    pub id: Uuid,
    pub display_name: String,
    /// Direct members: people, service principals and groups. One that Graph does not know is not shown.
    #[serde(default)]
    pub members: Vec<Uuid>,
}

/// An application or a managed identity of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GraphServicePrincipal {
    pub id: Uuid,
    pub display_name: String,
    /// The people, groups and service principals that are assigned to its application. One that Graph does not know is
    /// not shown.
    #[serde(default)]
    pub assigned: Vec<Uuid>,
}
