//! Names of attributes in filters, `attributes`, `sortBy` and PATCH paths (RFC 7644 sections 3.5.2 and 3.10).

use crate::scim::schema::{Attribute, COMMON, ResourceType, Schema, find};
use crate::scim::urn;
use serde_json::Value;
use std::fmt;

/// An attribute or one of its sub-attributes, and the extension it lives in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttrPath {
    /// The extension; none for the core schema.
    pub extension: Option<&'static Schema>,
    /// The attribute.
    pub attribute: &'static Attribute,
    /// The sub-attribute.
    pub sub: Option<&'static Attribute>,
}

impl AttrPath {
    /// The attribute of that name in a resource: `name.givenName`, with or without its schema's URN, in any case.
    /// A name without URN that the core schema lacks is looked up in the extensions.
    pub fn resolve(kind: ResourceType, name: &str) -> Option<Self> {
        if let Some(rest) = urn::strip(name, kind.schema()) {
            return in_core(kind, rest);
        }
        for schema in kind.extensions() {
            if let Some(rest) = urn::strip(name, schema.urn) {
                return in_extension(schema, rest);
            }
        }
        in_core(kind, name).or_else(|| kind.extensions().iter().find_map(|schema| in_extension(schema, name)))
    }

    /// The attribute of that name, known to be in that extension.
    pub fn resolve_in(schema: &'static Schema, name: &str) -> Option<Self> {
        in_extension(schema, name)
    }

    /// The sub-attribute of that name, inside the brackets of a value filter.
    pub fn resolve_sub(of: &'static Attribute, name: &str) -> Option<Self> {
        Some(Self { extension: None, attribute: of.sub(name)?, sub: None })
    }

    /// The attribute whose values are compared: of a bare complex attribute it is `value`.
    pub fn leaf(&self) -> &'static Attribute {
        self.sub.or_else(|| self.attribute.value()).unwrap_or(self.attribute)
    }

    /// Every value the path selects in a resource or, for a path inside brackets, in one element.
    pub fn values<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let below = self.sub.or_else(|| self.attribute.value());
        let parts = self.elements(object);
        let values = parts.into_iter().filter_map(|part| match below {
            Some(sub) => part.get(sub.name),
            None => Some(part),
        });
        values.filter(|value| !value.is_null()).collect()
    }

    /// The elements of the attribute, whatever sub-attribute is named: one for a single value, none if it is absent.
    pub fn elements<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let holder = match self.extension {
            Some(schema) => object.get(schema.urn),
            None => Some(object),
        };
        match holder.and_then(|holder| holder.get(self.attribute.name)) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.iter().collect(),
            Some(single) => vec![single],
        }
    }

    /// The attribute that a text begins with, whatever comes after its name: text that is no path may still be about it.
    pub(super) fn leading(kind: ResourceType, text: &str) -> Option<Self> {
        let in_core = urn::after(text, kind.schema()).map(|rest| (None, rest));
        let mut extensions = kind.extensions().iter();
        let in_extension =
            || extensions.find_map(|schema| Some((Some(*schema), urn::after(text, schema.urn)?)));
        let (schema, rest) = in_core.or_else(in_extension).unwrap_or((None, text));
        match schema {
            Some(schema) => Self::leading_in(schema, rest),
            None => Self::resolve(kind, leading_name(rest)),
        }
    }

    /// The same, of a text that is known to be about that extension.
    pub(super) fn leading_in(schema: &'static Schema, text: &str) -> Option<Self> {
        Self::resolve_in(schema, leading_name(text))
    }

    /// A client may not write there.
    pub(super) fn is_read_only(&self) -> bool {
        self.attribute.is_read_only() || self.sub.is_some_and(|sub| sub.is_read_only())
    }

    /// The name without the schema's URN.
    pub(super) fn name(&self) -> String {
        Self { extension: None, ..*self }.to_string()
    }

    /// The same attribute without its sub-attribute.
    pub fn whole(&self) -> Self {
        Self { sub: None, ..*self }
    }
}

/// What comes before the first character that no name of an attribute has (RFC 7643 section 2.1).
fn leading_name(text: &str) -> &str {
    let ends = |c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '$'));
    text.split(ends).next().unwrap_or_default()
}

fn in_core(kind: ResourceType, name: &str) -> Option<AttrPath> {
    let (attribute, sub) = split(name);
    let attribute = kind.core().attribute(attribute).or_else(|| find(COMMON, attribute))?;
    with_sub(None, attribute, sub)
}

fn in_extension(schema: &'static Schema, name: &str) -> Option<AttrPath> {
    let (attribute, sub) = split(name);
    with_sub(Some(schema), schema.attribute(attribute)?, sub)
}

fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('.') {
        Some((attribute, sub)) => (attribute, Some(sub)),
        None => (name, None),
    }
}

fn with_sub(
    extension: Option<&'static Schema>,
    attribute: &'static Attribute,
    sub: Option<&str>,
) -> Option<AttrPath> {
    let sub = match sub {
        Some(name) => Some(attribute.sub(name)?),
        None => None,
    };
    Some(AttrPath { extension, attribute, sub })
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = self.extension {
            write!(f, "{}:", schema.urn)?;
        }
        f.write_str(self.attribute.name)?;
        match self.sub {
            Some(sub) => write!(f, ".{}", sub.name),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceType::{Group, User};

    #[track_caller]
    fn resolves(kind: ResourceType, name: &str, printed: Option<&str>) {
        assert_eq!(AttrPath::resolve(kind, name).map(|path| path.to_string()).as_deref(), printed, "{name}");
    }

    #[test]
    fn attributes_are_found_with_and_without_their_urn() {
        resolves(User, "USERname", Some("userName"));
        resolves(User, "name.GivenName", Some("name.givenName"));
        resolves(User, "urn:ietf:params:scim:schemas:core:2.0:User:name.familyName", Some("name.familyName"));
        resolves(User, "meta.lastModified", Some("meta.lastModified"));
        resolves(User, "members", None);
        resolves(Group, "members.$ref", Some("members.$ref"));
        resolves(User, "name.nothing", None);
        resolves(User, "name.givenName.deeper", None);
        resolves(User, "..", None);
        resolves(User, "urn:example:unknown:userName", None);
        resolves(Group, "urn:ietf:params:scim:schemas:core:2.0:User:displayName", None);
        let department = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
        resolves(User, department, Some(department));
        resolves(User, "department", Some(department));
        resolves(User, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:userName", None);
    }

    #[track_caller]
    fn leads(kind: ResourceType, text: &str, name: Option<&str>) {
        assert_eq!(AttrPath::leading(kind, text).map(|path| path.attribute.name), name, "{text}");
    }

    #[test]
    fn a_text_that_is_no_path_may_begin_with_an_attribute() {
        leads(User, "active[value eq", Some("active"));
        leads(User, "USERNAME.first", Some("userName"));
        leads(User, "userName, active", Some("userName"));
        leads(User, "activeX", None);
        leads(User, "", None);
        leads(Group, "members[display eq \"Kim\"]", Some("members"));
        leads(Group, "urn:ietf:params:scim:schemas:core:2.0:Group:displayName[", Some("displayName"));
        leads(User, &format!("{}:entraObjectId.x", urn::BACKUP_USER), Some("entraObjectId"));
        leads(User, &format!("{}:userName", urn::BACKUP_USER), None);
        leads(User, "urn:x:2.0:User:active", None);
        leads(User, &format!("{}.active", urn::USER), Some("active"));
        leads(User, &format!("{}activeX", urn::USER), None);
    }
}
