//! A response that is sent before the request body was read closes the connection, but not at once: the body is drained first,
//! up to a bound of time and bytes. A client that is still sending would otherwise find a reset connection instead of the
//! response; the Functions host turns that into 502.

use super::connection::{ConnectionHandle, PipelinePosition};
use super::error::HttpError;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use futures_util::{Stream, StreamExt};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep, timeout};

/// How long the body is drained before the response. If it ends within this time, the connection stays open.
const DRAIN_BEFORE_RESPONSE: Duration = Duration::from_millis(50);
/// How long the body is drained after the response.
const DRAIN_AFTER_RESPONSE: Duration = Duration::from_secs(5);
/// Bytes of a body that are read in all.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Runs a request, then drains what was not read of its body.
pub(super) async fn drain_unread_body<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let handle = request.conn_data::<ConnectionHandle>().cloned();
    let unread = UnreadBody::of(&mut request, handle.clone());
    let position = handle
        .as_ref()
        .map_or(PipelinePosition::Sequential, |handle| handle.request_started(unread.is_some()));
    if position != PipelinePosition::Sequential && request.method() == Method::HEAD {
        // The framework wrote the response before this one without its body: it keeps one flag for the requests that it has parsed.
        // What would follow would be taken for that body.
        handle.iter().for_each(ConnectionHandle::abort);
    }
    let rest = Leftover { unread, _guard: handle.map(RequestGuard) };
    if position == PipelinePosition::AfterClose {
        let refused = request.error_response(HttpError::ConnectionClosing);
        return Ok(rest.drain_after(refused.map_into_boxed_body(), true));
    }
    let closes = position == PipelinePosition::Pipelined;
    match next.call(request).await {
        Ok(response) => {
            let closes = closes || !rest.drain_before().await;
            Ok(rest.drain_after(response.map_into_boxed_body(), closes))
        }
        Err(error) => Err(FailedRequest { error, rest: Cell::new(Some(rest)) }.into()),
    }
}

/// Ends the request on its connection when it is dropped together with the response body.
struct RequestGuard(ConnectionHandle);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.response_sent();
    }
}

/// A request body that the endpoint and the drain read from in turn.
#[derive(Clone)]
struct UnreadBody(Rc<RefCell<UnreadState>>);

struct UnreadState {
    payload: Payload,
    /// Bytes read so far.
    bytes: usize,
    has_ended: bool,
    handle: Option<ConnectionHandle>,
}

impl UnreadBody {
    /// Wraps the body of a request; nothing where it has none.
    fn of(request: &mut ServiceRequest, handle: Option<ConnectionHandle>) -> Option<Self> {
        let payload = match request.take_payload() {
            Payload::None => return None,
            payload => payload,
        };
        let unread = Self(Rc::new(RefCell::new(UnreadState { payload, bytes: 0, has_ended: false, handle })));
        request.set_payload(Payload::Stream { payload: Box::pin(unread.clone()) });
        Some(unread)
    }

    fn has_ended(&self) -> bool {
        self.0.borrow().has_ended
    }

    /// Reads and drops what is left. False where the body exceeds the bound.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.0.borrow().bytes <= DRAIN_BYTES_MAX {
            if !matches!(ready!(self.poll_next_unpin(cx)), Some(Ok(_))) {
                return Poll::Ready(true);
            }
        }
        Poll::Ready(false)
    }
}

impl Stream for UnreadBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut arriving = self.0.borrow_mut();
        if arriving.has_ended {
            return Poll::Ready(None);
        }
        let chunk = ready!(Pin::new(&mut arriving.payload).poll_next(cx));
        match &chunk {
            Some(Ok(bytes)) => arriving.bytes += bytes.len(),
            _ => {
                arriving.has_ended = true;
                arriving.handle.iter().for_each(ConnectionHandle::body_received);
            }
        }
        Poll::Ready(chunk)
    }
}

/// What outlives the endpoint of a request.
struct Leftover {
    unread: Option<UnreadBody>,
    _guard: Option<RequestGuard>,
}

impl Leftover {
    /// Drains before the response: whether the body has ended.
    async fn drain_before(&self) -> bool {
        let Some(mut unread) = self.unread.clone().filter(|unread| !unread.has_ended()) else { return true };
        let end = poll_fn(|cx| unread.poll_drain(cx));
        timeout(DRAIN_BEFORE_RESPONSE, end).await.unwrap_or(false)
    }

    /// Drains the rest of the body after the response.
    fn drain_after<B: MessageBody + 'static>(
        self,
        mut response: ServiceResponse<B>,
        closes: bool,
    ) -> ServiceResponse<BoxBody> {
        if closes {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        response.map_body(|_, body| DrainingBody::new(body.boxed(), self).boxed())
    }
}

/// A response body that ends once the request body was drained. Its length is that of the response alone.
struct DrainingBody {
    response: Option<BoxBody>,
    size: BodySize,
    rest: Leftover,
    until: Option<Pin<Box<Sleep>>>,
}

impl DrainingBody {
    fn new(response: BoxBody, rest: Leftover) -> Self {
        Self { size: response.size(), response: Some(response), rest, until: None }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(unread) = self.rest.unread.as_mut().filter(|unread| !unread.has_ended()) else {
            return Poll::Ready(());
        };
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(DRAIN_AFTER_RESPONSE)));
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        unread.poll_drain(cx).map(|_| ())
    }
}

impl MessageBody for DrainingBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if let Some(response) = &mut self.response {
            if let Some(chunk) = ready!(Pin::new(response).poll_next(cx)) {
                return Poll::Ready(Some(chunk));
            }
            self.response = None;
        }
        ready!(self.poll_drain(cx));
        Poll::Ready(None)
    }
}

/// An error that the framework turns into a response, with the body to drain after it.
struct FailedRequest {
    error: Error,
    rest: Cell<Option<Leftover>>,
}

impl fmt::Debug for FailedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl fmt::Display for FailedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl ResponseError for FailedRequest {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.as_response_error().error_response();
        let Some(rest) = self.rest.take() else { return response };
        response.head_mut().set_connection_type(ConnectionType::Close);
        response.map_body(|_, body| DrainingBody::new(body, rest).boxed())
    }
}
