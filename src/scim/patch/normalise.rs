//! From what clients send to operations the engine understands: every dialect ends here.

use super::members;
use super::{MemberChange, Operation, Verb};
use crate::scim::error::{Error, ScimType};
use crate::scim::path::{AttrPath, Path, member, quoted};
use crate::scim::schema::{ResourceType, Schema};
use crate::scim::value::is_unassigned;
use serde_json::{Map, Value};

/// One thing to do, in the order of the request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Attribute(Operation),
    Member(MemberChange),
}

/// The steps of a PATCH body (RFC 7644 section 3.5.2). A mistake names the operation it is in, counted from 1.
pub(super) fn steps(kind: ResourceType, body: &Value) -> Result<Vec<Step>, Error> {
    let operations = body.as_object().and_then(|body| member(body, "Operations")).and_then(Value::as_array);
    let Some(operations) = operations else {
        return Err(Error::invalid_syntax("a PATCH body is an object with a list of Operations"));
    };
    let mut steps = Vec::with_capacity(operations.len());
    for (index, raw) in operations.iter().enumerate() {
        let done = operation(kind, raw).map_err(|error| in_operation(index, &error))?;
        steps.extend(done);
    }
    Ok(steps)
}

fn in_operation(index: usize, error: &Error) -> Error {
    Error::new(error.status, error.scim_type, format!("operation {}: {}", index + 1, error.detail))
}

fn operation(kind: ResourceType, raw: &Value) -> Result<Vec<Step>, Error> {
    let Some(raw) = raw.as_object() else {
        return Err(Error::invalid_syntax("an operation is an object with op, path and value"));
    };
    let verb = Verb::parse(member(raw, "op"))?;
    let value = member(raw, "value");
    let path = match member(raw, "path") {
        None | Some(Value::Null) => "",
        Some(Value::String(path)) => path.trim(),
        Some(_) => return Err(Error::bad(ScimType::InvalidPath, "path must be text")),
    };
    match (verb, path, value) {
        (Verb::Remove, "", _) => {
            Err(Error::bad(ScimType::NoTarget, "remove needs a path that says what to remove"))
        }
        (Verb::Remove, path, value) => at_path(kind, verb, path, value.unwrap_or(&Value::Null)),
        (_, _, None) => Err(Error::invalid_value("add and replace need a value; null removes what is there")),
        (_, "", Some(Value::Object(value))) => all_steps(kind, verb, assignments(kind, value)),
        (_, "", Some(_)) => {
            Err(Error::invalid_value("without a path, value must be an object of attributes"))
        }
        (_, path, Some(value)) => at_path(kind, verb, path, value),
    }
}

fn at_path(kind: ResourceType, verb: Verb, text: &str, value: &Value) -> Result<Vec<Step>, Error> {
    let path = Path::parse(kind, text)?;
    match (&path, value) {
        (Path::Schema(None), Value::Object(value)) if verb != Verb::Remove => {
            all_steps(kind, verb, assignments(kind, value))
        }
        (Path::Schema(None), _) => Err(Error::bad(
            ScimType::NoTarget,
            "the core schema as a path takes an object of attributes and cannot be removed",
        )),
        (Path::Schema(Some(schema)), Value::Object(value)) if verb != Verb::Remove => {
            all_steps(kind, verb, in_extension(schema, value))
        }
        _ if path.attribute().is_some_and(|path| path.attribute.is_dropped()) => Ok(Vec::new()),
        _ if path.is_read_only() => Err(Error::bad(
            ScimType::Mutability,
            format!("{path} is read-only; leave it out of the attribute mapping"),
        )),
        _ => step(kind, verb, path, value.clone()),
    }
}

fn all_steps(kind: ResourceType, verb: Verb, values: Vec<(Path, Value)>) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::with_capacity(values.len());
    for (path, value) in values {
        steps.extend(step(kind, verb, path, value)?);
    }
    Ok(steps)
}

fn step(kind: ResourceType, verb: Verb, path: Path, value: Value) -> Result<Vec<Step>, Error> {
    if is_members(kind, &path) {
        let change = members::change(verb, path, &value)?;
        return Ok(change.into_iter().map(Step::Member).collect());
    }
    let verb = match (&path, verb) {
        (Path::Schema(_), _) if !is_unassigned(&value) && verb != Verb::Remove => {
            return Err(Error::invalid_value(format!("{path} takes an object of attributes")));
        }
        (Path::Schema(_), Verb::Add) => return Ok(Vec::new()),
        (Path::Schema(_), _) => Verb::Remove,
        _ => verb,
    };
    Ok(vec![Step::Attribute(Operation { verb, path, value })])
}

/// Members are not part of the stored attributes; the store keeps each one by itself.
pub(in crate::scim) fn is_members(kind: ResourceType, path: &Path) -> bool {
    kind == ResourceType::Group && path.attribute().is_some_and(|path| path.attribute.name == "members")
}

/// The attributes of an object without a path: a POST or PUT body, or the value of a path-less operation. Keys may be
/// names in any case, dotted (`name.givenName`), with a URN, or with a value filter, as Entra ID sends them (scenario
/// entra-flag-pathless-dotted-keys). What is unknown, read-only or derived is left out: Okta sends `id` here, authentik
/// `schemas`.
pub(in crate::scim) fn assignments(kind: ResourceType, object: &Map<String, Value>) -> Vec<(Path, Value)> {
    let mut found = Vec::with_capacity(object.len());
    for (key, value) in object {
        match (Path::parse(kind, key), value) {
            (Ok(Path::Schema(None)), Value::Object(inner)) => found.extend(assignments(kind, inner)),
            (Ok(Path::Schema(Some(schema))), Value::Object(inner)) => {
                found.extend(in_extension(schema, inner))
            }
            (Ok(Path::Schema(None)) | Err(_), _) => {}
            (Ok(path), value) if is_writable(&path) => found.push((path, value.clone())),
            (Ok(_), _) => {}
        }
    }
    found
}

/// The attributes of the object of an extension.
fn in_extension(schema: &'static Schema, object: &Map<String, Value>) -> Vec<(Path, Value)> {
    let paths = object.iter().filter_map(|(key, value)| {
        let path = Path::Attribute(AttrPath::resolve_in(schema, key)?);
        Some((path, value.clone()))
    });
    paths.filter(|(path, _)| is_writable(path)).collect()
}

fn is_writable(path: &Path) -> bool {
    !path.is_read_only() && !path.attribute().is_some_and(|path| path.attribute.is_dropped())
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
