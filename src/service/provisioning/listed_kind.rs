//! What users and groups do differently when many of them are shown.

use crate::id::{GroupId, MemberId, UserId};
use crate::ports::tables::ETag;
use crate::scim::{AccessView, GroupRef, Projection, StoredDocument};
use crate::service::ServiceError;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::group_view::{GroupView, MemberRows};
use crate::service::provisioning::memberships::Memberships;
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::resource_kind::ResourceKind;
use crate::store::TableRow;
use crate::store::resources::{Group, StoredHeader, StoredResource, User};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use uuid::Uuid;

/// Groups whose members are read together.
const GROUPS_AT_ONCE: usize = 8;

/// A resource with everything that it is shown with.
pub(super) trait ShownResource: Send {
    /// Members that it carries.
    fn members(&self) -> usize;

    /// All of it, for filters and orders.
    fn body(self, view: &GroupView) -> Value;

    /// What the projection leaves of it, as text.
    fn text(self, view: &GroupView, projection: &Projection) -> ShownText
    where
        Self: Sized,
    {
        let members = self.members();
        ShownText { members, text: projection.apply(self.body(view)).to_string() }
    }
}

/// A resource as it is stored.
pub(super) struct StoredText<'a, I> {
    pub row: &'a TableRow,
    pub header: &'a StoredHeader<'a, I>,
    pub document: &'a StoredDocument<'a>,
}

/// What of a resource is sent.
pub(super) struct ShownText {
    pub text: String,
    /// Members that it carries.
    pub members: usize,
}

/// What many resources of one kind are shown with.
pub(super) trait ListedKind: ResourceKind {
    /// What is read beside their headers.
    type Relations: Default + Send + Sync;
    type Shown: ShownResource;

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
    ) -> impl Future<Output = Result<Option<Self::Shown>, ServiceError>> + Send;

    /// One of them as text. None: it is gone meanwhile.
    fn show_text(
        view: &GroupView,
        stored: StoredText<'_, Self>,
        relations: &mut Self::Relations,
        needs: ProjectionNeeds,
        projection: &Projection,
    ) -> impl Future<Output = Result<Option<ShownText>, ServiceError>> + Send {
        async move {
            let stored = StoredResource::read_to_show(stored.row)?;
            let shown = Self::show(view, stored, relations, needs).await?;
            Ok(shown.map(|shown| shown.text(view, projection)))
        }
    }
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

/// A user, the groups where they are wanted, and what is held in Azure where that is.
pub(super) struct ShownUser {
    user: User,
    groups: Option<Vec<GroupRef>>,
    access: Option<AccessView>,
}

impl ShownResource for ShownUser {
    fn members(&self) -> usize {
        0
    }

    fn body(self, view: &GroupView) -> Value {
        view.user(self.user, self.groups.as_deref(), self.access.as_ref()).body
    }
}

/// A group, and its members where they are wanted.
pub(super) struct ShownGroup {
    group: Group,
    members: Option<Vec<MemberId>>,
}

impl ShownResource for ShownGroup {
    fn members(&self) -> usize {
        self.members.as_ref().map_or(0, Vec::len)
    }

    fn body(self, view: &GroupView) -> Value {
        view.group(self.group, self.members.as_deref()).body
    }
}

/// What users are shown with.
#[derive(Default)]
pub(super) struct UserRelations {
    groups: Memberships,
    access: BTreeMap<UserId, AccessView>,
}

impl ListedKind for UserId {
    type Relations = UserRelations;
    type Shown = ShownUser;

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
        user: User,
        relations: &mut UserRelations,
        needs: ProjectionNeeds,
    ) -> Result<Option<ShownUser>, ServiceError> {
        let access = relations.access.remove(&user.id);
        if !needs.view {
            return Ok(Some(ShownUser { user, groups: None, access }));
        }
        let Some((newer, groups)) = relations.groups.take(view, user.id).await? else { return Ok(None) };
        Ok(Some(ShownUser { user: newer.unwrap_or(user), groups: Some(groups), access }))
    }

    /// Most users of a page are shown as they are stored, and only their groups are added.
    async fn show_text(
        view: &GroupView,
        stored: StoredText<'_, UserId>,
        relations: &mut UserRelations,
        needs: ProjectionNeeds,
        projection: &Projection,
    ) -> Result<Option<ShownText>, ServiceError> {
        let StoredText { row, header, document } = stored;
        let access = relations.access.remove(&header.id);
        let groups = match needs.view {
            false => None,
            true => match relations.groups.take(view, header.id).await? {
                None => return Ok(None),
                Some((Some(user), groups)) => {
                    let shown = ShownUser { user, groups: Some(groups), access };
                    return Ok(Some(shown.text(view, projection)));
                }
                Some((None, groups)) => Some(groups),
            },
        };
        if access.is_none()
            && let Some(text) = view.user_text(header, document, groups.as_deref(), projection)
        {
            return Ok(Some(ShownText { text, members: 0 }));
        }
        let shown = ShownUser { user: StoredResource::read_to_show(row)?, groups, access };
        Ok(Some(shown.text(view, projection)))
    }
}

impl ListedKind for GroupId {
    /// The members of groups, where they are shown.
    type Relations = BTreeMap<GroupId, MemberRows>;
    type Shown = ShownGroup;

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
        _view: &GroupView,
        group: Group,
        relations: &mut Self::Relations,
        needs: ProjectionNeeds,
    ) -> Result<Option<ShownGroup>, ServiceError> {
        if !needs.view {
            return Ok(Some(ShownGroup { group, members: None }));
        }
        let Some((newer, members)) = relations.remove(&group.id) else { return Ok(None) };
        Ok(Some(ShownGroup { group: newer.unwrap_or(group), members: Some(members) }))
    }
}
