//! The objects of the directory as ARM checks them when an assignment is made.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// What kind of object a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrincipalType {
    User,
    Group,
    /// Facts: F-009.
    ServicePrincipal,
    ForeignGroup,
}

impl PrincipalType {
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::ServicePrincipal => "ServicePrincipal",
            Self::ForeignGroup => "ForeignGroup",
        }
    }
}

/// An object of the directory, and when it comes to exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryPrincipal {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub principal_type: PrincipalType,
    /// So many PUTs for it are still answered `PrincipalNotFound`.
    #[serde(default)]
    pub appears_after_calls: u32,
    /// Not there before this time of Azure's clock.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub appears_at: Option<OffsetDateTime>,
    /// Not there at all, whatever else is said.
    #[serde(default)]
    pub absent: bool,
}

impl DirectoryPrincipal {
    /// One that exists.
    pub const fn new(id: Uuid, principal_type: PrincipalType) -> Self {
        Self { id, principal_type, appears_after_calls: 0, appears_at: None, absent: false }
    }
}
