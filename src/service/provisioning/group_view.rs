//! A resource as it is shown, and the members of a group, read consistently. The header comes first, then the range, then the
//! header again; where it changed meanwhile, once more.
//!
//! Many resources are shown at a time, so nothing here holds their attributes: a header goes in as id and version, and comes
//! out only where it is a newer one.

use crate::events::log_event;
use crate::id::{GroupId, MemberId, OpId, UserId};
use crate::scim::{self, AccessView, GroupRef, Meta, Projection, StoredDocument, UserText, version};
use crate::service::ServiceError;
use crate::service::access::grants::access_of;
use crate::service::access::ways;
use crate::service::bindings::active::ActiveBindings;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::conflict_retry::ConflictRetry;
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::rendered_resource::RenderedResource;
use crate::store::ETag;
use crate::store::jobs::{JobKind, StoredJob};
use crate::store::resources::{self, Group, ResourceId, StoredHeader, StoredResource, User, id_of};
use crate::store::{StateStore, StoreError, TableRow};
use serde_json::Value;
use std::fmt::Display;
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

/// The rows, and the address that answers name.
#[derive(Clone)]
pub(super) struct GroupView {
    pub store: StateStore,
    pub active_bindings: Arc<ActiveBindings>,
    /// Ends in `/scim/v2`.
    pub base_url: String,
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

    /// Whether a header is still that version.
    pub async fn newer<I: ResourceId>(&self, id: I, etag: &ETag) -> Result<HeaderCheck<I>, StoreError> {
        match self.store.header(id).await? {
            Some(row) => HeaderCheck::of(&row, etag),
            None => Ok(HeaderCheck::Gone),
        }
    }

    /// The same for resources that are given in the order of their ids and lie side by side, read as one range.
    pub async fn newer_neighbours<I: ResourceId>(
        &self,
        headers: &[(I, ETag)],
    ) -> Result<Vec<HeaderCheck<I>>, StoreError> {
        let mut checks = Vec::with_capacity(headers.len());
        let (Some((first, _)), Some((last, _))) = (headers.first(), headers.last()) else {
            return Ok(Vec::new());
        };
        let mut pages = self.store.header_keys_between(*first, *last);
        while let Some(rows) = pages.at_most(headers.len() - checks.len()).await? {
            for row in rows {
                let Some(found) = id_of::<I>(&row) else { continue };
                while let Some((id, etag)) = headers.get(checks.len()).filter(|(id, _)| *id <= found) {
                    let is_same = (*id == found).then(|| row.etag == *etag);
                    checks.push(is_same);
                }
            }
            if checks.len() == headers.len() {
                break;
            }
        }
        checks.resize(headers.len(), None);
        let check = |((id, etag), is_same): (&(I, ETag), Option<bool>)| {
            let (id, etag) = (*id, etag.clone());
            async move {
                match is_same {
                    Some(true) => Ok(HeaderCheck::Same { job: None }),
                    Some(false) => self.newer(id, &etag).await,
                    None => Ok(HeaderCheck::Gone),
                }
            }
        };
        join_reads(headers.iter().zip(checks).map(check)).await
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
                log_event!(RowUnreadable, job.id = %job, error = %error, "a job that cannot be read changes the members of a group; the group is shown as its rows are");
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
        user: User,
        groups: Option<&[GroupRef]>,
        access: Option<&AccessView>,
    ) -> RenderedResource {
        let meta = self.meta_of(&user);
        let body = scim::user::render(user.resource, &meta, groups, access);
        let is_indirect = |groups: &[GroupRef]| groups.iter().any(|group| !group.direct);
        rendered::<UserId>(meta, body, access.is_some() || groups.is_some_and(is_indirect))
    }

    /// The user of that header as text. `None`: the projection cuts parts out of attributes.
    pub fn user_text(
        &self,
        header: &StoredHeader<'_, UserId>,
        document: &StoredDocument<'_>,
        groups: Option<&[GroupRef]>,
        projection: &Projection,
    ) -> Option<String> {
        let StoredHeader { id, created, modified, revision, touch, .. } = header;
        let meta = self.meta(id, [*created, *modified], version::version(*revision, *touch));
        UserText { document, meta: &meta, groups, projection }.write()
    }

    pub fn group(&self, group: Group, members: Option<&[MemberId]>) -> RenderedResource {
        let meta = self.meta_of(&group);
        let body = scim::group::render(group.resource, &meta, members);
        rendered::<GroupId>(meta, body, false)
    }

    fn meta_of<I: ResourceId>(&self, stored: &StoredResource<I>) -> Meta {
        self.meta(&stored.id, [stored.created, stored.modified], stored.version())
    }

    fn meta(&self, id: &impl Display, [created, modified]: [OffsetDateTime; 2], version: String) -> Meta {
        Meta {
            id: id.to_string(),
            created: millis(created),
            last_modified: millis(modified),
            version,
            base_url: self.base_url.clone(),
        }
    }
}

/// A header that was read again.
pub(super) enum HeaderCheck<I> {
    /// With the job that it names, where more than its version was read.
    Same {
        job: Option<OpId>,
    },
    Newer(Box<StoredResource<I>>),
    Gone,
}

impl<I: ResourceId> HeaderCheck<I> {
    fn of(row: &TableRow, etag: &ETag) -> Result<Self, StoreError> {
        if row.etag == *etag {
            return Ok(HeaderCheck::Same { job: resources::job_of(row)? });
        }
        Ok(HeaderCheck::Newer(Box::new(StoredResource::read(row)?)))
    }
}

fn rendered<I: ResourceId>(meta: Meta, body: Value, varies: bool) -> RenderedResource {
    let location = meta.location(I::KIND);
    RenderedResource { id: meta.id, location, version: meta.version, varies, body }
}

/// RFC 3339, UTC, always three digits of a second.
fn millis(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.to_offset(time::UtcOffset::UTC).format(&form).unwrap_or_default()
}
