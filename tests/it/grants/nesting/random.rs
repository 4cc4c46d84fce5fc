//! Random histories of groups in groups, against an evaluator that asks SCIM alone and walks every way.

use super::NOTHING_INLINE;
use crate::grants::plan::plan_now;
use crate::resilience::crashes::invariants::problems;
use crate::resilience::crashes::random::Dice;
use crate::support::harness::{Node, OWN, Person, VAULT_EAST, VAULT_WEST, World, member_ids};
use crate::support::requests::user_id;
use crate::support::rows::{later, quiet};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::scim::{Projection, ResourceType};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Histories, and the variable that asks for more.
const HISTORIES: u64 = 6;
const HISTORIES_VARIABLE: &str = "NESTING_HISTORIES";
const GROUPS: usize = 6;
const PEOPLE: usize = 4;
const CHANGES: usize = 14;
const NAMES: [&str; GROUPS] = ["a", "b", "c", "d", "e", "f"];

struct History {
    world: World,
    node: Node,
    dice: Dice,
    people: Vec<Person>,
    /// Each with what is in it: the model.
    groups: BTreeMap<String, BTreeSet<String>>,
    log: Vec<String>,
}

fn person(node: &Node, number: usize) -> Person {
    let principal = Uuid::new_v4();
    let name = format!("p{number}");
    let body = json!({"userName": name, "externalId": name, OWN: {"entraObjectId": principal.to_string()}});
    Person { id: node.create_user(body), principal }
}

impl History {
    fn new(seed: u64) -> Self {
        let world = World::new().bind("a", Operator, VAULT_EAST).bind("b", Reader, VAULT_WEST);
        let world = quiet(world.bind("c", Operator, VAULT_EAST)).without_limits_on_revocations();
        let node = if seed.is_multiple_of(2) { world.start() } else { world.start_with(NOTHING_INLINE) };
        let people = (0..PEOPLE).map(|n| person(&node, n)).collect();
        let groups = NAMES.map(|name| (node.group(name), BTreeSet::new())).into();
        Self { world, node, dice: Dice::new(seed), people, groups, log: Vec::new() }
    }

    fn group(&mut self) -> String {
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        self.dice.of(&ids)
    }

    fn change(&mut self) {
        let (outer, inner) = (self.group(), self.group());
        let person = self.dice.of(&self.people);
        match self.dice.roll(20) {
            0..6 => self.patch("add", &outer, &inner),
            6..9 => self.patch("remove", &outer, &inner),
            9..13 => self.patch("add", &outer, &person.id),
            13..15 => self.patch("remove", &outer, &person.id),
            15 => {
                let value = self.dice.of(&NAMES);
                self.log.push(format!("{outer} becomes {value}"));
                let rename = json!({"op": "replace", "path": "externalId", "value": value});
                self.node.try_patch_group(&outer, rename).unwrap();
            }
            16 if self.groups.len() > 3 => {
                self.log.push(format!("{outer} is deleted"));
                self.node.delete_group(&outer);
                self.groups.remove(&outer);
                for members in self.groups.values_mut() {
                    members.remove(&outer);
                }
            }
            17 => {
                let active = self.dice.chance(60);
                self.log.push(format!("{} is active: {active}", person.id));
                self.node.set_active(&person, active);
            }
            18 if self.groups.len() < GROUPS => {
                let name = self.dice.of(&NAMES);
                let body = json!({"displayName": format!("new {}", Uuid::new_v4()), "externalId": name});
                let input = crate::support::requests::group_input(&body);
                let projection = Projection::all(ResourceType::Group);
                let caller = crate::support::harness::caller();
                let new =
                    self.node.run(self.node.service.provisioning.create_group(&caller, &input, &projection));
                self.groups.insert(new.unwrap().id, BTreeSet::new());
            }
            _ => self.node.settle(),
        }
    }

    fn patch(&mut self, op: &str, outer: &str, member: &str) {
        self.log.push(format!("{op} {member} in {outer}"));
        self.node.try_patch_group(outer, member_ids(op, &[member])).unwrap();
        let members = self.groups.get_mut(outer).unwrap();
        match op {
            "add" if outer != member => drop(members.insert(member.to_owned())),
            _ => drop(members.remove(member)),
        }
    }

    /// The groups that a person is in, and whether directly, by trying every way.
    fn groups_of(&self, person: &Person) -> BTreeMap<String, &'static str> {
        let mut found: BTreeMap<String, &'static str> = BTreeMap::new();
        for group in self.groups.iter().filter(|(_, members)| members.contains(&person.id)) {
            found.insert(group.0.clone(), "direct");
        }
        loop {
            let mut more = Vec::new();
            for (outer, members) in &self.groups {
                if !found.contains_key(outer) && members.iter().any(|member| found.contains_key(member)) {
                    more.push(outer.clone());
                }
            }
            if more.is_empty() {
                return found;
            }
            found.extend(more.into_iter().map(|group| (group, "indirect")));
        }
    }

    fn check(&mut self, seed: u64) {
        for _ in 0..3 {
            later(&self.world, &self.node);
        }
        let told = format!("seed {seed}, after {:#?}", self.log);
        for (group, members) in &self.groups {
            let shown: BTreeSet<String> = self.node.members_of(group).into_iter().collect();
            assert_eq!(&shown, members, "{group}, {told}");
        }
        for person in &self.people {
            let projection = Projection::all(ResourceType::User);
            let get = self.node.service.provisioning.get_user(user_id(&person.id), &projection);
            let body = self.node.run(get).unwrap().shown().unwrap().body;
            let text = |group: &Value, name: &str| group[name].as_str().unwrap().to_owned();
            let shown: Vec<(String, String)> = body["groups"]
                .as_array()
                .unwrap()
                .iter()
                .map(|group| (text(group, "value"), text(group, "type")))
                .collect();
            let expected = self.groups_of(person);
            let expected: BTreeMap<String, String> =
                expected.into_iter().map(|(group, kind)| (group, kind.to_owned())).collect();
            assert_eq!(shown.len(), expected.len(), "{told}");
            assert_eq!(shown.into_iter().collect::<BTreeMap<_, _>>(), expected, "{told}");
        }
        let found = problems(&self.world, &self.node);
        assert!(found.is_empty(), "{found:#?}, {told}");
        let plan = plan_now(&self.node);
        assert!(plan.changes_nothing(), "{:#?}, {told}", plan.lines());
    }
}

#[test]
fn random_histories_of_nesting_end_as_a_naive_evaluator_says() {
    let number = std::env::var(HISTORIES_VARIABLE).ok().map_or(HISTORIES, |number| number.parse().unwrap());
    for seed in 0..number {
        let mut history = History::new(seed);
        for _ in 0..3 {
            for _ in 0..CHANGES {
                history.change();
            }
            history.check(seed);
        }
    }
}
