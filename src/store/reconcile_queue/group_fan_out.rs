//! A group's request: it becomes a request for each of its members, page by page.

use crate::id::{GroupId, MemberId, UserId};
use crate::ports::tables::{EtagMatch, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::reconcile_queue::enqueue::enqueue_now;
use crate::store::reconcile_queue::queue_item::{QueueItem, QueuePage, QueuePosition};
use crate::store::reconcile_queue::request::{Priority, ReconcileRequest};
use crate::store::{StateStore, StoreError, keys};

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
    /// Every member was enqueued: the group's request is gone.
    pub is_done: bool,
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

    /// Enqueues the next page of a group's members.
    pub async fn fan_out_page(&self, group: GroupId) -> Result<FanOutPage, StoreError> {
        let Some(row) = self.get(&keys::group_request(group)).await? else {
            return Ok(FanOutPage { is_done: true, ..FanOutPage::default() });
        };
        let reader = RowReader::new(&row)?;
        let request = ReconcileRequest::read(&reader)?;
        let position = reader.text("cursor")?;
        let (from, to) = keys::range_of(&keys::members_prefix(group));
        let from = if position.is_empty() { from } else { format!("{from}{position}!") };
        let members = self.rows_between(from, to, PAGE_MEMBERS_MAX).await?;
        // A row that names no user is passed over: it must neither end the fan-out nor hold it up.
        let users: Vec<UserId> = self.members_in(&members).iter().filter_map(MemberId::user).collect();
        let is_done = members.is_empty();
        let mut writes: Vec<TableWrite> =
            users.iter().flat_map(|user| enqueue_now(*user, &request)).collect();
        writes.push(advance(&row, members.last()));
        match self.transact_unjournaled(&writes).await {
            Ok(_) => Ok(FanOutPage { users, is_done }),
            Err(StoreError::Conflict { .. }) => Ok(FanOutPage::default()),
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
