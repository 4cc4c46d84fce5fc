//! What reconciles of one person would do, round after round, if Azure agreed to every step.

use super::tenant_plan::{BindingsChange, PersonPlan, PersonState, PlannedStep, PlannedWait};
use super::to_judge::{PersonToJudge, unknown_request};
use super::view::{SharedFacts, View};
use crate::id::{GroupId, MemberId, OpId, PrincipalId};
use crate::ports::tables::{ETag, RowProperties};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, StepKind};
use crate::rbac::plan::{self, Actual, DeferredStep, Desired, Evidence, Holds, ObservedEntry, Plan, Step};
use crate::rbac::{AssignmentName, ReasonCode};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::effective_groups::EffectiveGroups;
use crate::service::reconcile::RoundFacts;
use crate::service::reconcile::desired::{self, AccessFacts, ClaimFinding, PrincipalClaim, SelectorFacts};
use crate::service::reconcile::gather::{evidence_of_holder, needs_principal};
use crate::service::reconcile::holds::held_steps;
use crate::store::ledger::{PrincipalHolder, StoredEntry, UserLedger};
use crate::store::reconcile_queue::ReconcileRequest;
use crate::store::tenant_walk::PersonRecord;
use crate::store::users::HeaderState;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

/// A time by which every pause is over.
const WHEN_PAUSES_ARE_OVER: OffsetDateTime = datetime!(9000-01-01 0:00 UTC);
/// Rounds of one person: grants, then the revocations that waited for them, then what makes room.
const ROUNDS_MAX: usize = 64;

/// A person, in one preview.
pub(super) struct PersonPreview<'a, 'v> {
    pub record: &'a PersonRecord,
    pub view: &'a mut View<'v>,
    pub facts: &'a SharedFacts,
    groups: EffectiveGroups,
}

/// What decides about a person, and what the bindings want for them.
#[derive(Debug, Clone)]
pub struct DecidedPerson {
    pub state: PersonState,
    /// The userName, where the header has one that can be read.
    pub name: Option<String>,
    /// The Entra object id that the record names.
    pub principal: Option<PrincipalId>,
    /// That object id, where another record holds it.
    pub waits_for: Option<PrincipalId>,
    /// The groups that the person is in.
    pub groups: EffectiveGroups,
    pub desired: Desired,
}

/// The outcome of one round, nothing of it done yet.
struct Round {
    desired: Desired,
    plan: Plan,
}

impl<'a, 'v> PersonPreview<'a, 'v> {
    pub fn new(record: &'a PersonRecord, view: &'a mut View<'v>, facts: &'a SharedFacts) -> Self {
        let direct = facts.requests.groups_after(MemberId::User(record.user), &record.groups);
        Self { record, view, facts, groups: facts.nesting.above(&direct) }
    }
}

impl PersonPreview<'_, '_> {
    /// Everything that is left to do. `answers`: what Azure holds of entries that the ledger does not know about.
    pub(super) fn plan(mut self, answers: &BTreeMap<AssignmentName, bool>) -> PersonPlan {
        let principal = self.principal();
        self.note_name(principal);
        let mut person = PersonPlan::new(self.record.user, self.state(), self.name());
        if self.is_unconcerned() {
            return person;
        }
        let mut ledger = self.record.ledger.clone();
        let claim = self.claim(principal, &mut person);
        let request = self.request();
        let op = request.taken.map_or(request.origin.op, |taken| taken.op);
        let mut to_judge = PersonToJudge::new(op);
        for _ in 0..ROUNDS_MAX {
            let Round { desired, plan } = self.round(&ledger, claim, answers);
            plan.settled.iter().for_each(|row| write_entry(&mut ledger, row.entry.clone()));
            if plan.steps.is_empty() {
                person.waits = waits(&desired, &plan, &ledger);
                break;
            }
            to_judge.ask(&self.round_facts(&request, &desired), &plan.steps);
            for step in &plan.steps {
                person.steps.push(planned(step));
                carry_out(step, &mut ledger);
            }
        }
        person.kept = changes_of_bindings(&self.record.ledger, &ledger);
        to_judge.note_moves(&self.record.ledger, &ledger);
        self.note_to_judge(to_judge);
        person.sort();
        person
    }

    /// Why the person will be reconciled next.
    fn request(&self) -> ReconcileRequest {
        let groups = &self.groups.groups;
        // A group that is gone is only named by those that were in it.
        let above = groups.iter().flat_map(|group| self.facts.nesting.parents(group.id));
        let above: Vec<GroupId> = groups.iter().map(|group| group.id).chain(above.copied()).collect();
        let request = self.facts.requests.of(self.record.user, &self.record.groups, above.into_iter());
        request.unwrap_or_else(unknown_request)
    }

    fn principal(&self) -> Option<PrincipalId> {
        let person = self.record.header.as_ref().readable()?;
        desired::principal_of(&person.resource, self.view.of.snapshot.principal_from())
    }

    /// The record that holds a principal is of it, or cannot be read and may be.
    fn note_name(&mut self, principal: Option<PrincipalId>) {
        let unreadable = matches!(self.record.header, HeaderState::Unreadable);
        let pins = self.record.ledger.pins.iter().map(|pin| pin.principal).filter(|_| unreadable);
        for named in principal.into_iter().chain(pins) {
            let ours = self.facts.holders.of(named) == PrincipalHolder::Record(self.record.user);
            let place = self.facts.holders.place(named).filter(|_| ours);
            if let Some(named) = place.and_then(|place| self.view.still_named.get_mut(place)) {
                *named = true;
            }
        }
    }

    fn state(&self) -> PersonState {
        match &self.record.header {
            HeaderState::Gone => PersonState::Deleted,
            HeaderState::Unreadable => PersonState::Unreadable,
            HeaderState::Readable(person) if person.resource.active() => PersonState::Active,
            HeaderState::Readable(_) => PersonState::Inactive,
        }
    }

    fn name(&self) -> Option<String> {
        let person = self.record.header.as_ref().readable()?;
        person.resource.text("userName").map(str::to_owned)
    }

    /// Whether nothing is held and no binding can give anything.
    fn is_unconcerned(&self) -> bool {
        let ledger = &self.record.ledger;
        ledger.entries.is_empty()
            && ledger.unreadable.is_empty()
            && self.view.selectors.concerns_none(&self.groups)
    }

    fn holder_of(&self, principal: PrincipalId) -> PrincipalHolder {
        if self.record.ledger.holds(principal) {
            return PrincipalHolder::Record(self.record.user);
        }
        let taken = self.view.taken.get(&principal).copied().map(PrincipalHolder::Record);
        taken.unwrap_or_else(|| self.facts.holders.of(principal))
    }

    /// The claim on the Entra object. One that is free is taken, as a reconcile would.
    fn claim(&mut self, principal: Option<PrincipalId>, person: &mut PersonPlan) -> PrincipalClaim {
        let user = self.record.user;
        let braked = principal.is_some_and(|principal| self.facts.braked.contains(&principal));
        let header = self.record.header.as_ref();
        let found = desired::find_claim(user, header, principal, braked, |named| self.holder_of(named));
        match found {
            ClaimFinding::Decided(claim) => claim,
            ClaimFinding::Free(principal) => {
                self.view.taken.insert(principal, user);
                PrincipalClaim::Ours(principal)
            }
            ClaimFinding::HeldBy(principal, _) => {
                person.waits_for = Some(principal);
                PrincipalClaim::Blocked(desired::reason_of_wait(false))
            }
        }
    }

    /// What decides about the person now.
    pub(super) fn decide(mut self) -> DecidedPerson {
        let principal = self.principal();
        let mut person = PersonPlan::new(self.record.user, self.state(), self.name());
        let claim = self.claim(principal, &mut person);
        let desired = self.desired(&self.record.ledger, claim);
        let PersonPlan { state, name, waits_for, .. } = person;
        DecidedPerson { state, name, principal, waits_for, groups: self.groups, desired }
    }

    fn desired(&self, ledger: &UserLedger, claim: PrincipalClaim) -> Desired {
        let selectors = self.selectors(ledger);
        let facts = AccessFacts {
            user: self.record.user,
            header: self.record.header.as_ref().map(|person| &person.resource),
            claim,
            selectors: &selectors,
            ledger,
            braked: &self.facts.braked,
            instance: self.facts.instance,
        };
        desired::decide(&facts, &self.view.of.snapshot).desired
    }

    fn round(
        &mut self,
        ledger: &UserLedger,
        claim: PrincipalClaim,
        answers: &BTreeMap<AssignmentName, bool>,
    ) -> Round {
        let desired = self.desired(ledger, claim);
        let held = held_steps(ledger, &desired, &self.facts.batches);
        let actual = self.actual(ledger, answers, held);
        let plan = plan::plan(&desired, &actual, &self.facts.limits);
        Round { desired, plan }
    }

    /// What the breakers have to know of a round.
    fn round_facts<'r>(&'r self, request: &'r ReconcileRequest, desired: &'r Desired) -> RoundFacts<'r> {
        let (user, snapshot, batches) = (self.record.user, &self.view.of.snapshot, &self.facts.batches);
        RoundFacts { user, request, desired, snapshot, batches }
    }

    fn note_to_judge(&mut self, to_judge: PersonToJudge) {
        let people = &mut self.view.plan.to_judge.people;
        match to_judge.is_empty() {
            true => drop(people.remove(&self.record.user)),
            false => drop(people.insert(self.record.user, to_judge)),
        }
    }

    fn selectors(&self, ledger: &UserLedger) -> SelectorFacts {
        match &self.view.of.snapshot {
            ActiveSnapshot::Known(snapshot) if self.may_hold() => {
                self.view.selectors.facts(&self.groups, ledger, snapshot)
            }
            _ => SelectorFacts::default(),
        }
    }

    fn may_hold(&self) -> bool {
        matches!(self.state(), PersonState::Active | PersonState::Unreadable)
    }

    fn actual(
        &mut self,
        ledger: &UserLedger,
        answers: &BTreeMap<AssignmentName, bool>,
        held: BTreeMap<AssignmentName, ReasonCode>,
    ) -> Actual {
        let entries = ledger.entries.iter().map(|stored| &stored.entry);
        let observed = entries.map(|entry| ObservedEntry {
            entry: entry.clone(),
            evidence: self.evidence(entry, answers.get(&entry.assignment).copied()),
        });
        Actual {
            now: WHEN_PAUSES_ARE_OVER,
            observed: observed.collect(),
            throttled: BTreeMap::new(),
            blocks: BTreeMap::new(),
            room: BTreeMap::new(),
            requested_by: OpId::new(Uuid::nil()),
            requested_at: WHEN_PAUSES_ARE_OVER,
            holds: Holds { paused: self.facts.paused && self.view.of.under_pause, held, pending: Vec::new() },
            instance: self.facts.instance,
        }
    }

    fn evidence(&mut self, entry: &LedgerEntry, answer: Option<bool>) -> Evidence {
        let user = self.record.user;
        let holder = self.holder_of(entry.principal);
        let elsewhere = Some(holder).filter(|holder| *holder != PrincipalHolder::Record(user));
        let elsewhere = elsewhere.filter(|_| !self.record.ledger.holds(entry.principal));
        if let Some(evidence) = evidence_of_holder(elsewhere, WHEN_PAUSES_ARE_OVER) {
            return evidence;
        }
        if elsewhere == Some(PrincipalHolder::Free) && needs_principal(entry) {
            self.view.taken.insert(entry.principal, user);
        }
        match (entry.unsettled_until, answer) {
            (None, _) => Evidence::Ledger,
            (Some(_), Some(holds)) => Evidence::Azure { holds, due: true },
            (Some(_), None) => {
                Evidence::Unasked { reason: ReasonCode::InFlight, not_before: WHEN_PAUSES_ARE_OVER }
            }
        }
    }
}

fn planned(step: &Step) -> PlannedStep {
    let retry = step.entry.as_ref().and_then(|entry| entry.retry.as_ref());
    PlannedStep {
        kind: step.kind,
        assignment: step.assignment,
        principal: step.principal,
        role: step.role,
        scope: step.scope.clone(),
        bindings: step.bindings.clone(),
        reasons: step.reasons.iter().cloned().collect(),
        failing: retry.filter(|retry| retry.kind == step.kind).map(|retry| retry.reason),
    }
}

/// The step is done: the ledger says so.
fn carry_out(step: &Step, ledger: &mut UserLedger) {
    let holding = match step.kind {
        StepKind::Grant => AssignmentState::Present,
        StepKind::Revoke => AssignmentState::Gone,
    };
    let now = WHEN_PAUSES_ARE_OVER;
    let entry = step.entry_before(OpId::new(Uuid::nil()), now);
    let bindings = step.bindings.clone();
    let done = LedgerEntry { bindings, unsettled_until: None, retry: None, unwanted_since: None, ..entry };
    write_entry(ledger, done.becoming(holding, now));
}

/// The entry is in the ledger of the record.
pub(super) fn add_entry(record: &mut PersonRecord, entry: &LedgerEntry) {
    write_entry(&mut record.ledger, entry.clone());
}

fn write_entry(ledger: &mut UserLedger, entry: LedgerEntry) {
    match ledger.entries.iter_mut().find(|stored| stored.entry.assignment == entry.assignment) {
        Some(stored) => stored.entry = entry,
        None => {
            ledger.entries.push(StoredEntry { entry, etag: ETag(String::new()), kept: RowProperties::new() })
        }
    }
}

/// What is not done, and why.
fn waits(desired: &Desired, plan: &Plan, ledger: &UserLedger) -> Vec<PlannedWait> {
    let blocked = desired.blocked.iter().map(|blocked| PlannedWait {
        kind: StepKind::Grant,
        role: blocked.role,
        scope: blocked.scope.clone(),
        bindings: vec![blocked.binding.clone()],
        reason: blocked.reason,
    });
    let deferred = plan.deferred.iter().filter_map(|deferred| wait_of(deferred, desired, ledger));
    blocked.chain(deferred).collect()
}

fn wait_of(deferred: &DeferredStep, desired: &Desired, ledger: &UserLedger) -> Option<PlannedWait> {
    let DeferredStep { assignment, kind, reason, .. } = *deferred;
    if let Some(wanted) = desired.grants.get(&assignment) {
        let (role, scope, bindings) = (wanted.role, wanted.scope.clone(), wanted.bindings());
        return Some(PlannedWait { kind, role, scope, bindings, reason });
    }
    let stored = ledger.entries.iter().find(|stored| stored.entry.assignment == assignment)?;
    let LedgerEntry { role, scope, bindings, .. } = stored.entry.clone();
    Some(PlannedWait { kind, role, scope, bindings, reason })
}

/// What is held before and after, for other bindings than before.
fn changes_of_bindings(before: &UserLedger, after: &UserLedger) -> Vec<BindingsChange> {
    let held = |stored: &&StoredEntry| stored.entry.state == AssignmentState::Present;
    let mut changes = Vec::new();
    for StoredEntry { entry: old, .. } in before.entries.iter().filter(held) {
        let same = |stored: &&StoredEntry| stored.entry.assignment == old.assignment;
        let new = after.entries.iter().filter(held).find(same).map(|stored| &stored.entry);
        if let Some(new) = new.filter(|new| new.bindings != old.bindings) {
            let (role, scope) = (old.role, old.scope.clone());
            let (before, after) = (old.bindings.clone(), new.bindings.clone());
            changes.push(BindingsChange { role, scope, before, after });
        }
    }
    changes
}
