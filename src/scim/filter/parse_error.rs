//! Every mistake that a filter or a path can have.

use crate::scim::filter::tree::CompareOp;

/// The longest filter or path that is read, in bytes.
pub(super) const LENGTH_MAX: usize = 8 * 1024;
/// How deep brackets and `not` may nest.
pub(super) const DEPTH_MAX: usize = 32;
/// How many terms and connectives a filter may have.
pub(super) const NODES_MAX: usize = 256;

/// What is wrong, and at which character (counted from 1).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind} at character {at}")]
pub(in crate::scim) struct ParseError {
    pub at: usize,
    pub kind: ParseErrorKind,
}

/// One variant for each mistake.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(in crate::scim) enum ParseErrorKind {
    #[error("longer than {max} bytes", max = LENGTH_MAX)]
    TooLong,
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("more than {NODES_MAX} terms")]
    TooManyTerms,
    #[error("the quoted text is never closed; add a \"")]
    OpenText,
    #[error("the quoted text is not a JSON string; escape quotes and backslashes with a backslash")]
    BadText,
    #[error("{found} where the name of an attribute belongs")]
    NotAName { found: String },
    #[error("there is no attribute {name:?}")]
    UnknownAttribute { name: String },
    #[error("{name} cannot be filtered by")]
    NotFilterable { name: String },
    #[error("{name} has no parts to filter by")]
    NoParts { name: String },
    #[error("{name} has no value to compare; name one of its sub-attributes")]
    NoValue { name: String },
    #[error("{found} where an operator belongs (eq, ne, co, sw, ew, gt, ge, lt, le, pr)")]
    NotAnOperator { found: String },
    #[error("{found} where a value belongs (a quoted text, true, false or null)")]
    NotALiteral { found: String },
    #[error("{name} is a {wanted} and cannot be compared with {found}")]
    WrongType { name: String, wanted: &'static str, found: String },
    #[error("{name} cannot be compared with {op}")]
    WrongOperator { name: String, op: CompareOp },
    #[error("{found} where a closing {wanted} belongs")]
    NotClosed { wanted: char, found: String },
    #[error("{found} after the end")]
    Trailing { found: String },
}
