//! Microsoft Graph, reading one person by object id: `GET /v1.0/users/{id}[?$select=…]`.

use crate::simulator::answer::AzureAnswer;
use crate::simulator::errors::AzureError;
use crate::simulator::request::{CallMethod, NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::services::AzureService;
use crate::simulator::state::AzureState;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

/// The properties that can be selected.
const PROPERTIES: [&str; 5] = ["id", "displayName", "userPrincipalName", "accountEnabled", "userType"];
/// The properties that Graph returns by default.
const SHOWN_UNASKED: [&str; 3] = ["id", "displayName", "userPrincipalName"];

/// What a request asks for.
/// Facts: F-050.
#[derive(Debug, Clone)]
pub struct UserOperation {
    id: Uuid,
    select: Vec<&'static str>,
}

/// Reads a request.
/// Facts: F-050.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<UserOperation>, NotRecognised> {
    let id = received.path.strip_prefix("/v1.0/users/").filter(|_| received.verb == "GET");
    let id = id.and_then(|id| Uuid::try_parse(id).ok());
    let id = id.ok_or_else(|| NotRecognised::because(format!("{} of {}", received.verb, received.path)))?;
    received.check_parameters(&["$select"])?;
    let select = match received.parameter("$select") {
        None => SHOWN_UNASKED.to_vec(),
        Some(text) => text.split(',').map(property).collect::<Result<_, _>>()?,
    };
    let operation = UserOperation { id, select };
    let mut request =
        ParsedRequest::outside_arm(AzureService::Graph, CallMethod::Get, id.to_string(), operation);
    request.principal = Some(id);
    Ok(request)
}

fn property(name: &str) -> Result<&'static str, NotRecognised> {
    let known = PROPERTIES.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim()));
    known.ok_or_else(|| NotRecognised::because(format!("unknown property {name:?}")))
}

/// The person, or 404.
/// Facts: F-050.
pub fn answer(state: &AzureState, operation: &UserOperation, now: OffsetDateTime) -> AzureAnswer {
    let UserOperation { id, select } = operation;
    let Some(user) = state.users.get(id) else {
        return AzureAnswer::refused(AzureService::Graph, &AzureError::object_not_found(*id), now);
    };
    let of = |name: &str| match name {
        "id" => json!(user.id),
        "displayName" => json!(user.display_name),
        "userPrincipalName" => json!(user.user_principal_name),
        "accountEnabled" => json!(user.account_enabled),
        _ => json!(user.user_type),
    };
    let context = format!("https://graph.microsoft.com/v1.0/$metadata#users({})/$entity", select.join(","));
    let mut body: Map<String, Value> = Map::new();
    body.insert("@odata.context".to_owned(), json!(context));
    body.extend(select.iter().map(|name| ((*name).to_owned(), of(name))));
    AzureAnswer::new(200, Some(Value::Object(body)), now)
}
