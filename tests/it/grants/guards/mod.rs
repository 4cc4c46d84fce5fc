//! The rules that hold the promise where two meet: each test holds a call of one process, lets something else happen, and
//! delivers. Without its rule each of them fails.

mod clocks;
mod close;
mod members;
mod open;
mod pages;
mod principals;
mod promotion;
mod scopes;
mod sweep;

use crate::support::fault_injection::{Faults, Point, Side, When};
use crate::support::harness::{Node, Person, VAULT_EAST, World};
use crate::support::rows::quiet;
use azure_backup_scim::app;
use azure_backup_scim::id::{GroupId, UserId};
use azure_backup_scim::ports::tables::TableRow;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::rbac::ledger::LedgerEntry;
use azure_backup_scim::service::reconcile::{EffectLimits, ReconcileOutcome, Reconciler};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule, RecordedCall};
use azure_backup_scim::store::ledger;
use secrecy::SecretString;
use serde_json::json;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longer than anything takes that ends at all.
const PATIENCE: Duration = Duration::from_secs(25);

/// One process: what it changes is looked at only when the test says so.
struct Process {
    node: Node,
    faults: Arc<Faults>,
    reconciler: Reconciler,
}

impl Process {
    fn start(world: &mut World) -> Self {
        world.revive();
        let node = world.start_with(InlineLimits { wait: Duration::ZERO, people_max: 0 });
        let service = &node.service;
        let token = SecretString::from("simulated");
        let arm = app::arm(&world.arm_url(), token, Arc::new(world.clock.clone())).unwrap();
        let (store, active_bindings) = (service.store.clone(), service.active_bindings.clone());
        let reconciler =
            Reconciler::new(store, arm, active_bindings, service.health.clone(), EffectLimits::default());
        Self { faults: world.faults.clone(), node, reconciler }
    }

    /// Runs something to its end, which comes soon.
    #[track_caller]
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let ended = self.node.run(async { tokio::time::timeout(PATIENCE, future).await });
        ended.expect("this should have ended by now")
    }

    /// Looks at a person until nothing is left to do at once.
    #[track_caller]
    fn look(&self, person: &Person) -> ReconcileOutcome {
        self.run(self.reconciler.reconcile(user(person))).unwrap()
    }

    fn begin_look(&self, person: &Person) -> Begun<ReconcileOutcome> {
        let (reconciler, user) = (self.reconciler.clone(), user(person));
        Begun(self.node.spawn(async move { reconciler.reconcile(user).await.unwrap() }))
    }

    fn begin<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Begun<T> {
        Begun(self.node.spawn(work))
    }

    #[track_caller]
    fn end<T>(&self, begun: Begun<T>) -> T {
        self.run(begun.0).unwrap()
    }

    /// Waits until a call has come to that place.
    #[track_caller]
    fn reached(&self, point: &Point) {
        self.run(point.reached());
    }

    /// Holds the next transaction that writes a row with that key, or one that begins so.
    fn hold_write(&self, key: &str, side: Side) -> Point {
        self.faults.hold(When::transact().key(key), side)
    }

    fn get(&self, key: &str) -> Option<TableRow> {
        self.run(self.node.service.store.get(key)).unwrap()
    }

    fn rows(&self, prefix: &str) -> Vec<TableRow> {
        self.run(self.node.service.store.rows(prefix, 10_000)).unwrap()
    }

    /// A change that takes nothing marks a person.
    fn mark(&self, person: &Person, title: &str) {
        self.node.patch_user(&person.id, json!({"op": "add", "path": "title", "value": title}));
    }

    fn is_marked(&self, person: &Person) -> bool {
        self.get(&look_now(person)).is_some()
    }

    /// What the ledger says of a person's only assignment.
    #[track_caller]
    fn entry(&self, person: &Person) -> LedgerEntry {
        let rows = self.rows(&format!("l:{}:", person.id));
        let entries: Vec<LedgerEntry> = rows.iter().filter_map(|row| ledger::read_entry(row).ok()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.into_iter().next().unwrap()
    }
}

/// Something that goes on in a process.
struct Begun<T>(JoinHandle<T>);

/// Two processes on one world.
struct Pair {
    world: World,
    one: Process,
    two: Process,
}

impl Pair {
    fn on(mut world: World) -> Self {
        let one = Process::start(&mut world);
        let two = Process::start(&mut world);
        Self { world, one, two }
    }

    /// With one binding, of the group `operators`.
    fn new() -> Self {
        Self::on(quiet(World::new().bind("operators", Operator, VAULT_EAST)))
    }

    /// The bound group, and a person in it whom no process has looked at yet.
    fn joined(&self) -> (String, Person) {
        let group = self.one.node.group("operators");
        let ana = self.one.node.provision("ana");
        self.one.node.join(&group, &[&ana]);
        (group, ana)
    }

    /// The same person, who holds the role.
    fn granted(&self) -> (String, Person) {
        let (group, ana) = self.joined();
        self.one.look(&ana);
        self.world.assert_holds(&ana, Operator, VAULT_EAST);
        self.world.azure().clear_calls();
        (group, ana)
    }

    /// A look of process two whose call is kept in the network.
    fn begin_held(&self, person: &Person, method: CallMethod) -> Begun<ReconcileOutcome> {
        self.world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(method).times(1)).unwrap();
        let look = self.two.begin_look(person);
        self.world.until_held(&self.two.node);
        look
    }

    /// The call that is kept in the network arrives, and is answered.
    fn deliver(&self) {
        let held = self.world.azure().held();
        assert_eq!(held.len(), 1, "{held:?}");
        self.world.azure().deliver(held[0].number).unwrap();
    }

    fn calls(&self, method: CallMethod) -> Vec<RecordedCall> {
        self.world.azure().calls().into_iter().filter(|call| call.method == method).collect()
    }
}

fn user(person: &Person) -> UserId {
    UserId::parse(&person.id).unwrap()
}

fn group_id(group: &str) -> GroupId {
    GroupId::parse(group).unwrap()
}

fn look_now(person: &Person) -> String {
    format!("d:{}", person.id)
}

/// Whether a mark, or what else has such a property, says so.
fn says(row: &TableRow, flag: &str) -> bool {
    use azure_backup_scim::ports::tables::PropertyValue;
    row.properties.get(flag) == Some(&PropertyValue::Bool(true))
}
