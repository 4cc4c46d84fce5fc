//! A whole resource, from the body of a POST or PUT (RFC 7644 sections 3.3 and 3.5.1).

use crate::scim::assignment::{AssignmentTarget, AttributeAssignment, AttributeAssignments};
use crate::scim::bulk_reference;
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
    /// A reference in that attribute is lost: the request is refused, or what it refers to is dropped.
    lost_reference: Option<Error>,
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
        Ok(Self { kind, assignments: assignments.done(), lost_reference: None })
    }

    /// Carries the assignments out. `stored`: what the resource takes the place of.
    pub fn edit<'a>(
        &self,
        stored: Option<&'a Resource>,
        deciding: &'a DecidingAttributes,
    ) -> Result<InputEdit<'a>, Error> {
        let mut edit = InputEdit { editor: ResourceEditor::anew(self.kind, stored, deciding), members: None };
        if let Some(error) = &self.lost_reference {
            edit.editor.refuse(bulk_reference::attribute(self.kind), error.clone());
        }
        for assignment in &self.assignments {
            if members::is_about(self.kind, assignment) {
                edit.assign_members(&assignment.target)?;
            } else {
                edit.editor.assign(assignment)?;
            }
        }
        Ok(edit)
    }

    /// The text that the body assigns to an attribute of the core schema.
    pub fn text(&self, attribute: &str) -> Option<String> {
        self.assignments.iter().find_map(|assignment| match &assignment.target {
            AssignmentTarget::Write(path, Value::String(text)) => {
                path.attribute().filter(|path| path.attribute.name == attribute).map(|_| text.clone())
            }
            _ => None,
        })
    }

    /// The references by bulkId.
    pub fn references(&mut self) -> Vec<&mut String> {
        bulk_reference::in_assignments(self.kind, &mut self.assignments).collect()
    }

    /// The references that are left are lost: the request is refused, unless it takes access away. Members who are all lost
    /// are no list that a group could get.
    pub fn refuse_references(&mut self, error: Error) -> Result<(), Error> {
        match self.kind {
            ResourceType::User => bulk_reference::refuse(self.kind, &mut self.assignments, &error),
            ResourceType::Group if bulk_reference::are_all_references(self.kind, &mut self.assignments) => {
                return Err(error);
            }
            ResourceType::Group => {}
        }
        self.lost_reference = Some(error);
        Ok(())
    }

    /// Takes the references that are left out of the body.
    pub fn take_out_references(&mut self) -> Vec<AttributeAssignment> {
        bulk_reference::take_out(self.kind, &mut self.assignments)
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
