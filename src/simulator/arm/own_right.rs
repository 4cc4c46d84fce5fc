//! The rights of the service's own identity, as text and parsed.

use super::condition::{Condition, ConditionError};
use super::scope::Scope;
use serde::{Deserialize, Serialize};

/// A role assignment of the service's own identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnRight {
    pub scope: Scope,
    /// Condition text, version 2.0; without one everything in `actions` is allowed.
    #[serde(default)]
    pub condition: Option<String>,
    /// The actions of the role; `*` matches any characters.
    pub actions: Vec<String>,
}

/// The same right with its condition parsed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParsedRight {
    pub(super) scope: Scope,
    pub(super) condition: Option<Condition>,
    pub(super) actions: Vec<String>,
}

impl TryFrom<OwnRight> for ParsedRight {
    type Error = ConditionError;

    fn try_from(right: OwnRight) -> Result<Self, ConditionError> {
        let OwnRight { scope, condition, actions } = right;
        let condition = condition.map(|text| Condition::parse(&text)).transpose()?;
        Ok(Self { scope, condition, actions })
    }
}

impl From<ParsedRight> for OwnRight {
    fn from(right: ParsedRight) -> Self {
        let ParsedRight { scope, condition, actions } = right;
        Self { scope, condition: condition.map(String::from), actions }
    }
}
