//! From what clients send to assignments: every dialect of PATCH ends here.

use super::Verb;
use crate::scim::assignment::{self, Assignment};
use crate::scim::error::{Error, ScimType};
use crate::scim::path::{member, quoted};
use crate::scim::schema::ResourceType;
use serde_json::{Map, Value};

/// The assignments of a PATCH body (RFC 7644 section 3.5.2), in the order of the request. A mistake names the operation it is
/// in, counted from 1.
pub(super) fn assignments(kind: ResourceType, body: &Value) -> Result<Vec<(Verb, Assignment)>, Error> {
    let operations = body.as_object().and_then(|body| member(body, "Operations")).and_then(Value::as_array);
    let Some(operations) = operations else {
        return Err(Error::invalid_syntax("a PATCH body is an object with a list of Operations"));
    };
    let mut all = Vec::with_capacity(operations.len());
    for (number, raw) in (1..).zip(operations) {
        let (verb, assignments) =
            operation(kind, raw).map_err(|error| assignment::in_operation(number, error))?;
        let placed = |assignment| (verb, Assignment { operation: Some(number), ..assignment });
        all.extend(assignments.into_iter().map(placed));
    }
    Ok(all)
}

fn operation(kind: ResourceType, raw: &Value) -> Result<(Verb, Vec<Assignment>), Error> {
    let Some(raw) = raw.as_object() else {
        return Err(Error::invalid_syntax("an operation is an object with op, path and value"));
    };
    let verb = Verb::parse(member(raw, "op"))?;
    Ok((verb, wanted(kind, verb, path(raw)?, member(raw, "value"))?))
}

fn path(raw: &Map<String, Value>) -> Result<&str, Error> {
    match member(raw, "path") {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(path)) => Ok(path.trim()),
        Some(_) => Err(Error::bad(ScimType::InvalidPath, "path must be text")),
    }
}

fn wanted(
    kind: ResourceType,
    verb: Verb,
    path: &str,
    value: Option<&Value>,
) -> Result<Vec<Assignment>, Error> {
    match (verb, path, value) {
        (Verb::Remove, "", _) => {
            Err(Error::bad(ScimType::NoTarget, "remove needs a path that says what to remove"))
        }
        (Verb::Remove, path, value) => {
            Ok(assignment::of_path(kind, path, true, value.unwrap_or(&Value::Null)))
        }
        (_, _, None) => Err(Error::invalid_value("add and replace need a value; null removes what is there")),
        (_, "", Some(Value::Object(value))) => Ok(assignment::of_object(kind, value)),
        (_, "", Some(_)) => {
            Err(Error::invalid_value("without a path, value must be an object of attributes"))
        }
        (_, path, Some(value)) => Ok(assignment::of_path(kind, path, false, value)),
    }
}

impl Verb {
    /// The operation's name, in any case: Entra ID capitalises it.
    fn parse(raw: Option<&Value>) -> Result<Verb, Error> {
        match raw.and_then(Value::as_str) {
            Some(op) if op.eq_ignore_ascii_case("add") => Ok(Verb::Add),
            Some(op) if op.eq_ignore_ascii_case("replace") => Ok(Verb::Replace),
            Some(op) if op.eq_ignore_ascii_case("remove") => Ok(Verb::Remove),
            Some(other) => {
                Err(Error::invalid_syntax(format!("op is add, replace or remove, not {}", quoted(other))))
            }
            None => Err(Error::invalid_syntax("op is missing; it is add, replace or remove")),
        }
    }
}
