//! Open: the ledger says what is about to become true, before anything is sent.

use crate::audit::{AuditEvent, AuditRecord};
use crate::id::OpId;
use crate::rbac::BindingName;
use crate::rbac::ledger::{AssignmentState, LedgerEntry, StepKind};
use crate::rbac::plan::{Plan, Step};
use crate::scim::{Filter, Resource};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::reconcile::calls::{OpenResult, OpenedStep};
use crate::service::reconcile::desired::{self, NewPin};
use crate::service::reconcile::gather::GatheredState;
use crate::service::reconcile::obstacles;
use crate::service::reconcile::reconciler::Reconciler;
use crate::store::users::HeaderState;
use crate::store::{ETag, StoreError, TableWrite, pins, reconcile_queue};
use std::collections::BTreeSet;
use std::time::Duration;
use time::OffsetDateTime;

/// No two clocks that are set differ by more.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(600);

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
            .map(|step| about_to_become(step, op, now, gathered.actual.requested_at, until))
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
        let Some(request_etag) = committed.etag(0) else { return Ok(OpenResult::Again) };
        let rows = plan.steps.iter().cloned().zip(entries).enumerate();
        let opened = rows.filter_map(|(at, (step, entry))| {
            Some(OpenedStep { step, entry, etag: committed.etag(at + 1)? })
        });
        Ok(OpenResult::Open { request: request_etag, opened: opened.collect() })
    }

    /// The journal row of a step of this reconcile.
    pub(super) fn record(&self, gathered: &GatheredState, op: OpId, changes: Vec<AuditEvent>) -> AuditRecord {
        let stamp = gathered.pointer.stamp().map(str::to_owned);
        AuditRecord {
            op,
            time: self.store.clock.now(),
            origin: gathered.request.request.origin.clone(),
            request: None,
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
}

fn about_to_become(
    step: &Step,
    op: OpId,
    now: OffsetDateTime,
    caused_at: OffsetDateTime,
    until: OffsetDateTime,
) -> LedgerEntry {
    let holding = if step.kind == StepKind::Grant { AssignmentState::Present } else { AssignmentState::Gone };
    let entry = step.entry_before(op, now);
    let unwanted_since = (step.kind == StepKind::Revoke).then(|| entry.unwanted_since.unwrap_or(caused_at));
    LedgerEntry {
        op,
        bindings: step.bindings.clone(),
        unsettled_until: Some(until),
        unwanted_since,
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
        wanted: step.kind == StepKind::Grant,
        follows: unsettled.map(|entry| entry.op),
    }
}

/// Why a step is taken, one line each.
fn reasons(gathered: &GatheredState, step: &Step) -> Vec<String> {
    if step.kind == StepKind::Grant {
        return step.reasons.iter().map(ToString::to_string).collect();
    }
    if gathered.desired.braked.contains(&step.principal) {
        return vec!["an operator revoked the person".to_owned()];
    }
    let why = match &gathered.header {
        HeaderState::Unreadable => NO_GROUP,
        HeaderState::Gone => "the user was deleted",
        HeaderState::Readable(person) if !person.resource.active() => "the user is inactive",
        HeaderState::Readable(person) if person.pinned.is_some() && person.pinned != gathered.principal => {
            "the Entra object id changed"
        }
        HeaderState::Readable(person) => return why_no_longer(gathered, step, &person.resource),
    };
    vec![why.to_owned()]
}

const NO_GROUP: &str = "no group of the user gives it any more";

/// What became of the bindings that gave it, one line each.
fn why_no_longer(gathered: &GatheredState, step: &Step, person: &Resource) -> Vec<String> {
    let ActiveSnapshot::Known(snapshot) = &gathered.snapshot else { return vec![NO_GROUP.to_owned()] };
    let rendered = desired::rendered(gathered.user, person);
    let why = |name: &BindingName| {
        let binding = snapshot.bindings.bindings.iter().find(|binding| binding.name == *name);
        let Some(binding) = binding else { return format!("binding {name} was taken out of the bindings") };
        let fails = |filter: &Filter| !filter.matches_as_written(&rendered);
        if binding.role != step.role || binding.scope != step.scope {
            format!("binding {name} gives another role, or at another scope, by now")
        } else if binding.condition.as_ref().is_some_and(fails) {
            format!("the user no longer meets the `where` of binding {name}")
        } else {
            NO_GROUP.to_owned()
        }
    };
    let reasons: BTreeSet<String> = step.bindings.iter().map(why).collect();
    if reasons.is_empty() { vec![NO_GROUP.to_owned()] } else { reasons.into_iter().collect() }
}

/// Selector pins that a round makes, and their audit.
pub fn pin_writes(selector_pins: &[NewPin], op: OpId, changes: &mut Vec<AuditEvent>) -> Vec<TableWrite> {
    let mut writes = Vec::new();
    for pin in selector_pins {
        let group_before = pin.before.as_ref().map(|(group, _)| *group);
        let attribute = pin.attribute;
        let group = pin.group;
        changes.push(AuditEvent::SelectorPinned { attribute, group_before, group });
        let read = pin.before.as_ref().map(|(_, etag)| etag);
        writes.extend(pins::pin_selector(pin.key.clone(), pin.attribute, &pin.value, pin.group, op, read));
    }
    writes
}

#[cfg(test)]
mod tests;
