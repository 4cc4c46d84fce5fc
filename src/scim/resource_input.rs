//! A whole resource, from the body of a POST or PUT (RFC 7644 sections 3.3 and 3.5.1).

use crate::scim::assignment::{AssignmentTarget, AttributeAssignment, AttributeAssignments};
use crate::scim::deciding::DecidingAttributes;
use crate::scim::edit::ResourceEditor;
use crate::scim::error::Error;
use crate::scim::patch::members;
use crate::scim::patch_path::PatchPath;
use crate::scim::resource::{MemberRef, Resource};
use crate::scim::schema::ResourceType;
use serde_json::Value;

/// What a body assigns. It is read as a path-less replace of nothing, so that it understands the same dialects as PATCH.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ResourceInput {
    kind: ResourceType,
    assignments: Vec<AttributeAssignment>,
}

/// What a body makes of a resource.
pub(super) struct InputEdit<'a> {
    pub editor: ResourceEditor<'a>,
    /// None: the body has no `members`.
    pub members: Option<Vec<MemberRef>>,
}

impl ResourceInput {
    pub fn parse(kind: ResourceType, body: &Value) -> Result<Self, Error> {
        let Some(object) = body.as_object() else {
            return Err(Error::invalid_syntax(format!("the body must be a JSON object, a {}", kind.name())));
        };
        let mut assignments = AttributeAssignments::new(kind);
        assignments.add_object(object);
        Ok(Self { kind, assignments: assignments.done() })
    }

    /// Carries the assignments out. `stored`: what the resource takes the place of.
    pub fn edit<'a>(
        &self,
        stored: Option<&'a Resource>,
        deciding: &'a DecidingAttributes,
    ) -> Result<InputEdit<'a>, Error> {
        let mut edit = InputEdit { editor: ResourceEditor::anew(self.kind, stored, deciding), members: None };
        for assignment in &self.assignments {
            if members::is_about(self.kind, assignment) {
                edit.assign_members(&assignment.target)?;
            } else {
                edit.editor.assign(assignment)?;
            }
        }
        Ok(edit)
    }
}

impl InputEdit<'_> {
    fn assign_members(&mut self, target: &AssignmentTarget) -> Result<(), Error> {
        match target {
            AssignmentTarget::Write(PatchPath::Attribute(path), value) if path.sub.is_none() => {
                match self.members.replace(members::refs(value)?) {
                    None => Ok(()),
                    Some(_) => Err(Error::invalid_value("members is given more than once")),
                }
            }
            AssignmentTarget::Nowhere { error, .. } => Err(error.clone()),
            AssignmentTarget::Write(path, _) => {
                Err(Error::invalid_path(format!("a whole group has members, not {path}")))
            }
            AssignmentTarget::Foreign => Ok(()),
        }
    }
}
