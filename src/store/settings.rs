//! Rows of the whole installation: the active snapshot, throttles, schedules, levers, the instance id.

use crate::id::InstanceId;
use crate::ports::tables::{ETag, EtagMatch, TableAnswer, TableRow, TableWrite};
use crate::store::batches::Batches;
use crate::store::codec::{RowFields, RowReader};
use crate::store::drills::{self, DrillRow, StoredDrill};
use crate::store::levers::Levers;
use crate::store::pending_bindings::{self, PendingBindings, PendingRow};
use crate::store::room_claims::RoomClaims;
use crate::store::scope_blocks::{self, ScopeBlocks};
use crate::store::state_copy::insert_instance;
use crate::store::state_hold::{INSTANCE, IncompleteRows, InstanceRow, StateHold};
use crate::store::throttles::StoredThrottles;
use crate::store::{StateStore, StoreError, keys};
use std::borrow::Cow;
use time::OffsetDateTime;

/// The snapshot of the bindings that every process plans with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveVersion {
    pub stamp: String,
    pub hash: String,
    pub etag: ETag,
}

/// What the row `s:bindings` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ActiveVersionRow {
    /// Nothing was ever stored.
    #[default]
    Absent,
    Names(ActiveVersion),
    Unreadable,
}

impl ActiveVersionRow {
    /// The snapshot that it names, where it can be read.
    pub const fn pointer(&self) -> Option<&ActiveVersion> {
        match self {
            ActiveVersionRow::Names(pointer) => Some(pointer),
            ActiveVersionRow::Absent | ActiveVersionRow::Unreadable => None,
        }
    }

    /// The stamp of the snapshot that it names.
    pub fn stamp(&self) -> Option<&str> {
        self.pointer().map(|pointer| pointer.stamp.as_str())
    }

    /// Whether both name the same snapshot.
    pub fn is_same(&self, other: &ActiveVersionRow) -> bool {
        let unreadable = |row: &ActiveVersionRow| *row == ActiveVersionRow::Unreadable;
        self.stamp() == other.stamp() && unreadable(self) == unreadable(other)
    }
}

/// The rows under `s:`.
#[derive(Debug, Clone, Default)]
pub struct TenantSettings {
    pub pointer: ActiveVersionRow,
    /// `None`: it was not made yet, or cannot be read.
    pub instance: Option<InstanceId>,
    pub instance_row: Option<InstanceRow>,
    /// Why a service may do nothing with this state, if it may not.
    pub hold: Option<StateHold>,
    pub(super) incomplete: IncompleteRows,
    pub throttles: StoredThrottles,
    pub claims: RoomClaims,
    pub levers: Levers,
    pub batches: Batches,
    pub pending: Option<PendingRow>,
    pub drill: DrillRow,
}

impl TenantSettings {
    /// The bundled file that waits for an operator.
    pub fn waiting(&self) -> Option<&PendingBindings> {
        self.pending.as_ref()?.waiting(self.pointer.stamp())
    }
}

impl StateStore {
    /// Everything under `s:`. There are as many rows as there are subscriptions that ever throttled, and brakes: no number is too
    /// many.
    pub async fn settings(&self) -> Result<TenantSettings, StoreError> {
        let mut settings = TenantSettings::default();
        let (from, to) = keys::range_of("s:");
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(|row| self.take_setting(row, &mut settings));
        }
        settings.hold = self.hold_of(&settings);
        Ok(settings)
    }

    /// The same, and the scopes that refuse steps now: their rows come next in the table.
    pub async fn settings_and_blocks(&self) -> Result<(TenantSettings, ScopeBlocks), StoreError> {
        let mut settings = TenantSettings::default();
        let mut blocks = ScopeBlocks::new();
        let (from, _) = keys::range_of("s:");
        let (_, to) = keys::range_of(keys::SCOPE_BLOCKS);
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                if row.key.starts_with(keys::SCOPE_BLOCKS) {
                    blocks.extend(scope_blocks::read(row).ok().flatten());
                } else {
                    self.take_setting(row, &mut settings);
                }
            }
            if blocks.len() >= scope_blocks::BLOCKS_MAX {
                break;
            }
        }
        settings.hold = self.hold_of(&settings);
        Ok((settings, blocks))
    }

    fn hold_of(&self, settings: &TenantSettings) -> Option<StateHold> {
        let in_use = settings.pointer != ActiveVersionRow::Absent;
        let row = settings.instance_row.as_ref();
        StateHold::of(&settings.incomplete, row, in_use, self.expected_instance())
    }

    fn take_setting(&self, row: &TableRow, settings: &mut TenantSettings) {
        match row.key.strip_prefix("s:").unwrap_or_default() {
            "bindings" => settings.pointer = self.pointer_row(row),
            pending_bindings::NAME => settings.pending = Some(self.pending_in(row)),
            drills::NAME => {
                let read = self.readable(row, StoredDrill::read(row));
                settings.drill = read.map_or(DrillRow::Unreadable, |read| DrillRow::Readable(Box::new(read)));
            }
            INSTANCE => {
                settings.instance_row = self.readable(row, InstanceRow::read(row));
                settings.instance = settings.instance_row.as_ref().map(|row| row.id);
            }
            _ => {
                settings.incomplete.read_row(row);
                settings.batches.read_row(self, row);
                settings.levers.read_row(self, row);
                settings.throttles.read_row(row);
                settings.claims.read_row(row);
            }
        }
    }

    fn pointer_row(&self, row: &TableRow) -> ActiveVersionRow {
        self.readable(row, read_pointer(row)).map_or(ActiveVersionRow::Unreadable, ActiveVersionRow::Names)
    }

    /// The active snapshot.
    pub async fn pointer(&self) -> Result<ActiveVersionRow, StoreError> {
        Ok(self.pointer_now().await?.value)
    }

    /// The active snapshot, with the service's clock.
    pub async fn pointer_now(&self) -> Result<TableAnswer<ActiveVersionRow>, StoreError> {
        let TableAnswer { value, date } = self.read(&keys::setting("bindings")).await?;
        Ok(TableAnswer { value: value.map_or(ActiveVersionRow::Absent, |row| self.pointer_row(&row)), date })
    }

    /// What the next snapshot replaces. A pointer that cannot be read is replaced too, by a snapshot that is newer than every
    /// one that was ever stored: so a package that is stamped anew mends it. One from further ahead is left alone.
    pub async fn pointer_to_replace(
        &self,
        row: &ActiveVersionRow,
    ) -> Result<Option<ActiveVersion>, StoreError> {
        match row {
            ActiveVersionRow::Absent => return Ok(None),
            ActiveVersionRow::Names(pointer) => return Ok(Some(pointer.clone())),
            ActiveVersionRow::Unreadable => {}
        }
        let Some(row) = self.get(&keys::setting("bindings")).await? else { return Ok(None) };
        match read_pointer(&row) {
            Ok(pointer) => Ok(Some(pointer)),
            Err(error @ StoreError::TooNew { .. }) => Err(error),
            Err(_) => Ok(Some(ActiveVersion {
                stamp: self.last_stamp().await?,
                hash: String::new(),
                etag: row.etag,
            })),
        }
    }

    /// The stamp of the newest snapshot that was ever stored; empty where none was.
    async fn last_stamp(&self) -> Result<String, StoreError> {
        let (from, to) = keys::range_of("c:");
        let mut last = String::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            last = rows.last().map(|row| keys::last_part(&row.key).to_owned()).unwrap_or(last);
        }
        Ok(last)
    }

    /// The table service's clock.
    pub async fn table_time(&self) -> Result<OffsetDateTime, StoreError> {
        Ok(self.read(&keys::setting("sweep")).await?.date)
    }

    /// The snapshot with that stamp cannot be read.
    pub fn unreadable_snapshot(stamp: &str) -> StoreError {
        StoreError::Corrupt { row: keys::snapshot(stamp), property: "b".to_owned() }
    }

    /// The bytes of a stored snapshot, where they can be read.
    pub async fn snapshot(&self, stamp: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(row) = self.get(&keys::snapshot(stamp)).await? else { return Ok(None) };
        Ok(self
            .readable(&row, RowReader::new(&row).and_then(|reader| reader.bytes("b")))
            .map(Cow::into_owned))
    }

    /// The id of this installation, if it was made.
    pub async fn known_instance(&self) -> Result<Option<InstanceId>, StoreError> {
        self.get(&keys::setting(INSTANCE)).await?.as_ref().map(read_instance).transpose()
    }

    /// The id of this installation: made at the first start, unless the settings name it; read afterwards.
    pub async fn instance(&self) -> Result<InstanceId, StoreError> {
        let key = keys::setting(INSTANCE);
        if let Some(row) = self.get(&key).await? {
            return read_instance(&row);
        }
        let id = self.expected_instance().unwrap_or_else(|| InstanceId::new(self.ids.random()));
        match self.transact_unjournaled(&[insert_instance(id)]).await {
            Ok(_) => Ok(id),
            Err(error) => match self.get(&key).await? {
                Some(row) => read_instance(&row),
                None => Err(error),
            },
        }
    }
}

fn read_instance(row: &TableRow) -> Result<InstanceId, StoreError> {
    RowReader::new(row)?.parsed("id", InstanceId::parse)
}

fn read_pointer(row: &TableRow) -> Result<ActiveVersion, StoreError> {
    let reader = RowReader::new(row)?;
    Ok(ActiveVersion {
        stamp: reader.text("stamp")?.to_owned(),
        hash: reader.text("hash")?.to_owned(),
        etag: row.etag.clone(),
    })
}

/// Lower-case hex SHA-256 of a file of bindings.
pub fn content_hash(bytes: &[u8]) -> String {
    keys::hash(&String::from_utf8_lossy(bytes))
}

/// The pointer moves to a snapshot, over the version that was read.
pub fn point(stamp: &str, hash: &str, read: Option<&ETag>) -> TableWrite {
    let key = keys::setting("bindings");
    let properties = RowFields::row().text("stamp", stamp).text("hash", hash).done();
    match read {
        Some(etag) => TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) },
        None => TableWrite::Insert { key, properties },
    }
}

/// A snapshot is stored.
pub fn store_snapshot(stamp: &str, hash: &str, bytes: &[u8]) -> TableWrite {
    let properties = RowFields::row().text("hash", hash).bytes("b", bytes).done();
    TableWrite::Insert { key: keys::snapshot(stamp), properties }
}
