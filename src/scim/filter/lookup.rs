//! Which indexes can answer a filter, so that a lookup never reads every row.

use crate::scim::attr_path::AttrPath;
use crate::scim::filter::tree::{CompareOp, FilterExpr, FilterLiteral};

/// One index and the text to look up, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexLookup {
    /// The resource of that id.
    Id(String),
    /// The user of that name.
    UserName(String),
    /// The group of that name.
    DisplayName(String),
    /// Resources with that external id.
    ExternalId(String),
    /// Users with that mail address.
    Email(String),
    /// Groups that contain this user or group.
    Member(String),
    /// Users who are in this group.
    GroupOf(String),
}

impl IndexLookup {
    fn of(attribute: &str, text: &str) -> Option<Self> {
        let make = match attribute {
            "id" => IndexLookup::Id,
            "userName" => IndexLookup::UserName,
            "externalId" => IndexLookup::ExternalId,
            "emails" => IndexLookup::Email,
            "members" => IndexLookup::Member,
            "groups" => IndexLookup::GroupOf,
            _ => return None,
        };
        Some(make(text.to_owned()))
    }

    /// How many rows an index gives, roughly: what is unique comes first.
    const fn cost(&self) -> usize {
        match self {
            IndexLookup::Id(_) | IndexLookup::UserName(_) | IndexLookup::DisplayName(_) => 1,
            IndexLookup::ExternalId(_) | IndexLookup::Email(_) => 2,
            IndexLookup::Member(_) => 10,
            IndexLookup::GroupOf(_) => 100,
        }
    }
}

pub(super) fn lookup(expr: &FilterExpr) -> Option<Vec<IndexLookup>> {
    let answer = search(expr, None)?;
    let mut unique = Vec::with_capacity(answer.len());
    for lookup in answer {
        if !unique.contains(&lookup) {
            unique.push(lookup);
        }
    }
    Some(unique)
}

/// `within`: the attribute whose elements the expression is about, inside brackets.
fn search(expr: &FilterExpr, within: Option<&AttrPath>) -> Option<Vec<IndexLookup>> {
    match expr {
        FilterExpr::And(parts) => {
            parts.iter().filter_map(|part| search(part, within)).min_by_key(|found| total_cost(found))
        }
        FilterExpr::Or(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(|part| search(part, within)).collect();
            parts.map(|found| found.into_iter().flatten().collect())
        }
        FilterExpr::Has(path, inner) => search(inner, Some(path)),
        FilterExpr::Compare(path, op, FilterLiteral::Text { written, key }) => {
            compare(path, *op, written, key.is_some(), within)
        }
        FilterExpr::Constant { holds: false, .. } => Some(Vec::new()),
        FilterExpr::Not(_)
        | FilterExpr::Present(_)
        | FilterExpr::Compare(..)
        | FilterExpr::Constant { holds: true, .. } => None,
    }
}

fn total_cost(found: &[IndexLookup]) -> usize {
    found.iter().map(IndexLookup::cost).sum()
}

fn compare(
    path: &AttrPath,
    op: CompareOp,
    text: &str,
    can_match: bool,
    within: Option<&AttrPath>,
) -> Option<Vec<IndexLookup>> {
    if !can_match {
        return if op == CompareOp::Eq || op.is_part() { Some(Vec::new()) } else { None };
    }
    if op != CompareOp::Eq {
        return None;
    }
    let outer = within.unwrap_or(path);
    let part = if within.is_some() { Some(path.attribute) } else { path.sub };
    let is_value = part.is_none_or(|part| part.name == "value");
    if !is_value || outer.extension.is_some() {
        return None;
    }
    IndexLookup::of(outer.attribute.name, text).or_else(|| group_name(outer, text)).map(|found| vec![found])
}

/// `displayName` is unique, and so indexed, for groups only.
fn group_name(path: &AttrPath, text: &str) -> Option<IndexLookup> {
    let unique = path.attribute.uniqueness == crate::scim::schema::Uniqueness::Server;
    (unique && path.attribute.name == "displayName").then(|| IndexLookup::DisplayName(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::filter::Filter;
    use crate::scim::schema::ResourceType::{self, Group, User};

    #[track_caller]
    fn check(kind: ResourceType, text: &str, expected: Option<&[IndexLookup]>) {
        assert_eq!(Filter::parse(kind, text).unwrap().lookup().as_deref(), expected, "{text}");
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn equalities_of_indexed_attributes_are_looked_up() {
        check(User, "userName eq \"Ana\"", Some(&[IndexLookup::UserName(text("Ana"))]));
        check(User, "id eq \"1\"", Some(&[IndexLookup::Id(text("1"))]));
        check(User, "externalId eq \"x\"", Some(&[IndexLookup::ExternalId(text("x"))]));
        check(Group, "displayName eq \"Ops\"", Some(&[IndexLookup::DisplayName(text("Ops"))]));
        check(User, "displayName eq \"Ana\"", None);
        for filter in [
            "emails eq \"a@b\"",
            "emails.value eq \"a@b\"",
            "emails[value eq \"a@b\"]",
            "emails[type eq \"work\"].value eq \"a@b\"",
        ] {
            check(User, filter, Some(&[IndexLookup::Email(text("a@b"))]));
        }
        for filter in ["members eq \"u\"", "members.value eq \"u\"", "members[value eq \"u\"]"] {
            check(Group, filter, Some(&[IndexLookup::Member(text("u"))]));
        }
        check(User, "groups.value eq \"g\"", Some(&[IndexLookup::GroupOf(text("g"))]));
        check(User, "groups eq \"g\"", Some(&[IndexLookup::GroupOf(text("g"))]));
    }

    #[test]
    fn other_terms_need_a_scan() {
        for filter in [
            "userName co \"a\"",
            "userName ne \"a\"",
            "not (userName eq \"a\")",
            "emails.type eq \"work\"",
            "title pr",
        ] {
            check(User, filter, None);
        }
        check(User, "manager eq \"u\"", None);
        check(User, "groups.display eq \"u\"", None);
    }

    #[test]
    fn connectives_combine_lookups() {
        let id = || IndexLookup::Id(text("1"));
        check(Group, "members eq \"u\" and id eq \"1\"", Some(&[id()]));
        check(User, "title pr and id eq \"1\"", Some(&[id()]));
        check(
            User,
            "id eq \"1\" or userName eq \"a\" or id eq \"1\"",
            Some(&[id(), IndexLookup::UserName(text("a"))]),
        );
        check(User, "id eq \"1\" or title pr", None);
        check(
            User,
            "(id eq \"1\" or title pr) and userName eq \"a\"",
            Some(&[IndexLookup::UserName(text("a"))]),
        );
    }

    /// In a search over all types, what only the others have is no reason to read.
    #[test]
    fn what_a_type_does_not_have_reads_nothing_of_it() {
        #[track_caller]
        fn check_all(kind: ResourceType, text: &str, expected: Option<&[IndexLookup]>) {
            let filter = Filter::parse_among_all(kind, text).unwrap();
            assert_eq!(filter.lookup().as_deref(), expected, "{text}");
        }
        let ana = IndexLookup::UserName(text("ana"));
        check_all(User, "userName eq \"ana\"", Some(std::slice::from_ref(&ana)));
        check_all(Group, "userName eq \"ana\"", Some(&[]));
        check_all(Group, "members pr and userName co \"a\"", Some(&[]));
        check_all(Group, "userName ne \"ana\"", None);
        check_all(User, "meta.resourceType eq \"User\" and userName eq \"ana\"", Some(&[ana]));
        check_all(User, "meta.resourceType eq \"Group\"", Some(&[]));
        check_all(Group, "meta.resourceType eq \"Group\"", None);
    }

    #[test]
    fn what_can_match_nothing_reads_nothing() {
        check(User, "userName eq \"a\u{200B}\"", Some(&[]));
        check(User, "title co \"\"", Some(&[]));
        check(User, "id eq \"1\" and title eq \" \"", Some(&[]));
        check(User, "id eq \"1\" or title eq \" \"", Some(&[IndexLookup::Id(text("1"))]));
        check(User, "title ne \"\"", None);
    }
}
