//! Counting from the ledger: who holds what, for tallies that are missing or damaged, and hourly for all, because people who
//! leave pass the breakers unseen.

use crate::bindings::Bindings;
use crate::rbac::BindingName;
use crate::rbac::breaker::{BindingTally, HolderId, TenantTally, WINDOW};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, StepKind};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::breakers::Breakers;
use crate::service::breakers::read_tallies::ReadTallies;
use crate::store::batches::{self, StoredBatch};
use crate::store::ledger_walk::LedgerPosition;
use crate::store::tally::{self, StoredTally};
use crate::store::{StoreError, TableWrite};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use time::OffsetDateTime;

/// How often everyone is counted before the hour is over, where people may have left.
const RECOUNT_AFTER: Duration = Duration::from_secs(600);

/// A batch is kept for so long after its window.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(25 * 3600);
/// Rows of people whose holds have ended that one count removes, and how many go in one transaction.
const ENDED_ROWS_MAX: usize = 2000;
const TRANSACTION_OPS_MAX: usize = 100;

/// What the ledger says of one binding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CountedBinding {
    pub(super) holders: BTreeSet<HolderId>,
    pub(super) kept: BTreeSet<HolderId>,
    pub(super) first_grant: Option<OffsetDateTime>,
}

/// What the ledger says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountedLedger {
    pub(super) bindings: BTreeMap<BindingName, CountedBinding>,
    pub(super) people: BTreeSet<HolderId>,
}

/// Whether an entry makes its person one of those whom its bindings give the role.
pub fn is_counted(entry: &LedgerEntry) -> bool {
    let granting = entry.retry.as_ref().is_some_and(|retry| retry.kind == StepKind::Grant);
    !entry.is_settled_and_gone() || entry.state != AssignmentState::Gone || granting
}

impl CountedLedger {
    /// Counts an entry of a person, by the names in its row.
    pub fn count(&mut self, holder: HolderId, entry: &LedgerEntry) {
        self.count_by(holder, entry, &entry.bindings);
    }

    /// The same. Where no binding of its names is left, those that give the same role at the same scope take it over with the
    /// person's next reconcile: until then it counts for them.
    fn count_for_heirs(&mut self, holder: HolderId, entry: &LedgerEntry, bindings: &Bindings) {
        let is_left = bindings.bindings.iter().any(|binding| entry.bindings.contains(&binding.name));
        let heirs = bindings.bindings.iter().filter(|b| b.role == entry.role && b.scope == entry.scope);
        let heirs: Vec<BindingName> = heirs.map(|binding| binding.name.clone()).collect();
        // What is taken away already, or kept by a batch, nobody takes over.
        let is_wanted = entry.unwanted_since.is_none() && entry.hold.is_none();
        let names = if is_left || !is_wanted || heirs.is_empty() { &entry.bindings } else { &heirs };
        self.count_by(holder, entry, names);
    }

    fn count_by(&mut self, holder: HolderId, entry: &LedgerEntry, names: &[BindingName]) {
        if !is_counted(entry) {
            return;
        }
        self.people.insert(holder);
        for name in names {
            let counted = self.bindings.entry(name.clone()).or_default();
            match entry.hold {
                Some(_) => counted.kept.insert(holder),
                None => counted.holders.insert(holder),
            };
            let first = counted.first_grant.unwrap_or(entry.since).min(entry.since);
            counted.first_grant = Some(first);
        }
    }
}

/// A tally as the ledger has it. `earlier`: as it was when the ledger was read.
pub(super) fn mended(
    tally: &BindingTally,
    earlier: &BindingTally,
    counted: Option<&CountedBinding>,
) -> BindingTally {
    let CountedBinding { holders, kept, first_grant } = counted.cloned().unwrap_or_default();
    let mut mended = tally.clone();
    mended.recount(earlier, holders, kept);
    mended.first_grant = [tally.first_grant, first_grant].into_iter().flatten().min();
    mended
}

/// A tally in the place of one that is missing, or damaged.
pub(super) fn rebuilt(
    counted: Option<&CountedBinding>,
    is_damaged: bool,
    now: OffsetDateTime,
) -> BindingTally {
    let CountedBinding { holders, kept, first_grant } = counted.cloned().unwrap_or_default();
    let no_grants_before = is_damaged.then(|| now + WINDOW);
    BindingTally { holders, kept, first_grant, no_grants_before, ..BindingTally::default() }
}

impl Breakers {
    /// Makes the tallies that are missing, and those that cannot be read. What was counted in the last hour is lost with a
    /// damaged one: nothing new is given for that long, and what is taken away is counted from now.
    pub(super) async fn rebuild(&self, read: &ReadTallies, now: OffsetDateTime) -> Result<(), StoreError> {
        let ledger = self.count_ledger().await?;
        for (name, stored) in read.bindings.iter().filter(|(_, stored)| stored.tally.is_none()) {
            let tally = rebuilt(ledger.bindings.get(name), stored.is_damaged(), now);
            self.transact(&[tally::write_binding(name, &tally, stored.etag.as_ref())]).await?;
        }
        if read.all.tally.is_none() {
            let tally = TenantTally { people: ledger.people.len(), ..TenantTally::default() };
            self.transact(&[tally::write_all(&tally, read.all.etag.as_ref())]).await?;
        }
        Ok(())
    }

    /// Another process that did the same first did it as well.
    async fn transact(&self, writes: &[TableWrite]) -> Result<(), StoreError> {
        match self.store.transact_unjournaled(writes).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Someone may have left unseen.
    pub fn note_stale(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Counts everyone, if people may have left and that was not done a short while ago.
    pub async fn recount_if_stale(&self) -> Result<(), StoreError> {
        let now = self.store.clock.monotonic();
        let last = *self.recounted.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = last.is_some_and(|last| now.saturating_sub(last) < RECOUNT_AFTER);
        if lately || !self.is_stale.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.recount().await
    }

    /// Counts everyone, and mends the tallies that there are. Who came meanwhile stays counted.
    pub async fn recount(&self) -> Result<(), StoreError> {
        *self.recounted.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.store.clock.monotonic());
        self.is_stale.store(false, Ordering::Relaxed);
        let before = self.store.tallies().await?;
        if !before.is_empty() {
            // Who passed a moment ago may have no row yet when the walk comes by.
            let under_way: BTreeSet<HolderId> =
                self.store.waiting_people().await?.into_iter().map(HolderId::from).collect();
            let ledger = self.count_ledger().await?;
            for (name, (tally, etag)) in self.store.tallies().await? {
                let Some((earlier, _)) = before.get(&name) else { continue };
                let mut mended = mended(&tally, earlier, ledger.bindings.get(&name));
                mended.keep_counted(tally.holders.intersection(&under_way));
                if mended != tally {
                    self.transact(&[tally::write_binding(&name, &mended, Some(&etag))]).await?;
                }
            }
            self.recount_all(ledger.people.len()).await?;
        }
        self.forget_ended(self.store.table_time().await?).await
    }

    async fn recount_all(&self, people: usize) -> Result<(), StoreError> {
        let StoredTally { tally: Some(all), etag } = self.store.tally_of_all().await? else { return Ok(()) };
        if all.people != people {
            self.transact(&[tally::write_all(&TenantTally { people, ..all }, etag.as_ref())]).await?;
        }
        Ok(())
    }

    /// Removes what is left of batches that hold no one any more: the rows of people whose holds have ended, and then the batch. Its
    /// id is remembered with its operations for a day.
    async fn forget_ended(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        let batches = self.store.batches().await?;
        let over = |batch: &&StoredBatch| batch.until + FORGOTTEN_AFTER < now;
        for batch in batches.each().filter(over) {
            let ended = self.store.ended_holds(batch.id, ENDED_ROWS_MAX).await?;
            for part in ended.chunks(TRANSACTION_OPS_MAX) {
                self.transact(part).await?;
            }
            if !self.store.has_held_people(batch.id).await? {
                self.transact(&[batches::forget(batch)]).await?;
            }
        }
        Ok(())
    }

    async fn count_ledger(&self) -> Result<CountedLedger, StoreError> {
        let snapshot = self.active_bindings.read(&self.store.pointer().await?).await?;
        let mut ledger = CountedLedger::default();
        let mut pages = self.store.ledger_pages(&LedgerPosition::default());
        while let Some(rows) = pages.next().await? {
            for owned in rows.into_iter().filter_map(|row| row.owned) {
                let (holder, entry) = (HolderId::from(owned.user), &owned.stored.entry);
                match &snapshot {
                    ActiveSnapshot::Known(snapshot) => {
                        ledger.count_for_heirs(holder, entry, &snapshot.bindings);
                    }
                    ActiveSnapshot::Absent | ActiveSnapshot::Unreadable => ledger.count(holder, entry),
                }
            }
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OpId, PrincipalId, UserId};
    use crate::rbac::{AssignmentName, BackupRole, Scope};
    use serde_json::json;
    use time::macros::datetime;
    use uuid::Uuid;

    const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);
    const VAULT: &str = "/subscriptions/0f3a7c1e-0000-4000-8000-000000000001/resourceGroups/g/providers/Microsoft.RecoveryServices/vaults/east";

    fn bindings(names: &[&str]) -> Bindings {
        let binding = |name: &&str| json!({"name": name, "group": {"externalId": name}, "role": "Backup Operator", "scope": VAULT});
        let file = json!({"version": 1, "bindings": names.iter().map(binding).collect::<Vec<_>>()});
        Bindings::parse(file.to_string().as_bytes()).unwrap()
    }

    fn entry(names: &[&str]) -> LedgerEntry {
        let (id, op) = (Uuid::from_u128(7), OpId::new(Uuid::from_u128(8)));
        let (scope, role) = (Scope::parse(VAULT).unwrap(), BackupRole::Operator);
        let entry =
            LedgerEntry::never_opened(AssignmentName::new(id), PrincipalId::new(id), role, scope, op, NOW);
        let names = names.iter().map(|name| BindingName::parse(name).unwrap()).collect();
        LedgerEntry { bindings: names, state: AssignmentState::Present, ..entry }
    }

    /// The bindings that an entry counts for, with these in force.
    #[track_caller]
    fn check(entry: &LedgerEntry, in_force: &[&str], expected: &[&str]) {
        let mut ledger = CountedLedger::default();
        ledger.count_for_heirs(UserId::new(Uuid::from_u128(1)).into(), entry, &bindings(in_force));
        let counted: Vec<&str> = ledger.bindings.keys().map(BindingName::as_str).collect();
        assert_eq!(counted, expected);
    }

    #[test]
    fn what_a_binding_gave_that_is_gone_counts_for_those_that_take_it_over() {
        check(&entry(&["old"]), &["new", "newer"], &["new", "newer"]);
        check(&entry(&["old", "new"]), &["new", "newer"], &["new", "old"]);
        check(&entry(&["old"]), &["old", "new"], &["old"]);
        // Nobody takes over what is taken away, or kept by a batch.
        let unwanted = LedgerEntry { unwanted_since: Some(NOW), ..entry(&["old"]) };
        check(&unwanted, &["new"], &["old"]);
        let kept = LedgerEntry { hold: Some(OpId::new(Uuid::from_u128(9))), ..entry(&["old"]) };
        check(&kept, &["new"], &["old"]);
        check(&LedgerEntry { state: AssignmentState::Gone, ..entry(&["old"]) }, &["new"], &[]);
    }
}
