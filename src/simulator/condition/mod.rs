//! Conditions of role assignments (version 2.0 of Azure's condition language), as far as conditions on
//! `Microsoft.Authorization/roleAssignments` use it: read with [`Condition::parse`], asked with [`Condition::allows`].
//!
//! ```text
//! condition  = term *( ("AND" / "&&") term ) / term *( ("OR" / "||") term )
//! term       = ("!" / "NOT") term / "(" condition ")" / action / exists / comparison
//! action     = ("ActionMatches" / "SubOperationMatches") "{" 'pattern' "}"
//! exists     = "Exists" attribute
//! comparison = operand [ cross ":" ] operator operand
//! operand    = attribute / literal / "{" literal *( "," literal ) "}"
//! attribute  = ("@Request" / "@Resource" / "@Principal" / "@Environment") "[" name "]"
//! ```
//!
//! Azure says that `a AND b OR c` is ambiguous and must have parentheses; here it is refused. What is compared with an
//! attribute that is not there is false, whatever the operator, negated ones included. Left out: comparisons of dates and
//! of booleans, and the attributes that only storage has. What is not known is refused with its place, never guessed at.

mod eval;
mod lex;
mod operator;
mod parse;

pub use eval::action_matches;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use uuid::Uuid;

/// Azure's limit on the text of a condition.
pub const CONDITION_BYTES_MAX: usize = 8192;

const WRITE: &str = "Microsoft.Authorization/roleAssignments/write";
const DELETE: &str = "Microsoft.Authorization/roleAssignments/delete";

/// A condition that was understood. It keeps its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    text: String,
    root: parse::Expression,
}

impl Condition {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.len() > CONDITION_BYTES_MAX {
            return Err(ConditionError { position: CONDITION_BYTES_MAX, problem: Problem::TooLong });
        }
        Ok(Self { text: text.to_owned(), root: parse::parse(lex::tokens(text)?, text.len())? })
    }

    /// Whether it is true for this access.
    pub fn allows(&self, access: &Access) -> bool {
        eval::holds(&self.root, access)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.text
    }
}

impl TryFrom<String> for Condition {
    type Error = ConditionError;

    fn try_from(text: String) -> Result<Self, ConditionError> {
        Self::parse(&text)
    }
}

/// Why a text is not a condition, and where: bytes from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {position} of the condition")]
pub struct ConditionError {
    pub position: usize,
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("more than {CONDITION_BYTES_MAX} bytes")]
    TooLong,
    #[error("parentheses and negations are nested too deeply")]
    TooDeep,
    #[error("a string or a bracket is not closed")]
    NotClosed,
    #[error("unknown character {0:?}")]
    Character(char),
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("AND beside OR needs parentheses")]
    Ambiguous,
    #[error("unknown word {0:?}")]
    Word(String),
    #[error("{operator} does not compare {value:?}")]
    Literal { operator: &'static str, value: String },
    #[error("a set needs a cross product operator such as ForAnyOfAnyValues")]
    SetWithoutCross,
}

/// Where an attribute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Request,
    Resource,
    Principal,
    Environment,
}

/// What somebody is about to do: an action, and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    pub action: String,
    attributes: BTreeMap<(Source, String), Vec<String>>,
}

impl Access {
    /// An action of which nothing else is known.
    pub fn to(action: &str) -> Self {
        Self { action: action.to_owned(), attributes: BTreeMap::new() }
    }

    /// Making or changing a role assignment. Azure shows the condition what stands in the request, and nothing else.
    pub fn write(role: Option<Uuid>, principal: Option<Uuid>, principal_type: Option<&str>) -> Self {
        Self::to(WRITE).assignment(Source::Request, role, principal, principal_type)
    }

    /// Deleting a role assignment. Azure shows the condition what is there, and nothing else.
    pub fn delete(role: Option<Uuid>, principal: Option<Uuid>, principal_type: Option<&str>) -> Self {
        Self::to(DELETE).assignment(Source::Resource, role, principal, principal_type)
    }

    /// The same, with an attribute more. An attribute without values is not there.
    pub fn with(mut self, source: Source, name: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.attributes.insert((source, name.to_owned()), values);
        self
    }

    fn assignment(self, source: Source, role: Option<Uuid>, id: Option<Uuid>, kind: Option<&str>) -> Self {
        let (role, id) = (role.map(|role| role.to_string()), id.map(|id| id.to_string()));
        let known =
            [("RoleDefinitionId", role.as_deref()), ("PrincipalId", id.as_deref()), ("PrincipalType", kind)];
        known.into_iter().fold(self, |access, (name, value)| match value {
            Some(value) => {
                access.with(source, &format!("Microsoft.Authorization/roleAssignments:{name}"), &[value])
            }
            None => access,
        })
    }

    fn values(&self, source: Source, name: &str) -> &[String] {
        self.attributes.get(&(source, name.to_owned())).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
