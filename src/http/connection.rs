//! A connection that cannot be held for nothing: whatever its client owes has a deadline, and what it sends unasked is not
//! read.
//!
//! The web framework has a deadline for the head of the first request and for idle connections. It has none for later heads,
//! for answers that are not read, and for a connection as a whole; and it spins where more arrives than it has a use for.

use super::KEEP_ALIVE;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// From the first byte of a head to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a request. The framework closes an idle connection before; this is for those that it takes for busy.
const IDLE_TIMEOUT: Duration = KEEP_ALIVE.saturating_add(Duration::from_secs(5));
/// From the moment that an answer cannot be written on until the client has read it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// One request with its answer. The longest is a tick of the host's timer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes that may arrive without a request: more than any head has.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Bytes that are read before what they are is looked at: half of what the framework buffers before it spins.
const TURN_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one read. The framework offers a buffer as large as anything that was ever in it.
const READ_BYTES_MAX: usize = 16 * 1024;

/// How a request comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// After the answer to the one before it.
    Alone,
    /// Sent before the one before it was answered. It is the last one.
    Last,
    /// Behind the last one.
    TooLate,
}

/// What goes on on a connection, as its requests tell.
#[derive(Clone)]
pub(super) struct Progress(Rc<State>);

struct State {
    under_way: Cell<bool>,
    /// Whether what arrives now is of use: a head, or a body that has not ended.
    reads: Cell<bool>,
    /// When the request under way began, or the time without one.
    since: Cell<Instant>,
    /// When the first byte of a head arrived.
    head_since: Cell<Option<Instant>>,
    /// Bytes that arrived since the last request.
    head_bytes: Cell<usize>,
    /// How often something arrived: in all, and until the last request began.
    arrivals: Cell<u64>,
    arrivals_before: Cell<Option<u64>>,
    is_closing: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

impl Progress {
    fn new() -> Self {
        Self(Rc::new(State {
            under_way: Cell::new(false),
            reads: Cell::new(true),
            since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            head_bytes: Cell::new(0),
            arrivals: Cell::new(0),
            arrivals_before: Cell::new(None),
            is_closing: Cell::new(false),
            task: RefCell::new(None),
        }))
    }

    /// A request begins. Nothing is read while it is under way, unless it has a body.
    pub fn begin(&self, has_body: bool) -> Turn {
        let state = &self.0;
        state.under_way.set(true);
        state.reads.set(has_body);
        state.since.set(Instant::now());
        state.head_since.set(None);
        state.head_bytes.set(0);
        let before = state.arrivals_before.replace(Some(state.arrivals.get()));
        let is_alone = before.is_none_or(|before| before < state.arrivals.get());
        match (state.is_closing.get(), is_alone) {
            (true, _) => Turn::TooLate,
            (false, true) => Turn::Alone,
            (false, false) => {
                state.is_closing.set(true);
                Turn::Last
            }
        }
    }

    /// The body has arrived.
    pub fn body_ended(&self) {
        self.0.reads.set(false);
    }

    /// The answer is on its way.
    pub fn end(&self) {
        self.0.under_way.set(false);
        self.0.reads.set(true);
        self.0.since.set(Instant::now());
        if let Some(task) = self.0.task.take() {
            task.wake();
        }
    }

    /// Takes note of bytes. An error where they cannot be a head any more.
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

    /// When what the client owes is overdue.
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

/// The stream under the web framework.
pub(super) struct Connection {
    io: TcpStream,
    progress: Progress,
    /// Bytes that were read since the framework was last made to look at them.
    turn_bytes: usize,
    /// Since when an answer cannot be written on.
    unwritten_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    pub fn new(io: TcpStream) -> Self {
        let progress = Progress::new();
        let timer = Box::pin(sleep_until(progress.deadline()));
        Self { io, progress, turn_bytes: 0, unwritten_since: None, timer }
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// An error once the client is overdue; the task is woken then.
    fn check_deadline(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let deadline = self.progress.deadline();
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

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_deadline(cx)?;
        self.progress.remember(cx);
        if !self.progress.0.reads.get() {
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
            self.progress.arrived(bytes)?;
            self.check_deadline(cx)?;
        }
        if read.is_pending() {
            self.turn_bytes = 0;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_deadline(cx)?;
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if written.is_pending() && self.unwritten_since.is_none() {
            self.unwritten_since = Some(Instant::now());
            self.check_deadline(cx)?;
        }
        written
    }

    /// The framework flushes when everything is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unwritten_since = None;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
