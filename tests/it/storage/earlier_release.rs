//! State that the release before this one wrote is read and served: `earlier_release.json` holds the rows as that release left
//! them, with a leaver and a deleted person behind a lock, a deactivation, a join and a group's delete of a process that died.

use crate::storage::azurite;
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World};
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::engine::with_clock::WithClock;
use azure_backup_scim::ports::tables::{PropertyValue, TableOps, TableWrite};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::simulator::{HandMade, LockLevel, Scope};
use serde_json::Value;
use std::sync::Arc;
use tokio::runtime::Runtime;
use uuid::Uuid;

const STATE: &str = include_str!("earlier_release.json");
/// Rows of one transaction.
const PART: usize = 90;

struct Earlier {
    state: Value,
    world: World,
}

impl Earlier {
    /// The rows in these tables, and Azure as it was.
    fn on(world: World) -> Self {
        let state: Value = serde_json::from_str(STATE).unwrap();
        let runtime = Runtime::new().unwrap();
        let rows: Vec<TableWrite> = state["rows"].as_array().unwrap().iter().map(row).collect();
        for part in rows.chunks(PART) {
            runtime.block_on(world.faults.transact("default", part)).unwrap();
        }
        let azure = world.azure();
        for held in state["azure"].as_array().unwrap() {
            let scope = Scope::parse(held["scope"].as_str().unwrap()).unwrap();
            let made = HandMade::new(scope, held["role"].as_str().unwrap(), uuid(&held["principal"]));
            azure.make_assignment(&HandMade { name: Some(uuid(&held["name"])), ..made }).unwrap();
        }
        azure.add_lock(&Scope::parse(VAULT_EAST).unwrap(), LockLevel::CanNotDelete).unwrap();
        world.pass(1200);
        Self { state, world }
    }

    fn person(&self, name: &str) -> Person {
        let [id, principal] = [0, 1].map(|at| self.state["people"][name][at].as_str().unwrap().to_owned());
        Person { id, principal: Uuid::parse_str(&principal).unwrap() }
    }

    fn start(&self) -> Node {
        self.world.start_without_bindings(Default::default(), std::time::Duration::from_secs(45))
    }

    /// What the rows say is answered, carried out, and known to the audit.
    fn assert_is_served(&self) {
        let node = self.start();
        let [ana, ben, cleo, eve] = ["ana", "ben", "cleo", "eve"].map(|name| self.person(name));
        let waiting = node.grants_of(&ben);
        assert_eq!((&waiting[0]["wanted"], &waiting[0]["reason"]), (&false.into(), &"scope-locked".into()));
        node.settle();
        self.world.assert_holds(&eve, Reader, VAULT_WEST);
        assert!(!self.world.holds(&ana, Reader, VAULT_WEST), "the lock is not there");
        for leaver in [&ana, &ben, &cleo] {
            self.world.assert_holds(leaver, Operator, VAULT_EAST);
        }
        assert_eq!(node.service.health.snapshot().overdue.people, 2, "ben and cleo, whose record is gone");
        let azure = self.world.azure();
        azure.locks().iter().for_each(|lock| azure.remove_lock(lock.id).unwrap());
        for _ in 0..3 {
            self.world.pass(700);
            node.settle();
        }
        for leaver in [&ana, &ben, &cleo] {
            self.world.assert_holds_nothing(leaver);
        }
        assert_eq!(node.service.health.snapshot().rows_unreadable, 0);
        let rows = |prefix: &'static str| node.run(node.service.store.rows(prefix, 100)).unwrap().len();
        assert_eq!(["i:", "d:", "dl:"].map(rows), [0, 0, 0], "the job and every request were worked off");
        let kinds = ["resource-created", "member-added", "effect-opened", "setting-changed"];
        for kind in kinds {
            assert!(!node.audit_of(kind).is_empty(), "{kind}");
        }
    }
}

fn uuid(text: &Value) -> Uuid {
    Uuid::parse_str(text.as_str().unwrap()).unwrap()
}

fn row(row: &Value) -> TableWrite {
    let properties = row["properties"].as_object().unwrap().iter();
    let properties = properties.map(|(name, value)| (name.clone(), property(value)));
    TableWrite::Insert { key: row["key"].as_str().unwrap().to_owned(), properties: properties.collect() }
}

fn property(value: &Value) -> PropertyValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "text" => PropertyValue::Text(value.as_str().unwrap().to_owned()),
        "int" => PropertyValue::Int(value.as_i64().unwrap()),
        "bool" => PropertyValue::Bool(value.as_bool().unwrap()),
        _ => PropertyValue::Binary(bytes(value.as_str().unwrap())),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_state_folder_of_the_release_before_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tables.redb");
    let world = World::on(|clock| Arc::new(TableEngine::redb(file, clock).unwrap()));
    Earlier::on(world).assert_is_served();
}

#[test]
fn a_table_of_the_release_before_is_served() {
    let tables: Arc<dyn TableOps> =
        Arc::new(Runtime::new().unwrap().block_on(azurite::fresh(&azurite::connection_string())));
    Earlier::on(World::on(|clock| Arc::new(WithClock::new(tables, clock)))).assert_is_served();
}
