//! A person as Graph shows them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A person of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GraphUser {
    pub id: Uuid,
    pub display_name: String,
    pub user_principal_name: String,
    #[serde(default = "enabled")]
    pub account_enabled: bool,
    #[serde(default)]
    pub user_type: UserType,
}

const fn enabled() -> bool {
    true
}

/// Whether the person is a member of the directory or an invited guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UserType {
    #[default]
    Member,
    Guest,
}
