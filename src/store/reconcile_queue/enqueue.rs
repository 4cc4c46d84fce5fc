//! Requests in and out of the queue.

use crate::id::{GroupId, MemberId, UserId};
use crate::ports::tables::{ETag, EtagMatch, TableAnswer, TableRow, TableWrite};
use crate::store::codec::RowFields;
use crate::store::reconcile_queue::leaver_hints::{self, WaitingRevocation};
use crate::store::reconcile_queue::queue_item::{QueueItem, QueuePosition};
use crate::store::reconcile_queue::request::{QueuedRequest, ReconcileRequest};
use crate::store::{RowPages, StateStore, StoreError, keys};
use time::OffsetDateTime;

/// Requests of now, page by page.
pub struct RequestPages<'a>(RowPages<'a>);

impl RequestPages<'_> {
    /// The next requests, at least one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<QueueItem<QueuedRequest>>>, StoreError> {
        let rows = self.0.next().await?;
        let item = |row: &TableRow| QueueItem::of(row, QueuedRequest::read(row));
        Ok(rows.map(|rows| rows.iter().map(item).collect()))
    }
}

impl StateStore {
    /// The request of a person, with the table service's clock.
    pub async fn request_of(&self, user: UserId) -> Result<TableAnswer<Option<QueuedRequest>>, StoreError> {
        let TableAnswer { value, date } = self.read(&keys::request(user)).await?;
        let Some(row) = value else { return Ok(TableAnswer { value: None, date }) };
        self.readable(&row, QueuedRequest::request(&row));
        Ok(TableAnswer { value: Some(QueuedRequest::read(&row)?), date })
    }

    /// Whether a person has a request of now.
    pub async fn has_request(&self, user: UserId) -> Result<bool, StoreError> {
        Ok(self.get(&keys::request(user)).await?.is_some())
    }

    /// When the oldest change was made whose request is there, among the first `rows_max` behind `after` and then from the
    /// beginning. A request that cannot be read says nothing.
    pub async fn oldest_request(
        &self,
        after: &QueuePosition,
        rows_max: usize,
    ) -> Result<Option<OffsetDateTime>, StoreError> {
        let (mut rows, _) = self.queue_rows("d:", after, rows_max).await?;
        if !after.is_start() && rows.len() < rows_max {
            let (rest, _) = self.queue_rows("d:", &QueuePosition::default(), rows_max - rows.len()).await?;
            rows.extend(rest);
        }
        let made = |row: &TableRow| QueuedRequest::read(row).ok()?.request.origin.op.time();
        Ok(rows.iter().filter_map(made).min())
    }

    /// Requests of now that lie behind `after`, up to and with the row at `until`, or to the end.
    pub fn requests_between(&self, after: &QueuePosition, until: Option<&QueuePosition>) -> RequestPages<'_> {
        let (from, end) = keys::range_of("d:");
        let to = until.map_or(end, |until| until.or_start(String::new()));
        RequestPages(self.pages(after.or_start(from), to))
    }
}

/// A change enqueues a person: cause, actor and op are replaced, the priority is only raised.
pub fn enqueue_now(user: UserId, request: &ReconcileRequest) -> Vec<TableWrite> {
    let write = TableWrite::InsertOrMerge { key: keys::request(user), properties: request.fields().done() };
    with_hint(write, request, || leaver_hints::hint_now(user, request))
}

/// The same for a person who has no request yet: it must not meet another.
pub fn enqueue_first(user: UserId, request: &ReconcileRequest) -> Vec<TableWrite> {
    let write = TableWrite::Insert { key: keys::request(user), properties: request.fields().done() };
    with_hint(write, request, || leaver_hints::hint_now(user, request))
}

/// A change enqueues a member: a person, or everyone in a group.
pub fn enqueue_member(member: MemberId, request: &ReconcileRequest) -> Vec<TableWrite> {
    match member {
        MemberId::User(user) => enqueue_now(user, request),
        MemberId::Group(group) => vec![enqueue_group(group, request)],
    }
}

/// Reconcile again, not before `at`. `waiting` is what the hint keeps of a revocation that waits.
pub fn enqueue_at(
    at: OffsetDateTime,
    user: UserId,
    request: &ReconcileRequest,
    waiting: &WaitingRevocation,
) -> Vec<TableWrite> {
    let write =
        TableWrite::InsertOrMerge { key: keys::request_at(at, user), properties: request.fields().done() };
    with_hint(write, request, || leaver_hints::hint_at(at, user, request, waiting))
}

/// A person whose revocation was held back is reconciled now. Their hint keeps why it waited, and with it its place behind those who
/// leave.
pub fn enqueue_decided(user: UserId, request: &ReconcileRequest) -> Vec<TableWrite> {
    let write = TableWrite::InsertOrMerge { key: keys::request(user), properties: request.fields().done() };
    with_hint(write, request, || leaver_hints::hint_due(user, request))
}

/// A person who was reconciled must be reconciled again at once. A request that is `there` is only touched, its cause stays;
/// else this one is written, and must not meet another. `touch` is what makes the touch a change.
pub fn enqueue_again(user: UserId, request: &ReconcileRequest, there: bool, touch: &str) -> Vec<TableWrite> {
    with_hint(promote(user, request, there, touch), request, || leaver_hints::hint_now(user, request))
}

/// A request of later becomes one of now. The caller writes its hint.
pub(super) fn promote(user: UserId, request: &ReconcileRequest, there: bool, touch: &str) -> TableWrite {
    let key = keys::request(user);
    if there {
        let touched = RowFields::some().text("touched", touch);
        let properties = request.raise(touched).done();
        return TableWrite::Merge { key, properties, condition: EtagMatch::Any };
    }
    TableWrite::Insert { key, properties: request.fields().done() }
}

fn with_hint(
    write: TableWrite,
    request: &ReconcileRequest,
    hint: impl FnOnce() -> TableWrite,
) -> Vec<TableWrite> {
    if request.priority.takes_away() { vec![write, hint()] } else { vec![write] }
}

/// A change enqueues the members of a group; a fan-out that is under way begins again.
pub fn enqueue_group(group: GroupId, request: &ReconcileRequest) -> TableWrite {
    let properties = request.fields().text("cursor", "").int("depth", 0).done();
    TableWrite::InsertOrMerge { key: keys::group_request(group), properties }
}

/// The request is as it was read, and gets a new version.
pub fn touch(read: &QueuedRequest) -> TableWrite {
    let condition = EtagMatch::Exact(read.etag.clone());
    TableWrite::Merge { key: keys::request(read.user), properties: read.request.fields().done(), condition }
}

/// The request is completed, if it still has that version.
pub fn complete(user: UserId, version: ETag) -> TableWrite {
    TableWrite::Delete { key: keys::request(user), condition: EtagMatch::Exact(version) }
}
