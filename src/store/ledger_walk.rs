//! The ledgers of all people, page by page.

use crate::id::{PrincipalId, UserId};
use crate::ports::tables::TableRow;
use crate::rbac::ledger::{AssignmentState, LedgerEntry};
use crate::rbac::{AssignmentName, BindingName, ReasonCode, Scope};
use crate::store::ledger::{StoredEntry, read_entry, read_waits};
use crate::store::{RowPages, StateStore, StoreError, keys};
use serde_json::{Value, json};

/// A row of a person's ledger, as a walk over all ledgers meets it.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    /// Behind this row.
    pub position: LedgerPosition,
    /// Whose ledger it is in, where the key can be read.
    pub user: Option<UserId>,
    /// The Entra object that the record holds, where the row says so.
    pinned: Option<PrincipalId>,
    /// The reasons of the grants that wait, where the row is a list of them.
    pub pending: Vec<ReasonCode>,
    /// The scopes that grants and revocations wait for, where the row is a list of them.
    scopes: Vec<Scope>,
    /// The entry, where the row is one and can be read.
    pub owned: Option<OwnedEntry>,
}

impl LedgerRow {
    fn entry_at(&self, scope: &Scope) -> Option<&LedgerEntry> {
        self.owned.as_ref().map(|owned| &owned.stored.entry).filter(|entry| &entry.scope == scope)
    }

    /// Whether it is about a step at that scope that failed, waits or is under way.
    pub fn is_busy_at(&self, scope: &Scope) -> bool {
        let is_busy = |entry: &LedgerEntry| {
            entry.retry.is_some() || entry.unsettled_until.is_some() || entry.unwanted_since.is_some()
        };
        self.entry_at(scope).is_some_and(is_busy) || self.scopes.contains(scope)
    }

    /// Whether it is about an assignment at that scope that is not known to be gone.
    pub fn holds_at(&self, scope: &Scope) -> bool {
        self.entry_at(scope).is_some_and(|entry| !entry.is_settled_and_gone())
    }

    /// Whether it is about that Entra object: one of its assignments, or the pin of a record that holds it.
    pub fn names_principal(&self, principal: PrincipalId) -> bool {
        let is_of = self.owned.as_ref().is_some_and(|owned| owned.stored.entry.principal == principal);
        is_of || self.pinned == Some(principal)
    }
}

/// An entry, and whose it is.
#[derive(Debug, Clone)]
pub struct OwnedEntry {
    pub user: UserId,
    pub stored: StoredEntry,
}

impl OwnedEntry {
    /// Reads an entry's row; `None` where the row is none.
    fn read(row: &TableRow) -> Option<Result<Self, StoreError>> {
        let mut parts = row.key.splitn(3, ':').skip(1);
        let user = UserId::parse(parts.next()?).ok()?;
        AssignmentName::parse(parts.next()?).ok()?;
        Some(StoredEntry::read(row).map(|stored| Self { user, stored }))
    }
}

/// How far a walk over all ledgers came: behind a row, at the beginning, or at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerPosition(String);

impl LedgerPosition {
    /// Behind every row.
    pub fn end() -> Self {
        Self(keys::range_of(keys::LEDGER).1)
    }

    /// As it is stored; a position of an earlier release is a scope, and means the beginning.
    pub(in crate::store) fn from_stored(text: &str) -> Self {
        Self(if text >= keys::LEDGER { text.to_owned() } else { String::new() })
    }

    pub(in crate::store) fn as_str(&self) -> &str {
        &self.0
    }

    /// Behind the row of that key; the beginning where it is empty.
    pub fn after_key(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// The key that [`after_key`](Self::after_key) takes.
    pub fn as_key(&self) -> &str {
        &self.0
    }
}

/// Rows of all ledgers, page by page.
pub struct LedgerPages<'a> {
    store: &'a StateStore,
    pages: Option<RowPages<'a>>,
}

impl LedgerPages<'_> {
    /// The next rows, at least one; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<LedgerRow>>, StoreError> {
        let Some(pages) = &mut self.pages else { return Ok(None) };
        let read = |row: &TableRow| LedgerRow {
            position: LedgerPosition(row.key.clone()),
            user: row.key.split(':').nth(1).and_then(|id| UserId::parse(id).ok()),
            pinned: pinned_principal(row),
            pending: pending_reasons(row),
            scopes: waiting_scopes(row),
            owned: OwnedEntry::read(row).and_then(|owned| self.store.readable(row, owned)),
        };
        Ok(pages.next().await?.map(|rows| rows.iter().map(read).collect()))
    }
}

/// The reasons of the grants that wait, where the row is the list of a record's waits. What cannot be read is left out.
pub fn pending_reasons(row: &TableRow) -> Vec<ReasonCode> {
    if !row.key.ends_with(":waits") {
        return Vec::new();
    }
    let (waits, _) = read_waits(row);
    waits.iter().filter(|wait| wait.wanted).map(|wait| wait.reason).collect()
}

fn pinned_principal(row: &TableRow) -> Option<PrincipalId> {
    let (_, principal) = row.key.split_once(":pin:")?;
    PrincipalId::parse(principal).ok()
}

fn waiting_scopes(row: &TableRow) -> Vec<Scope> {
    if !row.key.ends_with(":waits") {
        return Vec::new();
    }
    let (waits, _) = read_waits(row);
    waits.into_iter().map(|wait| wait.scope).collect()
}

/// Rows of a listing of the whole ledger.
const ALL_ROWS_MAX: usize = 100_000;

impl StateStore {
    /// The rows of all ledgers behind a position.
    pub fn ledger_pages(&self, after: &LedgerPosition) -> LedgerPages<'_> {
        let (start, end) = keys::range_of(keys::LEDGER);
        let from = if after.0.is_empty() { start } else { format!("{}!", after.0) };
        LedgerPages { store: self, pages: (from < end).then(|| self.pages(from, end)) }
    }

    /// The ledger of all people: who holds what by our own records. A row that cannot be read is left out.
    pub async fn ledger_of_all(&self) -> Result<Vec<Value>, StoreError> {
        let (from, to) = keys::range_of(keys::LEDGER);
        let rows = self.rows_between(from, to, ALL_ROWS_MAX).await?;
        let assignments = rows.iter().filter(|row| AssignmentName::parse(keys::last_part(&row.key)).is_ok());
        let entries = assignments.filter(|row| !row.key.contains(":pin:"));
        Ok(entries.filter_map(|row| self.readable(row, entry_json(row))).collect())
    }
}

fn entry_json(row: &TableRow) -> Result<Value, StoreError> {
    let entry = read_entry(row)?;
    let bindings: Vec<&str> = entry.bindings.iter().map(BindingName::as_str).collect();
    let state = match entry.state {
        AssignmentState::Present => "present",
        AssignmentState::Gone => "gone",
        AssignmentState::HeldByOther(_) => "held-by-other",
    };
    Ok(json!({
        "person": row.key.split(':').nth(1), "assignment": entry.assignment.to_string(),
        "principal": entry.principal.to_string(), "role": entry.role.name(), "scope": entry.scope.as_str(),
        "state": state, "settled": entry.unsettled_until.is_none(), "bindings": bindings,
        "since": crate::audit::rfc3339(entry.since),
    }))
}
