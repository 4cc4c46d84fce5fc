//! PATCH (RFC 7644 section 3.5.2): a tolerant normaliser in front of a strict engine.
//!
//! `normalise` turns every dialect into assignments to paths of the attribute table; `engine` carries one out; `members`
//! takes what concerns the members of a group, which are not stored with its attributes. A message that is broken is refused
//! as a whole; of a message that is not, whatever can be carried out is (`edit`).

mod member_change;
pub(super) mod members;
mod normalise;

pub use member_change::MemberChange;

use crate::scim::assignment::AttributeAssignment;
use crate::scim::deciding::DecidingAttributes;
use crate::scim::edit::{EditedResource, ResourceEditor};
use crate::scim::error::Error;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::resource::Resource;
use crate::scim::schema::ResourceType;
use serde_json::Value;

/// A PATCH request whose message is in order.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchRequest {
    assignments: Vec<AttributeAssignment>,
    members: Vec<MemberChange>,
    /// Assignments to the members, those that ask for nothing too.
    about_members: usize,
    /// The first mistake in them.
    members_mistake: Option<Error>,
}

impl PatchRequest {
    /// Reads the body of a PATCH request on a resource of that kind.
    pub fn parse(kind: ResourceType, body: &Value) -> Result<Self, Error> {
        let mut patch =
            Self { assignments: Vec::new(), members: Vec::new(), about_members: 0, members_mistake: None };
        for assignment in normalise::assignments(kind, body)? {
            if members::is_about(kind, &assignment) {
                match members::change(assignment.verb, &assignment.target) {
                    Ok(change) => patch.members.extend(change),
                    // A removal that would remove no one is never a silent success.
                    Err(error) if assignment.verb == PatchVerb::Remove => {
                        return Err(assignment.placed(error));
                    }
                    Err(error) => drop(patch.members_mistake.get_or_insert(assignment.placed(error))),
                }
                patch.about_members += 1;
            } else if let Some(error) = members::removal_of_unknown(kind, &assignment) {
                return Err(error);
            } else {
                patch.assignments.push(assignment);
            }
        }
        Ok(patch)
    }

    /// The resource after the assignments, in their order; an error changes nothing. In a group, a mistake in its name, its
    /// external id or its members may still be refused: that depends on who is removed.
    pub fn apply(&self, current: &Resource, deciding: &DecidingAttributes) -> Result<EditedResource, Error> {
        let mut editor = ResourceEditor::on(current, deciding);
        if let Some(mistake) = &self.members_mistake {
            editor.refuse(members::NAME, mistake.clone());
        }
        for assignment in &self.assignments {
            editor.assign(assignment)?;
        }
        editor.refuse_if_nothing_is_left(self.about_members)?;
        let edited = editor.finish()?;
        match current.kind() {
            ResourceType::Group => Ok(edited),
            ResourceType::User => {
                let deactivates = edited.deactivates;
                edited.unless_refused(deactivates)
            }
        }
    }

    /// What happens to the members, in order; groups only.
    pub fn member_changes(&self) -> &[MemberChange] {
        &self.members
    }
}

#[cfg(test)]
mod tests;
