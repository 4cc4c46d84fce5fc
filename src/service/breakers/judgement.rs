//! One judgement: the tallies are read, several rounds are judged over them, and what changed is written.

use crate::audit::{AuditEvent, AuditRecord, ChangeOrigin};
use crate::events::log_event;
use crate::id::{OpId, UserId};
use crate::rbac::BindingName;
use crate::rbac::breaker::{BatchKind, HolderId, OpenBatch, Ruling, Tallies, Trip};
use crate::service::breakers::questions::Question;
use crate::service::breakers::read_tallies::ReadTallies;
use crate::service::breakers::{Breakers, JudgedRound, RETRY, Rulings, StepQuestion};
use crate::store::batches::{self, BatchRow, BatchState};
use crate::store::{CommittedWrites, FoundRow, StoreError, TableWrite};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Attempts at one judgement while other processes judge; then it is tried again with the people's next reconcile.
const TRIES_MAX: u32 = 20;
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// When a tally of a later release is read again.
const TOO_NEW_RETRY: time::Duration = time::Duration::minutes(10);

/// What a judgement found.
struct Judged {
    rulings: Vec<Rulings>,
    tallies: Tallies,
    /// The change whose steps tripped first.
    tripped_by: Option<ChangeOrigin>,
}

impl Breakers {
    /// Judges rounds one after the other, and counts what passes of all of them in one transaction.
    pub(super) async fn judge_together(&self, rounds: &[JudgedRound]) -> Result<Vec<Rulings>, StoreError> {
        let Some(now) = rounds.iter().map(|round| round.now).min() else { return Ok(Vec::new()) };
        let names: BTreeSet<BindingName> =
            rounds.iter().flat_map(|round| &round.steps).flat_map(StepQuestion::bindings).cloned().collect();
        for _ in 0..TRIES_MAX {
            let read = match self.remembered.take(&names) {
                Some(remembered) => remembered,
                None => match ReadTallies::read(&self.store, names.clone()).await {
                    Err(StoreError::TooNew { .. }) => return Ok(rounds.iter().map(all_unknown).collect()),
                    read => read?,
                },
            };
            let Some(tallies) = read.tallies(self.limits) else {
                self.rebuild(&read, now).await?;
                continue;
            };
            match self.judge_once(rounds, &read, tallies, now).await {
                Err(StoreError::Conflict { .. }) if read.are_remembered => continue,
                Err(StoreError::Conflict { .. }) => {}
                judged => return judged,
            }
            tokio::time::sleep(PAUSE_MAX.mul_f64(self.store.ids.jitter())).await;
        }
        Err(StoreError::Away { retry_after: RETRY, source: None })
    }

    async fn judge_once(
        &self,
        rounds: &[JudgedRound],
        read: &ReadTallies,
        mut tallies: Tallies,
        now: OffsetDateTime,
    ) -> Result<Vec<Rulings>, StoreError> {
        self.close_decided(&mut tallies, rounds, now).await?;
        let fresh = BTreeMap::from(BatchKind::ALL.map(|kind| (kind, self.store.ids.op())));
        let judged = judge_rounds(rounds, read, tallies, &fresh);
        let mut writes = read.writes(&judged.tallies);
        if !read.are_proven_by(&judged.tallies, take_away(rounds)) {
            return Err(StoreError::Conflict { index: 0, found: FoundRow::Changed });
        }
        writes.extend(self.reopen_missing(rounds, &judged).await?);
        let mut changes = Vec::new();
        for Trip { kind, batch, is_new } in last_of_each(&judged.tallies.trips) {
            if is_new {
                writes.push(batches::open(kind, &batch, now));
                let bindings = batch.bindings.iter().cloned().collect();
                changes.push(AuditEvent::BreakerTripped { batch: batch.id, holds: kind.as_str(), bindings });
            } else {
                let BatchRow::Known(stored) = self.store.batch_row(batch.id).await? else { continue };
                if stored.state != BatchState::Held {
                    // Decided since it was looked at: this judgement begins again.
                    return Err(StoreError::Conflict { index: 0, found: FoundRow::Changed });
                }
                writes.push(batches::join(&batch, &stored));
            }
        }
        let committed = self.write(judged.tripped_by.as_ref(), writes, changes.clone()).await?;
        if let Some(committed) = committed {
            self.remembered.keep(read, &judged.tallies, &committed);
        }
        changes.iter().for_each(log_trip);
        self.tell_full(rounds, &judged);
        Ok(judged.rulings)
    }

    /// A batch whose row is gone gets one again: whatever is held can be decided.
    async fn reopen_missing(
        &self,
        rounds: &[JudgedRound],
        judged: &Judged,
    ) -> Result<Vec<TableWrite>, StoreError> {
        let mut looked_at: BTreeSet<OpId> = judged.tallies.trips.iter().map(|trip| trip.batch.id).collect();
        let mut missing = Vec::new();
        for (round, rulings) in rounds.iter().zip(&judged.rulings) {
            for step in &round.steps {
                let Some(Ruling::Held { batch: id }) = rulings.get(&step.assignment).copied() else {
                    continue;
                };
                if !looked_at.insert(id) {
                    continue;
                }
                if self.store.batch_row(id).await? == BatchRow::Absent {
                    let bindings = step.bindings().cloned().collect();
                    let batch = OpenBatch { id, until: round.now, bindings };
                    missing.push(batches::open(step.batch_kind(), &batch, round.now));
                }
            }
        }
        Ok(missing)
    }

    /// A batch that an operator decided takes in nothing more, and neither does one that cannot be read: what would join it, and
    /// people of an operation that it holds who are judged only now, are judged afresh. The operator decided about the people
    /// who were listed.
    async fn close_decided(
        &self,
        tallies: &mut Tallies,
        rounds: &[JudgedRound],
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        let open = tallies.all.open.iter().filter(|(_, open)| open.until > now);
        let open: Vec<(BatchKind, OpId)> = open.map(|(kind, open)| (*kind, open.id)).collect();
        for (kind, id) in open {
            let row = self.store.batch_row(id).await?;
            if !matches!(row, BatchRow::Known(batch) if batch.state == BatchState::Held) {
                tallies.all.open.remove(&kind);
            }
        }
        let steps = rounds.iter().flat_map(|round| &round.steps);
        let holding: BTreeSet<OpId> = steps.filter_map(|step| held_in(tallies, step)).collect();
        for id in holding {
            let row = self.store.batch_row(id).await?;
            if matches!(row, BatchRow::Known(batch) if batch.state != BatchState::Held) {
                tallies.forget_batch(id);
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        tripped_by: Option<&ChangeOrigin>,
        writes: Vec<TableWrite>,
        changes: Vec<AuditEvent>,
    ) -> Result<Option<CommittedWrites>, StoreError> {
        let Some(origin) = tripped_by.filter(|_| !changes.is_empty()) else {
            return match writes.is_empty() {
                true => Ok(None),
                false => self.store.transact_unjournaled(&writes).await.map(Some),
            };
        };
        let record = AuditRecord {
            op: self.store.ids.op(),
            time: self.store.clock.now(),
            origin: origin.clone(),
            request: None,
            stamp: None,
            outcome: None,
            changes,
        };
        self.store.commit(&record, writes).await.map(Some)
    }

    /// A full binding says how many people it would have to take.
    fn tell_full(&self, rounds: &[JudgedRound], judged: &Judged) {
        for (round, rulings) in rounds.iter().zip(&judged.rulings) {
            let full = |step: &&StepQuestion| rulings.get(&step.assignment) == Some(&Ruling::Full);
            for name in round.steps.iter().filter(full).flat_map(StepQuestion::bindings) {
                let Some(tally) = judged.tallies.bindings.get(name) else { continue };
                self.note_stale();
                self.health.binding_full(name, tally.people(), tally.turned_away.len());
            }
        }
    }
}

/// Whether any step of these is a revocation.
fn take_away(rounds: &[JudgedRound]) -> bool {
    let is_revocation = |step: &StepQuestion| matches!(step.question, Question::Revocation { .. });
    rounds.iter().flat_map(|round| &round.steps).any(is_revocation)
}

/// Judges each step over the tallies. Nothing is counted over a row of a later release.
fn judge_rounds(
    rounds: &[JudgedRound],
    read: &ReadTallies,
    mut tallies: Tallies,
    fresh: &BTreeMap<BatchKind, OpId>,
) -> Judged {
    let mut tripped_by = None;
    let mut all = Vec::new();
    for round in rounds {
        let mut rulings = Rulings::new();
        for step in &round.steps {
            let ruling = match read.may_count(step.bindings()) {
                true => {
                    let fresh = fresh.get(&step.batch_kind()).copied().unwrap_or(round.origin.op);
                    judge_step(round.user, step, &mut tallies, round.now, fresh)
                }
                false => Ruling::Unknown { until: round.now + TOO_NEW_RETRY },
            };
            rulings.insert(step.assignment, ruling);
        }
        if tripped_by.is_none() && !tallies.trips.is_empty() {
            tripped_by = Some(round.origin.clone());
        }
        all.push(rulings);
    }
    Judged { rulings: all, tallies, tripped_by }
}

/// Judges one step. `fresh` becomes the id of a new batch, if there has to be one.
pub(super) fn judge_step(
    user: UserId,
    step: &StepQuestion,
    tallies: &mut Tallies,
    now: OffsetDateTime,
    fresh: OpId,
) -> Ruling {
    let holder = HolderId::from(user);
    match &step.question {
        Question::Revocation { bindings, taken } => {
            tallies.judge_revocation(holder, bindings, *taken, now, fresh)
        }
        Question::Grant { by } => tallies.judge_grant(holder, by, now, fresh),
        Question::ReleasedGrant { by } => tallies.judge_released_grant(holder, by, now),
    }
}

/// The batch in which the operation of a step is held already.
fn held_in(tallies: &Tallies, step: &StepQuestion) -> Option<OpId> {
    match &step.question {
        Question::Revocation { bindings, taken } => tallies.batch_of(bindings, taken.op),
        Question::Grant { .. } | Question::ReleasedGrant { .. } => None,
    }
}

fn all_unknown(round: &JudgedRound) -> Rulings {
    let until = round.now + TOO_NEW_RETRY;
    round.steps.iter().map(|step| (step.assignment, Ruling::Unknown { until })).collect()
}

/// Several steps may trip: the last says everything about its batch, and the first whether it is new.
fn last_of_each(trips: &[Trip]) -> Vec<Trip> {
    let mut last: BTreeMap<OpId, Trip> = BTreeMap::new();
    for trip in trips {
        let is_new = trip.is_new || last.get(&trip.batch.id).is_some_and(|earlier| earlier.is_new);
        last.insert(trip.batch.id, Trip { is_new, ..trip.clone() });
    }
    last.into_values().collect()
}

fn log_trip(change: &AuditEvent) {
    let AuditEvent::BreakerTripped { batch, holds, bindings } = change else { return };
    let bindings: Vec<&str> = bindings.iter().map(BindingName::as_str).collect();
    let next = format!("azure-backup-scim breaker show {batch}");
    log_event!(BreakerTripped, batch.id = %batch, holds, bindings = bindings.join(", "), next,
        "a breaker tripped; what crossed the limit waits for an operator"
    );
}
