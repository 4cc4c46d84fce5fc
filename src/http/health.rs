//! The two answers that need no token: the host's probe and the health check. Neither asks anything remote.

use super::error::EndpointResult;
use super::respond;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde_json::{Value, json};
use std::sync::Arc;

/// The `status` of a service that cannot do its work, which the health check answers with 503.
pub const UNAVAILABLE: &str = "unavailable";

/// The `status` of a service that does its work, with something in it that a person should look into.
pub const DEGRADED: &str = "degraded";

/// What the health check adds to `{"status": "ok"}`: members that replace or extend it. Must return at once.
pub type HealthProbe = Arc<dyn Fn() -> serde_json::Map<String, Value> + Send + Sync>;

/// `GET /`.
pub(super) async fn root() -> EndpointResult {
    Ok(respond::json(&json!({ "name": "azure-backup-scim" })))
}

/// `GET /healthz`.
pub(super) async fn healthz(probe: Data<HealthProbe>) -> EndpointResult {
    let mut health = json!({ "status": "ok" });
    if let Value::Object(members) = &mut health {
        members.extend((probe.get_ref())());
    }
    let status = match health.get("status").and_then(Value::as_str) {
        Some(UNAVAILABLE) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    Ok(respond::json_with(status, &health))
}
