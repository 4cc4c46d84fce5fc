//! Whether a step of one person may be sent now.

use super::ops::{OpVerdict, TakenBy, meet, remember, verdict_of};
use super::tally::{BindingTally, HolderId, OpenBatch, TenantTally};
use super::{BatchKind, GrantLimits, RevocationLimits, WINDOW};
use crate::id::OpId;
use crate::rbac::BindingName;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// A binding that would give the role, and what it may give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    pub binding: BindingName,
    pub limits: GrantLimits,
}

/// What is to be done with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    Passes,
    /// It waits for an operator, in that batch.
    Held {
        batch: OpId,
    },
    /// The binding has as many people as it may have.
    Full,
    /// How much was given is not known: it waits until then.
    Unknown {
        until: OffsetDateTime,
    },
}

/// An operation that crossed a limit: its batch, and whether that is a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trip {
    pub kind: BatchKind,
    pub batch: OpenBatch,
    pub is_new: bool,
}

/// The tallies that a judgement needs, and what it makes of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tallies {
    pub limits: RevocationLimits,
    pub bindings: BTreeMap<BindingName, BindingTally>,
    pub all: TenantTally,
    /// What tripped since these were read.
    pub trips: Vec<Trip>,
}

impl Tallies {
    /// Judges the revocation of what these bindings gave a person. `fresh` becomes the id of a new batch, if there has to be one.
    pub fn judge_revocation(
        &mut self,
        holder: HolderId,
        bindings: &[BindingName],
        taken: TakenBy,
        now: OffsetDateTime,
        fresh: OpId,
    ) -> Ruling {
        if let Some(batch) = self.batch_of(bindings, taken.op) {
            self.keep(holder, bindings);
            return Ruling::Held { batch };
        }
        let crossed = self.crossed(holder, bindings, taken, now);
        let crosses_in_all = self.crosses_in_all(taken, now);
        if crossed.is_empty() && !crosses_in_all {
            self.pass(holder, bindings, taken, now);
            return Ruling::Passes;
        }
        let batch = self.trip(BatchKind::Revocations, bindings, now, fresh);
        for tally in among(&mut self.bindings, &crossed) {
            remember(&mut tally.ops, taken, OpVerdict::Held(batch), now);
        }
        if crosses_in_all {
            remember(&mut self.all.ops, taken, OpVerdict::Held(batch), now);
        }
        self.keep(holder, bindings);
        Ruling::Held { batch }
    }

    /// Judges a grant to a person. One binding that may give it is enough.
    pub fn judge_grant(
        &mut self,
        holder: HolderId,
        by: &[Admission],
        now: OffsetDateTime,
        fresh: OpId,
    ) -> Ruling {
        let counted = |admission: &&Admission| {
            self.bindings.get(&admission.binding).is_some_and(|tally| tally.has(holder))
        };
        if by.iter().any(|admission| counted(&admission)) {
            return Ruling::Passes;
        }
        let mut worst = Ruling::Full;
        let mut spent = Vec::new();
        for Admission { binding, limits } in by {
            let tally = self.bindings.entry(binding.clone()).or_default();
            if tally.is_full(*limits) {
                tally.turn_away(holder);
            } else if let Some(until) = tally.no_grants_before.filter(|until| *until > now) {
                worst = Ruling::Unknown { until };
            } else if tally.is_spent(*limits, now) {
                spent.push(binding.clone());
            } else {
                tally.admit(holder, true, now);
                return Ruling::Passes;
            }
        }
        if !spent.is_empty() {
            return Ruling::Held { batch: self.trip(BatchKind::Grants, &spent, now, fresh) };
        }
        worst
    }

    /// A grant whose batch was released: only a full binding still turns it away.
    pub fn judge_released_grant(
        &mut self,
        holder: HolderId,
        by: &[Admission],
        now: OffsetDateTime,
    ) -> Ruling {
        for Admission { binding, limits } in by {
            let tally = self.bindings.entry(binding.clone()).or_default();
            if tally.has(holder) || !tally.is_full(*limits) {
                tally.admit(holder, false, now);
                return Ruling::Passes;
            }
            tally.turn_away(holder);
        }
        Ruling::Full
    }

    /// A batch that was decided holds no operation: further people of it are judged afresh.
    pub fn forget_batch(&mut self, batch: OpId) {
        let tallies = self.bindings.values_mut().map(|tally| &mut tally.ops).chain([&mut self.all.ops]);
        for ops in tallies {
            ops.retain(|judged| judged.verdict != OpVerdict::Held(batch));
        }
    }

    /// The batch in which the revocations of that operation are held, if they are.
    pub fn batch_of(&self, bindings: &[BindingName], op: OpId) -> Option<OpId> {
        let of = |name| self.bindings.get(name).and_then(|tally| verdict_of(&tally.ops, op));
        let verdicts = bindings.iter().filter_map(of).chain(verdict_of(&self.all.ops, op));
        let held = |verdict| match verdict {
            OpVerdict::Held(batch) => Some(batch),
            OpVerdict::Passed => None,
        };
        verdicts.filter_map(held).next()
    }

    /// The bindings in which it crosses a limit.
    fn crossed(
        &self,
        holder: HolderId,
        bindings: &[BindingName],
        taken: TakenBy,
        now: OffsetDateTime,
    ) -> Vec<BindingName> {
        let trips = |name: &&BindingName| {
            let Some(tally) = self.bindings.get(*name) else { return false };
            verdict_of(&tally.ops, taken.op).is_none() && tally.trips(holder, taken.size, &self.limits, now)
        };
        bindings.iter().filter(trips).cloned().collect()
    }

    fn crosses_in_all(&self, taken: TakenBy, now: OffsetDateTime) -> bool {
        // The people of all bindings are counted by the hour: there are no fewer than any binding has.
        let largest = self.bindings.values().map(|tally| tally.holders.len() + tally.kept.len()).max();
        let people_min = largest.unwrap_or_default();
        verdict_of(&self.all.ops, taken.op).is_none()
            && self.all.trips(taken.size, people_min, &self.limits, now)
    }

    fn pass(&mut self, holder: HolderId, bindings: &[BindingName], taken: TakenBy, now: OffsetDateTime) {
        for tally in among(&mut self.bindings, bindings) {
            if verdict_of(&tally.ops, taken.op).is_none() {
                tally.window.revoke(taken.size, tally.holders.len(), now);
                remember(&mut tally.ops, taken, OpVerdict::Passed, now);
            }
            if tally.holders.remove(&holder) {
                meet(&mut tally.ops, taken.op);
            }
        }
        if verdict_of(&self.all.ops, taken.op).is_none() {
            self.all.window.revoke(taken.size, self.all.people, now);
            remember(&mut self.all.ops, taken, OpVerdict::Passed, now);
        }
    }

    /// The person keeps what these bindings gave: it no longer counts as something that may be taken.
    fn keep(&mut self, holder: HolderId, bindings: &[BindingName]) {
        for tally in among(&mut self.bindings, bindings) {
            if tally.holders.remove(&holder) {
                tally.kept.insert(holder);
            }
        }
    }

    /// The batch of this window.
    fn trip(&mut self, kind: BatchKind, bindings: &[BindingName], now: OffsetDateTime, fresh: OpId) -> OpId {
        let open = self.all.open.get(&kind).filter(|open| open.until > now).cloned();
        let is_new = open.is_none();
        let mut batch =
            open.unwrap_or_else(|| OpenBatch { id: fresh, until: now + WINDOW, bindings: BTreeSet::new() });
        batch.bindings.extend(bindings.iter().cloned());
        self.all.open.insert(kind, batch.clone());
        let id = batch.id;
        self.trips.push(Trip { kind, batch, is_new });
        id
    }
}

/// The tallies of those bindings.
fn among<'a>(
    tallies: &'a mut BTreeMap<BindingName, BindingTally>,
    names: &'a [BindingName],
) -> impl Iterator<Item = &'a mut BindingTally> {
    tallies.iter_mut().filter(|(name, _)| names.contains(name)).map(|(_, tally)| tally)
}

/// People who are remembered as turned away, at most.
const TURNED_AWAY_MAX: usize = super::MAX_PRINCIPALS_MAX as usize;

impl BindingTally {
    fn turn_away(&mut self, holder: HolderId) {
        if self.turned_away.len() < TURNED_AWAY_MAX {
            self.turned_away.insert(holder);
        }
    }
}
