//! Bodies on their way through: counted, limited, and watched for silence.

use super::record::OpenCall;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body whose length is not said, so that it is sent in chunks.
pub struct Chunked(pub Full<Bytes>);

impl HttpBody for Chunked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(context).map_err(|never| match never {})
    }
}

/// When bytes last moved in either direction.
#[derive(Clone)]
pub struct Activity {
    last: Arc<Mutex<Instant>>,
    limit: Duration,
}

impl Activity {
    pub fn new(limit: Duration) -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())), limit }
    }

    fn touch(&self) {
        *self.lock() = Instant::now();
    }

    /// Ends when nothing has moved for the limit.
    pub async fn silence(self) {
        loop {
            let quiet = self.lock().elapsed();
            match self.limit.checked_sub(quiet) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's body. It can be offered to several attempts, but read only once.
#[derive(Clone)]
pub struct Upload(Arc<Mutex<UploadState>>);

struct UploadState {
    incoming: Incoming,
    activity: Activity,
    read: bool,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the body is longer than the host allows")]
pub struct TooLong;

impl Upload {
    pub fn new(incoming: Incoming, activity: Activity, bytes_max: u64) -> Self {
        Self(Arc::new(Mutex::new(UploadState { incoming, activity, read: false, bytes: 0, bytes_max })))
    }

    pub fn has_body(&self) -> bool {
        !self.lock().incoming.is_end_stream()
    }

    /// Whether an attempt has begun to send it, after which it cannot be sent again.
    pub fn was_read(&self) -> bool {
        self.lock().read
    }

    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    pub fn is_too_long(&self) -> bool {
        let state = self.lock();
        state.bytes > state.bytes_max
    }

    /// The body for one attempt.
    pub fn offer(&self) -> Body {
        self.clone().boxed_unsync()
    }

    fn lock(&self) -> MutexGuard<'_, UploadState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.lock();
        state.read = true;
        let frame = std::task::ready!(Pin::new(&mut state.incoming).poll_frame(context));
        state.activity.touch();
        let length =
            frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref).map(Bytes::len);
        state.bytes += length.unwrap_or_default() as u64;
        if state.bytes > state.bytes_max {
            return Poll::Ready(Some(Err(TooLong.into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.lock().incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().incoming.size_hint()
    }
}

/// The handler's body on its way to the client. The call is recorded just before its last byte leaves, so a client that has
/// read the answer finds the call recorded.
pub struct Download<K> {
    incoming: Incoming,
    call: OpenCall,
    activity: Activity,
    silence: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Lives as long as the answer.
    _kept: K,
}

#[derive(Debug, thiserror::Error)]
#[error("nothing moved for too long")]
struct Silence;

impl<K: Send + Unpin + 'static> Download<K> {
    pub fn body(incoming: Incoming, mut call: OpenCall, activity: Activity, kept: K) -> Body {
        if incoming.is_end_stream() {
            call.finish(true);
        }
        let silence = Box::pin(activity.clone().silence());
        Self { incoming, call, activity, silence, _kept: kept }.boxed_unsync()
    }
}

impl<K: Send + Unpin> HttpBody for Download<K> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Pending => match self.silence.as_mut().poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    self.call.finish(false);
                    Poll::Ready(Some(Err(Silence.into())))
                }
            },
            Poll::Ready(None) => {
                self.call.finish(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.call.finish(false);
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.activity.touch();
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.call.change(|call| call.response_bytes += length);
                if self.incoming.is_end_stream() {
                    self.call.finish(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
