//! The writes of one transaction, each with the part it plays: a refusal names the index of a write, and the part
//! says what that means.

use crate::id::MemberId;
use crate::ports::tables::TableWrite;

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchPart {
    /// The header of the resource that changes.
    Header,
    /// The owner of a unique name.
    Name,
    /// An index that is not unique.
    Index,
    /// The owner of an Entra object id, or the record's side of it.
    Pin,
    /// A counter of resources.
    Counter,
    /// One direction of a membership.
    Membership,
    /// The touch of the header of that member.
    Touch(MemberId),
    /// A reconcile request or a new job.
    Request,
    /// The job that a change of the same resource left.
    Job,
    /// Names and addresses for audit output.
    Names,
    /// What a change must not come later than: it is of another row, and nothing is read again where it fails.
    Fence,
}

/// Writes in the order they are sent. The first one that fails is reported.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch(Vec<(BatchPart, TableWrite)>);

impl WriteBatch {
    /// One more write.
    pub fn push(&mut self, part: BatchPart, write: TableWrite) {
        self.0.push((part, write));
    }

    /// Writes that all play the same part.
    pub fn extend(&mut self, part: BatchPart, writes: Vec<TableWrite>) {
        self.0.extend(writes.into_iter().map(|write| (part, write)));
    }

    /// The writes of `other`, after these.
    pub fn append(&mut self, other: WriteBatch) {
        self.0.extend(other.0);
    }

    /// How many writes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Every write with its part, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(BatchPart, TableWrite)> {
        self.0.iter()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The part that write `index` plays.
    pub fn part(&self, index: usize) -> Option<BatchPart> {
        self.0.get(index).map(|(part, _)| *part)
    }

    /// Write `index`.
    pub fn write(&self, index: usize) -> Option<&TableWrite> {
        self.0.get(index).map(|(_, write)| write)
    }

    /// The same, where the row that write `index` inserts may be there: then it is merged into that one.
    pub fn merging(&self, index: usize) -> Self {
        let mut all = self.clone();
        if let Some((_, write)) = all.0.get_mut(index)
            && let TableWrite::Insert { key, properties } = write
        {
            *write = TableWrite::InsertOrMerge {
                key: std::mem::take(key),
                properties: std::mem::take(properties),
            };
        }
        all
    }

    /// The write of that row.
    pub fn position(&self, key: &str) -> Option<usize> {
        self.0.iter().position(|(_, write)| write.key() == key)
    }

    /// The writes alone, in order.
    pub fn writes(&self) -> Vec<TableWrite> {
        self.0.iter().map(|(_, write)| write.clone()).collect()
    }
}
