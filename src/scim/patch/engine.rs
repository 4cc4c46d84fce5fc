//! Applies one operation to the stored attributes (RFC 7644 sections 3.5.2.1 to 3.5.2.3). Strict: it knows no dialects.

use super::list::{self, Selection};
use super::{Operation, Verb};
use crate::scim::error::{Error, ScimType};
use crate::scim::path::{AttrPath, Path};
use crate::scim::resource::ACTIVE;
use crate::scim::schema::{Attribute, Schema, Type};
use crate::scim::value;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

pub(in crate::scim) fn apply(attributes: &mut Object, operation: &Operation) -> Result<(), Error> {
    let Operation { verb, path, value } = operation;
    match path {
        Path::Schema(schema) => {
            schema.and_then(|schema| attributes.remove(schema.urn));
            Ok(())
        }
        Path::Attribute(path) => {
            in_holder(attributes, path.extension, |holder| attribute(holder, *path, *verb, value))
        }
        Path::Elements { of, filter, sub } => in_holder(attributes, of.extension, |holder| {
            let selection = Selection { of: of.attribute, filter: Some(filter), sub: *sub };
            in_list(holder, of.attribute, |list| list::change(list, &selection, *verb, value))
        }),
    }
}

/// Works on the object that holds an attribute: the resource, or the object of an extension, which goes when it is empty.
fn in_holder(
    attributes: &mut Object,
    extension: Option<&Schema>,
    work: impl FnOnce(&mut Object) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(schema) = extension else { return work(attributes) };
    let mut holder = take_object(attributes, schema.urn);
    let done = work(&mut holder);
    put_object(attributes, schema.urn, holder);
    done
}

fn attribute(holder: &mut Object, path: AttrPath, verb: Verb, raw: &Value) -> Result<(), Error> {
    let of = path.attribute;
    match (path.sub, of.multi_valued, verb) {
        (None, true, Verb::Add) => in_list(holder, of, |list| list::add(list, of, raw)),
        (None, true, Verb::Replace) => in_list(holder, of, |list| list::replace(list, of, raw)),
        (None, true, Verb::Remove) => in_list(holder, of, |list| list::remove(list, of, raw)),
        (None, false, Verb::Remove) => unassign(holder, of, ScimType::Mutability),
        (None, false, _) if of.kind == Type::Complex => merge(holder, of, raw),
        (None, false, _) => set(holder, of, raw),
        (sub @ Some(_), true, _) => {
            let selection = Selection { of, filter: None, sub };
            in_list(holder, of, |list| list::change(list, &selection, verb, raw))
        }
        (Some(sub), false, _) => set_part(holder, of, sub, verb, raw),
    }
}

fn set(holder: &mut Object, attribute: &Attribute, raw: &Value) -> Result<(), Error> {
    match value::single(attribute, raw)? {
        Some(value) => put(holder, attribute.name, value),
        None => return unassign(holder, attribute, ScimType::InvalidValue),
    }
    Ok(())
}

/// Takes the value away. A user without `active` would be a leaver who keeps access, so that becomes false.
fn unassign(holder: &mut Object, attribute: &Attribute, refusal: ScimType) -> Result<(), Error> {
    if attribute.required {
        return Err(Error::bad(refusal, format!("{} is required and cannot be removed", attribute.name)));
    }
    holder.remove(attribute.name);
    if attribute.name == ACTIVE {
        put(holder, ACTIVE, Value::Bool(false));
    }
    Ok(())
}

/// Sets the parts of a complex value that are named and leaves the others; a bare text replaces the whole.
fn merge(holder: &mut Object, attribute: &Attribute, raw: &Value) -> Result<(), Error> {
    if value::is_unassigned(raw) {
        return unassign(holder, attribute, ScimType::InvalidValue);
    }
    let raw = value::only(raw);
    let before = take_object(holder, attribute.name);
    let mut object = if raw.is_object() { before } else { Object::new() };
    for (sub, value) in value::parts(attribute, raw)? {
        assign(&mut object, sub, value);
    }
    put_object(holder, attribute.name, object);
    Ok(())
}

fn set_part(
    holder: &mut Object,
    attribute: &Attribute,
    sub: &Attribute,
    verb: Verb,
    raw: &Value,
) -> Result<(), Error> {
    let value = if verb == Verb::Remove { None } else { value::single(sub, raw)? };
    let mut object = take_object(holder, attribute.name);
    assign(&mut object, sub, value);
    put_object(holder, attribute.name, object);
    Ok(())
}

/// Sets or removes a part. The address of a reference goes stale with its value.
fn assign(object: &mut Object, sub: &Attribute, value: Option<Value>) {
    if sub.name == "value" && object.get(sub.name) != value.as_ref() {
        object.remove("$ref");
    }
    match value {
        Some(value) => put(object, sub.name, value),
        None => drop(object.remove(sub.name)),
    }
}

/// Works on the elements of a list, which goes when it is empty.
fn in_list(
    holder: &mut Object,
    attribute: &Attribute,
    work: impl FnOnce(&mut Vec<Value>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut elements = match holder.remove(attribute.name) {
        Some(Value::Array(elements)) => elements,
        _ => Vec::new(),
    };
    work(&mut elements)?;
    if !elements.is_empty() {
        put(holder, attribute.name, Value::Array(elements));
    }
    Ok(())
}

fn take_object(holder: &mut Object, name: &str) -> Object {
    match holder.remove(name) {
        Some(Value::Object(object)) => object,
        _ => Object::new(),
    }
}

fn put_object(holder: &mut Object, name: &str, object: Object) {
    if !object.is_empty() {
        put(holder, name, Value::Object(object));
    }
}

fn put(holder: &mut Object, name: &str, value: Value) {
    holder.insert(name.to_owned(), value);
}
