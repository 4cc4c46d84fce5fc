//! Carrying out orders: each once, in one transaction whose operation has the order's id. Its journal row is the proof that it
//! happened, and `o:{order}` says what became of it.

mod identity;
mod pause;
mod pins;
mod principals;
mod scopes;

use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::error_chain::ErrorChain;
use crate::id::OpId;
use crate::orders::{Order, OrderError, OrderVerb};
use crate::ports::role_assignments::RoleAssignments;
use crate::service::bindings::active::ActiveBindings;
use crate::service::deferred::log_deferred;
use crate::service::health::HealthStatus;
use crate::store::jobs::{self, JobKind};
use crate::store::orders::{OrderOutcome, OrderTable, PlacedOrder};
use crate::store::reconcile_queue::ReconcileRequest;
use crate::store::{FoundRow, StateStore, StoreError, TableWrite};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Orders of one tick; the next one takes the others.
const ORDERS_MAX: usize = 100;
/// Attempts at one order while other processes change what it decides on; then the next tick takes it.
const TRIES_MAX: u32 = 10;

/// What becomes of an order.
pub enum OrderDecision {
    CarryOut(OrderEffect),
    Refuse(OrderRefusal),
}

/// What an order changes, in the transaction that carries it out.
#[derive(Default)]
pub struct OrderEffect {
    pub writes: Vec<TableWrite>,
    pub changes: Vec<AuditEvent>,
    /// What was done, for the operator.
    pub detail: String,
}

/// Why an order is refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    #[error(transparent)]
    Invalid(#[from] OrderError),
    #[error("the service is paused already")]
    Paused,
    #[error("the service is not paused")]
    NotPaused,
    #[error("the object id is braked already")]
    Braked,
    #[error("the object id is not braked")]
    NotBraked,
    #[error("the record that holds the object id cannot be read")]
    HolderUnreadable,
    #[error("no binding of the active bindings has that name")]
    NoSuchBinding,
    #[error("the binding names its group by id; change the binding instead")]
    SelectsById,
    #[error("the group does not exist, or does not carry the value of the binding's selector")]
    NotACandidate,
    #[error("the binding is pinned to that group already")]
    PinnedAlready,
    #[error("the active bindings cannot be read")]
    BindingsUnreadable,
    #[error("the user does not exist, or cannot be read")]
    NoSuchUser,
    #[error("the user's object id is not the one that the order names")]
    OtherIdentity,
    #[error("the user's object id is accepted already")]
    AcceptedAlready,
    #[error("azure does not say that the scope is gone: {answer}")]
    ScopeNotGone { answer: String },
    #[error("there is no such order in this release")]
    Unsupported,
}

/// Carries out the orders of operators.
pub struct Orders {
    table: OrderTable,
    pub(super) store: StateStore,
    pub(super) active_bindings: Arc<ActiveBindings>,
    pub(super) assignments: Arc<dyn RoleAssignments>,
    health: Arc<HealthStatus>,
}

impl Orders {
    pub fn new(
        table: OrderTable,
        store: StateStore,
        active_bindings: Arc<ActiveBindings>,
        assignments: Arc<dyn RoleAssignments>,
        health: Arc<HealthStatus>,
    ) -> Self {
        Self { table, store, active_bindings, assignments, health }
    }

    /// Carries out the orders that were placed, oldest first, until `until` on the monotonic clock, and at least one. Where their
    /// table cannot be read, health says so, and everything else goes on.
    pub async fn carry_out_placed(&self, until: Duration) -> Result<(), StoreError> {
        let placed = match self.table.placed(ORDERS_MAX).await {
            Ok(placed) => placed,
            Err(error) => {
                self.health.orders_unreadable(true);
                log_deferred("reading the orders", &error);
                return Ok(());
            }
        };
        self.health.orders_unreadable(false);
        let mut failed = Ok(());
        for order in &placed {
            match self.carry_out(order).await {
                Err(error @ StoreError::Away { .. }) => return Err(error),
                Err(error) => {
                    log_deferred("an order", &error);
                    failed = failed.and(Err(error));
                }
                Ok(()) => {}
            }
            if self.store.clock.monotonic() >= until {
                break;
            }
        }
        self.health.levers(&self.store.levers().await?);
        failed
    }

    async fn carry_out(&self, placed: &PlacedOrder) -> Result<(), StoreError> {
        match (&placed.order, placed.id) {
            (Ok(order), _) => self.carry_out_once(order).await?,
            (Err(error), Some(_)) => self.refuse_unreadable(placed, error).await?,
            (Err(error), None) => {
                tracing::error!(error = %ErrorChain(error), "a row among the orders is none, and is removed");
            }
        }
        self.table.remove(placed).await
    }

    async fn carry_out_once(&self, order: &Order) -> Result<(), StoreError> {
        for _ in 0..TRIES_MAX {
            if self.store.is_order_done(order.id).await? {
                return Ok(());
            }
            let now = self.store.table_time().await?;
            let (outcome, effect) = match self.decide(order, now).await? {
                OrderDecision::CarryOut(effect) => {
                    (outcome_of(order, now, false, effect.detail.clone()), effect)
                }
                OrderDecision::Refuse(refusal) => {
                    (outcome_of(order, now, true, refusal.to_string()), OrderEffect::default())
                }
            };
            match self.commit(&outcome, effect).await {
                Err(StoreError::Conflict { .. }) => {}
                committed => return committed,
            }
        }
        Err(StoreError::Conflict { index: 0, found: FoundRow::Changed })
    }

    /// One that cannot be understood changes nothing, and its outcome says why.
    async fn refuse_unreadable(&self, placed: &PlacedOrder, error: &OrderError) -> Result<(), StoreError> {
        let Some(order) = placed.id else { return Ok(()) };
        if self.store.is_order_done(order).await? {
            return Ok(());
        }
        let outcome = OrderOutcome {
            order,
            verb: "unknown".to_owned(),
            target: String::new(),
            who: String::new(),
            because: String::new(),
            at: self.store.table_time().await?,
            is_refused: true,
            detail: error.to_string(),
        };
        match self.commit(&outcome, OrderEffect::default()).await {
            Err(StoreError::Conflict { .. }) => Ok(()),
            committed => committed,
        }
    }

    async fn commit(&self, outcome: &OrderOutcome, effect: OrderEffect) -> Result<(), StoreError> {
        let OrderEffect { writes, mut changes, .. } = effect;
        changes.push(order_event(outcome));
        let record = AuditRecord {
            op: outcome.order,
            time: self.store.clock.now(),
            origin: origin_of(outcome.order, &outcome.who),
            stamp: None,
            outcome: None,
            changes,
        };
        let mut all = vec![outcome.insert()];
        all.extend(writes);
        self.store.commit(&record, all).await?;
        log_outcome(outcome);
        Ok(())
    }

    /// Decides over the state as it is. Each write of an effect has its condition, so a change meanwhile decides again.
    async fn decide(&self, order: &Order, now: OffsetDateTime) -> Result<OrderDecision, StoreError> {
        match &order.verb {
            OrderVerb::Pause => self.pause(order, now).await,
            OrderVerb::Resume => self.resume(order).await,
            OrderVerb::Revoke { principal } => self.revoke(order, *principal, now).await,
            OrderVerb::Lift { principal } => self.lift(order, *principal).await,
            OrderVerb::Repin { binding, group } => self.repin(order, binding, *group).await,
            OrderVerb::AcceptIdentity { user, principal } => {
                self.accept_identity(order, *user, *principal).await
            }
            OrderVerb::RetryPerson { user } => self.retry_person(order, *user).await,
            OrderVerb::RetryScope { scope } => self.retry_scope(order, scope).await,
            OrderVerb::Forget { scope } => self.forget(order, scope).await,
            OrderVerb::Apply { .. } | OrderVerb::ReleaseBatch { .. } | OrderVerb::RejectBatch { .. } => {
                Ok(OrderDecision::Refuse(OrderRefusal::Unsupported))
            }
        }
    }
}

/// What an order sets off names the order and the operator.
fn origin_of(order: OpId, who: &str) -> ChangeOrigin {
    ChangeOrigin { cause: ChangeCause::Order, actor: who.to_owned(), op: order }
}

/// The request of a person whom an order concerns.
pub(super) fn request_of(order: &Order) -> ReconcileRequest {
    ReconcileRequest::leaver(origin_of(order.id, &order.who))
}

/// A job that completes an order. It has the order's id.
pub(super) fn job_of(order: &Order, kind: JobKind) -> TableWrite {
    jobs::insert_job(kind, &request_of(order), 0)
}

fn outcome_of(order: &Order, at: OffsetDateTime, is_refused: bool, detail: String) -> OrderOutcome {
    OrderOutcome {
        order: order.id,
        verb: order.verb.as_str().to_owned(),
        target: order.verb.target(),
        who: order.who.clone(),
        because: order.because.clone(),
        at,
        is_refused,
        detail,
    }
}

fn order_event(outcome: &OrderOutcome) -> AuditEvent {
    let OrderOutcome { verb, target, because, detail, .. } = outcome.clone();
    match outcome.is_refused {
        true => AuditEvent::OrderRefused { verb, target, because, refusal: detail },
        false => AuditEvent::OrderCarriedOut { verb, target, because, detail },
    }
}

fn log_outcome(outcome: &OrderOutcome) {
    let OrderOutcome { order, verb, detail, .. } = outcome;
    match outcome.is_refused {
        true => tracing::error!(order.id = %order, verb, detail, "an order was refused"),
        false => tracing::info!(order.id = %order, verb, detail, "an order was carried out"),
    }
}
