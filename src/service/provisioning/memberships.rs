//! The groups of users, read consistently: the headers were read before, then come the memberships, then the headers once
//! more; where one changed meanwhile, that user is read again.
//!
//! Users who lie side by side in the order of their ids cost one range, whoever else they are read alone, all at the same time.
//! A group is asked for its name once, and names are kept until they are too many. Groups that are in groups are read as one
//! graph for everyone, level by level.

use crate::events::log_event;
use crate::id::{GroupId, UserId};
use crate::scim::GroupRef;
use crate::service::ServiceError;
use crate::service::effective_groups::{GroupGraph, parents_if, parents_of};
use crate::service::join_reads::join_reads;
use crate::service::provisioning::conflict_retry::ConflictRetry;
use crate::service::provisioning::group_view::{GroupView, HeaderCheck};
use crate::store::members::GROUPS_UPWARDS_MAX;
use crate::store::resources::{self, Group, StoredResource, User};
use crate::store::{ETag, StateStore, StoreError};
use futures_util::{join, try_join};
use std::collections::{BTreeMap, BTreeSet};

/// Memberships of neighbours that are held at a time.
const MEMBERSHIPS_MAX: usize = 100_000;
/// Users who are read at a time, where each is read alone.
const USERS_ALONE_MAX: usize = 256;
/// Names that are asked for at a time, unless one user needs more.
const NAMES_AT_ONCE: usize = 1000;
/// Bytes of names, and of which groups are in which, that are kept for the users who come next.
const NAMES_BYTES_MAX: usize = 1024 * 1024;
/// Characters of a group's name that its members show.
const DISPLAY_CHARS_MAX: usize = 1000;

/// Who is in which groups, and what the groups are called.
#[derive(Default)]
pub(super) struct Memberships {
    /// Those who were not shown yet, each with the header where it is a newer one.
    users: BTreeMap<UserId, (Option<User>, Vec<GroupId>)>,
    names: GroupNames,
}

/// A user who is read, with the version of the header, and the header where it is a newer one.
type PendingUser = (UserId, ETag, Option<User>);

impl Memberships {
    /// Reads the groups of the first of these users, as many as are held together. Returns how many those are; who is gone
    /// meanwhile is left out. `neighbours`: the users lie side by side, in the order of their ids.
    pub async fn read(
        &mut self,
        view: &GroupView,
        headers: &[(UserId, ETag)],
        neighbours: bool,
    ) -> Result<usize, ServiceError> {
        let users_max = if neighbours { usize::MAX } else { USERS_ALONE_MAX };
        let ids: Vec<UserId> = headers.iter().map(|(id, _)| *id).take(users_max).collect();
        let lists = match neighbours {
            true => view.store.groups_of_neighbours(&ids, MEMBERSHIPS_MAX).await?,
            false => groups_of_each(view, ids).await?,
        };
        let read = lists.len();
        let headers = headers.get(..read).unwrap_or(headers);
        let pending = headers.iter().map(|(id, etag)| (*id, etag.clone(), None)).collect();
        let mut changed = self.check(view, pending, lists, neighbours).await?;
        let mut retry = ConflictRetry::new(&view.store);
        while !changed.is_empty() {
            retry.pause().await?;
            let ids = changed.iter().map(|(id, ..)| *id).collect();
            let lists = groups_of_each(view, ids).await?;
            changed = self.check(view, changed, lists, false).await?;
        }
        Ok(read)
    }

    /// Keeps the groups of those whose header is still the same, and returns those whose header is a newer one.
    async fn check(
        &mut self,
        view: &GroupView,
        pending: Vec<PendingUser>,
        lists: Vec<Vec<GroupId>>,
        neighbours: bool,
    ) -> Result<Vec<PendingUser>, ServiceError> {
        let names = self.names.load(view, &[], lists.iter().flatten());
        let checks = async {
            match neighbours {
                true => {
                    let headers: Vec<_> = pending.iter().map(|(id, etag, _)| (*id, etag.clone())).collect();
                    view.newer_neighbours(&headers).await
                }
                false => join_reads(pending.iter().map(|(id, etag, _)| view.newer(*id, etag))).await,
            }
        };
        let (names, checks) = join!(names, checks);
        names?;
        let mut changed = Vec::new();
        for (((id, _, newer), groups), check) in pending.into_iter().zip(lists).zip(checks?) {
            match check {
                HeaderCheck::Same { .. } => drop(self.users.insert(id, (newer, groups))),
                HeaderCheck::Newer(user) => changed.push((id, user.etag.clone(), Some(*user))),
                HeaderCheck::Gone => {}
            }
        }
        Ok(changed)
    }

    /// The groups of a user, direct ones first, and the header where it is a newer one. None: the user is gone, or was taken
    /// before.
    pub async fn take(
        &mut self,
        view: &GroupView,
        user: UserId,
    ) -> Result<Option<(Option<User>, Vec<GroupRef>)>, StoreError> {
        let Some((newer, direct)) = self.users.remove(&user) else { return Ok(None) };
        if !self.names.graph.is_read_above(&direct, groups_max(&direct)) {
            self.names.load(view, &direct, self.users.values().flat_map(|(_, groups)| groups)).await?;
        }
        Ok(Some((newer, self.names.shown(&direct))))
    }
}

/// The groups of one user.
pub(super) struct UserGroups {
    /// The user's header, where it is a newer one.
    pub newer: Option<User>,
    pub groups: Vec<GroupRef>,
    /// A group of them is in another one, or was: what is had through it can change while the user's version stays.
    pub may_vary: bool,
}

/// The groups of one user. None: the user is gone.
pub(super) async fn groups_of(
    view: &GroupView,
    user: UserId,
    etag: ETag,
) -> Result<Option<UserGroups>, ServiceError> {
    let names = GroupNames { order: ReadOrder::AtOnce, ..GroupNames::default() };
    let mut found = Memberships { names, ..Memberships::default() };
    found.read(view, &[(user, etag)], false).await?;
    let Some((newer, groups)) = found.take(view, user).await? else { return Ok(None) };
    let may_vary = found.names.graph.nodes().flatten().any(|group| group.may_be_nested);
    Ok(Some(UserGroups { newer, groups, may_vary }))
}

async fn groups_of_each(view: &GroupView, users: Vec<UserId>) -> Result<Vec<Vec<GroupId>>, StoreError> {
    join_reads(users.into_iter().map(|id| view.store.groups_of(id, usize::MAX))).await
}

/// Groups that are read for who is a direct member of these: all of these are shown, and as many above as count.
fn groups_max(direct: &[GroupId]) -> usize {
    direct.len() + GROUPS_UPWARDS_MAX
}

/// When it is asked which groups a group is in.
#[derive(Debug, Clone, Copy, Default)]
enum ReadOrder {
    /// After its header, which tells for most that there are none: a request less.
    #[default]
    HeaderFirst,
    /// With its header: a round trip less.
    AtOnce,
}

/// The names of groups that were asked for, none where the group is gone, and which groups they are in.
#[derive(Default)]
struct GroupNames {
    order: ReadOrder,
    graph: GroupGraph<Option<NamedGroup>>,
    bytes: usize,
}

/// A group as its members show it.
struct NamedGroup {
    display: String,
    /// It is in another group, or was.
    may_be_nested: bool,
}

impl GroupNames {
    /// Asks for what is not known of `wanted` and the groups above, and for some of `next`.
    async fn load<'a>(
        &mut self,
        view: &GroupView,
        wanted: &[GroupId],
        next: impl Iterator<Item = &'a GroupId>,
    ) -> Result<(), StoreError> {
        if self.bytes > NAMES_BYTES_MAX {
            *self = Self { order: self.order, ..Self::default() };
        }
        let is_unknown = |id: &&GroupId| self.graph.get(**id).is_none();
        let mut unknown: BTreeSet<GroupId> = wanted.iter().filter(is_unknown).copied().collect();
        for id in next.filter(is_unknown) {
            if unknown.len() >= NAMES_AT_ONCE {
                break;
            }
            unknown.insert(*id);
        }
        unknown.extend(wanted);
        self.read_above(view, &unknown.into_iter().collect::<Vec<_>>()).await?;
        // The others may have used up the bound.
        self.read_above(view, wanted).await
    }

    async fn read_above(&mut self, view: &GroupView, groups: &[GroupId]) -> Result<(), StoreError> {
        let order = self.order;
        let read = |id| async move { Ok(Some(name_and_parents(&view.store, id, order).await?)) };
        for id in self.graph.read_above(groups.iter().copied(), groups_max(groups), read).await? {
            let name = self.graph.get(id).and_then(Option::as_ref);
            let ids = 1 + self.graph.parents(id).len();
            self.bytes += ids * size_of::<GroupId>() + name.map_or(0, |group| group.display.len());
        }
        Ok(())
    }

    /// The groups of who is a direct member of these. Nothing is had through a group that is gone.
    fn shown(&self, direct: &[GroupId]) -> Vec<GroupRef> {
        let shown = |id: &GroupId, direct: bool| {
            let display = self.graph.get(*id)?.as_ref()?.display.clone();
            Some(GroupRef { id: id.to_string(), display, direct })
        };
        let above = self.graph.above(direct).groups.into_iter();
        let indirect = above.filter(|group| group.through.is_some() && !direct.contains(&group.id));
        let direct = direct.iter().filter_map(|id| shown(id, true));
        direct.chain(indirect.filter_map(|group| shown(&group.id, false))).collect()
    }
}

/// The name of a group and the groups that it is in: no name and no groups where it is gone.
async fn name_and_parents(
    store: &StateStore,
    id: GroupId,
    order: ReadOrder,
) -> Result<(Option<NamedGroup>, Vec<GroupId>), StoreError> {
    let (header, parents) = match order {
        ReadOrder::AtOnce => try_join!(store.header(id), parents_of(store, id))?,
        ReadOrder::HeaderFirst => {
            let header = store.header(id).await?;
            let may_be_nested = header.as_ref().is_some_and(resources::may_be_nested);
            (header, parents_if(store, id, may_be_nested).await?)
        }
    };
    let Some(header) = header else { return Ok((None, Vec::new())) };
    let may_be_nested = resources::may_be_nested(&header);
    let named = |display| Some(NamedGroup { display, may_be_nested });
    match StoredResource::read_to_show(&header) {
        Ok(group) => Ok((named(display(&group)), parents)),
        // What the group is called decides nothing about the user.
        Err(error @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. })) => {
            log_event!(RowUnreadable, group.id = %id, error = %error, "a group that cannot be read is shown without its name");
            Ok((named(String::new()), parents))
        }
        Err(error) => Err(error),
    }
}

fn display(group: &Group) -> String {
    group.name().unwrap_or_default().chars().take(DISPLAY_CHARS_MAX).collect()
}
