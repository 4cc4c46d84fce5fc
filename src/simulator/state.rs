//! What Azure holds: assignments, locks, the directory's principals and people, the scopes in existence, the vault's secrets,
//! and what the service's own identity may do.
//!
//! This is what a state file keeps. Fault rules, held calls, buckets, issued tokens and logs are not part of it.

use super::graph::GraphUser;
use super::kept::{Entry, Keep, Kept, One};
use super::rights::Right;
use super::scope::Scope;
use super::vault::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::format_description::FormatItem;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How far back a listing may be told to lag, in seconds; older versions are forgotten.
pub const STALENESS_SECONDS_MAX: u32 = 3600;

const ARM_TIME: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");

/// What kind of object a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrincipalType {
    User,
    Group,
    ServicePrincipal,
    ForeignGroup,
}

impl PrincipalType {
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
            Self::ServicePrincipal => "ServicePrincipal",
            Self::ForeignGroup => "ForeignGroup",
        }
    }
}

/// An object of the directory, and when it comes to exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub principal_type: PrincipalType,
    /// So many PUTs for it are still answered `PrincipalNotFound`.
    #[serde(default)]
    pub appears_after_calls: u32,
    /// Not there before this time of Azure's clock.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub appears_at: Option<OffsetDateTime>,
    /// Not there at all, whatever else is said.
    #[serde(default)]
    pub absent: bool,
}

impl Principal {
    /// One that exists.
    pub const fn new(id: Uuid, principal_type: PrincipalType) -> Self {
        Self { id, principal_type, appears_after_calls: 0, appears_at: None, absent: false }
    }
}

/// What a management lock forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockLevel {
    CanNotDelete,
    ReadOnly,
}

/// A management lock at a scope; it holds for everything below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub id: u64,
    pub scope: Scope,
    pub level: LockLevel,
}

/// A role assignment. Scope and role definition id keep the spelling they were made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleAssignment {
    pub name: Uuid,
    /// Orders listings; never given twice.
    pub sequence: u64,
    pub scope: Scope,
    pub role_definition_id: String,
    /// The GUID at the end of `role_definition_id`.
    pub role: Uuid,
    pub principal_id: Uuid,
    pub principal_type: PrincipalType,
    pub description: Option<String>,
    pub condition: Option<String>,
    pub condition_version: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_on: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_on: OffsetDateTime,
    pub created_by: Uuid,
    pub updated_by: Uuid,
}

impl RoleAssignment {
    /// Whether it gives the same role to the same principal at the same scope.
    pub fn is_triple(&self, scope: &Scope, role: Uuid, principal: Uuid) -> bool {
        self.scope == *scope && self.role == role && self.principal_id == principal
    }

    /// As ARM shows it.
    pub fn body(&self) -> Value {
        let path = "providers/Microsoft.Authorization/roleAssignments";
        let id = format!("{}/{path}/{}", self.scope.to_string().trim_end_matches('/'), self.name);
        json!({
            "id": id,
            "name": self.name,
            "type": "Microsoft.Authorization/roleAssignments",
            "properties": self.properties(),
        })
    }

    fn properties(&self) -> Map<String, Value> {
        let time = |at: OffsetDateTime| at.format(ARM_TIME).unwrap_or_default();
        let fields = [
            ("scope", json!(self.scope)),
            ("roleDefinitionId", json!(self.role_definition_id)),
            ("principalId", json!(self.principal_id)),
            ("principalType", json!(self.principal_type)),
            ("description", json!(self.description)),
            ("condition", json!(self.condition)),
            ("conditionVersion", json!(self.condition_version)),
            ("createdOn", json!(time(self.created_on))),
            ("updatedOn", json!(time(self.updated_on))),
            ("createdBy", json!(self.created_by)),
            ("updatedBy", json!(self.updated_by)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A version of an assignment that is no longer current.
#[derive(Debug, Clone)]
struct Past {
    assignment: RoleAssignment,
    until: OffsetDateTime,
}

/// Everything that outlives the process.
#[derive(Debug, Default)]
pub struct State {
    pub assignments: Kept<Uuid, RoleAssignment>,
    pub locks: Kept<u64, Lock>,
    pub principals: Kept<Uuid, Principal>,
    pub strict_principals: One<bool>,
    /// The secrets of the vault by their name in lower case.
    pub secrets: Kept<String, Secret>,
    /// The people whom Graph knows.
    pub users: Kept<Uuid, GraphUser>,
    /// What the service's own identity may do; everything if it was never said.
    pub own_rights: One<Option<Vec<Right>>>,
    pub clock_offset_seconds: One<i64>,
    scopes: One<Scopes>,
    last_number: One<u64>,
    past: Vec<Past>,
}

/// The scopes in existence.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Scopes {
    present: Vec<Scope>,
    /// Removed by order: a restart does not bring them back.
    removed: Vec<Scope>,
}

impl State {
    fn parts(&mut self) -> [(&'static str, &mut dyn Keep); 10] {
        [
            ("assignments", &mut self.assignments),
            ("locks", &mut self.locks),
            ("principals", &mut self.principals),
            ("strict_principals", &mut self.strict_principals),
            ("secrets", &mut self.secrets),
            ("users", &mut self.users),
            ("own_rights", &mut self.own_rights),
            ("clock_offset_seconds", &mut self.clock_offset_seconds),
            ("scopes", &mut self.scopes),
            ("last_number", &mut self.last_number),
        ]
    }

    /// What changed since the last call, for a state file.
    pub fn drain(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (kind, part) in self.parts() {
            part.drain(kind, &mut entries);
        }
        entries
    }

    /// Everything, for a state file.
    pub fn all(&mut self) -> Vec<Entry> {
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

    /// Removes a scope with everything at and below it, assignments and locks included.
    pub fn remove_scope(&mut self, scope: &Scope, now: OffsetDateTime) {
        let scopes = self.scopes.change();
        let (gone, kept) = std::mem::take(&mut scopes.present).into_iter().partition(|s| scope.covers(s));
        scopes.present = kept;
        scopes.removed.extend(gone);
        let locks: Vec<u64> = self.locks.values().filter(|l| scope.covers(&l.scope)).map(|l| l.id).collect();
        for id in locks {
            self.locks.remove(&id);
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
    pub fn locks_at<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Lock> {
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
        self.past.push(Past { assignment, until: now });
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
