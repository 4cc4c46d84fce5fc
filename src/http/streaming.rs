//! Lists on their way out. A short one is one piece; a long one is sent while it is read, and held nowhere.
//!
//! An error before the first bytes is an answer like any other. After them the connection is cut off, so that a page that is
//! not whole never looks like one that is.

use super::error::HttpError;
use crate::error_chain::ErrorChain;
use crate::scim::ListText;
use crate::service::{ResourceListing, ResourceStream, ServiceError};
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

/// A list as text.
pub enum ListBody<S> {
    Whole(String),
    Streamed(S),
}

/// Reads the beginning of a list, or all of it.
pub async fn body(
    listing: ResourceListing,
    start_index: usize,
) -> Result<ListBody<impl Stream<Item = Result<Bytes, HttpError>>>, HttpError> {
    let (text, mut begun) = ListText::open_list(listing.total, start_index);
    let mut rest = Rest { resources: listing.resources, text: Some(text) };
    while begun.len() < WHOLE_BYTES_MAX {
        match rest.next().await? {
            Some(piece) => begun.push_str(&piece),
            None => return Ok(ListBody::Whole(begun)),
        }
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(begun, rest, sender).instrument(tracing::Span::current()));
    Ok(ListBody::Streamed(chunks(receiver)))
}

/// What of a list is not read yet.
struct Rest {
    resources: ResourceStream,
    text: Option<ListText>,
}

impl Rest {
    async fn next(&mut self) -> Result<Option<String>, ServiceError> {
        let Some(text) = &mut self.text else { return Ok(None) };
        Ok(match self.resources.next().await? {
            Some(resource) => Some(text.separator().to_owned() + &resource),
            None => self.text.take().map(ListText::end),
        })
    }
}

/// What goes from the reading task to the connection.
enum Chunk {
    Bytes(Bytes),
    End,
}

/// Why an answer ends in the middle.
enum Cut {
    Failed(ServiceError),
    /// The client reads nothing.
    Stalled,
    /// The client has gone away.
    Closed,
}

async fn send(begun: String, mut rest: Rest, sender: mpsc::Sender<Chunk>) {
    match send_all(begun, &mut rest, &sender).await {
        Ok(()) | Err(Cut::Closed) => {}
        Err(Cut::Stalled) => tracing::warn!("a list is cut off: the client does not read it"),
        Err(Cut::Failed(error)) => {
            tracing::error!(error = %ErrorChain(&error), "a list is cut off: it cannot be read to its end")
        }
    }
}

async fn send_all(begun: String, rest: &mut Rest, sender: &mpsc::Sender<Chunk>) -> Result<(), Cut> {
    let mut piece = Some(begun);
    while let Some(text) = piece {
        let mut bytes = Bytes::from(text);
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
            hand_over(sender, Chunk::Bytes(chunk)).await?;
        }
        piece = rest.next().await.map_err(Cut::Failed)?;
    }
    hand_over(sender, Chunk::End).await
}

async fn hand_over(sender: &mpsc::Sender<Chunk>, chunk: Chunk) -> Result<(), Cut> {
    match timeout(STALL_MAX, sender.send(chunk)).await {
        Ok(sent) => sent.map_err(|_| Cut::Closed),
        Err(_) => Err(Cut::Stalled),
    }
}

/// The chunks; an error where they end without an end.
fn chunks(receiver: mpsc::Receiver<Chunk>) -> impl Stream<Item = Result<Bytes, HttpError>> {
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Chunk::Bytes(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(Chunk::End) => None,
            None => Some((Err(HttpError::TooLate), None)),
        }
    })
}
