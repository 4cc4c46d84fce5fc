//! Answers: a stored resource with what belongs to it, read consistently. The header comes first, then the range,
//! then the header again; where it changed meanwhile, once more.

use super::list::{Kind, Needs};
use super::{Provisioning, not_found, together};
use crate::id::{GroupId, UserId};
use crate::scim::{self, Access, GroupRef, Meta, Projection, version};
use crate::service::access::access_of;
use crate::service::{Rendered, ServiceError};
use crate::store::StoreError;
use crate::store::resources::{Group, ResourceId, Stored, User};
use futures_util::{join, try_join};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use time::macros::format_description;

/// Members that the answer to a PATCH carries at most, unless attributes were asked for.
const PATCH_ECHO_MEMBERS_MAX: usize = 100;

/// Users, each with the groups that they are in.
pub(super) type UsersInGroups = BTreeMap<UserId, (User, Vec<GroupRef>)>;

impl Provisioning {
    /// The answer about one user.
    pub(super) async fn answer_user(
        &self,
        user: User,
        projection: &Projection,
    ) -> Result<Rendered, ServiceError> {
        self.answer_living_user(user, projection).await?.ok_or_else(not_found::<UserId>)
    }

    /// The answer about a user who was changed just now. The change is committed: where he is deleted meanwhile he is
    /// answered as he was left, in no group, and not as if nothing had happened.
    pub(super) async fn answer_changed_user(
        &self,
        user: User,
        projection: &Projection,
    ) -> Result<Rendered, ServiceError> {
        let living = self.answer_living_user(user.clone(), projection).await?;
        Ok(living.unwrap_or_else(|| self.user_rendered(&user, Some(&[]), None)))
    }

    /// None: he is gone.
    async fn answer_living_user(
        &self,
        user: User,
        projection: &Projection,
    ) -> Result<Option<Rendered>, ServiceError> {
        let needs = Needs::of::<UserId>(|attribute| projection.wants(attribute));
        let id = user.id;
        if !needs.view {
            let access = self.access(id, &needs).await?;
            return Ok(Some(self.user_rendered(&user, None, access.as_ref())));
        }
        let (mut found, access) = try_join!(self.with_groups(vec![user]), async {
            self.access(id, &needs).await.map_err(ServiceError::from)
        })?;
        let found = found.remove(&id);
        Ok(found.map(|(user, groups)| self.user_rendered(&user, Some(&groups), access.as_ref())))
    }

    /// The answer about a user who was created just now, and so is in no group.
    pub(super) async fn answer_new_user(
        &self,
        user: User,
        projection: &Projection,
    ) -> Result<Rendered, ServiceError> {
        let needs = Needs::of::<UserId>(|attribute| projection.wants(attribute));
        let access = self.access(user.id, &needs).await?;
        Ok(self.user_rendered(&user, needs.view.then_some(&[]), access.as_ref()))
    }

    /// The answer about one group. `members`: everyone who is in, where that is known already.
    pub(super) async fn answer_group(
        &self,
        group: Group,
        members: Option<Vec<UserId>>,
        projection: &Projection,
    ) -> Result<Rendered, ServiceError> {
        match members {
            _ if !projection.wants(GroupId::VIEW) => Ok(self.group_rendered(&group, None)),
            Some(members) => Ok(self.group_rendered(&group, Some(&members))),
            None => {
                let found = self.with_members(group).await?;
                let (group, members) = found.ok_or_else(not_found::<GroupId>)?;
                Ok(self.group_rendered(&group, Some(&members)))
            }
        }
    }

    /// The answer to a PATCH of a group; none where it would carry too many members that nobody asked for.
    pub(super) async fn echo_group(
        &self,
        group: Group,
        members: Option<Vec<UserId>>,
        projection: &Projection,
    ) -> Result<Option<Rendered>, ServiceError> {
        if !projection.wants(GroupId::VIEW) {
            return Ok(Some(self.group_rendered(&group, None)));
        }
        let first = match members {
            Some(members) => members,
            None => self.store.members(group.id, PATCH_ECHO_MEMBERS_MAX + 1).await?,
        };
        if first.len() <= PATCH_ECHO_MEMBERS_MAX {
            return Ok(Some(self.group_rendered(&group, Some(&first))));
        }
        if !projection.asks_attributes() {
            return Ok(None);
        }
        self.answer_group(group, None, projection).await.map(Some)
    }

    pub(super) async fn access(&self, user: UserId, needs: &Needs) -> Result<Option<Access>, StoreError> {
        match needs.access {
            true => access_of(&self.store, user).await.map(Some),
            false => Ok(None),
        }
    }

    /// The groups of each of these users. Who is gone meanwhile is left out.
    pub(super) async fn with_groups(&self, users: Vec<User>) -> Result<UsersInGroups, ServiceError> {
        let mut found = UsersInGroups::new();
        let mut pending = users;
        let mut tries = self.tries();
        loop {
            let lists =
                together(pending.iter().map(|user| self.store.groups_of(user.id, usize::MAX))).await?;
            let ids: BTreeSet<GroupId> = lists.iter().flatten().copied().collect();
            let (names, again) =
                join!(self.headers(ids.into_iter()), self.headers(pending.iter().map(|user| user.id)));
            let (names, mut again) = (names?, again?);
            let mut changed = Vec::new();
            for (user, list) in pending.into_iter().zip(lists) {
                match again.remove(&user.id) {
                    Some(now) if now.etag == user.etag => {
                        let groups = list.iter().filter_map(|id| names.get(id)).map(group_ref).collect();
                        found.insert(user.id, (user, groups));
                    }
                    Some(now) => changed.push(now),
                    None => {}
                }
            }
            if changed.is_empty() {
                return Ok(found);
            }
            pending = changed;
            tries.again().await?;
        }
    }

    /// Everyone who is in a group. None: the group is gone.
    pub(super) async fn with_members(
        &self,
        mut group: Group,
    ) -> Result<Option<(Group, Vec<UserId>)>, ServiceError> {
        let mut tries = self.tries();
        loop {
            let members = self.store.members(group.id, usize::MAX).await?;
            match self.store.resource(group.id).await? {
                Some(now) if now.etag == group.etag => return Ok(Some((group, members))),
                Some(now) => group = now,
                None => return Ok(None),
            }
            tries.again().await?;
        }
    }

    /// The headers of these ids, as far as they exist and can be read: one that cannot must not fail the answer about another.
    pub(super) async fn headers<I: ResourceId>(
        &self,
        ids: impl Iterator<Item = I>,
    ) -> Result<BTreeMap<I, Stored<I>>, StoreError> {
        let found = together(ids.map(|id| self.store.readable_resource(id))).await?;
        Ok(found.into_iter().flatten().map(|stored| (stored.id, stored)).collect())
    }

    pub(super) fn user_rendered(
        &self,
        user: &User,
        groups: Option<&[GroupRef]>,
        access: Option<&Access>,
    ) -> Rendered {
        let meta = self.meta(user);
        let body = scim::user::render(&user.resource, &meta, groups, access);
        rendered::<UserId>(meta, body)
    }

    pub(super) fn group_rendered(&self, group: &Group, members: Option<&[UserId]>) -> Rendered {
        let meta = self.meta(group);
        let members: Option<Vec<String>> =
            members.map(|members| members.iter().map(ToString::to_string).collect());
        let body = scim::group::render(&group.resource, &meta, members.as_deref());
        rendered::<GroupId>(meta, body)
    }

    fn meta<I: ResourceId>(&self, stored: &Stored<I>) -> Meta {
        Meta {
            id: stored.id.to_string(),
            created: millis(stored.created),
            last_modified: millis(stored.modified),
            version: version::version(stored.revision, stored.touch.as_deref()),
            base_url: self.base_url.clone(),
        }
    }
}

fn rendered<I: ResourceId>(meta: Meta, body: Value) -> Rendered {
    let location = meta.location(I::KIND);
    Rendered { id: meta.id, location, version: meta.version, body }
}

fn group_ref(group: &Group) -> GroupRef {
    let display = group.name().unwrap_or_default().to_owned();
    GroupRef { id: group.id.to_string(), display, direct: true }
}

/// RFC 3339, UTC, always three digits of a second.
fn millis(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.to_offset(time::UtcOffset::UTC).format(&form).unwrap_or_default()
}
