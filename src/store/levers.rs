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

/// The order that set a lever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeverOrder {
    pub order: OpId,
    pub who: String,
    pub because: String,
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
    /// Whether the same levers are set.
    pub fn is_same(&self, other: &Levers) -> bool {
        self.pause.is_some() == other.pause.is_some() && self.brakes.keys().eq(other.brakes.keys())
    }

    pub(super) fn read_row(&mut self, row: &TableRow) {
        let name = row.key.strip_prefix("s:").unwrap_or_default();
        let lever = || SetLever { set_by: read(row), etag: row.etag.clone() };
        if name == PAUSE {
            self.pause = Some(lever());
        }
        if let Some(principal) = name.strip_prefix(BRAKE).and_then(|id| PrincipalId::parse(id).ok()) {
            self.brakes.insert(principal, lever());
        }
    }
}

fn read(row: &TableRow) -> Option<LeverOrder> {
    let read = || -> Result<LeverOrder, StoreError> {
        let reader = RowReader::new(row)?;
        Ok(LeverOrder {
            order: reader.parsed("order", OpId::parse)?,
            who: reader.text("who")?.to_owned(),
            because: reader.text("because")?.to_owned(),
            since: reader.time("since")?,
        })
    };
    read()
        .inspect_err(|error| tracing::error!(error = %error, "a lever is set, and its row cannot be read"))
        .ok()
}

fn insert(name: &str, order: &LeverOrder) -> TableWrite {
    let properties = RowFields::row()
        .text("order", order.order.to_string())
        .text("who", order.who.as_str())
        .text("because", order.because.as_str())
        .time("since", order.since)
        .done();
    TableWrite::Insert { key: keys::setting(name), properties }
}

fn remove(name: &str, lever: &SetLever) -> TableWrite {
    TableWrite::Delete { key: keys::setting(name), condition: EtagMatch::Exact(lever.etag.clone()) }
}

/// The service is paused, and was not before.
pub fn pause(order: &LeverOrder) -> TableWrite {
    insert(PAUSE, order)
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
