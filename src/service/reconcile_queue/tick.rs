//! The tick: works the queue off and stops at its own deadline. Revocations come first, and again between the other stages.
//! Each stage has a share of the time and makes progress in every tick. Its position is stored, and the next tick resumes
//! there. Safe to run twice and in several processes.

use crate::events::log_event;
use crate::ports::azure_access::AccessReader;
use crate::ports::role_assignments::RoleAssignments;
use crate::service::audit::seal::AuditSealer;
use crate::service::bindings::active::ActiveBindings;
use crate::service::deferred::log_deferred;
use crate::service::drift::foreign::KnownRoles;
use crate::service::drift::sweep::{DriftSweep, SweepFindings};
use crate::service::drill::Drills;
use crate::service::health::HealthStatus;
use crate::service::orders::Orders;
use crate::service::rate_limit::RateLimiter;
use crate::service::reconcile::Reconciler;
use crate::service::reconcile_queue::overdue;
use crate::service::reconcile_queue::quarantine::Quarantine;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::service::state::gate::StateGate;
use crate::store::ledger_walk::LedgerPosition;
use crate::store::reconcile_queue::{QueueItem, QueuePosition, RowIdentity};
use crate::store::settings::TenantSettings;
use crate::store::state_hold::StateHold;
use crate::store::sweep_schedule::{SweepLeft, SweepRun, SweptScopes};
use crate::store::tick_cursors::TickCursors;
use crate::store::{StateStore, StoreError, TableAnswer};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A reconcile that takes more than this part of a tick is slow.
const SLOW_PART: u32 = 9;

/// Revocations that other bindings cause: half of what Azure allows at once, and half of what it allows each second after that,
/// so that a large change of the bindings leaves leavers their share.
const REBINDING_LIMIT: RateLimiter = RateLimiter::new(100.0, 5.0);

/// The times of a tick.
#[derive(Debug, Clone, Copy)]
pub struct TickLimits {
    /// How long one tick goes on.
    pub deadline: Duration,
    /// A revocation that has been due for longer is overdue.
    pub overdue_after: Duration,
}

/// What a tick uses of Azure.
pub struct AzureEnds {
    pub assignments: Arc<dyn RoleAssignments>,
    pub reader: Arc<dyn AccessReader>,
}

/// The stages that have their own state and positions.
pub struct TickStages {
    /// Whether there is a state to work with.
    pub gate: Arc<StateGate>,
    pub orders: Orders,
    pub sealer: AuditSealer,
    pub drills: Drills,
}

/// Finishes what requests began.
pub struct ReconcileTick {
    pub(super) store: StateStore,
    pub(super) reconciler: Reconciler,
    pub(super) active_bindings: Arc<ActiveBindings>,
    pub(super) health: Arc<HealthStatus>,
    pub(super) assignments: Arc<dyn RoleAssignments>,
    pub(super) reader: Arc<dyn AccessReader>,
    pub(super) roles: KnownRoles,
    gate: Arc<StateGate>,
    pub(super) orders: Orders,
    sealer: AuditSealer,
    drills: Drills,
    pub(super) quarantine: Quarantine,
    pub(super) rebinding_limit: Mutex<RateLimiter>,
    /// How long one tick goes on.
    pub(super) deadline: Duration,
    /// A revocation that waits for longer is overdue.
    pub(super) overdue_after: Duration,
    /// A reconcile that takes longer goes on by itself and gives its place to others.
    pub(super) slow_after: Duration,
}

impl ReconcileTick {
    pub fn new(
        store: StateStore,
        reconciler: Reconciler,
        active_bindings: Arc<ActiveBindings>,
        health: Arc<HealthStatus>,
        azure: AzureEnds,
        stages: TickStages,
        limits: TickLimits,
    ) -> Self {
        let TickStages { gate, orders, sealer, drills } = stages;
        let quarantine = Quarantine::new(store.clock.clone(), health.clone());
        let roles = KnownRoles::new(store.clock.clone());
        Self {
            store,
            reconciler,
            active_bindings,
            health,
            assignments: azure.assignments,
            reader: azure.reader,
            roles,
            gate,
            orders,
            sealer,
            drills,
            quarantine,
            rebinding_limit: Mutex::new(REBINDING_LIMIT),
            deadline: limits.deadline,
            overdue_after: limits.overdue_after,
            slow_after: limits.deadline / SLOW_PART,
        }
    }

    pub(super) fn store(&self) -> &StateStore {
        &self.store
    }

    /// One tick. What it does not reach, the next one does.
    pub async fn run(&self) -> Result<(), StoreError> {
        let began = self.store().clock.monotonic();
        let mut stopped_at = QueuePosition::default();
        let ended = match self.gate.look().await {
            Ok(settings) => match &settings.hold {
                None => self.run_stages(&settings, &mut stopped_at).await,
                Some(hold) => {
                    let ended = self.run_without_state(hold).await;
                    self.note_end(began, &ended);
                    return ended;
                }
            },
            Err(error) => Err(error),
        };
        let counted = overdue::count_overdue(self.store(), &self.health, self.overdue_after, &stopped_at);
        if let Err(error) = counted.await {
            log_deferred("counting overdue revocations", &error);
        }
        self.recount_if_stale().await;
        self.note_end(began, &ended);
        ended
    }

    fn note_end(&self, began: Duration, ended: &Result<(), StoreError>) {
        match ended {
            Ok(()) => {
                let took = self.store().clock.monotonic().saturating_sub(began);
                log_event!(TickDone, duration_ms = took.as_millis() as u64, "a tick is done");
                self.health.tick_finished();
            }
            Err(_) => self.health.tick_failed(),
        }
    }

    /// Where the state was lost, the order is carried out that begins anew. Nothing else is done, and nothing else is written: an
    /// operator may restore the state into this table.
    async fn run_without_state(&self, hold: &StateHold) -> Result<(), StoreError> {
        match hold {
            StateHold::Lost(Some(_)) => self.orders.begin_anew().await,
            StateHold::Lost(None) | StateHold::Restoring | StateHold::OtherInstance { .. } => Ok(()),
        }
    }

    /// It decides nothing now: where it fails, the hourly count does it.
    async fn recount_if_stale(&self) {
        if let Err(error) = self.reconciler.breakers.recount_if_stale().await {
            log_deferred("counting who holds what for the breakers", &error);
        }
    }

    /// `stopped_at`: how far it came among the requests of now.
    async fn run_stages(
        &self,
        settings: &TenantSettings,
        stopped_at: &mut QueuePosition,
    ) -> Result<(), StoreError> {
        let TableAnswer { value: cursors, date } = self.store().cursors().await?;
        let now = self.store().clock.monotonic();
        let mut round = TickRound::new(now, date, self.deadline, cursors.clone());
        self.quarantine.forget_stale();
        let ended = self.all_stages(settings, &mut round).await;
        stopped_at.clone_from(&round.cursors.gains);
        self.store_cursors(&cursors, &round.cursors).await?;
        ended
    }

    /// The stages, each with its share of the time that is left. One that fails ends the tick only where storage is away: the
    /// others run, and the failure is returned at the end.
    async fn all_stages(&self, settings: &TenantSettings, round: &mut TickRound) -> Result<(), StoreError> {
        let mut failed = Ok(());
        let until = self.part(round, 4);
        let orders_left = keep_first(&mut failed, self.orders.carry_out_placed(settings, until).await)?;
        keep_first(&mut failed, self.leavers_in_turn(round).await)?;
        if keep_first(&mut failed, self.promote_due(round, self.part(round, 4)).await)? == Some(true) {
            keep_first(&mut failed, self.leavers_in_turn(round).await)?;
        }
        if keep_first(&mut failed, self.add_missing_hints(round).await)? == Some(true) {
            keep_first(&mut failed, self.leavers_in_turn(round).await)?;
        }
        let take_long = orders_left.unwrap_or_default();
        keep_first(&mut failed, self.orders.carry_out_all(&take_long, self.part(round, 4)).await)?;
        let rolled = keep_first(&mut failed, self.run_jobs(round, self.part(round, 3)).await)?;
        let walked = keep_first(&mut failed, self.fan_out_groups(round, self.part(round, 3)).await)?;
        if rolled == Some(true) || walked == Some(true) {
            keep_first(&mut failed, self.leavers_in_turn(round).await)?;
        }
        keep_first(&mut failed, self.sweep_and_others(round).await)?;
        keep_first(&mut failed, self.retry_waiting_leavers(round).await)?;
        self.drill(round).await?;
        self.seal(round).await?;
        failed
    }

    /// Where a drill cannot go on, the tick has done its work all the same. The drill is red after its time.
    async fn drill(&self, round: &TickRound) -> Result<(), StoreError> {
        match self.drills.run(self.part(round, 3)).await {
            Err(error) if !matches!(error, StoreError::Away { .. }) => {
                log_deferred("a drill", &error);
                Ok(())
            }
            ended => ended,
        }
    }

    /// Where the audit cannot be sealed, the tick has done its work all the same. Health says how far it is sealed.
    async fn seal(&self, round: &TickRound) -> Result<(), StoreError> {
        match self.sealer.run(round.began_at(), self.part(round, 3)).await {
            Err(error) if !matches!(error, StoreError::Away { .. }) => {
                log_deferred("sealing the audit", &error);
                Ok(())
            }
            ended => ended,
        }
    }

    async fn add_missing_hints(&self, round: &mut TickRound) -> Result<bool, StoreError> {
        let cursors = &mut round.cursors;
        self.store().add_missing_hints(&mut cursors.requests, &mut cursors.requests_later).await
    }

    async fn sweep_and_others(&self, round: &mut TickRound) -> Result<(), StoreError> {
        let sweep = self.store().due_sweep().await?;
        self.health.scopes_refused(sweep.scopes_refused);
        self.health.swept(sweep.counts);
        let mut due = sweep.run;
        if sweep.late {
            // A backlog must not defer the sweep for ever: it goes first, with half of the time.
            if self.sweep_one(due, self.part(round, 2)).await? > 0 {
                self.leavers_in_turn(round).await?;
            }
            due = self.store().due_sweep().await?.run;
        }
        self.others(round).await?;
        if self.sweep_one(due, round.until).await? > 0 {
            self.leavers_in_turn(round).await?;
            self.others(round).await?;
        }
        Ok(())
    }

    /// The end of one of so many parts of the time that is left.
    pub(super) fn part(&self, round: &TickRound, parts: u32) -> Duration {
        round.part_of_the_rest(parts, self.store().clock.monotonic())
    }

    pub(super) fn is_over(&self, round: &TickRound) -> bool {
        self.is_past(round.until)
    }

    /// `at` is on the monotonic clock.
    pub(super) fn is_past(&self, at: Duration) -> bool {
        self.store().clock.monotonic() >= at
    }

    async fn store_cursors(&self, before: &TickCursors, after: &TickCursors) -> Result<(), StoreError> {
        if before != after { self.store().leave_cursors(after).await } else { Ok(()) }
    }

    /// A row of the queue and what it says; `None` where it is quarantined, or cannot be read and is quarantined now.
    pub(super) fn readable_item<T>(&self, what: &str, item: QueueItem<T>) -> Option<(RowIdentity, T)> {
        let QueueItem { row, read } = item;
        if self.quarantine.is_quarantined(&row) {
            return None;
        }
        match read {
            Ok(value) => Some((row, value)),
            Err(error) => {
                self.record_result(what, &row, Err(error));
                None
            }
        }
    }

    /// Unwraps the result for a row. An error quarantines the row, and the rest goes on.
    pub(super) fn record_result(&self, what: &str, row: &RowIdentity, ended: Result<(), StoreError>) {
        match ended {
            Ok(()) => self.quarantine.release(row),
            Err(error) => {
                log_deferred(what, &error);
                self.quarantine.record_failure(row, &error);
            }
        }
    }

    /// Runs the sweep if it is due. Its schedule is stored, and the first process takes it. Returns the differences.
    async fn sweep_one(&self, due: Option<SweepRun>, until: Duration) -> Result<usize, StoreError> {
        let Some(due) = due.filter(|_| !self.is_past(until)) else { return Ok(0) };
        let Some(run) = self.store().take_sweep(due).await? else { return Ok(0) };
        let found = self.compare(run.after.clone(), run.seen.clone(), until).await?;
        let refused = self.store().leave_sweep(run, found.outcome(), found.seen).await?;
        self.health.scopes_refused(refused);
        Ok(found.differences)
    }

    /// Compares Azure with the ledger now, all of it.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        self.compare(LedgerPosition::default(), SweptScopes::default(), Duration::MAX).await.map(|_| ())
    }

    async fn compare(
        &self,
        after: LedgerPosition,
        seen: SweptScopes,
        until: Duration,
    ) -> Result<SweepFindings, StoreError> {
        let store = self.store();
        let active_bindings = self.active_bindings.as_ref();
        let sweep = DriftSweep {
            store,
            active_bindings,
            health: &self.health,
            assignments: self.assignments.as_ref(),
            reader: self.reader.as_ref(),
            roles: &self.roles,
        };
        let found = sweep.run(&after, seen, until).await?;
        let scopes = found.scopes;
        let differences = found.differences;
        let whole = found.outcome() == SweepLeft::Finished;
        log_event!(SweepDone, scopes, differences, whole, "sweep ended: Azure compared with the ledger");
        if whole {
            // Only tidying: where it fails, the sweep is done all the same.
            if let Err(error) = store.forget_old_scope_blocks().await {
                log_deferred("forgetting old scope blocks", &error);
            }
            if let Err(error) = self.reconciler.breakers.recount().await {
                log_deferred("counting who holds what for the breakers", &error);
            }
            self.health.sweep_finished();
        }
        Ok(found)
    }
}

/// Remembers the first failure and returns the value otherwise. Storage that is away ends the tick.
fn keep_first<T>(
    failed: &mut Result<(), StoreError>,
    ended: Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match ended {
        Ok(value) => Ok(Some(value)),
        Err(error @ StoreError::Away { .. }) => Err(error),
        Err(error) => {
            log_deferred("a stage of the tick", &error);
            if failed.is_ok() {
                *failed = Err(error);
            }
            Ok(None)
        }
    }
}
