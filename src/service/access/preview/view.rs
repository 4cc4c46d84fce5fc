//! One preview while it is made, and what all previews of one walk share.

use super::selectors::SelectorView;
use super::tenant_plan::TenantPlan;
use crate::id::{InstanceId, PrincipalId, UserId};
use crate::rbac::plan::PlanLimits;
use crate::service::bindings::active::ActiveSnapshot;
use crate::store::tenant_walk::PrincipalHolders;
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
    pub braked: BTreeSet<PrincipalId>,
    pub paused: bool,
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
    pub plan: TenantPlan,
}

impl<'a> View<'a> {
    pub(super) fn new(of: &'a PreviewOf, selectors: SelectorView, facts: &SharedFacts) -> Self {
        let still_named = vec![false; facts.holders.number()];
        Self { of, selectors, taken: BTreeMap::new(), still_named, plan: TenantPlan::default() }
    }

    /// The plan. Whether another record is still of a principal is known once everybody was read.
    pub(super) fn finish(mut self, facts: &SharedFacts) -> TenantPlan {
        for person in &mut self.plan.people {
            let place = person.waits_for.and_then(|principal| facts.holders.place(principal));
            if place.and_then(|place| self.still_named.get(place)) == Some(&true) {
                person.wait_in_conflict();
            }
        }
        self.plan
    }
}
