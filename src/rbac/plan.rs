//! What to send to Azure for one person. Pure: reads nothing, changes nothing, decides everything.

use super::ledger::{Attempt, Entry, Holding, RETRY_MAX, Tried, Wait, pause};
use super::{AssignmentName, BackupRole, BindingName, PrincipalType, ReasonCode, Scope};
use crate::id::{GroupId, InstanceId, PrincipalId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Why somebody should hold a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    pub binding: BindingName,
    pub group: GroupId,
}

/// A grant that should exist, with every reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub principal: PrincipalId,
    pub principal_type: PrincipalType,
    pub role: BackupRole,
    pub scope: Scope,
    pub reasons: BTreeSet<Reason>,
}

impl Wanted {
    /// The bindings among the reasons.
    pub fn bindings(&self) -> Vec<BindingName> {
        let names: BTreeSet<&BindingName> = self.reasons.iter().map(|reason| &reason.binding).collect();
        names.into_iter().cloned().collect()
    }
}

/// A grant that a binding would give, if something did not stand in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    pub binding: BindingName,
    pub role: BackupRole,
    pub scope: Scope,
    pub reason: ReasonCode,
}

/// What one person should hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    pub grants: BTreeMap<AssignmentName, Wanted>,
    pub blocked: Vec<Blocked>,
    /// The bindings cannot be read: what is held stays, nothing new is given.
    pub frozen: bool,
}

/// Where the belief about a ledger entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belief {
    /// The entry is settled: what it says.
    Ledger,
    /// Azure was asked by name. `due`: after the entry's time, so the answer settles it.
    Azure { holds: bool, due: bool },
    /// Azure could not be asked.
    Unasked { reason: ReasonCode, not_before: OffsetDateTime },
    /// The principal is another record's: whatever Azure holds is that record's business.
    NotOurs,
    /// Whose the principal is cannot be read: nothing is sent, and nothing closed.
    Undecided { not_before: OffsetDateTime },
}

/// One ledger entry and what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub entry: Entry,
    pub belief: Belief,
}

/// What one person holds, as far as it is known, and what Azure asked us to wait for.
#[derive(Debug, Clone)]
pub struct Actual {
    pub now: OffsetDateTime,
    pub facts: Vec<Fact>,
    /// Subscription and kind of step → not before.
    pub throttled: BTreeMap<(String, Attempt), OffsetDateTime>,
    /// This installation: an assignment is ours only if its name can be made from it.
    pub instance: InstanceId,
}

/// How much one round may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Steps of one open.
    pub steps_max: usize,
    /// Ledger rows of one close, those of the steps included.
    pub close_rows_max: usize,
    /// How long until a foreign assignment is looked at again.
    pub foreign_look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps_max: 16, close_rows_max: 48, foreign_look: Duration::from_secs(3600) }
    }
}

/// One call to Azure, with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub attempt: Attempt,
    pub assignment: AssignmentName,
    pub principal: PrincipalId,
    pub principal_type: PrincipalType,
    pub role: BackupRole,
    pub scope: Scope,
    pub bindings: Vec<BindingName>,
    /// For a grant: the groups that give it. Empty for a revocation: no reason is left.
    pub reasons: BTreeSet<Reason>,
    pub held_before: bool,
    /// The ledger entry as it was, if there was one.
    pub entry: Option<Entry>,
    /// An answer settles the entry: it was settled, or Azure was asked after its time.
    pub settles: bool,
}

/// A step that is due but may not be sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferred {
    pub assignment: AssignmentName,
    pub attempt: Attempt,
    pub reason: ReasonCode,
    pub not_before: OffsetDateTime,
}

/// An entry that the close writes without any call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    pub entry: Entry,
    /// Azure was asked by name, and that settles it.
    pub observed: Option<bool>,
}

/// Everything that follows from desired and actual.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At most `steps_max`: revocations first, then never tried, then tried longest ago.
    pub steps: Vec<Step>,
    pub settle: Vec<Settle>,
    pub deferred: Vec<Deferred>,
    /// More is to be done at once than this round may: look again without a pause.
    pub left_over: bool,
}

enum Verdict {
    Quiet,
    Step(Step),
    Settle(Settle),
    Defer(Deferred),
}

/// Compares what a person should hold with what they hold.
pub fn plan(desired: &Desired, actual: &Actual, limits: &Limits) -> Plan {
    let mut plan = Plan::default();
    let mut steps = Vec::new();
    let known: BTreeSet<AssignmentName> = actual.facts.iter().map(|fact| fact.entry.assignment).collect();
    for fact in &actual.facts {
        plan.take(judge(fact, desired, actual, limits), &mut steps);
    }
    for (name, wanted) in desired.grants.iter().filter(|(name, _)| !known.contains(name)) {
        plan.take(send(grant(*name, wanted, None, true), actual), &mut steps);
    }
    hold_moves(desired, actual, &mut steps, &mut plan);
    steps.sort_by_key(order);
    plan.left_over |= steps.len() > limits.steps_max;
    steps.truncate(limits.steps_max);
    let room = limits.close_rows_max.saturating_sub(steps.len());
    plan.left_over |= plan.settle.len() > room;
    plan.settle.truncate(room);
    plan.steps = steps;
    plan
}

impl Plan {
    fn take(&mut self, verdict: Verdict, steps: &mut Vec<Step>) {
        match verdict {
            Verdict::Quiet => {}
            Verdict::Step(step) => steps.push(step),
            Verdict::Settle(settle) => self.settle.push(settle),
            Verdict::Defer(deferred) => self.deferred.push(deferred),
        }
    }
}

/// Revocations first, never tried before tried, then the one tried longest ago.
fn order(step: &Step) -> (Attempt, bool, Option<OffsetDateTime>) {
    let tried = step.entry.as_ref().and_then(|entry| entry.tried.as_ref());
    (step.attempt, tried.is_some(), tried.map(|tried| tried.not_before))
}

fn judge(fact: &Fact, desired: &Desired, actual: &Actual, limits: &Limits) -> Verdict {
    let entry = &fact.entry;
    let wanted = desired.grants.get(&entry.assignment);
    let attempt = if wanted.is_some() { Attempt::Grant } else { Attempt::Revoke };
    let (held, due) = match &fact.belief {
        Belief::NotOurs if entry.is_settled_and_gone() && entry.holding == Holding::Gone => {
            return Verdict::Quiet;
        }
        Belief::NotOurs => return settle(entry, Holding::Gone, None, actual.now),
        Belief::Undecided { .. } if entry.is_settled_and_gone() && wanted.is_none() => return Verdict::Quiet,
        Belief::Undecided { not_before } => {
            return defer(entry.assignment, attempt, ReasonCode::RowUnreadable, *not_before);
        }
        // Deleting by our own name is safe whatever Azure holds: a revocation does not wait for an answer.
        Belief::Unasked { .. } if may_revoke_blindly(entry, wanted, desired) => {
            return send(revoke(entry, false), actual);
        }
        Belief::Unasked { reason, not_before } => {
            return defer(entry.assignment, attempt, *reason, *not_before);
        }
        Belief::Ledger => (entry.holding, true),
        Belief::Azure { holds, due } => (observed(entry, *holds), *due),
    };
    let asked = matches!(fact.belief, Belief::Azure { .. }).then_some(held == Holding::Present);
    match (wanted, held) {
        (None, Holding::Present) if desired.frozen => {
            unchanged(entry, held, asked.filter(|_| due), actual, limits)
        }
        (Some(wanted), Holding::Gone) => send(grant(entry.assignment, wanted, Some(entry), due), actual),
        (None, Holding::Present) => send(revoke(entry, due), actual),
        (Some(wanted), Holding::Present) if due && entry.bindings != wanted.bindings() => {
            let entry = Entry { bindings: wanted.bindings(), ..entry.clone() };
            settle(&entry, held, asked.filter(|_| entry.unsettled_until.is_some()), actual.now)
        }
        (None, Holding::HeldByOther(_)) if due => settle(entry, Holding::Gone, asked, actual.now),
        _ => unchanged(entry, held, asked.filter(|_| due), actual, limits),
    }
}

fn may_revoke_blindly(entry: &Entry, wanted: Option<&Wanted>, desired: &Desired) -> bool {
    wanted.is_none() && !desired.frozen && entry.holding == Holding::Present
}

/// What Azure's answer to a question by name means for an entry.
fn observed(entry: &Entry, holds: bool) -> Holding {
    match (entry.holding, holds) {
        (Holding::HeldByOther(other), true) if entry.unsettled_until.is_none() => Holding::HeldByOther(other),
        (_, true) if entry.unsettled_until.is_some() => Holding::Present,
        (Holding::Present, true) => Holding::Present,
        _ => Holding::Gone,
    }
}

/// Nothing to send. The row is written only where that says something new.
fn unchanged(entry: &Entry, held: Holding, asked: Option<bool>, actual: &Actual, limits: &Limits) -> Verdict {
    if let Holding::HeldByOther(_) = held {
        let again = entry.tried.as_ref().is_none_or(|tried| tried.not_before <= actual.now);
        if !again || entry.unsettled_until.is_some() && asked.is_none() {
            return Verdict::Quiet;
        }
        let not_before = actual.now + limits.foreign_look;
        let tried =
            Tried { attempt: Attempt::Grant, attempts: 1, not_before, reason: ReasonCode::ForeignAssignment };
        let entry = Entry { tried: Some(tried), unsettled_until: None, ..entry.clone() };
        return Verdict::Settle(Settle { entry: entry.becoming(held, actual.now), observed: None });
    }
    match asked {
        Some(_) if entry.unsettled_until.is_some() => settle(entry, held, asked, actual.now),
        _ if entry.unsettled_until.is_none() && entry.tried.is_some() => {
            settle(entry, held, None, actual.now)
        }
        _ => Verdict::Quiet,
    }
}

fn settle(entry: &Entry, holding: Holding, observed: Option<bool>, now: OffsetDateTime) -> Verdict {
    let entry = Entry { unsettled_until: None, tried: None, ..entry.clone() }.becoming(holding, now);
    Verdict::Settle(Settle { entry, observed })
}

fn defer(
    assignment: AssignmentName,
    attempt: Attempt,
    reason: ReasonCode,
    not_before: OffsetDateTime,
) -> Verdict {
    Verdict::Defer(Deferred { assignment, attempt, reason, not_before })
}

fn grant(assignment: AssignmentName, wanted: &Wanted, entry: Option<&Entry>, settles: bool) -> Step {
    Step {
        attempt: Attempt::Grant,
        assignment,
        principal: wanted.principal,
        principal_type: wanted.principal_type,
        role: wanted.role,
        scope: wanted.scope.clone(),
        bindings: wanted.bindings(),
        reasons: wanted.reasons.clone(),
        held_before: false,
        entry: entry.cloned(),
        settles,
    }
}

fn revoke(entry: &Entry, settles: bool) -> Step {
    Step {
        attempt: Attempt::Revoke,
        assignment: entry.assignment,
        principal: entry.principal,
        principal_type: PrincipalType::User,
        role: entry.role,
        scope: entry.scope.clone(),
        bindings: entry.bindings.clone(),
        reasons: BTreeSet::new(),
        held_before: true,
        entry: Some(entry.clone()),
        settles,
    }
}

/// Ownership before any delete: the ledger row, and the name made again from what the row says.
fn is_ours(step: &Step, instance: InstanceId) -> bool {
    AssignmentName::derive(&step.scope, step.role, step.principal, instance) == step.assignment
}

/// A step is sent unless it is not ours to take, Azure throttles its kind there, or one of its kind failed a short while ago.
fn send(step: Step, actual: &Actual) -> Verdict {
    if !is_ours(&step, actual.instance) {
        return defer(step.assignment, step.attempt, ReasonCode::NotOurs, actual.now + RETRY_MAX);
    }
    let throttle = actual.throttled.get(&(step.scope.subscription().to_owned(), step.attempt));
    if let Some(not_before) = throttle.filter(|at| **at > actual.now) {
        return defer(step.assignment, step.attempt, ReasonCode::Throttled, *not_before);
    }
    let tried = step.entry.as_ref().and_then(|entry| entry.tried.as_ref());
    match tried.filter(|tried| tried.attempt == step.attempt && tried.not_before > actual.now) {
        Some(tried) => defer(step.assignment, step.attempt, tried.reason, tried.not_before),
        None => Verdict::Step(step),
    }
}

/// A binding that moved to another role or scope grants first: what it gave before goes when the new grant is there.
fn hold_moves(desired: &Desired, actual: &Actual, steps: &mut Vec<Step>, plan: &mut Plan) {
    let opening: BTreeSet<BindingName> = steps
        .iter()
        .filter(|step| step.attempt == Attempt::Grant)
        .flat_map(|step| step.bindings.clone())
        .collect();
    let mut waiting: BTreeMap<BindingName, OffsetDateTime> = BTreeMap::new();
    for deferred in plan.deferred.iter().filter(|deferred| deferred.attempt == Attempt::Grant) {
        for binding in desired.grants.get(&deferred.assignment).map(Wanted::bindings).unwrap_or_default() {
            waiting.insert(binding, deferred.not_before.max(actual.now));
        }
    }
    let mut kept = Vec::with_capacity(steps.len());
    for step in steps.drain(..) {
        let moved = step.attempt == Attempt::Revoke;
        let until = step.bindings.iter().find_map(|binding| waiting.get(binding));
        if moved && step.bindings.iter().any(|binding| opening.contains(binding)) {
            plan.left_over = true;
        } else if let Some(not_before) = until.filter(|_| moved) {
            let (assignment, attempt, not_before) = (step.assignment, step.attempt, *not_before);
            plan.deferred.push(Deferred { assignment, attempt, reason: ReasonCode::InFlight, not_before });
        } else {
            kept.push(step);
        }
    }
    *steps = kept;
}

/// The list of what cannot be had, or taken, for now, after a round. `before` is the list of the round before: what stands on
/// both keeps its `since`, and its pause grows once it is over.
pub fn waits(
    desired: &Desired,
    after: &[Entry],
    deferred: &[Deferred],
    before: &[Wait],
    now: OffsetDateTime,
) -> Vec<Wait> {
    let mut waits = Vec::new();
    for blocked in &desired.blocked {
        waits.push(refusal(blocked, before, now));
    }
    waits.extend(late_revocations(after, deferred, before, now));
    for (name, wanted) in &desired.grants {
        let failed =
            after.iter().find(|entry| entry.assignment == *name).and_then(|entry| entry.tried.as_ref());
        let deferred = deferred.iter().find(|deferred| deferred.assignment == *name);
        let (reason, attempts, not_before) = match (failed, deferred) {
            (Some(tried), deferred) if tried.attempt == Attempt::Grant => {
                let put_off = deferred.map_or(tried.not_before, |deferred| deferred.not_before);
                (tried.reason, tried.attempts, tried.not_before.max(put_off))
            }
            (_, Some(deferred)) => (deferred.reason, 1, deferred.not_before),
            _ => continue,
        };
        for binding in wanted.bindings() {
            let since = since(before, &binding, wanted.role, &wanted.scope, reason, now);
            let (role, scope) = (wanted.role, wanted.scope.clone());
            waits.push(Wait { binding, role, scope, reason, since, attempts, not_before });
        }
    }
    waits
}

/// What is still held because its revocation was put off before it was tried. (One that was tried says so on its own row.)
fn late_revocations(
    after: &[Entry],
    deferred: &[Deferred],
    before: &[Wait],
    now: OffsetDateTime,
) -> Vec<Wait> {
    let mut waits = Vec::new();
    for entry in after.iter().filter(|entry| entry.holding == Holding::Present && entry.tried.is_none()) {
        let put_off = deferred
            .iter()
            .find(|deferred| deferred.attempt == Attempt::Revoke && deferred.assignment == entry.assignment);
        let Some(Deferred { reason, not_before, .. }) = put_off.cloned() else { continue };
        for binding in entry.bindings.clone() {
            let since = since(before, &binding, entry.role, &entry.scope, reason, now);
            let (role, scope) = (entry.role, entry.scope.clone());
            waits.push(Wait { binding, role, scope, reason, since, attempts: 1, not_before });
        }
    }
    waits
}

fn refusal(blocked: &Blocked, before: &[Wait], now: OffsetDateTime) -> Wait {
    let Blocked { binding, role, scope, reason } = blocked.clone();
    let earlier = before.iter().find(|wait| wait.is_for(&binding, role, &scope) && wait.reason == reason);
    let (attempts, not_before) = match earlier {
        Some(wait) if wait.not_before > now => (wait.attempts, wait.not_before),
        Some(wait) => (wait.attempts.saturating_add(1), now + pause(wait.attempts.saturating_add(1))),
        None => (1, now + pause(1)),
    };
    let since = since(before, &binding, role, &scope, reason, now);
    Wait { binding, role, scope, reason, since, attempts, not_before }
}

fn since(
    before: &[Wait],
    binding: &BindingName,
    role: BackupRole,
    scope: &Scope,
    reason: ReasonCode,
    now: OffsetDateTime,
) -> OffsetDateTime {
    let same = before.iter().find(|wait| wait.is_for(binding, role, scope) && wait.reason == reason);
    same.map_or(now, |wait| wait.since)
}

/// When a person must be looked at again, and whether a revocation is among the causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookAgain {
    pub at: OffsetDateTime,
    pub taken_away: bool,
}

/// What a round left unfinished: unsettled rows, failed steps, foreign assignments, waits. `None`: nothing.
pub fn look_again(after: &[Entry], deferred: &[Deferred], waits: &[Wait]) -> Option<LookAgain> {
    let mut causes: Vec<(OffsetDateTime, bool)> = Vec::new();
    for entry in after {
        let leaving = entry.holding == Holding::Gone;
        let own = entry.unsettled_until.map(|at| (at, leaving));
        let tried = entry.tried.as_ref().map(|tried| (tried.not_before, tried.attempt == Attempt::Revoke));
        // What was put off beyond a row's own time counts instead of it: else nobody would ever wait for longer.
        let put_off = deferred.iter().find(|deferred| deferred.assignment == entry.assignment);
        let counts =
            |(at, _): &(OffsetDateTime, bool)| put_off.is_none_or(|put_off| put_off.not_before < *at);
        causes.extend(own.into_iter().chain(tried).filter(counts));
    }
    causes.extend(deferred.iter().map(|deferred| (deferred.not_before, deferred.attempt == Attempt::Revoke)));
    causes.extend(waits.iter().map(|wait| (wait.not_before, false)));
    let at = causes.iter().map(|(at, _)| *at).min()?;
    Some(LookAgain { at, taken_away: causes.iter().any(|(_, taken_away)| *taken_away) })
}

#[cfg(test)]
mod tests;
