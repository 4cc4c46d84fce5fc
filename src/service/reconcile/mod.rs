//! One person's reconcile: gather, plan, open, act, close. Inline call, timer and order call the same function.

mod act;
mod close;
pub mod desired;
mod gather;
mod obstacles;
mod refusal;
mod requeue;
mod selectors;
mod silent_subscriptions;
mod trigger;

use crate::audit::AuditEvent;
use crate::id::{OpId, UserId};
use crate::ports::role_assignments::RoleAssignments;
use crate::rbac::ReasonCode;
use crate::rbac::ledger::StepKind;
use crate::rbac::plan::{self, PlanLimits};
use crate::service::bindings::active::ActiveBindings;
use crate::service::deferred::log_deferred;
use crate::service::health::HealthStatus;
use crate::service::keyed_mutex::KeyedMutex;
use crate::store::users::{self, HeaderState};
use crate::store::{StateStore, StoreError, TableWrite, ledger, pins, reconcile_queue};
use act::{CallOutcome, OpenResult, SendDeadline};
use close::RoundResult;
use gather::GatheredState;
pub use silent_subscriptions::SilentSubscriptions;
use std::sync::Arc;
use std::time::Duration;
use trigger::{ReconcileTrigger, WatchedAssignments};

/// How long a look waits for another look at the same person in this process.
const TURN_WAIT: Duration = Duration::from_millis(250);
/// Rounds of one call; what is left then stays in `d:`.
const ROUNDS_MAX: u32 = 64;
/// Selector pins that go with an open or a close: two rows each.
const PINS_WITH_OPEN_MAX: usize = 8;
/// Selector pins of a transaction of their own.
const PINS_ALONE_MAX: usize = 45;
/// Principals that one transaction takes: two rows each.
const PRINCIPALS_MAX: usize = 40;
/// Rows that lead from groups to pins, in one transaction.
const LEADS_MAX: usize = 90;

/// The times and sizes of effects.
#[derive(Debug, Clone, Copy)]
pub struct EffectLimits {
    /// How long a worker may send, counted from before its open.
    pub send: Duration,
    /// How long a call of a dead worker may stay in the network.
    pub network: Duration,
    pub plan: PlanLimits,
}

impl Default for EffectLimits {
    fn default() -> Self {
        Self { send: Duration::from_secs(30), network: Duration::from_secs(120), plan: PlanLimits::default() }
    }
}

/// What came of a look at a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReconcileOutcome {
    /// Azure asked to wait, and so does what is left: looking at more like this one is for nothing now.
    pub throttled: bool,
    /// Revocations that were sent.
    pub revoked: usize,
    pub request: RequestState,
}

/// What a look left of the person's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestState {
    /// Nothing: it was dealt with.
    Completed,
    /// No mark was there: somebody else dealt with it, or left a look later.
    Absent,
    /// A look later.
    Requeued,
    /// The mark: there is more to do, or somebody else is at it.
    #[default]
    Pending,
}

impl ReconcileOutcome {
    /// Takes in how a round was closed. Answers whether there is more to do at once.
    fn record_round(&mut self, closed: RoundResult) -> bool {
        self.request = match closed {
            RoundResult::Settled => RequestState::Completed,
            RoundResult::Requeued => RequestState::Requeued,
            RoundResult::Continue => RequestState::Pending,
        };
        self.request == RequestState::Pending
    }
}

/// Makes Azure hold what one person should hold.
#[derive(Clone)]
pub struct Reconciler {
    store: StateStore,
    assignments: Arc<dyn RoleAssignments>,
    active_bindings: Arc<ActiveBindings>,
    health: Arc<HealthStatus>,
    limits: EffectLimits,
    queue: Arc<KeyedMutex>,
    occasion: ReconcileTrigger,
}

impl Reconciler {
    pub fn new(
        store: StateStore,
        assignments: Arc<dyn RoleAssignments>,
        active_bindings: Arc<ActiveBindings>,
        health: Arc<HealthStatus>,
        limits: EffectLimits,
    ) -> Self {
        Self {
            store,
            assignments,
            active_bindings,
            health,
            limits,
            queue: Arc::default(),
            occasion: ReconcileTrigger::default(),
        }
    }

    /// Looks at a person whose turn it is in a tick, as [`reconcile`](Self::reconcile) does. What is heard of Azure is noted, and
    /// nothing is sent where it gives no answer.
    pub async fn reconcile_in_tick(
        &self,
        user: UserId,
        silence: Arc<SilentSubscriptions>,
    ) -> Result<ReconcileOutcome, StoreError> {
        let inner = self.assignments.clone();
        let assignments = Arc::new(WatchedAssignments { inner, silence: silence.clone(), user });
        let turn = Self { assignments, occasion: ReconcileTrigger::Turn(silence), ..self.clone() };
        turn.reconcile(user).await
    }

    /// Looks at a person until nothing is left to do at once.
    pub async fn reconcile(&self, user: UserId) -> Result<ReconcileOutcome, StoreError> {
        // Correct without the turn: a revocation does not wait for a call that hangs.
        let _turn = tokio::time::timeout(TURN_WAIT, self.queue.lock(user.uuid())).await.ok();
        let mut looked = ReconcileOutcome::default();
        for _ in 0..ROUNDS_MAX {
            let Some(gathered) = self.gather(user).await? else {
                looked.request = RequestState::Absent;
                break;
            };
            if !self.round(&gathered, &mut looked).await? {
                break;
            }
        }
        Ok(looked)
    }

    /// One round. Answers whether there is more to do at once.
    async fn round(
        &self,
        gathered: &GatheredState,
        looked: &mut ReconcileOutcome,
    ) -> Result<bool, StoreError> {
        self.add_missing_leads(gathered).await;
        if !gathered.to_pin.is_empty() {
            self.claim_principals(gathered).await?;
            return Ok(true);
        }
        if gathered.selector_pins.len() > PINS_WITH_OPEN_MAX {
            self.pin_selectors(gathered).await?;
            return Ok(true);
        }
        let mut plan = plan::plan(&gathered.desired, &gathered.actual, &self.limits.plan);
        let throttled = plan.deferred.iter().any(|deferred| deferred.reason == ReasonCode::Throttled);
        self.occasion.name_silent_reason(&mut plan, gathered);
        if self.occasion.leave_throttled_to_tick(&mut plan, &self.health)
            && plan.steps.is_empty()
            && plan.settled.is_empty()
        {
            return Ok(false);
        }
        let started = SendDeadline { monotonic: self.store.clock.monotonic(), wall: self.store.clock.now() };
        if plan.steps.is_empty() {
            let look = gathered.request.etag.clone();
            looked.throttled = throttled;
            self.note_obstacles(gathered, &plan, &[]).await;
            return Ok(looked.record_round(self.close(gathered, &plan, Vec::new(), look, false).await?));
        }
        let OpenResult::Open { request: look, opened } = self.open(gathered, &plan).await? else {
            return Ok(true);
        };
        if !self.store.pointer().await?.is_same(&gathered.pointer) {
            return Ok(true);
        }
        let acted = self.act(gathered, opened, started).await;
        self.note_obstacles(gathered, &plan, &acted).await;
        looked.throttled = acted.iter().all(|call| matches!(call.outcome, CallOutcome::Throttled(_)));
        looked.revoked += acted.iter().filter(|call| call.opened.step.attempt == StepKind::Revoke).count();
        Ok(looked.record_round(self.close(gathered, &plan, acted, look, true).await?))
    }

    /// Pins selectors in a transaction of their own, where they are too many to go with an open.
    async fn pin_selectors(&self, gathered: &GatheredState) -> Result<(), StoreError> {
        let op = self.store.ids.op();
        let mut changes = Vec::new();
        let mut writes = vec![reconcile_queue::touch(&gathered.request)];
        let pins = gathered.selector_pins.get(..PINS_ALONE_MAX).unwrap_or(&gathered.selector_pins);
        writes.extend(act::pin_writes(pins, op, &mut changes));
        self.commit_or_gather_again(gathered, op, changes, writes).await
    }

    /// Leads from groups to their pins where a former release left none. They decide nothing, so a failure is no matter.
    async fn add_missing_leads(&self, gathered: &GatheredState) {
        let leads =
            gathered.missing_leads.iter().map(|lead| pins::lead_from_group(lead.group, &lead.selector));
        let leads: Vec<TableWrite> = leads.take(LEADS_MAX).collect();
        if !leads.is_empty()
            && let Err(error) = self.store.transact_unjournaled(&leads).await
        {
            log_deferred("a row that leads to a pin", &error);
        }
    }

    /// A conflict is no failure: the next round reads again.
    async fn commit_or_gather_again(
        &self,
        gathered: &GatheredState,
        op: OpId,
        changes: Vec<AuditEvent>,
        writes: Vec<TableWrite>,
    ) -> Result<(), StoreError> {
        match self.store.commit(&self.record(gathered, op, changes), writes).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes principals that are free, in a transaction of its own.
    async fn claim_principals(&self, gathered: &GatheredState) -> Result<(), StoreError> {
        let op = self.store.ids.op();
        let mut writes = vec![reconcile_queue::touch(&gathered.request)];
        let mut changes = Vec::new();
        for principal in gathered.to_pin.iter().take(PRINCIPALS_MAX) {
            writes.extend(ledger::pin(gathered.user, *principal, op));
            changes.push(AuditEvent::PrincipalPinned { person: gathered.user, principal: *principal });
        }
        if let (HeaderState::Readable(person), Some(principal)) = (&gathered.header, gathered.principal)
            && person.pinned.is_none()
            && gathered.to_pin.iter().take(PRINCIPALS_MAX).any(|taken| *taken == principal)
        {
            writes.push(users::remember_principal(gathered.user, principal, &person.etag));
        }
        self.commit_or_gather_again(gathered, op, changes, writes).await
    }
}
