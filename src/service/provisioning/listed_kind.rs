//! What users and groups do differently when many of them are shown.

use crate::id::{GroupId, UserId};
use crate::ports::tables::ETag;
use crate::scim::AccessView;
use crate::service::ServiceError;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::group_view::{GroupView, MemberRows};
use crate::service::provisioning::memberships::Memberships;
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
    type Relations: Default + Send + Sync;

    /// How many are read together, at most.
    fn read_at_once(needs: ProjectionNeeds) -> usize;

    /// Reads it for the first of these headers, and returns for how many, at least one.
    fn read_relations(
        view: &GroupView,
        relations: &mut Self::Relations,
        headers: Vec<(Self, ETag)>,
        wanted: RelationsWanted<'_>,
    ) -> impl Future<Output = Result<usize, ServiceError>> + Send;

    /// One of them. None: it is gone meanwhile.
    fn show(
        view: &GroupView,
        stored: StoredResource<Self>,
        relations: &mut Self::Relations,
        needs: ProjectionNeeds,
    ) -> impl Future<Output = Result<Option<ShownResource>, ServiceError>> + Send;
}

/// What is read beside headers, and how.
#[derive(Clone, Copy)]
pub(super) struct RelationsWanted<'a> {
    pub needs: ProjectionNeeds,
    /// The only members that matter, where the others do not.
    pub among: Option<&'a [Uuid]>,
    /// No resource lies between two headers that follow one another, in the order of the ids.
    pub neighbours: bool,
}

/// What users are shown with.
#[derive(Default)]
pub(super) struct UserRelations {
    groups: Memberships,
    access: BTreeMap<UserId, AccessView>,
}

impl ListedKind for UserId {
    type Relations = UserRelations;

    fn read_at_once(_needs: ProjectionNeeds) -> usize {
        usize::MAX
    }

    async fn read_relations(
        view: &GroupView,
        relations: &mut UserRelations,
        headers: Vec<(UserId, ETag)>,
        wanted: RelationsWanted<'_>,
    ) -> Result<usize, ServiceError> {
        let RelationsWanted { needs, neighbours, .. } = wanted;
        let read = match needs.view {
            true => relations.groups.read(view, &headers, neighbours).await?,
            false => headers.len(),
        };
        let access = headers.iter().take(read).filter(|_| needs.access).map(|(id, _)| async move {
            let access = view.access(*id, needs).await?;
            Ok::<_, ServiceError>(access.map(|access| (*id, access)))
        });
        relations.access.extend(join_reads(access).await?.into_iter().flatten());
        Ok(read)
    }

    async fn show(
        view: &GroupView,
        user: StoredResource<UserId>,
        relations: &mut UserRelations,
        needs: ProjectionNeeds,
    ) -> Result<Option<ShownResource>, ServiceError> {
        let access = relations.access.remove(&user.id);
        let body = match needs.view {
            false => view.user(user, None, access.as_ref()).body,
            true => {
                let Some((newer, groups)) = relations.groups.take(view, user.id).await? else {
                    return Ok(None);
                };
                view.user(newer.unwrap_or(user), Some(&groups), access.as_ref()).body
            }
        };
        Ok(Some(ShownResource { body, members: 0 }))
    }
}

impl ListedKind for GroupId {
    /// The members of groups, where they are shown.
    type Relations = BTreeMap<GroupId, MemberRows>;

    fn read_at_once(needs: ProjectionNeeds) -> usize {
        if needs.view { GROUPS_AT_ONCE } else { usize::MAX }
    }

    async fn read_relations(
        view: &GroupView,
        relations: &mut Self::Relations,
        headers: Vec<(GroupId, ETag)>,
        wanted: RelationsWanted<'_>,
    ) -> Result<usize, ServiceError> {
        let read = headers.len();
        let RelationsWanted { needs, among, .. } = wanted;
        let members = headers.into_iter().filter(|_| needs.view).map(|(id, etag)| async move {
            let members = match among {
                None => view.members_of(id, etag).await?,
                Some(ids) => view.members_among(id, etag, ids).await?,
            };
            Ok::<_, ServiceError>(members.map(|members| (id, members)))
        });
        relations.extend(join_reads(members).await?.into_iter().flatten());
        Ok(read)
    }

    async fn show(
        view: &GroupView,
        group: StoredResource<GroupId>,
        relations: &mut Self::Relations,
        needs: ProjectionNeeds,
    ) -> Result<Option<ShownResource>, ServiceError> {
        if !needs.view {
            return Ok(Some(ShownResource { body: view.group(group, None).body, members: 0 }));
        }
        let Some((newer, members)) = relations.remove(&group.id) else { return Ok(None) };
        let body = view.group(newer.unwrap_or(group), Some(&members)).body;
        Ok(Some(ShownResource { body, members: members.len() }))
    }
}
