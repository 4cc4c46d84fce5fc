//! What belongs to a resource, read consistently, and how both are shown. The header comes first, then the range, then the
//! header again; where it changed meanwhile, once more.
//!
//! Many resources are shown at a time, so nothing here holds their attributes: a header goes in as id and version, and comes
//! out only where it is a newer one.

use crate::id::{GroupId, MemberId, OpId, UserId};
use crate::scim::{self, AccessView, GroupRef, Meta, version};
use crate::service::ServiceError;
use crate::service::access::grants::access_of;
use crate::service::access::ways;
use crate::service::bindings::active::ActiveBindings;
use crate::service::effective_groups::GroupGraph;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::conflict_retry::ConflictRetry;
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::rendered_resource::RenderedResource;
use crate::store::ETag;
use crate::store::jobs::{JobKind, StoredJob};
use crate::store::members::GROUPS_UPWARDS_MAX;
use crate::store::resources::{self, Group, ResourceId, StoredResource, User};
use crate::store::{StateStore, StoreError};
use futures_util::join;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

/// Characters of a group's name that its members show.
const DISPLAY_CHARS_MAX: usize = 1000;

/// The rows, and the address that answers name.
#[derive(Clone)]
pub(super) struct GroupView {
    pub store: StateStore,
    pub active_bindings: Arc<ActiveBindings>,
    /// Ends in `/scim/v2`.
    pub base_url: String,
}

/// Who is in which groups, read together.
#[derive(Default)]
pub(super) struct MembershipView {
    groups: GroupGraph<String>,
    users: BTreeMap<UserId, (Option<User>, Vec<GroupId>)>,
}

impl MembershipView {
    /// The groups of a user, direct ones first, and the header where it is a newer one. None: the user is gone.
    pub fn of(&self, user: UserId) -> Option<(Option<&User>, Vec<GroupRef>)> {
        let (newer, groups) = self.users.get(&user)?;
        let shown = |id: &GroupId, direct: bool| {
            let display = self.groups.get(*id)?.clone();
            Some(GroupRef { id: id.to_string(), display, direct })
        };
        let above = self.groups.above(groups).groups.into_iter();
        let indirect = above.filter(|group| group.through.is_some() && !groups.contains(&group.id));
        let direct = groups.iter().filter_map(|id| shown(id, true));
        let all = direct.chain(indirect.filter_map(|group| shown(&group.id, false))).collect();
        Some((newer.as_ref(), all))
    }
}

/// Everyone who is in a group, and its header where it is a newer one.
pub(super) type MemberRows = (Option<Group>, Vec<MemberId>);

impl GroupView {
    pub async fn access(
        &self,
        user: UserId,
        needs: ProjectionNeeds,
    ) -> Result<Option<AccessView>, StoreError> {
        if !needs.access {
            return Ok(None);
        }
        let mut access = access_of(&self.store, user).await?;
        if let Some(snapshot) = self.active_bindings.last_read() {
            ways::add_ways(&self.store, &snapshot, user, &mut access.grants).await?;
        }
        Ok(Some(access))
    }

    /// The groups of each of these users, direct and indirect. A user who is gone meanwhile is left out.
    pub async fn groups_of(&self, users: Vec<(UserId, ETag)>) -> Result<MembershipView, ServiceError> {
        let mut found = MembershipView::default();
        let mut pending: Vec<(UserId, ETag, Option<User>)> =
            users.into_iter().map(|(id, etag)| (id, etag, None)).collect();
        let mut retry = ConflictRetry::new(&self.store);
        loop {
            let lists =
                join_reads(pending.iter().map(|(id, ..)| self.store.groups_of(*id, usize::MAX))).await?;
            let unnamed: BTreeSet<GroupId> =
                lists.iter().flatten().copied().filter(|id| found.groups.get(*id).is_none()).collect();
            let most = unnamed.len() + GROUPS_UPWARDS_MAX * pending.len();
            let groups = GroupGraph::read(&self.store, unnamed, most, |id| self.name(id));
            let again = pending.iter().map(|(id, etag, _)| self.newer(*id, etag));
            let (groups, again) = join!(groups, join_reads(again));
            found.groups.merge(groups?);
            let mut changed = Vec::new();
            for (((id, _, newer), groups), again) in pending.into_iter().zip(lists).zip(again?) {
                match again {
                    HeaderCheck::Same { .. } => drop(found.users.insert(id, (newer, groups))),
                    HeaderCheck::Newer(user) => changed.push((id, user.etag.clone(), Some(*user))),
                    HeaderCheck::Gone => {}
                }
            }
            if changed.is_empty() {
                return Ok(found);
            }
            pending = changed;
            retry.pause().await?;
        }
    }

    /// The name of a group, as far as it can be read. None: the group is gone.
    async fn name(&self, id: GroupId) -> Result<Option<String>, StoreError> {
        match self.store.resource(id).await {
            Ok(group) => Ok(group.as_ref().map(display)),
            // What the group is called decides nothing about the user.
            Err(error @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. })) => {
                tracing::error!(group.id = %id, error = %error, "a group that cannot be read is shown without its name");
                Ok(Some(String::new()))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a header is still that version.
    async fn newer<I: ResourceId>(&self, id: I, etag: &ETag) -> Result<HeaderCheck<I>, StoreError> {
        Ok(match self.store.header(id).await? {
            Some(row) if row.etag == *etag => HeaderCheck::Same { job: resources::job_of(&row)? },
            Some(row) => HeaderCheck::Newer(Box::new(StoredResource::read(&row)?)),
            None => HeaderCheck::Gone,
        })
    }

    /// Everyone who is in a group. None: the group is gone.
    pub async fn members_of(&self, id: GroupId, etag: ETag) -> Result<Option<MemberRows>, ServiceError> {
        self.read_members(id, etag, None).await
    }

    /// Those members of a group whose ids are in `among`. None: the group is gone.
    pub async fn members_among(
        &self,
        id: GroupId,
        etag: ETag,
        among: &[Uuid],
    ) -> Result<Option<MemberRows>, ServiceError> {
        self.read_members(id, etag, Some(among)).await
    }

    async fn read_members(
        &self,
        id: GroupId,
        mut etag: ETag,
        among: Option<&[Uuid]>,
    ) -> Result<Option<MemberRows>, ServiceError> {
        let mut newer = None;
        let mut job_is_lost = false;
        let mut retry = ConflictRetry::new(&self.store);
        loop {
            let members = match among {
                None => self.store.members(id, usize::MAX).await?,
                Some(ids) => self.members_named(id, ids).await?,
            };
            match self.newer(id, &etag).await? {
                HeaderCheck::Same { job: Some(job) } if !job_is_lost => {
                    match self.planned(job, &members, among).await? {
                        Some(planned) => return Ok(Some((newer, planned))),
                        None => job_is_lost = true,
                    }
                }
                HeaderCheck::Same { .. } => return Ok(Some((newer, members))),
                HeaderCheck::Newer(group) => {
                    job_is_lost = false;
                    etag = group.etag.clone();
                    newer = Some(*group);
                }
                HeaderCheck::Gone => return Ok(None),
            }
            retry.pause().await?;
        }
    }

    /// The members as they will be when the job is done, or those of them who are asked for. None: there is no such job any more.
    async fn planned(
        &self,
        job: OpId,
        members: &[MemberId],
        among: Option<&[Uuid]>,
    ) -> Result<Option<Vec<MemberId>>, StoreError> {
        let plan = match self.store.job(job).await {
            Ok(Some(StoredJob { kind: JobKind::ChangeMembers(_, plan), .. })) => plan,
            Ok(_) => return Ok(None),
            Err(error @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. })) => {
                tracing::error!(job.id = %job, error = %error, "a job that cannot be read changes the members of a group; the group is shown as its rows are");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut planned = plan.overlay(members.iter().copied());
        if let Some(ids) = among {
            planned.retain(|member| ids.contains(&member.uuid()));
        }
        Ok(Some(planned.into_iter().collect()))
    }

    async fn members_named(&self, group: GroupId, ids: &[Uuid]) -> Result<Vec<MemberId>, StoreError> {
        let reads = ids.iter().map(|id| self.store.find_member(group, *id));
        Ok(join_reads(reads).await?.into_iter().flatten().collect())
    }

    pub fn user(
        &self,
        user: &User,
        groups: Option<&[GroupRef]>,
        access: Option<&AccessView>,
    ) -> RenderedResource {
        let meta = self.meta(user);
        let body = scim::user::render(&user.resource, &meta, groups, access);
        rendered::<UserId>(meta, body)
    }

    pub fn group(&self, group: &Group, members: Option<&[MemberId]>) -> RenderedResource {
        let meta = self.meta(group);
        let body = scim::group::render(&group.resource, &meta, members);
        rendered::<GroupId>(meta, body)
    }

    fn meta<I: ResourceId>(&self, stored: &StoredResource<I>) -> Meta {
        Meta {
            id: stored.id.to_string(),
            created: millis(stored.created),
            last_modified: millis(stored.modified),
            version: version::version(stored.revision, stored.touch.as_deref()),
            base_url: self.base_url.clone(),
        }
    }
}

/// A header that was read again.
enum HeaderCheck<I> {
    /// With the job that it names.
    Same {
        job: Option<OpId>,
    },
    Newer(Box<StoredResource<I>>),
    Gone,
}

fn display(group: &Group) -> String {
    group.name().unwrap_or_default().chars().take(DISPLAY_CHARS_MAX).collect()
}

fn rendered<I: ResourceId>(meta: Meta, body: Value) -> RenderedResource {
    let location = meta.location(I::KIND);
    RenderedResource { id: meta.id, location, version: meta.version, body }
}

/// RFC 3339, UTC, always three digits of a second.
fn millis(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.to_offset(time::UtcOffset::UTC).format(&form).unwrap_or_default()
}
