//! The identity endpoint of App Service and Functions: a token of the app's managed identity for an audience.
//!
//! `GET {endpoint}?api-version=2019-08-01&resource={audience}[&client_id={id}]` with the header `x-identity-header`.

use super::issued_tokens::IssuedTokens;
use crate::simulator::answer::AzureAnswer;
use crate::simulator::errors::AzureError;
use crate::simulator::request::{CallMethod, NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::services::AzureService;
use serde_json::json;
use time::OffsetDateTime;

/// The path of the endpoint on its listener.
pub const PATH: &str = "/msi/token";
/// The one version that is known.
const API_VERSION: &str = "2019-08-01";
/// The client id that answers show where the caller named none: the app's own, system-assigned identity.
const SYSTEM_ASSIGNED: &str = "5e1f0000-0000-4000-8000-000000000001";

/// What a request asks for.
/// Facts: F-108.
#[derive(Debug, Clone)]
pub struct TokenOperation {
    pub audience: String,
    client_id: Option<String>,
}

/// Reads a request.
/// Facts: F-108.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<TokenOperation>, NotRecognised> {
    if received.verb != "GET" || received.path.trim_end_matches('/') != PATH {
        return Err(NotRecognised::because(format!("{} of {}", received.verb, received.path)));
    }
    received.check_parameters(&["api-version", "resource", "client_id"])?;
    if received.parameter("api-version") != Some(API_VERSION) {
        return Err(NotRecognised::because("an api-version other than 2019-08-01"));
    }
    let bad_request =
        || NotRecognised::Refused(AzureError::new(400, "BadRequest", "The parameter resource is missing."));
    let audience = received.parameter("resource").filter(|text| !text.is_empty()).ok_or_else(bad_request)?;
    let client_id = received.parameter("client_id").map(str::to_ascii_lowercase);
    let operation = TokenOperation { audience: audience.to_owned(), client_id };
    Ok(ParsedRequest::outside_arm(AzureService::Identity, CallMethod::Get, audience.to_owned(), operation))
}

/// Gives out a token.
/// Facts: F-054, F-108.
pub fn answer(tokens: &mut IssuedTokens, operation: &TokenOperation, now: OffsetDateTime) -> AzureAnswer {
    let TokenOperation { audience, client_id } = operation;
    // An app whose identities are all user-assigned has none for a caller that names none.
    let is_known = |id: &Option<String>| id.as_ref().is_some_and(|id| tokens.clients.contains(id));
    if !tokens.clients.is_empty() && !is_known(client_id) {
        let error = AzureError::new(
            400,
            "BadRequest",
            "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
        );
        return AzureAnswer::refused(AzureService::Identity, &error, now);
    }
    let token = tokens.issue(audience, now);
    let body = json!({
        "access_token": token.text,
        "expires_on": token.expires_at.unix_timestamp().to_string(),
        "resource": token.audience,
        "token_type": "Bearer",
        "client_id": client_id.as_deref().unwrap_or(SYSTEM_ASSIGNED),
    });
    AzureAnswer::new(200, Some(body), now)
}
