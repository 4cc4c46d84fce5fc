//! How a request reaches the handler: proxied (the newer hosts) or forwarded (the older ones).
//!
//! Both join repeated request headers into one line, as .NET's client does, and keep what the client calls them.

use super::address;
use super::body::{Activity, Body, Upload, empty, full};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use std::net::IpAddr;
use std::time::Duration;

pub const INVOCATION_ID: &str = "x-azure-functions-invocationid";
pub const HOST_VERSION: &str = "x-azure-functions-hostversion";

/// How often a proxied request that met no handler is tried, and the pauses between.
const ATTEMPTS_MAX: usize = 10;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// What ends at the proxy.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "alt-svc",
    "http2-settings",
];
/// What .NET counts to the content. Forwarding loses it; Content-Type and Content-Length go with a body.
const CONTENT_HEADERS: [&str; 11] = [
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "expires",
    "last-modified",
];

pub type HandlerClient = Client<HttpConnector, Body>;

/// A request as the host's server has read it.
pub struct Inbound {
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub upload: Upload,
    pub activity: Activity,
    /// How the client seems to have come: `http`, or `https` behind the front end.
    pub scheme: &'static str,
    pub peer: IpAddr,
    pub invocation_id: String,
    pub traceparent: String,
}

/// What both transports need to know of the host.
#[derive(Clone)]
pub struct Route {
    pub client: HandlerClient,
    pub port: u16,
    pub host_version: String,
}

/// Where a request goes at the handler.
struct Target {
    path: String,
    query: Option<String>,
}

/// The handler was not reached, or broke off: the client gets 500 without a body.
#[derive(Debug)]
pub struct Unreached;

/// Sends it on as the streaming proxy does. Its client has no CONNECT, and writes headers in ASCII only.
/// Facts: F-128, F-129, F-130, F-131, F-133, F-167.
pub async fn proxy(route: &Route, inbound: &Inbound) -> Result<Response<Incoming>, Unreached> {
    let is_ascii = inbound.headers.values().all(|value| value.as_bytes().is_ascii());
    if inbound.method == Method::CONNECT || !is_ascii {
        return Err(Unreached);
    }
    let query = inbound.query.as_deref().map(address::proxied_query);
    let target = Target { path: address::proxied_path(&inbound.path), query };
    let headers = proxied_headers(route, inbound);
    let silence = inbound.activity.clone().silence();
    tokio::select! {
        answer = attempts(route, inbound, &target, &headers) => answer,
        () = silence => Err(Unreached),
    }
}

/// A request without a body is sent again even where an answer may have been lost; a body that was begun never is.
async fn attempts(
    route: &Route,
    inbound: &Inbound,
    target: &Target,
    headers: &HeaderMap,
) -> Result<Response<Incoming>, Unreached> {
    let mut pause = PAUSE_FIRST;
    for attempt in 1..=ATTEMPTS_MAX {
        let body = if inbound.upload.has_body() { inbound.upload.offer() } else { empty() };
        let request = request(route, inbound, target, headers, body)?;
        match route.client.request(request).await {
            Ok(mut answer) => {
                clean_proxied_answer(&mut answer);
                return Ok(answer);
            }
            Err(_) if inbound.upload.was_read() || attempt == ATTEMPTS_MAX => return Err(Unreached),
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Err(Unreached)
}

fn proxied_headers(route: &Route, inbound: &Inbound) -> HeaderMap {
    let mut headers = joined(&inbound.headers, |name| !HOP_BY_HOP.contains(&name));
    let host = inbound.headers.get(header::HOST).cloned();
    set(&mut headers, "host", &format!("127.0.0.1:{}", route.port));
    match host {
        Some(host) => {
            headers.insert(HeaderName::from_static("x-forwarded-host"), host);
        }
        None => {
            headers.remove("x-forwarded-host");
        }
    }
    set(&mut headers, "x-forwarded-for", &inbound.peer.to_string());
    set(&mut headers, "x-forwarded-proto", inbound.scheme);
    set(&mut headers, INVOCATION_ID, &inbound.invocation_id);
    set(&mut headers, "x-ms-invocation-id", &inbound.invocation_id);
    set(&mut headers, HOST_VERSION, &route.host_version);
    set(&mut headers, "traceparent", &inbound.traceparent);
    // A header that describes a body makes an empty one, even of a GET.
    let describes_a_body = CONTENT_HEADERS.iter().any(|name| headers.contains_key(*name));
    if !inbound.upload.has_body() && (describes_a_body || expects_a_body(&inbound.method)) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    headers
}

/// The methods that .NET's client sends with a length even where there is no body.
fn expects_a_body(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE].contains(method)
}

/// Facts: F-130.
fn clean_proxied_answer(answer: &mut Response<Incoming>) {
    HOP_BY_HOP.iter().for_each(|name| {
        answer.headers_mut().remove(*name);
    });
    let bodyless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT].contains(&answer.status());
    if bodyless && answer.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length == "0") {
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
}

/// Builds it anew, as the older hosts do, and waits for the whole answer. A chunked body cannot be sent so.
/// Facts: F-136, F-137, F-138, F-139, F-140.
pub async fn forward(route: &Route, inbound: &Inbound) -> Result<Response<Body>, Unreached> {
    if inbound.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Unreached);
    }
    let query = inbound.query.as_deref().map(address::forwarded_query).filter(|query| !query.is_empty());
    let target = Target { path: address::forwarded_path(&inbound.path), query };
    let has_body = inbound.upload.has_body();
    let body = if has_body { inbound.upload.offer() } else { empty() };
    let headers = forwarded_headers(route, inbound, has_body);
    let request = request(route, inbound, &target, &headers, body)?;
    let answer = route.client.request(request).await.map_err(|_| Unreached)?;
    let (mut parts, body) = answer.into_parts();
    let bytes = body.collect().await.map_err(|_| Unreached)?.to_bytes();
    parts.headers.remove(header::TRANSFER_ENCODING);
    Ok(Response::from_parts(parts, full(bytes)))
}

fn forwarded_headers(route: &Route, inbound: &Inbound, has_body: bool) -> HeaderMap {
    let mut headers = joined(&inbound.headers, |name| !CONTENT_HEADERS.contains(&name));
    if has_body {
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            if let Some(value) = inbound.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
    }
    append(&mut headers, "user-agent", " ", &format!("Azure-Functions-Host/{}", route.host_version));
    append(&mut headers, INVOCATION_ID, ", ", &inbound.invocation_id);
    append(&mut headers, HOST_VERSION, ", ", &route.host_version);
    set(&mut headers, "traceparent", &inbound.traceparent);
    if !has_body && [Method::POST, Method::PUT, Method::PATCH].contains(&inbound.method) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    headers
}

fn request(
    route: &Route,
    inbound: &Inbound,
    target: &Target,
    headers: &HeaderMap,
    body: Body,
) -> Result<Request<Body>, Unreached> {
    let query = target.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let address = format!("http://127.0.0.1:{}{}{query}", route.port, target.path);
    let mut builder: Builder = Request::builder().method(inbound.method.clone()).uri(address);
    if let Some(to) = builder.headers_mut() {
        *to = headers.clone();
    }
    builder.body(body).map_err(|_| Unreached)
}

/// The headers that are kept, each on one line.
fn joined(headers: &HeaderMap, keep: impl Fn(&str) -> bool) -> HeaderMap {
    let mut lines = HeaderMap::new();
    for name in headers.keys().filter(|name| keep(name.as_str())) {
        let separator: &[u8] = if *name == header::COOKIE { b"; " } else { b", " };
        let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(value) = HeaderValue::from_bytes(&values.join(separator)) {
            lines.insert(name.clone(), value);
        }
    }
    lines
}

/// Sets one of the host's own headers; its values are ASCII.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Puts the value after the one that the client sent, if it sent one.
fn append(headers: &mut HeaderMap, name: &'static str, separator: &str, value: &str) {
    let mut line = headers.get(name).map(|given| given.as_bytes().to_vec()).unwrap_or_default();
    if !line.is_empty() {
        line.extend_from_slice(separator.as_bytes());
    }
    line.extend_from_slice(value.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&Bytes::from(line)) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
