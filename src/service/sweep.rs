//! The sweep: compares what Azure lists with what the ledger says, and acts on nothing. A difference makes somebody look.

use super::effects::log;
use super::snapshots::{Snapshot, Snapshots};
use crate::audit::{Cause, Change, Origin, Record};
use crate::id::UserId;
use crate::ports::role_assignments::{AssignmentError, RoleAssignments};
use crate::ports::tables::{ETag, Row};
use crate::rbac::ledger::{Entry, Holding};
use crate::rbac::{AssignmentName, Scope};
use crate::store::ledger::{read_entry, write};
use crate::store::marks::{self, Mark};
use crate::store::{Store, StoreError, keys};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Lists lag: what was written later than this is not compared.
const LISTS_LAG: Duration = Duration::from_secs(15 * 60);
/// How long Azure is given to list one scope.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// Ledger rows of one sweep.
const LEDGER_ROWS_MAX: usize = 200_000;

/// One row of the ledger and whose it is.
struct Known {
    user: UserId,
    entry: Entry,
    etag: ETag,
}

/// What a sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    pub scopes: usize,
    pub differences: usize,
}

/// Lists the bound scopes, the retired ones, and every scope that a live row names.
pub async fn sweep(
    store: &Store,
    snapshots: &Snapshots,
    assignments: &dyn RoleAssignments,
) -> Result<Found, StoreError> {
    let now = store.read(&keys::setting("bindings")).await?.date;
    let by_name = ledger_by_name(store).await?;
    let mut found = Found::default();
    for scope in scopes(store, snapshots, &by_name).await? {
        let listed: BTreeSet<AssignmentName> = match assignments.list(&scope, LIST_TIMEOUT).await {
            Ok(listed) => listed.into_iter().map(|listed| listed.name).collect(),
            Err(AssignmentError::Refused { code, .. }) if super::reconcile::scope_is_gone(&code) => {
                BTreeSet::new()
            }
            Err(error) => {
                tracing::warn!(scope = %scope, error = %error, "a scope could not be swept");
                continue;
            }
        };
        found.scopes += 1;
        for (name, rows) in by_name.iter().filter(|(_, rows)| rows.iter().any(|row| row.entry.scope == scope))
        {
            let held_in_azure = listed.contains(name);
            if differs(rows, held_in_azure, now) && note(store, *name, rows, held_in_azure, now).await? {
                found.differences += 1;
            }
        }
    }
    Ok(found)
}

async fn ledger_by_name(store: &Store) -> Result<BTreeMap<AssignmentName, Vec<Known>>, StoreError> {
    let (from, to) = keys::range_of("l:");
    let rows = store.rows_between(from, to, LEDGER_ROWS_MAX).await?;
    let mut by_name: BTreeMap<AssignmentName, Vec<Known>> = BTreeMap::new();
    for row in rows.iter().filter_map(known) {
        match row {
            Ok(known) => by_name.entry(known.entry.assignment).or_default().push(known),
            Err(error) => log("a ledger row", &error),
        }
    }
    Ok(by_name)
}

fn known(row: &Row) -> Option<Result<Known, StoreError>> {
    let mut parts = row.key.splitn(3, ':').skip(1);
    let user = UserId::parse(parts.next()?).ok()?;
    AssignmentName::parse(parts.next()?).ok()?;
    Some(read_entry(row).map(|entry| Known { user, entry, etag: row.etag.clone() }))
}

async fn scopes(
    store: &Store,
    snapshots: &Snapshots,
    by_name: &BTreeMap<AssignmentName, Vec<Known>>,
) -> Result<BTreeSet<Scope>, StoreError> {
    let live = by_name.values().flatten().filter(|row| !row.entry.is_settled_and_gone());
    let mut scopes: BTreeSet<Scope> = live.map(|row| row.entry.scope.clone()).collect();
    if let Snapshot::InForce(in_force) = snapshots.read(store.pointer().await?.as_ref()).await? {
        scopes.extend(in_force.bindings.scopes());
    }
    Ok(scopes)
}

fn differs(rows: &[Known], held_in_azure: bool, now: OffsetDateTime) -> bool {
    let settled = rows.iter().all(|row| row.entry.unsettled_until.is_none());
    let old = rows.iter().all(|row| row.entry.written + LISTS_LAG <= now);
    let ledger_held = rows.iter().any(|row| row.entry.holding == Holding::Present);
    settled && old && ledger_held != held_in_azure
}

/// Unsettles the row of the record that holds the principal, its time passed, and marks the person.
async fn note(
    store: &Store,
    name: AssignmentName,
    rows: &[Known],
    held_in_azure: bool,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let Some(last) = rows.iter().max_by_key(|row| row.entry.written) else { return Ok(false) };
    let user = store.holder(last.entry.principal).await?.unwrap_or(last.user);
    let own = rows.iter().find(|row| row.user == user);
    let op = store.ids.op();
    let origin = Origin { cause: Cause::Sweep, actor: "service".to_owned(), op };
    let template = own.map_or(&last.entry, |row| &row.entry);
    let holding = if own.is_some() { template.holding } else { Holding::Gone };
    let entry =
        Entry { op, holding, unsettled_until: Some(now), written: now, tried: None, ..template.clone() };
    let ledger_held = rows.iter().any(|row| row.entry.holding == Holding::Present);
    let changes = vec![Change::Difference { person: user, assignment: name, ledger_held, held_in_azure }];
    let record =
        Record { op, time: store.clock.now(), origin: origin.clone(), stamp: None, outcome: None, changes };
    let writes = vec![
        write(user, &entry, own.map(|row| &row.etag)),
        marks::look_now(user, &Mark { taken_away: held_in_azure, origin }),
    ];
    match store.commit(&record, writes).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
