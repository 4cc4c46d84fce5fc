//! What follows a commit: the affected people are reconciled at once, and the answer waits a little for it.

use super::jobs;
use super::reconcile::Reconciler;
use super::snapshots::Snapshots;
use crate::id::{OpId, UserId};
use crate::store::{Store, StoreError};
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// With more than this under way, an answer does not wait.
const BACKLOG: usize = 32;

/// Who must be looked at after a commit, and which jobs go on.
#[derive(Debug, Clone, Default)]
pub struct Work {
    pub people: Vec<UserId>,
    pub jobs: Vec<OpId>,
}

/// What is done at once, in the process that committed.
#[derive(Debug, Clone, Copy)]
pub struct Inline {
    /// How long an answer waits for its effects.
    pub wait: Duration,
    /// People and jobs that may be under way together; what comes on top, or everything where this is 0, is left to the tick.
    pub people_max: usize,
}

impl Default for Inline {
    fn default() -> Self {
        Self { wait: Duration::from_millis(400), people_max: 256 }
    }
}

/// Starts the effects of committed changes.
pub struct Effects {
    pub(super) store: Store,
    pub(super) reconciler: Reconciler,
    pub(super) snapshots: Arc<Snapshots>,
    inline: Inline,
    in_flight: AtomicUsize,
}

impl Effects {
    pub fn new(store: Store, reconciler: Reconciler, snapshots: Arc<Snapshots>, inline: Inline) -> Arc<Self> {
        Arc::new(Self { store, reconciler, snapshots, inline, in_flight: AtomicUsize::new(0) })
    }

    /// Starts the work in the background and waits for it, at most the inline wait. Never fails: what is left over
    /// stands in `d:` and is picked up by the tick.
    pub async fn after(self: &Arc<Self>, work: Work) {
        let weight = work.people.len() + work.jobs.len();
        let before = self.in_flight.load(Ordering::Relaxed);
        if weight == 0 || before >= self.inline.people_max {
            return;
        }
        self.in_flight.fetch_add(weight, Ordering::Relaxed);
        let effects = Arc::clone(self);
        let running = tokio::spawn(async move {
            let _under_way = UnderWay { effects: &effects, weight };
            effects.run(work).await;
        });
        if before < BACKLOG && !self.inline.wait.is_zero() {
            // Running out of time is the normal case with a slow Azure: the work goes on.
            let _ = tokio::time::timeout(self.inline.wait, running).await;
        }
    }

    async fn run(&self, work: Work) {
        self.look(&work.people).await;
        for job in work.jobs {
            if let Err(error) = self.roll(job).await {
                log("a job", &error);
            }
        }
    }

    /// Reconciles people side by side; a failure of one does not hold up the others.
    pub(super) async fn look(&self, people: &[UserId]) {
        for part in people.chunks(8) {
            let looks = part.iter().map(|user| async move {
                if let Err(error) = self.reconciler.reconcile(*user).await {
                    log("a reconcile", &error);
                }
            });
            join_all(looks).await;
        }
    }

    /// Rolls a job to its end, and reconciles whom it marked.
    pub(super) async fn roll(&self, job: OpId) -> Result<(), StoreError> {
        loop {
            let rolled = jobs::roll_chunk(&self.store, &self.snapshots, job).await?;
            self.look(&rolled.people).await;
            if rolled.done {
                return Ok(());
            }
        }
    }
}

/// Work that counts as under way until this is dropped, also by a panic.
struct UnderWay<'a> {
    effects: &'a Effects,
    weight: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.effects.in_flight.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

/// One line for a failure that ends here; the marks stay, so it is tried again.
pub(super) fn log(what: &str, error: &StoreError) {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let text: Vec<String> = chain.map(ToString::to_string).collect();
    tracing::warn!(error = text.join(": "), "{what} is left to the next tick");
}
