//! Assignments: what a request asks of one attribute each. A write is read assignment by assignment, so that a mistake in
//! one of them does not cost the others: what takes access away is carried out, whatever else the request asks for.

use crate::scim::attr_path::AttrPath;
use crate::scim::error::Error;
use crate::scim::json_object::JsonObject;
use crate::scim::patch_path::PatchPath;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::quoted_text::quoted;
use crate::scim::schema::{ResourceType, Schema};
use crate::scim::urn;
use serde_json::Value;

/// The most characters of the name of a dropped assignment that a record keeps.
const NAME_CHARS_MAX: usize = 64;
/// What is recorded of an operation that does not say what it is about.
const NO_NAME: &str = "unnamed";
/// What is recorded in place of a name that no attribute could have.
const NOT_A_NAME: &str = "not-a-name";
/// The most names of dropped assignments that a record keeps, and so of what leads nowhere that is kept at all.
pub(super) const DROPPED_MAX: usize = 50;

/// One attribute, and what it is to become.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AttributeAssignment {
    /// The operation of a PATCH that it belongs to, counted from 1.
    pub operation: Option<usize>,
    pub verb: PatchVerb,
    /// What a record calls it, where it is dropped: a name, never a value.
    pub name: String,
    pub target: AssignmentTarget,
}

/// Where an assignment leads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AssignmentTarget {
    /// To an attribute, some elements of it, or a whole schema.
    Write(PatchPath, Value),
    /// Nowhere: there is no such attribute, or clients may not write it. `of` is the attribute that it is about, if any.
    Nowhere { of: Option<AttrPath>, error: Error },
    /// To a schema that is not ours.
    Foreign,
}

impl AttributeAssignment {
    /// The operation does not say what it is about.
    pub fn is_unnamed(&self) -> bool {
        self.name == NO_NAME
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

/// The assignments of a request, in its order, while they are read.
#[derive(Debug)]
pub(super) struct AttributeAssignments {
    kind: ResourceType,
    operation: Option<usize>,
    verb: PatchVerb,
    found: Vec<AttributeAssignment>,
    /// Those that lead nowhere and are about no attribute.
    strays: usize,
}

impl AttributeAssignments {
    /// None yet. They replace what is there, unless an operation says otherwise.
    pub fn new(kind: ResourceType) -> Self {
        Self { kind, operation: None, verb: PatchVerb::Replace, found: Vec::new(), strays: 0 }
    }

    /// What is added from now on belongs to that operation of a PATCH.
    pub fn enter(&mut self, operation: usize, verb: PatchVerb) {
        self.operation = Some(operation);
        self.verb = verb;
    }

    /// All of them.
    pub fn done(self) -> Vec<AttributeAssignment> {
        self.found
    }

    /// The assignments of an object without a path: a POST or PUT body, or the value of a path-less operation. Keys may be
    /// names in any case, dotted (`name.givenName`), with a URN, or with a value filter, as Entra ID sends them (scenario
    /// entra-flag-pathless-dotted-keys). What is read-only is ignored there: Okta sends `id`, authentik `schemas`.
    pub fn add_object(&mut self, object: &JsonObject) {
        for (key, value) in object {
            match (PatchPath::parse(self.kind, key), value) {
                (Ok(PatchPath::Schema(None)), Value::Object(inner)) => self.add_object(inner),
                (Ok(PatchPath::Schema(Some(schema))), Value::Object(inner)) => {
                    self.add_extension(schema, inner)
                }
                (Ok(path), _) if path.is_read_only() => {}
                (path, value) => self.add((key, NOT_A_NAME), path, value),
            }
        }
    }

    /// The assignments of the object of an extension.
    fn add_extension(&mut self, schema: &'static Schema, object: &JsonObject) {
        for (key, value) in object {
            match AttrPath::resolve_in(schema, key) {
                Some(path) if path.is_read_only() => {}
                Some(path) => {
                    self.push(path.name(), AssignmentTarget::Write(PatchPath::Attribute(path), value.clone()))
                }
                None => {
                    let detail = format!("{} has no attribute {}", schema.urn, quoted(key));
                    let of = AttrPath::leading_in(schema, key);
                    let error = Error::invalid_path(detail);
                    let name = recorded(key).unwrap_or_else(|| NOT_A_NAME.to_owned());
                    self.push(name, AssignmentTarget::Nowhere { of, error });
                }
            }
        }
    }

    /// The assignments of an operation with a path.
    pub fn add_at(&mut self, text: &str, value: &Value) {
        let path = PatchPath::parse(self.kind, text);
        match (&path, value) {
            (Ok(PatchPath::Schema(None)), Value::Object(inner)) if self.verb != PatchVerb::Remove => {
                self.add_object(inner);
            }
            (Ok(PatchPath::Schema(Some(schema))), Value::Object(inner)) if self.verb != PatchVerb::Remove => {
                self.add_extension(schema, inner);
            }
            _ => self.add((text, NO_NAME), path, value),
        }
    }

    /// An assignment that does not say what it is about.
    pub fn add_nowhere(&mut self, error: Error) {
        self.push(NO_NAME.to_owned(), AssignmentTarget::Nowhere { of: None, error });
    }

    /// `unreadable`: what is recorded where the text has no name.
    fn add(&mut self, (text, unreadable): (&str, &str), path: Result<PatchPath, Error>, value: &Value) {
        let recorded = |text| recorded(text).unwrap_or_else(|| unreadable.to_owned());
        let nowhere = |of, error| AssignmentTarget::Nowhere { of, error };
        match path {
            Ok(PatchPath::Schema(None)) => {
                let detail = "the core schema as a path takes an object of attributes and cannot be removed";
                self.push(recorded(text), nowhere(None, Error::no_target(detail)));
            }
            // Derived, or secret: clients repeat it, and it means nothing.
            Ok(path) if path.is_dropped() => {}
            Ok(path) if path.is_read_only() => {
                let detail = format!("{path} is read-only; leave it out of the attribute mapping");
                let error = Error::mutability(detail);
                self.push(name_of(&path).unwrap_or_else(|| recorded(text)), nowhere(path.attribute(), error));
            }
            Ok(path) => self.push(
                name_of(&path).unwrap_or_else(|| recorded(text)),
                AssignmentTarget::Write(path, value.clone()),
            ),
            Err(_) if is_foreign(self.kind, text) => self.push(recorded(text), AssignmentTarget::Foreign),
            Err(error) => self.push(recorded(text), nowhere(AttrPath::leading(self.kind, text), error)),
        }
    }

    fn push(&mut self, name: String, target: AssignmentTarget) {
        let stray = matches!(target, AssignmentTarget::Foreign | AssignmentTarget::Nowhere { of: None, .. });
        self.strays += usize::from(stray);
        if !stray || self.strays <= DROPPED_MAX {
            self.found.push(AttributeAssignment { operation: self.operation, verb: self.verb, name, target });
        }
    }
}

/// Begins with the URN of a schema that resources of this kind do not have.
fn is_foreign(kind: ResourceType, text: &str) -> bool {
    let ours = std::iter::once(kind.core()).chain(kind.extensions().iter().copied());
    let is_urn = text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("urn:"));
    is_urn && !ours.into_iter().any(|schema| urn::after(text, schema.urn).is_some())
}

fn name_of(path: &PatchPath) -> Option<String> {
    path.attribute().map(|path| path.name())
}

/// A name as a record keeps it: without what follows it, which may be a value. None where the text has none.
fn recorded(text: &str) -> Option<String> {
    let is_name = |c: &char| c.is_alphanumeric() || matches!(c, ':' | '.' | '-' | '_' | '$' | '/');
    let text = text.trim().trim_start_matches('@');
    let name: String = text.chars().take_while(is_name).take(NAME_CHARS_MAX).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::error::ScimType;
    use ResourceType::User;
    use serde_json::json;

    fn drop_note(assignment: &AttributeAssignment) -> String {
        let target = match &assignment.target {
            AssignmentTarget::Write(path, value) => format!("{path} = {value}"),
            AssignmentTarget::Nowhere { of, error } => {
                let of = of.map_or("nothing", |path| path.attribute.name);
                format!("{of}: {}", error.scim_type.map_or("", ScimType::keyword))
            }
            AssignmentTarget::Foreign => "foreign".to_owned(),
        };
        format!("{} | {target}", assignment.name)
    }

    fn of_object(object: &Value) -> Vec<AttributeAssignment> {
        let mut all = AttributeAssignments::new(User);
        all.add_object(object.as_object().unwrap());
        all.done()
    }

    #[track_caller]
    fn reads(object: Value, expected: &[&str]) {
        let read: Vec<String> = of_object(&object).iter().map(drop_note).collect();
        assert_eq!(read, expected, "{object}");
    }

    #[test]
    fn each_key_of_an_object_is_one_assignment() {
        reads(json!({"USERNAME": "ana"}), &["userName | userName = \"ana\""]);
        reads(json!({"id": "x", "Meta": {}, "groups": [], "schemas": [], "password": "p"}), &[]);
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
            &[&department, "department.x | department: invalidPath", "shoeSize | nothing: invalidPath"],
        );
        // Names that no attribute could have are no mistake of the others.
        reads(
            json!({"@odata.type": "x", "#": 1, "": 2}),
            &[
                "not-a-name | nothing: invalidPath",
                "not-a-name | nothing: invalidPath",
                "odata.type | nothing: invalidPath",
            ],
        );
        reads(
            json!({format!("{}Extra", urn::USER): {"a": 1}}),
            &["urn:ietf:params:scim:schemas:core:2.0:UserExtra | foreign"],
        );
    }

    #[track_caller]
    fn at_path(verb: PatchVerb, text: &str, value: Value, expected: &[&str]) {
        let mut all = AttributeAssignments::new(User);
        all.enter(1, verb);
        all.add_at(text, &value);
        assert_eq!(all.done().iter().map(drop_note).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn a_path_is_one_assignment() {
        at_path(PatchVerb::Remove, "title", Value::Null, &["title | title = null"]);
        at_path(PatchVerb::Replace, "id", json!("x"), &["id | id: mutability"]);
        at_path(
            PatchVerb::Add,
            "manager.displayName",
            json!("x"),
            &["manager.displayName | manager: mutability"],
        );
        at_path(PatchVerb::Add, "password", json!("x"), &[]);
        at_path(
            PatchVerb::Remove,
            urn::USER,
            Value::Null,
            &["urn:ietf:params:scim:schemas:core:2.0:User | nothing: noTarget"],
        );
        at_path(PatchVerb::Add, urn::USER, json!({"title": "T"}), &["title | title = \"T\""]);
        at_path(PatchVerb::Add, "URN:x:things[type eq \"a\"].value", json!(1), &["URN:x:things | foreign"]);
        let no_such = "urn:ietf:params:scim:schemas:core:2.0:User:noSuch | nothing: invalidPath";
        at_path(PatchVerb::Add, &format!("{}:noSuch", urn::USER), json!(1), &[no_such]);
        at_path(PatchVerb::Add, "members", json!([]), &["members | nothing: invalidPath"]);
    }

    #[test]
    fn of_what_leads_nowhere_no_more_is_kept_than_is_recorded() {
        let mut object: JsonObject = (0..200).map(|n| (format!("a{n}"), json!(n))).collect();
        object.extend([("userName".to_owned(), json!("ana")), ("userName[".to_owned(), json!("ana"))]);
        assert_eq!(of_object(&Value::Object(object)).len(), DROPPED_MAX + 2);
    }

    #[test]
    fn a_record_keeps_a_name_and_no_value() {
        let name = |text: &str| recorded(text).unwrap();
        assert_eq!(name("emails[value eq \"ana@contoso.example\"].x"), "emails");
        assert_eq!(name("a\u{1b}]0;x"), "a");
        assert_eq!(recorded("  \"Jane\""), None);
        assert_eq!(name("@odata.type"), "odata.type");
        assert_eq!(name(&"größe".repeat(20)).chars().count(), 64);
    }
}
