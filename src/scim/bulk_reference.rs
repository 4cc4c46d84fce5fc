//! References by bulkId (RFC 7644 section 3.7.2): `bulkId:x` in the place of the id of a resource that the same bulk request
//! creates. They count where an id is expected: in the members of a group and the manager of a user, in every dialect.

use crate::scim::assignment::{AssignmentTarget, AttributeAssignment};
use crate::scim::error::Error;
use crate::scim::schema::ResourceType;
use serde_json::Value;

const PREFIX: &str = "bulkId:";

/// The bulkId that a text refers to.
pub(super) fn referred(text: &str) -> Option<&str> {
    let (prefix, bulk_id) = text.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(bulk_id)
}

/// The attribute of that kind of resource whose values are ids of others.
pub(super) const fn attribute(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::User => "manager",
        ResourceType::Group => "members",
    }
}

/// The references in these assignments.
pub(super) fn in_assignments(
    kind: ResourceType,
    assignments: &mut [AttributeAssignment],
) -> impl Iterator<Item = &mut String> {
    assignments.iter_mut().filter_map(move |assignment| value_of(kind, assignment)).flat_map(in_value)
}

/// What an assignment to that attribute assigns.
fn value_of(kind: ResourceType, assignment: &mut AttributeAssignment) -> Option<&mut Value> {
    match &mut assignment.target {
        AssignmentTarget::Write(path, value) => {
            path.attribute().filter(|path| path.attribute.name == attribute(kind)).map(|_| value)
        }
        AssignmentTarget::Nowhere { .. } | AssignmentTarget::Foreign => None,
    }
}

/// The references in a value: a list, one object or a bare id.
fn in_value(value: &mut Value) -> Vec<&mut String> {
    let elements = match value {
        Value::Array(list) => list.as_mut_slice(),
        one => std::slice::from_mut(one),
    };
    elements.iter_mut().filter_map(reference).collect()
}

fn reference(element: &mut Value) -> Option<&mut String> {
    let id = match element {
        Value::Object(object) => {
            object.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("value")).map(|(_, value)| value)?
        }
        bare => bare,
    };
    match id {
        Value::String(text) if referred(text).is_some() => Some(text),
        _ => None,
    }
}

/// What one assignment holds beside references, and the references.
fn split(value: &mut Value) -> (Vec<Value>, Vec<Value>) {
    let elements = match value.take() {
        Value::Array(list) => list,
        one => vec![one],
    };
    elements.into_iter().partition(|element| reference(&mut element.clone()).is_none())
}

/// Takes what refers to resources that do not exist yet out of the body of a new resource. It is assigned later.
pub(super) fn take_out(
    kind: ResourceType,
    assignments: &mut Vec<AttributeAssignment>,
) -> Vec<AttributeAssignment> {
    let mut taken = Vec::new();
    for assignment in assignments.iter_mut() {
        let mut later = assignment.clone();
        let Some(value) = value_of(kind, assignment) else { continue };
        if in_value(value).is_empty() {
            continue;
        }
        let (rest, references) = split(value);
        let (Some(value), Some(taken_out)) = (value_of(kind, assignment), value_of(kind, &mut later)) else {
            continue;
        };
        match kind {
            ResourceType::Group => (*value, *taken_out) = (Value::Array(rest), Value::Array(references)),
            ResourceType::User => *taken_out = references.into_iter().next().unwrap_or_default(),
        }
        taken.push(later);
    }
    if kind == ResourceType::User {
        let is_empty = |assignment: &mut AttributeAssignment| {
            value_of(kind, assignment).is_some_and(|value| value.is_null())
        };
        assignments.retain_mut(|assignment| !is_empty(assignment));
    }
    taken
}

/// Lets the assignments that hold a reference lead nowhere. For attributes that are stored with the resource.
pub(super) fn refuse(kind: ResourceType, assignments: &mut [AttributeAssignment], error: &Error) {
    for assignment in assignments {
        let holds = value_of(kind, assignment).is_some_and(|value| !in_value(value).is_empty());
        if let AssignmentTarget::Write(path, _) = &assignment.target
            && holds
        {
            assignment.target = AssignmentTarget::Nowhere { of: path.attribute(), error: error.clone() };
        }
    }
}

/// Whether an assignment to that attribute has elements, and each is a reference.
pub(super) fn are_all_references(kind: ResourceType, assignments: &mut [AttributeAssignment]) -> bool {
    let mut values = assignments.iter_mut().filter_map(|assignment| value_of(kind, assignment));
    values.any(|value| {
        let elements = value.as_array().map_or(1, Vec::len);
        elements > 0 && in_value(value).len() == elements
    })
}
