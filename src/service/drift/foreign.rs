//! What others gave at the bound scopes, or above them: seen by the sweep, recorded where it changes, never touched.

use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::id::{InstanceId, SERVICE};
use crate::ports::azure_access::{AccessAssignment, AccessReader};
use crate::ports::clock::Clock;
use crate::ports::role_assignments::AssignmentError;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{RoleDefinition, VaultKind, Verb, Verbs, verbs_of};
use crate::rbac::{AssignmentName, BackupRole, Scope};
use crate::service::deferred::log_deferred;
use crate::store::foreign_access::{ForeignAccess, ForeignKey, ForeignWrite};
use crate::store::sweep_schedule::CountedNames;
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// How long Azure is given for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
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
    known: Mutex<BTreeMap<Uuid, (Duration, Option<RoleDefinition>)>>,
}

impl KnownRoles {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// The definition of that GUID; `None` where there is none.
    pub async fn get(
        &self,
        reader: &dyn AccessReader,
        scope: &Scope,
        role: Uuid,
    ) -> Result<Option<RoleDefinition>, AssignmentError> {
        let now = self.clock.monotonic();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&role).cloned();
        if let Some((_, definition)) = known.filter(|(read, _)| now.saturating_sub(*read) < ROLE_KNOWN_FOR) {
            return Ok(definition);
        }
        let definition = reader.role_definition(scope, role, ANSWER_TIMEOUT).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ROLES_KEPT_MAX {
            known.clear();
        }
        known.insert(role, (now, definition.clone()));
        Ok(definition)
    }
}

/// A survey of the bound scopes with its means.
pub struct ForeignSurvey<'a> {
    store: &'a StateStore,
    reader: &'a dyn AccessReader,
    roles: &'a KnownRoles,
    /// What was known when it began, and what it has recorded since.
    known: BTreeMap<ForeignKey, ForeignAccess>,
    instance: InstanceId,
}

impl<'a> ForeignSurvey<'a> {
    /// Reads what is known.
    pub async fn begin(
        store: &'a StateStore,
        reader: &'a dyn AccessReader,
        roles: &'a KnownRoles,
    ) -> Result<Self, StoreError> {
        let instance = store.instance().await?;
        let known = store.foreign_access().await?;
        let known = known.into_iter().map(|access| (access.key.clone(), access)).collect();
        Ok(Self { store, reader, roles, known, instance })
    }

    /// Records what appeared, changed or went at one bound scope and above it. Where Azure does not answer, nothing is recorded:
    /// the next sweep looks again.
    pub async fn survey(&mut self, scope: &Scope, now: OffsetDateTime) -> Result<(), StoreError> {
        let listed = match self.reader.at_or_above(scope, ANSWER_TIMEOUT).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(scope = %scope, error = %error, "who else has access at a scope could not be listed");
                return Ok(());
            }
        };
        let mut seen = BTreeSet::new();
        let mut changes = Vec::new();
        for assignment in listed.iter().filter(|assignment| !is_ours(assignment, self.instance)) {
            let key = ForeignKey {
                principal: assignment.principal,
                assignment: assignment.name,
                subscription: scope.subscription().to_owned(),
            };
            let access = self.access(key, assignment, scope, now).await;
            if !concerns_backup(&access) {
                continue;
            }
            seen.insert(access.key.clone());
            match self.known.get(&access.key) {
                None => changes.push((Seen::Appeared, access)),
                Some(known) if *known != access => changes.push((Seen::Changed, access)),
                Some(_) => {}
            }
        }
        let here = ArmScope::from(scope);
        let gone = self.known.values().filter(|known| {
            let is_shown = known.scope.covers(&here) || known.scope.is_above_subscriptions();
            let is_old = known.first_seen + LISTS_LAG <= now;
            known.key.subscription == scope.subscription() && is_shown && is_old && !seen.contains(&known.key)
        });
        changes.extend(gone.cloned().map(|known| (Seen::Gone, known)));
        self.record(changes).await
    }

    /// Records what the backup roles give by their definitions, where that is news.
    pub async fn survey_roles(&self, scope: &Scope) -> Result<(), StoreError> {
        for role in BackupRole::ALL {
            let definition = match self.roles.get(self.reader, scope, role.definition_id()).await {
                Ok(Some(definition)) => definition,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(role = role.name(), error = %error, "a role definition could not be read");
                    continue;
                }
            };
            let verbs = verbs_of(&definition.permissions, &[], VaultKind::Any);
            if self.store.role_verbs(role).await? == Some(verbs) {
                continue;
            }
            let event = AuditEvent::RoleVerbsSeen {
                role,
                role_definition: role.definition_id().to_string(),
                verbs: verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
            };
            self.commit(vec![event], &[ForeignWrite::RoleVerbs(role, verbs)]).await?;
        }
        Ok(())
    }

    /// What no bound scope shows any more, because it left the bindings.
    pub async fn forget_others(&mut self, bound: &BTreeSet<Scope>) -> Result<(), StoreError> {
        let bound: Vec<ArmScope> = bound.iter().map(ArmScope::from).collect();
        let is_shown = |known: &&ForeignAccess| {
            bound.iter().any(|scope| {
                let is_above = known.scope.covers(scope) || known.scope.is_above_subscriptions();
                is_above && scope.subscription() == Some(known.key.subscription.as_str())
            })
        };
        let others = self.known.values().filter(|known| !is_shown(known)).cloned();
        let changes = others.map(|known| (Seen::Unwatched, known)).collect();
        self.record(changes).await
    }

    /// Those made at exactly a bound scope that are no mere right to give our roles.
    pub fn findings(&self, bound: &BTreeSet<Scope>) -> CountedNames {
        let bound: BTreeSet<ArmScope> = bound.iter().map(ArmScope::from).collect();
        let mut findings = CountedNames::default();
        for known in self.known.values().filter(|known| bound.contains(&known.scope) && is_finding(known)) {
            findings.add(format_args!("{}/{}", known.scope, known.key.assignment));
        }
        findings
    }

    async fn access(
        &self,
        key: ForeignKey,
        assignment: &AccessAssignment,
        scope: &Scope,
        now: OffsetDateTime,
    ) -> ForeignAccess {
        let known = self.known.get(&key);
        let definition = self.roles.get(self.reader, scope, assignment.role).await;
        let (role_name, verbs) = match definition {
            Ok(Some(role)) => {
                let verbs = verbs_of(&role.permissions, &[], VaultKind::at(&assignment.scope));
                (role.name, Some(verbs))
            }
            // A role that is gone gives nothing.
            Ok(None) => (assignment.role.to_string(), Some(Verbs::NONE)),
            Err(error) => {
                tracing::warn!(role = %assignment.role, error = %error, "a role definition could not be read");
                let unknown = || (assignment.role.to_string(), None);
                known.map_or_else(unknown, |known| (known.role_name.clone(), known.verbs))
            }
        };
        ForeignAccess {
            first_seen: known.map_or(now, |known| known.first_seen),
            key,
            scope: assignment.scope.clone(),
            role: assignment.role,
            role_name,
            verbs,
            holder: assignment.holder,
            conditional: assignment.is_conditional(),
            created_on: assignment.created_on,
            created_by: assignment.created_by,
        }
    }

    async fn record(&mut self, changes: Vec<(Seen, ForeignAccess)>) -> Result<(), StoreError> {
        for some in changes.chunks(CHANGES_MAX) {
            let writes = some.iter().map(|(seen, access)| match seen {
                Seen::Appeared | Seen::Changed => ForeignWrite::Put(access),
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
        let record = AuditRecord { op, time, origin, stamp: None, outcome: None, changes };
        self.store.write_foreign(&record, writes).await
    }

    fn note(&mut self, seen: Seen, access: &ForeignAccess) {
        match seen {
            Seen::Appeared | Seen::Changed => self.known.insert(access.key.clone(), access.clone()),
            Seen::Gone | Seen::Unwatched => self.known.remove(&access.key),
        };
        if seen == Seen::Appeared && is_finding(access) {
            let created_by = access.created_by.map(|id| id.to_string()).unwrap_or_default();
            tracing::warn!(
                principal = %access.key.principal, role = access.role_name, scope = %access.scope,
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

/// A narrowed right to give access alone is what this service itself has, as the deployment made it.
fn is_finding(access: &ForeignAccess) -> bool {
    let only_gives_access = access.verbs.is_some_and(|verbs| verbs.iter().eq([Verb::GiveAccess]));
    !(only_gives_access && access.conditional)
}

fn event(seen: Seen, access: &ForeignAccess) -> AuditEvent {
    let verbs = match access.verbs {
        Some(verbs) => verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
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
