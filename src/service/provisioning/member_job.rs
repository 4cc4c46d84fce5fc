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

/// How long a request rolls its own job at least, however late it came to its commit. Then it is answered all the same: the commit,
/// which the job completes, is durable.
const ROLL_MIN: Duration = Duration::from_secs(2);
/// `Retry-After` of a request that met a job and did not see its end.
const UNDER_WAY_RETRY: Duration = Duration::from_secs(5);

impl Provisioning {
    /// Rolls the job that the request has just committed. What is not done by the deadline is left to the background.
    pub(super) async fn roll_own_job(&self, job: OpId, deadline: Duration) -> FollowUp {
        let deadline = deadline.max(self.store.clock.monotonic() + ROLL_MIN);
        let is_done = self.roll(job, deadline).await.unwrap_or_else(|error| {
            log_deferred("a change of members", &error);
            false
        });
        let jobs = if is_done { Vec::new() } else { vec![job] };
        FollowUp { jobs, ..FollowUp::default() }
    }

    /// Finishes the job that a group's header names, so that a writer finds the members as they are meant to be.
    pub(super) async fn finish_job(
        &self,
        group: GroupId,
        job: OpId,
        deadline: Duration,
    ) -> Result<(), ServiceError> {
        let under_way = |source| ServiceError::ChangeUnderWay { retry_after: UNDER_WAY_RETRY, source };
        if !self.roll(job, deadline).await.map_err(|error| under_way(Some(error)))? {
            return Err(under_way(None));
        }
        let Some(header) = self.store.header(group).await? else { return Ok(()) };
        if resources::job_of(&header)? == Some(job) && self.store.job(job).await?.is_none() {
            tracing::error!(group.id = %group, job.id = %job, "a group names a job that does not exist; its members are what their rows say");
            self.store.transact_unjournaled(&[resources::end_job(group, &header.etag)]).await?;
        }
        Ok(())
    }

    /// Returns whether the job is done. One request of this process rolls it at a time. People are reconciled in the background as far as there is room, leavers first.
    async fn roll(&self, job: OpId, deadline: Duration) -> Result<bool, StoreError> {
        let left = || deadline.saturating_sub(self.store.clock.monotonic());
        let Ok(_turn) = tokio::time::timeout(left(), self.queue.lock(job.uuid())).await else {
            return Ok(false);
        };
        while !left().is_zero() {
            let rolled = match jobs::run_chunk(&self.store, &self.active_bindings, job).await {
                // Another process advances it.
                Err(StoreError::Conflict { .. }) => continue,
                rolled => rolled?,
            };
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
