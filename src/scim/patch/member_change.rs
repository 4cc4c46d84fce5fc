//! What a request wants changed about the members of a group.

use crate::scim::filter::Filter;
use crate::scim::resource::MemberRef;

/// One change of the members of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberChange {
    /// These are members from now on.
    Add(Vec<MemberRef>),
    /// These are not.
    Remove(Vec<String>),
    /// Those who match are not; the filter is over one member object.
    RemoveWhere(Filter),
    /// Those who match are replaced by this member, which only a member that is the same already can be.
    ReplaceWhere {
        /// Over one member object.
        filter: Filter,
        /// The id; empty where the request names none.
        by: String,
    },
    /// These and no others; empty: the group has no members left.
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

    /// The same texts, except those in filters, to be changed.
    pub fn named_mut(&mut self) -> Vec<&mut String> {
        match self {
            MemberChange::Add(refs) | MemberChange::Replace(refs) => {
                refs.iter_mut().map(|member| &mut member.value).collect()
            }
            MemberChange::Remove(ids) => ids.iter_mut().collect(),
            MemberChange::ReplaceWhere { by, .. } => vec![by],
            MemberChange::RemoveWhere(_) => Vec::new(),
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
