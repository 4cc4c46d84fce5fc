//! Why each person of a tenant will be reconciled next: what the queue says of everyone, read by ranges.

use crate::id::{GroupId, MemberId, UserId};
use crate::store::jobs::{JobKind, StoredJob};
use crate::store::member_plan::{MemberPlan, RemovedMembers};
use crate::store::reconcile_queue::{QueuedRequest, ReconcileRequest};
use crate::store::{StateStore, StoreError, keys};
use std::collections::{BTreeMap, BTreeSet};

/// The requests of a tenant. A change that still has to reach its people, group by group, counts as theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingRequests {
    people: BTreeMap<UserId, ReconcileRequest>,
    /// Groups whose members will be enqueued: by their own request, or by the job that empties a deleted group.
    groups: BTreeMap<GroupId, ReconcileRequest>,
    /// Changes of members that are under way.
    changes: BTreeMap<GroupId, MemberChange>,
}

/// A change of members that is under way, whose rows are in part as they were before it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MemberChange {
    removed: RemovedMembers,
    added: BTreeSet<MemberId>,
    /// Of each person who is removed.
    removal: ReconcileRequest,
}

impl WaitingRequests {
    /// The request of a person, as it will be read when the person is reconciled. `groups`: those of the person's membership
    /// rows. `above`: those that they are in.
    pub fn of(
        &self,
        user: UserId,
        groups: &[GroupId],
        above: impl Iterator<Item = GroupId>,
    ) -> Option<ReconcileRequest> {
        let member = MemberId::User(user);
        let removals = groups.iter().filter_map(|group| self.changes.get(group));
        let removals =
            removals.filter(|change| change.removed.has(member) && !change.added.contains(&member));
        let above: BTreeSet<GroupId> = groups.iter().copied().chain(above).collect();
        let of_groups = above.iter().filter_map(|group| self.groups.get(group));
        let requests = self.people.get(&user).into_iter().chain(of_groups);
        requests.chain(removals.map(|change| &change.removal)).cloned().reduce(merged)
    }

    /// The groups of a member's rows, as they will be once the changes under way are done.
    pub fn groups_after(&self, member: MemberId, groups: &[GroupId]) -> Vec<GroupId> {
        let stays =
            |group: &GroupId| !self.changes.get(group).is_some_and(|change| change.removed.has(member));
        let mut after: BTreeSet<GroupId> = groups.iter().copied().filter(stays).collect();
        let joins = self.changes.iter().filter(|(_, change)| change.added.contains(&member));
        after.extend(joins.map(|(group, _)| *group));
        after.into_iter().collect()
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
        let (mut of_groups, mut jobs) = (Vec::new(), Vec::new());
        self.each_row("dg:", |row| of_groups.push(row.clone())).await?;
        for row in of_groups {
            let group = GroupId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(&row));
            let Some(group) = self.readable(&row, group) else { continue };
            if let Some(request) = self.group_request_as_judged(group, &row).await? {
                add(&mut waiting.groups, group, request);
            }
        }
        self.each_row("i:", |row| jobs.extend(self.readable(row, StoredJob::read(row)))).await?;
        for job in jobs {
            self.add_job(&mut waiting, job).await?;
        }
        Ok(waiting)
    }

    async fn add_job(&self, waiting: &mut WaitingRequests, job: StoredJob) -> Result<(), StoreError> {
        match &job.kind {
            JobKind::DeleteGroup(group) => {
                let people = match job.people {
                    Some(people) => people,
                    None => self.count_people(*group).await?,
                };
                add(&mut waiting.groups, *group, job.removal(people));
            }
            JobKind::ChangeMembers(group, plan) => {
                let MemberPlan { removed, added } = plan.as_ref();
                for member in self.members(*group, usize::MAX).await? {
                    if let Some(inner) = member.group().filter(|_| removed.has(member)) {
                        let removal = ReconcileRequest::taking_away(job.request.origin.clone());
                        let removal = removal.of_group(inner, self.count_people(inner).await?);
                        add(&mut waiting.groups, inner, removal);
                    }
                }
                let (removed, added) = (removed.clone(), added.iter().copied().collect());
                let change = MemberChange { removed, added, removal: job.removal(1) };
                waiting.changes.insert(*group, change);
            }
            _ => {}
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
        let found = waiting.of(user, &[gid], std::iter::empty());
        let expected =
            expected.map(|(op, people)| TakenBy::operation(OpId::new(Uuid::from_u128(op)), people));
        assert_eq!(found.as_ref().and_then(|request| request.taken), expected);
        assert_eq!(
            found.clone().map(|request| request.origin),
            of(group).or(of(person)).map(|request| request.origin)
        );
        assert_eq!(waiting.of(user, &[], std::iter::empty()), of(person));
        // Of a group above it is the same.
        assert_eq!(waiting.of(user, &[], [gid].into_iter()), found);
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

    /// Groups of a user and of a group after a change of the group 1 that removes all but 2 and adds 3.
    #[test]
    fn a_change_under_way_counts_as_done() {
        let member = |n: u128| MemberId::User(UserId::new(Uuid::from_u128(n)));
        let group = |n: u128| GroupId::new(Uuid::from_u128(n));
        let inner = MemberId::Group(group(9));
        let removed = RemovedMembers::AllBut(BTreeSet::from([member(2)]));
        let change =
            MemberChange { removed, added: BTreeSet::from([member(3), inner]), removal: request(5, 7) };
        let waiting =
            WaitingRequests { changes: BTreeMap::from([(group(1), change)]), ..WaitingRequests::default() };
        let after = |member, groups: &[GroupId]| waiting.groups_after(member, groups);
        assert_eq!(after(member(1), &[group(1), group(4)]), [group(4)]);
        assert_eq!(after(member(2), &[group(1)]), [group(1)]);
        assert_eq!(after(member(2), &[group(4)]), [group(4)]);
        for joins in [member(3), inner] {
            assert_eq!(after(joins, &[]), [group(1)]);
            assert_eq!(after(joins, &[group(1)]), [group(1)]);
        }
        // Only those who leave have its request.
        let asked = |n: u128, groups: &[GroupId]| {
            waiting.of(UserId::new(Uuid::from_u128(n)), groups, std::iter::empty()).is_some()
        };
        assert!(asked(1, &[group(1)]));
        assert!(!asked(1, &[group(4)]) && !asked(2, &[group(1)]) && !asked(3, &[group(1)]));
    }
}
