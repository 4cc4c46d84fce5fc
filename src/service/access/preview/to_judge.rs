//! What has to be known of the steps of a plan before the breakers can judge them.

use crate::audit::{ChangeCause, ChangeOrigin};
use crate::id::{OpId, UserId};
use crate::rbac::breaker::HolderId;
use crate::rbac::ledger::LedgerEntry;
use crate::rbac::plan::Step;
use crate::rbac::{AssignmentName, BindingName};
use crate::service::breakers::{CountedLedger, StepQuestion, is_counted, questions};
use crate::service::reconcile::RoundFacts;
use crate::store::ledger::UserLedger;
use crate::store::reconcile_queue::{Priority, ReconcileRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// A step of a plan.
pub type StepId = (UserId, AssignmentName);

/// The questions of a plan, and what they are judged over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToJudge {
    pub(super) people: BTreeMap<UserId, PersonToJudge>,
    /// Everyone, as the walk over the tenant found them.
    pub(super) ledger: Arc<CountedLedger>,
}

/// The steps of one person that the breakers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PersonToJudge {
    /// The change whose request the person has.
    pub op: OpId,
    /// As the requests of now have them judged.
    pub as_now: Vec<StepQuestion>,
    /// As they are judged where a file causes them that an operator agreed to.
    pub as_agreed: Vec<StepQuestion>,
    /// Bindings that no longer give the person their role, once the steps are done.
    pub leaves: Vec<BindingName>,
    /// Bindings that give what others gave before, without a step.
    pub takes_over: Vec<BindingName>,
}

impl PersonToJudge {
    pub(super) fn new(op: OpId) -> Self {
        let (as_now, as_agreed, leaves, takes_over) = Default::default();
        Self { op, as_now, as_agreed, leaves, takes_over }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_now.is_empty()
            && self.as_agreed.is_empty()
            && self.leaves.is_empty()
            && self.takes_over.is_empty()
    }

    /// Adds the steps of a round.
    pub(super) fn ask(&mut self, facts: &RoundFacts<'_>, steps: &[Step]) {
        self.as_now.extend(questions(facts, steps));
        let priority = facts.request.priority.max(Priority::Rebinding);
        let request = ReconcileRequest { origin: agreed_file(), priority, ..facts.request.clone() };
        self.as_agreed.extend(questions(&RoundFacts { request: &request, ..*facts }, steps));
    }

    /// Notes what the rounds made of the ledger.
    pub(super) fn note_moves(&mut self, before: &UserLedger, after: &UserLedger) {
        let (before, after) = (counted_bindings(before), counted_bindings(after));
        self.leaves = before.difference(&after).map(|name| (*name).clone()).collect();
        let granted: BTreeSet<&BindingName> = self.as_now.iter().flat_map(StepQuestion::bindings).collect();
        let came = after.difference(&before).filter(|name| !granted.contains(*name));
        self.takes_over = came.map(|name| (*name).clone()).collect();
    }
}

/// Bindings by which a person counts.
fn counted_bindings(ledger: &UserLedger) -> BTreeSet<&BindingName> {
    let counted = ledger.entries.iter().map(|stored| &stored.entry).filter(|entry| is_counted(entry));
    counted.flat_map(|entry| &entry.bindings).collect()
}

/// Where a request comes from that a file causes, once an operator agreed to it.
fn agreed_file() -> ChangeOrigin {
    ChangeOrigin { cause: ChangeCause::Snapshot, actor: "operator".to_owned(), op: OpId::new(Uuid::nil()) }
}

/// Where a step comes from that no request is known for.
pub(super) fn unknown_request() -> ReconcileRequest {
    let (cause, op) = (ChangeCause::Sweep, OpId::new(Uuid::nil()));
    let origin = ChangeOrigin { cause, actor: String::new(), op };
    ReconcileRequest { priority: Priority::Gain, origin, taken: None }
}

/// Counts what a person holds.
pub(super) fn count<'a>(
    ledger: &mut CountedLedger,
    user: UserId,
    entries: impl Iterator<Item = &'a LedgerEntry>,
) {
    entries.for_each(|entry| ledger.count(HolderId::from(user), entry));
}
