//! The two answers that need no token: the host's probe and the health check. Neither asks anything remote. With a token the
//! health check says more.

use super::error::EndpointResult;
use super::{auth, respond};
use crate::service::tokens::BearerTokens;
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The `status` of a service that cannot do its work, which the health check answers with 503.
pub const UNAVAILABLE: &str = "unavailable";

/// The `status` of a service that does its work, with something in it that a person should look into.
pub const DEGRADED: &str = "degraded";

/// What the health check adds to `{"status": "ok"}`: members that replace or extend it. Must return at once.
pub type HealthProbe = Arc<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// `GET /`.
pub(super) async fn root() -> EndpointResult {
    Ok(respond::json(&json!({ "name": "azure-backup-scim" })))
}

/// What is under `details` for a caller with a bearer token: keys and names. Must return at once.
#[derive(Clone)]
pub struct HealthDetails(pub HealthProbe);

/// `GET /healthz`. An unknown token gets the answer without them: it may be a probe's, and health must not fail by it.
pub(super) async fn healthz(request: HttpRequest, probe: Data<HealthProbe>) -> EndpointResult {
    let mut health = json!({ "status": "ok" });
    if let Value::Object(members) = &mut health {
        members.extend((probe.get_ref())());
        members.extend(details(&request).map(|details| ("details".to_owned(), Value::Object(details))));
    }
    let status = match health.get("status").and_then(Value::as_str) {
        Some(UNAVAILABLE) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    Ok(respond::json_with(status, &health))
}

fn details(request: &HttpRequest) -> Option<Map<String, Value>> {
    let tokens = request.app_data::<Data<BearerTokens>>()?;
    let HealthDetails(details) = request.app_data::<Data<HealthDetails>>()?.get_ref();
    tokens.is_held(auth::bearer_token(request.headers())?).then(|| details())
}
