//! The oracle: every mistake that is put into a write, and what design.md section 3 says becomes of it. It knows the class of a
//! mistake because it made it; it asks nothing of the service and shares no code with it.

use super::writes::{Dialect, ENTERPRISE, Kind, Method, Place, Write};
use crate::support::dice::Dice;
use crate::support::harness::OWN;
use serde_json::{Value, json};

/// The most characters of a name that a record keeps.
const RECORDED_CHARS: usize = 64;
const FOREIGN: &str = "urn:contoso:2.0:User";

/// What is put into a write.
#[derive(Debug, Clone)]
pub enum Insert {
    /// One more assignment, in the dialect of the write.
    Assign(Place, Value),
    /// An assignment in the place of the one that the write has.
    Instead(Place, Value),
    /// An operation of a PATCH.
    Operation(Value),
}

/// One mistake.
#[derive(Debug, Clone)]
pub struct Mistake {
    pub insert: Insert,
    /// What the record of the change calls it, where it is dropped; none where it means nothing and is not recorded.
    pub recorded: Option<String>,
    /// The answer where it is all that a PATCH has, or where it refuses the request. None: then there is nothing to do, and
    /// that is a success.
    pub error: Option<(u16, &'static str)>,
    /// The attribute that it is about, as a JSON pointer.
    pub about: Option<&'static str>,
}

impl Mistake {
    fn new(insert: Insert, recorded: &str, scim_type: &'static str) -> Self {
        let recorded = Some(recorded.chars().take(RECORDED_CHARS).collect());
        Self { insert, recorded, error: Some((400, scim_type)), about: None }
    }

    fn about(self, pointer: &'static str) -> Self {
        Self { about: Some(pointer), ..self }
    }

    /// The attribute that it is about, as far as the record says; two mistakes in one may be one assignment.
    pub fn attribute(&self) -> Option<&str> {
        self.recorded.as_deref().and_then(|name| name.rsplit(':').next()?.split('.').next())
    }

    pub fn put_into(&self, write: &mut Write) {
        match &self.insert {
            Insert::Assign(place, value) => write.assign(place.clone(), value.clone()),
            Insert::Instead(place, value) => write.reassign(place.clone(), value.clone()),
            Insert::Operation(operation) => write.operations.push(operation.clone()),
        }
    }
}

/// The ids and names that a mistake may speak of.
pub struct Scene {
    /// The userName of another user, and the displayName of another group.
    pub taken: [&'static str; 2],
    /// An id of no one.
    pub unknown_id: String,
    /// A member of the group who stays.
    pub member: String,
    /// A user who is not in the group.
    pub outsider: String,
    /// A number of this case alone.
    pub number: usize,
}

/// A mistake that does not refuse the request: an attribute that there is not, that clients cannot write, or that decides
/// nothing and cannot hold the value. `write`: what it is put into.
pub fn harmless(dice: &mut Dice, write: &Write, scene: &Scene) -> Mistake {
    let user = write.kind == Kind::User;
    match dice.roll(if user { 10 } else { 6 }) {
        0 | 1 => unknown_attribute(dice, scene),
        2 => foreign_schema(dice, scene),
        3 => read_only(dice, write),
        4 | 5 => unreadable_path(dice, write, scene),
        6 => unknown_part(dice, write, scene),
        7 if write.method == Method::Patch => unmatched(dice),
        _ => wrong_value(dice),
    }
}

fn any_value(dice: &mut Dice) -> Value {
    match dice.roll(8) {
        0 => json!(44),
        1 => json!(true),
        2 => json!("text"),
        3 => json!(["a", 1]),
        4 => json!({"value": "x", "deep": {"er": [1]}}),
        5 => json!(""),
        6 => json!(-0.5),
        _ => json!("größe \u{200B}\u{1F6E1}"),
    }
}

/// A name that no attribute has.
fn unknown_name(dice: &mut Dice) -> String {
    let length = if dice.roll(8) == 0 { 70 } else { 1 + dice.roll(12) };
    let letters = (0..length).map(|_| char::from(b'a' + u8::try_from(dice.roll(26)).unwrap()));
    "zz".chars().chain(letters).collect()
}

fn unknown_attribute(dice: &mut Dice, scene: &Scene) -> Mistake {
    let name = format!("{}{}", unknown_name(dice), scene.number);
    let text = match dice.roll(4) {
        0 => format!("{name}.value"),
        _ => name,
    };
    Mistake::new(Insert::Assign(Place::Text(text.clone()), any_value(dice)), &text, "invalidPath")
}

/// A schema that is not ours: it was never ours to do, so it is no mistake where nothing else is in the request.
fn foreign_schema(dice: &mut Dice, scene: &Scene) -> Mistake {
    let name = format!("badge{}", scene.number);
    let under = Place::Under(FOREIGN.to_owned(), name.clone());
    let (place, recorded) = match dice.roll(2) {
        0 => (Place::Text(format!("{FOREIGN}:{name}")), format!("{FOREIGN}:{name}")),
        _ => (under, FOREIGN.to_owned()),
    };
    Mistake { error: None, ..Mistake::new(Insert::Assign(place, any_value(dice)), &recorded, "") }
}

/// Read-only attributes are ignored in bodies and path-less values; as a path they are a mistake.
fn read_only(dice: &mut Dice, write: &Write) -> Mistake {
    let user: &[(&str, &str)] = &[
        ("id", "id"),
        ("meta.created", "meta.created"),
        ("meta", "meta"),
        ("groups", "groups"),
        ("groups.value", "groups.value"),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.displayName",
            "manager.displayName",
        ),
        ("urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User:grantState", "grantState"),
    ];
    let group: &[(&str, &str)] =
        &[("id", "id"), ("meta.lastModified", "meta.lastModified"), ("meta", "meta")];
    let (path, name) = dice.of(if write.kind == Kind::User { user } else { group });
    let place = Place::Text(path.to_owned());
    let is_path = write.is_path(&place);
    let mistake = Mistake::new(Insert::Instead(place, any_value(dice)), name, "mutability");
    if is_path { mistake } else { Mistake { recorded: None, error: None, ..mistake } }
}

/// A path that does not parse counts as unknown, unless its leading name decides.
fn unreadable_path(dice: &mut Dice, write: &Write, scene: &Scene) -> Mistake {
    let unknown = format!("zz{}", scene.number);
    let name = match write.kind {
        Kind::User => dice.of(&["title", "ims", "photos", "timezone", unknown.as_str()]),
        Kind::Group => unknown.as_str(),
    };
    let multi = ["ims", "photos"].contains(&name);
    // Inside the brackets of an attribute that has elements it is the filter that is wrong.
    let in_brackets = if multi { "invalidFilter" } else { "invalidPath" };
    let (rest, scim_type) = dice.of(&[
        ("[type eq", in_brackets),
        ("[type eq \"work\"", in_brackets),
        ("[zz eq \"work\"].value", in_brackets),
        ("..value", "invalidPath"),
        (" value", "invalidPath"),
        (" eq \"x\"", "invalidPath"),
        ("]", "invalidPath"),
        ("(", "invalidPath"),
        ("\"", "invalidPath"),
    ]);
    let recorded = if rest == "..value" { format!("{name}..value") } else { name.to_owned() };
    let place = Place::Text(format!("{name}{rest}"));
    Mistake::new(Insert::Assign(place, any_value(dice)), &recorded, scim_type)
}

/// A part that an attribute does not have, or an attribute that an extension does not have.
fn unknown_part(dice: &mut Dice, write: &Write, scene: &Scene) -> Mistake {
    let name = format!("zz{}", scene.number);
    let in_extension = format!("{ENTERPRISE}:{name}");
    let (place, recorded) = match dice.roll(4) {
        0 => (Place::Text(format!("name.{name}")), format!("name.{name}")),
        1 => (Place::Text(format!("photos[type eq \"photo\"].{name}")), "photos".to_owned()),
        2 => (Place::Text(in_extension.clone()), in_extension),
        // The dialect of the flag writes keys with URNs, never objects of a schema.
        _ if write.dialect == Dialect::EntraFlag => (Place::Text(in_extension.clone()), in_extension),
        _ => (Place::Under(ENTERPRISE.to_owned(), name.clone()), name),
    };
    let scim_type = if recorded == "photos" { "invalidFilter" } else { "invalidPath" };
    Mistake::new(Insert::Assign(place, any_value(dice)), &recorded, scim_type)
}

/// A filter of other terms than `eq` that matches nothing.
fn unmatched(dice: &mut Dice) -> Mistake {
    let (path, name) = dice.of(&[
        ("ims[type co \"zz\"].value", "ims.value"),
        ("photos[value sw \"zz\"].display", "photos.display"),
        ("addresses[not (type eq \"work\")].locality", "addresses.locality"),
        ("entitlements[type eq \"a\" or type eq \"b\"].value", "entitlements.value"),
    ]);
    Mistake::new(Insert::Operation(json!({"op": "replace", "path": path, "value": "x"})), name, "noTarget")
}

/// A value that the attribute cannot hold, where the attribute decides nothing.
fn wrong_value(dice: &mut Dice) -> Mistake {
    let many = |n: usize, of: &str| {
        Value::from((0..n).map(|i| json!({"value": format!("{of}{i}")})).collect::<Vec<_>>())
    };
    let two_primaries = json!([{"value": "a", "primary": true}, {"value": "b", "primary": "True"}]);
    let (place, value, pointer) = match dice.roll(12) {
        0 => (Place::core("timezone"), json!({"x": 1}), "/timezone"),
        1 => (Place::core("timezone"), json!(["a", "b"]), "/timezone"),
        2 => (Place::core("timezone"), json!(true), "/timezone"),
        3 => (Place::core("preferredLanguage"), json!([["en"]]), "/preferredLanguage"),
        4 => (Place::core("profileUrl"), json!({"value": "https://x"}), "/profileUrl"),
        5 => (Place::Attribute(Some(ENTERPRISE), "organization", None), json!({"x": 1}), ORGANIZATION),
        6 => (Place::Attribute(Some(ENTERPRISE), "organization", None), json!([1, 2]), ORGANIZATION),
        7 => (Place::core("ims"), two_primaries, "/ims"),
        8 => (Place::core("ims"), many(201, "im"), "/ims"),
        9 => (Place::core("photos"), json!([{"value": "x", "primary": "maybe"}]), "/photos"),
        10 => (Place::core("addresses"), dice.of(&[7, 8]).into(), "/addresses"),
        _ => (Place::core("x509Certificates"), json!(true), "/x509Certificates"),
    };
    let name = pointer.rsplit('/').next().unwrap().to_owned();
    Mistake::new(Insert::Assign(place, value), &name, "invalidValue").about(pointer)
}

const DEPARTMENT: &str = "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/department";
const ENTRA_OBJECT_ID: &str = "/urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User/entraObjectId";
const ORGANIZATION: &str = "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/organization";

/// A mistake in an attribute that access depends on, other than `active`: it refuses the request, unless that takes access away.
pub fn deciding(dice: &mut Dice, write: &Write, scene: &Scene) -> Mistake {
    match write.kind {
        Kind::User => deciding_of_user(dice, write, scene),
        Kind::Group => deciding_of_group(dice, write, scene),
    }
}

/// What no text of a deciding attribute is; `numbers`: a number is none either.
fn no_text(dice: &mut Dice, numbers: bool) -> Value {
    match dice.roll(if numbers { 8 } else { 6 }) {
        0 => json!({}),
        1 => json!({"value": "x"}),
        2 => json!(["x"]),
        3 => json!(["x", "y"]),
        4 => json!(true),
        5 => json!("two\nlines"),
        6 => json!(5),
        _ => json!(7.5),
    }
}

/// What no name is.
fn no_name(dice: &mut Dice, hidden: bool) -> Value {
    match dice.roll(if hidden { 8 } else { 6 }) {
        0 => json!(""),
        1 => json!("  "),
        2 => Value::Null,
        3 => json!([]),
        6 => json!("a\u{200B}b"),
        7 => json!("\u{202E}ana"),
        _ => no_text(dice, true),
    }
}

fn deciding_of_user(dice: &mut Dice, write: &Write, scene: &Scene) -> Mistake {
    let invalid = |place, value, name: &str, pointer| {
        Mistake::new(Insert::Instead(place, value), name, "invalidValue").about(pointer)
    };
    match dice.roll(8) {
        0 | 1 => invalid(Place::core("userName"), no_name(dice, true), "userName", "/userName"),
        2 => invalid(Place::core("externalId"), no_text(dice, false), "externalId", "/externalId"),
        3 => invalid(Place::core("userType"), no_text(dice, true), "userType", "/userType"),
        4 => {
            let value = if dice.roll(3) == 0 { json!("not-a-guid") } else { no_text(dice, true) };
            let place = Place::Attribute(Some(OWN), "entraObjectId", None);
            invalid(place, value, "entraObjectId", ENTRA_OBJECT_ID)
        }
        5 => {
            let place = Place::Attribute(Some(ENTERPRISE), "department", None);
            invalid(place, no_text(dice, true), "department", DEPARTMENT)
        }
        6 => {
            let insert = Insert::Instead(Place::core("userName"), json!(scene.taken[0].to_uppercase()));
            let mistake = Mistake::new(insert, "userName", "uniqueness").about("/userName");
            Mistake { error: Some((409, "uniqueness")), ..mistake }
        }
        _ => {
            deciding_path(dice, &["userName", "externalId", "userType", "entraObjectId", "department"], write)
        }
    }
}

/// A path that does not parse and that a deciding attribute leads; or the removal of what must be there.
fn deciding_path(dice: &mut Dice, names: &[&str], write: &Write) -> Mistake {
    let name = dice.of(names);
    let required = ["userName", "displayName"].contains(&name);
    if required && write.method == Method::Patch && dice.roll(3) == 0 {
        let insert = Insert::Operation(json!({"op": dice.of(&["remove", "Remove"]), "path": name}));
        return Mistake::new(insert, name, "mutability");
    }
    let rest = dice.of(&["[", "[value eq \"x\"]", ".zz", " x", "\"", "(", "["]);
    let recorded = if rest == ".zz" { format!("{name}.zz") } else { name.to_owned() };
    Mistake::new(
        Insert::Assign(Place::Text(format!("{name}{rest}")), any_value(dice)),
        &recorded,
        "invalidPath",
    )
}

fn deciding_of_group(dice: &mut Dice, write: &Write, scene: &Scene) -> Mistake {
    let invalid = |place, value, name: &str, pointer| {
        Mistake::new(Insert::Instead(place, value), name, "invalidValue").about(pointer)
    };
    match dice.roll(if write.method == Method::Patch { 9 } else { 5 }) {
        0 | 1 => invalid(Place::core("displayName"), no_name(dice, false), "displayName", "/displayName"),
        2 => invalid(Place::core("externalId"), no_text(dice, false), "externalId", "/externalId"),
        3 => {
            let insert = Insert::Instead(Place::core("displayName"), json!(scene.taken[1].to_uppercase()));
            let mistake = Mistake::new(insert, "displayName", "uniqueness").about("/displayName");
            Mistake { error: Some((409, "uniqueness")), ..mistake }
        }
        4 => deciding_path(dice, &["displayName", "externalId"], write),
        5 | 6 => {
            let op = dice.of(&["add", "replace", "Add", "Replace"]);
            let value = dice.of(&["", "x"]);
            let value = if dice.roll(2) == 0 { json!(value) } else { dice.roll(2).into() };
            let operation = match dice.roll(2) {
                0 => json!({"op": op, "path": "members", "value": value}),
                _ => json!({"op": op, "value": {"members": value}}),
            };
            Mistake::new(Insert::Operation(operation), "members", "invalidValue")
        }
        7 => {
            let path = format!("members[value eq \"{}\"].display", scene.member);
            let operation = json!({"op": "replace", "path": path, "value": "x"});
            Mistake::new(Insert::Operation(operation), "members", "invalidFilter")
        }
        _ => {
            let value = json!({"value": scene.outsider});
            let operation = json!({"op": "add", "path": "members[type eq \"User\"]", "value": value});
            Mistake::new(Insert::Operation(operation), "members", "noTarget")
        }
    }
}

/// A mistake in `active` itself: whether the user may hold access cannot be understood, so nothing else counts.
pub fn in_active(dice: &mut Dice) -> Mistake {
    let value = match dice.roll(7) {
        0 => json!("maybe"),
        1 => json!(0),
        2 => json!({}),
        3 => json!(["x"]),
        4 => json!([false]),
        5 => json!("yes"),
        _ => {
            let path = dice.of(&["active[", "active.value", "active x", "active\""]);
            return Mistake::new(
                Insert::Assign(Place::Text(path.to_owned()), json!(false)),
                "active",
                "invalidPath",
            );
        }
    };
    Mistake::new(Insert::Instead(Place::core("active"), value), "active", "invalidValue")
}

/// An operation that does not say what it is about may be about anything that decides.
pub fn unnamed(dice: &mut Dice, kind: Kind) -> Mistake {
    let (operation, scim_type) = match dice.roll(if kind == Kind::User { 5 } else { 4 }) {
        0 => (json!({"op": "replace", "value": "title"}), "invalidValue"),
        1 => (json!({"op": "add", "path": "", "value": [1]}), "invalidValue"),
        2 => (json!({"op": "Add", "path": 5, "value": "x"}), "invalidPath"),
        3 => (
            json!({"op": "replace", "path": dice.of(&["%%", "[", "\"active\"", "(", "=x"]), "value": "x"}),
            "invalidPath",
        ),
        _ => (json!({"op": "remove"}), "noTarget"),
    };
    Mistake::new(Insert::Operation(operation), "unnamed", scim_type)
}

/// A removal that cannot say whom it removes: never a silent success, also beside one that can.
pub fn empty_removal(dice: &mut Dice, scene: &Scene) -> Mistake {
    let (operation, scim_type) = match dice.roll(8) {
        0 => (json!({"op": "remove"}), "noTarget"),
        1 => (json!({"op": "Remove", "path": "members", "value": ""}), "invalidValue"),
        2 => (json!({"op": "remove", "path": "members", "value": [{"display": "Kim"}]}), "invalidValue"),
        3 => (json!({"op": "remove", "path": "members", "value": dice.of(&[0, 1])}), "invalidValue"),
        4 => (json!({"op": "remove", "path": "members[display eq \"Kim\"]"}), "invalidFilter"),
        5 => (
            json!({"op": "remove", "path": format!("members[value eq \"{}\"", scene.member)}),
            "invalidFilter",
        ),
        6 => (json!({"op": "remove", "path": "members.zz"}), "invalidPath"),
        _ => (json!({"op": "remove", "path": "members", "value": [{}, null]}), "invalidValue"),
    };
    Mistake::new(Insert::Operation(operation), "members", scim_type)
}

/// A list of a PUT that would empty the group by mistake.
pub fn wrong_list(dice: &mut Dice, scene: &Scene) -> Mistake {
    let value = match dice.roll(8) {
        0 => json!(""),
        1 => json!("x"),
        2 => json!(0),
        3 => json!(true),
        4 => json!([{}]),
        5 => json!([null]),
        6 => json!({"display": "Kim"}),
        _ => json!([{"value": scene.unknown_id}]),
    };
    Mistake::new(Insert::Instead(Place::core("members"), value), "members", "invalidValue")
}

/// A change of members that would empty the group, or put someone in another's place, by mistake.
pub fn wrong_members(dice: &mut Dice, scene: &Scene) -> Mistake {
    let Scene { unknown_id, member, outsider, .. } = scene;
    let replace = |value: Value| json!({"op": "replace", "path": "members", "value": value});
    let (operation, scim_type) = match dice.roll(6) {
        0 => (replace(json!([{"value": unknown_id}])), "invalidValue"),
        1 => (replace(json!([{}])), "invalidValue"),
        2 => (replace(json!({"display": "Kim"})), "invalidValue"),
        3 => (json!({"op": "replace", "value": {"members": [null]}}), "invalidValue"),
        4 => {
            let path = format!("members[value eq \"{unknown_id}\"]");
            (json!({"op": "replace", "path": path, "value": {"value": unknown_id}}), "noTarget")
        }
        _ => {
            let path = format!("members[value eq \"{member}\"]");
            (json!({"op": "replace", "path": path, "value": {"value": outsider}}), "mutability")
        }
    };
    Mistake::new(Insert::Operation(operation), "members", scim_type)
}
