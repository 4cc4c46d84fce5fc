//! A change of members that takes more than one transaction. Those who leave come first. While it is under way the header of the
//! group names the job: readers show what the plan says, and writers finish it before they change anything.

use crate::audit::{AuditEvent, AuditRecord, ChangeOrigin, SubjectId};
use crate::events::log_event;
use crate::id::{GroupId, MemberId, OpId};
use crate::service::jobs::chunk::ChunkResult;
use crate::service::jobs::effort::Effort;
use crate::service::join_reads::join_reads;
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::jobs::{MemberCursor, StoredJob};
use crate::store::member_plan::{MemberPlan, RemovedMembers};
use crate::store::reconcile_queue::{self, ReconcileRequest};
use crate::store::resources::{self, job_of};
use crate::store::{ETag, StateStore, StoreError, TableWrite, members};
use futures_util::try_join;
use uuid::Uuid;

/// Members that one chunk adds: four rows each, beside the journal row and the job.
const CHUNK_ADDED: usize = 24;
/// Membership rows that are read together in search of those who leave, at most.
const SEARCHED_ROWS: usize = 1000;

/// A job that changes the members of a group, and its plan.
#[derive(Clone, Copy)]
pub(super) struct MemberJob<'a> {
    pub job: &'a StoredJob,
    pub group: GroupId,
    pub plan: &'a MemberPlan,
}

/// Someone whom the next chunk is about, as their rows are now.
struct Element {
    member: MemberId,
    has_membership: bool,
    exists: bool,
}

/// What a chunk writes, beside the job.
#[derive(Default)]
struct MemberChunk {
    batch: WriteBatch,
    changes: Vec<AuditEvent>,
    result: ChunkResult,
}

impl MemberChunk {
    fn enqueue(&mut self, member: MemberId, request: &ReconcileRequest) {
        self.batch.extend(BatchPart::Request, reconcile_queue::enqueue_member(member, request));
        match member {
            MemberId::User(user) => self.result.people.push(user),
            MemberId::Group(group) => self.result.groups.push(group),
        }
    }
}

impl MemberJob<'_> {
    /// The next chunk: of those who leave, then of those who come, then the end.
    pub async fn run(self, store: &StateStore, effort: Effort) -> Result<ChunkResult, StoreError> {
        let header = match store.header(self.group).await? {
            Some(header) if job_of(&header)? == Some(self.job.id) => header,
            _ => {
                store.transact_unjournaled(&[self.job.end()]).await?;
                return Ok(ChunkResult::ended());
            }
        };
        if !self.job.next.is_removed {
            return self.remove(store, effort).await;
        }
        match self.plan.added.get(self.job.next.added..).unwrap_or_default() {
            [] => self.finish(store, &header.etag).await,
            rest => self.add(store, rest, effort).await,
        }
    }

    async fn remove(self, store: &StateStore, effort: Effort) -> Result<ChunkResult, StoreError> {
        let leaving = self.leaving(store, effort.size).await?;
        let next = match leaving.last() {
            Some(last) => MemberCursor { removed_to: last.to_string(), ..self.job.next.clone() },
            None => MemberCursor { is_removed: true, ..self.job.next.clone() },
        };
        let op = store.ids.op();
        let mut chunk = MemberChunk::default();
        for Element { member, exists, .. } in
            self.as_they_are(store, leaving).await?.into_iter().filter(|element| element.has_membership)
        {
            chunk.batch.append(members::remove(self.group, member));
            if exists {
                chunk.batch.push(BatchPart::Touch(member), members::touch(member, op));
            }
            chunk.enqueue(member, &self.removal(member, op));
            let (member, revision) = (SubjectId::new(member), self.job.revision);
            chunk.changes.push(AuditEvent::MemberRemoved { group: self.group, member, revision });
        }
        self.commit(store, op, next, chunk, effort).await
    }

    /// The request of someone who is removed. How many people a group takes along is counted by its fan-out.
    fn removal(self, member: MemberId, op: OpId) -> ReconcileRequest {
        match member {
            MemberId::User(_) => self.job.removal(1),
            MemberId::Group(_) => ReconcileRequest::taking_away(self.origin_of(member, op)),
        }
    }

    /// Where a change of a member comes from. A group's has the op of the chunk: a walk passes over a group that a walk of the same
    /// op has met, and must not pass over one that it met before another chunk changed the rows.
    fn origin_of(self, member: MemberId, op: OpId) -> ChangeOrigin {
        let origin = self.job.request.origin.clone();
        if member.group().is_some() { ChangeOrigin { op, ..origin } } else { origin }
    }

    /// Those who are removed next, in the order of their ids.
    async fn leaving(self, store: &StateStore, number: usize) -> Result<Vec<MemberId>, StoreError> {
        let after = self.job.next.removed_to.as_str();
        match &self.plan.removed {
            RemovedMembers::These(removed) => {
                let done = Uuid::parse_str(after).ok();
                let start = removed.partition_point(|member| Some(member.uuid()) <= done);
                Ok(removed.iter().skip(start).take(number).copied().collect())
            }
            RemovedMembers::AllBut(kept) => {
                let mut leaving = Vec::new();
                let mut after = after.to_owned();
                let rows_max = (number + kept.len()).min(SEARCHED_ROWS);
                loop {
                    let page = store.members_after(self.group, &after, rows_max).await?;
                    let Some(last) = page.last() else { break };
                    after = last.to_string();
                    leaving.extend(page.into_iter().filter(|member| !kept.contains(member)));
                    if leaving.len() >= number {
                        break;
                    }
                }
                leaving.truncate(number);
                Ok(leaving)
            }
        }
    }

    /// The first attempt takes for granted that everyone who comes exists and is not in: the writes have their conditions. Whoever
    /// is gone is dropped, and the group moves to another version: the one of the commit was shown with them.
    async fn add(
        self,
        store: &StateStore,
        rest: &[MemberId],
        effort: Effort,
    ) -> Result<ChunkResult, StoreError> {
        let number = if effort.size > 1 { CHUNK_ADDED } else { 1 };
        let coming: Vec<MemberId> = rest.iter().take(number).copied().collect();
        let next = MemberCursor { added: self.job.next.added + coming.len(), ..self.job.next.clone() };
        let elements = match effort.is_first {
            true => coming
                .into_iter()
                .map(|member| Element { member, has_membership: false, exists: true })
                .collect(),
            false => self.as_they_are(store, coming).await?,
        };
        let op = store.ids.op();
        let mut chunk = MemberChunk::default();
        chunk.result.gains = true;
        if elements.iter().any(|element| !element.exists) {
            chunk.batch.push(BatchPart::Header, resources::touch(self.group, op));
        }
        for Element { member, has_membership, exists } in elements {
            let (subject, revision) = (SubjectId::new(member), self.job.revision);
            if !exists {
                let dropped = AuditEvent::MemberDropped { group: self.group, member: subject, revision };
                chunk.changes.push(dropped);
            } else if !has_membership {
                chunk.batch.append(members::add(self.group, member, op));
                chunk.enqueue(member, &ReconcileRequest::gain(self.origin_of(member, op)));
                let added = AuditEvent::MemberAdded { group: self.group, member: subject, revision };
                chunk.changes.push(added);
            }
        }
        self.commit(store, op, next, chunk, effort).await
    }

    async fn as_they_are(
        self,
        store: &StateStore,
        members: Vec<MemberId>,
    ) -> Result<Vec<Element>, StoreError> {
        let element = |member: MemberId| async move {
            let found = store.find_member(self.group, member.uuid());
            let (found, exists) = try_join!(found, store.member_exists(member))?;
            Ok::<_, StoreError>(Element { member, has_membership: found.is_some(), exists })
        };
        join_reads(members.into_iter().map(element)).await
    }

    async fn commit(
        self,
        store: &StateStore,
        op: OpId,
        next: MemberCursor,
        chunk: MemberChunk,
        effort: Effort,
    ) -> Result<ChunkResult, StoreError> {
        let MemberChunk { batch: rest, changes, result } = chunk;
        let mut batch = WriteBatch::default();
        batch.push(BatchPart::Request, self.job.move_to(&next));
        batch.append(rest);
        if changes.is_empty() {
            store.transact_unjournaled(&batch.writes()).await?;
        } else {
            effort.commit(store, &self.record(store, op, changes), &batch).await?;
        }
        Ok(result)
    }

    fn record(self, store: &StateStore, op: OpId, changes: Vec<AuditEvent>) -> AuditRecord {
        let origin = self.job.request.origin.clone();
        AuditRecord {
            op,
            time: store.clock.now(),
            origin,
            request: None,
            stamp: None,
            outcome: None,
            changes,
        }
    }

    /// The next one keeps failing: the job goes on without it. Who should leave is reconciled all the same, and is tried again at
    /// the end. Who should come is dropped.
    pub async fn skip(self, store: &StateStore) -> Result<ChunkResult, StoreError> {
        let MemberJob { job, group, plan } = self;
        let mut chunk = MemberChunk::default();
        let op = store.ids.op();
        let mut next = job.next.clone();
        if !next.is_removed {
            let Some(member) = self.leaving(store, 1).await?.pop() else { return Ok(chunk.result) };
            log_event!(ElementSetAside, job.id = %job.id, group.id = %group, element = %member, "an element of a job keeps failing and is skipped");
            next = MemberCursor { removed_to: member.to_string(), failed: next.failed + 1, ..next };
            chunk.enqueue(member, &self.removal(member, op));
            let writes: Vec<TableWrite> =
                std::iter::once(job.move_to(&next)).chain(chunk.batch.writes()).collect();
            store.transact_unjournaled(&writes).await?;
            return Ok(chunk.result);
        }
        let Some(member) = plan.added.get(next.added) else { return Ok(chunk.result) };
        log_event!(ElementSetAside, job.id = %job.id, group.id = %group, element = %member, "an element of a job keeps failing and is dropped");
        next.added += 1;
        let member = SubjectId::new(member);
        let dropped = vec![AuditEvent::MemberDropped { group, member, revision: job.revision }];
        let writes = vec![job.move_to(&next), resources::touch(group, op)];
        store.commit(&self.record(store, op, dropped), writes).await?;
        Ok(ChunkResult::default())
    }

    /// Where a removal failed, the job stays: an error says so, and the next attempt begins with those who leave.
    async fn finish(self, store: &StateStore, header: &ETag) -> Result<ChunkResult, StoreError> {
        if self.job.next.failed > 0 {
            let again = MemberCursor { added: self.plan.added.len(), ..MemberCursor::default() };
            store.transact_unjournaled(&[self.job.move_to(&again)]).await?;
            return Err(self.job.failed_elements());
        }
        store.transact_unjournaled(&[self.job.end(), resources::end_job(self.group, header)]).await?;
        Ok(ChunkResult::ended())
    }
}
