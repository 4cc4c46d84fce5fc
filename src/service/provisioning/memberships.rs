//! The groups of users, read consistently: the headers were read before, then come the memberships, then the headers once
//! more; where one changed meanwhile, that user is read again.
//!
//! Users who lie side by side in the order of their ids cost one range, whoever else they are read alone, all at the same time.
//! A group is asked for its name once, and names are kept until they are too many.

use crate::id::{GroupId, UserId};
use crate::scim::GroupRef;
use crate::service::ServiceError;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::conflict_retry::ConflictRetry;
use crate::service::provisioning::group_view::{GroupView, HeaderCheck};
use crate::store::resources::{Group, User};
use crate::store::{ETag, StateStore, StoreError};
use futures_util::join;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Memberships of neighbours that are held at a time.
const MEMBERSHIPS_MAX: usize = 100_000;
/// Users who are read at a time, where each is read alone.
const USERS_ALONE_MAX: usize = 256;
/// Names that are asked for at a time, unless one user needs more.
const NAMES_AT_ONCE: usize = 1000;
/// Bytes of names that are kept for the users who come next.
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
                HeaderCheck::Same => drop(self.users.insert(id, (newer, groups))),
                HeaderCheck::Newer(user) => changed.push((id, user.etag.clone(), Some(*user))),
                HeaderCheck::Gone => {}
            }
        }
        Ok(changed)
    }

    /// The groups of a user, and the header where it is a newer one. None: the user is gone, or was taken before.
    pub async fn take(
        &mut self,
        view: &GroupView,
        user: UserId,
    ) -> Result<Option<(Option<User>, Vec<GroupRef>)>, StoreError> {
        let Some((newer, groups)) = self.users.remove(&user) else { return Ok(None) };
        if groups.iter().any(|id| !self.names.known.contains_key(id)) {
            self.names.load(view, &groups, self.users.values().flat_map(|(_, groups)| groups)).await?;
        }
        let shown = groups.iter().filter_map(|id| {
            let display = self.names.known.get(id)?.clone()?;
            Some(GroupRef { id: id.to_string(), display, direct: true })
        });
        Ok(Some((newer, shown.collect())))
    }
}

/// The groups of one user, and the header where it is a newer one. None: the user is gone.
pub(super) async fn groups_of(
    view: &GroupView,
    user: UserId,
    etag: ETag,
) -> Result<Option<(Option<User>, Vec<GroupRef>)>, ServiceError> {
    let mut found = Memberships::default();
    found.read(view, &[(user, etag)], false).await?;
    Ok(found.take(view, user).await?)
}

async fn groups_of_each(view: &GroupView, users: Vec<UserId>) -> Result<Vec<Vec<GroupId>>, StoreError> {
    join_reads(users.into_iter().map(|id| view.store.groups_of(id, usize::MAX))).await
}

/// The names of groups that were asked for; none where the group is gone.
#[derive(Default)]
struct GroupNames {
    known: HashMap<GroupId, Option<String>>,
    bytes: usize,
}

impl GroupNames {
    /// Asks for the names of `wanted` that are not known, and for some of `next`.
    async fn load<'a>(
        &mut self,
        view: &GroupView,
        wanted: &[GroupId],
        next: impl Iterator<Item = &'a GroupId>,
    ) -> Result<(), StoreError> {
        if self.bytes > NAMES_BYTES_MAX {
            *self = Self::default();
        }
        let is_unknown = |id: &&GroupId| !self.known.contains_key(*id);
        let mut unknown: BTreeSet<GroupId> = wanted.iter().filter(is_unknown).copied().collect();
        for id in next.filter(is_unknown) {
            if unknown.len() >= NAMES_AT_ONCE {
                break;
            }
            unknown.insert(*id);
        }
        let names = unknown.into_iter().map(|id| async move { Ok((id, name(&view.store, id).await?)) });
        for (id, name) in join_reads(names).await? {
            self.bytes += size_of::<GroupId>() + name.as_ref().map_or(0, String::len);
            self.known.insert(id, name);
        }
        Ok(())
    }
}

/// The name of a group. None: it is gone.
async fn name(store: &StateStore, id: GroupId) -> Result<Option<String>, StoreError> {
    match store.resource(id).await {
        Ok(group) => Ok(group.map(|group| display(&group))),
        // What the group is called decides nothing about the user.
        Err(error @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. })) => {
            tracing::error!(group.id = %id, error = %error, "a group that cannot be read is shown without its name");
            Ok(Some(String::new()))
        }
        Err(error) => Err(error),
    }
}

fn display(group: &Group) -> String {
    group.name().unwrap_or_default().chars().take(DISPLAY_CHARS_MAX).collect()
}
