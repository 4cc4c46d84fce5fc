//! Applies one operation to the stored attributes (RFC 7644 sections 3.5.2.1 to 3.5.2.3). It knows no dialects.
//!
//! Every function checks before it changes anything, so that an operation that fails leaves no trace.

use crate::scim::attr_path::AttrPath;
use crate::scim::edit::list::{self, ElementSelection};
use crate::scim::edit::patch_op::PatchOp;
use crate::scim::error::{Error, ScimType};
use crate::scim::json_object::JsonObject;
use crate::scim::patch_path::PatchPath;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::resource::ACTIVE;
use crate::scim::schema::{Attribute, AttributeType, Schema};
use crate::scim::value::{self, ValueStrictness};
use serde_json::Value;

pub(super) fn apply(attributes: &mut JsonObject, operation: &PatchOp<'_>) -> Result<(), Error> {
    match operation.path {
        PatchPath::Schema(schema) => whole_schema(attributes, *schema, operation),
        PatchPath::Attribute(path) => {
            in_holder(attributes, path.extension, |holder| attribute(holder, *path, operation))
        }
        PatchPath::Elements { of, filter, sub } => in_holder(attributes, of.extension, |holder| {
            let selection = ElementSelection { of: of.attribute, filter: Some(filter), sub: *sub };
            in_list(holder, of.attribute, |list| list::change(list, &selection, operation))
        }),
    }
}

/// A whole extension can only be taken away; what it holds is written attribute by attribute.
fn whole_schema(
    attributes: &mut JsonObject,
    schema: Option<&Schema>,
    operation: &PatchOp<'_>,
) -> Result<(), Error> {
    if operation.verb != PatchVerb::Remove && !value::is_unassigned(operation.value) {
        return Err(Error::invalid_value(format!("{} takes an object of attributes", operation.path)));
    }
    if operation.verb != PatchVerb::Add {
        schema.and_then(|schema| attributes.remove(schema.urn));
    }
    Ok(())
}

/// Works on the object that holds an attribute: the resource, or the object of an extension, which goes when it is empty.
fn in_holder(
    attributes: &mut JsonObject,
    extension: Option<&Schema>,
    work: impl FnOnce(&mut JsonObject) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(schema) = extension else { return work(attributes) };
    let mut holder = take_object(attributes, schema.urn);
    let done = work(&mut holder);
    put_object(attributes, schema.urn, holder);
    done
}

fn attribute(holder: &mut JsonObject, path: AttrPath, operation: &PatchOp<'_>) -> Result<(), Error> {
    let of = path.attribute;
    match (path.sub, of.multi_valued, operation.verb) {
        (None, true, PatchVerb::Add) => in_list(holder, of, |list| list::add(list, of, operation)),
        (None, true, PatchVerb::Replace) => in_list(holder, of, |list| list::replace(list, of, operation)),
        (None, true, PatchVerb::Remove) => in_list(holder, of, |list| list::remove(list, of, operation)),
        (None, false, PatchVerb::Remove) => unassign(holder, of, ScimType::Mutability),
        (None, false, _) if of.kind == AttributeType::Complex => merge(holder, of, operation),
        (None, false, _) => set(holder, of, operation),
        (sub @ Some(_), true, _) => {
            let selection = ElementSelection { of, filter: None, sub };
            in_list(holder, of, |list| list::change(list, &selection, operation))
        }
        (Some(sub), false, _) => set_part(holder, of, sub, operation),
    }
}

fn set(holder: &mut JsonObject, attribute: &Attribute, operation: &PatchOp<'_>) -> Result<(), Error> {
    match value::single(attribute, operation.value, operation.strictness)? {
        Some(value) => put(holder, attribute.name, value),
        None => return unassign(holder, attribute, ScimType::InvalidValue),
    }
    Ok(())
}

/// Takes the value away. A user without `active` would be a leaver who keeps access, so that becomes false.
fn unassign(holder: &mut JsonObject, attribute: &Attribute, refusal: ScimType) -> Result<(), Error> {
    if attribute.required {
        return Err(Error::bad_request(
            refusal,
            format!("{} is required and cannot be removed", attribute.name),
        ));
    }
    holder.remove(attribute.name);
    if attribute.name == ACTIVE {
        put(holder, ACTIVE, Value::Bool(false));
    }
    Ok(())
}

/// Sets the parts of a complex value that are named and leaves the others; a bare text replaces the whole.
fn merge(holder: &mut JsonObject, attribute: &Attribute, operation: &PatchOp<'_>) -> Result<(), Error> {
    if value::is_none(attribute, operation.value, operation.strictness) {
        return unassign(holder, attribute, ScimType::InvalidValue);
    }
    let raw = match operation.strictness {
        ValueStrictness::Tolerant => value::only(operation.value),
        ValueStrictness::Strict => operation.value,
    };
    let parts = value::parts(attribute, raw, operation.strictness)?;
    let before = take_object(holder, attribute.name);
    let mut object = if raw.is_object() { before } else { JsonObject::new() };
    for (sub, value) in parts {
        assign(&mut object, sub, value);
    }
    put_object(holder, attribute.name, object);
    Ok(())
}

fn set_part(
    holder: &mut JsonObject,
    attribute: &Attribute,
    sub: &Attribute,
    operation: &PatchOp<'_>,
) -> Result<(), Error> {
    let value = match operation.verb {
        PatchVerb::Remove => None,
        PatchVerb::Add | PatchVerb::Replace => value::single(sub, operation.value, operation.strictness)?,
    };
    let mut object = take_object(holder, attribute.name);
    assign(&mut object, sub, value);
    put_object(holder, attribute.name, object);
    Ok(())
}

/// Sets or removes a part.
fn assign(object: &mut JsonObject, sub: &Attribute, value: Option<Value>) {
    match value {
        Some(value) => put(object, sub.name, value),
        None => drop(object.remove(sub.name)),
    }
}

/// Works on the elements of a list, which goes when it is empty.
fn in_list(
    holder: &mut JsonObject,
    attribute: &Attribute,
    work: impl FnOnce(&mut Vec<Value>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut elements = match holder.remove(attribute.name) {
        Some(Value::Array(elements)) => elements,
        _ => Vec::new(),
    };
    let done = work(&mut elements);
    if !elements.is_empty() {
        put(holder, attribute.name, Value::Array(elements));
    }
    done
}

fn take_object(holder: &mut JsonObject, name: &str) -> JsonObject {
    match holder.remove(name) {
        Some(Value::Object(object)) => object,
        _ => JsonObject::new(),
    }
}

fn put_object(holder: &mut JsonObject, name: &str, object: JsonObject) {
    if !object.is_empty() {
        put(holder, name, Value::Object(object));
    }
}

fn put(holder: &mut JsonObject, name: &str, value: Value) {
    holder.insert(name.to_owned(), value);
}
