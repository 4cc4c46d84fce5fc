//! The simulated Azure behind one lock: takes calls in, lets the rules have their way, carries them out, keeps the books.

use super::buckets::{Buckets, Kind};
use super::clock::StartClock;
use super::error::AzureError;
use super::request::{Method, Operation, Received, Request, Unknown, recognise};
use super::rights;
use super::role_assignments::{self, Limits};
use super::role_definitions;
use super::role_table::{BUILT_IN_ROLES, BuiltInRole};
use super::rules::{Action, Rules, Subject};
use super::scope::Scope;
use super::service::Service;
use super::state::State;
use super::state_file::StateFile;
use super::tokens::Tokens;
use super::{graph, identity, vault};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Calls and unrecognised requests that are remembered; older ones are forgotten.
const LOG_LENGTH_MAX: usize = 20_000;

/// What Azure answers to a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Option<Value>,
    /// Azure's time when it answered.
    pub date: OffsetDateTime,
    pub retry_after: Option<u64>,
    /// A rate-limit header and its value.
    pub remaining: Option<(String, u32)>,
    /// What stands in `WWW-Authenticate`.
    pub challenge: Option<&'static str>,
    /// Sent with status 200 and a page in place of the body.
    pub is_nonsense: bool,
}

impl Answer {
    pub const fn new(status: u16, body: Option<Value>, date: OffsetDateTime) -> Self {
        Self { status, body, date, retry_after: None, remaining: None, challenge: None, is_nonsense: false }
    }

    /// An error in the words of a service.
    pub fn refused(service: Service, error: &AzureError, date: OffsetDateTime) -> Self {
        let challenge = (error.status == 401).then_some(service.challenge());
        Self { challenge, ..Self::new(error.status, Some(error.body(service, date)), date) }
    }
}

/// A recognised call, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    pub number: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub service: Service,
    pub method: Method,
    /// In ARM; elsewhere the root.
    pub scope: Scope,
    pub name: Option<Uuid>,
    pub principal: Option<Uuid>,
    /// Outside of ARM: the secret, the audience or the person.
    pub about: Option<String>,
    /// What Azure answered, or would have; none while a call is under way or when it was lost.
    pub status: Option<u16>,
    /// Whether Azure carried it out: a 2xx, told or not.
    pub executed: bool,
    /// Whether an answer was sent.
    pub answered: bool,
}

/// A request that nobody taught the simulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unrecognised {
    pub service: Service,
    pub verb: String,
    pub uri: String,
    pub reason: String,
}

/// A call that has been received and is not carried out yet.
#[derive(Debug)]
pub struct Arrived {
    number: u64,
    request: Request,
}

/// A call that is kept in the network. It outlives its caller.
#[derive(Debug)]
pub struct Held {
    arrived: Arrived,
    caller: oneshot::Sender<Answer>,
}

/// What the network makes of a call.
#[derive(Debug)]
pub enum Passage {
    Answered(Answer),
    /// Carried out, the answer comes after a while.
    AnsweredLate(Answer, Duration),
    /// To be carried out after a while.
    Late(Arrived, Duration),
    /// The connection is dropped.
    Lost,
    Held(oneshot::Receiver<Answer>),
}

/// Everything there is.
#[derive(Debug)]
pub struct Azure {
    pub state: State,
    pub limits: Limits,
    pub rules: Rules,
    pub tokens: Tokens,
    pub calls: VecDeque<Call>,
    pub unrecognised: VecDeque<Unrecognised>,
    pub held: BTreeMap<u64, Held>,
    buckets: Buckets,
    clock: StartClock,
    state_file: Option<StateFile>,
    last_call: u64,
}

impl Azure {
    pub fn new(state: State, limits: Limits, clock: StartClock, state_file: Option<PathBuf>) -> Self {
        Self {
            state,
            limits,
            rules: Rules::default(),
            tokens: Tokens::default(),
            calls: VecDeque::new(),
            unrecognised: VecDeque::new(),
            held: BTreeMap::new(),
            buckets: Buckets::default(),
            clock,
            state_file: state_file.map(StateFile::new),
            last_call: 0,
        }
    }

    /// Azure's time.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.at(self.state.clock_offset())
    }

    /// The time if the clock had been moved by so much in all.
    pub fn time_at(&self, offset_seconds: i64) -> OffsetDateTime {
        self.clock.at(time::Duration::seconds(offset_seconds))
    }

    /// Writes what changed to the state file, if there is one.
    pub fn save(&mut self) -> std::io::Result<()> {
        match &mut self.state_file {
            Some(file) => file.save(&mut self.state),
            None => Ok(()),
        }
    }

    /// Takes a request in.
    pub fn receive(&mut self, received: &Received) -> Passage {
        let (service, now) = (received.service, self.now());
        if let Err(error) = self.tokens.refuse_unauthenticated(received, now) {
            return Passage::Answered(Answer::refused(service, &error, now));
        }
        match recognise(received) {
            Ok(request) => self.pass(request),
            Err(Unknown::Refused(error)) => Passage::Answered(Answer::refused(service, &error, now)),
            Err(Unknown::Unrecognised(reason)) => Passage::Answered(self.unrecognise(received, reason)),
        }
    }

    fn unrecognise(&mut self, received: &Received, reason: String) -> Answer {
        let error = AzureError::new(
            400,
            "UnrecognisedRequest",
            format!("The simulator does not know this: {reason}."),
        );
        let Received { service, verb, uri, .. } = received.clone();
        remember(&mut self.unrecognised, Unrecognised { service, verb, uri, reason });
        Answer::refused(service, &error, self.now())
    }

    fn pass(&mut self, request: Request) -> Passage {
        let name = request.name();
        let named = || self.state.assignments.get(&name?).map(|a| a.principal_id);
        let principal = request.principal.or_else(named);
        let Request { service, method, scope, about, .. } = &request;
        let (service, method, about) = (*service, *method, about.as_deref());
        let subject = Subject { service, method, scope, principal, name, about };
        let action = self.rules.strike(&subject);
        let arrived = self.log(request, principal);
        match action {
            None => Passage::Answered(self.execute(arrived)),
            Some(action) => self.fault(arrived, action),
        }
    }

    fn log(&mut self, request: Request, principal: Option<Uuid>) -> Arrived {
        self.last_call += 1;
        let call = Call {
            number: self.last_call,
            at: self.now(),
            service: request.service,
            method: request.method,
            scope: request.scope.clone(),
            name: request.name(),
            principal,
            about: request.about.clone(),
            status: None,
            executed: false,
            answered: false,
        };
        remember(&mut self.calls, call);
        Arrived { number: self.last_call, request }
    }

    fn fault(&mut self, arrived: Arrived, action: Action) -> Passage {
        match action {
            Action::Throttle { retry_after_seconds } => {
                let error = AzureError::too_many_requests(arrived.request.service);
                Passage::Answered(self.answer_instead(&arrived, &error, retry_after_seconds))
            }
            Action::Fail { status, code, message, retry_after_seconds, executed } => {
                let number = arrived.number;
                if executed {
                    self.execute(Arrived { number, request: arrived.request.clone() });
                }
                let message = message.unwrap_or_else(|| default_message(&code).to_owned());
                let error = AzureError::new(status, &code, message);
                Passage::Answered(self.answer_instead(&arrived, &error, retry_after_seconds))
            }
            Action::Delay { ms } => Passage::Late(arrived, Duration::from_millis(ms)),
            Action::DelayAnswer { ms } => {
                Passage::AnsweredLate(self.execute(arrived), Duration::from_millis(ms))
            }
            Action::Nonsense => Passage::Answered(Answer { is_nonsense: true, ..self.execute(arrived) }),
            Action::LoseRequest => Passage::Lost,
            Action::LoseAnswer => {
                let number = arrived.number;
                self.execute(arrived);
                self.conclude(number, |call| call.answered = false);
                Passage::Lost
            }
            Action::Hold => {
                let (caller, waiting) = oneshot::channel();
                self.held.insert(arrived.number, Held { arrived, caller });
                Passage::Held(waiting)
            }
        }
    }

    fn answer_instead(&mut self, arrived: &Arrived, error: &AzureError, retry_after: Option<u64>) -> Answer {
        self.conclude(arrived.number, |call| {
            call.status = Some(error.status);
            call.answered = true;
        });
        let Arrived { request, .. } = arrived;
        let remaining = remaining(request, 0);
        Answer { retry_after, remaining, ..Answer::refused(request.service, error, self.now()) }
    }

    /// Lets a held call arrive: carried out now, answered only if its caller still waits.
    /// The status that Azure answered; none if there is no such call.
    pub fn deliver(&mut self, id: u64) -> Option<u16> {
        let held = self.held.remove(&id)?;
        let answer = self.execute(held.arrived);
        let status = answer.status;
        if held.caller.send(answer).is_err() {
            self.conclude(id, |call| call.answered = false);
        }
        Some(status)
    }

    /// Carries a call out and books it.
    pub fn execute(&mut self, arrived: Arrived) -> Answer {
        let Arrived { number, request } = arrived;
        let now = self.now();
        let kind = Kind::of(request.method);
        let key = request.scope.subscription().unwrap_or("tenant");
        let counted = self.limits.buckets && request.service == Service::Arm;
        let taken = if counted { self.buckets.take(key, kind, now) } else { Ok(kind.capacity()) };
        let (mut answer, left) = match taken {
            Ok(left) => (self.carry_out(&request, now), left),
            Err(seconds) => {
                let error = AzureError::too_many_requests(request.service);
                let refused = Answer::refused(request.service, &error, now);
                (Answer { retry_after: Some(seconds), ..refused }, 0)
            }
        };
        if request.method == Method::Put || request.method == Method::Delete {
            answer = self.saved(answer);
        }
        self.conclude(number, |call| {
            call.status = Some(answer.status);
            call.executed = answer.status < 300;
            call.answered = true;
        });
        answer.remaining = remaining(&request, left);
        answer
    }

    fn carry_out(&mut self, request: &Request, now: OffsetDateTime) -> Answer {
        let (state, limits, scope) = (&mut self.state, &self.limits, &request.scope);
        if let Err(error) = rights::refuse_forbidden(state, request) {
            return Answer::refused(request.service, &error, now);
        }
        let done = match &request.operation {
            Operation::Vault(operation) => return vault::answer(state, operation, now),
            Operation::Identity(operation) => return identity::answer(&mut self.tokens, operation, now),
            Operation::Graph(operation) => return graph::answer(state, operation, now),
            Operation::PutAssignment { name, body } => {
                role_assignments::put(state, limits, now, scope, *name, body).map(|(s, v)| (s, Some(v)))
            }
            Operation::GetAssignment { name } => {
                role_assignments::get(state, scope, *name).map(|value| (200, Some(value)))
            }
            Operation::DeleteAssignment { name } => role_assignments::delete(state, now, scope, *name),
            Operation::ListAssignments { filter, after, link } => {
                role_assignments::list(state, limits, now, scope, filter, *after, link)
                    .map(|v| (200, Some(v)))
            }
            Operation::GetDefinition { id } => definition(state, scope, *id).map(|v| (200, Some(v))),
            Operation::ListDefinitions { filter } => {
                definitions(state, scope, filter.role_name.as_deref()).map(|v| (200, Some(v)))
            }
        };
        match done {
            Ok((status, body)) => Answer::new(status, body, now),
            Err(error) => Answer::refused(request.service, &error, now),
        }
    }

    /// The state is on disk before anybody hears of it.
    fn saved(&mut self, answer: Answer) -> Answer {
        match self.save() {
            Ok(()) => answer,
            Err(error) => {
                let error = AzureError::new(500, "StateFileNotWritten", error.to_string());
                Answer::refused(Service::Arm, &error, answer.date)
            }
        }
    }

    fn conclude(&mut self, number: u64, outcome: impl FnOnce(&mut Call)) {
        if let Some(call) = self.calls.iter_mut().rev().find(|call| call.number == number) {
            outcome(call);
        }
    }
}

/// ARM's header of what is left of a bucket.
fn remaining(request: &Request, left: u32) -> Option<(String, u32)> {
    let level = if request.scope.subscription().is_some() { "subscription" } else { "tenant" };
    let kind = Kind::of(request.method).name();
    let header = format!("x-ms-ratelimit-remaining-{level}-{kind}");
    (request.service == Service::Arm).then_some((header, left))
}

fn remember<T>(log: &mut VecDeque<T>, entry: T) {
    if log.len() == LOG_LENGTH_MAX {
        log.pop_front();
    }
    log.push_back(entry);
}

fn definition(state: &State, scope: &Scope, id: Uuid) -> Result<Value, AzureError> {
    role_assignments::refuse_missing(state, scope)?;
    match role_definitions::by_id(id) {
        Some(role) => Ok(role_definitions::body(scope, role)),
        None => Err(AzureError::definition_not_found(404, id)),
    }
}

fn definitions(state: &State, scope: &Scope, name: Option<&str>) -> Result<Value, AzureError> {
    role_assignments::refuse_missing(state, scope)?;
    let chosen = |role: &&BuiltInRole| name.is_none_or(|name| role.name.eq_ignore_ascii_case(name));
    let bodies = BUILT_IN_ROLES.iter().filter(chosen).map(|role| role_definitions::body(scope, role));
    Ok(json!({ "value": bodies.collect::<Vec<_>>() }))
}

fn default_message(code: &str) -> &'static str {
    match code {
        "AuthorizationFailed" => {
            "The client does not have authorization to perform this action over the scope, or the scope is invalid, \
             or an ABAC condition is not fulfilled."
        }
        _ => "The simulator was told to fail this call.",
    }
}
