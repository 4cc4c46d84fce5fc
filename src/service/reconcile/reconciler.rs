//! What the reconcile of one person works with, and what comes of it.

use crate::ports::role_assignments::RoleAssignments;
use crate::rbac::plan::PlanLimits;
use crate::service::bindings::active::ActiveBindings;
use crate::service::health::HealthStatus;
use crate::service::keyed_mutex::KeyedMutex;
use crate::service::reconcile::trigger::ReconcileTrigger;
use crate::store::StateStore;
use std::sync::Arc;
use std::time::Duration;

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

/// Makes Azure hold what one person should hold.
#[derive(Clone)]
pub struct Reconciler {
    pub(super) store: StateStore,
    pub(super) assignments: Arc<dyn RoleAssignments>,
    pub(super) active_bindings: Arc<ActiveBindings>,
    pub(super) health: Arc<HealthStatus>,
    pub(super) limits: EffectLimits,
    pub(super) queue: Arc<KeyedMutex>,
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
        Self {
            store,
            assignments,
            active_bindings,
            health,
            limits,
            queue: Arc::default(),
            trigger: ReconcileTrigger::default(),
        }
    }
}
