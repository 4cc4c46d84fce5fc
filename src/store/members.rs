//! Memberships: one row in each direction, written and removed together.

use crate::id::{GroupId, OpId, UserId};
use crate::ports::tables::{EtagMatch, RowProperties, TableRow, TableWrite};
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::codec::RowFields;
use crate::store::resources::{self, ResourceId};
use crate::store::{StateStore, StoreError, keys};
use futures_util::try_join;

/// Groups that a person may be a direct member of; those beyond, in the order of the ids, give nothing.
pub const DIRECT_GROUPS_MAX: usize = 1000;

/// What the groups of a user say about one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStanding {
    pub is_member: bool,
    /// The user is in as many groups as there may be.
    pub is_full: bool,
}

fn properties(op: OpId) -> RowProperties {
    RowFields::row().text("op", op.to_string()).done()
}

fn both(group: GroupId, user: UserId) -> [String; 2] {
    [keys::member(group, user), keys::membership(user, group)]
}

/// A member who was not there. The member's header must be there.
pub fn add(group: GroupId, user: UserId, op: OpId) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for key in both(group, user) {
        batch.push(BatchPart::Membership, TableWrite::Insert { key, properties: properties(op) });
    }
    batch.push(BatchPart::Touch(user), resources::touch(user, op));
    batch
}

/// A member who was there. The rows of the membership must be there.
pub fn remove(group: GroupId, user: UserId) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for key in both(group, user) {
        batch.push(BatchPart::Membership, TableWrite::Delete { key, condition: EtagMatch::Any });
    }
    batch
}

impl StateStore {
    /// Whether that user has a membership row in that group, in either direction: half of one can still be removed.
    pub async fn is_member(&self, group: GroupId, user: UserId) -> Result<bool, StoreError> {
        let [member, membership] = both(group, user);
        let (member, membership) = try_join!(self.get(&member), self.get(&membership))?;
        Ok(member.is_some() || membership.is_some())
    }

    /// The first `rows_max` members of a group, in the order of their ids.
    pub async fn members(&self, group: GroupId, rows_max: usize) -> Result<Vec<UserId>, StoreError> {
        self.under(&keys::members_prefix(group), rows_max).await
    }

    /// How many members a group has.
    pub async fn count_members(&self, group: GroupId) -> Result<usize, StoreError> {
        let (from, to) = keys::range_of(&keys::members_prefix(group));
        let mut pages = self.pages(from, to);
        let mut members = 0;
        while let Some(rows) = pages.next().await? {
            members += rows.len();
        }
        Ok(members)
    }

    /// The first `rows_max` groups of a user, in the order of their ids.
    pub async fn groups_of(&self, user: UserId, rows_max: usize) -> Result<Vec<GroupId>, StoreError> {
        self.under(&keys::groups_prefix(user), rows_max).await
    }

    /// The groups of these users, who are given in the order of their ids and lie side by side: one range holds their
    /// memberships. Once so many were read, the users who are left are left out. Rows of other users in between are skipped.
    pub async fn groups_of_neighbours(
        &self,
        users: &[UserId],
        memberships_max: usize,
    ) -> Result<Vec<Vec<GroupId>>, StoreError> {
        let mut found = NeighbourGroups { users, groups: vec![Vec::new(); users.len()], at: 0 };
        let Some(last) = users.last() else { return Ok(found.groups) };
        let (_, to) = keys::range_of(&keys::groups_prefix(*last));
        let mut memberships = 0;
        while let Some(next) = users.get(found.at) {
            let mut pages = self.pages(keys::groups_prefix(*next), to.clone());
            loop {
                let Some(rows) = pages.next().await? else { return Ok(found.groups) };
                memberships += rows.len();
                let ends_in_them = rows.iter().fold(false, |_, row| found.take(self, row));
                if memberships >= memberships_max && found.at > 0 {
                    found.groups.truncate(found.at);
                    return Ok(found.groups);
                }
                if !ends_in_them {
                    // What others left behind may be long.
                    break;
                }
            }
        }
        Ok(found.groups)
    }

    /// Whether that user is in as many groups as there may be.
    pub async fn is_in_enough_groups(&self, user: UserId) -> Result<bool, StoreError> {
        let (from, to) = keys::range_of(&keys::groups_prefix(user));
        Ok(self.rows_between(from, to, DIRECT_GROUPS_MAX).await?.len() >= DIRECT_GROUPS_MAX)
    }

    /// Whether that user is in that group, and in as many groups as there may be: one range tells both. `both_rows`: half of a
    /// membership counts too, whichever half it is.
    pub async fn standing_of(
        &self,
        user: UserId,
        group: GroupId,
        both_rows: bool,
    ) -> Result<MemberStanding, StoreError> {
        let (from, to) = keys::range_of(&keys::groups_prefix(user));
        let rows = self.rows_between(from, to, DIRECT_GROUPS_MAX).await?;
        let is_full = rows.len() >= DIRECT_GROUPS_MAX;
        let membership = keys::membership(user, group);
        let is_listed = rows.iter().any(|row| row.key == membership);
        let is_member = is_listed || (is_full || both_rows) && self.is_member(group, user).await?;
        Ok(MemberStanding { is_member, is_full })
    }

    async fn under<I: ResourceId>(&self, prefix: &str, rows_max: usize) -> Result<Vec<I>, StoreError> {
        let (from, to) = keys::range_of(prefix);
        Ok(self.ids_of(&self.rows_between(from, to, rows_max).await?))
    }
}

/// What was found of the groups of users who lie side by side.
struct NeighbourGroups<'a> {
    users: &'a [UserId],
    groups: Vec<Vec<GroupId>>,
    /// The first user of whom there may be more rows.
    at: usize,
}

impl NeighbourGroups<'_> {
    /// Adds a row; false where it is of another user, who comes before the next one of these.
    fn take(&mut self, store: &StateStore, row: &TableRow) -> bool {
        let Some(user) = keys::user_of_membership(&row.key).and_then(|id| UserId::parse(id).ok()) else {
            store.cannot_read(&row.key, &StoreError::corrupt_key(row));
            return true;
        };
        while self.users.get(self.at).is_some_and(|next| *next < user) {
            self.at += 1;
        }
        let is_meant = self.users.get(self.at) == Some(&user);
        if is_meant && let Some(groups) = self.groups.get_mut(self.at) {
            groups.extend(store.ids_of::<GroupId>(std::slice::from_ref(row)));
        }
        is_meant
    }
}
