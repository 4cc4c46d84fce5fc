//! The tree of a filter, and the text it prints as.

use crate::scim::attr_path::AttrPath;
use serde_json::Value;
use std::fmt;
use time::OffsetDateTime;

/// A filter whose names and types are those of the attribute table. `Display` prints what parses to the same filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pub(super) expr: FilterExpr,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::scim) enum FilterExpr {
    /// At least two parts, none of them an `Or`.
    Or(Vec<FilterExpr>),
    /// At least two parts, none of them an `And`.
    And(Vec<FilterExpr>),
    Not(Box<FilterExpr>),
    Present(AttrPath),
    Compare(AttrPath, CompareOp, FilterLiteral),
    /// One element of a complex attribute matches the inner filter, whose names are sub-attributes.
    Has(AttrPath, Box<FilterExpr>),
    /// A term of a search over all types that says the same of every resource of this type. Printed as the term: without the
    /// URN that may have named the other type.
    Constant {
        holds: bool,
        term: Box<FilterExpr>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scim) enum CompareOp {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::scim) enum FilterLiteral {
    Null,
    Boolean(bool),
    Instant {
        written: String,
        at: OffsetDateTime,
    },
    Text {
        written: String,
        /// What is compared; none for a literal that equals nothing.
        key: Option<String>,
    },
}

impl FilterExpr {
    /// The disjunction of at least one part, flattened.
    pub(super) fn or(parts: Vec<FilterExpr>) -> FilterExpr {
        let flat = parts.into_iter().flat_map(|part| match part {
            FilterExpr::Or(inner) => inner,
            other => vec![other],
        });
        Self::unless_single(flat.collect(), FilterExpr::Or)
    }

    /// The conjunction of at least one part, flattened.
    pub(super) fn and(parts: Vec<FilterExpr>) -> FilterExpr {
        let flat = parts.into_iter().flat_map(|part| match part {
            FilterExpr::And(inner) => inner,
            other => vec![other],
        });
        Self::unless_single(flat.collect(), FilterExpr::And)
    }

    fn unless_single(mut parts: Vec<FilterExpr>, join: impl Fn(Vec<FilterExpr>) -> FilterExpr) -> FilterExpr {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                join(parts)
            }
            None => join(parts),
        }
    }

    pub(super) fn collect_attributes(&self, found: &mut Vec<AttrPath>) {
        match self {
            FilterExpr::Or(parts) | FilterExpr::And(parts) => {
                parts.iter().for_each(|part| part.collect_attributes(found))
            }
            FilterExpr::Not(inner) | FilterExpr::Constant { term: inner, .. } => {
                inner.collect_attributes(found)
            }
            FilterExpr::Present(path) | FilterExpr::Compare(path, ..) | FilterExpr::Has(path, _) => {
                found.push(path.whole())
            }
        }
    }

    pub(super) fn reads(&self, attribute: &str) -> bool {
        match self {
            FilterExpr::Or(parts) | FilterExpr::And(parts) => parts.iter().any(|part| part.reads(attribute)),
            FilterExpr::Not(inner) => inner.reads(attribute),
            FilterExpr::Constant { .. } => false,
            FilterExpr::Present(path) | FilterExpr::Compare(path, ..) | FilterExpr::Has(path, _) => {
                path.attribute.name.eq_ignore_ascii_case(attribute)
            }
        }
    }

    pub(super) fn equality(&self) -> Option<(&'static str, Value)> {
        match self {
            FilterExpr::Compare(path, CompareOp::Eq, FilterLiteral::Boolean(value)) => {
                Some((path.attribute.name, Value::from(*value)))
            }
            FilterExpr::Compare(path, CompareOp::Eq, FilterLiteral::Text { written, key: Some(_) }) => {
                Some((path.attribute.name, Value::from(written.as_str())))
            }
            _ => None,
        }
    }
}

impl CompareOp {
    const ALL: [(CompareOp, &'static str); 9] = [
        (CompareOp::Eq, "eq"),
        (CompareOp::Ne, "ne"),
        (CompareOp::Co, "co"),
        (CompareOp::Sw, "sw"),
        (CompareOp::Ew, "ew"),
        (CompareOp::Gt, "gt"),
        (CompareOp::Ge, "ge"),
        (CompareOp::Lt, "lt"),
        (CompareOp::Le, "le"),
    ];

    pub(super) fn parse(word: &str) -> Option<CompareOp> {
        Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(word)).map(|(op, _)| op)
    }

    pub(super) const fn is_equality(self) -> bool {
        matches!(self, CompareOp::Eq | CompareOp::Ne)
    }

    /// Compares a part of the text.
    pub(super) const fn is_part(self) -> bool {
        matches!(self, CompareOp::Co | CompareOp::Sw | CompareOp::Ew)
    }

    pub(super) const fn is_order(self) -> bool {
        matches!(self, CompareOp::Gt | CompareOp::Ge | CompareOp::Lt | CompareOp::Le)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl fmt::Display for FilterExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterExpr::Or(parts) => joined(f, parts, " or "),
            FilterExpr::And(parts) => joined(f, parts, " and "),
            FilterExpr::Not(inner) => write!(f, "not ({inner})"),
            FilterExpr::Present(path) => write!(f, "{path} pr"),
            FilterExpr::Compare(path, op, value) => write!(f, "{path} {op} {value}"),
            FilterExpr::Has(path, inner) => write!(f, "{path}[{inner}]"),
            FilterExpr::Constant { term, .. } => term.fmt(f),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[FilterExpr], word: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        match part {
            FilterExpr::Or(_) => write!(f, "({part})")?,
            _ => write!(f, "{part}")?,
        }
    }
    Ok(())
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.into_iter().find(|(op, _)| op == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl fmt::Display for FilterLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterLiteral::Null => f.write_str("null"),
            FilterLiteral::Boolean(value) => value.fmt(f),
            FilterLiteral::Instant { written, .. } | FilterLiteral::Text { written, .. } => {
                Value::from(written.as_str()).fmt(f)
            }
        }
    }
}

#[cfg(test)]
mod tests;
