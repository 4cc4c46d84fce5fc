//! `/Groups`: parse, call, respond.

use super::body::GroupBody;
use super::conditions::ConditionHeaders;
use super::error::EndpointResult;
use super::query::{AnswerParams, QueryParams};
use super::respond;
use super::streaming;
use crate::id::GroupId;
use crate::scim::{self, GroupInput, ListQuery, PatchRequest, ResourceType};
use crate::service::{Provisioning, RequestTarget, ScimCaller};
use actix_web::web::{Data, Path, ReqData};

const KIND: ResourceType = ResourceType::Group;

/// `POST /Groups` (RFC 7644 3.3).
pub(super) async fn create(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    query: AnswerParams,
    mut body: GroupBody,
) -> EndpointResult {
    let projection = query.projection(KIND)?;
    let input = GroupInput::parse(&body.take_json())?;
    let created = service.create_group(&caller, &input, &projection).await?;
    Ok(respond::created(created, &projection))
}

/// `GET /Groups/{id}` (RFC 7644 3.4.1).
pub(super) async fn get(
    service: Data<Provisioning>,
    id: Path<String>,
    query: QueryParams,
    conditions: ConditionHeaders,
) -> EndpointResult {
    let projection = query.projection(KIND)?;
    let answer = service.get_group(target(&id, conditions)?, &projection).await?;
    Ok(respond::unless_not_modified(answer, &projection))
}

/// `GET /Groups` (RFC 7644 3.4.2).
pub(super) async fn list(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    query: QueryParams,
) -> EndpointResult {
    let query = query.list(KIND)?;
    streaming::answer_list(service.list(&caller, &query).await?, &query).await
}

/// `POST /Groups/.search` (RFC 7644 3.4.3).
pub(super) async fn search(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    mut body: GroupBody,
) -> EndpointResult {
    let query = ListQuery::from_search(KIND, &body.take_json())?;
    streaming::answer_list(service.list(&caller, &query).await?, &query).await
}

/// `PUT /Groups/{id}` (RFC 7644 3.5.1).
pub(super) async fn replace(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    id: Path<String>,
    query: AnswerParams,
    conditions: ConditionHeaders,
    mut body: GroupBody,
) -> EndpointResult {
    let projection = query.projection(KIND)?;
    let target = target(&id, conditions)?;
    let input = GroupInput::parse(&body.take_json())?;
    let replaced = service.replace_group(&caller, target, &input, &projection).await?;
    Ok(respond::resource(replaced, &projection))
}

/// `PATCH /Groups/{id}` (RFC 7644 3.5.2). A group too large to be echoed answers 204.
pub(super) async fn patch(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    id: Path<String>,
    query: AnswerParams,
    conditions: ConditionHeaders,
    mut body: GroupBody,
) -> EndpointResult {
    let projection = query.projection(KIND)?;
    let patch = PatchRequest::parse(KIND, &body.take_json())?;
    let patched = service.patch_group(&caller, target(&id, conditions)?, &patch, &projection).await?;
    Ok(respond::unless_too_large(patched, &projection))
}

/// `DELETE /Groups/{id}` (RFC 7644 3.6).
pub(super) async fn delete(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    id: Path<String>,
    conditions: ConditionHeaders,
) -> EndpointResult {
    service.delete_group(&caller, target(&id, conditions)?).await?;
    Ok(respond::nothing())
}

/// Reads the id of the path. Text that is no id is as good as one that no resource has.
fn target(id: &str, conditions: ConditionHeaders) -> Result<RequestTarget<GroupId>, scim::Error> {
    conditions.target(GroupId::parse(id).ok())
}
