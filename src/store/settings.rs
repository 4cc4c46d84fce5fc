//! Rows of the whole installation: the snapshot in force, throttles, cadences, the instance id.

use super::codec::{Fields, Reader};
use super::room::Claims;
use super::throttles::Throttles;
use super::{Store, StoreError, keys};
use crate::id::InstanceId;
use crate::ports::tables::{Answer, ETag, Match, Row, Write};

/// The snapshot of the bindings that everybody plans with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    pub stamp: String,
    pub hash: String,
    pub etag: ETag,
}

/// What stands in the row `s:bindings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PointerRow {
    /// Nothing was ever stored.
    #[default]
    Absent,
    Names(Pointer),
    Unreadable,
}

impl PointerRow {
    /// The snapshot that it names, where it can be read.
    pub const fn pointer(&self) -> Option<&Pointer> {
        match self {
            PointerRow::Names(pointer) => Some(pointer),
            PointerRow::Absent | PointerRow::Unreadable => None,
        }
    }

    /// The stamp of the snapshot that it names.
    pub fn stamp(&self) -> Option<&str> {
        self.pointer().map(|pointer| pointer.stamp.as_str())
    }

    /// Whether the same snapshot is in force by both.
    pub fn is_same(&self, other: &PointerRow) -> bool {
        let unreadable = |row: &PointerRow| *row == PointerRow::Unreadable;
        self.stamp() == other.stamp() && unreadable(self) == unreadable(other)
    }
}

/// What stands under `s:`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub pointer: PointerRow,
    /// `None`: it was not made yet, or cannot be read.
    pub instance: Option<InstanceId>,
    pub throttles: Throttles,
    pub claims: Claims,
}

impl Store {
    /// Everything under `s:`. There are as many rows as there are subscriptions that ever throttled: no number is too many.
    pub async fn settings(&self) -> Result<Settings, StoreError> {
        let mut settings = Settings::default();
        let (from, to) = keys::range_of("s:");
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(|row| self.take_setting(row, &mut settings));
        }
        Ok(settings)
    }

    fn take_setting(&self, row: &Row, settings: &mut Settings) {
        match row.key.strip_prefix("s:").unwrap_or_default() {
            "bindings" => settings.pointer = self.pointer_row(row),
            "instance" => settings.instance = self.readable(row, read_instance(row)),
            _ => {
                settings.throttles.take(row);
                settings.claims.take(row);
            }
        }
    }

    fn pointer_row(&self, row: &Row) -> PointerRow {
        self.readable(row, read_pointer(row)).map_or(PointerRow::Unreadable, PointerRow::Names)
    }

    /// The snapshot in force.
    pub async fn pointer(&self) -> Result<PointerRow, StoreError> {
        Ok(self.pointer_now().await?.value)
    }

    /// The snapshot in force, with the service's clock.
    pub async fn pointer_now(&self) -> Result<Answer<PointerRow>, StoreError> {
        let Answer { value, date } = self.read(&keys::setting("bindings")).await?;
        Ok(Answer { value: value.map_or(PointerRow::Absent, |row| self.pointer_row(&row)), date })
    }

    /// What the next snapshot replaces. A pointer that cannot be read is replaced too, by a snapshot that is newer than every
    /// one that was ever stored: so a package that is stamped anew mends it. One from further ahead is left alone.
    pub async fn pointer_to_replace(&self, row: &PointerRow) -> Result<Option<Pointer>, StoreError> {
        match row {
            PointerRow::Absent => return Ok(None),
            PointerRow::Names(pointer) => return Ok(Some(pointer.clone())),
            PointerRow::Unreadable => {}
        }
        let Some(row) = self.get(&keys::setting("bindings")).await? else { return Ok(None) };
        match read_pointer(&row) {
            Ok(pointer) => Ok(Some(pointer)),
            Err(error @ StoreError::TooNew { .. }) => Err(error),
            Err(_) => {
                Ok(Some(Pointer { stamp: self.last_stamp().await?, hash: String::new(), etag: row.etag }))
            }
        }
    }

    /// The stamp of the newest snapshot that was ever stored; empty where none was.
    async fn last_stamp(&self) -> Result<String, StoreError> {
        let (from, to) = keys::range_of("c:");
        let mut last = String::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            last = rows.last().map(|row| keys::last_part(&row.key).to_owned()).unwrap_or(last);
        }
        Ok(last)
    }

    /// The bytes of a stored snapshot, where they can be read.
    pub async fn snapshot(&self, stamp: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(row) = self.get(&keys::snapshot(stamp)).await? else { return Ok(None) };
        Ok(self.readable(&row, Reader::new(&row).and_then(|reader| reader.bytes("b"))))
    }

    /// The id of this installation: made at the first start, read afterwards.
    pub async fn instance(&self) -> Result<InstanceId, StoreError> {
        let key = keys::setting("instance");
        if let Some(row) = self.get(&key).await? {
            return read_instance(&row);
        }
        let id = InstanceId::new(self.ids.random());
        let properties = Fields::row().text("id", id.to_string()).done();
        match self.move_looking(&[Write::Insert { key: key.clone(), properties }]).await {
            Ok(_) => Ok(id),
            Err(error) => match self.get(&key).await? {
                Some(row) => read_instance(&row),
                None => Err(error),
            },
        }
    }
}

fn read_instance(row: &Row) -> Result<InstanceId, StoreError> {
    Reader::new(row)?.parsed("id", InstanceId::parse)
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
