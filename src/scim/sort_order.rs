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
    by: AttrPath,
    descending: bool,
}

impl SortOrder {
    pub(super) fn parse(kind: ResourceType, by: &str, order: Option<&str>) -> Result<Self, Error> {
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
    fn bytes_that_are_no_key_are_refused() {
        for bytes in [&[][..], &[BOOLEAN], &[BOOLEAN, 2], &[INSTANT, 0], &[TEXT, 0xff], &[MISSING, 0], &[4]] {
            assert_eq!(SortKey::from_bytes(bytes), None, "{bytes:?}");
        }
        let too_late = [&[INSTANT], &i128::MAX.to_be_bytes()[..]].concat();
        assert_eq!(SortKey::from_bytes(&too_late), None);
    }
}
