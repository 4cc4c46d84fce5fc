//! Cases: a write that is in order, what is done to it, and what has to come of it.

use super::mistakes::{self, Mistake, Scene};
use super::writes::{DIALECTS, Dialect, ENTERPRISE, Kind, Method, Place, Write};
use crate::support::dice::Dice;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The resource that a request is about, as it is before.
pub struct Subject {
    pub id: String,
    pub name: String,
    /// Of a group: who is in.
    pub members: Vec<String>,
}

/// A request and its oracle.
pub struct Case {
    pub kind: Kind,
    pub method: Method,
    /// The resource that it is about; of a POST nothing.
    pub id: String,
    pub body: Vec<u8>,
    pub media_type: &'static str,
    pub expected: Expected,
    pub told: String,
}

#[derive(Debug)]
pub enum Expected {
    /// Broken: nothing changes.
    Refused { status: u16, scim_type: Option<&'static str> },
    /// The bad assignments are dropped and recorded, the rest is applied.
    Applied(Applied),
}

#[derive(Debug, Default)]
pub struct Applied {
    /// The names that the record has, sorted; empty: there is no record.
    pub recorded: BTreeSet<String>,
    /// What the resource has afterwards, by JSON pointer.
    pub has: Vec<(String, Value)>,
    /// What the resource keeps from before.
    pub keeps: Vec<&'static str>,
    /// The member of the group who is removed.
    pub removes: Option<String>,
    /// Ids that name no one, and are dropped from the members.
    pub members_dropped: Vec<String>,
    /// The user is made inactive.
    pub deactivates: bool,
}

/// The resources that requests of either kind are about.
pub struct Subjects {
    pub user: Subject,
    pub group: Subject,
}

impl Subjects {
    const fn of(&self, kind: Kind) -> &Subject {
        match kind {
            Kind::User => &self.user,
            Kind::Group => &self.group,
        }
    }
}

/// What a write in order has, and what comes of it.
struct Base {
    id: String,
    write: Write,
    applied: Applied,
}

fn any_write(dice: &mut Dice, kinds: &[Kind], methods: &[Method]) -> Write {
    Write::new(dice.of(kinds), dice.of(methods), dice.of(&DIALECTS))
}

const BOTH: [Kind; 2] = [Kind::User, Kind::Group];
const ALL: [Method; 3] = [Method::Post, Method::Put, Method::Patch];
const CHANGES: [Method; 2] = [Method::Put, Method::Patch];

/// A write in order that changes something.
fn base(dice: &mut Dice, mut write: Write, subject: &Subject, scene: &Scene) -> Base {
    write.bare = dice.roll(4) == 0;
    let mut applied = Applied::default();
    let n = scene.number;
    match (write.kind, write.method) {
        (Kind::User, Method::Patch) => {}
        (Kind::User, method) => {
            let name =
                if method == Method::Post { format!("new{n}@contoso.example") } else { subject.name.clone() };
            write.assign(Place::core("userName"), json!(name));
            write.assign(Place::Attribute(Some(ENTERPRISE), "department", None), json!("Finance"));
        }
        (Kind::Group, Method::Patch) => {}
        (Kind::Group, Method::Put) => {
            let members: Vec<Value> = subject.members.iter().map(|id| json!({"value": id})).collect();
            write.assign(Place::core("externalId"), json!("operators"));
            write.assign(Place::core("members"), Value::Array(members));
        }
        (Kind::Group, Method::Post) => write.assign(Place::core("members"), json!([])),
    }
    match write.kind {
        Kind::User => change_user(dice, &mut write, &mut applied, n),
        Kind::Group => {
            let name = format!("Group {n}");
            write.assign(Place::core("displayName"), json!(name));
            applied.has.push(("/displayName".to_owned(), json!(name)));
        }
    }
    Base { id: subject.id.clone(), write, applied }
}

/// Assigns one to four attributes of a user that decide nothing; and now and then one that decides.
fn change_user(dice: &mut Dice, write: &mut Write, applied: &mut Applied, n: usize) {
    let first = dice.roll(8);
    for step in 0..=dice.roll(4) {
        let text = json!(format!("v{n}"));
        let (place, value, pointer) = match (first + step) % 8 {
            0 => (Place::core("nickName"), text, "/nickName"),
            1 => (Place::core("title"), text, "/title"),
            2 => (Place::sub("name", "givenName"), text, "/name/givenName"),
            3 => (Place::sub("name", "familyName"), text, "/name/familyName"),
            4 => (Place::Attribute(Some(ENTERPRISE), "employeeNumber", None), text, EMPLOYEE_NUMBER),
            5 => (Place::core("externalId"), text, "/externalId"),
            6 => (Place::Attribute(Some(ENTERPRISE), "manager", None), text, MANAGER),
            _ if write.method == Method::Patch && write.dialect != Dialect::Okta => (
                Place::Text("emails[type eq \"work\"].value".to_owned()),
                json!(format!("v{n}@x")),
                "/emails/0/value",
            ),
            _ => (
                Place::core("emails"),
                json!([{"type": "work", "value": format!("v{n}@x")}]),
                "/emails/0/value",
            ),
        };
        let after = if pointer == "/emails/0/value" { json!(format!("v{n}@x")) } else { value.clone() };
        write.assign(place, value);
        applied.has.push((pointer.to_owned(), after));
    }
}

const EMPLOYEE_NUMBER: &str = "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/employeeNumber";
const MANAGER: &str = "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/manager/value";

impl Base {
    /// A mistake that is dropped: it is recorded, and what it is about stays as it is.
    fn drop(&mut self, mistake: &Mistake) {
        mistake.put_into(&mut self.write);
        self.applied.recorded.extend(mistake.recorded.clone());
        self.applied.keeps.extend(mistake.about.filter(|_| self.write.method != Method::Post));
        if let Some(about) = mistake.about {
            self.applied.has.retain(|(pointer, _)| pointer != about);
        }
    }

    fn case(self, told: String, expected: impl FnOnce(Applied) -> Expected) -> Case {
        let Write { kind, method, .. } = self.write;
        let id = self.id;
        let body = self.write.body().to_string().into_bytes();
        let told = format!("{:?} {method:?} {kind:?}: {told}", self.write.dialect);
        Case {
            kind,
            method,
            id,
            body,
            media_type: "application/scim+json",
            expected: expected(self.applied),
            told,
        }
    }

    fn refused(self, mistakes: &[Mistake], error: (u16, &'static str)) -> Case {
        let (status, scim_type) = error;
        self.case(format!("{mistakes:?}"), |_| Expected::Refused { status, scim_type: Some(scim_type) })
    }
}

/// A request in order, so that no other class is right by a fault of what it is made from.
pub fn in_order(dice: &mut Dice, subject: &Subject, scene: &Scene, kind: Kind) -> Case {
    let write = any_write(dice, &[kind], &ALL);
    base(dice, write, subject, scene).case("in order".to_owned(), Expected::Applied)
}

/// What is dropped beside what is applied.
pub fn tolerable(dice: &mut Dice, subject: &Subject, scene: &Scene, kind: Kind) -> Case {
    let write = any_write(dice, &[kind], &ALL);
    let mut base = base(dice, write, subject, scene);
    let mut told = Vec::new();
    for _ in 0..=dice.roll(2) {
        let mistake = mistakes::harmless(dice, &base.write, scene);
        if told.iter().all(|told: &Mistake| told.attribute() != mistake.attribute()) {
            base.drop(&mistake);
            told.push(mistake);
        }
    }
    if kind == Kind::Group && dice.roll(3) == 0 {
        drop_unknown_member(&mut base, subject, scene);
    }
    base.case(format!("{told:?}"), Expected::Applied)
}

/// A member who does not exist is dropped, and the others are added.
fn drop_unknown_member(base: &mut Base, subject: &Subject, scene: &Scene) {
    let unknown = json!({"value": scene.unknown_id});
    match base.write.method {
        Method::Patch => {
            base.write.operations.push(json!({"op": "add", "path": "members", "value": [unknown]}));
        }
        Method::Post | Method::Put => {
            let members = subject.members.iter().map(|id| json!({"value": id})).chain([unknown]);
            base.write.reassign(Place::core("members"), Value::Array(members.collect()));
        }
    }
    base.applied.members_dropped.push(scene.unknown_id.clone());
}

/// A request that takes access away, beside mistakes.
pub fn takes_away(dice: &mut Dice, subject: &Subject, scene: &Scene, kind: Kind) -> Case {
    let write = any_write(dice, &[kind], &CHANGES);
    let mut base = base(dice, write, subject, scene);
    match kind {
        Kind::User => deactivate(dice, &mut base),
        Kind::Group => remove(dice, &mut base, subject, scene),
    }
    let mut told: Vec<Mistake> = Vec::new();
    for _ in 0..=dice.roll(3) {
        let mistake = match dice.roll(4) {
            0 if base.write.method == Method::Patch => mistakes::unnamed(dice, kind),
            0 | 1 => mistakes::harmless(dice, &base.write, scene),
            _ => mistakes::deciding(dice, &base.write, scene),
        };
        // Two mistakes in one attribute may be one assignment.
        if told.iter().all(|told| told.attribute() != mistake.attribute()) {
            base.drop(&mistake);
            told.push(mistake);
        }
    }
    base.case(format!("takes away, beside {told:?}"), Expected::Applied)
}

fn deactivate(dice: &mut Dice, base: &mut Base) {
    base.applied.deactivates = true;
    base.applied.has.push(("/active".to_owned(), json!(false)));
    let is_patch = base.write.method == Method::Patch;
    let value = match dice.roll(if is_patch { 7 } else { 4 }) {
        0 | 1 => json!(false),
        2 => json!("False"),
        3 => json!(" false "),
        // Removed or set to nothing, `active` becomes false (design.md section 3).
        4 => Value::Null,
        5 => json!(""),
        _ => {
            return base
                .write
                .operations
                .push(json!({"op": dice.of(&["remove", "Remove"]), "path": "active"}));
        }
    };
    base.write.assign(Place::core("active"), value);
}

fn remove(dice: &mut Dice, base: &mut Base, subject: &Subject, scene: &Scene) {
    let gone = subject.members.iter().find(|id| **id != scene.member).expect("a member who can go");
    let stay = subject.members.iter().filter(|id| *id != gone);
    let stay: Vec<Value> = stay.map(|id| json!({"value": id})).collect();
    base.applied.removes = Some(gone.clone());
    if base.write.method == Method::Put {
        return base.write.reassign(Place::core("members"), Value::Array(stay));
    }
    let upper = gone.to_uppercase();
    base.write.operations.push(match dice.roll(6) {
        0 => json!({"op": "Remove", "path": "members", "value": [{"value": gone}]}),
        1 => json!({"op": "remove", "path": "members", "value": [{"value": upper}, {"value": scene.unknown_id}]}),
        2 => json!({"op": "remove", "path": format!("members[value eq \"{gone}\"]")}),
        3 => json!({"op": "remove", "path": format!("members[value eq \"{upper}\"]")}),
        4 => json!({"op": "remove", "path": format!("members[value eq \"{gone}\" or value eq \"{}\"]", scene.unknown_id)}),
        _ => json!({"op": "remove", "path": "members", "value": {"value": gone}}),
    });
}

/// A request that is refused.
pub fn broken(dice: &mut Dice, subjects: &Subjects, scene: &Scene) -> Case {
    match dice.roll(10) {
        0 | 1 => broken_text(dice, subjects, scene),
        2 => broken_operations(dice, subjects, scene),
        3 | 4 => nothing_but_mistakes(dice, subjects, scene),
        5 => mistake_in_active(dice, subjects, scene),
        6 => removal_of_no_one(dice, subjects, scene),
        _ => mistake_that_decides(dice, subjects, scene),
    }
}

fn base_of(dice: &mut Dice, write: Write, subjects: &Subjects, scene: &Scene) -> Base {
    let subject = subjects.of(write.kind);
    base(dice, write, subject, scene)
}

/// Text that is not one JSON object, or that has two readings.
fn broken_text(dice: &mut Dice, subjects: &Subjects, scene: &Scene) -> Case {
    let write = any_write(dice, &BOTH, &ALL);
    let mut case = base_of(dice, write, subjects, scene).case("text".to_owned(), Expected::Applied);
    let text = String::from_utf8(case.body.clone()).expect("JSON is UTF-8");
    let rest = text.strip_prefix('{').expect("an object").to_owned();
    let (told, body) = match dice.roll(14) {
        0..=4 => {
            let cut = dice.roll(case.body.len());
            (format!("cut at {cut}"), case.body[..cut].to_vec())
        }
        5 => ("in a list".to_owned(), format!("[{text}]").into_bytes()),
        6 => ("twice".to_owned(), format!("{text}{text}").into_bytes()),
        7 => ("a member twice".to_owned(), format!("{{\"zz\":1,\"ZZ\":2,{rest}").into_bytes()),
        8 => ("half a surrogate".to_owned(), format!("{{\"zz\":\"\\ud800\",{rest}").into_bytes()),
        9 => ("no number".to_owned(), format!("{{\"zz\":NaN,{rest}").into_bytes()),
        10 => ("a byte order mark".to_owned(), format!("\u{FEFF}{text}").into_bytes()),
        11 => ("no UTF-8".to_owned(), [b"{\"zz\":\"\xff\",", rest.as_bytes()].concat()),
        12 => ("a control".to_owned(), format!("{{\"zz\":\"\u{1}\",{rest}").into_bytes()),
        _ => (
            "too deep".to_owned(),
            format!("{{\"zz\":{}{},{rest}", "[".repeat(64), "]".repeat(64)).into_bytes(),
        ),
    };
    case.body = body;
    case.told = format!("{} {told}", case.told);
    case.expected = Expected::Refused { status: 400, scim_type: Some("invalidSyntax") };
    if dice.roll(10) == 0 {
        case.media_type = dice.of(&["text/plain", "application/xml", "application/x-www-form-urlencoded"]);
        case.expected = Expected::Refused { status: 415, scim_type: None };
    }
    case
}

/// A PATCH whose message is broken; also beside what takes access away.
fn broken_operations(dice: &mut Dice, subjects: &Subjects, scene: &Scene) -> Case {
    let write = any_write(dice, &BOTH, &[Method::Patch]);
    let mut base = base_of(dice, write, subjects, scene);
    if dice.roll(2) == 0 {
        match base.write.kind {
            Kind::User => deactivate(dice, &mut base),
            Kind::Group => remove(dice, &mut base, &subjects.group, scene),
        }
    }
    let (operation, scim_type) = match dice.roll(8) {
        0 => (
            json!({"op": dice.of(&["jump", "", "test", "move"]), "path": "title", "value": "x"}),
            "invalidSyntax",
        ),
        1 => (json!({"path": "title", "value": "x"}), "invalidSyntax"),
        2 => (json!({"op": 5, "path": "title", "value": "x"}), "invalidSyntax"),
        3 => (json!({"op": dice.of(&["add", "Replace"]), "path": "title"}), "invalidValue"),
        4 => (json!({"op": dice.of(&["add", "Replace"])}), "invalidValue"),
        5 => (dice.of(&["x", "y"]).into(), "invalidSyntax"),
        6 => (Value::Null, "invalidSyntax"),
        _ => {
            let wrong = [json!({}), json!("x"), Value::Null, json!(1)];
            let mut case = base.refused(&[], (400, "invalidSyntax"));
            let mut body: Value = serde_json::from_slice(&case.body).expect("a body");
            match dice.roll(2) {
                0 => drop(body.as_object_mut().and_then(|body| body.remove("Operations"))),
                _ => body["Operations"] = wrong[dice.roll(wrong.len())].clone(),
            }
            case.body = body.to_string().into_bytes();
            return case;
        }
    };
    let told = format!("{operation}");
    base.write.operations.push(operation);
    base.case(told, |_| Expected::Refused { status: 400, scim_type: Some(scim_type) })
}

/// A PATCH of which nothing is left, or a resource without its name.
fn nothing_but_mistakes(dice: &mut Dice, subjects: &Subjects, scene: &Scene) -> Case {
    if dice.roll(4) == 0 {
        let write = any_write(dice, &BOTH, &[Method::Post, Method::Put]);
        let mut base = base_of(dice, write, subjects, scene);
        let name = Place::core(if base.write.kind == Kind::User { "userName" } else { "displayName" });
        base.write.assignments.retain(|assignment| assignment.place != name);
        return base.refused(&[], (400, "invalidValue"));
    }
    let mut write = any_write(dice, &BOTH, &[Method::Patch]);
    write.bare = true;
    let mistake = loop {
        let mistake = mistakes::harmless(dice, &write, scene);
        if mistake.error.is_some() {
            break mistake;
        }
    };
    let error = mistake.error.expect("an error");
    mistake.put_into(&mut write);
    Base { id: subjects.of(write.kind).id.clone(), write, applied: Applied::default() }
        .refused(&[mistake], error)
}

fn mistake_in_active(dice: &mut Dice, subjects: &Subjects, scene: &Scene) -> Case {
    let write = any_write(dice, &[Kind::User], &ALL);
    let mut base = base_of(dice, write, subjects, scene);
    let mistake = mistakes::in_active(dice);
    mistake.put_into(&mut base.write);
    if base.write.method == Method::Patch && dice.roll(3) == 0 {
        base.write.operations.push(json!({"op": "replace", "path": "active", "value": false}));
    }
    let error = mistake.error.expect("an error");
    base.refused(&[mistake], error)
}

/// A removal that names no one, alone and beside one that does; and what would empty a group by mistake.
fn removal_of_no_one(dice: &mut Dice, subjects: &Subjects, scene: &Scene) -> Case {
    let write = any_write(dice, &[Kind::Group], &CHANGES);
    let mut base = base_of(dice, write, subjects, scene);
    let mistake = match dice.roll(2) {
        _ if base.write.method == Method::Put => mistakes::wrong_list(dice, scene),
        0 => {
            if dice.roll(2) == 0 {
                remove(dice, &mut base, &subjects.group, scene);
            }
            mistakes::empty_removal(dice, scene)
        }
        _ => mistakes::wrong_members(dice, scene),
    };
    mistake.put_into(&mut base.write);
    let error = mistake.error.expect("an error");
    base.refused(&[mistake], error)
}

/// A mistake in an attribute that decides, beside what is in order and what would be dropped.
fn mistake_that_decides(dice: &mut Dice, subjects: &Subjects, scene: &Scene) -> Case {
    let write = any_write(dice, &BOTH, &ALL);
    let mut base = base_of(dice, write, subjects, scene);
    let mut told = Vec::new();
    if dice.roll(3) == 0 {
        let mistake = mistakes::harmless(dice, &base.write, scene);
        mistake.put_into(&mut base.write);
        told.push(mistake);
    }
    let mistake = match dice.roll(5) {
        0 if base.write.method == Method::Patch => mistakes::unnamed(dice, base.write.kind),
        _ => mistakes::deciding(dice, &base.write, scene),
    };
    mistake.put_into(&mut base.write);
    let error = mistake.error.expect("an error");
    told.push(mistake);
    base.refused(&told, error)
}
