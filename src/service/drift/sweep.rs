//! The sweep: compares what Azure lists with what the ledger says, and acts on nothing. A difference enqueues
//! the person.
//!
//! It goes through the ledger row by row, lists each scope when it meets the first row of it, and stops anywhere: the place is
//! a row. So each part of a sweep gets on, however long the ledger is. The bound scopes of which no row speaks come last. What
//! is held in memory is what Azure holds, which is bounded by Azure.

use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::events::log_event;
use crate::id::{InstanceId, SERVICE, UserId};
use crate::ports::azure_access::AccessReader;
use crate::ports::role_assignments::{AssignmentError, RejectionReason, RoleAssignments};
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::ledger::{AssignmentState, LedgerEntry};
use crate::rbac::scope::ScopeKind;
use crate::rbac::{AssignmentName, BackupRole, Scope};
use crate::service::bindings::active::{ActiveBindings, ActiveSnapshot, BindingsSnapshot};
use crate::service::bindings::affected_groups::without_group;
use crate::service::deferred::log_deferred;
use crate::service::drift::foreign::{ForeignSurvey, KnownRoles, Surveyed};
use crate::service::drift::quota;
use crate::service::health::HealthStatus;
use crate::service::throttling;
use crate::store::ledger::write;
use crate::store::ledger_walk::{LedgerPosition, OwnedEntry};
use crate::store::reconcile_queue::{self, ReconcileRequest};
use crate::store::sweep_schedule::{SweepLeft, SweptScopes};
use crate::store::throttles::{CallKind, StoredThrottles};
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Lists lag: what was written later than this is not compared.
const LISTS_LAG: Duration = Duration::from_secs(15 * 60);
/// How long Azure is given to list one scope, at most and at least.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
const LIST_TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// Lists without an answer in a row, after which the other scopes of that subscription are not asked for in this part.
const SILENT_MAX: usize = 2;

/// Differences without a holder of the principal that one part handles; the next sweep finds the rest.
const ORPHANS_MAX: usize = 1000;

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SweepFindings {
    /// Scopes that were listed.
    pub scopes: usize,
    pub differences: usize,
    /// The scopes that Azure answered for by now, in this part and before. One that it refuses to list is a finding, which
    /// asking again does not mend.
    pub seen: SweptScopes,
    /// Where it stopped because its time was over, as the row before.
    pub parked_after: Option<LedgerPosition>,
    /// The row before the first for which Azure gave no answer.
    pub missed_after: Option<LedgerPosition>,
}

impl SweepFindings {
    /// What is left to do. What a parked part missed is found by the next sweep: going on matters more.
    pub fn outcome(&self) -> SweepLeft {
        match (self.parked_after.clone(), self.missed_after.clone()) {
            (Some(after), _) => SweepLeft::Parked { after },
            (None, Some(after)) => SweepLeft::Missed { after },
            (None, None) => SweepLeft::Finished,
        }
    }

    fn record_unanswered(&mut self, after: &LedgerPosition) {
        self.missed_after.get_or_insert_with(|| after.clone());
    }
}

/// The subscriptions that are bound themselves, and answer now: there the service may read everything.
fn askable_subscriptions(part: &Part) -> Vec<Scope> {
    let answers = |scope: &&Scope| {
        let is_throttled = part.throttles.until(scope, CallKind::Ask, part.now).is_some();
        !is_throttled && part.silent.get(scope.subscription()).is_none_or(|silent| *silent < SILENT_MAX)
    };
    part.bound
        .iter()
        .filter(|scope| scope.kind() == ScopeKind::Subscription)
        .filter(answers)
        .cloned()
        .collect()
}

/// What Azure says to a list.
#[derive(Debug, Clone)]
enum Answer {
    Names(BTreeSet<AssignmentName>),
    Refused,
    None,
}

/// A sweep with its means.
pub struct DriftSweep<'a> {
    pub store: &'a StateStore,
    pub active_bindings: &'a ActiveBindings,
    pub health: &'a HealthStatus,
    pub assignments: &'a dyn RoleAssignments,
    pub reader: &'a dyn AccessReader,
    pub roles: &'a KnownRoles,
}

/// One part of a sweep under way.
struct Part {
    now: OffsetDateTime,
    /// When it ends, on the monotonic clock.
    until: Duration,
    throttles: StoredThrottles,
    answers: BTreeMap<Scope, Answer>,
    /// The bound and the retired scopes.
    bound: BTreeSet<Scope>,
    /// The roles that are bound.
    roles: BTreeSet<BackupRole>,
    /// The id of this installation, once it granted anything.
    instance: Option<InstanceId>,
    /// Lists without an answer, one after the other, by subscription.
    silent: BTreeMap<String, usize>,
    /// Differences without a holder of the principal: the row that was written last, and whether Azure holds it.
    orphans: BTreeMap<AssignmentName, (OwnedEntry, bool)>,
    /// Something was compared or asked for: the time may end it now.
    got_on: bool,
    found: SweepFindings,
}

impl Part {
    fn leave_orphan(&mut self, row: OwnedEntry, held_in_azure: bool) {
        let name = row.stored.entry.assignment;
        let later = self
            .orphans
            .get(&name)
            .is_none_or(|(known, _)| known.stored.entry.written < row.stored.entry.written);
        if later && (self.orphans.len() < ORPHANS_MAX || self.orphans.contains_key(&name)) {
            self.orphans.insert(name, (row, held_in_azure));
        }
    }

    /// What is gone in a scope that is neither bound nor named by a live row is no longer checked in Azure.
    fn is_relevant(&self, entry: &LedgerEntry) -> bool {
        let scope = &entry.scope;
        !entry.is_settled_and_gone() || self.bound.contains(scope) || self.answers.contains_key(scope)
    }
}

impl DriftSweep<'_> {
    /// Compares every scope that a live row names, the bound scopes and the retired ones, from the row after `after` on, until
    /// `until` on the monotonic clock. `seen`: what earlier parts saw.
    pub async fn run(
        &self,
        after: &LedgerPosition,
        seen: SweptScopes,
        until: Duration,
    ) -> Result<SweepFindings, StoreError> {
        let snapshot = self.active_snapshot().await?;
        let settings = self.store.settings().await?;
        let mut part = Part {
            now: self.store.table_time().await?,
            until,
            instance: settings.instance,
            throttles: settings.throttles,
            answers: BTreeMap::new(),
            bound: snapshot.iter().flat_map(|snapshot| snapshot.bindings.scopes()).collect(),
            roles: snapshot
                .iter()
                .flat_map(|snapshot| snapshot.bindings.bindings.iter().map(|binding| binding.role))
                .collect(),
            silent: BTreeMap::new(),
            orphans: BTreeMap::new(),
            got_on: false,
            found: SweepFindings { seen, ..SweepFindings::default() },
        };
        if self.ledger(after, &mut part).await? {
            self.bound_scopes(&mut part).await?;
        }
        self.orphans(&mut part).await?;
        if let (Some(snapshot), None) = (&snapshot, &part.found.parked_after) {
            // It decides nothing: where it fails, this sweep goes without the count.
            match without_group(self.store, snapshot).await {
                Ok(groupless) => part.found.seen.bindings_without_group = groupless,
                Err(error) => log_deferred("counting bindings without a group", &error),
            }
        }
        // What is bound has to be known: a scope that is not bound is forgotten.
        if snapshot.is_some() && part.found.parked_after.is_none() {
            self.survey_others(&mut part).await;
        }
        Ok(part.found)
    }

    /// Returns whether it came to the end of the ledger.
    async fn ledger(&self, after: &LedgerPosition, part: &mut Part) -> Result<bool, StoreError> {
        let mut done = after.clone();
        let mut pages = self.store.ledger_pages(after);
        while let Some(rows) = pages.next().await? {
            for row in rows {
                if self.must_stop(part) {
                    part.found.parked_after = Some(done);
                    return Ok(false);
                }
                part.found.seen.count_pending(&row.pending);
                if let Some(owned) = row.owned.filter(|owned| part.is_relevant(&owned.stored.entry)) {
                    self.compare(owned, &done, part).await?;
                }
                done = row.position;
            }
            part.got_on = true;
        }
        Ok(true)
    }

    fn must_stop(&self, part: &Part) -> bool {
        part.got_on && self.store.clock.monotonic() >= part.until
    }

    /// Compares a row, and the one of the principal's holder: it is a difference only if both disagree with Azure.
    async fn compare(
        &self,
        row: OwnedEntry,
        done: &LedgerPosition,
        part: &mut Part,
    ) -> Result<(), StoreError> {
        let scope = row.stored.entry.scope.clone();
        let name = row.stored.entry.assignment;
        let held_in_azure = match self.answer(&scope, part).await? {
            Answer::Names(names) => names.contains(&name),
            Answer::Refused => return Ok(()),
            Answer::None => {
                part.found.record_unanswered(done);
                return Ok(());
            }
        };
        if !differs(std::slice::from_ref(&row), held_in_azure, part.now) {
            return Ok(());
        }
        let rows = match self.with_holder(row).await {
            Ok(rows) => rows,
            Err(error @ StoreError::Away { .. }) => return Err(error),
            Err(error) => {
                log_deferred("a ledger row that differs", &error);
                return Ok(());
            }
        };
        let (holder, rows) = match rows {
            (Some(holder), rows) => (holder, rows),
            (None, rows) => {
                rows.into_iter().for_each(|row| part.leave_orphan(row, held_in_azure));
                return Ok(());
            }
        };
        if differs(&rows, held_in_azure, part.now) {
            part.got_on = true;
            let enqueued = requeue_holder(self.store, name, holder, &rows, held_in_azure, part.now).await?;
            part.found.differences += usize::from(enqueued);
        }
        Ok(())
    }

    /// The record that holds the principal, and its row beside this one.
    async fn with_holder(&self, row: OwnedEntry) -> Result<(Option<UserId>, Vec<OwnedEntry>), StoreError> {
        let holder = self.store.holder(row.stored.entry.principal).await?.record();
        let user = row.user;
        let name = row.stored.entry.assignment;
        let mut rows = vec![row];
        if let Some(holder) = holder.filter(|holder| *holder != user)
            && let Some(stored) = self.store.ledger_entry(holder, name).await?.value
        {
            rows.push(OwnedEntry { user: holder, stored });
        }
        Ok((holder, rows))
    }

    /// If no record holds the principal, the record whose row was written last is enqueued.
    async fn orphans(&self, part: &mut Part) -> Result<(), StoreError> {
        for (name, (row, held_in_azure)) in std::mem::take(&mut part.orphans) {
            let user = row.user;
            let rows = [row];
            let enqueued = requeue_holder(self.store, name, user, &rows, held_in_azure, part.now).await?;
            part.found.differences += usize::from(enqueued);
        }
        Ok(())
    }

    /// Bound scopes that nothing was compared with: whether they can be listed is worth knowing.
    async fn bound_scopes(&self, part: &mut Part) -> Result<(), StoreError> {
        let end = LedgerPosition::end();
        for scope in part.bound.clone() {
            if part.found.seen.has(&scope) {
                continue;
            }
            if self.must_stop(part) {
                part.found.parked_after = Some(end);
                return Ok(());
            }
            if let Answer::None = self.answer(&scope, part).await? {
                part.found.record_unanswered(&end);
            }
        }
        Ok(())
    }

    async fn active_snapshot(&self) -> Result<Option<Arc<BindingsSnapshot>>, StoreError> {
        let pointer = self.store.pointer().await?;
        Ok(match self.active_bindings.read(&pointer).await? {
            ActiveSnapshot::Known(snapshot) => Some(snapshot),
            ActiveSnapshot::Absent | ActiveSnapshot::Unreadable => None,
        })
    }

    /// What Azure says to a list of that scope, asked once in each part.
    async fn answer(&self, scope: &Scope, part: &mut Part) -> Result<Answer, StoreError> {
        if let Some(answer) = part.answers.get(scope) {
            return Ok(answer.clone());
        }
        let may_ask = part.throttles.until(scope, CallKind::Ask, part.now).is_none()
            && part.silent.get(scope.subscription()).is_none_or(|silent| *silent < SILENT_MAX);
        let answer = if may_ask { self.list(scope, part).await? } else { Answer::None };
        match &answer {
            Answer::Names(_) => {
                part.found.scopes += 1;
                part.found.seen.list(scope);
            }
            Answer::Refused => part.found.seen.refuse(scope),
            Answer::None => *part.silent.entry(scope.subscription().to_owned()).or_default() += 1,
        }
        if !matches!(answer, Answer::None) {
            part.silent.remove(scope.subscription());
        }
        part.answers.insert(scope.clone(), answer.clone());
        Ok(answer)
    }

    /// What others gave comes last and decides nothing: it uses the time that is left, respects what Azure asks for, and goes on
    /// in the next part. Where it cannot be read or recorded, the sweep ends without it.
    async fn survey_others(&self, part: &mut Part) {
        let left: Vec<Scope> =
            part.bound.iter().filter(|scope| !part.found.seen.is_surveyed(scope)).cloned().collect();
        let mut survey = match self.begin_survey(part).await {
            Ok(survey) => survey,
            Err(error) => {
                log_deferred("what others gave", &error);
                return left.iter().for_each(|scope| part.found.seen.survey(scope, false));
            }
        };
        for scope in left {
            let is_throttled = part.throttles.until(&scope, CallKind::Ask, part.now).is_some();
            let is_silent = part.silent.get(scope.subscription()).is_some_and(|silent| *silent >= SILENT_MAX);
            let surveyed = match is_throttled || is_silent {
                true => Surveyed::NoAnswer,
                false => survey.survey(&scope, part.now).await.unwrap_or_else(|error| {
                    log_deferred("what others gave at a scope", &error);
                    Surveyed::InPart
                }),
            };
            match surveyed {
                Surveyed::OutOfTime => {
                    part.found.parked_after = Some(LedgerPosition::end());
                    return;
                }
                Surveyed::NoAnswer => *part.silent.entry(scope.subscription().to_owned()).or_default() += 1,
                Surveyed::Throttled(wait) => {
                    if let Err(error) = self.heed_throttle(&scope, wait, part).await {
                        log_deferred("the wait that Azure asked for", &error);
                    }
                }
                Surveyed::Whole | Surveyed::InPart => {}
            }
            part.found.seen.survey(&scope, surveyed == Surveyed::Whole);
        }
        if let Err(error) = survey.forget_others().await {
            log_deferred("what others gave at other scopes", &error);
        }
        if let Some(scope) = part.bound.first()
            && let Err(error) = survey.survey_roles(scope, &part.roles).await
        {
            log_deferred("what the backup roles give", &error);
        }
        part.found.seen.foreign_assignments = Some(survey.findings());
        let subscriptions = askable_subscriptions(part);
        quota::log_nearly_full(self.reader, self.store.clock.as_ref(), &subscriptions, part.until).await;
    }

    /// An installation that has granted nothing yet gets its id here: by it an assignment of others is told from its own.
    async fn begin_survey(&self, part: &Part) -> Result<ForeignSurvey<'_>, StoreError> {
        let instance = match part.instance {
            Some(instance) => instance,
            None => self.store.instance().await?,
        };
        let bound = part.bound.iter().map(ArmScope::from).collect();
        ForeignSurvey::begin(self.store, self.reader, self.roles, instance, bound, part.until).await
    }

    /// Azure asked to wait: no process asks for anything in that subscription until then.
    async fn heed_throttle(&self, scope: &Scope, wait: Duration, part: &mut Part) -> Result<(), StoreError> {
        part.throttles.stop(scope.subscription(), part.now + wait);
        throttling::store_throttle(self.store, self.health, scope, CallKind::Ask, part.now, wait).await
    }

    async fn list(&self, scope: &Scope, part: &mut Part) -> Result<Answer, StoreError> {
        part.got_on = true;
        let left = part.until.saturating_sub(self.store.clock.monotonic());
        let listed = self.assignments.list(scope, left.clamp(LIST_TIMEOUT_MIN, LIST_TIMEOUT)).await;
        let error = match listed {
            Ok(listed) => return Ok(Answer::Names(listed.into_iter().map(|listed| listed.name).collect())),
            Err(error) => error,
        };
        log_event!(ScopeNotListed, scope = %scope, error = %error, "listing the role assignments of a scope failed");
        match error {
            AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. } => {
                Ok(Answer::Names(BTreeSet::new()))
            }
            AssignmentError::Rejected { .. } => Ok(Answer::Refused),
            AssignmentError::Throttled { retry_after, .. } => {
                self.heed_throttle(scope, retry_after, part).await?;
                Ok(Answer::None)
            }
            AssignmentError::Unknown { .. } => Ok(Answer::None),
        }
    }
}

fn differs(rows: &[OwnedEntry], held_in_azure: bool, now: OffsetDateTime) -> bool {
    let settled = rows.iter().all(|row| row.stored.entry.unsettled_until.is_none());
    let old = rows.iter().all(|row| row.stored.entry.written + LISTS_LAG <= now);
    let ledger_held = rows.iter().any(|row| row.stored.entry.state == AssignmentState::Present);
    settled && old && ledger_held != held_in_azure
}

/// Unsettles the row of the record that holds the principal, its time passed, and enqueues the person.
async fn requeue_holder(
    store: &StateStore,
    name: AssignmentName,
    holder: UserId,
    rows: &[OwnedEntry],
    held_in_azure: bool,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let Some(last) = rows.iter().max_by_key(|row| row.stored.entry.written) else { return Ok(false) };
    let own = rows.iter().find(|row| row.user == holder);
    let op = store.ids.op();
    let origin = ChangeOrigin { cause: ChangeCause::Sweep, actor: SERVICE.to_owned(), op };
    let template = own.map_or(&last.stored.entry, |row| &row.stored.entry);
    let holding = if own.is_some() { template.state } else { AssignmentState::Gone };
    let entry = LedgerEntry {
        op,
        state: holding,
        unsettled_until: Some(now),
        written: now,
        retry: None,
        hold: template.hold.filter(|_| own.is_some()),
        ..template.clone()
    };
    let ledger_held = rows.iter().any(|row| row.stored.entry.state == AssignmentState::Present);
    let request = if held_in_azure {
        ReconcileRequest::taking_away(origin.clone())
    } else {
        ReconcileRequest::gain(origin.clone())
    };
    let principal = entry.principal;
    let assignment = name;
    let difference = AuditEvent::DifferenceFound {
        person: holder,
        principal,
        assignment,
        ledger_held,
        azure_held: held_in_azure,
    };
    let changes = vec![difference];
    let record = AuditRecord {
        op,
        time: store.clock.now(),
        origin,
        request: None,
        stamp: None,
        outcome: None,
        changes,
    };
    let own = own.map(|row| (&row.stored.etag, Some(&row.stored.kept)));
    let mut writes = vec![write(holder, &entry, own)];
    writes.extend(reconcile_queue::enqueue_now(holder, &request));
    match store.commit(&record, writes).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
