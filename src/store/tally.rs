//! What the breakers count: a row for each binding, and one for all (`t:`).
//!
//! A row that cannot be read is made anew from the ledger. What was counted in the last hour is lost with it, so the caller
//! gives nothing new for that long; revocations go on, and are counted from then.

use crate::id::OpId;
use crate::ports::tables::{ETag, EtagMatch, RowProperties, TableRow, TableWrite};
use crate::rbac::BindingName;
use crate::rbac::breaker::{
    BatchKind, BindingTally, HolderId, JudgedOp, MinuteCount, OpVerdict, OpenBatch, TenantTally, Window,
};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// A tally and the version of its row.
#[derive(Debug, Clone)]
pub struct StoredTally<T> {
    /// `None`: there is none, or it cannot be read.
    pub tally: Option<T>,
    /// `None`: there is none.
    pub etag: Option<ETag>,
}

impl<T> StoredTally<T> {
    /// There is a row, and it cannot be read.
    pub const fn is_damaged(&self) -> bool {
        self.tally.is_none() && self.etag.is_some()
    }
}

impl StateStore {
    /// What is counted of a binding.
    pub async fn tally(&self, binding: &BindingName) -> Result<StoredTally<BindingTally>, StoreError> {
        self.tally_at(&keys::tally(binding), read_binding).await
    }

    /// What is counted of all bindings.
    pub async fn tally_of_all(&self) -> Result<StoredTally<TenantTally>, StoreError> {
        self.tally_at(&keys::tally_of_all(), read_all).await
    }

    /// The tallies of all bindings that have one. What cannot be read is left out.
    pub async fn tallies(&self) -> Result<BTreeMap<BindingName, (BindingTally, ETag)>, StoreError> {
        let (from, to) = keys::range_of(keys::TALLIES);
        let mut tallies = BTreeMap::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            for row in rows.iter().filter(|row| row.key != keys::tally_of_all()) {
                let name = RowReader::any(row).parsed("binding", |text| BindingName::parse(text).ok_or(()));
                let read = name.and_then(|name| Ok((name, read_binding(row)?)));
                let read = self.readable(row, read);
                tallies.extend(read.map(|(name, tally)| (name, (tally, row.etag.clone()))));
            }
        }
        Ok(tallies)
    }

    /// A row of a later release is an error: it must not be written over.
    async fn tally_at<T>(
        &self,
        key: &str,
        read: impl Fn(&TableRow) -> Result<T, StoreError>,
    ) -> Result<StoredTally<T>, StoreError> {
        let Some(row) = self.get(key).await? else { return Ok(StoredTally { tally: None, etag: None }) };
        let read = read(&row);
        if let Err(error @ StoreError::TooNew { .. }) = read {
            self.cannot_read(&row.key, &error);
            return Err(error);
        }
        Ok(StoredTally { tally: self.readable(&row, read), etag: Some(row.etag) })
    }
}

/// Writes what is counted of a binding over the version that was read.
pub fn write_binding(binding: &BindingName, tally: &BindingTally, read: Option<&ETag>) -> TableWrite {
    let mut fields = RowFields::row()
        .text("binding", binding.as_str())
        .bytes("holders", &packed(&tally.holders))
        .bytes("kept", &packed(&tally.kept))
        .bytes("turned_away", &packed(&tally.turned_away))
        .bytes("minutes", minutes_json(&tally.window).to_string().as_bytes())
        .bytes("ops", ops_json(&tally.ops).to_string().as_bytes());
    for (name, time) in [("first_grant", tally.first_grant), ("no_grants_before", tally.no_grants_before)] {
        fields = match time {
            Some(time) => fields.time(name, time),
            None => fields,
        };
    }
    over(keys::tally(binding), fields.done(), read)
}

/// Writes what is counted of all bindings over the version that was read.
pub fn write_all(tally: &TenantTally, read: Option<&ETag>) -> TableWrite {
    let open: Vec<Value> = tally.open.iter().map(|(kind, batch)| open_json(*kind, batch)).collect();
    let people = i64::try_from(tally.people).unwrap_or(i64::MAX);
    let fields = RowFields::row()
        .int("people", people)
        .bytes("minutes", minutes_json(&tally.window).to_string().as_bytes())
        .bytes("ops", ops_json(&tally.ops).to_string().as_bytes())
        .bytes("open", Value::Array(open).to_string().as_bytes());
    over(keys::tally_of_all(), fields.done(), read)
}

fn over(key: String, properties: RowProperties, read: Option<&ETag>) -> TableWrite {
    match read {
        Some(etag) => TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) },
        None => TableWrite::Insert { key, properties },
    }
}

fn packed(people: &BTreeSet<HolderId>) -> Vec<u8> {
    people.iter().flat_map(|holder| holder.bytes()).collect()
}

fn minutes_json(window: &Window) -> Value {
    let minute = |(at, count): (i64, MinuteCount)| json!([at, count.before, count.granted, count.revoked]);
    window.minutes().map(minute).collect()
}

fn ops_json(ops: &[JudgedOp]) -> Value {
    let op = |judged: &JudgedOp| {
        let batch = match judged.verdict {
            OpVerdict::Passed => None,
            OpVerdict::Held(batch) => Some(batch.to_string()),
        };
        json!([judged.op.to_string(), judged.minute, judged.size, judged.left, batch])
    };
    ops.iter().map(op).collect()
}

fn open_json(kind: BatchKind, batch: &OpenBatch) -> Value {
    let bindings: Vec<&str> = batch.bindings.iter().map(BindingName::as_str).collect();
    let until = crate::audit::rfc3339(batch.until);
    json!({ "kind": kind.as_str(), "id": batch.id.to_string(), "until": until, "bindings": bindings })
}

fn read_binding(row: &TableRow) -> Result<BindingTally, StoreError> {
    let reader = RowReader::new(row)?;
    Ok(BindingTally {
        holders: unpacked(row, &reader, "holders")?,
        kept: unpacked(row, &reader, "kept")?,
        turned_away: unpacked(row, &reader, "turned_away")?,
        first_grant: reader.time_opt("first_grant")?,
        no_grants_before: reader.time_opt("no_grants_before")?,
        window: list(row, &reader, "minutes", minute)?,
        ops: list(row, &reader, "ops", judged)?,
    })
}

fn read_all(row: &TableRow) -> Result<TenantTally, StoreError> {
    let reader = RowReader::new(row)?;
    Ok(TenantTally {
        people: usize::try_from(reader.int("people")?).unwrap_or_default(),
        window: list(row, &reader, "minutes", minute)?,
        ops: list(row, &reader, "ops", judged)?,
        open: list(row, &reader, "open", open)?,
    })
}

fn corrupt(row: &TableRow, property: &str) -> StoreError {
    StoreError::Corrupt { row: row.key.clone(), property: property.to_owned() }
}

fn unpacked(row: &TableRow, reader: &RowReader<'_>, name: &str) -> Result<BTreeSet<HolderId>, StoreError> {
    let bytes = reader.bytes(name)?;
    let people = bytes.chunks(HolderId::BYTES).map(|part| part.try_into().map(HolderId::of_bytes));
    people.collect::<Result<_, _>>().map_err(|_| corrupt(row, name))
}

/// A list of which every element can be read.
fn list<T, C: FromIterator<T>>(
    row: &TableRow,
    reader: &RowReader<'_>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<C, StoreError> {
    let list = reader.json(name)?;
    let elements = list.as_array().and_then(|list| list.iter().map(read).collect());
    elements.ok_or_else(|| corrupt(row, name))
}

fn number(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn minute(value: &Value) -> Option<(i64, MinuteCount)> {
    let [at, before, granted, revoked] = value.as_array()?.as_slice() else { return None };
    let count = MinuteCount { before: number(before)?, granted: number(granted)?, revoked: number(revoked)? };
    Some((at.as_i64()?, count))
}

fn judged(value: &Value) -> Option<JudgedOp> {
    let [op, minute, size, left, batch] = value.as_array()?.as_slice() else { return None };
    let verdict = match batch {
        Value::Null => OpVerdict::Passed,
        batch => OpVerdict::Held(OpId::parse(batch.as_str()?).ok()?),
    };
    let op = OpId::parse(op.as_str()?).ok()?;
    Some(JudgedOp { op, minute: minute.as_i64()?, size: number(size)?, left: number(left)?, verdict })
}

fn open(value: &Value) -> Option<(BatchKind, OpenBatch)> {
    let text = |name: &str| value.get(name)?.as_str();
    let binding = |name: &Value| BindingName::parse(name.as_str()?);
    let until = text("until")?;
    let batch = OpenBatch {
        id: OpId::parse(text("id")?).ok()?,
        until: OffsetDateTime::parse(until, &time::format_description::well_known::Rfc3339).ok()?,
        bindings: value.get("bindings")?.as_array()?.iter().map(binding).collect::<Option<_>>()?,
    };
    Some((BatchKind::parse(text("kind")?)?, batch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::rbac::breaker::{Admission, GrantLimits, TakenBy, Tallies};
    use time::macros::datetime;
    use uuid::Uuid;

    const NOW: OffsetDateTime = datetime!(2026-03-01 10:00:30 UTC);

    fn binding() -> BindingName {
        BindingName::parse("operators-east").unwrap()
    }

    fn op(n: u128) -> OpId {
        OpId::new(Uuid::from_u128(n))
    }

    /// Tallies in which everything has happened: grants, a passed operation, a held one, people who were turned away.
    fn tallies() -> Tallies {
        let person = |n| HolderId::from(UserId::new(Uuid::from_u128(n)));
        let mut tallies = Tallies::default();
        let limits = GrantLimits { max_principals: 20, new_grants_max: 20 };
        for who in 0..22 {
            tallies.judge_grant(person(who), &[Admission { binding: binding(), limits }], NOW, op(90));
        }
        for (who, taken) in [(0, TakenBy::operation(op(1), 4)), (5, TakenBy::operation(op(2), 10))] {
            tallies.judge_revocation(person(who), &[binding()], taken, NOW, op(91));
        }
        assert_eq!(tallies.trips.len(), 1);
        tallies
    }

    fn row(write: TableWrite) -> TableRow {
        let (TableWrite::Insert { key, properties } | TableWrite::Replace { key, properties, .. }) = write
        else {
            panic!("an insert or a replace")
        };
        TableRow { key, etag: ETag("1".to_owned()), properties }
    }

    #[test]
    fn what_is_written_reads_back() {
        let tallies = tallies();
        let tally = &tallies.bindings[&binding()];
        assert_eq!(&read_binding(&row(write_binding(&binding(), tally, None))).unwrap(), tally);
        assert_eq!(read_all(&row(write_all(&tallies.all, None))).unwrap(), tallies.all);
        let damaged = BindingTally { no_grants_before: Some(NOW), ..BindingTally::default() };
        let read = read_binding(&row(write_binding(&binding(), &damaged, None))).unwrap();
        assert_eq!(read, damaged);
    }

    #[test]
    fn a_row_of_which_any_part_cannot_be_read_is_damaged() {
        let whole = row(write_binding(&binding(), &tallies().bindings[&binding()], None));
        for name in ["holders", "kept", "turned_away", "minutes", "ops"] {
            let mut row = whole.clone();
            row.properties.remove(name);
            assert!(read_binding(&row).is_err(), "{name}");
        }
        let all = row(write_all(&tallies().all, None));
        for name in ["people", "minutes", "ops", "open"] {
            let mut row = all.clone();
            row.properties.remove(name);
            assert!(read_all(&row).is_err(), "{name}");
        }
    }

    #[test]
    fn the_largest_binding_fits_a_row() {
        let holders = (0..4000).map(|n| HolderId::of_bytes(u64::to_be_bytes(n))).collect();
        let tally = BindingTally { holders, ..BindingTally::default() };
        let row = row(write_binding(&binding(), &tally, None));
        assert!(row.bytes() < 64 * 1024, "{}", row.bytes());
        assert_eq!(read_binding(&row).unwrap(), tally);
    }
}
