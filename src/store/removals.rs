//! Commits that do not need the rows that they only remove.
//!
//! A change is decided by the header that it carries in its condition. The name, index and membership rows that go with it
//! are expected to be there, and so they are not read. Where one of them is missing after all, or belongs to another record,
//! the transaction is sent again without it: a damaged row must never block a revocation.

use crate::audit::AuditRecord;
use crate::events::log_event;
use crate::id::{GroupId, UserId};
use crate::ports::tables::{EtagMatch, PropertyValue, TableRow, TableWrite};
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::resources::ResourceId;
use crate::store::{CommittedWrites, FoundRow, StateStore, StoreError};
use futures_util::future::try_join_all;

/// Which rows may be missing that a batch only removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayMiss {
    /// Names and indexes: they follow from the header whose version the batch carries, so no other request has removed them.
    Indexes,
    /// Memberships too: a row that is still missing after a second read is damaged.
    Everything,
}

/// The writes of a batch that are sent, each with its place in the batch.
struct Sent<'a> {
    batch: &'a WriteBatch,
    may_miss: MayMiss,
    writes: Vec<(usize, TableWrite)>,
}

impl<'a> Sent<'a> {
    fn all(batch: &'a WriteBatch, may_miss: MayMiss) -> Self {
        let writes = batch.iter().map(|(_, write)| write.clone()).enumerate().collect();
        Self { batch, may_miss, writes }
    }

    fn writes(&self) -> Vec<TableWrite> {
        self.writes.iter().map(|(_, write)| write.clone()).collect()
    }

    /// Whether the transaction met a row that is not there and that it would only have removed or written anew.
    fn met_nothing(&self, outcome: &Result<CommittedWrites, StoreError>) -> bool {
        let Err(StoreError::Conflict { index, found: FoundRow::Gone }) = outcome else { return false };
        self.writes.get(*index).is_some_and(|(place, write)| self.may_miss(*place, write))
    }

    /// Whether the row of a write may be missing: one that is removed, or a name that is only spelt otherwise.
    fn may_miss(&self, place: usize, write: &TableWrite) -> bool {
        match (self.batch.part(place), write) {
            (Some(BatchPart::Name), TableWrite::Merge { condition: EtagMatch::Any, .. }) => true,
            (
                Some(BatchPart::Name | BatchPart::Index),
                TableWrite::Delete { condition: EtagMatch::Any, .. },
            ) => true,
            (_, TableWrite::Delete { condition: EtagMatch::Any, .. }) => self.may_miss == MayMiss::Everything,
            _ => false,
        }
    }

    /// The outcome as the batch's own writes have it.
    fn outcome(&self, outcome: Result<CommittedWrites, StoreError>) -> Result<CommittedWrites, StoreError> {
        match outcome {
            Ok(committed) if committed.etags.is_empty() => Ok(committed),
            Ok(committed) => {
                let mut etags = vec![None; self.batch.len()];
                for ((place, _), etag) in self.writes.iter().zip(committed.etags) {
                    if let Some(slot) = etags.get_mut(*place) {
                        *slot = etag;
                    }
                }
                Ok(CommittedWrites { etags, ..committed })
            }
            Err(StoreError::Conflict { index, found }) => {
                let index = self.writes.get(index).map_or(index, |(place, _)| *place);
                Err(StoreError::Conflict { index, found })
            }
            Err(error) => Err(error),
        }
    }
}

/// A write of a row that was found so; `None`: it is left out. What is removed or renamed must still be the row that was read.
fn narrowed(
    is_name: bool,
    write: TableWrite,
    row: Option<&TableRow>,
    batch: &WriteBatch,
) -> Option<TableWrite> {
    let belongs_to_another = |row: &TableRow| {
        let owner = |name: &str, headers: &str| match row.properties.get(name) {
            Some(PropertyValue::Text(owner)) => Some(format!("{headers}{owner}")),
            _ => None,
        };
        let header = owner(UserId::OWNER, UserId::HEADERS).or(owner(GroupId::OWNER, GroupId::HEADERS));
        header.is_some_and(|header| batch.position(&header).is_none())
    };
    match (write, row) {
        (TableWrite::Delete { .. }, None) => None,
        (_, Some(row)) if is_name && belongs_to_another(row) => None,
        (TableWrite::Delete { key, .. }, Some(row)) => {
            Some(TableWrite::Delete { key, condition: EtagMatch::Exact(row.etag.clone()) })
        }
        (TableWrite::Merge { key, properties, .. }, None) => Some(TableWrite::Insert { key, properties }),
        (write, _) => Some(write),
    }
}

impl StateStore {
    /// Commits a batch together with its journal row, whether or not the rows are there that it only removes. Indexes in the
    /// outcome are those of the batch.
    pub async fn commit_batch(
        &self,
        record: &AuditRecord,
        batch: &WriteBatch,
        may_miss: MayMiss,
    ) -> Result<CommittedWrites, StoreError> {
        let mut sent = Sent::all(batch, may_miss);
        let mut outcome = self.commit(record, sent.writes()).await;
        if sent.met_nothing(&outcome) {
            sent = self.without_missing(&sent).await?;
            outcome = self.commit(record, sent.writes()).await;
        }
        sent.outcome(outcome)
    }

    async fn without_missing<'a>(&self, sent: &Sent<'a>) -> Result<Sent<'a>, StoreError> {
        let batch = sent.batch;
        let narrowed = sent.writes.iter().map(|(place, write)| (*place, write.clone())).map(
            |(place, write)| async move {
                if !sent.may_miss(place, &write) {
                    return Ok(Some((place, write)));
                }
                let part = batch.part(place);
                let key = write.key().to_owned();
                let row = self.get(&key).await?;
                let kept = narrowed(part == Some(BatchPart::Name), write, row.as_ref(), batch);
                if row.is_none() || kept.is_none() {
                    log_event!(
                        RowInconsistent,
                        row = key,
                        "a row is missing or another record's; the change goes on without it"
                    );
                }
                Ok::<_, StoreError>(kept.map(|write| (place, write)))
            },
        );
        let writes = try_join_all(narrowed).await?.into_iter().flatten().collect();
        Ok(Sent { batch, may_miss: sent.may_miss, writes })
    }
}
