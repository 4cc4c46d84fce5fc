//! The simulator as tests in the same process see it. The control API over HTTP calls the same functions.

mod services;

use super::azure::{Answer, Arrived, Azure, Call, Passage, Unrecognised};
use super::clock::LATEST;
use super::request::Received;
use super::role_assignments::{self, Limits};
use super::role_definitions;
use super::rules::{Rule, RuleInForce};
use super::scope::Scope;
use super::state::{Lock, LockLevel, Principal, PrincipalType, RoleAssignment, STALENESS_SECONDS_MAX};
use serde::{Deserialize, Serialize};
use serde_json::json;
pub use services::IdentitySettings;
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

/// Seconds that one order may move the clock: a hundred years, so that no sum overflows.
const ADVANCE_SECONDS_MAX: u64 = 100 * 366 * 86_400;

/// Why an order to the simulator was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    #[error("Azure refuses: {code}: {message}")]
    Refused { code: String, message: String },
    #[error("a body must have the content type application/json")]
    NotJson,
    #[error("the control API answers this machine only: {header} must be a loopback address")]
    OtherSite { header: &'static str },
    #[error("the state file cannot be written: {0}")]
    StateFile(String),
}

/// An assignment that a person makes by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandMade {
    pub scope: Scope,
    /// Name of a built-in role, or its GUID.
    pub role: String,
    pub principal: Uuid,
    #[serde(default, rename = "type")]
    pub principal_type: Option<PrincipalType>,
    /// A random one if left out.
    #[serde(default)]
    pub name: Option<Uuid>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub condition: Option<String>,
    #[serde(default)]
    pub condition_version: Option<String>,
}

impl HandMade {
    /// One with a random name.
    pub fn new(scope: Scope, role: &str, principal: Uuid) -> Self {
        Self {
            scope,
            role: role.to_owned(),
            principal,
            principal_type: None,
            name: None,
            description: None,
            condition: None,
            condition_version: None,
        }
    }
}

#[derive(Debug)]
struct Shared {
    azure: Mutex<Azure>,
    changes: watch::Sender<u64>,
}

/// A handle to a running simulator. Cheap to clone; usable from any thread and any runtime.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(azure: Azure) -> Self {
        Self { shared: Arc::new(Shared { azure: Mutex::new(azure), changes: watch::Sender::new(0) }) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Azure) -> T) -> T {
        act(&mut self.shared.azure.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, act: impl FnOnce(&mut Azure) -> T) -> T {
        let outcome = self.with(act);
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
        outcome
    }

    fn order<T>(&self, act: impl FnOnce(&mut Azure) -> Result<T, ControlError>) -> Result<T, ControlError> {
        self.change(|azure| {
            let outcome = act(azure)?;
            azure.save().map_err(|error| ControlError::StateFile(error.to_string()))?;
            Ok(outcome)
        })
    }

    pub(super) fn receive(&self, received: &Received) -> Passage {
        self.change(|azure| azure.receive(received))
    }

    pub(super) fn execute(&self, arrived: Arrived) -> Answer {
        self.change(|azure| azure.execute(arrived))
    }

    /// Returns once `reached` holds; looks again whenever something happened. Put a timeout around it.
    pub async fn until(&self, reached: impl Fn(&Self) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !reached(self) && changes.changed().await.is_ok() {}
    }

    // What Azure holds.

    /// Every assignment, oldest first.
    pub fn assignments(&self) -> Vec<RoleAssignment> {
        let mut all: Vec<RoleAssignment> =
            self.with(|azure| azure.state.assignments.values().cloned().collect());
        all.sort_by_key(|assignment| assignment.sequence);
        all
    }

    /// Makes an assignment as a person at the portal does: Azure's rules hold, faults and throttles do not.
    pub fn make_assignment(&self, made: &HandMade) -> Result<RoleAssignment, ControlError> {
        let role = role_definitions::by_name(&made.role)
            .or_else(|| role_definitions::by_id(Uuid::try_parse(&made.role).ok()?))
            .ok_or_else(|| ControlError::NotFound { what: "built-in role", id: made.role.clone() })?;
        let body = json!({ "properties": {
            "roleDefinitionId": role_definitions::id_at(&made.scope, role.id),
            "principalId": made.principal,
            "principalType": made.principal_type.unwrap_or(PrincipalType::User),
            "description": made.description,
            "condition": made.condition,
            "conditionVersion": made.condition_version,
        }});
        let name = made.name.unwrap_or_else(super::clock::new_guid);
        self.order(|azure| {
            let now = azure.now();
            let (state, limits, body) = (&mut azure.state, &azure.limits, body.to_string());
            role_assignments::put(state, limits, now, &made.scope, name, body.as_bytes())
                .map_err(|error| ControlError::Refused { code: error.code, message: error.message })?;
            let made = azure.state.assignments.get(&name).cloned();
            made.ok_or_else(|| ControlError::NotFound { what: "assignment", id: name.to_string() })
        })
    }

    /// Deletes an assignment as a person at the portal does.
    pub fn delete_assignment(&self, name: Uuid) -> Result<(), ControlError> {
        self.order(|azure| {
            let unknown = || ControlError::NotFound { what: "assignment", id: name.to_string() };
            let scope = azure.state.assignments.get(&name).map(|a| a.scope.clone()).ok_or_else(unknown)?;
            let now = azure.now();
            role_assignments::delete(&mut azure.state, now, &scope, name)
                .map_err(|error| ControlError::Refused { code: error.code, message: error.message })?;
            Ok(())
        })
    }

    pub fn scopes(&self) -> Vec<Scope> {
        self.with(|azure| azure.state.scopes().to_vec())
    }

    /// Brings a scope and those above it into existence.
    pub fn add_scope(&self, scope: &Scope) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.add_scope(scope);
            Ok(())
        })
    }

    /// Removes a scope with everything at and below it.
    pub fn remove_scope(&self, scope: &Scope) -> Result<(), ControlError> {
        self.order(|azure| {
            let now = azure.now();
            azure.state.remove_scope(scope, now);
            Ok(())
        })
    }

    pub fn locks(&self) -> Vec<Lock> {
        self.with(|azure| azure.state.locks.values().cloned().collect())
    }

    /// The id of the lock.
    pub fn add_lock(&self, scope: &Scope, level: LockLevel) -> Result<u64, ControlError> {
        self.order(|azure| {
            let id = azure.state.next_number();
            azure.state.locks.insert(id, Lock { id, scope: scope.clone(), level });
            Ok(id)
        })
    }

    pub fn remove_lock(&self, id: u64) -> Result<(), ControlError> {
        self.order(|azure| found(azure.state.locks.remove(&id), "lock", id).map(drop))
    }

    // The directory.

    pub fn principals(&self) -> Vec<Principal> {
        self.with(|azure| azure.state.principals.values().cloned().collect())
    }

    /// Adds a principal, or replaces what was said of it.
    pub fn add_principal(&self, principal: Principal) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.principals.insert(principal.id, principal);
            Ok(())
        })
    }

    /// Forgets a principal. Its assignments stay, as in Azure.
    pub fn remove_principal(&self, id: Uuid) -> Result<(), ControlError> {
        self.order(|azure| found(azure.state.principals.remove(&id), "principal", id).map(drop))
    }

    pub fn strict_principals(&self) -> bool {
        self.with(|azure| *azure.state.strict_principals)
    }

    /// Strict: only principals that were added exist. Else every other object id is taken for a person.
    pub fn set_strict_principals(&self, strict: bool) -> Result<(), ControlError> {
        self.order(|azure| {
            azure.state.strict_principals.set(strict);
            Ok(())
        })
    }

    // Clock and limits.

    /// Azure's time.
    pub fn now(&self) -> OffsetDateTime {
        self.with(|azure| azure.now())
    }

    /// Moves Azure's clock forward; the time it is then.
    pub fn advance(&self, seconds: u64) -> Result<OffsetDateTime, ControlError> {
        let forward = i64::try_from(seconds.min(ADVANCE_SECONDS_MAX)).unwrap_or_default();
        if seconds > ADVANCE_SECONDS_MAX {
            return Err(ControlError::Invalid(format!("at most {ADVANCE_SECONDS_MAX} seconds at a time")));
        }
        self.order(|azure| {
            let offset = azure.state.clock_offset_seconds.saturating_add(forward);
            if azure.time_at(offset) >= LATEST {
                return Err(ControlError::Invalid(format!(
                    "the clock ends before the year {}",
                    LATEST.year()
                )));
            }
            azure.state.clock_offset_seconds.set(offset);
            Ok(azure.now())
        })
    }

    pub fn limits(&self) -> Limits {
        self.with(|azure| azure.limits)
    }

    pub fn set_limits(&self, limits: Limits) -> Result<(), ControlError> {
        if limits.page_size == 0 {
            return Err(ControlError::Invalid("`page_size` must be at least 1".to_owned()));
        }
        if limits.list_staleness_seconds > STALENESS_SECONDS_MAX {
            let text = format!("`list_staleness_seconds` can be {STALENESS_SECONDS_MAX} at most");
            return Err(ControlError::Invalid(text));
        }
        self.change(|azure| azure.limits = limits);
        Ok(())
    }

    // Faults.

    pub fn rules(&self) -> Vec<RuleInForce> {
        self.with(|azure| azure.rules.all().to_vec())
    }

    /// The id of the rule.
    pub fn add_rule(&self, rule: Rule) -> Result<u64, ControlError> {
        if let Some(problem) = rule.problem() {
            return Err(ControlError::Invalid(problem.to_owned()));
        }
        Ok(self.change(|azure| azure.rules.add(rule)))
    }

    pub fn remove_rule(&self, id: u64) -> Result<(), ControlError> {
        found(self.change(|azure| azure.rules.remove(id)).then_some(()), "rule", id)
    }

    pub fn clear_rules(&self) {
        self.change(|azure| azure.rules.clear());
    }

    /// The calls that are kept in the network, oldest first.
    pub fn held(&self) -> Vec<Call> {
        self.with(|azure| {
            azure.calls.iter().filter(|c| azure.held.contains_key(&c.number)).cloned().collect()
        })
    }

    /// Lets a held call arrive now; the status that Azure answered, whoever heard it.
    pub fn deliver(&self, id: u64) -> Result<u16, ControlError> {
        found(self.change(|azure| azure.deliver(id)), "held call", id)
    }

    /// Loses a held call: it never arrives and its caller's connection breaks.
    pub fn drop_held(&self, id: u64) -> Result<(), ControlError> {
        found(self.change(|azure| azure.held.remove(&id)), "held call", id).map(drop)
    }

    /// No rules and no held calls. What Azure holds stays.
    pub fn reset_faults(&self) {
        self.change(|azure| {
            azure.rules.clear();
            azure.held.clear();
        });
    }

    // The books.

    /// Every recognised call, oldest first. A request that is refused before it is looked at (401, no api-version) is not one,
    /// and no rule sees it: so of a client that begins without a token, Key Vault's challenge is not counted.
    pub fn calls(&self) -> Vec<Call> {
        self.with(|azure| azure.calls.iter().cloned().collect())
    }

    pub fn clear_calls(&self) {
        // A held call is still under way: its entry stays.
        self.change(|azure| {
            let held = &azure.held;
            azure.calls.retain(|call| held.contains_key(&call.number));
        });
    }

    /// Requests that nobody taught the simulator. A run in which there are any has failed.
    pub fn unrecognised(&self) -> Vec<Unrecognised> {
        self.with(|azure| azure.unrecognised.iter().cloned().collect())
    }
}

fn found<T>(thing: Option<T>, what: &'static str, id: impl ToString) -> Result<T, ControlError> {
    thing.ok_or_else(|| ControlError::NotFound { what, id: id.to_string() })
}
