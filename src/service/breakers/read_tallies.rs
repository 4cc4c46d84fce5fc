//! The tallies that a judgement needs, with the versions that its writes require.

use crate::rbac::BindingName;
use crate::rbac::breaker::{BindingTally, RevocationLimits, Tallies, TenantTally};
use crate::service::join_reads::join_reads;
use crate::store::tally::{self, StoredTally};
use crate::store::{StateStore, StoreError, TableWrite};
use futures_util::try_join;
use std::collections::{BTreeMap, BTreeSet};

/// The tallies as they were read, or as this process wrote them last.
pub(super) struct ReadTallies {
    pub bindings: BTreeMap<BindingName, StoredTally<BindingTally>>,
    pub all: StoredTally<TenantTally>,
    /// Those of a later release: they must not be written over.
    pub too_new: BTreeSet<BindingName>,
    /// They were not read.
    pub are_remembered: bool,
}

impl ReadTallies {
    /// Reads the tallies of these bindings, and that of all. An error where that of all is of a later release.
    pub async fn read(store: &StateStore, names: BTreeSet<BindingName>) -> Result<Self, StoreError> {
        let tally = |name: BindingName| async move {
            match store.tally(&name).await {
                Err(StoreError::TooNew { .. }) => Ok((name, None)),
                stored => Ok((name, Some(stored?))),
            }
        };
        let bindings = join_reads(names.into_iter().map(tally));
        let (bindings, all) = try_join!(bindings, store.tally_of_all())?;
        let mut read =
            Self { bindings: BTreeMap::new(), all, too_new: BTreeSet::new(), are_remembered: false };
        for (name, stored) in bindings {
            match stored {
                Some(stored) => drop(read.bindings.insert(name, stored)),
                None => drop(read.too_new.insert(name)),
            }
        }
        Ok(read)
    }

    /// `None`: one of them is missing or damaged.
    pub fn tallies(&self, limits: RevocationLimits) -> Option<Tallies> {
        let whole = |(name, stored): (&BindingName, &StoredTally<BindingTally>)| {
            Some((name.clone(), stored.tally.clone()?))
        };
        Some(Tallies {
            limits,
            bindings: self.bindings.iter().map(whole).collect::<Option<_>>()?,
            all: self.all.tally.clone()?,
            trips: Vec::new(),
        })
    }

    /// The writes of what changed.
    pub fn writes(&self, tallies: &Tallies) -> Vec<TableWrite> {
        let changed = |(name, stored): (&BindingName, &StoredTally<BindingTally>)| {
            let tally = tallies.bindings.get(name).filter(|tally| stored.tally.as_ref() != Some(tally))?;
            Some(tally::write_binding(name, tally, stored.etag.as_ref()))
        };
        let all = (self.all.tally.as_ref() != Some(&tallies.all))
            .then(|| tally::write_all(&tallies.all, self.all.etag.as_ref()));
        self.bindings.iter().filter_map(changed).chain(all).collect()
    }

    /// Whether a judgement may rest on them: a remembered tally is proven by the version that its write requires. What all bindings
    /// have in common decides nothing about a grant that passes, and is written where one does not.
    pub fn are_proven_by(&self, judged: &Tallies, takes_away: bool) -> bool {
        let is_written = |(name, stored): (&BindingName, &StoredTally<BindingTally>)| {
            judged.bindings.get(name).is_some_and(|tally| stored.tally.as_ref() != Some(tally))
        };
        let all_is_proven = !takes_away || self.all.tally.as_ref() != Some(&judged.all);
        !self.are_remembered || (all_is_proven && self.bindings.iter().all(is_written))
    }

    /// Whether none of these is of a later release.
    pub fn may_count<'a>(&self, mut names: impl Iterator<Item = &'a BindingName>) -> bool {
        names.all(|name| !self.too_new.contains(name))
    }
}
