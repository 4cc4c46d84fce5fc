//! On which occasion a person is looked at: at once after a change, or by a tick, and what that means for the calls to Azure.

use super::gather::Gathered;
use super::silence::Silence;
use crate::id::UserId;
use crate::ports::role_assignments::{Answered, AssignmentError, Creation, Listed, RoleAssignments};
use crate::rbac::ledger::Attempt;
use crate::rbac::plan::{Plan, Step};
use crate::rbac::{AssignmentName, ReasonCode, RoleAssignment, Scope};
use crate::service::status::Status;
use crate::store::throttles::{Operation, Throttles};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// How long a person waits at the least for a subscription that gives no answer: the next tick comes later.
const SILENT_PAUSE: Duration = Duration::from_secs(30);

/// Why somebody is looked at now.
#[derive(Clone, Default)]
pub enum Occasion {
    /// Something changed a moment ago.
    #[default]
    Change,
    /// It is the person's turn in a tick.
    Turn(Arc<Silence>),
}

impl Occasion {
    /// What is heeded beside what Azure asked for: nothing is sent to a subscription that gives no answer.
    pub fn heed(&self, throttles: &Throttles, now: OffsetDateTime) -> Throttles {
        let mut all = throttles.clone();
        if let Self::Turn(silence) = self {
            silence.stopped().iter().for_each(|subscription| all.stop(subscription, now + SILENT_PAUSE));
        }
        all
    }

    /// Whether revocations of this plan are left to a tick: where Azure throttled a short while ago, many may wait, and the
    /// tick takes them by the time of the wish. The last change must not be the first to be served.
    pub fn hold_back(&self, plan: &mut Plan, status: &Status) -> bool {
        let Self::Change = self else { return false };
        let held = |step: &Step| {
            step.attempt == Attempt::Revoke
                && status.was_throttled_lately(step.scope.subscription(), Operation::Revoke)
        };
        let before = plan.steps.len();
        plan.steps.retain(|step| !held(step));
        let any = plan.steps.len() < before;
        plan.left_over |= any;
        any
    }

    /// Who waits for a subscription that gives no answer is told so.
    pub fn name_silence(&self, plan: &mut Plan, gathered: &Gathered) {
        let Self::Turn(silence) = self else { return };
        let stopped = silence.stopped();
        for deferred in &mut plan.deferred {
            let scope = gathered.scope_of(deferred.assignment);
            if deferred.reason == ReasonCode::Throttled
                && scope.is_some_and(|scope| stopped.contains(scope.subscription()))
            {
                deferred.reason = ReasonCode::NoAnswer;
            }
        }
    }
}

/// Azure's role assignments as one person's turn meets them: every call, and whether it was answered, is noted.
pub struct Noted {
    pub inner: Arc<dyn RoleAssignments>,
    pub silence: Arc<Silence>,
    pub user: UserId,
}

impl Noted {
    async fn note<T>(
        &self,
        scope: &Scope,
        call: impl Future<Output = Result<T, AssignmentError>> + Send,
    ) -> Result<T, AssignmentError> {
        let under_way = self.silence.begin(self.user, scope.subscription());
        let answer = call.await;
        under_way.end(!matches!(answer, Err(AssignmentError::Unknown { .. })));
        answer
    }
}

#[async_trait]
impl RoleAssignments for Noted {
    async fn list(&self, scope: &Scope, timeout: Duration) -> Result<Vec<Listed>, AssignmentError> {
        self.note(scope, self.inner.list(scope, timeout)).await
    }

    async fn get(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<Option<Listed>, AssignmentError> {
        self.note(scope, self.inner.get(scope, name, timeout)).await
    }

    async fn create(
        &self,
        wanted: &RoleAssignment,
        timeout: Duration,
    ) -> Result<Answered<Creation>, AssignmentError> {
        self.note(&wanted.scope, self.inner.create(wanted, timeout)).await
    }

    async fn delete(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<Answered<()>, AssignmentError> {
        self.note(scope, self.inner.delete(scope, name, timeout)).await
    }
}
