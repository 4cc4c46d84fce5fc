//! What a preview found: person by person, in totals, and as a hash that tells whether the plan moved.

use super::to_judge::{StepId, ToJudge};
use crate::id::{PrincipalId, UserId};
use crate::rbac::ledger::StepKind;
use crate::rbac::plan::GrantReason;
use crate::rbac::{AssignmentName, BackupRole, BindingName, ReasonCode, Scope};
use crate::service::breakers::CountedLedger;
use crate::store::settings::content_hash;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the header of a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonState {
    Active,
    Inactive,
    Deleted,
    Unreadable,
}

impl PersonState {
    /// The word for people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            PersonState::Active => "active",
            PersonState::Inactive => "inactive",
            PersonState::Deleted => "deleted",
            PersonState::Unreadable => "unreadable",
        }
    }
}

/// One grant or revocation that would be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    pub kind: StepKind,
    pub assignment: AssignmentName,
    pub principal: PrincipalId,
    pub role: BackupRole,
    pub scope: Scope,
    pub bindings: Vec<BindingName>,
    /// Of a grant: through which groups the person has it.
    pub reasons: Vec<GrantReason>,
    /// Why Azure did not carry it out the last time, where it was tried.
    pub failing: Option<ReasonCode>,
}

/// An assignment that stays, for other bindings than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingsChange {
    pub role: BackupRole,
    pub scope: Scope,
    pub before: Vec<BindingName>,
    pub after: Vec<BindingName>,
}

/// A grant or a revocation that would not be sent, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedWait {
    pub kind: StepKind,
    pub role: BackupRole,
    pub scope: Scope,
    pub bindings: Vec<BindingName>,
    pub reason: ReasonCode,
}

/// A step that a limit makes wait, as far as a plan foresees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitedStep {
    pub step: PlannedStep,
    pub reason: ReasonCode,
}

/// What would be done for one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonPlan {
    pub person: UserId,
    pub state: PersonState,
    /// The userName, where the header has one that can be read.
    pub name: Option<String>,
    pub steps: Vec<PlannedStep>,
    pub kept: Vec<BindingsChange>,
    pub waits: Vec<PlannedWait>,
    /// Steps that a breaker or a full binding would make wait: they are among `waits`, and no `steps`.
    pub limited: Vec<LimitedStep>,
    /// The Entra object that another record holds.
    pub waits_for: Option<PrincipalId>,
}

impl PersonPlan {
    pub(super) fn new(person: UserId, state: PersonState, name: Option<String>) -> Self {
        let (steps, kept, waits, limited) = Default::default();
        Self { person, state, name, steps, kept, waits, limited, waits_for: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.kept.is_empty() && self.waits.is_empty()
    }

    /// The order in which the rounds came says nothing.
    pub(super) fn sort(&mut self) {
        self.steps.sort_by(|one, other| {
            (one.kind, one.role, &one.scope, one.principal).cmp(&(
                other.kind,
                other.role,
                &other.scope,
                other.principal,
            ))
        });
        self.waits.sort_by(|one, other| {
            (one.kind, one.role, &one.scope, &one.bindings).cmp(&(
                other.kind,
                other.role,
                &other.scope,
                &other.bindings,
            ))
        });
    }

    /// The other record is still of the Entra object.
    pub(super) fn wait_in_conflict(&mut self) {
        for wait in self.waits.iter_mut().filter(|wait| wait.reason == ReasonCode::PrincipalReleasing) {
            wait.reason = ReasonCode::PrincipalConflict;
        }
    }

    /// The steps of one kind.
    pub fn steps_of(&self, kind: StepKind) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(move |step| step.kind == kind)
    }

    /// Everything that the bindings cause, what a limit makes wait included.
    pub fn caused(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().chain(self.limited.iter().map(|limited| &limited.step))
    }

    /// One line for each step that the bindings cause: verb, person, role and scope.
    fn lines(&self) -> impl Iterator<Item = String> {
        self.caused().map(|step| {
            let verb = step.kind.as_str();
            format!("{verb} {} {} {}", self.person, step.role.name(), step.scope.folded())
        })
    }
}

/// What would happen through one binding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BindingTotals {
    /// People who would be given its role.
    pub grants: usize,
    /// People from whom it would be taken.
    pub revocations: usize,
    /// Assignments that would stay for other bindings than before, this one among them.
    pub kept: usize,
    /// Grants and revocations that would not be sent.
    pub waits: usize,
}

/// A binding that has as many people as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullBinding {
    /// People whom it gives its role, once the plan is carried out.
    pub people: usize,
    /// People who wait for room.
    pub waiting: usize,
}

impl FullBinding {
    /// The `maxPrincipals` with which no one waits.
    pub const fn people_wanted(self) -> usize {
        self.people + self.waiting
    }
}

/// What would be done for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantPlan {
    /// The content hash of the file that is planned; `None`: the active bindings are.
    pub file: Option<String>,
    /// Those for whom anything would be done or waits, in the order of their ids.
    pub people: Vec<PersonPlan>,
    pub people_read: usize,
    /// Those of them that are gone and left something.
    pub deleted_read: usize,
    /// Bindings that any ledger row names.
    pub granted_before: BTreeSet<BindingName>,
    /// Bindings that people wait for because they are full.
    pub full: BTreeMap<BindingName, FullBinding>,
    /// What the limits still have to judge; empty once they did.
    pub to_judge: ToJudge,
}

impl TenantPlan {
    /// Whether nothing would be sent, and no breaker would trip.
    pub fn changes_nothing(&self) -> bool {
        self.people.iter().all(|person| person.steps.is_empty()) && self.would_be_held() == (0, 0)
    }

    /// How many revocations and grants of this plan the breakers would hold.
    pub fn would_be_held(&self) -> (usize, usize) {
        let limited = self.people.iter().flat_map(|person| &person.limited);
        let held = limited.filter(|limited| limited.reason == ReasonCode::HeldByBreaker);
        held.fold((0, 0), |(revocations, grants), limited| match limited.step.kind {
            StepKind::Revoke => (revocations + 1, grants),
            StepKind::Grant => (revocations, grants + 1),
        })
    }

    /// The steps of everyone, as their ids.
    pub fn step_ids(&self) -> BTreeSet<StepId> {
        let ids = |person: &PersonPlan| {
            let user = person.person;
            person.steps.iter().map(move |step| (user, step.assignment)).collect::<Vec<_>>()
        };
        self.people.iter().flat_map(ids).collect()
    }

    /// Notes what the steps are judged over.
    pub(super) fn judged_over(mut self, ledger: Arc<CountedLedger>) -> Self {
        self.to_judge.ledger = ledger;
        self
    }

    /// The userName of a person in the plan, where it is known.
    pub fn name_of(&self, person: &str) -> Option<&str> {
        let named = self.people.iter().find(|plan| plan.person.to_string() == person)?;
        named.name.as_deref()
    }

    /// Steps of that kind.
    fn number_of(&self, kind: StepKind) -> usize {
        self.people.iter().map(|person| person.steps_of(kind).count()).sum()
    }

    /// How many steps take something away, and how many give something.
    pub fn revocations_and_grants(&self) -> (usize, usize) {
        (self.number_of(StepKind::Revoke), self.number_of(StepKind::Grant))
    }

    /// Lower-case hex SHA-256 over the file that is planned, if one is, and the sorted lines of everything that the bindings
    /// cause. So agreeing to a plan is agreeing to its file. What a limit makes wait is part of it: the limits depend on the hour
    /// and on the order of people, the hash does not.
    pub fn hash(&self) -> String {
        let file = self.file.iter().map(|file| format!("file {file}"));
        content_hash(file.chain(self.lines()).collect::<Vec<_>>().join("\n").as_bytes())
    }

    /// One line for each step that the bindings cause, sorted.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.people.iter().flat_map(PersonPlan::lines).collect();
        lines.sort_unstable();
        lines
    }

    /// The totals of each binding that anything would happen through.
    pub fn by_binding(&self) -> BTreeMap<BindingName, BindingTotals> {
        let mut totals: BTreeMap<BindingName, BindingTotals> = BTreeMap::new();
        for person in &self.people {
            for step in [StepKind::Grant, StepKind::Revoke] {
                let bindings: BTreeSet<&BindingName> =
                    person.steps_of(step).flat_map(|step| &step.bindings).collect();
                for binding in bindings {
                    let totals = totals.entry(binding.clone()).or_default();
                    match step {
                        StepKind::Grant => totals.grants += 1,
                        StepKind::Revoke => totals.revocations += 1,
                    }
                }
            }
            for binding in person.kept.iter().flat_map(|change| &change.after) {
                totals.entry(binding.clone()).or_default().kept += 1;
            }
            for binding in person.waits.iter().flat_map(|wait| &wait.bindings) {
                totals.entry(binding.clone()).or_default().waits += 1;
            }
        }
        totals
    }
}
