//! The ledger of one record: what was opened for it, what it waits for, which principals it has pinned.

use super::codec::{Fields, Reader};
use super::{Store, StoreError, keys};
use crate::id::{OpId, PrincipalId, UserId};
use crate::ports::tables::{ETag, Match, Properties, Row, Write};
use crate::rbac::ledger::{Attempt, Entry, Holding, Tried, Wait};
use crate::rbac::{AssignmentName, BackupRole, BindingName, ReasonCode, Scope};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Rows of one record that a reconcile is ready to read.
pub const LEDGER_ROWS_MAX: usize = 5000;

/// An entry and the version of its row.
#[derive(Debug, Clone)]
pub struct Stored {
    pub entry: Entry,
    pub etag: ETag,
}

/// A principal that the record holds: the version of its pin row.
#[derive(Debug, Clone)]
pub struct Pin {
    pub principal: PrincipalId,
    pub etag: ETag,
}

/// Everything the ledger knows of a record.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub entries: Vec<Stored>,
    pub pins: Vec<Pin>,
    pub waits: Vec<Wait>,
    pub waits_etag: Option<ETag>,
}

impl Ledger {
    /// The record holds `p:` of that principal.
    pub fn holds(&self, principal: PrincipalId) -> bool {
        self.pins.iter().any(|pin| pin.principal == principal)
    }

    fn take(&mut self, row: &Row, prefix: &str) -> Result<(), StoreError> {
        let rest = row.key.strip_prefix(prefix).unwrap_or_default();
        let corrupt =
            |property: &str| StoreError::Corrupt { row: row.key.clone(), property: property.to_owned() };
        if rest == "waits" {
            self.waits = read_waits(row)?;
            self.waits_etag = Some(row.etag.clone());
        } else if let Some(principal) = rest.strip_prefix("pin:") {
            let principal = PrincipalId::parse(principal).map_err(|_| corrupt("key"))?;
            self.pins.push(Pin { principal, etag: row.etag.clone() });
        } else {
            self.entries.push(Stored { entry: read_entry(row)?, etag: row.etag.clone() });
        }
        Ok(())
    }
}

impl Store {
    /// The ledger of a record, gone or not.
    pub async fn ledger(&self, user: UserId) -> Result<Ledger, StoreError> {
        let prefix = keys::ledger_prefix(user);
        let mut ledger = Ledger::default();
        for row in self.rows(&prefix, LEDGER_ROWS_MAX).await? {
            ledger.take(&row, &prefix)?;
        }
        Ok(ledger)
    }

    /// The record that holds a principal, if one does.
    pub async fn holder(&self, principal: PrincipalId) -> Result<Option<UserId>, StoreError> {
        match self.get(&keys::principal(principal)).await? {
            Some(row) => Ok(Some(Reader::new(&row)?.parsed("user", UserId::parse)?)),
            None => Ok(None),
        }
    }
}

/// The rows that make a principal belong to a record.
pub fn pin(user: UserId, principal: PrincipalId, op: OpId) -> [Write; 2] {
    let pinned = Fields::row().text("user", user.to_string()).text("op", op.to_string()).done();
    [
        Write::Insert { key: keys::principal(principal), properties: pinned.clone() },
        Write::Insert { key: keys::ledger_pin(user, principal), properties: pinned },
    ]
}

/// The rows that free a principal.
pub fn unpin(user: UserId, pin: &Pin) -> [Write; 2] {
    [
        Write::Delete { key: keys::principal(pin.principal), condition: Match::Any },
        Write::Delete {
            key: keys::ledger_pin(user, pin.principal),
            condition: Match::Exact(pin.etag.clone()),
        },
    ]
}

/// Writes an entry: over the version that was read, or as a new row.
pub fn write(user: UserId, entry: &Entry, read: Option<&ETag>) -> Write {
    let key = keys::ledger(user, entry.assignment);
    let properties = entry_properties(entry);
    match read {
        Some(etag) => Write::Replace { key, properties, condition: Match::Exact(etag.clone()) },
        None => Write::Insert { key, properties },
    }
}

/// Writes the list of waits, or removes it when it is empty. `None`: there is nothing to do.
pub fn write_waits(user: UserId, waits: &[Wait], read: Option<&ETag>) -> Option<Write> {
    let key = keys::ledger_waits(user);
    let list: Vec<Value> = waits.iter().map(wait_json).collect();
    let properties = Fields::row().bytes("list", Value::Array(list).to_string().as_bytes()).done();
    match (waits.is_empty(), read) {
        (true, None) => None,
        (true, Some(etag)) => Some(Write::Delete { key, condition: Match::Exact(etag.clone()) }),
        (false, Some(etag)) => {
            Some(Write::Replace { key, properties, condition: Match::Exact(etag.clone()) })
        }
        (false, None) => Some(Write::Insert { key, properties }),
    }
}

fn entry_properties(entry: &Entry) -> Properties {
    let bindings: Vec<&str> = entry.bindings.iter().map(BindingName::as_str).collect();
    let (state, other) = match entry.holding {
        Holding::Present => ("present", None),
        Holding::Gone => ("gone", None),
        Holding::HeldByOther(other) => ("held-by-other", Some(other.to_string())),
    };
    let mut fields = Fields::row()
        .text("principal", entry.principal.to_string())
        .text("role", entry.role.definition_id().to_string())
        .text("scope", entry.scope.as_str())
        .text("state", state)
        .text_if("other", other)
        .text("op", entry.op.to_string())
        .bytes("bindings", Value::from(bindings).to_string().as_bytes())
        .text_if("correlation", entry.correlation.clone())
        .time("since", entry.since)
        .time("written", entry.written);
    if let Some(until) = entry.unsettled_until {
        fields = fields.time("unsettled_until", until);
    }
    if let Some(wished) = entry.wished {
        fields = fields.time("wished", wished);
    }
    if let Some(tried) = &entry.tried {
        fields = fields
            .text("tried", tried.attempt.as_str())
            .text_if("tried_for", tried.cause.map(|cause| cause.to_string()))
            .int("attempts", i64::from(tried.attempts))
            .time("not_before", tried.not_before)
            .text("reason", tried.reason.as_str());
    }
    fields.done()
}

/// Reads a ledger row.
pub fn read_entry(row: &Row) -> Result<Entry, StoreError> {
    let reader = Reader::new(row)?;
    let corrupt =
        |property: &str| StoreError::Corrupt { row: row.key.clone(), property: property.to_owned() };
    let assignment = AssignmentName::parse(keys::last_part(&row.key)).map_err(|_| corrupt("key"))?;
    let holding = match reader.text("state")? {
        "present" => Holding::Present,
        "gone" => Holding::Gone,
        "held-by-other" => Holding::HeldByOther(reader.parsed("other", AssignmentName::parse)?),
        _ => return Err(corrupt("state")),
    };
    Ok(Entry {
        assignment,
        principal: reader.parsed("principal", PrincipalId::parse)?,
        role: reader.parsed("role", |text| role_of(text).ok_or(()))?,
        scope: reader.parsed("scope", Scope::parse)?,
        holding,
        unsettled_until: reader.time_opt("unsettled_until")?,
        op: reader.parsed("op", OpId::parse)?,
        bindings: names(&reader.json("bindings")?).ok_or_else(|| corrupt("bindings"))?,
        correlation: reader.text_opt("correlation")?.map(str::to_owned),
        tried: read_tried(&reader)?,
        wished: reader.time_opt("wished")?,
        since: reader.time("since")?,
        written: reader.time("written")?,
    })
}

fn role_of(text: &str) -> Option<BackupRole> {
    BackupRole::from_definition(PrincipalId::parse(text).ok()?.uuid())
}

fn names(list: &Value) -> Option<Vec<BindingName>> {
    list.as_array()?.iter().map(|name| BindingName::parse(name.as_str()?)).collect()
}

fn read_tried(reader: &Reader<'_>) -> Result<Option<Tried>, StoreError> {
    let attempt = match reader.text_opt("tried")? {
        None => return Ok(None),
        Some("grant") => Attempt::Grant,
        Some(_) => Attempt::Revoke,
    };
    Ok(Some(Tried {
        attempt,
        attempts: u32::try_from(reader.int("attempts")?).unwrap_or(u32::MAX),
        not_before: reader.time("not_before")?,
        reason: reader.parsed("reason", |text| ReasonCode::parse(text).ok_or(()))?,
        cause: reader.parsed_opt("tried_for", OpId::parse)?,
    }))
}

fn wait_json(wait: &Wait) -> Value {
    json!({
        "binding": wait.binding.as_str(), "role": wait.role.name(), "scope": wait.scope.as_str(),
        "state": wait.reason.state(), "reason": wait.reason.as_str(), "since": crate::audit::rfc3339(wait.since),
        "wanted": wait.wanted, "attempts": wait.attempts, "notBefore": crate::audit::rfc3339(wait.not_before),
    })
}

fn read_waits(row: &Row) -> Result<Vec<Wait>, StoreError> {
    let list = Reader::new(row)?.json("list")?;
    let corrupt = || StoreError::Corrupt { row: row.key.clone(), property: "list".to_owned() };
    list.as_array().ok_or_else(corrupt)?.iter().map(|wait| read_wait(wait).ok_or_else(corrupt)).collect()
}

fn read_wait(wait: &Value) -> Option<Wait> {
    let text = |name: &str| wait.get(name)?.as_str();
    let time = |name: &str| OffsetDateTime::parse(text(name)?, &Rfc3339).ok();
    Some(Wait {
        binding: BindingName::parse(text("binding")?)?,
        role: BackupRole::parse(text("role")?)?,
        scope: Scope::parse(text("scope")?).ok()?,
        wanted: wait.get("wanted").and_then(Value::as_bool).unwrap_or(true),
        reason: ReasonCode::parse(text("reason")?)?,
        since: time("since")?,
        attempts: u32::try_from(wait.get("attempts")?.as_u64()?).ok()?,
        not_before: time("notBefore")?,
    })
}

/// Rows of a listing of the whole ledger.
const ALL_ROWS_MAX: usize = 100_000;

impl Store {
    /// The ledger of everybody, for people: who holds what by our own books.
    pub async fn ledger_of_all(&self) -> Result<Vec<Value>, StoreError> {
        let (from, to) = keys::range_of("l:");
        let rows = self.rows_between(from, to, ALL_ROWS_MAX).await?;
        let assignments = rows.iter().filter(|row| AssignmentName::parse(keys::last_part(&row.key)).is_ok());
        assignments.filter(|row| !row.key.contains(":pin:")).map(entry_json).collect()
    }
}

fn entry_json(row: &Row) -> Result<Value, StoreError> {
    let entry = read_entry(row)?;
    let bindings: Vec<&str> = entry.bindings.iter().map(BindingName::as_str).collect();
    let state = match entry.holding {
        Holding::Present => "present",
        Holding::Gone => "gone",
        Holding::HeldByOther(_) => "held-by-other",
    };
    Ok(json!({
        "person": row.key.split(':').nth(1), "assignment": entry.assignment.to_string(),
        "principal": entry.principal.to_string(), "role": entry.role.name(), "scope": entry.scope.as_str(),
        "state": state, "settled": entry.unsettled_until.is_none(), "bindings": bindings,
        "since": crate::audit::rfc3339(entry.since),
    }))
}
