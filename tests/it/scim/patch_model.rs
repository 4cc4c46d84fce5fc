//! PATCH against a model of it that is written from RFC 7644 section 3.5.2 and design.md section 3 over JSON values: random
//! resources, random operations in the dialects of identity providers, the same outcome.
//!
//! `PATCH_CASES` is how many (10,000 if it is not set).

mod model;

use crate::support::dice::Dice;
use azure_backup_scim::scim::{DecidingAttributes, PatchRequest, Resource, ResourceType};
use model::{Assignment, Attribute, CORE, ENTERPRISE, Filter, GROUP, Outcome, Shape, Target, USER, Verb};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const SEED: u64 = 7_644;
const CASES: usize = 10_000;
const WORDS: [&str; 4] = ["a", "b", "Work", "home"];
const PAIRS: [(ResourceType, &[Attribute]); 4] = [
    (ResourceType::User, USER),
    (ResourceType::User, USER),
    (ResourceType::User, USER),
    (ResourceType::Group, GROUP),
];

fn word(dice: &mut Dice) -> Value {
    json!(dice.of(&WORDS))
}

/// A value of a text: most hold, some do not.
fn text_value(dice: &mut Dice) -> Value {
    match dice.roll(14) {
        0 => Value::Null,
        1 => json!(""),
        2 => json!(5),
        3 => json!(true),
        4 => json!([word(dice)]),
        5 => json!(["a", "b"]),
        6 => json!({"value": "a"}),
        7 => json!([]),
        _ => word(dice),
    }
}

fn flag_value(dice: &mut Dice) -> Value {
    match dice.roll(12) {
        0 => Value::Null,
        1 => json!(""),
        2 => json!("maybe"),
        3 => json!(0),
        4 => json!([true]),
        5 => json!("True"),
        6 => json!("false"),
        _ => json!(dice.roll(2) == 0),
    }
}

/// An object of some parts, in any case; now and then with one that there is not, or with a value that does not fit.
fn object_value(dice: &mut Dice, parts: &[&'static str]) -> Value {
    let mut object = Map::new();
    for _ in 0..=dice.roll(3) {
        let part = dice.of(parts);
        let value = match dice.roll(16) {
            0 => Value::Null,
            1 => json!({"x": 1}),
            _ if part == "primary" => flag_of_element(dice),
            _ => word(dice),
        };
        let name = if dice.roll(6) == 0 { part.to_uppercase() } else { part.to_owned() };
        if !object.keys().any(|there: &String| there.eq_ignore_ascii_case(&name)) {
            object.insert(name, value);
        }
    }
    if dice.roll(8) == 0 {
        object.insert("zz".to_owned(), json!(1));
    }
    Value::Object(object)
}

fn flag_of_element(dice: &mut Dice) -> Value {
    match dice.roll(8) {
        0 => json!("True"),
        1 => json!("maybe"),
        _ => json!(dice.roll(2) == 0),
    }
}

fn list_value(dice: &mut Dice, parts: &[&'static str]) -> Value {
    match dice.roll(12) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!(""),
        3 => word(dice),
        4 => json!(true),
        5 => object_value(dice, parts),
        6 => json!([Value::Null, object_value(dice, parts), word(dice)]),
        _ => (0..=dice.roll(3)).map(|_| object_value(dice, parts)).collect(),
    }
}

fn value_of(dice: &mut Dice, shape: Shape) -> Value {
    match shape {
        Shape::Text => text_value(dice),
        Shape::Flag => flag_value(dice),
        Shape::List(parts) => list_value(dice, parts),
        Shape::Object(parts) => match dice.roll(8) {
            0 => Value::Null,
            1 => json!(""),
            2 => word(dice),
            3 => json!([object_value(dice, parts)]),
            4 => json!(7),
            _ => object_value(dice, parts),
        },
    }
}

fn part_value(dice: &mut Dice, part: &str) -> Value {
    if part == "primary" { flag_value(dice) } else { text_value(dice) }
}

fn filter(dice: &mut Dice, parts: &[&'static str], depth: usize) -> Filter {
    let several = |dice: &mut Dice| (0..2 + dice.roll(2)).map(|_| filter(dice, parts, depth - 1)).collect();
    match dice.roll(if depth == 0 { 8 } else { 14 }) {
        0 => Filter::Present(dice.of(parts)),
        8..=10 => {
            // Nested conjunctions are one: the model sees only terms.
            Filter::All((0..2).map(|_| term(dice, parts)).collect())
        }
        11 => Filter::Any(several(dice)),
        12 => Filter::Not(Box::new(filter(dice, parts, depth - 1))),
        13 => Filter::All(vec![term(dice, parts), Filter::Not(Box::new(term(dice, parts)))]),
        _ => term(dice, parts),
    }
}

fn term(dice: &mut Dice, parts: &[&'static str]) -> Filter {
    let part = dice.of(parts);
    match part {
        "primary" => Filter::Is(part, dice.of(&["eq", "eq", "ne"]), json!(dice.roll(2) == 0)),
        _ => {
            let text = dice.of(&["a", "b", "work", "HOME", "Work"]);
            Filter::Is(part, dice.of(&["eq", "eq", "eq", "eq", "ne", "co", "sw", "ew"]), json!(text))
        }
    }
}

/// A resource as it is stored.
fn stored(dice: &mut Dice, attributes: &[Attribute]) -> Value {
    let mut resource = json!({});
    for attribute in attributes {
        let value = match (attribute.required, attribute.shape) {
            (true, _) => json!("ana"),
            (_, Shape::Flag) => json!(dice.roll(4) > 0),
            _ if dice.roll(2) == 0 => continue,
            (_, Shape::Text) => word(dice),
            (_, Shape::Object(parts)) => plain_object(dice, parts),
            (_, Shape::List(parts)) => {
                let mut list: Vec<Value> = (0..=dice.roll(3)).map(|_| plain_object(dice, parts)).collect();
                if let (true, Some(first)) = (dice.roll(3) == 0, list.first_mut()) {
                    first["primary"] = json!(true);
                }
                Value::Array(list)
            }
        };
        match attribute.in_enterprise {
            true => resource[ENTERPRISE][attribute.name] = value,
            false => resource[attribute.name] = value,
        }
    }
    resource
}

/// At least one part, none of them `primary`.
fn plain_object(dice: &mut Dice, parts: &[&'static str]) -> Value {
    let mut object = json!({ parts[0]: word(dice) });
    for part in parts.iter().filter(|part| **part != "primary") {
        if dice.roll(2) == 0 {
            object[*part] = word(dice);
        }
    }
    object
}

/// One assignment, and the path that says it.
fn assignment(dice: &mut Dice, attributes: &[Attribute], verb: Verb) -> (Assignment, String) {
    let is_user = attributes.len() > GROUP.len();
    let attribute = dice.of(attributes);
    let urn = match (attribute.in_enterprise, dice.roll(3)) {
        (true, 0 | 1) => format!("{ENTERPRISE}:"),
        (false, 0) if is_user => format!("{CORE}:"),
        _ => String::new(),
    };
    let name = if dice.roll(5) == 0 { attribute.name.to_uppercase() } else { attribute.name.to_owned() };
    let (target, path, value) = match (dice.roll(16), attribute.shape) {
        (0, _) => {
            let name = format!("zz{}", dice.roll(9));
            (Target::Unknown(name.clone()), name, word(dice))
        }
        (1, _) if is_user => {
            let name = dice.of(&["id", "meta.created", "groups"]);
            (Target::ReadOnly(name), name.to_owned(), word(dice))
        }
        (2, _) => {
            let name = "urn:contoso:2.0:User:badge";
            (Target::Foreign(name.to_owned()), name.to_owned(), word(dice))
        }
        (3, _) if is_user => {
            let value = if dice.roll(2) == 0 { Value::Null } else { word(dice) };
            (Target::Enterprise, ENTERPRISE.to_owned(), value)
        }
        (4..=6, Shape::Object(parts) | Shape::List(parts)) => {
            let part = dice.of(parts);
            (Target::Part(attribute, part), format!("{urn}{name}.{part}"), part_value(dice, part))
        }
        (7..=9, Shape::List(parts)) => {
            let filter = filter(dice, parts, 2);
            let path = format!("{urn}{name}[{}]", filter.text());
            let value = if dice.roll(6) == 0 { list_value(dice, parts) } else { object_value(dice, parts) };
            (Target::Elements(attribute, filter, None), path, value)
        }
        (10..=13, Shape::List(parts)) => {
            let (filter, part) = (filter(dice, parts, 2), dice.of(parts));
            let path = format!("{urn}{name}[{}].{part}", filter.text());
            (Target::Elements(attribute, filter, Some(part)), path, part_value(dice, part))
        }
        (_, shape) => (Target::Whole(attribute), format!("{urn}{name}"), value_of(dice, shape)),
    };
    let value = match (verb, attribute.shape) {
        (Verb::Remove, Shape::List(_)) if dice.roll(3) == 0 => value,
        (Verb::Remove, _) => Value::Null,
        _ => value,
    };
    (Assignment { verb, target, value }, path)
}

/// The operations of a request, and what they assign.
fn request(dice: &mut Dice, attributes: &[Attribute]) -> (Value, Vec<Assignment>) {
    let (mut operations, mut assigned) = (Vec::new(), Vec::new());
    for _ in 0..=dice.roll(4) {
        let verb = dice.of(&[Verb::Add, Verb::Replace, Verb::Remove]);
        let op = match verb {
            Verb::Add => dice.of(&["add", "Add"]),
            Verb::Replace => dice.of(&["replace", "Replace"]),
            Verb::Remove => dice.of(&["remove", "REMOVE"]),
        };
        if verb != Verb::Remove && dice.roll(4) == 0 {
            let (object, inner) = path_less(dice, attributes, verb);
            operations.push(json!({"op": op, "value": object}));
            assigned.extend(inner);
            continue;
        }
        let (assignment, path) = assignment(dice, attributes, verb);
        let mut operation = json!({"op": op, "path": path});
        if verb != Verb::Remove || !assignment.value.is_null() {
            operation["value"] = assignment.value.clone();
        }
        operations.push(operation);
        assigned.push(assignment);
    }
    (Value::Array(operations), assigned)
}

/// Keys as dotted paths and URNs, as Entra ID sends them; each is an assignment, in the order of the keys.
fn path_less(dice: &mut Dice, attributes: &[Attribute], verb: Verb) -> (Value, Vec<Assignment>) {
    let mut by_key = BTreeMap::new();
    for _ in 0..=dice.roll(3) {
        let (assignment, path) = assignment(dice, attributes, verb);
        // An object under a schema is many assignments, and what is read-only is ignored here.
        if !matches!(assignment.target, Target::Enterprise) {
            by_key.insert(path, assignment);
        }
    }
    let object: Map<String, Value> = by_key.iter().map(|(key, of)| (key.clone(), of.value.clone())).collect();
    let is_ignored = |assignment: &Assignment| matches!(assignment.target, Target::ReadOnly(_));
    (Value::Object(object), by_key.into_values().filter(|assignment| !is_ignored(assignment)).collect())
}

/// What the service makes of it.
fn patched(kind: ResourceType, before: &Value, operations: &Value) -> Outcome {
    let keyword = |error: azure_backup_scim::scim::Error| {
        assert_eq!(error.status, 400, "{error}");
        error.scim_type.map_or("", |keyword| keyword.keyword())
    };
    let before = Resource::from_stored(kind, before.as_object().unwrap().clone());
    let request = PatchRequest::parse(kind, &json!({"Operations": operations})).map_err(keyword)?;
    let edited = request.apply(&before, &DecidingAttributes::default()).map_err(keyword)?;
    // Of a group it is decided later, by its members: none leaves here.
    let edited =
        if kind == ResourceType::Group { edited.unless_refused(false).map_err(keyword)? } else { edited };
    let after = Value::Object(edited.resource.attributes().clone());
    Ok((after, edited.dropped.names().into_iter().collect()))
}

#[test]
fn patch_does_what_its_model_does() {
    let cases = std::env::var("PATCH_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let mut dice = Dice::new(SEED);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..cases {
        let (kind, attributes) = dice.of(&PAIRS);
        let before = stored(&mut dice, attributes);
        let (operations, assigned) = request(&mut dice, attributes);
        let expected = model::patch(&before, &assigned);
        let found = patched(kind, &before, &operations);
        assert_eq!(found, expected, "case {number} of seed {SEED}\n{before}\n{operations}\n{assigned:#?}");
        let outcome = match &found {
            Ok((after, _)) if *after == before => "unchanged",
            Ok((_, dropped)) if dropped.is_empty() => "carried out",
            Ok(_) => "carried out in part",
            Err(keyword) => keyword,
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{outcomes:?}");
    assert_eq!(outcomes.len(), 7, "{outcomes:?}");
}
