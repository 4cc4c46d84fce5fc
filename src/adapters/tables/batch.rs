//! A transaction as the multipart body of `$batch`, and its answer.
//!
//! Every part is a whole HTTP message. No header of ours begins with `--` and no JSON of ours has a line break, so a
//! boundary cannot occur in the content.

use super::address::TableAddress;
use super::answer::{self, TableFailure};
use super::entity;
use super::multipart::{BatchMessage, boundary, parts};
use super::protocol::{ACCEPT, ODATA_VERSION};
use crate::adapters::rest::RestAnswer;
use crate::ports::tables::{ETag, EtagMatch, RowProperties, TRANSACTION_BYTES_MAX, TableError, TableWrite};
use azure_core::http::Method;
use std::fmt::Write as _;
use uuid::Uuid;

/// One write as a request.
pub struct BatchPart {
    pub method: Method,
    pub url: String,
    if_match: Option<String>,
    /// Empty for a delete.
    pub body: String,
}

impl BatchPart {
    pub fn of(address: &TableAddress, partition: &str, write: &TableWrite) -> Self {
        let (method, properties, condition) = shape(write);
        let url = match write {
            TableWrite::Insert { .. } => address.table(),
            _ => address.row(partition, write.key()),
        };
        let if_match = condition.map(|condition| match condition {
            EtagMatch::Any => "*".to_owned(),
            EtagMatch::Exact(etag) => etag.0.clone(),
        });
        let body = properties.map(|properties| entity::body(partition, write.key(), properties));
        Self { method, url, if_match, body: body.unwrap_or_default() }
    }

    /// The headers of this write alone.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(etag) = &self.if_match {
            headers.push(("if-match", etag.clone()));
        }
        if !self.body.is_empty() {
            headers.push(("content-type", "application/json".to_owned()));
            headers.push(("prefer", "return-no-content".to_owned()));
        }
        headers
    }
}

/// The service distinguishes these by method and condition: PUT and PATCH without a condition insert or change the row.
fn shape(write: &TableWrite) -> (Method, Option<&RowProperties>, Option<&EtagMatch>) {
    match write {
        TableWrite::Insert { properties, .. } => (Method::Post, Some(properties), None),
        TableWrite::Replace { properties, condition, .. } => (Method::Put, Some(properties), Some(condition)),
        TableWrite::Merge { properties, condition, .. } => (Method::Patch, Some(properties), Some(condition)),
        TableWrite::InsertOrReplace { properties, .. } => (Method::Put, Some(properties), None),
        TableWrite::InsertOrMerge { properties, .. } => (Method::Patch, Some(properties), None),
        TableWrite::Delete { condition, .. } => (Method::Delete, None, Some(condition)),
    }
}

/// All writes of a transaction.
pub struct BatchRequest {
    boundary: String,
    body: String,
}

impl BatchRequest {
    /// `id` makes the boundary. A body that is larger than the service accepts is rejected.
    pub fn new(
        address: &TableAddress,
        partition: &str,
        writes: &[TableWrite],
        id: Uuid,
    ) -> Result<Self, TableError> {
        let boundary = format!("batch_{id}");
        let changes = format!("changeset_{id}");
        let mut body = format!("--{boundary}\r\nContent-Type: multipart/mixed; boundary={changes}\r\n\r\n");
        for write in writes {
            let _ = write!(body, "--{changes}\r\n");
            push(&mut body, &BatchPart::of(address, partition, write));
        }
        let _ = write!(body, "--{changes}--\r\n--{boundary}--\r\n");
        if body.len() > TRANSACTION_BYTES_MAX {
            let rule = format!("a transaction has at most {TRANSACTION_BYTES_MAX} bytes, not {}", body.len());
            return Err(TableError::TooLarge { rule });
        }
        Ok(Self { boundary, body })
    }

    pub fn content_type(&self) -> String {
        format!("multipart/mixed; boundary={}", self.boundary)
    }

    pub fn into_body(self) -> String {
        self.body
    }
}

/// Writing to a string does not fail.
fn push(body: &mut String, part: &BatchPart) {
    body.push_str("Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n");
    let _ = write!(body, "{} {} HTTP/1.1\r\n", part.method.as_ref(), part.url);
    let _ = write!(body, "Accept: {ACCEPT}\r\nDataServiceVersion: {ODATA_VERSION}\r\n");
    for (name, value) in part.headers() {
        let _ = write!(body, "{name}: {value}\r\n");
    }
    let _ = write!(body, "\r\n{}\r\n", part.body);
}

/// The versions that a transaction left, in the order of its writes.
pub fn outcome(answer: &RestAnswer, writes: &[TableWrite]) -> Result<Vec<Option<ETag>>, TableError> {
    if answer.status != 202 && answer.status != 200 {
        return Err(TableFailure::of(answer).error(writes.len()));
    }
    let messages = messages(answer).map_err(answer::nonsense)?;
    if let Some(failed) = messages.iter().find(|message| !(200..300).contains(&message.status)) {
        return Err(failed.failure().error(writes.len()));
    }
    if messages.len() != writes.len() {
        return Err(answer::nonsense("a transaction was answered with another number of parts"));
    }
    writes.iter().zip(&messages).map(|(write, message)| answer::etag(write, message.header("etag"))).collect()
}

/// The messages inside: a batch has one part, the change set, and that has one for each write, or one error.
fn messages(answer: &RestAnswer) -> Result<Vec<BatchMessage<'_>>, String> {
    let outer = boundary(answer.header("content-type").unwrap_or_default())?;
    let [changes] = parts(&answer.body, outer)?[..] else {
        return Err("a batch is answered in one part".to_owned());
    };
    let inner = boundary(changes.header("content-type").unwrap_or_default())?;
    parts(changes.body, inner)?.iter().map(|part| BatchMessage::parse(part.body)).collect()
}
