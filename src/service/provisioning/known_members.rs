//! Who the ids are that a request about members names, read before the decision.

use crate::id::{GroupId, MemberId, UserId};
use crate::scim::MemberChange;
use crate::service::ServiceError;
use crate::service::effective_groups::GroupGraph;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::Provisioning;
use crate::service::provisioning::members::{self, KnownMembers};
use crate::store::StoreError;
use crate::store::members::GROUPS_UPWARDS_MAX;
use futures_util::try_join;
use std::collections::BTreeSet;
use uuid::Uuid;
/// Members who are to come in, and whose groups are counted.
const FULL_CHECKED_MAX: usize = 1000;

/// Members that are looked up while the range is read, before it shows which of them are in the group.
const LOOKED_UP_AHEAD_MAX: usize = 100;

/// Groups that are read to find out whether groups may become members. A reconcile keeps the limit of each person all the same.
const GROUPS_CHECKED_MAX: usize = 5 * GROUPS_UPWARDS_MAX;

impl Provisioning {
    /// Those among the members who are named, each read by itself: adding is an insert, removing the delete of a row
    /// that is there.
    pub(super) async fn known_of(
        &self,
        group: GroupId,
        changes: &[MemberChange],
    ) -> Result<KnownMembers, ServiceError> {
        let ids = members::named_non_members(changes, &BTreeSet::new())?;
        let added = members::to_be_added(changes);
        let membership = |id: Uuid| self.store.find_member(group, id);
        let (found, known) = try_join!(
            join_reads(ids.iter().copied().map(membership)),
            self.known_among(ids.clone(), &added)
        )?;
        Ok(KnownMembers { members: found.into_iter().flatten().collect(), ..known })
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
        let mut added: Vec<Uuid> = ids.intersection(added).copied().collect();
        if added.len() > FULL_CHECKED_MAX {
            // A reconcile keeps the limit all the same.
            added.clear();
        }
        let as_users: Vec<MemberId> = ids.iter().map(|id| MemberId::User(UserId::new(*id))).collect();
        let full = |id: Uuid| async move {
            let user = UserId::new(id);
            Ok::<_, StoreError>(self.store.is_in_enough_groups(user).await?.then_some(user))
        };
        let no_users = self.gone_among(&as_users);
        let full = join_reads(added.into_iter().map(full));
        let (mut gone, groups, full) = if ids.len() <= LOOKED_UP_AHEAD_MAX {
            try_join!(no_users, self.groups_among(&ids), full)?
        } else {
            // Most of many are users: only the others are looked up as groups.
            let (no_users, full) = try_join!(no_users, full)?;
            let groups = self.groups_among(&no_users).await?;
            (no_users, groups, full)
        };
        let mut known = KnownMembers::default();
        for (group, nested) in groups {
            gone.remove(&group.uuid());
            known.groups.insert(group);
            known.nested.extend(nested.then_some(group));
        }
        let full = full.into_iter().flatten().collect();
        Ok(KnownMembers { gone, full, ..known })
    }

    /// Those of these ids that are a group's, and whether it may be a member of others.
    pub(super) async fn groups_among(
        &self,
        ids: &BTreeSet<Uuid>,
    ) -> Result<Vec<(GroupId, bool)>, StoreError> {
        let as_group = |id: Uuid| async move {
            let group = GroupId::new(id);
            Ok::<_, StoreError>(self.store.may_be_nested(group).await?.map(|nested| (group, nested)))
        };
        Ok(join_reads(ids.iter().copied().map(as_group)).await?.into_iter().flatten().collect())
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
        let graph =
            GroupGraph::read(&self.store, all, GROUPS_CHECKED_MAX, |_| async { Ok(Some(())) }).await?;
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
            let exists = match id {
                MemberId::User(user) => self.store.exists(user).await?,
                MemberId::Group(group) => self.store.exists(group).await?,
            };
            Ok::<_, StoreError>((!exists).then(|| id.uuid()))
        };
        Ok(join_reads(ids.iter().copied().map(gone)).await?.into_iter().flatten().collect())
    }
}
