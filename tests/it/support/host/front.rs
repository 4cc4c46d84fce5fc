//! The host's server: limits, routes, keys, and what it answers by itself. None of its own answers has a body.

use super::address;
use super::body::{Activity, Body, Download, Upload, empty, full};
use super::layout::HttpTrigger;
use super::process::{Process, State};
use super::record::{Call, OpenCall};
use super::transport::{self, Inbound, Unreached};
use super::{Shared, Transport};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The server's own limits.
const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
const HEADER_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 100;
/// The host waits this many initialization timeouts for a handler, then stops itself.
const HOLD_TIMES: u32 = 4;
const HOME_PAGE: &str = "<!DOCTYPE html><html><head><title>Your Functions app is up and running</title></head><body></body></html>";

/// Azure's front end, in front of the host, which clients talk to.
#[derive(Debug, Clone)]
pub struct FrontEnd {
    /// Who the client seems to be: `address:port`.
    pub client: String,
    /// How long it waits for the first byte of an answer.
    pub wait_max: Duration,
}

impl Default for FrontEnd {
    fn default() -> Self {
        Self { client: "203.0.113.7:50123".to_owned(), wait_max: Duration::from_secs(230) }
    }
}

/// Answers one request.
/// Facts: F-065, F-068.
pub async fn answer(shared: Arc<Shared>, peer: SocketAddr, mut request: Request<Incoming>) -> Response<Body> {
    if let Some(refusal) = over_the_limits(&shared, &request) {
        return refusal;
    }
    let Some(front) = shared.options.front.clone() else {
        return dispatch(shared, peer, request, "http").await;
    };
    pass_front_end(&front, &mut request);
    let waited = tokio::time::timeout(front.wait_max, dispatch(shared, peer, request, "https")).await;
    waited.unwrap_or_else(|_| bare(StatusCode::BAD_GATEWAY))
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    answer
}

/// Facts: F-066, F-135.
fn over_the_limits(shared: &Shared, request: &Request<Incoming>) -> Option<Response<Body>> {
    // Method, target, version, two spaces and the end of the line.
    let line = request.method().as_str().len() + request.uri().to_string().len() + "HTTP/1.1".len() + 4;
    if line > REQUEST_LINE_BYTES_MAX {
        return Some(bare(StatusCode::URI_TOO_LONG));
    }
    let bytes: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > HEADER_BYTES_MAX || request.headers().len() > HEADERS_MAX {
        return Some(bare(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length: u64 = length.and_then(|length| length.parse().ok()).unwrap_or_default();
    (length > shared.options.body_bytes_max).then(|| bare(StatusCode::PAYLOAD_TOO_LARGE))
}

/// What the front end adds, over whatever a client may have sent under these names. The host then makes the disguised
/// host the host again.
fn pass_front_end(front: &FrontEnd, request: &mut Request<Incoming>) {
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let host = request.headers().get(header::HOST).cloned();
    let headers = request.headers_mut();
    let before = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let chain = before.map_or_else(|| front.client.clone(), |before| format!("{before}, {}", front.client));
    for (name, value) in [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", &chain),
        ("x-original-url", &target),
        ("x-waws-unencoded-url", &target),
        ("x-arr-ssl", "2048|256|CN=Simulated|CN=*.azurewebsites.net"),
        ("client-ip", &front.client),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(host) = host {
        headers.insert(HeaderName::from_static("disguised-host"), host);
    }
}

/// Facts: F-116, F-119, F-120, F-122, F-124, F-126.
async fn dispatch(
    shared: Arc<Shared>,
    peer: SocketAddr,
    mut request: Request<Incoming>,
    scheme: &'static str,
) -> Response<Body> {
    if let Some(status) = refused_by_the_server(&request) {
        return bare(status);
    }
    if let Some(method) = usual_method(request.method()) {
        *request.method_mut() = method;
    }
    let Ok(path) = address::decode(request.uri().path()) else { return bare(StatusCode::BAD_REQUEST) };
    if is_reserved(&path) {
        return bare(StatusCode::NOT_FOUND);
    }
    let Some((function, http)) = shared.layout.resolve(request.method().as_str(), &path) else {
        return if path == "/" { home_page(&shared) } else { bare(StatusCode::NOT_FOUND) };
    };
    if !is_allowed(&shared, http, request.headers(), request.uri().query()) {
        return bare(StatusCode::UNAUTHORIZED);
    }
    // Lint says so: an HTTP function that wants an envelope is none of ours.
    if !http.direct {
        return bare(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let name = function.name.clone();
    invoke(&shared, name, read(&shared, peer, request, path, scheme)).await
}

/// What the server does not hand to the router, by its request line and the bytes of its headers.
/// Facts: F-167.
fn refused_by_the_server(request: &Request<Incoming>) -> Option<StatusCode> {
    if request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let other_host = request.uri().authority().is_some_and(|named| host != Some(named.as_str().as_bytes()));
    let unreadable = request.headers().values().any(|value| std::str::from_utf8(value.as_bytes()).is_err());
    (other_host || unreadable).then_some(StatusCode::BAD_REQUEST)
}

/// The usual methods are known in any case, and go on in capitals.
fn usual_method(method: &Method) -> Option<Method> {
    let usual = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ];
    usual.into_iter().find(|usual| usual.as_str().eq_ignore_ascii_case(method.as_str()))
}

fn is_reserved(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    ["admin", "runtime"].iter().any(|word| first.eq_ignore_ascii_case(word))
}

/// Facts: F-120.
fn home_page(shared: &Shared) -> Response<Body> {
    let disabled = shared.options.settings.get("AzureWebJobsDisableHomepage");
    if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return bare(StatusCode::NO_CONTENT);
    }
    let mut page = Response::new(full(HOME_PAGE));
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    page
}

/// Checks only the host's own keys and ignores `Authorization`.
fn is_allowed(shared: &Shared, http: &HttpTrigger, headers: &HeaderMap, query: Option<&str>) -> bool {
    let sent = headers.get("x-functions-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let sent = sent.or_else(|| address::query_value(query.unwrap_or_default(), "code"));
    http.anonymous || sent.is_some_and(|sent| shared.options.keys.contains(&sent))
}

fn read(
    shared: &Shared,
    peer: SocketAddr,
    request: Request<Incoming>,
    path: String,
    scheme: &'static str,
) -> Inbound {
    let (parts, incoming) = request.into_parts();
    let activity = Activity::new(shared.options.inactivity_max);
    let traceparent =
        parts.headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Inbound {
        method: parts.method,
        path,
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        upload: Upload::new(incoming, activity.clone(), shared.options.body_bytes_max),
        activity,
        scheme,
        peer: peer.ip(),
        invocation_id: uuid::Uuid::new_v4().to_string(),
        traceparent: traceparent.unwrap_or_else(new_traceparent),
    }
}

/// A new trace, not sampled.
/// Facts: F-069.
pub fn new_traceparent() -> String {
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let span = uuid::Uuid::new_v4().simple().to_string();
    format!("00-{trace}-{}-00", span.get(..16).unwrap_or_default())
}

/// Runs the function and records the call.
/// Facts: F-132, F-134, F-149.
async fn invoke(shared: &Arc<Shared>, function: String, inbound: Inbound) -> Response<Body> {
    let call = Call {
        function,
        invocation_id: inbound.invocation_id.clone(),
        traceparent: inbound.traceparent.clone(),
        method: inbound.method.to_string(),
        path: inbound.path.clone(),
        status: 0,
        duration: Duration::ZERO,
        request_bytes: 0,
        response_bytes: 0,
        success: false,
    };
    let mut call = OpenCall::new(shared.records.clone(), call);
    if let Err(status) = hold(shared).await {
        call.change(|call| call.status = status.as_u16());
        call.finish(false);
        return bare(status);
    }
    match shared.transport {
        Transport::Proxy => proxy(shared, inbound, call).await,
        // The handler is not told when a client of the older host goes away.
        Transport::Forward => {
            let shared = shared.clone();
            let forwarded = tokio::spawn(async move { forward(&shared, inbound, call).await });
            forwarded.await.unwrap_or_else(|_| bare(StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
}

/// Requests wait while the handler starts. A handler that has ended for good is not waited for: it will not be reached.
/// Facts: F-145.
pub async fn hold(shared: &Shared) -> Result<(), StatusCode> {
    match shared.process.settled(shared.host.initialization_timeout * HOLD_TIMES).await {
        State::Ready { .. } | State::Down => Ok(()),
        State::Dead(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
        State::Starting => {
            shared.process.stop().await;
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

async fn proxy(shared: &Shared, inbound: Inbound, mut call: OpenCall) -> Response<Body> {
    let mut deadline = Deadline::start(shared.host.function_timeout, shared.process.clone());
    let answer = tokio::select! {
        answer = transport::proxy(&shared.route, &inbound) => answer,
        () = deadline.passed() => Err(Unreached),
    };
    deadline.handler_gone().await;
    call.change(|call| call.request_bytes = inbound.upload.bytes());
    match answer {
        Ok(answer) => {
            let (parts, body) = answer.into_parts();
            call.change(|call| call.status = parts.status.as_u16());
            let body = Download::body(body, call, inbound.activity, deadline);
            Response::from_parts(parts, body)
        }
        Err(Unreached) => failed(&inbound, call),
    }
}

async fn forward(shared: &Shared, inbound: Inbound, mut call: OpenCall) -> Response<Body> {
    let mut deadline = Deadline::start(shared.host.function_timeout, shared.process.clone());
    let answer = tokio::select! {
        answer = transport::forward(&shared.route, &inbound) => answer,
        () = deadline.passed() => Err(Unreached),
    };
    deadline.handler_gone().await;
    let Ok(answer) = answer else { return failed(&inbound, call) };
    call.change(|call| {
        call.request_bytes = inbound.upload.bytes();
        call.status = answer.status().as_u16();
        call.response_bytes = hyper::body::Body::size_hint(answer.body()).lower();
    });
    call.finish(true);
    answer
}

/// Facts: F-132, F-135.
fn failed(inbound: &Inbound, mut call: OpenCall) -> Response<Body> {
    let too_long = inbound.upload.is_too_long();
    let status = if too_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::INTERNAL_SERVER_ERROR };
    call.change(|call| {
        call.request_bytes = inbound.upload.bytes();
        call.status = status.as_u16();
    });
    call.finish(false);
    bare(status)
}

/// The function timeout of one call. When it passes, the handler is killed, and every other call with it.
pub struct Deadline {
    phase: watch::Receiver<Phase>,
    /// Dropped with the call, which ends the watch.
    _under_way: oneshot::Sender<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Passed,
    Killed,
}

impl Deadline {
    pub fn start(limit: Duration, process: Arc<Process>) -> Self {
        let (under_way, mut ended) = oneshot::channel::<()>();
        let (tell, phase) = watch::channel(Phase::Running);
        tokio::spawn(async move {
            if tokio::time::timeout(limit, &mut ended).await.is_err() {
                tell.send_replace(Phase::Passed);
                process.restart().await;
                tell.send_replace(Phase::Killed);
            }
        });
        Self { phase, _under_way: under_way }
    }

    /// Ends when it passes; never, where the call ends before.
    pub async fn passed(&mut self) {
        if self.phase.wait_for(|phase| *phase != Phase::Running).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A call that was given up is answered when the handler is gone, so that the next one meets the next handler.
    pub async fn handler_gone(&mut self) {
        if *self.phase.borrow() == Phase::Passed {
            let _ = self.phase.wait_for(|phase| *phase == Phase::Killed).await;
        }
    }
}
