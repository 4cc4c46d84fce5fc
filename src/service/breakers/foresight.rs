//! What the breakers would say of a plan: they judge over the tallies as these are now, and nothing is written.

use crate::id::{OpId, UserId};
use crate::rbac::breaker::{BindingTally, HolderId, RevocationLimits, Ruling, Tallies, TenantTally};
use crate::rbac::{BindingName, ReasonCode};
use crate::service::breakers::StepQuestion;
use crate::service::breakers::judgement::judge_step;
use crate::service::breakers::read_tallies::ReadTallies;
use crate::service::breakers::recount::{CountedLedger, mended, rebuilt};
use crate::store::batches::BatchState;
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// The tallies, and what they say after each step that was judged over them.
#[derive(Debug, Clone)]
pub struct Foresight {
    tallies: Tallies,
    /// Tallies of a later release: what they count is not known.
    too_new: BTreeSet<BindingName>,
    now: OffsetDateTime,
    fresh: OpId,
}

impl Foresight {
    /// Reads the tallies of these bindings. People who left pass the breakers unseen until the service counts everyone again:
    /// here everyone is counted, as `ledger` has them. `None`: a later release counts.
    pub async fn read(
        store: &StateStore,
        names: BTreeSet<BindingName>,
        ledger: &CountedLedger,
        limits: RevocationLimits,
    ) -> Result<Option<Self>, StoreError> {
        let read = match ReadTallies::read(store, names).await {
            Err(StoreError::TooNew { .. }) => return Ok(None),
            read => read?,
        };
        let now = store.table_time().await?;
        let batches = store.batches().await?;
        let mut bindings = BTreeMap::new();
        for (name, stored) in &read.bindings {
            let counted = ledger.bindings.get(name);
            let tally = match &stored.tally {
                Some(tally) => mended(tally, tally, counted),
                None => rebuilt(counted, stored.is_damaged(), now),
            };
            bindings.insert(name.clone(), tally);
        }
        let people = ledger.people.len();
        let mut all = read.all.tally.unwrap_or_else(|| TenantTally { people, ..TenantTally::default() });
        // A batch that was decided takes in nothing more.
        all.open.retain(|_, open| batches.get(open.id).is_some_and(|batch| batch.state == BatchState::Held));
        let mut tallies = Tallies { limits, bindings, all, trips: Vec::new() };
        let decided = batches.each().filter(|batch| batch.state != BatchState::Held);
        decided.for_each(|batch| tallies.forget_batch(batch.id));
        Ok(Some(Self { tallies, too_new: read.too_new, now, fresh: store.ids.op() }))
    }

    /// Why a step would not be sent; `None`: it passes, and is counted.
    pub fn judge(&mut self, user: UserId, step: &StepQuestion) -> Option<ReasonCode> {
        if step.bindings().any(|name| self.too_new.contains(name)) {
            return Some(ReasonCode::RowUnreadable);
        }
        match judge_step(user, step, &mut self.tallies, self.now, self.fresh) {
            Ruling::Passes => None,
            Ruling::Full => Some(ReasonCode::MaxPrincipals),
            Ruling::Unknown { .. } => Some(ReasonCode::RowUnreadable),
            Ruling::Held { .. } => Some(ReasonCode::HeldByBreaker),
        }
    }

    /// The binding no longer gives the person its role.
    pub fn leave(&mut self, user: UserId, binding: &BindingName) {
        if let Some(tally) = self.tallies.bindings.get_mut(binding) {
            tally.holders.remove(&HolderId::from(user));
            tally.kept.remove(&HolderId::from(user));
        }
    }

    /// The binding gives the person what another binding gave before.
    pub fn take_over(&mut self, user: UserId, binding: &BindingName) {
        if let Some(tally) = self.tallies.bindings.get_mut(binding) {
            tally.holders.insert(HolderId::from(user));
        }
    }

    /// How many people the binding gives its role by now.
    pub fn people(&self, binding: &BindingName) -> usize {
        self.tallies.bindings.get(binding).map_or(0, BindingTally::people)
    }
}
