//! The rounds of one person's reconcile, until nothing is left to do at once.

use crate::audit::AuditEvent;
use crate::id::{OpId, UserId};
use crate::rbac::ReasonCode;
use crate::rbac::ledger::StepKind;
use crate::rbac::plan::{self, Plan};
use crate::service::deferred::log_deferred;
use crate::service::reconcile::calls::{CallOutcome, OpenResult, SendDeadline};
use crate::service::reconcile::committed::CommittedRequest;
use crate::service::reconcile::gather::{Gathered, GatheredState};
use crate::service::reconcile::open::pin_writes;
use crate::service::reconcile::reconciler::{ReconcileOutcome, Reconciler, RequestState};
use crate::service::reconcile::requeue::RoundResult;
use crate::service::reconcile::silent_subscriptions::SilentSubscriptions;
use crate::service::reconcile::trigger::{ReconcileTrigger, WatchedAssignments};
use crate::store::users::{self, HeaderState};
use crate::store::{StoreError, TableWrite, ledger, pins, reconcile_queue};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a reconcile waits for another one of the same person in this process.
const TURN_WAIT: Duration = Duration::from_millis(250);
/// Rounds of one call; what is left then stays in `d:`.
const ROUNDS_MAX: u32 = 64;
/// Selector pins that go with an open or a close: two rows each.
const PINS_WITH_OPEN_MAX: usize = 8;
/// Selector pins of a transaction of their own.
const PINS_ALONE_MAX: usize = 45;
/// Principals that one transaction takes: two rows each.
const PRINCIPALS_MAX: usize = 40;
/// Holds after which a round judges no more: with the 16 of the last judgement, one close writes them all.
const HOLDS_OF_ROUND: usize = 8;
/// Rows that lead from groups to pins, in one transaction.
const LEADS_MAX: usize = 90;

/// What a round is going to do.
struct PlannedRound {
    plan: Plan,
    /// Something waits because Azure asked to wait.
    throttled: bool,
    /// Revocations are left to a tick.
    left_to_tick: bool,
}

impl Reconciler {
    /// Reconciles a person in a tick, as [`reconcile`](Self::reconcile) does. Notes which subscriptions give no answer, and
    /// sends nothing to them.
    pub async fn reconcile_in_tick(
        &self,
        user: UserId,
        silent: Arc<SilentSubscriptions>,
    ) -> Result<ReconcileOutcome, StoreError> {
        let inner = self.assignments.clone();
        let assignments = Arc::new(WatchedAssignments { inner, silent: silent.clone(), user });
        let turn = Self { assignments, trigger: ReconcileTrigger::Turn(silent), ..self.clone() };
        turn.reconcile(user).await
    }

    /// Reconciles a person until nothing is left to do at once.
    pub async fn reconcile(&self, user: UserId) -> Result<ReconcileOutcome, StoreError> {
        self.reconcile_committed(user, None).await
    }

    /// The same, right after a change whose commit knows the request.
    pub async fn reconcile_committed(
        &self,
        user: UserId,
        mut committed: Option<CommittedRequest>,
    ) -> Result<ReconcileOutcome, StoreError> {
        // Correct without the turn: a revocation does not wait for a call that hangs.
        let _turn = tokio::time::timeout(TURN_WAIT, self.queue.lock(user.uuid())).await.ok();
        let mut outcome = ReconcileOutcome::default();
        for _ in 0..ROUNDS_MAX {
            let mut gathered = match self.gather(user, committed.take()).await? {
                Gathered::State(gathered) => gathered,
                Gathered::NoState => break,
                Gathered::NoRequest => {
                    outcome.request = RequestState::Absent;
                    break;
                }
            };
            if !self.round(&mut gathered, &mut outcome).await? {
                break;
            }
        }
        Ok(outcome)
    }

    /// Runs one round. Returns whether there is more to do at once.
    async fn round(
        &self,
        gathered: &mut GatheredState,
        outcome: &mut ReconcileOutcome,
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
        let PlannedRound { plan, throttled, left_to_tick } = self.plan(gathered).await?;
        if left_to_tick && plan.steps.is_empty() && plan.settled.is_empty() && gathered.new_holds.is_empty() {
            return Ok(false);
        }
        let gathered = &*gathered;
        let started = SendDeadline { monotonic: self.store.clock.monotonic(), wall: self.store.clock.now() };
        if plan.steps.is_empty() {
            let request_etag = gathered.request.etag.clone();
            outcome.throttled = throttled;
            self.note_obstacles(gathered, &plan, &[]).await;
            return Ok(record_round(
                outcome,
                self.close(gathered, &plan, Vec::new(), request_etag, false).await?,
            ));
        }
        let OpenResult::Open { request: request_etag, opened } = self.open(gathered, &plan).await? else {
            return Ok(true);
        };
        if self.is_outdated(gathered).await? {
            return Ok(true);
        }
        let acted = self.act(gathered, opened, started).await;
        self.note_obstacles(gathered, &plan, &acted).await;
        outcome.throttled = acted.iter().all(|call| matches!(call.outcome, CallOutcome::Throttled(_)));
        outcome.revoked += acted.iter().filter(|call| call.opened.step.kind == StepKind::Revoke).count();
        Ok(record_round(outcome, self.close(gathered, &plan, acted, request_etag, true).await?))
    }

    /// Whether other bindings became active since the plan was made, or an operator set a lever that concerns this person, or
    /// nothing may be done any more.
    async fn is_outdated(&self, gathered: &GatheredState) -> Result<bool, StoreError> {
        let now = self.store.settings().await?;
        let held = gathered.ledger.entries.iter().map(|stored| stored.entry.principal);
        let principals = held.chain(gathered.principal);
        let is_same =
            now.pointer.is_same(&gathered.pointer) && now.levers.is_same_for(&gathered.levers, principals);
        Ok(!is_same || now.hold.is_some())
    }

    /// Plans, and takes the steps to the breakers: what they hold is no step, so the plan is made again without it.
    async fn plan(&self, gathered: &mut GatheredState) -> Result<PlannedRound, StoreError> {
        let mut passed = BTreeSet::new();
        loop {
            let mut plan = plan::plan(&gathered.desired, &gathered.actual, &self.limits.plan);
            let throttled = plan.deferred.iter().any(|deferred| deferred.reason == ReasonCode::Throttled);
            self.trigger.name_silent_reason(&mut plan, |assignment| gathered.scope_of(assignment));
            let left_to_tick = self.trigger.leave_throttled_to_tick(&mut plan, &self.health);
            if gathered.new_holds.len() >= HOLDS_OF_ROUND {
                // The rest is judged in the next round: one close writes no more.
                let before = plan.steps.len();
                plan.steps.retain(|step| passed.contains(&step.assignment));
                plan.has_more |= plan.steps.len() < before;
                return Ok(PlannedRound { plan, throttled, left_to_tick });
            }
            if self.pass_breakers(gathered, &plan, &mut passed).await? {
                return Ok(PlannedRound { plan, throttled, left_to_tick });
            }
        }
    }

    /// Pins selectors in a transaction of their own, where they are too many to go with an open.
    async fn pin_selectors(&self, gathered: &GatheredState) -> Result<(), StoreError> {
        let op = self.store.ids.op();
        let mut changes = Vec::new();
        let mut writes = vec![reconcile_queue::touch(&gathered.request)];
        let pins = gathered.selector_pins.get(..PINS_ALONE_MAX).unwrap_or(&gathered.selector_pins);
        writes.extend(pin_writes(pins, op, &mut changes));
        self.commit_or_gather_again(gathered, op, changes, writes).await
    }

    /// Leads from groups to their pins where a former release left none. They decide nothing, so a failure does not matter.
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

/// Records how a round was closed. Returns whether there is more to do at once.
fn record_round(outcome: &mut ReconcileOutcome, closed: RoundResult) -> bool {
    outcome.request = match closed {
        RoundResult::Settled => RequestState::Completed,
        RoundResult::Requeued => RequestState::Requeued,
        RoundResult::Continue => RequestState::Pending,
    };
    outcome.request == RequestState::Pending
}
