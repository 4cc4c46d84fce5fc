//! The control API: what `GET /control` describes. Each endpoint is one function of [`Handle`].

mod guard;
mod services;

pub use guard::refuse_other_sites;

use super::handle::{ControlError, HandMade, Handle};
use super::role_assignments::Limits;
use super::rules::Rule;
use super::scope::Scope;
use super::state::{LockLevel, Principal};
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use actix_web::{HttpResponse, ResponseError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// The API as it describes itself: method, path, body or parameters, effect.
const ENDPOINTS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/control/rules", "", "the fault rules in force"),
    (
        "POST",
        "/control/rules",
        r#"{"action": A, "service"?: "arm"|"vault"|"identity"|"graph", "methods"?: ["GET"|"LIST"|"PUT"|"DELETE"], "scope"?, "principal"?, "name"?, "about"?, "skip"?: 0, "times"?: all}; A: {"throttle": {"retry_after_seconds"?}} | {"fail": {"status", "code", "message"?, "retry_after_seconds"?, "executed"?: false}} | {"delay": {"ms"}} | {"delay_answer": {"ms"}} | "nonsense" | "lose_request" | "lose_answer" | "hold""#,
        "adds a rule, for ARM unless it names a service; the oldest that matches a call decides; `scope` matches calls at and below it, `about` the secret, audience or person of a call to the other services",
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
    ("GET", "/control/principals", "", "principals that were spoken of, and whether only they exist"),
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
        r#"{"scope", "role": name or GUID, "principal", "type"?: "User", "name"?: GUID, "description"?, "condition"?, "condition_version"?}"#,
        "makes an assignment by hand",
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
    ("GET", "/control/unrecognised", "", "requests that nobody taught the simulator"),
];

/// The routes, to be mounted under `/control`.
pub fn routes(config: &mut ServiceConfig) {
    config
        .route("", web::get().to(describe))
        .route("/rules", web::get().to(async |azure: Data<Handle>| ok(azure.rules())))
        .route("/rules", web::post().to(add_rule))
        .route("/rules", web::delete().to(clear_rules))
        .route("/rules/{id}", web::delete().to(remove_rule))
        .route("/held", web::get().to(async |azure: Data<Handle>| ok(azure.held())))
        .route("/held/{number}/deliver", web::post().to(deliver))
        .route("/held/{number}/drop", web::post().to(drop_held))
        .route("/reset", web::post().to(reset))
        .route("/locks", web::get().to(async |azure: Data<Handle>| ok(azure.locks())))
        .route("/locks", web::post().to(add_lock))
        .route("/locks/{id}", web::delete().to(remove_lock))
        .route("/principals", web::get().to(principals))
        .route("/principals", web::post().to(add_principal))
        .route("/principals/strict", web::post().to(set_strict))
        .route("/principals/{id}", web::delete().to(remove_principal))
        .route("/assignments", web::get().to(assignments))
        .route("/assignments", web::post().to(make_assignment))
        .route("/assignments/{name}", web::delete().to(delete_assignment))
        .route("/scopes", web::get().to(async |azure: Data<Handle>| ok(azure.scopes())))
        .route("/scopes", web::post().to(add_scope))
        .route("/scopes", web::delete().to(remove_scope))
        .route("/clock", web::get().to(clock))
        .route("/clock/advance", web::post().to(advance))
        .route("/limits", web::get().to(async |azure: Data<Handle>| ok(azure.limits())))
        .route("/limits", web::put().to(set_limits))
        .route("/calls", web::get().to(async |azure: Data<Handle>| ok(azure.calls())))
        .route("/calls", web::delete().to(clear_calls))
        .route("/unrecognised", web::get().to(async |azure: Data<Handle>| ok(azure.unrecognised())))
        .configure(services::routes);
}

/// What the control API answers where it has no endpoint.
pub async fn unknown() -> Outcome {
    Err(ControlError::NotFound { what: "such endpoint;", id: "GET /control lists them".to_owned() })
}

type Outcome = Result<HttpResponse, ControlError>;

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

fn ok(answer: impl serde::Serialize) -> HttpResponse {
    HttpResponse::Ok().json(answer)
}

fn done() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, ControlError> {
    serde_json::from_slice(body)
        .map_err(|error| ControlError::Invalid(format!("the body is not understood: {error}")))
}

fn number(text: &str) -> Result<u64, ControlError> {
    text.parse().map_err(|_| ControlError::Invalid(format!("{text:?} is not a number")))
}

fn guid(text: &str) -> Result<Uuid, ControlError> {
    Uuid::try_parse(text).map_err(|_| ControlError::Invalid(format!("{text:?} is not a GUID")))
}

async fn describe() -> HttpResponse {
    let endpoint = |(method, path, takes, effect): &(&str, &str, &str, &str)| json!({ "method": method, "path": path, "takes": takes, "effect": effect });
    let note = "A question mark marks what may be left out, with its default. Bodies are application/json. Errors are {\"error\": text}.";
    let endpoints = ENDPOINTS.iter().chain(services::ENDPOINTS).map(endpoint);
    ok(json!({ "note": note, "endpoints": endpoints.collect::<Vec<Value>>() }))
}

async fn add_rule(azure: Data<Handle>, body: Bytes) -> Outcome {
    let id = azure.add_rule(parse::<Rule>(&body)?)?;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

async fn clear_rules(azure: Data<Handle>) -> HttpResponse {
    azure.clear_rules();
    done()
}

async fn remove_rule(azure: Data<Handle>, id: Path<String>) -> Outcome {
    azure.remove_rule(number(&id)?)?;
    Ok(done())
}

async fn deliver(azure: Data<Handle>, id: Path<String>) -> Outcome {
    let status = azure.deliver(number(&id)?)?;
    Ok(ok(json!({ "status": status })))
}

async fn drop_held(azure: Data<Handle>, id: Path<String>) -> Outcome {
    azure.drop_held(number(&id)?)?;
    Ok(done())
}

async fn reset(azure: Data<Handle>) -> HttpResponse {
    azure.reset_faults();
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockBody {
    scope: Scope,
    level: LockLevel,
}

async fn add_lock(azure: Data<Handle>, body: Bytes) -> Outcome {
    let LockBody { scope, level } = parse(&body)?;
    let id = azure.add_lock(&scope, level)?;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

async fn remove_lock(azure: Data<Handle>, id: Path<String>) -> Outcome {
    azure.remove_lock(number(&id)?)?;
    Ok(done())
}

async fn principals(azure: Data<Handle>) -> HttpResponse {
    ok(json!({ "strict": azure.strict_principals(), "principals": azure.principals() }))
}

async fn add_principal(azure: Data<Handle>, body: Bytes) -> Outcome {
    azure.add_principal(parse::<Principal>(&body)?)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictBody {
    strict: bool,
}

async fn set_strict(azure: Data<Handle>, body: Bytes) -> Outcome {
    azure.set_strict_principals(parse::<StrictBody>(&body)?.strict)?;
    Ok(done())
}

async fn remove_principal(azure: Data<Handle>, id: Path<String>) -> Outcome {
    azure.remove_principal(guid(&id)?)?;
    Ok(done())
}

async fn assignments(azure: Data<Handle>) -> HttpResponse {
    ok(azure.assignments().iter().map(super::RoleAssignment::body).collect::<Vec<Value>>())
}

async fn make_assignment(azure: Data<Handle>, body: Bytes) -> Outcome {
    let made = azure.make_assignment(&parse::<HandMade>(&body)?)?;
    Ok(HttpResponse::Created().json(made.body()))
}

async fn delete_assignment(azure: Data<Handle>, name: Path<String>) -> Outcome {
    azure.delete_assignment(guid(&name)?)?;
    Ok(done())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeBody {
    scope: Scope,
}

async fn add_scope(azure: Data<Handle>, body: Bytes) -> Outcome {
    azure.add_scope(&parse::<ScopeBody>(&body)?.scope)?;
    Ok(done())
}

async fn remove_scope(azure: Data<Handle>, body: Bytes) -> Outcome {
    azure.remove_scope(&parse::<ScopeBody>(&body)?.scope)?;
    Ok(done())
}

async fn clock(azure: Data<Handle>) -> HttpResponse {
    ok(json!({ "now": azure.now().format(&Rfc3339).unwrap_or_default() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceBody {
    seconds: u64,
}

async fn advance(azure: Data<Handle>, body: Bytes) -> Outcome {
    azure.advance(parse::<AdvanceBody>(&body)?.seconds)?;
    Ok(clock(azure).await)
}

async fn set_limits(azure: Data<Handle>, body: Bytes) -> Outcome {
    azure.set_limits(parse::<Limits>(&body)?)?;
    Ok(ok(azure.limits()))
}

async fn clear_calls(azure: Data<Handle>) -> HttpResponse {
    azure.clear_calls();
    done()
}
