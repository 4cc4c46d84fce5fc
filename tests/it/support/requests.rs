//! What the HTTP edge makes of ids and bodies, for tests that call the use cases themselves.

use azure_backup_scim::id::{GroupId, UserId};
use azure_backup_scim::scim::{self, GroupInput, PatchRequest, ResourceType, UserInput};
use serde_json::Value;

pub fn user_id(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

pub fn group_id(text: &str) -> GroupId {
    GroupId::parse(text).unwrap()
}

pub fn user_input(body: &Value) -> UserInput {
    UserInput::parse(body).unwrap()
}

pub fn group_input(body: &Value) -> GroupInput {
    GroupInput::parse(body).unwrap()
}

pub fn user_patch(body: &Value) -> Result<PatchRequest, scim::Error> {
    PatchRequest::parse(ResourceType::User, body)
}

pub fn group_patch(body: &Value) -> Result<PatchRequest, scim::Error> {
    PatchRequest::parse(ResourceType::Group, body)
}
