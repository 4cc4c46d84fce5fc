//! Requests and the jobs that change the members of a group: who commits one rolls it, and who meets one finishes it first.

use crate::id::{GroupId, OpId};
use crate::service::ServiceError;
use crate::service::deferred::log_deferred;
use crate::service::jobs;
use crate::service::provisioning::Provisioning;
use crate::service::reconcile_queue::inline::FollowUp;
use crate::store::StoreError;
use crate::store::resources;
use std::time::Duration;

/// How long a request rolls a job. Then it is answered all the same: the commit of the change, which the job completes, is
/// durable.
const ROLL_MAX: Duration = Duration::from_secs(20);
/// `Retry-After` of a request that met a job and did not see its end.
const UNDER_WAY_RETRY: Duration = Duration::from_secs(5);

impl Provisioning {
    /// Rolls the job that the request has just committed. What is not done in time is left to the background.
    pub(super) async fn roll_own_job(&self, job: OpId) -> FollowUp {
        let is_done = self.roll(job).await.unwrap_or_else(|error| {
            log_deferred("a change of members", &error);
            false
        });
        let jobs = if is_done { Vec::new() } else { vec![job] };
        FollowUp { jobs, ..FollowUp::default() }
    }

    /// Finishes the job that a group's header names, so that a writer finds the members as they are meant to be.
    pub(super) async fn finish_job(&self, group: GroupId, job: OpId) -> Result<(), ServiceError> {
        let busy = |source| ServiceError::Busy { retry_after: UNDER_WAY_RETRY, source };
        if !self.roll(job).await.map_err(|error| busy(Some(error)))? {
            return Err(busy(None));
        }
        let Some(header) = self.store.header(group).await? else { return Ok(()) };
        if resources::job_of(&header)? == Some(job) && self.store.job(job).await?.is_none() {
            tracing::error!(group.id = %group, job.id = %job, "a group names a job that does not exist; its members are what their rows say");
            self.store.transact_unjournaled(&[resources::end_job(group, &header.etag)]).await?;
        }
        Ok(())
    }

    /// Returns whether the job is done. One request of this process rolls it at a time. People are reconciled in the background as far as there is room, leavers first.
    async fn roll(&self, job: OpId) -> Result<bool, StoreError> {
        let _turn = self.queue.lock(job.uuid()).await;
        let begun = self.store.clock.monotonic();
        while self.store.clock.monotonic().saturating_sub(begun) < ROLL_MAX {
            let rolled = jobs::run_chunk(&self.store, &self.active_bindings, job).await?;
            if rolled.done {
                return Ok(true);
            }
            let (leavers, people) =
                if rolled.gains { (Vec::new(), rolled.people) } else { (rolled.people, Vec::new()) };
            self.inline.start(FollowUp { leavers, people, groups: rolled.groups, ..FollowUp::default() });
        }
        Ok(false)
    }
}
