//! A drill ends: red as soon as that is known, green when nothing of it is left.

use super::stage::{Drills, StepEnd};
use crate::audit::{AuditEvent, rfc3339};
use crate::events::log_event;
use crate::ports::role_assignments::AssignmentError;
use crate::rbac::ledger::LedgerEntry;
use crate::store::drills::{
    self, Drill, DrillFailure, DrillPhase, DrillResult, DrillState, RunningDrill, StoredDrill,
};
use crate::store::ledger::PrincipalHolder;
use crate::store::{StoreError, TableWrite};
use time::OffsetDateTime;

/// Whether anything is left of a drill.
pub(super) enum DrillEnd {
    Ended,
    NotYet,
}

impl Drills {
    /// The drill is red. What it made is removed from now on.
    pub(super) async fn fail(
        &self,
        stored: &StoredDrill,
        reason: &str,
        now: OffsetDateTime,
    ) -> Result<StepEnd, StoreError> {
        let Some(running) = &stored.state.running else { return Ok(StepEnd::Waits) };
        let phase = running.phase.as_str().to_owned();
        let failure = DrillFailure { phase, reason: reason.to_owned() };
        let drill = Drill { failure: Some(failure.clone()), ..running.drill.clone() };
        let mut state = stored.state.clone();
        state.red = Some((now, failure));
        let running = RunningDrill { drill: drill.clone(), phase: DrillPhase::Removing, ..running.clone() };
        state.running = Some(running);
        self.commit_result(&drill, now, &state, stored, Vec::new()).await?;
        Ok(StepEnd::Moved)
    }

    /// The end, where nothing of the drill is left in the directory, in the ledger or in Azure.
    pub(super) async fn end(&self, stored: &StoredDrill, drill: &Drill) -> Result<DrillEnd, StoreError> {
        let holder = self.store.holder(drill.principal).await?;
        let ledger = self.store.ledger(drill.user).await?;
        let is_left = holder == PrincipalHolder::Record(drill.user)
            || !self.store.members(drill.group, 1).await?.is_empty()
            || ledger.entries.iter().any(|stored| !stored.entry.is_settled_and_gone());
        if is_left {
            return Ok(DrillEnd::NotYet);
        }
        // What another record has of the same Entra object by now is not of this drill.
        let asked = if holder == PrincipalHolder::Free { ledger.entries.as_slice() } else { &[] };
        let now = self.store.table_time().await?;
        let is_late = drill.began + self.deadline < now;
        for stored in asked {
            let LedgerEntry { ref scope, assignment, .. } = stored.entry;
            match self.asked(scope, assignment).await {
                Ok(false) => {}
                Ok(true) => return Ok(DrillEnd::NotYet),
                // Who may not look never sees the end: the ledger says that it is gone.
                Err(AssignmentError::Rejected { .. }) if is_late => {}
                Err(error) => {
                    Self::log_failed_step(&error);
                    return Ok(DrillEnd::NotYet);
                }
            }
        }
        let mut state = stored.state.clone();
        state.running = None;
        let mut writes = self.store.forget_leads(drill.group).await?;
        if drill.failure.is_some() {
            // Its result is there already.
            writes.push(state.write(Some(stored)));
            self.store.transact_unjournaled(&writes).await?;
            return Ok(DrillEnd::Ended);
        }
        state.green = Some(now);
        state.red = None;
        state.late_logged = None;
        self.commit_result(drill, now, &state, stored, writes).await?;
        Ok(DrillEnd::Ended)
    }

    async fn commit_result(
        &self,
        drill: &Drill,
        now: OffsetDateTime,
        state: &DrillState,
        stored: &StoredDrill,
        mut writes: Vec<TableWrite>,
    ) -> Result<(), StoreError> {
        let result = DrillResult { drill: drill.clone(), ended: now };
        writes.push(drills::insert_result(&result));
        writes.push(state.write(Some(stored)));
        writes.extend(self.store.forget_drill_results(now).await?);
        self.record(self.store.ids.op(), vec![ended(&result)], writes).await?;
        log_result(&result);
        Ok(())
    }
}

fn ended(result: &DrillResult) -> AuditEvent {
    let drill = &result.drill;
    let text = |step: &str, (name, time): (&str, Option<OffsetDateTime>)| {
        Some(format!("{step} {name} {}", rfc3339(time?)))
    };
    let grant = drill.grant.each().into_iter().filter_map(|time| text("grant", time));
    let revocation = drill.revocation.each().into_iter().filter_map(|time| text("revocation", time));
    AuditEvent::DrillEnded {
        drill: drill.id,
        person: drill.user,
        green: result.is_green(),
        phase: drill.failure.as_ref().map(|failure| failure.phase.clone()),
        reason: drill.failure.as_ref().map(|failure| failure.reason.clone()),
        times: grant.chain(revocation).collect(),
    }
}

fn log_result(result: &DrillResult) {
    let drill = &result.drill;
    match &drill.failure {
        Some(DrillFailure { phase, reason }) => log_event!(
            DrillRed, drill.id = %drill.id, phase, reason,
            "a drill is red: the leaver was not granted, revoked and gone as it should"
        ),
        None => {
            let millis = |times: &drills::StepTimes| {
                let took = times.confirmed.zip(times.received).map(|(confirmed, at)| confirmed - at);
                took.map(|took| took.whole_milliseconds().clamp(0, i64::MAX.into()) as u64)
            };
            let (granted_ms, revoked_ms) = (millis(&drill.grant), millis(&drill.revocation));
            log_event!(DrillGreen, drill.id = %drill.id, granted_ms, revoked_ms, "a drill is green");
        }
    }
}
