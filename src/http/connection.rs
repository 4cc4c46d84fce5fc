//! The byte stream under the web framework, with a deadline for everything that the client has to do.
//!
//! The framework has timeouts for the first request head and for idle connections. It has none for later heads, for responses
//! that the client does not read, or for a request as a whole, and it busy-polls while its read buffer is full and no request
//! consumes it. So nothing is read here while a request without a body is being served, and a pipelined request is the last
//! one of its connection.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long an idle connection stays open: longer than the Functions host and most proxies keep theirs.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// From the first byte of a head to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a request. The framework closes idle connections earlier; this is for those that it takes for busy.
const IDLE_TIMEOUT: Duration = KEEP_ALIVE.saturating_add(Duration::from_secs(5));
/// From the first blocked write of a response until all of it is written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A request with its response. The longest is a tick of the host's timer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes read between two requests: more than any request head has.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Bytes read before the framework parses them: half of its read buffer.
const TURN_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one read. The buffer that the framework offers has no bound.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Whether a request was sent before the response to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PipelinePosition {
    /// After that response.
    Sequential,
    /// Before it. The connection closes after this request.
    Pipelined,
    /// After the last request of a connection that closes. It must not be served.
    AfterClose,
}

/// The state of a connection, shared with the requests on it.
#[derive(Clone)]
pub(super) struct ConnectionHandle(Rc<ConnectionState>);

struct ConnectionState {
    under_way: Cell<bool>,
    /// Whether the socket is read: for a request head, or for a body that has not ended.
    reads: Cell<bool>,
    /// When the request under way began, or the last one ended.
    since: Cell<Instant>,
    /// When the first byte of a head arrived.
    head_since: Cell<Option<Instant>>,
    /// Bytes read since the last request.
    head_bytes: Cell<usize>,
    /// Reads that returned bytes: in all, and before the last response was sent.
    arrivals: Cell<u64>,
    arrivals_before: Cell<Option<u64>>,
    is_closing: Cell<bool>,
    /// Nothing more is written.
    is_aborted: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl ConnectionHandle {
    fn new() -> Self {
        Self(Rc::new(ConnectionState {
            under_way: Cell::new(false),
            reads: Cell::new(true),
            since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            head_bytes: Cell::new(0),
            arrivals: Cell::new(0),
            arrivals_before: Cell::new(None),
            is_closing: Cell::new(false),
            is_aborted: Cell::new(false),
            task: RefCell::new(None),
        }))
    }

    /// A request begins. The socket is not read while it is under way, unless it has a body.
    pub fn request_started(&self, has_body: bool) -> PipelinePosition {
        let state = &self.0;
        state.under_way.set(true);
        state.reads.set(has_body);
        state.since.set(Instant::now());
        state.head_since.set(None);
        state.head_bytes.set(0);
        let before = state.arrivals_before.get();
        let is_alone = before.is_none_or(|before| before < state.arrivals.get());
        match (state.is_closing.get(), is_alone) {
            (true, _) => PipelinePosition::AfterClose,
            (false, true) => PipelinePosition::Sequential,
            (false, false) => {
                state.is_closing.set(true);
                PipelinePosition::Pipelined
            }
        }
    }

    /// The request body has ended.
    pub fn body_received(&self) {
        self.0.reads.set(false);
    }

    /// The response was handed to the framework.
    pub fn response_sent(&self) {
        self.0.under_way.set(false);
        self.0.reads.set(true);
        self.0.arrivals_before.set(Some(self.0.arrivals.get()));
        self.0.since.set(Instant::now());
        if let Some(task) = self.0.task.take() {
            task.wake();
        }
    }

    /// Ends the connection before anything more is written.
    pub fn abort(&self) {
        self.0.is_aborted.set(true);
    }

    /// Counts bytes that were read. An error where they exceed any request head.
    fn arrived(&self, bytes: usize) -> io::Result<()> {
        let state = &self.0;
        state.arrivals.set(state.arrivals.get() + 1);
        if state.under_way.get() {
            return Ok(());
        }
        state.head_bytes.set(state.head_bytes.get() + bytes);
        if state.head_since.get().is_none() {
            state.head_since.set(Some(Instant::now()));
        }
        if state.head_bytes.get() > HEAD_BYTES_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }

    /// Until when the client must act.
    fn deadline(&self) -> Instant {
        let since = self.0.since.get();
        if self.0.under_way.get() {
            return since + REQUEST_TIMEOUT;
        }
        let idle = since + IDLE_TIMEOUT;
        self.0.head_since.get().map_or(idle, |head| idle.min(head + HEAD_TIMEOUT))
    }

    fn remember(&self, cx: &Context<'_>) {
        let mut task = self.0.task.borrow_mut();
        if task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }
}

/// A client connection.
pub(super) struct TimedConnection {
    io: TcpStream,
    handle: ConnectionHandle,
    /// Bytes read since the framework last parsed.
    turn_bytes: usize,
    /// When a write of the present response first blocked.
    unwritten_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl TimedConnection {
    pub fn new(io: TcpStream) -> Self {
        let handle = ConnectionHandle::new();
        let timer = Box::pin(sleep_until(handle.deadline()));
        Self { io, handle, turn_bytes: 0, unwritten_since: None, timer }
    }

    pub fn handle(&self) -> ConnectionHandle {
        self.handle.clone()
    }

    /// An error after the deadline; before it, the task is woken at the deadline.
    fn check_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let deadline = self.handle.deadline();
        let unread = self.unwritten_since.map(|since| since + WRITE_TIMEOUT);
        let deadline = unread.map_or(deadline, |unread| unread.min(deadline));
        if self.timer.deadline() != deadline {
            self.timer.as_mut().reset(deadline);
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for TimedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_deadline(cx)?;
        self.handle.remember(cx);
        if !self.handle.0.reads.get() {
            return Poll::Pending;
        }
        if self.turn_bytes >= TURN_BYTES_MAX {
            self.turn_bytes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(buffer.remaining().min(READ_BYTES_MAX)));
        let read = Pin::new(&mut self.io).poll_read(cx, &mut part);
        let bytes = part.filled().len();
        buffer.advance(bytes);
        if bytes > 0 {
            self.turn_bytes += bytes;
            self.handle.arrived(bytes)?;
            self.check_deadline(cx)?;
        }
        if read.is_pending() {
            self.turn_bytes = 0;
        }
        read
    }
}

impl AsyncWrite for TimedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_deadline(cx)?;
        if self.handle.0.is_aborted.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if written.is_pending() && self.unwritten_since.is_none() {
            self.unwritten_since = Some(Instant::now());
            self.check_deadline(cx)?;
        }
        written
    }

    /// The framework flushes when its write buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unwritten_since = None;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A connection and its client. Time is paused, and passes when nothing else is to be done.
    async fn pair() -> (TimedConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (TimedConnection::new(listener.accept().await.unwrap().0), client)
    }

    /// How long it takes until nothing is awaited of the client any more.
    async fn overdue_after(connection: &mut TimedConnection) -> Duration {
        let begun = Instant::now();
        let error = loop {
            if let Err(error) = connection.read(&mut [0; 64]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        begun.elapsed()
    }

    #[track_caller]
    fn assert_about(seen: Duration, expected: Duration) {
        assert!(seen >= expected && seen < expected + Duration::from_secs(1), "{seen:?}, not {expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_request_a_connection_ends() {
        let (mut connection, _client) = pair().await;
        assert_about(overdue_after(&mut connection).await, IDLE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_a_deadline_from_its_first_byte_on_also_after_other_requests() {
        let (mut connection, mut client) = pair().await;
        for _ in 0..2 {
            connection.handle().request_started(false);
            connection.handle().response_sent();
        }
        client.write_all(b"GET ").await.unwrap();
        assert_about(overdue_after(&mut connection).await, HEAD_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_has_a_deadline_whatever_holds_it() {
        let (mut connection, _client) = pair().await;
        connection.handle().request_started(true);
        assert_about(overdue_after(&mut connection).await, REQUEST_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_has_a_deadline() {
        let (mut connection, _client) = pair().await;
        connection.handle().request_started(false);
        let begun = Instant::now();
        let error = loop {
            if let Err(error) = connection.write_all(&[0; 65_536]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_about(begun.elapsed(), WRITE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_during_a_request_without_a_body_is_read_after_it() {
        let (mut connection, mut client) = pair().await;
        let handle = connection.handle();
        client.write_all(b"first").await.unwrap();
        assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 5);
        assert_eq!(handle.request_started(false), PipelinePosition::Sequential);
        client.write_all(b"second").await.unwrap();
        let early = tokio::time::timeout(Duration::from_secs(1), connection.read(&mut [0; 64])).await;
        assert!(early.is_err(), "{early:?}");
        handle.response_sent();
        assert_eq!(connection.read(&mut [0; 64]).await.unwrap(), 6);
        assert_eq!(handle.request_started(false), PipelinePosition::Sequential);
        handle.response_sent();
        assert_eq!(handle.request_started(false), PipelinePosition::Pipelined, "nothing has arrived since");
        assert_eq!(handle.request_started(false), PipelinePosition::AfterClose);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_any_head_ends_the_connection() {
        let (mut connection, mut client) = pair().await;
        let flood = tokio::spawn(async move { while client.write_all(&[0; 65_536]).await.is_ok() {} });
        let mut taken = 0;
        let mut buffer = vec![0; 65_536];
        let error = loop {
            match connection.read(&mut buffer).await {
                Ok(bytes) => taken += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(taken <= HEAD_BYTES_MAX, "{taken}");
        drop(connection);
        flood.await.unwrap();
    }
}
