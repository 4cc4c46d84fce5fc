//! The HTTP side: reads requests, writes answers with their headers, and breaks connections.

use super::answer::AzureAnswer;
use super::clock::new_guid;
use super::control::simulator_handle::SimulatorHandle;
use super::request::ReceivedRequest;
use super::services::{AzureService, Entrance};
use super::simulated_azure::Delivery;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HttpDate};
use actix_web::{HttpRequest, HttpResponse, web};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;

/// The header in which a client's transport names the host that the caller asked for.
const ORIGINAL_HOST: &str = "x-original-host";

/// The host of Graph: a request that was meant for it goes there, whichever port it came to.
const GRAPH_HOST: &str = "graph.microsoft.com";

/// Answers every request that is not for the control API.
pub async fn endpoint(
    request: HttpRequest,
    body: web::Bytes,
    azure: web::Data<SimulatorHandle>,
    entrance: web::Data<Entrance>,
) -> HttpResponse {
    let mut received = read(**entrance, &request, &body);
    if received.original_host.as_deref() == Some(GRAPH_HOST) {
        received.service = AzureService::Graph;
    }
    match azure.receive(&received) {
        Delivery::Answered(answer) => send(&answer),
        Delivery::AnswerLater(answer, delay) => {
            actix_web::rt::time::sleep(delay).await;
            send(&answer)
        }
        Delivery::ExecuteLater(call, delay) => {
            let azure = azure.get_ref().clone();
            send_or_break(detached(delay, move || azure.execute(call))).await
        }
        Delivery::Lost => broken_connection(),
        Delivery::Held(answer) => send_or_break(answer).await,
    }
}

fn read(entrance: Entrance, request: &HttpRequest, body: &web::Bytes) -> ReceivedRequest {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    ReceivedRequest {
        service: entrance.service,
        verb: request.method().to_string(),
        uri: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        path: decoded_path(request),
        query: query.map(web::Query::into_inner).unwrap_or_default(),
        over_tls: entrance.over_tls,
        host: text(header::HOST).to_owned(),
        original_host: Some(text(HeaderName::from_static(ORIGINAL_HOST)).to_owned())
            .filter(|h| !h.is_empty()),
        bearer_token: bearer_token(text(header::AUTHORIZATION)),
        identity_header: text(HeaderName::from_static("x-identity-header")).to_owned(),
        if_none_match: text(header::IF_NONE_MATCH).to_owned(),
        blob_type: text(HeaderName::from_static("x-ms-blob-type")).to_owned(),
        body: body.to_vec(),
    }
}

/// The percent-decoded path of a request.
fn decoded_path(request: &HttpRequest) -> String {
    let tail = request.match_info().load::<String>();
    tail.map_or_else(|_| request.path().to_owned(), |tail| format!("/{tail}"))
}

fn bearer_token(authorization: &str) -> Option<String> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then(|| token.to_owned())
}

/// Continues when the caller hangs up: a call that is in flight arrives whether or not its caller still waits.
fn detached(delay: Duration, call: impl FnOnce() -> AzureAnswer + 'static) -> oneshot::Receiver<AzureAnswer> {
    let (sender, receiver) = oneshot::channel();
    actix_web::rt::spawn(async move {
        actix_web::rt::time::sleep(delay).await;
        // An error only says that the caller is gone.
        let _ = sender.send(call());
    });
    receiver
}

async fn send_or_break(answer: oneshot::Receiver<AzureAnswer>) -> HttpResponse {
    answer.await.map_or_else(|_| broken_connection(), |answer| send(&answer))
}

fn send(answer: &AzureAnswer) -> HttpResponse {
    if answer.is_nonsense {
        return HttpResponse::Ok().content_type("text/html").body("<html><body>Please sign in</body></html>");
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header((header::DATE, HttpDate::from(SystemTime::from(answer.date))));
    for name in ["x-ms-request-id", "x-ms-correlation-request-id"] {
        response.insert_header((name, new_guid().to_string()));
    }
    if let Some(seconds) = answer.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    if let Some((name, left)) = &answer.remaining {
        response.insert_header((name.as_str(), left.to_string()));
    }
    if let Some(challenge) = answer.challenge {
        response.insert_header((header::WWW_AUTHENTICATE, challenge));
    }
    if let Some(code) = &answer.error_code {
        response.insert_header(("x-ms-error-code", code.as_str()));
    }
    if let Some(bytes) = &answer.bytes {
        return response.content_type("application/octet-stream").body(bytes.clone());
    }
    match &answer.body {
        Some(body) => response.json(body),
        None => response.finish(),
    }
}

/// A response that fails before its first byte, so that the server drops the connection without a word.
fn broken_connection() -> HttpResponse {
    HttpResponse::with_body(StatusCode::OK, BoxBody::new(NoBody))
}

struct NoBody;

impl MessageBody for NoBody {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(1)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<web::Bytes, Self::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::other("the connection is dropped on purpose"))))
    }
}
