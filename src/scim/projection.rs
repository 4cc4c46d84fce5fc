//! Which attributes an answer shows (RFC 7644 sections 3.4.2.5 and 3.9).

use crate::scim::attr_path::AttrPath;
use crate::scim::error::Error;
use crate::scim::json_object::JsonObject;
use crate::scim::patch_path::PatchPath;
use crate::scim::resource::set_schemas;
use crate::scim::schema::{Attribute, COMMON, ResourceType, Returned, Schema, find};
use serde_json::Value;

/// What `attributes` and `excludedAttributes` ask for. Names that do not exist are ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    kind: ResourceType,
    only: Option<Vec<PatchPath>>,
    without: Vec<PatchPath>,
}

/// How much of an attribute is shown.
enum ShownParts {
    Nothing,
    All,
    /// Only these sub-attributes.
    Only(Vec<&'static str>),
    /// All but these sub-attributes.
    Without(Vec<&'static str>),
}

impl Projection {
    /// Reads the two comma lists; where both are given, the second takes away from the first.
    pub fn parse(
        kind: ResourceType,
        attributes: Option<&str>,
        excluded: Option<&str>,
    ) -> Result<Self, Error> {
        let given = attributes.filter(|list| !list.trim().is_empty());
        let only = given.map(|list| names(kind, list));
        Ok(Self { kind, only, without: names(kind, excluded.unwrap_or_default()) })
    }

    /// Everything that is shown by default.
    pub fn all(kind: ResourceType) -> Self {
        Self { kind, only: None, without: Vec::new() }
    }

    /// Was `attributes` given?
    pub fn asks_attributes(&self) -> bool {
        self.only.is_some()
    }

    /// Would that top-level attribute be in the answer?
    pub fn wants(&self, attribute: &str) -> bool {
        AttrPath::resolve(self.kind, attribute).is_some_and(|path| {
            !matches!(self.shown_parts(path.extension, path.attribute), ShownParts::Nothing)
        })
    }

    /// Whether it asks for sub-attributes, which have to be cut out.
    pub(super) fn names_parts(&self) -> bool {
        let has_sub = |path: &PatchPath| matches!(path, PatchPath::Attribute(path) if path.sub.is_some());
        self.only.iter().flatten().chain(&self.without).any(has_sub)
    }

    /// Whether that core or common attribute is shown, where no parts are named.
    pub(super) fn shows_core(&self, name: &str) -> bool {
        let attribute = self.kind.core().attribute(name).or_else(|| find(COMMON, name));
        attribute.is_some_and(|attribute| !matches!(self.shown_parts(None, attribute), ShownParts::Nothing))
    }

    /// Whether that attribute of an extension is shown, where no parts are named.
    pub(super) fn shows_of(&self, extension: &'static Schema, name: &str) -> bool {
        let attribute = extension.attribute(name);
        let shown = attribute.map(|attribute| self.shown_parts(Some(extension), attribute));
        shown.is_some_and(|shown| !matches!(shown, ShownParts::Nothing))
    }

    /// The answer with what was asked for.
    pub fn apply(&self, rendered: Value) -> Value {
        let Value::Object(mut shown) = rendered else { return rendered };
        shown.retain(|name, value| {
            let kept = match (self.kind.extension(name), value.take()) {
                (Some(schema), Value::Object(inner)) => self.extension(schema, inner),
                (_, value) => self.core(name, value),
            };
            let is_shown = kept.is_some();
            *value = kept.unwrap_or_default();
            is_shown
        });
        set_schemas(self.kind, &mut shown);
        Value::Object(shown)
    }

    fn core(&self, name: &str, value: Value) -> Option<Value> {
        let attribute = self.kind.core().attribute(name).or_else(|| find(COMMON, name))?;
        self.shown_parts(None, attribute).of(value)
    }

    fn extension(&self, schema: &'static Schema, mut inner: JsonObject) -> Option<Value> {
        inner.retain(|name, value| {
            let shown = schema.attribute(name).map(|attribute| self.shown_parts(Some(schema), attribute));
            let kept = shown.and_then(|shown| shown.of(value.take()));
            let is_shown = kept.is_some();
            *value = kept.unwrap_or_default();
            is_shown
        });
        (!inner.is_empty()).then_some(Value::Object(inner))
    }

    fn shown_parts(&self, extension: Option<&'static Schema>, attribute: &Attribute) -> ShownParts {
        let included = match (&self.only, attribute.returned) {
            (_, Returned::Always) => return ShownParts::All,
            (_, Returned::Never) | (None, Returned::Request) => return ShownParts::Nothing,
            (None, Returned::Default) => ShownParts::All,
            (Some(only), returned) => mentions(only, extension, attribute, returned == Returned::Default),
        };
        match (included, mentions(&self.without, extension, attribute, true)) {
            (included, ShownParts::Nothing) => included,
            (_, ShownParts::All) | (ShownParts::Nothing, _) => ShownParts::Nothing,
            (ShownParts::Only(subs), ShownParts::Only(out)) => {
                ShownParts::Only(subs.into_iter().filter(|sub| !out.contains(sub)).collect())
            }
            (_, ShownParts::Only(out) | ShownParts::Without(out)) => ShownParts::Without(out),
        }
    }
}

/// How much of an attribute a list of names covers.
fn mentions(
    list: &[PatchPath],
    extension: Option<&'static Schema>,
    attribute: &Attribute,
    by_schema: bool,
) -> ShownParts {
    let mut subs = Vec::new();
    for path in list {
        match path {
            PatchPath::Schema(schema) if by_schema && *schema == extension => return ShownParts::All,
            PatchPath::Attribute(path) if path.extension == extension && path.attribute == attribute => {
                match path.sub {
                    None => return ShownParts::All,
                    Some(sub) => subs.push(sub.name),
                }
            }
            _ => {}
        }
    }
    if subs.is_empty() { ShownParts::Nothing } else { ShownParts::Only(subs) }
}

impl ShownParts {
    fn of(&self, value: Value) -> Option<Value> {
        match self {
            ShownParts::Nothing => None,
            ShownParts::All => Some(value),
            ShownParts::Only(subs) => parts(value, &|name| subs.contains(&name)),
            ShownParts::Without(subs) => parts(value, &|name| !subs.contains(&name)),
        }
    }
}

/// The wanted parts of a complex value or of each element; none where nothing is left.
fn parts(value: Value, wanted: &dyn Fn(&str) -> bool) -> Option<Value> {
    match value {
        Value::Object(mut object) => {
            object.retain(|name, _| wanted(name));
            (!object.is_empty()).then_some(Value::Object(object))
        }
        Value::Array(list) => {
            Some(Value::Array(list.into_iter().filter_map(|element| parts(element, wanted)).collect()))
        }
        other => Some(other),
    }
}

fn names(kind: ResourceType, list: &str) -> Vec<PatchPath> {
    let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.filter_map(|name| PatchPath::parse(kind, name).ok()).map(without_filter).collect()
}

/// A value filter says which elements, which is not asked here.
fn without_filter(path: PatchPath) -> PatchPath {
    match path.attribute() {
        Some(path) => PatchPath::Attribute(path),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::urn;
    use serde_json::json;

    fn rendered() -> Value {
        json!({
            "schemas": [urn::USER, urn::ENTERPRISE_USER, urn::BACKUP_USER],
            "id": "1", "userName": "ana", "title": "T",
            "name": {"familyName": "F", "givenName": "G"},
            "emails": [{"type": "work", "value": "a@b"}, {"type": "home"}],
            "meta": {"version": "W/\"1\"", "created": "c"},
            urn::ENTERPRISE_USER: {"department": "D", "manager": {"value": "m"}},
            urn::BACKUP_USER: {"entraObjectId": "o", "grants": [{"role": "r"}], "grantState": "held"},
        })
    }

    #[track_caller]
    fn check(attributes: &str, excluded: &str, expected: Value) {
        let projection = Projection::parse(ResourceType::User, Some(attributes), Some(excluded)).unwrap();
        let mut shown = projection.apply(rendered());
        let schemas = shown.as_object_mut().and_then(|shown| shown.remove("schemas")).unwrap();
        assert_eq!(shown, expected, "{attributes} / {excluded}");
        let extensions: Vec<&str> = [urn::ENTERPRISE_USER, urn::BACKUP_USER]
            .into_iter()
            .filter(|urn| shown.get(urn).is_some())
            .collect();
        assert_eq!(schemas, json!(std::iter::once(urn::USER).chain(extensions).collect::<Vec<_>>()));
    }

    #[test]
    fn attributes_selects_and_keeps_what_is_always_returned() {
        check("userName", "", json!({"id": "1", "userName": "ana"}));
        check(
            "TITLE, name.familyName ,nonsense",
            "",
            json!({"id": "1", "title": "T", "name": {"familyName": "F"}}),
        );
        check("emails.value", "", json!({"id": "1", "emails": [{"value": "a@b"}]}));
        check("emails[type eq \"work\"].value", "", json!({"id": "1", "emails": [{"value": "a@b"}]}));
        check("department", "", json!({"id": "1", urn::ENTERPRISE_USER: {"department": "D"}}));
        check(
            &format!("{}:manager.value", urn::ENTERPRISE_USER),
            "",
            json!({"id": "1", urn::ENTERPRISE_USER: {"manager": {"value": "m"}}}),
        );
        check(
            urn::ENTERPRISE_USER,
            "",
            json!({"id": "1", urn::ENTERPRISE_USER: {"department": "D", "manager": {"value": "m"}}}),
        );
        check("id", "", json!({"id": "1"}));
        check("nonsense", "", json!({"id": "1"}));
        check("name", "name.givenName", json!({"id": "1", "name": {"familyName": "F"}}));
    }

    #[test]
    fn what_is_returned_on_request_must_be_named() {
        check("grants", "", json!({"id": "1", urn::BACKUP_USER: {"grants": [{"role": "r"}]}}));
        check(
            &format!("{}:grantState", urn::BACKUP_USER),
            "",
            json!({"id": "1", urn::BACKUP_USER: {"grantState": "held"}}),
        );
        check(urn::BACKUP_USER, "", json!({"id": "1", urn::BACKUP_USER: {"entraObjectId": "o"}}));
        let names = "schemas,id,userName,title,name,emails,meta";
        check(
            "",
            &format!("{names},{}", urn::ENTERPRISE_USER),
            json!({"id": "1", urn::BACKUP_USER: {"entraObjectId": "o"}}),
        );
    }

    #[test]
    fn excluded_attributes_are_left_out() {
        let core = "userName,emails,meta,entraObjectId";
        check(
            "",
            &format!("{core},name.familyName,department"),
            json!({
                "id": "1", "title": "T", "name": {"givenName": "G"}, urn::ENTERPRISE_USER: {"manager": {"value": "m"}},
            }),
        );
        check(
            "",
            urn::USER,
            json!({"id": "1", urn::ENTERPRISE_USER: {"department": "D", "manager": {"value": "m"}}, urn::BACKUP_USER: {"entraObjectId": "o"}}),
        );
    }

    #[test]
    fn the_store_can_ask_what_is_wanted() {
        let wants = |attributes, excluded, name| {
            Projection::parse(ResourceType::User, attributes, excluded).unwrap().wants(name)
        };
        assert!(
            wants(None, None, "groups") && !wants(None, None, "grants") && !wants(None, None, "password")
        );
        assert!(wants(Some("groups.value"), None, "groups") && !wants(Some("id"), None, "groups"));
        assert!(!wants(None, Some("groups"), "groups") && wants(None, Some("groups.value"), "groups"));
        assert!(wants(Some("grants"), None, "grants") && !wants(Some(urn::BACKUP_USER), None, "grants"));
        assert!(Projection::parse(ResourceType::User, Some("id"), None).unwrap().asks_attributes());
        assert!(!Projection::all(ResourceType::User).asks_attributes());
    }
}
