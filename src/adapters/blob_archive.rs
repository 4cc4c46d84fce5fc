//! The heads of the audit as blobs of one container: `Put Blob` that never overwrites, and `Get Blob`.
//!
//! A write is sent once: where its answer is lost, the next one of the same name says what became of it.

use super::rest::{NoAnswer, RestAnswer, RestClient, RestError, RestOptions, parse_url};
use crate::ports::clock::Clock;
use crate::ports::head_archive::{ArchiveError, HeadArchive};
use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::{Method, Request, Transport, Url};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The audience of tokens for storage, in every cloud.
const TOKEN_SCOPE: &str = "https://storage.azure.com/.default";
/// The version of the service's interface.
const API_VERSION: &str = "2020-12-06";
/// One call, with its token and its connection.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Larger than every head.
const HEAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longer than any code of the service.
const CODE_CHARS_MAX: usize = 100;

/// What a client works with.
pub struct BlobArchiveOptions {
    pub credential: Arc<dyn TokenCredential>,
    /// Real time. It decides when a token must be renewed.
    pub clock: Arc<dyn Clock>,
    /// A transport instead of the pooled client.
    pub transport: Option<Transport>,
}

/// One container.
#[derive(Clone)]
pub struct BlobArchive {
    rest: RestClient,
    container: Url,
}

impl fmt::Debug for BlobArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobArchive").field("container", &self.container.as_str()).finish_non_exhaustive()
    }
}

impl BlobArchive {
    /// The container of that address, as `https://ACCOUNT.blob.core.windows.net/audit-heads`. Makes no call yet. A rustls
    /// provider must be installed in the process before.
    pub fn at(container: &str, options: BlobArchiveOptions) -> Result<Self, RestError> {
        let BlobArchiveOptions { credential, clock, transport } = options;
        let container = parse_url(container.trim_end_matches('/'))?;
        let token_scope = TOKEN_SCOPE.to_owned();
        let rest = RestClient::new(&container, RestOptions { credential, token_scope, clock, transport })?;
        Ok(Self { rest, container })
    }

    /// Names are digits, letters, hyphens and slashes.
    fn request(&self, name: &str, method: Method) -> Request {
        let mut url = self.container.clone();
        url.set_path(&format!("{}/{name}", self.container.path()));
        let mut request = Request::new(url, method);
        request.insert_header("x-ms-version", API_VERSION);
        request
    }

    async fn send(&self, request: Request) -> Result<RestAnswer, ArchiveError> {
        let unknown = |error: NoAnswer| ArchiveError::Unknown { detail: error.detail };
        match timeout(CALL_DEADLINE, self.rest.send_within(request, HEAD_BYTES_MAX)).await {
            Ok(answer) => answer.map_err(unknown),
            Err(_) => Err(ArchiveError::Unknown { detail: "no answer in time".to_owned() }),
        }
    }
}

#[async_trait]
impl HeadArchive for BlobArchive {
    async fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, ArchiveError> {
        let mut request = self.request(name, Method::Put);
        request.insert_header("x-ms-blob-type", "BlockBlob");
        request.insert_header("if-none-match", "*");
        request.insert_header("content-type", "text/plain; charset=utf-8");
        request.set_body(bytes.to_vec());
        created(&self.send(request).await?)
    }

    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, ArchiveError> {
        found(&self.send(self.request(name, Method::Get)).await?)
    }
}

/// Facts: F-188, F-189.
fn created(answer: &RestAnswer) -> Result<bool, ArchiveError> {
    match (answer.status, code(answer)) {
        (201, _) => Ok(true),
        (409, Some("BlobAlreadyExists" | "BlobImmutableDueToPolicy")) | (412, Some("ConditionNotMet")) => {
            Ok(false)
        }
        _ => Err(failure(answer)),
    }
}

fn found(answer: &RestAnswer) -> Result<Option<Vec<u8>>, ArchiveError> {
    match (answer.status, code(answer)) {
        (200, _) => Ok(Some(answer.body.to_vec())),
        (404, Some("BlobNotFound")) => Ok(None),
        _ => Err(failure(answer)),
    }
}

fn code(answer: &RestAnswer) -> Option<&str> {
    let code = answer.header("x-ms-error-code")?;
    let is_plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_plain && (1..=CODE_CHARS_MAX).contains(&code.len())).then_some(code)
}

fn failure(answer: &RestAnswer) -> ArchiveError {
    let status = answer.status;
    match (status, code(answer)) {
        (429 | 500.., _) => ArchiveError::Unknown { detail: format!("status {status}") },
        (401 | 403, None) => ArchiveError::Refused { code: format!("status {status}") },
        (400..500, Some(code)) => ArchiveError::Refused { code: code.to_owned() },
        _ => ArchiveError::Unknown { detail: format!("status {status} says nothing reliable") },
    }
}
