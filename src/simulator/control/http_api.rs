//! The control API: what `GET /control` describes. Each endpoint is one function of [`SimulatorHandle`].

use super::access_routes;
use super::arm_orders::HandMade;
use super::control_error::ControlError;
use super::responses::{ControlResponse, done, guid, number, ok, parse};
use super::service_routes;
use super::simulator_handle::SimulatorHandle;
use crate::simulator::arm::directory_principal::DirectoryPrincipal;
use crate::simulator::arm::management_lock::LockLevel;
use crate::simulator::arm::role_assignment::RoleAssignment;
use crate::simulator::arm::role_assignments::ArmLimits;
use crate::simulator::arm::scope::Scope;
use crate::simulator::fault_rules::FaultRule;
use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

/// The API as it describes itself: method, path, body or parameters, effect.
const ENDPOINTS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/control/rules", "", "the fault rules in force"),
    (
        "POST",
        "/control/rules",
        r#"{"action": A, "service"?: "arm"|"vault"|"identity"|"graph", "methods"?: ["GET"|"LIST"|"PUT"|"DELETE"], "scope"?, "principal"?, "name"?, "about"?, "skip"?: 0, "times"?: all}; A: {"throttle": {"retry_after_seconds"?}} | {"fail": {"status", "code", "message"?, "retry_after_seconds"?, "executed"?: false}} | {"delay": {"ms"}} | {"delay_answer": {"ms"}} | "nonsense" | "lose_request" | "lose_answer" | "hold""#,
        "adds a rule, for ARM unless it names a service; the oldest that matches a call decides; `scope` matches calls at and below it, `about` the secret, audience, person or group of a call to the other services",
    ),
    ("DELETE", "/control/rules", "", "removes every rule"),
    ("DELETE", "/control/rules/{id}", "", "removes a rule"),
    ("GET", "/control/held", "", "calls that are kept in the network by `hold`"),
    (
        "POST",
        "/control/held/{number}/deliver",
        "",
        "the call arrives now, whether or not its caller still waits",
    ),
    ("POST", "/control/held/{number}/drop", "", "the call is lost"),
    ("POST", "/control/reset", "", "removes every rule and every held call; what Azure holds stays"),
    ("GET", "/control/locks", "", "management locks"),
    (
        "POST",
        "/control/locks",
        r#"{"scope", "level": "CanNotDelete"|"ReadOnly"}"#,
        "locks a scope and what is below",
    ),
    ("DELETE", "/control/locks/{id}", "", "removes a lock"),
    ("GET", "/control/principals", "", "principals that were added, and whether only they exist"),
    (
        "POST",
        "/control/principals",
        r#"{"id", "type": "User"|"Group"|"ServicePrincipal"|"ForeignGroup", "appears_after_calls"?: 0, "appears_at"?: RFC 3339, "absent"?: false}"#,
        "adds or replaces a principal; it can appear after so many PUTs or at a time, or be absent",
    ),
    ("DELETE", "/control/principals/{id}", "", "forgets a principal"),
    ("POST", "/control/principals/strict", r#"{"strict": bool}"#, "whether only added principals exist"),
    ("GET", "/control/assignments", "", "every role assignment, in ARM's shape"),
    (
        "POST",
        "/control/assignments",
        r#"{"scope", "role": name or GUID, "principal", "type"?: "User", "name"?: GUID, "description"?, "condition"?, "condition_version"?, "created_by"?: GUID, "created_on"?: RFC 3339}"#,
        "makes an assignment by hand, of any role at any scope",
    ),
    (
        "PATCH",
        "/control/assignments/{name}",
        r#"{"condition": text or null}"#,
        "changes the condition of an assignment by hand, or takes it away",
    ),
    ("DELETE", "/control/assignments/{name}", "", "deletes an assignment by hand"),
    ("GET", "/control/scopes", "", "the scopes in existence"),
    ("POST", "/control/scopes", r#"{"scope"}"#, "brings a scope and those above it into existence"),
    ("DELETE", "/control/scopes", r#"{"scope"}"#, "removes a scope with everything at and below it"),
    ("GET", "/control/clock", "", "Azure's time"),
    ("POST", "/control/clock/advance", r#"{"seconds"}"#, "moves Azure's clock forward"),
    ("GET", "/control/limits", "", "limits and list staleness"),
    (
        "PUT",
        "/control/limits",
        r#"{"assignments_per_subscription"?: 4000, "page_size"?: 100, "list_staleness_seconds"?: 0, "buckets"?: true}"#,
        "sets them all; what is left out gets its default",
    ),
    ("GET", "/control/calls", "", "every recognised call and what became of it"),
    ("DELETE", "/control/calls", "", "forgets the finished calls"),
    ("GET", "/control/unrecognised", "", "requests that the simulator does not recognise"),
];

/// The routes, to be mounted under `/control`.
pub fn routes(config: &mut ServiceConfig) {
    config
        .route("", web::get().to(describe))
        .route("/rules", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.rules())))
        .route("/rules", web::post().to(add_rule))
        .route("/rules", web::delete().to(clear_rules))
        .route("/rules/{id}", web::delete().to(remove_rule))
        .route("/held", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.held())))
        .route("/held/{number}/deliver", web::post().to(deliver))
        .route("/held/{number}/drop", web::post().to(drop_held))
        .route("/reset", web::post().to(reset))
        .route("/locks", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.locks())))
        .route("/locks", web::post().to(add_lock))
        .route("/locks/{id}", web::delete().to(remove_lock))
        .route("/principals", web::get().to(principals))
        .route("/principals", web::post().to(add_principal))
        .route("/principals/strict", web::post().to(set_strict))
        .route("/principals/{id}", web::delete().to(remove_principal))
        .route("/assignments", web::get().to(assignments))
        .route("/assignments", web::post().to(make_assignment))
        .route("/assignments/{name}", web::patch().to(change_assignment))
        .route("/assignments/{name}", web::delete().to(delete_assignment))
        .route("/scopes", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.scopes())))
        .route("/scopes", web::post().to(add_scope))
        .route("/scopes", web::delete().to(remove_scope))
        .route("/clock", web::get().to(clock))
        .route("/clock/advance", web::post().to(advance))
        .route("/limits", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.limits())))
        .route("/limits", web::put().to(set_limits))
        .route("/calls", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.calls())))
        .route("/calls", web::delete().to(clear_calls))
        .route("/unrecognised", web::get().to(async |azure: Data<SimulatorHandle>| ok(azure.unrecognised())))
        .configure(service_routes::routes)
        .configure(access_routes::routes);
}

/// What the control API answers where it has no endpoint.
pub async fn unknown() -> ControlResponse {
    Err(ControlError::NotFound { what: "such endpoint;", id: "GET /control lists them".to_owned() })
}

async fn describe() -> HttpResponse {
    let endpoint = |(method, path, takes, effect): &(&str, &str, &str, &str)| json!({ "method": method, "path": path, "takes": takes, "effect": effect });
    let note = "A question mark marks what may be left out, with its default. Bodies are application/json. Errors are {\"error\": text}.";
    let endpoints =
        ENDPOINTS.iter().chain(service_routes::ENDPOINTS).chain(access_routes::ENDPOINTS).map(endpoint);
    ok(json!({ "note": note, "endpoints": endpoints.collect::<Vec<Value>>() }))
}

async fn add_rule(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    let id = azure.add_rule(parse::<FaultRule>(&body)?)?;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

async fn clear_rules(azure: Data<SimulatorHandle>) -> HttpResponse {
    azure.clear_rules();
    done()
}

async fn remove_rule(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.remove_rule(number(&id)?)?;
    Ok(done())
}

async fn deliver(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    let status = azure.deliver(number(&id)?)?;
    Ok(ok(json!({ "status": status })))
}

async fn drop_held(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.drop_held(number(&id)?)?;
    Ok(done())
}

async fn reset(azure: Data<SimulatorHandle>) -> HttpResponse {
    azure.reset_faults();
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockBody {
    scope: Scope,
    level: LockLevel,
}

async fn add_lock(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    let LockBody { scope, level } = parse(&body)?;
    let id = azure.add_lock(&scope, level)?;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

async fn remove_lock(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.remove_lock(number(&id)?)?;
    Ok(done())
}

async fn principals(azure: Data<SimulatorHandle>) -> HttpResponse {
    ok(json!({ "strict": azure.strict_principals(), "principals": azure.principals() }))
}

async fn add_principal(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.add_principal(parse::<DirectoryPrincipal>(&body)?)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictBody {
    strict: bool,
}

async fn set_strict(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.set_strict_principals(parse::<StrictBody>(&body)?.strict)?;
    Ok(done())
}

async fn remove_principal(azure: Data<SimulatorHandle>, id: Path<String>) -> ControlResponse {
    azure.remove_principal(guid(&id)?)?;
    Ok(done())
}

async fn assignments(azure: Data<SimulatorHandle>) -> HttpResponse {
    ok(azure.assignments().iter().map(RoleAssignment::body).collect::<Vec<Value>>())
}

async fn make_assignment(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    let made = azure.make_assignment(&parse::<HandMade>(&body)?)?;
    Ok(HttpResponse::Created().json(made.body()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionBody {
    condition: Option<String>,
}

async fn change_assignment(azure: Data<SimulatorHandle>, name: Path<String>, body: Bytes) -> ControlResponse {
    let ConditionBody { condition } = parse(&body)?;
    azure.set_assignment_condition(guid(&name)?, condition.as_deref())?;
    Ok(done())
}

async fn delete_assignment(azure: Data<SimulatorHandle>, name: Path<String>) -> ControlResponse {
    azure.delete_assignment(guid(&name)?)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeBody {
    scope: Scope,
}

async fn add_scope(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.add_scope(&parse::<ScopeBody>(&body)?.scope)?;
    Ok(done())
}

async fn remove_scope(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.remove_scope(&parse::<ScopeBody>(&body)?.scope)?;
    Ok(done())
}

async fn clock(azure: Data<SimulatorHandle>) -> HttpResponse {
    ok(json!({ "now": azure.now().format(&Rfc3339).unwrap_or_default() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceBody {
    seconds: u64,
}

async fn advance(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.advance(parse::<AdvanceBody>(&body)?.seconds)?;
    Ok(clock(azure).await)
}

async fn set_limits(azure: Data<SimulatorHandle>, body: Bytes) -> ControlResponse {
    azure.set_limits(parse::<ArmLimits>(&body)?)?;
    Ok(ok(azure.limits()))
}

async fn clear_calls(azure: Data<SimulatorHandle>) -> HttpResponse {
    azure.clear_calls();
    done()
}
