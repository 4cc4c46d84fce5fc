//! After a commit: the affected people are reconciled at once, and the answer waits a short time for it.

use crate::id::{GroupId, OpId, UserId};
use crate::service::bindings::active::ActiveBindings;
use crate::service::deferred::log_deferred;
use crate::service::health::HealthStatus;
use crate::service::jobs;
use crate::service::reconcile::committed::CommittedRequest;
use crate::service::reconcile::{ReconcileOutcome, Reconciler};
use crate::store::throttles::CallKind;
use crate::store::{StateStore, StoreError};
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// With more than this under way, an answer does not wait.
const BACKLOG: usize = 32;
/// People of one piece of work who are reconciled concurrently.
pub(super) const CONCURRENT_RECONCILES: usize = 8;

/// Chunks of a job, or pages of a group, that are done at once after a commit.
const STEPS_MAX: usize = 50;

/// Whom to reconcile after a commit, and which jobs and fan-outs to run.
#[derive(Debug, Clone, Default)]
pub struct FollowUp {
    /// People from whom something was taken.
    pub leavers: Vec<UserId>,
    /// People who only gain, or change.
    pub people: Vec<UserId>,
    /// Groups whose members must be reconciled.
    pub groups: Vec<GroupId>,
    pub jobs: Vec<OpId>,
    /// The request of the only person, where the commit knows it.
    pub committed: Option<CommittedRequest>,
}

/// What is done at once, in the process that committed.
#[derive(Debug, Clone, Copy)]
pub struct InlineLimits {
    /// How long an answer waits for the reconcile.
    pub wait: Duration,
    /// People, jobs and fan-outs that may be under way at once. The rest is left to the tick, and with 0 everything is.
    /// Revocations have as many places of their own, so that no crowd of joiners takes them.
    pub people_max: usize,
}

impl Default for InlineLimits {
    fn default() -> Self {
        Self { wait: Duration::from_millis(400), people_max: 256 }
    }
}

/// Revocations and grants have separate lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EffectLane {
    Revoke,
    Grant,
}

/// Starts the reconciles that committed changes need.
pub struct InlineReconciler {
    store: StateStore,
    reconciler: Reconciler,
    active_bindings: Arc<ActiveBindings>,
    health: Arc<HealthStatus>,
    limits: InlineLimits,
    leaving: AtomicUsize,
    gaining: AtomicUsize,
}

impl InlineReconciler {
    pub fn new(
        store: StateStore,
        reconciler: Reconciler,
        active_bindings: Arc<ActiveBindings>,
        health: Arc<HealthStatus>,
        limits: InlineLimits,
    ) -> Arc<Self> {
        let leaving = AtomicUsize::new(0);
        let gaining = AtomicUsize::new(0);
        Arc::new(Self { store, reconciler, active_bindings, health, limits, leaving, gaining })
    }

    const fn under_way(&self, lane: EffectLane) -> &AtomicUsize {
        match lane {
            EffectLane::Revoke => &self.leaving,
            EffectLane::Grant => &self.gaining,
        }
    }

    /// Whether what is committed now is reconciled at once.
    pub fn has_room(&self) -> bool {
        let lanes = [EffectLane::Revoke, EffectLane::Grant].into_iter();
        lanes.map(|lane| self.under_way(lane).load(Ordering::Relaxed)).all(|number| number < BACKLOG)
            && self.limits.people_max > 0
    }

    /// Starts the work in the background and waits for it, at most the inline wait; not at all behind a backlog or where
    /// Azure asked to wait. Never fails: what is left over keeps its request, and the tick picks
    /// it up.
    pub async fn start_and_wait(self: &Arc<Self>, work: FollowUp) {
        let running = self.start(work);
        if !running.is_empty() && !self.limits.wait.is_zero() {
            // Running out of time is the normal case with a slow Azure: the work goes on.
            let _ = tokio::time::timeout(self.limits.wait, join_all(running)).await;
        }
    }

    /// Starts the work in the background, each part as far as it has a place. Returns what an answer may wait for.
    pub fn start(self: &Arc<Self>, work: FollowUp) -> Vec<JoinHandle<()>> {
        let FollowUp { leavers, people, groups, jobs, committed } = work;
        let (leaver, joiner) = if leavers.is_empty() { (None, committed) } else { (committed, None) };
        let leaving = FollowUp { leavers, groups, jobs, committed: leaver, ..FollowUp::default() };
        let gaining = FollowUp { people, committed: joiner, ..FollowUp::default() };
        let leaving = self.start_in(EffectLane::Revoke, leaving);
        let gaining = self.start_in(EffectLane::Grant, gaining);
        leaving.into_iter().chain(gaining).collect()
    }

    /// Starts the work that has a place. Returns what the answer may wait for, unless that is expected to take long.
    fn start_in(self: &Arc<Self>, lane: EffectLane, work: FollowUp) -> Option<JoinHandle<()>> {
        let weight = work.leavers.len() + work.people.len() + work.groups.len() + work.jobs.len();
        let before = self.under_way(lane).load(Ordering::Relaxed);
        if weight == 0 || before >= self.limits.people_max {
            return None;
        }
        self.under_way(lane).fetch_add(weight, Ordering::Relaxed);
        let reconciler = Arc::clone(self);
        let running = tokio::spawn(async move {
            let _under_way = UnderWay { reconciler: &reconciler, lane, weight };
            reconciler.run(work).await;
        });
        let kind = if lane == EffectLane::Revoke { CallKind::Revoke } else { CallKind::Grant };
        (before < BACKLOG && !self.health.is_throttled(kind)).then_some(running)
    }

    async fn run(&self, work: FollowUp) {
        match work.committed {
            Some(committed) => self.reconcile_only(committed).await,
            None => {
                self.reconcile_all(&work.leavers).await;
                self.reconcile_all(&work.people).await;
            }
        }
        for job in work.jobs {
            if let Err(error) = self.run_job(job).await {
                log_deferred("a job", &error);
            }
        }
        for group in work.groups {
            if let Err(error) = self.fan_out(group).await {
                log_deferred("a group fan-out", &error);
            }
        }
    }

    async fn reconcile_only(&self, committed: CommittedRequest) {
        let user = committed.request.user;
        if let Err(error) = self.reconciler.reconcile_committed(user, Some(committed)).await {
            log_deferred("a reconcile", &error);
        }
    }

    /// Reconciles people concurrently. A failure of one does not hold up the others. Returns the outcomes in their order.
    pub(super) async fn reconcile_all(&self, people: &[UserId]) -> Vec<Result<ReconcileOutcome, StoreError>> {
        let mut all = Vec::with_capacity(people.len());
        for part in people.chunks(CONCURRENT_RECONCILES) {
            let outcomes = join_all(part.iter().map(|user| self.reconciler.reconcile(*user))).await;
            outcomes
                .iter()
                .filter_map(|outcome| outcome.as_ref().err())
                .for_each(|error| log_deferred("a reconcile", error));
            all.extend(outcomes);
        }
        all
    }

    /// Runs a job and reconciles the people it enqueued. The tick finishes a large one.
    async fn run_job(&self, job: OpId) -> Result<(), StoreError> {
        for _ in 0..STEPS_MAX {
            let rolled = jobs::run_chunk(&self.store, &self.active_bindings, job).await?;
            self.reconcile_all(&rolled.people).await;
            for group in rolled.groups {
                self.fan_out(group).await?;
            }
            if rolled.done {
                break;
            }
        }
        Ok(())
    }

    /// Fans out a group's request, then those of the groups in it, and reconciles the members. The tick finishes a large one.
    async fn fan_out(&self, group: GroupId) -> Result<(), StoreError> {
        let mut groups = VecDeque::from([group]);
        for _ in 0..STEPS_MAX {
            let Some(group) = groups.front().copied() else { break };
            let page = self.store.fan_out_page(group).await?;
            self.reconcile_all(&page.users).await;
            groups.extend(page.groups);
            if page.is_done {
                groups.pop_front();
            }
        }
        Ok(())
    }
}

/// Work that counts as under way until this is dropped, also by a panic.
struct UnderWay<'a> {
    reconciler: &'a InlineReconciler,
    lane: EffectLane,
    weight: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.reconciler.under_way(self.lane).fetch_sub(self.weight, Ordering::Relaxed);
    }
}
