//! The health of this process and of its work: what ticks and reconciles last met. It decides only when something is tried:
//! whether an answer waits for its reconcile, and whether a throttled queue is left to the tick. Reading it makes no call.

mod snapshot;

pub use snapshot::{AuditHealth, BindingsHealth, DrillHealth, HealthSnapshot, PausedSince};

use crate::events::log_event;
use crate::id::{OpId, UserId};
use crate::ports::clock::Clock;
use crate::ports::connectivity::{Connectivity, Dependency, KNOWN_FOR, Unreachable};
use crate::rbac::{BindingName, ReasonCode};
use crate::store::audit_chain::ChainState;
use crate::store::batches::Batches;
use crate::store::drills::{DrillRow, DrillState};
use crate::store::levers::{Levers, SetLever};
use crate::store::members::DIRECT_GROUPS_MAX;
use crate::store::overdue::{StoredOverdue, StoredUnreachable};
use crate::store::pending_bindings::PendingBindings;
use crate::store::recent_findings::RecentFindings;
use crate::store::state_hold::StateHold;
use crate::store::sweep_schedule::SweepCounts;
use crate::store::throttles::{CallKind, StoredThrottles};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// People who wait are reconciled hourly: a finding that was not met for so long is over.
const TROUBLED_FOR: Duration = Duration::from_secs(2 * 3600);
/// The identity provider does not learn of a membership that was dropped, so the finding stays for a day.
const GROUP_LIMIT_FOR: Duration = Duration::from_secs(24 * 3600);
/// What is shown for the reason of a red drill where the row of the drills cannot be read.
const DRILL_UNREADABLE: &str = "row-unreadable";

/// Keys or names of one kind that are shown beside their number.
const DETAILS_MAX: usize = 100;
/// A count of overdue revocations that is older means that no process ticks.
const NO_TICK_AFTER: Duration = Duration::from_secs(900);
/// So long after a throttle its queue is worked off by ticks, in its order: longer than a tick takes to come.
const LATELY: Duration = Duration::from_secs(90);
/// People who are judged into a batch are counted in it so soon.
const BATCH_FILLS: Duration = Duration::from_secs(120);

/// A throttle on two clocks: the table service's, and ours that never jumps.
#[derive(Debug, Clone, Copy)]
struct Known {
    not_before: OffsetDateTime,
    over_at: Duration,
    /// The stored time, which every process reads; `None` until it was written or read.
    stored: Option<OffsetDateTime>,
}

#[derive(Default)]
struct Held {
    snapshot: HealthSnapshot,
    /// The keys of the first quarantined rows.
    quarantined: Vec<String>,
    /// When it was first seen that no count was ever written.
    never_counted: Option<OffsetDateTime>,
    throttled: BTreeMap<(String, CallKind), Known>,
    /// How long it may be that no drill was green.
    green_within: Option<Duration>,
    /// Whether a drill runs, as it was last read: also where none is set any more.
    drill_runs: bool,
}

/// The health of this process. Shared, and cheap to read.
pub struct HealthStatus {
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    unreadable: Option<Arc<RecentFindings>>,
    connectivity: Arc<Connectivity>,
    group_limit: RecentFindings,
    troubled: RecentFindings,
}

impl HealthStatus {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let group_limit = RecentFindings::new(clock.clone(), GROUP_LIMIT_FOR);
        let troubled = RecentFindings::new(clock.clone(), TROUBLED_FOR);
        Self {
            clock,
            held: Mutex::default(),
            unreadable: None,
            connectivity: Arc::default(),
            group_limit,
            troubled,
        }
    }

    /// The same, which shows how these calls end.
    pub fn showing(self, connectivity: Arc<Connectivity>) -> Self {
        Self { connectivity, ..self }
    }

    /// The same, which counts these rows too.
    pub fn counting(self, unreadable: Arc<RecentFindings>) -> Self {
        Self { unreadable: Some(unreadable), ..self }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The health now.
    pub fn snapshot(&self) -> HealthSnapshot {
        let now = self.clock.monotonic();
        let held = self.held();
        let mut snapshot = HealthSnapshot {
            rows_unreadable: self.unreadable.as_ref().map_or(0, |rows| rows.count()),
            group_limit_reached: self.group_limit.count(),
            bindings_troubled: self.troubled.count(),
            ..held.snapshot.clone()
        };
        for (dependency, found) in self.connectivity.latest(now) {
            match found {
                Some(unreachable) => snapshot.unreachable.insert(dependency, unreachable),
                None => snapshot.unreachable.remove(&dependency),
            };
        }
        for ((_, kind), known) in held.throttled.iter().filter(|(_, known)| known.over_at > now) {
            let until = snapshot.throttled.entry(kind.as_str()).or_insert(known.not_before);
            *until = known.not_before.max(*until);
        }
        snapshot
    }

    /// Whether Azure asked to wait with this kind of call anywhere, as far as this process knows.
    pub fn is_throttled(&self, kind: CallKind) -> bool {
        let now = self.clock.monotonic();
        self.held().throttled.iter().any(|((_, of), known)| *of == kind && known.over_at > now)
    }

    /// Until when Azure asked to wait with this kind of call in a subscription, as far as this process knows.
    pub(super) fn throttled_until(&self, subscription: &str, kind: CallKind) -> Option<OffsetDateTime> {
        let now = self.clock.monotonic();
        let held = self.held();
        let known = held.throttled.get(&(subscription.to_owned(), kind));
        known.filter(|known| known.over_at > now).map(|known| known.not_before)
    }

    /// Whether Azure asks to wait, or did so a short while ago: a queue may not be over yet.
    pub(super) fn was_throttled_lately(&self, subscription: &str, kind: CallKind) -> bool {
        let now = self.clock.monotonic();
        let held = self.held();
        let known = held.throttled.get(&(subscription.to_owned(), kind));
        known.is_some_and(|known| known.over_at + LATELY > now)
    }

    /// Azure asked to wait. The latest time that it named counts.
    pub(super) fn throttled(
        &self,
        subscription: &str,
        kind: CallKind,
        not_before: OffsetDateTime,
        now: OffsetDateTime,
    ) {
        let over_at = self.clock.monotonic() + Duration::try_from(not_before - now).unwrap_or_default();
        let mut held = self.held();
        let known = held.throttled.entry((subscription.to_owned(), kind));
        let known = known.or_insert(Known { not_before, over_at, stored: None });
        if known.not_before < not_before {
            (known.not_before, known.over_at) = (not_before, over_at);
        }
    }

    /// Whether every process may not know yet: the time in the table is earlier, by a second or more.
    pub(super) fn is_news(&self, subscription: &str, kind: CallKind, not_before: OffsetDateTime) -> bool {
        let held = self.held();
        let stored = held.throttled.get(&(subscription.to_owned(), kind)).and_then(|known| known.stored);
        stored.is_none_or(|stored| stored + Duration::from_secs(1) <= not_before)
    }

    /// That time is stored.
    pub(super) fn throttle_stored(&self, subscription: &str, kind: CallKind, not_before: OffsetDateTime) {
        if let Some(known) = self.held().throttled.get_mut(&(subscription.to_owned(), kind)) {
            known.stored = known.stored.max(Some(not_before));
        }
    }

    /// What other processes noted, read at `now`.
    pub(super) fn read_throttles(&self, throttles: &StoredThrottles, now: OffsetDateTime) {
        for (subscription, kind, until) in throttles.each(now - LATELY) {
            self.throttled(subscription, kind, until, now);
            self.throttle_stored(subscription, kind, until);
        }
    }

    /// A membership of a person was dropped, since they are in as many groups as may be.
    pub(super) fn membership_dropped(&self, user: UserId) {
        self.group_limit_finding(user, &format!("{user} (a membership was dropped)"));
    }

    /// A person is in more groups than may be, or in groups beyond the levels that are read.
    pub(super) fn group_limit_reached(&self, user: UserId) {
        self.group_limit_finding(user, &user.to_string());
    }

    /// A person is no longer in too many groups. That a membership was dropped is not undone by it.
    pub(super) fn within_group_limit(&self, user: UserId) {
        self.group_limit.forget(&user.to_string());
    }

    fn group_limit_finding(&self, user: UserId, finding: &str) {
        if self.group_limit.record(finding) {
            let groups_max = DIRECT_GROUPS_MAX;
            log_event!(GroupLimitReached, user.id = %user, groups_max, "a user reached the limit of groups, or of levels of groups in groups; what lies beyond gives nothing");
        }
    }

    /// A binding gives nothing new.
    pub(super) fn binding_finding(&self, binding: &BindingName, reason: ReasonCode) {
        if self.troubled.record(binding.as_str()) {
            log_event!(BindingStuck, binding = %binding, reason = reason.as_str(), "a binding gives nothing new");
        }
    }

    /// What operators set, as it was last read.
    pub(super) fn levers(&self, levers: &Levers) {
        let since = |lever: &SetLever| PausedSince { since: lever.set_by.as_ref().map(|order| order.since) };
        let mut held = self.held();
        held.snapshot.paused = levers.pause.as_ref().map(since);
        held.snapshot.brakes = levers.brakes.len();
    }

    /// Whether an operator's pause lasts, as far as this process knows.
    pub(super) fn is_paused(&self) -> bool {
        self.held().snapshot.paused.is_some()
    }

    /// The batches of the breakers, as they were last read.
    pub(super) fn batches(&self, batches: &Batches) {
        let mut held = self.held();
        let counted = held.snapshot.counted.filter(|_| held.snapshot.overdue.in_batches == 0);
        let opened = |id: &OpId| batches.get(*id).map(|batch| batch.opened);
        // The last count found nobody in those that were open by then. Who was judged just before it may not be in yet.
        let is_young = |opened: OffsetDateTime| counted.is_none_or(|counted| opened + BATCH_FILLS > counted);
        let holds = |id: &OpId| opened(id).is_none_or(is_young);
        held.snapshot.batches_held = batches.waiting().filter(holds).count();
        held.snapshot.oldest_batch = batches.waiting().filter(holds).filter_map(|id| opened(&id)).min();
    }

    /// A binding gives its role to as many people as it may, and so many more wait.
    pub(super) fn binding_full(&self, binding: &BindingName, people: usize, waiting: usize) {
        if self.troubled.record(&format!("{binding} {}", ReasonCode::MaxPrincipals)) {
            let next = format!("\"maxPrincipals\": {}", people + waiting);
            log_event!(BindingFull, binding = %binding, people, waiting, next, reason = ReasonCode::MaxPrincipals.as_str(),
                "a binding is full; others wait for room"
            );
        }
    }

    /// What is to be stored of the dependencies: what this process knows of those that it called, and of the others what was stored,
    /// as long as it may still be so.
    pub(super) fn unreachable_to_store(
        &self,
        stored: BTreeMap<Dependency, StoredUnreachable>,
        now: OffsetDateTime,
    ) -> BTreeMap<Dependency, StoredUnreachable> {
        let mut all = stored;
        all.retain(|_, stored| stored.seen + KNOWN_FOR > now);
        for (dependency, found) in self.connectivity.latest(self.clock.monotonic()) {
            let since = all.remove(&dependency).map(|stored| stored.since);
            let Some(Unreachable { kind, lasts }) = found else { continue };
            let since = since.unwrap_or(now - lasts).min(now - lasts);
            all.insert(dependency, StoredUnreachable { kind, since, seen: now });
        }
        all
    }

    /// Whether the heads of the audit go to a container.
    pub(super) fn has_head_archive(&self, has_archive: bool) {
        self.held().snapshot.audit.has_archive = has_archive;
    }

    /// How far the audit is sealed, read at `now` by the table service's clock.
    pub(super) fn audit_sealed(&self, chain: &ChainState, now: OffsetDateTime) {
        let mut held = self.held();
        let has_archive = held.snapshot.audit.has_archive;
        held.snapshot.audit = AuditHealth {
            has_archive,
            sealed_through: chain.day.previous_day().filter(|_| chain.next > 0),
            unpublished: if has_archive { chain.next.saturating_sub(chain.published) } else { 0 },
            damaged: chain.damaged.len(),
            is_forked: chain.forked,
            is_behind: chain.is_behind(now),
            is_failing: false,
        };
    }

    /// The audit cannot be sealed, and waiting does not help.
    pub(super) fn audit_failing(&self) {
        self.held().snapshot.audit.is_failing = true;
    }

    /// Whether drills are set, and how long it may be that none was green.
    pub(super) fn drills_set(&self, are_set: bool, green_within: Option<Duration>) {
        let mut held = self.held();
        held.snapshot.drill = are_set.then(DrillHealth::default);
        held.green_within = green_within;
    }

    /// Whether a tick has to look at the drill.
    pub(super) fn has_drill(&self) -> bool {
        let held = self.held();
        held.snapshot.drill.is_some() || held.drill_runs
    }

    /// The row of the drills, as it was read with the settings.
    pub(super) fn drill_row(&self, row: &DrillRow, now: OffsetDateTime) {
        match row {
            DrillRow::Absent => self.drill(None, now),
            DrillRow::Readable(stored) => self.drill(Some(&stored.state), now),
            DrillRow::Unreadable => self.drill_unreadable(),
        }
    }

    /// The row of the drills cannot be read. One may run: a tick goes on looking.
    pub(super) fn drill_unreadable(&self) {
        let mut held = self.held();
        held.drill_runs = true;
        if let Some(drill) = &mut held.snapshot.drill {
            drill.red = Some(DRILL_UNREADABLE.to_owned());
        }
    }

    /// The drills, read at `now` by the table service's clock.
    pub(super) fn drill(&self, state: Option<&DrillState>, now: OffsetDateTime) {
        let mut held = self.held();
        held.drill_runs = state.is_some_and(|state| state.running.is_some());
        let within = held.green_within;
        let (Some(drill), Some(state)) = (&mut held.snapshot.drill, state) else { return };
        let green = state.green.unwrap_or(state.since);
        *drill = DrillHealth {
            running: state.running.is_some(),
            green: state.green,
            red: state.red.as_ref().map(|(_, failure)| failure.reason.clone()),
            is_late: within.is_some_and(|within| green + within < now),
        };
    }

    /// Whether the table of orders cannot be read.
    pub(super) fn orders_unreadable(&self, unreadable: bool) {
        self.held().snapshot.orders_unreadable = unreadable;
    }

    /// Why this process may do nothing with the state, as it was last read.
    pub(super) fn state_held(&self, hold: Option<&StateHold>) {
        self.held().snapshot.state_hold = hold.cloned();
    }

    /// The bundled file that waits, as it was last read.
    pub(super) fn bindings_pending(&self, waiting: Option<&PendingBindings>) {
        self.held().snapshot.bindings_pending = waiting.cloned();
    }

    pub(super) fn tick_failed(&self) {
        let mut held = self.held();
        held.snapshot.ticks_failed = held.snapshot.ticks_failed.saturating_add(1);
    }

    pub(super) fn tick_finished(&self) {
        let mut held = self.held();
        held.snapshot.ticks_failed = 0;
        held.snapshot.tick_finished = Some(self.clock.now());
    }

    pub(super) fn sweep_finished(&self) {
        self.held().snapshot.sweep_finished = Some(self.clock.now());
    }

    /// No process has ever counted anything: after a while that means that none ticks.
    pub(super) fn never_counted(&self, now: OffsetDateTime) {
        let mut held = self.held();
        let since = *held.never_counted.get_or_insert(now);
        held.snapshot.is_without_ticks = since + NO_TICK_AFTER < now;
    }

    pub(super) fn swept(&self, counts: SweepCounts) {
        self.held().snapshot.swept = counts;
    }

    /// What a tick of some process counted, read at `now` by the table service's clock.
    pub(super) fn overdue(&self, stored: &StoredOverdue, now: OffsetDateTime) {
        let mut held = self.held();
        held.snapshot.overdue.clone_from(&stored.count);
        held.snapshot.oldest_request = stored.oldest_request;
        let known = stored.unreachable.iter().filter(|(_, stored)| stored.seen + KNOWN_FOR > now);
        held.snapshot.unreachable = known
            .map(|(dependency, StoredUnreachable { kind, since, .. })| {
                let lasts = Duration::try_from(now - *since).unwrap_or_default();
                (*dependency, Unreachable { kind: *kind, lasts })
            })
            .collect();
        held.snapshot.counted = Some(stored.counted);
        held.snapshot.is_without_ticks = stored.counted + NO_TICK_AFTER < now;
    }

    /// So many, and the keys of the first of them.
    pub(super) fn quarantined<'a>(&self, number: usize, keys: impl Iterator<Item = &'a String>) {
        let mut held = self.held();
        held.snapshot.quarantined = number;
        held.quarantined = keys.take(DETAILS_MAX).cloned().collect();
    }

    /// What the counts are of, as far as it is kept: keys and names, for a caller who may see them.
    pub fn details(&self) -> Map<String, Value> {
        let first = |findings: &RecentFindings| findings.first(DETAILS_MAX);
        let held = self.held();
        let members = [
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("revocationsOverdue", json!(held.snapshot.overdue.first)),
            ("setAside", json!(held.quarantined)),
            ("rowsUnreadable", json!(self.unreadable.as_deref().map(first).unwrap_or_default())),
            ("groupLimitReached", json!(first(&self.group_limit))),
            ("bindingsTroubled", json!(first(&self.troubled))),
            ("bindingsWithoutGroup", json!(held.snapshot.swept.bindings_without_group.names())),
            ("foreignAssignments", json!(held.snapshot.swept.foreign_assignments.names())),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    pub(super) fn scopes_refused(&self, number: usize) {
        self.held().snapshot.scopes_refused = number;
    }

    pub(super) fn bindings(&self, stand: BindingsHealth) {
        self.held().snapshot.bindings = stand;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);

    struct Still;

    impl Clock for Still {
        fn now(&self) -> OffsetDateTime {
            NOW
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn the_latest_time_that_azure_named_counts_and_is_news_until_it_is_stored() {
        let health = HealthStatus::new(Arc::new(Still));
        let at = |seconds| NOW + Duration::from_secs(seconds);
        health.throttled("s", CallKind::Revoke, at(60), NOW);
        health.throttled("s", CallKind::Revoke, at(5), NOW);
        assert_eq!(health.snapshot().throttled.get("revoke"), Some(&at(60)));
        assert!(health.is_news("s", CallKind::Revoke, at(60)));
        health.throttle_stored("s", CallKind::Revoke, at(60));
        assert!(!health.is_news("s", CallKind::Revoke, at(5)));
        assert!(!health.is_news("s", CallKind::Revoke, at(60)));
        assert!(health.is_news("s", CallKind::Revoke, at(61)));
        assert!(health.is_news("s", CallKind::Grant, at(5)));
    }
}
