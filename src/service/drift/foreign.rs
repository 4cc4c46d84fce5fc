//! What others gave at the bound scopes, or above them: seen by the sweep, recorded where it changes, never touched.
//!
//! It comes after everything that a sweep compares, and decides nothing: where Azure or the tables do not answer, it is left for
//! the next sweep.

use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::events::log_event;
use crate::id::{InstanceId, SERVICE};
use crate::ports::azure_access::{AccessAssignment, AccessReader, HolderKind};
use crate::ports::clock::Clock;
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::condition::{AssignmentAction, AssignmentCondition, Verdict};
use crate::rbac::privileged::{PRINCIPAL_KINDS, PRIVILEGED, leads_to_any, unnamed_role};
use crate::rbac::verbs::{RoleDefinition, RoleVerbs, VaultKind, Verb};
use crate::rbac::{AssignmentName, BackupRole, Scope};
use crate::service::deferred::log_deferred;
use crate::store::foreign_access::{ForeignAccess, ForeignKey, ForeignWrite, SeenAccess};
use crate::store::sweep_schedule::CountedNames;
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// How long Azure is given for one answer, at most and at least.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT_MIN: Duration = Duration::from_secs(2);
/// A role definition is read again after that: Microsoft changes built-in roles, and people change their own.
const ROLE_KNOWN_FOR: Duration = Duration::from_secs(24 * 3600);
/// Role definitions that are kept; a tenant can have 5,000 of its own.
const ROLES_KEPT_MAX: usize = 10_000;
/// Lists lag: what was seen first later than this is not taken for gone.
const LISTS_LAG: Duration = Duration::from_secs(15 * 60);
/// Changes of one transaction.
const CHANGES_MAX: usize = 40;

/// Whether the assignment of that name is one that this installation makes.
pub fn is_ours(assignment: &AccessAssignment, instance: InstanceId) -> bool {
    let role = BackupRole::from_definition(assignment.role);
    let scope = Scope::parse(assignment.scope.as_str()).ok();
    role.zip(scope).is_some_and(|(role, scope)| {
        AssignmentName::derive(&scope, role, assignment.principal, instance) == assignment.name
    })
}

/// Role definitions as they were last read.
pub struct KnownRoles {
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<Uuid, (Duration, RoleDefinition)>>,
}

impl KnownRoles {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// The definition of that GUID, if it was read lately.
    fn known(&self, role: Uuid) -> Option<RoleDefinition> {
        let now = self.clock.monotonic();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&role).cloned();
        known.filter(|(read, _)| now.saturating_sub(*read) < ROLE_KNOWN_FOR).map(|(_, definition)| definition)
    }

    fn forget(&self, role: Uuid) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&role);
    }

    fn keep(&self, role: Uuid, definition: RoleDefinition) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ROLES_KEPT_MAX {
            known.clear();
        }
        known.insert(role, (self.clock.monotonic(), definition));
    }
}

/// How far one scope was surveyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surveyed {
    /// All of it.
    Whole,
    /// Azure refused, or showed less than there may be: asking again at once does not mend it.
    InPart,
    /// Azure gave no answer.
    NoAnswer,
    /// Azure asked to wait.
    Throttled(Duration),
    /// The time is over: the scope is surveyed again.
    OutOfTime,
}

/// A survey of the bound scopes with its means.
pub struct ForeignSurvey<'a> {
    store: &'a StateStore,
    reader: &'a dyn AccessReader,
    roles: &'a KnownRoles,
    /// What was known when it began, and what it has recorded since.
    known: BTreeMap<ForeignKey, ForeignAccess>,
    /// Rows that cannot be read: nothing is written over them.
    unreadable: BTreeSet<ForeignKey>,
    /// What the backup roles gave, as it is recorded.
    role_verbs: BTreeMap<BackupRole, RoleVerbs>,
    instance: InstanceId,
    /// The bound and the retired scopes.
    bound: BTreeSet<ArmScope>,
    /// When it ends, on the monotonic clock.
    until: Duration,
    /// Roles whose definitions this survey read, or could not read: they are not asked for again.
    asked: BTreeSet<Uuid>,
}

impl<'a> ForeignSurvey<'a> {
    /// Reads what is known. `instance` tells the assignments of this installation from others.
    pub async fn begin(
        store: &'a StateStore,
        reader: &'a dyn AccessReader,
        roles: &'a KnownRoles,
        instance: InstanceId,
        bound: BTreeSet<ArmScope>,
        until: Duration,
    ) -> Result<Self, StoreError> {
        let SeenAccess { foreign, unreadable, role_verbs } = store.seen_access().await?;
        let known = foreign.into_iter().map(|access| (access.key.clone(), access)).collect();
        let asked = BTreeSet::new();
        Ok(Self { store, reader, roles, known, unreadable, role_verbs, instance, bound, until, asked })
    }

    /// How long the next answer may take; `None`: the time is over.
    fn patience(&self) -> Option<Duration> {
        let left = self.until.checked_sub(self.store.clock.monotonic())?;
        (left >= ANSWER_TIMEOUT_MIN).then(|| left.min(ANSWER_TIMEOUT))
    }

    /// Records what appeared, changed or went at one bound scope and above it.
    pub async fn survey(&mut self, scope: &Scope, now: OffsetDateTime) -> Result<Surveyed, StoreError> {
        let Some(patience) = self.patience() else { return Ok(Surveyed::OutOfTime) };
        let here = ArmScope::from(scope);
        let (listed, is_gone) = match self.reader.at_or_above(scope, patience).await {
            Ok(listed) => (listed, false),
            Err(AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. }) => {
                (Vec::new(), true)
            }
            Err(error) => {
                log_event!(ScopeNotListed, scope = %scope, error = %error, "who else has access at a scope could not be listed");
                return Ok(stopped_by(&error));
            }
        };
        let mut surveyed = Surveyed::Whole;
        let mut seen = BTreeSet::new();
        let mut changes = Vec::new();
        let instance = self.instance;
        for assignment in listed.iter().filter(|assignment| !is_ours(assignment, instance)) {
            let key = ForeignKey {
                principal: assignment.principal,
                assignment: assignment.name,
                subscription: scope.subscription().to_owned(),
            };
            seen.insert(key.clone());
            if self.unreadable.contains(&key) {
                continue;
            }
            let definition = match self.definition(scope, assignment.role).await {
                Ok(definition) => definition,
                Err(stopped) => return Ok(stopped),
            };
            if definition.is_none() {
                surveyed = Surveyed::InPart;
            }
            let Some(mut access) = self.access(key, assignment, definition, now) else { continue };
            if self.known.get(&access.key).is_some_and(|known| !gives_the_same(known, &access)) {
                let definition = match self.definition_now(scope, assignment.role).await {
                    Ok(definition) => definition,
                    Err(stopped) => return Ok(stopped),
                };
                if definition.is_none() {
                    surveyed = Surveyed::InPart;
                }
                let Some(again) = self.access(access.key, assignment, definition, now) else { continue };
                access = again;
            }
            match self.known.get(&access.key) {
                _ if !concerns_backup(&access) => {
                    seen.remove(&access.key);
                }
                None => changes.push((Seen::Appeared, access)),
                Some(known) if *known != access => changes.push((Seen::Changed, access)),
                Some(_) => {}
            }
        }
        let gone = self.known.values().filter(|known| {
            let is_shown = known.scope.covers(&here) || known.scope.is_above_subscriptions();
            let is_shown = if is_gone { known.scope == here } else { is_shown };
            let is_old = known.first_seen + LISTS_LAG <= now;
            known.key.subscription == scope.subscription() && is_shown && is_old && !seen.contains(&known.key)
        });
        changes.extend(gone.cloned().map(|known| (Seen::Gone, known)));
        self.record(changes).await?;
        Ok(surveyed)
    }

    /// The definition of a role, as it was read lately; `None` where it could not be read, or Azure says that there is none of a
    /// role that it lists an assignment of. An error: the survey of this scope has to stop.
    async fn definition(&mut self, scope: &Scope, role: Uuid) -> Result<Option<RoleDefinition>, Surveyed> {
        let known = self.roles.known(role);
        if known.is_some() || self.asked.contains(&role) {
            return Ok(known);
        }
        let patience = self.patience().ok_or(Surveyed::OutOfTime)?;
        let read = self.reader.role_definition(scope, role, patience).await;
        self.asked.insert(role);
        match read {
            Ok(read) => {
                read.iter().for_each(|read| self.roles.keep(role, read.clone()));
                Ok(read)
            }
            Err(error) => {
                log_event!(ScopeNotListed, role = %role, error = %error, "a role definition could not be read");
                match stopped_by(&error) {
                    Surveyed::InPart => Ok(None),
                    stopped => Err(stopped),
                }
            }
        }
    }

    /// The definition as it is now, read once in a survey: another process may have read a later one than is kept here.
    async fn definition_now(
        &mut self,
        scope: &Scope,
        role: Uuid,
    ) -> Result<Option<RoleDefinition>, Surveyed> {
        if !self.asked.contains(&role) {
            self.roles.forget(role);
        }
        self.definition(scope, role).await
    }

    /// Records what these backup roles give by their definitions, where that is news.
    pub async fn survey_roles(
        &mut self,
        scope: &Scope,
        roles: &BTreeSet<BackupRole>,
    ) -> Result<(), StoreError> {
        let mut news = Vec::new();
        for role in roles.iter().copied() {
            let id = role.definition_id();
            let recorded = self.role_verbs.get(&role).copied();
            let mut read = self.definition(scope, id).await;
            if matches!(&read, Ok(Some(known)) if Some(verbs_of(known)) != recorded) {
                read = self.definition_now(scope, id).await;
            }
            match read {
                Ok(Some(known)) if Some(verbs_of(&known)) != recorded => {
                    news.push((role, verbs_of(&known)));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        let event = |(role, verbs): &(BackupRole, RoleVerbs)| AuditEvent::RoleVerbsSeen {
            role: *role,
            role_definition: role.definition_id().to_string(),
            verbs: verbs.names(),
        };
        let writes: Vec<ForeignWrite<'_>> =
            news.iter().map(|(role, verbs)| ForeignWrite::RoleVerbs(*role, *verbs)).collect();
        self.commit(news.iter().map(event).collect(), &writes).await
    }

    /// What no bound scope shows any more, because it left the bindings.
    pub async fn forget_others(&mut self) -> Result<(), StoreError> {
        let subscriptions: BTreeSet<&str> = self.bound.iter().filter_map(ArmScope::subscription).collect();
        let shown: BTreeSet<&str> = self.bound.iter().flat_map(ArmScope::folded_at_or_above).collect();
        let is_shown = |known: &ForeignAccess| {
            let is_above = known.scope.is_above_subscriptions() || shown.contains(known.scope.folded());
            is_above && subscriptions.contains(known.key.subscription.as_str())
        };
        let others = self.known.values().filter(|known| !is_shown(known)).cloned();
        let changes = others.map(|known| (Seen::Unwatched, known)).collect();
        self.record(changes).await
    }

    /// Those made at exactly a bound scope that are not the right of this service to give the backup roles.
    pub fn findings(&self) -> CountedNames {
        let mut findings = CountedNames::default();
        for known in self.known.values().filter(|known| self.is_finding(known)) {
            findings.add(format_args!("{}/{}", known.scope, known.key.assignment));
        }
        findings
    }

    fn is_finding(&self, access: &ForeignAccess) -> bool {
        !access.narrowed && self.bound.contains(&access.scope)
    }

    /// The assignment as it is now. `None`: nothing is known of what it gives, and it is of no backup role.
    fn access(
        &self,
        key: ForeignKey,
        assignment: &AccessAssignment,
        definition: Option<RoleDefinition>,
        now: OffsetDateTime,
    ) -> Option<ForeignAccess> {
        let known = self.known.get(&key);
        let narrowed = assignment.holder == HolderKind::ServicePrincipal
            && assignment.condition.as_deref().is_some_and(gives_backup_roles_alone)
            && definition.as_ref().is_some_and(|role| !leads_to_any(role));
        let backup_role = BackupRole::from_definition(assignment.role);
        let (role_name, verbs) = match definition {
            Some(role) => {
                let verbs = verbs_of(&role);
                (role.name, Some(verbs))
            }
            None => match (known, backup_role) {
                (Some(known), _) => (known.role_name.clone(), known.verbs),
                (None, Some(role)) => (role.name().to_owned(), None),
                (None, None) => return None,
            },
        };
        Some(ForeignAccess {
            first_seen: known.map_or(now, |known| known.first_seen),
            key,
            scope: assignment.scope.clone(),
            role: assignment.role,
            role_name,
            narrowed: narrowed
                && verbs.is_some_and(|verbs| verbs.at(VaultKind::Any).iter().eq([Verb::GiveAccess])),
            verbs,
            holder: assignment.holder,
            conditional: assignment.is_conditional(),
            created_on: assignment.created_on,
            created_by: assignment.created_by,
        })
    }

    async fn record(&mut self, changes: Vec<(Seen, ForeignAccess)>) -> Result<(), StoreError> {
        for some in changes.chunks(CHANGES_MAX) {
            let writes = some.iter().map(|(seen, access)| match seen {
                Seen::Appeared => ForeignWrite::Insert(access),
                Seen::Changed => ForeignWrite::Update(access),
                Seen::Gone | Seen::Unwatched => ForeignWrite::Remove(&access.key),
            });
            let writes: Vec<ForeignWrite<'_>> = writes.collect();
            let events = some.iter().map(|(seen, access)| event(*seen, access)).collect();
            match self.commit(events, &writes).await {
                Ok(()) => some.iter().for_each(|(seen, access)| self.note(*seen, access)),
                // Another process's sweep was faster.
                Err(error @ StoreError::Conflict { .. }) => log_deferred("what others gave", &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn commit(&self, changes: Vec<AuditEvent>, writes: &[ForeignWrite<'_>]) -> Result<(), StoreError> {
        let op = self.store.ids.op();
        let origin = ChangeOrigin { cause: ChangeCause::Sweep, actor: SERVICE.to_owned(), op };
        let time = self.store.clock.now();
        let record = AuditRecord { op, time, origin, request: None, stamp: None, outcome: None, changes };
        self.store.write_foreign(&record, writes).await
    }

    fn note(&mut self, seen: Seen, access: &ForeignAccess) {
        let is_there = matches!(seen, Seen::Appeared | Seen::Changed);
        let before = match is_there {
            true => self.known.insert(access.key.clone(), access.clone()),
            false => self.known.remove(&access.key),
        };
        let was_finding = before.is_some_and(|before| self.is_finding(&before));
        if is_there && self.is_finding(access) && !was_finding {
            let created_by = access.created_by.map(|id| id.to_string()).unwrap_or_default();
            log_event!(ForeignAccess, principal = %access.key.principal, role = access.role_name, scope = %access.scope,
                assignment.name = %access.key.assignment, created_by,
                "a role assignment that this service did not make gives access to backups"
            );
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Appeared,
    Changed,
    Gone,
    /// Its scope is no longer bound.
    Unwatched,
}

impl Seen {
    const fn as_str(self) -> &'static str {
        match self {
            Seen::Appeared => "appeared",
            Seen::Changed => "changed",
            Seen::Gone => "gone",
            Seen::Unwatched => "unwatched",
        }
    }
}

/// What gives no verb is no concern of backup; of a role that cannot be read that is not known.
fn concerns_backup(access: &ForeignAccess) -> bool {
    let gives = access.verbs.is_none_or(|verbs| !verbs.is_empty());
    gives || BackupRole::from_definition(access.role).is_some()
}

fn gives_the_same(one: &ForeignAccess, other: &ForeignAccess) -> bool {
    (one.verbs, &one.role_name) == (other.verbs, &other.role_name)
}

fn verbs_of(role: &RoleDefinition) -> RoleVerbs {
    RoleVerbs::of(&role.permissions)
}

fn stopped_by(error: &AssignmentError) -> Surveyed {
    match error {
        AssignmentError::Rejected { .. } => Surveyed::InPart,
        AssignmentError::Throttled { retry_after, .. } => Surveyed::Throttled(*retry_after),
        AssignmentError::Unknown { .. } => Surveyed::NoAnswer,
    }
}

/// Whether a right to assign roles is narrowed to the backup roles, as the deployment makes it for this service.
fn gives_backup_roles_alone(condition: &str) -> bool {
    let Ok(condition) = AssignmentCondition::parse(condition) else { return false };
    // A delegation that gives nothing names zeros, which are the id of no role.
    let named: BTreeSet<Uuid> = condition.named_ids().into_iter().filter(|id| !id.is_nil()).collect();
    let other = unnamed_role(&named);
    let tried = named.into_iter().chain(PRIVILEGED.map(|(_, id)| id)).chain([other]);
    tried.filter(|role| BackupRole::from_definition(*role).is_none()).all(|role| {
        PRINCIPAL_KINDS.iter().all(|kind| {
            [AssignmentAction::Give, AssignmentAction::Take]
                .iter()
                .all(|action| condition.verdict(*action, role, kind) == Verdict::No)
        })
    })
}

fn event(seen: Seen, access: &ForeignAccess) -> AuditEvent {
    let verbs = match access.verbs {
        Some(verbs) => verbs.names(),
        None => vec!["unknown".to_owned()],
    };
    AuditEvent::ForeignAccessSeen {
        seen: seen.as_str(),
        principal: access.key.principal,
        holder: access.holder.as_str(),
        assignment: access.key.assignment,
        role: access.role_name.clone(),
        role_definition: access.role.to_string(),
        scope: access.scope.as_str().to_owned(),
        subscription: access.key.subscription.clone(),
        verbs,
        conditional: access.conditional,
        created_on: access.created_on.map(crate::audit::rfc3339),
        created_by: access.created_by,
    }
}
