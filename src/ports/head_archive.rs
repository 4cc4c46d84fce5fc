//! Where the heads of the audit are kept, apart from the state: a container with an immutability policy, or a folder.

use async_trait::async_trait;

/// Why a head was not written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// No answer that can be relied on: it may have been written.
    #[error("the archive of heads gave no answer that can be relied on: {detail}")]
    Unknown { detail: String },
    /// 401, 403, no such container: an operator must grant access or make it.
    #[error("the archive of heads turns us away: {code}")]
    Refused { code: String },
}

/// Files that are written once.
#[async_trait]
pub trait HeadArchive: Send + Sync {
    /// Writes a new file. Returns false where there is one of that name: it stays as it is.
    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError>;
    /// The file of that name.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError>;
}
