//! Fault rules: what the network and Azure do to the calls that match.

use super::arm::scope::Scope;
use super::request::CallMethod;
use super::services::AzureService;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAction {
    /// 429 `TooManyRequests`, not executed.
    /// Facts: F-019, F-096.
    Throttle { retry_after_seconds: Option<u64> },
    /// An error answer. Executed all the same if `executed` says so.
    /// Facts: F-018, F-019.
    Fail {
        status: u16,
        code: String,
        message: Option<String>,
        retry_after_seconds: Option<u64>,
        #[serde(default)]
        executed: bool,
    },
    /// Executed and answered so much later, whether or not the caller still waits.
    /// Facts: F-017.
    Delay { ms: u64 },
    /// Executed at once, answered so much later.
    /// Facts: F-018.
    DelayAnswer { ms: u64 },
    /// Executed; answered 200 with a page that is not from the service, as a proxy may do.
    /// Facts: F-018.
    Nonsense,
    /// The connection is dropped; not executed.
    /// Facts: F-018.
    LoseRequest,
    /// Executed; the connection is dropped.
    /// Facts: F-018.
    LoseAnswer,
    /// Held in the network until an order delivers or drops it.
    /// Facts: F-017.
    Hold,
}

/// A rule. A field that is left out matches every call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    pub action: FaultAction,
    /// Calls to this service; ARM if left out.
    #[serde(default)]
    pub service: AzureService,
    /// Empty: all. `GET` is by name, `LIST` is a collection.
    #[serde(default)]
    pub methods: Vec<CallMethod>,
    /// Calls to ARM at this scope or below it.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// Calls about this principal: in the address, the body or the filter, or of the assignment that is named.
    #[serde(default)]
    pub principal: Option<Uuid>,
    /// Calls that name this assignment.
    #[serde(default)]
    pub name: Option<Uuid>,
    /// Calls outside of ARM about this secret, this audience, this person or this group, without case.
    #[serde(default)]
    pub about: Option<String>,
    /// The number of matching calls that pass first.
    #[serde(default)]
    pub skip: u32,
    /// The number of calls that are hit. Without it, all until the rule is removed.
    #[serde(default)]
    pub times: Option<u32>,
}

impl FaultRule {
    /// A rule for every call to ARM, until it is removed.
    pub const fn new(action: FaultAction) -> Self {
        Self {
            action,
            service: AzureService::Arm,
            methods: Vec::new(),
            scope: None,
            principal: None,
            name: None,
            about: None,
            skip: 0,
            times: None,
        }
    }

    pub const fn service(mut self, service: AzureService) -> Self {
        self.service = service;
        self
    }

    pub fn method(mut self, method: CallMethod) -> Self {
        self.methods.push(method);
        self
    }

    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    pub const fn principal(mut self, principal: Uuid) -> Self {
        self.principal = Some(principal);
        self
    }

    pub const fn name(mut self, name: Uuid) -> Self {
        self.name = Some(name);
        self
    }

    pub fn about(mut self, about: &str) -> Self {
        self.about = Some(about.to_owned());
        self
    }

    pub const fn skip(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    pub const fn times(mut self, calls: u32) -> Self {
        self.times = Some(calls);
        self
    }

    /// Returns what is wrong with the rule, if anything.
    pub fn problem(&self) -> Option<&'static str> {
        match &self.action {
            FaultAction::Fail { status, .. } if !(400..=599).contains(status) => {
                Some("`fail.status` must lie between 400 and 599")
            }
            FaultAction::Fail { executed: true, status, .. } if *status < 500 => Some(
                "`fail.executed` needs a status of 500 or more: ARM does not carry out what it answers with 4xx",
            ),
            _ if self.times == Some(0) => {
                Some("`times` must be at least 1; leave it out for \"until removed\"")
            }
            _ => None,
        }
    }

    fn matches(&self, call: &CallSubject<'_>) -> bool {
        let about = |wanted: &String| call.about.is_some_and(|about| about.eq_ignore_ascii_case(wanted));
        self.service == call.service
            && self.about.as_ref().is_none_or(about)
            && (self.methods.is_empty() || self.methods.contains(&call.method))
            && self.scope.as_ref().is_none_or(|scope| scope.covers(call.scope))
            && (self.principal.is_none() || self.principal == call.principal)
            && (self.name.is_none() || self.name == call.name)
    }
}

/// The parts of a call that a rule matches.
#[derive(Debug)]
pub struct CallSubject<'a> {
    pub service: AzureService,
    pub method: CallMethod,
    pub scope: &'a Scope,
    pub principal: Option<Uuid>,
    pub name: Option<Uuid>,
    pub about: Option<&'a str>,
}

/// A rule that is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActiveFaultRule {
    pub id: u64,
    #[serde(flatten)]
    pub rule: FaultRule,
}

/// The active rules, oldest first. `times` and `skip` of each count down.
#[derive(Debug, Default)]
pub struct FaultRules {
    rules: Vec<ActiveFaultRule>,
    last_id: u64,
}

impl FaultRules {
    pub fn add(&mut self, rule: FaultRule) -> u64 {
        self.last_id += 1;
        self.rules.push(ActiveFaultRule { id: self.last_id, rule });
        self.last_id
    }

    pub fn all(&self) -> &[ActiveFaultRule] {
        &self.rules
    }

    /// Whether there was one of that id.
    pub fn remove(&mut self, id: u64) -> bool {
        let before = self.rules.len();
        self.rules.retain(|entry| entry.id != id);
        self.rules.len() < before
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Takes the action for this call from the oldest rule that matches it and does not skip it. A rule is removed after its
    /// last hit.
    pub fn take_matching(&mut self, call: &CallSubject<'_>) -> Option<FaultAction> {
        let hit = self.rules.iter_mut().filter(|entry| entry.rule.matches(call)).find_map(|entry| {
            if entry.rule.skip > 0 {
                entry.rule.skip -= 1;
                return None;
            }
            entry.rule.times = entry.rule.times.map(|times| times.saturating_sub(1));
            Some(entry.rule.action.clone())
        });
        self.rules.retain(|entry| entry.rule.times != Some(0));
        hit
    }
}
