//! What every archive of heads must do: a folder, blobs in the simulated Azure, blobs in Azurite over TLS with a token.

use crate::storage::azurite;
use azure_backup_scim::adapters::blob_archive::{BlobArchive, BlobArchiveOptions};
use azure_backup_scim::adapters::clock::SystemClock;
use azure_backup_scim::adapters::credential::Credential;
use azure_backup_scim::adapters::folder_archive::FolderArchive;
use azure_backup_scim::ports::head_archive::{ArchiveError, HeadArchive};
use azure_backup_scim::simulator::{BlobContainer, Simulator, SimulatorOptions};
use futures_util::future::join_all;
use std::sync::Arc;

const CONTAINER: &str = "audit-heads";

/// A container of the simulated Azure, whose policy keeps every blob.
pub fn simulated(simulator: &Simulator) -> Arc<dyn HeadArchive> {
    simulator.handle().set_container(CONTAINER, BlobContainer { immutable_days: Some(400) }).unwrap();
    archive(&format!("{}/{CONTAINER}", simulator.blob_url()))
}

fn archive(address: &str) -> Arc<dyn HeadArchive> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let credential = Credential::Static("simulated".to_owned().into()).build().unwrap();
    let options = BlobArchiveOptions { credential, clock: Arc::new(SystemClock::new()), transport: None };
    Arc::new(BlobArchive::at(address, options).unwrap())
}

async fn keeps_what_was_written_first(archive: &dyn HeadArchive) {
    let large = vec![b'x'; 600_000];
    assert_eq!(archive.get("default/0000000000").await, Ok(None));
    assert_eq!(archive.create("default/0000000000", b"first\n").await, Ok(true));
    assert_eq!(archive.create("default/0000000000", b"second\n").await, Ok(false));
    assert_eq!(archive.get("default/0000000000").await, Ok(Some(b"first\n".to_vec())));
    assert_eq!(archive.create("default/0000000001", &large).await, Ok(true));
    assert_eq!(archive.get("default/0000000001").await, Ok(Some(large)));
    assert_eq!(archive.get("other/0000000000").await, Ok(None));

    let texts: Vec<String> = (0..8).map(|number| format!("writer {number}")).collect();
    let writes = texts.iter().map(|text| archive.create("default/0000000002", text.as_bytes()));
    let written = join_all(writes).await;

    assert_eq!(written.iter().filter(|written| **written == Ok(true)).count(), 1, "{written:?}");
    let winner = written.iter().position(|written| *written == Ok(true)).unwrap();
    let kept = archive.get("default/0000000002").await.unwrap().unwrap();
    assert_eq!(kept, texts[winner].as_bytes());
}

#[tokio::test]
async fn a_folder_keeps_what_was_written_first() {
    let folder = tempfile::tempdir().unwrap();
    let archive = FolderArchive::new(folder.path().join("heads"));

    keeps_what_was_written_first(&archive).await;

    let left = std::fs::read_dir(folder.path().join("heads/default")).unwrap();
    let mut names: Vec<_> = left.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["0000000000", "0000000001", "0000000002"]);
}

/// Facts: F-188, F-189.
#[tokio::test]
async fn a_simulated_container_keeps_what_was_written_first() {
    let simulator = Simulator::start(SimulatorOptions::default()).unwrap();
    keeps_what_was_written_first(simulated(&simulator).as_ref()).await;
    assert!(simulator.unrecognised().is_empty(), "{:?}", simulator.unrecognised());
}

/// Facts: F-188.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_azurite_keeps_what_was_written_first() {
    keeps_what_was_written_first(&azurite::fresh_container().await).await;
}

/// Facts: F-188.
#[tokio::test]
async fn a_container_that_is_not_there_is_no_missing_head() {
    let simulator = Simulator::start(SimulatorOptions::default()).unwrap();
    let archive = archive(&format!("{}/{CONTAINER}", simulator.blob_url()));
    let refused = ArchiveError::Refused { code: "ContainerNotFound".to_owned() };
    assert_eq!(archive.get("default/0000000000").await, Err(refused.clone()));
    assert_eq!(archive.create("default/0000000000", b"x").await, Err(refused));
}

/// A name cannot be written where nothing answers, and nobody can say whether it was.
#[tokio::test]
async fn an_archive_that_does_not_answer_says_nothing() {
    let simulator = Simulator::start(SimulatorOptions::default()).unwrap();
    let archive = simulated(&simulator);
    simulator.stop().unwrap();
    assert!(matches!(archive.get("default/0000000000").await, Err(ArchiveError::Unknown { .. })));
    assert!(matches!(archive.create("default/0000000000", b"x").await, Err(ArchiveError::Unknown { .. })));
}
