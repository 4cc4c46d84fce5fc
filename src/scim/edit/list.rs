//! What an operation does to the elements of a multi-valued attribute (RFC 7644 section 3.5.2).

use crate::scim::edit::patch_op::PatchOp;
use crate::scim::error::Error;
use crate::scim::filter::Filter;
use crate::scim::json_object::JsonObject;
use crate::scim::patch_verb::PatchVerb;
use crate::scim::schema::Attribute;
use crate::scim::value;
use serde_json::Value;

const PRIMARY: &str = "primary";

/// Which elements of an attribute, and which part of them.
pub(super) struct ElementSelection<'a> {
    pub of: &'static Attribute,
    /// None: every element.
    pub filter: Option<&'a Filter>,
    pub sub: Option<&'static Attribute>,
}

impl ElementSelection<'_> {
    fn selects(&self, element: &Value) -> bool {
        self.filter.is_none_or(|filter| filter.matches(element))
    }
}

/// Adds elements. One that is there already changes nothing.
pub(super) fn add(
    list: &mut Vec<Value>,
    attribute: &Attribute,
    operation: &PatchOp<'_>,
) -> Result<(), Error> {
    add_all(list, attribute, value::list(attribute, operation.value, operation.strictness)?)
}

fn add_all(list: &mut Vec<Value>, attribute: &Attribute, mut added: Vec<Value>) -> Result<(), Error> {
    added.retain(|added| !list.iter().any(|element| has_all(element, added)));
    let primaries = added.iter().filter(|element| is_primary(element)).count();
    if primaries > 1 {
        return Err(two_primaries(attribute));
    }
    value::bounded(attribute, list.len() + new_among(list, &added))?;
    if primaries == 1 {
        list.iter_mut().for_each(demote);
    }
    added.into_iter().for_each(|element| add_one(list, element));
    Ok(())
}

/// How many of these elements are none that is there, or comes before them.
fn new_among(list: &[Value], added: &[Value]) -> usize {
    let before = |index: usize| list.iter().chain(added.iter().take(index));
    let is_new = |(index, element): &(usize, &Value)| !before(*index).any(|there| is_same(there, element));
    added.iter().enumerate().filter(is_new).count()
}

/// Puts these elements in the place of all others.
pub(super) fn replace(
    list: &mut Vec<Value>,
    attribute: &Attribute,
    operation: &PatchOp<'_>,
) -> Result<(), Error> {
    let mut replaced = Vec::new();
    add(&mut replaced, attribute, operation)?;
    *list = replaced;
    Ok(())
}

/// Removes every element or, where the operation lists values, only the elements that have them.
pub(super) fn remove(
    list: &mut Vec<Value>,
    attribute: &Attribute,
    operation: &PatchOp<'_>,
) -> Result<(), Error> {
    if operation.value.is_null() {
        list.clear();
        return Ok(());
    }
    let listed = value::list(attribute, operation.value, operation.strictness)?;
    list.retain(|element| !listed.iter().any(|listed| has_all(element, listed)));
    Ok(())
}

/// Changes the selected elements.
pub(super) fn change(
    list: &mut Vec<Value>,
    selection: &ElementSelection<'_>,
    operation: &PatchOp<'_>,
) -> Result<(), Error> {
    let PatchOp { verb, value: raw, strictness, .. } = *operation;
    let parts = match (verb, selection.sub) {
        (PatchVerb::Remove, _) => None,
        (_, Some(sub)) => value::single(sub, raw, strictness)?.map(|value| one_part(sub, value)),
        (_, None) if value::is_unassigned(raw) => None,
        (_, None) => value::complex(selection.of, value::only(raw), strictness)?,
    };
    match parts {
        Some(parts) => write(list, selection, operation, parts)?,
        None if verb == PatchVerb::Add && selection.sub.is_none() => {}
        None => clear(list, selection),
    }
    Ok(())
}

fn one_part(sub: &Attribute, value: Value) -> JsonObject {
    JsonObject::from_iter([(sub.name.to_owned(), value)])
}

/// Removes the selected elements, or the named part of them. An element that has lost its value goes, too: Entra ID
/// clears an address by clearing its value, and a type alone means nothing.
fn clear(list: &mut Vec<Value>, selection: &ElementSelection<'_>) {
    list.retain_mut(|element| match (selection.selects(element), selection.sub, element.as_object_mut()) {
        (false, ..) => true,
        (true, Some(sub), Some(parts)) => {
            parts.remove(sub.name);
            sub.name != "value" && parts.keys().any(|name| name != "type" && name != PRIMARY)
        }
        (true, ..) => false,
    });
}

/// Writes parts into the selected elements; where none is selected, creates the one that was meant.
fn write(
    list: &mut Vec<Value>,
    selection: &ElementSelection<'_>,
    operation: &PatchOp<'_>,
    parts: JsonObject,
) -> Result<(), Error> {
    let selected: Vec<bool> = list.iter().map(|element| selection.selects(element)).collect();
    let hits = selected.iter().filter(|hit| **hit).count();
    let promotes = parts.get(PRIMARY) == Some(&Value::Bool(true));
    if hits == 0 {
        let created = created(selection, parts)?;
        return add_all(list, selection.of, value::list(selection.of, &created, operation.strictness)?);
    }
    if promotes && hits > 1 {
        return Err(two_primaries(selection.of));
    }
    if promotes {
        list.iter_mut().for_each(demote);
    }
    for (element, _) in list.iter_mut().zip(selected).filter(|(_, hit)| *hit) {
        if operation.verb == PatchVerb::Replace && selection.sub.is_none() {
            keep_selected_parts(element, selection);
        }
        extend(element, &parts);
    }
    Ok(())
}

/// Leaves of an element only what the filter selected it by, as it is written there.
fn keep_selected_parts(element: &mut Value, selection: &ElementSelection<'_>) {
    let kept = required_parts(selection).unwrap_or_default();
    if let Some(parts) = element.as_object_mut() {
        parts.retain(|name, _| kept.contains_key(name));
    }
}

/// The element that a filter of nothing but equalities describes, with the given parts (scenario
/// entra-add-work-email-when-absent). Any other filter that matches nothing is 400 `noTarget`.
fn created(selection: &ElementSelection<'_>, parts: JsonObject) -> Result<Value, Error> {
    let Some(mut element) = required_parts(selection) else {
        return Err(Error::no_target(format!(
            "no element of {} matches the filter in the path",
            selection.of.name
        )));
    };
    element.extend(parts);
    Ok(Value::Object(element))
}

/// What every selected element has, by the filter; none where the filter does not say it as equalities.
fn required_parts(selection: &ElementSelection<'_>) -> Option<JsonObject> {
    let Some(filter) = selection.filter else { return Some(JsonObject::new()) };
    let pairs = filter.equalities()?;
    let parts: JsonObject = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    (parts.len() == pairs.len()).then_some(parts)
}

/// The same value for the same use is one element (RFC 7643 section 2.4).
fn is_same(element: &Value, added: &Value) -> bool {
    added.get("value").is_some() && ["value", "type"].iter().all(|name| element.get(name) == added.get(name))
}

fn add_one(list: &mut Vec<Value>, added: Value) {
    match (list.iter_mut().find(|element| is_same(element, &added)), &added) {
        (Some(element), Value::Object(parts)) => extend(element, parts),
        _ => list.push(added),
    }
}

fn extend(element: &mut Value, parts: &JsonObject) {
    if let Some(element) = element.as_object_mut() {
        element.extend(parts.clone());
    }
}

/// Every part of `wanted` is in `element`.
fn has_all(element: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(parts) => parts.iter().all(|(name, value)| element.get(name) == Some(value)),
        other => element == other,
    }
}

fn is_primary(element: &Value) -> bool {
    element.get(PRIMARY) == Some(&Value::Bool(true))
}

/// At most one element is primary: another one was chosen (RFC 7644 section 3.5.2).
fn demote(element: &mut Value) {
    if is_primary(element) {
        extend(element, &JsonObject::from_iter([(PRIMARY.to_owned(), Value::Bool(false))]));
    }
}

fn two_primaries(attribute: &Attribute) -> Error {
    Error::invalid_value(format!("only one of {} can be primary", attribute.name))
}
