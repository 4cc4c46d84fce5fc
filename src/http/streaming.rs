//! Lists on their way out. A short one is one piece; a long one is sent while it is read, and held nowhere.
//!
//! An error before the first bytes is an answer like any other. After them the connection is cut off, so that a page that is
//! not whole never looks like one that is.

use super::error::EndpointResult;
use super::respond;
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::scim::{ListQuery, ListText};
use crate::service::{ResourceListing, ResourceStream, ServiceError};
use actix_web::body::BodyStream;
use actix_web::web::Bytes;
use futures_util::stream::{self, Stream};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::Instrument;

/// Bytes of a list up to which it is sent whole, with its length in front.
const WHOLE_BYTES_MAX: usize = 256 * 1024;
/// Bytes that are handed to the connection at a time: no more than that waits in it for a client that does not read.
const CHUNK_BYTES_MAX: usize = 32 * 1024;
/// How long a client may take no byte before its answer is given up.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Answers with a list: whole where it is short, else streamed.
pub(super) async fn answer_list(listing: ResourceListing, query: &ListQuery) -> EndpointResult {
    let (text, mut begun) = ListText::open_list(listing.total, &query.paging);
    let mut rest = UnsentList { resources: listing.resources, text: Some(text) };
    while begun.len() < WHOLE_BYTES_MAX {
        match rest.next().await? {
            Some(piece) => begun.push_str(&piece),
            None => return Ok(respond::list(begun)),
        }
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(begun, rest, sender).instrument(tracing::Span::current()));
    Ok(respond::list(BodyStream::new(Box::pin(chunks(receiver)))))
}

/// What of a list is not read yet.
struct UnsentList {
    resources: ResourceStream,
    text: Option<ListText>,
}

impl UnsentList {
    async fn next(&mut self) -> Result<Option<String>, ServiceError> {
        let Some(text) = &mut self.text else { return Ok(None) };
        Ok(match self.resources.next().await? {
            Some(resource) => Some(text.separator().to_owned() + &resource),
            None => self.text.take().map(|text| text.end(self.resources.cursors())),
        })
    }
}

/// What goes from the reading task to the connection.
enum StreamChunk {
    Bytes(Bytes),
    End,
}

/// Why an answer ends in the middle.
enum StreamError {
    Failed(ServiceError),
    /// The client reads nothing.
    Stalled,
    /// The client has gone away.
    Closed,
}

async fn send(begun: String, mut rest: UnsentList, sender: mpsc::Sender<StreamChunk>) {
    match send_all(begun, &mut rest, &sender).await {
        Ok(()) | Err(StreamError::Closed) => {}
        Err(StreamError::Stalled) => {
            log_event!(ListNotRead, "a list is cut off: the client does not read it")
        }
        Err(StreamError::Failed(error)) => {
            log_event!(RequestFailed, error = %ErrorChain(&error), "a list is cut off: it cannot be read to its end")
        }
    }
}

async fn send_all(
    begun: String,
    rest: &mut UnsentList,
    sender: &mpsc::Sender<StreamChunk>,
) -> Result<(), StreamError> {
    let mut piece = Some(begun);
    while let Some(text) = piece {
        let mut bytes = Bytes::from(text);
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
            send_chunk(sender, StreamChunk::Bytes(chunk)).await?;
        }
        piece = rest.next().await.map_err(StreamError::Failed)?;
    }
    send_chunk(sender, StreamChunk::End).await
}

async fn send_chunk(sender: &mpsc::Sender<StreamChunk>, chunk: StreamChunk) -> Result<(), StreamError> {
    match timeout(STALL_MAX, sender.send(chunk)).await {
        Ok(sent) => sent.map_err(|_| StreamError::Closed),
        Err(_) => Err(StreamError::Stalled),
    }
}

/// The list ends before its end: the connection is closed, so that the client sees it.
#[derive(Debug, thiserror::Error)]
#[error("the list is cut off")]
struct ListCutOff;

/// The chunks; an error where they end without an end.
fn chunks(receiver: mpsc::Receiver<StreamChunk>) -> impl Stream<Item = Result<Bytes, ListCutOff>> {
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(StreamChunk::Bytes(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(StreamChunk::End) => None,
            None => Some((Err(ListCutOff), None)),
        }
    })
}
