//! What a PATCH or a body says about the members of a group.

use crate::id::UserId;
use crate::scim::assignment::{AssignmentTarget, AttributeAssignment};
use crate::scim::error::Error;
use crate::scim::filter::Filter;
use crate::scim::json_object::member;
use crate::scim::patch::member_change::MemberChange;
use crate::scim::patch_path::PatchPath;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::resource::MemberRef;
use crate::scim::schema::{Attribute, ResourceType};
use serde_json::Value;
use std::collections::HashSet;

/// The attribute.
pub(super) const NAME: &str = "members";

/// The error of a `remove` on a group that does not say what it removes: it may be members, so it is never dropped.
pub(super) fn removal_of_unknown(kind: ResourceType, assignment: &AttributeAssignment) -> Option<Error> {
    let removes = kind == ResourceType::Group && assignment.verb == PatchVerb::Remove;
    match &assignment.target {
        AssignmentTarget::Nowhere { error, .. } if removes && assignment.is_unnamed() => {
            Some(assignment.placed(error.clone()))
        }
        _ => None,
    }
}

/// Members are not part of the stored attributes; the store keeps each one by itself.
pub(in crate::scim) fn is_about(kind: ResourceType, assignment: &AttributeAssignment) -> bool {
    let of = match &assignment.target {
        AssignmentTarget::Write(path, _) => path.attribute(),
        AssignmentTarget::Nowhere { of, .. } => *of,
        AssignmentTarget::Foreign => None,
    };
    kind == ResourceType::Group && of.is_some_and(|path| path.attribute.name == NAME)
}

/// The change an operation on `members` asks for; none where it asks for nothing.
pub(super) fn change(verb: PatchVerb, target: &AssignmentTarget) -> Result<Option<MemberChange>, Error> {
    let (path, raw) = match target {
        AssignmentTarget::Write(path, raw) => (path, raw),
        AssignmentTarget::Nowhere { error, .. } => return Err(error.clone()),
        AssignmentTarget::Foreign => return Ok(None),
    };
    match (path, verb) {
        (PatchPath::Attribute(path), PatchVerb::Add) if path.sub.is_none() => {
            Ok(not_empty(refs(raw)?).map(MemberChange::Add))
        }
        (PatchPath::Attribute(path), PatchVerb::Replace) if path.sub.is_none() => {
            Ok(Some(MemberChange::Replace(refs(raw)?)))
        }
        (PatchPath::Attribute(path), PatchVerb::Remove) if path.sub.is_none() => removal(raw),
        (PatchPath::Elements { filter, sub: None, .. }, PatchVerb::Remove) => {
            Ok(Some(removal_where(filter.clone())))
        }
        (PatchPath::Elements { filter, sub: None, .. }, PatchVerb::Add) => addition(filter, raw).map(Some),
        // Nothing in its place (RFC 7643 section 2.5): the member goes.
        (PatchPath::Elements { filter, sub: None, .. }, PatchVerb::Replace) if is_nothing(raw) => {
            Ok(Some(removal_where(filter.clone())))
        }
        (PatchPath::Elements { filter, sub, .. }, PatchVerb::Replace) => {
            let by = replacement(*sub, raw)?;
            Ok(Some(MemberChange::ReplaceWhere { filter: filter.clone(), by }))
        }
        (path, _) => {
            let detail = format!("{path} cannot be changed; add and remove members instead");
            Err(Error::mutability(detail))
        }
    }
}

/// `remove members` empties the group; with a list it removes exactly what is listed (scenario
/// entra-group-lifecycle-legacy; RFC 7644 section 3.5.2.2 has only the first). A list without any id is a mistake:
/// an answer of success would hide that the members stay.
fn removal(raw: &Value) -> Result<Option<MemberChange>, Error> {
    if raw.is_null() {
        return Ok(Some(MemberChange::Replace(Vec::new())));
    }
    let refs = refs(raw)?;
    let ids: Vec<String> =
        refs.iter().map(|member| member.value.clone()).filter(|id| !id.is_empty()).collect();
    if ids.is_empty() && !refs.is_empty() {
        return Err(Error::invalid_value("each member needs a value, the id of a user or group"));
    }
    Ok(not_empty(ids).map(MemberChange::Remove))
}

fn removal_where(filter: Filter) -> MemberChange {
    match filter.listed_values() {
        Some(ids) => MemberChange::Remove(ids.iter().map(|id| plain_id(id)).collect()),
        None => MemberChange::RemoveWhere(filter),
    }
}

fn is_nothing(raw: &Value) -> bool {
    raw.is_null() || raw.as_array().is_some_and(Vec::is_empty)
}

/// The id that replaces a member; an empty one, which no member has, where it cannot be the same.
fn replacement(sub: Option<&Attribute>, raw: &Value) -> Result<String, Error> {
    match sub {
        Some(sub) if sub.own_id => Ok(raw.as_str().map(plain_id).unwrap_or_default()),
        Some(_) => Ok(String::new()),
        None => match refs(raw)?.as_slice() {
            [only] => Ok(only.value.clone()),
            _ => Ok(String::new()),
        },
    }
}

/// Adding to `members[value eq "x"]` makes x a member.
fn addition(filter: &Filter, raw: &Value) -> Result<MemberChange, Error> {
    let wanted = filter.listed_values().unwrap_or_default();
    let [id] = wanted.as_slice() else {
        return Err(Error::no_target("members can only be added by value"));
    };
    let id = plain_id(id);
    let named = refs(raw)?;
    if named.iter().any(|member| !member.value.is_empty() && member.value != id) {
        return Err(cannot_become_another());
    }
    let kind = named.into_iter().find_map(|member| member.kind);
    Ok(MemberChange::Add(vec![MemberRef { value: id, kind }]))
}

/// 400: who a member is cannot be changed.
fn cannot_become_another() -> Error {
    Error::mutability("the value of a member cannot be changed; remove it and add another")
}

/// The members in a value: a list, one object, or nothing (RFC 7643 section 4.2). Each is named once; one without an id has an
/// empty one, which no user has. With any other type the group would be emptied by mistake.
pub(in crate::scim) fn refs(raw: &Value) -> Result<Vec<MemberRef>, Error> {
    let list = match raw {
        Value::Null => &[],
        Value::Array(list) => list.as_slice(),
        Value::Object(_) => std::slice::from_ref(raw),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(Error::invalid_value(
                "members takes a list of members; send an empty list to remove all of them",
            ));
        }
    };
    let mut seen = HashSet::new();
    let mut refs: Vec<MemberRef> = list.iter().map(one).collect();
    refs.retain(|member| seen.insert(member.value.clone()));
    Ok(refs)
}

fn one(raw: &Value) -> MemberRef {
    let (value, kind) = match raw {
        Value::Object(object) => (member(object, "value"), member(object, "type").and_then(Value::as_str)),
        bare => (Some(bare), None),
    };
    let value = value.and_then(Value::as_str).map(plain_id).unwrap_or_default();
    MemberRef { value, kind: kind.map(str::to_owned) }
}

/// The id as this service writes it.
fn plain_id(text: &str) -> String {
    UserId::parse(text).map_or_else(|_| text.to_owned(), |id| id.to_string())
}

fn not_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
