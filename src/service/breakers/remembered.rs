//! The tallies as this process wrote them last: they save a judgement its read.
//!
//! Nothing rests on this memory. Each tally is written under the version that is remembered with it, so a judgement over a tally
//! that another process changed writes nothing and begins again with a read. One that does not write all of them does too.

use crate::rbac::BindingName;
use crate::rbac::breaker::{BindingTally, Tallies, TenantTally};
use crate::service::breakers::read_tallies::ReadTallies;
use crate::store::CommittedWrites;
use crate::store::tally::StoredTally;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// Tallies of bindings that are remembered beside those of one judgement, at most.
const REMEMBERED_MAX: usize = 80;

/// What is remembered.
#[derive(Default)]
struct Written {
    bindings: BTreeMap<BindingName, StoredTally<BindingTally>>,
    all: Option<StoredTally<TenantTally>>,
}

/// The tallies as this process wrote them last.
#[derive(Default)]
pub(super) struct RememberedTallies {
    written: Mutex<Written>,
}

impl RememberedTallies {
    /// The tallies of these bindings, and that of all, if every one is remembered. They are forgotten until they are kept again.
    pub fn take(&self, names: &BTreeSet<BindingName>) -> Option<ReadTallies> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let all = written.all.take()?;
        let taken = names.iter().map(|name| Some((name.clone(), written.bindings.remove(name)?)));
        let bindings = taken.collect::<Option<_>>()?;
        Some(ReadTallies { bindings, all, too_new: BTreeSet::new(), are_remembered: true })
    }

    /// Keeps the tallies of a judgement: those that it wrote under their new versions, the others as they were read.
    pub fn keep(&self, read: &ReadTallies, judged: &Tallies, committed: &CommittedWrites) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut index = 0;
        let mut etag = |changed: bool, before: &_| {
            let at = index;
            index += usize::from(changed);
            if changed { committed.etag(at) } else { Option::clone(before) }
        };
        if written.bindings.len() > REMEMBERED_MAX {
            written.bindings.clear();
        }
        for (name, stored) in &read.bindings {
            let Some(tally) = judged.bindings.get(name) else { continue };
            let etag = etag(stored.tally.as_ref() != Some(tally), &stored.etag);
            // Where the answer was lost, the version is not known.
            if etag.is_some() {
                written.bindings.insert(name.clone(), StoredTally { tally: Some(tally.clone()), etag });
            }
        }
        let etag = etag(read.all.tally.as_ref() != Some(&judged.all), &read.all.etag);
        written.all = etag.map(|etag| StoredTally { tally: Some(judged.all.clone()), etag: Some(etag) });
    }
}
