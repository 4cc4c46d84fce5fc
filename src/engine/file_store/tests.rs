use super::super::{TableEngine, row_record};
use super::*;
use crate::ports::clock::Clock;
use crate::ports::tables::{PropertyValue, TableError, TableOps};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::io;
use std::time::Duration;
use time::OffsetDateTime;

struct Still;

impl Clock for Still {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A disk with trouble to order. It outlives the databases on it, as a file does.
#[derive(Debug, Clone, Default)]
struct Disk {
    bytes: Arc<InMemoryBackend>,
    is_full: Arc<AtomicBool>,
    fails_reads: Arc<AtomicBool>,
}

impl Disk {
    fn fails(what: &AtomicBool, kind: io::ErrorKind) -> io::Result<()> {
        if what.load(Ordering::SeqCst) { Err(kind.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Self::fails(&self.fails_reads, io::ErrorKind::Other)?;
        self.bytes.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::fails(&self.is_full, io::ErrorKind::StorageFull)?;
        self.bytes.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.bytes.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Self::fails(&self.is_full, io::ErrorKind::StorageFull)?;
        self.bytes.write(offset, data)
    }
}

/// A table on a disk.
fn table(disk: &Disk) -> TableEngine {
    let open = |disk: &Disk| {
        // Nothing but the start of a page is kept in memory, so that a read asks the disk.
        let mut builder = Database::builder();
        builder.set_cache_size(0);
        Ok::<_, redb::Error>(builder.create_with_backend(disk.clone())?)
    };
    let database = open(disk).unwrap();
    table_file::prepare(&database).unwrap();
    let disk = disk.clone();
    let reopening = ReopeningDatabase::new(database, Box::new(move || open(&disk)));
    TableEngine { store: Arc::new(FileStore::start(reopening).unwrap()), clock: Arc::new(Still) }
}

async fn insert(table: &TableEngine, key: &str) -> Result<(), TableError> {
    let properties = [("Text".to_owned(), PropertyValue::Text("x".repeat(30_000)))];
    table.insert("p", key, properties.into_iter().collect()).await.map(|_| ())
}

async fn is_there(table: &TableEngine, key: &str) -> bool {
    table.get("p", key).await.unwrap().value.is_some()
}

#[tokio::test]
async fn a_disk_that_was_full_is_written_again_once_there_is_space() {
    let disk = Disk::default();
    let table = table(&disk);
    insert(&table, "before").await.unwrap();
    disk.is_full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = insert(&table, "meanwhile").await.unwrap_err();
        assert!(matches!(refused, TableError::Unknown { .. }), "{refused:?}");
        assert!(table.is_failing());
    }

    disk.is_full.store(false, Ordering::SeqCst);
    assert!(is_there(&table, "before").await);
    assert!(!is_there(&table, "meanwhile").await);
    insert(&table, "after").await.unwrap();
    assert!(!table.is_failing());
    assert!(is_there(&table, "after").await);
}

#[tokio::test]
async fn no_version_is_given_out_twice_over_a_full_disk() {
    let disk = Disk::default();
    let table = table(&disk);
    insert(&table, "k").await.unwrap();
    let before = table.get("p", "k").await.unwrap().value.unwrap().etag;
    disk.is_full.store(true, Ordering::SeqCst);
    insert(&table, "meanwhile").await.unwrap_err();
    disk.is_full.store(false, Ordering::SeqCst);
    insert(&table, "after").await.unwrap();
    let after = table.get("p", "after").await.unwrap().value.unwrap().etag;
    assert!(before != after && after != row_record::etag(1), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_read_that_failed_does_not_end_all_reads() {
    let disk = Disk::default();
    let table = table(&disk);
    insert(&table, "k").await.unwrap();
    disk.fails_reads.store(true, Ordering::SeqCst);
    let refused = table.get("p", "k").await.unwrap_err();
    assert!(matches!(refused, TableError::Unknown { .. }), "{refused:?}");
    disk.fails_reads.store(false, Ordering::SeqCst);
    assert!(is_there(&table, "k").await);
    insert(&table, "more").await.unwrap();
}
