//! What a PATCH or a body says about the members of a group.

use super::{MemberChange, Verb};
use crate::scim::error::{Error, ScimType};
use crate::scim::filter::Filter;
use crate::scim::path::{Path, member, quoted};
use crate::scim::resource::MemberRef;
use crate::scim::value::is_unassigned;
use serde_json::Value;
use std::collections::HashSet;

/// The change an operation on `members` asks for; none where it asks for nothing.
pub(super) fn change(verb: Verb, path: Path, raw: &Value) -> Result<Option<MemberChange>, Error> {
    match (path, verb) {
        (Path::Attribute(path), Verb::Add) if path.sub.is_none() => {
            Ok(not_empty(refs(raw)?).map(MemberChange::Add))
        }
        (Path::Attribute(path), Verb::Replace) if path.sub.is_none() => {
            Ok(Some(MemberChange::Replace(refs(raw)?)))
        }
        (Path::Attribute(path), Verb::Remove) if path.sub.is_none() => removal(raw),
        (Path::Elements { filter, sub: None, .. }, Verb::Remove) => Ok(Some(removal_where(filter))),
        (Path::Elements { filter, sub: None, .. }, _) => creation(&filter, raw).map(Some),
        (path, _) => {
            let detail = format!("{path} cannot be changed; add and remove members instead");
            Err(Error::bad(ScimType::Mutability, detail))
        }
    }
}

/// `remove members` empties the group; with a list it removes exactly what is listed (scenario
/// entra-group-lifecycle-legacy; RFC 7644 section 3.5.2.2 has only the first).
fn removal(raw: &Value) -> Result<Option<MemberChange>, Error> {
    if raw.is_null() {
        return Ok(Some(MemberChange::Replace(Vec::new())));
    }
    let ids = refs(raw)?.into_iter().map(|member| member.value).collect();
    Ok(not_empty(ids).map(MemberChange::Remove))
}

fn removal_where(filter: Filter) -> MemberChange {
    match filter.listed_values() {
        Some(ids) => MemberChange::Remove(ids),
        None => MemberChange::RemoveWhere(filter),
    }
}

/// Adding to `members[value eq "x"]` makes x a member.
fn creation(filter: &Filter, raw: &Value) -> Result<MemberChange, Error> {
    let wanted = filter.listed_values().unwrap_or_default();
    let [id] = wanted.as_slice() else {
        return Err(Error::bad(ScimType::NoTarget, "members can only be added by value"));
    };
    let named = refs(raw).unwrap_or_default();
    if named.iter().any(|member| member.value != *id) {
        return Err(Error::bad(
            ScimType::Mutability,
            "the value of a member cannot be changed; remove it and add another",
        ));
    }
    let kind = named.into_iter().find_map(|member| member.kind);
    Ok(MemberChange::Add(vec![MemberRef { value: id.clone(), kind }]))
}

/// The members in a value: a list, one object, or bare ids (RFC 7643 section 4.2). Each is named once.
pub(in crate::scim) fn refs(raw: &Value) -> Result<Vec<MemberRef>, Error> {
    let list = match raw {
        _ if is_unassigned(raw) => &[],
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut seen = HashSet::new();
    let mut refs = Vec::with_capacity(list.len());
    for raw in list {
        let member = one(raw)?;
        if seen.insert(member.value.clone()) {
            refs.push(member);
        }
    }
    Ok(refs)
}

fn one(raw: &Value) -> Result<MemberRef, Error> {
    let (value, kind) = match raw {
        Value::Object(object) => (member(object, "value"), member(object, "type").and_then(Value::as_str)),
        bare => (Some(bare), None),
    };
    match value {
        Some(Value::String(id)) if id.chars().any(char::is_control) => {
            Err(Error::invalid_value(format!("the member id {} holds a control character", quoted(id))))
        }
        Some(Value::String(id)) if !id.is_empty() => {
            Ok(MemberRef { value: id.clone(), kind: kind.map(str::to_owned) })
        }
        _ => Err(Error::invalid_value("each member needs a value, the id of a user or group")),
    }
}

fn not_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
