//! Writes as identity providers send them: what they assign, in the dialect of each.

use serde_json::{Map, Value, json};

pub const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const CORE_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const MICROSOFT_GROUP: &str = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    EntraLegacy,
    EntraFlag,
    Okta,
    Rfc,
}

pub const DIALECTS: [Dialect; 4] = [Dialect::EntraLegacy, Dialect::EntraFlag, Dialect::Okta, Dialect::Rfc];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    User,
    Group,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Post,
    Put,
    Patch,
}

/// Where an assignment leads.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// An attribute: its schema where that is an extension, its name, and the sub-attribute.
    Attribute(Option<&'static str>, &'static str, Option<&'static str>),
    /// A path or a key, letter by letter.
    Text(String),
    /// A member of the object of a schema.
    Under(String, String),
}

impl Place {
    pub const fn core(name: &'static str) -> Self {
        Place::Attribute(None, name, None)
    }

    pub const fn sub(name: &'static str, sub: &'static str) -> Self {
        Place::Attribute(None, name, Some(sub))
    }

    /// As a path; and the value, where the path is that of a schema.
    fn path(&self, value: &Value) -> (String, Value) {
        let text = match self {
            Place::Attribute(schema, name, sub) => {
                let schema = schema.map(|schema| format!("{schema}:")).unwrap_or_default();
                let sub = sub.map(|sub| format!(".{sub}")).unwrap_or_default();
                format!("{schema}{name}{sub}")
            }
            Place::Text(text) => text.clone(),
            Place::Under(schema, name) => return (schema.clone(), json!({ name.as_str(): value })),
        };
        (text, value.clone())
    }
}

/// One attribute, and what it is to become.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub place: Place,
    pub value: Value,
}

/// A write before it is rendered.
#[derive(Debug, Clone)]
pub struct Write {
    pub kind: Kind,
    pub method: Method,
    pub dialect: Dialect,
    pub assignments: Vec<Assignment>,
    /// Operations of a PATCH, as they are sent; they follow the others.
    pub operations: Vec<Value>,
    /// Without what identity providers send beside: the core schema, ids, empty lists.
    pub bare: bool,
}

impl Write {
    pub fn new(kind: Kind, method: Method, dialect: Dialect) -> Self {
        Self { kind, method, dialect, assignments: Vec::new(), operations: Vec::new(), bare: false }
    }

    pub fn assign(&mut self, place: Place, value: Value) {
        self.assignments.push(Assignment { place, value });
    }

    /// An assignment to the attribute that is assigned already takes its place.
    pub fn reassign(&mut self, place: Place, value: Value) {
        self.assignments.retain(|assignment| assignment.place != place);
        self.assign(place, value);
    }

    /// Whether that place is the `path` of an operation of its own.
    pub fn is_path(&self, place: &Place) -> bool {
        let has_brackets = matches!(place, Place::Text(text) if text.contains('['));
        match (self.method, self.dialect) {
            (Method::Post | Method::Put, _) | (_, Dialect::Okta) => false,
            (_, Dialect::EntraFlag) => has_brackets,
            (_, Dialect::EntraLegacy | Dialect::Rfc) => true,
        }
    }

    pub fn body(&self) -> Value {
        match self.method {
            Method::Patch => json!({"schemas": [PATCH_OP], "Operations": self.all_operations()}),
            Method::Post | Method::Put => {
                let mut body = if self.bare { Map::new() } else { self.beside() };
                self.assignments.iter().for_each(|assignment| nest(&mut body, assignment));
                Value::Object(body)
            }
        }
    }

    fn all_operations(&self) -> Vec<Value> {
        let (own, together): (Vec<&Assignment>, Vec<&Assignment>) =
            self.assignments.iter().partition(|assignment| self.is_path(&assignment.place));
        let mut operations: Vec<Value> =
            own.into_iter().map(|assignment| self.operation(assignment)).collect();
        let mut object = if self.bare || together.is_empty() { Map::new() } else { self.beside_in_patch() };
        for assignment in &together {
            match self.dialect {
                Dialect::EntraFlag => {
                    let (key, value) = assignment.place.path(&assignment.value);
                    object.insert(key, value);
                }
                _ => nest(&mut object, assignment),
            }
        }
        if !together.is_empty() {
            operations.push(json!({"op": "replace", "value": object}));
        }
        operations.extend(self.operations.iter().cloned());
        operations
    }

    fn operation(&self, assignment: &Assignment) -> Value {
        let (path, value) = assignment.place.path(&assignment.value);
        let adds = path.contains("].");
        match self.dialect {
            Dialect::EntraLegacy => {
                let value = match (path.as_str(), value) {
                    ("active", Value::Bool(true)) => json!("True"),
                    ("active", Value::Bool(false)) => json!("False"),
                    (_, other) => other,
                };
                json!({"op": if adds { "Add" } else { "Replace" }, "path": path, "value": value})
            }
            _ => json!({"op": if adds { "add" } else { "replace" }, "path": path, "value": value}),
        }
    }

    /// What a whole resource has in that dialect beside what the request is about.
    fn beside(&self) -> Map<String, Value> {
        let all = match (self.kind, self.dialect) {
            (Kind::User, Dialect::EntraLegacy) => json!({
                "schemas": [CORE, ENTERPRISE], "meta": {"resourceType": "User"}, "roles": [],
            }),
            // The address of the schema has a misprint in Microsoft's documentation.
            (Kind::User, Dialect::EntraFlag) => json!({
                "schemas": [CORE, "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"],
                "meta": {"resourceType": "User"}, "nickName": null,
            }),
            (Kind::User, Dialect::Okta) => json!({
                "schemas": [CORE], "id": "00u1", "groups": [], "password": "s3cret", "locale": "en-US",
                "meta": {"resourceType": "User"},
            }),
            (Kind::User, Dialect::Rfc) => json!({"schemas": [CORE, ENTERPRISE]}),
            (Kind::Group, Dialect::EntraLegacy | Dialect::EntraFlag) => json!({
                "schemas": [CORE_GROUP, MICROSOFT_GROUP], "meta": {"resourceType": "Group"},
            }),
            (Kind::Group, Dialect::Okta) => json!({"schemas": [CORE_GROUP], "id": "00g1"}),
            (Kind::Group, Dialect::Rfc) => json!({"schemas": [CORE_GROUP]}),
        };
        all.as_object().cloned().unwrap_or_default()
    }

    /// Okta repeats the id in the value of a path-less operation.
    fn beside_in_patch(&self) -> Map<String, Value> {
        match self.dialect {
            Dialect::Okta => json!({"id": "00x1"}).as_object().cloned().unwrap_or_default(),
            _ => Map::new(),
        }
    }
}

/// Puts an assignment into an object that has objects in it.
fn nest(object: &mut Map<String, Value>, Assignment { place, value }: &Assignment) {
    let mut put = |holders: &[&str], name: &str| {
        let mut at = &mut *object;
        for holder in holders {
            let inner = at.entry(*holder).or_insert_with(|| json!({}));
            at = inner.as_object_mut().expect("an object holds it");
        }
        at.insert(name.to_owned(), value.clone());
    };
    match place {
        Place::Attribute(None, name, None) => put(&[], name),
        Place::Attribute(None, name, Some(sub)) => put(&[name], sub),
        Place::Attribute(Some(schema), name, None) => put(&[schema], name),
        Place::Attribute(Some(schema), name, Some(sub)) => put(&[schema, name], sub),
        Place::Text(text) => put(&[], text),
        Place::Under(schema, name) => put(&[schema], name),
    }
}
