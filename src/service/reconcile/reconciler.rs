//! The reconcile of one person: what it needs, and its outcome.

use crate::ports::role_assignments::RoleAssignments;
use crate::rbac::breaker::RevocationLimits;
use crate::rbac::plan::PlanLimits;
use crate::service::bindings::active::ActiveBindings;
use crate::service::breakers::Breakers;
use crate::service::health::HealthStatus;
use crate::service::keyed_mutex::KeyedMutex;
use crate::service::reconcile::trigger::ReconcileTrigger;
use crate::store::StateStore;
use std::sync::Arc;
use std::time::Duration;

/// The times and sizes of a reconcile.
#[derive(Debug, Clone, Copy)]
pub struct EffectLimits {
    /// How long a worker may send, counted from before its open.
    pub send: Duration,
    /// How long a call of a dead worker may stay in the network.
    pub network: Duration,
    pub plan: PlanLimits,
    /// How much may be taken away without an operator.
    pub revocations: RevocationLimits,
}

impl Default for EffectLimits {
    fn default() -> Self {
        Self {
            send: Duration::from_secs(30),
            network: Duration::from_secs(120),
            plan: PlanLimits::default(),
            revocations: RevocationLimits::default(),
        }
    }
}

/// The outcome of the reconcile of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReconcileOutcome {
    /// Azure asked to wait, and what is left waits for it. Reconciling more of the same kind is useless now.
    pub throttled: bool,
    /// Revocations that were sent.
    pub revoked: usize,
    pub request: RequestState,
}

/// The person's request after a reconcile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestState {
    /// It is done.
    Completed,
    /// There was no request of now: another process finished it, or requeued it.
    Absent,
    /// It is requeued for later.
    Requeued,
    /// It is still there: there is more to do, or another process works on it.
    #[default]
    Pending,
}

/// Makes Azure hold what one person should hold.
#[derive(Clone)]
pub struct Reconciler {
    pub(super) store: StateStore,
    pub(super) assignments: Arc<dyn RoleAssignments>,
    pub(super) active_bindings: Arc<ActiveBindings>,
    pub(super) health: Arc<HealthStatus>,
    pub(super) limits: EffectLimits,
    pub(super) queue: Arc<KeyedMutex>,
    pub(in crate::service) breakers: Arc<Breakers>,
    pub(super) trigger: ReconcileTrigger,
}

impl Reconciler {
    pub fn new(
        store: StateStore,
        assignments: Arc<dyn RoleAssignments>,
        active_bindings: Arc<ActiveBindings>,
        health: Arc<HealthStatus>,
        limits: EffectLimits,
    ) -> Self {
        let breakers =
            Breakers::new(store.clone(), active_bindings.clone(), health.clone(), limits.revocations);
        Self {
            store,
            assignments,
            active_bindings,
            health,
            limits,
            queue: Arc::default(),
            breakers: Arc::new(breakers),
            trigger: ReconcileTrigger::default(),
        }
    }
}
