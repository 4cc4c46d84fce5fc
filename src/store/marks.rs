//! The marks that make somebody look: `d:` now, `w:` later, `dg:` at a whole group. They carry no data to act on.

use super::codec::{Fields, Reader};
use super::{StoreError, keys};
use crate::audit::{Cause, Origin};
use crate::id::{GroupId, OpId, UserId};
use crate::ports::tables::{ETag, Row, Write};
use time::OffsetDateTime;

/// Why somebody must be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Something was taken away: looked at before anyone who only gains.
    pub taken_away: bool,
    pub origin: Origin,
}

impl Mark {
    /// A mark without haste.
    pub fn new(origin: Origin) -> Self {
        Self { taken_away: false, origin }
    }

    /// The same, with a revocation among it.
    pub fn taking(origin: Origin) -> Self {
        Self { taken_away: true, origin }
    }

    /// The properties of a mark. `taken_away` is only ever set: a merge never clears it.
    pub fn fields(&self) -> Fields {
        let fields = Fields::row()
            .text("cause", self.origin.cause.as_str())
            .text("actor", self.origin.actor.clone())
            .text("op", self.origin.op.to_string());
        if self.taken_away { fields.flag("taken_away", true) } else { fields }
    }

    /// Reads the mark out of a `d:`, `w:`, `dg:` or `i:` row.
    pub fn read(reader: &Reader<'_>) -> Result<Self, StoreError> {
        let origin = Origin {
            cause: reader.parsed("cause", |text| Cause::parse(text).ok_or(()))?,
            actor: reader.text("actor")?.to_owned(),
            op: reader.parsed("op", OpId::parse)?,
        };
        Ok(Self { taken_away: reader.flag("taken_away")?, origin })
    }
}

/// Somebody to look at, as a row says it.
#[derive(Debug, Clone)]
pub struct Look {
    pub user: UserId,
    pub mark: Mark,
    pub etag: ETag,
}

impl Look {
    /// Reads a `d:` or `w:` row.
    pub fn read(row: &Row) -> Result<Self, StoreError> {
        let reader = Reader::new(row)?;
        let corrupt = |_| StoreError::Corrupt { row: row.key.clone(), property: "key".to_owned() };
        let user = UserId::parse(keys::last_part(&row.key)).map_err(corrupt)?;
        Ok(Self { user, mark: Mark::read(&reader)?, etag: row.etag.clone() })
    }
}

/// A change marks a person: cause, actor and op are replaced, a set `taken_away` stays.
pub fn look_now(user: UserId, mark: &Mark) -> Write {
    Write::InsertOrMerge { key: keys::look_now(user), properties: mark.fields().done() }
}

/// Look again, not before `at`.
pub fn look_later(at: OffsetDateTime, user: UserId, mark: &Mark) -> Write {
    Write::InsertOrMerge { key: keys::look_later(at, user), properties: mark.fields().done() }
}

/// A change marks everyone in a group; a walk that is under way begins again.
pub fn look_group(group: GroupId, mark: &Mark) -> Write {
    let properties = mark.fields().text("cursor", "").int("depth", 0).done();
    Write::InsertOrMerge { key: keys::look_group(group), properties }
}
