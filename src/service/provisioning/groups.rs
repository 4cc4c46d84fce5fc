//! Groups: attributes and members change in one transaction.

use crate::id::{GroupId, UserId};
use crate::scim::group::EditedGroup;
use crate::scim::{
    self, DecidingAttributes, EditedResource, GroupInput, MemberChange, PatchRequest, Projection, Resource,
    ResourceType,
};
use crate::service::join_reads::join_reads;
use crate::service::provisioning::create::NameHolder;
use crate::service::provisioning::members::{
    self, KnownMembers, MemberChanges, decide_members, plan_members,
};
use crate::service::provisioning::write_plan::{self, DecidedWrite, WriteKind, WriteOperation, WritePlan};
use crate::service::provisioning::{Provisioning, SkippedAttributes, WriteAttempt, name_taken, not_found};
use crate::service::reconcile::committed::CommittedRequest;
use crate::service::reconcile_queue::inline::FollowUp;
use crate::service::{RenderedResource, ResourceListing, ScimCaller, ServiceError};
use crate::store::ETag;
use crate::store::batch::BatchPart;
use crate::store::members::MemberStanding;
use crate::store::resources::{self, Group, ResourceId, StoredResource};
use crate::store::{FoundRow, MayMiss, StoreError, reconcile_queue};
use futures_util::{join, try_join};
use std::collections::BTreeSet;

/// Members that are looked up while the range is read, before it shows which of them are in the group.
const LOOKED_UP_AHEAD_MAX: usize = 100;

/// A group as a request left it.
pub(super) struct WrittenGroup {
    pub stored: Group,
    /// Everyone who is in, where the request had to know.
    pub members: Option<Vec<UserId>>,
    follow_up: FollowUp,
}

/// What a request wants of an existing group.
enum GroupRequest<'a> {
    Put(&'a GroupInput),
    Patch(&'a PatchRequest),
}

/// The attributes that a request wants, and what it does to the members.
struct GroupEdit<'a> {
    edited: EditedResource,
    put: Vec<MemberChange>,
    patch: &'a [MemberChange],
}

impl GroupEdit<'_> {
    fn changes(&self) -> &[MemberChange] {
        if self.put.is_empty() { self.patch } else { &self.put }
    }
}

impl<'a> GroupRequest<'a> {
    fn edit(&self, current: &Resource, deciding: &DecidingAttributes) -> Result<GroupEdit<'a>, scim::Error> {
        match self {
            GroupRequest::Put(input) => {
                let EditedGroup { edited, members } = input.replace(current, deciding)?;
                let put = members.into_iter().map(MemberChange::Replace).collect();
                Ok(GroupEdit { edited, put, patch: &[] })
            }
            GroupRequest::Patch(patch) => {
                let edited = patch.apply(current, deciding)?;
                Ok(GroupEdit { edited, put: Vec::new(), patch: patch.member_changes() })
            }
        }
    }
}

/// What was read for one attempt.
struct GroupSnapshot<'a> {
    before: Group,
    edit: GroupEdit<'a>,
    known: KnownMembers,
}

/// What a request makes of a group that was read.
struct GroupDecision {
    members: MemberChanges,
    edited: EditedResource,
    removes: bool,
    /// None: nothing changes.
    write: Option<DecidedWrite<GroupId>>,
}

impl GroupSnapshot<'_> {
    /// A mistake in the name, the external id or another operation on the members does not stop a removal in the same request.
    fn decide_change(
        &self,
        operation: &WriteOperation,
        skipped: SkippedAttributes,
        users_url: &str,
    ) -> Result<GroupDecision, scim::Error> {
        let Self { before, edit, known } = self;
        let members = decide_members(edit.changes(), known, users_url)?;
        let removes = !members.removed.is_empty() || edit.changes().iter().any(MemberChange::only_removes);
        let mut edited = edit.edited.clone().unless_refused(removes)?;
        skipped.keep_current::<GroupId>(&mut edited, &before.resource);
        let write = plan_change(operation, before, &edited, &members, known);
        Ok(GroupDecision { members, edited, removes, write })
    }
}

impl Provisioning {
    /// Creates a group, with members if there are any.
    pub async fn create_group(
        &self,
        caller: &ScimCaller,
        input: &GroupInput,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let new = input.create(&self.deciding())?;
        let dropped = new.edited.dropped.clone();
        let written = self.store_group(caller, new).await?;
        self.log_dropped(caller, written.stored.id, &dropped);
        self.start_follow_up(written.follow_up).await;
        self.answer_group(written.stored, written.members, projection).await
    }

    /// One group.
    pub async fn get_group(
        &self,
        id: GroupId,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
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
        id: GroupId,
        input: &GroupInput,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let written = self.change_group(caller, id, &GroupRequest::Put(input)).await?;
        self.start_follow_up(written.follow_up).await;
        self.answer_group(written.stored, written.members, projection).await
    }

    /// Applies a PATCH (RFC 7644 section 3.5.2). None: there are too many members to answer with.
    pub async fn patch_group(
        &self,
        caller: &ScimCaller,
        id: GroupId,
        patch: &PatchRequest,
        projection: &Projection,
    ) -> Result<Option<RenderedResource>, ServiceError> {
        let written = self.change_group(caller, id, &GroupRequest::Patch(patch)).await?;
        let WrittenGroup { stored, members, follow_up } = written;
        let echo = self.echo_group(stored, members, projection);
        let ((), echoed) = join!(self.start_follow_up(follow_up), echo);
        echoed
    }

    /// Deletes a group. Its memberships go with a job.
    pub async fn delete_group(&self, caller: &ScimCaller, id: GroupId) -> Result<(), ServiceError> {
        self.delete(caller, id).await
    }

    async fn store_group(
        &self,
        caller: &ScimCaller,
        EditedGroup { edited, members }: EditedGroup,
    ) -> Result<WrittenGroup, ServiceError> {
        let id = GroupId::of(self.store.ids.random());
        let changes: Vec<MemberChange> = members.into_iter().map(MemberChange::Add).collect();
        let non_members = members::named_non_members(&changes, &BTreeSet::new())?;
        let mut known = self.known_among(non_members, &members::to_be_added(&changes)).await?;
        let mut left_name = None;
        let mut retry = self.conflict_retry();
        loop {
            let members = decide_members(&changes, &known, &self.users_url())?;
            let mut counter = self.counters.hold(id).await;
            counter.load::<GroupId>(&self.store).await?;
            let operation = self.operation(caller);
            let new = StoredResource::new(id, edited.resource.clone(), operation.time);
            let mut plan = plan_create(&operation, &new, left_name.as_ref(), &members, &known);
            plan.batch.append(counter.write(1));
            plan.changes.extend(write_plan::dropped(&new, &edited.dropped));
            match self.commit(&operation, &plan).await? {
                WriteAttempt::Done(committed) => {
                    counter.committed(1, &plan.batch, &committed);
                    let stored = new.committed(&plan.batch, &committed);
                    self.note_full(&members);
                    let members = Some(members.after.into_iter().collect());
                    return Ok(WrittenGroup { stored, members, follow_up: plan.follow_up });
                }
                WriteAttempt::Conflict { part: BatchPart::Name, .. } => {
                    match self.name_holder::<GroupId>(new.name().unwrap_or_default()).await? {
                        NameHolder::Free => left_name = None,
                        NameHolder::LeftBehind(etag) => left_name = Some(etag),
                        NameHolder::Living { .. } => return Err(name_taken::<GroupId>()),
                    }
                }
                WriteAttempt::Conflict { part: BatchPart::Touch(_), .. } => {
                    drop(counter);
                    known.gone.extend(self.gone_among(&members.added).await?);
                }
                WriteAttempt::Conflict { .. } => counter.forget(),
            }
            retry.pause().await?;
        }
    }

    async fn change_group(
        &self,
        caller: &ScimCaller,
        id: GroupId,
        request: &GroupRequest<'_>,
    ) -> Result<WrittenGroup, ServiceError> {
        let _turn = self.queue.lock(id.uuid()).await;
        let mut retry = self.conflict_retry();
        let mut gone = BTreeSet::new();
        let mut skipped = SkippedAttributes::Nothing;
        let mut may_miss = MayMiss::Indexes;
        let mut both_rows = false;
        loop {
            let mut snapshot = self.read_group(id, request, both_rows).await?;
            snapshot.known.gone.extend(&gone);
            let operation = self.operation(caller);
            let decision = snapshot.decide_change(&operation, skipped, &self.users_url());
            let GroupSnapshot { before, known, .. } = snapshot;
            let write = decision.as_ref().ok().and_then(|decision| decision.write.as_ref());
            let changes = write.is_some_and(|write| !write.plan.batch.is_empty());
            if known.whole && !changes && !self.is_still(&before).await? {
                retry.pause().await?;
                continue;
            }
            let GroupDecision { members, edited, removes, write } = decision?;
            let everyone = || known.whole.then(|| members.after.iter().copied().collect());
            let Some(DecidedWrite { after, plan }) = write else {
                self.log_dropped(caller, id, &edited.dropped);
                let follow_up = FollowUp::default();
                return Ok(WrittenGroup { members: everyone(), stored: before, follow_up });
            };
            let attempt = self.commit_with(&operation, &plan, may_miss).await;
            if let Some(more) = skipped.after(&attempt).filter(|_| removes) {
                skipped = more;
                continue;
            }
            match attempt? {
                WriteAttempt::Done(committed) => {
                    self.log_dropped(caller, id, &edited.dropped);
                    let stored = after.committed(&plan.batch, &committed);
                    self.note_full(&members);
                    let committed = match (members.added.as_slice(), members.removed.as_slice()) {
                        ([only], []) | ([], [only]) => {
                            let monotonic = self.store.clock.monotonic();
                            CommittedRequest::of(*only, &stored, &plan.batch, &committed, monotonic)
                        }
                        _ => None,
                    };
                    let follow_up = FollowUp { committed, ..plan.follow_up };
                    return Ok(WrittenGroup { stored, members: everyone(), follow_up });
                }
                WriteAttempt::Conflict { part: BatchPart::Name, found: FoundRow::There } => {
                    return Err(name_taken::<GroupId>());
                }
                WriteAttempt::Conflict { part: BatchPart::Touch(_), .. } => {
                    gone.extend(self.gone_among(&members.removed).await?)
                }
                // Another request has removed it, which the next read shows; or half of it is missing.
                WriteAttempt::Conflict { part: BatchPart::Membership, found: FoundRow::Gone } => {
                    may_miss = MayMiss::Everything
                }
                // Another request has added it, which the next read shows; or half of it is left.
                WriteAttempt::Conflict { part: BatchPart::Membership, found: FoundRow::There } => {
                    both_rows = true
                }
                WriteAttempt::Conflict { .. } => {}
            }
            retry.pause().await?;
        }
    }

    /// Reads the group and as many members as the request is about: those it names, in the same trip as the header,
    /// or all of them after the header.
    async fn read_group<'a>(
        &self,
        id: GroupId,
        request: &GroupRequest<'a>,
        both_rows: bool,
    ) -> Result<GroupSnapshot<'a>, ServiceError> {
        let named = match request {
            GroupRequest::Patch(patch) if !members::need_everyone(patch.member_changes()) => {
                patch.member_changes()
            }
            _ => &[],
        };
        let before = async { Ok(self.store.resource::<GroupId>(id).await?) };
        let (before, mut known) = try_join!(before, self.known_of(id, named, both_rows))?;
        let before = before.ok_or_else(not_found::<GroupId>)?;
        let edit = request.edit(&before.resource, &self.deciding())?;
        if members::need_everyone(edit.changes()) {
            known = self.known_whole(id, edit.changes()).await?;
        }
        Ok(GroupSnapshot { before, edit, known })
    }

    /// Those among the members who are named, each read by itself: adding is an insert, removing the delete of a row
    /// that is there. Of who is to come in, the groups are read: they tell whether there may be one more, too. `both_rows`: half
    /// of a membership counts as well.
    async fn known_of(
        &self,
        group: GroupId,
        changes: &[MemberChange],
        both_rows: bool,
    ) -> Result<KnownMembers, ServiceError> {
        let ids = members::named_non_members(changes, &BTreeSet::new())?;
        let mut added = members::to_be_added(changes);
        if added.len() > members::ADDED_MEMBERS_MAX {
            added.clear();
        }
        let standing = |id: UserId| {
            let is_added = added.contains(&id);
            async move {
                let standing = match is_added {
                    true => self.store.standing_of(id, group, both_rows).await?,
                    false => {
                        let is_member = self.store.is_member(group, id).await?;
                        MemberStanding { is_member, is_full: false }
                    }
                };
                Ok::<_, StoreError>((id, standing))
            }
        };
        let nobody = BTreeSet::new();
        let (found, mut known) =
            try_join!(join_reads(ids.iter().copied().map(standing)), self.known_among(ids.clone(), &nobody))?;
        known.full.extend(found.iter().filter(|(_, standing)| standing.is_full).map(|(id, _)| *id));
        known.members.extend(found.iter().filter(|(_, standing)| standing.is_member).map(|(id, _)| *id));
        Ok(known)
    }

    /// Every member, and who the others are that are named.
    async fn known_whole(
        &self,
        group: GroupId,
        changes: &[MemberChange],
    ) -> Result<KnownMembers, ServiceError> {
        let range = self.store.members(group, usize::MAX);
        let named = members::named(changes);
        let added = members::to_be_added(changes);
        let ahead = if named.len() <= LOOKED_UP_AHEAD_MAX { named } else { BTreeSet::new() };
        let looked_up = !ahead.is_empty();
        let (found, mut known) = try_join!(range, self.known_among(ahead, &added))?;
        let members: BTreeSet<UserId> = found.into_iter().collect();
        let non_members = members::named_non_members(changes, &members)?;
        if !looked_up {
            known = self.known_among(non_members, &added).await?;
        }
        Ok(KnownMembers { members, whole: true, ..known })
    }

    /// Which of these ids are a user's, a group's or unknown; and which users of those to be added are in enough groups already.
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
        // An id is random: one that is a user's is no group's.
        let others = async {
            let gone = self.gone_among(&ids).await?;
            let groups = join_reads(gone.iter().copied().map(group)).await?;
            Ok((gone, groups))
        };
        let ((gone, groups), full) = try_join!(others, join_reads(added.into_iter().map(full)))?;
        let groups = groups.into_iter().flatten().collect();
        let full = full.into_iter().flatten().collect();
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
    let mut plan = WritePlan::new(new.id, WriteKind::Create);
    plan.batch = resources::create(new, left_name);
    plan.changes.push(write_plan::created(new));
    plan_members(&mut plan, operation, new, members, known);
    plan
}

/// A change of attributes, members or both. None: nothing changes. A request that names unknown members alone changes
/// nothing and is recorded.
fn plan_change(
    operation: &WriteOperation,
    before: &Group,
    edited: &EditedResource,
    members: &MemberChanges,
    known: &KnownMembers,
) -> Option<DecidedWrite<GroupId>> {
    let resource = &edited.resource;
    let attributes = before.resource.changed_attributes(resource);
    let mut plan = WritePlan::new(before.id, WriteKind::Change);
    let moves = !members.added.is_empty() || !members.removed.is_empty();
    if attributes.is_empty() && !moves {
        plan_members(&mut plan, operation, before, members, known);
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
        let request = operation.reconcile_request(false);
        plan.batch.push(BatchPart::Request, reconcile_queue::enqueue_group(after.id, &request));
        plan.follow_up.groups.push(after.id);
    }
    plan_members(&mut plan, operation, &after, members, known);
    Some(DecidedWrite { after, plan })
}

/// Whether a binding could match the one and not the other.
fn selects_otherwise(before: &Group, after: &Group) -> bool {
    ["externalId", "displayName"].iter().any(|name| before.resource.text(name) != after.resource.text(name))
}
