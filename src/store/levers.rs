//! What operators set: the pause (`s:pause`) and the brakes (`s:brake:{oid}`). That a row is there decides; what it says is
//! shown. So a row that cannot be read still pauses or brakes.

use crate::id::{OpId, PrincipalId};
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use std::collections::BTreeMap;
use time::OffsetDateTime;

const PAUSE: &str = "pause";
const BRAKE: &str = "brake:";

/// Brakes that may be set: every reconcile reads them.
pub const BRAKES_MAX: usize = 1000;

/// The order that set a lever. Its outcome says who ordered it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeverOrder {
    pub order: OpId,
    pub since: OffsetDateTime,
}

/// A lever that is set. `set_by`: where its row can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLever {
    pub set_by: Option<LeverOrder>,
    pub etag: ETag,
}

/// What operators set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Levers {
    pub pause: Option<SetLever>,
    /// By the Entra object that is braked.
    pub brakes: BTreeMap<PrincipalId, SetLever>,
}

impl Levers {
    /// Whether nothing was set or lifted that concerns these Entra objects.
    pub fn is_same_for(&self, other: &Levers, mut principals: impl Iterator<Item = PrincipalId>) -> bool {
        let is_braked = |levers: &Levers, principal| levers.brakes.contains_key(&principal);
        self.pause.is_some() == other.pause.is_some()
            && principals.all(|principal| is_braked(self, principal) == is_braked(other, principal))
    }

    pub(super) fn read_row(&mut self, store: &StateStore, row: &TableRow) {
        let name = row.key.strip_prefix("s:").unwrap_or_default();
        let lever = || SetLever { set_by: store.readable(row, read(row)), etag: row.etag.clone() };
        if name == PAUSE {
            self.pause = Some(lever());
        }
        if let Some(principal) = name.strip_prefix(BRAKE).and_then(|id| PrincipalId::parse(id).ok()) {
            self.brakes.insert(principal, lever());
        }
    }
}

fn read(row: &TableRow) -> Result<LeverOrder, StoreError> {
    let reader = RowReader::new(row)?;
    Ok(LeverOrder { order: reader.parsed("order", OpId::parse)?, since: reader.time("since")? })
}

fn insert(name: &str, order: &LeverOrder) -> TableWrite {
    let properties =
        RowFields::row().text("order", order.order.to_string()).time("since", order.since).done();
    TableWrite::Insert { key: keys::setting(name), properties }
}

fn remove(name: &str, lever: &SetLever) -> TableWrite {
    TableWrite::Delete { key: keys::setting(name), condition: EtagMatch::Exact(lever.etag.clone()) }
}

/// The service is paused, and was not before.
pub fn pause(order: &LeverOrder) -> TableWrite {
    insert(PAUSE, order)
}

/// The same over a pause that is there: orders that were given before this one do not end it.
pub fn pause_again(order: &LeverOrder) -> TableWrite {
    match pause(order) {
        TableWrite::Insert { key, properties } => TableWrite::InsertOrReplace { key, properties },
        write => write,
    }
}

/// Whether the row is the pause.
pub(super) fn is_pause(key: &str) -> bool {
    key == keys::setting(PAUSE)
}

/// The service is no longer paused.
pub fn resume(pause: &SetLever) -> TableWrite {
    remove(PAUSE, pause)
}

/// An Entra object is braked, and was not before.
pub fn brake(principal: PrincipalId, order: &LeverOrder) -> TableWrite {
    insert(&format!("{BRAKE}{principal}"), order)
}

/// An Entra object is no longer braked.
pub fn lift(principal: PrincipalId, brake: &SetLever) -> TableWrite {
    remove(&format!("{BRAKE}{principal}"), brake)
}

impl StateStore {
    /// What operators set now.
    pub async fn levers(&self) -> Result<Levers, StoreError> {
        Ok(self.settings().await?.levers)
    }
}
