//! What a recovery brings back into the ledger, as the row of its job keeps it: packed, since there may be many.

use crate::id::{PrincipalId, UserId};
use crate::rbac::{AssignmentName, BackupRole, Scope};
use crate::store::StoreError;
use crate::store::codec::{RowFields, RowReader};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Rows of one recovery: they fit into the row of its job.
pub const RECOVERED_MAX: usize = 8000;
/// Bytes of one packed row: what it is, its role, the place of its scope, and three UUIDs.
const PACKED_BYTES: usize = 4 + 3 * 16;
const PIN: u8 = 0;
const UNWANTED: u8 = 1;
const WANTED: u8 = 2;

/// One row that comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveredRow {
    /// The record's own side of a pin.
    Pin { principal: PrincipalId, user: UserId },
    Assignment {
        principal: PrincipalId,
        user: UserId,
        role: BackupRole,
        scope: Scope,
        assignment: AssignmentName,
        is_wanted: bool,
    },
}

/// All of them, in the order in which they come back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveredRows(pub Vec<RecoveredRow>);

impl RecoveredRows {
    /// People from whom something is going to be revoked.
    pub fn people_revoked(&self) -> usize {
        let revoked = self.0.iter().filter_map(|row| match row {
            RecoveredRow::Assignment { user, is_wanted: false, .. } => Some(*user),
            RecoveredRow::Assignment { .. } | RecoveredRow::Pin { .. } => None,
        });
        revoked.collect::<std::collections::BTreeSet<_>>().len()
    }

    pub(super) fn fields(&self, fields: RowFields) -> RowFields {
        let mut places: BTreeMap<&str, u16> = BTreeMap::new();
        let mut scopes: Vec<&str> = Vec::new();
        let mut packed = Vec::with_capacity(self.0.len() * PACKED_BYTES);
        for row in &self.0 {
            let place = match row {
                RecoveredRow::Pin { .. } => 0,
                RecoveredRow::Assignment { scope, .. } => {
                    *places.entry(scope.as_str()).or_insert_with(|| {
                        scopes.push(scope.as_str());
                        u16::try_from(scopes.len() - 1).unwrap_or(u16::MAX)
                    })
                }
            };
            pack(row, place, &mut packed);
        }
        fields.bytes("scopes", Value::from(scopes).to_string().as_bytes()).bytes("rows", &packed)
    }

    pub(super) fn read(reader: &RowReader<'_>) -> Result<Self, StoreError> {
        let scopes = reader.json("scopes")?;
        let scope = |text: &Value| Scope::parse(text.as_str()?).ok();
        let scopes: Option<Vec<Scope>> = scopes.as_array().and_then(|list| list.iter().map(scope).collect());
        let scopes = scopes.ok_or_else(|| reader.corrupt("scopes"))?;
        let packed = reader.bytes("rows")?;
        let parts = packed.chunks_exact(PACKED_BYTES);
        if !parts.remainder().is_empty() {
            return Err(reader.corrupt("rows"));
        }
        let rows: Option<Vec<RecoveredRow>> = parts.map(|part| unpack(part, &scopes)).collect();
        rows.map(Self).ok_or_else(|| reader.corrupt("rows"))
    }
}

fn pack(row: &RecoveredRow, place: u16, packed: &mut Vec<u8>) {
    let (kind, role, principal, user, assignment) = match row {
        RecoveredRow::Pin { principal, user } => (PIN, 0, principal, user, Uuid::nil()),
        RecoveredRow::Assignment { principal, user, role, assignment, is_wanted, .. } => {
            let kind = if *is_wanted { WANTED } else { UNWANTED };
            let role = BackupRole::ALL.iter().position(|known| known == role).unwrap_or_default();
            (kind, u8::try_from(role).unwrap_or_default(), principal, user, assignment.uuid())
        }
    };
    packed.extend_from_slice(&[kind, role]);
    packed.extend_from_slice(&place.to_be_bytes());
    for id in [principal.uuid(), user.uuid(), assignment] {
        packed.extend_from_slice(id.as_bytes());
    }
}

fn unpack(packed: &[u8], scopes: &[Scope]) -> Option<RecoveredRow> {
    let (head, ids) = packed.split_at_checked(4)?;
    let [kind, role, place @ ..] = head else { return None };
    let place = usize::from(u16::from_be_bytes(place.try_into().ok()?));
    let mut ids = ids.chunks_exact(16).map(Uuid::from_slice);
    let (principal, user) = (PrincipalId::new(ids.next()?.ok()?), UserId::new(ids.next()?.ok()?));
    let assignment = AssignmentName::new(ids.next()?.ok()?);
    let is_wanted = match *kind {
        PIN => return Some(RecoveredRow::Pin { principal, user }),
        UNWANTED => false,
        WANTED => true,
        _ => return None,
    };
    let role = *BackupRole::ALL.get(usize::from(*role))?;
    let scope = scopes.get(place)?.clone();
    Some(RecoveredRow::Assignment { principal, user, role, scope, assignment, is_wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::tables::{ENTITY_BYTES_MAX, ETag, TableRow, rules};

    fn row(n: u128) -> RecoveredRow {
        let (principal, user) = (PrincipalId::new(Uuid::from_u128(n)), UserId::new(Uuid::from_u128(n << 64)));
        if n.is_multiple_of(5) {
            return RecoveredRow::Pin { principal, user };
        }
        let group = format!("{:0>90}", n % 300);
        let scope = format!("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/{group}");
        RecoveredRow::Assignment {
            principal,
            user,
            role: BackupRole::ALL[(n % 3) as usize],
            scope: Scope::parse(&scope).unwrap(),
            assignment: AssignmentName::new(Uuid::from_u128(!n)),
            is_wanted: n.is_multiple_of(2),
        }
    }

    fn stored(rows: &RecoveredRows) -> TableRow {
        let properties = rows.fields(RowFields::row()).done();
        TableRow { key: "i:x".to_owned(), etag: ETag(String::new()), properties }
    }

    #[test]
    fn as_many_rows_as_there_may_be_are_read_as_they_are_written_and_fit_into_one() {
        let rows = RecoveredRows((0..RECOVERED_MAX as u128).map(row).collect());
        let stored = stored(&rows);
        assert_eq!(RecoveredRows::read(&RowReader::new(&stored).unwrap()).unwrap(), rows);
        assert!(stored.bytes() < ENTITY_BYTES_MAX / 2);
        assert!(rules::check_entity("default", &stored.key, &stored.properties).is_ok());
    }

    #[test]
    fn rows_that_were_cut_off_are_an_error() {
        let short = RowFields::row().bytes("scopes", b"[]").bytes("rows", &[PIN, 0, 0]);
        let short = TableRow { key: "i:x".to_owned(), etag: ETag(String::new()), properties: short.done() };
        assert!(RecoveredRows::read(&RowReader::new(&short).unwrap()).is_err());
        let no_scope = RowFields::row().bytes("scopes", b"[]").bytes("rows", &[WANTED; PACKED_BYTES]);
        let no_scope = TableRow { properties: no_scope.done(), ..short };
        assert!(RecoveredRows::read(&RowReader::new(&no_scope).unwrap()).is_err());
    }
}
