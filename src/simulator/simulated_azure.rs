//! The simulated Azure behind one lock: receives calls, applies the fault rules, executes the calls and logs them.

use super::answer::AzureAnswer;
use super::arm;
use super::arm::operations::ArmSuccess;
use super::arm::role_assignments::ArmLimits;
use super::arm::token_buckets::{BucketKind, TokenBuckets};
use super::blob::blobs_api;
use super::call_log::{RecordedCall, UnrecognisedRequest};
use super::clock::StartClock;
use super::errors::AzureError;
use super::fault_rules::{CallSubject, FaultAction, FaultRules};
use super::graph::request as graph;
use super::identity::issued_tokens::IssuedTokens;
use super::identity::token_endpoint;
use super::key_vault::secrets_api;
use super::recognise::{AzureOperation, RecognisedRequest, recognise};
use super::request::{CallMethod, NotRecognised, ReceivedRequest};
use super::services::AzureService;
use super::state::AzureState;
use super::state_file::StateFile;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Calls and unrecognised requests that are kept; older ones are dropped.
const LOG_LENGTH_MAX: usize = 20_000;

/// A call that has been received and not executed yet.
#[derive(Debug)]
pub struct InFlightCall {
    number: u64,
    request: RecognisedRequest,
}

/// A call that is held in the network. It outlives its caller.
#[derive(Debug)]
pub struct HeldCall {
    call: InFlightCall,
    caller: oneshot::Sender<AzureAnswer>,
}

/// How the network delivers a call and its answer.
#[derive(Debug)]
pub enum Delivery {
    Answered(AzureAnswer),
    /// Executed; the answer is sent after a delay.
    AnswerLater(AzureAnswer, Duration),
    /// Executed after a delay.
    ExecuteLater(InFlightCall, Duration),
    /// The connection is dropped.
    Lost,
    Held(oneshot::Receiver<AzureAnswer>),
}

/// The state, the limits, the faults and the logs.
#[derive(Debug)]
pub struct SimulatedAzure {
    pub state: AzureState,
    pub limits: ArmLimits,
    pub rules: FaultRules,
    pub tokens: IssuedTokens,
    pub calls: VecDeque<RecordedCall>,
    pub unrecognised: VecDeque<UnrecognisedRequest>,
    pub held: BTreeMap<u64, HeldCall>,
    buckets: TokenBuckets,
    clock: StartClock,
    state_file: Option<StateFile>,
    last_call: u64,
}

impl SimulatedAzure {
    pub fn new(state: AzureState, limits: ArmLimits, clock: StartClock, state_file: Option<PathBuf>) -> Self {
        Self {
            state,
            limits,
            rules: FaultRules::default(),
            tokens: IssuedTokens::default(),
            calls: VecDeque::new(),
            unrecognised: VecDeque::new(),
            held: BTreeMap::new(),
            buckets: TokenBuckets::default(),
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

    /// Receives a request.
    pub fn receive(&mut self, received: &ReceivedRequest) -> Delivery {
        let service = received.service;
        let now = self.now();
        if let Err(error) = self.tokens.refuse_unauthenticated(received, now) {
            return Delivery::Answered(AzureAnswer::refused(service, &error, now));
        }
        match recognise(received) {
            Ok(request) => self.admit(request),
            Err(NotRecognised::Refused(error)) => {
                Delivery::Answered(AzureAnswer::refused(service, &error, now))
            }
            Err(NotRecognised::Unrecognised(reason)) => {
                Delivery::Answered(self.unrecognise(received, reason))
            }
        }
    }

    fn unrecognise(&mut self, received: &ReceivedRequest, reason: String) -> AzureAnswer {
        let error = AzureError::new(
            400,
            "UnrecognisedRequest",
            format!("The simulator does not know this: {reason}."),
        );
        let ReceivedRequest { service, verb, uri, .. } = received.clone();
        remember(&mut self.unrecognised, UnrecognisedRequest { service, verb, uri, reason });
        AzureAnswer::refused(service, &error, self.now())
    }

    fn admit(&mut self, request: RecognisedRequest) -> Delivery {
        let name = request.operation.assignment_name();
        let named = || self.state.assignments.get(&name?).map(|a| a.principal_id);
        let principal = request.principal.or_else(named);
        let subject = CallSubject {
            service: request.service,
            method: request.method,
            scope: &request.scope,
            principal,
            name,
            about: request.about.as_deref(),
        };
        let action = self.rules.take_matching(&subject);
        let in_flight = self.log_call(request, principal);
        match action {
            None => Delivery::Answered(self.execute(in_flight)),
            Some(action) => self.apply_fault(in_flight, action),
        }
    }

    fn log_call(&mut self, request: RecognisedRequest, principal: Option<Uuid>) -> InFlightCall {
        self.last_call += 1;
        let call = RecordedCall {
            number: self.last_call,
            at: self.now(),
            service: request.service,
            method: request.method,
            scope: request.scope.clone(),
            name: request.operation.assignment_name(),
            principal,
            about: request.about.clone(),
            status: None,
            executed: false,
            answered: false,
        };
        remember(&mut self.calls, call);
        InFlightCall { number: self.last_call, request }
    }

    /// Facts: F-017, F-018.
    fn apply_fault(&mut self, in_flight: InFlightCall, action: FaultAction) -> Delivery {
        match action {
            FaultAction::Throttle { retry_after_seconds } => {
                let error = AzureError::too_many_requests(in_flight.request.service);
                Delivery::Answered(self.answer_instead(&in_flight, &error, retry_after_seconds))
            }
            FaultAction::Fail { status, code, message, retry_after_seconds, executed } => {
                let number = in_flight.number;
                if executed {
                    self.execute(InFlightCall { number, request: in_flight.request.clone() });
                }
                let message = message.unwrap_or_else(|| default_message(&code).to_owned());
                let error = AzureError::new(status, &code, message);
                Delivery::Answered(self.answer_instead(&in_flight, &error, retry_after_seconds))
            }
            FaultAction::Delay { ms } => Delivery::ExecuteLater(in_flight, Duration::from_millis(ms)),
            FaultAction::DelayAnswer { ms } => {
                Delivery::AnswerLater(self.execute(in_flight), Duration::from_millis(ms))
            }
            FaultAction::Nonsense => {
                Delivery::Answered(AzureAnswer { is_nonsense: true, ..self.execute(in_flight) })
            }
            FaultAction::LoseRequest => Delivery::Lost,
            FaultAction::LoseAnswer => {
                let number = in_flight.number;
                self.execute(in_flight);
                self.update_call(number, |call| call.answered = false);
                Delivery::Lost
            }
            FaultAction::Hold => {
                let (caller, waiting) = oneshot::channel();
                self.held.insert(in_flight.number, HeldCall { call: in_flight, caller });
                Delivery::Held(waiting)
            }
        }
    }

    fn answer_instead(
        &mut self,
        in_flight: &InFlightCall,
        error: &AzureError,
        retry_after: Option<u64>,
    ) -> AzureAnswer {
        self.update_call(in_flight.number, |call| {
            call.status = Some(error.status);
            call.answered = true;
        });
        let InFlightCall { request, .. } = in_flight;
        let remaining = remaining(request, 0);
        AzureAnswer { retry_after, remaining, ..AzureAnswer::refused(request.service, error, self.now()) }
    }

    /// Delivers a held call: it is executed now, and answered only if its caller still waits.
    /// Returns the status that Azure answered; none if there is no such call.
    pub fn deliver(&mut self, id: u64) -> Option<u16> {
        let held = self.held.remove(&id)?;
        let answer = self.execute(held.call);
        let status = answer.status;
        if held.caller.send(answer).is_err() {
            self.update_call(id, |call| call.answered = false);
        }
        Some(status)
    }

    /// Executes a call and logs the result.
    /// Facts: F-096.
    pub fn execute(&mut self, in_flight: InFlightCall) -> AzureAnswer {
        let InFlightCall { number, request } = in_flight;
        let now = self.now();
        let kind = BucketKind::of(request.method);
        let key = request.scope.subscription().unwrap_or("tenant");
        let counted = self.limits.buckets && request.service == AzureService::Arm;
        let taken = if counted { self.buckets.take_token(key, kind, now) } else { Ok(kind.capacity()) };
        let (mut answer, left) = match taken {
            Ok(left) => (self.carry_out(&request, now), left),
            Err(seconds) => {
                let error = AzureError::too_many_requests(request.service);
                let refused = AzureAnswer::refused(request.service, &error, now);
                (AzureAnswer { retry_after: Some(seconds), ..refused }, 0)
            }
        };
        if request.method == CallMethod::Put || request.method == CallMethod::Delete {
            answer = self.save_before(answer);
        }
        self.update_call(number, |call| {
            call.status = Some(answer.status);
            call.executed = answer.status < 300;
            call.answered = true;
        });
        answer.remaining = remaining(&request, left);
        answer
    }

    fn carry_out(&mut self, request: &RecognisedRequest, now: OffsetDateTime) -> AzureAnswer {
        let state = &mut self.state;
        match &request.operation {
            AzureOperation::Arm(operation) => {
                match arm::operations::execute(state, &self.limits, now, &request.scope, operation) {
                    Ok(ArmSuccess { status, body }) => AzureAnswer::new(status, body, now),
                    Err(error) => AzureAnswer::refused(request.service, &error, now),
                }
            }
            AzureOperation::Vault(operation) => secrets_api::answer(state, operation, now),
            AzureOperation::Identity(operation) => token_endpoint::answer(&mut self.tokens, operation, now),
            AzureOperation::Graph(operation) => graph::answer(state, operation, now),
            AzureOperation::Blob(operation) => blobs_api::answer(state, operation, now),
        }
    }

    /// The state file is written before the answer is sent.
    fn save_before(&mut self, answer: AzureAnswer) -> AzureAnswer {
        match self.save() {
            Ok(()) => answer,
            Err(error) => {
                let error = AzureError::new(500, "StateFileNotWritten", error.to_string());
                AzureAnswer::refused(AzureService::Arm, &error, answer.date)
            }
        }
    }

    fn update_call(&mut self, number: u64, outcome: impl FnOnce(&mut RecordedCall)) {
        if let Some(call) = self.calls.iter_mut().rev().find(|call| call.number == number) {
            outcome(call);
        }
    }
}

/// ARM's header of what is left of a bucket.
fn remaining(request: &RecognisedRequest, left: u32) -> Option<(String, u32)> {
    let level = if request.scope.subscription().is_some() { "subscription" } else { "tenant" };
    let kind = BucketKind::of(request.method).name();
    let header = format!("x-ms-ratelimit-remaining-{level}-{kind}");
    (request.service == AzureService::Arm).then_some((header, left))
}

fn remember<T>(log: &mut VecDeque<T>, entry: T) {
    if log.len() == LOG_LENGTH_MAX {
        log.pop_front();
    }
    log.push_back(entry);
}

fn default_message(code: &str) -> &'static str {
    match code {
        "AuthorizationFailed" => {
            "The client does not have authorization to perform this action over the scope, or the scope is invalid, \
             or an ABAC condition is not fulfilled."
        }
        _ => "A fault rule of the simulator fails this call.",
    }
}
