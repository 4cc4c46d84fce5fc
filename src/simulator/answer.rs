//! What Azure answers to a call, before it is written to the wire.

use super::errors::AzureError;
use super::services::AzureService;
use serde_json::Value;
use time::OffsetDateTime;

/// What Azure answers to a call.
#[derive(Debug, Clone, PartialEq)]
pub struct AzureAnswer {
    pub status: u16,
    pub body: Option<Value>,
    /// Azure's time when it answered.
    pub date: OffsetDateTime,
    pub retry_after: Option<u64>,
    /// A rate-limit header and its value.
    pub remaining: Option<(String, u32)>,
    /// The value of `WWW-Authenticate`.
    pub challenge: Option<&'static str>,
    /// Sent as status 200 with an HTML page instead of the body.
    pub is_nonsense: bool,
    /// Sent instead of a JSON body.
    pub bytes: Option<Vec<u8>>,
    /// The value of `x-ms-error-code`, where a service has one.
    pub error_code: Option<String>,
}

impl AzureAnswer {
    pub const fn new(status: u16, body: Option<Value>, date: OffsetDateTime) -> Self {
        Self {
            status,
            body,
            date,
            retry_after: None,
            remaining: None,
            challenge: None,
            is_nonsense: false,
            bytes: None,
            error_code: None,
        }
    }

    /// An error in the shape of its service.
    pub fn refused(service: AzureService, error: &AzureError, date: OffsetDateTime) -> Self {
        let challenge = (error.status == 401).then_some(service.challenge());
        let error_code = (service == AzureService::Blob).then(|| error.code.clone());
        Self { challenge, error_code, ..Self::new(error.status, Some(error.body(service, date)), date) }
    }
}
