//! What surrounds a request on its connection. An answer that comes before the body was read ends the connection, but not at
//! once: the body is read and dropped for a bounded time first. Else a client that is still sending finds a broken
//! connection and no answer; the Functions host makes 502 of a 401.

use super::connection::{Progress, Turn};
use super::error::HttpError;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{ConnectionType, StatusCode};
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
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// How long the rest of a body is read before the answer: one that has arrived by then costs nobody the connection.
const BEFORE_ANSWER: Duration = Duration::from_millis(50);
/// How long it is read after the answer, and how much of it in all.
const AFTER_ANSWER: Duration = Duration::from_secs(5);
const REST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Runs a request and takes care of what it leaves on its connection.
pub async fn attend<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let progress = request.conn_data::<Progress>().cloned();
    let unread = Unread::of(&mut request, progress.clone());
    let turn = progress.as_ref().map_or(Turn::Alone, |progress| progress.begin(unread.is_some()));
    let rest = Rest { unread, _under_way: progress.map(UnderWay) };
    if turn == Turn::TooLate {
        let refused = request.error_response(HttpError::plain(503, None, "the connection is closing"));
        return Ok(rest.follow(refused.map_into_boxed_body(), true));
    }
    let closes = turn == Turn::Last;
    match next.call(request).await {
        Ok(response) => {
            let closes = closes || !rest.ends_soon().await;
            Ok(rest.follow(response.map_into_boxed_body(), closes))
        }
        Err(error) => Err(Unanswered { error, rest: Cell::new(Some(rest)) }.into()),
    }
}

/// Tells when the answer has left.
struct UnderWay(Progress);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A body, as far as nobody has read it. The request reads from the same.
#[derive(Clone)]
struct Unread(Rc<RefCell<Arriving>>);

struct Arriving {
    payload: Payload,
    /// Bytes that were read of it.
    bytes: usize,
    has_ended: bool,
    progress: Option<Progress>,
}

impl Unread {
    /// Puts itself between the request and its body.
    fn of(request: &mut ServiceRequest, progress: Option<Progress>) -> Option<Self> {
        let payload = match request.take_payload() {
            Payload::None => return None,
            payload => payload,
        };
        let unread = Self(Rc::new(RefCell::new(Arriving { payload, bytes: 0, has_ended: false, progress })));
        request.set_payload(Payload::Stream { payload: Box::pin(unread.clone()) });
        Some(unread)
    }

    fn has_ended(&self) -> bool {
        self.0.borrow().has_ended
    }

    /// Reads and drops the rest: whether it ended, and not at the bound.
    fn poll_rest(&mut self, cx: &mut Context<'_>, bytes_max: usize) -> Poll<bool> {
        while self.0.borrow().bytes <= bytes_max {
            if !matches!(ready!(self.poll_next_unpin(cx)), Some(Ok(_))) {
                return Poll::Ready(true);
            }
        }
        Poll::Ready(false)
    }
}

impl Stream for Unread {
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
                arriving.progress.iter().for_each(Progress::body_ended);
            }
        }
        Poll::Ready(chunk)
    }
}

/// What is left of a request when its answer is there.
struct Rest {
    unread: Option<Unread>,
    _under_way: Option<UnderWay>,
}

impl Rest {
    /// Whether the body ends within a moment.
    async fn ends_soon(&self) -> bool {
        let Some(mut unread) = self.unread.clone().filter(|unread| !unread.has_ended()) else { return true };
        let end = poll_fn(|cx| unread.poll_rest(cx, REST_BYTES_MAX));
        timeout(BEFORE_ANSWER, end).await.unwrap_or(false)
    }

    /// Lets the rest of the body follow the answer.
    fn follow<B: MessageBody + 'static>(
        self,
        mut response: ServiceResponse<B>,
        closes: bool,
    ) -> ServiceResponse<BoxBody> {
        if closes {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        response.map_body(|_, body| Tail::new(body.boxed(), self).boxed())
    }
}

/// An answer, and behind it the rest of the request's body, which is dropped.
struct Tail {
    answer: Option<BoxBody>,
    size: BodySize,
    rest: Rest,
    until: Option<Pin<Box<Sleep>>>,
}

impl Tail {
    fn new(answer: BoxBody, rest: Rest) -> Self {
        Self { size: answer.size(), answer: Some(answer), rest, until: None }
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(unread) = self.rest.unread.as_mut().filter(|unread| !unread.has_ended()) else {
            return Poll::Ready(());
        };
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + AFTER_ANSWER)));
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        unread.poll_rest(cx, REST_BYTES_MAX).map(|_| ())
    }
}

impl MessageBody for Tail {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if let Some(answer) = &mut self.answer {
            if let Some(chunk) = ready!(Pin::new(answer).poll_next(cx)) {
                return Poll::Ready(Some(chunk));
            }
            self.answer = None;
        }
        ready!(self.poll_rest(cx));
        Poll::Ready(None)
    }
}

/// An error that the framework turns into an answer, with what has to follow it.
struct Unanswered {
    error: Error,
    rest: Cell<Option<Rest>>,
}

impl fmt::Debug for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl ResponseError for Unanswered {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.as_response_error().error_response();
        let Some(rest) = self.rest.take() else { return response };
        response.head_mut().set_connection_type(ConnectionType::Close);
        response.map_body(|_, body| Tail::new(body, rest).boxed())
    }
}
