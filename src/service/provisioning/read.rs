//! Answers about one resource.

use crate::id::{GroupId, MemberId, UserId};
use crate::scim::Projection;
use crate::service::provisioning::memberships::{UserGroups, groups_of};
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::resource_answer::ResourceAnswer;
use crate::service::provisioning::resource_kind::ResourceKind;
use crate::service::provisioning::{Provisioning, not_found};
use crate::service::{RenderedResource, ServiceError};
use crate::store::resources::{Group, User};
use futures_util::try_join;

/// Members that the answer to a PATCH carries at most, unless attributes were asked for.
const PATCH_ECHO_MEMBERS_MAX: usize = 100;

impl Provisioning {
    /// The answer about a user who was changed just now. The change is committed: where the user is deleted meanwhile, the
    /// answer shows what the change left, in no group, and not 404.
    pub(super) async fn answer_changed_user(
        &self,
        user: User,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let living = self.answer_user(user.clone(), projection).await?;
        Ok(living.unwrap_or_else(|| self.view.user(user, Some(&[]), None)))
    }

    /// The answer about one user. None: the user is gone.
    pub(super) async fn answer_user(
        &self,
        user: User,
        projection: &Projection,
    ) -> Result<Option<RenderedResource>, ServiceError> {
        let needs = ProjectionNeeds::of::<UserId>(|attribute| projection.wants(attribute));
        let id = user.id;
        if !needs.view {
            let access = self.view.access(id, needs).await?;
            return Ok(Some(self.view.user(user, None, access.as_ref())));
        }
        let (found, access) = try_join!(groups_of(&self.view, id, user.etag.clone()), async {
            self.view.access(id, needs).await.map_err(ServiceError::from)
        })?;
        Ok(found.map(|UserGroups { newer, groups, may_vary }| {
            let shown = self.view.user(newer.unwrap_or(user), Some(&groups), access.as_ref());
            RenderedResource { varies: shown.varies || may_vary, ..shown }
        }))
    }

    /// The answer about a user who was created just now, and so is in no group.
    pub(super) async fn answer_new_user(
        &self,
        user: User,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let needs = ProjectionNeeds::of::<UserId>(|attribute| projection.wants(attribute));
        let access = self.view.access(user.id, needs).await?;
        Ok(self.view.user(user, needs.view.then_some(&[]), access.as_ref()))
    }

    /// The answer about one group. `members`: everyone who is in, where that is known already.
    pub(super) async fn answer_group(
        &self,
        group: Group,
        members: Option<Vec<MemberId>>,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        match members {
            _ if !projection.wants(GroupId::VIEW) => Ok(self.view.group(group, None)),
            Some(members) => Ok(self.view.group(group, Some(&members))),
            None => {
                let found = self.view.members_of(group.id, group.etag.clone()).await?;
                let (newer, members) = found.ok_or_else(not_found::<GroupId>)?;
                Ok(self.view.group(newer.unwrap_or(group), Some(&members)))
            }
        }
    }

    /// The answer to a PATCH of a group; the version alone where it would carry too many members, and no attributes were asked for.
    pub(super) async fn echo_group(
        &self,
        group: Group,
        members: Option<Vec<MemberId>>,
        projection: &Projection,
    ) -> Result<ResourceAnswer, ServiceError> {
        if !projection.wants(GroupId::VIEW) {
            return Ok(ResourceAnswer::Shown(self.view.group(group, None)));
        }
        let first = match members {
            Some(members) => members,
            // While a job changes the members, its plan says who they are.
            None if group.job.is_some() => {
                let found = self.view.members_of(group.id, group.etag.clone()).await?;
                found.map(|(_, members)| members).unwrap_or_default()
            }
            None => self.store.members(group.id, PATCH_ECHO_MEMBERS_MAX + 1).await?,
        };
        if first.len() <= PATCH_ECHO_MEMBERS_MAX {
            return Ok(ResourceAnswer::Shown(self.view.group(group, Some(&first))));
        }
        if !projection.asks_attributes() {
            return Ok(ResourceAnswer::VersionOnly(group.version()));
        }
        self.answer_group(group, None, projection).await.map(ResourceAnswer::Shown)
    }
}
