//! The state folder of `local`: the embedded store, the simulated Azure's state, its certificate and the bearer token.

use crate::app::{RandomIds, SystemClock};
use crate::engine::keep_private;
use crate::ports::ids::IdSource;
use crate::service::tokens::TokenSet;
use secrecy::SecretString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFolderError {
    #[error("cannot use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("{path} holds no token of 32 characters or more; delete it to have a new one made")]
    Token { path: PathBuf },
}

/// An open state folder.
pub struct StateFolder {
    /// Held until this process ends, however it does.
    _lock: File,
    folder: PathBuf,
    token: String,
    tokens: TokenSet,
}

/// Where the certificate of the simulated Azure is kept.
pub(super) struct CertificateFiles {
    /// What clients have to trust.
    pub ca: PathBuf,
    /// The certificate, and its private key.
    pub server: PathBuf,
}

impl StateFolder {
    /// Makes the folder and the token where they are not there yet.
    pub fn open(folder: &Path) -> Result<Self, StateFolderError> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| StateFolderError::Io { path, source }
        };
        make_folder(folder).map_err(io(folder))?;
        let path = folder.join("lock");
        let lock = match lock(&path).map_err(io(&path))? {
            Some(lock) => lock,
            None => return Err(StateFolderError::InUse { path: folder.to_path_buf() }),
        };
        let path = folder.join("token");
        let token = read_token(&path).and_then(|found| match found {
            Some(token) => keep_private(&path).map(|()| token),
            None => make_token(&path),
        });
        let token = token.map_err(io(&path))?;
        let tokens = TokenSet::new([("local".to_owned(), SecretString::from(token.clone()))]);
        let tokens = tokens.map_err(|_| StateFolderError::Token { path })?;
        Ok(Self { _lock: lock, folder: folder.to_path_buf(), token, tokens })
    }

    /// The embedded store.
    pub fn tables_file(&self) -> PathBuf {
        self.folder.join("tables.redb")
    }

    /// The heads of the audit.
    pub fn heads_folder(&self) -> PathBuf {
        self.folder.join("audit-heads")
    }

    /// The simulated Azure's state.
    pub fn azure_file(&self) -> PathBuf {
        self.folder.join("azure.json")
    }

    /// The files of the certificate.
    pub(super) fn certificate_files(&self) -> CertificateFiles {
        CertificateFiles {
            ca: self.folder.join("azure-ca.pem"),
            server: self.folder.join("azure-certificate-and-key.pem"),
        }
    }

    /// The tokens that callers may use.
    pub fn tokens(&self) -> TokenSet {
        self.tokens.clone()
    }

    /// The token for the person at the terminal.
    pub fn token_text(&self) -> String {
        self.token.clone()
    }
}

/// The folder holds names and addresses of people, so only its owner may read it.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A folder belongs to one process at a time. Where the file system knows no locks, the table file has one of its own.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = private().create(true).truncate(false).open(path)?;
    keep_private(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Some(file)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A first start that was killed before it wrote the token leaves an empty file.
fn read_token(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn make_token(path: &Path) -> io::Result<String> {
    let ids = RandomIds::new(Arc::new(SystemClock::new()));
    let token = format!("{}{}", ids.random().as_simple(), ids.random().as_simple());
    write_private(path, token.as_bytes())?;
    Ok(token)
}

/// Written under another name, so that a process that is killed leaves a whole file or none. Only its owner may read it.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = private().create(true).truncate(true).open(&unfinished)?;
    keep_private(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

/// Options for a file that only its owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
