//! Requests and the jobs that change the members of a group: who commits one rolls it, and who meets one finishes it first.

use crate::events::log_event;
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
        match self.roll(job, deadline).await {
            Ok(true) => {}
            Ok(false) => return Err(under_way(None)),
            Err(error) => {
                if !self.is_lost(job).await? {
                    return Err(under_way(Some(error)));
                }
            }
        }
        let Some(header) = self.store.header(group).await? else { return Ok(()) };
        if resources::job_of(&header)? == Some(job) && self.is_lost(job).await? {
            log_event!(RowInconsistent, group.id = %group, job.id = %job,
                "a group names a job that does not exist or cannot be read; its members are what their rows say"
            );
            self.store.transact_unjournaled(&[resources::end_job(group, &header.etag)]).await?;
        }
        Ok(())
    }

    /// Whether nothing will ever carry it out: there is no such job, or its row is broken. One of a later release is not lost.
    async fn is_lost(&self, job: OpId) -> Result<bool, StoreError> {
        match self.store.job(job).await {
            Ok(found) => Ok(found.is_none()),
            Err(StoreError::Corrupt { .. }) => Ok(true),
            Err(error) => Err(error),
        }
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
