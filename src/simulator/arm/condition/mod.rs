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

mod access_check;
mod condition_error;
mod eval;
mod lex;
mod operator;
mod parse;

pub use access_check::{AccessCheck, AttributeSource};
pub use condition_error::{CONDITION_BYTES_MAX, ConditionError, ConditionProblem};
pub use eval::action_matches;
use serde::{Deserialize, Serialize};
use std::fmt;

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
            return Err(ConditionError { position: CONDITION_BYTES_MAX, problem: ConditionProblem::TooLong });
        }
        Ok(Self { text: text.to_owned(), root: parse::parse(lex::tokens(text)?, text.len())? })
    }

    /// Whether it is true for this access.
    pub fn allows(&self, access: &AccessCheck) -> bool {
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

#[cfg(test)]
mod tests;
