//! The batches of the breakers (`s:batch:{id}`): what was held, and what an operator decided.

use crate::id::OpId;
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::rbac::breaker::{BatchKind, OpenBatch};
use crate::rbac::{BindingName, ReasonCode};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// What becomes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchState {
    /// It waits for an operator.
    Held,
    /// What it holds is carried out.
    Released,
    /// What it holds stays undone.
    Rejected,
}

impl BatchState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Held, Self::Released, Self::Rejected];

    /// The text in rows and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Released => "released",
            Self::Rejected => "rejected",
        }
    }
}

/// An operator's decision about a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchDecision {
    pub order: OpId,
    pub at: OffsetDateTime,
}

/// One batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBatch {
    pub id: OpId,
    pub kind: BatchKind,
    pub opened: OffsetDateTime,
    /// The end of its window: what is judged later does not join it.
    pub until: OffsetDateTime,
    pub bindings: Vec<BindingName>,
    pub state: BatchState,
    pub decision: Option<BatchDecision>,
    pub etag: ETag,
}

/// What the row of a batch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchRow {
    Absent,
    Known(StoredBatch),
    Unreadable,
}

/// The batches of an installation. `None`: the row is there and cannot be read, so it holds what it held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batches(BTreeMap<OpId, Option<StoredBatch>>);

impl Batches {
    /// A batch that can be read.
    pub fn get(&self, id: OpId) -> Option<&StoredBatch> {
        self.0.get(&id)?.as_ref()
    }

    /// Every batch that can be read, oldest first.
    pub fn each(&self) -> impl Iterator<Item = &StoredBatch> {
        self.0.values().flatten()
    }

    /// Every batch, oldest first; `None` where its row cannot be read.
    pub fn rows(&self) -> impl Iterator<Item = (OpId, Option<&StoredBatch>)> {
        self.0.iter().map(|(id, batch)| (*id, batch.as_ref()))
    }

    /// Batches that wait for an operator; one that cannot be read counts.
    pub fn waiting(&self) -> impl Iterator<Item = OpId> {
        let waits =
            |batch: &Option<StoredBatch>| batch.as_ref().is_none_or(|batch| batch.state == BatchState::Held);
        self.0.iter().filter(move |(_, batch)| waits(batch)).map(|(id, _)| *id)
    }

    /// Why a step that this batch holds may not be sent; `None`: it was released, or there is no such batch.
    pub fn reason_of(&self, batch: OpId, wanted: bool) -> Option<ReasonCode> {
        let state = self.0.get(&batch)?.as_ref().map_or(BatchState::Held, |batch| batch.state);
        match state {
            BatchState::Held => Some(ReasonCode::HeldByBreaker),
            BatchState::Released => None,
            BatchState::Rejected if wanted => Some(ReasonCode::RejectedByOrder),
            BatchState::Rejected => Some(ReasonCode::KeptByOrder),
        }
    }

    /// Takes a row of the settings, if it is one of these.
    pub(super) fn read_row(&mut self, store: &StateStore, row: &TableRow) {
        let name = row.key.strip_prefix("s:").and_then(|name| name.strip_prefix(keys::BATCH));
        let Some(id) = name.and_then(|id| OpId::parse(id).ok()) else { return };
        self.0.insert(id, store.readable(row, read(id, row)));
    }
}

impl StateStore {
    /// One batch; `None` where there is none, or its row cannot be read.
    pub async fn batch(&self, id: OpId) -> Result<Option<StoredBatch>, StoreError> {
        let row = self.get(&keys::batch(id)).await?;
        Ok(row.and_then(|row| self.readable(&row, read(id, &row))))
    }

    /// The row of a batch, and what it says.
    pub async fn batch_row(&self, id: OpId) -> Result<BatchRow, StoreError> {
        let Some(row) = self.get(&keys::batch(id)).await? else { return Ok(BatchRow::Absent) };
        Ok(self.readable(&row, read(id, &row)).map_or(BatchRow::Unreadable, BatchRow::Known))
    }

    /// All batches.
    pub async fn batches(&self) -> Result<Batches, StoreError> {
        let mut batches = Batches::default();
        let rows = self.rows_between_prefix(&keys::setting(keys::BATCH)).await?;
        rows.iter().for_each(|row| batches.read_row(self, row));
        Ok(batches)
    }

    async fn rows_between_prefix(&self, prefix: &str) -> Result<Vec<TableRow>, StoreError> {
        let (from, to) = keys::range_of(prefix);
        self.rows_between(from, to, usize::MAX).await
    }
}

fn read(id: OpId, row: &TableRow) -> Result<StoredBatch, StoreError> {
    let reader = RowReader::new(row)?;
    let corrupt =
        |property: &str| StoreError::Corrupt { row: row.key.clone(), property: property.to_owned() };
    let names = reader.text("bindings")?.split_whitespace().map(BindingName::parse);
    let state = |text: &str| BatchState::ALL.into_iter().find(|state| state.as_str() == text).ok_or(());
    let decision = match reader.parsed_opt("order", OpId::parse)? {
        Some(order) => Some(BatchDecision { order, at: reader.time("decided")? }),
        None => None,
    };
    Ok(StoredBatch {
        id,
        kind: reader.parsed("kind", |text| BatchKind::parse(text).ok_or(()))?,
        opened: reader.time("opened")?,
        until: reader.time("until")?,
        bindings: names.collect::<Option<_>>().ok_or_else(|| corrupt("bindings"))?,
        state: reader.parsed("state", state)?,
        decision,
        etag: row.etag.clone(),
    })
}

fn names(batch: &OpenBatch) -> String {
    let names: Vec<&str> = batch.bindings.iter().map(BindingName::as_str).collect();
    names.join(" ")
}

/// A breaker opens a batch.
pub fn open(kind: BatchKind, batch: &OpenBatch, now: OffsetDateTime) -> TableWrite {
    let properties = RowFields::row()
        .text("kind", kind.as_str())
        .time("opened", now)
        .time("until", batch.until)
        .text("bindings", names(batch))
        .text("state", BatchState::Held.as_str())
        .done();
    TableWrite::Insert { key: keys::batch(batch.id), properties }
}

/// What an operation took joins a batch that is still as it was read: one that was decided meanwhile takes nothing in.
pub fn join(batch: &OpenBatch, read: &StoredBatch) -> TableWrite {
    let properties = RowFields::some().text("bindings", names(batch)).done();
    TableWrite::Merge {
        key: keys::batch(batch.id),
        properties,
        condition: EtagMatch::Exact(read.etag.clone()),
    }
}

/// An operator decided.
pub fn decide(batch: &StoredBatch, state: BatchState, decision: &BatchDecision) -> TableWrite {
    let properties = RowFields::some()
        .text("state", state.as_str())
        .text("order", decision.order.to_string())
        .time("decided", decision.at)
        .done();
    TableWrite::Merge {
        key: keys::batch(batch.id),
        properties,
        condition: EtagMatch::Exact(batch.etag.clone()),
    }
}

/// A batch that holds nothing any more is forgotten, whether an operator decided it or its people left.
pub fn forget(batch: &StoredBatch) -> TableWrite {
    TableWrite::Delete { key: keys::batch(batch.id), condition: EtagMatch::Exact(batch.etag.clone()) }
}
