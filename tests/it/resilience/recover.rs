//! What the ledger, or the whole state, lost comes back from Azure: ours all of it, foreign ones untouched, and what is wanted is
//! never absent for a moment. Azure's own log of calls says what was done in between.

use crate::resilience::lost_state::{keys, lose, lose_table, package, start_deployed};
use crate::support::fault_injection::{Counts, Side};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::quiet;
use azure_backup_scim::app;
use azure_backup_scim::id::OpId;
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::rbac::BackupRole::{self, Contributor, Operator, Reader};
use azure_backup_scim::service::access::report::history::{AccessHistory, AccessSpan, SpanSource};
use azure_backup_scim::service::state::recover::{RecoverPlan, RecoveredInto, plan};
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule, HandMade, RoleAssignment, Scope};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// The groups, and what each gives.
const GROUPS: [(&str, BackupRole, &str); 2] =
    [("operators", Operator, VAULT_EAST), ("readers", Reader, VAULT_WEST)];
const FOREIGN: usize = 200;
/// Steps of one request, so that each is one transaction.
const MEMBERS_AT_ONCE: usize = 24;

/// So many people, half of them in each group, who hold its role; and assignments of others at the same scopes.
struct Stage {
    world: World,
    node: Node,
    groups: Vec<String>,
    people: Vec<Person>,
    ours: BTreeSet<Uuid>,
    foreign: Vec<RoleAssignment>,
}

fn world() -> World {
    let world =
        GROUPS.iter().fold(World::new(), |world, (group, role, scope)| world.bind(group, *role, scope));
    quiet(world)
}

impl Stage {
    fn set(people: usize, foreign: usize) -> Self {
        let mut world = world();
        let (node, bundled) = start_deployed(&world);
        node.run(bundled.activate_once(&package(&world))).unwrap();
        let (groups, people) = push(&node, (0..people).map(|n| (n, Uuid::from_u128(1 + n as u128))));
        node.settle();
        let ours: BTreeSet<Uuid> = world.azure().assignments().iter().map(|held| held.name).collect();
        assert_eq!(ours.len(), people.len());
        for n in 0..foreign {
            // Of the same people another role, and of others the same one.
            let (role, principal) = match n % 2 {
                0 => (Contributor, people[n % people.len()].principal),
                _ => (Operator, Uuid::from_u128(1_000_000 + n as u128)),
            };
            let scope = Scope::parse(if n % 3 == 0 { VAULT_WEST } else { VAULT_EAST }).unwrap();
            world.azure().make_assignment(&HandMade::new(scope, role.name(), principal)).unwrap();
        }
        let instance = node.run(node.service.store.known_instance()).unwrap().unwrap();
        world.name_installation(instance);
        let foreign = foreign_of(&world, &ours);
        world.azure().clear_calls();
        Self { world, node, groups, people, ours, foreign }
    }

    fn plan(&self) -> RecoverPlan {
        planned(&self.world, &self.node)
    }

    fn names_of(&self, people: &[Person]) -> BTreeSet<Uuid> {
        let principals: BTreeSet<Uuid> = people.iter().map(|person| person.principal).collect();
        let all = self.world.azure().assignments();
        all.iter()
            .filter(|held| self.ours.contains(&held.name) && principals.contains(&held.principal_id))
            .map(|held| held.name)
            .collect()
    }

    /// Only these were ever deleted, nothing was made or overwritten, and foreign ones are as they were.
    #[track_caller]
    fn assert_only_revoked(&self, unwanted: &BTreeSet<Uuid>, what: &str) {
        let calls = self.world.azure().calls();
        let named = |method| -> BTreeSet<Uuid> {
            calls.iter().filter(|call| call.method == method).filter_map(|call| call.name).collect()
        };
        assert_eq!(&named(CallMethod::Delete), unwanted, "{what}: what was deleted");
        assert_eq!(named(CallMethod::Put), BTreeSet::new(), "{what}: what was written over");
        let left: BTreeSet<Uuid> = self.world.azure().assignments().iter().map(|held| held.name).collect();
        let expected: BTreeSet<Uuid> = self.ours.difference(unwanted).copied().collect();
        assert_eq!(&left & &self.ours, expected, "{what}: what is left of ours");
        assert_eq!(foreign_of(&self.world, &self.ours), self.foreign, "{what}: those of others");
    }

    /// The ledger knows what is wanted, settled, and the plan is empty.
    #[track_caller]
    fn assert_recovered(&self, node: &Node, wanted: &[Person], what: &str) {
        for person in wanted {
            let grants = node.grants_of(person);
            let settled = grants.iter().all(|grant| grant["state"] == "held" && grant["settled"] == true);
            assert!(settled && grants.len() == 1, "{what}: {grants:?}");
        }
        let plan = planned(&self.world, node);
        assert!(plan.is_empty(), "{what}: {plan:?}");
        let mut history = AccessHistory::default();
        node.run(node.service.store.audit(None, 100_000))
            .unwrap()
            .iter()
            .for_each(|record| history.fold(record));
        let ours = |span: &&AccessSpan| matches!(&span.source, SpanSource::Ours(given) if given.confirmed);
        let held: BTreeSet<Uuid> =
            history.at(self.world.clock.now()).filter(ours).map(|span| span.principal.uuid()).collect();
        let wanted_by: BTreeSet<Uuid> = wanted.iter().map(|person| person.principal).collect();
        assert_eq!(held, wanted_by, "{what}: by the audit");
        assert_eq!((plan.foreign, plan.known), (self.foreign.len(), wanted.len()), "{what}");
    }
}

/// As an operator's command makes it.
fn planned(world: &World, node: &Node) -> RecoverPlan {
    let clock = Arc::new(world.clock.clone());
    let arm = app::arm(&world.arm_url(), SecretString::from("simulated"), clock).unwrap();
    node.run(async {
        let store = &node.service.store;
        let snapshot = node.service.active_bindings.read(&store.pointer().await.unwrap()).await.unwrap();
        plan(store, snapshot, arm.as_ref(), &|_| {}).await.unwrap()
    })
}

fn foreign_of(world: &World, ours: &BTreeSet<Uuid>) -> Vec<RoleAssignment> {
    world.azure().assignments().into_iter().filter(|held| !ours.contains(&held.name)).collect()
}

/// The identity provider pushes these people, every second one into the same group.
fn push(node: &Node, people: impl Iterator<Item = (usize, Uuid)>) -> (Vec<String>, Vec<Person>) {
    let groups: Vec<String> = GROUPS.iter().map(|(name, ..)| node.group(name)).collect();
    let mut all = Vec::new();
    let mut members: Vec<Vec<Person>> = vec![Vec::new(); groups.len()];
    for (n, principal) in people {
        let person = node.provision_as(&format!("p{n}"), principal);
        members[n % groups.len()].push(person.clone());
        all.push(person);
    }
    for (group, members) in groups.iter().zip(&members) {
        for part in members.chunks(MEMBERS_AT_ONCE) {
            node.join(group, &part.iter().collect::<Vec<_>>());
        }
    }
    (groups, all)
}

fn recover(plan: &RecoverPlan) -> OrderVerb {
    OrderVerb::Recover { hash: plan.hash() }
}

/// Ticks until nothing is left of a large job.
fn settle(stage: &Stage, node: &Node) {
    for _ in 0..4 {
        node.settle();
        stage.world.pass(60);
    }
}

fn pins(node: &Node) -> Vec<String> {
    keys(node).into_iter().filter(|key| key.contains(":pin:")).collect()
}

#[test]
fn after_the_ledger_alone_was_deleted_all_ours_are_back_and_no_one_was_without_access() {
    let stage = Stage::set(500, FOREIGN);
    let pins_before = pins(&stage.node);
    lose(&stage.world, &stage.node, |key| key.starts_with("l:"));
    // Ten leave meanwhile: without a ledger nothing can be taken from them.
    let (gone, left) = stage.people.split_at(10);
    for (n, person) in gone.iter().enumerate() {
        stage.node.leave(&stage.groups[n % 2], &[person]);
    }
    stage.node.settle();
    stage.assert_only_revoked(&BTreeSet::new(), "before the order");

    let plan = stage.plan();
    assert_eq!((plan.lost.len(), plan.foreign, plan.is_cut), (500 - plan.known, FOREIGN, false));
    let unwanted: BTreeSet<Uuid> =
        plan.lost.iter().filter(|lost| !lost.is_wanted).map(|lost| lost.assignment.uuid()).collect();
    assert_eq!(unwanted, stage.names_of(gone));
    assert!(plan.lost.iter().all(|lost| matches!(lost.into, RecoveredInto::Record(_))));
    stage.node.carry_out(recover(&plan));
    settle(&stage, &stage.node);

    // Ten at once are a mass to the breaker, which knows of no grants before the loss.
    stage.assert_only_revoked(&BTreeSet::new(), "held by the breaker");
    let batches = stage.node.run(stage.node.service.store.batches()).unwrap();
    let batch: Vec<OpId> = batches.waiting().collect();
    assert_eq!(batch.len(), 1);
    stage.node.carry_out(stage.node.release_of(batch[0]));
    settle(&stage, &stage.node);
    stage.assert_only_revoked(&unwanted, "after the order");
    stage.assert_recovered(&stage.node, left, "after the order");
    let recovered = stage.node.audit_of("assignment-recovered");
    assert_eq!(recovered.len(), plan.lost.len());
    assert!(recovered.iter().all(|change| change["record"]["actor"] == "olga"));
    assert_eq!(pins(&stage.node), pins_before, "each record has its side of the pin again");
    // From here on it is as before: who leaves loses the role, and who is deleted frees the object id.
    stage.node.delete_user(&left[0]);
    stage.node.settle();
    stage.world.assert_holds_nothing(&Person { principal: Uuid::nil(), ..left[0].clone() });
    assert!(!keys(&stage.node).iter().any(|key| key == &format!("p:{}", left[0].principal)));
}

#[test]
fn after_the_whole_table_was_lost_without_an_export_all_ours_are_back() {
    let stage = Stage::set(500, FOREIGN);
    lose_table(&stage.world, &stage.node);
    let (node, bundled) = start_deployed(&stage.world);
    node.settle();
    stage.assert_only_revoked(&BTreeSet::new(), "while it waits");
    let begun = node.place(OrderVerb::RecoverBegin);
    node.settle();
    assert!(!node.outcome(begun).unwrap().is_refused);
    node.run(bundled.activate_once(&package(&stage.world))).unwrap();
    // Ten have left the company since, and four the groups.
    let pushed = stage.people.iter().enumerate().skip(10).map(|(n, person)| (n, person.principal));
    let (groups, again) = push(&node, pushed);
    for (n, person) in again[..4].iter().enumerate() {
        node.leave(&groups[n % 2], &[person]);
    }
    settle(&stage, &node);
    stage.assert_only_revoked(&BTreeSet::new(), "before the order");

    let plan = planned(&stage.world, &node);
    let strangers = stage.names_of(&stage.people[..10]);
    let unwanted = stage.names_of(&stage.people[..14]);
    let named = |is_so: fn(&RecoveredInto) -> bool| -> BTreeSet<Uuid> {
        plan.lost.iter().filter(|lost| is_so(&lost.into)).map(|lost| lost.assignment.uuid()).collect()
    };
    assert_eq!((plan.lost.len(), plan.foreign), (500, FOREIGN));
    assert_eq!(named(|into| matches!(into, RecoveredInto::Stranger(_))), strangers);
    assert_eq!(plan.lost.iter().filter(|lost| !lost.is_wanted).count(), unwanted.len());
    node.carry_out(recover(&plan));
    settle(&stage, &node);
    // Paused: whoever is still known keeps everything, and those who are gone lose it.
    stage.assert_only_revoked(&strangers, "in the pause");
    node.carry_out(OrderVerb::Resume);
    settle(&stage, &node);

    stage.assert_only_revoked(&unwanted, "after the pause");
    stage.assert_recovered(&node, &again[4..], "after the pause");
    // Nothing is kept of the people who were only known to Azure, and their object ids are free.
    for person in &stage.people[..10] {
        assert!(!keys(&node).iter().any(|key| key == &format!("p:{}", person.principal)));
    }
}

/// The ledger is lost first, and the record afterwards: no one wants what Azure still holds.
#[test]
fn what_is_held_by_a_record_that_is_gone_is_said_to_be_revoked() {
    let stage = Stage::set(4, 1);
    lose(&stage.world, &stage.node, |key| key.starts_with("l:"));
    stage.node.delete_user(&stage.people[0]);
    stage.node.settle();
    let unwanted = stage.names_of(&stage.people[..1]);
    let plan = stage.plan();
    let revoked: BTreeSet<Uuid> =
        plan.lost.iter().filter(|lost| !lost.is_wanted).map(|lost| lost.assignment.uuid()).collect();
    assert_eq!(revoked, unwanted, "{plan:?}");
    stage.node.carry_out(recover(&plan));
    settle(&stage, &stage.node);
    stage.assert_only_revoked(&unwanted, "after the order");
    stage.assert_recovered(&stage.node, &stage.people[1..], "after the order");
}

#[test]
fn a_scope_that_azure_does_not_list_keeps_nothing_else_from_being_recovered() {
    let stage = Stage::set(4, 1);
    lose(&stage.world, &stage.node, |key| key.starts_with("l:"));
    let fail = FaultAction::Fail {
        status: 403,
        code: "AuthorizationFailed".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    let west = Scope::parse(VAULT_WEST).unwrap();
    let refused = FaultRule::new(fail).method(CallMethod::List).scope(west);
    let rule = stage.world.azure().add_rule(refused).unwrap();
    let plan = stage.plan();
    assert_eq!(plan.unlisted.len(), 1, "{plan:?}");
    assert!(plan.lines().contains(&format!("unlisted {}", plan.unlisted[0].folded())));
    assert!((1..4).contains(&plan.lost.len()), "{plan:?}");
    let outcome = stage.node.order(recover(&plan));
    assert!(!outcome.is_refused && outcome.detail.contains("1 scopes were not listed"), "{outcome:?}");
    settle(&stage, &stage.node);

    stage.world.azure().remove_rule(rule).unwrap();
    // Who is reconciled for another reason meanwhile is granted the same once more, under the same name.
    settle(&stage, &stage.node);
    let deleted = stage.world.azure().calls().iter().any(|call| call.method == CallMethod::Delete);
    assert!(!deleted, "something was taken away");
    assert_eq!(foreign_of(&stage.world, &stage.ours), stage.foreign);
    stage.assert_recovered(&stage.node, &stage.people, "once it is listed");
}

#[test]
fn an_order_with_the_hash_of_an_older_plan_changes_nothing() {
    let stage = Stage::set(6, 2);
    lose(&stage.world, &stage.node, |key| key.starts_with("l:"));
    let plan = stage.plan();
    stage.node.leave(&stage.groups[1], &[&stage.people[1]]);
    stage.node.settle();
    let before = keys(&stage.node);

    let outcome = stage.node.order(recover(&plan));

    let now = stage.plan();
    assert!(outcome.is_refused && outcome.detail.contains(&now.hash()), "{outcome:?}");
    assert_ne!(now.hash(), plan.hash());
    stage.assert_only_revoked(&BTreeSet::new(), "refused");
    let of_order = |key: &&String| !key.starts_with("j:") && !key.starts_with("o:");
    let rows = |keys: &[String]| keys.iter().filter(of_order).cloned().collect::<Vec<_>>();
    assert_eq!(rows(&keys(&stage.node)), rows(&before));
    // The one of now is carried out; and once nothing is lost, there is nothing to order.
    stage.node.carry_out(recover(&now));
    settle(&stage, &stage.node);
    let again = stage.node.order(recover(&now));
    assert!(again.is_refused && again.detail.contains("nothing of ours was lost"), "{again:?}");
}

#[test]
fn nothing_is_recovered_while_the_state_is_lost() {
    let stage = Stage::set(4, 1);
    lose(&stage.world, &stage.node, |key| key.starts_with("l:"));
    let plan = stage.plan();
    lose_table(&stage.world, &stage.node);
    let (node, _) = start_deployed(&stage.world);
    node.settle();
    let placed = node.place(recover(&plan));
    settle(&stage, &node);
    assert!(node.outcome(placed).is_none(), "it waits until there is a state");
    stage.assert_only_revoked(&BTreeSet::new(), "while it waits");
}

/// A small stage whose ledger is lost, one who left, one whom no record knows, and the order.
fn small() -> (Stage, OpId, BTreeSet<Uuid>) {
    let stage = Stage::set(5, 2);
    lose(&stage.world, &stage.node, |key| key.starts_with("l:"));
    stage.node.leave(&stage.groups[0], &[&stage.people[0]]);
    // A record that is gone with its principal.
    let id = stage.people[1].id.clone();
    lose(&stage.world, &stage.node, |key| {
        key.contains(&id) || key == format!("p:{}", stage.people[1].principal)
    });
    stage.node.settle();
    let unwanted = stage.names_of(&stage.people[..2]);
    let plan = stage.plan();
    assert_eq!(plan.lost.iter().filter(|lost| !lost.is_wanted).count(), 2, "{plan:?}");
    let order = stage.node.place(recover(&plan));
    stage.world.faults.reset();
    (stage, order, unwanted)
}

#[track_caller]
fn check(stage: &Stage, node: &Node, order: OpId, unwanted: &BTreeSet<Uuid>, what: &str) {
    for _ in 0..4 {
        node.settle();
        stage.world.pass(200);
    }
    node.settle();
    let outcome = node.outcome(order).unwrap();
    assert!(!outcome.is_refused, "{what}: {outcome:?}");
    stage.assert_only_revoked(unwanted, what);
    stage.assert_recovered(node, &stage.people[2..], what);
    assert!(!keys(node).iter().any(|key| key.starts_with("i:")), "{what}: a job is left");
    assert_eq!(node.audit_of("assignment-recovered").len(), 5, "{what}: each once");
}

fn counts() -> Counts {
    let (stage, order, unwanted) = small();
    stage.node.run(stage.node.service.tick.run()).unwrap();
    let counts = stage.world.faults.counts();
    check(&stage, &stage.node, order, &unwanted, "undisturbed");
    counts
}

#[test]
fn an_order_whose_ticks_die_anywhere_recovers_everything_once() {
    for (call, when, side) in counts().crashes(17) {
        let (mut stage, order, unwanted) = small();
        let point = stage.world.faults.crash(when, side);
        let tick = stage.node.service.tick.clone();
        let running = stage.node.spawn(async move { tick.run().await });
        stage.node.run(async {
            tokio::select! {
                () = point.reached() => {}
                _ = running => {}
            }
        });
        stage.node.until_quiet(0);
        stage.world.revive();
        // The ops of two processes list in order only if their times differ.
        stage.world.pass(1);
        let (node, _) = start_deployed(&stage.world);
        check(&stage, &node, order, &unwanted, &call);
    }
}

#[test]
fn an_order_is_carried_out_once_while_two_processes_tick() {
    for (call, when) in counts().moments(29) {
        let (mut stage, order, unwanted) = small();
        let faults = stage.world.faults.clone();
        let point = faults.hold(when, Side::Before);
        let tick = stage.node.service.tick.clone();
        let running = stage.node.spawn(async move { tick.run().await });
        stage.node.run(async {
            tokio::select! {
                () = point.reached() => {}
                _ = running => {}
            }
        });
        stage.world.revive();
        stage.world.pass(1);
        let (other, _) = start_deployed(&stage.world);
        other.settle();
        point.release();
        stage.node.until_quiet(0);
        check(&stage, &other, order, &unwanted, &call);
    }
}
