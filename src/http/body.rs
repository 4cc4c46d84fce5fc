//! Request bodies: bounded, plain, strictly JSON.

use super::error::HttpError;
use super::request_record::ArrivedBody;
use super::strict_json::{self, JsonError};
use crate::scim::Error;
use crate::scim::bulk::PAYLOAD_BYTES_MAX;
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::StreamExt;
use futures_util::future::{FutureExt, LocalBoxFuture};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const USER_BYTES_MAX: usize = 1024 * 1024;
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest time that a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// A body beyond this waits for its turn: what a token holder sends at once must not fill the memory. A request that revokes
/// access is far smaller, and never waits.
const SMALL_BYTES: usize = 64 * 1024;
/// Large bodies that one process holds at a time, from their reading to their answer.
const LARGE_BODIES_MAX: usize = 2;
/// Longest time that a large body waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
const MEDIA_TYPES: [&str; 2] = ["application/scim+json", "application/json"];

/// The body of a request about users.
pub(super) type UserBody = ScimBody<USER_BYTES_MAX>;
/// The body of a request about groups, which may carry many members.
pub(super) type GroupBody = ScimBody<GROUP_BYTES_MAX>;

/// The body of a bulk request.
pub(super) type BulkBody = ScimBody<PAYLOAD_BYTES_MAX>;

/// A JSON object of at most `BYTES_MAX`.
pub(super) struct ScimBody<const BYTES_MAX: usize> {
    value: Value,
    /// Held by a large body until the request is answered.
    _turn: Option<OwnedSemaphorePermit>,
}

impl<const BYTES_MAX: usize> ScimBody<BYTES_MAX> {
    /// Takes the JSON out. The body keeps its turn.
    pub fn take_json(&mut self) -> Value {
        self.value.take()
    }
}

/// The turns of large bodies, of all workers of a server.
#[derive(Clone)]
pub(super) struct LargeBodies(Arc<Semaphore>);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BODIES_MAX)))
    }
}

impl LargeBodies {
    async fn acquire_turn(self) -> Result<OwnedSemaphorePermit, HttpError> {
        let turn = timeout(TURN_TIMEOUT, self.0.acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(HttpError::TooManyLargeBodies)
    }
}

impl<const BYTES_MAX: usize> FromRequest for ScimBody<BYTES_MAX> {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let fit = check_headers(request.headers());
        let payload = payload.take();
        let declared = content_length(request);
        let request = request.clone();
        let large = request.app_data::<Data<LargeBodies>>().map(|large| large.get_ref().clone());
        async move {
            fit?;
            let reading = read(payload, declared, BYTES_MAX, large.unwrap_or_default());
            let (bytes, turn) = match timeout(READ_TIMEOUT, reading).await {
                Ok(read) => read?,
                Err(_) => return Err(Error::request_timeout("the body did not arrive in time").into()),
            };
            let value = strict_json::parse_object(&bytes).map_err(|error| refusal(&error))?;
            if turn.is_none() {
                request.extensions_mut().insert(ArrivedBody(bytes));
            }
            Ok(Self { value, _turn: turn })
        }
        .boxed_local()
    }
}

/// No compression, and one of the two JSON media types. A missing type is forgiven, a charset is ignored.
fn check_headers(headers: &HeaderMap) -> Result<(), Error> {
    let encoding = text(headers, header::CONTENT_ENCODING).unwrap_or_default();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(Error::unsupported_media_type("compressed bodies are not accepted"));
    }
    let given = text(headers, header::CONTENT_TYPE).filter(|text| !text.trim().is_empty());
    let Some(content_type) = given else { return Ok(()) };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if MEDIA_TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let detail = "the content type is neither application/scim+json nor application/json";
    Err(Error::unsupported_media_type(detail))
}

/// The value of a header; one that is no text counts as a wrong value, not as a missing one.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?").trim())
}

fn content_length(request: &HttpRequest) -> Option<usize> {
    text(request.head().headers(), header::CONTENT_LENGTH)?.parse().ok()
}

async fn read(
    mut payload: Payload,
    declared: Option<usize>,
    bytes_max: usize,
    large: LargeBodies,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), HttpError> {
    if declared.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max).into());
    }
    // What is declared is not believed: room is made for what arrives.
    let mut body = Vec::with_capacity(declared.unwrap_or_default().min(SMALL_BYTES));
    let mut turn = None;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Error::invalid_syntax("the body breaks off"))?;
        if body.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max).into());
        }
        if turn.is_none() && body.len() + chunk.len() > SMALL_BYTES {
            turn = Some(large.clone().acquire_turn().await?);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, turn))
}

fn refusal(error: &JsonError) -> Error {
    match error {
        JsonError::Syntax { detail } => Error::invalid_syntax(detail),
        JsonError::TooManyValues => Error::payload_too_large(error.to_string()),
    }
}

fn too_large(bytes_max: usize) -> Error {
    Error::payload_too_large(format!("the body is larger than {bytes_max} bytes"))
}
