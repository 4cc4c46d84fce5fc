//! The answer to a query: how many resources match, and those of the page one after the other.
//!
//! A task reads the page while the caller sends it, and is never more than one resource ahead: a page is never held whole.
//! Dropping the listing ends the task.

use crate::scim::PageCursors;
use crate::service::ServiceError;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Instrument;

/// How long the reading of one page may go on, the caller's sending included.
const READING_MAX: Duration = Duration::from_secs(230);
/// `Retry-After` of the answer where the reading ended before its time.
const CUT_OFF_RETRY: Duration = Duration::from_secs(5);

/// One page of resources.
pub struct ResourceListing {
    /// All matches, on this page or not.
    pub total: usize,
    pub resources: ResourceStream,
}

/// The resources of a page, each as JSON text that shows what the query asked for.
pub struct ResourceStream {
    pieces: Option<mpsc::Receiver<StreamPiece>>,
    cursors: PageCursors,
}

enum StreamPiece {
    Total(usize),
    Resource(String),
    Failed(ServiceError),
    End(PageCursors),
}

/// Where a page is read into.
pub(super) struct ResourceSink(mpsc::Sender<StreamPiece>);

/// Why reading ends early.
pub(super) enum StreamStop {
    /// The caller has gone away.
    CallerGone,
    Failed(ServiceError),
}

impl<E: Into<ServiceError>> From<E> for StreamStop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl ResourceSink {
    /// How many resources match; before the first of them.
    pub async fn total(&self, total: usize) -> Result<(), StreamStop> {
        self.send(StreamPiece::Total(total)).await
    }

    pub async fn resource(&self, text: String) -> Result<(), StreamStop> {
        self.send(StreamPiece::Resource(text)).await
    }

    async fn send(&self, piece: StreamPiece) -> Result<(), StreamStop> {
        self.0.send(piece).await.map_err(|_| StreamStop::CallerGone)
    }

    /// An error once the caller has gone away.
    pub fn check(&self) -> Result<(), StreamStop> {
        if self.0.is_closed() { Err(StreamStop::CallerGone) } else { Ok(()) }
    }
}

impl ResourceListing {
    /// Starts `read` as a task, and waits until it has said how many resources there are.
    pub(super) async fn of<R, F>(read: R) -> Result<Self, ServiceError>
    where
        R: FnOnce(ResourceSink) -> F,
        F: Future<Output = Result<PageCursors, StreamStop>> + Send + 'static,
    {
        let (sender, mut receiver) = mpsc::channel(1);
        let failures = sender.clone();
        let reading = read(ResourceSink(sender));
        let task = async move {
            let last = match tokio::time::timeout(READING_MAX, reading).await {
                Ok(Ok(cursors)) => StreamPiece::End(cursors),
                Ok(Err(StreamStop::Failed(error))) => StreamPiece::Failed(error),
                Ok(Err(StreamStop::CallerGone)) | Err(_) => return,
            };
            // A caller who has gone away needs no end.
            let _ = failures.send(last).await;
        };
        tokio::spawn(task.instrument(tracing::Span::current()));
        match receiver.recv().await {
            Some(StreamPiece::Total(total)) => {
                let resources = ResourceStream { pieces: Some(receiver), cursors: PageCursors::default() };
                Ok(Self { total, resources })
            }
            Some(StreamPiece::Failed(error)) => Err(error),
            _ => Err(cut_off()),
        }
    }
}

impl ResourceStream {
    /// The next resource; `None` after the last. An error is the end, and the page is not whole.
    pub async fn next(&mut self) -> Result<Option<String>, ServiceError> {
        let Some(receiver) = &mut self.pieces else { return Ok(None) };
        let outcome = match receiver.recv().await {
            Some(StreamPiece::Resource(text)) => return Ok(Some(text)),
            Some(StreamPiece::End(cursors)) => {
                self.cursors = cursors;
                Ok(None)
            }
            Some(StreamPiece::Failed(error)) => Err(error),
            Some(StreamPiece::Total(_)) | None => Err(cut_off()),
        };
        self.pieces = None;
        outcome
    }

    /// What leads to the pages beside this one, after the last resource.
    pub const fn cursors(&self) -> &PageCursors {
        &self.cursors
    }
}

/// The task has ended without an end: it took too long, or panicked.
fn cut_off() -> ServiceError {
    ServiceError::Busy { retry_after: CUT_OFF_RETRY, source: None }
}
