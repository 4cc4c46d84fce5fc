//! Which members decide a filter, so that a membership check does not read a group of ten thousand.

use crate::scim::attr_path::AttrPath;
use crate::scim::filter::tree::{CompareOp, FilterExpr, FilterLiteral};

/// The values that members must have to matter to the filter: the other members of a group change nothing. None: all members
/// matter.
pub(super) fn deciding(expr: &FilterExpr) -> Option<Vec<String>> {
    match expr {
        FilterExpr::Or(parts) | FilterExpr::And(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(deciding).collect();
            parts.map(|values| values.into_iter().flatten().collect())
        }
        FilterExpr::Not(inner) => deciding(inner),
        FilterExpr::Has(path, inner) if is_members(path) => of_element(inner),
        FilterExpr::Compare(path, op, literal) if is_members(path) => {
            let is_value = path.sub.is_none_or(|sub| sub.name == "value");
            is_value.then(|| equal(*op, literal)).flatten()
        }
        FilterExpr::Present(path) if is_members(path) => None,
        FilterExpr::Has(..)
        | FilterExpr::Compare(..)
        | FilterExpr::Present(_)
        | FilterExpr::Constant { .. } => Some(Vec::new()),
    }
}

/// The same of a filter on one element.
fn of_element(expr: &FilterExpr) -> Option<Vec<String>> {
    match expr {
        FilterExpr::And(parts) => parts.iter().find_map(of_element),
        FilterExpr::Or(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(of_element).collect();
            parts.map(|values| values.into_iter().flatten().collect())
        }
        FilterExpr::Compare(path, op, literal) if path.attribute.name == "value" => equal(*op, literal),
        _ => None,
    }
}

fn equal(op: CompareOp, literal: &FilterLiteral) -> Option<Vec<String>> {
    match literal {
        FilterLiteral::Text { written, .. } if op == CompareOp::Eq => Some(vec![written.clone()]),
        _ => None,
    }
}

fn is_members(path: &AttrPath) -> bool {
    path.extension.is_none() && path.attribute.name == "members"
}

#[cfg(test)]
mod tests {
    use crate::scim::filter::Filter;
    use crate::scim::schema::ResourceType::Group;

    #[track_caller]
    fn check(text: &str, expected: Option<&[&str]>) {
        let found = Filter::parse(Group, text).unwrap().deciding_members();
        let expected =
            expected.map(|values| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn members_decide_whose_value_is_named() {
        check("displayName eq \"x\"", Some(&[]));
        check("members eq \"u\"", Some(&["u"]));
        check("id eq \"g\" and members.value eq \"u\"", Some(&["u"]));
        check("not (members.value eq \"u\") or members eq \"v\"", Some(&["u", "v"]));
        check("members[value eq \"u\" and type eq \"User\"]", Some(&["u"]));
        check("members[value eq \"u\" or value eq \"v\"]", Some(&["u", "v"]));
        for all in [
            "members pr",
            "members.value ne \"u\"",
            "members.type eq \"User\"",
            "members[value eq \"u\" or type eq \"User\"]",
            "members[not (value eq \"u\")]",
            "members eq \"u\" or members.value sw \"v\"",
        ] {
            check(all, None);
        }
    }
}
