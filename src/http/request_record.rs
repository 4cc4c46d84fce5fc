//! Notes the requests that are refused, for the log that the admin of the identity provider reads.

use super::error::HttpError;
use crate::scim::{self, AskedAttributes, ResourceType};
use crate::service::request_log::RequestLog;
use crate::service::{Provisioning, ScimCaller};
use crate::store::request_log::{RefusalKind, UnappliedCall};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, USER_AGENT};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};
use serde_json::Value;

/// Characters of the client's name that are counted apart.
const USER_AGENT_CHARS_MAX: usize = 64;
/// Characters of what an error says.
const DETAIL_CHARS_MAX: usize = 400;
/// Characters of the id of a path.
const TARGET_CHARS_MAX: usize = 64;
/// What writes of no known kind are about.
const BULK: &str = "Bulk";

/// A small body as it arrived. What a refused write asked for is read from it once more.
pub(super) struct ArrivedBody(pub Vec<u8>);

/// Runs a request, and notes it where it is refused: a write of a caller with a token one by one, anything else in numbers. One
/// that is given up, or panics, is counted.
pub(super) async fn note_refusal<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let unanswered = UnansweredRequest::of(&request);
    let response = next.call(request).await?;
    unanswered.answered();
    let refusal = response.response().error().map(|error| match error.as_error::<HttpError>() {
        Some(error) => error.scim(),
        None => HttpError::of_framework(response.status()).scim(),
    });
    if let Some(refusal) = refusal {
        note(response.request(), &refusal);
    }
    Ok(response)
}

/// A request until it is answered: counted where it never is.
struct UnansweredRequest {
    log: Option<Data<RequestLog>>,
    kind: RefusalKind,
}

impl UnansweredRequest {
    fn of(request: &ServiceRequest) -> Self {
        let log = request.app_data::<Data<RequestLog>>().cloned();
        let mut segments = request.path().split('/').skip(3);
        let route = match (segments.next(), segments.next()) {
            (Some(kind @ ("Users" | "Groups")), Some(_)) => format!("/scim/v2/{kind}/{{id}}"),
            (Some(kind @ ("Users" | "Groups" | BULK)), None) => format!("/scim/v2/{kind}"),
            _ => "(another endpoint)".to_owned(),
        };
        let kind = RefusalKind {
            status: 503,
            scim_type: None,
            route: format!("{} {route}", method(request.method())),
            user_agent: user_agent(request.headers()),
        };
        Self { log, kind }
    }

    fn answered(mut self) {
        self.log = None;
    }
}

impl Drop for UnansweredRequest {
    fn drop(&mut self) {
        let Some(log) = self.log.take() else { return };
        let status = if std::thread::panicking() { 500 } else { 503 };
        log.count(RefusalKind { status, ..self.kind.clone() });
    }
}

fn note(request: &HttpRequest, refusal: &scim::Error) {
    let caller = request.extensions().get::<ScimCaller>().cloned();
    match caller.zip(WriteTarget::of(request)) {
        Some((caller, target)) => {
            let body = request.extensions().get::<ArrivedBody>().and_then(|body| parsed(&body.0));
            note_write(request, &caller, (None, NotedWrites::All), target, refusal, body.as_ref());
        }
        None => count(request, refusal),
    }
}

/// Counts a refusal.
pub(super) fn count(request: &HttpRequest, refusal: &scim::Error) {
    if let Some(log) = request.app_data::<Data<RequestLog>>() {
        log.count(kind(request, refusal));
    }
}

/// Which refused writes are noted; the others are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotedWrites {
    All,
    /// Those that would have taken access away.
    TakingAway,
}

/// Notes a write that is refused, or an operation of a bulk request, counted from 1.
pub(super) fn note_write(
    request: &HttpRequest,
    caller: &ScimCaller,
    (operation, noted): (Option<usize>, NotedWrites),
    target: WriteTarget,
    refusal: &scim::Error,
    body: Option<&Value>,
) {
    let log = request.app_data::<Data<RequestLog>>();
    let (Some(log), Some(id)) = (log, caller.request) else { return };
    let service = request.app_data::<Data<Provisioning>>();
    let asked = service.zip(target.kind).zip(body).map(|((service, kind), body)| service.asked(kind, body));
    let asked: AskedAttributes = asked.unwrap_or_default();
    let detail = asked.without_other_values(&refusal.detail);
    let call = UnappliedCall {
        token: caller.token_label.clone(),
        method: target.method,
        about: target.kind.map_or(BULK, ResourceType::name).to_owned(),
        target: target.id,
        status: refusal.status,
        scim_type: refusal.scim_type.map(|scim_type| scim_type.keyword().to_owned()),
        detail: cut(&detail, DETAIL_CHARS_MAX),
        names: Vec::new(),
        values: Vec::new(),
    };
    let call = call.asking(asked);
    let is_noted = noted == NotedWrites::All || call.takes_away();
    if !is_noted || !log.note(id, operation, call) {
        count(request, refusal);
    }
}

/// What a write is about.
pub(super) struct WriteTarget {
    pub method: String,
    /// None: a bulk request.
    pub kind: Option<ResourceType>,
    pub id: Option<String>,
}

impl WriteTarget {
    /// What the request would write; none for one that only reads, and for a path that leads nowhere.
    fn of(request: &HttpRequest) -> Option<Self> {
        let route = request.match_pattern()?;
        let mut segments = route.strip_prefix("/scim/v2/")?.split('/');
        let kind = match segments.next()? {
            "Users" => Some(ResourceType::User),
            "Groups" => Some(ResourceType::Group),
            BULK => None,
            _ => return None,
        };
        let is_write = match (request.method(), segments.next()) {
            (&Method::POST, below) => below.is_none(),
            (&Method::PUT | &Method::PATCH | &Method::DELETE, below) => below == Some("{id}"),
            _ => false,
        };
        let id = request.match_info().get("id").map(|id| cut(id, TARGET_CHARS_MAX));
        is_write.then(|| Self { method: request.method().to_string(), kind, id })
    }

    /// What an operation of a bulk request would write, as far as its body says it.
    pub fn of_operation(operation: &Value) -> Self {
        let text = |name: &str| {
            let members = operation.as_object().into_iter().flatten();
            let named = members.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            named.filter_map(|(_, value)| value.as_str()).next().unwrap_or_default()
        };
        Self::of_path(text("method"), text("path"))
    }

    /// What an operation would write by its result: the address of the resource, where there is one.
    pub fn of_result(method: &str, location: Option<&str>) -> Self {
        let below_base = location.and_then(|location| location.split_once("/scim/v2")).map(|(_, path)| path);
        Self::of_path(method, below_base.unwrap_or_default())
    }

    fn of_path(method: &str, path: &str) -> Self {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let kind = match segments.next() {
            Some("Users") => Some(ResourceType::User),
            Some("Groups") => Some(ResourceType::Group),
            _ => None,
        };
        let id = segments.next().map(|id| cut(id, TARGET_CHARS_MAX));
        Self { method: cut(&method.to_ascii_uppercase(), TARGET_CHARS_MAX), kind, id }
    }
}

/// The body, where it is JSON.
pub(super) fn parsed(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

fn kind(request: &HttpRequest, refusal: &scim::Error) -> RefusalKind {
    let route = request.match_pattern();
    RefusalKind {
        status: refusal.status,
        scim_type: refusal.scim_type.map(|scim_type| scim_type.keyword().to_owned()),
        route: format!("{} {}", method(request.method()), route.as_deref().unwrap_or("(no such endpoint)")),
        user_agent: user_agent(request.headers()),
    }
}

/// The method, where it is one that is served: a client can send any.
fn method(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
            method.as_str()
        }
        _ => "(other)",
    }
}

/// What the client calls itself, as far as a terminal shows it.
fn user_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    agent.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(USER_AGENT_CHARS_MAX).collect()
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}
