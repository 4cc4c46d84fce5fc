//! Overdue revocations: each tick counts the leavers who may have held something for too long, and every process shows the
//! count.

use crate::events::log_event;
use crate::ports::connectivity::{Dependency, UnreachableKind};
use crate::rbac::ReasonCode;
use crate::service::deferred::log_deferred;
use crate::service::health::HealthStatus;
use crate::service::state::gate::StateGate;
use crate::store::batches::Batches;
use crate::store::overdue::{self, OverdueCount, StoredOverdue, StoredUnreachable};
use crate::store::reconcile_queue::leaver_hints::LeaverHint;
use crate::store::reconcile_queue::{QueueItem, QueuePosition};
use crate::store::{StateStore, StoreError, TableAnswer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// A revocation that waits for so long is overdue. The default of the setting.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(15 * 60);
/// Hints that one tick counts. With more, the count says at least so many.
const HINTS_MAX: usize = 50_000;
/// People whose ids are kept beside their number.
const FIRST_MAX: usize = 100;
/// Requests that one tick reads to find the oldest.
const REQUESTS_MAX: usize = 1000;
/// The error line is repeated while anything is overdue.
const LOG_EVERY: Duration = Duration::from_secs(3600);
/// A count that says nothing new is written again after this, so that every process sees that ticks run.
const ALIVE_EVERY: Duration = Duration::from_secs(300);
/// The reason that is shown where a hint cannot be read.
const UNREADABLE: &str = "unreadable";
/// How often a process without ticks of its own reads the count.
const WATCH_EVERY: Duration = Duration::from_secs(30);

impl OverdueCount {
    /// Counts a leaver who waits for too long, or is held back. One whose hint cannot be read counts too.
    fn count_if_overdue(
        &mut self,
        item: &QueueItem<LeaverHint>,
        now: OffsetDateTime,
        after: Duration,
        is_paused: bool,
    ) {
        let (unwanted_since, reason) = match &item.read {
            Ok(hint) if hint.is_over => return,
            // Since when is not known yet: the next reconcile writes it.
            Ok(hint) if hint.unwanted_since == OffsetDateTime::UNIX_EPOCH => return,
            Ok(hint) if hint.is_held_back(is_paused) => {
                self.held_back += 1;
                let oldest = [self.held_back_oldest, Some(hint.unwanted_since)];
                self.held_back_oldest = oldest.into_iter().flatten().min();
                return;
            }
            Ok(hint) => (Some(hint.unwanted_since), hint.reason.unwrap_or(ReasonCode::NoReasonLeft).as_str()),
            Err(error) => {
                log_event!(RowUnreadable, error = %error, "a hint of a leaver cannot be read");
                (None, UNREADABLE)
            }
        };
        if unwanted_since.is_some_and(|unwanted_since| unwanted_since + after > now) {
            return;
        }
        self.people += 1;
        if self.first.len() < FIRST_MAX {
            self.first.push(item.row.id().to_owned());
        }
        self.oldest = [self.oldest, unwanted_since].into_iter().flatten().min();
        *self.by_reason.entry(reason.to_owned()).or_default() += 1;
    }
}

/// Counts over the hints, and writes what is new. `stopped_at`: how far the tick came among the requests of now, so those that
/// wait longest come next.
pub(super) async fn count_overdue(
    store: &StateStore,
    health: &HealthStatus,
    after: Duration,
    stopped_at: &QueuePosition,
) -> Result<(), StoreError> {
    let TableAnswer { value: before, date: now } = store.overdue().await?;
    let mut pages = store.all_leaver_hints();
    let mut count = OverdueCount::default();
    let mut read = 0;
    let is_paused = health.is_paused();
    while read < HINTS_MAX
        && let Some(items) = pages.next().await?
    {
        read += items.len();
        items.iter().for_each(|item| count.count_if_overdue(item, now, after, is_paused));
    }
    let batches = store.batches().await?;
    count.in_batches = count_held(store, &batches).await?;
    let logged = log_line(&count, before.as_ref(), now);
    let oldest_request = store.oldest_request(stopped_at, REQUESTS_MAX).await?;
    let before_unreachable = before.as_ref().map(|before| before.unreachable.clone()).unwrap_or_default();
    let unreachable = health.unreachable_to_store(before_unreachable, now);
    let stored = StoredOverdue { count, counted: now, logged, oldest_request, unreachable };
    let alive = |before: &StoredOverdue| before.counted + ALIVE_EVERY > now;
    let same = |before: &StoredOverdue| {
        let unreachable = stored.unreachable.clone();
        kinds(&before.unreachable).eq(kinds(&unreachable))
            && StoredOverdue { counted: now, unreachable, ..before.clone() } == stored
    };
    if !before.is_some_and(|before| alive(&before) && same(&before)) {
        store.transact_unjournaled(&[overdue::write(&stored)]).await?;
    }
    health.overdue(&stored, now);
    health.batches(&batches);
    Ok(())
}

/// What is news of the dependencies that are not reached; the times move on by themselves.
fn kinds(
    unreachable: &BTreeMap<Dependency, StoredUnreachable>,
) -> impl Iterator<Item = (Dependency, UnreachableKind)> + '_ {
    unreachable.iter().map(|(dependency, stored)| (*dependency, stored.kind))
}

/// The people of the batches that wait for an operator.
async fn count_held(store: &StateStore, batches: &Batches) -> Result<usize, StoreError> {
    let mut people = 0;
    for batch in batches.waiting() {
        let held = store.batch_people(batch).await?;
        people += held.people.len() + held.unreadable;
    }
    Ok(people)
}

/// An error line when something becomes overdue, and again every hour. Returns when the last one was written.
fn log_line(
    count: &OverdueCount,
    before: Option<&StoredOverdue>,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    let oldest = count.oldest?;
    let last = before.filter(|before| before.count.people > 0).and_then(|before| before.logged);
    if last.is_some_and(|last| last + LOG_EVERY > now) {
        return last;
    }
    let reasons: Vec<String> =
        count.by_reason.iter().map(|(reason, people)| format!("{reason}: {people}")).collect();
    log_event!(
        RevocationsOverdue,
        operation = "revoke",
        people = count.people,
        oldest_s = (now - oldest).whole_seconds(),
        reasons = reasons.join(", "),
        "revocations are overdue: people still hold what was taken from them"
    );
    Some(now)
}

async fn read_counts(store: &StateStore, health: &HealthStatus, gate: &StateGate) -> Result<(), StoreError> {
    gate.look().await?;
    let TableAnswer { value, date } = store.overdue().await?;
    match value {
        Some(stored) => health.overdue(&stored, date),
        None => health.never_counted(date),
    }
    let sweep = store.due_sweep().await?;
    health.scopes_refused(sweep.scopes_refused);
    health.swept(sweep.counts);
    let settings = store.settings().await?;
    health.drill_row(&settings.drill, date);
    health.levers(&settings.levers);
    health.bindings_pending(settings.waiting());
    health.batches(&settings.batches);
    let TableAnswer { value: chain, date } = store.audit_chain().await?;
    if let Some(chain) = chain {
        health.audit_sealed(&chain.state, date);
    }
    Ok(())
}

/// Shows in this process what the ticks of any process counted.
pub async fn watch_counts(store: StateStore, health: Arc<HealthStatus>, gate: Arc<StateGate>) {
    loop {
        if let Err(error) = read_counts(&store, &health, &gate).await {
            log_deferred("reading what the ticks found", &error);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}
