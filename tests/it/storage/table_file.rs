//! What the table in a file does beyond what every table must do.

use crate::storage::tables::{Table, assert_exists, delete, insert, number, range};
use crate::support::clock::ManualClock;
use azure_backup_scim::engine::{EngineError, TableEngine};
use azure_backup_scim::ports::tables::{ETag, EtagMatch, TableError, TableOps};
use futures_util::FutureExt;
use futures_util::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("tables.redb")
    }

    fn open(&self) -> TableEngine {
        open(&self.file()).unwrap()
    }
}

fn open(path: &Path) -> Result<TableEngine, EngineError> {
    TableEngine::redb(path, Arc::new(ManualClock::at("2026-01-05T08:00:00Z")))
}

/// Why the file cannot be opened.
#[track_caller]
fn refusal(path: &Path) -> EngineError {
    open(path).err().expect("a refusal")
}

async fn insert_one(engine: &TableEngine) -> ETag {
    engine.insert("p", "k", number(1)).await.unwrap().value.unwrap()
}

#[tokio::test]
async fn what_was_answered_is_there_after_reopening() {
    let folder = Folder::new();
    let etag = insert_one(&folder.open()).await;
    let row = folder.open().get("p", "k").await.unwrap().value.unwrap();
    assert_eq!((row.properties, row.etag), (number(1), etag));
}

#[tokio::test]
async fn a_version_is_not_used_again_after_reopening() {
    let folder = Folder::new();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let engine = folder.open();
        let etag = insert_one(&engine).await;
        assert!(!seen.contains(&etag));
        seen.push(etag);
        engine.delete("p", "k", EtagMatch::Any).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_in_use_is_said_to_be_in_use() {
    let folder = Folder::new();
    let engine = folder.open();
    let refused = refusal(&folder.file());
    assert!(matches!(refused, EngineError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().ends_with("tables.redb is in use by another process"));
    insert_one(&engine).await;
}

#[test]
fn a_file_of_something_else_is_said_to_be_damaged() {
    let folder = Folder::new();
    std::fs::write(folder.file(), "not a table".repeat(1000)).unwrap();
    let refused = refusal(&folder.file());
    assert!(matches!(refused, EngineError::Corrupt { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_refused_and_never_starts_empty() {
    let folder = Folder::new();
    let engine = folder.open();
    for n in 0..200 {
        engine.insert("p", &format!("k:{n}"), number(n)).await.unwrap();
    }
    drop(engine);
    let whole = std::fs::read(folder.file()).unwrap();
    let cuts = (0..16).map(|n| n * whole.len() / 16).chain([1, 100, 320, 4096, whole.len() - 1]);
    for length in cuts {
        std::fs::write(folder.file(), &whole[..length]).unwrap();
        let refused = refusal(&folder.file());
        assert!(matches!(refused, EngineError::Corrupt { .. }), "{length}: {refused:?}");
        assert!(refused.to_string().contains("cut off"), "{refused}");
        assert_eq!(std::fs::metadata(folder.file()).unwrap().len(), length as u64, "it is left as it was");
    }
    std::fs::write(folder.file(), &whole).unwrap();
    assert!(folder.open().get("p", "k:199").await.unwrap().value.is_some());
}

#[tokio::test]
async fn what_a_killed_first_start_left_is_made_anew() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("tables.redb.new"), "half a table").unwrap();
    insert_one(&folder.open()).await;
    assert!(!folder.0.path().join("tables.redb.new").exists());
    assert!(folder.open().get("p", "k").await.unwrap().value.is_some());
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let mode = || std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777;
    drop(folder.open());
    assert_eq!(mode(), 0o600);
    // As an earlier release left it.
    std::fs::set_permissions(folder.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(folder.open());
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_file_of_a_newer_format_is_refused() {
    let folder = Folder::new();
    let database = redb::Database::create(folder.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = refusal(&folder.file());
    assert!(matches!(refused, EngineError::Format { found: 2, .. }), "{refused:?}");
}

#[test]
fn a_folder_that_is_not_there_cannot_be_opened() {
    let folder = Folder::new();
    let refused = refusal(&folder.0.path().join("absent").join("tables.redb"));
    assert!(matches!(refused, EngineError::Unopenable { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing_and_the_others_of_its_group_commit() {
    let folder = Folder::new();
    let table = Table::fresh(Arc::new(folder.open()));
    table.transact(&[insert("taken", number(0))]).await.unwrap();
    // All are waiting before the first is answered, so they share a few flushes.
    let results = join_all((0..64).map(|n| {
        let second = if n % 2 == 0 { format!("second:{n:02}") } else { "taken".to_owned() };
        let table = table.clone();
        let first = format!("first:{n:02}");
        async move { table.transact(&[insert(&first, number(n)), insert(&second, number(n))]).await }
    }))
    .await;
    for (n, result) in results.into_iter().enumerate() {
        match n % 2 {
            0 => assert_eq!(result.unwrap().len(), 2),
            _ => assert_exists(result, 1),
        }
    }
    let even = |prefix: &str| (0..32).map(|n| format!("{prefix}:{:02}", 2 * n)).collect::<Vec<_>>();
    assert_eq!(table.keys(range("first:", "first;")).await, even("first"));
    assert_eq!(table.keys(range("second:", "second;")).await, even("second"));
}

#[tokio::test]
async fn transactions_of_one_group_see_one_another() {
    let folder = Folder::new();
    let table = Table::fresh(Arc::new(folder.open()));
    let results = join_all((0..32).map(|_| async {
        table.transact(&[insert("k", number(1))]).await?;
        table.transact(&[delete("k", EtagMatch::Any)]).await
    }))
    .await;
    for result in results {
        assert!(matches!(result, Ok(_) | Err(TableError::Exists { index: 0 })), "{result:?}");
    }
    assert_eq!(table.row("k").await, None);
}

#[tokio::test]
async fn a_transaction_whose_caller_is_gone_is_carried_out() {
    let folder = Folder::new();
    let engine = folder.open();
    assert!(engine.insert("p", "k", number(1)).now_or_never().is_none());
    drop(engine);
    assert!(folder.open().get("p", "k").await.unwrap().value.is_some());
}
