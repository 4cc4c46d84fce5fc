//! PATCH (RFC 7644 section 3.5.2): a tolerant normaliser in front of a strict engine.
//!
//! `normalise` turns every dialect into assignments to paths of the attribute table; `engine` carries one out; `members`
//! takes what concerns the members of a group, which are not stored with its attributes. A message that is broken is refused
//! as a whole; of a message that is not, whatever can be carried out is (`edit`).

pub(super) mod engine;
mod list;
pub(super) mod members;
mod normalise;

use crate::scim::assignment::AttributeAssignment;
use crate::scim::deciding::DecidingAttributes;
use crate::scim::edit::{EditedResource, ResourceEditor};
use crate::scim::error::Error;
use crate::scim::filter::Filter;
use crate::scim::resource::{MemberRef, Resource};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchVerb {
    Add,
    Replace,
    Remove,
}

/// One change of the members of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberChange {
    /// These are members from now on.
    Add(Vec<MemberRef>),
    /// These are not.
    Remove(Vec<String>),
    /// Whoever matches is not; the filter is over one member object.
    RemoveWhere(Filter),
    /// Whoever matches is to become this member, which only a member who is the same already can.
    ReplaceWhere {
        /// Over one member object.
        filter: Filter,
        /// The id; none where the request does not say whom.
        by: String,
    },
    /// These and no others; empty: nobody is left.
    Replace(Vec<MemberRef>),
}

impl MemberChange {
    /// The ids that it names.
    pub fn named(&self) -> Vec<String> {
        match self {
            MemberChange::Add(refs) | MemberChange::Replace(refs) => {
                refs.iter().map(|member| member.value.clone()).collect()
            }
            MemberChange::Remove(ids) => ids.clone(),
            MemberChange::RemoveWhere(_) => Vec::new(),
            MemberChange::ReplaceWhere { filter, .. } => filter.listed_values().unwrap_or_default(),
        }
    }

    /// It cannot be decided without knowing every member.
    pub fn needs_everyone(&self) -> bool {
        match self {
            MemberChange::RemoveWhere(_) | MemberChange::Replace(_) => true,
            MemberChange::ReplaceWhere { filter, .. } => filter.listed_values().is_none(),
            MemberChange::Add(_) | MemberChange::Remove(_) => false,
        }
    }

    /// It can do nothing but take away.
    pub fn only_removes(&self) -> bool {
        match self {
            MemberChange::Remove(_) | MemberChange::RemoveWhere(_) => true,
            MemberChange::Replace(members) => members.is_empty(),
            MemberChange::Add(_) | MemberChange::ReplaceWhere { .. } => false,
        }
    }
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
                    Err(error) => drop(patch.members_mistake.get_or_insert(assignment.placed(error))),
                }
                patch.about_members += 1;
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
