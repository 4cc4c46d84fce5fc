//! A whole resource, from the body of a POST or PUT (RFC 7644 sections 3.3 and 3.5.1).

use super::error::Error;
use super::patch::{Operation, Verb, engine, members, normalise};
use super::resource::{MemberRef, Resource};
use super::schema::ResourceType;
use super::value::is_unassigned;
use serde_json::{Map, Value};

/// What a body says.
pub(super) struct Body {
    pub attributes: Map<String, Value>,
    /// None: the body has no `members`.
    pub members: Option<Vec<MemberRef>>,
}

impl Body {
    /// Reads a body as a path-less replace of nothing, so that it understands the same dialects as PATCH.
    pub fn read(kind: ResourceType, body: &Value) -> Result<Self, Error> {
        let Some(object) = body.as_object() else {
            return Err(Error::invalid_syntax(format!("the body must be a JSON object, a {}", kind.name())));
        };
        let mut read = Self { attributes: Map::new(), members: None };
        for (path, value) in normalise::assignments(kind, object) {
            if normalise::is_members(kind, &path) {
                read.members = Some(members::refs(&value)?);
            } else if !is_unassigned(&value) {
                engine::apply(&mut read.attributes, &Operation { verb: Verb::Replace, path, value })?;
            }
        }
        Ok(read)
    }

    /// The resource, if it is complete.
    pub fn resource(self, kind: ResourceType) -> Result<Resource, Error> {
        Resource::checked(kind, self.attributes)
    }
}
