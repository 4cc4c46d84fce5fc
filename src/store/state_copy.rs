//! Every row of a tenant, read for an export and written by a restore, and the rows that say that the state is not complete.
//!
//! `s:restore` is there from the first write of a restore to its last: what is in the table is then a part of a state.
//! `s:lost` is there while a service waits for an operator: it found an empty table though its settings name an installation.

use crate::audit::AuditRecord;
use crate::id::{InstanceId, OpId};
use crate::ports::tables::{ETag, EtagMatch, PAGE_ROWS_MAX, TRANSACTION_OPS_MAX, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::levers::{self, LeverOrder};
use crate::store::orders::OrderOutcome;
use crate::store::state_file::FileRow;
use crate::store::{CommittedWrites, RowPages, StateStore, StoreError, keys};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// The names of both rows among the settings.
pub(super) const RESTORE: &str = "restore";
pub(super) const LOST: &str = "lost";
/// Above every key of ours.
const KEYS_END: &str = "~";
/// Settings that each tick writes and that decide nothing: an export is exact whether they changed or not.
const BOOKKEEPING: [&str; 3] = ["overdue", "sweep", "tick"];
/// Estimated bytes of the rows that one transaction of a restore writes.
const WRITTEN_BYTES_MAX: usize = 1024 * 1024;

/// A restore that is not complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreMarker {
    /// The hash in the last line of the file.
    pub file: String,
    pub rows: u64,
    /// When the export began.
    pub exported: OffsetDateTime,
}

/// The restore that one run of the command carries out. Every write of it is conditional on the marker as this run left it: what
/// another run, or a call that comes late, would write is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRun {
    pub marker: RestoreMarker,
    run: String,
    written: i64,
    etag: ETag,
}

impl RestoreRun {
    /// Whether this is what `before` becomes by writing so many rows.
    pub fn follows(&self, before: &Self, rows: usize) -> bool {
        self.run == before.run && self.written == before.after(rows)
    }

    fn after(&self, rows: usize) -> i64 {
        self.written.saturating_add(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        Ok(Self {
            marker: RestoreMarker::read(row)?,
            run: reader.text("run")?.to_owned(),
            written: reader.int("written")?,
            etag: row.etag.clone(),
        })
    }
}

impl RestoreMarker {
    fn insert(&self, run: &str) -> TableWrite {
        let properties = RowFields::row()
            .text("file", self.file.as_str())
            .int("rows", i64::try_from(self.rows).unwrap_or(i64::MAX))
            .time("exported", self.exported)
            .text("run", run)
            .int("written", 0)
            .done();
        TableWrite::Insert { key: keys::setting(RESTORE), properties }
    }

    pub(super) fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        Ok(Self {
            file: reader.text("file")?.to_owned(),
            rows: u64::try_from(reader.int("rows")?).unwrap_or_default(),
            exported: reader.time("exported")?,
        })
    }
}

/// What a restore finds in the table.
#[derive(Debug, Clone, PartialEq)]
pub enum FoundState {
    /// Nothing, or only what a service wrote that waits: these rows.
    Empty { instance: Option<InstanceId>, waiting: Vec<TableRow> },
    /// A restore that is not complete.
    Restoring(RestoreRun),
    /// Rows of a state.
    InUse { key: String },
}

/// What a restore writes last.
pub struct RestoreEnd {
    pub record: AuditRecord,
    pub outcome: OrderOutcome,
    /// The service is paused from then on.
    pub pause: LeverOrder,
}

/// Whether a row may change while an export that is exact is made.
pub fn is_bookkeeping(key: &str) -> bool {
    BOOKKEEPING.iter().any(|name| key == keys::setting(name))
}

/// Whether the row is the one that says that a restore is not complete.
pub fn is_restore_marker(key: &str) -> bool {
    key == keys::setting(RESTORE)
}

/// Whether the row says that the state it is in is not complete.
pub fn is_incomplete(key: &str) -> bool {
    is_restore_marker(key) || key == keys::setting(LOST)
}

/// Whether the row is an operator's pause.
pub fn is_pause(key: &str) -> bool {
    levers::is_pause(key)
}

/// The state is lost, as far as the service knows, since then.
pub(super) fn insert_lost(now: OffsetDateTime) -> TableWrite {
    TableWrite::Insert { key: keys::setting(LOST), properties: RowFields::row().time("since", now).done() }
}

/// The row of the installation's id.
pub(super) fn insert_instance(instance: InstanceId) -> TableWrite {
    let properties = RowFields::row().text("id", instance.to_string()).done();
    TableWrite::Insert { key: keys::setting("instance"), properties }
}

/// The rows of a file that one transaction takes, from the first on: at least one.
pub fn rows_of_one_write(rows: &[FileRow]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&FileRow| {
        bytes += approximate_bytes(row);
        bytes <= WRITTEN_BYTES_MAX
    };
    rows.iter().take(TRANSACTION_OPS_MAX - 1).take_while(fits).count().max(1)
}

fn approximate_bytes(row: &FileRow) -> usize {
    let FileRow { key, properties } = row.clone();
    let row = TableRow { key, properties, etag: ETag(String::new()) };
    2 * row.bytes() + 512
}

impl StateStore {
    /// Every row of this tenant, in the order of the keys.
    pub fn every_row(&self) -> RowPages<'_> {
        self.pages(String::new(), KEYS_END.to_owned())
    }

    /// The same, without their properties.
    pub fn every_key(&self) -> RowPages<'_> {
        self.key_pages(String::new(), KEYS_END.to_owned())
    }

    /// What is there before a restore.
    pub async fn found_state(&self) -> Result<FoundState, StoreError> {
        if let Some(row) = self.get(&keys::setting(RESTORE)).await? {
            return RestoreRun::read(&row).map(FoundState::Restoring);
        }
        let waiting: BTreeSet<String> =
            BOOKKEEPING.iter().chain(&["instance", LOST]).map(|name| keys::setting(name)).collect();
        let mut pages = self.every_row();
        let first = pages.at_most(PAGE_ROWS_MAX.min(waiting.len() + 1)).await?.unwrap_or_default();
        let is_waiting = first.iter().any(|row| row.key == keys::setting(LOST));
        match first.iter().find(|row| !is_waiting || !waiting.contains(&row.key)) {
            Some(row) => Ok(FoundState::InUse { key: row.key.clone() }),
            None => Ok(FoundState::Empty { instance: self.known_instance().await?, waiting: first }),
        }
    }

    /// The first write of a restore. What a service wrote that waits makes room for the rows of the file.
    pub async fn begin_restore(
        &self,
        marker: &RestoreMarker,
        waiting: Vec<TableRow>,
    ) -> Result<RestoreRun, StoreError> {
        let run = self.ids.random().to_string();
        let mut writes = vec![marker.insert(&run)];
        writes.extend(
            waiting
                .into_iter()
                .map(|row| TableWrite::Delete { key: row.key, condition: EtagMatch::Exact(row.etag) }),
        );
        let etag = marker_etag(self.transact_unjournaled(&writes).await?)?;
        Ok(RestoreRun { marker: marker.clone(), run, written: 0, etag })
    }

    /// Goes on with a restore that another run left.
    pub async fn take_restore_over(&self, found: &RestoreRun) -> Result<RestoreRun, StoreError> {
        let run = RestoreRun { run: self.ids.random().to_string(), written: 0, ..found.clone() };
        self.write_rows(&run, &[]).await
    }

    /// The restore that is not complete, as its marker is now.
    pub async fn restore_run(&self) -> Result<Option<RestoreRun>, StoreError> {
        self.get(&keys::setting(RESTORE)).await?.as_ref().map(RestoreRun::read).transpose()
    }

    /// Writes rows of a file, as long as no other run has written meanwhile.
    pub async fn write_rows(&self, run: &RestoreRun, rows: &[FileRow]) -> Result<RestoreRun, StoreError> {
        let written = run.after(rows.len());
        let properties = RowFields::some().text("run", run.run.as_str()).int("written", written).done();
        let condition = EtagMatch::Exact(run.etag.clone());
        let mut writes = vec![TableWrite::Merge { key: keys::setting(RESTORE), properties, condition }];
        writes.extend(rows.iter().map(|row| TableWrite::InsertOrReplace {
            key: row.key.clone(),
            properties: row.properties.clone(),
        }));
        let etag = marker_etag(self.transact_unjournaled(&writes).await?)?;
        Ok(RestoreRun { written, etag, ..run.clone() })
    }

    /// The last write of a restore: what was done is recorded, and the table is a state.
    pub async fn end_restore(&self, run: &RestoreRun, end: RestoreEnd) -> Result<(), StoreError> {
        let RestoreEnd { record, outcome, pause } = end;
        let condition = EtagMatch::Exact(run.etag.clone());
        let marker = TableWrite::Delete { key: keys::setting(RESTORE), condition };
        let mut writes = vec![marker, outcome.insert()];
        writes.push(levers::pause_again(&pause));
        self.commit(&record, writes).await.map(drop)
    }

    /// The order that a restore of that file left, where it is complete.
    pub async fn restored_by(&self, file: &str) -> Result<Option<OpId>, StoreError> {
        let outcomes = self.order_outcomes(PAGE_ROWS_MAX).await?;
        let of_file = |outcome: &&OrderOutcome| outcome.verb == RESTORED && outcome.target == file;
        Ok(outcomes.iter().rev().find(of_file).map(|outcome| outcome.order))
    }
}

/// The marker is the first row of every write of a restore.
fn marker_etag(committed: CommittedWrites) -> Result<ETag, StoreError> {
    let etag = committed.etags.into_iter().next().flatten();
    etag.ok_or_else(|| StoreError::Invalid { rule: "a write of a row answers its version".to_owned() })
}

/// What the list of orders calls a restore.
pub const RESTORED: &str = "state-restore";
