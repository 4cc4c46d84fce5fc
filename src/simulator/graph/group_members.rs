//! Microsoft Graph, reading who is in a group: `GET /v1.0/groups/{id}/members[?$select=…&$top=…]`, and through groups in
//! it too: `GET /v1.0/groups/{id}/transitiveMembers[?$select=…&$top=…]`.

use super::directory_object::{DirectoryObject, selected};
use super::graph_group::GraphGroup;
use crate::simulator::answer::AzureAnswer;
use crate::simulator::errors::AzureError;
use crate::simulator::request::{CallMethod, NextLink, NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::services::AzureService;
use crate::simulator::state::AzureState;
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use time::OffsetDateTime;
use uuid::Uuid;

/// Members on one page, unless a request asks for another number.
const PAGE_DEFAULT: usize = 100;
/// The most that a request can ask for.
const PAGE_MAX: usize = 999;

/// What a request asks for.
/// Facts: F-047, F-177.
#[derive(Debug, Clone)]
pub struct MembersOperation {
    group: Uuid,
    /// Through groups in the group too.
    transitive: bool,
    select: Vec<&'static str>,
    page_size: usize,
    /// Members that were on the pages before.
    skip: usize,
    link: NextLink,
}

/// Reads a request.
/// Facts: F-049.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<MembersOperation>, NotRecognised> {
    let unknown = || NotRecognised::because(format!("{} of {}", received.verb, received.path));
    let path = received.path.strip_prefix("/v1.0/groups/").filter(|_| received.verb == "GET");
    let (group, collection) = path.and_then(|path| path.split_once('/')).ok_or_else(unknown)?;
    let group = Uuid::try_parse(group).map_err(|_| unknown())?;
    let transitive = match collection {
        "members" => false,
        "transitiveMembers" => true,
        _ => return Err(unknown()),
    };
    received.check_parameters(&["$select", "$top", "$skiptoken"])?;
    let number = |name: &str| match received.parameter(name).map(str::parse::<usize>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(NotRecognised::because(format!("{name} is not a number"))),
    };
    let page_size = number("$top")?.unwrap_or(PAGE_DEFAULT);
    if page_size == 0 || page_size > PAGE_MAX {
        let message = format!(
            "Invalid page size specified: '{page_size}'. Must be between 1 and {PAGE_MAX} inclusive."
        );
        return Err(NotRecognised::Refused(AzureError::new(400, "Request_UnsupportedQuery", message)));
    }
    let operation = MembersOperation {
        group,
        transitive,
        select: selected(received.parameter("$select"))?,
        page_size,
        skip: number("$skiptoken")?.unwrap_or_default(),
        link: NextLink::of(received),
    };
    let about = group.to_string();
    let mut request = ParsedRequest::outside_arm(AzureService::Graph, CallMethod::List, about, operation);
    request.principal = Some(group);
    Ok(request)
}

/// One page of the members, or 404.
/// Facts: F-047, F-048, F-177.
pub fn answer(state: &AzureState, operation: &MembersOperation, now: OffsetDateTime) -> AzureAnswer {
    let Some(group) = state.groups.get(&operation.group) else {
        return AzureAnswer::refused(
            AzureService::Graph,
            &AzureError::object_not_found(operation.group),
            now,
        );
    };
    let members = match operation.transitive {
        true => transitive_members(state, group),
        false => group.members.iter().filter_map(|id| DirectoryObject::find(state, *id)).collect(),
    };
    let rest = members.get(operation.skip..).unwrap_or_default();
    let page = rest.get(..operation.page_size).unwrap_or(rest);
    let value: Vec<Value> = page.iter().map(|object| object.body(state, &operation.select)).collect();
    let context = "https://graph.microsoft.com/v1.0/$metadata#directoryObjects";
    let mut body = json!({ "@odata.context": context, "value": value });
    if let Some(fields) = body.as_object_mut().filter(|_| page.len() < rest.len()) {
        let link = operation.link.after(&(operation.skip + page.len()).to_string());
        fields.insert("@odata.nextLink".to_owned(), json!(link));
    }
    AzureAnswer::new(200, Some(body), now)
}

/// Everything in the group, each once, nearest first. The group itself is not among it, also where it is in one of its
/// members.
fn transitive_members<'a>(state: &'a AzureState, group: &'a GraphGroup) -> Vec<DirectoryObject<'a>> {
    let mut seen = BTreeSet::from([group.id]);
    let mut members = Vec::new();
    let mut open = VecDeque::from([group]);
    while let Some(group) = open.pop_front() {
        for id in &group.members {
            if !seen.insert(*id) {
                continue;
            }
            let Some(object) = DirectoryObject::find(state, *id) else { continue };
            members.push(object);
            if let DirectoryObject::Group(inner) = object {
                open.push_back(inner);
            }
        }
    }
    members
}
