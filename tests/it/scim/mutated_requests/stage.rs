//! A service over HTTP, on tables in memory and a simulated Azure, and the people that requests are about.

use super::cases::{Applied, Case, Expected, Subject};
use super::mistakes::Scene;
use super::writes::{ENTERPRISE, Kind, Method};
use crate::grants::over_http::Front;
use crate::scim::http_edge::bearer;
use crate::support::harness::{OWN, Person, VAULT_EAST, VAULT_WEST, World, binding};
use crate::support::rows::quiet;
use azure_backup_scim::ports::tables::TableRow;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// The group that the requests are about; its members have a role.
const GROUP: &str = "operators";
/// Everything is left to ticks, of which there is none.
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };
/// Members who stay.
const STAYING: usize = 2;

/// Where the people of a stage are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    OutsideTheGroup,
    InTheGroup,
    /// And a binding gives its members a role.
    InTheGroupWithARole,
}

pub struct Stage {
    place: Place,
    world: World,
    front: Front,
    group: String,
    /// Each is the subject of one request.
    people: Vec<Person>,
    staying: Vec<Person>,
    outsider: Person,
    /// The last record that was read.
    last_record: Option<String>,
}

/// What a write was answered with.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub body: Value,
}

impl Answered {
    pub fn scim_type(&self) -> Option<String> {
        self.body["scimType"].as_str().map(str::to_owned)
    }
}

impl Stage {
    /// With so many people.
    pub fn set(people: usize, place: Place) -> Self {
        let world = quiet(World::new()).without_limits_on_revocations();
        // Without a role there is nothing to reconcile.
        let node = match place {
            Place::InTheGroupWithARole => world.start(),
            Place::InTheGroup | Place::OutsideTheGroup => world.start_with(TICKS_ONLY),
        };
        // A condition makes the department an attribute that decides; no one is in its group.
        let mut asking = binding(2, "others", Reader, VAULT_WEST);
        asking["where"] = json!(format!("{ENTERPRISE}:department eq \"Finance\""));
        let bound = if place == Place::InTheGroupWithARole { GROUP } else { "no group" };
        node.adopt(&[binding(1, bound, Operator, VAULT_EAST), asking]);
        let group = node.group(GROUP);
        node.group("Taken");
        let mut made = Vec::new();
        for number in 0..people + STAYING + 1 {
            let principal = Uuid::new_v4();
            let id = node.create_user(json!({
                "userName": name_of(number), "timezone": "Europe/Berlin", OWN: {"entraObjectId": principal},
                ENTERPRISE: {"department": "Finance", "organization": "Contoso"},
            }));
            made.push(Person { id, principal });
        }
        node.create_user(json!({"userName": "taken@contoso.example"}));
        let outsider = made.pop().unwrap();
        let staying = made.split_off(people);
        let members =
            made.iter().filter(|_| place != Place::OutsideTheGroup).chain(&staying).collect::<Vec<&Person>>();
        node.join(&group, &members);
        let front = Front::of(node);
        let mut stage =
            Self { place, world, front, group, people: made, staying, outsider, last_record: None };
        stage.new_changes();
        stage
    }

    pub fn scene(&self, number: usize) -> Scene {
        Scene {
            taken: ["taken@contoso.example", "Taken"],
            unknown_id: Uuid::new_v4().to_string(),
            member: self.staying[0].id.clone(),
            outsider: self.outsider.id.clone(),
            number,
        }
    }

    /// The subject of the request of that turn: each person in their turn.
    pub fn subject(&self, kind: Kind, turn: usize) -> Subject {
        let turn = turn % self.people.len();
        let person = &self.people[turn];
        let (id, name) = match kind {
            Kind::User => (person.id.clone(), name_of(turn)),
            Kind::Group => (self.group.clone(), GROUP.to_owned()),
        };
        let mut members = match kind {
            Kind::User => Vec::new(),
            Kind::Group => self.front.node.members_of(&self.group),
        };
        // The one whose turn it is comes first, if they are in.
        members.sort_by_key(|id| *id != person.id);
        Subject { id, name, members }
    }

    /// Every row of the service.
    pub fn rows(&self) -> Vec<TableRow> {
        let rows = self.front.node.service.store.rows_between(String::new(), "~".to_owned(), usize::MAX);
        self.front.node.run(rows).unwrap()
    }

    pub fn send(&self, case: &Case) -> Answered {
        let endpoint = if case.kind == Kind::User { "Users" } else { "Groups" };
        let (method, path) = match (case.method, &case.id) {
            (Method::Post, _) => ("POST", format!("/scim/v2/{endpoint}")),
            (Method::Put, id) => ("PUT", format!("/scim/v2/{endpoint}/{id}")),
            (Method::Patch, id) => ("PATCH", format!("/scim/v2/{endpoint}/{id}")),
        };
        let headers = [&bearer(), &format!("content-type: {}", case.media_type)];
        let answer = self.front.http.send(method, &path, &headers.map(String::as_str), &case.body);
        let body = if answer.status == 204 { Value::Null } else { answer.json() };
        Answered { status: answer.status, body }
    }

    fn get(&self, kind: Kind, id: &str) -> Value {
        let endpoint = if kind == Kind::User { "Users" } else { "Groups" };
        let answer = self.front.http.send("GET", &format!("/scim/v2/{endpoint}/{id}"), &[&bearer()], b"");
        assert_eq!(answer.status, 200);
        answer.json()
    }

    /// The changes of the records since those that were read before.
    fn new_changes(&mut self) -> Vec<Value> {
        let records = self.front.node.service.store.audit(self.last_record.as_deref(), usize::MAX);
        let records = self.front.node.run(records).unwrap();
        if let Some(last) = records.last() {
            self.last_record = Some(last["op"].as_str().unwrap().to_owned());
        }
        records.iter().flat_map(|record| record["changes"].as_array().unwrap().clone()).collect()
    }

    /// Sends a request that has to be carried out, and compares what became of it. How many records of dropped attributes it
    /// left.
    pub fn check_applied(&mut self, case: &Case, subject: &Subject, label: &str) -> usize {
        let Expected::Applied(applied) = &case.expected else { panic!("{label}") };
        let before = match case.method {
            Method::Put | Method::Patch if !applied.keeps.is_empty() => self.get(case.kind, &subject.id),
            Method::Post | Method::Put | Method::Patch => Value::Null,
        };
        let person = self.person(applied, subject);
        if let Some(person) = &person {
            self.world.assert_holds(person, Operator, VAULT_EAST);
        }
        let answer = self.send(case);
        assert!((200..300).contains(&answer.status), "{label}\n{answer:?}");
        let id = answer.body["id"].as_str().unwrap_or(&subject.id).to_owned();
        let after = self.get(case.kind, &id);
        for (pointer, value) in &applied.has {
            assert_eq!(after.pointer(pointer), Some(value), "{pointer} of {label}\n{after}");
        }
        for pointer in &applied.keeps {
            assert_eq!(after.pointer(pointer), before.pointer(pointer), "{pointer} of {label}\n{after}");
        }
        if let Some(removed) = &applied.removes {
            assert!(!self.front.node.members_of(&subject.id).contains(removed), "{label}");
            assert_eq!(self.front.node.members_of(&subject.id).len() + 1, subject.members.len(), "{label}");
        }
        if let Some(person) = &person {
            self.world.assert_holds_nothing(person);
        }
        self.check_records(applied, label)
    }

    /// The person who loses a role, where the group gives one.
    fn person(&self, applied: &Applied, subject: &Subject) -> Option<Person> {
        if self.place != Place::InTheGroupWithARole {
            return None;
        }
        let loses = match &applied.removes {
            Some(id) => id,
            None if applied.deactivates => &subject.id,
            None => return None,
        };
        self.people.iter().find(|person| person.id == *loses).cloned()
    }

    fn check_records(&mut self, applied: &Applied, label: &str) -> usize {
        let new = self.new_changes();
        let of =
            |kind: &str| new.iter().filter(|change| change["kind"] == kind).cloned().collect::<Vec<Value>>();
        let dropped = of("attributes-dropped");
        let names: Vec<Value> = applied.recorded.iter().map(|name| json!(name)).collect();
        match names.is_empty() {
            true => assert!(dropped.is_empty(), "{label}\n{dropped:?}"),
            false => {
                assert_eq!(dropped.len(), 1, "{label}\n{dropped:?}");
                assert_eq!(dropped[0]["attributes"], json!(names), "{label}");
            }
        }
        let members: Vec<String> =
            of("member-dropped").iter().map(|change| change["member"].as_str().unwrap().to_owned()).collect();
        assert_eq!(members, applied.members_dropped, "{label}");
        dropped.len()
    }
}

fn name_of(number: usize) -> String {
    format!("user{number}@contoso.example")
}
