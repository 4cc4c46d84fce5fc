//! The order of a list (RFC 7644 section 3.4.2.3), and what of a resource it compares.

use crate::scim::attr_path::AttrPath;
use crate::scim::compare::{self, CaseMode};
use crate::scim::date_time;
use crate::scim::error::Error;
use crate::scim::quoted_text::quoted;
use crate::scim::schema::{AttributeType, ResourceType, Returned};
use serde_json::Value;
use std::cmp::Ordering;
use time::OffsetDateTime;

/// Characters of a text that an order compares.
const KEY_CHARS_MAX: usize = 256;

/// An order of resources of one type (RFC 7644 section 3.4.2.3).
#[derive(Debug, Clone, PartialEq)]
pub struct SortOrder {
    /// None: the type does not have the attribute.
    by: Option<AttrPath>,
    descending: bool,
}

impl SortOrder {
    pub(super) fn parse(kind: ResourceType, by: &str, order: Option<&str>) -> Result<Self, Error> {
        let path = comparable(kind, by).ok_or_else(|| not_comparable(by))?;
        Self::by(Some(path), order)
    }

    /// The order of resources of all kinds, for those of that kind: what only the other kind has is missing in this.
    pub(super) fn parse_among_all(kind: ResourceType, by: &str, order: Option<&str>) -> Result<Self, Error> {
        let path = comparable(kind, by);
        if path.is_none() && comparable(kind.other(), by).is_none() {
            return Err(not_comparable(by));
        }
        Self::by(path, order)
    }

    fn by(by: Option<AttrPath>, order: Option<&str>) -> Result<Self, Error> {
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
        self.by.is_some_and(|by| by.attribute.name.eq_ignore_ascii_case(attribute))
    }

    /// Compares two resources by their keys. Without a value they come last, or first when descending.
    pub fn compare(&self, left: &SortKey, right: &SortKey) -> Ordering {
        let ascending = left.0.cmp(&right.0);
        if self.descending { ascending.reverse() } else { ascending }
    }

    /// What of a resource, as it is rendered, is compared. Many keys are held at a time, so a long text is cut.
    pub fn key(&self, resource: &Value) -> SortKey {
        SortKey(self.by.map_or(SortValue::Missing, |by| value_of(by, resource)))
    }
}

fn comparable(kind: ResourceType, by: &str) -> Option<AttrPath> {
    AttrPath::resolve(kind, by).filter(|path| {
        path.leaf().kind != AttributeType::Complex && path.attribute.returned != Returned::Never
    })
}

fn not_comparable(by: &str) -> Error {
    Error::invalid_path(format!("sortBy must name an attribute that can be compared, not {}", quoted(by)))
}

/// Of several values the primary one counts, or else the first.
fn value_of(by: AttrPath, resource: &Value) -> SortValue {
    let elements = by.elements(resource);
    let primary = elements.iter().find(|element| element.get("primary") == Some(&Value::Bool(true)));
    let Some(element) = primary.or(elements.first()) else {
        return SortValue::Missing;
    };
    let leaf = by.leaf();
    let value = element.get(leaf.name).filter(|_| by.attribute != leaf).unwrap_or(element);
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

/// What an order compares of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey(SortValue);

impl SortKey {
    /// The key as bytes: what it is, then its value.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tagged = |tag: u8, value: &[u8]| [&[tag], value].concat();
        match &self.0 {
            SortValue::Boolean(value) => tagged(BOOLEAN, &[u8::from(*value)]),
            SortValue::Instant(at) => tagged(INSTANT, &at.unix_timestamp_nanos().to_be_bytes()),
            SortValue::Text(text) => tagged(TEXT, text.as_bytes()),
            SortValue::Missing => tagged(MISSING, &[]),
        }
    }

    /// The key that [`SortKey::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let value = match bytes.split_first()? {
            (&BOOLEAN, [value @ (0 | 1)]) => SortValue::Boolean(*value == 1),
            (&INSTANT, value) => {
                let nanos = i128::from_be_bytes(value.try_into().ok()?);
                SortValue::Instant(OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?)
            }
            (&TEXT, value) => SortValue::Text(String::from_utf8(value.to_vec()).ok()?),
            (&MISSING, []) => SortValue::Missing,
            _ => return None,
        };
        Some(Self(value))
    }
}

const BOOLEAN: u8 = 0;
const INSTANT: u8 = 1;
const TEXT: u8 = 2;
const MISSING: u8 = 3;

/// What is compared. The order of the variants puts what is missing last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    Boolean(bool),
    Instant(OffsetDateTime),
    Text(String),
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceType::User;
    use serde_json::json;

    #[track_caller]
    fn sorts(by: &str, order: Option<&str>, expected: &str) {
        let mut resources = [
            json!({"id": "b", "userName": "bravo", "active": false, "emails": [{"value": "z@x"}, {"value": "a@x", "primary": true}]}),
            json!({"id": "c", "userName": "Charlie", "meta": {"created": "2026-01-01T02:00:00+02:00"}}),
            json!({"id": "a", "userName": "ALPHA", "active": true, "emails": [{"value": "m@x"}], "meta": {"created": "2026-01-01T00:00:01Z"}}),
        ];
        let sort = SortOrder::parse(User, by, order).unwrap();
        for resource in &resources {
            let key = sort.key(resource);
            assert_eq!(SortKey::from_bytes(&key.to_bytes()), Some(key), "{by}");
        }
        resources.sort_by(|left, right| sort.compare(&sort.key(left), &sort.key(right)));
        let ids: Vec<&str> = resources.iter().filter_map(|r| r["id"].as_str()).collect();
        assert_eq!(ids.concat(), expected, "{by} {order:?}");
    }

    #[test]
    fn resources_are_sorted() {
        sorts("userName", None, "abc");
        sorts("USERNAME", Some("Descending"), "cba");
        sorts("emails", Some("ascending"), "bac");
        sorts("emails.value", Some("descending"), "cab");
        sorts("active", None, "bac");
        sorts("meta.created", None, "cab");
        sorts("title", None, "bca");
    }

    #[test]
    fn among_all_types_what_only_one_has_is_missing_in_the_other() {
        for (kind, expected) in
            [(User, SortValue::Text("ana".to_owned())), (User.other(), SortValue::Missing)]
        {
            let sort = SortOrder::parse_among_all(kind, "userName", None).unwrap();
            assert_eq!(sort.key(&json!({"userName": "Ana", "displayName": "x"})), SortKey(expected));
            assert_eq!(sort.reads("userName"), kind == User);
        }
        for wrong in ["shoeSize", "name", "members"] {
            assert_eq!(SortOrder::parse_among_all(User, wrong, None).is_ok(), wrong == "members", "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        for bytes in [&[][..], &[BOOLEAN], &[BOOLEAN, 2], &[INSTANT, 0], &[TEXT, 0xff], &[MISSING, 0], &[4]] {
            assert_eq!(SortKey::from_bytes(bytes), None, "{bytes:?}");
        }
        let too_late = [&[INSTANT], &i128::MAX.to_be_bytes()[..]].concat();
        assert_eq!(SortKey::from_bytes(&too_late), None);
    }
}
