//! Endpoints for deny assignments, custom roles, and the groups and service principals of Graph.

use super::responses::{ControlResponse, done, guid, ok, parse};
use super::simulator_handle::SimulatorHandle;
use crate::simulator::arm::custom_role::CustomRole;
use crate::simulator::arm::deny_assignment::DenyAssignment;
use crate::simulator::graph::graph_group::{GraphGroup, GraphServicePrincipal};
use crate::simulator::graph::object_type::ObjectType;
use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use serde_json::json;

/// What the API says of them: method, path, body, effect.
pub const ENDPOINTS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/control/deny-assignments", "", "every deny assignment"),
    (
        "POST",
        "/control/deny-assignments",
        r#"{"denyAssignmentName", "scope", "permissions": [{"actions"?: [], "notActions"?: [], "dataActions"?: [], "notDataActions"?: []}], "principals": [{"id", "type"}], "excludePrincipals"?: [], "doNotApplyToChildScopes"?: false, "condition"?, "description"?: "", "id"?: GUID}"#,
        "makes a deny assignment or replaces the one of that id; the principal {00000000-0000-0000-0000-000000000000, SystemDefined} is everybody; it also binds the service's own identity, except for one with a condition",
    ),
    ("DELETE", "/control/deny-assignments/{id}", "", "removes a deny assignment"),
    ("GET", "/control/role-definitions", "", "the custom roles"),
    (
        "POST",
        "/control/role-definitions",
        r#"{"id", "roleName", "assignableScopes": [], "permissions": [{"actions"?: [], "notActions"?: [], "dataActions"?: [], "notDataActions"?: []}], "description"?: ""}"#,
        "makes a custom role or changes it",
    ),
    ("DELETE", "/control/role-definitions/{id}", "", "deletes a custom role; its assignments stay"),
    ("GET", "/control/groups", "", "the groups that Graph knows, with their direct members"),
    (
        "POST",
        "/control/groups",
        r#"{"id", "displayName", "members"?: [ids of people, service principals and groups]}"#,
        "adds a group to Graph or replaces it with its members",
    ),
    ("DELETE", "/control/groups/{id}", "", "removes a group from Graph"),
    ("GET", "/control/service-principals", "", "the service principals that Graph knows"),
    (
        "POST",
        "/control/service-principals",
        r#"{"id", "displayName", "assigned"?: [ids of people, groups and service principals]}"#,
        "adds a service principal to Graph, with who is assigned to its application, or replaces it",
    ),
    ("DELETE", "/control/service-principals/{id}", "", "removes a service principal from Graph"),
    ("GET", "/control/hidden-types", "", "the types of objects that callers of Graph may not read"),
    (
        "PUT",
        "/control/hidden-types",
        r#"["user"|"group"|"servicePrincipal"]"#,
        "Graph lists objects of these types by type and id alone",
    ),
];

/// The routes, to be mounted under `/control`.
pub fn routes(config: &mut ServiceConfig) {
    let denied = async |azure: Data<SimulatorHandle>| ok(azure.deny_assignments());
    let roles = async |azure: Data<SimulatorHandle>| ok(azure.custom_roles());
    let groups = async |azure: Data<SimulatorHandle>| ok(azure.groups());
    let principals = async |azure: Data<SimulatorHandle>| ok(azure.service_principals());
    let hidden = async |azure: Data<SimulatorHandle>| ok(azure.hidden_types());
    config
        .route("/deny-assignments", web::get().to(denied))
        .route("/deny-assignments", web::post().to(deny))
        .route("/deny-assignments/{id}", web::delete().to(remove_deny_assignment))
        .route("/role-definitions", web::get().to(roles))
        .route("/role-definitions", web::post().to(set_custom_role))
        .route("/role-definitions/{id}", web::delete().to(remove_custom_role))
        .route("/groups", web::get().to(groups))
        .route("/groups", web::post().to(add_group))
        .route("/groups/{id}", web::delete().to(remove_group))
        .route("/service-principals", web::get().to(principals))
        .route("/service-principals", web::post().to(add_service_principal))
        .route("/service-principals/{id}", web::delete().to(remove_service_principal))
        .route("/hidden-types", web::get().to(hidden))
        .route("/hidden-types", web::put().to(set_hidden_types));
}

async fn deny(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    let id = azure.deny(parse::<DenyAssignment>(&body)?)?;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

async fn remove_deny_assignment(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.remove_deny_assignment(guid(&id)?)?;
    Ok(done())
}

async fn set_custom_role(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.set_custom_role(parse::<CustomRole>(&body)?)?;
    Ok(done())
}

async fn remove_custom_role(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.remove_custom_role(guid(&id)?)?;
    Ok(done())
}

async fn add_group(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.add_group(parse::<GraphGroup>(&body)?)?;
    Ok(done())
}

async fn remove_group(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.remove_group(guid(&id)?)?;
    Ok(done())
}

async fn add_service_principal(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.add_service_principal(parse::<GraphServicePrincipal>(&body)?)?;
    Ok(done())
}

async fn remove_service_principal(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.remove_service_principal(guid(&id)?)?;
    Ok(done())
}

async fn set_hidden_types(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.set_hidden_types(parse::<Vec<ObjectType>>(&body)?)?;
    Ok(done())
}
