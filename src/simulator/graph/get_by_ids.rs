//! Microsoft Graph, reading objects by their ids: `POST /v1.0/directoryObjects/getByIds`.

use super::directory_object::{DirectoryObject, selected};
use super::object_type::ObjectType;
use crate::simulator::answer::AzureAnswer;
use crate::simulator::errors::AzureError;
use crate::simulator::request::{CallMethod, NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::services::AzureService;
use crate::simulator::state::AzureState;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

/// Where it is asked.
pub const PATH: &str = "/v1.0/directoryObjects/getByIds";
/// Ids of one question.
const IDS_MAX: usize = 1000;

/// What a request asks for.
/// Facts: F-107.
#[derive(Debug, Clone)]
pub struct ByIdsOperation {
    ids: Vec<Uuid>,
    types: Vec<ObjectType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    ids: Vec<Uuid>,
    types: Vec<String>,
}

/// Reads a request.
/// Facts: F-107.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<ByIdsOperation>, NotRecognised> {
    if received.verb != "POST" {
        return Err(NotRecognised::because(format!("{} of {PATH}", received.verb)));
    }
    received.check_parameters(&[])?;
    let question: Question = serde_json::from_slice(&received.body)
        .map_err(|error| NotRecognised::because(format!("a question by ids: {error}")))?;
    if question.ids.len() > IDS_MAX {
        let message = format!("Too many ids: {IDS_MAX} are allowed in one request.");
        return Err(NotRecognised::Refused(AzureError::new(400, "Request_BadRequest", message)));
    }
    let known = |text: &String| {
        ObjectType::parse(text).ok_or_else(|| NotRecognised::because(format!("unknown type {text:?}")))
    };
    let types = question.types.iter().map(known).collect::<Result<_, _>>()?;
    let operation = ByIdsOperation { ids: question.ids, types };
    let about = "getByIds".to_owned();
    Ok(ParsedRequest::outside_arm(AzureService::Graph, CallMethod::List, about, operation))
}

/// Those of the objects that exist and are of the types that were asked for. An id that nothing has is left out.
/// Facts: F-051.
pub fn answer(state: &AzureState, operation: &ByIdsOperation, now: OffsetDateTime) -> AzureAnswer {
    let properties = selected(None).unwrap_or_default();
    let found = operation.ids.iter().filter_map(|id| DirectoryObject::find(state, *id));
    let asked = found.filter(|object| operation.types.contains(&object.object_type()));
    let value: Vec<Value> = asked.map(|object| object.body(state, &properties)).collect();
    let context = "https://graph.microsoft.com/v1.0/$metadata#directoryObjects";
    AzureAnswer::new(200, Some(json!({ "@odata.context": context, "value": value })), now)
}
