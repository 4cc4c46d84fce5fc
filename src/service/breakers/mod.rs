//! The breakers in a reconcile: the steps of a round that they count are judged over the stored tallies, before anything is
//! opened. What they count is written under the versions that were read, so processes that judge at once overshoot nothing.
//!
//! A judgement is one trip to read and one to write, for as many rounds as wait in this process. The read is saved where this
//! process wrote last. A round without a step that is counted makes no judgement.

mod foresight;
mod judgement;
mod questions;
mod read_tallies;
mod recount;
mod remembered;

pub use foresight::Foresight;
pub use questions::{StepQuestion, questions};
pub use recount::{CountedLedger, is_counted};

use crate::audit::ChangeOrigin;
use crate::id::UserId;
use crate::rbac::AssignmentName;
use crate::rbac::breaker::{RevocationLimits, Ruling};
use crate::service::bindings::active::ActiveBindings;
use crate::service::breakers::remembered::RememberedTallies;
use crate::service::deferred::log_deferred;
use crate::service::health::HealthStatus;
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::sync::oneshot::{self, error::TryRecvError};

/// Rounds that are judged together, at most.
const ROUNDS_MAX: usize = 16;
/// Tallies of one judgement: with what else it writes they fit one transaction. Those of one round always do.
const TALLIES_MAX: usize = 80;
/// When a judgement that did not come about is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// The rulings on the steps of a round.
pub type Rulings = BTreeMap<AssignmentName, Ruling>;

/// What is judged together: the counted steps of one round of one person.
#[derive(Debug, Clone)]
pub struct JudgedRound {
    pub user: UserId,
    pub steps: Vec<StepQuestion>,
    /// The change that enqueued the person.
    pub origin: ChangeOrigin,
    /// On the table service's clock.
    pub now: OffsetDateTime,
}

/// A round that waits for its rulings.
struct WaitingRound {
    round: JudgedRound,
    answer: oneshot::Sender<Result<Rulings, StoreError>>,
}

/// Counts what people lose and get, and says what has to wait.
pub struct Breakers {
    store: StateStore,
    active_bindings: Arc<ActiveBindings>,
    health: Arc<HealthStatus>,
    limits: RevocationLimits,
    turn: Mutex<()>,
    remembered: RememberedTallies,
    waiting: std::sync::Mutex<Vec<WaitingRound>>,
    /// A tally holds people who may have left.
    is_stale: AtomicBool,
    /// When this process last counted everyone, on the monotonic clock.
    recounted: std::sync::Mutex<Option<Duration>>,
}

impl Breakers {
    pub fn new(
        store: StateStore,
        active_bindings: Arc<ActiveBindings>,
        health: Arc<HealthStatus>,
        limits: RevocationLimits,
    ) -> Self {
        Self {
            store,
            active_bindings,
            health,
            limits,
            turn: Mutex::default(),
            remembered: RememberedTallies::default(),
            waiting: std::sync::Mutex::default(),
            is_stale: AtomicBool::new(false),
            recounted: std::sync::Mutex::default(),
        }
    }

    /// Judges the steps of a round. What passes is counted when this returns. One round judges for all that wait.
    pub async fn judge(&self, round: JudgedRound) -> Result<Rulings, StoreError> {
        loop {
            let (answer, mut judged) = oneshot::channel();
            self.waiting().push(WaitingRound { round: round.clone(), answer });
            let turn = tokio::select! {
                biased;
                judged = &mut judged => match judged {
                    Ok(judged) => return judged,
                    // Who judged for this round was cancelled.
                    Err(_) => continue,
                },
                turn = self.turn.lock() => turn,
            };
            loop {
                match judged.try_recv() {
                    Ok(judged) => return judged,
                    Err(TryRecvError::Empty) => self.judge_waiting().await,
                    Err(TryRecvError::Closed) => break,
                }
            }
            drop(turn);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<WaitingRound>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_waiting(&self) -> Vec<WaitingRound> {
        let mut all = self.waiting();
        let mut names = BTreeSet::new();
        let fits = |waiting: &&WaitingRound| {
            names.extend(waiting.round.steps.iter().flat_map(StepQuestion::bindings).cloned());
            names.len() <= TALLIES_MAX
        };
        let first = all.iter().take(ROUNDS_MAX).take_while(fits).count().max(1).min(all.len());
        all.drain(..first).collect()
    }

    /// Judges the rounds that wait longest, and answers each.
    async fn judge_waiting(&self) {
        let waiting = self.take_waiting();
        let (rounds, answers): (Vec<JudgedRound>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.round, waiting.answer)).unzip();
        let judged = self.judge_together(&rounds).await;
        let failed = judged.as_ref().err().map(|error| log_deferred("counting for the breakers", error));
        let mut rulings = judged.unwrap_or_default().into_iter();
        for answer in answers {
            let away = || StoreError::Away { retry_after: RETRY, source: None };
            let ruled = rulings.next().filter(|_| failed.is_none()).ok_or_else(away);
            // Who no longer waits needs no answer.
            let _ = answer.send(ruled);
        }
    }
}
