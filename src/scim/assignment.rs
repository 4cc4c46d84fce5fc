//! Assignments: what a request asks of one attribute each. A write is read assignment by assignment, so that a mistake in
//! one of them does not cost the others: what takes access away is carried out, whatever stands beside it.

use super::error::{Error, ScimType};
use super::path::{AttrPath, Path, quoted};
use super::schema::{ResourceType, Schema};
use super::urn;
use serde_json::{Map, Value};

/// The most characters of the name of a dropped assignment that a record keeps.
const NAME_CHARS_MAX: usize = 64;
/// What is recorded in place of a name that no attribute could have.
const NO_NAME: &str = "unnamed";

/// One attribute, and what it is to become.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    /// The operation of a PATCH that it stands in, counted from 1.
    pub operation: Option<usize>,
    /// What a record calls it, where it is dropped: a name, never a value.
    pub name: String,
    pub target: Target,
}

impl Assignment {
    fn new(name: String, target: Target) -> Self {
        Self { operation: None, name, target }
    }

    /// The error, with the place of this assignment in the request.
    pub fn placed(&self, error: Error) -> Error {
        match self.operation {
            None => error,
            Some(number) => in_operation(number, error),
        }
    }
}

/// The error, with the operation of a PATCH that it is in.
pub(super) fn in_operation(number: usize, error: Error) -> Error {
    Error { detail: format!("operation {number}: {}", error.detail), ..error }
}

/// Where an assignment leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// To an attribute, some elements of it, or a whole schema.
    Write(Path, Value),
    /// Nowhere: there is no such attribute, or clients may not write it. `of` is the attribute that it is about, if any.
    Nowhere { of: Option<AttrPath>, error: Error },
    /// To a schema that is not ours.
    Foreign,
    /// To what is derived, or secret: clients repeat it, and it means nothing.
    Ignored,
}

/// The assignments of an object without a path: a POST or PUT body, or the value of a path-less operation. Keys may be
/// names in any case, dotted (`name.givenName`), with a URN, or with a value filter, as Entra ID sends them (scenario
/// entra-flag-pathless-dotted-keys). What is read-only is ignored there: Okta sends `id`, authentik `schemas`.
pub(super) fn of_object(kind: ResourceType, object: &Map<String, Value>) -> Vec<Assignment> {
    let mut found = Vec::with_capacity(object.len());
    for (key, value) in object {
        match (Path::parse(kind, key), value) {
            (Ok(Path::Schema(None)), Value::Object(inner)) => found.extend(of_object(kind, inner)),
            (Ok(Path::Schema(Some(schema))), Value::Object(inner)) => {
                found.extend(of_extension(schema, inner))
            }
            (Ok(path), _) if path.is_read_only() => found.push(ignored(key)),
            (path, value) => found.push(at(kind, key, path, value)),
        }
    }
    found
}

/// The assignments of the object of an extension.
fn of_extension(schema: &'static Schema, object: &Map<String, Value>) -> Vec<Assignment> {
    let one = |(key, value): (&String, &Value)| match AttrPath::resolve_in(schema, key) {
        Some(path) if path.is_read_only() => ignored(key),
        Some(path) => Assignment::new(path.name(), Target::Write(Path::Attribute(path), value.clone())),
        None => {
            let detail = format!("{} has no attribute {}", schema.urn, quoted(key));
            let of = AttrPath::leading_in(schema, key);
            let error = Error::bad(ScimType::InvalidPath, detail);
            Assignment::new(recorded(key), Target::Nowhere { of, error })
        }
    };
    object.iter().map(one).collect()
}

/// The assignments of an operation that gives or removes a value at a path.
pub(super) fn of_path(kind: ResourceType, text: &str, removes: bool, value: &Value) -> Vec<Assignment> {
    let path = Path::parse(kind, text);
    match (&path, value) {
        (Ok(Path::Schema(None)), Value::Object(inner)) if !removes => of_object(kind, inner),
        (Ok(Path::Schema(Some(schema))), Value::Object(inner)) if !removes => of_extension(schema, inner),
        _ => vec![at(kind, text, path, value)],
    }
}

fn at(kind: ResourceType, text: &str, path: Result<Path, Error>, value: &Value) -> Assignment {
    let nowhere = |of, error| Target::Nowhere { of, error };
    let (name, target) = match path {
        Ok(Path::Schema(None)) => {
            let detail = "the core schema as a path takes an object of attributes and cannot be removed";
            (recorded(text), nowhere(None, Error::bad(ScimType::NoTarget, detail)))
        }
        Ok(path) if path.is_dropped() => return ignored(text),
        Ok(path) if path.is_read_only() => {
            let detail = format!("{path} is read-only; leave it out of the attribute mapping");
            (name_of(&path, text), nowhere(path.attribute(), Error::bad(ScimType::Mutability, detail)))
        }
        Ok(path) => (name_of(&path, text), Target::Write(path, value.clone())),
        Err(_) if is_foreign(kind, text) => (recorded(text), Target::Foreign),
        Err(error) => (recorded(text), nowhere(AttrPath::leading(kind, text), error)),
    };
    Assignment::new(name, target)
}

fn ignored(text: &str) -> Assignment {
    Assignment::new(recorded(text), Target::Ignored)
}

/// Begins with the URN of a schema that resources of this kind do not have.
fn is_foreign(kind: ResourceType, text: &str) -> bool {
    let ours = std::iter::once(kind.core()).chain(kind.extensions().iter().copied());
    let is_urn = text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("urn:"));
    is_urn && !ours.into_iter().any(|schema| urn::after(text, schema.urn).is_some())
}

fn name_of(path: &Path, text: &str) -> String {
    path.attribute().map_or_else(|| recorded(text), |path| path.name())
}

/// A name as a record keeps it: without what follows it, which may be a value.
fn recorded(text: &str) -> String {
    let is_name = |c: &char| c.is_alphanumeric() || matches!(c, ':' | '.' | '-' | '_' | '$' | '/');
    let name: String = text.trim().chars().take_while(is_name).take(NAME_CHARS_MAX).collect();
    if name.is_empty() { NO_NAME.to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceType::User;
    use serde_json::json;

    fn told(assignment: &Assignment) -> String {
        let target = match &assignment.target {
            Target::Write(path, value) => format!("{path} = {value}"),
            Target::Nowhere { of, error } => {
                let of = of.map_or("nothing", |path| path.attribute.name);
                format!("{of}: {}", error.scim_type.map_or("", ScimType::keyword))
            }
            Target::Foreign => "foreign".to_owned(),
            Target::Ignored => "ignored".to_owned(),
        };
        format!("{} | {target}", assignment.name)
    }

    #[track_caller]
    fn reads(object: Value, expected: &[&str]) {
        let read: Vec<String> = of_object(User, object.as_object().unwrap()).iter().map(told).collect();
        assert_eq!(read, expected, "{object}");
    }

    #[test]
    fn each_key_of_an_object_is_one_assignment() {
        reads(json!({"USERNAME": "ana"}), &["userName | userName = \"ana\""]);
        reads(
            json!({"id": "x", "Meta": {}, "groups": [], "schemas": [], "password": "p"}),
            &[
                "Meta | ignored",
                "groups | ignored",
                "id | ignored",
                "password | ignored",
                "schemas | ignored",
            ],
        );
        reads(
            json!({"shoeSize": 44, "name.nothing": 1, "active[": true}),
            &[
                "active | active: invalidPath",
                "name.nothing | name: invalidPath",
                "shoeSize | nothing: invalidPath",
            ],
        );
        let badge = "urn:contoso:2.0:User:badge";
        reads(
            json!({badge: 1, "urn:contoso:2.0:User": {"a": 1, "b": 2}}),
            &["urn:contoso:2.0:User | foreign", "urn:contoso:2.0:User:badge | foreign"],
        );
        reads(
            json!({urn::USER: {"title": "T", urn::USER: {"shoeSize": 1}}}),
            &["title | title = \"T\"", "shoeSize | nothing: invalidPath"],
        );
        let enterprise =
            json!({"department": "D", "shoeSize": 1, "manager.displayName": "B", "department.x": 1});
        let department = format!("department | {}:department = \"D\"", urn::ENTERPRISE_USER);
        reads(
            json!({urn::ENTERPRISE_USER: enterprise}),
            &[
                &department,
                "department.x | department: invalidPath",
                "manager.displayName | ignored",
                "shoeSize | nothing: invalidPath",
            ],
        );
    }

    #[track_caller]
    fn at_path(text: &str, removes: bool, value: Value, expected: &str) {
        let read: Vec<String> = of_path(User, text, removes, &value).iter().map(told).collect();
        assert_eq!(read, [expected], "{text}");
    }

    #[test]
    fn a_path_is_one_assignment() {
        at_path("title", true, Value::Null, "title | title = null");
        at_path("id", false, json!("x"), "id | id: mutability");
        at_path("manager.displayName", false, json!("x"), "manager.displayName | manager: mutability");
        at_path("password", false, json!("x"), "password | ignored");
        at_path(
            urn::USER,
            true,
            Value::Null,
            "urn:ietf:params:scim:schemas:core:2.0:User | nothing: noTarget",
        );
        at_path("URN:x:things[type eq \"a\"].value", false, json!(1), "URN:x:things | foreign");
        at_path(
            &format!("{}:noSuch", urn::USER),
            false,
            json!(1),
            "urn:ietf:params:scim:schemas:core:2.0:User:noSuch | nothing: invalidPath",
        );
        at_path("members", false, json!([]), "members | nothing: invalidPath");
    }

    #[test]
    fn a_record_keeps_a_name_and_no_value() {
        assert_eq!(recorded("emails[value eq \"ana@contoso.example\"].x"), "emails");
        assert_eq!(recorded("a\u{1b}]0;x"), "a");
        assert_eq!(recorded("  \"Jane\""), "unnamed");
        assert_eq!(recorded(&"größe".repeat(20)).chars().count(), 64);
    }
}
