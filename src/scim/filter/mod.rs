//! Filters (RFC 7644 section 3.4.2.2): a tree, its text, what it matches, and which indexes can answer it.

mod eval;
mod lex;
mod lookup;
mod members;
mod parse;
mod parse_error;
mod tree;

pub use lookup::IndexLookup;
pub(super) use parse::{ValuePath, parse_value_path};
pub use tree::Filter;

use crate::scim::attr_path::AttrPath;
use crate::scim::error::Error;
use crate::scim::schema::ResourceType;
use eval::TextMatching;
use parse_error::ParseError;
use serde_json::Value;
use std::collections::BTreeMap;
use tree::FilterExpr;

impl Filter {
    /// Reads a filter over resources of that kind; every mistake is 400 `invalidFilter`.
    pub fn parse(kind: ResourceType, text: &str) -> Result<Self, Error> {
        parse::parse_filter(kind, text).map_err(invalid)
    }

    /// Reads a filter over resources of all kinds, as it is to be read for those of that kind: an attribute that only the other
    /// kind has is unassigned (RFC 7644 section 3.4.2.1). One that neither has is 400 `invalidFilter`.
    pub fn parse_among_all(kind: ResourceType, text: &str) -> Result<Self, Error> {
        parse::parse_filter_among_all(kind, text).map_err(invalid)
    }

    /// Does this resource, as it is rendered, match?
    pub fn matches(&self, rendered: &Value) -> bool {
        eval::matches(&self.expr, rendered, TextMatching::ByKey)
    }

    /// Does it match, and once more when texts are compared as they were written, but for case where the attribute is not
    /// exact? Asked where a match gives access: what only looks the same must not give it.
    pub fn matches_as_written(&self, rendered: &Value) -> bool {
        self.matches(rendered) && eval::matches(&self.expr, rendered, TextMatching::AsWritten)
    }

    /// The attributes that its terms read, without sub-attributes.
    pub fn attributes(&self) -> Vec<AttrPath> {
        let mut found = Vec::new();
        self.expr.collect_attributes(&mut found);
        found
    }

    /// What it reads of a rendered resource, by attribute. `None`: the resource does not have it.
    pub fn read_values(&self, rendered: &Value) -> BTreeMap<String, Option<Value>> {
        let read = |path: AttrPath| {
            let value = match path.values(rendered).as_slice() {
                [] => None,
                [one] => Some((*one).clone()),
                several => Some(several.iter().map(|value| (*value).clone()).collect()),
            };
            (path.to_string(), value)
        };
        self.attributes().into_iter().map(read).collect()
    }

    /// Does any term read that top-level attribute?
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

fn invalid(error: ParseError) -> Error {
    Error::invalid_filter(format!("the filter cannot be understood: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::error::ScimType;
    use serde_json::json;

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

    /// What users and groups match, in this order.
    #[track_caller]
    fn among_all(text: &str, user: bool, group: bool) {
        let ana = json!({
            "id": "1", "userName": "ana", "displayName": "Same", "meta": {"resourceType": "User"},
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "D"},
        });
        let ops = json!({
            "id": "2", "displayName": "Same", "members": [{"value": "1"}], "meta": {"resourceType": "Group"},
        });
        for (kind, resource, expected) in [(ResourceType::User, ana, user), (ResourceType::Group, ops, group)]
        {
            let filter = Filter::parse_among_all(kind, text).unwrap();
            assert_eq!(filter.matches(&resource), expected, "{text} of {}", kind.name());
        }
    }

    #[test]
    fn among_all_types_what_only_one_has_is_unassigned_in_the_other() {
        among_all("userName eq \"ANA\"", true, false);
        among_all("members.value eq \"1\"", false, true);
        among_all("members[value eq \"1\"]", false, true);
        among_all("not (userName pr)", false, true);
        among_all("userName eq null", false, true);
        among_all("userName ne \"ben\"", true, true);
        among_all("displayName eq \"same\"", true, true);
        among_all("department eq \"d\" or members pr", true, true);
        among_all("userName pr and members pr", false, false);
        among_all("meta.resourceType eq \"Group\"", false, true);
        among_all("(meta.resourceType eq \"User\") or (meta.resourceType eq \"Group\")", true, true);
        // The displayName of the other type is not the one of this.
        among_all("urn:ietf:params:scim:schemas:core:2.0:User:displayName eq \"same\"", true, false);
        among_all("urn:ietf:params:scim:schemas:core:2.0:Group:displayName pr", false, true);
        for wrong in ["shoeSize eq \"1\"", "userName eq", "password pr", "", "active eq \"maybe\""] {
            for kind in [ResourceType::User, ResourceType::Group] {
                let error = Filter::parse_among_all(kind, wrong).unwrap_err();
                assert_eq!(error.scim_type, Some(ScimType::InvalidFilter), "{wrong}");
            }
        }
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
