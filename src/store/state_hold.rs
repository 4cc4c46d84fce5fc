//! Why a service may do nothing with the state that it finds: it was lost, a restore of it is not complete, or it is the state of
//! another installation than the settings name.
//!
//! Every reconcile reads the settings, so what is found here holds in every process at once.

use crate::id::InstanceId;
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::state_copy::{LOST, RESTORE, insert_instance, insert_lost};
use crate::store::{StateStore, StoreError, keys};
use time::OffsetDateTime;

/// The name of the row of the installation's id.
pub(super) const INSTANCE: &str = "instance";

/// The id of the installation, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    pub id: InstanceId,
    /// What a service last said that its settings name.
    pub setting: Option<InstanceId>,
    etag: ETag,
}

impl InstanceRow {
    pub(super) fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let id = reader.parsed("id", InstanceId::parse)?;
        // It informs: what cannot be read is as good as none.
        let setting = reader.parsed_opt("setting", InstanceId::parse).unwrap_or_default();
        Ok(Self { id, setting, etag: row.etag.clone() })
    }
}

/// The rows that say that the state is not complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncompleteRows {
    restoring: bool,
    lost: Option<LostState>,
}

/// The state was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostState {
    /// When a service found that. `None`: its row cannot be read.
    pub since: Option<OffsetDateTime>,
    etag: ETag,
}

impl LostState {
    /// The state begins anew, unless another process decided otherwise meanwhile.
    pub fn end(&self) -> TableWrite {
        TableWrite::Delete { key: keys::setting(LOST), condition: EtagMatch::Exact(self.etag.clone()) }
    }
}

impl IncompleteRows {
    /// Takes a row under `s:`, if it is one of these. That it is there decides, whatever can be read of it.
    pub(super) fn read_row(&mut self, row: &TableRow) {
        match row.key.strip_prefix("s:") {
            Some(RESTORE) => self.restoring = true,
            Some(LOST) => {
                let since = RowReader::new(row).and_then(|reader| reader.time("since")).ok();
                self.lost = Some(LostState { since, etag: row.etag.clone() });
            }
            _ => {}
        }
    }
}

/// Why a service may do nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateHold {
    /// A restore is not complete.
    Restoring,
    /// The table was found empty, though the settings name an installation. `None`: no row says so yet.
    Lost(Option<LostState>),
    /// The state is of another installation than the settings name.
    OtherInstance { row: InstanceId, setting: InstanceId },
}

impl StateHold {
    /// The stable word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            StateHold::Restoring => "restoring",
            StateHold::Lost(_) => "lost",
            StateHold::OtherInstance { .. } => "other-installation",
        }
    }

    /// What these rows mean for an installation whose own settings name `expected`. `in_use`: there are active bindings.
    pub(super) fn of(
        rows: &IncompleteRows,
        instance: Option<&InstanceRow>,
        in_use: bool,
        expected: Option<InstanceId>,
    ) -> Option<Self> {
        let IncompleteRows { restoring, lost } = rows;
        if *restoring {
            return Some(StateHold::Restoring);
        }
        if let Some(lost) = lost {
            return Some(StateHold::Lost(Some(lost.clone())));
        }
        let setting = expected?;
        match instance {
            Some(row) if row.id != setting => Some(StateHold::OtherInstance { row: row.id, setting }),
            Some(_) => None,
            // Only its id is gone then, and comes back.
            None if in_use => None,
            None => Some(StateHold::Lost(None)),
        }
    }
}

impl StateStore {
    /// Writes down that the state was lost, and under which id the installation goes on. Another process may have done it.
    pub async fn note_lost(&self) -> Result<(), StoreError> {
        let Some(instance) = self.expected_instance() else { return Ok(()) };
        let now = self.table_time().await?;
        match self.transact_unjournaled(&[insert_lost(now), insert_instance(instance)]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes down what the settings of this service name, where that is not known yet: `doctor` shows it.
    pub async fn note_setting(&self, row: &InstanceRow) -> Result<(), StoreError> {
        let expected = self.expected_instance();
        if row.setting == expected {
            return Ok(());
        }
        let setting = expected.map(|setting| setting.to_string()).unwrap_or_default();
        let properties = RowFields::some().text("setting", setting).done();
        let condition = EtagMatch::Exact(row.etag.clone());
        let write = TableWrite::Merge { key: keys::setting(INSTANCE), properties, condition };
        match self.transact_unjournaled(&[write]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
