//! Which steps of a round the breakers count.

use crate::audit::ChangeCause;
use crate::bindings::Bindings;
use crate::rbac::breaker::{Admission, BatchKind, TakenBy};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, StepKind};
use crate::rbac::plan::Step;
use crate::rbac::{AssignmentName, BindingName};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::reconcile::RoundFacts;
use crate::store::batches::BatchState;
use crate::store::reconcile_queue::Priority;

/// Bindings of one step that are counted. Where more give the same role at the same scope, the first say enough.
const BINDINGS_OF_STEP_MAX: usize = 5;

/// A step, and what has to be known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepQuestion {
    pub assignment: AssignmentName,
    pub(super) question: Question,
}

/// What is asked of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// What these bindings gave is taken away.
    Revocation { bindings: Vec<BindingName>, taken: TakenBy },
    /// A new person is given a role.
    Grant { by: Vec<Admission> },
    /// The same, as an operator decided.
    ReleasedGrant { by: Vec<Admission> },
}

impl StepQuestion {
    /// The kind of batch that would hold it.
    pub(super) const fn batch_kind(&self) -> BatchKind {
        match self.question {
            Question::Revocation { .. } => BatchKind::Revocations,
            Question::Grant { .. } | Question::ReleasedGrant { .. } => BatchKind::Grants,
        }
    }

    /// Whether something would be taken away.
    pub const fn takes_away(&self) -> bool {
        matches!(self.question, Question::Revocation { .. })
    }

    /// The bindings whose tallies decide.
    pub fn bindings(&self) -> Box<dyn Iterator<Item = &BindingName> + '_> {
        match &self.question {
            Question::Revocation { bindings, .. } => Box::new(bindings.iter()),
            Question::Grant { by } | Question::ReleasedGrant { by } => {
                Box::new(by.iter().map(|admission| &admission.binding))
            }
        }
    }
}

/// The steps that are counted. Those of people who leave are not, nor what was opened before, nor what other bindings cause.
pub fn questions(facts: &RoundFacts<'_>, steps: &[Step]) -> Vec<StepQuestion> {
    let ActiveSnapshot::Known(snapshot) = facts.snapshot else { return Vec::new() };
    let question = |step: &Step| {
        let question = match step.kind {
            StepKind::Revoke => revocation(facts, &snapshot.bindings, step)?,
            StepKind::Grant => grant(facts, &snapshot.bindings, step)?,
        };
        Some(StepQuestion { assignment: step.assignment, question })
    };
    steps.iter().filter_map(question).collect()
}

fn revocation(facts: &RoundFacts<'_>, bindings: &Bindings, step: &Step) -> Option<Question> {
    let entry = step.entry.as_ref()?;
    if !facts.desired.may_be_held_back(step.principal)
        || was_revoked_before(entry)
        || is_released(facts, entry)
    {
        return None;
    }
    let request = facts.request;
    // What an operator agreed to, or ordered for a whole group, is not judged.
    let is_agreed = request.origin.is_agreed_file() || request.origin.cause == ChangeCause::Order;
    // Who is a leaver too lost something by another change, whatever came later.
    if request.taken.is_none() && is_agreed && request.priority == Priority::Rebinding {
        return None;
    }
    // What no binding gives any more was taken by a change of the bindings, which has a judgement of its own.
    let giving = bindings.bindings.iter().filter(|b| b.role == entry.role && b.scope == entry.scope);
    let giving: Vec<&BindingName> = giving.map(|binding| &binding.name).collect();
    let own: Vec<&BindingName> =
        giving.iter().filter(|name| entry.bindings.contains(name)).copied().collect();
    // A binding that was only renamed gives it under its new name.
    let bindings = if own.is_empty() { giving } else { own };
    let bindings: Vec<BindingName> = bindings.into_iter().take(BINDINGS_OF_STEP_MAX).cloned().collect();
    let taken = request.taken.unwrap_or_else(|| TakenBy::one_person(request.origin.op, facts.user));
    (!bindings.is_empty()).then_some(Question::Revocation { bindings, taken })
}

fn grant(facts: &RoundFacts<'_>, bindings: &Bindings, step: &Step) -> Option<Question> {
    if step.entry.as_ref().is_some_and(was_granted_before) {
        return None;
    }
    let admission = |name: &BindingName| {
        let binding = bindings.bindings.iter().find(|binding| &binding.name == name)?;
        Some(Admission { binding: name.clone(), limits: binding.limits })
    };
    let by: Vec<Admission> = step.bindings.iter().filter_map(admission).take(BINDINGS_OF_STEP_MAX).collect();
    let released = step.entry.as_ref().is_some_and(|entry| is_released(facts, entry));
    // What a file gives that an operator agreed to was judged with its plan.
    let judged = released || facts.request.origin.is_agreed_file();
    match (by.is_empty(), judged) {
        (true, _) => None,
        (false, true) => Some(Question::ReleasedGrant { by }),
        (false, false) => Some(Question::Grant { by }),
    }
}

/// The revocation passed already: it was opened.
fn was_revoked_before(entry: &LedgerEntry) -> bool {
    let tried = entry.retry.as_ref().is_some_and(|retry| retry.kind == StepKind::Revoke);
    tried || entry.unsettled_until.is_some() && entry.state == AssignmentState::Gone
}

/// The grant passed already: it was opened, or is there.
fn was_granted_before(entry: &LedgerEntry) -> bool {
    let tried = entry.retry.as_ref().is_some_and(|retry| retry.kind == StepKind::Grant);
    tried || entry.unsettled_until.is_some() || entry.state != AssignmentState::Gone
}

fn is_released(facts: &RoundFacts<'_>, entry: &LedgerEntry) -> bool {
    let batch = entry.hold.and_then(|batch| facts.batches.get(batch));
    batch.is_some_and(|batch| batch.state == BatchState::Released)
}
