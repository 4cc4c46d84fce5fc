//! Groups: attributes and members change in one transaction.

use crate::id::{GroupId, MemberId, OpId};
use crate::scim::group::EditedGroup;
use crate::scim::{
    self, DecidingAttributes, EditedResource, GroupInput, MemberChange, PatchRequest, Projection, Resource,
};
use crate::service::provisioning::create::NameHolder;
use crate::service::provisioning::known_members::LookUp;
use crate::service::provisioning::members::{
    self, KnownMembers, MemberChanges, decide_members, plan_members,
};
use crate::service::provisioning::write_plan::{self, DecidedWrite, WriteKind, WriteOperation, WritePlan};
use crate::service::provisioning::{
    Provisioning, RequestTarget, ResourceAnswer, SkippedAttributes, WriteAttempt, name_taken,
};
use crate::service::reconcile::committed::CommittedRequest;
use crate::service::reconcile_queue::inline::FollowUp;
use crate::service::{RenderedResource, ScimCaller, ServiceError};
use crate::store::ETag;
use crate::store::batch::BatchPart;
use crate::store::resources::{self, Group, StoredResource};
use crate::store::{CommittedWrites, FoundRow, MayMiss, StoreError, reconcile_queue};
use futures_util::{join, try_join};
use std::collections::BTreeSet;
use std::time::Duration;

/// Members whose rows are read by name; where more are named, everyone in the group is read.
const READ_BY_NAME_MAX: usize = 1000;

/// A group as a request left it.
pub(in crate::service) struct WrittenGroup {
    pub stored: Group,
    /// Everyone who is in, where the request had to know.
    pub members: Option<Vec<MemberId>>,
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
                // Clients that leave out empty lists exist: a body without members says that there are none.
                let put = vec![MemberChange::Replace(members.unwrap_or_default())];
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

/// A group that was read for one attempt.
enum GroupRead<'a> {
    Whole(Box<GroupSnapshot<'a>>),
    /// A job changes its members, and has to be finished first.
    UnderWay(OpId),
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
        base_url: &str,
    ) -> Result<GroupDecision, scim::Error> {
        let Self { before, edit, known } = self;
        let members = decide_members(edit.changes(), known, base_url)?;
        let removes = !members.removed.is_empty() || edit.changes().iter().any(MemberChange::only_removes);
        let mut edited = edit.edited.clone().unless_refused(removes)?;
        members.mistake.iter().for_each(|mistake| edited.left_out("members", mistake));
        skipped.keep_current::<GroupId>(&mut edited, &before.resource);
        let decided = |header: &Group| plan_change(operation, (before, header), &edited, &members, known);
        let after = before.changed(edited.resource.clone(), operation.time);
        let write = match decided(&after) {
            Some(write) if !write.plan.fits() && members.moves() => decided(&by_job(after, operation)),
            write => write,
        };
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
        let id = GroupId::new(self.store.ids.random());
        let WrittenGroup { stored, members, .. } = self.create_group_as(caller, id, input).await?;
        self.answer_group(stored, members, projection).await
    }

    /// The same, under an id that was chosen for it before. What follows from it is under way.
    pub(in crate::service) async fn create_group_as(
        &self,
        caller: &ScimCaller,
        id: GroupId,
        input: &GroupInput,
    ) -> Result<WrittenGroup, ServiceError> {
        let new = input.create(&self.deciding())?;
        let dropped = new.edited.dropped.clone();
        let mut written = self.store_group(caller, id, new).await?;
        self.log_dropped(caller, written.stored.id, &dropped);
        self.start_follow_up(caller, std::mem::take(&mut written.follow_up)).await;
        Ok(written)
    }

    /// One group. Where the client has the version of it, the version alone: its members are not read then.
    pub async fn get_group(
        &self,
        target: impl Into<RequestTarget<GroupId>>,
        projection: &Projection,
    ) -> Result<ResourceAnswer, ServiceError> {
        let target = target.into();
        let group = self.store.resource(target.id).await?.ok_or_else(|| target.missing())?;
        if let Some(version) = target.not_modified(&group.version())? {
            return Ok(ResourceAnswer::VersionOnly(version));
        }
        target.answer_read(self.answer_group(group, None, projection).await?)
    }

    /// Replaces attributes and, where the body names them, members (RFC 7644 section 3.5.1).
    pub async fn replace_group(
        &self,
        caller: &ScimCaller,
        target: impl Into<RequestTarget<GroupId>>,
        input: &GroupInput,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let written = self.change_group(caller, &target.into(), &GroupRequest::Put(input)).await?;
        self.start_follow_up(caller, written.follow_up).await;
        self.answer_group(written.stored, written.members, projection).await
    }

    /// Applies a PATCH (RFC 7644 section 3.5.2). The version alone: there are too many members to answer with.
    pub async fn patch_group(
        &self,
        caller: &ScimCaller,
        target: impl Into<RequestTarget<GroupId>>,
        patch: &PatchRequest,
        projection: &Projection,
    ) -> Result<ResourceAnswer, ServiceError> {
        let written = self.change_group(caller, &target.into(), &GroupRequest::Patch(patch)).await?;
        let WrittenGroup { stored, members, follow_up } = written;
        let echo = self.echo_group(stored, members, projection);
        let ((), echoed) = join!(self.start_follow_up(caller, follow_up), echo);
        echoed
    }

    /// Deletes a group. Its memberships go with a job.
    pub async fn delete_group(
        &self,
        caller: &ScimCaller,
        target: impl Into<RequestTarget<GroupId>>,
    ) -> Result<(), ServiceError> {
        self.delete(caller, &target.into()).await
    }

    async fn store_group(
        &self,
        caller: &ScimCaller,
        id: GroupId,
        EditedGroup { edited, members }: EditedGroup,
    ) -> Result<WrittenGroup, ServiceError> {
        let changes: Vec<MemberChange> = members.into_iter().map(MemberChange::Add).collect();
        let non_members = members::named_non_members(&changes, &BTreeSet::new())?;
        let mut known = self.known_among(non_members, &members::to_be_added(&changes)).await?;
        known.unfit = self.unfit_groups(id, false, &known).await?;
        let mut left_name = None;
        let mut retry = self.conflict_retry(caller);
        loop {
            let members = decide_members(&changes, &known, &self.base_url)?;
            let mut counter = self.counters.hold(id).await;
            counter.load::<GroupId>(&self.store).await?;
            let operation = self.operation(caller);
            let mut new = StoredResource::new(id, edited.resource.clone(), operation.time);
            let planned = |new: &Group| {
                let mut plan = plan_create(&operation, new, left_name.as_ref(), &members, &known);
                plan.batch.append(counter.write(1));
                plan.changes.extend(write_plan::dropped(new, &edited.dropped));
                plan
            };
            let mut plan = planned(&new);
            if !plan.fits() {
                new = by_job(new, &operation);
                plan = planned(&new);
            }
            match self.commit(&operation, &plan).await? {
                WriteAttempt::Done(committed) => {
                    counter.committed(1, &plan.batch, &committed);
                    let stored = new.committed(&plan.batch, &committed);
                    self.note_full(&members);
                    drop(counter);
                    let follow_up = self.follow_up_of(&stored, plan.follow_up, retry.deadline()).await;
                    let members = Some(members.after.into_iter().collect());
                    return Ok(WrittenGroup { stored, members, follow_up });
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
        target: &RequestTarget<GroupId>,
        request: &GroupRequest<'_>,
    ) -> Result<WrittenGroup, ServiceError> {
        let id = target.id;
        let mut retry = self.conflict_retry(caller);
        let mut turn = self.queue.lock(id.uuid()).await;
        let (mut gone, mut skipped) = (BTreeSet::new(), SkippedAttributes::Nothing);
        let (mut may_miss, mut look_up) = (MayMiss::Indexes, LookUp::default());
        loop {
            let mut snapshot = match self.read_group(target, request, look_up).await? {
                GroupRead::Whole(snapshot) => snapshot,
                GroupRead::UnderWay(job) => {
                    // A delete does not wait for the job.
                    drop(turn);
                    self.finish_job(id, job, retry.deadline()).await?;
                    retry.pause().await?;
                    turn = self.queue.lock(id.uuid()).await;
                    continue;
                }
            };
            snapshot.known.gone.extend(&gone);
            let operation = self.operation(caller);
            let decision = snapshot.decide_change(&operation, skipped, &self.base_url);
            let GroupSnapshot { before, known, .. } = *snapshot;
            let write = decision.as_ref().ok().and_then(|decision| decision.write.as_ref());
            let changes = write.is_some_and(|write| !write.plan.batch.is_empty());
            if (known.whole || target.is_conditional()) && !changes && !self.is_still(&before).await? {
                retry.pause().await?;
                continue;
            }
            let GroupDecision { members, edited, removes, write } = decision?;
            let everyone = || known.whole.then(|| members.after.iter().copied().collect());
            let Some(DecidedWrite { after, plan }) = write else {
                self.note_left_out(caller, id, (false, &edited.dropped), &members.absent);
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
                    self.note_left_out(caller, id, (true, &edited.dropped), &members.absent);
                    let stored = after.committed(&plan.batch, &committed);
                    self.note_full(&members);
                    drop(turn);
                    let follow_up = FollowUp {
                        committed: self.committed_request(&members, &stored, &plan, &committed),
                        ..plan.follow_up
                    };
                    let follow_up = self.follow_up_of(&stored, follow_up, retry.deadline()).await;
                    return Ok(WrittenGroup { stored, members: everyone(), follow_up });
                }
                WriteAttempt::Conflict { part: BatchPart::Name, found: FoundRow::There } => {
                    return Err(name_taken::<GroupId>());
                }
                WriteAttempt::Conflict { part: BatchPart::Touch(_), .. } => {
                    look_up.users = true;
                    gone.extend(self.gone_among(&members.removed).await?)
                }
                // Another request has removed it, which the next read shows; or half of it is missing.
                WriteAttempt::Conflict { part: BatchPart::Membership, found: FoundRow::Gone } => {
                    may_miss = MayMiss::Everything
                }
                // Another request has added it, which the next read shows; or half of it is left.
                WriteAttempt::Conflict { part: BatchPart::Membership, found: FoundRow::There } => {
                    look_up.both_rows = true
                }
                WriteAttempt::Conflict { .. } => {}
            }
            retry.pause().await?;
        }
    }

    /// The request of the only person whom a commit concerns.
    fn committed_request(
        &self,
        members: &MemberChanges,
        stored: &Group,
        plan: &WritePlan,
        committed: &CommittedWrites,
    ) -> Option<CommittedRequest> {
        let monotonic = self.store.clock.monotonic();
        CommittedRequest::of(members.only_person()?, stored, &plan.batch, committed, monotonic)
    }

    /// What follows from a commit. A job of the request is rolled first.
    async fn follow_up_of(&self, stored: &Group, follow_up: FollowUp, deadline: Duration) -> FollowUp {
        match stored.job {
            Some(job) => FollowUp { groups: follow_up.groups, ..self.roll_own_job(job, deadline).await },
            None => follow_up,
        }
    }

    /// Reads the group and as many members as the request is about: those it names, in the same trip as the header,
    /// or all of them after the header.
    async fn read_group<'a>(
        &self,
        target: &RequestTarget<GroupId>,
        request: &GroupRequest<'a>,
        look_up: LookUp,
    ) -> Result<GroupRead<'a>, ServiceError> {
        let id = target.id;
        let by_name = |changes: &[MemberChange]| {
            !members::need_everyone(changes) && members::named(changes).len() <= READ_BY_NAME_MAX
        };
        let named = match request {
            GroupRequest::Patch(patch) if by_name(patch.member_changes()) => patch.member_changes(),
            _ => &[],
        };
        let before = async { Ok(self.store.resource::<GroupId>(id).await?) };
        let (before, mut known) = try_join!(before, self.known_of(id, named, look_up))?;
        let before = target.check_write(before)?;
        if let Some(job) = before.job {
            return Ok(GroupRead::UnderWay(job));
        }
        let edit = request.edit(&before.resource, &self.deciding())?;
        if !by_name(edit.changes()) {
            known = self.known_whole(id, edit.changes()).await?;
        }
        known.unfit = self.unfit_groups(id, before.may_be_nested(), &known).await?;
        Ok(GroupRead::Whole(Box::new(GroupSnapshot { before, edit, known })))
    }

    /// Memberships that were dropped are no secret: the answer shows who is in, and health says so too.
    fn note_full(&self, members: &MemberChanges) {
        members.full.iter().for_each(|user| self.health.membership_dropped(*user));
    }

    /// Whether what was read after or beside `before` belongs to it. A commit carries its ETag; what changes nothing has to ask.
    async fn is_still(&self, before: &Group) -> Result<bool, StoreError> {
        Ok(self.store.resource(before.id).await?.is_some_and(|now| now.etag == before.etag))
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
    (before, after): (&Group, &Group),
    edited: &EditedResource,
    members: &MemberChanges,
    known: &KnownMembers,
) -> Option<DecidedWrite<GroupId>> {
    let attributes = before.resource.changed_attributes(&after.resource);
    let mut plan = WritePlan::new(before.id, WriteKind::Change);
    if attributes.is_empty() && !members.moves() {
        plan_members(&mut plan, operation, before, members, known);
        return (!plan.changes.is_empty()).then(|| DecidedWrite { after: before.clone(), plan });
    }
    plan.batch = match attributes.is_empty() {
        true => resources::advance(before, after),
        false => resources::change(before, after),
    };
    // Members who follow by a job have records of their own, later ones: this one dates the change.
    let by_job = after.job.is_some().then(|| "members".to_owned());
    let attributes: Vec<String> = attributes.into_iter().chain(by_job).collect();
    if !attributes.is_empty() {
        plan.changes.push(write_plan::changed(before, after, attributes));
    }
    plan.changes.extend(write_plan::dropped(after, &edited.dropped));
    // A pinned group that loses the value takes nothing away: who holds through it keeps it while a member.
    if selects_otherwise(before, after) {
        let request = operation.reconcile_request(false);
        plan.batch.push(BatchPart::Request, reconcile_queue::enqueue_group(after.id, &request));
        plan.follow_up.groups.push(after.id);
    }
    plan_members(&mut plan, operation, after, members, known);
    Some(DecidedWrite { after: after.clone(), plan })
}

/// The members follow by a job, which has the id of the change.
fn by_job(mut group: Group, operation: &WriteOperation) -> Group {
    group.job = Some(operation.op);
    group
}

/// Whether a binding could match the one and not the other.
fn selects_otherwise(before: &Group, after: &Group) -> bool {
    ["externalId", "displayName"].iter().any(|name| before.resource.text(name) != after.resource.text(name))
}
