//! Microsoft Graph, reading who is assigned to an application:
//! `GET /v1.0/servicePrincipals/{id}/appRoleAssignedTo`.

use super::directory_object::DirectoryObject;
use super::graph_group::GraphServicePrincipal;
use crate::simulator::answer::AzureAnswer;
use crate::simulator::errors::AzureError;
use crate::simulator::request::{CallMethod, NextLink, NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::services::AzureService;
use crate::simulator::state::AzureState;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Where it is asked.
pub const PREFIX: &str = "/v1.0/servicePrincipals/";
/// Assignments on one page.
const PAGE_ASSIGNMENTS: usize = 100;

/// What a request asks for.
/// Facts: F-176.
#[derive(Debug, Clone)]
pub struct AssignedToOperation {
    app: Uuid,
    /// Assignments that were on the pages before.
    skip: usize,
    link: NextLink,
}

/// Reads a request.
/// Facts: F-176.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<AssignedToOperation>, NotRecognised> {
    let unknown = || NotRecognised::because(format!("{} of {}", received.verb, received.path));
    let path = received.path.strip_prefix(PREFIX).filter(|_| received.verb == "GET");
    let app = path.and_then(|path| path.strip_suffix("/appRoleAssignedTo"));
    let app = app.and_then(|id| Uuid::try_parse(id).ok()).ok_or_else(unknown)?;
    received.check_parameters(&["$skiptoken"])?;
    let skip = match received.parameter("$skiptoken").map(str::parse::<usize>) {
        None => 0,
        Some(Ok(skip)) => skip,
        Some(Err(_)) => return Err(NotRecognised::because("$skiptoken is not a number")),
    };
    let operation = AssignedToOperation { app, skip, link: NextLink::of(received) };
    let about = app.to_string();
    let mut request = ParsedRequest::outside_arm(AzureService::Graph, CallMethod::List, about, operation);
    request.principal = Some(app);
    Ok(request)
}

/// One page of the assignments, or 404.
/// Facts: F-050, F-176, F-178.
pub fn answer(state: &AzureState, operation: &AssignedToOperation, now: OffsetDateTime) -> AzureAnswer {
    let Some(app) = state.service_principals.get(&operation.app) else {
        let error = AzureError::object_not_found(operation.app);
        return AzureAnswer::refused(AzureService::Graph, &error, now);
    };
    let assigned: Vec<DirectoryObject<'_>> =
        app.assigned.iter().filter_map(|id| DirectoryObject::find(state, *id)).collect();
    let rest = assigned.get(operation.skip..).unwrap_or_default();
    let page = rest.get(..PAGE_ASSIGNMENTS).unwrap_or(rest);
    let value: Vec<Value> = page.iter().map(|object| assignment(app, *object, now)).collect();
    let context = format!(
        "https://graph.microsoft.com/v1.0/$metadata#servicePrincipals('{}')/appRoleAssignedTo",
        app.id
    );
    let mut body = json!({ "@odata.context": context, "value": value });
    if let Some(fields) = body.as_object_mut().filter(|_| page.len() < rest.len()) {
        let link = operation.link.after(&(operation.skip + page.len()).to_string());
        fields.insert("@odata.nextLink".to_owned(), json!(link));
    }
    AzureAnswer::new(200, Some(body), now)
}

/// The role is that of an application without roles of its own.
fn assignment(app: &GraphServicePrincipal, object: DirectoryObject<'_>, now: OffsetDateTime) -> Value {
    json!({
        "id": format!("{}-{}", app.id.simple(), object.id().simple()),
        "deletedDateTime": null,
        "appRoleId": Uuid::nil(),
        "createdDateTime": now.format(&Rfc3339).unwrap_or_default(),
        "principalDisplayName": object.display_name(),
        "principalId": object.id(),
        "principalType": object.object_type().principal_type(),
        "resourceDisplayName": app.display_name,
        "resourceId": app.id,
    })
}
