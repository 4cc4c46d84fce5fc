//! Clients that ask for conflicting things, each time of either process, and record the outcomes.

use super::history::{Birth, History, Key, Outcome, Request, Seen, Write, yes_or_no};
use crate::resilience::crashes::random::Dice;
use crate::support::harness::{OWN, PATCH_OP};
use crate::support::idp::{Answer, Idp};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use uuid::Uuid;

/// Names that users are created with, again and again.
const NAMES: usize = 64;
/// With fewer users, more are created.
const USERS_MIN: usize = 16;
const GROUPS_MIN: usize = 4;
const GROUPS_MAX: usize = 8;
/// Members of one request: more than one transaction can change.
const BATCH_MAX: usize = 60;
/// How often clients choose among so many people or groups only.
const MEET_PERCENT: usize = 40;
const MEET_PLACES: usize = 2;
/// What bindings find groups by, and what none finds.
const EXTERNAL_IDS: [&str; 6] =
    ["vault-operators", "vault-readers", "backup-admins", "night-shift", "nobodys", "nobodys-either"];
/// Titles that several groups want.
const WANTED_TITLES: [&str; 3] = ["wanted 1", "wanted 2", "wanted 3"];

/// What all clients know, and the way to the two processes.
pub struct Traffic {
    processes: [Idp; 2],
    begun: Instant,
    going: AtomicBool,
    next: AtomicU64,
    /// Of each process: how often it began to be killed, and was there again.
    disturbed: [AtomicU64; 2],
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// userName by id, as far as is known.
    users: BTreeMap<String, String>,
    /// externalId by id.
    groups: BTreeMap<String, &'static str>,
    /// Ids that no longer belong to a resource.
    gone: Vec<String>,
    history: History,
}

/// A request before it is answered.
struct Ask {
    kind: &'static str,
    method: Method,
    path: String,
    body: Option<Value>,
    writes: Vec<Write>,
    birth: Option<Birth>,
}

impl Ask {
    fn new(kind: &'static str, method: Method, path: String) -> Self {
        Self { kind, method, path, body: None, writes: Vec::new(), birth: None }
    }

    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn patch(self, operation: Value) -> Self {
        self.body(json!({ "schemas": [PATCH_OP], "Operations": [operation] }))
    }

    fn writes(mut self, key: Key, value: &str) -> Self {
        self.writes.push(Write::Set(key, value.to_owned()));
        self
    }
}

/// The Entra object of a name: the same whenever it comes back.
fn principal(name: &str) -> Uuid {
    let number: u128 = name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    let kind: u128 = if name.starts_with("twin") { 1 << 40 } else { 0 };
    Uuid::from_u128(0x6f9d_1a3e_0000_4000_8000_0000_0000_0000 + kind + number)
}

impl Traffic {
    pub fn new(base_urls: [&str; 2], token: &str) -> Arc<Self> {
        Arc::new(Self {
            processes: base_urls.map(|base_url| Idp::new(base_url, token)),
            begun: Instant::now(),
            going: AtomicBool::new(true),
            next: AtomicU64::new(1),
            disturbed: Default::default(),
            known: Mutex::default(),
        })
    }

    pub fn stop(&self) {
        self.going.store(false, Ordering::Relaxed);
    }

    /// That process is about to be killed, or is there again.
    pub fn disturb(&self, process: usize) {
        self.disturbed[process].fetch_add(1, Ordering::SeqCst);
    }

    /// What was asked and seen.
    pub fn history(&self) -> History {
        std::mem::take(&mut self.known.lock().unwrap().history)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap()
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// One client, until the traffic stops.
    pub async fn client(self: Arc<Self>, seed: u64) {
        let mut dice = Dice::new(seed);
        // The first rolls of neighbouring seeds are alike.
        for _ in 0..8 {
            dice.roll(2);
        }
        while self.going.load(Ordering::Relaxed) {
            match dice.chance(3) {
                true => self.twins(&mut dice).await,
                false => {
                    let ask = self.choose(&mut dice);
                    self.send(dice.roll(2), ask).await;
                }
            }
        }
    }

    /// The same new name of both processes at once: one of them creates the user, the other one refuses.
    async fn twins(&self, dice: &mut Dice) {
        let name = format!("twin-{}", self.number());
        let asks = [self.create_user(&name), self.create_user(&name)];
        let first = dice.roll(2);
        let [one, other] = asks;
        let answers = tokio::join!(self.send(first, one), self.send(1 - first, other));
        let created = [answers.0, answers.1].iter().filter(|o| **o == Outcome::Acknowledged).count();
        let unknown = [answers.0, answers.1].contains(&Outcome::Unknown);
        // Two may be created where another client deletes the first meanwhile: the history is asked about that in the end.
        assert!(created > 0 || unknown, "{name} twice at once: {answers:?}");
    }

    fn choose(&self, dice: &mut Dice) -> Ask {
        let (users, groups) = {
            let known = self.known.lock().unwrap();
            (known.users.len(), known.groups.len())
        };
        if groups < GROUPS_MIN || users < USERS_MIN && dice.chance(70) {
            return if groups < GROUPS_MIN { self.create_group(dice) } else { self.create_any_user(dice) };
        }
        match dice.roll(100) {
            0..10 => self.create_any_user(dice),
            10..26 => self.add(dice, 1),
            26..36 => self.remove(dice, 1),
            36..43 => self.batch(dice),
            43..48 => self.put_group(dice),
            48..60 => self.set_active(dice),
            60..65 => self.set_note(dice),
            65..70 => self.delete_user(dice),
            70..72 if groups < GROUPS_MAX => self.create_group(dice),
            72..76 => self.set_title(dice),
            76..78 => self.delete_group(dice),
            78..85 => Ask::new("get user", Method::GET, format!("/Users/{}", self.user(dice))),
            85..92 => Ask::new("get group", Method::GET, format!("/Groups/{}", self.group(dice).0)),
            92..94 => self.list(dice),
            _ => find(&any_name(dice)),
        }
    }

    fn user(&self, dice: &mut Dice) -> String {
        let known = self.known.lock().unwrap();
        if dice.chance(4) && !known.gone.is_empty() {
            return dice.of(&known.gone);
        }
        let at = place(dice, known.users.len());
        known.users.keys().nth(at).cloned().unwrap_or_else(|| Uuid::nil().to_string())
    }

    /// Its id and externalId.
    fn group(&self, dice: &mut Dice) -> (String, &'static str) {
        let known = self.known.lock().unwrap();
        let at = place(dice, known.groups.len());
        let group = known.groups.iter().nth(at);
        group.map_or_else(
            || (Uuid::nil().to_string(), EXTERNAL_IDS[0]),
            |(id, external)| (id.clone(), *external),
        )
    }

    fn create_any_user(&self, dice: &mut Dice) -> Ask {
        self.create_user(&any_name(dice))
    }

    fn create_user(&self, name: &str) -> Ask {
        let number = self.number();
        let mark = format!("mark {number}");
        let note = format!("note {number}");
        let mut ask = Ask::new("create user", Method::POST, "/Users".to_owned()).body(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", OWN],
            "userName": name, "externalId": principal(name).to_string(), "active": true,
            "nickName": mark, "displayName": note,
            OWN: { "entraObjectId": principal(name).to_string() },
        }));
        ask.birth = Some(Birth { user_name: name.to_owned(), mark, note });
        ask
    }

    fn title(&self, dice: &mut Dice) -> String {
        if dice.chance(30) { dice.of(&WANTED_TITLES).to_owned() } else { format!("title {}", self.number()) }
    }

    /// Its writes name the group once the answer has.
    fn create_group(&self, dice: &mut Dice) -> Ask {
        Ask::new("create group", Method::POST, "/Groups".to_owned()).body(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": self.title(dice), "externalId": dice.of(&EXTERNAL_IDS),
        }))
    }

    fn add(&self, dice: &mut Dice, number: usize) -> Ask {
        let (group, _) = self.group(dice);
        let users: BTreeSet<String> = (0..number).map(|_| self.user(dice)).collect();
        let values: Vec<Value> = users.iter().map(|user| json!({ "value": user })).collect();
        let kind = if number == 1 { "add member" } else { "add members" };
        let ask = Ask::new(kind, Method::PATCH, format!("/Groups/{group}"))
            .patch(json!({ "op": "add", "path": "members", "value": values }));
        users.into_iter().fold(ask, |ask, user| ask.writes(Key::Member(group.clone(), user), "yes"))
    }

    fn remove(&self, dice: &mut Dice, number: usize) -> Ask {
        let (group, _) = self.group(dice);
        let users: BTreeSet<String> = (0..number).map(|_| self.user(dice)).collect();
        let values: Vec<Value> = users.iter().map(|user| json!({ "value": user })).collect();
        let operation = match users.first().filter(|_| number == 1) {
            Some(user) => json!({ "op": "remove", "path": format!("members[value eq \"{user}\"]") }),
            None => json!({ "op": "remove", "path": "members", "value": values }),
        };
        let kind = if number == 1 { "remove member" } else { "remove members" };
        let ask = Ask::new(kind, Method::PATCH, format!("/Groups/{group}")).patch(operation);
        users.into_iter().fold(ask, |ask, user| ask.writes(Key::Member(group.clone(), user), "no"))
    }

    fn batch(&self, dice: &mut Dice) -> Ask {
        let number = if dice.chance(20) { BATCH_MAX } else { 2 + dice.roll(12) };
        if dice.chance(60) { self.add(dice, number) } else { self.remove(dice, number) }
    }

    fn put_group(&self, dice: &mut Dice) -> Ask {
        let ((group, external), title) = (self.group(dice), format!("title {}", self.number()));
        let users: BTreeSet<String> = (0..dice.roll(20)).map(|_| self.user(dice)).collect();
        let values: Vec<Value> = users.iter().map(|user| json!({ "value": user })).collect();
        let mut ask = Ask::new("put group", Method::PUT, format!("/Groups/{group}"))
            .body(json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
                "displayName": title, "externalId": external, "members": values,
            }))
            .writes(Key::Title(group.clone()), &title);
        ask.writes.push(Write::Members(group, users));
        ask
    }

    fn set_active(&self, dice: &mut Dice) -> Ask {
        let user = self.user(dice);
        let active = dice.chance(60);
        Ask::new("set active", Method::PATCH, format!("/Users/{user}"))
            .patch(json!({ "op": "replace", "path": "active", "value": active }))
            .writes(Key::Active(user), yes_or_no(active))
    }

    fn set_note(&self, dice: &mut Dice) -> Ask {
        let user = self.user(dice);
        let note = format!("note {}", self.number());
        Ask::new("set note", Method::PATCH, format!("/Users/{user}"))
            .patch(json!({ "op": "replace", "path": "displayName", "value": note }))
            .writes(Key::Note(user), &note)
    }

    fn delete_user(&self, dice: &mut Dice) -> Ask {
        let user = self.user(dice);
        Ask::new("delete user", Method::DELETE, format!("/Users/{user}")).writes(Key::User(user), "no")
    }

    fn set_title(&self, dice: &mut Dice) -> Ask {
        let ((group, _), title) = (self.group(dice), self.title(dice));
        Ask::new("rename group", Method::PATCH, format!("/Groups/{group}"))
            .patch(json!({ "op": "replace", "path": "displayName", "value": title }))
            .writes(Key::Title(group), &title)
    }

    fn delete_group(&self, dice: &mut Dice) -> Ask {
        let (group, _) = self.group(dice);
        Ask::new("delete group", Method::DELETE, format!("/Groups/{group}")).writes(Key::Group(group), "no")
    }

    fn list(&self, dice: &mut Dice) -> Ask {
        let path = dice.of(&["/Users", "/Groups"]);
        let start = 1 + dice.roll(20);
        Ask::new("list", Method::GET, format!("{path}?startIndex={start}&count=10"))
    }

    /// Sends it and records the outcome.
    async fn send(&self, process: usize, ask: Ask) -> Outcome {
        let began = self.now();
        let calm = self.disturbed[process].load(Ordering::SeqCst);
        let answer = self.processes[process].send(ask.method.clone(), &ask.path, ask.body.as_ref()).await;
        let ended = self.now();
        let disturbed = self.disturbed[process].load(Ordering::SeqCst);
        let was_killed = calm % 2 == 1 || calm != disturbed;
        let outcome = match &answer {
            Ok(answer) if answer.status < 300 => Outcome::Acknowledged,
            // The host sends a request without a body again when its answer was lost, and the second answer is this one.
            Ok(answer) if answer.status == 404 && ask.method == Method::DELETE && was_killed => {
                Outcome::Acknowledged
            }
            Ok(answer) if answer.status < 500 => Outcome::Refused(answer.status),
            _ => Outcome::Unknown,
        };
        let mut known = self.known.lock().unwrap();
        let mut request = Request {
            kind: ask.kind,
            began,
            ended,
            outcome,
            writes: ask.writes.clone(),
            seen: Vec::new(),
            birth: ask.birth.clone(),
        };
        if let (Ok(answer), false) = (answer, outcome == Outcome::Unknown) {
            note(&mut known, &mut request, &ask, &answer);
        }
        known.history.requests.push(request);
        outcome
    }
}

/// Anywhere in a list, but often near its beginning, so that clients meet.
fn place(dice: &mut Dice, length: usize) -> usize {
    let length = if dice.chance(MEET_PERCENT) { length.min(MEET_PLACES) } else { length };
    dice.roll(length.max(1))
}

fn any_name(dice: &mut Dice) -> String {
    format!("user-{}", dice.roll(NAMES))
}

fn find(name: &str) -> Ask {
    Ask::new("find user", Method::GET, format!("/Users?filter=userName%20eq%20%22{name}%22"))
}

/// What an answer says, and what is known from then on.
fn note(known: &mut Known, request: &mut Request, ask: &Ask, answer: &Answer) {
    let id = || ask.path.rsplit('/').next().unwrap_or_default().to_owned();
    let is_user = ask.path.starts_with("/Users");
    match (ask.kind, answer.status) {
        ("create user", 201) => see_user(known, &mut request.seen, &answer.body),
        ("create user", 409) => {
            let name = ask.birth.as_ref().map(|birth| birth.user_name.clone());
            request.seen.extend(name.map(Seen::SomebodyIs));
        }
        ("create group", 201) => create_group(known, request, ask, &answer.body),
        ("delete user" | "delete group", 204) => {
            known.users.remove(&id());
            known.groups.remove(&id());
            known.gone.extend(Some(id()).filter(|_| is_user));
        }
        ("find user", 200) => found(known, request, &ask.path, &answer.body),
        ("list", 200) => {}
        (_, 404) => {
            known.users.remove(&id());
            known.groups.remove(&id());
            let key = if is_user { Key::User(id()) } else { Key::Group(id()) };
            request.seen.push(Seen::Fact(key, "no".to_owned()));
        }
        ("get user" | "set active" | "set note", 200) => see_user(known, &mut request.seen, &answer.body),
        (_, 200) => see_group(&mut request.seen, &answer.body),
        (_, 204) => request.seen.push(Seen::Fact(Key::Group(id()), "yes".to_owned())),
        ("create group" | "rename group", 409) | ("put group" | "add members" | "remove members", 413) => {}
        ("put group", 400) => {}
        _ => panic!("{} {} {:?} was answered {answer:?}", ask.method, ask.path, ask.body),
    }
}

fn create_group(known: &mut Known, request: &mut Request, ask: &Ask, body: &Value) {
    let id = text(body, "id");
    let external = EXTERNAL_IDS.iter().find(|external| body["externalId"] == **external);
    known.groups.insert(id.clone(), external.expect("the externalId that was asked for"));
    known.history.groups.insert(id.clone());
    let title = ask.body.as_ref().map(|body| text(body, "displayName")).unwrap_or_default();
    request.writes =
        vec![Write::Set(Key::Group(id.clone()), "yes".to_owned()), Write::Set(Key::Title(id), title)];
}

fn found(known: &mut Known, request: &mut Request, path: &str, body: &Value) {
    let users = body["Resources"].as_array().cloned().unwrap_or_default();
    assert!(users.len() < 2 && body["totalResults"] == users.len(), "{path} found {body}");
    match users.first() {
        Some(user) => see_user(known, &mut request.seen, user),
        None => {
            let name = path.rsplit("%22").nth(1).unwrap_or_default();
            request.seen.push(Seen::NobodyIs(name.to_owned()));
        }
    }
}

/// A user as an answer shows him.
fn see_user(known: &mut Known, seen: &mut Vec<Seen>, user: &Value) {
    let id = text(user, "id");
    let name = text(user, "userName");
    known.history.users.insert(id.clone(), (text(user, "nickName"), name.clone()));
    if !known.gone.contains(&id) {
        known.users.insert(id, name);
    }
    seen.extend(facts_of_user(user));
}

/// What a user's representation says.
pub fn facts_of_user(user: &Value) -> Vec<Seen> {
    let id = text(user, "id");
    vec![
        Seen::Fact(Key::User(id.clone()), "yes".to_owned()),
        Seen::Fact(Key::Active(id.clone()), yes_or_no(user["active"] == true).to_owned()),
        Seen::Fact(Key::Note(id.clone()), text(user, "displayName")),
        Seen::Groups(id, ids_in(user, "groups")),
    ]
}

fn see_group(seen: &mut Vec<Seen>, group: &Value) {
    seen.extend(facts_of_group(group));
}

/// What a group's representation says.
pub fn facts_of_group(group: &Value) -> Vec<Seen> {
    let id = text(group, "id");
    vec![
        Seen::Fact(Key::Group(id.clone()), "yes".to_owned()),
        Seen::Fact(Key::Title(id.clone()), text(group, "displayName")),
        Seen::Members(id, ids_in(group, "members")),
    ]
}

fn ids_in(resource: &Value, attribute: &str) -> BTreeSet<String> {
    let values = resource[attribute].as_array().cloned().unwrap_or_default();
    values.iter().map(|value| text(value, "value")).collect()
}

pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
