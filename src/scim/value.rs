//! One value from a client, made canonical by the attribute table (RFC 7643 section 2.3), or refused.

use crate::id::PrincipalId;
use crate::scim::compare::{self, CaseMode};
use crate::scim::error::Error;
use crate::scim::json_object::{JsonObject, member};
use crate::scim::quoted_text::quoted;
use crate::scim::resource::ENTRA_OBJECT_ID;
use crate::scim::schema::{Attribute, AttributeType};
use serde_json::Value;

/// How strictly a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueStrictness {
    /// What can be made to fit is made to fit.
    Tolerant,
    /// Access can depend on it: the JSON type must be right, and nothing may hide in the text.
    Strict,
}

/// Null, an empty text and an empty list all mean "no value" (RFC 7643 section 2.5, and the Entra gallery tests).
pub(super) fn is_unassigned(raw: &Value) -> bool {
    match raw {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// No value, for an attribute of that kind: where the JSON type counts, a list is none of one that is not multi-valued.
pub(super) fn is_none(attribute: &Attribute, raw: &Value, strictness: ValueStrictness) -> bool {
    is_unassigned(raw)
        && !(strictness == ValueStrictness::Strict && raw.is_array() && !attribute.multi_valued)
}

/// A list of one is read as its element.
pub(super) fn only(raw: &Value) -> &Value {
    match raw.as_array().map(Vec::as_slice) {
        Some([only]) => only,
        _ => raw,
    }
}

/// The elements of a multi-valued attribute. A single value is taken for a list of one.
pub(super) fn list(
    attribute: &Attribute,
    raw: &Value,
    strictness: ValueStrictness,
) -> Result<Vec<Value>, Error> {
    let raw = match raw {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    bounded(attribute, raw.len())?;
    let elements: Result<Vec<_>, _> =
        raw.iter().map(|element| single(attribute, element, strictness)).collect();
    Ok(elements?.into_iter().flatten().collect())
}

/// The most values a multi-valued attribute may hold: addresses are indexed, and a user's whole index has to fit the
/// transaction that deletes him.
pub const fn values_max(emails: bool) -> usize {
    if emails { 40 } else { 200 }
}

/// Refuses more values than an attribute may hold, before anything is done with them.
pub(super) fn bounded(attribute: &Attribute, values: usize) -> Result<(), Error> {
    let max = values_max(attribute.name == "emails");
    if values <= max {
        return Ok(());
    }
    Err(Error::invalid_value(format!("{} takes at most {max} values", attribute.name)))
}

/// A single value, or one element of a list; none for what is unassigned.
pub(super) fn single(
    attribute: &Attribute,
    raw: &Value,
    strictness: ValueStrictness,
) -> Result<Option<Value>, Error> {
    if is_none(attribute, raw, strictness) {
        return Ok(None);
    }
    match (attribute.kind, raw) {
        (_, Value::Array(list)) => match list.as_slice() {
            [only] if strictness == ValueStrictness::Tolerant && !only.is_array() => {
                single(attribute, only, strictness)
            }
            _ => Err(Error::invalid_value(format!("{} takes one value, not a list", attribute.name))),
        },
        (AttributeType::Complex, raw) => Ok(complex(attribute, raw, strictness)?.map(Value::Object)),
        (AttributeType::Boolean, raw) => boolean(attribute, raw).map(Some),
        (_, Value::String(value)) => text(attribute, value, strictness).map(Some),
        (_, Value::Number(number))
            if strictness == ValueStrictness::Tolerant || attribute.name == "externalId" =>
        {
            // One with a fraction, or with more digits than a number keeps, is not the text that was sent.
            if strictness == ValueStrictness::Strict && number.is_f64() {
                return Err(wrong_type(attribute, "text", raw));
            }
            Ok(Some(Value::from(number.to_string())))
        }
        (_, other) => Err(wrong_type(attribute, "text", other)),
    }
}

fn text(attribute: &Attribute, value: &str, strictness: ValueStrictness) -> Result<Value, Error> {
    if strictness == ValueStrictness::Strict {
        check_text(attribute, value)?;
    }
    Ok(Value::from(without_controls(value, attribute.multi_line)))
}

/// What a text of a deciding attribute must be.
fn check_text(attribute: &Attribute, value: &str) -> Result<(), Error> {
    let name = attribute.name;
    if value.chars().any(|c| is_stray_control(c, attribute.multi_line)) {
        return Err(Error::invalid_value(format!(
            "{name} holds a control character; remove line breaks, tabs and the like from {}",
            quoted(value)
        )));
    }
    if attribute.plain_text && compare::has_hidden(value) {
        return Err(Error::invalid_value(format!(
            "{name} holds a character that cannot be seen (such as a zero-width or text direction mark); remove it from {}",
            quoted(value)
        )));
    }
    if attribute.required && compare::key(value, CaseMode::of(attribute)).is_empty() {
        return Err(Error::invalid_value(format!("{name} is required and must not be empty")));
    }
    if name == ENTRA_OBJECT_ID && PrincipalId::parse(value).is_err() {
        return Err(Error::invalid_value(format!(
            "{name} must be the object id of the user in Entra ID, a GUID; {} is none",
            quoted(value)
        )));
    }
    Ok(())
}

/// A control that is not the line break of a text that may have some.
fn is_stray_control(c: char, multi_line: bool) -> bool {
    c.is_control() && !(multi_line && matches!(c, '\r' | '\n'))
}

/// The text with a space for each run of controls.
fn without_controls(value: &str, multi_line: bool) -> String {
    let mut clean = String::with_capacity(value.len());
    let mut in_run = false;
    for c in value.chars() {
        let control = is_stray_control(c, multi_line);
        match control {
            true if in_run => {}
            true => clean.push(' '),
            false => clean.push(c),
        }
        in_run = control;
    }
    clean
}

/// Entra ID sends booleans as the texts `True` and `False` (scenario entra-legacy-disable-string).
fn boolean(attribute: &Attribute, raw: &Value) -> Result<Value, Error> {
    match raw {
        Value::Bool(_) => Ok(raw.clone()),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        other => Err(wrong_type(attribute, "true or false", other)),
    }
}

/// The known and writable parts of a complex value; none if nothing is left. A bare text is read as its `value`.
pub(super) fn complex(
    attribute: &Attribute,
    raw: &Value,
    strictness: ValueStrictness,
) -> Result<Option<JsonObject>, Error> {
    let parts = parts(attribute, raw, strictness)?;
    let assigned = parts.into_iter().filter_map(|(sub, value)| Some((sub.name.to_owned(), value?)));
    let object: JsonObject = assigned.collect();
    Ok(Some(object).filter(|object| !object.is_empty()))
}

/// Each known and writable part that is named, with its value; none where the part is unassigned.
pub(super) fn parts(
    attribute: &Attribute,
    raw: &Value,
    strictness: ValueStrictness,
) -> Result<Vec<(&'static Attribute, Option<Value>)>, Error> {
    let expanded = if attribute.name == "roles" { entra_role(raw) } else { None };
    match (expanded.as_ref().unwrap_or(raw), attribute.value()) {
        (Value::Object(object), _) => {
            let known = object.iter().filter_map(|(name, raw)| attribute.sub(name).map(|sub| (sub, raw)));
            let writable = known.filter(|(sub, _)| !sub.is_read_only());
            writable.map(|(sub, raw)| Ok((sub, single(sub, raw, strictness)?))).collect()
        }
        (bare @ (Value::String(_) | Value::Number(_)), Some(sub)) => {
            Ok(vec![(sub, single(sub, bare, strictness)?)])
        }
        (other, _) => Err(wrong_type(attribute, "an object", other)),
    }
}

/// Entra ID writes a role as JSON text, bare or under `value`, and names its label `displayName` (scenario
/// entra-roles-legacy-json-string).
fn entra_role(raw: &Value) -> Option<Value> {
    let holder = raw.as_object();
    let text = match holder {
        Some(holder) => member(holder, "value").and_then(Value::as_str),
        None => raw.as_str(),
    };
    let inner = text
        .filter(|text| text.trim_start().starts_with('{'))
        .and_then(|text| serde_json::from_str(text).ok());
    let mut role = holder.cloned().unwrap_or_default();
    match inner {
        Some(Value::Object(inner)) => {
            role.retain(|name, _| !name.eq_ignore_ascii_case("value"));
            role.extend(inner);
        }
        _ if holder.is_none() => return None,
        _ => {}
    }
    if let (Some(label), None) = (member(&role, "displayName").cloned(), member(&role, "display")) {
        role.insert("display".to_owned(), label);
    }
    Some(Value::Object(role))
}

fn wrong_type(attribute: &Attribute, wanted: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Error::invalid_value(format!("{} takes {wanted}, not {found}", attribute.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::attr_path::AttrPath;
    use crate::scim::schema::ResourceType;
    use serde_json::json;

    fn attribute(name: &str) -> &'static Attribute {
        let path = AttrPath::resolve(ResourceType::User, name).unwrap();
        path.sub.unwrap_or(path.attribute)
    }

    #[track_caller]
    fn reads(name: &str, raw: Value, expected: Value) {
        let attribute = attribute(name);
        let read = match attribute.multi_valued {
            true => Value::Array(list(attribute, &raw, ValueStrictness::Tolerant).unwrap()),
            false => single(attribute, &raw, ValueStrictness::Tolerant).unwrap().unwrap_or_default(),
        };
        assert_eq!(read, expected, "{name}: {raw}");
    }

    #[test]
    fn values_become_canonical() {
        reads("title", json!("Boss"), json!("Boss"));
        reads("title", json!(["Boss"]), json!("Boss"));
        reads("title", json!(""), Value::Null);
        reads("employeeNumber", json!(40117), json!("40117"));
        reads("active", json!("False"), json!(false));
        reads("active", json!("TRUE"), json!(true));
        reads(
            "name",
            json!({"FAMILYNAME": "F", "unknown": 1, "givenName": null}),
            json!({"familyName": "F"}),
        );
        reads("name", json!({"unknown": 1}), Value::Null);
        reads("manager", json!("m1"), json!({"value": "m1"}));
        reads("manager", json!({"value": "m1", "$ref": null, "displayName": "Boss"}), json!({"value": "m1"}));
        reads(
            "emails",
            json!([{"Type": "work", "VALUE": "a@b", "primary": "True"}]),
            json!([{"type": "work", "value": "a@b", "primary": true}]),
        );
        reads("emails", json!({"value": "a@b"}), json!([{"value": "a@b"}]));
        reads("emails", json!(["a@b", null, ""]), json!([{"value": "a@b"}]));
    }

    #[test]
    fn entra_roles_are_expanded() {
        let text = "{\"id\":\"06b07648\",\"value\":\"25\",\"displayName\":\"Role1234\"}";
        let role = json!([{"value": "25", "display": "Role1234"}]);
        reads("roles", json!([{"value": text}]), role.clone());
        reads("roles", json!(text), role.clone());
        reads("roles", json!([{"id": "1", "value": "25", "displayName": "Role1234"}]), role);
        reads("roles", json!([{"value": "{plain"}]), json!([{"value": "{plain"}]));
        reads("roles", json!(["Admin"]), json!([{"value": "Admin"}]));
    }

    #[test]
    fn a_run_of_controls_becomes_one_space_and_a_line_break_of_an_address_stays() {
        reads("title", json!("Head\tof\r\n\u{7}Backup"), json!("Head of Backup"));
        reads("name", json!({"givenName": "A\u{85}na"}), json!({"givenName": "A na"}));
        let address = json!([{"formatted": "1 Main St\r\nSpringfield\t\u{0}US", "streetAddress": "1\n2", "locality": "a\nb"}]);
        let kept =
            json!([{"formatted": "1 Main St\r\nSpringfield US", "streetAddress": "1\n2", "locality": "a b"}]);
        reads("addresses", address, kept);
        reads("displayName", json!("a\u{200D}b"), json!("a\u{200D}b"));
    }

    #[track_caller]
    fn refuses(name: &str, raw: Value, strictness: ValueStrictness, detail: &str) {
        assert_eq!(single(attribute(name), &raw, strictness).unwrap_err().detail, detail);
    }

    #[test]
    fn every_wrong_value_has_its_message() {
        let tolerant = |name, raw, detail| refuses(name, raw, ValueStrictness::Tolerant, detail);
        tolerant("active", json!("maybe"), "active takes true or false, not \"maybe\"");
        tolerant("title", json!({"value": "x"}), "title takes text, not an object");
        tolerant("title", json!(true), "title takes text, not true");
        tolerant("title", json!(["a", "b"]), "title takes one value, not a list");
        tolerant("name", json!("Ana"), "name takes an object, not \"Ana\"");
    }

    #[test]
    fn where_access_can_depend_on_it_nothing_is_made_to_fit() {
        let strict = |name, raw, detail| refuses(name, raw, ValueStrictness::Strict, detail);
        strict("userName", json!(12345), "userName takes text, not 12345");
        strict("userName", json!(["ana"]), "userName takes one value, not a list");
        strict("userType", json!([]), "userType takes one value, not a list");
        strict("active", json!(["False"]), "active takes one value, not a list");
        strict(
            "userName",
            json!("\u{200B} "),
            "userName holds a character that cannot be seen (such as a zero-width or text direction mark); remove it from \"\\u{200b} \"",
        );
        strict("userName", json!(" "), "userName is required and must not be empty");
        strict(
            "entraObjectId",
            json!("1234"),
            "entraObjectId must be the object id of the user in Entra ID, a GUID; \"1234\" is none",
        );
        strict(
            "name.givenName",
            json!("a\nb"),
            "givenName holds a control character; remove line breaks, tabs and the like from \"a\\nb\"",
        );
        for hidden in ['\u{AD}', '\u{180E}', '\u{115F}', '\u{2028}', '\u{E0061}', '\u{3164}', '\u{FE0F}'] {
            let read = single(attribute("userName"), &json!(format!("a{hidden}b")), ValueStrictness::Strict);
            assert_eq!(read.is_ok(), hidden == '\u{FE0F}', "{hidden:?}");
        }
        let strict = |name: &str, raw: Value| single(attribute(name), &raw, ValueStrictness::Strict).unwrap();
        assert_eq!(strict("externalId", json!(12345)), Some(json!("12345")));
        assert_eq!(strict("active", json!("False")), Some(json!(false)));
        assert_eq!(strict("addresses.formatted", json!("a\nb")), Some(json!("a\nb")));
        assert_eq!(strict("userType", json!("")), None);
    }
}
