//! Recognises the requests to Graph that the simulator knows, and answers them.

use super::app_assignments::{self, AssignedToOperation};
use super::get_by_ids::{self, ByIdsOperation};
use super::group_members::{self, MembersOperation};
use super::users_api::{self, UserOperation};
use crate::simulator::answer::AzureAnswer;
use crate::simulator::request::{NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::state::AzureState;
use time::OffsetDateTime;

/// What a request asks for.
#[derive(Debug, Clone)]
pub enum GraphOperation {
    User(UserOperation),
    Members(MembersOperation),
    ByIds(ByIdsOperation),
    AssignedTo(AssignedToOperation),
}

/// Reads a request.
/// Facts: F-050.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<GraphOperation>, NotRecognised> {
    if received.path.starts_with("/v1.0/groups/") {
        return Ok(group_members::recognise(received)?.map(GraphOperation::Members));
    }
    if received.path == get_by_ids::PATH {
        return Ok(get_by_ids::recognise(received)?.map(GraphOperation::ByIds));
    }
    if received.path.starts_with(app_assignments::PREFIX) {
        return Ok(app_assignments::recognise(received)?.map(GraphOperation::AssignedTo));
    }
    Ok(users_api::recognise(received)?.map(GraphOperation::User))
}

/// What Graph answers.
/// Facts: F-050.
pub fn answer(state: &AzureState, operation: &GraphOperation, now: OffsetDateTime) -> AzureAnswer {
    match operation {
        GraphOperation::User(operation) => users_api::answer(state, operation, now),
        GraphOperation::Members(operation) => group_members::answer(state, operation, now),
        GraphOperation::ByIds(operation) => get_by_ids::answer(state, operation, now),
        GraphOperation::AssignedTo(operation) => app_assignments::answer(state, operation, now),
    }
}
