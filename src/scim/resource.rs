//! A resource as it is stored, and what is added to it when it is shown.

use crate::scim::json_object::JsonObject;
use crate::scim::schema::ResourceType;
use crate::scim::urn;
use serde_json::Value;

/// The attribute that says whether a user may hold access (RFC 7643 section 4.1.1).
pub(super) const ACTIVE: &str = "active";
/// The attribute of our own extension that names the Entra object.
pub(super) const ENTRA_OBJECT_ID: &str = "entraObjectId";

/// The stored attributes of a resource, by their canonical names: what clients may write, without `members` and `password`.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    kind: ResourceType,
    attributes: JsonObject,
}

impl Resource {
    /// Attributes that were checked, or stored once.
    pub fn from_stored(kind: ResourceType, attributes: JsonObject) -> Self {
        Self { kind, attributes }
    }

    /// What is stored.
    pub fn attributes(&self) -> &JsonObject {
        &self.attributes
    }

    /// The kind of resource.
    pub fn kind(&self) -> ResourceType {
        self.kind
    }

    /// The text of a core attribute.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).and_then(Value::as_str)
    }

    /// The object id in Entra ID, as it was given.
    pub fn entra_object_id(&self) -> Option<&str> {
        self.attributes.get(urn::BACKUP_USER)?.get(ENTRA_OBJECT_ID)?.as_str()
    }

    /// Whether the user may hold access.
    pub fn active(&self) -> bool {
        self.attributes.get(ACTIVE).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Every mail address.
    pub fn emails(&self) -> Vec<&str> {
        let emails = self.attributes.get("emails").and_then(Value::as_array);
        emails.into_iter().flatten().filter_map(|email| email.get("value")?.as_str()).collect()
    }

    /// The names of the top-level attributes that differ, sorted; those of an extension with its URN.
    pub fn changed_attributes(&self, after: &Resource) -> Vec<String> {
        let mine = self.flat();
        let theirs = after.flat();
        let mut names: Vec<String> = mine
            .iter()
            .filter(|entry| !theirs.contains(entry))
            .chain(theirs.iter().filter(|entry| !mine.contains(entry)))
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn flat(&self) -> Vec<(String, &Value)> {
        let mut flat = Vec::new();
        for (name, value) in &self.attributes {
            match (self.kind.extension(name), value) {
                (Some(schema), Value::Object(inner)) => {
                    flat.extend(inner.iter().map(|(name, value)| (format!("{}:{name}", schema.urn), value)));
                }
                _ => flat.push((name.clone(), value)),
            }
        }
        flat
    }

    /// The common frame of an answer (RFC 7643 section 3.1): attributes, `schemas`, `id` and `meta`.
    pub(super) fn frame(self, meta: &Meta) -> JsonObject {
        let mut shown = self.attributes;
        shown.insert("id".to_owned(), Value::from(meta.id.as_str()));
        shown.insert("meta".to_owned(), meta.render(self.kind));
        set_schemas(self.kind, &mut shown);
        shown
    }
}

/// Lists the core schema, and each extension of which something is shown (RFC 7643 section 3).
pub(super) fn set_schemas(kind: ResourceType, shown: &mut JsonObject) {
    let extensions = kind.extensions().iter().map(|schema| schema.urn).filter(|urn| shown.contains_key(*urn));
    let schemas: Vec<&str> = std::iter::once(kind.schema()).chain(extensions).collect();
    shown.insert("schemas".to_owned(), Value::from(schemas));
}

/// Who is in a group, as a client names it (RFC 7643 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRef {
    /// The id of the member.
    pub value: String,
    /// The `type` sub-attribute as it was sent.
    pub kind: Option<String>,
}

/// What is known about a resource beside its attributes (RFC 7643 section 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The id.
    pub id: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// When it was last changed, RFC 3339.
    pub last_modified: String,
    /// The weak entity tag.
    pub version: String,
    /// The address of the service, ending in `/scim/v2`.
    pub base_url: String,
}

impl Meta {
    /// The address of the resource.
    pub fn location(&self, kind: ResourceType) -> String {
        location(&self.base_url, kind, &self.id)
    }

    fn render(&self, kind: ResourceType) -> Value {
        serde_json::json!({
            "resourceType": kind.name(),
            "created": self.created,
            "lastModified": self.last_modified,
            "location": self.location(kind),
            "version": self.version,
        })
    }
}

pub(super) fn location(base_url: &str, kind: ResourceType, id: &str) -> String {
    format!("{base_url}/{}/{id}", kind.endpoint())
}

/// A group that a user is in (RFC 7643 section 4.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRef {
    /// The id of the group.
    pub id: String,
    /// Its name.
    pub display: String,
    /// The user is a member itself, not only through another group.
    pub direct: bool,
}

/// The values of `grants` and `grantState` in our own extension.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessView {
    /// One object for each binding, role and scope that is wanted or held.
    pub grants: Vec<Value>,
    /// The worst state of them.
    pub grant_state: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource(value: Value) -> Resource {
        Resource::from_stored(ResourceType::User, value.as_object().unwrap().clone())
    }

    #[test]
    fn facts_are_read_from_what_is_stored() {
        let user = resource(json!({
            "userName": "ana", "active": true, "emails": [{"value": "a@b"}, {"type": "work"}],
            urn::BACKUP_USER: {"entraObjectId": "x"},
        }));
        assert_eq!(user.text("userName"), Some("ana"));
        assert_eq!(user.emails(), ["a@b"]);
        assert!(user.active());
        assert_eq!(user.entra_object_id(), Some("x"));
        assert!(!resource(json!({})).active());
    }

    #[test]
    fn changed_attributes_are_named_with_their_extension() {
        let before = resource(
            json!({"userName": "a", "title": "t", urn::ENTERPRISE_USER: {"department": "d", "division": "v"}}),
        );
        let after = resource(
            json!({"userName": "b", "title": "t", urn::ENTERPRISE_USER: {"department": "e", "division": "v"}, "locale": "de"}),
        );
        let department = format!("{}:department", urn::ENTERPRISE_USER);
        assert_eq!(
            before.changed_attributes(&after),
            ["locale".to_owned(), department, "userName".to_owned()]
        );
        assert!(before.changed_attributes(&before).is_empty());
    }
}
