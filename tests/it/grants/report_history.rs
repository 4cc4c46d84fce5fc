//! What the audit says of a past moment is what Azure held then.

use crate::resilience::crashes::random::Dice;
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::quiet;
use azure_backup_scim::rbac::BackupRole::{self, Operator, Reader};
use azure_backup_scim::service::access::report::history::{AccessHistory, SpanSource};
use azure_backup_scim::simulator::{self, HandMade};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use uuid::Uuid;

/// Changes of one history, and the variable that asks for more.
const CHANGES: usize = 60;
const CHANGES_VARIABLE: &str = "REPORT_CHANGES";

/// Name, principal and role of everything that is assigned.
type Held = BTreeSet<(String, Uuid, Uuid)>;

struct Tenant {
    world: World,
    node: Node,
    dice: Dice,
    people: Vec<Person>,
    groups: Vec<String>,
    by_hand: Vec<Uuid>,
    /// What was held from that moment on.
    moments: BTreeMap<OffsetDateTime, Held>,
}

impl Tenant {
    fn new(seed: u64) -> Self {
        let world = World::new().bind("a", Operator, VAULT_EAST).bind("b", Operator, VAULT_EAST);
        let world = quiet(world.bind("c", Reader, VAULT_WEST)).without_limits_on_revocations();
        let node = world.start();
        let groups = ["a", "b", "c"].map(|name| node.group(name)).to_vec();
        let people = (0..4).map(|n| node.provision(&format!("p{n}"))).collect();
        let (by_hand, moments) = (Vec::new(), BTreeMap::new());
        Self { world, node, dice: Dice::new(seed), people, groups, by_hand, moments }
    }

    fn change(&mut self) {
        let (group, place) = (self.dice.of(&self.groups), self.dice.roll(self.people.len()));
        let person = self.people[place].clone();
        match self.dice.roll(12) {
            0..4 => self.node.join(&group, &[&person]),
            4..7 => self.node.leave(&group, &[&person]),
            7 => self.node.set_active(&person, false),
            8 => self.node.set_active(&person, true),
            9 => {
                self.node.delete_user(&person);
                self.people[place] = self.node.provision(&format!("p{place}"));
            }
            10 => self.make_by_hand(&person),
            _ => {
                if let Some(name) = self.by_hand.pop() {
                    self.world.azure().delete_assignment(name).unwrap();
                }
            }
        }
    }

    fn make_by_hand(&mut self, person: &Person) {
        let role = self.dice.of(&[BackupRole::Contributor.name(), "Owner"]);
        let scope = simulator::Scope::parse(self.dice.of(&[VAULT_EAST, VAULT_WEST])).unwrap();
        let made = HandMade::new(scope, role, person.principal);
        self.by_hand.extend(self.world.azure().make_assignment(&made).map(|made| made.name));
    }

    /// All is settled, and a sweep has seen it.
    fn note(&mut self) {
        self.world.pass(3600);
        self.node.settle();
        let held = self.world.azure().assignments();
        let held = held.iter().map(|held| (held.name.to_string(), held.principal_id, held.role));
        self.moments.insert(self.node.service.store.clock.now(), held.collect());
        self.world.pass(1);
    }
}

#[test]
fn the_audit_tells_of_every_moment_what_was_held_then() {
    let changes = std::env::var(CHANGES_VARIABLE).map_or(CHANGES, |text| text.parse().unwrap());
    let mut tenant = Tenant::new(7);
    for _ in 0..changes {
        for _ in 0..tenant.dice.roll(3) {
            tenant.change();
            tenant.world.pass(5);
        }
        tenant.note();
    }
    let mut history = AccessHistory::default();
    for record in tenant.node.run(tenant.node.service.store.audit(None, 1_000_000)).unwrap() {
        history.fold(&record);
    }
    assert_eq!(history.unreadable(), 0);
    let mut held_in_all = 0;
    for (moment, expected) in &tenant.moments {
        let spans: Vec<_> = history.at(*moment).collect();
        let told = spans.iter().map(|span| (span.assignment.to_string(), span.principal.uuid(), span.role));
        assert_eq!(told.collect::<Held>(), *expected, "{moment}");
        let confirmed = spans.iter().all(|span| match &span.source {
            SpanSource::Ours(given) => given.confirmed && !given.bindings.is_empty(),
            SpanSource::Foreign(given) => given.verbs.is_some_and(|verbs| !verbs.is_empty()),
        });
        assert!(confirmed, "{spans:#?}");
        held_in_all += expected.len();
    }
    assert!(held_in_all > changes, "{held_in_all}");
}
