//! Endpoints for the vault, the identity endpoint, Graph, and the service's own rights.

use super::responses::{ControlResponse, done, guid, ok, parse};
use super::service_orders::IdentitySettings;
use super::simulator_handle::SimulatorHandle;
use crate::simulator::arm::own_right::OwnRight;
use crate::simulator::graph::graph_user::GraphUser;
use crate::simulator::key_vault::vault_secret::{NewSecret, SecretUpdate};
use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use serde::Deserialize;
use serde_json::json;

/// What the API says of them: method, path, body, effect.
pub const ENDPOINTS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/control/secrets", "", "the vault's secrets with all their versions, values included"),
    (
        "POST",
        "/control/secrets/{name}",
        r#"{"value", "content_type"?, "tags"?: {}, "nbf"?: unix seconds, "exp"?: unix seconds, "enabled"?: true}"#,
        "makes a version of a secret; a deleted one comes back",
    ),
    (
        "PATCH",
        "/control/secrets/{name}/{version}",
        r#"{"enabled"?, "nbf"?, "exp"?, "tags"?}"#,
        "changes attributes of a version; what is left out stays",
    ),
    ("DELETE", "/control/secrets/{name}", "", "soft-deletes a secret with all its versions"),
    ("GET", "/control/identity", "", "how the identity endpoint behaves, and the header that it asks for"),
    (
        "PUT",
        "/control/identity",
        r#"{"clients"?: [] for any, "token_lifetime_seconds"?: 86400, "strict"?: false}"#,
        "sets them all; what is left out gets its default; strict: only issued tokens pass",
    ),
    ("GET", "/control/users", "", "the people whom Graph knows"),
    (
        "POST",
        "/control/users",
        r#"{"id", "displayName", "userPrincipalName", "accountEnabled"?: true, "userType"?: "Member"|"Guest"}"#,
        "adds a person to Graph or replaces what it says of them",
    ),
    ("PATCH", "/control/users/{id}", r#"{"accountEnabled": bool}"#, "enables or disables a person's account"),
    ("DELETE", "/control/users/{id}", "", "removes a person from Graph"),
    ("GET", "/control/own-rights", "", "what the service's own identity holds; null: it may do everything"),
    (
        "PUT",
        "/control/own-rights",
        r#"[{"scope", "condition"?, "actions": [action, * for any characters]}]"#,
        "from now on the service's own identity holds this and nothing else",
    ),
    ("DELETE", "/control/own-rights", "", "from now on the service's own identity may do everything"),
];

/// The routes, to be mounted under `/control`.
pub fn routes(config: &mut ServiceConfig) {
    config
        .route("/secrets", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.secrets())))
        .route("/secrets/{name}", web::post().to(set_secret))
        .route("/secrets/{name}", web::delete().to(delete_secret))
        .route("/secrets/{name}/{version}", web::patch().to(update_secret))
        .route("/identity", web::get().to(identity))
        .route("/identity", web::put().to(set_identity))
        .route("/users", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.users())))
        .route("/users", web::post().to(add_user))
        .route("/users/{id}", web::patch().to(enable_user))
        .route("/users/{id}", web::delete().to(remove_user))
        .route("/own-rights", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.own_rights())))
        .route("/own-rights", web::put().to(set_own_rights))
        .route("/own-rights", web::delete().to(lift_own_rights));
}

async fn set_secret(azure: Data<SimulatorHandle>, name: Path<String>, body: Bytes) -> ControlResponse {
    let version = azure.set_secret(&name, parse::<NewSecret>(&body)?)?;
    Ok(HttpResponse::Created().json(json!({ "version": version })))
}

async fn update_secret(
    azure: Data<SimulatorHandle>,
    path: Path<(String, String)>,
    body: Bytes,
) -> ControlResponse {
    azure.update_secret(&path.0, &path.1, parse::<SecretUpdate>(&body)?)?;
    Ok(done())
}

async fn delete_secret(azure: Data<SimulatorHandle>, name: Path<String>) -> ControlResponse {
    azure.delete_secret(&name)?;
    Ok(done())
}

async fn identity(azure: Data<SimulatorHandle>) -> HttpResponse {
    let IdentitySettings { clients, token_lifetime_seconds, strict } = azure.identity_settings();
    ok(json!({
        "clients": clients,
        "token_lifetime_seconds": token_lifetime_seconds,
        "strict": strict,
        "header": azure.identity_header(),
    }))
}

async fn set_identity(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.set_identity_settings(parse::<IdentitySettings>(&body)?)?;
    Ok(identity(azure).await)
}

async fn add_user(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.add_user(parse::<GraphUser>(&body)?)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct EnabledBody {
    account_enabled: bool,
}

async fn enable_user(azure: Data<SimulatorHandle>, id: Path<String>, body: Bytes) -> ControlResponse {
    azure.enable_user(guid(&id)?, parse::<EnabledBody>(&body)?.account_enabled)?;
    Ok(done())
}

async fn remove_user(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.remove_user(guid(&id)?)?;
    Ok(done())
}

async fn set_own_rights(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.set_own_rights(parse::<Vec<OwnRight>>(&body)?)?;
    Ok(done())
}

async fn lift_own_rights(azure: Data<SimulatorHandle>) -> ControlResponse {
    azure.lift_own_rights()?;
    Ok(done())
}
