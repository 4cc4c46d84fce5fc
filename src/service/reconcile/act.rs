//! Act: the steps that were opened are sent to Azure.

use crate::events::log_event;
use crate::id::InstanceId;
use crate::ports::role_assignments::{ArmAnswer, AssignmentError, CreateOutcome};
use crate::rbac::ledger::StepKind;
use crate::rbac::plan::Step;
use crate::rbac::{ReasonCode, RoleAssignment, Scope, assignment};
use crate::service::deferred::log_deferred;
use crate::service::reconcile::calls::{CallOutcome, CompletedCall, OpenedStep, SendDeadline};
use crate::service::reconcile::gather::GatheredState;
use crate::service::reconcile::reconciler::Reconciler;
use crate::service::reconcile::refusal::reason_of;
use crate::service::throttling;
use crate::store::throttles::CallKind;
use futures_util::future::join_all;
use std::time::Duration;
use time::OffsetDateTime;

impl Reconciler {
    /// Sends every step. Revocations are sent first, and no grant waits for their answers. `started` is from before the open:
    /// nothing is sent after the worker's time.
    pub(super) async fn act(
        &self,
        gathered: &GatheredState,
        opened: Vec<OpenedStep>,
        started: SendDeadline,
    ) -> Vec<CompletedCall> {
        let (revocations, grants): (Vec<_>, Vec<_>) =
            opened.into_iter().partition(|opened| opened.step.kind == StepKind::Revoke);
        let calls = revocations.into_iter().chain(grants).map(|opened| self.send(gathered, opened, started));
        let acted = join_all(calls).await;
        let now = gathered.time.now(self.store.clock.monotonic());
        for call in &acted {
            if let CallOutcome::Throttled(wait) = call.outcome {
                let step = &call.opened.step;
                self.note_throttle(&step.scope, step.kind.into(), now, wait).await;
            }
        }
        acted
    }

    async fn send(
        &self,
        gathered: &GatheredState,
        opened: OpenedStep,
        started: SendDeadline,
    ) -> CompletedCall {
        let Some(left) = self.time_left(started) else {
            return CompletedCall { opened, outcome: CallOutcome::Unknown, correlation: None };
        };
        let step = &opened.step;
        let label = gathered.request.request.origin.label();
        let answer = match step.kind {
            StepKind::Revoke => {
                self.assignments.delete(&step.scope, &step.assignment, left).await.map(deleted)
            }
            StepKind::Grant => {
                self.assignments.create(&wanted(step, gathered.actual.instance), left).await.map(created)
            }
        };
        let (outcome, correlation) = answer.unwrap_or_else(|error| failed(step, label, error));
        CompletedCall { opened, outcome, correlation }
    }

    /// What is left of the worker's time: by the clock that says less.
    fn time_left(&self, started: SendDeadline) -> Option<Duration> {
        let monotonic = self.store.clock.monotonic().saturating_sub(started.monotonic);
        let wall = Duration::try_from(self.store.clock.now() - started.wall).unwrap_or_default();
        self.limits.send.checked_sub(monotonic.max(wall)).filter(|left| !left.is_zero())
    }

    /// Stores a throttle, so that all processes wait for it. If that fails, the next call learns of it again.
    pub(super) async fn note_throttle(
        &self,
        scope: &Scope,
        kind: CallKind,
        now: OffsetDateTime,
        wait: Duration,
    ) {
        let stored = throttling::store_throttle(&self.store, &self.health, scope, kind, now, wait).await;
        if let Err(error) = stored {
            log_deferred("a throttle", &error);
        }
    }
}

fn wanted(step: &Step, instance: InstanceId) -> RoleAssignment {
    RoleAssignment {
        name: step.assignment,
        scope: step.scope.clone(),
        role: step.role,
        principal: step.principal,
        principal_type: step.principal_type,
        description: assignment::description(&step.bindings, instance),
    }
}

pub(super) fn created(answer: ArmAnswer<CreateOutcome>) -> (CallOutcome, Option<String>) {
    let outcome = match answer.value {
        CreateOutcome::Created | CreateOutcome::AlreadyOurs => CallOutcome::Created,
        CreateOutcome::HeldBy(other) => CallOutcome::HeldBy(other),
    };
    (outcome, answer.correlation)
}

fn deleted(answer: ArmAnswer<()>) -> (CallOutcome, Option<String>) {
    (CallOutcome::Deleted, answer.correlation)
}

pub(super) fn failed(step: &Step, label: &str, error: AssignmentError) -> (CallOutcome, Option<String>) {
    let operation = step.kind.as_str();
    let what = if step.kind == StepKind::Revoke { "revocation failed" } else { "grant failed" };
    match error {
        AssignmentError::Throttled { retry_after, correlation } => {
            (CallOutcome::Throttled(retry_after), correlation)
        }
        AssignmentError::Rejected { reason, code, correlation, .. } => {
            let meant = reason_of(reason);
            let reason_code = meant.as_str();
            if meant == ReasonCode::AssignmentLimit {
                log_event!(
                    SubscriptionFull, assignment.name = %step.assignment, scope = %step.scope, operation,
                    token.label = label, reason = reason_code, code, "{what}"
                );
            } else if meant.is_of_the_scope() {
                log_event!(
                    ScopeBlocked, assignment.name = %step.assignment, scope = %step.scope, operation,
                    token.label = label, reason = reason_code, code, "{what}"
                );
            } else {
                log_event!(
                    StepFailed, assignment.name = %step.assignment, scope = %step.scope, operation,
                    token.label = label, reason = reason_code, code, "{what}"
                );
            }
            (CallOutcome::Rejected { reason, code }, correlation)
        }
        AssignmentError::Unknown { detail } => {
            log_event!(
                StepFailed, assignment.name = %step.assignment, scope = %step.scope, operation, token.label = label, detail,
                "{what}: ARM gave no reliable answer"
            );
            (CallOutcome::Unknown, None)
        }
    }
}
