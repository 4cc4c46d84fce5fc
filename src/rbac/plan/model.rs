//! What a plan is made from, and what it is made of.

use crate::id::{GroupId, InstanceId, OpId, PrincipalId};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, PendingStep, StepKind};
use crate::rbac::{AssignmentName, BackupRole, BindingName, PrincipalType, ReasonCode, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

/// Why a person should hold a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantReason {
    pub binding: BindingName,
    pub group: GroupId,
    /// The groups between the person and that group, the person's own first. Empty: the person is a direct member.
    pub through: Vec<GroupId>,
}

impl fmt::Display for GrantReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("member of ")?;
        for inner in &self.through {
            write!(f, "group {inner}, which is in ")?;
        }
        write!(f, "group {} of binding {}", self.group, self.binding)
    }
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

/// A grant that a binding would give if nothing blocked it.
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
    /// The person is gone, inactive, braked, or has another object id than the one first pinned: no hold keeps their revocations
    /// back.
    pub leaving: bool,
    /// Entra objects that an operator revoked: whatever the bindings say, nothing of theirs stays.
    pub braked: BTreeSet<PrincipalId>,
}

impl Desired {
    /// Whether an entry stays as it is because the bindings cannot be read. A brake needs no bindings.
    pub(super) fn freezes(&self, entry: &LedgerEntry) -> bool {
        self.frozen && !self.braked.contains(&entry.principal)
    }

    /// Whether an operator or a breaker may keep a revocation back.
    pub fn may_be_held_back(&self, principal: PrincipalId) -> bool {
        !self.leaving && !self.braked.contains(&principal)
    }
}

/// What an operator and the breakers keep back of one person's steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holds {
    /// An operator paused the service.
    pub paused: bool,
    /// Assignments whose next step is held, and why.
    pub held: BTreeMap<AssignmentName, ReasonCode>,
    /// What waited after the round before: a hold that goes on keeps its time.
    pub pending: Vec<PendingStep>,
}

impl Holds {
    /// Whether an operator rejected the revocation of an assignment: it stays without a reason.
    pub(super) fn keeps(&self, assignment: AssignmentName) -> bool {
        self.held.get(&assignment) == Some(&ReasonCode::KeptByOrder)
    }

    /// The step as it has to wait, if it is held. A wake-up ends that, or the next reconcile after the longest pause of its kind.
    pub(super) fn defer(&self, step: &Step, desired: &Desired, now: OffsetDateTime) -> Option<DeferredStep> {
        let reason = self.reason_against(step, desired)?;
        let not_before = self.earlier(step, reason, now).unwrap_or(now + step.kind.pause(u32::MAX));
        Some(DeferredStep { assignment: step.assignment, kind: step.kind, reason, not_before })
    }

    /// The time until which the same step waits already: a reconcile meanwhile does not move it.
    fn earlier(&self, step: &Step, reason: ReasonCode, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let wanted = step.kind == StepKind::Grant;
        let same = |wait: &&PendingStep| {
            let is_for = |binding: &BindingName| wait.is_for(binding, step.role, &step.scope);
            wait.reason == reason
                && wait.wanted == wanted
                && wait.not_before > now
                && step.bindings.iter().any(is_for)
        };
        self.pending.iter().find(same).map(|wait| wait.not_before)
    }

    /// Why a step may not be sent, if it may not.
    fn reason_against(&self, step: &Step, desired: &Desired) -> Option<ReasonCode> {
        if step.kind == StepKind::Revoke && !desired.may_be_held_back(step.principal) {
            return None;
        }
        let held =
            self.held.get(&step.assignment).copied().filter(|reason| *reason != ReasonCode::KeptByOrder);
        held.or(self.paused.then_some(ReasonCode::Paused))
    }
}

/// The evidence for a ledger entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The entry is settled: what it says.
    Ledger,
    /// Azure was asked by name. `due`: after the entry's time, so the answer settles it.
    Azure { holds: bool, due: bool },
    /// Azure could not be asked.
    Unasked { reason: ReasonCode, not_before: OffsetDateTime },
    /// The principal is another record's: that record decides about whatever Azure holds.
    NotOurs,
    /// Whose the principal is cannot be read: nothing is sent, and nothing closed.
    Undecided { not_before: OffsetDateTime },
}

/// One ledger entry and its evidence.
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

/// A scope where Azure refuses a kind of step for every person. One step probes it, the others wait for that one.
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
    /// The freed place was lost to another assignment: no further binding moves there.
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
    /// Subscription → who makes room there.
    pub room: BTreeMap<String, RoomClaim>,
    /// The change that enqueued the person, and when it was made.
    pub requested_by: OpId,
    pub requested_at: OffsetDateTime,
    pub holds: Holds,
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
    /// How long until a foreign assignment is checked again.
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
    pub kind: StepKind,
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
    /// The ledger entry as it was, or a new one.
    pub fn entry_before(&self, op: OpId, now: OffsetDateTime) -> LedgerEntry {
        self.entry.clone().unwrap_or_else(|| {
            let scope = self.scope.clone();
            LedgerEntry::never_opened(self.assignment, self.principal, self.role, scope, op, now)
        })
    }

    /// What a refusal of the scope means for steps like this one.
    pub fn block_key(&self) -> BlockKey {
        let role = self.role;
        let kind = self.kind;
        BlockKey { scope: self.scope.folded().to_string(), role, principal_type: self.principal_type, kind }
    }
}

/// A step that is due but may not be sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeferredStep {
    pub assignment: AssignmentName,
    pub kind: StepKind,
    pub reason: ReasonCode,
    pub not_before: OffsetDateTime,
}

impl DeferredStep {
    /// Whether the person loses something as soon as it is sent. What an order keeps is no loss.
    pub fn takes_away(&self) -> bool {
        self.kind == StepKind::Revoke && self.reason != ReasonCode::KeptByOrder
    }
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
    /// More is to be done at once than this round may: the next round follows without a pause.
    pub has_more: bool,
    /// The subscription where a revocation of this round makes room for a grant, if one does: the open claims it.
    pub makes_room: Option<String>,
}

/// What a plan is made from.
pub(super) struct Inputs<'a> {
    pub desired: &'a Desired,
    pub actual: &'a Actual,
    pub limits: &'a PlanLimits,
    pub still_given: BTreeSet<(String, BindingName)>,
}

/// Since when an entry is unwanted and not known to be gone.
pub(super) fn unwanted_since(
    entry: &LedgerEntry,
    desired: &Desired,
    actual: &Actual,
) -> Option<OffsetDateTime> {
    if desired.freezes(entry) {
        return entry.unwanted_since;
    }
    let gone = entry.unsettled_until.is_none() && entry.state != AssignmentState::Present;
    let wanted = desired.grants.contains_key(&entry.assignment) || is_kept(entry, desired, actual);
    (!wanted && !gone).then(|| entry.unwanted_since.unwrap_or(actual.requested_at))
}

/// Whether an entry without a reason stays by an operator's order.
pub(super) fn is_kept(entry: &LedgerEntry, desired: &Desired, actual: &Actual) -> bool {
    actual.holds.keeps(entry.assignment) && desired.may_be_held_back(entry.principal)
}

pub(super) fn note_unwanted_since(
    entry: &LedgerEntry,
    desired: &Desired,
    actual: &Actual,
) -> Option<SettledRow> {
    let unwanted_since = unwanted_since(entry, desired, actual);
    let news = unwanted_since != entry.unwanted_since;
    news.then(|| SettledRow { entry: LedgerEntry { unwanted_since, ..entry.clone() }, observed: None })
}
