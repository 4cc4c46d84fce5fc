//! Carrying out orders: each once, in one transaction that inserts `o:{order}`, which says what became of it. That row is there
//! or not: carrying the same order out again meets it.

mod apply;
mod background_planner;
mod batches;
mod identity;
mod pause;
mod pins;
mod principals;
mod recover;
mod scopes;

use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::id::OpId;
use crate::orders::{Order, OrderError, OrderVerb};
use crate::ports::role_assignments::RoleAssignments;
use crate::service::bindings::active::ActiveBindings;
use crate::service::bindings::pending::FilePlan;
use crate::service::deferred::log_deferred;
use crate::service::drill::{DrillRefusal, DrillSettings, begin_by_order};
use crate::service::health::HealthStatus;
use crate::service::request_log::RequestLog;
use crate::service::state::recover::{RecoverError, RecoverPlan};
use crate::store::batches::BatchState;
use crate::store::jobs::{self, JobKind};
use crate::store::orders::{OrderOutcome, OrderTable, PlacedOrder};
use crate::store::reconcile_queue::{Priority, ReconcileRequest};
use crate::store::settings::TenantSettings;
use crate::store::{FoundRow, StateStore, StoreError, TableWrite};
use background_planner::{BackgroundPlanner, PlannedOver};
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
    /// What it depends on is not known yet: it stays placed.
    NotYet,
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
    #[error("it was given before the pause that it would end: give it again")]
    BeforePause,
    #[error("the object id is braked already")]
    Braked,
    #[error("the object id is not braked")]
    NotBraked,
    #[error("there are {max} brakes already; lift those that are not needed")]
    TooManyBrakes { max: usize },
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
    #[error(
        "the user exists, and every change would keep the names again: delete the user in the identity provider first"
    )]
    StillExists,
    #[error("no names are kept of this user")]
    NothingToErase,
    #[error(
        "the request log, which may name the user, cannot be reached; nothing was erased, give the order again"
    )]
    RequestLogAway,
    #[error("the user's object id is not the one that the order names")]
    OtherIdentity,
    #[error("the user's object id is accepted already")]
    AcceptedAlready,
    #[error("azure does not say that the scope is gone: {answer}")]
    ScopeNotGone { answer: String },
    #[error("the ledger has nothing at the scope that this would change")]
    NothingAtScope,
    #[error("the state is not lost; only a service that waits for it can begin anew")]
    NotLost,
    #[error("nothing of ours was lost")]
    NothingLost,
    #[error("what would be recovered moved: its hash is {hash} now; look at it again with `recover`")]
    RecoverMoved { hash: String },
    #[error("what was lost is not known: {why}")]
    RecoverUnknown { why: String },
    #[error("no bundled file waits")]
    NothingWaits,
    #[error("the file that waits cannot be read")]
    WaitingUnreadable,
    #[error("the plan moved: its hash is {hash} now; look at it again with `plan --pending`")]
    PlanMoved { hash: String },
    #[error("there is no such batch")]
    NoSuchBatch,
    #[error(
        "the row of the batch cannot be read; remove it, and the people are held in a batch that can be decided"
    )]
    BatchUnreadable,
    #[error("the batch is not what was read: list its people again with `breaker show {batch}`")]
    BatchMoved { batch: OpId },
    #[error("an operation that the batch holds still goes through its people; try again in a minute")]
    BatchGrows,
    #[error("the batch was {decision} already")]
    DecidedAlready { decision: &'static str },
    #[error(transparent)]
    NoDrill(#[from] DrillRefusal),
    #[error("there is no such order in this release")]
    Unsupported,
}

/// Carries out the orders of operators.
pub struct Orders {
    table: OrderTable,
    pub(super) request_log: Arc<RequestLog>,
    pub(super) store: StateStore,
    pub(super) active_bindings: Arc<ActiveBindings>,
    pub(super) assignments: Arc<dyn RoleAssignments>,
    pub(super) health: Arc<HealthStatus>,
    drill: Option<DrillSettings>,
    file_planner: BackgroundPlanner<PlannedOver, FilePlan>,
    recover_planner: BackgroundPlanner<(), Result<RecoverPlan, RecoverError>>,
}

impl Orders {
    pub fn new(
        table: OrderTable,
        request_log: Arc<RequestLog>,
        store: StateStore,
        active_bindings: Arc<ActiveBindings>,
        assignments: Arc<dyn RoleAssignments>,
        health: Arc<HealthStatus>,
    ) -> Self {
        let (file_planner, recover_planner) = Default::default();
        Self {
            table,
            request_log,
            store,
            active_bindings,
            assignments,
            health,
            drill: None,
            file_planner,
            recover_planner,
        }
    }

    /// The same, where drills are set.
    pub fn with_drill(self, drill: Option<DrillSettings>) -> Self {
        Self { drill, ..self }
    }

    /// Carries out the orders that were placed, oldest first, until `until` on the monotonic clock, and at least one. Those that
    /// take long are returned: leavers do not wait for them. Whatever is wrong with their table, health says so, and
    /// everything else goes on. `settings`: as this tick read them.
    pub async fn carry_out_placed(
        &self,
        settings: &TenantSettings,
        until: Duration,
    ) -> Result<Vec<PlacedOrder>, StoreError> {
        let placed = match self.table.placed(ORDERS_MAX).await {
            Ok(placed) => placed,
            Err(error) => {
                self.table_failed("reading the orders", &error);
                return Ok(Vec::new());
            }
        };
        self.health.orders_unreadable(false);
        let (take_long, at_once): (Vec<_>, Vec<_>) = placed.into_iter().partition(PlacedOrder::takes_long);
        if at_once.is_empty() {
            self.show(settings);
            return Ok(take_long);
        }
        let ended = self.carry_out_all(&at_once, until).await;
        self.show(&self.store.settings().await?);
        ended.map(|()| take_long)
    }

    fn show(&self, settings: &TenantSettings) {
        self.health.levers(&settings.levers);
        self.health.drill_row(&settings.drill, self.store.clock.now());
        self.health.batches(&settings.batches);
        self.health.bindings_pending(settings.waiting());
    }

    /// Carries out these orders, until then and at least one. One that fails is retried by the next tick, and the others go on.
    pub async fn carry_out_all(&self, placed: &[PlacedOrder], until: Duration) -> Result<(), StoreError> {
        let mut failed = Ok(());
        for order in placed {
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
        failed
    }

    async fn carry_out(&self, placed: &PlacedOrder) -> Result<(), StoreError> {
        match (&placed.order, placed.id) {
            (Ok(order), _) => {
                if !self.carry_out_once(order).await? {
                    return Ok(());
                }
            }
            (Err(error), Some(_)) => self.refuse_unreadable(placed, error).await?,
            (Err(error), None) => {
                log_event!(OrderInvalid, error = %ErrorChain(error), "a row among the orders is none, and is removed");
            }
        }
        // The outcome is stored: a row that stays is met again, and changes nothing.
        if let Err(error) = self.table.remove(placed).await {
            self.table_failed("removing an order that was carried out", &error);
        }
        Ok(())
    }

    fn table_failed(&self, what: &str, error: &StoreError) {
        self.health.orders_unreadable(true);
        log_deferred(what, error);
    }

    /// Returns whether it is done: not where it has to wait.
    async fn carry_out_once(&self, order: &Order) -> Result<bool, StoreError> {
        for _ in 0..TRIES_MAX {
            if self.store.is_order_done(order.id).await? {
                return Ok(true);
            }
            let now = self.store.table_time().await?;
            let order = &CarriedOrder { order, op: self.store.ids.op() };
            let (outcome, effect) = match self.decide(order, now).await? {
                OrderDecision::CarryOut(effect) => {
                    (outcome_of(order, now, false, effect.detail.clone()), effect)
                }
                OrderDecision::Refuse(refusal) => {
                    (outcome_of(order, now, true, refusal.to_string()), OrderEffect::default())
                }
                OrderDecision::NotYet => return Ok(false),
            };
            match self.commit(&outcome, effect).await {
                Err(StoreError::Conflict { .. }) => {}
                committed => return committed.map(|()| true),
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
            op: self.store.ids.op(),
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
            op: outcome.op,
            time: self.store.clock.now(),
            origin: origin_of(outcome.op, &outcome.who),
            request: None,
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
    async fn decide(
        &self,
        order: &CarriedOrder<'_>,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        match &order.order.verb {
            OrderVerb::Pause => self.pause(order, now).await,
            OrderVerb::Resume => self.resume(order).await,
            OrderVerb::Recover { hash } => self.recover(order, hash, now).await,
            OrderVerb::RecoverBegin => self.recover_begin(order, now).await,
            OrderVerb::Revoke { principal } => self.revoke(order, *principal, now).await,
            OrderVerb::Lift { principal } => self.lift(order, *principal).await,
            OrderVerb::Repin { binding, group } => self.repin(order, binding, *group).await,
            OrderVerb::AcceptIdentity { user, principal } => {
                self.accept_identity(order, *user, *principal).await
            }
            OrderVerb::RetryPerson { user } => self.retry_person(order, *user).await,
            OrderVerb::RetryScope { scope } => self.retry_scope(order, scope).await,
            OrderVerb::Forget { scope } => self.forget(order, scope, now).await,
            OrderVerb::Erase { user } => self.erase(*user).await,
            OrderVerb::Apply { hash } => self.apply(order, hash).await,
            OrderVerb::ReleaseBatch { batch, people } => {
                self.decide_batch(order, (*batch, people), BatchState::Released, now).await
            }
            OrderVerb::RejectBatch { batch, people } => {
                self.decide_batch(order, (*batch, people), BatchState::Rejected, now).await
            }
            OrderVerb::Drill => self.begin_drill(order, now).await,
        }
    }
}

impl Orders {
    /// The drill has the id of the operation that carries the order out.
    async fn begin_drill(
        &self,
        order: &CarriedOrder<'_>,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        let ids = (order.order.id, order.op);
        Ok(match begin_by_order(&self.store, self.drill.as_ref(), ids, now).await? {
            Ok((write, change)) => OrderDecision::CarryOut(OrderEffect {
                writes: vec![write],
                changes: vec![change],
                detail: format!("drill {} begins", order.op),
            }),
            Err(refusal) => OrderDecision::Refuse(refusal.into()),
        })
    }
}

/// An order, and the operation that carries it out. An id of the operator's making is no operation: journal rows list by the
/// service's time.
pub struct CarriedOrder<'a> {
    pub order: &'a Order,
    pub op: OpId,
}

impl CarriedOrder<'_> {
    /// The request of a person whom the order concerns.
    pub(super) fn request(&self, priority: Priority) -> ReconcileRequest {
        ReconcileRequest { priority, origin: origin_of(self.op, &self.order.who), taken: None }
    }

    /// A job that completes the order.
    pub(super) fn job(&self, kind: JobKind, priority: Priority) -> TableWrite {
        jobs::insert_job(kind, &self.request(priority), 0)
    }
}

fn origin_of(op: OpId, who: &str) -> ChangeOrigin {
    ChangeOrigin { cause: ChangeCause::Order, actor: who.to_owned(), op }
}

fn outcome_of(
    CarriedOrder { order, op }: &CarriedOrder<'_>,
    at: OffsetDateTime,
    is_refused: bool,
    detail: String,
) -> OrderOutcome {
    OrderOutcome {
        order: order.id,
        op: *op,
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
    let OrderOutcome { order, verb, target, because, detail, .. } = outcome.clone();
    match outcome.is_refused {
        true => AuditEvent::OrderRefused { order, verb, target, because, refusal: detail },
        false => AuditEvent::OrderCarriedOut { order, verb, target, because, detail },
    }
}

fn log_outcome(outcome: &OrderOutcome) {
    let OrderOutcome { order, verb, target, detail, .. } = outcome;
    match outcome.is_refused {
        true => log_event!(OrderRefused, order.id = %order, verb, target, detail, "an order was refused"),
        false => log_event!(OrderDone, order.id = %order, verb, target, detail, "an order was carried out"),
    }
}
