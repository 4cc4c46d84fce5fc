//! Error bodies in the shape of each service, and the codes that the simulated ARM answers with.

use super::clock::new_guid;
use super::services::AzureService;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// An error of one of the services, under a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureError {
    pub status: u16,
    pub code: String,
    pub message: String,
    /// The code of the cause, where Key Vault names one.
    pub inner: Option<String>,
}

impl AzureError {
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), inner: None }
    }

    /// The same, with the code of its cause.
    pub fn because(mut self, inner: &str) -> Self {
        self.inner = Some(inner.to_owned());
        self
    }

    /// The body that a service puts it in.
    pub fn body(&self, service: AzureService, at: OffsetDateTime) -> Value {
        let Self { status, code, message, inner } = self;
        match service {
            AzureService::Identity => {
                json!({ "statusCode": status, "message": message, "correlationId": new_guid() })
            }
            AzureService::Graph => json!({ "error": { "code": code, "message": message, "innerError": {
                "date": at.format(&Rfc3339).unwrap_or_default(),
                "request-id": new_guid(),
                "client-request-id": new_guid(),
            }}}),
            AzureService::Arm | AzureService::Vault | AzureService::Blob => {
                let mut body = json!({ "code": code, "message": message });
                if let (Some(inner), Some(fields)) = (inner, body.as_object_mut()) {
                    fields.insert("innererror".to_owned(), json!({ "code": inner }));
                }
                json!({ "error": body })
            }
        }
    }

    /// What Graph answers where there is no such object.
    /// Facts: F-050.
    pub fn object_not_found(id: Uuid) -> Self {
        let message = format!(
            "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
        );
        Self::new(404, "Request_ResourceNotFound", message)
    }

    /// Facts: F-056, F-096, F-106.
    pub fn too_many_requests(service: AzureService) -> Self {
        let code = if service == AzureService::Vault { "Throttled" } else { "TooManyRequests" };
        Self::new(429, code, "The request is being throttled. Retry after the time in Retry-After.")
    }
}
