//! Who the ids are that a request about members names, and which of them are in, read before the decision.

use crate::id::{GroupId, MemberId, UserId};
use crate::scim::MemberChange;
use crate::service::ServiceError;
use crate::service::effective_groups::{GroupGraph, parents_of};
use crate::service::join_reads::join_reads;
use crate::service::provisioning::Provisioning;
use crate::service::provisioning::members::{self, KnownMembers};
use crate::store::StoreError;
use crate::store::members::{GROUPS_UPWARDS_MAX, MemberStanding};
use futures_util::try_join;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Members who are to come in, and whose groups are counted.
const FULL_CHECKED_MAX: usize = 1000;

/// Members that are looked up while the range is read, before it shows which of them are in the group.
const LOOKED_UP_AHEAD_MAX: usize = 100;

/// Members who are named and whose change certainly fits one transaction: its commit tells whether they exist.
const KNOWN_BY_COMMIT_MAX: usize = 12;

/// Groups that are read to find out whether groups may become members. A reconcile keeps the limit of each person all the same.
const GROUPS_CHECKED_MAX: usize = 5 * GROUPS_UPWARDS_MAX;

/// What an attempt looks up because an earlier one met it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LookUp {
    /// Half of a membership counts as well.
    pub both_rows: bool,
    /// Whether those who are named exist.
    pub users: bool,
}

impl Provisioning {
    /// Those among the members who are named, each read by itself: adding is an insert, removing the delete of a row
    /// that is there. Of who is to come in, the groups are read: they tell whether there may be one more, too.
    ///
    /// Whether a few exist is not asked first. The commit requires their headers, and where one is missing the next attempt
    /// looks them up.
    pub(super) async fn known_of(
        &self,
        group: GroupId,
        changes: &[MemberChange],
        look_up: LookUp,
    ) -> Result<KnownMembers, ServiceError> {
        let ids = members::named_non_members(changes, &BTreeSet::new())?;
        let added = members::to_be_added(changes);
        let asks_for_users = look_up.users || ids.len() > KNOWN_BY_COMMIT_MAX;
        let standing = |id: Uuid| {
            let is_added = added.contains(&id);
            async move {
                let standing = match is_added {
                    true => self.store.standing_of(id, group, look_up.both_rows).await?,
                    false => {
                        let member = self.store.find_member(group, id).await?;
                        MemberStanding { member, is_full: false }
                    }
                };
                Ok::<_, StoreError>((id, standing))
            }
        };
        let standings = join_reads(ids.iter().copied().map(standing));
        let (found, mut known) = try_join!(standings, self.kinds_among(&ids, &added, asks_for_users))?;
        known.full.extend(found.iter().filter(|(_, found)| found.is_full).map(|(id, _)| UserId::new(*id)));
        known.members.extend(found.iter().filter_map(|(_, found)| found.member));
        Ok(known)
    }

    /// Every member, and who the others are that are named.
    pub(super) async fn known_whole(
        &self,
        group: GroupId,
        changes: &[MemberChange],
    ) -> Result<KnownMembers, ServiceError> {
        let range = self.store.members(group, usize::MAX);
        let named = members::named(changes);
        let added = members::to_be_added(changes);
        let ahead = if named.len() <= LOOKED_UP_AHEAD_MAX { named } else { BTreeSet::new() };
        let looked_up = !ahead.is_empty();
        let (found, mut known) = try_join!(range, self.known_among(ahead, &added))?;
        let members: BTreeSet<MemberId> = found.into_iter().collect();
        let non_members = members::named_non_members(changes, &members)?;
        if !looked_up {
            known = self.known_among(non_members, &added).await?;
        }
        Ok(KnownMembers { members, whole: true, ..known })
    }

    /// Which of these ids are a user's, a group's or unknown; and which users of those to be added are in enough groups already.
    pub(super) async fn known_among(
        &self,
        ids: BTreeSet<Uuid>,
        added: &BTreeSet<Uuid>,
    ) -> Result<KnownMembers, StoreError> {
        let mut counted: Vec<Uuid> = ids.intersection(added).copied().collect();
        if counted.len() > FULL_CHECKED_MAX {
            // A reconcile keeps the limit all the same.
            counted.clear();
        }
        let full = |id: Uuid| async move {
            let user = UserId::new(id);
            Ok::<_, StoreError>(self.store.is_in_enough_groups(user).await?.then_some(user))
        };
        let full = join_reads(counted.into_iter().map(full));
        let (known, full) = try_join!(self.kinds_among(&ids, added, true), full)?;
        Ok(KnownMembers { full: full.into_iter().flatten().collect(), ..known })
    }

    /// Which of these ids are a user's, a group's or unknown. An id is random: one that is a user's is no group's. So only what is
    /// no user's is looked up as a group, or a few that are to be added, at once: to nest a group costs no round trip more. Where
    /// users are not asked for, what is no group's counts as a user's.
    async fn kinds_among(
        &self,
        ids: &BTreeSet<Uuid>,
        added: &BTreeSet<Uuid>,
        asks_for_users: bool,
    ) -> Result<KnownMembers, StoreError> {
        let is_few = ids.len() <= LOOKED_UP_AHEAD_MAX;
        let ahead: BTreeSet<Uuid> = ids.intersection(added).copied().filter(|_| is_few).collect();
        let as_users = ids.iter().filter(|_| asks_for_users).map(|id| MemberId::User(UserId::new(*id)));
        let as_users: Vec<MemberId> = as_users.collect();
        let (mut gone, mut groups) =
            try_join!(self.gone_among(&as_users), self.groups_among(ahead.iter().copied()))?;
        groups.extend(self.groups_among(gone.difference(&ahead).copied()).await?);
        let mut known = KnownMembers::default();
        for (group, nested) in groups {
            gone.remove(&group.uuid());
            known.groups.insert(group);
            known.nested.extend(nested.then_some(group));
        }
        Ok(KnownMembers { gone, ..known })
    }

    /// Those of these ids that are a group's, and whether it may be a member of others.
    async fn groups_among(
        &self,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Vec<(GroupId, bool)>, StoreError> {
        let as_group = |id: Uuid| async move {
            let group = GroupId::new(id);
            Ok::<_, StoreError>(self.store.may_be_nested(group).await?.map(|nested| (group, nested)))
        };
        Ok(join_reads(ids.into_iter().map(as_group)).await?.into_iter().flatten().collect())
    }

    /// Which of the groups that are named cannot be members of `outer`: itself, and those whose people would be in more groups
    /// than may be. What is above is read only where a header says that there is something, and once for all of them.
    pub(super) async fn unfit_groups(
        &self,
        outer: GroupId,
        may_be_nested: bool,
        known: &KnownMembers,
    ) -> Result<BTreeSet<GroupId>, StoreError> {
        let outside = |group: &&GroupId| !known.members.contains(&MemberId::Group(**group));
        let named: BTreeSet<GroupId> = known.groups.iter().filter(outside).copied().collect();
        let mut unfit: BTreeSet<GroupId> = named.iter().filter(|inner| **inner == outer).copied().collect();
        let nested = named.iter().filter(|inner| may_be_nested || known.nested.contains(inner));
        let nested: Vec<GroupId> = nested.filter(|inner| **inner != outer).copied().collect();
        if nested.is_empty() {
            return Ok(unfit);
        }
        let all = nested.iter().copied().chain([outer]);
        let parents = |id| async move { Ok(Some(((), parents_of(&self.store, id).await?))) };
        let graph = GroupGraph::read(all, GROUPS_CHECKED_MAX, parents).await?;
        let is_full = |inner: &GroupId| {
            let above = graph.above(&[*inner, outer]);
            above.is_cut && above.groups.len() >= GROUPS_UPWARDS_MAX
        };
        unfit.extend(nested.into_iter().filter(is_full));
        Ok(unfit)
    }

    /// Those of these users and groups that do not exist.
    pub(super) async fn gone_among(&self, ids: &[MemberId]) -> Result<BTreeSet<Uuid>, StoreError> {
        let gone = |id: MemberId| async move {
            Ok::<_, StoreError>((!self.store.member_exists(id).await?).then(|| id.uuid()))
        };
        Ok(join_reads(ids.iter().copied().map(gone)).await?.into_iter().flatten().collect())
    }
}
