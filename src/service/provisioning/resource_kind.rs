//! What users and groups do differently when they are listed, shown and deleted.

use crate::id::{GroupId, UserId};
use crate::scim::AccessView;
use crate::service::ServiceError;
use crate::service::provisioning::group_view::{GroupView, MemberRows, MembershipView};
use crate::service::provisioning::join_reads;
use crate::store::ETag;
use crate::store::jobs::JobKind;
use crate::store::resources::{ResourceId, StoredResource};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;

/// Groups whose members are read together.
const GROUPS_AT_ONCE: usize = 8;

/// What is needed beside the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectionNeeds {
    /// The memberships: a user's groups, a group's members.
    pub view: bool,
    /// What the person holds in Azure.
    pub access: bool,
}

impl ProjectionNeeds {
    /// Those that `asks` names.
    pub fn of<I: ResourceKind>(asks: impl Fn(&str) -> bool) -> Self {
        Self { view: asks(I::VIEW), access: I::ACCESS.iter().any(|attribute| asks(attribute)) }
    }
}

/// What users and groups do differently.
pub trait ResourceKind: ResourceId {
    /// The attribute that shows memberships.
    const VIEW: &'static str;
    /// The attributes that show what a person holds.
    const ACCESS: &'static [&'static str];

    /// The job that empties the memberships after a delete.
    fn emptying(self) -> JobKind;
    /// The person whose access a delete takes at once.
    fn person(self) -> Option<UserId>;
}

impl ResourceKind for UserId {
    const VIEW: &'static str = "groups";
    const ACCESS: &'static [&'static str] = &["grants", "grantState"];

    fn emptying(self) -> JobKind {
        JobKind::DeleteUser(self)
    }
    fn person(self) -> Option<UserId> {
        Some(self)
    }
}

impl ResourceKind for GroupId {
    const VIEW: &'static str = "members";
    const ACCESS: &'static [&'static str] = &[];

    fn emptying(self) -> JobKind {
        JobKind::DeleteGroup(self)
    }
    fn person(self) -> Option<UserId> {
        None
    }
}

/// A resource as it is shown.
pub struct ShownResource {
    pub body: Value,
    /// Members that it carries.
    pub members: usize,
}

/// What many resources of one kind are shown with.
pub(super) trait ListedKind: ResourceKind {
    /// What is read beside their headers.
    type Beside: Send + Sync;

    /// How many are read together.
    fn at_once(needs: ProjectionNeeds) -> usize;

    /// Reads it. `among`: the only members that matter, where the others do not.
    fn read_beside(
        view: &GroupView,
        headers: Vec<(Self, ETag)>,
        needs: ProjectionNeeds,
        among: Option<&[UserId]>,
    ) -> impl Future<Output = Result<Self::Beside, ServiceError>> + Send;

    /// One of them. None: it is gone meanwhile.
    fn show(view: &GroupView, stored: &StoredResource<Self>, beside: &Self::Beside) -> Option<ShownResource>;
}

/// What users are shown with.
pub(super) struct BesideUsers {
    groups: Option<MembershipView>,
    access: BTreeMap<UserId, AccessView>,
}

impl ListedKind for UserId {
    type Beside = BesideUsers;

    fn at_once(_needs: ProjectionNeeds) -> usize {
        usize::MAX
    }

    async fn read_beside(
        view: &GroupView,
        headers: Vec<(UserId, ETag)>,
        needs: ProjectionNeeds,
        _among: Option<&[UserId]>,
    ) -> Result<BesideUsers, ServiceError> {
        let access = headers.iter().filter(|_| needs.access).map(|(id, _)| async move {
            let access = view.access(*id, needs).await?;
            Ok::<_, ServiceError>(access.map(|access| (*id, access)))
        });
        let access = join_reads(access).await?.into_iter().flatten().collect();
        let groups = match needs.view {
            true => Some(view.groups_of(headers).await?),
            false => None,
        };
        Ok(BesideUsers { groups, access })
    }

    fn show(view: &GroupView, user: &StoredResource<UserId>, beside: &BesideUsers) -> Option<ShownResource> {
        let access = beside.access.get(&user.id);
        let body = match &beside.groups {
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
type BesideGroups = Option<BTreeMap<GroupId, MemberRows>>;

impl ListedKind for GroupId {
    type Beside = BesideGroups;

    fn at_once(needs: ProjectionNeeds) -> usize {
        if needs.view { GROUPS_AT_ONCE } else { usize::MAX }
    }

    async fn read_beside(
        view: &GroupView,
        headers: Vec<(GroupId, ETag)>,
        needs: ProjectionNeeds,
        among: Option<&[UserId]>,
    ) -> Result<BesideGroups, ServiceError> {
        let members = headers.into_iter().filter(|_| needs.view).map(|(id, etag)| async move {
            let members = match among {
                None => view.members_of(id, etag).await?,
                Some(users) => view.members_among(id, etag, users).await?,
            };
            Ok::<_, ServiceError>(members.map(|members| (id, members)))
        });
        let members = join_reads(members).await?.into_iter().flatten().collect();
        Ok(needs.view.then_some(members))
    }

    fn show(
        view: &GroupView,
        group: &StoredResource<GroupId>,
        beside: &BesideGroups,
    ) -> Option<ShownResource> {
        let Some(members) = beside else {
            return Some(ShownResource { body: view.group(group, None).body, members: 0 });
        };
        let (newer, members) = members.get(&group.id)?;
        let body = view.group(newer.as_ref().unwrap_or(group), Some(members)).body;
        Some(ShownResource { body, members: members.len() })
    }
}
