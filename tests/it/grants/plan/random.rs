//! Random tenants and random files: the plan of a file is what then happens in Azure.

use super::{file, plan_now, plan_of};
use crate::resilience::crashes::random::Dice;
use crate::support::harness::{Node, OWN, Person, VAULT_EAST, VAULT_WEST, World, members};
use crate::support::rows::{later, quiet};
use azure_backup_scim::rbac::ReasonCode;
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::access::preview::TenantPlan;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// Pairs of a tenant and a file, and the variable that asks for more.
const PAIRS: usize = 30;
const PAIRS_VARIABLE: &str = "PLAN_PAIRS";
/// Files that one tenant is given.
const FILES: usize = 5;
const PEOPLE: usize = 7;
const CHANGES: usize = 8;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const ROLES: [&str; 3] = ["Backup Contributor", "Backup Operator", "Backup Reader"];

/// Everything is left to ticks.
const NOTHING_INLINE: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

struct Tenant {
    world: World,
    node: Node,
    dice: Dice,
    people: Vec<Person>,
    groups: Vec<String>,
}

impl Tenant {
    fn new(seed: u64, at_rest: bool) -> Self {
        let world = quiet(World::new()).without_limits_on_revocations();
        let node = if at_rest { world.start() } else { world.start_with(NOTHING_INLINE) };
        let mut tenant = Self { world, node, dice: Dice::new(seed), people: Vec::new(), groups: Vec::new() };
        let first = tenant.file();
        tenant.adopt(&first);
        for number in 0..NAMES.len() {
            tenant.add_group(number);
        }
        for number in 0..PEOPLE {
            tenant.add_person(number);
        }
        for _ in 0..3 * PEOPLE {
            tenant.join();
        }
        tenant
    }

    fn adopt(&self, file: &str) {
        self.node.run(self.node.service.active_bindings.activate(file.as_bytes())).unwrap();
    }

    /// Some groups share a value.
    fn add_group(&mut self, number: usize) {
        let external = self.dice.of(&NAMES[..number + 1]);
        let name = format!("group {number} {}", Uuid::new_v4());
        let body = json!({"displayName": name, "externalId": external}).to_string();
        let body = crate::support::requests::group_input(&serde_json::from_str(&body).unwrap());
        let projection = Projection::all(ResourceType::Group);
        let caller = crate::support::harness::caller();
        let created = self.node.run(self.node.service.provisioning.create_group(&caller, &body, &projection));
        self.groups.push(created.unwrap().id);
    }

    fn add_person(&mut self, number: usize) {
        let principal = Uuid::new_v4();
        let mut body = json!({
            "userName": format!("person {number} {principal}"), "active": !self.dice.chance(15),
            "title": self.dice.of(&["x", "y"]),
        });
        if self.dice.chance(85) {
            body[OWN] = json!({"entraObjectId": principal.to_string()});
        }
        if self.dice.chance(40) {
            // An id that another record was known by, now and then.
            let other = self.people.first().filter(|_| self.dice.chance(40)).map(|other| other.principal);
            body["externalId"] = json!(other.unwrap_or_else(Uuid::new_v4).to_string());
        }
        let id = self.node.create_user(body);
        self.people.push(Person { id, principal });
    }

    fn join(&mut self) {
        let (group, person) = (self.dice.of(&self.groups), self.dice.of(&self.people));
        // One of them may be gone.
        let _ = self.node.try_patch_group(&group, members("add", &[&person]));
    }

    fn binding(&mut self, number: usize) -> Value {
        let mut binding = json!({
            "name": format!("b{number}"), "role": self.dice.of(&ROLES),
            "scope": self.dice.of(&[VAULT_EAST, VAULT_WEST]),
            "group": {"externalId": self.dice.of(&NAMES)},
        });
        if self.dice.chance(20) {
            binding["group"] = json!({"id": self.dice.of(&self.groups_or_none())});
        }
        if self.dice.chance(30) {
            binding["where"] = json!("title eq \"x\"");
        }
        binding
    }

    fn groups_or_none(&self) -> Vec<String> {
        if self.groups.is_empty() { vec![Uuid::nil().to_string()] } else { self.groups.clone() }
    }

    fn file(&mut self) -> String {
        let number = 1 + self.dice.roll(5);
        let mut bindings = Vec::new();
        for number in 0..number {
            let binding = self.binding(number);
            let same = |other: &Value| {
                ["group", "role", "scope", "where"].iter().all(|key| other[key] == binding[key])
            };
            if !bindings.iter().any(same) {
                bindings.push(binding);
            }
        }
        let sources: &[&[&str]] = &[
            &["entraObjectId", "externalId"],
            &["entraObjectId", "externalId"],
            &["entraObjectId"],
            &["externalId", "entraObjectId"],
        ];
        file(self.dice.of(sources), &bindings)
    }

    /// A change of the identity provider.
    fn change(&mut self) {
        let person = self.dice.of(&self.people);
        let group = self.dice.of(&self.groups);
        match self.dice.roll(9) {
            0..4 => self.join(),
            4 | 5 => drop(self.node.try_patch_group(&group, members("remove", &[&person]))),
            6 => {
                let value = self.dice.of(&NAMES);
                let operation = json!({"op": "replace", "path": "externalId", "value": value});
                drop(self.node.try_patch_group(&group, operation));
            }
            7 if self.people.len() > 3 => {
                self.people.retain(|other| other.id != person.id);
                self.node.delete_user(&person);
            }
            8 if self.groups.len() > 2 => {
                self.groups.retain(|other| *other != group);
                self.node.delete_group(&group);
            }
            _ => {
                let active = self.dice.chance(60);
                self.node.set_active(&person, active);
            }
        }
    }

    /// Principal, role and scope of everything that Azure holds.
    fn held(&self) -> BTreeSet<(Uuid, Uuid, String)> {
        let held = self.world.azure().assignments().into_iter();
        held.map(|held| (held.principal_id, held.role, held.scope.to_string().to_ascii_lowercase())).collect()
    }
}

/// The verbs with what they are about, as the plan has them.
fn planned(plan: &TenantPlan) -> BTreeSet<(&'static str, Uuid, Uuid, String)> {
    let steps = plan.people.iter().flat_map(|person| &person.steps);
    steps
        .map(|step| {
            let scope = step.scope.folded().to_owned();
            (step.kind.as_str(), step.principal.uuid(), step.role.definition_id(), scope)
        })
        .collect()
}

/// What several records wait for, because another one gives it up: the first of them gets it, and no plan knows which one.
fn races(plan: &TenantPlan) -> BTreeSet<(&'static str, Uuid, Uuid, String)> {
    let mut races = BTreeSet::new();
    for person in &plan.people {
        let releasing = person.waits.iter().filter(|wait| wait.reason == ReasonCode::PrincipalReleasing);
        for wait in releasing {
            let principal = person.waits_for.unwrap().uuid();
            let scope = wait.scope.folded().to_owned();
            races.insert((wait.kind.as_str(), principal, wait.role.definition_id(), scope));
        }
    }
    races
}

/// Returns how many steps there were.
fn check(seed: u64) -> usize {
    // Half of the tenants have changes that were not reconciled yet when the plan is made.
    let at_rest = seed.is_multiple_of(2);
    let mut tenant = Tenant::new(seed, at_rest);
    let mut steps = 0;
    for _ in 0..FILES {
        for _ in 0..CHANGES {
            tenant.change();
        }
        if at_rest {
            later(&tenant.world, &tenant.node);
            let rest = plan_now(&tenant.node);
            assert!(rest.changes_nothing(), "seed {seed}, at rest: {:#?}", rest.lines());
        }

        let file = tenant.file();
        let plan = plan_of(&tenant.node, &file);
        let before = tenant.held();
        tenant.adopt(&file);
        later(&tenant.world, &tenant.node);
        let after = tenant.held();
        let granted = after.difference(&before).map(|held| ("grant", held.0, held.1, held.2.clone()));
        let revoked = before.difference(&after).map(|held| ("revoke", held.0, held.1, held.2.clone()));
        let happened: BTreeSet<_> = granted.chain(revoked).collect();
        let planned = planned(&plan);
        let races = races(&plan);
        let more: BTreeSet<_> = happened.difference(&planned).filter(|step| !races.contains(*step)).collect();
        let less: BTreeSet<_> = planned.difference(&happened).collect();
        let differs = !more.is_empty() || !less.is_empty();
        assert!(!differs, "seed {seed}, file {file}\n{plan:#?}\nmore {more:#?}\nless {less:#?}");
        steps += happened.len();
    }
    steps
}

#[test]
fn the_plan_of_a_file_is_what_then_happens() {
    let pairs = std::env::var(PAIRS_VARIABLE).ok().map_or(PAIRS, |number| number.parse().unwrap());
    let tenants = 0..pairs.div_ceil(FILES);
    let steps: usize = tenants.map(|seed| check(u64::try_from(seed).unwrap())).sum();
    assert!(steps > pairs, "only {steps} steps in {pairs} plans");
}
