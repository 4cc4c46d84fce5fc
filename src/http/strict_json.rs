//! JSON without room for two readings: no duplicated members (not even by case or escapes), bounded depth and number of
//! values, valid text.
//!
//! `serde_json` keeps the last of two equal members silently; a proxy in front of this service may have read the first.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

/// How deep arrays and objects may nest, the outermost included.
const DEPTH_MAX: usize = 64;
/// Values of one body, nested ones included. A value that is read takes up to a hundred times the bytes that it had.
const VALUES_MAX: usize = 120_000;

/// Why a body is not read. The text names a place and never content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonError {
    /// It is not one JSON object, or has two readings.
    #[error("{detail}")]
    Syntax { detail: String },
    /// It is too large, however few bytes it has.
    #[error("the body has more than {VALUES_MAX} JSON values; send fewer at a time")]
    TooManyValues,
}

impl JsonError {
    fn syntax(detail: impl Into<String>) -> Self {
        Self::Syntax { detail: detail.into() }
    }
}

/// Reads one JSON object.
pub(super) fn parse_object(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::syntax("the body is not valid UTF-8"))?;
    let mut input = serde_json::Deserializer::from_str(text);
    let values_left = ValuesLeft(Cell::new(Some(VALUES_MAX)));
    let value = StrictValue { depth_left: DEPTH_MAX, values_left: &values_left }
        .deserialize(&mut input)
        .and_then(|value| input.end().map(|()| value))
        .map_err(|error| match values_left.0.get() {
            None => JsonError::TooManyValues,
            Some(_) => JsonError::syntax(format!("the body is not acceptable JSON: {error}")),
        })?;
    match value {
        Value::Object(_) => Ok(value),
        _ => Err(JsonError::syntax("the body is not a JSON object")),
    }
}

/// How many values may follow; none once there were too many.
struct ValuesLeft(Cell<Option<usize>>);

impl ValuesLeft {
    fn take_one<E: Error>(&self) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(1)));
        self.0.get().map(|_| ()).ok_or_else(|| E::custom("more values than a body may have"))
    }
}

#[derive(Clone, Copy)]
struct StrictValue<'a> {
    depth_left: usize,
    values_left: &'a ValuesLeft,
}

impl StrictValue<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        depth_left.map(|depth_left| Self { depth_left, ..self }).ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        self.values_left.take_one()?;
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut elements = Vec::new();
        while let Some(element) = input.next_element_seed(inner)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut seen = HashSet::new();
        let mut members = Map::new();
        while let Some(MemberName(key)) = input.next_key()? {
            if !seen.insert(key.to_ascii_lowercase()) {
                return Err(A::Error::custom("a member is named twice"));
            }
            members.insert(key, input.next_value_seed(inner)?);
        }
        Ok(Value::Object(members))
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct MemberName(String);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn refused(body: impl AsRef<[u8]>, why: &str) {
        let error = parse_object(body.as_ref()).unwrap_err();
        assert!(matches!(&error, JsonError::Syntax { detail } if detail.contains(why)), "{error}");
    }

    #[test]
    fn ordinary_objects_are_read_as_they_are() {
        let text = r#"{"a": [1, -2, 2.5, true, null, "\u00e9\ud83d\ude00"], "b": {"a": {"A-b": 1}}}"#;
        assert_eq!(parse_object(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(parse_object(b" {} ").unwrap(), json!({}));
    }

    #[test]
    fn one_name_is_used_once() {
        refused(r#"{"active": true, "active": false}"#, "named twice");
        refused(r#"{"active": true, "ACTIVE": false}"#, "named twice");
        refused(r#"{"active": true, "\u0061ctive": false}"#, "named twice");
        refused(r#"{"a": [{"b": 1, "B": 2}]}"#, "named twice");
    }

    #[test]
    fn depth_is_bounded_and_the_bound_is_usable() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse_object(nested(DEPTH_MAX - 1).as_bytes()).is_ok());
        refused(nested(DEPTH_MAX), "too deeply");
        refused(nested(100_000), "too deeply");
        refused(format!("{}1", r#"{"a":"#.repeat(20_000)), "too deeply");
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let many = |values: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(values - 3));
        assert!(parse_object(many(VALUES_MAX).as_bytes()).is_ok());
        let nested = format!("{{\"a\":[{}0]}}", "{\"a\":1},".repeat(VALUES_MAX / 2));
        // What follows is not read: whether it is in order does not count.
        for body in [many(VALUES_MAX + 1), nested, format!("{{\"a\":[{}", "0,".repeat(VALUES_MAX))] {
            assert_eq!(parse_object(body.as_bytes()), Err(JsonError::TooManyValues));
        }
    }

    #[test]
    fn broken_text_is_refused() {
        refused(b"{\"a\": \"\xff\"}", "UTF-8");
        refused(b"{\"a\": \"\xc0\xaf\"}", "UTF-8");
        refused(r#"{"a": "\ud800"}"#, "hex escape");
        refused(r#"{"a": "\udc00x"}"#, "hex escape");
        refused("{\"a\": \"\u{0}\"}", "control character");
    }

    #[test]
    fn only_one_whole_object_is_taken() {
        for body in ["[]", "\"x\"", "1", "null"] {
            refused(body, "not a JSON object");
        }
        for body in ["", "  ", "{\"a\": ", "{} {}", "{\"a\": NaN}", "{\"a\": 1e999}", "\u{feff}{}"] {
            refused(body, "not acceptable JSON");
        }
    }
}
