//! A whole resource, from the body of a POST or PUT (RFC 7644 sections 3.3 and 3.5.1).

use crate::scim::assignment::{AssignmentTarget, AttributeAssignments};
use crate::scim::attr_path::PatchPath;
use crate::scim::deciding::DecidingAttributes;
use crate::scim::edit::ResourceEditor;
use crate::scim::error::{Error, ScimType};
use crate::scim::patch::members;
use crate::scim::resource::{MemberRef, Resource};
use crate::scim::schema::ResourceType;
use serde_json::Value;

/// What a body says.
pub(super) struct RequestBody<'a> {
    pub editor: ResourceEditor<'a>,
    /// None: the body has no `members`.
    pub members: Option<Vec<MemberRef>>,
}

impl<'a> RequestBody<'a> {
    /// Reads a body as a path-less replace of nothing, so that it understands the same dialects as PATCH. `stored`: what it
    /// takes the place of.
    pub fn read(
        kind: ResourceType,
        body: &Value,
        stored: Option<&'a Resource>,
        deciding: &'a DecidingAttributes,
    ) -> Result<Self, Error> {
        let Some(object) = body.as_object() else {
            return Err(Error::invalid_syntax(format!("the body must be a JSON object, a {}", kind.name())));
        };
        let mut read = Self { editor: ResourceEditor::anew(kind, stored, deciding), members: None };
        let mut assignments = AttributeAssignments::new(kind);
        assignments.add_object(object);
        for assignment in assignments.done() {
            if members::is_about(kind, &assignment) {
                read.take_members(&assignment.target)?;
            } else {
                read.editor.assign(&assignment)?;
            }
        }
        Ok(read)
    }

    fn take_members(&mut self, target: &AssignmentTarget) -> Result<(), Error> {
        match target {
            AssignmentTarget::Write(PatchPath::Attribute(path), value) if path.sub.is_none() => {
                match self.members.replace(members::refs(value)?) {
                    None => Ok(()),
                    Some(_) => Err(Error::invalid_value("members is given more than once")),
                }
            }
            AssignmentTarget::Nowhere { error, .. } => Err(error.clone()),
            AssignmentTarget::Write(path, _) => {
                Err(Error::bad(ScimType::InvalidPath, format!("a whole group has members, not {path}")))
            }
            AssignmentTarget::Foreign => Ok(()),
        }
    }
}
