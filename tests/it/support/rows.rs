//! Rows that a test writes past the service: broken ones, and what a former or a later release left.

use crate::support::harness::{Node, World};
use azure_backup_scim::ports::tables::{EtagMatch, PropertyValue, TableOps, TableRow, TableWrite};
use azure_backup_scim::simulator::ArmLimits;
use azure_backup_scim::store::codec::RowFields;

/// Without Azure's allowances, which these tests are not about.
pub fn quiet(world: World) -> World {
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    world
}

/// A row that cannot be read.
pub fn nonsense(key: &str) -> TableWrite {
    TableWrite::InsertOrReplace {
        key: key.to_owned(),
        properties: RowFields::row().text("nonsense", "x").done(),
    }
}

/// A row of a release that is further ahead.
pub fn of_a_later_release(key: &str) -> TableWrite {
    TableWrite::InsertOrReplace { key: key.to_owned(), properties: RowFields::some().int("v", 2).done() }
}

pub fn write(world: &World, node: &Node, rows: &[TableWrite]) {
    for part in rows.chunks(100) {
        node.run(world.faults.transact("default", part)).unwrap();
    }
}

pub fn delete(world: &World, node: &Node, key: &str) {
    write(world, node, &[TableWrite::Delete { key: key.to_owned(), condition: EtagMatch::Any }]);
}

/// The row as it was, again.
pub fn restore(world: &World, node: &Node, row: TableRow) {
    write(world, node, &[TableWrite::InsertOrReplace { key: row.key, properties: row.properties }]);
}

/// The only row whose key begins so.
#[track_caller]
pub fn only(node: &Node, prefix: &str) -> TableRow {
    let mut rows = node.run(node.service.store.rows(prefix, 10)).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

/// The ledger row of a person's only assignment.
#[track_caller]
pub fn ledger_row(node: &Node, person: &str) -> TableRow {
    let rows = node.run(node.service.store.rows(&format!("l:{person}:"), 10)).unwrap();
    let mut rows: Vec<TableRow> =
        rows.into_iter().filter(|row| row.properties.contains_key("state")).collect();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

/// A row with one more, or another, text in it.
pub fn with_text(mut row: TableRow, name: &str, text: &str) -> TableRow {
    row.properties.insert(name.to_owned(), PropertyValue::Text(text.to_owned()));
    row
}

/// Hours go by, with a tick now and then.
pub fn later(world: &World, node: &Node) {
    for _ in 0..4 {
        node.settle();
        world.pass(3700);
    }
    node.settle();
}
