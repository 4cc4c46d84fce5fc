//! Paths of PATCH operations, and the keys of bodies, which are read the same way (RFC 7644 section 3.5.2).

use crate::scim::attr_path::AttrPath;
use crate::scim::error::{Error, ScimType};
use crate::scim::filter::{Filter, ValuePath, parse_value_path};
use crate::scim::quoted_text::quoted;
use crate::scim::schema::{Attribute, ResourceType, Schema};
use crate::scim::urn;
use std::fmt;

/// What a PATCH operation is about (RFC 7644 section 3.5.2, figure 7).
#[derive(Debug, Clone, PartialEq)]
pub enum PatchPath {
    /// A whole schema, by its URN; none for the core schema.
    Schema(Option<&'static Schema>),
    /// An attribute or a sub-attribute.
    Attribute(AttrPath),
    /// The elements of a complex attribute that match a filter, or a sub-attribute of them.
    Elements {
        /// The attribute, without sub-attribute.
        of: AttrPath,
        /// What an element must match.
        filter: Filter,
        /// The sub-attribute of each element.
        sub: Option<&'static Attribute>,
    },
}

impl PatchPath {
    /// Reads a path; a mistake is 400 `invalidPath`, or `invalidFilter` inside the brackets.
    pub fn parse(kind: ResourceType, text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if urn::strip(text, kind.schema()) == Some("") {
            return Ok(PatchPath::Schema(None));
        }
        if let Some(schema) = kind.extension(text) {
            return Ok(PatchPath::Schema(Some(schema)));
        }
        let ValuePath { attribute, filter, sub } = parse_value_path(kind, text).map_err(|error| {
            let bracket = text.chars().position(|c| c == '[');
            let in_brackets = bracket.is_some_and(|bracket| bracket + 1 < error.at);
            let scim_type = if in_brackets { ScimType::InvalidFilter } else { ScimType::InvalidPath };
            Error::bad_request(scim_type, format!("the path {} is not usable: {error}", quoted(text)))
        })?;
        Ok(match filter {
            Some(filter) => PatchPath::Elements { of: attribute, filter, sub },
            None => PatchPath::Attribute(attribute),
        })
    }

    /// The attribute it is about, unless it is about a whole schema.
    pub fn attribute(&self) -> Option<AttrPath> {
        match self {
            PatchPath::Schema(_) => None,
            PatchPath::Attribute(path) => Some(*path),
            PatchPath::Elements { of, sub, .. } => Some(AttrPath { sub: *sub, ..*of }),
        }
    }

    /// A client may not write there.
    pub fn is_read_only(&self) -> bool {
        self.attribute().is_some_and(|path| path.is_read_only())
    }

    /// What is written there is forgotten at once.
    pub(super) fn is_dropped(&self) -> bool {
        self.attribute().is_some_and(|path| path.attribute.is_dropped())
    }
}

impl fmt::Display for PatchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatchPath::Schema(None) => f.write_str("the core schema"),
            PatchPath::Schema(Some(schema)) => f.write_str(schema.urn),
            PatchPath::Attribute(path) => path.fmt(f),
            PatchPath::Elements { of, filter, sub } => match sub {
                Some(sub) => write!(f, "{of}[{filter}].{}", sub.name),
                None => write!(f, "{of}[{filter}]"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceType::User;

    #[track_caller]
    fn parses(text: &str, printed: &str) {
        assert_eq!(PatchPath::parse(User, text).unwrap().to_string(), printed);
    }

    #[test]
    fn patch_paths_parse() {
        parses("nickname", "nickName");
        parses(" name.givenName ", "name.givenName");
        parses("EMAILS[TYPE eq \"work\"].Value", "emails[type eq \"work\"].value");
        parses("emails[type eq \"work\"]", "emails[type eq \"work\"]");
        parses("roles[primary eq \"True\"].value", "roles[primary eq true].value");
        parses(
            "urn:ietf:params:scim:schemas:core:2.0:User:emails[not (type eq \"a\")].display",
            "emails[not (type eq \"a\")].display",
        );
        parses(&urn::ENTERPRISE_USER.to_lowercase(), urn::ENTERPRISE_USER);
        parses(urn::USER, "the core schema");
        parses("manager", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager");
    }

    #[track_caller]
    fn refuses_as(scim_type: ScimType, text: &str, mistake: &str) {
        let error = PatchPath::parse(User, text).unwrap_err();
        assert_eq!(error.scim_type, Some(scim_type), "{text}");
        assert!(error.detail.contains(mistake), "{text}: {error}");
    }

    #[test]
    fn every_mistake_in_a_path_is_named() {
        let refuses = |text, mistake| refuses_as(ScimType::InvalidPath, text, mistake);
        refuses("..", "no attribute");
        refuses("", "ends");
        refuses("name.noSuchSub.deeper", "no attribute");
        refuses("emails.value[type eq \"work\"]", "no parts");
        refuses("title[value eq \"x\"]", "no parts");
        refuses("title eq \"x\"", "after the end");
        let refuses = |text, mistake| refuses_as(ScimType::InvalidFilter, text, mistake);
        refuses("emails[type eq \"work\"", "a closing ]");
        refuses("emails[type eq ].value", "a value");
        refuses("emails[street eq \"x\"]", "no attribute");
        refuses("emails[type eq \"work\"].nothing", "no attribute");
        refuses("emails[type eq \"work\"].value.deeper", "no attribute");
        refuses("emails[type eq \"work\"] value", "after the end");
    }
}
