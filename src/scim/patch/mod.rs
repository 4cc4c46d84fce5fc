//! PATCH (RFC 7644 section 3.5.2): a tolerant normaliser in front of a strict engine.
//!
//! `normalise` turns every dialect into assignments to paths of the attribute table; `engine` carries one out; `members`
//! takes what concerns the members of a group, which are not stored with its attributes. A message that is broken is refused
//! as a whole; of a message that is not, whatever can be carried out is (`edit`).

mod member_change;
pub(super) mod members;
mod normalise;

pub use member_change::MemberChange;
pub(super) use normalise::assignments;

use crate::scim::assignment::AttributeAssignment;
use crate::scim::bulk_reference;
use crate::scim::deciding::DecidingAttributes;
use crate::scim::edit::{EditedResource, ResourceEditor};
use crate::scim::error::Error;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::resource::Resource;
use crate::scim::schema::ResourceType;
use serde_json::Value;
use std::collections::BTreeSet;

/// A PATCH request whose message is in order.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchRequest {
    assignments: Vec<AttributeAssignment>,
    members: Vec<MemberChange>,
    /// Assignments to the members, those that ask for nothing too.
    about_members: usize,
    /// The first mistake in them.
    members_mistake: Option<Error>,
    /// A reference to what a bulk request should have created is lost.
    lost_reference: Option<Error>,
}

impl PatchRequest {
    /// Reads the body of a PATCH request on a resource of that kind.
    pub fn parse(kind: ResourceType, body: &Value) -> Result<Self, Error> {
        let body = body.as_object().ok_or_else(normalise::no_operations)?;
        Self::of(kind, assignments(kind, body)?)
    }

    /// Assigns more to a resource that was created just now.
    pub(super) fn adding(
        kind: ResourceType,
        mut assignments: Vec<AttributeAssignment>,
    ) -> Result<Self, Error> {
        assignments.iter_mut().for_each(|assignment| assignment.verb = PatchVerb::Add);
        Self::of(kind, assignments)
    }

    fn of(kind: ResourceType, assignments: Vec<AttributeAssignment>) -> Result<Self, Error> {
        let mut patch = Self {
            assignments: Vec::new(),
            members: Vec::new(),
            about_members: 0,
            members_mistake: None,
            lost_reference: None,
        };
        for assignment in assignments {
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
        if let Some(error) = &self.lost_reference {
            editor.refuse(bulk_reference::attribute(current.kind()), error.clone());
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

    /// The references by bulkId.
    pub(super) fn references(&mut self, kind: ResourceType) -> Vec<&mut String> {
        let in_members = self.members.iter_mut().flat_map(MemberChange::named_mut);
        let in_members = in_members.filter(|text| bulk_reference::referred(text).is_some());
        bulk_reference::in_assignments(kind, &mut self.assignments).chain(in_members).collect()
    }

    /// What it names as members: those of a list that replaces all, and those whom it adds; and such a one where it is taken out.
    pub(super) fn named_as_members(&mut self) -> Vec<&mut String> {
        let names =
            |change: &&MemberChange| matches!(change, MemberChange::Replace(_) | MemberChange::Add(_));
        let named: BTreeSet<String> =
            self.members.iter().filter(names).flat_map(MemberChange::named).collect();
        let all = self.members.iter_mut().flat_map(MemberChange::named_mut);
        all.filter(|text| named.contains(text.as_str())).collect()
    }

    /// Whether it removes everyone whom it does not name.
    pub(super) fn replaces_members(&self) -> bool {
        self.members
            .iter()
            .any(|change| matches!(change, MemberChange::Replace(_) | MemberChange::RemoveWhere(_)))
    }

    /// The references that are left are lost: the request is refused, unless it takes access away.
    pub(super) fn refuse_references(&mut self, kind: ResourceType, error: Error) {
        bulk_reference::refuse(kind, &mut self.assignments, &error);
        let is_lost = |text: &mut String| bulk_reference::referred(text).is_some();
        // A change that names no one else neither removes members nor replaces all.
        self.members.retain_mut(|change| {
            let mut named = change.named_mut();
            named.is_empty() || !named.iter_mut().all(|text| is_lost(text))
        });
        self.lost_reference = Some(error);
    }

    /// What it adds beside the references that are left; none where there is nothing else.
    pub(super) fn without_references(mut self, kind: ResourceType) -> Option<Self> {
        let holds = |assignment: &mut AttributeAssignment| {
            bulk_reference::in_assignments(kind, std::slice::from_mut(assignment)).next().is_some()
        };
        self.assignments.retain_mut(|assignment| !holds(assignment));
        for change in &mut self.members {
            if let MemberChange::Add(refs) = change {
                refs.retain(|member| bulk_reference::referred(&member.value).is_none());
            }
        }
        self.members.retain(|change| !matches!(change, MemberChange::Add(refs) if refs.is_empty()));
        (!self.assignments.is_empty() || !self.members.is_empty()).then_some(self)
    }
}

#[cfg(test)]
mod tests;
