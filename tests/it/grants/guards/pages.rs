//! Ranges of any length: what lies beyond the first page counts.

use super::{Pair, group_id};
use crate::support::fault_injection::{Fault, When};
use crate::support::harness::{VAULT_EAST, VAULT_WEST, binding};
use crate::support::rows::{ledger_row, nonsense, only, with_text, write};
use azure_backup_scim::id::GroupId;
use azure_backup_scim::ports::tables::TableWrite;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::store::pins::{self, SelectorKey};
use uuid::Uuid;

/// More rows than two pages hold.
const MANY: u128 = 2_100;

#[test]
fn a_person_s_pins_and_rows_beyond_the_first_pages_of_the_ledger_count() {
    let pair = Pair::new();
    let (group, ana) = pair.granted();
    let row = ledger_row(&pair.one.node, &ana.id);
    let gone = with_text(row.clone(), "state", "gone").properties;
    let before = (0..MANY).map(|n| format!("l:{}:{}", ana.id, Uuid::from_u128(n)));
    let rows: Vec<TableWrite> =
        before.map(|key| TableWrite::Insert { key, properties: gone.clone() }).collect();
    write(&pair.world, &pair.one.node, &rows);
    assert!(rows.iter().all(|other| *other.key() < *row.key), "her own row and her pin come last");
    pair.two.node.leave(&group, &[&ana]);
    pair.one.look(&ana);
    pair.world.assert_holds_nothing(&ana);
}

#[test]
fn a_ledger_in_short_and_empty_pages_is_read_to_its_end() {
    let pair = Pair::new();
    let (group, ana) = pair.granted();
    let range = || When::page().key(&format!("l:{}:", ana.id));
    pair.one.faults.inject(range().always(), Fault::ShortPage { rows_max: 1 });
    pair.one.faults.inject(range().nth(2).times(2), Fault::EmptyPage);
    pair.two.node.leave(&group, &[&ana]);
    pair.one.look(&ana);
    pair.world.assert_holds_nothing(&ana);
}

/// Where it is not known what the former bindings were, the members of every pinned group are looked at.
#[test]
fn every_pin_counts_where_the_former_bindings_cannot_be_read() {
    let pair = Pair::new();
    let (group, ana) = pair.granted();
    let node = &pair.one.node;
    let real = only(node, "b:");
    let op = node.service.store.ids.op();
    let pin = |n: u128| {
        let group = GroupId::new(Uuid::new_v4());
        let value = format!("other-{n}");
        pins::pin_selector(SelectorKey::of("externalId", &value), "externalId", &value, group, op, None)
    };
    let pins = (0..).flat_map(pin).filter(|row| row.key().starts_with("b:"));
    let rows: Vec<TableWrite> = pins.filter(|other| *other.key() < *real.key).take(MANY as usize).collect();
    assert_eq!(rows.len(), MANY as usize);
    write(&pair.world, node, &rows);
    let pinned = pair.one.run(node.service.store.pinned_groups()).unwrap();
    assert!(pinned.contains(&group_id(&group)) && pinned.len() as u128 == MANY + 1);

    pair.world.pass(60);
    write(&pair.world, node, &[nonsense(&only(node, "c:").key)]);
    node.adopt(&[binding(9, "readers", Reader, VAULT_WEST)]);
    let unfinished = || !pair.one.rows("i:").is_empty() || !pair.one.rows("dg:").is_empty();
    for _ in 0..100 {
        pair.one.run(node.service.tick.run()).unwrap();
        if !unfinished() {
            break;
        }
    }
    assert!(!unfinished());
    assert!(!pair.world.holds(&ana, Operator, VAULT_EAST));
}
