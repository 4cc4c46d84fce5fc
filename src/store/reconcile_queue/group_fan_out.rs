//! A group's request: it becomes a request for each of its members, page by page. A member that is a group gets a request of its
//! own, one level deeper.

use crate::audit::ChangeCause;
use crate::id::{GroupId, MemberId, UserId};
use crate::ports::tables::{EtagMatch, TableRow, TableWrite};
use crate::rbac::breaker::TakenBy;
use crate::store::codec::{RowFields, RowReader};
use crate::store::members::NESTING_DEPTH_MAX;
use crate::store::reconcile_queue::enqueue::enqueue_now;
use crate::store::reconcile_queue::queue_item::{QueueItem, QueuePage, QueuePosition};
use crate::store::reconcile_queue::request::{Priority, ReconcileRequest};
use crate::store::{StateStore, StoreError, keys};
use futures_util::future::try_join_all;

/// Members of one transaction: request and hint each, and the position in the group.
const PAGE_MEMBERS_MAX: usize = 48;

/// A group whose members wait for their requests.
#[derive(Debug, Clone, Copy)]
pub struct GroupTurn {
    pub group: GroupId,
    pub priority: Priority,
}

/// One page of a group's members.
#[derive(Debug, Default)]
pub struct FanOutPage {
    /// The people who were enqueued.
    pub users: Vec<UserId>,
    /// The groups in this one that were enqueued.
    pub groups: Vec<GroupId>,
    /// Every member was enqueued: the group's request is gone.
    pub is_done: bool,
}

/// A group's request, as its row has it.
struct GroupRequest {
    request: ReconcileRequest,
    /// The id of the last member that was enqueued; empty at the beginning.
    position: String,
    /// Levels of nesting between this group and the one that the change was about.
    depth: usize,
    /// The people of this request's operation were counted.
    is_counted: bool,
}

impl GroupRequest {
    fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let request = ReconcileRequest::read(&reader)?;
        Ok(Self {
            position: reader.text("cursor")?.to_owned(),
            depth: usize::try_from(reader.int("depth")?).unwrap_or_default(),
            is_counted: reader.text_opt("counted")? == Some(request.origin.op.to_string().as_str()),
            request,
        })
    }

    /// Whether the breakers have to know how many people the operation takes something from, and nothing says so yet.
    fn wants_count(&self, group: GroupId) -> bool {
        let request = &self.request;
        let own = [request.origin.op, TakenBy::people_of_group(request.origin.op, group, 1).op];
        request.priority == Priority::Leaver
            && request.origin.cause != ChangeCause::Snapshot
            && request.taken.is_none_or(|taken| !own.contains(&taken.op))
            && !self.is_counted
    }

    /// Whether its members are enqueued at least as this request of a group around it asks for: by the same change, which was
    /// made before the first of them was enqueued.
    fn covers(&self, outer: &Self) -> bool {
        let (own, asked) = (&self.request, &outer.request);
        let size = |request: &ReconcileRequest| request.taken.map_or(0, |taken| taken.size);
        own.origin.op == asked.origin.op
            && self.depth <= outer.depth + 1
            && own.priority >= asked.priority
            && size(own) >= size(asked)
    }

    /// The request of a group in this one, over the row that is there. A row of a later change keeps its cause. `None`: what is
    /// there suffices, and beginning again would only let two groups that are in one another begin each other for ever.
    fn hand_on(&self, group: GroupId, there: Option<&TableRow>) -> Option<TableWrite> {
        let key = keys::group_request(group);
        let begins = |fields: RowFields, depth: usize| {
            let depth = i64::try_from(depth).unwrap_or(i64::MAX);
            let counted = self.is_counted.then(|| self.request.origin.op.to_string());
            fields.text("cursor", "").int("depth", depth).text_if("counted", counted).done()
        };
        let Some(row) = there else {
            let properties = begins(self.request.fields(), self.depth + 1);
            return Some(TableWrite::Insert { key, properties });
        };
        let condition = EtagMatch::Exact(row.etag.clone());
        let own = Self::read(row).ok();
        if own.as_ref().is_some_and(|own| own.covers(self)) {
            return None;
        }
        let depth = own.as_ref().map_or(self.depth + 1, |own| own.depth.min(self.depth + 1));
        let is_later = own.is_some_and(|own| own.request.origin.op > self.request.origin.op);
        let fields = if is_later { self.request.raise(RowFields::some()) } else { self.request.fields() };
        Some(TableWrite::Merge { key, properties: begins(fields, depth), condition })
    }
}

impl StateStore {
    /// Groups that have a request, from a position on, at most so many. A request that cannot be read has no priority, and the
    /// fan-out says why.
    pub async fn group_requests(
        &self,
        after: &QueuePosition,
        rows_max: usize,
    ) -> Result<QueuePage<GroupTurn>, StoreError> {
        let (rows, next) = self.queue_rows("dg:", after, rows_max).await?;
        let turn = |row: &TableRow| {
            Ok(GroupTurn { group: group_of(row)?, priority: ReconcileRequest::priority_of(row) })
        };
        Ok(QueuePage { items: rows.iter().map(|row| QueueItem::of(row, turn(row))).collect(), next })
    }

    /// The request of a group as its people are judged by it: where it takes something from several, it has their number.
    pub async fn group_request_as_judged(
        &self,
        group: GroupId,
        row: &TableRow,
    ) -> Result<Option<ReconcileRequest>, StoreError> {
        let Some(read) = self.readable(row, GroupRequest::read(row)) else { return Ok(None) };
        let people = if read.wants_count(group) { self.count_people(group).await? } else { 0 };
        Ok(Some(read.request.or_of_group(group, people)))
    }

    /// Enqueues the next page of a group's members.
    pub async fn fan_out_page(&self, group: GroupId) -> Result<FanOutPage, StoreError> {
        let Some(row) = self.get(&keys::group_request(group)).await? else {
            return Ok(FanOutPage { is_done: true, ..FanOutPage::default() });
        };
        let mut outer = GroupRequest::read(&row)?;
        let (from, to) = keys::range_of(&keys::members_prefix(group));
        let from = if outer.position.is_empty() { from } else { format!("{from}{}!", outer.position) };
        let rows = self.rows_between(from, to, PAGE_MEMBERS_MAX).await?;
        // A row that names no member is passed over: it must neither end the fan-out nor hold it up.
        let members = self.members_in(&rows).await?;
        let users: Vec<UserId> = members.iter().filter_map(MemberId::user).collect();
        let groups: Vec<GroupId> = members.iter().filter_map(MemberId::group).collect();
        if outer.wants_count(group) {
            if rows.len() >= PAGE_MEMBERS_MAX || !groups.is_empty() || !outer.position.is_empty() {
                return self.count_operation(group, &row, outer.request).await;
            }
            outer.request = outer.request.or_of_group(group, users.len());
        }
        let nested = self.hand_on_requests(&outer, &groups).await?;
        let mut writes: Vec<TableWrite> =
            users.iter().flat_map(|user| enqueue_now(*user, &outer.request)).collect();
        writes.extend(nested.iter().map(|(_, write)| write.clone()));
        writes.push(advance(&row, rows.last()));
        let groups = nested.into_iter().map(|(group, _)| group).collect();
        match self.transact_unjournaled(&writes).await {
            Ok(_) => Ok(FanOutPage { users, groups, is_done: rows.is_empty() }),
            Err(StoreError::Conflict { .. }) => Ok(FanOutPage::default()),
            Err(error) => Err(error),
        }
    }

    /// The requests of the groups in a group that need one. Groups beyond the bound get none: a reconcile does not read so far
    /// upwards.
    async fn hand_on_requests(
        &self,
        outer: &GroupRequest,
        groups: &[GroupId],
    ) -> Result<Vec<(GroupId, TableWrite)>, StoreError> {
        if outer.depth >= NESTING_DEPTH_MAX {
            return Ok(Vec::new());
        }
        let requests = groups.iter().map(|group| async move {
            let there = self.get(&keys::group_request(*group)).await?;
            Ok::<_, StoreError>(outer.hand_on(*group, there.as_ref()).map(|write| (*group, write)))
        });
        Ok(try_join_all(requests).await?.into_iter().flatten().collect())
    }

    /// Before anyone is enqueued by a change that takes something away, the request notes how many people there are, groups in
    /// the group included: the breakers judge the change by its size.
    async fn count_operation(
        &self,
        group: GroupId,
        row: &TableRow,
        request: ReconcileRequest,
    ) -> Result<FanOutPage, StoreError> {
        let op = request.origin.op.to_string();
        let request = request.of_group(group, self.count_people(group).await?);
        let properties = request.raise(RowFields::some()).text("counted", op).done();
        let condition = EtagMatch::Exact(row.etag.clone());
        match self
            .transact_unjournaled(&[TableWrite::Merge { key: row.key.clone(), properties, condition }])
            .await
        {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(FanOutPage::default()),
            Err(error) => Err(error),
        }
    }
}

fn advance(row: &TableRow, last: Option<&TableRow>) -> TableWrite {
    let condition = EtagMatch::Exact(row.etag.clone());
    match last {
        None => TableWrite::Delete { key: row.key.clone(), condition },
        Some(last) => TableWrite::Merge {
            key: row.key.clone(),
            properties: RowFields::some().text("cursor", keys::last_part(&last.key)).done(),
            condition,
        },
    }
}

fn group_of(row: &TableRow) -> Result<GroupId, StoreError> {
    GroupId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::ChangeOrigin;
    use crate::id::OpId;
    use crate::ports::tables::{ETag, RowProperties};
    use crate::store::reconcile_queue::enqueue_group;
    use uuid::Uuid;

    fn id() -> GroupId {
        GroupId::new(Uuid::from_u128(7))
    }

    fn request(op: u128, takes_away: bool) -> ReconcileRequest {
        let op = OpId::new(Uuid::from_u128(op));
        let origin = ChangeOrigin { cause: ChangeCause::Request, actor: "entra".to_owned(), op };
        if takes_away { ReconcileRequest::taking_away(origin) } else { ReconcileRequest::gain(origin) }
    }

    fn row(properties: RowProperties) -> TableRow {
        TableRow { key: keys::group_request(id()), properties, etag: ETag("1".to_owned()) }
    }

    /// The row of a group whose walk is under way.
    fn walked(request: &ReconcileRequest, depth: i64) -> TableRow {
        let TableWrite::InsertOrMerge { mut properties, .. } = enqueue_group(id(), request) else {
            panic!("a change writes the row whatever is there");
        };
        properties.extend(RowFields::some().text("cursor", "x").int("depth", depth).done());
        row(properties)
    }

    /// What the row says after a walk at that depth has met it: op, depth, whether it takes away, whether it begins again.
    #[track_caller]
    fn check(there: Option<&TableRow>, by: (ReconcileRequest, usize), expected: (u128, usize, bool, bool)) {
        let (request, depth) = by;
        let outer = GroupRequest { request, position: String::new(), depth, is_counted: false };
        let mut after = there.map(|row| row.properties.clone()).unwrap_or_default();
        match outer.hand_on(id(), there) {
            Some(TableWrite::Insert { properties, .. }) if there.is_none() => after.extend(properties),
            Some(TableWrite::Merge { properties, condition: EtagMatch::Exact(_), .. }) => {
                after.extend(properties)
            }
            None => {}
            Some(other) => panic!("{other:?}"),
        }
        let found = GroupRequest::read(&row(after)).unwrap();
        let op = found.request.origin.op.uuid().as_u128();
        let begins = found.position.is_empty();
        assert_eq!((op, found.depth, found.request.priority.takes_away(), begins), expected);
    }

    #[test]
    fn a_group_in_a_group_begins_again_unless_the_same_change_asks_for_no_more() {
        check(None, (request(1, true), 3), (1, 4, true, true));
        let there = walked(&request(1, false), 2);
        // Of the same change: no deeper, and no less.
        check(Some(&there), (request(1, false), 1), (1, 2, false, false));
        check(Some(&there), (request(1, false), 5), (1, 2, false, false));
        check(Some(&there), (request(1, false), 0), (1, 1, false, true));
        check(Some(&there), (request(1, true), 5), (1, 2, true, true));
        let many = request(1, true).of_operation(9);
        check(Some(&walked(&request(1, true), 2)), (many, 5), (1, 2, true, true));
        // Of another one: the later change stays, and so does what takes away.
        check(Some(&there), (request(2, false), 5), (2, 2, false, true));
        check(Some(&walked(&request(3, true), 2)), (request(2, false), 0), (3, 1, true, true));
        // One that cannot be read is written anew.
        let broken = row(RowFields::row().text("cursor", "x").done());
        check(Some(&broken), (request(2, false), 0), (2, 1, false, true));
    }
}
