//! Requests whose time has come: `w:` rows become `d:` rows, many in one transaction.

use crate::id;
use crate::id::UserId;
use crate::ports::tables::{ETag, EtagMatch, TableWrite};
use crate::store::reconcile_queue::enqueue::promote;
use crate::store::reconcile_queue::leaver_hints;
use crate::store::reconcile_queue::queue_item::{QueueItem, QueuePage, QueuePosition};
use crate::store::reconcile_queue::request::DueRequest;
use crate::store::{StateStore, StoreError, keys};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

impl DueRequest {
    /// The request becomes one of now: a new one, or over the one that is `there`.
    fn writes(&self, there: bool) -> Vec<TableWrite> {
        let user = self.queued.user;
        let request = &self.queued.request;
        let key = self.row.key().to_owned();
        let deletion =
            TableWrite::Delete { key: key.clone(), condition: EtagMatch::Exact(self.queued.etag.clone()) };
        let mut writes = vec![promote(user, request, there, &key), deletion];
        writes.extend(request.priority.takes_away().then(|| leaver_hints::hint_due(user, request)));
        writes
    }
}

impl StateStore {
    /// Requests that are due by `now`, from a position on, at most so many.
    pub async fn due_requests(
        &self,
        after: &QueuePosition,
        now: OffsetDateTime,
        rows_max: usize,
    ) -> Result<QueuePage<DueRequest>, StoreError> {
        let (from, _) = keys::range_of("w:");
        let to = format!("w:{};", id::format_stamp(now));
        let rows = self.rows_between(after.or_start(from), to, rows_max).await?;
        let last = rows.last().map(|row| QueuePosition::behind(row.key.as_str()));
        let next = last.filter(|_| rows.len() >= rows_max);
        let items = rows.iter().map(|row| QueueItem::of(row, DueRequest::read(row))).collect();
        Ok(QueuePage { items, next })
    }

    /// The request of a person that is not due before `at`, if there is one.
    pub async fn request_at(
        &self,
        at: OffsetDateTime,
        user: UserId,
    ) -> Result<Option<QueueItem<DueRequest>>, StoreError> {
        let row = self.get(&keys::request_at(at, user)).await?;
        Ok(row.map(|row| QueueItem::of(&row, DueRequest::read(&row))))
    }

    /// Promotes requests: all at once where none of these people has a request of now, else one by one. Returns the versions of
    /// the hints that were written.
    pub async fn promote_requests(
        &self,
        requests: &[DueRequest],
    ) -> Result<BTreeMap<UserId, ETag>, StoreError> {
        let users: BTreeSet<UserId> = requests.iter().map(|due| due.queued.user).collect();
        if requests.is_empty() {
            return Ok(BTreeMap::new());
        }
        if users.len() == requests.len() {
            let writes: Vec<TableWrite> = requests.iter().flat_map(|due| due.writes(false)).collect();
            match self.transact_unjournaled(&writes).await {
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
                Ok(committed) => return Ok(hint_versions(requests, &writes, &committed.etags)),
            }
        }
        let mut all = BTreeMap::new();
        for due in requests {
            all.extend(self.promote_request(due).await?);
        }
        Ok(all)
    }

    async fn promote_request(&self, due: &DueRequest) -> Result<BTreeMap<UserId, ETag>, StoreError> {
        for there in [false, true] {
            let writes = due.writes(there);
            match self.transact_unjournaled(&writes).await {
                Ok(committed) => {
                    return Ok(hint_versions(std::slice::from_ref(due), &writes, &committed.etags));
                }
                Err(StoreError::Conflict { index: 0, .. }) if !there => {}
                Err(StoreError::Conflict { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(BTreeMap::new())
    }
}

fn hint_versions(
    requests: &[DueRequest],
    writes: &[TableWrite],
    etags: &[Option<ETag>],
) -> BTreeMap<UserId, ETag> {
    let by_key: BTreeMap<&str, &ETag> =
        writes.iter().zip(etags).filter_map(|(write, etag)| Some((write.key(), etag.as_ref()?))).collect();
    let version = |due: &DueRequest| {
        let etag = by_key.get(keys::hint(due.queued.user).as_str())?;
        Some((due.queued.user, ETag::clone(etag)))
    };
    requests.iter().filter_map(version).collect()
}
