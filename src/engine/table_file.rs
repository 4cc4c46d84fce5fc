//! The file of a table: created atomically, readable by its owner only, and rejected when it is truncated.

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, TableDefinition};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The format that this release reads and writes.
pub(super) const FORMAT: u64 = 1;
/// Bytes of the file that are kept in memory.
const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The format of the file.
const META_FORMAT: &str = "format";

/// Why a table file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("{} has format {found}, and this release knows only format {}", path.display(), FORMAT)]
    Format { path: PathBuf, found: u64 },
    #[error("{} is cut off, damaged or no table file: put a copy of it back", path.display())]
    Corrupt {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    #[error("{} cannot be opened", path.display())]
    Unopenable {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    #[error("the writer of {} cannot be started", path.display())]
    Writer {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Opens the file, and creates it first where it is missing.
pub(super) fn open_or_make(path: &Path) -> Result<Database, EngineError> {
    if !path.try_exists().map_err(|error| unusable(path, error.into()))? {
        make(path).map_err(|error| unusable(path, error))?;
    }
    keep_private(path).map_err(|error| unusable(path, error.into()))?;
    let database = open(path).map_err(|error| unusable(path, error))?;
    match format(&database).map_err(|error| unusable(path, error))? {
        Some(FORMAT) => Ok(database),
        Some(found) => Err(EngineError::Format { path: path.to_owned(), found }),
        None => Err(unusable(path, redb::Error::TableDoesNotExist(META.to_string()))),
    }
}

/// Opens an existing file.
pub(super) fn open(path: &Path) -> Result<Database, redb::Error> {
    Ok(builder().open(path)?)
}

/// Makes the tables of a new database.
pub(super) fn prepare(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ROWS)?;
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES_MAX);
    builder
}

/// Creates an empty table under a temporary name and renames it, so that a killed process leaves a whole file or none. A
/// folder is used by one process at a time, so a temporary file that exists was left by a dead process.
fn make(path: &Path) -> Result<(), redb::Error> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = Path::new(&unfinished);
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let database = builder().create_with_backend(FileBackend::new(options.open(unfinished)?)?)?;
    prepare(&database)?;
    database.close()?;
    OpenOptions::new().write(true).open(unfinished)?.sync_all()?;
    fs::rename(unfinished, path)?;
    sync_folder_of(path)?;
    Ok(())
}

/// Removes the permissions of other users from a file: it holds names and addresses, or a token.
pub(crate) fn keep_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// A new name is on the disk once its folder is.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(META_FORMAT)?.map(|format| format.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn unusable(path: &Path, error: redb::Error) -> EngineError {
    let path = path.to_owned();
    let source = Box::new(error);
    match &*source {
        redb::Error::DatabaseAlreadyOpen => EngineError::InUse { path },
        redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. } => EngineError::Corrupt { path, source },
        redb::Error::Io(io) if is_damage(io.kind()) => EngineError::Corrupt { path, source },
        _ => EngineError::Unopenable { path, source },
    }
}

fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
