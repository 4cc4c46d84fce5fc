//! What a request of the reconcile queue says, and its priority.

use crate::audit::{ChangeCause, ChangeOrigin};
use crate::id::{GroupId, OpId, UserId};
use crate::ports::tables::{ETag, TableRow, TableWrite};
use crate::rbac::breaker::TakenBy;
use crate::store::batch::WriteBatch;
use crate::store::codec::{RowFields, RowReader};
use crate::store::reconcile_queue::queue_item::RowIdentity;
use crate::store::{CommittedWrites, StoreError, keys};
use uuid::Uuid;

/// Which request comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Nothing was taken away, or it is not known yet.
    #[default]
    Gain,
    /// Other bindings may take something away.
    Rebinding,
    /// Something was taken away for any other reason.
    Leaver,
}

impl Priority {
    /// Whether a revocation may be among it.
    pub const fn takes_away(self) -> bool {
        matches!(self, Priority::Rebinding | Priority::Leaver)
    }

    const fn of_flags(taken_away: bool, left: bool) -> Self {
        match (taken_away, left) {
            (_, true) => Priority::Leaver,
            (true, false) => Priority::Rebinding,
            (false, false) => Priority::Gain,
        }
    }

    /// Adds the flags, which are only ever set: a merge never clears them, so no later change takes a priority away.
    pub(super) fn raise(self, fields: RowFields) -> RowFields {
        let fields = if self.takes_away() { fields.flag("taken_away", true) } else { fields };
        if self == Priority::Leaver { fields.flag("left", true) } else { fields }
    }
}

/// Why a person must be reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileRequest {
    pub priority: Priority,
    pub origin: ChangeOrigin,
    /// The operation on several people that took something from this one, where there was one: no other change clears it.
    pub taken: Option<TakenBy>,
}

impl ReconcileRequest {
    /// A request that takes nothing away.
    pub fn gain(origin: ChangeOrigin) -> Self {
        Self { priority: Priority::Gain, origin, taken: None }
    }

    /// A request with a revocation among it: a leaver's, unless other bindings are the cause.
    pub fn taking_away(origin: ChangeOrigin) -> Self {
        let snapshot = origin.cause == ChangeCause::Snapshot;
        Self { priority: if snapshot { Priority::Rebinding } else { Priority::Leaver }, origin, taken: None }
    }

    /// A request of a person who may hold what is no longer wanted, whatever caused it.
    pub fn leaver(origin: ChangeOrigin) -> Self {
        Self { priority: Priority::Leaver, origin, taken: None }
    }

    /// The same, of an operation that takes something from so many people.
    pub fn of_operation(self, people: usize) -> Self {
        let taken = (people > 1).then(|| TakenBy::operation(self.origin.op, people));
        Self { taken, ..self }
    }

    /// The same, of an operation that takes something from so many people of a group.
    pub fn of_group(self, group: GroupId, people: usize) -> Self {
        let taken = (people > 1).then(|| TakenBy::people_of_group(self.origin.op, group, people));
        Self { taken, ..self }
    }

    /// The same, unless it is of a larger operation already: the larger one decides.
    pub fn or_of_group(self, group: GroupId, people: usize) -> Self {
        let own = self.clone().of_group(group, people);
        let size = |request: &Self| request.taken.map_or(0, |taken| taken.size);
        if size(&own) > size(&self) { own } else { self }
    }

    /// What remains of this request while a person waits, with or without a revocation. One that other bindings are not the
    /// cause of is a leaver's, also where the request did not say so.
    pub fn waiting(&self, takes_away: bool) -> Self {
        let priority = match takes_away {
            false => Priority::Gain,
            true if self.priority == Priority::Leaver => Priority::Leaver,
            true if self.origin.cause != ChangeCause::Snapshot => Priority::Leaver,
            true => Priority::Rebinding,
        };
        Self { priority, origin: self.origin.clone(), taken: self.taken.filter(|_| takes_away) }
    }

    /// The properties of a request.
    pub(in crate::store) fn fields(&self) -> RowFields {
        let fields = RowFields::row()
            .text("cause", self.origin.cause.as_str())
            .text("actor", self.origin.actor.clone())
            .text("op", self.origin.op.to_string());
        self.raise(fields)
    }

    /// Adds what later marks only ever add to: the priority, and the operation that takes something away. Each power of two of its
    /// people has a property of its own, so that a smaller operation does not replace a larger one that is not judged yet.
    pub(super) fn raise(&self, fields: RowFields) -> RowFields {
        let fields = match self.taken {
            Some(TakenBy { op, size }) => fields.text(&took(size), format!("{op} {size}")),
            None => fields,
        };
        self.priority.raise(fields)
    }

    /// The request that replaces one that cannot be read: it may be a leaver's.
    fn unknown() -> Self {
        let origin = ChangeOrigin {
            cause: ChangeCause::Sweep,
            actor: "unknown".to_owned(),
            op: OpId::new(Uuid::nil()),
        };
        Self { priority: Priority::Leaver, origin, taken: None }
    }

    /// Reads the request out of a `d:`, `w:`, `dg:` or `i:` row.
    pub(in crate::store) fn read(reader: &RowReader<'_>) -> Result<Self, StoreError> {
        let origin = ChangeOrigin {
            cause: reader.parsed("cause", |text| ChangeCause::parse(text).ok_or(()))?,
            actor: reader.text("actor")?.to_owned(),
            op: reader.parsed("op", OpId::parse)?,
        };
        let priority = Priority::of_flags(reader.flag("taken_away")?, reader.flag("left")?);
        Ok(Self { priority, origin, taken: read_taken(reader)? })
    }

    /// The request of a row.
    pub(in crate::store) fn read_row(row: &TableRow) -> Result<Self, StoreError> {
        Self::read(&RowReader::new(row)?)
    }

    /// The priority of a row, where it can be read.
    pub(in crate::store) fn priority_of(row: &TableRow) -> Priority {
        Self::read_row(row).map_or(Priority::default(), |request| request.priority)
    }
}

/// Operations of more people count as of so many.
const TOOK_MAX: u32 = 16;

fn took(people: usize) -> String {
    format!("took_{}", people.max(1).ilog2().min(TOOK_MAX))
}

/// The largest operation that the row names.
fn read_taken(reader: &RowReader<'_>) -> Result<Option<TakenBy>, StoreError> {
    let parse = |text: &str| {
        let (op, size) = text.split_once(' ').ok_or(())?;
        Ok::<_, ()>(TakenBy::operation(OpId::parse(op).map_err(drop)?, size.parse().map_err(drop)?))
    };
    for power in (0..=TOOK_MAX).rev() {
        if let Some(taken) = reader.parsed_opt(&format!("took_{power}"), parse)? {
            return Ok(Some(taken));
        }
    }
    Ok(None)
}

/// A person's request, as its row has it.
#[derive(Debug, Clone)]
pub struct QueuedRequest {
    pub user: UserId,
    pub request: ReconcileRequest,
    pub etag: ETag,
}

impl QueuedRequest {
    /// Reads a `d:` or `w:` row. Its key says who must be reconciled, and that suffices: a request that cannot be read keeps no
    /// person out.
    pub(in crate::store) fn read(row: &TableRow) -> Result<Self, StoreError> {
        let user = UserId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row))?;
        let request = Self::request(row).unwrap_or_else(|_| ReconcileRequest::unknown());
        Ok(Self { user, request, etag: row.etag.clone() })
    }

    /// The request of a person as a batch inserted it. `None` where the batch wrote over one that was there, of which it does
    /// not know what it says, or where the answer was lost.
    pub fn inserted(user: UserId, batch: &WriteBatch, committed: &CommittedWrites) -> Option<Self> {
        let key = keys::request(user);
        let index = batch.position(&key)?;
        let TableWrite::Insert { properties, .. } = batch.write(index)? else { return None };
        let row = TableRow { key, properties: properties.clone(), etag: committed.etag(index)? };
        Self::read(&row).ok()
    }

    /// The request alone, where it can be read.
    pub(super) fn request(row: &TableRow) -> Result<ReconcileRequest, StoreError> {
        ReconcileRequest::read_row(row)
    }
}

/// A request of later whose row was found.
#[derive(Debug, Clone)]
pub struct DueRequest {
    pub queued: QueuedRequest,
    pub(super) row: RowIdentity,
}

impl DueRequest {
    pub(super) fn read(row: &TableRow) -> Result<Self, StoreError> {
        Ok(Self { queued: QueuedRequest::read(row)?, row: RowIdentity::of(row) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::tables::RowProperties;

    fn request(op: u128, people: usize) -> ReconcileRequest {
        let op = OpId::new(Uuid::from_u128(op));
        let origin = ChangeOrigin { cause: ChangeCause::Request, actor: "entra".to_owned(), op };
        ReconcileRequest::taking_away(origin).of_operation(people)
    }

    /// Which operation a row names after these marks, each over the one before.
    #[track_caller]
    fn check(marks: &[ReconcileRequest], expected: Option<(u128, usize)>) {
        let mut properties = RowProperties::new();
        marks.iter().for_each(|mark| properties.extend(mark.fields().done()));
        let row = TableRow { key: "d:x".to_owned(), properties, etag: ETag("1".to_owned()) };
        let read = ReconcileRequest::read(&RowReader::new(&row).unwrap()).unwrap();
        let expected = expected.map(|(op, size)| TakenBy::operation(OpId::new(Uuid::from_u128(op)), size));
        assert_eq!(read.taken, expected);
    }

    #[test]
    fn a_later_mark_does_not_replace_a_larger_operation() {
        check(&[request(1, 1)], None);
        check(&[request(1, 200), request(2, 1)], Some((1, 200)));
        check(&[request(1, 200), request(2, 3)], Some((1, 200)));
        check(&[request(1, 3), request(2, 200)], Some((2, 200)));
        check(&[request(1, 1_000_000)], Some((1, 1_000_000)));
    }

    #[test]
    fn the_people_of_a_group_do_not_make_an_operation_smaller() {
        let group = GroupId::new(Uuid::from_u128(9));
        let part = |people| Some(TakenBy::people_of_group(OpId::new(Uuid::from_u128(1)), group, people));
        assert_eq!(request(1, 600).or_of_group(group, 20).taken, request(1, 600).taken);
        assert_eq!(request(1, 600).or_of_group(group, 1).taken, request(1, 600).taken);
        assert_eq!(request(1, 3).or_of_group(group, 20).taken, part(20));
        assert_eq!(request(1, 1).or_of_group(group, 20).taken, part(20));
    }
}
