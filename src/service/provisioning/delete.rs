//! Deletes of any size: the commit removes the header and writes a job; the job empties the memberships.

use crate::service::provisioning::resource_kind::ResourceKind;
use crate::service::provisioning::write_plan::{self, WriteKind, WriteOperation, WritePlan};
use crate::service::provisioning::{Provisioning, RequestTarget, WriteAttempt};
use crate::service::reconcile_queue::inline::FollowUp;
use crate::service::{ScimCaller, ServiceError};
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::resources::{self, StoredResource};
use crate::store::{jobs, reconcile_queue};
use futures_util::try_join;

impl Provisioning {
    /// Deletes a user or a group.
    pub(super) async fn delete<I: ResourceKind>(
        &self,
        caller: &ScimCaller,
        target: &RequestTarget<I>,
    ) -> Result<(), ServiceError> {
        let follow_up = self.commit_delete(caller, target).await?;
        self.start_follow_up(caller, follow_up).await;
        Ok(())
    }

    async fn commit_delete<I: ResourceKind>(
        &self,
        caller: &ScimCaller,
        target: &RequestTarget<I>,
    ) -> Result<FollowUp, ServiceError> {
        let id = target.id;
        let _turn = self.queue.lock(id.uuid()).await;
        let mut retry = self.conflict_retry(caller);
        let mut job_is_lost = false;
        loop {
            let mut counter = self.counters.hold(id).await;
            let counted = counter.load_for_delete::<I>(&self.store);
            let (before, ()) = try_join!(self.store.resource_to_delete(id), counted)?;
            let before = target.check_write(before)?;
            let operation = self.operation(caller);
            let mut plan = plan_delete(&operation, &before, counter.write(-1));
            // What a change of its members has not done yet is no longer needed.
            if let Some(job) = before.job.filter(|_| !job_is_lost) {
                plan.batch.push(BatchPart::Job, jobs::cancel(job));
            }
            match self.commit(&operation, &plan).await? {
                WriteAttempt::Done(committed) => {
                    counter.committed(-1, &plan.batch, &committed);
                    return Ok(plan.follow_up);
                }
                WriteAttempt::Conflict { part: BatchPart::Counter, .. } => counter.forget(),
                WriteAttempt::Conflict { part: BatchPart::Job, .. } => job_is_lost = true,
                WriteAttempt::Conflict { .. } => drop(counter),
            }
            retry.pause().await?;
        }
    }
}

/// Deletes a resource. A user's pin and ledger stay: the reconcile revokes by them.
fn plan_delete<I: ResourceKind>(
    operation: &WriteOperation,
    before: &StoredResource<I>,
    counted: WriteBatch,
) -> WritePlan {
    let request = operation.reconcile_request(true);
    let mut plan = WritePlan::new(before.id, WriteKind::Delete);
    plan.batch = resources::remove(before, true);
    plan.batch.append(counted);
    if let Some(person) = before.id.person() {
        plan.batch.extend(BatchPart::Request, reconcile_queue::enqueue_now(person, &request));
        plan.follow_up.leavers.push(person);
    }
    plan.batch
        .push(BatchPart::Request, jobs::insert_job(before.id.emptying_job(), &request, before.revision + 1));
    plan.follow_up.jobs.push(operation.op);
    plan.changes.push(write_plan::deleted(before));
    plan
}
