//! The state out of a file, into a table that holds none. The file is read to its end before the first row is written.
//!
//! It can be killed at any moment and begun again: a marker names the file from the first write to the last. Each write is conditional
//! on the marker as the run before it left it, so a run that was overtaken, or a call that comes late, writes nothing. While the
//! marker is there the service does nothing.
//!
//! What is restored is older than Azure. So the service is paused afterwards: what was taken from people since the export is not
//! given to them again before the identity provider has said once more who is in which group. Whoever it says has left still
//! loses everything at once.

use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::id::InstanceId;
use crate::store::levers::LeverOrder;
use crate::store::orders::OrderOutcome;
use crate::store::state_copy::{
    FoundState, RESTORED, RestoreEnd, RestoreMarker, RestoreRun, is_pause, is_restore_marker,
    rows_of_one_write,
};
use crate::store::state_file::{FileFooter, FileHeader, FileRow, StateFileError, StateFileReader};
use crate::store::{RowPages, StateStore, StoreError, TableRow};
use std::collections::VecDeque;
use std::io::{self, BufRead};

/// Rows that are held in memory.
const ROWS_AT_ONCE: usize = 200;
/// Attempts at one transaction while the table service is busy or away.
const TRIES_MAX: u32 = 20;

/// Why a restore was refused, or ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    File(#[from] StateFileError),
    #[error("cannot open the file")]
    Open(#[from] io::Error),
    #[error("cannot read or write the table (it must exist, and takes Storage Table Data Contributor)")]
    Store(#[from] StoreError),
    #[error("the file is of the tenant {file:?}, and the settings name {setting:?}")]
    Tenant { file: String, setting: String },
    #[error("the file is of the installation {file}, and the settings or the table name {expected}")]
    Instance { file: String, expected: InstanceId },
    #[error(
        "rows were changed while the file was made, so it is the state of no single moment; --accept-inexact restores it all the same"
    )]
    Inexact,
    #[error(
        "the table holds a state already, as row {key}: stop the app, and name an empty table or empty this one"
    )]
    InUse { key: String },
    #[error("the restore of another file is not complete, that of {file}: end it, or empty the table")]
    OtherRestore { file: String },
    #[error(
        "row {key} of the table is not as in the file: something wrote to the table meanwhile; stop the app, empty the table and restore again"
    )]
    Differs { key: String },
    #[error("the file was changed while it was restored")]
    Changed,
    #[error("another run of this command goes on with the restore, or has ended it")]
    Overtaken,
}

/// A file that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    pub header: FileHeader,
    pub footer: FileFooter,
    is_paused: bool,
}

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    pub who: String,
    pub because: String,
    pub accepts_inexact: bool,
    /// The installation that the settings name.
    pub instance: Option<InstanceId>,
}

/// What a restore is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreStage {
    Checking,
    Writing,
    Comparing,
}

/// What a restore did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    Now {
        rows: u64,
    },
    /// An earlier restore of the same file had ended.
    Before,
}

/// Opens the file once more.
pub type OpenFile<'a> = &'a dyn Fn() -> io::Result<Box<dyn BufRead>>;
/// Is given the rows of a stage so far.
pub type RestoreProgress<'a> = &'a dyn Fn(RestoreStage, usize);

/// Reads a file to its end: whether it is whole, and what it is of.
pub fn check(open: OpenFile<'_>, progress: RestoreProgress<'_>) -> Result<CheckedFile, RestoreError> {
    let mut reader = StateFileReader::begin(open()?)?;
    let (mut rows, mut is_paused) = (0, false);
    while let Some(row) = reader.next_row()? {
        is_paused |= is_pause(&row.key);
        rows += 1;
        progress(RestoreStage::Checking, rows);
    }
    let footer = reader.footer().cloned().ok_or(StateFileError::CutOff)?;
    Ok(CheckedFile { header: reader.header, footer, is_paused })
}

/// Restores a file into the table, and compares both afterwards.
pub async fn restore(
    store: &StateStore,
    open: OpenFile<'_>,
    request: &RestoreRequest,
    progress: RestoreProgress<'_>,
) -> Result<Restored, RestoreError> {
    let checked = check(open, progress)?;
    admit(store, &checked, request)?;
    let marker = marker_of(&checked);
    let run = match store.found_state().await? {
        FoundState::Empty { instance, waiting } => {
            is_of(&checked, instance)?;
            store.begin_restore(&marker, waiting).await?
        }
        FoundState::Restoring(found) if found.marker.file == marker.file => {
            store.take_restore_over(&found).await?
        }
        FoundState::Restoring(found) => {
            return Err(RestoreError::OtherRestore { file: found.marker.file });
        }
        FoundState::InUse { .. } if store.restored_by(&marker.file).await?.is_some() => {
            return Ok(Restored::Before);
        }
        FoundState::InUse { key } => return Err(RestoreError::InUse { key }),
    };
    let run = write_all(store, run, open, &checked, progress).await?;
    compare(store, open, &checked, progress).await?;
    end(store, &run, &checked, request).await?;
    Ok(Restored::Now { rows: checked.footer.rows })
}

fn admit(store: &StateStore, checked: &CheckedFile, request: &RestoreRequest) -> Result<(), RestoreError> {
    let CheckedFile { header, footer, .. } = checked;
    if header.tenant != store.tenant() {
        let (file, setting) = (header.tenant.clone(), store.tenant().to_owned());
        return Err(RestoreError::Tenant { file, setting });
    }
    is_of(checked, request.instance)?;
    if !footer.exact && !request.accepts_inexact {
        return Err(RestoreError::Inexact);
    }
    Ok(())
}

fn is_of(checked: &CheckedFile, expected: Option<InstanceId>) -> Result<(), RestoreError> {
    match expected.filter(|expected| checked.header.instance != Some(*expected)) {
        None => Ok(()),
        Some(expected) => {
            let file = checked.header.instance.map_or("no id".to_owned(), |instance| instance.to_string());
            Err(RestoreError::Instance { file, expected })
        }
    }
}

fn marker_of(checked: &CheckedFile) -> RestoreMarker {
    RestoreMarker {
        file: checked.footer.sha256.clone(),
        rows: checked.footer.rows,
        exported: checked.header.exported,
    }
}

async fn write_all(
    store: &StateStore,
    mut run: RestoreRun,
    open: OpenFile<'_>,
    checked: &CheckedFile,
    progress: RestoreProgress<'_>,
) -> Result<RestoreRun, RestoreError> {
    let mut reader = StateFileReader::begin(open()?)?;
    let mut held: Vec<FileRow> = Vec::new();
    let mut written = 0;
    loop {
        while held.len() < ROWS_AT_ONCE
            && let Some(row) = reader.next_row()?
        {
            held.push(row);
        }
        if held.is_empty() {
            break;
        }
        let number = rows_of_one_write(&held);
        let rows: Vec<FileRow> = held.drain(..number).collect();
        run = write_patiently(store, &run, &rows).await?;
        written += number;
        progress(RestoreStage::Writing, written);
    }
    is_same_file(&reader, checked)?;
    Ok(run)
}

/// A write whose answer was lost is looked for in the marker, and repeated where it is not there.
async fn write_patiently(
    store: &StateStore,
    run: &RestoreRun,
    rows: &[FileRow],
) -> Result<RestoreRun, RestoreError> {
    let mut tries = 1;
    loop {
        let error = match store.write_rows(run, rows).await {
            Ok(next) => return Ok(next),
            Err(error) => error,
        };
        match &error {
            StoreError::Away { retry_after, .. } if tries < TRIES_MAX => {
                store.clock.sleep(*retry_after).await
            }
            StoreError::Conflict { .. } if tries < TRIES_MAX => {}
            _ => return Err(error.into()),
        }
        tries += 1;
        match store.restore_run().await {
            Ok(Some(found)) if found.follows(run, rows.len()) => return Ok(found),
            Ok(Some(found)) if found == *run => {}
            Err(StoreError::Away { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(RestoreError::Overtaken),
        }
    }
}

fn is_same_file<R: BufRead>(reader: &StateFileReader<R>, checked: &CheckedFile) -> Result<(), RestoreError> {
    if reader.footer() == Some(&checked.footer) { Ok(()) } else { Err(RestoreError::Changed) }
}

/// Every row of the file is in the table as it is in the file, and no other is.
async fn compare(
    store: &StateStore,
    open: OpenFile<'_>,
    checked: &CheckedFile,
    progress: RestoreProgress<'_>,
) -> Result<(), RestoreError> {
    let mut reader = StateFileReader::begin(open()?)?;
    let mut table = TableRows { pages: store.every_row(), rows: VecDeque::new() };
    let mut compared = 0;
    loop {
        let (expected, found) = (reader.next_row()?, table.next().await?);
        match (expected, found) {
            (None, None) => return is_same_file(&reader, checked),
            (Some(row), Some(found)) if row.key == found.key && row.properties == found.properties => {}
            (Some(row), Some(found)) => return Err(RestoreError::Differs { key: row.key.min(found.key) }),
            (Some(row), None) => return Err(RestoreError::Differs { key: row.key }),
            (None, Some(found)) => return Err(RestoreError::Differs { key: found.key }),
        }
        compared += 1;
        progress(RestoreStage::Comparing, compared);
    }
}

/// The rows of the table without the marker.
struct TableRows<'a> {
    pages: RowPages<'a>,
    rows: VecDeque<TableRow>,
}

impl TableRows<'_> {
    async fn next(&mut self) -> Result<Option<TableRow>, StoreError> {
        loop {
            match self.rows.pop_front() {
                Some(row) if is_restore_marker(&row.key) => {}
                Some(row) => return Ok(Some(row)),
                None => match self.pages.next().await? {
                    Some(rows) => self.rows = rows.into(),
                    None => return Ok(None),
                },
            }
        }
    }
}

async fn end(
    store: &StateStore,
    run: &RestoreRun,
    checked: &CheckedFile,
    request: &RestoreRequest,
) -> Result<(), RestoreError> {
    let now = store.table_time().await?;
    let op = store.ids.op();
    let CheckedFile { header, footer, is_paused } = checked;
    let exported = crate::audit::rfc3339(header.exported);
    let changes = [
        Some(AuditEvent::StateRestored {
            exported: exported.clone(),
            rows: i64::try_from(footer.rows).unwrap_or(i64::MAX),
            hash: footer.sha256.clone(),
        }),
        (!is_paused).then_some(AuditEvent::PauseChanged { paused: true }),
    ];
    let record = AuditRecord {
        op,
        time: store.clock.now(),
        origin: ChangeOrigin { cause: ChangeCause::Order, actor: request.who.clone(), op },
        request: None,
        stamp: None,
        outcome: None,
        changes: changes.into_iter().flatten().collect(),
    };
    let outcome = OrderOutcome {
        order: op,
        op,
        verb: RESTORED.to_owned(),
        target: footer.sha256.clone(),
        who: request.who.clone(),
        because: request.because.clone(),
        at: now,
        is_refused: false,
        detail: format!("{} rows of the export of {exported}; paused until `resume`", footer.rows),
    };
    let pause = LeverOrder { order: op, since: now };
    Ok(store.end_restore(run, RestoreEnd { record, outcome, pause }).await?)
}
