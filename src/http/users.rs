//! `/Users`: parse, call, respond.

use super::body::UserBody;
use super::conditions::ConditionHeaders;
use super::error::EndpointResult;
use super::query::{AnswerParams, QueryParams};
use super::respond;
use super::streaming;
use crate::id::UserId;
use crate::scim::{self, ListQuery, PatchRequest, ResourceType, UserInput};
use crate::service::{Provisioning, RequestTarget, ScimCaller};
use actix_web::web::{Data, Path, ReqData};

const KIND: ResourceType = ResourceType::User;

/// `POST /Users` (RFC 7644 3.3).
pub(super) async fn create(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    query: AnswerParams,
    mut body: UserBody,
) -> EndpointResult {
    let projection = query.projection(KIND)?;
    let input = UserInput::parse(&body.take_json())?;
    let created = service.create_user(&caller, &input, &projection).await?;
    Ok(respond::created(created, &projection))
}

/// `GET /Users/{id}` (RFC 7644 3.4.1).
pub(super) async fn get(
    service: Data<Provisioning>,
    id: Path<String>,
    query: QueryParams,
    conditions: ConditionHeaders,
) -> EndpointResult {
    let projection = query.projection(KIND)?;
    let answer = service.get_user(target(&id, conditions)?, &projection).await?;
    Ok(respond::unless_not_modified(answer, &projection))
}

/// `GET /Users` (RFC 7644 3.4.2).
pub(super) async fn list(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    query: QueryParams,
) -> EndpointResult {
    let query = query.list(KIND)?;
    streaming::answer_list(service.list(&caller, &query).await?, &query).await
}

/// `POST /Users/.search` (RFC 7644 3.4.3).
pub(super) async fn search(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    mut body: UserBody,
) -> EndpointResult {
    let query = ListQuery::from_search(KIND, &body.take_json())?;
    streaming::answer_list(service.list(&caller, &query).await?, &query).await
}

/// `PUT /Users/{id}` (RFC 7644 3.5.1).
pub(super) async fn replace(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    id: Path<String>,
    query: AnswerParams,
    conditions: ConditionHeaders,
    mut body: UserBody,
) -> EndpointResult {
    let projection = query.projection(KIND)?;
    let target = target(&id, conditions)?;
    let input = UserInput::parse(&body.take_json())?;
    let replaced = service.replace_user(&caller, target, &input, &projection).await?;
    Ok(respond::resource(replaced, &projection))
}

/// `PATCH /Users/{id}` (RFC 7644 3.5.2).
pub(super) async fn patch(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    id: Path<String>,
    query: AnswerParams,
    conditions: ConditionHeaders,
    mut body: UserBody,
) -> EndpointResult {
    let projection = query.projection(KIND)?;
    let patch = PatchRequest::parse(KIND, &body.take_json())?;
    let patched = service.patch_user(&caller, target(&id, conditions)?, &patch, &projection).await?;
    Ok(respond::resource(patched, &projection))
}

/// `DELETE /Users/{id}` (RFC 7644 3.6).
pub(super) async fn delete(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    id: Path<String>,
    conditions: ConditionHeaders,
) -> EndpointResult {
    service.delete_user(&caller, target(&id, conditions)?).await?;
    Ok(respond::nothing())
}

/// Reads the id of the path. Text that is no id is as good as one that no resource has.
fn target(id: &str, conditions: ConditionHeaders) -> Result<RequestTarget<UserId>, scim::Error> {
    conditions.target(UserId::parse(id).ok())
}
