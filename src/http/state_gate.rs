//! SCIM while there is no state to work with: 503, and who can go on. An empty answer would make an identity provider believe that
//! everyone is gone.

use super::error::HttpError;
use crate::service::state::gate::StateGate;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, ResponseError};

/// What is answered without the state: what this service can do.
const DISCOVERY: [&str; 4] = ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas", "/Me"];

/// Lets a request pass that needs no state, or for which there is one.
pub(super) async fn require_state<B: MessageBody>(
    gate: Data<StateGate>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let needs_state = needs_state(request.path());
    if needs_state && let Err(error) = gate.admit().await {
        return Ok(request.error_response(HttpError::from(error)).map_into_right_body());
    }
    let response = next.call(request).await?;
    if needs_state
        && response.status() == StatusCode::NOT_FOUND
        && let Err(error) = gate.confirm().await
    {
        let (request, _) = response.into_parts();
        let refused = HttpError::from(error).error_response();
        return Ok(ServiceResponse::new(request, refused).map_into_right_body());
    }
    Ok(response.map_into_left_body())
}

fn needs_state(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/scim/v2") else { return false };
    !DISCOVERY.iter().any(|endpoint| rest.starts_with(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_need_a_state_and_discovery_and_probes_do_not() {
        for path in ["/scim/v2", "/scim/v2/Users", "/scim/v2/Groups/1", "/scim/v2/Bulk", "/scim/v2/.search"] {
            assert!(needs_state(path), "{path}");
        }
        for path in ["/", "/healthz", "/Reconcile", "/scim/v2/ServiceProviderConfig", "/scim/v2/Schemas/x"] {
            assert!(!needs_state(path), "{path}");
        }
    }
}
