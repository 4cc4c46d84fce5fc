//! Rows of the whole installation: the snapshot in force, selector pins, throttles, cadences, the instance id.

use super::codec::{Fields, Reader};
use super::room::Claims;
use super::throttles::Throttles;
use super::{Store, StoreError, keys};
use crate::id::{GroupId, InstanceId, OpId};
use crate::ports::tables::{Answer, ETag, Match, Row, Write};
use std::collections::BTreeMap;

/// Rows under `s:`: the pointer, the instance id, cadences, and throttles by subscription.
const SETTINGS_ROWS_MAX: usize = 5000;
/// Pinned selectors that are read at once.
const PINS_ROWS_MAX: usize = 5000;

/// The snapshot of the bindings that everybody plans with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    pub stamp: String,
    pub hash: String,
    pub etag: ETag,
}

/// What stands under `s:`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub pointer: Option<Pointer>,
    pub instance: Option<InstanceId>,
    pub throttles: Throttles,
    pub claims: Claims,
}

/// A binding's selector, pinned to the group that it first matched.
#[derive(Debug, Clone)]
pub struct SelectorPin {
    pub attribute: String,
    pub value: String,
    pub group: GroupId,
    pub etag: ETag,
}

impl Store {
    /// Everything under `s:` in one trip, with the service's clock.
    pub async fn settings(&self) -> Result<Settings, StoreError> {
        let mut settings = Settings::default();
        for row in self.rows("s:", SETTINGS_ROWS_MAX).await? {
            settings.take(&row)?;
        }
        Ok(settings)
    }

    /// The snapshot in force.
    pub async fn pointer(&self) -> Result<Option<Pointer>, StoreError> {
        self.get(&keys::setting("bindings")).await?.as_ref().map(read_pointer).transpose()
    }

    /// The snapshot in force, with the service's clock.
    pub async fn pointer_now(&self) -> Result<Answer<Option<Pointer>>, StoreError> {
        let Answer { value, date } = self.read(&keys::setting("bindings")).await?;
        Ok(Answer { value: value.as_ref().map(read_pointer).transpose()?, date })
    }

    /// The bytes of a stored snapshot.
    pub async fn snapshot(&self, stamp: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.get(&keys::snapshot(stamp)).await? {
            Some(row) => Ok(Some(Reader::new(&row)?.bytes("b")?)),
            None => Ok(None),
        }
    }

    /// Every pinned selector, by its row key.
    pub async fn selector_pins(&self) -> Result<BTreeMap<String, SelectorPin>, StoreError> {
        let rows = self.rows("b:", PINS_ROWS_MAX).await?;
        // One that cannot be read is in the way of its own binding only: whoever would pin anew meets the row.
        let read = |row: &Row| {
            read_selector(row).inspect_err(|error| tracing::error!(error = %error, "a pin cannot be read"))
        };
        Ok(rows.iter().filter_map(|row| Some((row.key.clone(), read(row).ok()?))).collect())
    }

    /// The id of this installation: made at the first start, read afterwards.
    pub async fn instance(&self) -> Result<InstanceId, StoreError> {
        let key = keys::setting("instance");
        if let Some(row) = self.get(&key).await? {
            return Reader::new(&row)?.parsed("id", InstanceId::parse);
        }
        let id = InstanceId::new(self.ids.random());
        let properties = Fields::row().text("id", id.to_string()).done();
        match self.move_looking(&[Write::Insert { key: key.clone(), properties }]).await {
            Ok(_) => Ok(id),
            Err(error) => match self.get(&key).await? {
                Some(row) => Reader::new(&row)?.parsed("id", InstanceId::parse),
                None => Err(error),
            },
        }
    }
}

impl Settings {
    fn take(&mut self, row: &Row) -> Result<(), StoreError> {
        let name = row.key.strip_prefix("s:").unwrap_or_default();
        if name == "bindings" {
            self.pointer = Some(read_pointer(row)?);
        } else if name == "instance" {
            self.instance = Some(Reader::new(row)?.parsed("id", InstanceId::parse)?);
        } else {
            self.throttles.take(row);
            self.claims.take(row);
        }
        Ok(())
    }
}

fn read_pointer(row: &Row) -> Result<Pointer, StoreError> {
    let reader = Reader::new(row)?;
    Ok(Pointer {
        stamp: reader.text("stamp")?.to_owned(),
        hash: reader.text("hash")?.to_owned(),
        etag: row.etag.clone(),
    })
}

/// The pointer moves to a snapshot, over the version that was read.
pub fn point(stamp: &str, hash: &str, read: Option<&ETag>) -> Write {
    let (key, properties) =
        (keys::setting("bindings"), Fields::row().text("stamp", stamp).text("hash", hash).done());
    match read {
        Some(etag) => Write::Replace { key, properties, condition: Match::Exact(etag.clone()) },
        None => Write::Insert { key, properties },
    }
}

/// A snapshot is stored.
pub fn store_snapshot(stamp: &str, hash: &str, bytes: &[u8]) -> Write {
    let properties = Fields::row().text("hash", hash).bytes("b", bytes).done();
    Write::Insert { key: keys::snapshot(stamp), properties }
}

fn read_selector(row: &Row) -> Result<SelectorPin, StoreError> {
    let reader = Reader::new(row)?;
    Ok(SelectorPin {
        attribute: reader.text("attribute")?.to_owned(),
        value: reader.text("value")?.to_owned(),
        group: reader.parsed("group", GroupId::parse)?,
        etag: row.etag.clone(),
    })
}

/// A selector is pinned to a group: for the first time, or over a pin whose group is gone.
pub fn pin_selector(
    key: String,
    attribute: &str,
    value: &str,
    group: GroupId,
    op: OpId,
    read: Option<&ETag>,
) -> Write {
    let properties = Fields::row()
        .text("attribute", attribute)
        .text("value", value)
        .text("group", group.to_string())
        .text("op", op.to_string())
        .done();
    match read {
        Some(etag) => Write::Replace { key, properties, condition: Match::Exact(etag.clone()) },
        None => Write::Insert { key, properties },
    }
}
