//! The sweep: compares what Azure lists with what the ledger says, and acts on nothing. A difference makes somebody look.
//!
//! The ledger is read page by page: first for the scopes that it names, then, beside the lists, for rows that say
//! something else than Azure, and once more for all rows of the names among them. What is held in memory is what Azure
//! holds, which is bounded by Azure, and the differences.

use super::snapshots::{Snapshot, Snapshots};
use super::throttling;
use crate::audit::{Cause, Change, Origin, Record};
use crate::id::UserId;
use crate::ports::role_assignments::{AssignmentError, RoleAssignments};
use crate::ports::tables::{ETag, Properties, Row};
use crate::rbac::ledger::{Entry, Holding};
use crate::rbac::{AssignmentName, Scope};
use crate::store::cadence::{Refused, SweepLeft};
use crate::store::ledger::{kept, read_entry, write};
use crate::store::marks::{self, Mark};
use crate::store::throttles::Operation;
use crate::store::{Store, StoreError, keys};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;

/// Lists lag: what was written later than this is not compared.
const LISTS_LAG: Duration = Duration::from_secs(15 * 60);
/// How long Azure is given to list one scope.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// Names in doubt that one sweep deals with; the next one finds the rest.
const NAMES_MAX: usize = 20_000;

/// Differences that are dealt with though the time is over: a sweep whose lists take all of it comes on nevertheless.
const MARKED_MIN: usize = 32;

/// One row of the ledger and whose it is.
struct Known {
    user: UserId,
    entry: Entry,
    etag: ETag,
    /// What a later release put into the row.
    kept: Properties,
}

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    pub scopes: usize,
    pub differences: usize,
    /// Scopes that Azure refused to list: a finding, which asking again does not mend.
    pub refused: usize,
    /// Of those, the ones before where the rest begins.
    refused_behind: usize,
    /// Where it stopped because its time was over, as the scope before, folded.
    pub parked_after: Option<String>,
    /// The scope before the first for which Azure gave no answer, folded.
    pub missed_after: Option<String>,
}

impl Found {
    /// What is left to do. What a parked part missed is found by the next sweep: going on matters more.
    pub fn left(&self) -> SweepLeft {
        match (self.parked_after.clone(), self.missed_after.clone()) {
            (Some(after), _) => SweepLeft::Parked { after },
            (None, Some(after)) => SweepLeft::Missed { after },
            (None, None) => SweepLeft::Finished,
        }
    }

    /// What was refused, up to where the rest begins and in all.
    pub const fn refused(&self) -> Refused {
        Refused { behind: self.refused_behind, in_all: self.refused }
    }
}

/// What Azure lists, scope by scope.
type Listed = BTreeMap<Scope, BTreeSet<AssignmentName>>;

/// What Azure says to a list.
enum Answer {
    Names(BTreeSet<AssignmentName>),
    Refused,
    None,
}

/// A sweep with its means.
pub struct Sweep<'a> {
    pub store: &'a Store,
    pub snapshots: &'a Snapshots,
    pub assignments: &'a dyn RoleAssignments,
}

impl Sweep<'_> {
    /// Compares the bound scopes, the retired ones, and every scope that a live row names, in their order after `after`,
    /// until `until` on the monotonic clock. Lists take at most half of the time: what they show must be dealt with.
    pub async fn run(&self, after: &str, until: Duration) -> Result<Found, StoreError> {
        let now = self.store.read(&keys::setting("sweep")).await?.date;
        let mut found = Found::default();
        let begun = self.store.clock.monotonic();
        let half = begun + until.saturating_sub(begun) / 2;
        let listed = self.list(after, (now, half), &mut found).await?;
        let names = self.in_doubt(&listed, now).await?;
        for (name, rows) in self.rows_of(&names).await? {
            if found.differences >= MARKED_MIN && self.store.clock.monotonic() >= until {
                // What was found so far does not differ any more: the same scopes once more, for the rest.
                return Ok(Found { parked_after: Some(after.to_owned()), refused_behind: 0, ..found });
            }
            let held = |row: &Known| listed.get(&row.entry.scope).is_some_and(|names| names.contains(&name));
            let held_in_azure = rows.iter().any(held);
            if differs(&rows, held_in_azure, now) {
                let marked = mark_holder(self.store, name, &rows, held_in_azure, now).await?;
                found.differences += usize::from(marked);
            }
        }
        Ok(found)
    }

    /// What Azure holds, by scope. One that Azure refuses to list is a finding; one without an answer is missed.
    async fn list(
        &self,
        after: &str,
        (now, until): (OffsetDateTime, Duration),
        found: &mut Found,
    ) -> Result<Listed, StoreError> {
        let throttles = self.store.settings().await?.throttles;
        let mut listed = Listed::new();
        let mut done = after.to_owned();
        for scope in self.scopes().await?.into_iter().filter(|scope| scope.folded() > after) {
            if self.store.clock.monotonic() >= until {
                found.refused_behind = found.refused;
                found.parked_after = Some(done);
                break;
            }
            let may_ask = throttles.until(&scope, Operation::Ask, now).is_none();
            let answer = if may_ask { self.list_one(&scope, now).await? } else { Answer::None };
            match answer {
                Answer::Names(names) => drop(listed.insert(scope.clone(), names)),
                Answer::Refused => {
                    found.refused += 1;
                    found.refused_behind += usize::from(found.missed_after.is_none());
                }
                Answer::None => drop(found.missed_after.get_or_insert(done)),
            }
            done = scope.folded().to_owned();
        }
        found.scopes = listed.len();
        Ok(listed)
    }

    async fn list_one(&self, scope: &Scope, now: OffsetDateTime) -> Result<Answer, StoreError> {
        let error = match self.assignments.list(scope, LIST_TIMEOUT).await {
            Ok(listed) => return Ok(Answer::Names(listed.into_iter().map(|listed| listed.name).collect())),
            Err(error) => error,
        };
        tracing::warn!(scope = %scope, error = %error, "a scope could not be swept");
        match error {
            AssignmentError::Refused { code, .. } if super::reconcile::scope_is_gone(&code) => {
                Ok(Answer::Names(BTreeSet::new()))
            }
            AssignmentError::Refused { .. } => Ok(Answer::Refused),
            AssignmentError::Throttled { retry_after, .. } => {
                let status = &self.snapshots.status;
                throttling::tell_everybody(self.store, status, scope, Operation::Ask, (now, retry_after))
                    .await?;
                Ok(Answer::None)
            }
            AssignmentError::Unknown { .. } => Ok(Answer::None),
        }
    }

    async fn scopes(&self) -> Result<BTreeSet<Scope>, StoreError> {
        let mut scopes = BTreeSet::new();
        self.each_row(|row| {
            if !row.entry.is_settled_and_gone() && !scopes.contains(&row.entry.scope) {
                scopes.insert(row.entry.scope);
            }
        })
        .await?;
        if let Snapshot::InForce(in_force) = self.snapshots.read(&self.store.pointer().await?).await? {
            scopes.extend(in_force.bindings.scopes());
        }
        Ok(scopes)
    }

    /// The names of which some row says something else than Azure: wherever all rows of a name together do, one does.
    async fn in_doubt(
        &self,
        listed: &Listed,
        now: OffsetDateTime,
    ) -> Result<BTreeSet<AssignmentName>, StoreError> {
        let mut names = BTreeSet::new();
        self.each_row(|row| {
            let Some(here) = listed.get(&row.entry.scope) else { return };
            let held_in_azure = here.contains(&row.entry.assignment);
            let one = std::slice::from_ref(&row);
            if names.len() < NAMES_MAX && differs(one, held_in_azure, now) {
                names.insert(row.entry.assignment);
            }
        })
        .await?;
        Ok(names)
    }

    async fn rows_of(
        &self,
        names: &BTreeSet<AssignmentName>,
    ) -> Result<BTreeMap<AssignmentName, Vec<Known>>, StoreError> {
        let mut rows: BTreeMap<AssignmentName, Vec<Known>> = BTreeMap::new();
        if !names.is_empty() {
            self.each_row(|row| {
                if names.contains(&row.entry.assignment) {
                    rows.entry(row.entry.assignment).or_default().push(row);
                }
            })
            .await?;
        }
        Ok(rows)
    }

    /// Every row of the ledger that can be understood.
    async fn each_row(&self, mut take: impl FnMut(Known)) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("l:");
        let mut pages = self.store.pages(from, to);
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                known(row).and_then(|known| self.store.readable(row, known)).into_iter().for_each(&mut take);
            }
        }
        Ok(())
    }
}

fn known(row: &Row) -> Option<Result<Known, StoreError>> {
    let mut parts = row.key.splitn(3, ':').skip(1);
    let user = UserId::parse(parts.next()?).ok()?;
    AssignmentName::parse(parts.next()?).ok()?;
    Some(read_entry(row).map(|entry| Known { user, entry, etag: row.etag.clone(), kept: kept(row) }))
}

fn differs(rows: &[Known], held_in_azure: bool, now: OffsetDateTime) -> bool {
    let settled = rows.iter().all(|row| row.entry.unsettled_until.is_none());
    let old = rows.iter().all(|row| row.entry.written + LISTS_LAG <= now);
    let ledger_held = rows.iter().any(|row| row.entry.holding == Holding::Present);
    settled && old && ledger_held != held_in_azure
}

/// Unsettles the row of the record that holds the principal, its time passed, and marks the person.
async fn mark_holder(
    store: &Store,
    name: AssignmentName,
    rows: &[Known],
    held_in_azure: bool,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let Some(last) = rows.iter().max_by_key(|row| row.entry.written) else { return Ok(false) };
    let user = store.holder(last.entry.principal).await?.record().unwrap_or(last.user);
    let own = rows.iter().find(|row| row.user == user);
    let op = store.ids.op();
    let origin = Origin { cause: Cause::Sweep, actor: "service".to_owned(), op };
    let template = own.map_or(&last.entry, |row| &row.entry);
    let holding = if own.is_some() { template.holding } else { Holding::Gone };
    let entry =
        Entry { op, holding, unsettled_until: Some(now), written: now, tried: None, ..template.clone() };
    let ledger_held = rows.iter().any(|row| row.entry.holding == Holding::Present);
    let mark = if held_in_azure { Mark::taking(origin.clone()) } else { Mark::new(origin.clone()) };
    let changes = vec![Change::Difference { person: user, assignment: name, ledger_held, held_in_azure }];
    let record = Record { op, time: store.clock.now(), origin, stamp: None, outcome: None, changes };
    let own = own.map(|row| (&row.etag, Some(&row.kept)));
    let writes = vec![write(user, &entry, own), marks::look_now(user, &mark)];
    match store.commit(&record, writes).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
