//! Every failure that leaves this process, and its answer. The only `ResponseError`.

use super::respond;
use crate::id::RequestId;
use crate::scim;
use crate::service::ServiceError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use std::time::Duration;

/// What the challenge of a 401 says.
const CHALLENGE: &str = r#"Bearer realm="azure-backup-scim""#;

/// `Retry-After` of a request that took too long, or waited too long for its turn.
const TOO_LATE_WAIT: Duration = Duration::from_secs(5);
/// `Retry-After` until a setting is changed, which restarts the service.
const NOT_CONFIGURED_WAIT: Duration = Duration::from_secs(60);

/// What an endpoint gives.
pub(super) type EndpointResult = Result<HttpResponse, HttpError>;

/// Why a request is not answered as it was meant.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// No token, or an unknown one.
    #[error("a valid bearer token is required")]
    Unauthorized,
    /// The vault, which holds the tokens, does not answer.
    #[error("who calls cannot be checked now; nothing was changed, try again")]
    TokensUnavailable { retry_after: Duration },
    /// Other large bodies have their turn.
    #[error("other large requests are being read; nothing was changed, try again")]
    TooManyLargeBodies,
    /// What is behind this service took too long.
    #[error("the request took too long; whether it was carried out is not known, try again")]
    TooLate { request: RequestId },
    /// The request came after the last one of its connection.
    #[error("the connection is closing")]
    ConnectionClosing,
    /// The settings of this app are not in order.
    #[error("the service is not configured; its log says what is missing")]
    NotConfigured,
    /// The resource exists, but not for this method.
    #[error("the method is not allowed here; allowed: {allow}")]
    MethodNotAllowed { allow: &'static str },
    /// What the edge itself finds wrong with a request.
    #[error(transparent)]
    Scim(#[from] scim::Error),
    /// The service could not do it.
    #[error("failed to serve the request")]
    Service(#[from] ServiceError),
    /// A bug, as the caller sees it: the log has the error under the id of the request.
    #[error("internal error; the log has it under the id of this request")]
    Internal { request: RequestId },
}

impl HttpError {
    /// 404 for a path that leads nowhere.
    pub fn no_endpoint() -> Self {
        scim::Error::not_found("there is no such endpoint").into()
    }

    /// 404 for a path beside the base URL.
    pub fn beside_base_url(base_url: &str) -> Self {
        scim::Error::not_found(format!("there is no such endpoint; the base URL is {base_url}")).into()
    }

    /// An error of the web framework itself.
    pub fn of_framework(status: StatusCode) -> Self {
        let detail = status.canonical_reason().unwrap_or("the request cannot be served");
        scim::Error::of_framework(status.as_u16(), detail).into()
    }

    /// Whether it is a bug of this service, which the log explains.
    pub fn is_bug(&self) -> bool {
        matches!(self, HttpError::Service(ServiceError::Bug { .. }))
    }

    /// Whether a dependency is busy or away, which the log names.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            HttpError::Service(
                ServiceError::Busy { .. }
                    | ServiceError::ChangeUnderWay { .. }
                    | ServiceError::NewerRelease { .. }
            )
        )
    }

    /// What the answer says.
    pub fn scim(&self) -> scim::Error {
        match self {
            HttpError::Scim(error) => error.clone(),
            HttpError::Service(error) => Self::refusal(error),
            HttpError::Unauthorized => scim::Error::unauthorized(self.to_string()),
            HttpError::TokensUnavailable { .. }
            | HttpError::TooManyLargeBodies
            | HttpError::TooLate { .. }
            | HttpError::ConnectionClosing
            | HttpError::NotConfigured => scim::Error::unavailable(self.to_string()),
            HttpError::MethodNotAllowed { .. } => scim::Error::method_not_allowed(self.to_string()),
            HttpError::Internal { .. } => scim::Error::internal(self.to_string()),
        }
    }

    /// What the answer says of a failure of the service.
    pub fn refusal(error: &ServiceError) -> scim::Error {
        match error {
            ServiceError::Scim(error) | ServiceError::StorageLimit { error, .. } => error.clone(),
            ServiceError::Busy { .. } => scim::Error::unavailable("storage is busy or away; try again"),
            ServiceError::ChangeUnderWay { .. } | ServiceError::NewerRelease { .. } => {
                scim::Error::unavailable(format!("{error}; try again"))
            }
            ServiceError::NoState { .. } => scim::Error::unavailable(error.to_string()),
            ServiceError::Bug { .. } => scim::Error::internal("internal error"),
        }
    }
}

impl HttpError {
    /// What the answer says in that request: the id by which the log and `requests` know it is among it.
    pub fn scim_in(&self, request: RequestId) -> scim::Error {
        let error = self.scim();
        scim::Error { detail: format!("{} (request {request})", error.detail), ..error }
    }

    /// The answer in that request.
    pub fn response_in(&self, request: RequestId) -> HttpResponse {
        let mut response = self.response(&self.scim_in(request));
        respond::name_request(response.headers_mut(), request);
        response
    }

    fn response(&self, error: &scim::Error) -> HttpResponse {
        let mut response = respond::scim(self.status_code(), &error.body());
        let headers = response.headers_mut();
        match self {
            HttpError::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            }
            HttpError::MethodNotAllowed { allow } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            HttpError::TooLate { .. } | HttpError::TooManyLargeBodies => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(TOO_LATE_WAIT)));
            }
            HttpError::NotConfigured => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(NOT_CONFIGURED_WAIT)));
            }
            HttpError::Service(
                ServiceError::Busy { retry_after, .. }
                | ServiceError::ChangeUnderWay { retry_after, .. }
                | ServiceError::NewerRelease { retry_after, .. }
                | ServiceError::NoState { retry_after, .. },
            )
            | HttpError::TokensUnavailable { retry_after } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(*retry_after)));
            }
            _ => {}
        }
        response
    }
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.scim().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            HttpError::TooLate { request } | HttpError::Internal { request } => self.response_in(*request),
            _ => self.response(&self.scim()),
        }
    }
}

/// Rounded up, and never "at once".
fn whole_seconds(wait: Duration) -> u64 {
    let round_up = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + round_up).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_whole_seconds() {
        for (wait_ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (30_000, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(wait_ms)), seconds);
        }
    }
}
