//! What surrounds every request: a span with its ids, one line when it is answered, and an answer even after a panic.
//!
//! The line names the route, never the path or the query: those can hold names and addresses.

use super::bulk;
use super::error::HttpError;
use super::functions;
use super::rejections::{RejectedRequest, RejectionLog};
use super::respond;
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::id::RequestId;
use crate::ports::{clock::Clock, ids::IdSource};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tracing::Instrument;
use tracing::field::Empty;

/// How long a request may take, its body included. What it has committed by then stays, and what follows from that goes on.
const REQUEST_DEADLINE: Duration = Duration::from_secs(40);
/// The same of a bulk request: reading it, what it is worked on, and the job that its last operation may wait for have 20 s each.
const BULK_DEADLINE: Duration = Duration::from_secs(65);
/// How long the host's timer may take: a tick ends by itself long before, and the host kills the process after four minutes.
const TICK_DEADLINE: Duration = Duration::from_secs(200);

/// Characters of a method that are logged: the longest of the registered ones has 17, those that are served have at most 7, and
/// a caller without a token can send any.
const METHOD_CHARS_MAX: usize = 16;

/// Where request ids and durations come from.
pub(super) struct RequestObserver {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub rejections: Arc<RejectionLog>,
}

/// Runs a request in its span and logs how it ended.
pub(super) async fn observe<B: MessageBody + 'static>(
    observer: Data<RequestObserver>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let request_id = RequestId::new(observer.ids.op().uuid());
    request.extensions_mut().insert(request_id);
    let span = tracing::info_span!("request", requestId = %request_id, traceId = Empty, token.label = Empty);
    if let Some(trace_id) = trace_id(request.headers()) {
        span.record("traceId", trace_id);
    }
    serve_request(observer, request, next, request_id).instrument(span).await
}

async fn serve_request<B: MessageBody + 'static>(
    observer: Data<RequestObserver>,
    request: ServiceRequest,
    next: Next<B>,
    request_id: RequestId,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let method: String = request.method().as_str().chars().take(METHOD_CHARS_MAX).collect();
    let started = observer.clock.monotonic();
    let limit = match request.path() {
        functions::RECONCILE => TICK_DEADLINE,
        bulk::PATH => BULK_DEADLINE,
        _ => REQUEST_DEADLINE,
    };
    let run = AssertUnwindSafe(async move { next.call(request).await }).catch_unwind();
    let outcome = match timeout(limit, run).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            log_event!(Panicked, method, "a request panicked");
            return Err(HttpError::Internal { request: request_id }.into());
        }
        Err(_) => {
            log_event!(RequestTimedOut, method, "a request took too long and was given up");
            return Err(HttpError::TooLate { request: request_id }.into());
        }
    };
    let response = outcome?;
    let rejection = rejection(&response);
    let response = finish_response(response, request_id);
    let now = observer.clock.monotonic();
    rejection.iter().for_each(|rejection| observer.rejections.count(*rejection));
    observer.rejections.log(now);
    let duration_ms = now.saturating_sub(started).as_millis() as u64;
    let route = response.request().match_pattern();
    let status = response.status().as_u16();
    match route.as_deref() {
        _ if rejection.is_some() => tracing::debug!(method, route, status, duration_ms, "request refused"),
        Some("/" | "/healthz") => tracing::debug!(method, route, status, duration_ms, "request answered"),
        _ => log_event!(RequestAnswered, method, route, status, duration_ms, "request answered"),
    }
    Ok(response)
}

/// Whether the caller was not known. What is logged of that is a number.
fn rejection<B>(response: &ServiceResponse<B>) -> Option<RejectedRequest> {
    match response.response().error()?.as_error()? {
        HttpError::Unauthorized => Some(RejectedRequest::Unauthorized),
        HttpError::TokensUnavailable { .. } => Some(RejectedRequest::Undecided),
        _ => None,
    }
}

/// Logs a bug, or that storage is busy or away, once and with the whole chain; hides a bug; gives the framework's own errors a
/// SCIM body; names the request in the header and in the detail of an error.
fn finish_response<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    request: RequestId,
) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else {
        let mut response = response.map_into_boxed_body();
        respond::name_request(response.headers_mut(), request);
        return response;
    };
    let answer = match error.as_error::<HttpError>() {
        Some(bug) if bug.is_bug() => {
            log_event!(RequestFailed, error = %ErrorChain(bug), "a request failed");
            HttpError::Internal { request }.response_in(request)
        }
        Some(error) => {
            if error.is_unavailable() {
                log_event!(RequestDeferred, error = %ErrorChain(error), "a request cannot be carried out now");
            }
            error.response_in(request)
        }
        None => HttpError::of_framework(response.status()).response_in(request),
    };
    response.into_response(answer)
}

/// The trace id of a well-formed `traceparent` (W3C Trace Context): `{version}-{32 hex}-{16 hex}-{flags}`, not all zeros.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.splitn(4, '-');
    let version = parts.next()?;
    let trace = parts.next()?;
    let parent = parts.next()?;
    let flags = parts.next()?;
    let ends_here = flags.len() == 2 || (version != "00" && flags.get(2..3) == Some("-"));
    let sound = is_hex(version, 2) && version != "ff" && is_hex(trace, 32) && is_hex(parent, 16);
    let named = trace.bytes().any(|b| b != b'0') && parent.bytes().any(|b| b != b'0');
    (ends_here && sound && named && is_hex(flags.get(..2)?, 2)).then_some(trace)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::auth::authenticate;
    use crate::service::ScimCaller;
    use crate::service::tokens::{BearerTokens, TokenSet};
    use actix_web::http::header::{HeaderName, HeaderValue};
    use actix_web::middleware::from_fn;
    use actix_web::{App, test, web};
    use std::sync::Mutex;

    #[track_caller]
    fn check(traceparent: &str, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("traceparent"), HeaderValue::from_str(traceparent).unwrap());
        assert_eq!(trace_id(&headers), expected, "{traceparent}");
    }

    #[::core::prelude::v1::test]
    fn only_a_well_formed_traceparent_counts() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        check(&format!("00-{id}-b7ad6b7169203331-01"), Some(id));
        check(&format!("01-{id}-b7ad6b7169203331-01-more"), Some(id));
        check(&format!("00-{id}-b7ad6b7169203331-01-more"), None);
        check(&format!("ff-{id}-b7ad6b7169203331-01"), None);
        check(&format!("00-{id}-0000000000000000-01"), None);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", None);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None);
        check(&format!("00-{id}\t-b7ad6b7169203331-01"), None);
        check("", None);
    }

    struct Still;

    impl Clock for Still {
        fn now(&self) -> time::OffsetDateTime {
            time::OffsetDateTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    impl IdSource for Still {
        fn random(&self) -> uuid::Uuid {
            uuid::Uuid::from_u128(7)
        }
        fn op(&self) -> crate::id::OpId {
            crate::id::OpId::new(uuid::Uuid::nil())
        }
        fn jitter(&self) -> f64 {
            0.0
        }
    }

    fn observer() -> Data<RequestObserver> {
        Data::new(RequestObserver {
            clock: Arc::new(Still),
            ids: Arc::new(Still),
            rejections: Arc::default(),
        })
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[actix_web::test]
    async fn the_log_names_the_route_and_nothing_that_was_sent() {
        let log = Log::default();
        let sink = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || sink.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let denied = web::post().to(async || Err::<&str, _>(HttpError::no_endpoint()));
        let app = App::new().app_data(observer()).route("/x/{id}", denied).wrap(from_fn(observe));
        let app = test::init_service(app).await;
        let request = test::TestRequest::post()
            .uri("/x/canary-path?filter=canary-query")
            .insert_header(("authorization", "Bearer canary-token"))
            .insert_header(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
            .set_payload("canary-body")
            .to_request();
        assert_eq!(test::call_service(&app, request).await.status(), 404);
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("/x/{id}") && text.contains("0af7651916cd43dd8448eb211c80319c"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    /// A clock that is moved by hand.
    #[derive(Default)]
    struct Moved(std::sync::atomic::AtomicU64);

    impl Clock for Moved {
        fn now(&self) -> time::OffsetDateTime {
            time::OffsetDateTime::UNIX_EPOCH
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(std::sync::atomic::Ordering::Relaxed))
        }
    }

    #[actix_web::test]
    async fn a_flood_of_refused_callers_is_one_line_a_minute_with_its_number() {
        let log = Log::default();
        let sink = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || sink.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let clock = Arc::new(Moved::default());
        let rejections = Arc::new(RejectionLog::default());
        let denied = || web::get().to(async || Err::<&str, _>(HttpError::Unauthorized));
        let undecided = || {
            web::get()
                .to(async || Err::<&str, _>(HttpError::TokensUnavailable { retry_after: Duration::ZERO }))
        };
        // Two workers of one process.
        let mut apps = Vec::new();
        for _ in 0..2 {
            let observer = RequestObserver {
                clock: clock.clone(),
                ids: Arc::new(Still),
                rejections: rejections.clone(),
            };
            let app = App::new().app_data(Data::new(observer)).route("/denied", denied());
            let app = app.route("/undecided", undecided());
            apps.push(test::init_service(app.wrap(from_fn(observe))).await);
        }
        let ask = async |path: &str, times: usize| {
            for time in 0..times {
                let request = test::TestRequest::get().uri(path).to_request();
                test::call_service(&apps[time % 2], request).await;
            }
        };
        ask("/denied", 1001).await;
        ask("/undecided", 501).await;
        clock.0.store(60, std::sync::atomic::Ordering::Relaxed);
        // Whatever comes next says how many there were.
        ask("/nothing", 1).await;
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let counts: Vec<&str> =
            text.split("\"count\":").skip(1).map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(counts, ["1", "1", "1000", "500"], "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[actix_web::test]
    async fn of_an_unknown_method_only_the_beginning_is_logged() {
        let log = Log::default();
        let sink = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || sink.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let app = App::new().app_data(observer()).wrap(from_fn(observe));
        let app = test::init_service(app).await;
        let method = actix_web::http::Method::from_bytes("M".repeat(100_000).as_bytes()).unwrap();
        test::call_service(&app, test::TestRequest::with_uri("/x").method(method).to_request()).await;
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains(&format!("\"{}\"", "M".repeat(16))) && text.len() < 1_000, "{}", text.len());
    }

    #[actix_web::test]
    async fn a_caller_is_known_by_the_label_of_its_token() {
        let token = "abcdefghijklmnopqrstuvwxyz0123456789";
        let tokens = TokenSet::new([("okta".to_owned(), token.to_owned().into())]).unwrap();
        let tokens = BearerTokens::fixed(tokens, Arc::new(Still));
        let who = web::get().to(async |caller: web::ReqData<ScimCaller>| caller.token_label.clone());
        let app = App::new()
            .app_data(observer())
            .app_data(Data::new(tokens))
            .route("/who", who)
            .wrap(from_fn(authenticate))
            .wrap(from_fn(observe));
        let app = test::init_service(app).await;
        let request = test::TestRequest::get()
            .uri("/who")
            .insert_header(("authorization", format!("Bearer {token}")))
            .insert_header(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
            .to_request();
        let body = test::call_and_read_body(&app, request).await;
        assert_eq!(body, "okta");
    }

    #[actix_web::test]
    async fn a_request_that_takes_too_long_is_given_up_and_may_be_tried_again() {
        let hangs = web::get().to(async || -> &'static str { std::future::pending().await });
        let app = App::new().app_data(observer()).route("/hangs", hangs).wrap(from_fn(observe));
        let app = test::init_service(app).await;
        tokio::time::pause();
        let request = test::TestRequest::get().uri("/hangs").to_request();
        let error = test::try_call_service(&app, request).await.unwrap_err();
        let response = error.error_response();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
    }

    #[actix_web::test]
    async fn a_panic_is_a_500_with_an_id_and_nothing_else() {
        let panics = web::get().to(async || -> &'static str { panic!("canary") });
        let app = App::new().app_data(observer()).route("/boom", panics).wrap(from_fn(observe));
        let app = test::init_service(app).await;
        for _ in 0..2 {
            let request = test::TestRequest::get().uri("/boom").to_request();
            let error = test::try_call_service(&app, request).await.unwrap_err();
            let response = error.error_response();
            assert_eq!(response.status(), 500);
            let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            assert!(
                body.contains("00000000-0000-0000-0000-000000000000") && !body.contains("canary"),
                "{body}"
            );
        }
    }
}
