//! One preview while it is made, and what all previews of one walk share.

use super::selectors::SelectorView;
use super::tenant_plan::{PersonPlan, TenantPlan};
use crate::id::{InstanceId, PrincipalId, UserId};
use crate::rbac::plan::PlanLimits;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::effective_groups::GroupGraph;
use crate::store::batches::Batches;
use crate::store::tenant_walk::{PersonRecord, PrincipalHolders};
use crate::store::waiting_requests::WaitingRequests;
use std::collections::{BTreeMap, BTreeSet};

/// What is previewed.
#[derive(Debug, Clone)]
pub struct PreviewOf {
    pub snapshot: ActiveSnapshot,
    /// An operator's pause keeps steps back. A file that is not active yet is planned without it.
    pub under_pause: bool,
}

/// What all previews of one walk share.
pub(super) struct SharedFacts {
    pub holders: PrincipalHolders,
    /// Why people will be reconciled next.
    pub requests: WaitingRequests,
    /// Which groups are in which.
    pub nesting: GroupGraph<()>,
    pub braked: BTreeSet<PrincipalId>,
    pub paused: bool,
    /// What the breakers hold.
    pub batches: Batches,
    pub instance: InstanceId,
    pub limits: PlanLimits,
}

/// What is previewed, with what is known of its selectors and what the preview found so far.
pub(super) struct View<'a> {
    pub of: &'a PreviewOf,
    pub selectors: SelectorView,
    /// Free principals that a record takes before it acts.
    pub taken: BTreeMap<PrincipalId, UserId>,
    /// For each principal that a record holds, by its place: whether that record is still of it.
    pub still_named: Vec<bool>,
    /// People who wait for a principal that another record holds, the first of them.
    pub waiting: Vec<PersonRecord>,
    pub plan: TenantPlan,
}

impl<'a> View<'a> {
    pub(super) fn new(of: &'a PreviewOf, selectors: SelectorView, facts: &SharedFacts) -> Self {
        let still_named = vec![false; facts.holders.number()];
        let (taken, waiting, plan) = Default::default();
        Self { of, selectors, taken, still_named, waiting, plan }
    }

    /// Whether the record that holds a principal is still of it. Known once everybody was read.
    fn is_still_named(&self, principal: PrincipalId, facts: &SharedFacts) -> bool {
        let place = facts.holders.place(principal);
        place.and_then(|place| self.still_named.get(place)) == Some(&true)
    }

    /// Says of those who wait for a principal that its holder is still of it.
    pub(super) fn name_conflicts(&mut self, facts: &SharedFacts) {
        let mut people = std::mem::take(&mut self.plan.people);
        for person in &mut people {
            if person.waits_for.is_some_and(|principal| self.is_still_named(principal, facts)) {
                person.wait_in_conflict();
            }
        }
        self.plan.people = people;
    }

    /// The people who take a principal once its holder is done with it: each the only one who waits for it, from a record that
    /// has steps and so will be reconciled. Which of several is first, and when other holders are reconciled, no plan knows.
    pub(super) fn heirs(&mut self, facts: &SharedFacts) -> Vec<PersonRecord> {
        let waits_for =
            |view: &Self, record: &PersonRecord| view.plan_of(record.user).and_then(|plan| plan.waits_for);
        let mut waiting: BTreeMap<PrincipalId, Vec<PersonRecord>> = BTreeMap::new();
        for record in std::mem::take(&mut self.waiting) {
            if let Some(principal) = waits_for(self, &record) {
                waiting.entry(principal).or_default().push(record);
            }
        }
        let mut heirs = Vec::new();
        for (principal, mut records) in waiting {
            let holder = facts.holders.of(principal).record();
            let has_steps =
                holder.and_then(|holder| self.plan_of(holder)).is_some_and(|plan| !plan.steps.is_empty());
            if let (Some(record), 0) = (records.pop(), records.len())
                && has_steps
                && !self.is_still_named(principal, facts)
            {
                self.taken.insert(principal, record.user);
                heirs.push(record);
            }
        }
        heirs
    }

    fn plan_of(&self, user: UserId) -> Option<&PersonPlan> {
        let place = self.plan.people.binary_search_by_key(&user, |plan| plan.person).ok()?;
        self.plan.people.get(place)
    }

    /// A plan in the place of the one before.
    pub(super) fn replace(&mut self, plan: PersonPlan) {
        if let Ok(place) = self.plan.people.binary_search_by_key(&plan.person, |plan| plan.person)
            && let Some(before) = self.plan.people.get_mut(place)
        {
            *before = plan;
        }
    }
}
