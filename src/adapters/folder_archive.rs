//! The heads of the audit as files of a folder, for `local`. A file is there as a whole or not at all, and is never written
//! twice.

use crate::ports::head_archive::{ArchiveError, HeadArchive};
use async_trait::async_trait;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the names of files under way different within this process.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// One folder. It need not be there yet.
#[derive(Debug, Clone)]
pub struct FolderArchive {
    folder: PathBuf,
}

impl FolderArchive {
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let path = self.folder.join(name);
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        let unknown = |detail: String| ArchiveError::Unknown { detail };
        done.map_err(|error| unknown(error.to_string()))?.map_err(|error| unknown(error.to_string()))
    }
}

#[async_trait]
impl HeadArchive for FolderArchive {
    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        let bytes = bytes.to_vec();
        self.blocking(name, move |path| create(path, &bytes)).await
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        let read = |path: &Path| match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        self.blocking(name, read).await
    }
}

/// Written beside its place first. A link to a name that is there fails.
fn create(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let linked = written.and_then(|()| fs::hard_link(&beside, path));
    fs::remove_file(&beside)?;
    match linked {
        Ok(()) => {
            File::open(folder)?.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
