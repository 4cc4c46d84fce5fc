//! What every table must do, in every implementation: the cases use the trait alone and a partition of their own.
//!
//! [`every_case`] names them all, for the engine in memory and in a file, for Azurite with either signature and with an Entra
//! token over TLS, and for a real account where the environment names one:
//!
//! - `TABLES_TEST_CONNECTION_STRING`: an account and its key, or
//! - `TABLES_TEST_ENDPOINT` (`https://ACCOUNT.table.core.windows.net`) and `TABLES_TEST_TOKEN`, an Entra token for
//!   `https://storage.azure.com`;
//! - `TABLES_TEST_TABLE`: the table, made when missing; `scimtest` if not set. Rows are left there.

use crate::storage::azurite;
use crate::support::clock::ManualClock;
use azure_backup_scim::adapters::credential::Credential;
use azure_backup_scim::adapters::ids::RandomIds;
use azure_backup_scim::adapters::tables::{ConnectionString, TablesAccount};
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::ports::ids::IdSource;
use azure_backup_scim::ports::tables::{
    BINARY_BYTES_MAX, ENTITY_BYTES_MAX, ETag, EtagMatch, KEY_CHARS_MAX, KeyRange, PAGE_BYTES_MAX,
    PAGE_ROWS_MAX, PROPERTIES_MAX, PropertyValue, RowPage, RowProperties, STRING_UNITS_MAX,
    TRANSACTION_OPS_MAX, TableAnswer, TableError, TableOps, TableRow, TableWrite,
};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

macro_rules! suite {
    ($implementation:ident, $start:path: $($case:ident)*) => {
        mod $implementation {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(opened) = $start().await {
                        super::$case(opened.table()).await;
                    }
                }
            )*
        }
    };
}

macro_rules! every_case {
    ($implementation:ident, $start:path) => {
        suite! { $implementation, $start:
            a_row_reads_back_with_every_type
            a_row_that_is_not_there_is_none
            keys_and_names_are_compared_exactly
            an_insert_demands_that_the_row_is_not_there
            a_replace_leaves_only_what_it_brings
            a_merge_keeps_what_it_does_not_name
            an_insert_or_replace_does_either
            an_insert_or_merge_does_either
            a_condition_any_demands_a_row
            a_condition_exact_demands_the_version
            every_write_changes_the_version
            a_transaction_answers_versions_in_the_order_of_its_writes
            a_version_is_not_used_again_after_delete_and_insert
            a_transaction_that_meets_a_row_leaves_nothing
            a_transaction_that_misses_a_row_leaves_nothing
            a_transaction_that_meets_another_version_leaves_nothing
            the_first_write_that_fails_is_named
            a_transaction_has_one_to_a_hundred_writes
            a_transaction_writes_a_row_once
            a_transaction_has_at_most_four_mebibytes
            a_text_has_at_most_32_ki_units
            a_binary_has_at_most_64_ki_bytes
            a_key_has_at_most_512_characters
            a_key_has_no_forbidden_characters
            rows_come_in_order_of_utf16_code_units
            a_range_has_its_lower_bound_and_not_its_upper
            a_range_that_is_empty_has_no_rows
            a_range_stays_in_its_partition
            a_page_has_one_to_a_thousand_rows
            pages_make_up_the_range
            a_page_of_keys_has_the_same_rows_without_properties
            pages_go_on_where_they_ended_while_rows_change
            a_thousand_rows_and_more_take_more_than_a_page
            a_page_of_large_rows_ends_early
            writers_on_one_row_lose_nothing
            one_of_many_inserts_wins
            a_page_shows_no_half_of_a_transaction
            a_row_has_at_most_a_mebibyte
            a_row_has_at_most_252_properties
            a_property_name_is_an_identifier
        }
    };
}

every_case!(memory, super::on_memory);
every_case!(redb, super::on_redb);
every_case!(on_the_emulator, super::on_azurite);
every_case!(on_the_emulator_with_the_long_signature, super::on_azurite_with_the_long_signature);
every_case!(on_the_emulator_with_a_token, super::on_azurite_with_a_token);
every_case!(on_an_account, super::on_account);

fn clock() -> ManualClock {
    ManualClock::at("2026-01-05T08:00:00Z")
}

/// A table of some implementation.
struct Opened {
    ops: Arc<dyn TableOps>,
    judges_merged_rows: bool,
    /// What the table is kept in.
    _kept: Option<TempDir>,
}

impl Opened {
    fn new(ops: impl TableOps + 'static) -> Self {
        Self { ops: Arc::new(ops), judges_merged_rows: true, _kept: None }
    }

    fn table(&self) -> Table {
        Table { judges_merged_rows: self.judges_merged_rows, ..Table::fresh(Arc::clone(&self.ops)) }
    }
}

async fn on_memory() -> Option<Opened> {
    Some(Opened::new(TableEngine::memory(Arc::new(clock()))))
}

async fn on_redb() -> Option<Opened> {
    let folder = tempfile::tempdir().unwrap();
    let engine = TableEngine::redb(folder.path().join("tables.redb"), Arc::new(clock())).unwrap();
    Some(Opened { _kept: Some(folder), ..Opened::new(engine) })
}

async fn on_azurite() -> Option<Opened> {
    let tables = azurite::fresh(&azurite::connection_string()).await;
    // What a merge leaves only the service knows, and Azurite has no limit for it.
    Some(Opened { judges_merged_rows: false, ..Opened::new(tables) })
}

async fn on_azurite_with_the_long_signature() -> Option<Opened> {
    let account = azurite::connection_string_of(azurite::ORDINARY_ACCOUNT, &azurite::origin());
    Some(Opened { judges_merged_rows: false, ..Opened::new(azurite::fresh(&account).await) })
}

async fn on_azurite_with_a_token() -> Option<Opened> {
    Some(Opened { judges_merged_rows: false, ..Opened::new(azurite::fresh_with_token().await) })
}

async fn on_account() -> Option<Opened> {
    let set = |name| std::env::var(name).ok();
    let account = match (set("TABLES_TEST_CONNECTION_STRING"), set("TABLES_TEST_ENDPOINT")) {
        (Some(text), _) => TablesAccount::Key(ConnectionString::parse(&text).unwrap()),
        (None, Some(endpoint)) => {
            let token = set("TABLES_TEST_TOKEN").expect("TABLES_TEST_TOKEN");
            TablesAccount::Entra { endpoint, credential: Credential::Static(token.into()).build().unwrap() }
        }
        (None, None) => return None,
    };
    let tables = azurite::open(account, &set("TABLES_TEST_TABLE").unwrap_or("scimtest".to_owned()));
    tables.create_table().await.unwrap();
    Some(Opened::new(tables))
}

/// A partition of its own in a table.
#[derive(Clone)]
pub struct Table {
    ops: Arc<dyn TableOps>,
    partition: String,
    /// A merge that leaves too large a row is refused.
    judges_merged_rows: bool,
}

type Written = Result<Vec<Option<ETag>>, TableError>;

impl Table {
    pub fn fresh(ops: Arc<dyn TableOps>) -> Self {
        let id = RandomIds::new(Arc::new(clock())).random();
        Self { ops, partition: format!("t-{}", id.simple()), judges_merged_rows: true }
    }

    pub fn beside(&self) -> Self {
        Self::fresh(Arc::clone(&self.ops))
    }

    pub async fn transact(&self, writes: &[TableWrite]) -> Written {
        self.ops.transact(&self.partition, writes).await.map(|answer| answer.value)
    }

    async fn write(&self, write: TableWrite) -> Result<Option<ETag>, TableError> {
        self.ops.single(&self.partition, write).await.map(|answer| answer.value)
    }

    pub async fn row(&self, key: &str) -> Option<TableRow> {
        self.ops.get(&self.partition, key).await.unwrap().value
    }

    async fn properties(&self, key: &str) -> Option<RowProperties> {
        self.row(key).await.map(|row| row.properties)
    }

    async fn page(&self, range: &KeyRange) -> Result<RowPage, TableError> {
        self.ops.page(&self.partition, range).await.map(|answer| answer.value)
    }

    /// All pages of a range.
    pub async fn rows(&self, mut range: KeyRange) -> Vec<TableRow> {
        let mut rows = Vec::new();
        loop {
            let page = self.page(&range).await.unwrap();
            assert!(page.rows.len() <= range.rows_max);
            rows.extend(page.rows);
            match page.continuation {
                Some(next) => range.continuation = Some(next),
                None => return rows,
            }
        }
    }

    pub async fn keys(&self, range: KeyRange) -> Vec<String> {
        self.rows(range).await.into_iter().map(|row| row.key).collect()
    }

    async fn all_keys(&self) -> Vec<String> {
        self.keys(range("", "\u{10ffff}")).await
    }

    async fn fill(&self, keys: &[String]) {
        for chunk in keys.chunks(TRANSACTION_OPS_MAX) {
            let writes: Vec<_> = chunk.iter().map(|key| insert(key, number(0))).collect();
            self.transact(&writes).await.unwrap();
        }
    }
}

pub fn range(from: &str, to: &str) -> KeyRange {
    KeyRange { from: from.to_owned(), to: to.to_owned(), rows_max: PAGE_ROWS_MAX, continuation: None }
}

pub fn number(value: i64) -> RowProperties {
    properties([("Number", PropertyValue::Int(value))])
}

fn properties<const N: usize>(pairs: [(&str, PropertyValue); N]) -> RowProperties {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(text: &str) -> PropertyValue {
    PropertyValue::Text(text.to_owned())
}

pub fn insert(key: &str, properties: RowProperties) -> TableWrite {
    TableWrite::Insert { key: key.to_owned(), properties }
}

fn replace(key: &str, properties: RowProperties, condition: EtagMatch) -> TableWrite {
    TableWrite::Replace { key: key.to_owned(), properties, condition }
}

fn merge(key: &str, properties: RowProperties, condition: EtagMatch) -> TableWrite {
    TableWrite::Merge { key: key.to_owned(), properties, condition }
}

fn put(key: &str, properties: RowProperties) -> TableWrite {
    TableWrite::InsertOrReplace { key: key.to_owned(), properties }
}

fn put_merged(key: &str, properties: RowProperties) -> TableWrite {
    TableWrite::InsertOrMerge { key: key.to_owned(), properties }
}

pub fn delete(key: &str, condition: EtagMatch) -> TableWrite {
    TableWrite::Delete { key: key.to_owned(), condition }
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, TableError>) {
    let refused = matches!(result, Err(TableError::Invalid { .. } | TableError::TooLarge { .. }));
    assert!(refused, "{result:?} breaks a rule");
}

#[track_caller]
pub fn assert_exists<T: std::fmt::Debug>(result: Result<T, TableError>, wanted: usize) {
    assert!(
        matches!(result, Err(TableError::Exists {
index }) if index == wanted),
        "{result:?}"
    );
}

#[track_caller]
fn assert_missing<T: std::fmt::Debug>(result: Result<T, TableError>, wanted: usize) {
    assert!(
        matches!(result, Err(TableError::Missing {
index }) if index == wanted),
        "{result:?}"
    );
}

#[track_caller]
fn assert_changed<T: std::fmt::Debug>(result: Result<T, TableError>, wanted: usize) {
    assert!(
        matches!(result, Err(TableError::Changed {
index }) if index == wanted),
        "{result:?}"
    );
}

// ---- rows and writes

async fn a_row_reads_back_with_every_type(table: Table) {
    let sent = properties([
        ("Text", text("Žofie \"quoted\" <&> \u{1f600}\n")),
        ("Empty", text("")),
        ("Least", PropertyValue::Int(i64::MIN)),
        ("Most", PropertyValue::Int(i64::MAX)),
        ("Yes", PropertyValue::Bool(true)),
        ("No", PropertyValue::Bool(false)),
        ("Binary", PropertyValue::Binary((0..=255).collect())),
        ("Nothing", PropertyValue::Binary(Vec::new())),
    ]);
    let etag = table.write(insert("k", sent.clone())).await.unwrap().unwrap();
    assert_eq!(table.row("k").await, Some(TableRow { key: "k".to_owned(), properties: sent, etag }));
}

async fn a_row_that_is_not_there_is_none(table: Table) {
    assert_eq!(table.row("k").await, None);
}

async fn keys_and_names_are_compared_exactly(table: Table) {
    table.write(insert("k", properties([("Name", text("a")), ("name", text("b"))]))).await.unwrap();
    table.write(insert("K", number(2))).await.unwrap();
    assert_eq!(table.properties("k").await.unwrap().len(), 2);
    assert_eq!(table.properties("K").await, Some(number(2)));
}

/// Facts: F-110.
async fn an_insert_demands_that_the_row_is_not_there(table: Table) {
    table.write(insert("k", number(1))).await.unwrap();
    assert_exists(table.write(insert("k", number(2))).await, 0);
    assert_eq!(table.properties("k").await, Some(number(1)));
}

async fn a_replace_leaves_only_what_it_brings(table: Table) {
    let etag = table.write(insert("k", properties([("A", text("a"))]))).await.unwrap().unwrap();
    table.write(replace("k", number(1), EtagMatch::Exact(etag))).await.unwrap();
    assert_eq!(table.properties("k").await, Some(number(1)));
    table.write(replace("k", RowProperties::new(), EtagMatch::Any)).await.unwrap();
    assert_eq!(table.properties("k").await, Some(RowProperties::new()));
}

async fn a_merge_keeps_what_it_does_not_name(table: Table) {
    table.write(insert("k", properties([("Kept", text("a")), ("Number", text("text"))]))).await.unwrap();
    table.write(merge("k", number(1), EtagMatch::Any)).await.unwrap();
    let expected = properties([("Kept", text("a")), ("Number", PropertyValue::Int(1))]);
    assert_eq!(table.properties("k").await, Some(expected));
}

async fn an_insert_or_replace_does_either(table: Table) {
    table.write(put("k", properties([("A", text("a"))]))).await.unwrap();
    table.write(put("k", number(1))).await.unwrap();
    assert_eq!(table.properties("k").await, Some(number(1)));
}

async fn an_insert_or_merge_does_either(table: Table) {
    table.write(put_merged("k", properties([("A", text("a"))]))).await.unwrap();
    table.write(put_merged("k", number(1))).await.unwrap();
    let expected = properties([("A", text("a")), ("Number", PropertyValue::Int(1))]);
    assert_eq!(table.properties("k").await, Some(expected));
}

/// Facts: F-111.
async fn a_condition_any_demands_a_row(table: Table) {
    assert_missing(table.write(replace("k", number(1), EtagMatch::Any)).await, 0);
    assert_missing(table.write(merge("k", number(1), EtagMatch::Any)).await, 0);
    assert_missing(table.write(delete("k", EtagMatch::Any)).await, 0);
    assert_eq!(table.row("k").await, None);
    table.write(insert("k", number(1))).await.unwrap();
    assert_eq!(table.write(delete("k", EtagMatch::Any)).await.unwrap(), None);
    assert_eq!(table.row("k").await, None);
}

/// Facts: F-111.
async fn a_condition_exact_demands_the_version(table: Table) {
    let old = table.write(insert("k", number(1))).await.unwrap().unwrap();
    let new = table.write(merge("k", number(2), EtagMatch::Exact(old.clone()))).await.unwrap().unwrap();
    assert_changed(table.write(replace("k", number(3), EtagMatch::Exact(old.clone()))).await, 0);
    assert_changed(table.write(merge("k", number(3), EtagMatch::Exact(old.clone()))).await, 0);
    assert_changed(table.write(delete("k", EtagMatch::Exact(old.clone()))).await, 0);
    assert_eq!(table.properties("k").await, Some(number(2)));
    table.write(delete("k", EtagMatch::Exact(new.clone()))).await.unwrap();
    assert_missing(table.write(merge("k", number(3), EtagMatch::Exact(new))).await, 0);
}

async fn every_write_changes_the_version(table: Table) {
    let mut seen = vec![table.write(insert("k", number(1))).await.unwrap().unwrap()];
    let same = [
        replace("k", number(1), EtagMatch::Any),
        merge("k", number(1), EtagMatch::Any),
        merge("k", RowProperties::new(), EtagMatch::Any),
        put("k", number(1)),
        put_merged("k", number(1)),
    ];
    for write in same {
        let etag = table.write(write).await.unwrap().unwrap();
        assert_eq!(table.row("k").await.unwrap().etag, etag);
        assert!(!seen.contains(&etag));
        seen.push(etag);
    }
}

async fn a_transaction_answers_versions_in_the_order_of_its_writes(table: Table) {
    table.fill(&["b".to_owned(), "d".to_owned()]).await;
    let writes = [
        insert("c", number(1)),
        delete("b", EtagMatch::Any),
        put("a", number(1)),
        merge("d", number(1), EtagMatch::Any),
    ];
    let etags = table.transact(&writes).await.unwrap();
    let mut expected = Vec::new();
    for key in ["c", "b", "a", "d"] {
        expected.push(table.row(key).await.map(|row| row.etag));
    }
    assert_eq!(etags, expected);
}

async fn a_version_is_not_used_again_after_delete_and_insert(table: Table) {
    let mut seen = Vec::new();
    for _ in 0..10 {
        let etag = table.write(insert("k", number(1))).await.unwrap().unwrap();
        assert!(!seen.contains(&etag));
        seen.push(etag);
        table.write(delete("k", EtagMatch::Any)).await.unwrap();
    }
    table.write(insert("k", number(1))).await.unwrap();
    for old in seen {
        assert_changed(table.write(merge("k", number(2), EtagMatch::Exact(old))).await, 0);
    }
}

// ---- transactions

/// Four writes of which the third is the one given.
fn with_third(third: TableWrite) -> Vec<TableWrite> {
    vec![
        insert("new", number(1)),
        merge("old", number(1), EtagMatch::Any),
        third,
        delete("gone", EtagMatch::Any),
    ]
}

async fn assert_transaction_leaves_nothing(table: &Table, third: TableWrite) -> Written {
    table.fill(&["old".to_owned(), "gone".to_owned()]).await;
    let before = table.rows(range("", "z")).await;
    let result = table.transact(&with_third(third)).await;
    assert_eq!(table.rows(range("", "z")).await, before);
    result
}

async fn a_transaction_that_meets_a_row_leaves_nothing(table: Table) {
    table.write(insert("third", number(1))).await.unwrap();
    assert_exists(assert_transaction_leaves_nothing(&table, insert("third", number(2))).await, 2);
}

async fn a_transaction_that_misses_a_row_leaves_nothing(table: Table) {
    assert_missing(assert_transaction_leaves_nothing(&table, delete("third", EtagMatch::Any)).await, 2);
}

/// Facts: F-109.
async fn a_transaction_that_meets_another_version_leaves_nothing(table: Table) {
    let old = table.write(insert("third", number(1))).await.unwrap().unwrap();
    table.write(put("third", number(2))).await.unwrap();
    let third = replace("third", number(3), EtagMatch::Exact(old));
    assert_changed(assert_transaction_leaves_nothing(&table, third).await, 2);
}

/// Facts: F-110.
async fn the_first_write_that_fails_is_named(table: Table) {
    let old = table.write(insert("k", number(1))).await.unwrap().unwrap();
    table.write(put("k", number(2))).await.unwrap();
    let missing = || delete("absent", EtagMatch::Any);
    let changed = || merge("k", number(3), EtagMatch::Exact(old.clone()));
    assert_missing(table.transact(&[put("a", number(1)), missing(), changed()]).await, 1);
    assert_changed(table.transact(&[changed(), missing()]).await, 0);
    assert_exists(table.transact(&[put("a", number(1)), insert("k", number(1)), missing()]).await, 1);
}

/// Facts: F-109.
async fn a_transaction_has_one_to_a_hundred_writes(table: Table) {
    let writes = |count: usize| (0..count).map(|n| insert(&format!("{n:03}"), number(1))).collect::<Vec<_>>();
    assert_refused(table.transact(&[]).await);
    assert_refused(table.transact(&writes(TRANSACTION_OPS_MAX + 1)).await);
    assert!(table.all_keys().await.is_empty());
    assert_eq!(table.transact(&writes(TRANSACTION_OPS_MAX)).await.unwrap().len(), TRANSACTION_OPS_MAX);
    assert_eq!(table.all_keys().await.len(), TRANSACTION_OPS_MAX);
}

/// Facts: F-109.
async fn a_transaction_writes_a_row_once(table: Table) {
    assert_refused(table.transact(&[insert("k", number(1)), insert("k", number(1))]).await);
    assert_refused(
        table.transact(&[put("k", number(1)), put("l", number(1)), delete("k", EtagMatch::Any)]).await,
    );
    assert!(table.all_keys().await.is_empty());
    table.transact(&[insert("k", number(1)), insert("K", number(1))]).await.unwrap();
}

/// Facts: F-109.
async fn a_transaction_has_at_most_four_mebibytes(table: Table) {
    let writes = |bytes: usize| {
        let row =
            |n| insert(&format!("{n:03}"), properties([("Binary", PropertyValue::Binary(vec![0; bytes]))]));
        (0..TRANSACTION_OPS_MAX).map(row).collect::<Vec<_>>()
    };
    assert_refused(table.transact(&writes(44_000)).await);
    assert!(table.all_keys().await.is_empty());
    table.transact(&writes(30_000)).await.unwrap();
}

// ---- limits of a row

/// Facts: F-058.
async fn a_row_has_at_most_a_mebibyte(table: Table) {
    let binaries = |count: usize| {
        let binary = |n| (format!("Binary{n:02}"), PropertyValue::Binary(vec![0; BINARY_BYTES_MAX]));
        (0..count).map(binary).collect::<RowProperties>()
    };
    assert_refused(table.write(insert("k", binaries(17))).await);
    table.write(insert("k", binaries(15))).await.unwrap();
    if table.judges_merged_rows {
        let rest: RowProperties = binaries(17).into_iter().skip(15).collect();
        assert_refused(table.write(merge("k", rest.clone(), EtagMatch::Any)).await);
        assert_refused(table.write(put_merged("k", rest)).await);
    }
    assert_eq!(table.properties("k").await.unwrap().len(), 15);
}

/// Facts: F-058.
async fn a_row_has_at_most_252_properties(table: Table) {
    let numbers =
        |count| (0..count).map(|n| (format!("P{n}"), PropertyValue::Int(1))).collect::<RowProperties>();
    assert_refused(table.write(insert("k", numbers(PROPERTIES_MAX + 1))).await);
    table.write(insert("k", numbers(PROPERTIES_MAX))).await.unwrap();
    table.write(merge("k", properties([("P0", PropertyValue::Int(2))]), EtagMatch::Any)).await.unwrap();
    if table.judges_merged_rows {
        assert_refused(table.write(merge("k", number(1), EtagMatch::Any)).await);
    }
    assert_eq!(table.properties("k").await.unwrap().len(), PROPERTIES_MAX);
}

/// Facts: F-058.
async fn a_property_name_is_an_identifier(table: Table) {
    let long = "a".repeat(255);
    for name in ["a", "_a", "A1_b", "Jméno", &long] {
        table.write(put("k", properties([(name, PropertyValue::Int(1))]))).await.unwrap();
    }
    let too_long = "a".repeat(256);
    let refused = ["", "1a", "a-b", "a b", "a.b", "a:b", "PartitionKey", "RowKey", "Timestamp", &too_long];
    for name in refused {
        assert_refused(table.write(put("l", properties([(name, PropertyValue::Int(1))]))).await);
    }
    assert_eq!(table.all_keys().await, ["k"]);
}

async fn a_text_has_at_most_32_ki_units(table: Table) {
    for unit in ["a", "é"] {
        let longest = unit.repeat(STRING_UNITS_MAX);
        table.write(put("k", properties([("Text", text(&longest))]))).await.unwrap();
        assert_refused(table.write(put("l", properties([("Text", text(&(longest + "a")))]))).await);
    }
    let pairs = "\u{1f600}".repeat(STRING_UNITS_MAX / 2);
    table.write(put("k", properties([("Text", text(&pairs))]))).await.unwrap();
    assert_refused(table.write(put("l", properties([("Text", text(&(pairs.clone() + "a")))]))).await);
    assert_eq!(table.properties("k").await, Some(properties([("Text", text(&pairs))])));
    assert_eq!(table.row("l").await, None);
}

async fn a_binary_has_at_most_64_ki_bytes(table: Table) {
    let binary = |bytes| properties([("Binary", PropertyValue::Binary(vec![7; bytes]))]);
    assert_refused(table.write(insert("k", binary(BINARY_BYTES_MAX + 1))).await);
    table.write(insert("k", binary(BINARY_BYTES_MAX))).await.unwrap();
    assert_eq!(table.properties("k").await, Some(binary(BINARY_BYTES_MAX)));
}

async fn a_key_has_at_most_512_characters(table: Table) {
    let longest = "k".repeat(KEY_CHARS_MAX);
    let too_long = "k".repeat(KEY_CHARS_MAX + 1);
    table.write(insert(&longest, number(1))).await.unwrap();
    assert!(table.row(&longest).await.is_some());
    assert_refused(table.write(insert(&too_long, number(1))).await);
    assert_refused(table.ops.get(&table.partition, &too_long).await);
    assert_refused(table.ops.transact(&too_long, &[insert("k", number(1))]).await);
    assert_refused(table.ops.page(&too_long, &range("a", "b")).await);
}

/// Facts: F-113.
async fn a_key_has_no_forbidden_characters(table: Table) {
    for c in ['/', '\\', '#', '?', '\0', '\t', '\n', '\u{7f}', '\u{85}'] {
        let key = format!("a{c}b");
        assert_refused(table.write(insert(&key, number(1))).await);
        assert_refused(table.ops.get(&table.partition, &key).await);
        assert_refused(table.ops.transact(&key, &[insert("k", number(1))]).await);
    }
    assert!(table.all_keys().await.is_empty());
    for key in ["a'b", "a''b", "a b", "a:b", "a%20b", "a+b&c=d", "(a,b)", "a!~*b", "\"a\"", "é\u{1f600}"] {
        table.write(insert(key, number(1))).await.unwrap();
        assert_eq!(table.row(key).await.unwrap().key, key);
        table.transact(&[merge(key, number(2), EtagMatch::Any), put("beside", number(1))]).await.unwrap();
        assert_eq!(table.properties(key).await, Some(number(2)), "{key}");
        let range = KeyRange { rows_max: 1, ..range(key, "\u{10ffff}") };
        assert_eq!(table.page(&range).await.unwrap().rows[0].key, key);
        table.write(delete(key, EtagMatch::Any)).await.unwrap();
        assert_eq!(table.row(key).await, None);
    }
}

// ---- ranges and pages

/// Facts: F-112.
async fn rows_come_in_order_of_utf16_code_units(table: Table) {
    let mut keys =
        ["B", "a", "a:", "a-", "aa", "é", "z", "\u{d7ff}", "\u{e000}", "\u{fffd}", "\u{10000}", "\u{1f600}"]
            .map(str::to_owned);
    table.fill(&keys).await;
    keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
    // An upper bound above them all: no surrogate is as high.
    assert_eq!(table.keys(range("", "\u{fffe}")).await, keys);
}

async fn a_range_has_its_lower_bound_and_not_its_upper(table: Table) {
    table.fill(&["a", "b", "b:1", "b:2", "b;", "c"].map(str::to_owned)).await;
    assert_eq!(table.keys(range("b:", "b;")).await, ["b:1", "b:2"]);
    assert_eq!(table.keys(range("b", "c")).await, ["b", "b:1", "b:2", "b;"]);
    let row = table.rows(range("a", "b")).await.pop();
    assert_eq!(row, table.row("a").await);
}

async fn a_range_that_is_empty_has_no_rows(table: Table) {
    table.fill(&["a", "b", "c"].map(str::to_owned)).await;
    for (from, to) in [("b", "b"), ("c", "a"), ("d", "e"), ("", "a")] {
        assert!(table.rows(range(from, to)).await.is_empty());
    }
}

async fn a_range_stays_in_its_partition(table: Table) {
    let beside = table.beside();
    beside.fill(&["a", "b"].map(str::to_owned)).await;
    table.fill(&["b".to_owned()]).await;
    assert_eq!(table.all_keys().await, ["b"]);
    assert_eq!(table.row("a").await, None);
    table.write(delete("b", EtagMatch::Any)).await.unwrap();
    assert_eq!(beside.all_keys().await, ["a", "b"]);
}

async fn a_page_has_one_to_a_thousand_rows(table: Table) {
    for rows_max in [0, PAGE_ROWS_MAX + 1] {
        assert_refused(table.page(&KeyRange { rows_max, ..range("a", "z") }).await);
    }
    table.fill(&["a", "b"].map(str::to_owned)).await;
    for rows_max in [1, PAGE_ROWS_MAX] {
        assert_eq!(table.keys(KeyRange { rows_max, ..range("a", "z") }).await, ["a", "b"]);
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k:{n:05}")).collect()
}

/// Facts: F-112.
async fn pages_make_up_the_range(table: Table) {
    let keys = numbered(30);
    table.fill(&keys).await;
    table.fill(&["j", "k;"].map(str::to_owned)).await;
    for rows_max in [1, 7, 10, 29, 30, 31] {
        assert_eq!(table.keys(KeyRange { rows_max, ..range("k:", "k;") }).await, keys);
    }
}

/// Facts: F-194.
async fn a_page_of_keys_has_the_same_rows_without_properties(table: Table) {
    table.fill(&numbered(5)).await;
    let mut whole = table.rows(range("k:", "k;")).await;
    let mut found = Vec::new();
    let mut next = Some(KeyRange { rows_max: 2, ..range("k:", "k;") });
    while let Some(part) = next.take() {
        let page = table.ops.key_page(&table.partition, &part).await.unwrap().value;
        found.extend(page.rows);
        next = page.continuation.map(|continuation| KeyRange { continuation: Some(continuation), ..part });
    }
    assert!(whole.iter().all(|row| !row.properties.is_empty()), "{whole:?}");
    whole.iter_mut().for_each(|row| row.properties.clear());
    assert_eq!(found, whole);
}

async fn pages_go_on_where_they_ended_while_rows_change(table: Table) {
    table.fill(&["b", "d", "f", "h"].map(str::to_owned)).await;
    let mut whole = KeyRange { rows_max: 2, ..range("a", "z") };
    let mut seen = Vec::new();
    // The service may answer fewer rows than asked for, so go on until the first two are there.
    while seen.len() < 2 {
        whole.rows_max = 2 - seen.len();
        let page = table.page(&whole).await.unwrap();
        seen.extend(page.rows.into_iter().map(|row| row.key));
        whole.continuation = Some(page.continuation.unwrap());
    }
    let changes = [
        insert("a", number(1)),
        insert("g", number(1)),
        delete("d", EtagMatch::Any),
        delete("f", EtagMatch::Any),
    ];
    table.transact(&changes).await.unwrap();
    seen.extend(table.keys(whole).await);
    assert_eq!(seen, ["b", "d", "g", "h"]);
}

/// Facts: F-114.
async fn a_thousand_rows_and_more_take_more_than_a_page(table: Table) {
    let keys = numbered(PAGE_ROWS_MAX + 1);
    table.fill(&keys).await;
    let first = table.page(&range("k:", "k;")).await.unwrap();
    assert!(first.rows.len() <= PAGE_ROWS_MAX && first.continuation.is_some());
    assert_eq!(table.keys(range("k:", "k;")).await, keys);
}

// ---- many at once

const WRITERS: usize = 4;
const WRITES_EACH: usize = 25;

/// Adds one to the counter and inserts a row for it, together, and retries until no other write came between.
async fn count_up(table: &Table, log_key: &str) {
    loop {
        let counter = table.row("counter").await.unwrap();
        let Some(PropertyValue::Int(count)) = counter.properties.get("Number") else { panic!("a number") };
        let writes = [
            replace("counter", number(count + 1), EtagMatch::Exact(counter.etag)),
            insert(log_key, number(count + 1)),
        ];
        match table.transact(&writes).await {
            Ok(_) => return,
            Err(TableError::Changed { index: 0 }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

async fn a_page_of_large_rows_ends_early(table: Table) {
    let large = |n: usize| (format!("P{n}"), PropertyValue::Binary(vec![7; BINARY_BYTES_MAX]));
    let keys: Vec<String> = (0..12).map(|n| format!("{n:02}")).collect();
    for key in &keys {
        table.write(insert(key, (0..6).map(large).collect())).await.unwrap();
    }
    let mut read = Vec::new();
    let mut pages = 0;
    let mut rest = range("", "z");
    loop {
        let page = table.page(&rest).await.unwrap();
        let bytes: usize = page.rows.iter().map(TableRow::bytes).sum();
        assert!(bytes < PAGE_BYTES_MAX + ENTITY_BYTES_MAX, "a page of {bytes} bytes");
        pages += 1;
        read.extend(page.rows.into_iter().map(|row| row.key));
        match page.continuation {
            Some(next) => rest.continuation = Some(next),
            None => break,
        }
    }
    assert_eq!(read, keys);
    assert!(pages > 1);
}

async fn writers_on_one_row_lose_nothing(table: Table) {
    table.write(insert("counter", number(0))).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let table = table.clone();
        tokio::spawn(async move {
            for n in 0..WRITES_EACH {
                count_up(&table, &format!("log:{writer}:{n:02}")).await;
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let total = (WRITERS * WRITES_EACH) as i64;
    assert_eq!(table.properties("counter").await, Some(number(total)));
    let mut logged: Vec<_> = table.rows(range("log:", "log;")).await;
    logged.sort_by_key(|row| match row.properties["Number"] {
        PropertyValue::Int(count) => count,
        _ => panic!("a number"),
    });
    let logged: Vec<_> = logged.into_iter().map(|row| row.properties).collect();
    assert_eq!(logged, (1..=total).map(number).collect::<Vec<_>>());
}

async fn one_of_many_inserts_wins(table: Table) {
    let inserts = (0..8).map(|n| {
        let table = table.clone();
        tokio::spawn(async move {
            table.transact(&[insert("unique", number(n)), insert(&format!("own:{n}"), number(n))]).await
        })
    });
    let results = join_all(inserts).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for lost in results.into_iter().filter(Result::is_err) {
        assert_exists(lost, 0);
    }
    assert_eq!(table.all_keys().await.len(), 2);
}

async fn a_page_shows_no_half_of_a_transaction(table: Table) {
    table.transact(&[insert("a", number(0)), insert("b", number(0))]).await.unwrap();
    let writer = {
        let table = table.clone();
        tokio::spawn(async move {
            for n in 1..=50 {
                table.transact(&[put("a", number(n)), put("b", number(n))]).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let page = table.page(&range("a", "c")).await.unwrap();
        if let [a, b] = &page.rows[..] {
            assert_eq!(a.properties, b.properties);
        }
    }
    writer.await.unwrap();
}

// ---- the engine alone

/// Facts: F-059.
#[tokio::test]
async fn an_answer_carries_the_time_of_the_clock() {
    let clock = clock();
    let engine = TableEngine::memory(Arc::new(clock.clone()));
    let dates = || async {
        let TableAnswer { date: got, .. } = engine.get("p", "k").await.unwrap();
        let TableAnswer { date: paged, .. } = engine.page("p", &range("a", "z")).await.unwrap();
        let write = TableWrite::InsertOrReplace { key: "k".to_owned(), properties: number(1) };
        let TableAnswer { date: wrote, .. } = engine.transact("p", &[write]).await.unwrap();
        [got, paged, wrote].map(|date| date.unix_timestamp())
    };
    let start = 1_767_600_000;
    assert_eq!(dates().await, [start; 3]);
    clock.advance(Duration::from_secs(90));
    assert_eq!(dates().await, [start + 90; 3]);
}

#[tokio::test]
async fn clones_of_an_engine_share_its_rows() {
    let engine = TableEngine::memory(Arc::new(clock()));
    engine.clone().insert("p", "k", number(1)).await.unwrap();
    assert_eq!(engine.get("p", "k").await.unwrap().value.unwrap().properties, number(1));
}
