//! Reconciles a few people concurrently, each with a bounded wait.

use crate::events::log_event;
use crate::id::UserId;
use crate::service::deferred::log_deferred;
use crate::service::reconcile::ReconcileOutcome;
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::StoreError;
use crate::store::reconcile_queue::RowIdentity;
use crate::store::throttles::CallKind;
use std::pin::pin;
use tokio::task::JoinHandle;

impl ReconcileTick {
    /// Reconciles people concurrently. Returns the outcome of each; the default of one that failed or takes too long.
    pub(super) async fn reconcile_batch(
        &self,
        people: &[(UserId, &RowIdentity)],
        round: &TickRound,
    ) -> Vec<ReconcileOutcome> {
        let mut slow = pin!(tokio::time::sleep(self.slow_after));
        let tasks: Vec<_> = people.iter().map(|(user, _)| self.spawn_reconcile(*user, round)).collect();
        let mut all = Vec::with_capacity(people.len());
        for ((user, row), task) in people.iter().zip(tasks) {
            // All of them have the same time, and one that is done is taken before it is over.
            let ended = tokio::select! {
                biased;
                ended = task => Some(ended),
                () = slow.as_mut() => None,
            };
            match ended {
                Some(Ok(Ok(outcome))) => {
                    self.quarantine.release(row);
                    all.push(outcome);
                    continue;
                }
                Some(Ok(Err(error))) => {
                    log_deferred("a reconcile", &error);
                    self.quarantine.record_failure(row, &error);
                }
                Some(Err(panicked)) => {
                    log_event!(Panicked, user.id = %user, error = %panicked, "a reconcile panicked")
                }
                None => {
                    log_event!(WorkDeferred, user.id = %user, "a slow reconcile goes on in the background");
                    round.silent.give_up_on(*user);
                }
            }
            all.push(ReconcileOutcome::default());
        }
        all
    }

    fn spawn_reconcile(
        &self,
        user: UserId,
        round: &TickRound,
    ) -> JoinHandle<Result<ReconcileOutcome, StoreError>> {
        let reconciler = self.reconciler.clone();
        let silent = round.silent.clone();
        tokio::spawn(async move { reconciler.reconcile_in_tick(user, silent).await })
    }

    /// Whether no subscription of the bindings takes this kind of call now, as far as this process knows them.
    pub(super) fn is_all_throttled(&self, kind: CallKind, round: &TickRound) -> bool {
        let Some(known) = self.active_bindings.last_read() else { return true };
        let mut scopes = known.bindings.scopes().into_iter();
        scopes.all(|scope| {
            let subscription = scope.subscription();
            round.silent.is_stopped(subscription) || self.health.throttled_until(subscription, kind).is_some()
        })
    }
}
