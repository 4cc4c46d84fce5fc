//! What Azure holds: assignments, deny assignments, custom roles, locks, the directory's principals, people and groups,
//! the scopes in existence, the vault's secrets, containers and blobs, and what the service's own identity may do.
//!
//! This is what a state file keeps. Fault rules, held calls, buckets, issued tokens and logs are not part of it.

use super::arm::custom_role::CustomRole;
use super::arm::deny_assignment::DenyAssignment;
use super::arm::directory_principal::DirectoryPrincipal;
use super::arm::management_lock::ManagementLock;
use super::arm::own_right::ParsedRight;
use super::arm::role_assignment::RoleAssignment;
use super::arm::scope::Scope;
use super::blob::container::{BlobContainer, StoredBlob};
use super::graph::graph_group::{GraphGroup, GraphServicePrincipal};
use super::graph::graph_user::GraphUser;
use super::graph::object_type::ObjectType;
use super::key_vault::vault_secret::{SecretUpdate, SecretVersion, VaultSecret};
use super::tracked::{Persist, StateEntry, TrackedCell, TrackedMap};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How far back a listing may be told to lag, in seconds; older versions are forgotten.
pub const STALENESS_SECONDS_MAX: u32 = 3600;

/// A version of an assignment that is no longer current.
#[derive(Debug, Clone)]
struct PastVersion {
    assignment: RoleAssignment,
    until: OffsetDateTime,
}

/// Everything that outlives the process.
#[derive(Debug, Default)]
pub struct AzureState {
    pub assignments: TrackedMap<Uuid, RoleAssignment>,
    pub deny_assignments: TrackedMap<Uuid, DenyAssignment>,
    pub custom_roles: TrackedMap<Uuid, CustomRole>,
    pub locks: TrackedMap<u64, ManagementLock>,
    pub principals: TrackedMap<Uuid, DirectoryPrincipal>,
    pub strict_principals: TrackedCell<bool>,
    /// The secrets of the vault by their name in lower case.
    pub secrets: TrackedMap<String, VaultSecret>,
    /// The containers of the storage account.
    pub containers: TrackedMap<String, BlobContainer>,
    /// The blobs, each by its container and name.
    pub blobs: TrackedMap<String, StoredBlob>,
    /// The people whom Graph knows.
    pub users: TrackedMap<Uuid, GraphUser>,
    /// The groups that Graph knows, with their direct members.
    pub groups: TrackedMap<Uuid, GraphGroup>,
    /// The service principals that Graph knows.
    pub service_principals: TrackedMap<Uuid, GraphServicePrincipal>,
    /// The types of objects that callers of Graph may not read.
    pub hidden_types: TrackedCell<Vec<ObjectType>>,
    /// What the service's own identity may do; everything if it was never said.
    pub own_rights: TrackedCell<Option<Vec<ParsedRight>>>,
    pub clock_offset_seconds: TrackedCell<i64>,
    scopes: TrackedCell<Scopes>,
    last_number: TrackedCell<u64>,
    past: Vec<PastVersion>,
}

/// The scopes in existence.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Scopes {
    present: Vec<Scope>,
    /// Removed by order: a restart does not bring them back.
    removed: Vec<Scope>,
}

impl AzureState {
    fn parts(&mut self) -> [(&'static str, &mut dyn Persist); 17] {
        [
            ("assignments", &mut self.assignments),
            ("deny_assignments", &mut self.deny_assignments),
            ("custom_roles", &mut self.custom_roles),
            ("locks", &mut self.locks),
            ("principals", &mut self.principals),
            ("strict_principals", &mut self.strict_principals),
            ("secrets", &mut self.secrets),
            ("containers", &mut self.containers),
            ("blobs", &mut self.blobs),
            ("users", &mut self.users),
            ("groups", &mut self.groups),
            ("service_principals", &mut self.service_principals),
            ("hidden_types", &mut self.hidden_types),
            ("own_rights", &mut self.own_rights),
            ("clock_offset_seconds", &mut self.clock_offset_seconds),
            ("scopes", &mut self.scopes),
            ("last_number", &mut self.last_number),
        ]
    }

    /// What changed since the last call, for a state file.
    pub fn drain(&mut self) -> Vec<StateEntry> {
        let mut entries = Vec::new();
        for (kind, part) in self.parts() {
            part.drain(kind, &mut entries);
        }
        entries
    }

    /// Everything, for a state file.
    pub fn all(&mut self) -> Vec<StateEntry> {
        let mut entries = Vec::new();
        for (kind, part) in self.parts() {
            part.all(kind, &mut entries);
        }
        entries
    }

    /// Takes an entry of a state file back in.
    pub fn restore(&mut self, kind: &str, key: &str, value: Value) -> Result<(), String> {
        let part = self.parts().into_iter().find(|(name, _)| *name == kind);
        part.ok_or("nothing of that kind is kept")?.1.restore(key, value)
    }

    /// Adds a version to a secret, which comes back if it was deleted.
    pub fn add_secret_version(&mut self, key: String, version: SecretVersion) {
        let mut secret = self.secrets.get(&key).cloned().unwrap_or_default();
        secret.deleted = false;
        secret.versions.push(version);
        self.secrets.insert(key, secret);
    }

    /// The version after the change. None: there is none of that id.
    pub fn update_secret_version(
        &mut self,
        key: &str,
        id: &str,
        update: SecretUpdate,
        now: OffsetDateTime,
    ) -> Option<SecretVersion> {
        let change = |secret: &mut VaultSecret| {
            let found = secret.versions.iter_mut().find(|found| found.id == id && !secret.deleted)?;
            update.apply(found, now);
            Some(found.clone())
        };
        self.secrets.change(&key.to_owned(), change).flatten()
    }

    pub fn clock_offset(&self) -> Duration {
        Duration::seconds(*self.clock_offset_seconds)
    }

    /// A number that was never given before.
    pub fn next_number(&mut self) -> u64 {
        *self.last_number.change() += 1;
        *self.last_number
    }

    /// The scopes in existence.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes.present
    }

    /// Brings a scope and those above it into existence, unless an order removed it.
    pub fn offer_scope(&mut self, scope: &Scope) {
        if !self.scopes.removed.contains(scope) {
            self.add_scope(scope);
        }
    }

    /// Brings a scope and those above it into existence.
    pub fn add_scope(&mut self, scope: &Scope) {
        let scopes = self.scopes.change();
        for scope in scope.parents().into_iter().chain([scope.clone()]) {
            scopes.removed.retain(|removed| *removed != scope);
            if !scopes.present.contains(&scope) {
                scopes.present.push(scope);
            }
        }
    }

    /// Removes a scope with everything at and below it: assignments, deny assignments and locks.
    pub fn remove_scope(&mut self, scope: &Scope, now: OffsetDateTime) {
        let scopes = self.scopes.change();
        let (gone, kept) = std::mem::take(&mut scopes.present).into_iter().partition(|s| scope.covers(s));
        scopes.present = kept;
        scopes.removed.extend(gone);
        let locks: Vec<u64> = self.locks.values().filter(|l| scope.covers(&l.scope)).map(|l| l.id).collect();
        for id in locks {
            self.locks.remove(&id);
        }
        let denied: Vec<Uuid> =
            self.deny_assignments.values().filter(|d| scope.covers(&d.scope)).map(|d| d.id).collect();
        for id in denied {
            self.deny_assignments.remove(&id);
        }
        let names: Vec<Uuid> =
            self.assignments.values().filter(|a| scope.covers(&a.scope)).map(|a| a.name).collect();
        for name in names {
            self.remove_assignment(name, now);
        }
    }

    /// The highest part of `scope` that does not exist.
    pub fn missing_scope(&self, scope: &Scope) -> Option<Scope> {
        let exists = |s: &Scope| s.short_name() == "/" || self.scopes.present.contains(s);
        scope.parents().into_iter().chain([scope.clone()]).find(|s| !exists(s))
    }

    /// The locks that hold at a scope: its own and those of its parents.
    pub fn locks_at<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a ManagementLock> {
        self.locks.values().filter(|lock| lock.scope.covers(scope))
    }

    /// Stores an assignment under its name, in place of what was there.
    pub fn put_assignment(&mut self, assignment: RoleAssignment, now: OffsetDateTime) {
        if let Some(before) = self.assignments.insert(assignment.name, assignment) {
            self.remember(before, now);
        }
    }

    /// Takes an assignment away.
    pub fn remove_assignment(&mut self, name: Uuid, now: OffsetDateTime) -> Option<RoleAssignment> {
        let removed = self.assignments.remove(&name)?;
        self.remember(removed.clone(), now);
        Some(removed)
    }

    fn remember(&mut self, assignment: RoleAssignment, now: OffsetDateTime) {
        let oldest = now.saturating_sub(Duration::seconds(i64::from(STALENESS_SECONDS_MAX)));
        self.past.retain(|past| past.until > oldest);
        self.past.push(PastVersion { assignment, until: now });
    }

    /// The assignments now, or as they stood at a time, in the order in which they were made.
    pub fn assignments_at(&self, time: Option<OffsetDateTime>) -> Vec<&RoleAssignment> {
        let mut all: Vec<&RoleAssignment> = match time {
            None => self.assignments.values().collect(),
            Some(time) => self.assignments_then(time).collect(),
        };
        all.sort_by_key(|a| a.sequence);
        all
    }

    fn assignments_then(&self, time: OffsetDateTime) -> impl Iterator<Item = &RoleAssignment> {
        let current = self.assignments.values().filter(move |a| a.updated_on <= time);
        let past = self.past.iter().filter(move |p| p.assignment.updated_on <= time && time < p.until);
        current.chain(past.map(|p| &p.assignment))
    }
}
