//! The state into a file and out of it: row by row the same, whatever was killed in between, and nothing is written of a file that
//! is not whole.

use crate::storage::azurite;
use crate::support::clock::ManualClock;
use crate::support::fault_injection::{Fault, Faults, Side, When};
use crate::support::harness::{Node, START, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::{nonsense, quiet};
use azure_backup_scim::adapters::clock::SystemClock;
use azure_backup_scim::adapters::ids::RandomIds;
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::id::{InstanceId, PrincipalId};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::tables::{RowProperties, TableOps, TableWrite};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::state::export::{StateExportError, export};
use azure_backup_scim::service::state::restore::{
    CheckedFile, RestoreError, RestoreRequest, Restored, check, restore,
};
use azure_backup_scim::store::codec::RowFields;
use azure_backup_scim::store::state_copy::RestoreMarker;
use azure_backup_scim::store::state_file::FileRow;
use azure_backup_scim::store::{StateStore, StoreError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Cursor};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const DAY: u64 = 86_400;

type Rows = BTreeMap<String, RowProperties>;

/// Rows of every kind: people and groups, ledgers with pins and waits, requests, jobs, orders, bindings, a sealed audit.
fn lived() -> (World, Node) {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start();
    let (operators, readers) = (node.group("operators"), node.group("readers"));
    let people: Vec<_> = (0..60).map(|n| node.provision(&format!("p{n} \u{e9}\u{1f600}"))).collect();
    node.join(&operators, &people.iter().take(40).collect::<Vec<_>>());
    node.join(&readers, &people.iter().skip(30).take(20).collect::<Vec<_>>());
    node.nest(&operators, &readers);
    node.settle();
    node.leave(&operators, &[&people[0]]);
    node.delete_user(&people[1]);
    node.carry_out(OrderVerb::Revoke { principal: PrincipalId::new(people[2].principal) });
    world.pass(2 * DAY);
    node.settle();
    node.settle();
    (world, node)
}

fn rows_of(store: &StateStore, run: impl Fn(&StateStore) -> Vec<(String, RowProperties)>) -> Rows {
    run(store).into_iter().collect()
}

async fn all_rows(store: &StateStore) -> Vec<(String, RowProperties)> {
    let mut all = Vec::new();
    let mut pages = store.every_row();
    while let Some(rows) = pages.next().await.unwrap() {
        all.extend(rows.into_iter().map(|row| (row.key, row.properties)));
    }
    all
}

async fn exported(store: &StateStore) -> Vec<u8> {
    let mut file = Vec::new();
    let footer = export(store, &mut file, &|_| {}).await.unwrap();
    assert!(footer.exact);
    file
}

fn request() -> RestoreRequest {
    RestoreRequest {
        who: "olga".to_owned(),
        because: "the table was deleted".to_owned(),
        accepts_inexact: false,
        instance: None,
    }
}

async fn restored_with(
    store: &StateStore,
    file: &[u8],
    request: &RestoreRequest,
) -> Result<Restored, RestoreError> {
    let open = || -> io::Result<Box<dyn BufRead>> { Ok(Box::new(Cursor::new(file.to_vec()))) };
    restore(store, &open, request, &|_, _| {}).await
}

async fn restored(store: &StateStore, file: &[u8]) -> Result<Restored, RestoreError> {
    restored_with(store, file, &request()).await
}

fn checked(file: &[u8]) -> Result<CheckedFile, RestoreError> {
    let open = || -> io::Result<Box<dyn BufRead>> { Ok(Box::new(Cursor::new(file.to_vec()))) };
    check(&open, &|_, _| {})
}

/// An empty table, its faults, and the store on it.
fn empty() -> (Arc<Faults>, StateStore) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
    let faults = Faults::new(Arc::new(TableEngine::memory(clock.clone())));
    let store = store_on(faults.clone(), clock);
    (faults, store)
}

fn store_on(tables: Arc<dyn TableOps>, clock: Arc<dyn Clock>) -> StateStore {
    let ids = Arc::new(RandomIds::new(clock.clone()));
    StateStore::new(tables, "default".to_owned(), clock, ids)
}

/// The rows without those that the end of a restore wrote, which it did once.
#[track_caller]
fn without_end_of_restore(mut rows: Rows) -> Rows {
    let is_end = |key: &String, row: &RowProperties| {
        let text = format!("{row:?}");
        key == "s:pause"
            || key.starts_with("o:") && text.contains("state-restore")
            || key.starts_with("j:") && changes(row).contains("state-restored")
    };
    let before = rows.len();
    rows.retain(|key, row| !is_end(key, row));
    assert_eq!(before - rows.len(), 3, "the pause, the outcome and the record");
    rows
}

fn changes(row: &RowProperties) -> String {
    row.values()
        .filter_map(|value| match value {
            azure_backup_scim::ports::tables::PropertyValue::Binary(bytes) => {
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
            _ => None,
        })
        .collect()
}

/// Facts: F-192.
#[test]
fn a_restored_state_is_the_state_before_row_by_row() {
    let (_world, node) = lived();
    let before: Rows = node.run(all_rows(&node.service.store)).into_iter().collect();
    let kinds: Vec<&str> =
        ["ac:", "ah:", "b:", "bg:", "c:", "g:", "j:", "l:", "m:", "n:", "o:", "p:", "s:", "t:"]
            .into_iter()
            .filter(|kind| !before.keys().any(|key| key.starts_with(kind)))
            .collect();
    assert!(kinds.is_empty(), "the state has rows of every kind but {kinds:?}");
    let file = node.run(exported(&node.service.store));

    let (_faults, store) = empty();
    let done = node.run(restored(&store, &file)).unwrap();

    assert_eq!(done, Restored::Now { rows: before.len() as u64 });
    let after = without_end_of_restore(node.run(all_rows(&store)).into_iter().collect());
    assert_eq!(after, before);
}

#[test]
fn a_restore_is_recorded_with_its_file_and_leaves_the_service_paused() {
    let (_world, node) = lived();
    let file = node.run(exported(&node.service.store));
    let (_faults, store) = empty();
    node.run(restored(&store, &file)).unwrap();

    let records = node.run(store.audit(None, 100_000)).unwrap();
    let of_restore = |record: &&Value| record["changes"][0]["kind"] == "state-restored";
    let restoring: Vec<&Value> = records.iter().filter(of_restore).collect();
    let [record] = restoring[..] else { panic!("{restoring:?}") };
    let footer = checked(&file).unwrap().footer;
    assert_eq!(record["actor"], "olga");
    assert_eq!(record["changes"][0]["hash"], footer.sha256);
    assert_eq!(record["changes"][0]["rows"], footer.rows);
    assert!(node.run(store.levers()).unwrap().pause.is_some());
    // The same file once more is no mistake, and nothing is written.
    let before = node.run(all_rows(&store));
    assert_eq!(node.run(restored(&store, &file)).unwrap(), Restored::Before);
    assert_eq!(node.run(all_rows(&store)), before);
}

#[test]
fn killed_at_every_write_and_run_again_the_state_is_equal() {
    let (_world, node) = lived();
    let before: Rows = node.run(all_rows(&node.service.store)).into_iter().collect();
    let file = node.run(exported(&node.service.store));
    let (faults, store) = empty();
    node.run(restored(&store, &file)).unwrap();
    let transactions = faults.counts().transactions;
    assert!(transactions > 5, "{transactions}");

    for number in 1..=transactions {
        for side in [Side::Before, Side::After] {
            let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
            let tables: Arc<dyn TableOps> = Arc::new(TableEngine::memory(clock.clone()));
            let faults = Faults::new(tables.clone());
            let died = faults.crash(When::transact().nth(number), side);
            let dying = store_on(faults, clock.clone());
            node.run(async {
                tokio::select! {
                    () = died.reached() => {}
                    done = restored(&dying, &file) => panic!("{done:?} before transaction {number}"),
                }
            });
            let store = store_on(tables, clock);
            let done = node.run(restored(&store, &file)).unwrap();
            let at_the_end = number == transactions && side == Side::After;
            assert_eq!(done == Restored::Before, at_the_end, "{side:?} transaction {number}");
            let after = without_end_of_restore(node.run(all_rows(&store)).into_iter().collect());
            assert_eq!(after, before, "{side:?} transaction {number}");
        }
    }
}

#[test]
fn answers_that_are_lost_and_a_busy_table_change_nothing() {
    let (_world, node) = lived();
    let before: Rows = node.run(all_rows(&node.service.store)).into_iter().collect();
    let file = node.run(exported(&node.service.store));
    let (faults, store) = empty();
    for number in [2, 5, 7] {
        faults.inject(When::transact().nth(number), Fault::AnswerLost);
    }
    faults.inject(When::transact().nth(4), Fault::Throttled { retry_after: Duration::ZERO });
    faults.inject(When::transact().nth(9), Fault::RequestLost);
    node.run(restored(&store, &file)).unwrap();
    let after = without_end_of_restore(node.run(all_rows(&store)).into_iter().collect());
    assert_eq!(after, before);
}

/// The call of a run whose machine slept, or one that the network kept.
#[test]
fn what_comes_late_writes_nothing_over_the_state() {
    let (_world, node) = lived();
    let file = node.run(exported(&node.service.store));
    let (faults, store) = empty();
    let late = faults.delay(When::transact().nth(3));
    let CheckedFile { header, footer, .. } = checked(&file).unwrap();
    let marker = RestoreMarker { file: footer.sha256, rows: footer.rows, exported: header.exported };
    let overtaken = node.run(store.begin_restore(&marker, Vec::new())).unwrap();

    node.run(restored(&store, &file)).unwrap();
    let before = node.run(all_rows(&store));
    node.run(async {
        late.reached().await;
        late.release();
        late.reached().await;
    });
    let stray = RowFields::row().text("name", "late").done();
    let stray = [FileRow { key: "n:late".to_owned(), properties: stray }];
    for _ in 0..2 {
        let refused = node.run(store.write_rows(&overtaken, &stray));
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(node.run(all_rows(&store)), before);
}

/// Two operators restore the same file: one of them ends it.
#[test]
fn a_run_that_another_one_goes_on_with_ends() {
    let (_world, node) = lived();
    let before: Rows = node.run(all_rows(&node.service.store)).into_iter().collect();
    let file = node.run(exported(&node.service.store));
    let (faults, store) = empty();
    let held = faults.hold(When::transact().nth(4), Side::Before);
    let (first, second) = node.run(async {
        let second = async {
            held.reached().await;
            let done = restored(&store, &file).await;
            held.release();
            done
        };
        tokio::join!(restored(&store, &file), second)
    });
    assert!(matches!(first, Err(RestoreError::Overtaken)), "{first:?}");
    second.unwrap();
    let after = without_end_of_restore(node.run(all_rows(&store)).into_iter().collect());
    assert_eq!(after, before);
}

#[test]
fn a_file_that_is_not_whole_is_refused_and_nothing_is_written() {
    let (_world, node) = lived();
    let file = node.run(exported(&node.service.store));
    let (faults, store) = empty();
    let mut wrong: Vec<(String, Vec<u8>)> = Vec::new();
    for at in (0..file.len()).step_by(file.len() / 40) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        wrong.push((format!("byte {at}"), changed));
        wrong.push((format!("cut off at {at}"), file[..at].to_vec()));
    }
    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    for at in (0..lines.len()).step_by(lines.len() / 20) {
        let mut fewer = lines.clone();
        fewer.remove(at);
        wrong.push((format!("without line {at}"), fewer.concat()));
    }
    for (what, file) in wrong {
        let refused = node.run(restored(&store, &file));
        assert!(matches!(refused, Err(RestoreError::File(_))), "{what}: {refused:?}");
    }
    assert_eq!(faults.counts().transactions, 0);
    assert!(node.run(all_rows(&store)).is_empty());
}

#[test]
fn a_file_of_another_tenant_or_installation_is_refused_and_nothing_is_written() {
    let (_world, node) = lived();
    let file = node.run(exported(&node.service.store));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
    let faults = Faults::new(Arc::new(TableEngine::memory(clock.clone())));
    let ids = Arc::new(RandomIds::new(clock.clone()));
    let other = StateStore::new(faults.clone(), "contoso".to_owned(), clock, ids);
    let refused = node.run(restored(&other, &file));
    assert!(matches!(refused, Err(RestoreError::Tenant { .. })), "{refused:?}");
    assert_eq!(faults.counts().transactions, 0);

    let (faults, store) = empty();
    let expecting = RestoreRequest { instance: Some(InstanceId::new(Uuid::from_u128(7))), ..request() };
    let refused = node.run(restored_with(&store, &file, &expecting));
    assert!(matches!(refused, Err(RestoreError::Instance { .. })), "{refused:?}");
    assert_eq!(faults.counts().transactions, 0);
    let own = node.run(node.service.store.known_instance()).unwrap();
    assert!(node.run(restored_with(&store, &file, &RestoreRequest { instance: own, ..request() })).is_ok());
}

#[test]
fn a_table_with_rows_is_left_alone() {
    let (_world, node) = lived();
    let file = node.run(exported(&node.service.store));
    let (faults, store) = empty();
    node.run(faults.transact("default", &[nonsense("u:stray")])).unwrap();
    let refused = node.run(restored(&store, &file));
    assert!(matches!(&refused, Err(RestoreError::InUse { key }) if key == "u:stray"), "{refused:?}");
    assert_eq!(node.run(all_rows(&store)).len(), 1);
    // A busy service is no empty table either.
    let refused = node.run(restored(&node.service.store, &file));
    assert!(matches!(refused, Err(RestoreError::InUse { .. })), "{refused:?}");
}

#[test]
fn what_is_written_between_the_rows_is_found_and_the_restore_does_not_end() {
    let (_world, node) = lived();
    let file = node.run(exported(&node.service.store));
    let (faults, store) = empty();
    let point = faults.hold(When::page().nth(2), Side::Before);
    let refused = node.run(async {
        let meddling = async {
            point.reached().await;
            faults.transact("default", &[nonsense("u:stray")]).await.unwrap();
            point.release();
        };
        tokio::join!(restored(&store, &file), meddling).0
    });
    assert!(matches!(&refused, Err(RestoreError::Differs { key }) if key == "u:stray"), "{refused:?}");
    // It is still not a state: another file cannot go over it.
    node.provision("another");
    let other = node.run(exported(&node.service.store));
    assert!(checked(&other).unwrap().footer.sha256 != checked(&file).unwrap().footer.sha256);
    let refused = node.run(restored(&store, &other));
    assert!(matches!(refused, Err(RestoreError::OtherRestore { .. })), "{refused:?}");
    let exporting = node.run(async { export(&store, &mut Vec::new(), &|_| {}).await.map(|_| ()) });
    assert!(matches!(exporting, Err(StateExportError::Incomplete)), "{exporting:?}");
}

#[test]
fn an_export_while_something_is_written_is_not_called_exact() {
    let (world, node) = lived();
    let store = &node.service.store;
    let row = TableWrite::InsertOrReplace {
        key: "n:late".to_owned(),
        properties: RowFields::row().text("name", "late").done(),
    };
    node.run(world.faults.transact("default", std::slice::from_ref(&row))).unwrap();
    // Between the readings, and during each of them: behind the place where the reading is, and before it.
    let pages = {
        world.faults.reset();
        node.run(exported(store));
        world.faults.counts().pages
    };
    assert!(pages >= 2, "{pages}");
    for page in 2..=pages {
        let point = world.faults.hold(When::page().nth(page), Side::Before);
        let (footer, file) = node.run(async {
            let writing = async {
                point.reached().await;
                world.faults.transact("default", std::slice::from_ref(&row)).await.unwrap();
                point.release();
            };
            let mut file = Vec::new();
            let footer = tokio::join!(export(store, &mut file, &|_| {}), writing).0.unwrap();
            (footer, file)
        });
        assert!(!footer.exact, "page {page} of {pages}");
        let (faults, empty) = empty();
        let refused = node.run(restored(&empty, &file));
        assert!(matches!(refused, Err(RestoreError::Inexact)), "{refused:?}");
        assert_eq!(faults.counts().transactions, 0);
        let accepting = RestoreRequest { accepts_inexact: true, ..request() };
        node.run(restored_with(&empty, &file, &accepting)).unwrap();
    }
}

/// What is read and written grows with the rows, page by page: nothing is read twice but by the second reading and the comparison.
#[test]
fn a_large_state_is_read_in_pages_and_written_in_full_transactions() {
    const ROWS: usize = 20_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (from_faults, from) = empty();
    let (to_faults, to) = empty();
    runtime.block_on(async {
        let row = |n: usize| TableWrite::Insert {
            key: format!("u:{n:08}"),
            properties: RowFields::row().text("name", format!("person {n}")).int("n", n as i64).done(),
        };
        for part in (0..ROWS).collect::<Vec<_>>().chunks(100) {
            let writes: Vec<TableWrite> = part.iter().map(|n| row(*n)).collect();
            from_faults.transact("default", &writes).await.unwrap();
        }
        from_faults.reset();
        let file = exported(&from).await;
        restored(&to, &file).await.unwrap();
        assert_eq!(all_rows(&from).await.len(), ROWS);
    });
    let (read, written) = (from_faults.counts(), to_faults.counts());
    assert_eq!(read.transactions, 0);
    assert!(read.pages <= 3 * (ROWS / 1000 + 1), "{read:?}");
    assert_eq!(written.transactions, ROWS.div_ceil(99) + 2, "a marker, full transactions, an end");
    assert!(written.rows_read <= ROWS + 10, "{written:?}");
}

#[test]
fn an_idle_service_that_ticks_does_not_spoil_an_export() {
    let (world, node) = lived();
    let point = world.faults.hold(When::page().nth(2), Side::Before);
    let footer = node.run(async {
        let ticking = async {
            point.reached().await;
            node.service.tick.run().await.unwrap();
            point.release();
        };
        let mut file = Vec::new();
        tokio::join!(export(&node.service.store, &mut file, &|_| {}), ticking).0.unwrap()
    });
    assert!(footer.exact);
}

#[actix_web::test]
async fn on_azurite_a_restored_state_is_the_state_before() {
    let rows: Rows = tokio::task::spawn_blocking(|| {
        let (_world, node) = lived();
        let rows = rows_of(&node.service.store, |store| node.run(all_rows(store)));
        node.kill();
        rows
    })
    .await
    .unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let connection = azurite::connection_string();
    let from = Arc::new(azurite::fresh(&connection).await);
    let to = Arc::new(azurite::fresh(&connection).await);
    let all: Vec<(&String, &RowProperties)> = rows.iter().collect();
    for part in all.chunks(50) {
        let insert = |(key, properties): &(&String, &RowProperties)| TableWrite::Insert {
            key: (*key).clone(),
            properties: (*properties).clone(),
        };
        from.transact("default", &part.iter().map(insert).collect::<Vec<_>>()).await.unwrap();
    }
    let (from, to) = (store_on(from, clock.clone()), store_on(to, clock));
    let file = exported(&from).await;
    restored(&to, &file).await.unwrap();
    let before: Rows = all_rows(&from).await.into_iter().collect();
    assert_eq!(before, rows);
    let after = without_end_of_restore(all_rows(&to).await.into_iter().collect());
    assert_eq!(after, before);
}
