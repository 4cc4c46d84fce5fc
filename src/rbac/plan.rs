//! What to send to Azure for one person. Pure: reads nothing, changes nothing, decides everything.

mod moves;
mod waits;

pub use waits::{Requeue, pending_steps, requeue_at};

use super::ledger::{AssignmentState, LedgerEntry, RETRY_MAX, RetryState, StepKind};
use super::{AssignmentName, BackupRole, BindingName, PrincipalType, ReasonCode, Scope};
use crate::id::{GroupId, InstanceId, OpId, PrincipalId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Why somebody should hold a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantReason {
    pub binding: BindingName,
    pub group: GroupId,
}

/// A grant that should exist, with every reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredGrant {
    pub principal: PrincipalId,
    pub principal_type: PrincipalType,
    pub role: BackupRole,
    pub scope: Scope,
    pub reasons: BTreeSet<GrantReason>,
}

impl DesiredGrant {
    /// The bindings among the reasons.
    pub fn bindings(&self) -> Vec<BindingName> {
        let names: BTreeSet<&BindingName> = self.reasons.iter().map(|reason| &reason.binding).collect();
        names.into_iter().cloned().collect()
    }
}

/// A grant that a binding would give, if something did not stand in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedGrant {
    pub binding: BindingName,
    pub role: BackupRole,
    pub scope: Scope,
    pub reason: ReasonCode,
}

/// What one person should hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    pub grants: BTreeMap<AssignmentName, DesiredGrant>,
    pub blocked: Vec<BlockedGrant>,
    /// The bindings cannot be read: what is held stays, nothing new is given.
    pub frozen: bool,
}

/// Where the belief about a ledger entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
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
pub struct ObservedEntry {
    pub entry: LedgerEntry,
    pub evidence: Evidence,
}

/// Steps that Azure refuses or allows together: a lock, a missing right or a policy concerns all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockKey {
    /// Folded, as scopes are compared.
    pub scope: String,
    pub role: BackupRole,
    /// `User` for every revocation: a DELETE names no type.
    pub principal_type: PrincipalType,
    pub kind: StepKind,
}

/// A scope where Azure refuses a kind of step, whoever it is for. One step probes it, the others wait for that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeBlock {
    pub reason: ReasonCode,
    pub attempts: u32,
    pub not_before: OffsetDateTime,
}

/// Who makes room in a subscription that holds as many role assignments as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomClaim {
    /// This person.
    Ours,
    /// Another person, at the latest until then.
    Taken { until: OffsetDateTime },
    /// The freed place went to somebody else: no further binding moves there.
    Stopped,
}

/// What one person holds, as far as it is known, and what Azure asked us to wait for.
#[derive(Debug, Clone)]
pub struct Actual {
    pub now: OffsetDateTime,
    pub observed: Vec<ObservedEntry>,
    /// Subscription and kind of step → not before.
    pub throttled: BTreeMap<(String, StepKind), OffsetDateTime>,
    pub blocks: BTreeMap<BlockKey, ScopeBlock>,
    /// Subscription → who makes room there, where anybody does.
    pub room: BTreeMap<String, RoomClaim>,
    /// The change that made somebody look, and when it was made.
    pub requested_by: OpId,
    pub requested_at: OffsetDateTime,
    /// This installation: an assignment is ours only if its name can be made from it.
    pub instance: InstanceId,
}

/// How much one round may do.
#[derive(Debug, Clone, Copy)]
pub struct PlanLimits {
    /// Steps of one open.
    pub steps_max: usize,
    /// Ledger rows of one close, those of the steps included.
    pub close_rows_max: usize,
    /// How long until a foreign assignment is looked at again.
    pub foreign_look: Duration,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self { steps_max: 16, close_rows_max: 48, foreign_look: Duration::from_secs(3600) }
    }
}

/// One call to Azure, with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub attempt: StepKind,
    pub assignment: AssignmentName,
    pub principal: PrincipalId,
    pub principal_type: PrincipalType,
    pub role: BackupRole,
    pub scope: Scope,
    pub bindings: Vec<BindingName>,
    /// For a grant: the groups that give it. Empty for a revocation: no reason is left.
    pub reasons: BTreeSet<GrantReason>,
    pub held_before: bool,
    /// The ledger entry as it was, if there was one.
    pub entry: Option<LedgerEntry>,
    /// An answer settles the entry: it was settled, or Azure was asked after its time.
    pub settles: bool,
    /// A grant into a full subscription where this person gave up a place for it.
    pub made_room: bool,
}

impl Step {
    /// What a refusal of the scope means for steps like this one.
    pub fn block_key(&self) -> BlockKey {
        let (role, attempt) = (self.role, self.attempt);
        BlockKey {
            scope: self.scope.folded().to_string(),
            role,
            principal_type: self.principal_type,
            kind: attempt,
        }
    }
}

/// A step that is due but may not be sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeferredStep {
    pub assignment: AssignmentName,
    pub attempt: StepKind,
    pub reason: ReasonCode,
    pub not_before: OffsetDateTime,
}

/// An entry that the close writes without any call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledRow {
    pub entry: LedgerEntry,
    /// Azure was asked by name, and that settles it.
    pub observed: Option<bool>,
}

/// Everything that follows from desired and actual.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At most `steps_max`: revocations first, then never tried, then tried longest ago.
    pub steps: Vec<Step>,
    pub settled: Vec<SettledRow>,
    pub deferred: Vec<DeferredStep>,
    /// More is to be done at once than this round may: look again without a pause.
    pub has_more: bool,
    /// The subscription where a revocation of this round makes room for a grant, if one does: the open claims it.
    pub makes_room: Option<String>,
}

/// What a plan is made from.
struct Inputs<'a> {
    desired: &'a Desired,
    actual: &'a Actual,
    limits: &'a PlanLimits,
    still_given: BTreeSet<(String, BindingName)>,
}

enum Verdict {
    Quiet,
    Step(Step),
    Settle(SettledRow),
    Defer(DeferredStep),
}

/// Compares what a person should hold with what they hold.
pub fn plan(desired: &Desired, actual: &Actual, limits: &PlanLimits) -> Plan {
    let inputs = Inputs { desired, actual, limits, still_given: moves::still_given(desired, actual) };
    let mut plan = Plan::default();
    let mut steps = Vec::new();
    let known: BTreeSet<AssignmentName> = actual.observed.iter().map(|fact| fact.entry.assignment).collect();
    for fact in &actual.observed {
        let verdict = judge_entry(fact, &inputs);
        plan.settled.extend(wish_to_note(fact, &verdict, &inputs));
        plan.apply_verdict(verdict, &mut steps, &inputs);
    }
    for (name, wanted) in desired.grants.iter().filter(|(name, _)| !known.contains(name)) {
        plan.apply_verdict(send(grant(*name, wanted, None, true), &inputs), &mut steps, &inputs);
    }
    moves::hold(desired, actual, &mut steps, &mut plan);
    steps.sort_by_key(order);
    plan.has_more |= steps.len() > limits.steps_max;
    steps.truncate(limits.steps_max);
    let room = limits.close_rows_max.saturating_sub(steps.len());
    plan.has_more |= plan.settled.len() > room;
    plan.settled.truncate(room);
    plan.steps = steps;
    plan
}

impl Plan {
    fn apply_verdict(&mut self, verdict: Verdict, steps: &mut Vec<Step>, inputs: &Inputs<'_>) {
        match verdict {
            Verdict::Quiet => {}
            Verdict::Step(step) => steps.push(step),
            Verdict::Settle(mut settle) => {
                settle.entry.unwanted_since = wish(&settle.entry, inputs.desired, inputs.actual);
                self.settled.push(settle);
            }
            Verdict::Defer(deferred) => self.deferred.push(deferred),
        }
    }
}

/// Revocations first, never tried before tried, then the one tried longest ago.
fn order(step: &Step) -> (StepKind, bool, Option<OffsetDateTime>) {
    let tried = step.entry.as_ref().and_then(|entry| entry.retry.as_ref());
    (step.attempt, tried.is_some(), tried.map(|tried| tried.not_before))
}

fn judge_entry(fact: &ObservedEntry, inputs: &Inputs<'_>) -> Verdict {
    let Inputs { desired, actual, limits, .. } = *inputs;
    let entry = &fact.entry;
    let wanted = desired.grants.get(&entry.assignment);
    let attempt = if wanted.is_some() { StepKind::Grant } else { StepKind::Revoke };
    let (held, due) = match &fact.evidence {
        Evidence::NotOurs if entry.is_settled_and_gone() && entry.state == AssignmentState::Gone => {
            return Verdict::Quiet;
        }
        Evidence::NotOurs => return settled_row(entry, AssignmentState::Gone, None, actual.now),
        Evidence::Undecided { .. } if entry.is_settled_and_gone() && wanted.is_none() => {
            return Verdict::Quiet;
        }
        Evidence::Undecided { not_before } => {
            return defer(entry.assignment, attempt, ReasonCode::RowUnreadable, *not_before);
        }
        // Deleting by our own name is safe whatever Azure holds: a revocation does not wait for an answer.
        Evidence::Unasked { .. } if may_revoke_blindly(entry, wanted, desired) => {
            return send(revoke(entry, false), inputs);
        }
        Evidence::Unasked { reason, not_before } => {
            return defer(entry.assignment, attempt, *reason, *not_before);
        }
        Evidence::Ledger => (entry.state, true),
        Evidence::Azure { holds, due } => (observed(entry, *holds), *due),
    };
    let asked = matches!(fact.evidence, Evidence::Azure { .. }).then_some(held == AssignmentState::Present);
    match (wanted, held) {
        (None, AssignmentState::Present) if desired.frozen => {
            unchanged(entry, held, asked.filter(|_| due), actual, limits)
        }
        (Some(wanted), AssignmentState::Gone) => {
            send(grant(entry.assignment, wanted, Some(entry), due), inputs)
        }
        (None, AssignmentState::Present) => send(revoke(entry, due), inputs),
        (Some(wanted), AssignmentState::Present) if due && entry.bindings != wanted.bindings() => {
            let entry = LedgerEntry { bindings: wanted.bindings(), ..entry.clone() };
            settled_row(&entry, held, asked.filter(|_| entry.unsettled_until.is_some()), actual.now)
        }
        (None, AssignmentState::HeldByOther(_)) => {
            settled_row(entry, AssignmentState::Gone, asked, actual.now)
        }
        _ => unchanged(entry, held, asked.filter(|_| due), actual, limits),
    }
}

fn may_revoke_blindly(entry: &LedgerEntry, wanted: Option<&DesiredGrant>, desired: &Desired) -> bool {
    let may_be_held = entry.state == AssignmentState::Present
        || entry.unwanted_since.is_some() && entry.state == AssignmentState::Gone;
    wanted.is_none() && !desired.frozen && may_be_held
}

/// What Azure's answer to a question by name means for an entry.
fn observed(entry: &LedgerEntry, holds: bool) -> AssignmentState {
    match (entry.state, holds) {
        (AssignmentState::HeldByOther(other), true) if entry.unsettled_until.is_none() => {
            AssignmentState::HeldByOther(other)
        }
        (_, true) => AssignmentState::Present,
        (_, false) => AssignmentState::Gone,
    }
}

/// Nothing to send. The row is written only where that says something new.
fn unchanged(
    entry: &LedgerEntry,
    held: AssignmentState,
    asked: Option<bool>,
    actual: &Actual,
    limits: &PlanLimits,
) -> Verdict {
    if let AssignmentState::HeldByOther(_) = held {
        let again = entry.retry.as_ref().is_none_or(|tried| tried.not_before <= actual.now);
        if !again {
            return Verdict::Quiet;
        }
        let not_before = actual.now + limits.foreign_look;
        let tried = RetryState {
            kind: StepKind::Grant,
            attempts: 1,
            not_before,
            reason: ReasonCode::ForeignAssignment,
            cause: None,
        };
        let entry = LedgerEntry { retry: Some(tried), ..entry.clone() };
        return Verdict::Settle(SettledRow { entry: entry.becoming(held, actual.now), observed: None });
    }
    match asked {
        Some(_) if entry.unsettled_until.is_some() => settled_row(entry, held, asked, actual.now),
        _ if entry.unsettled_until.is_none() && entry.retry.is_some() => {
            settled_row(entry, held, None, actual.now)
        }
        _ => Verdict::Quiet,
    }
}

fn settled_row(
    entry: &LedgerEntry,
    holding: AssignmentState,
    observed: Option<bool>,
    now: OffsetDateTime,
) -> Verdict {
    let entry = LedgerEntry { unsettled_until: None, retry: None, ..entry.clone() }.becoming(holding, now);
    Verdict::Settle(SettledRow { entry, observed })
}

/// Since when an entry is unwanted and not known to be gone.
fn wish(entry: &LedgerEntry, desired: &Desired, actual: &Actual) -> Option<OffsetDateTime> {
    if desired.frozen {
        return entry.unwanted_since;
    }
    let gone = entry.unsettled_until.is_none() && entry.state != AssignmentState::Present;
    let wanted = desired.grants.contains_key(&entry.assignment);
    (!wanted && !gone).then(|| entry.unwanted_since.unwrap_or(actual.requested_at))
}

/// The wish of an entry that no step and no settlement of this round writes, where its row does not say it. The row's ETag is then
/// spent: a call that is still under way for it cannot settle it past this look.
fn wish_to_note(fact: &ObservedEntry, verdict: &Verdict, inputs: &Inputs<'_>) -> Option<SettledRow> {
    let entry = &fact.entry;
    let left_alone = matches!(verdict, Verdict::Defer(DeferredStep { reason: ReasonCode::NotOurs, .. }));
    let written = matches!(verdict, Verdict::Step(_) | Verdict::Settle(_));
    if left_alone || written { None } else { note_wish(entry, inputs.desired, inputs.actual) }
}

fn note_wish(entry: &LedgerEntry, desired: &Desired, actual: &Actual) -> Option<SettledRow> {
    let wished = wish(entry, desired, actual);
    let news = wished != entry.unwanted_since;
    news.then(|| SettledRow {
        entry: LedgerEntry { unwanted_since: wished, ..entry.clone() },
        observed: None,
    })
}

fn defer(
    assignment: AssignmentName,
    attempt: StepKind,
    reason: ReasonCode,
    not_before: OffsetDateTime,
) -> Verdict {
    Verdict::Defer(DeferredStep { assignment, attempt, reason, not_before })
}

fn grant(
    assignment: AssignmentName,
    wanted: &DesiredGrant,
    entry: Option<&LedgerEntry>,
    settles: bool,
) -> Step {
    Step {
        attempt: StepKind::Grant,
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
        made_room: false,
    }
}

fn revoke(entry: &LedgerEntry, settles: bool) -> Step {
    Step {
        attempt: StepKind::Revoke,
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
        made_room: false,
    }
}

/// Ownership before any delete: the ledger row, and the name made again from what the row says.
fn is_ours(step: &Step, instance: InstanceId) -> bool {
    AssignmentName::derive(&step.scope, step.role, step.principal, instance) == step.assignment
}

/// A step is sent unless it is not ours to take, Azure throttles its kind there, or one of its kind failed a short while ago.
fn send(step: Step, inputs: &Inputs<'_>) -> Verdict {
    let actual = inputs.actual;
    if !is_ours(&step, actual.instance) {
        return defer(step.assignment, step.attempt, ReasonCode::NotOurs, actual.now + RETRY_MAX);
    }
    let throttle = actual.throttled.get(&(step.scope.subscription().to_owned(), step.attempt));
    if let Some(not_before) = throttle.filter(|at| **at > actual.now) {
        return defer(step.assignment, step.attempt, ReasonCode::Throttled, *not_before);
    }
    if let Some(block) = actual.blocks.get(&step.block_key()).filter(|block| block.not_before > actual.now) {
        return defer(step.assignment, step.attempt, block.reason, block.not_before);
    }
    let made_room = moves::has_made_room(&step, inputs);
    match step.entry.as_ref().and_then(|entry| pausing(entry, step.attempt, actual)) {
        Some(tried) if !made_room => defer(step.assignment, step.attempt, tried.reason, tried.not_before),
        _ => Verdict::Step(Step { made_room, ..step }),
    }
}

/// The failure that a step like this one still has to wait for. A later change of what decided ends the wait, unless Azure asked
/// for it; where the scope refused, the scope's own block decides.
fn pausing<'a>(entry: &'a LedgerEntry, attempt: StepKind, actual: &Actual) -> Option<&'a RetryState> {
    let tried = entry.retry.as_ref().filter(|tried| tried.kind == attempt)?;
    let asked_to_wait = tried.reason == ReasonCode::Throttled;
    let decided_anew = !asked_to_wait && tried.cause.is_some_and(|cause| cause != actual.requested_by);
    let pauses = tried.not_before > actual.now && !decided_anew && !tried.reason.is_of_the_scope();
    pauses.then_some(tried)
}

#[cfg(test)]
mod tests;
