//! Queries (RFC 7644 section 3.4.2): filter, order, page; and the list that answers them.

use crate::scim::attr_path::AttrPath;
use crate::scim::compare::{self, CaseMode};
use crate::scim::date_time;
use crate::scim::error::Error;
use crate::scim::filter::Filter;
use crate::scim::json_object::member;
use crate::scim::projection::Projection;
use crate::scim::quoted_text::quoted;
use crate::scim::schema::{AttributeType, ResourceType, Returned};
use crate::scim::urn;
use serde_json::{Value, json};
use std::cmp::Ordering;
use time::OffsetDateTime;

/// The most resources on a page.
pub const COUNT_MAX: usize = 1000;
/// How many resources are on a page of which the client did not say how many.
pub const COUNT_DEFAULT: usize = 100;

/// Characters of a text that an order compares.
const KEY_CHARS_MAX: usize = 256;

/// What a client asks a collection.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Which resources.
    pub filter: Option<Filter>,
    /// In which order.
    pub sort: Option<SortOrder>,
    /// The first of them, counted from 1.
    pub start_index: usize,
    /// At most how many.
    pub count: usize,
    /// Which attributes of them.
    pub projection: Projection,
}

impl ListQuery {
    /// Reads the decoded pairs of a query string. Unknown parameters are ignored (scenario entra-unknown-query-parameters).
    pub fn from_pairs(kind: ResourceType, pairs: &[(String, String)]) -> Result<Self, Error> {
        let given = |name: &str| {
            let pair = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            pair.map(|(_, value)| value.trim())
        };
        // An empty filter would list every resource to a client that meant to find one.
        let filter = given("filter").map(|text| Filter::parse(kind, text)).transpose()?;
        let given = |name: &str| given(name).filter(|value| !value.is_empty());
        let start_index = number("startIndex", given("startIndex"))?.unwrap_or(1).max(1);
        let count = number("count", given("count"))?.unwrap_or(COUNT_DEFAULT).min(COUNT_MAX);
        Ok(Self {
            filter,
            sort: given("sortBy").map(|by| SortOrder::parse(kind, by, given("sortOrder"))).transpose()?,
            start_index,
            count,
            projection: Projection::parse(kind, given("attributes"), given("excludedAttributes"))?,
        })
    }

    /// Reads the body of `POST /.search` (RFC 7644 section 3.4.3).
    pub fn from_search(kind: ResourceType, body: &Value) -> Result<Self, Error> {
        let Some(body) = body.as_object() else {
            return Err(Error::invalid_syntax("the body of a search must be a JSON object"));
        };
        let names =
            ["filter", "sortBy", "sortOrder", "startIndex", "count", "attributes", "excludedAttributes"];
        let mut pairs = Vec::with_capacity(names.len());
        for name in names {
            if let Some(value) = member(body, name).filter(|value| !value.is_null()) {
                pairs.push((name.to_owned(), plain(name, value)?));
            }
        }
        Self::from_pairs(kind, &pairs)
    }
}

/// A member of a search body as the query string has it.
fn plain(name: &str, value: &Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Array(list) => {
            let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            names
                .map(|names| names.join(","))
                .ok_or_else(|| Error::invalid_value(format!("{name} must be a list of texts")))
        }
        Value::Null | Value::Bool(_) | Value::Object(_) => {
            Err(Error::invalid_value(format!("{name} has a value of the wrong type")))
        }
    }
}

/// A whole number; a negative one counts as 0 (RFC 7644 section 3.4.2.4).
fn number(name: &str, text: Option<&str>) -> Result<Option<usize>, Error> {
    let Some(text) = text else { return Ok(None) };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Error::invalid_value(format!("{name} must be a whole number, not {}", quoted(text))));
    }
    let size = digits.parse().unwrap_or(usize::MAX);
    Ok(Some(if text.starts_with('-') { 0 } else { size }))
}

/// An order of resources (RFC 7644 section 3.4.2.3).
#[derive(Debug, Clone, PartialEq)]
pub struct SortOrder {
    by: AttrPath,
    descending: bool,
}

impl SortOrder {
    fn parse(kind: ResourceType, by: &str, order: Option<&str>) -> Result<Self, Error> {
        let known = AttrPath::resolve(kind, by).filter(|path| {
            path.leaf().kind != AttributeType::Complex && path.attribute.returned != Returned::Never
        });
        let Some(by) = known else {
            let detail = format!("sortBy must name an attribute that can be compared, not {}", quoted(by));
            return Err(Error::invalid_path(detail));
        };
        let descending = match order {
            None => false,
            Some(order) if order.eq_ignore_ascii_case("ascending") => false,
            Some(order) if order.eq_ignore_ascii_case("descending") => true,
            Some(other) => {
                let detail = format!("sortOrder is ascending or descending, not {}", quoted(other));
                return Err(Error::invalid_value(detail));
            }
        };
        Ok(Self { by, descending })
    }

    /// Does the order read that top-level attribute?
    pub fn reads(&self, attribute: &str) -> bool {
        self.by.attribute.name.eq_ignore_ascii_case(attribute)
    }

    /// Compares two resources by their keys. Without a value they come last, or first when descending.
    pub fn compare(&self, left: &SortKey, right: &SortKey) -> Ordering {
        let ascending = left.0.cmp(&right.0);
        if self.descending { ascending.reverse() } else { ascending }
    }

    /// What of a resource, as it is rendered, is compared. Many keys are held at a time, so a long text is cut.
    pub fn key(&self, resource: &Value) -> SortKey {
        SortKey(self.whole_key(resource))
    }

    /// Of several values the primary one counts, or else the first.
    fn whole_key(&self, resource: &Value) -> SortValue {
        let elements = self.by.elements(resource);
        let primary = elements.iter().find(|element| element.get("primary") == Some(&Value::Bool(true)));
        let Some(element) = primary.or(elements.first()) else { return SortValue::Missing };
        let leaf = self.by.leaf();
        let value = element.get(leaf.name).filter(|_| self.by.attribute != leaf).unwrap_or(element);
        match value {
            Value::Bool(value) => SortValue::Boolean(*value),
            Value::String(text) if leaf.kind == AttributeType::DateTime => {
                date_time::parse(text).map_or(SortValue::Missing, SortValue::Instant)
            }
            Value::String(text) => {
                SortValue::Text(compare::key(text, CaseMode::of(leaf)).chars().take(KEY_CHARS_MAX).collect())
            }
            _ => SortValue::Missing,
        }
    }
}

/// What an order compares of one resource.
#[derive(Debug, PartialEq, Eq)]
pub struct SortKey(SortValue);

/// What is compared. The order of the variants puts what is missing last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    Boolean(bool),
    Instant(OffsetDateTime),
    Text(String),
    Missing,
}

/// The text of a list response around its resources: it can be sent piece by piece, and says at its end how many there were.
#[derive(Debug, Default)]
pub struct ListText {
    items: usize,
}

impl ListText {
    /// The text before the first resource.
    pub fn open_list(total: usize, start_index: usize) -> (Self, String) {
        let head = format!(
            r#"{{"schemas":["{}"],"totalResults":{total},"startIndex":{start_index},"Resources":["#,
            urn::LIST_RESPONSE
        );
        (Self::default(), head)
    }

    /// What comes before the next resource.
    pub fn separator(&mut self) -> &'static str {
        self.items += 1;
        if self.items == 1 { "" } else { "," }
    }

    /// The text after the last resource.
    pub fn end(self) -> String {
        format!(r#"],"itemsPerPage":{}}}"#, self.items)
    }
}

/// The answer to a query: one page of `total` resources (RFC 7644 section 3.4.2).
pub fn list_response(total: usize, start_index: usize, resources: Vec<Value>) -> Value {
    json!({
        "schemas": [urn::LIST_RESPONSE],
        "totalResults": total,
        "startIndex": start_index,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::error::ScimType;
    use ResourceType::User;

    fn query(pairs: &[(&str, &str)]) -> Result<ListQuery, Error> {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ListQuery::from_pairs(User, &pairs)
    }

    #[track_caller]
    fn pages(pairs: &[(&str, &str)], start_index: usize, count: usize) {
        let query = query(pairs).unwrap();
        assert_eq!((query.start_index, query.count), (start_index, count), "{pairs:?}");
    }

    #[test]
    fn pages_are_bounded() {
        pages(&[], 1, 100);
        pages(&[("startIndex", "4"), ("count", "3")], 4, 3);
        pages(&[("count", "0")], 1, 0);
        pages(&[("count", "-5"), ("startIndex", "-3")], 1, 0);
        pages(&[("startIndex", "0"), ("count", "5000")], 1, COUNT_MAX);
        pages(&[("startIndex", "99999999999999999999999")], usize::MAX, 100);
        pages(&[("aadOptscim062020", ""), ("cursor", ""), ("count", "")], 1, 100);
    }

    #[track_caller]
    fn refuses(pairs: &[(&str, &str)], scim_type: ScimType, detail: &str) {
        let error = query(pairs).unwrap_err();
        assert_eq!((error.scim_type, error.detail.as_str()), (Some(scim_type), detail));
    }

    #[test]
    fn wrong_parameters_are_named() {
        refuses(&[("count", "many")], ScimType::InvalidValue, "count must be a whole number, not \"many\"");
        refuses(
            &[("startIndex", "-")],
            ScimType::InvalidValue,
            "startIndex must be a whole number, not \"-\"",
        );
        refuses(
            &[("sortBy", "shoeSize")],
            ScimType::InvalidPath,
            "sortBy must name an attribute that can be compared, not \"shoeSize\"",
        );
        refuses(
            &[("sortBy", "name")],
            ScimType::InvalidPath,
            "sortBy must name an attribute that can be compared, not \"name\"",
        );
        refuses(
            &[("sortBy", "title"), ("sortOrder", "up")],
            ScimType::InvalidValue,
            "sortOrder is ascending or descending, not \"up\"",
        );
        for filter in ["x", "", " ", "members.display eq \"Kim\""] {
            assert_eq!(query(&[("filter", filter)]).unwrap_err().scim_type, Some(ScimType::InvalidFilter));
        }
    }

    #[test]
    fn a_search_body_is_a_query() {
        let body = json!({"filter": "title pr", "attributes": ["userName", "title"], "startIndex": 2, "count": 2, "sortBy": null});
        let query = ListQuery::from_search(User, &body).unwrap();
        assert_eq!((query.start_index, query.count), (2, 2));
        assert!(query.filter.is_some() && query.sort.is_none());
        assert!(query.projection.wants("title") && !query.projection.wants("name"));
        let body = json!({"filter": null, "count": null});
        assert!(ListQuery::from_search(User, &body).unwrap().filter.is_none());
        for wrong in [
            json!([]),
            json!({"filter": ""}),
            json!({"attributes": [1]}),
            json!({"count": true}),
            json!({"count": 1.5}),
        ] {
            assert!(ListQuery::from_search(User, &wrong).is_err(), "{wrong}");
        }
    }

    #[track_caller]
    fn sorts(by: &str, order: &str, expected: &str) {
        let mut resources = [
            json!({"id": "b", "userName": "bravo", "active": false, "emails": [{"value": "z@x"}, {"value": "a@x", "primary": true}]}),
            json!({"id": "c", "userName": "Charlie", "meta": {"created": "2026-01-01T02:00:00+02:00"}}),
            json!({"id": "a", "userName": "ALPHA", "active": true, "emails": [{"value": "m@x"}], "meta": {"created": "2026-01-01T00:00:01Z"}}),
        ];
        let sort = query(&[("sortBy", by), ("sortOrder", order)]).unwrap().sort.unwrap();
        resources.sort_by(|left, right| sort.compare(&sort.key(left), &sort.key(right)));
        let ids: Vec<&str> = resources.iter().filter_map(|r| r["id"].as_str()).collect();
        assert_eq!(ids.concat(), expected, "{by} {order}");
    }

    #[test]
    fn resources_are_sorted() {
        sorts("userName", "", "abc");
        sorts("USERNAME", "Descending", "cba");
        sorts("emails", "ascending", "bac");
        sorts("emails.value", "descending", "cab");
        sorts("active", "", "bac");
        sorts("meta.created", "", "cab");
        sorts("title", "", "bca");
    }

    #[test]
    fn a_list_in_pieces_is_the_same_list() {
        for resources in [vec![], vec![json!({"id": "1"})], vec![json!({"id": "1"}), json!({"id": "2"})]] {
            let (mut text, mut whole) = ListText::open_list(7, 4);
            for resource in &resources {
                whole = whole + text.separator() + &resource.to_string();
            }
            whole += &text.end();
            let whole: Value = serde_json::from_str(&whole).unwrap();
            assert_eq!(whole, list_response(7, 4, resources));
        }
    }

    #[test]
    fn a_list_counts_what_is_on_the_page() {
        let list = list_response(7, 4, vec![json!({"id": "1"})]);
        assert_eq!(
            list,
            json!({"schemas": [urn::LIST_RESPONSE], "totalResults": 7, "startIndex": 4, "itemsPerPage": 1, "Resources": [{"id": "1"}]})
        );
    }
}
