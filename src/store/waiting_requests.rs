//! Why each person of a tenant will be reconciled next: what the queue says of everyone, read by ranges.

use crate::id::{GroupId, UserId};
use crate::ports::tables::TableRow;
use crate::store::jobs::{JobKind, StoredJob};
use crate::store::reconcile_queue::{QueuedRequest, ReconcileRequest};
use crate::store::{StateStore, StoreError, keys};
use std::collections::BTreeMap;

/// The requests of a tenant. A change that still has to reach its people, group by group, counts as theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingRequests {
    people: BTreeMap<UserId, ReconcileRequest>,
    /// Groups whose members will be enqueued: by their own request, or by the job that empties a deleted group.
    groups: BTreeMap<GroupId, ReconcileRequest>,
}

impl WaitingRequests {
    /// The request of a person in these groups, as it will be read when the person is reconciled.
    pub fn of(&self, user: UserId, groups: &[GroupId]) -> Option<ReconcileRequest> {
        let of_groups = groups.iter().filter_map(|group| self.groups.get(group));
        self.people.get(&user).into_iter().chain(of_groups).cloned().reduce(merged)
    }
}

/// A request over another one: the later cause, the larger operation.
fn merged(earlier: ReconcileRequest, later: ReconcileRequest) -> ReconcileRequest {
    let taken = [earlier.taken, later.taken].into_iter().flatten().max_by_key(|taken| taken.size);
    ReconcileRequest { priority: earlier.priority.max(later.priority), taken, ..later }
}

impl StateStore {
    /// Why people will be reconciled next.
    pub async fn waiting_requests(&self) -> Result<WaitingRequests, StoreError> {
        let mut waiting = WaitingRequests::default();
        for prefix in ["w:", "d:"] {
            self.each_row(prefix, |row| {
                if let Some(QueuedRequest { user, request, .. }) =
                    self.readable(row, QueuedRequest::read(row))
                {
                    add(&mut waiting.people, user, request);
                }
            })
            .await?;
        }
        self.each_row("dg:", |row| {
            let group = GroupId::parse(keys::last_part(&row.key)).ok();
            let request = self.readable(row, ReconcileRequest::read_row(row));
            if let (Some(group), Some(request)) = (group, request) {
                add(&mut waiting.groups, group, request);
            }
        })
        .await?;
        let mut deleted = Vec::new();
        self.each_row("i:", |row| {
            let job = self.readable(row, StoredJob::read(row));
            deleted.extend(job.and_then(|job| match job.kind {
                JobKind::DeleteGroup(group) => Some((group, job)),
                _ => None,
            }));
        })
        .await?;
        for (group, job) in deleted {
            let people = match job.people {
                Some(people) => people,
                None => self.count_people(group).await?,
            };
            let request = ReconcileRequest::taking_away(job.request.origin).of_operation(people);
            add(&mut waiting.groups, group, request);
        }
        Ok(waiting)
    }

    async fn each_row(&self, prefix: &str, mut take: impl FnMut(&TableRow)) -> Result<(), StoreError> {
        let (from, to) = keys::range_of(prefix);
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(&mut take);
        }
        Ok(())
    }
}

fn add<K: Ord>(requests: &mut BTreeMap<K, ReconcileRequest>, key: K, later: ReconcileRequest) {
    let request = match requests.remove(&key) {
        Some(earlier) => merged(earlier, later),
        None => later,
    };
    requests.insert(key, request);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{ChangeCause, ChangeOrigin};
    use crate::id::OpId;
    use crate::rbac::breaker::TakenBy;
    use uuid::Uuid;

    fn request(op: u128, people: usize) -> ReconcileRequest {
        let op = OpId::new(Uuid::from_u128(op));
        let origin = ChangeOrigin { cause: ChangeCause::Request, actor: "entra".to_owned(), op };
        ReconcileRequest::taking_away(origin).of_operation(people)
    }

    /// The request of a person and that of a group, each as operation and people: which operation counts.
    #[track_caller]
    fn check(person: Option<(u128, usize)>, group: Option<(u128, usize)>, expected: Option<(u128, usize)>) {
        let (user, gid) = (UserId::new(Uuid::from_u128(1)), GroupId::new(Uuid::from_u128(2)));
        let of = |of: Option<(u128, usize)>| of.map(|(op, people)| request(op, people));
        let mut waiting = WaitingRequests::default();
        waiting.people.extend(of(person).map(|request| (user, request)));
        waiting.groups.extend(of(group).map(|request| (gid, request)));
        let found = waiting.of(user, &[gid]);
        let expected =
            expected.map(|(op, people)| TakenBy::operation(OpId::new(Uuid::from_u128(op)), people));
        assert_eq!(found.as_ref().and_then(|request| request.taken), expected);
        assert_eq!(
            found.map(|request| request.origin),
            of(group).or(of(person)).map(|request| request.origin)
        );
        assert_eq!(waiting.of(user, &[]), of(person));
    }

    #[test]
    fn a_change_of_a_group_counts_as_that_of_its_people() {
        check(None, None, None);
        check(Some((1, 3)), None, Some((1, 3)));
        check(None, Some((2, 200)), Some((2, 200)));
        check(Some((1, 3)), Some((2, 200)), Some((2, 200)));
        // The larger operation, whichever came first.
        check(Some((1, 300)), Some((2, 200)), Some((1, 300)));
        check(Some((1, 1)), Some((2, 1)), None);
    }
}
