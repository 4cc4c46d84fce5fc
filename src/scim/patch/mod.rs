//! PATCH (RFC 7644 section 3.5.2): a tolerant normaliser in front of a strict engine.
//!
//! `normalise` turns every dialect into operations on paths of the attribute table; `engine` applies them, all or none;
//! `members` takes what concerns the members of a group, which are not stored with its attributes.

pub(super) mod engine;
mod list;
pub(super) mod members;
pub(super) mod normalise;

use super::error::Error;
use super::filter::Filter;
use super::path::Path;
use super::resource::{MemberRef, Resource};
use super::schema::ResourceType;
use normalise::Step;
use serde_json::Value;

/// A PATCH request that can be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    operations: Vec<Operation>,
    members: Vec<MemberChange>,
}

/// One change of a stored attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub verb: Verb,
    pub path: Path,
    pub value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
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
    /// These and no others; empty: nobody is left.
    Replace(Vec<MemberRef>),
}

impl Patch {
    /// Reads the body of a PATCH request on a resource of that kind.
    pub fn parse(kind: ResourceType, body: &Value) -> Result<Self, Error> {
        let mut patch = Self { operations: Vec::new(), members: Vec::new() };
        for step in normalise::steps(kind, body)? {
            match step {
                Step::Attribute(operation) => patch.operations.push(operation),
                Step::Member(change) => patch.members.push(change),
            }
        }
        Ok(patch)
    }

    /// The resource after the attribute operations, in their order; an error changes nothing.
    pub fn apply(&self, current: &Resource) -> Result<Resource, Error> {
        let mut attributes = current.attributes().clone();
        for operation in &self.operations {
            engine::apply(&mut attributes, operation)?;
        }
        Resource::checked(current.kind(), attributes)
    }

    /// What happens to the members, in order; groups only.
    pub fn member_changes(&self) -> &[MemberChange] {
        &self.members
    }
}

#[cfg(test)]
mod tests;
