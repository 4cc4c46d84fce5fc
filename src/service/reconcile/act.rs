//! Open and act: the ledger says what is about to become true, then Azure is called.

use crate::audit::{AuditEvent, AuditRecord};
use crate::id::OpId;
use crate::ports::role_assignments::{ArmAnswer, AssignmentError, CreateOutcome, RejectionReason};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, StepKind};
use crate::rbac::plan::{Plan, Step};
use crate::rbac::{RoleAssignment, Scope};
use crate::service::deferred::log_deferred;
use crate::service::reconcile::Reconciler;
use crate::service::reconcile::desired::NewPin;
use crate::service::reconcile::gather::GatheredState;
use crate::service::reconcile::obstacles;
use crate::service::throttling;
use crate::store::throttles::CallKind;
use crate::store::users::HeaderState;
use crate::store::{ETag, StoreError, TableWrite, pins, reconcile_queue};
use futures_util::future::join_all;
use std::time::Duration;
use time::OffsetDateTime;

/// No two clocks that are set differ by more.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(600);

/// A step that was opened: its row as it stands now.
pub struct OpenedStep {
    pub step: Step,
    pub entry: LedgerEntry,
    pub etag: ETag,
}

/// What an open came to.
pub enum OpenResult {
    /// Everything is written; `d:` has this version now.
    Open { request: ETag, opened: Vec<OpenedStep> },
    /// Somebody changed something, or the answer was lost: gather again.
    Again,
}

/// What a call came to.
pub enum CallOutcome {
    Created,
    HeldBy(crate::rbac::AssignmentName),
    Deleted,
    Throttled(Duration),
    /// `code` is ARM's own.
    Rejected {
        reason: RejectionReason,
        code: String,
    },
    /// Not sent, or no answer that can be relied on.
    Unknown,
}

/// A call and its answer.
pub struct CompletedCall {
    pub opened: OpenedStep,
    pub outcome: CallOutcome,
    pub correlation: Option<String>,
}

impl Reconciler {
    /// One transaction: `d:` under its version, each ledger row as it is about to become, unsettled, and the steps in the
    /// journal. New selector pins go with it.
    pub(super) async fn open(&self, gathered: &GatheredState, plan: &Plan) -> Result<OpenResult, StoreError> {
        let op = self.store.ids.op();
        let now = gathered.time.now(self.store.clock.monotonic());
        let until = self.later_clock(now) + self.limits.send + self.limits.network;
        let mut writes = vec![reconcile_queue::touch(&gathered.request)];
        let entries: Vec<LedgerEntry> = plan
            .steps
            .iter()
            .map(|step| about_to_become(step, op, (now, gathered.actual.requested_at), until))
            .collect();
        for entry in &entries {
            writes.push(gathered.ledger.write(gathered.user, entry, etag_of(gathered, entry).as_ref()));
        }
        let mut changes: Vec<AuditEvent> = plan.steps.iter().map(|step| opened(gathered, step)).collect();
        writes.extend(pin_writes(&gathered.selector_pins, op, &mut changes));
        writes.extend(obstacles::claims(gathered, plan, now));
        let committed = match self.store.commit(&self.record(gathered, op, changes), writes).await {
            Ok(committed) => committed,
            Err(StoreError::Conflict { .. }) => return Ok(OpenResult::Again),
            Err(error) => return Err(error),
        };
        let Some(look) = committed.etag(0) else { return Ok(OpenResult::Again) };
        let rows = plan.steps.iter().cloned().zip(entries).enumerate();
        let opened = rows.filter_map(|(at, (step, entry))| {
            Some(OpenedStep { step, entry, etag: committed.etag(at + 1)? })
        });
        Ok(OpenResult::Open { request: look, opened: opened.collect() })
    }

    /// The journal row of a step of this reconcile.
    pub(super) fn record(&self, gathered: &GatheredState, op: OpId, changes: Vec<AuditEvent>) -> AuditRecord {
        let stamp = gathered.pointer.stamp().map(str::to_owned);
        AuditRecord {
            op,
            time: self.store.clock.now(),
            origin: gathered.request.request.origin.clone(),
            stamp,
            outcome: None,
            changes,
        }
    }

    /// The table service's clock or ours, whichever is ahead: a row must not be taken for settled while a call for it may land.
    /// One that is ahead by more than any two clocks differ is wrong, and does not count further than that.
    fn later_clock(&self, now: OffsetDateTime) -> OffsetDateTime {
        self.store.clock.now().clamp(now, now + CLOCKS_DIFFER_MAX)
    }

    /// Sends every step. Revocations are sent first, and no grant waits for their answers. `started` is from before the open:
    /// nothing is sent after the worker's time.
    pub(super) async fn act(
        &self,
        gathered: &GatheredState,
        opened: Vec<OpenedStep>,
        started: SendDeadline,
    ) -> Vec<CompletedCall> {
        let (revocations, grants): (Vec<_>, Vec<_>) =
            opened.into_iter().partition(|opened| opened.step.attempt == StepKind::Revoke);
        let calls = revocations.into_iter().chain(grants).map(|opened| self.send(gathered, opened, started));
        let acted = join_all(calls).await;
        let now = gathered.time.now(self.store.clock.monotonic());
        for call in &acted {
            if let CallOutcome::Throttled(wait) = call.outcome {
                let step = &call.opened.step;
                self.note_throttle(&step.scope, step.attempt.into(), (now, wait)).await;
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
        let label = gathered.request.request.origin.actor.as_str();
        let answer = match step.attempt {
            StepKind::Revoke => {
                self.assignments.delete(&step.scope, &step.assignment, left).await.map(deleted)
            }
            StepKind::Grant => self.assignments.create(&wanted(step), left).await.map(created),
        };
        let (sent, correlation) = answer.unwrap_or_else(|error| failed(step, label, error));
        CompletedCall { opened, outcome: sent, correlation }
    }

    /// What is left of the worker's time: by the clock that says less.
    fn time_left(&self, started: SendDeadline) -> Option<Duration> {
        let monotonic = self.store.clock.monotonic().saturating_sub(started.monotonic);
        let wall = Duration::try_from(self.store.clock.now() - started.wall).unwrap_or_default();
        self.limits.send.checked_sub(monotonic.max(wall)).filter(|left| !left.is_zero())
    }

    /// A throttle is everybody's: all processes wait for it. Where it cannot be noted, the next call learns of it again.
    pub(super) async fn note_throttle(
        &self,
        scope: &Scope,
        operation: CallKind,
        (now, wait): (OffsetDateTime, Duration),
    ) {
        let (store, status) = (&self.store, &self.health);
        let told = throttling::store_throttle(store, status, scope, operation, (now, wait)).await;
        if let Err(error) = told {
            log_deferred("a throttle", &error);
        }
    }
}

/// When a worker began, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct SendDeadline {
    pub monotonic: Duration,
    pub wall: OffsetDateTime,
}

fn about_to_become(
    step: &Step,
    op: OpId,
    (now, caused_at): (OffsetDateTime, OffsetDateTime),
    until: OffsetDateTime,
) -> LedgerEntry {
    let holding =
        if step.attempt == StepKind::Grant { AssignmentState::Present } else { AssignmentState::Gone };
    let entry = step.entry.clone().unwrap_or_else(|| LedgerEntry {
        assignment: step.assignment,
        principal: step.principal,
        role: step.role,
        scope: step.scope.clone(),
        state: AssignmentState::Gone,
        unsettled_until: None,
        op,
        bindings: Vec::new(),
        correlation: None,
        retry: None,
        unwanted_since: None,
        since: now,
        written: now,
    });
    let wished = (step.attempt == StepKind::Revoke).then(|| entry.unwanted_since.unwrap_or(caused_at));
    LedgerEntry {
        op,
        bindings: step.bindings.clone(),
        unsettled_until: Some(until),
        unwanted_since: wished,
        ..entry.becoming(holding, now)
    }
}

fn etag_of(gathered: &GatheredState, entry: &LedgerEntry) -> Option<ETag> {
    let stored = gathered.ledger.entries.iter().find(|stored| stored.entry.assignment == entry.assignment);
    stored.map(|stored| stored.etag.clone())
}

fn opened(gathered: &GatheredState, step: &Step) -> AuditEvent {
    let unsettled = step.entry.as_ref().filter(|entry| entry.unsettled_until.is_some());
    AuditEvent::EffectOpened {
        person: gathered.user,
        principal: step.principal,
        bindings: step.bindings.clone(),
        role: step.role,
        scope: step.scope.clone(),
        assignment: step.assignment,
        reasons: reasons(gathered, step),
        held_before: step.held_before,
        wanted: step.attempt == StepKind::Grant,
        follows: unsettled.map(|entry| entry.op),
    }
}

/// Why a step is taken, one line each.
fn reasons(gathered: &GatheredState, step: &Step) -> Vec<String> {
    let member = |reason: &crate::rbac::plan::GrantReason| {
        format!("member of group {} of binding {}", reason.group, reason.binding)
    };
    if step.attempt == StepKind::Grant {
        return step.reasons.iter().map(member).collect();
    }
    let why = match &gathered.header {
        HeaderState::Unreadable => "no group of the user gives it any more",
        HeaderState::Gone => "the user was deleted",
        HeaderState::Readable(person) if !person.resource.active() => "the user is inactive",
        HeaderState::Readable(person) if person.pinned.is_some() && person.pinned != gathered.principal => {
            "the Entra object id changed"
        }
        HeaderState::Readable(_) => "no group of the user gives it any more",
    };
    vec![why.to_owned()]
}

/// Selector pins that a round makes, and their audit.
pub fn pin_writes(selector_pins: &[NewPin], op: OpId, changes: &mut Vec<AuditEvent>) -> Vec<TableWrite> {
    let mut writes = Vec::new();
    for pin in selector_pins {
        let group_before = pin.before.as_ref().map(|(group, _)| *group);
        let (attribute, group) = (pin.attribute, pin.group);
        changes.push(AuditEvent::SelectorPinned { attribute, group_before, group });
        let read = pin.before.as_ref().map(|(_, etag)| etag);
        writes.extend(pins::pin_selector(pin.key.clone(), pin.attribute, &pin.value, pin.group, op, read));
    }
    writes
}

fn wanted(step: &Step) -> RoleAssignment {
    let names: Vec<&str> = step.bindings.iter().map(crate::rbac::BindingName::as_str).collect();
    let mut description = format!("Managed by azure-backup-scim, binding {}; do not edit", names.join(", "));
    description.truncate(description.char_indices().nth(1000).map_or(description.len(), |(at, _)| at));
    RoleAssignment {
        name: step.assignment,
        scope: step.scope.clone(),
        role: step.role,
        principal: step.principal,
        principal_type: step.principal_type,
        description,
    }
}

fn created(answer: ArmAnswer<CreateOutcome>) -> (CallOutcome, Option<String>) {
    let sent = match answer.value {
        CreateOutcome::Created | CreateOutcome::AlreadyOurs => CallOutcome::Created,
        CreateOutcome::HeldBy(other) => CallOutcome::HeldBy(other),
    };
    (sent, answer.correlation)
}

fn deleted(answer: ArmAnswer<()>) -> (CallOutcome, Option<String>) {
    (CallOutcome::Deleted, answer.correlation)
}

fn failed(step: &Step, label: &str, error: AssignmentError) -> (CallOutcome, Option<String>) {
    let operation = step.attempt.as_str();
    let what = if step.attempt == StepKind::Revoke { "revocation failed" } else { "grant failed" };
    match error {
        AssignmentError::Throttled { retry_after, correlation } => {
            (CallOutcome::Throttled(retry_after), correlation)
        }
        AssignmentError::Rejected { reason, code, correlation, .. } => {
            tracing::warn!(
                assignment.name = %step.assignment, scope = %step.scope, operation, token.label = label, code, "{what}"
            );
            (CallOutcome::Rejected { reason, code }, correlation)
        }
        AssignmentError::Unknown { detail } => {
            tracing::warn!(
                assignment.name = %step.assignment, scope = %step.scope, operation, token.label = label, detail,
                "{what}: ARM gave no answer that can be relied on"
            );
            (CallOutcome::Unknown, None)
        }
    }
}

#[cfg(test)]
mod tests;
