//! What users and groups do differently when many of them are shown.

use crate::id::{GroupId, UserId};
use crate::ports::tables::ETag;
use crate::scim::AccessView;
use crate::service::ServiceError;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::group_view::{GroupView, MemberRows, MembershipView};
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::resource_kind::ResourceKind;
use crate::store::resources::StoredResource;
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use uuid::Uuid;

/// Groups whose members are read together.
const GROUPS_AT_ONCE: usize = 8;

/// A resource as it is shown.
pub(super) struct ShownResource {
    pub body: Value,
    /// Members that it carries.
    pub members: usize,
}

/// What many resources of one kind are shown with.
pub(super) trait ListedKind: ResourceKind {
    /// What is read beside their headers.
    type Relations: Send + Sync;

    /// How many are read together.
    fn read_at_once(needs: ProjectionNeeds) -> usize;

    /// Reads it. `among`: the only members that matter, where the others do not.
    fn read_relations(
        view: &GroupView,
        headers: Vec<(Self, ETag)>,
        needs: ProjectionNeeds,
        among: Option<&[Uuid]>,
    ) -> impl Future<Output = Result<Self::Relations, ServiceError>> + Send;

    /// One of them. None: it is gone meanwhile.
    fn show(
        view: &GroupView,
        stored: &StoredResource<Self>,
        relations: &Self::Relations,
    ) -> Option<ShownResource>;
}

/// What users are shown with.
pub(super) struct UserRelations {
    groups: Option<MembershipView>,
    access: BTreeMap<UserId, AccessView>,
}

impl ListedKind for UserId {
    type Relations = UserRelations;

    fn read_at_once(_needs: ProjectionNeeds) -> usize {
        usize::MAX
    }

    async fn read_relations(
        view: &GroupView,
        headers: Vec<(UserId, ETag)>,
        needs: ProjectionNeeds,
        _among: Option<&[Uuid]>,
    ) -> Result<UserRelations, ServiceError> {
        let access = headers.iter().filter(|_| needs.access).map(|(id, _)| async move {
            let access = view.access(*id, needs).await?;
            Ok::<_, ServiceError>(access.map(|access| (*id, access)))
        });
        let access = join_reads(access).await?.into_iter().flatten().collect();
        let groups = match needs.view {
            true => Some(view.groups_of(headers).await?),
            false => None,
        };
        Ok(UserRelations { groups, access })
    }

    fn show(
        view: &GroupView,
        user: &StoredResource<UserId>,
        relations: &UserRelations,
    ) -> Option<ShownResource> {
        let access = relations.access.get(&user.id);
        let body = match &relations.groups {
            None => view.user(user, None, access).body,
            Some(groups) => {
                let (newer, groups) = groups.of(user.id)?;
                view.user(newer.unwrap_or(user), Some(&groups), access).body
            }
        };
        Some(ShownResource { body, members: 0 })
    }
}

/// The members of groups, where they are shown.
type GroupRelations = Option<BTreeMap<GroupId, MemberRows>>;

impl ListedKind for GroupId {
    type Relations = GroupRelations;

    fn read_at_once(needs: ProjectionNeeds) -> usize {
        if needs.view { GROUPS_AT_ONCE } else { usize::MAX }
    }

    async fn read_relations(
        view: &GroupView,
        headers: Vec<(GroupId, ETag)>,
        needs: ProjectionNeeds,
        among: Option<&[Uuid]>,
    ) -> Result<GroupRelations, ServiceError> {
        let members = headers.into_iter().filter(|_| needs.view).map(|(id, etag)| async move {
            let members = match among {
                None => view.members_of(id, etag).await?,
                Some(ids) => view.members_among(id, etag, ids).await?,
            };
            Ok::<_, ServiceError>(members.map(|members| (id, members)))
        });
        let members = join_reads(members).await?.into_iter().flatten().collect();
        Ok(needs.view.then_some(members))
    }

    fn show(
        view: &GroupView,
        group: &StoredResource<GroupId>,
        relations: &GroupRelations,
    ) -> Option<ShownResource> {
        let Some(members) = relations else {
            return Some(ShownResource { body: view.group(group, None).body, members: 0 });
        };
        let (newer, members) = members.get(&group.id)?;
        let body = view.group(newer.as_ref().unwrap_or(group), Some(members)).body;
        Some(ShownResource { body, members: members.len() })
    }
}
