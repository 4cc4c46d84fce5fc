//! Filters (RFC 7644 section 3.4.2.2): a tree, its text, what it matches, and which indexes can answer it.

mod eval;
mod lex;
mod lookup;
mod members;
pub(super) mod parse;

use crate::scim::attr_path::AttrPath;
use crate::scim::error::{Error, ScimType};
use crate::scim::schema::ResourceType;
use eval::MemberOf;
use serde_json::Value;
use std::fmt;
use time::OffsetDateTime;

pub use lex::LENGTH_MAX;
pub use lookup::IndexLookup;
pub use parse::{DEPTH_MAX, NODES_MAX};

/// A filter whose names and types are those of the attribute table. `Display` prints what parses to the same filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    expr: FilterExpr,
}

#[derive(Debug, Clone, PartialEq)]
enum FilterExpr {
    /// At least two parts, none of them an `Or`.
    Or(Vec<FilterExpr>),
    /// At least two parts, none of them an `And`.
    And(Vec<FilterExpr>),
    Not(Box<FilterExpr>),
    Present(AttrPath),
    Compare(AttrPath, CompareOp, FilterLiteral),
    /// One element of a complex attribute matches the inner filter, whose names are sub-attributes.
    Has(AttrPath, Box<FilterExpr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompareOp {
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
enum FilterLiteral {
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

impl Filter {
    /// Reads a filter over resources of that kind; every mistake is 400 `invalidFilter`.
    pub fn parse(kind: ResourceType, text: &str) -> Result<Self, Error> {
        parse::filter(kind, text).map_err(|mistake| {
            Error::bad(ScimType::InvalidFilter, format!("the filter cannot be understood: {mistake}"))
        })
    }

    /// Does this resource, as it is rendered, match?
    pub fn matches(&self, rendered: &Value) -> bool {
        eval::matches(&self.expr, rendered, MemberOf::Key)
    }

    /// Does it match, and once more when texts are compared as they were written, but for case where the attribute is not
    /// exact? Asked where a match gives access: what only looks the same must not give it.
    pub fn matches_as_written(&self, rendered: &Value) -> bool {
        self.matches(rendered) && eval::matches(&self.expr, rendered, MemberOf::Letter)
    }

    /// The attributes that its terms look at, without sub-attributes.
    pub fn attributes(&self) -> Vec<AttrPath> {
        let mut found = Vec::new();
        self.expr.collect(&mut found);
        found
    }

    /// Does any term look at that top-level attribute?
    pub fn reads(&self, attribute: &str) -> bool {
        self.expr.reads(attribute)
    }

    /// Indexes whose union is certain to contain every match. None: only a scan can answer. Empty: nothing can match.
    pub fn lookup(&self) -> Option<Vec<IndexLookup>> {
        lookup::lookup(&self.expr)
    }

    /// The values of `members` that decide, where no other member can change whether a group matches.
    pub fn deciding_members(&self) -> Option<Vec<String>> {
        members::deciding(&self.expr)
    }

    /// Where the filter is nothing but required equalities: the sub-attributes and the values they must have.
    pub(super) fn equalities(&self) -> Option<Vec<(&'static str, Value)>> {
        match &self.expr {
            FilterExpr::And(parts) => parts.iter().map(FilterExpr::equality).collect(),
            single => single.equality().map(|pair| vec![pair]),
        }
    }

    /// Where the filter says no more than that `value` is one of these texts.
    pub(super) fn listed_values(&self) -> Option<Vec<String>> {
        let parts = match &self.expr {
            FilterExpr::Or(parts) => parts.as_slice(),
            single => std::slice::from_ref(single),
        };
        let values = parts.iter().map(|part| match part.equality() {
            Some(("value", Value::String(text))) => Some(text),
            _ => None,
        });
        values.collect()
    }
}

impl FilterExpr {
    /// The disjunction of at least one part, flattened.
    fn or(parts: Vec<FilterExpr>) -> FilterExpr {
        let flat = parts.into_iter().flat_map(|part| match part {
            FilterExpr::Or(inner) => inner,
            other => vec![other],
        });
        Self::unless_single(flat.collect(), FilterExpr::Or)
    }

    /// The conjunction of at least one part, flattened.
    fn and(parts: Vec<FilterExpr>) -> FilterExpr {
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

    fn collect(&self, found: &mut Vec<AttrPath>) {
        match self {
            FilterExpr::Or(parts) | FilterExpr::And(parts) => {
                parts.iter().for_each(|part| part.collect(found))
            }
            FilterExpr::Not(inner) => inner.collect(found),
            FilterExpr::Present(path) | FilterExpr::Compare(path, ..) | FilterExpr::Has(path, _) => {
                found.push(path.whole())
            }
        }
    }

    fn reads(&self, attribute: &str) -> bool {
        match self {
            FilterExpr::Or(parts) | FilterExpr::And(parts) => parts.iter().any(|part| part.reads(attribute)),
            FilterExpr::Not(inner) => inner.reads(attribute),
            FilterExpr::Present(path) | FilterExpr::Compare(path, ..) | FilterExpr::Has(path, _) => {
                path.attribute.name.eq_ignore_ascii_case(attribute)
            }
        }
    }

    fn equality(&self) -> Option<(&'static str, Value)> {
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

    fn parse(word: &str) -> Option<CompareOp> {
        Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(word)).map(|(op, _)| op)
    }

    const fn is_equality(self) -> bool {
        matches!(self, CompareOp::Eq | CompareOp::Ne)
    }

    /// Looks at a part of the text.
    const fn is_part(self) -> bool {
        matches!(self, CompareOp::Co | CompareOp::Sw | CompareOp::Ew)
    }

    const fn is_order(self) -> bool {
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
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, printed: &str) {
        let filter = Filter::parse(ResourceType::User, text).unwrap();
        assert_eq!(filter.to_string(), printed);
        assert_eq!(Filter::parse(ResourceType::User, printed).unwrap(), filter, "printed and parsed again");
    }

    #[test]
    fn what_is_printed_parses_to_the_same_filter() {
        check("USERNAME Eq \"Ana\"", "userName eq \"Ana\"");
        check("userName eq \"o'b\\\"r\\\\i/e\"", "userName eq \"o'b\\\"r\\\\i/e\"");
        check(
            "title pr and active eq TRUE or not(title eq null)",
            "title pr and active eq true or not (title eq null)",
        );
        check(
            "(title pr or nickName pr) and active ne false",
            "(title pr or nickName pr) and active ne false",
        );
        check("((title pr))", "title pr");
        check("(title pr and (nickName pr and locale pr))", "title pr and nickName pr and locale pr");
        check("emails[type eq \"work\" and value co \"@x\"]", "emails[type eq \"work\" and value co \"@x\"]");
        check("emails[type eq \"work\"].value eq \"a\"", "emails[type eq \"work\" and value eq \"a\"]");
        check(
            "emails[type eq \"a\" or type eq \"b\"].value pr",
            "emails[(type eq \"a\" or type eq \"b\") and value pr]",
        );
        check("active eq \"False\"", "active eq false");
        check("meta.created ge \"2026-01-01T00:00:00Z\"", "meta.created ge \"2026-01-01T00:00:00Z\"");
        check(
            "manager eq \"x\" and urn:ietf:params:scim:schemas:core:2.0:User:name.familyName sw \"a\"",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager eq \"x\" and name.familyName sw \"a\"",
        );
    }

    #[test]
    fn a_filter_knows_which_attributes_it_reads() {
        let filter =
            Filter::parse(ResourceType::User, "title pr and not (groups.value eq \"g\" or active eq true)")
                .unwrap();
        assert!(filter.reads("groups") && filter.reads("Active") && !filter.reads("grants"));
    }

    #[test]
    fn a_mistake_is_an_invalid_filter() {
        let error = Filter::parse(ResourceType::Group, "userName eq \"a\"").unwrap_err();
        assert_eq!((error.status, error.scim_type), (400, Some(ScimType::InvalidFilter)));
        assert_eq!(
            error.detail,
            "the filter cannot be understood: there is no attribute \"userName\" at character 1"
        );
    }
}
