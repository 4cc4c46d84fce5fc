//! The answer of a user as JSON text, written at once from the stored text: a page of a list is made of many, and a tree of each costs
//! more than everything else that the page does.

use crate::scim::projection::Projection;
use crate::scim::resource::{GroupRef, Meta};
use crate::scim::schema::ResourceType::User;
use crate::scim::schema::{ResourceType, Schema};
use crate::scim::stored_document::StoredDocument;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// A user with the groups that were read.
pub(crate) struct UserText<'a> {
    pub document: &'a StoredDocument<'a>,
    pub meta: &'a Meta,
    pub groups: Option<&'a [GroupRef]>,
    pub projection: &'a Projection,
}

impl UserText<'_> {
    /// The same as [`render`](super::user::render) and [`Projection::apply`] make. `None`: the projection names parts of
    /// attributes, which only they cut out.
    pub(crate) fn write(&self) -> Option<String> {
        if self.projection.names_parts() {
            return None;
        }
        serde_json::to_string(self).ok()
    }

    /// The extensions of which attributes are shown.
    fn extensions(&self) -> Vec<ShownExtension<'_>> {
        let shown = |schema: &'static Schema| {
            let attributes = StoredDocument::parse(self.document.get(schema.urn)?.get().as_bytes()).ok()?;
            let shown = ShownExtension { schema, attributes, projection: self.projection };
            let is_empty = shown.entries().next().is_none();
            (!is_empty).then_some(shown)
        };
        User.extensions().iter().copied().filter_map(shown).collect()
    }
}

impl Serialize for UserText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { document, meta, groups, projection } = self;
        let shows = |name: &str| projection.shows_core(name);
        let is_added = |name: &str| FRAME.contains(&name) || name == GROUPS && groups.is_some();
        let mut map = serializer.serialize_map(None)?;
        let extensions = self.extensions();
        let urns = extensions.iter().map(|extension| extension.schema.urn);
        let schemas: Vec<&str> = std::iter::once(User.schema()).chain(urns).collect();
        map.serialize_entry("schemas", &schemas)?;
        if shows("id") {
            map.serialize_entry("id", &meta.id)?;
        }
        for (name, value) in document.iter() {
            if let Some(extension) = extensions.iter().find(|extension| extension.schema.urn == name) {
                map.serialize_entry(name, extension)?;
            } else if shows(name) && !is_added(name) {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(groups) = groups
            && shows(GROUPS)
        {
            let base_url = meta.base_url.as_str();
            let shown: Vec<GroupText<'_>> =
                groups.iter().map(|group| GroupText { base_url, group }).collect();
            map.serialize_entry(GROUPS, &shown)?;
        }
        if shows("meta") {
            map.serialize_entry("meta", &MetaText(meta))?;
        }
        map.end()
    }
}

const GROUPS: &str = "groups";
/// What the service itself adds to every answer, whatever is stored under these names.
const FRAME: [&str; 3] = ["schemas", "id", "meta"];

struct ShownExtension<'a> {
    schema: &'static Schema,
    attributes: StoredDocument<'a>,
    projection: &'a Projection,
}

impl ShownExtension<'_> {
    fn entries(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.attributes.iter().filter(|(name, _)| self.projection.shows_of(self.schema, name))
    }
}

impl Serialize for ShownExtension<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries())
    }
}

struct GroupText<'a> {
    base_url: &'a str,
    group: &'a GroupRef,
}

impl Serialize for GroupText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { base_url, group } = self;
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("value", &group.id)?;
        map.serialize_entry("$ref", &Location { base_url, kind: ResourceType::Group, id: &group.id })?;
        map.serialize_entry("display", &group.display)?;
        map.serialize_entry("type", if group.direct { "direct" } else { "indirect" })?;
        map.end()
    }
}

struct MetaText<'a>(&'a Meta);

impl Serialize for MetaText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Meta { id, created, last_modified, version, base_url } = self.0;
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("resourceType", User.name())?;
        map.serialize_entry("created", created)?;
        map.serialize_entry("lastModified", last_modified)?;
        map.serialize_entry("location", &Location { base_url, kind: User, id })?;
        map.serialize_entry("version", version)?;
        map.end()
    }
}

struct Location<'a> {
    base_url: &'a str,
    kind: ResourceType,
    id: &'a str,
}

impl Serialize for Location<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}/{}", self.base_url, self.kind.endpoint(), self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::resource::Resource;
    use crate::scim::{urn, user};
    use serde_json::{Value, json};

    /// What the projection leaves of a stored user, either way.
    #[track_caller]
    fn check(stored: &Value, groups: Option<&[GroupRef]>, attributes: Option<&str>, excluded: Option<&str>) {
        let resource = Resource::from_stored(User, stored.as_object().unwrap().clone());
        let meta = Meta {
            id: "u\"1".to_owned(),
            created: "2026-01-01T00:00:00.000Z".to_owned(),
            last_modified: "2026-01-02T00:00:00.000Z".to_owned(),
            version: "W/\"3\"".to_owned(),
            base_url: "https://x.example/scim/v2".to_owned(),
        };
        let projection = Projection::parse(User, attributes, excluded).unwrap();
        let expected = projection.apply(user::render(resource.clone(), &meta, groups, None));
        let text = stored.to_string();
        let document = StoredDocument::parse(text.as_bytes()).unwrap();
        let written = UserText { document: &document, meta: &meta, groups, projection: &projection }.write();
        let case = format!("{stored} {attributes:?} {excluded:?}");
        match written {
            Some(text) => assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected, "{case}"),
            None => assert!(projection.names_parts(), "{case}"),
        }
    }

    #[test]
    fn text_and_tree_are_the_same_answer() {
        let stored = [
            json!({}),
            json!({"userName": "ana\u{1}\"", "active": true, "name": {"givenName": "A"}, "emails": [{"value": "a@b"}]}),
            json!({"userName": "b", urn::ENTERPRISE_USER: {"department": "D", "unheardOf": 1}, "unheardOf": [1]}),
            json!({"userName": "c", urn::BACKUP_USER: {"entraObjectId": "x"}, urn::ENTERPRISE_USER: {"unheardOf": 1}}),
            json!({"userName": "d", "schemas": ["x"], "id": "x", "meta": 1, "groups": [1], urn::BACKUP_USER: 7}),
        ];
        let group = |id: &str, direct| GroupRef { id: id.to_owned(), display: "O\"ps".to_owned(), direct };
        let groups = [group("g1", true), group("g2", false)];
        let lists = [
            (None, None),
            (Some("userName,groups"), None),
            (Some("name.givenName"), None),
            (Some(urn::ENTERPRISE_USER), None),
            (None, Some("groups")),
            (None, Some("meta,emails,userName,id,schemas")),
            (None, Some("emails.value")),
            (None, Some("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department")),
            (Some("userName,meta"), Some("meta")),
            (Some("nothing"), Some("nothing")),
        ];
        for stored in &stored {
            for (attributes, excluded) in lists {
                check(stored, None, attributes, excluded);
                check(stored, Some(&[]), attributes, excluded);
                check(stored, Some(&groups), attributes, excluded);
            }
        }
    }
}
