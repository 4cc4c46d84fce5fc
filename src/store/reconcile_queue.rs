//! The marks that make somebody look: `d:` now, `w:` later, `dg:` at a whole group. They carry no data to act on.
//!
//! A mark of a person that takes something away is written together with the hint `dl:` ([`super::hints`]), so that
//! leavers are found without reading everybody. Every function here that writes such a mark writes both.

use crate::audit::{ChangeCause, ChangeOrigin};
use crate::id::{GroupId, OpId, UserId};
use crate::ports::tables::{ETag, EtagMatch, PropertyValue, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::leaver_hints::{self, WaitingRevocation};
use crate::store::{StoreError, keys};
use time::OffsetDateTime;
use uuid::Uuid;

/// Why somebody must be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileRequest {
    /// Something was taken away: looked at before anyone who only gains.
    pub taken_away: bool,
    /// It was taken by something else than other bindings: looked at before those who only move.
    pub left: bool,
    pub origin: ChangeOrigin,
}

impl ReconcileRequest {
    /// A mark without haste.
    pub fn new(origin: ChangeOrigin) -> Self {
        Self { taken_away: false, left: false, origin }
    }

    /// The same, with a revocation among it.
    pub fn taking(origin: ChangeOrigin) -> Self {
        Self { taken_away: true, left: origin.cause != ChangeCause::Snapshot, origin }
    }

    /// Of somebody who may hold what is not wanted any more: looked at among the leavers, whatever caused it.
    pub fn leaving(origin: ChangeOrigin) -> Self {
        Self { taken_away: true, left: true, origin }
    }

    /// What remains of this mark while a person waits, with or without a revocation. One that other bindings are not the cause
    /// of is a leaver's, also where the mark did not say so.
    pub fn waiting(&self, taken_away: bool) -> Self {
        let left = taken_away && (self.left || self.origin.cause != ChangeCause::Snapshot);
        Self { taken_away, left, origin: self.origin.clone() }
    }

    /// The properties of a mark.
    pub fn fields(&self) -> RowFields {
        let fields = RowFields::row()
            .text("cause", self.origin.cause.as_str())
            .text("actor", self.origin.actor.clone())
            .text("op", self.origin.op.to_string());
        self.haste(fields)
    }

    /// Adds what is only ever set: a merge never clears it, so whoever left stays in haste whatever comes on top.
    pub fn haste(&self, fields: RowFields) -> RowFields {
        let fields = if self.taken_away { fields.flag("taken_away", true) } else { fields };
        if self.left { fields.flag("left", true) } else { fields }
    }

    /// What stands for the mark of a row that cannot be read: somebody may be leaving.
    fn unknown() -> Self {
        let origin = ChangeOrigin {
            cause: ChangeCause::Sweep,
            actor: "unknown".to_owned(),
            op: OpId::new(Uuid::nil()),
        };
        Self { taken_away: true, left: true, origin }
    }

    /// Reads the mark out of a `d:`, `w:`, `dg:` or `i:` row.
    pub fn read(reader: &RowReader<'_>) -> Result<Self, StoreError> {
        let origin = ChangeOrigin {
            cause: reader.parsed("cause", |text| ChangeCause::parse(text).ok_or(()))?,
            actor: reader.text("actor")?.to_owned(),
            op: reader.parsed("op", OpId::parse)?,
        };
        Ok(Self { taken_away: reader.flag("taken_away")?, left: reader.flag("left")?, origin })
    }
}

/// The op of the change that wrote a mark or a job. Steps over the row leave it as it is; `None` where it cannot be read.
pub fn op_of(row: &TableRow) -> Option<&str> {
    match row.properties.get("op") {
        Some(PropertyValue::Text(op)) => Some(op),
        _ => None,
    }
}

/// Somebody to look at, as a row says it.
#[derive(Debug, Clone)]
pub struct QueuedRequest {
    pub user: UserId,
    pub request: ReconcileRequest,
    pub etag: ETag,
}

impl QueuedRequest {
    /// Reads a `d:` or `w:` row. Its key says who must be looked at, and that suffices: a mark that cannot be read keeps nobody
    /// from being looked at.
    pub fn read(row: &TableRow) -> Result<Self, StoreError> {
        let corrupt = |_| StoreError::Corrupt { row: row.key.clone(), property: "key".to_owned() };
        let user = UserId::parse(keys::last_part(&row.key)).map_err(corrupt)?;
        let mark = Self::mark(row).unwrap_or_else(|_| ReconcileRequest::unknown());
        Ok(Self { user, request: mark, etag: row.etag.clone() })
    }

    /// The mark alone, where it can be read.
    pub fn mark(row: &TableRow) -> Result<ReconcileRequest, StoreError> {
        ReconcileRequest::read(&RowReader::new(row)?)
    }
}

/// A change marks a person: cause, actor and op are replaced, what stands for haste stays.
pub fn enqueue_now(user: UserId, mark: &ReconcileRequest) -> Vec<TableWrite> {
    let look = TableWrite::InsertOrMerge { key: keys::request(user), properties: mark.fields().done() };
    with_hint(look, mark, || leaver_hints::hint_now(user, mark))
}

/// Look again, not before `at`. `waiting` is what the hint keeps of a revocation that waits.
pub fn enqueue_at(
    at: OffsetDateTime,
    user: UserId,
    mark: &ReconcileRequest,
    waiting: &WaitingRevocation,
) -> Vec<TableWrite> {
    let look =
        TableWrite::InsertOrMerge { key: keys::request_at(at, user), properties: mark.fields().done() };
    with_hint(look, mark, || leaver_hints::hint_at(at, user, mark, waiting))
}

/// Somebody who was looked at must be looked at again at once. A mark that is `there` is only touched, its cause stays;
/// else this one is written, and must not meet another. `touch` is what makes the touch a change.
pub fn enqueue_again(user: UserId, mark: &ReconcileRequest, there: bool, touch: &str) -> Vec<TableWrite> {
    with_hint(promote(user, mark, there, touch), mark, || leaver_hints::hint_now(user, mark))
}

/// A look that was later becomes one of now. Its hint is the caller's business.
pub fn promote(user: UserId, mark: &ReconcileRequest, there: bool, touch: &str) -> TableWrite {
    let key = keys::request(user);
    if there {
        let touched = RowFields::some().text("touched", touch);
        return TableWrite::Merge { key, properties: mark.haste(touched).done(), condition: EtagMatch::Any };
    }
    TableWrite::Insert { key, properties: mark.fields().done() }
}

fn with_hint(
    look: TableWrite,
    mark: &ReconcileRequest,
    hint: impl FnOnce() -> TableWrite,
) -> Vec<TableWrite> {
    if mark.taken_away { vec![look, hint()] } else { vec![look] }
}

/// A change marks everyone in a group; a walk that is under way begins again.
pub fn enqueue_group(group: GroupId, mark: &ReconcileRequest) -> TableWrite {
    let properties = mark.fields().text("cursor", "").int("depth", 0).done();
    TableWrite::InsertOrMerge { key: keys::group_request(group), properties }
}
