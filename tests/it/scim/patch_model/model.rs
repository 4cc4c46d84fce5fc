//! PATCH as RFC 7644 section 3.5.2 and design.md section 3 describe it, done naively: over JSON values, copying everything, one
//! rule after the other. It shares no code with the service.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// What an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Flag,
    /// One object with these parts.
    Object(&'static [&'static str]),
    /// A list of objects with these parts; `primary` is a flag.
    List(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    pub name: &'static str,
    pub shape: Shape,
    pub in_enterprise: bool,
    pub deciding: bool,
    pub required: bool,
}

const fn attribute(name: &'static str, shape: Shape) -> Attribute {
    Attribute { name, shape, in_enterprise: false, deciding: false, required: false }
}

const fn decides(name: &'static str, shape: Shape, required: bool) -> Attribute {
    Attribute { deciding: true, required, ..attribute(name, shape) }
}

const fn enterprise(name: &'static str, shape: Shape) -> Attribute {
    Attribute { in_enterprise: true, ..attribute(name, shape) }
}

const PLURAL: Shape = Shape::List(&["value", "display", "type", "primary"]);

pub const USER: &[Attribute] = &[
    decides("userName", Shape::Text, true),
    decides("externalId", Shape::Text, false),
    decides("userType", Shape::Text, false),
    decides("active", Shape::Flag, false),
    attribute("nickName", Shape::Text),
    attribute("title", Shape::Text),
    attribute("name", Shape::Object(&["formatted", "givenName", "familyName"])),
    attribute("emails", PLURAL),
    attribute("phoneNumbers", PLURAL),
    attribute("entitlements", PLURAL),
    attribute("addresses", Shape::List(&["locality", "region", "type", "primary"])),
    enterprise("department", Shape::Text),
    enterprise("employeeNumber", Shape::Text),
    enterprise("manager", Shape::Object(&["value", "$ref"])),
];

pub const GROUP: &[Attribute] =
    &[decides("displayName", Shape::Text, true), decides("externalId", Shape::Text, false)];

/// A filter in brackets.
#[derive(Debug, Clone)]
pub enum Filter {
    Is(&'static str, &'static str, Value),
    Present(&'static str),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

impl Filter {
    pub fn text(&self) -> String {
        let joined = |parts: &[Filter], word: &str| {
            let parts: Vec<String> = parts.iter().map(|part| format!("({})", part.text())).collect();
            parts.join(word)
        };
        match self {
            Filter::Is(part, op, value) => format!("{part} {op} {value}"),
            Filter::Present(part) => format!("{part} pr"),
            Filter::All(parts) => joined(parts, " and "),
            Filter::Any(parts) => joined(parts, " or "),
            Filter::Not(inner) => format!("not ({})", inner.text()),
        }
    }

    fn matches(&self, element: &Value) -> bool {
        match self {
            Filter::Present(part) => element.get(*part).is_some(),
            Filter::All(parts) => parts.iter().all(|part| part.matches(element)),
            Filter::Any(parts) => parts.iter().any(|part| part.matches(element)),
            Filter::Not(inner) => !inner.matches(element),
            Filter::Is(part, op, wanted) => match (element.get(*part), *op) {
                (None, op) => op == "ne",
                (Some(Value::String(found)), op) => {
                    let (found, wanted) = (found.to_lowercase(), wanted.as_str().unwrap().to_lowercase());
                    match op {
                        "eq" => found == wanted,
                        "ne" => found != wanted,
                        "co" => found.contains(&wanted),
                        "sw" => found.starts_with(&wanted),
                        _ => found.ends_with(&wanted),
                    }
                }
                (Some(found), "eq") => found == wanted,
                (Some(found), _) => found != wanted,
            },
        }
    }

    /// The parts that every match has, where the filter is nothing but equalities that do not contradict each other.
    fn equalities(&self) -> Option<Map<String, Value>> {
        let terms = match self {
            Filter::All(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        let mut all = Map::new();
        for term in terms {
            match term {
                Filter::Is(part, "eq", value) => {
                    if all.insert((*part).to_owned(), value.clone()).is_some() {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        Some(all)
    }
}

/// What one assignment is about.
#[derive(Debug, Clone)]
pub enum Target {
    Whole(Attribute),
    Part(Attribute, &'static str),
    Elements(Attribute, Filter, Option<&'static str>),
    Enterprise,
    /// What no client may write.
    ReadOnly(&'static str),
    Unknown(String),
    Foreign(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Add,
    Replace,
    Remove,
}

#[derive(Debug, Clone)]
pub struct Assignment {
    pub verb: Verb,
    pub target: Target,
    pub value: Value,
}

/// What comes of a request: the attributes and the names of what was dropped; or the keyword of the refusal.
pub type Outcome = Result<(Value, BTreeSet<String>), &'static str>;

/// Carries out the assignments of a request in their order.
pub fn patch(before: &Value, assignments: &[Assignment]) -> Outcome {
    let mut now = before.clone();
    let mut dropped = BTreeSet::new();
    let (mut carried_out, mut deactivates) = (0, false);
    let (mut mistake, mut refusal) = (None, None);
    for assignment in assignments {
        match carry_out(before, &now, assignment) {
            Ok(after) => {
                now = after;
                carried_out += 1;
                if assignment.is_about("active") && now["active"] == json!(false) {
                    deactivates = true;
                }
            }
            Err(_) if matches!(assignment.target, Target::Foreign(_)) => {
                dropped.insert(assignment.name());
            }
            Err(error) if assignment.is_about("active") => return Err(error),
            Err(error) => {
                let first = if assignment.decides() { &mut refusal } else { &mut mistake };
                first.get_or_insert(error);
                dropped.insert(assignment.name());
            }
        }
    }
    if let (0, Some(mistake), None) = (carried_out, mistake, refusal) {
        return Err(mistake);
    }
    forget_stale_address(before, &mut now);
    match refusal {
        Some(refusal) if !(deactivates && now["active"] == json!(false)) => Err(refusal),
        _ => Ok((now, dropped)),
    }
}

/// The address of a manager goes with the manager.
fn forget_stale_address(before: &Value, now: &mut Value) {
    let manager = |of: &Value| of[ENTERPRISE]["manager"].clone();
    let (was, mut is) = (manager(before), manager(now));
    if is.is_object() && is["value"] != was["value"] && is["$ref"] == was["$ref"] {
        is.as_object_mut().unwrap().remove("$ref");
        *now = with(now, true, "manager", Some(is));
    }
}

impl Assignment {
    fn attribute(&self) -> Option<Attribute> {
        match &self.target {
            Target::Whole(attribute) | Target::Part(attribute, _) | Target::Elements(attribute, ..) => {
                Some(*attribute)
            }
            _ => None,
        }
    }

    fn is_about(&self, name: &str) -> bool {
        self.attribute().is_some_and(|attribute| attribute.name == name)
    }

    fn decides(&self) -> bool {
        self.attribute().is_some_and(|attribute| attribute.deciding)
    }

    /// What a record calls it.
    fn name(&self) -> String {
        match &self.target {
            Target::Whole(attribute) | Target::Elements(attribute, _, None) => attribute.name.to_owned(),
            Target::Part(attribute, part) | Target::Elements(attribute, _, Some(part)) => {
                format!("{}.{part}", attribute.name)
            }
            Target::Enterprise => ENTERPRISE.chars().take(64).collect(),
            Target::ReadOnly(name) => (*name).to_owned(),
            Target::Unknown(name) | Target::Foreign(name) => name.chars().take(64).collect(),
        }
    }
}

/// Null, an empty text and an empty list all mean that there is no value (RFC 7643 section 2.5).
fn is_nothing(value: &Value) -> bool {
    *value == Value::Null || *value == json!("") || *value == json!([])
}

/// The resource with that value of an attribute. What is empty is not there.
fn with(resource: &Value, in_enterprise: bool, name: &str, value: Option<Value>) -> Value {
    let mut resource = resource.clone();
    let value = value.filter(|value| *value != json!({}) && *value != json!([]));
    if in_enterprise {
        let mut extension = resource.get(ENTERPRISE).cloned().unwrap_or_else(|| json!({}));
        extension.as_object_mut().unwrap().remove(name);
        if let Some(value) = value {
            extension[name] = value;
        }
        return with(&resource, false, ENTERPRISE, Some(extension));
    }
    resource.as_object_mut().unwrap().remove(name);
    if let Some(value) = value {
        resource[name] = value;
    }
    resource
}

fn carry_out(before: &Value, now: &Value, assignment: &Assignment) -> Result<Value, &'static str> {
    let Assignment { verb, target, value } = assignment;
    match target {
        Target::Unknown(_) => Err("invalidPath"),
        Target::ReadOnly(_) => Err("mutability"),
        Target::Foreign(_) => Err(""),
        Target::Enterprise => match verb {
            Verb::Add if is_nothing(value) => Ok(now.clone()),
            Verb::Add | Verb::Replace if !is_nothing(value) => Err("invalidValue"),
            _ => Ok(with(now, false, ENTERPRISE, None)),
        },
        Target::Whole(attribute) | Target::Part(attribute, _) | Target::Elements(attribute, ..) => {
            let holder =
                |of: &Value| if attribute.in_enterprise { of[ENTERPRISE].clone() } else { of.clone() };
            let old = holder(now).get(attribute.name).cloned();
            let stored = holder(before).get(attribute.name).cloned();
            let new = match target {
                Target::Whole(attribute) => whole(attribute, *verb, value, old, stored)?,
                Target::Part(attribute, part) => match attribute.shape {
                    Shape::List(_) => elements(attribute, *verb, value, old, None, Some(part))?,
                    _ => Some(part_of_object(*verb, value, old, part)?),
                },
                Target::Elements(_, filter, part) => {
                    elements(attribute, *verb, value, old, Some(filter), *part)?
                }
                _ => unreachable!("the target is an attribute"),
            };
            Ok(with(now, attribute.in_enterprise, attribute.name, new))
        }
    }
}

fn whole(
    attribute: &Attribute,
    verb: Verb,
    value: &Value,
    old: Option<Value>,
    stored: Option<Value>,
) -> Result<Option<Value>, &'static str> {
    match attribute.shape {
        Shape::Text | Shape::Flag => single(attribute, verb, value, stored),
        Shape::Object(parts) => object(verb, value, old, parts),
        Shape::List(parts) => list(verb, value, old, parts),
    }
}

/// One text or flag.
fn single(
    attribute: &Attribute,
    verb: Verb,
    value: &Value,
    stored: Option<Value>,
) -> Result<Option<Value>, &'static str> {
    let nothing = match verb {
        Verb::Remove => true,
        // Where access depends on it, a list is no text, not even an empty one.
        _ => is_nothing(value) && !(attribute.deciding && value.is_array()),
    };
    if nothing {
        return match attribute.name {
            _ if attribute.required && verb == Verb::Remove => Err("mutability"),
            _ if attribute.required => Err("invalidValue"),
            "active" => Ok(Some(json!(false))),
            _ => Ok(None),
        };
    }
    let read = if attribute.shape == Shape::Flag { flag(value) } else { text(value) };
    let strict = match (attribute.deciding, value) {
        (true, Value::Array(_)) => None,
        (true, Value::Number(_)) if attribute.name != "externalId" => None,
        _ => read.clone(),
    };
    match (strict, read) {
        (Some(read), _) => Ok(Some(read)),
        // A value that is stored already is never judged.
        (None, Some(read)) if Some(&read) == stored.as_ref() => Ok(Some(read)),
        _ => Err("invalidValue"),
    }
}

/// A list of one is read as what is in it.
fn only(value: &Value) -> &Value {
    match value {
        Value::Array(list) if list.len() == 1 => &list[0],
        other => other,
    }
}

fn text(value: &Value) -> Option<Value> {
    match only(value) {
        Value::String(text) => Some(json!(text)),
        Value::Number(number) => Some(json!(number.to_string())),
        _ => None,
    }
}

fn flag(value: &Value) -> Option<Value> {
    match only(value) {
        Value::Bool(flag) => Some(json!(flag)),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(json!(true)),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(json!(false)),
        _ => None,
    }
}

/// A part of an object or element; none where it is unassigned.
fn part_value(part: &str, value: &Value) -> Result<Option<Value>, &'static str> {
    if is_nothing(value) {
        return Ok(None);
    }
    let read = if part == "primary" { flag(value) } else { text(value) };
    read.map(Some).ok_or("invalidValue")
}

/// The parts that a value names, in any case; what there is no part for is left out.
fn parts_in(
    value: &Value,
    parts: &[&'static str],
) -> Result<Vec<(&'static str, Option<Value>)>, &'static str> {
    match value {
        Value::Object(object) => {
            let mut found = Vec::new();
            for (name, value) in object {
                if let Some(part) = parts.iter().find(|part| part.eq_ignore_ascii_case(name)) {
                    found.push((*part, part_value(part, value)?));
                }
            }
            Ok(found)
        }
        Value::String(_) | Value::Number(_) if parts.contains(&"value") => {
            Ok(vec![("value", part_value("value", value)?)])
        }
        _ => Err("invalidValue"),
    }
}

/// One object: the parts that are named are set, the others stay (RFC 7644 sections 3.5.2.1 and 3.5.2.3).
fn object(
    verb: Verb,
    value: &Value,
    old: Option<Value>,
    parts: &[&'static str],
) -> Result<Option<Value>, &'static str> {
    if verb == Verb::Remove || is_nothing(value) {
        return Ok(None);
    }
    let value = only(value);
    // A bare text is the whole.
    let mut object = if value.is_object() { old.unwrap_or_else(|| json!({})) } else { json!({}) };
    for (part, value) in parts_in(value, parts)? {
        set(&mut object, part, value);
    }
    Ok(Some(object))
}

fn part_of_object(verb: Verb, value: &Value, old: Option<Value>, part: &str) -> Result<Value, &'static str> {
    let mut object = old.unwrap_or_else(|| json!({}));
    let value = if verb == Verb::Remove { None } else { part_value(part, value)? };
    set(&mut object, part, value);
    Ok(object)
}

fn set(object: &mut Value, part: &str, value: Option<Value>) {
    match value {
        Some(value) => object[part] = value,
        None => drop(object.as_object_mut().unwrap().remove(part)),
    }
}

/// The elements that a value lists; one that says nothing is none.
fn listed(value: &Value, parts: &[&'static str]) -> Result<Vec<Value>, &'static str> {
    let raw = match value {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let mut elements = Vec::new();
    for one in &raw {
        if is_nothing(one) {
            continue;
        }
        let mut element = json!({});
        for (part, value) in parts_in(one, parts)? {
            set(&mut element, part, value);
        }
        if element != json!({}) {
            elements.push(element);
        }
    }
    Ok(elements)
}

fn list(
    verb: Verb,
    value: &Value,
    old: Option<Value>,
    parts: &[&'static str],
) -> Result<Option<Value>, &'static str> {
    let old: Vec<Value> = old.and_then(|old| old.as_array().cloned()).unwrap_or_default();
    let new = match verb {
        Verb::Add => added(&old, listed(value, parts)?)?,
        Verb::Replace => added(&[], listed(value, parts)?)?,
        Verb::Remove if *value == Value::Null => Vec::new(),
        Verb::Remove => {
            let listed = listed(value, parts)?;
            let stays = |element: &&Value| !listed.iter().any(|listed| says(element, listed));
            old.iter().filter(stays).cloned().collect()
        }
    };
    Ok(Some(Value::Array(new)))
}

/// Whether an element has all that another one says.
fn says(element: &Value, other: &Value) -> bool {
    other.as_object().unwrap().iter().all(|(part, value)| element.get(part) == Some(value))
}

/// Adds elements: what is there already changes nothing, the same value for the same use is one element, and the newest primary
/// is the only one.
fn added(old: &[Value], new: Vec<Value>) -> Result<Vec<Value>, &'static str> {
    let new: Vec<Value> = new.into_iter().filter(|new| !old.iter().any(|old| says(old, new))).collect();
    let primaries = new.iter().filter(|new| new["primary"] == json!(true)).count();
    if primaries > 1 {
        return Err("invalidValue");
    }
    let mut all = old.to_vec();
    if primaries == 1 {
        all.iter_mut().for_each(demote);
    }
    for new in new {
        let same = |there: &&mut Value| {
            new.get("value").is_some()
                && there["value"] == new["value"]
                && there.get("type") == new.get("type")
        };
        match all.iter_mut().find(same) {
            Some(there) => there.as_object_mut().unwrap().extend(new.as_object().unwrap().clone()),
            None => all.push(new),
        }
    }
    Ok(all)
}

fn demote(element: &mut Value) {
    if element["primary"] == json!(true) {
        element["primary"] = json!(false);
    }
}

/// Elements that a filter selects, or all; or a part of each.
fn elements(
    attribute: &Attribute,
    verb: Verb,
    value: &Value,
    old: Option<Value>,
    filter: Option<&Filter>,
    part: Option<&'static str>,
) -> Result<Option<Value>, &'static str> {
    let Shape::List(parts) = attribute.shape else { unreachable!("only lists have elements") };
    let old: Vec<Value> = old.and_then(|old| old.as_array().cloned()).unwrap_or_default();
    let selected: Vec<bool> =
        old.iter().map(|element| filter.is_none_or(|filter| filter.matches(element))).collect();
    let mut assigned = json!({});
    match part {
        _ if verb == Verb::Remove => {}
        Some(part) => set(&mut assigned, part, part_value(part, value)?),
        None if is_nothing(value) => {}
        None => {
            for (part, value) in parts_in(only(value), parts)? {
                set(&mut assigned, part, value);
            }
        }
    }
    let new = match (assigned == json!({}), verb, part) {
        // To add nothing is to do nothing.
        (true, Verb::Add, None) => old,
        (true, ..) => cleared(&old, &selected, part),
        (false, ..) => written(&old, &selected, filter, (verb, part), &assigned)?,
    };
    Ok(Some(Value::Array(new)))
}

/// Without what is selected. An element that has lost its value, or all but its use, goes.
fn cleared(old: &[Value], selected: &[bool], part: Option<&str>) -> Vec<Value> {
    let mut left = Vec::new();
    for (element, selected) in old.iter().zip(selected) {
        let mut element = element.clone();
        if *selected {
            let Some(part) = part else { continue };
            set(&mut element, part, None);
            let says_something =
                element.as_object().unwrap().keys().any(|part| part != "type" && part != "primary");
            if part == "value" || !says_something {
                continue;
            }
        }
        left.push(element);
    }
    left
}

/// With what is assigned in each selected element; where none is selected, the one that the filter describes.
fn written(
    old: &[Value],
    selected: &[bool],
    filter: Option<&Filter>,
    (verb, part): (Verb, Option<&str>),
    assigned: &Value,
) -> Result<Vec<Value>, &'static str> {
    let described = match filter {
        None => Some(Map::new()),
        Some(filter) => filter.equalities(),
    };
    let hits = selected.iter().filter(|selected| **selected).count();
    if hits == 0 {
        let mut element = Value::Object(described.ok_or("noTarget")?);
        element.as_object_mut().unwrap().extend(assigned.as_object().unwrap().clone());
        return added(old, vec![element]);
    }
    let promotes = assigned["primary"] == json!(true);
    if promotes && hits > 1 {
        return Err("invalidValue");
    }
    let mut new = old.to_vec();
    if promotes {
        new.iter_mut().for_each(demote);
    }
    for (element, _) in new.iter_mut().zip(selected).filter(|(_, selected)| **selected) {
        // To replace an element leaves what it was selected by.
        if verb == Verb::Replace && part.is_none() {
            let kept = described.clone().unwrap_or_default();
            element.as_object_mut().unwrap().retain(|part, _| kept.contains_key(part));
        }
        element.as_object_mut().unwrap().extend(assigned.as_object().unwrap().clone());
    }
    Ok(new)
}
