//! What a round takes to the breakers, and the rows of the holds that begin and end with its close.

use crate::audit::AuditEvent;
use crate::id::OpId;
use crate::rbac::breaker::Ruling;
use crate::rbac::ledger::{LedgerEntry, StepKind};
use crate::rbac::plan::{Plan, Step};
use crate::rbac::{AssignmentName, ReasonCode};
use crate::service::breakers::{JudgedRound, questions};
use crate::service::reconcile::gather::GatheredState;
use crate::service::reconcile::reconciler::Reconciler;
use crate::store::holds::{self, HoldCause};
use crate::store::{StoreError, TableWrite};
use std::collections::BTreeSet;
use time::OffsetDateTime;

impl Reconciler {
    /// Takes the steps of a plan to the breakers. What does not pass is held from now on: then the plan has to be made again.
    pub(super) async fn pass_breakers(
        &self,
        gathered: &mut GatheredState,
        plan: &Plan,
        passed: &mut BTreeSet<AssignmentName>,
    ) -> Result<bool, StoreError> {
        let asked: Vec<Step> =
            plan.steps.iter().filter(|step| !passed.contains(&step.assignment)).cloned().collect();
        let steps = questions(&gathered.facts(), &asked);
        let is_counted = |step: &Step| steps.iter().any(|question| question.assignment == step.assignment);
        if asked.iter().any(|step| step.kind == StepKind::Revoke && !is_counted(step)) {
            // Someone leaves unseen.
            self.breakers.note_stale();
        }
        if steps.is_empty() {
            return Ok(true);
        }
        let round = JudgedRound {
            user: gathered.user,
            steps,
            origin: gathered.request.request.origin.clone(),
            now: gathered.time.now(self.store.clock.monotonic()),
        };
        let rulings = self.breakers.judge(round).await?;
        passed.extend(asked.iter().map(|step| step.assignment));
        let mut all_pass = true;
        for (assignment, ruling) in rulings {
            all_pass &= ruling == Ruling::Passes;
            gathered.apply_ruling(assignment, ruling);
        }
        Ok(all_pass)
    }
}

impl GatheredState {
    fn apply_ruling(&mut self, assignment: AssignmentName, ruling: Ruling) {
        let reason = match ruling {
            Ruling::Passes => return,
            Ruling::Held { batch } => {
                self.new_holds.insert(assignment, batch);
                ReasonCode::HeldByBreaker
            }
            Ruling::Full => ReasonCode::MaxPrincipals,
            Ruling::Unknown { .. } => ReasonCode::RowUnreadable,
        };
        self.actual.holds.held.insert(assignment, reason);
    }

    /// The entries that a close writes because a hold begins, and how each is recorded.
    pub(super) fn held_entries(&self, now: OffsetDateTime) -> Vec<(LedgerEntry, AuditEvent)> {
        self.new_holds
            .iter()
            .filter_map(|(assignment, batch)| self.held_entry(*assignment, *batch, now))
            .collect()
    }

    fn held_entry(
        &self,
        assignment: AssignmentName,
        batch: OpId,
        now: OffsetDateTime,
    ) -> Option<(LedgerEntry, AuditEvent)> {
        let stored = self.ledger.entries.iter().find(|stored| stored.entry.assignment == assignment);
        let wanted = self.desired.grants.get(&assignment);
        let mut entry = match (stored, wanted) {
            (Some(stored), _) => stored.entry.clone(),
            (None, Some(wanted)) => {
                let (op, scope) = (self.request.request.origin.op, wanted.scope.clone());
                LedgerEntry::never_opened(assignment, wanted.principal, wanted.role, scope, op, now)
            }
            (None, None) => return None,
        };
        let operation = if wanted.is_some() { StepKind::Grant } else { StepKind::Revoke };
        entry.hold = Some(batch);
        match wanted {
            Some(wanted) => entry.bindings = wanted.bindings(),
            None => entry.unwanted_since = entry.unwanted_since.or(Some(self.actual.requested_at)),
        }
        Some((entry, AuditEvent::StepHeld { person: self.user, assignment, operation, batch }))
    }

    /// The batch that still holds the next step of an entry: none of a person who leaves or is braked. While the bindings cannot
    /// be read nothing else ends.
    pub(super) fn hold_after(&self, entry: &LedgerEntry) -> Option<OpId> {
        if !self.desired.may_be_held_back(entry.principal) {
            return None;
        }
        if self.desired.frozen {
            return entry.hold;
        }
        entry.hold_after(self.desired.grants.contains_key(&entry.assignment))
    }

    /// The person's rows in the batches whose holds begin or end with this close.
    pub(super) fn batch_writes(&self, after: &[LedgerEntry], now: OffsetDateTime) -> Vec<TableWrite> {
        let before = self.ledger.entries.iter().map(|stored| &stored.entry);
        let held = |entry: &LedgerEntry| entry.hold.map(|batch| (entry.assignment, batch));
        let before: BTreeSet<_> = before.filter_map(held).collect();
        let now_held: BTreeSet<_> = after.iter().filter_map(held).collect();
        let batches: BTreeSet<OpId> =
            before.symmetric_difference(&now_held).map(|(_, batch)| *batch).collect();
        let request = &self.request.request;
        // The operation of a part has an id that no record has.
        let taken = request.taken.map(|taken| taken.op).filter(|op| op.time().is_some());
        let op = taken.unwrap_or(request.origin.op);
        let cause = HoldCause { op, actor: request.origin.actor.clone(), since: now };
        let write = |batch: OpId| {
            let begins = self.new_holds.values().any(|begun| *begun == batch);
            holds::write(batch, self.user, after.iter(), begins.then_some(&cause))
        };
        batches.into_iter().map(write).collect()
    }
}
