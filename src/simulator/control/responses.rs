//! What the endpoints of the control API share: reading their input and answering.

use super::control_error::ControlError;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, ResponseError};
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

/// What an endpoint answers.
pub type ControlResponse = Result<HttpResponse, ControlError>;

impl ResponseError for ControlError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Refused { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::OtherSite { .. } => StatusCode::FORBIDDEN,
            Self::StateFile(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({ "error": self.to_string() }))
    }
}

pub fn ok(answer: impl serde::Serialize) -> HttpResponse {
    HttpResponse::Ok().json(answer)
}

pub fn done() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

pub fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, ControlError> {
    serde_json::from_slice(body)
        .map_err(|error| ControlError::Invalid(format!("the body is not understood: {error}")))
}

pub fn number(text: &str) -> Result<u64, ControlError> {
    text.parse().map_err(|_| ControlError::Invalid(format!("{text:?} is not a number")))
}

pub fn guid(text: &str) -> Result<Uuid, ControlError> {
    Uuid::try_parse(text).map_err(|_| ControlError::Invalid(format!("{text:?} is not a GUID")))
}
