//! Obstacles that one person's step finds for all: a scope that refuses, and who makes room in a full subscription. The rows
//! only say when to try again, so what cannot be written is learned again by the next step.

use crate::events::log_event;
use crate::ports::role_assignments::RejectionReason;
use crate::rbac::ReasonCode;
use crate::rbac::ledger::StepKind;
use crate::rbac::plan::{BlockKey, Plan, RoomClaim, ScopeBlock, Step};
use crate::service::deferred::log_deferred;
use crate::service::reconcile::calls::{CallOutcome, CompletedCall};
use crate::service::reconcile::gather::GatheredState;
use crate::service::reconcile::reconciler::Reconciler;
use crate::service::reconcile::refusal::reason_of;
use crate::store::scope_blocks::{self, StoredBlock};
use crate::store::{StoreError, TableWrite, room_claims};
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// How long the others wait for a probe. Its answer says more; a probe that dies holds them up no longer.
const PROBE_LASTS: Duration = Duration::from_secs(30);

/// What goes with an open: this person probes the scopes whose block is over, and makes room where the plan says so. If another
/// process began meanwhile, the open meets a change and everything is read again.
pub(super) fn claims(gathered: &GatheredState, plan: &Plan, now: OffsetDateTime) -> Vec<TableWrite> {
    let mut probes = BTreeMap::new();
    for step in &plan.steps {
        let key = step.block_key();
        if let Some(StoredBlock { block, etag: read }) = gathered.blocks.get(&key) {
            let not_before = now + PROBE_LASTS;
            probes.insert(key.clone(), scope_blocks::probe(&key, &ScopeBlock { not_before, ..*block }, read));
        }
    }
    let mut writes: Vec<TableWrite> = probes.into_values().collect();
    let room = plan.makes_room.as_ref().filter(|full| !gathered.actual.room.contains_key(*full));
    writes.extend(room.map(|full| room_claims::claim(full, gathered.user, now, gathered.claims.of(full))));
    writes
}

impl Reconciler {
    /// Notes what the answers say about scopes and subscriptions.
    pub(super) async fn note_obstacles(
        &self,
        gathered: &GatheredState,
        plan: &Plan,
        acted: &[CompletedCall],
    ) {
        let now = gathered.time.now(self.store.clock.monotonic());
        let mut writes = block_writes(gathered, acted, now);
        writes.extend(room_writes(gathered, plan, acted, now));
        for write in writes {
            match self.store.transact_unjournaled(&[write]).await {
                // Another process noted the same.
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => log_deferred("what a scope refuses", &error),
            }
        }
    }
}

fn block_writes(gathered: &GatheredState, acted: &[CompletedCall], now: OffsetDateTime) -> Vec<TableWrite> {
    let mut refused: BTreeMap<BlockKey, ReasonCode> = BTreeMap::new();
    let mut taken: Vec<BlockKey> = Vec::new();
    for call in acted {
        let key = call.opened.step.block_key();
        match &call.outcome {
            CallOutcome::Rejected { reason, .. } if reason_of(*reason).is_of_the_scope() => {
                refused.insert(key, reason_of(*reason));
            }
            // A throttle may come before Azure checks the permission, and no answer says nothing.
            CallOutcome::Throttled(_) | CallOutcome::Unknown => {}
            _ => taken.push(key),
        }
    }
    let mut writes = Vec::new();
    for (key, reason) in &refused {
        let before = gathered.blocks.get(key).map_or(0, |stored| stored.block.attempts);
        let attempts = before.saturating_add(1);
        let block = ScopeBlock { reason: *reason, attempts, not_before: now + key.kind.pause(attempts) };
        writes.push(scope_blocks::put(key, &block));
    }
    let lifted = taken.iter().filter(|key| gathered.blocks.contains_key(key) && !refused.contains_key(key));
    writes.extend(lifted.map(scope_blocks::lift));
    writes
}

fn room_writes(
    gathered: &GatheredState,
    plan: &Plan,
    acted: &[CompletedCall],
    now: OffsetDateTime,
) -> Vec<TableWrite> {
    let mut writes = Vec::new();
    for (subscription, claim) in &gathered.actual.room {
        let granted = |call: &&CompletedCall| {
            call.opened.step.kind == StepKind::Grant && call.opened.step.scope.subscription() == subscription
        };
        let grants: Vec<&CompletedCall> = acted.iter().filter(granted).collect();
        let lost = |call: &&&CompletedCall| {
            let full = matches!(
                call.outcome,
                CallOutcome::Rejected { reason: RejectionReason::AssignmentLimit, .. }
            );
            call.opened.step.made_room && full
        };
        let has_room = grants.iter().any(|call| matches!(call.outcome, CallOutcome::Created));
        let ours = *claim == RoomClaim::Ours;
        if ours && let Some(call) = grants.iter().find(lost) {
            tell_stopped(&call.opened.step);
            writes.push(room_claims::stop(subscription, gathered.user, now));
        } else if has_room && !matches!(claim, RoomClaim::Taken { .. })
            || ours && !still_needs(gathered, plan, subscription)
        {
            writes.push(room_claims::release(subscription));
        }
    }
    writes
}

/// Whether a grant of this person still waits for room there, or a revocation makes it.
fn still_needs(gathered: &GatheredState, plan: &Plan, subscription: &str) -> bool {
    let limited = |retry: &crate::rbac::ledger::RetryState| {
        retry.kind == StepKind::Grant && retry.reason == ReasonCode::AssignmentLimit
    };
    let entries = gathered.ledger.entries.iter().map(|stored| &stored.entry);
    let waits = entries.filter(|entry| entry.scope.subscription() == subscription).any(|entry| {
        gathered.desired.grants.contains_key(&entry.assignment) && entry.retry.as_ref().is_some_and(limited)
    });
    waits || plan.makes_room.as_deref() == Some(subscription)
}

fn tell_stopped(step: &Step) {
    log_event!(SubscriptionFull, scope = %step.scope, assignment.name = %step.assignment, operation = StepKind::Grant.as_str(),
        "the subscription is full and the place that was freed is lost: no further binding moves there until a grant succeeds"
    );
}

#[cfg(test)]
mod tests;
