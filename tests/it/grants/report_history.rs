//! What the audit says of a past moment is what Azure held then.

use crate::resilience::crashes::random::Dice;
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::quiet;
use azure_backup_scim::rbac::BackupRole::{self, Operator, Reader};
use azure_backup_scim::service::access::report::history::{AccessHistory, SpanSource};
use azure_backup_scim::simulator::{self, HandMade};
use serde_json::{Value, json};
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
            SpanSource::Ours(given) => {
                // A change of its bindings says no reason of those that came.
                let has_reason = !given.reasons.is_empty() || span.from > span.since;
                given.confirmed && !given.bindings.is_empty() && has_reason
            }
            SpanSource::Foreign(given) => given.verbs.is_some_and(|verbs| !verbs.is_empty()),
        });
        assert!(confirmed, "{spans:#?}");
        held_in_all += expected.len();
    }
    assert!(held_in_all > changes, "{held_in_all}");
}

/// A record of the audit, as far as the history reads it.
fn record(op: &str, minute: u32, changes: &Value) -> Value {
    json!({
        "op": op, "time": format!("2026-03-01T10:{minute:02}:00Z"), "cause": "scim", "actor": "entra", "origin": op,
        "changes": changes,
    })
}

/// A revocation that waited, was opened, and was not carried out is under way until it is withdrawn.
#[test]
fn a_revocation_that_failed_once_it_no_longer_waited_is_under_way() {
    let (assignment, person) = (Uuid::from_u128(1).to_string(), Uuid::from_u128(2).to_string());
    let open = |wanted: bool| {
        json!({
            "kind": "effect-opened", "assignment": assignment, "person": person, "scope": VAULT_EAST,
            "role": Operator.name(), "principal": Uuid::from_u128(3), "wanted": wanted, "heldBefore": !wanted,
            "bindings": ["a"], "reasons": ["member of Night Shift, of binding a"],
        })
    };
    let answered = |open: &str, executed: bool, code: &str| {
        json!({
            "kind": "effect-answered", "assignment": assignment, "open": open, "executed": executed, "code": code,
        })
    };
    let wait = |reason: &str| json!({ "kind": "wait-changed", "person": person, "binding": "a", "operation": "revoke", "reason": reason });
    let mut history = AccessHistory::default();
    let is_taken = |history: &AccessHistory| {
        let span = history.spans().last().unwrap();
        assert_eq!(span.until, None);
        matches!(&span.source, SpanSource::Ours(given) if given.taken.is_some())
    };
    history.fold(&record("op-1", 1, &json!([open(true)])));
    history.fold(&record("op-2", 2, &json!([answered("op-1", true, "")])));
    history.fold(&record("op-3", 3, &json!([wait("throttled")])));
    assert!(!is_taken(&history));
    history.fold(&record("op-4", 4, &json!([open(false)])));
    history.fold(&record("op-5", 5, &json!([answered("op-4", false, "ScopeLocked"), wait("ended")])));
    assert!(is_taken(&history));
    history.fold(&record("op-6", 6, &json!([wait("scope-locked")])));
    assert!(is_taken(&history));
    // She is a member again before it is tried once more.
    history.fold(&record("op-7", 7, &json!([wait("ended")])));
    assert!(!is_taken(&history));
}
