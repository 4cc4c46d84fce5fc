//! Journal rows. A row is both the commit proof of a transaction and its audit record.

use crate::audit::{AuditEvent, AuditRecord, rfc3339};
use crate::id::OpId;
use crate::ports::tables::{TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use serde_json::{Value, json};

/// The insert that proves the transaction of `record`.
pub fn insert(record: &AuditRecord) -> TableWrite {
    let changes: Vec<Value> = record.changes.iter().map(AuditEvent::to_json).collect();
    let mut fields = RowFields::row()
        .time("time", record.time)
        .text("cause", record.origin.cause.as_str())
        .text("actor", record.origin.actor.clone())
        .text("follows", record.origin.op.to_string())
        .text_if("request", record.request.map(|request| request.to_string()))
        .text_if("stamp", record.stamp.clone())
        .bytes("changes", Value::Array(changes).to_string().as_bytes());
    if let Some(outcome) = &record.outcome {
        fields = fields.text("id", outcome.id.clone()).int("status", i64::from(outcome.status));
    }
    TableWrite::Insert { key: keys::journal(record.op), properties: fields.done() }
}

/// A journal row as JSON: `op`, `time`, `cause`, `actor`, `origin` (the op it follows from), `request` (its `X-Request-Id`),
/// `status` (of the answer), `bindings` (the stamp of the active ones), `changes`.
pub fn to_json(row: &TableRow) -> Result<Value, StoreError> {
    let reader = RowReader::new(row)?;
    Ok(json!({
        "op": keys::last_part(&row.key),
        "time": rfc3339(reader.time("time")?),
        "cause": reader.text("cause")?,
        "actor": reader.text("actor")?,
        "origin": reader.text("follows")?,
        "request": reader.text_opt("request")?,
        "status": reader.int_opt("status")?,
        "bindings": reader.text_opt("stamp")?,
        "changes": reader.json("changes")?,
    }))
}

fn unreadable(row: &TableRow, error: &StoreError) -> Value {
    json!({ "op": keys::last_part(&row.key), "unreadable": error.to_string() })
}

impl StateStore {
    /// The audit record of one op. `None`: there is none, or it cannot be read.
    pub async fn audit_record(&self, op: OpId) -> Result<Option<Value>, StoreError> {
        let row = self.get(&keys::journal(op)).await?;
        Ok(row.as_ref().and_then(|row| self.readable(row, to_json(row))))
    }

    /// Audit records in the order of their ops, at most `records_max`, after the op `after` if there is one. A record that
    /// cannot be read is listed with its `op` and `unreadable`, the reason.
    pub async fn audit(&self, after: Option<&str>, records_max: usize) -> Result<Vec<Value>, StoreError> {
        let (from, to) = keys::range_of("j:");
        let from = after.map_or(from, |op| format!("j:{op}!"));
        let rows = self.rows_between(from, to, records_max).await?;
        Ok(rows.iter().map(|row| to_json(row).unwrap_or_else(|error| unreadable(row, &error))).collect())
    }
}
