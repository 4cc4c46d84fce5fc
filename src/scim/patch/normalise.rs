//! From what clients send to assignments: every dialect of PATCH ends here.

use crate::scim::assignment::{AttributeAssignment, AttributeAssignments, in_operation};
use crate::scim::error::Error;
use crate::scim::json_object::{JsonObject, member};
use crate::scim::patch_verb::PatchVerb;
use crate::scim::schema::ResourceType;
use serde_json::Value;

/// The assignments of a PATCH body (RFC 7644 section 3.5.2), in the order of the request. A mistake names the operation it is
/// in, counted from 1. An operation that says what to do and not to what is an assignment that leads nowhere.
pub(in crate::scim) fn assignments(
    kind: ResourceType,
    body: &JsonObject,
) -> Result<Vec<AttributeAssignment>, Error> {
    let Some(operations) = member(body, "Operations").and_then(Value::as_array) else {
        return Err(no_operations());
    };
    let mut all = AttributeAssignments::new(kind);
    for (number, raw) in (1..).zip(operations) {
        operation(&mut all, number, raw).map_err(|error| in_operation(number, error))?;
    }
    Ok(all.done())
}

/// 400: what every PATCH body needs.
pub(super) fn no_operations() -> Error {
    Error::invalid_syntax("a PATCH body is an object with a list of Operations")
}

fn operation(all: &mut AttributeAssignments, number: usize, raw: &Value) -> Result<(), Error> {
    let Some(raw) = raw.as_object() else {
        return Err(Error::invalid_syntax("an operation is an object with op, path and value"));
    };
    let verb = PatchVerb::parse(member(raw, "op"))?;
    all.enter(number, verb);
    match (verb, path(raw), member(raw, "value")) {
        (PatchVerb::Remove, Ok(""), _) => {
            all.add_nowhere(Error::no_target("remove needs a path that says what to remove"));
        }
        (PatchVerb::Remove, Ok(path), value) => all.add_at(path, value.unwrap_or(&Value::Null)),
        (PatchVerb::Add | PatchVerb::Replace, _, None) => {
            return Err(Error::invalid_value("add and replace need a value; null removes what is there"));
        }
        (_, Ok(""), Some(Value::Object(value))) => all.add_object(value),
        (_, Ok(""), Some(_)) => {
            all.add_nowhere(Error::invalid_value("without a path, value must be an object of attributes"));
        }
        (_, Ok(path), Some(value)) => all.add_at(path, value),
        (_, Err(error), _) => all.add_nowhere(error),
    }
    Ok(())
}

fn path(raw: &JsonObject) -> Result<&str, Error> {
    match member(raw, "path") {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(path)) => Ok(path.trim()),
        Some(_) => Err(Error::invalid_path("path must be text")),
    }
}
