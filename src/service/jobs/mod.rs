//! Running a job: one chunk at a time, by any process.
//!
//! A chunk is computed from the rows as they are now, and advances only if no other process did meanwhile. So a job may
//! be rolled by several processes at once, given up at any moment, and begun again.

mod chunk;
mod effort;
mod member_changes;
mod recover;
mod wake_ups;

use crate::audit::{AuditEvent, AuditRecord, ChangeOrigin, SubjectId};
use crate::events::log_event;
use crate::id::{GroupId, MemberId, OpId};
use crate::service::bindings::active::ActiveBindings;
use crate::service::bindings::affected_groups;
pub use crate::service::jobs::chunk::ChunkResult;
use crate::service::jobs::effort::{Effort, TRIES_MAX};
use crate::service::jobs::member_changes::MemberJob;
use crate::store::TableWrite;
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::jobs::{JobElement, JobKind, StoredJob};
use crate::store::reconcile_queue;
use crate::store::resources;
use crate::store::{StateStore, StoreError, members};
use futures_util::future::try_join_all;
use std::collections::BTreeSet;
use std::time::Duration;

/// `dg:` rows that one transaction writes.
const CHUNK_REQUESTS: usize = 90;
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A membership that a deleted user or group left behind.
#[derive(Debug, Clone, Copy)]
struct Left {
    group: GroupId,
    member: MemberId,
    /// The resource at the other end still exists.
    touched: bool,
}

/// Rolls a job one chunk forward. Rows that change meanwhile are read again. Where a chunk cannot be done together its
/// elements are done one by one, and one that cannot be done alone either is skipped: the rest goes on. What keeps
/// changing is an error, and the job can be rolled later.
pub async fn run_chunk(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    job: OpId,
) -> Result<ChunkResult, StoreError> {
    let mut tries = 0;
    loop {
        let Some(job) = store.job(job).await? else { return Ok(ChunkResult::ended()) };
        let effort = Effort::after(tries);
        match run_once(store, active_bindings, &job, effort).await {
            Err(StoreError::Conflict { .. }) if tries < 2 * TRIES_MAX => tries += 1,
            // The first write advances the job: another one that fails is the element's.
            Err(StoreError::Conflict { index, .. }) if index > 0 && job.has_elements() => {
                return quarantine_element(store, &job).await;
            }
            rolled => return rolled,
        }
        tokio::time::sleep(PAUSE_MAX.mul_f64(store.ids.jitter())).await;
    }
}

async fn run_once(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    job: &StoredJob,
    effort: Effort,
) -> Result<ChunkResult, StoreError> {
    match &job.kind {
        JobKind::Snapshot { before, after } => {
            return enqueue_changed_groups(store, active_bindings, job, before, after).await;
        }
        JobKind::WakeWaiting => return wake_ups::wake_waiting(store, job).await,
        JobKind::PrincipalHolder(principal) => return wake_ups::wake_holder(store, job, *principal).await,
        JobKind::PeopleOfScope(scope) => return wake_ups::wake_people_of_scope(store, job, scope).await,
        JobKind::ForgetScope(scope) => return wake_ups::forget_scope(store, job, scope).await,
        JobKind::Recover(rows) => return recover::bring_back(store, active_bindings, job, rows).await,
        JobKind::PeopleOfBatch(batch) => return wake_ups::wake_people_of_batch(store, job, *batch).await,
        JobKind::ChangeMembers(group, plan) => {
            return MemberJob { job, group: *group, plan }.run(store, effort).await;
        }
        JobKind::DeleteUser(_) | JobKind::DeleteGroup(_) | JobKind::LeaveGroups(_) => {}
    }
    let elements = store.elements(job, effort.size).await?;
    if elements.is_empty() && !job.after.is_empty() {
        return requeue_failed(store, active_bindings, job).await;
    }
    match &job.kind {
        JobKind::DeleteUser(user) => leave_groups(store, job, MemberId::User(*user), &elements, effort).await,
        JobKind::LeaveGroups(group) => {
            leave_groups(store, job, MemberId::Group(*group), &elements, effort).await
        }
        JobKind::DeleteGroup(group) if job.people.is_none() && are_many(&elements, effort) => {
            count_people(store, job, *group).await
        }
        JobKind::DeleteGroup(group) => {
            empty_group(store, active_bindings, job, *group, &elements, effort).await
        }
        _ => Ok(ChunkResult::ended()),
    }
}

/// Whether a deleted group may have more people than these elements are.
fn are_many(elements: &[JobElement], effort: Effort) -> bool {
    elements.len() >= effort.size || elements.iter().any(|element| element.group().is_some())
}

/// The first element that is left keeps failing: the job goes on without it. Its person is enqueued all the same: a
/// role must not outlive the group because a row of it is broken.
async fn quarantine_element(store: &StateStore, job: &StoredJob) -> Result<ChunkResult, StoreError> {
    if let JobKind::ChangeMembers(group, plan) = &job.kind {
        return MemberJob { job, group: *group, plan }.skip(store).await;
    }
    if let Some(element) = store.elements(job, 1).await?.first() {
        let id = element.id.as_str();
        log_event!(ElementSetAside, job.id = %job.id, element = id, "an element of a job keeps failing and is skipped");
        let member = element.member.filter(|_| matches!(job.kind, JobKind::DeleteGroup(_)));
        let request = job.removal(1);
        let enqueues = member.map(|member| reconcile_queue::enqueue_member(member, &request));
        let enqueues = enqueues.into_iter().flatten();
        let writes: Vec<TableWrite> = std::iter::once(job.go_on_after(id)).chain(enqueues).collect();
        store.transact_unjournaled(&writes).await?;
        return Ok(ChunkResult::of(member));
    }
    Ok(ChunkResult::default())
}

/// Everything is done but the skipped elements. The groups that may take the deleted group's place are enqueued all the same,
/// and the job stays: an error says so, and the next attempt begins with what failed.
async fn requeue_failed(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    job: &StoredJob,
) -> Result<ChunkResult, StoreError> {
    let heirs = match &job.kind {
        JobKind::DeleteGroup(group) => {
            affected_groups::groups_matching_pins_of(store, active_bindings, *group).await?
        }
        _ => BTreeSet::new(),
    };
    enqueue_groups_with(job.go_on_after(""), store, job, &heirs).await?;
    Err(job.failed_elements())
}

/// The groups that the first elements name; none where the very first names none.
fn groups_named(elements: &[JobElement]) -> Vec<GroupId> {
    elements.iter().map_while(|element| GroupId::parse(&element.id).ok()).collect()
}

/// Enqueues the groups of the bindings that differ between two snapshots. While the new one cannot be read, the job stays.
/// If a newer one is active, its own job enqueues everything, and nothing is left to do.
async fn enqueue_changed_groups(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    job: &StoredJob,
    before: &str,
    after: &str,
) -> Result<ChunkResult, StoreError> {
    match active_bindings.changed_selectors(before, after).await? {
        Some(differing) => {
            enqueue_groups_and_end(store, job, affected_groups::groups_of_selectors(store, &differing).await?)
                .await
        }
        None if store.pointer().await?.stamp().is_some_and(|stamp| stamp > after) => {
            enqueue_groups_and_end(store, job, BTreeSet::new()).await
        }
        None => Err(StateStore::unreadable_snapshot(after)),
    }
}

/// Before anyone leaves a deleted group of more people than one chunk, the job notes how many there are: the breakers judge a
/// delete by its size.
async fn count_people(
    store: &StateStore,
    job: &StoredJob,
    group: GroupId,
) -> Result<ChunkResult, StoreError> {
    let people = store.count_people(group).await?;
    store.transact_unjournaled(&[job.note_people(people)]).await?;
    Ok(ChunkResult::default())
}

/// Removes a deleted user or group from the groups it was in.
async fn leave_groups(
    store: &StateStore,
    job: &StoredJob,
    member: MemberId,
    elements: &[JobElement],
    effort: Effort,
) -> Result<ChunkResult, StoreError> {
    if elements.is_empty() {
        store.transact_unjournaled(&[job.end()]).await?;
        return Ok(ChunkResult::ended());
    }
    let groups = groups_named(elements);
    if groups.is_empty() {
        return quarantine_element(store, job).await;
    }
    let left = groups.into_iter().map(|group| async move {
        Ok::<_, StoreError>(Left { group, member, touched: store.exists(group).await? })
    });
    let left = try_join_all(left).await?;
    let touch = |left: &Left, op| (BatchPart::Header, resources::touch(left.group, op));
    let (record, batch) = plan_chunk(store, job, &left, touch);
    effort.commit(store, &record, &batch).await?;
    Ok(ChunkResult::default())
}

async fn empty_group(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    job: &StoredJob,
    group: GroupId,
    elements: &[JobElement],
    effort: Effort,
) -> Result<ChunkResult, StoreError> {
    if elements.is_empty() {
        return finish_group_delete(store, active_bindings, job, group).await;
    }
    let members: Vec<MemberId> = elements.iter().map_while(|element| element.member).collect();
    if members.is_empty() {
        return quarantine_element(store, job).await;
    }
    let left = members.iter().map(|member| async move {
        let touched = store.member_exists(*member).await?;
        Ok::<_, StoreError>(Left { group, member: *member, touched })
    });
    let left = try_join_all(left).await?;
    let touch = |left: &Left, op| (BatchPart::Touch(left.member), members::touch(left.member, op));
    let (record, mut batch) = plan_chunk(store, job, &left, touch);
    let request = job.removal(members.len());
    for member in &members {
        batch.extend(BatchPart::Request, reconcile_queue::enqueue_member(*member, &request));
    }
    effort.commit(store, &record, &batch).await?;
    Ok(ChunkResult::of(members))
}

/// A deleted group has no members left: enqueues the groups that now match what the group was pinned to. It is the last step,
/// unless the group is still listed in others.
async fn finish_group_delete(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    job: &StoredJob,
    group: GroupId,
) -> Result<ChunkResult, StoreError> {
    let heirs = affected_groups::groups_matching_pins_of(store, active_bindings, group).await?;
    if store.groups_of(group, 1).await?.is_empty() {
        return enqueue_groups_and_end(store, job, heirs).await;
    }
    enqueue_groups_with(job.leave_groups(group), store, job, &heirs).await?;
    Ok(ChunkResult { groups: heirs.into_iter().collect(), ..ChunkResult::default() })
}

async fn enqueue_groups_and_end(
    store: &StateStore,
    job: &StoredJob,
    groups: BTreeSet<GroupId>,
) -> Result<ChunkResult, StoreError> {
    enqueue_groups_with(job.end(), store, job, &groups).await?;
    Ok(ChunkResult { groups: groups.into_iter().collect(), ..ChunkResult::ended() })
}

/// Enqueues groups, as many as there are, and advances the job with the last of them.
async fn enqueue_groups_with(
    step: TableWrite,
    store: &StateStore,
    job: &StoredJob,
    groups: &BTreeSet<GroupId>,
) -> Result<(), StoreError> {
    let enqueues: Vec<TableWrite> =
        groups.iter().map(|group| reconcile_queue::enqueue_group(*group, &job.request)).collect();
    // Marking once more does no harm, so all but the last part may come before the step.
    let mut parts: Vec<&[TableWrite]> = enqueues.chunks(CHUNK_REQUESTS).collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        store.transact_unjournaled(part).await?;
    }
    let writes: Vec<TableWrite> = std::iter::once(step).chain(last.iter().cloned()).collect();
    store.transact_unjournaled(&writes).await?;
    Ok(())
}

/// Removes these memberships and advances the job. The record names each, with the revision that the delete left.
fn plan_chunk(
    store: &StateStore,
    job: &StoredJob,
    left: &[Left],
    touch: impl Fn(&Left, OpId) -> (BatchPart, TableWrite),
) -> (AuditRecord, WriteBatch) {
    let op = store.ids.op();
    let mut batch = WriteBatch::default();
    batch.push(BatchPart::Request, job.advance());
    let mut changes = Vec::new();
    for each in left {
        batch.append(members::remove(each.group, each.member));
        if each.touched {
            let (part, write) = touch(each, op);
            batch.push(part, write);
        }
        let group = each.group;
        let member = SubjectId::new(each.member);
        let revision = job.revision;
        changes.push(AuditEvent::MemberRemoved { group, member, revision });
    }
    let origin: ChangeOrigin = job.request.origin.clone();
    let record = AuditRecord {
        op,
        time: store.clock.now(),
        origin,
        request: None,
        stamp: None,
        outcome: None,
        changes,
    };
    (record, batch)
}
