//! Block blobs: `PUT /{container}/{blob}` with the whole blob, `GET` and `DELETE` of it.
//!
//! Errors have their code in the header `x-ms-error-code`; the XML of their bodies is left out.

use super::container::StoredBlob;
use crate::simulator::answer::AzureAnswer;
use crate::simulator::errors::AzureError;
use crate::simulator::request::{CallMethod, NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::services::AzureService;
use crate::simulator::state::AzureState;
use time::OffsetDateTime;

/// What a request asks for.
/// Facts: F-188, F-189.
#[derive(Debug, Clone)]
pub struct BlobOperation {
    container: String,
    /// The container and the name.
    path: String,
    wanted: Wanted,
}

/// What is to be done with the blob.
#[derive(Debug, Clone)]
enum Wanted {
    /// Facts: F-188.
    Write { bytes: Vec<u8>, must_be_new: bool },
    /// Facts: F-188.
    Read,
    /// Facts: F-189.
    Delete,
}

/// Reads a request.
/// Facts: F-188, F-189.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<BlobOperation>, NotRecognised> {
    let because =
        |what: &str| NotRecognised::because(format!("{what}: {} of {}", received.verb, received.path));
    received.check_parameters(&["timeout"])?;
    let path = received.path.trim_start_matches('/');
    let (container, name) = path.split_once('/').ok_or_else(|| because("no blob"))?;
    if container.is_empty() || name.is_empty() {
        return Err(because("no blob"));
    }
    let (method, wanted) = match received.verb.as_str() {
        "GET" => (CallMethod::Get, Wanted::Read),
        "DELETE" => (CallMethod::Delete, Wanted::Delete),
        "PUT" if received.blob_type == "BlockBlob" => {
            let must_be_new = match received.if_none_match.as_str() {
                "*" => true,
                "" => false,
                _ => return Err(because("a condition on a version")),
            };
            (CallMethod::Put, Wanted::Write { bytes: received.body.clone(), must_be_new })
        }
        _ => return Err(because("not a block blob")),
    };
    let operation = BlobOperation { container: container.to_owned(), path: path.to_owned(), wanted };
    Ok(ParsedRequest::outside_arm(AzureService::Blob, method, path.to_owned(), operation))
}

/// Does it.
/// Facts: F-188, F-189.
pub fn answer(state: &mut AzureState, operation: &BlobOperation, now: OffsetDateTime) -> AzureAnswer {
    let BlobOperation { container, path, wanted } = operation;
    let refused = |error: AzureError| AzureAnswer::refused(AzureService::Blob, &error, now);
    let Some(container) = state.containers.get(container) else {
        return refused(AzureError::new(404, "ContainerNotFound", "The specified container does not exist."));
    };
    let found = state.blobs.get(path);
    match (wanted, found) {
        (Wanted::Read | Wanted::Delete, None) => refused(not_found()),
        (Wanted::Read, Some(blob)) => {
            AzureAnswer { bytes: Some(blob.bytes.clone()), ..AzureAnswer::new(200, None, now) }
        }
        (Wanted::Delete, Some(blob)) if container.keeps(blob, now) => refused(immutable()),
        (Wanted::Delete, Some(_)) => {
            state.blobs.remove(path);
            AzureAnswer::new(202, None, now)
        }
        (Wanted::Write { must_be_new: true, .. }, Some(_)) => refused(exists()),
        // A blob in a container with a policy is never overwritten, not even after its time.
        (Wanted::Write { .. }, Some(_)) if container.immutable_days.is_some() => refused(immutable()),
        (Wanted::Write { bytes, .. }, _) => {
            state.blobs.insert(path.clone(), StoredBlob { bytes: bytes.clone(), created: now });
            AzureAnswer::new(201, None, now)
        }
    }
}

/// Facts: F-188.
fn not_found() -> AzureError {
    AzureError::new(404, "BlobNotFound", "The specified blob does not exist.")
}

/// Facts: F-188.
fn exists() -> AzureError {
    AzureError::new(409, "BlobAlreadyExists", "The specified blob already exists.")
}

/// Facts: F-189.
fn immutable() -> AzureError {
    let message = "This operation is not permitted as the blob is immutable due to a policy.";
    AzureError::new(409, "BlobImmutableDueToPolicy", message)
}
