//! The ledger of one record: what was opened for it, what it waits for, which principals it has pinned.

use crate::id::{OpId, PrincipalId, UserId};
use crate::ports::tables::{ETag, EtagMatch, RowProperties, TableAnswer, TableRow, TableWrite};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, PendingStep, RetryState, StepKind};
use crate::rbac::{AssignmentName, BackupRole, BindingName, ReasonCode, Scope};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// The properties of a ledger row, those of the list of bindings aside. Any other property is a later release's.
const KNOWN: [&str; 21] = [
    "v",
    "principal",
    "role",
    "scope",
    "state",
    "other",
    "op",
    "bindings",
    "correlation",
    "since",
    "written",
    "wished",
    "unsettled_until",
    "tried",
    "tried_for",
    "attempts",
    "not_before",
    "reason",
    "reason_code",
    "list",
    "hold",
];
/// How long after its last write a call may still land for a row that does not say it in a form that we understand.
const MAY_LAND: Duration = Duration::from_secs(600);

/// An entry and the version of its row.
#[derive(Debug, Clone)]
pub struct StoredEntry {
    pub entry: LedgerEntry,
    pub etag: ETag,
    /// What a later release put there: it is carried along.
    pub kept: RowProperties,
}

impl StoredEntry {
    pub(super) fn read(row: &TableRow) -> Result<Self, StoreError> {
        Ok(Self { entry: read_entry(row)?, etag: row.etag.clone(), kept: kept(row) })
    }
}

/// A principal that the record holds: the version of its pin row.
#[derive(Debug, Clone)]
pub struct PrincipalPin {
    pub principal: PrincipalId,
    pub etag: ETag,
}

/// Everything the ledger knows of a record.
#[derive(Debug, Clone, Default)]
pub struct UserLedger {
    pub entries: Vec<StoredEntry>,
    pub pins: Vec<PrincipalPin>,
    pub waits: Vec<PendingStep>,
    pub waits_etag: Option<ETag>,
    /// A part of the waits cannot be read: they are written anew.
    pub waits_are_damaged: bool,
    /// Assignments whose rows cannot be read: nothing is sent for them.
    pub unreadable: BTreeSet<AssignmentName>,
    /// Rows of assignments that cannot be read, whatever their keys say: whose principal they are about is not known.
    pub rows_unreadable: usize,
}

impl UserLedger {
    /// The record holds `p:` of that principal.
    pub fn holds(&self, principal: PrincipalId) -> bool {
        self.pins.iter().any(|pin| pin.principal == principal)
    }

    /// Writes an entry: over the version that was read, or as a new row.
    pub fn write(&self, user: UserId, entry: &LedgerEntry, read: Option<&ETag>) -> TableWrite {
        let stored = self.entries.iter().find(|stored| stored.entry.assignment == entry.assignment);
        write(user, entry, read.map(|etag| (etag, stored.map(|stored| &stored.kept))))
    }
}

/// Who holds a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalHolder {
    Free,
    Record(UserId),
    /// The row that says it cannot be read.
    Unreadable,
}

impl PrincipalHolder {
    /// The record, where it is known.
    pub const fn record(self) -> Option<UserId> {
        match self {
            PrincipalHolder::Record(user) => Some(user),
            PrincipalHolder::Free | PrincipalHolder::Unreadable => None,
        }
    }
}

impl StateStore {
    /// One entry of a record, with the table service's clock.
    pub async fn ledger_entry(
        &self,
        user: UserId,
        assignment: AssignmentName,
    ) -> Result<TableAnswer<Option<StoredEntry>>, StoreError> {
        let TableAnswer { value, date } = self.read(&keys::ledger(user, assignment)).await?;
        Ok(TableAnswer { value: value.as_ref().map(StoredEntry::read).transpose()?, date })
    }

    /// The ledger of a record, gone or not: however many rows it has.
    pub async fn ledger(&self, user: UserId) -> Result<UserLedger, StoreError> {
        let prefix = keys::ledger_prefix(user);
        let (from, to) = keys::range_of(&prefix);
        let mut ledger = UserLedger::default();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(|row| self.take_ledger_row(row, &prefix, &mut ledger));
        }
        Ok(ledger)
    }

    pub(super) fn take_ledger_row(&self, row: &TableRow, prefix: &str, ledger: &mut UserLedger) {
        let rest = row.key.strip_prefix(prefix).unwrap_or_default();
        if rest == "waits" {
            let (waits, damage) = read_waits(row);
            ledger.waits_are_damaged = damage.is_some();
            self.readable(row, damage.map_or(Ok(()), Err));
            ledger.waits = waits;
            ledger.waits_etag = Some(row.etag.clone());
        } else if let Some(principal) = rest.strip_prefix("pin:") {
            let principal = PrincipalId::parse(principal).map_err(|_| corrupt(row, "key"));
            let principal = self.readable(row, principal);
            ledger.pins.extend(principal.map(|principal| PrincipalPin { principal, etag: row.etag.clone() }));
        } else {
            match read_entry_and_damage(row) {
                Ok((entry, damage)) => {
                    self.readable(row, damage.map_or(Ok(()), Err));
                    ledger.entries.push(StoredEntry { entry, etag: row.etag.clone(), kept: kept(row) });
                }
                Err(error) => {
                    self.cannot_read(&row.key, &error);
                    ledger.rows_unreadable += 1;
                    ledger.unreadable.extend(AssignmentName::parse(rest).ok());
                }
            }
        }
    }

    /// The record that holds a principal, if one does.
    pub async fn holder(&self, principal: PrincipalId) -> Result<PrincipalHolder, StoreError> {
        let Some(row) = self.get(&keys::principal(principal)).await? else {
            return Ok(PrincipalHolder::Free);
        };
        Ok(self.holder_in(&row))
    }

    /// Whether the ledger of a record has its side of a pin.
    pub async fn has_pin(&self, user: UserId, principal: PrincipalId) -> Result<bool, StoreError> {
        Ok(self.get(&keys::ledger_pin(user, principal)).await?.is_some())
    }

    /// Whom a `p:` row names.
    pub(super) fn holder_in(&self, row: &TableRow) -> PrincipalHolder {
        let user = RowReader::new(row).and_then(|reader| reader.parsed("user", UserId::parse));
        self.readable(row, user).map_or(PrincipalHolder::Unreadable, PrincipalHolder::Record)
    }

    /// The writes that free a principal of a record. Where `p:` is missing, cannot be read, or is another record's, only the
    /// record's own side goes.
    pub async fn unpin(&self, user: UserId, pin: &PrincipalPin) -> Result<Vec<TableWrite>, StoreError> {
        let own = keys::ledger_pin(user, pin.principal);
        let mut writes = vec![TableWrite::Delete { key: own, condition: EtagMatch::Exact(pin.etag.clone()) }];
        if let Some(row) = self.get(&keys::principal(pin.principal)).await? {
            let holder = RowReader::new(&row).and_then(|reader| reader.parsed("user", UserId::parse));
            if self.readable(&row, holder) == Some(user) {
                writes.push(TableWrite::Delete { key: row.key, condition: EtagMatch::Exact(row.etag) });
            }
        }
        Ok(writes)
    }
}

fn corrupt(row: &TableRow, property: &str) -> StoreError {
    StoreError::Corrupt { row: row.key.clone(), property: property.to_owned() }
}

/// The properties of a row that this release does not know.
pub fn kept(row: &TableRow) -> RowProperties {
    let is_part = |name: &str, of: &str| {
        name.strip_prefix(of).is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let ours = |name: &str| KNOWN.contains(&name) || is_part(name, "bindings") || is_part(name, "list");
    let others = row.properties.iter().filter(|(name, _)| !ours(name));
    others.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The rows that make a principal belong to a record.
pub fn pin(user: UserId, principal: PrincipalId, op: OpId) -> [TableWrite; 2] {
    let pinned = RowFields::row().text("user", user.to_string()).text("op", op.to_string()).done();
    [
        TableWrite::Insert { key: keys::principal(principal), properties: pinned.clone() },
        TableWrite::Insert { key: keys::ledger_pin(user, principal), properties: pinned },
    ]
}

/// The record's own side of a pin that is there, again.
pub fn pin_again(user: UserId, principal: PrincipalId, op: OpId) -> TableWrite {
    let [_, own] = pin(user, principal, op);
    own
}

/// Writes an entry: over the version that was read, with what a later release put there, or as a new row.
pub fn write(user: UserId, entry: &LedgerEntry, read: Option<(&ETag, Option<&RowProperties>)>) -> TableWrite {
    let key = keys::ledger(user, entry.assignment);
    let Some((etag, kept)) = read else {
        return TableWrite::Insert { key, properties: entry_properties(entry) };
    };
    let mut properties = kept.cloned().unwrap_or_default();
    properties.extend(entry_properties(entry));
    TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) }
}

/// Writes the list of waits, or removes it when it is empty. `None`: there is nothing to do.
pub fn write_waits(user: UserId, waits: &[PendingStep], read: Option<&ETag>) -> Option<TableWrite> {
    let key = keys::ledger_waits(user);
    let list: Vec<Value> = waits.iter().map(wait_json).collect();
    let properties = RowFields::row().bytes("list", Value::Array(list).to_string().as_bytes()).done();
    match (waits.is_empty(), read) {
        (true, None) => None,
        (true, Some(etag)) => Some(TableWrite::Delete { key, condition: EtagMatch::Exact(etag.clone()) }),
        (false, Some(etag)) => {
            Some(TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) })
        }
        (false, None) => Some(TableWrite::Insert { key, properties }),
    }
}

fn entry_properties(entry: &LedgerEntry) -> RowProperties {
    let bindings: Vec<&str> = entry.bindings.iter().map(BindingName::as_str).collect();
    let (state, other) = match entry.state {
        AssignmentState::Present => ("present", None),
        AssignmentState::Gone => ("gone", None),
        AssignmentState::HeldByOther(other) => ("held-by-other", Some(other.to_string())),
    };
    let mut fields = RowFields::row()
        .text("principal", entry.principal.to_string())
        .text("role", entry.role.definition_id().to_string())
        .text("scope", entry.scope.as_str())
        .text("state", state)
        .text_if("other", other)
        .text("op", entry.op.to_string())
        .bytes("bindings", Value::from(bindings).to_string().as_bytes())
        .text_if("correlation", entry.correlation.clone())
        .text_if("hold", entry.hold.map(|batch| batch.to_string()))
        .time("since", entry.since)
        .time("written", entry.written);
    if let Some(until) = entry.unsettled_until {
        fields = fields.time("unsettled_until", until);
    }
    if let Some(unwanted_since) = entry.unwanted_since {
        fields = fields.time("wished", unwanted_since);
    }
    if let Some(retry) = &entry.retry {
        fields = fields
            .text("tried", retry.kind.as_str())
            .text_if("tried_for", retry.cause.map(|cause| cause.to_string()))
            .int("attempts", i64::from(retry.attempts))
            .time("not_before", retry.not_before)
            .text("reason", known_before(retry.reason).as_str())
            .text_if("reason_code", exact(retry.reason));
    }
    fields.done()
}

/// Reads a ledger row.
pub fn read_entry(row: &TableRow) -> Result<LedgerEntry, StoreError> {
    read_entry_and_damage(row).map(|(entry, _)| entry)
}

/// Reads what it can of a row. Without the assignment, its principal, role and scope it says nothing; whatever else cannot be
/// read is taken for the least that it may be, and a holding that cannot be read is unsettled: Azure is asked by name.
fn read_entry_and_damage(row: &TableRow) -> Result<(LedgerEntry, Option<StoreError>), StoreError> {
    let reader = RowReader::new(row)?;
    let mut damage = Damage(None);
    let written = damage.or(reader.time("written"), OffsetDateTime::UNIX_EPOCH);
    let unsettled_until = damage.or(reader.time_opt("unsettled_until"), Some(written + MAY_LAND));
    let holding = damage.ok(read_holding(row, &reader));
    let entry = LedgerEntry {
        assignment: AssignmentName::parse(keys::last_part(&row.key)).map_err(|_| corrupt(row, "key"))?,
        principal: reader.parsed("principal", PrincipalId::parse)?,
        role: reader.parsed("role", |text| role_of(text).ok_or(()))?,
        scope: reader.parsed("scope", Scope::parse)?,
        state: holding.unwrap_or(AssignmentState::Present),
        unsettled_until: if holding.is_some() { unsettled_until } else { unsettled_until.or(Some(written)) },
        op: damage.or(reader.parsed("op", OpId::parse), OpId::new(Uuid::nil())),
        bindings: damage.or(read_names(row, &reader), Vec::new()),
        correlation: damage.or(reader.text_opt("correlation"), None).map(str::to_owned),
        retry: damage.or(read_tried(&reader), None),
        unwanted_since: damage.or(reader.time_opt("wished"), None),
        hold: damage.or(reader.parsed_opt("hold", OpId::parse), None),
        since: damage.or(reader.time("since"), written),
        written,
    };
    Ok((entry, damage.0))
}

/// The first thing that could not be read.
struct Damage(Option<StoreError>);

impl Damage {
    fn ok<T>(&mut self, read: Result<T, StoreError>) -> Option<T> {
        read.map_err(|error| self.0.get_or_insert(error)).ok()
    }

    fn or<T>(&mut self, read: Result<T, StoreError>, otherwise: T) -> T {
        self.ok(read).unwrap_or(otherwise)
    }
}

fn read_holding(row: &TableRow, reader: &RowReader<'_>) -> Result<AssignmentState, StoreError> {
    match reader.text("state")? {
        "present" => Ok(AssignmentState::Present),
        "gone" => Ok(AssignmentState::Gone),
        "held-by-other" => Ok(AssignmentState::HeldByOther(reader.parsed("other", AssignmentName::parse)?)),
        _ => Err(corrupt(row, "state")),
    }
}

fn role_of(text: &str) -> Option<BackupRole> {
    BackupRole::from_definition(PrincipalId::parse(text).ok()?.uuid())
}

fn read_names(row: &TableRow, reader: &RowReader<'_>) -> Result<Vec<BindingName>, StoreError> {
    let list = reader.json("bindings")?;
    let name = |name: &Value| BindingName::parse(name.as_str()?);
    let names = list.as_array().and_then(|list| list.iter().map(name).collect());
    names.ok_or_else(|| corrupt(row, "bindings"))
}

fn read_tried(reader: &RowReader<'_>) -> Result<Option<RetryState>, StoreError> {
    let kind = match reader.text_opt("tried")? {
        None => return Ok(None),
        Some("grant") => StepKind::Grant,
        Some(_) => StepKind::Revoke,
    };
    Ok(Some(RetryState {
        kind,
        attempts: u32::try_from(reader.int("attempts")?).unwrap_or(u32::MAX),
        not_before: reader.time("not_before")?,
        reason: reason_of(reader.text_opt("reason_code")?.map_or_else(|| reader.text("reason"), Ok)?),
        cause: reader.parsed_opt("tried_for", OpId::parse)?,
    }))
}

/// A code that a later release made is another one.
fn reason_of(text: &str) -> ReasonCode {
    ReasonCode::parse(text).unwrap_or(ReasonCode::Other)
}

/// The value of `reason`: the release before this one refuses a row with a code that it does not know.
const fn known_before(code: ReasonCode) -> ReasonCode {
    match code {
        ReasonCode::BindingStale => ReasonCode::BindingAmbiguous,
        ReasonCode::RowUnreadable => ReasonCode::BindingsUnreadable,
        ReasonCode::Other | ReasonCode::PolicyDenied => ReasonCode::AzureRefused,
        ReasonCode::KeptByOrder => ReasonCode::Member,
        ReasonCode::Paused | ReasonCode::HeldByBreaker | ReasonCode::BindingsPending => ReasonCode::Throttled,
        ReasonCode::Braked | ReasonCode::RejectedByOrder => ReasonCode::IdentityChanged,
        ReasonCode::MaxPrincipals => ReasonCode::AssignmentLimit,
        code => code,
    }
}

/// The code itself, where `reason` cannot have it.
fn exact(code: ReasonCode) -> Option<String> {
    (known_before(code) != code).then(|| code.as_str().to_owned())
}

fn wait_json(wait: &PendingStep) -> Value {
    let mut value = json!({
        "binding": wait.binding.as_str(), "role": wait.role.name(), "scope": wait.scope.as_str(),
        "state": wait.reason.state(), "reason": known_before(wait.reason).as_str(), "since": crate::audit::rfc3339(wait.since),
        "wanted": wait.wanted, "attempts": wait.attempts, "notBefore": crate::audit::rfc3339(wait.not_before),
    });
    if let (Some(code), Value::Object(members)) = (exact(wait.reason), &mut value) {
        members.insert("reasonCode".to_owned(), code.into());
    }
    value
}

/// The waits that can be read. They only inform: what cannot be read is none.
pub(super) fn read_waits(row: &TableRow) -> (Vec<PendingStep>, Option<StoreError>) {
    let mut damage = Damage(None);
    let list = damage.or(RowReader::new(row).and_then(|reader| reader.json("list")), Value::Null);
    let waits: Vec<Option<PendingStep>> = list.as_array().into_iter().flatten().map(read_wait).collect();
    if !list.is_array() || waits.contains(&None) {
        damage.0.get_or_insert(corrupt(row, "list"));
    }
    (waits.into_iter().flatten().collect(), damage.0)
}

fn read_wait(wait: &Value) -> Option<PendingStep> {
    let text = |name: &str| wait.get(name)?.as_str();
    let time = |name: &str| OffsetDateTime::parse(text(name)?, &Rfc3339).ok();
    Some(PendingStep {
        binding: BindingName::parse(text("binding")?)?,
        role: BackupRole::parse(text("role")?)?,
        scope: Scope::parse(text("scope")?).ok()?,
        wanted: wait.get("wanted").and_then(Value::as_bool).unwrap_or(true),
        reason: reason_of(text("reasonCode").or_else(|| text("reason"))?),
        since: time("since")?,
        attempts: u32::try_from(wait.get("attempts")?.as_u64()?).ok()?,
        not_before: time("notBefore")?,
    })
}
