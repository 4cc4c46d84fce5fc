//! Why a person is reconciled: at once after a change, or by a tick, and what that means for the calls to Azure.

use crate::id::UserId;
use crate::ports::role_assignments::{
    ArmAnswer, AssignmentError, CreateOutcome, ListedAssignment, RoleAssignments,
};
use crate::rbac::ledger::StepKind;
use crate::rbac::plan::{Plan, Step};
use crate::rbac::{AssignmentName, ReasonCode, RoleAssignment, Scope};
use crate::service::health::HealthStatus;
use crate::service::reconcile::silent_subscriptions::SilentSubscriptions;
use crate::store::throttles::{CallKind, StoredThrottles};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How long a person waits at least for a subscription that gives no answer. The next tick comes later.
const SILENT_PAUSE: Duration = Duration::from_secs(30);

/// Why a person is reconciled now.
#[derive(Clone, Default)]
pub enum ReconcileTrigger {
    /// Something changed a moment ago.
    #[default]
    Change,
    /// It is the person's turn in a tick.
    Turn(Arc<SilentSubscriptions>),
}

impl ReconcileTrigger {
    /// The stored throttles, and the subscriptions that give no answer: nothing is sent to either.
    pub fn with_silent_stopped(&self, throttles: &StoredThrottles, now: OffsetDateTime) -> StoredThrottles {
        let mut all = throttles.clone();
        if let Self::Turn(silent) = self {
            silent.stopped().iter().for_each(|subscription| all.stop(subscription, now + SILENT_PAUSE));
        }
        all
    }

    /// Whether revocations of this plan are left to a tick: where Azure throttled a short while ago, many may wait, and the
    /// tick takes them in the order in which they became unwanted. The last change must not be served first.
    pub fn leave_throttled_to_tick(&self, plan: &mut Plan, health: &HealthStatus) -> bool {
        let Self::Change = self else { return false };
        let held = |step: &Step| {
            step.kind == StepKind::Revoke
                && health.was_throttled_lately(step.scope.subscription(), CallKind::Revoke)
        };
        let before = plan.steps.len();
        plan.steps.retain(|step| !held(step));
        let any = plan.steps.len() < before;
        plan.has_more |= any;
        any
    }

    /// A step that waits for a subscription that gives no answer says so.
    pub fn name_silent_reason<'a>(
        &self,
        plan: &mut Plan,
        scope_of: impl Fn(AssignmentName) -> Option<&'a Scope>,
    ) {
        let Self::Turn(silent) = self else { return };
        let stopped = silent.stopped();
        for deferred in &mut plan.deferred {
            let scope = scope_of(deferred.assignment);
            if deferred.reason == ReasonCode::Throttled
                && scope.is_some_and(|scope| stopped.contains(scope.subscription()))
            {
                deferred.reason = ReasonCode::NoAnswer;
            }
        }
    }
}

/// Azure's role assignments as one person's turn meets them: every call, and whether it was answered, is noted.
pub struct WatchedAssignments {
    pub inner: Arc<dyn RoleAssignments>,
    pub silent: Arc<SilentSubscriptions>,
    pub user: UserId,
}

impl WatchedAssignments {
    async fn watch<T>(
        &self,
        scope: &Scope,
        call: impl Future<Output = Result<T, AssignmentError>> + Send,
    ) -> Result<T, AssignmentError> {
        let under_way = self.silent.begin(self.user, scope.subscription());
        let answer = call.await;
        under_way.end(!matches!(answer, Err(AssignmentError::Unknown { .. })));
        answer
    }
}

#[async_trait]
impl RoleAssignments for WatchedAssignments {
    async fn list(&self, scope: &Scope, timeout: Duration) -> Result<Vec<ListedAssignment>, AssignmentError> {
        self.watch(scope, self.inner.list(scope, timeout)).await
    }

    async fn get(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<Option<ListedAssignment>, AssignmentError> {
        self.watch(scope, self.inner.get(scope, name, timeout)).await
    }

    async fn create(
        &self,
        wanted: &RoleAssignment,
        timeout: Duration,
    ) -> Result<ArmAnswer<CreateOutcome>, AssignmentError> {
        self.watch(&wanted.scope, self.inner.create(wanted, timeout)).await
    }

    async fn delete(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<ArmAnswer<()>, AssignmentError> {
        self.watch(scope, self.inner.delete(scope, name, timeout)).await
    }
}
