//! One value from a client, made canonical by the attribute table (RFC 7643 section 2.3), or refused.

use super::compare;
use super::error::Error;
use super::path::{member, quoted};
use super::schema::{Attribute, Type};
use serde_json::{Map, Value};

/// Null, an empty text and an empty list all mean "no value" (RFC 7643 section 2.5, and the Entra gallery tests).
pub(super) fn is_unassigned(raw: &Value) -> bool {
    match raw {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// A list of one stands for its element.
pub(super) fn only(raw: &Value) -> &Value {
    match raw.as_array().map(Vec::as_slice) {
        Some([only]) => only,
        _ => raw,
    }
}

/// The elements of a multi-valued attribute. A single value is taken for a list of one.
pub(super) fn list(attribute: &Attribute, raw: &Value) -> Result<Vec<Value>, Error> {
    let raw = match raw {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    bounded(attribute, raw.len())?;
    let elements: Result<Vec<_>, _> = raw.iter().map(|element| single(attribute, element)).collect();
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
pub(super) fn single(attribute: &Attribute, raw: &Value) -> Result<Option<Value>, Error> {
    if is_unassigned(raw) {
        return Ok(None);
    }
    match (attribute.kind, raw) {
        (_, Value::Array(list)) => match list.as_slice() {
            [only] if !only.is_array() => single(attribute, only),
            _ => Err(Error::invalid_value(format!("{} takes one value, not a list", attribute.name))),
        },
        (Type::Complex, raw) => Ok(complex(attribute, raw)?.map(Value::Object)),
        (Type::Boolean, raw) => boolean(attribute, raw).map(Some),
        (_, Value::String(value)) => text(attribute, value).map(Some),
        (_, Value::Number(number)) => Ok(Some(Value::from(number.to_string()))),
        (_, other) => Err(wrong_type(attribute, "text", other)),
    }
}

fn text(attribute: &Attribute, value: &str) -> Result<Value, Error> {
    if value.chars().any(char::is_control) {
        return Err(Error::invalid_value(format!(
            "{} holds a control character; remove line breaks, tabs and the like from {}",
            attribute.name,
            quoted(value)
        )));
    }
    if attribute.plain_text && value.chars().any(compare::is_mark) {
        return Err(Error::invalid_value(format!(
            "{} holds an invisible mark (zero-width or text direction); remove it from {}",
            attribute.name,
            quoted(value)
        )));
    }
    Ok(Value::from(value))
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

/// The known and writable parts of a complex value; none if nothing is left. A bare text stands for its `value`.
pub(super) fn complex(attribute: &Attribute, raw: &Value) -> Result<Option<Map<String, Value>>, Error> {
    let parts = parts(attribute, raw)?;
    let assigned = parts.into_iter().filter_map(|(sub, value)| Some((sub.name.to_owned(), value?)));
    let object: Map<String, Value> = assigned.collect();
    Ok(Some(object).filter(|object| !object.is_empty()))
}

/// Each known and writable part that is named, with its value; none where the part is unassigned.
pub(super) fn parts(
    attribute: &Attribute,
    raw: &Value,
) -> Result<Vec<(&'static Attribute, Option<Value>)>, Error> {
    let expanded = if attribute.name == "roles" { entra_role(raw) } else { None };
    match (expanded.as_ref().unwrap_or(raw), attribute.value()) {
        (Value::Object(object), _) => {
            let known = object.iter().filter_map(|(name, raw)| attribute.sub(name).map(|sub| (sub, raw)));
            let writable = known.filter(|(sub, _)| !sub.is_read_only());
            writable.map(|(sub, raw)| Ok((sub, single(sub, raw)?))).collect()
        }
        (bare @ (Value::String(_) | Value::Number(_)), Some(sub)) => Ok(vec![(sub, single(sub, bare)?)]),
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
    use crate::scim::path::AttrPath;
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
            true => Value::Array(list(attribute, &raw).unwrap()),
            false => single(attribute, &raw).unwrap().unwrap_or_default(),
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

    #[track_caller]
    fn refuses(name: &str, raw: Value, detail: &str) {
        assert_eq!(single(attribute(name), &raw).unwrap_err().detail, detail);
    }

    #[test]
    fn every_wrong_value_has_its_message() {
        refuses("active", json!("maybe"), "active takes true or false, not \"maybe\"");
        refuses("title", json!({"value": "x"}), "title takes text, not an object");
        refuses("title", json!(true), "title takes text, not true");
        refuses("title", json!(["a", "b"]), "title takes one value, not a list");
        refuses("name", json!("Ana"), "name takes an object, not \"Ana\"");
        refuses(
            "userName",
            json!("a\u{200B}b"),
            "userName holds an invisible mark (zero-width or text direction); remove it from \"a\\u{200b}b\"",
        );
        refuses(
            "name.givenName",
            json!("a\nb"),
            "givenName holds a control character; remove line breaks, tabs and the like from \"a\\nb\"",
        );
        reads("displayName", json!("a\u{200D}b"), json!("a\u{200D}b"));
    }
}
