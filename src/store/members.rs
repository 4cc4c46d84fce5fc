//! Memberships: one row in each direction, written and removed together. A row says whether its member is a group.

use crate::id::{GroupId, MemberId, OpId, UserId};
use crate::ports::tables::{EtagMatch, RowProperties, TableRow, TableWrite};
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::codec::{RowFields, RowReader};
use crate::store::resources::{self, ResourceId};
use crate::store::{StateStore, StoreError, keys};
use futures_util::try_join;
use std::collections::{BTreeSet, VecDeque};
use uuid::Uuid;

/// People of one operation that are counted: a larger one is as large to the breakers.
pub const COUNTED_PEOPLE_MAX: usize = 1 << 16;

/// Groups that a person may be a direct member of; those beyond, in the order of the ids, give nothing.
pub const DIRECT_GROUPS_MAX: usize = 1000;

/// Groups that a person may be in directly or through other groups; those beyond, breadth first by id, give nothing.
pub const GROUPS_UPWARDS_MAX: usize = DIRECT_GROUPS_MAX;

/// How many times groups may be in one another between a person and a group. What lies beyond gives nothing.
pub const NESTING_DEPTH_MAX: usize = 10;

/// What the row of a member that is a group says; rows of users, and those of the release before, say nothing.
const GROUP: &str = "group";

/// What the groups of a user or a group say about one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStanding {
    /// The member, where it is one.
    pub member: Option<MemberId>,
    /// It is in as many groups as a person may be.
    pub is_full: bool,
}

fn properties(member: MemberId, op: OpId) -> RowProperties {
    let kind = member.group().map(|_| GROUP.to_owned());
    RowFields::row().text("op", op.to_string()).text_if("member", kind).done()
}

fn both(group: GroupId, member: impl std::fmt::Display + Copy) -> [String; 2] {
    [keys::member(group, member), keys::membership(member, group)]
}

/// A member who was not there. The member's header must be there.
pub fn add(group: GroupId, member: MemberId, op: OpId) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for key in both(group, member) {
        batch.push(BatchPart::Membership, TableWrite::Insert { key, properties: properties(member, op) });
    }
    let touched = match member {
        MemberId::User(user) => resources::touch(user, op),
        MemberId::Group(inner) => resources::touch_nested(inner, op),
    };
    batch.push(BatchPart::Touch(member), touched);
    batch
}

/// A member who was there. The rows of the membership must be there.
pub fn remove(group: GroupId, member: MemberId) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for key in both(group, member) {
        batch.push(BatchPart::Membership, TableWrite::Delete { key, condition: EtagMatch::Any });
    }
    batch
}

/// The header of a member moves to another version. It must be there.
pub fn touch(member: MemberId, op: OpId) -> TableWrite {
    match member {
        MemberId::User(user) => resources::touch(user, op),
        MemberId::Group(group) => resources::touch_nested(group, op),
    }
}

/// Whether a row of a membership is about a group.
pub(super) fn is_of_group(row: &TableRow) -> bool {
    matches!(member_of(row, Uuid::nil()), Ok(MemberId::Group(_)))
}

/// The member that a row of a group is about, or the member's own row about a group.
fn member_of(row: &TableRow, id: Uuid) -> Result<MemberId, StoreError> {
    match RowReader::any(row).text_opt("member")? {
        None => Ok(MemberId::User(UserId::new(id))),
        Some(GROUP) => Ok(MemberId::Group(GroupId::new(id))),
        Some(_) => Err(StoreError::Corrupt { row: row.key.clone(), property: "member".to_owned() }),
    }
}

/// The groups in a group, nearest first: each once, so that cycles end.
struct DownwardWalk {
    seen: BTreeSet<GroupId>,
    next: VecDeque<(GroupId, usize)>,
    depth: usize,
}

impl DownwardWalk {
    fn new(group: GroupId) -> Self {
        Self { seen: BTreeSet::from([group]), next: VecDeque::from([(group, 0)]), depth: 0 }
    }

    fn next(&mut self) -> Option<GroupId> {
        let (group, depth) = self.next.pop_front()?;
        self.depth = depth;
        Some(group)
    }

    /// The members of the last group.
    fn go_down(&mut self, members: &[MemberId]) {
        let below = self.depth + 1;
        let groups = members.iter().filter_map(MemberId::group).filter(|_| below <= NESTING_DEPTH_MAX);
        for group in groups {
            if self.seen.insert(group) {
                self.next.push_back((group, below));
            }
        }
    }
}

impl StateStore {
    /// The member of a group that has this id, by its row in either direction: half of a membership can still be removed.
    pub async fn find_member(&self, group: GroupId, id: Uuid) -> Result<Option<MemberId>, StoreError> {
        let [member, membership] = both(group, UserId::new(id));
        let (member, membership) = try_join!(self.get(&member), self.get(&membership))?;
        match member.or(membership) {
            Some(row) => Ok(Some(self.member_in(&row, id).await?)),
            None => Ok(None),
        }
    }

    /// Whether the user or group that is a member, or is to be one, exists.
    pub async fn member_exists(&self, member: MemberId) -> Result<bool, StoreError> {
        match member {
            MemberId::User(user) => self.exists(user).await,
            MemberId::Group(group) => self.exists(group).await,
        }
    }

    /// The first `rows_max` members of a group, in the order of their ids.
    pub async fn members(&self, group: GroupId, rows_max: usize) -> Result<Vec<MemberId>, StoreError> {
        let (from, to) = keys::range_of(&keys::members_prefix(group));
        self.members_in(&self.rows_between(from, to, rows_max).await?).await
    }

    /// The members that these rows of groups are about. A row whose key names nobody says nothing.
    pub(in crate::store) async fn members_in(&self, rows: &[TableRow]) -> Result<Vec<MemberId>, StoreError> {
        let mut members = Vec::with_capacity(rows.len());
        for row in rows {
            let id = UserId::from_text(keys::last_part(&row.key)).ok_or_else(|| StoreError::corrupt_key(row));
            if let Some(id) = self.readable(row, id) {
                members.push(self.member_in(row, id.uuid()).await?);
            }
        }
        Ok(members)
    }

    /// The user or group of this id that a row is about. Where the row does not say which, it is whoever exists: a membership
    /// whose row is damaged gives access, and must be shown and can be removed.
    pub(in crate::store) async fn member_in(&self, row: &TableRow, id: Uuid) -> Result<MemberId, StoreError> {
        if let Some(member) = self.readable(row, member_of(row, id)) {
            return Ok(member);
        }
        let (user, group) = (MemberId::User(UserId::new(id)), MemberId::Group(GroupId::new(id)));
        let is_group = !self.member_exists(user).await? && self.member_exists(group).await?;
        Ok(if is_group { group } else { user })
    }

    /// At most so many members of a group, behind the one of that id.
    pub async fn members_after(
        &self,
        group: GroupId,
        after: &str,
        rows_max: usize,
    ) -> Result<Vec<MemberId>, StoreError> {
        let (from, to) = keys::range_of(&keys::members_prefix(group));
        let from = if after.is_empty() { from } else { format!("{from}{after}!") };
        self.members_in(&self.rows_between(from, to, rows_max).await?).await
    }

    /// How many people are in a group, directly or through the groups in it, up to [`COUNTED_PEOPLE_MAX`]. One who is in several
    /// of them counts for each.
    pub async fn count_people(&self, group: GroupId) -> Result<usize, StoreError> {
        let mut walk = DownwardWalk::new(group);
        let mut people = 0;
        while let Some(group) = walk.next() {
            let (from, to) = keys::range_of(&keys::members_prefix(group));
            let mut pages = self.pages(from, to);
            while let Some(rows) = pages.next().await? {
                let members = self.members_in(&rows).await?;
                people += members.iter().filter(|member| member.user().is_some()).count();
                if people >= COUNTED_PEOPLE_MAX {
                    return Ok(people);
                }
                walk.go_down(&members);
            }
        }
        Ok(people)
    }

    /// The first `rows_max` people who are in a group, directly or through the groups in it.
    pub async fn people_in(&self, group: GroupId, rows_max: usize) -> Result<BTreeSet<UserId>, StoreError> {
        let mut walk = DownwardWalk::new(group);
        let mut people = BTreeSet::new();
        while let Some(group) = walk.next().filter(|_| people.len() < rows_max) {
            let members = self.members(group, rows_max).await?;
            people.extend(members.iter().filter_map(MemberId::user));
            walk.go_down(&members);
        }
        Ok(people)
    }

    /// The first `rows_max` groups that a user or a group is in, in the order of their ids.
    pub async fn groups_of(
        &self,
        member: impl Into<MemberId>,
        rows_max: usize,
    ) -> Result<Vec<GroupId>, StoreError> {
        let (from, to) = keys::range_of(&keys::groups_prefix(member.into()));
        Ok(self.ids_of(&self.rows_between(from, to, rows_max).await?))
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
            let mut pages = self.key_pages(keys::groups_prefix(*next), to.clone());
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

    /// Whether the user or group of that id is in that group, and in as many groups as there may be: one range tells both. `both_rows`: half
    /// of a membership counts too, whichever half it is.
    pub async fn standing_of(
        &self,
        id: Uuid,
        group: GroupId,
        both_rows: bool,
    ) -> Result<MemberStanding, StoreError> {
        let member = UserId::new(id);
        let (from, to) = keys::range_of(&keys::groups_prefix(member));
        let rows = self.rows_between(from, to, DIRECT_GROUPS_MAX).await?;
        let is_full = rows.len() >= DIRECT_GROUPS_MAX;
        let membership = keys::membership(member, group);
        let member = match rows.iter().find(|row| row.key == membership) {
            Some(row) => Some(self.member_in(row, id).await?),
            None if is_full || both_rows => self.find_member(group, id).await?,
            None => None,
        };
        Ok(MemberStanding { member, is_full })
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
