//! The heads that a file is verified with: a folder of them, which is filled from the container or from the table where none is
//! given.

use crate::app;
use crate::audit::chain::{AuditHead, HeadSource, head_file};
use crate::cli::operator::{OperatorArguments, OperatorError};
use crate::ports::head_archive::HeadArchive;
use crate::store::StateStore;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use time::Date;

/// Heads that may be missing in the container before it counts as its end.
const GAP_MAX: u64 = 16;
/// Digits of the name of a file.
const NAME_CHARS: usize = 10;

/// Where heads come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadsFrom {
    Folder,
    Container,
    /// Whoever can write the table can write these too.
    Table,
}

impl HeadsFrom {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            HeadsFrom::Folder => "folder",
            HeadsFrom::Container => "container",
            HeadsFrom::Table => "table",
        }
    }
}

/// A folder with a file for each head.
pub(super) struct HeadFolder {
    folder: PathBuf,
    /// It was made for this command.
    is_temporary: bool,
}

impl HeadFolder {
    /// A folder of the caller: the one with the files, or the one above it, as the container has them.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let mut folder = folder.to_path_buf();
        if numbers(&folder)?.is_empty() {
            let inner = fs::read_dir(&folder)?.collect::<Result<Vec<_>, _>>()?;
            if let [only] = inner.as_slice()
                && only.file_type()?.is_dir()
            {
                folder = only.path();
            }
        }
        Ok(Self { folder, is_temporary: false })
    }

    fn temporary() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("azure-backup-scim-heads-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self { folder, is_temporary: true })
    }

    /// The numbers of the first and the last head of these days, and of all heads where no day is given. `None`: there is none.
    pub(super) fn range(
        &mut self,
        since: Option<Date>,
        until: Option<Date>,
    ) -> io::Result<Option<(u64, u64)>> {
        let all = numbers(&self.folder)?;
        let ends = |numbers: &[u64]| numbers.first().copied().zip(numbers.last().copied());
        if since.is_none() && until.is_none() {
            return Ok(ends(&all));
        }
        let mut chosen = Vec::new();
        for number in all {
            let day = self.head(number)?.and_then(|bytes| AuditHead::parse(&bytes).ok()).map(|head| head.day);
            // One that cannot be read is a finding of its own.
            let is_chosen = day.is_none_or(|day| {
                since.is_none_or(|since| day >= since) && until.is_none_or(|until| day <= until)
            });
            chosen.extend(is_chosen.then_some(number));
        }
        Ok(ends(&chosen))
    }
}

impl HeadSource for HeadFolder {
    fn head(&mut self, number: u64) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.folder.join(head_file(number))) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for HeadFolder {
    fn drop(&mut self) {
        if self.is_temporary {
            // What is left of it is in the folder for temporary files.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(folder)? {
        let name = file?.file_name();
        let number =
            name.to_str().filter(|name| name.len() == NAME_CHARS).and_then(|name| name.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Copies the heads of the installation into a folder: from the container, or from the table where there is none.
pub(super) async fn copy_heads(
    operator: &OperatorArguments,
) -> Result<(HeadFolder, HeadsFrom), OperatorError> {
    let folder = HeadFolder::temporary()?;
    let access = operator.access()?;
    match operator.heads()? {
        Some((config, heads)) => {
            let archive = app::operator_heads(&config, &heads).map_err(OperatorError::Connect)?;
            copy_from_container(archive.as_ref(), access.store.tenant(), &folder).await?;
            Ok((folder, HeadsFrom::Container))
        }
        None => {
            copy_from_table(&access.store, &folder).await?;
            Ok((folder, HeadsFrom::Table))
        }
    }
}

async fn copy_from_container(
    archive: &dyn HeadArchive,
    tenant: &str,
    folder: &HeadFolder,
) -> Result<(), OperatorError> {
    let (mut number, mut missing) = (0, 0);
    while missing < GAP_MAX {
        let name = head_file(number);
        match archive.get(&format!("{tenant}/{name}")).await.map_err(OperatorError::Archive)? {
            Some(bytes) => {
                fs::write(folder.folder.join(name), bytes)?;
                missing = 0;
            }
            None => missing += 1,
        }
        number += 1;
    }
    Ok(())
}

async fn copy_from_table(store: &StateStore, folder: &HeadFolder) -> Result<(), OperatorError> {
    let next = store.audit_chain().await?.value.map_or(0, |chain| chain.state.next);
    for number in 0..next {
        if let Some(head) = store.audit_head(number).await? {
            fs::write(folder.folder.join(head_file(number)), head.text)?;
        }
    }
    Ok(())
}
