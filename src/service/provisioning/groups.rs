//! Groups: attributes and members change in one transaction.

use crate::id::{GroupId, UserId};
use crate::scim::{
    self, DecidingAttributes, EditedResource, GroupInput, MemberChange, PatchRequest, Projection, Resource,
    ResourceType,
};
use crate::service::provisioning::create::NameHolder;
use crate::service::provisioning::members::{self, KnownMembers, MemberChanges, decide, plan_members};
use crate::service::provisioning::write_plan::{self, DecidedWrite, WriteOperation, WritePlan};
use crate::service::provisioning::{
    Forgone, Provisioning, WriteAttempt, join_reads, not_found, parse_id, taken,
};
use crate::service::reconcile_queue::inline::FollowUp;
use crate::service::{RenderedResource, ResourceListing, ScimCaller, ServiceError};
use crate::store::ETag;
use crate::store::batch::BatchPart;
use crate::store::resources::{self, Group, ResourceId, StoredResource};
use crate::store::{FoundRow, MayMiss, StoreError, reconcile_queue};
use futures_util::try_join;
use serde_json::Value;
use std::collections::BTreeSet;

/// Members that are looked up while the range is read, before it is known who of them is in already.
const LOOKED_UP_AHEAD_MAX: usize = 100;

/// A group as a request left it.
pub(super) struct WrittenGroup {
    pub stored: Group,
    /// Everyone who is in, where the request had to know.
    pub members: Option<Vec<UserId>>,
    work: FollowUp,
}

/// What a request wants of an existing group.
enum Wanted<'a> {
    Put(&'a Value),
    Patch(&'a PatchRequest),
}

/// The attributes that a request wants, and what it does to the members.
struct Edit<'a> {
    edited: EditedResource,
    put: Vec<MemberChange>,
    patch: &'a [MemberChange],
}

impl Edit<'_> {
    fn changes(&self) -> &[MemberChange] {
        if self.put.is_empty() { self.patch } else { &self.put }
    }
}

impl<'a> Wanted<'a> {
    fn edit(&self, current: &Resource, deciding: &DecidingAttributes) -> Result<Edit<'a>, scim::Error> {
        match self {
            Wanted::Put(body) => {
                let GroupInput { edited, members } = scim::group::replace(body, current, deciding)?;
                let put = members.into_iter().map(MemberChange::Replace).collect();
                Ok(Edit { edited, put, patch: &[] })
            }
            Wanted::Patch(patch) => {
                let edited = patch.apply(current, deciding)?;
                Ok(Edit { edited, put: Vec::new(), patch: patch.member_changes() })
            }
        }
    }
}

/// What was read for one attempt.
struct Seen<'a> {
    before: Group,
    edit: Edit<'a>,
    known: KnownMembers,
}

/// What a request makes of a group that was read.
struct Judged {
    members: MemberChanges,
    edited: EditedResource,
    removes: bool,
    /// None: nothing changes.
    decided: Option<DecidedWrite<GroupId>>,
}

impl Seen<'_> {
    /// A mistake in the name or the external id never keeps in who is removed beside it.
    fn judge_changes(
        &self,
        operation: &WriteOperation,
        forgone: Forgone,
        users_url: &str,
    ) -> Result<Judged, scim::Error> {
        let Self { before, edit, known } = self;
        let members = decide(edit.changes(), known, users_url)?;
        let removes = !members.removed.is_empty() || edit.changes().iter().any(MemberChange::only_removes);
        let mut edited = edit.edited.clone().unless_refused(removes)?;
        forgone.take_from::<GroupId>(&mut edited, &before.resource);
        let decided = plan_change(operation, before, &edited, &members, known);
        Ok(Judged { members, edited, removes, decided })
    }
}

impl Provisioning {
    /// Creates a group, with members if there are any.
    pub async fn create_group(
        &self,
        caller: &ScimCaller,
        body: &Value,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let input = scim::group::create(body, &self.deciding())?;
        let dropped = input.edited.dropped.clone();
        let written = self.store_group(caller, input).await?;
        self.log_dropped(caller, written.stored.id, &dropped);
        self.follow_up(written.work).await;
        self.answer_group(written.stored, written.members, projection).await
    }

    /// One group.
    pub async fn get_group(
        &self,
        id: &str,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let id = parse_id::<GroupId>(id)?;
        let group = self.store.resource(id).await?.ok_or_else(not_found::<GroupId>)?;
        self.answer_group(group, None, projection).await
    }

    /// Groups that match a query.
    pub async fn list_groups(&self, query: &scim::ListQuery) -> Result<ResourceListing, ServiceError> {
        self.list::<GroupId>(query).await
    }

    /// Replaces attributes and, where the body names them, members (RFC 7644 section 3.5.1).
    pub async fn replace_group(
        &self,
        caller: &ScimCaller,
        id: &str,
        body: &Value,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let written = self.change_group(caller, parse_id(id)?, &Wanted::Put(body)).await?;
        self.follow_up(written.work).await;
        self.answer_group(written.stored, written.members, projection).await
    }

    /// Applies a PATCH (RFC 7644 section 3.5.2). None: there are too many members to answer with.
    pub async fn patch_group(
        &self,
        caller: &ScimCaller,
        id: &str,
        body: &Value,
        projection: &Projection,
    ) -> Result<Option<RenderedResource>, ServiceError> {
        let patch = PatchRequest::parse(ResourceType::Group, body)?;
        let written = self.change_group(caller, parse_id(id)?, &Wanted::Patch(&patch)).await?;
        self.follow_up(written.work).await;
        self.echo_group(written.stored, written.members, projection).await
    }

    /// Deletes a group. Its memberships go with a job.
    pub async fn delete_group(&self, caller: &ScimCaller, id: &str) -> Result<(), ServiceError> {
        self.delete::<GroupId>(caller, id).await
    }

    async fn store_group(
        &self,
        caller: &ScimCaller,
        input: GroupInput,
    ) -> Result<WrittenGroup, ServiceError> {
        let id = GroupId::of(self.store.ids.random());
        let changes: Vec<MemberChange> = input.members.into_iter().map(MemberChange::Add).collect();
        let strangers = members::strangers(&changes, &BTreeSet::new())?;
        let mut known = self.known_among(strangers, &members::to_be_added(&changes)).await?;
        let mut left_name = None;
        let mut tries = self.tries();
        loop {
            let members = decide(&changes, &known, &self.users_url())?;
            let mut counter = self.counters.hold(id).await;
            counter.load::<GroupId>(&self.store).await?;
            let operation = self.operation(caller);
            let new = StoredResource::new(id, input.edited.resource.clone(), operation.time);
            let mut plan = plan_create(&operation, &new, left_name.as_ref(), &members, &known);
            plan.batch.append(counter.write(1));
            plan.changes.extend(write_plan::dropped(&new, &input.edited.dropped));
            match self.commit(&operation, &plan).await? {
                WriteAttempt::Done(committed) => {
                    counter.committed(1, &plan.batch, &committed);
                    let stored = new.committed(&plan.batch, &committed);
                    self.note_full(&members);
                    let members = Some(members.after.into_iter().collect());
                    return Ok(WrittenGroup { stored, members, work: plan.work });
                }
                WriteAttempt::Met(BatchPart::Name, _) => {
                    match self.name_holder::<GroupId>(new.name().unwrap_or_default()).await? {
                        NameHolder::Free => left_name = None,
                        NameHolder::LeftBehind(etag) => left_name = Some(etag),
                        NameHolder::Living(..) => return Err(taken::<GroupId>()),
                    }
                }
                WriteAttempt::Met(BatchPart::Touch(_), _) => {
                    drop(counter);
                    known.gone.extend(self.gone_among(&members.added).await?);
                }
                WriteAttempt::Met(_, _) => counter.forget(),
            }
            tries.again().await?;
        }
    }

    async fn change_group(
        &self,
        caller: &ScimCaller,
        id: GroupId,
        wanted: &Wanted<'_>,
    ) -> Result<WrittenGroup, ServiceError> {
        let _turn = self.queue.lock(id.uuid()).await;
        let mut tries = self.tries();
        let mut gone = BTreeSet::new();
        let mut forgone = Forgone::Nothing;
        let mut may_miss = MayMiss::Indexes;
        loop {
            let mut seen = self.look_at_group(id, wanted).await?;
            seen.known.gone.extend(&gone);
            let operation = self.operation(caller);
            let judged = seen.judge_changes(&operation, forgone, &self.users_url());
            let Seen { before, known, .. } = seen;
            let decided = judged.as_ref().ok().and_then(|judged| judged.decided.as_ref());
            let changes = decided.is_some_and(|decided| !decided.plan.batch.is_empty());
            if known.whole && !changes && !self.is_still(&before).await? {
                tries.again().await?;
                continue;
            }
            let Judged { members, edited, removes, decided } = judged?;
            let everyone = || known.whole.then(|| members.after.iter().copied().collect());
            let Some(DecidedWrite { after, plan }) = decided else {
                self.log_dropped(caller, id, &edited.dropped);
                return Ok(WrittenGroup { members: everyone(), stored: before, work: FollowUp::default() });
            };
            let attempt = self.commit_with(&operation, &plan, may_miss).await;
            if let Some(more) = forgone.after(&attempt).filter(|_| removes) {
                forgone = more;
                continue;
            }
            match attempt? {
                WriteAttempt::Done(committed) => {
                    self.log_dropped(caller, id, &edited.dropped);
                    let stored = after.committed(&plan.batch, &committed);
                    self.note_full(&members);
                    return Ok(WrittenGroup { stored, members: everyone(), work: plan.work });
                }
                WriteAttempt::Met(BatchPart::Name, FoundRow::There) => return Err(taken::<GroupId>()),
                WriteAttempt::Met(BatchPart::Touch(_), _) => {
                    gone.extend(self.gone_among(&members.removed).await?)
                }
                // Another request has removed it, which the next read shows; or half of it is missing.
                WriteAttempt::Met(BatchPart::Membership, FoundRow::Gone) => may_miss = MayMiss::Everything,
                WriteAttempt::Met(_, _) => {}
            }
            tries.again().await?;
        }
    }

    /// Reads the group and as many members as the request is about: those it names, in the same trip as the header,
    /// or all of them after the header.
    async fn look_at_group<'a>(&self, id: GroupId, wanted: &Wanted<'a>) -> Result<Seen<'a>, ServiceError> {
        let named = match wanted {
            Wanted::Patch(patch) if !members::need_everyone(patch.member_changes()) => patch.member_changes(),
            _ => &[],
        };
        let (before, mut known) =
            try_join!(async { Ok(self.store.resource::<GroupId>(id).await?) }, self.known_of(id, named))?;
        let before = before.ok_or_else(not_found::<GroupId>)?;
        let edit = wanted.edit(&before.resource, &self.deciding())?;
        if members::need_everyone(edit.changes()) {
            known = self.known_whole(id, edit.changes()).await?;
        }
        Ok(Seen { before, edit, known })
    }

    /// Those among the members who are named, each read by itself: adding is an insert, removing the delete of a row
    /// that is there.
    async fn known_of(&self, group: GroupId, changes: &[MemberChange]) -> Result<KnownMembers, ServiceError> {
        let ids = members::strangers(changes, &BTreeSet::new())?;
        let added = members::to_be_added(changes);
        let membership = |id: UserId| async move {
            Ok::<_, StoreError>(self.store.is_member(group, id).await?.then_some(id))
        };
        let (found, known) = try_join!(
            join_reads(ids.iter().copied().map(membership)),
            self.known_among(ids.clone(), &added)
        )?;
        Ok(KnownMembers { members: found.into_iter().flatten().collect(), ..known })
    }

    /// Every member, and who the others are that are named.
    async fn known_whole(
        &self,
        group: GroupId,
        changes: &[MemberChange],
    ) -> Result<KnownMembers, ServiceError> {
        let range = self.store.members(group, usize::MAX);
        let (named, added) = (members::named(changes), members::to_be_added(changes));
        let ahead = if named.len() <= LOOKED_UP_AHEAD_MAX { named } else { BTreeSet::new() };
        let looked_up = !ahead.is_empty();
        let (found, mut known) = try_join!(range, self.known_among(ahead, &added))?;
        let members: BTreeSet<UserId> = found.into_iter().collect();
        let strangers = members::strangers(changes, &members)?;
        if !looked_up {
            known = self.known_among(strangers, &added).await?;
        }
        Ok(KnownMembers { members, whole: true, ..known })
    }

    /// Who of these ids is a user, a group or nobody; and who of those to be added is in enough groups already.
    async fn known_among(
        &self,
        ids: BTreeSet<UserId>,
        added: &BTreeSet<UserId>,
    ) -> Result<KnownMembers, StoreError> {
        let mut added: Vec<UserId> = ids.intersection(added).copied().collect();
        if added.len() > members::ADDED_MEMBERS_MAX {
            // More than a request can add: most are in already, or it is refused. A reconcile keeps the limit all the same.
            added.clear();
        }
        let ids: Vec<UserId> = ids.into_iter().collect();
        let group = |id: UserId| async move {
            Ok::<_, StoreError>(self.store.exists(GroupId::of(id.uuid())).await?.then_some(id))
        };
        let full = |id: UserId| async move {
            Ok::<_, StoreError>(self.store.is_in_enough_groups(id).await?.then_some(id))
        };
        let (gone, groups, full) = try_join!(
            self.gone_among(&ids),
            join_reads(ids.iter().copied().map(group)),
            join_reads(added.into_iter().map(full))
        )?;
        let (groups, full) = (groups.into_iter().flatten().collect(), full.into_iter().flatten().collect());
        Ok(KnownMembers { gone, groups, full, ..KnownMembers::default() })
    }

    /// Memberships that were dropped are no secret: the answer shows who is in, and health says so too.
    fn note_full(&self, members: &MemberChanges) {
        members.full.iter().for_each(|user| self.health.group_limit_reached(*user));
    }

    async fn gone_among(&self, ids: &[UserId]) -> Result<BTreeSet<UserId>, StoreError> {
        let gone = |id: UserId| async move {
            Ok::<_, StoreError>(if self.store.exists(id).await? { None } else { Some(id) })
        };
        Ok(join_reads(ids.iter().copied().map(gone)).await?.into_iter().flatten().collect())
    }

    /// Whether a range that was read after `before` belongs to it.
    async fn is_still(&self, before: &Group) -> Result<bool, StoreError> {
        Ok(self.store.resource(before.id).await?.is_some_and(|now| now.etag == before.etag))
    }

    fn users_url(&self) -> String {
        format!("{}/{}", self.base_url, ResourceType::User.endpoint())
    }
}

/// A new group, and the memberships of those it begins with.
fn plan_create(
    operation: &WriteOperation,
    new: &Group,
    left_name: Option<&ETag>,
    members: &MemberChanges,
    known: &KnownMembers,
) -> WritePlan {
    let mut plan = WritePlan::new(new.id, 201);
    plan.batch = resources::create(new, left_name);
    plan.changes.push(write_plan::created(new));
    plan_members(&mut plan, operation, (new.id, new.revision), members, known);
    plan
}

/// A change of attributes, members or both; `taking` where other attributes take something from the members. None: nothing
/// changes. A request that only names nobody changes nothing and is recorded.
fn plan_change(
    operation: &WriteOperation,
    before: &Group,
    edited: &EditedResource,
    members: &MemberChanges,
    known: &KnownMembers,
) -> Option<DecidedWrite<GroupId>> {
    let resource = &edited.resource;
    let attributes = before.resource.changed_attributes(resource);
    let mut plan = WritePlan::new(before.id, 200);
    let moves = !members.added.is_empty() || !members.removed.is_empty();
    if attributes.is_empty() && !moves {
        plan_members(&mut plan, operation, (before.id, before.revision), members, known);
        return (!plan.changes.is_empty()).then(|| DecidedWrite { after: before.clone(), plan });
    }
    let after = before.changed(resource.clone(), operation.time);
    if attributes.is_empty() {
        plan.batch = resources::advance(before, &after);
    } else {
        plan.batch = resources::change(before, &after);
        plan.changes.push(write_plan::changed(before, &after, attributes));
    }
    plan.changes.extend(write_plan::dropped(&after, &edited.dropped));
    // A pinned group that loses the value takes nothing away: who holds through it keeps it while a member.
    if selects_otherwise(before, &after) {
        plan.batch.push(BatchPart::Look, reconcile_queue::enqueue_group(after.id, &operation.mark(false)));
        plan.work.groups.push(after.id);
    }
    plan_members(&mut plan, operation, (after.id, after.revision), members, known);
    Some(DecidedWrite { after, plan })
}

/// Whether a binding could match the one and not the other.
fn selects_otherwise(before: &Group, after: &Group) -> bool {
    ["externalId", "displayName"].iter().any(|name| before.resource.text(name) != after.resource.text(name))
}
