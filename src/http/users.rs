//! `/Users`: parse, call, respond.

use super::body::UserBody;
use super::error::HttpError;
use super::query::QueryParams;
use super::respond;
use crate::scim::{ListQuery, ResourceType};
use crate::service::{Provisioning, ScimCaller};
use actix_web::HttpResponse;
use actix_web::web::{Data, Path, ReqData};

type Service = Data<Provisioning>;
type Answer = Result<HttpResponse, HttpError>;

const KIND: ResourceType = ResourceType::User;

/// `POST /Users` (RFC 7644 3.3).
pub async fn create(
    service: Service,
    caller: ReqData<ScimCaller>,
    query: QueryParams,
    body: UserBody,
) -> Answer {
    let projection = query.projection(KIND)?;
    let created = service.create_user(&caller, &body, &projection).await?;
    Ok(respond::created(created, &projection))
}

/// `GET /Users/{id}` (RFC 7644 3.4.1).
pub async fn get(service: Service, id: Path<String>, query: QueryParams) -> Answer {
    let projection = query.projection(KIND)?;
    let found = service.get_user(&id, &projection).await?;
    Ok(respond::resource(found, &projection))
}

/// `GET /Users` (RFC 7644 3.4.2).
pub async fn list(service: Service, query: QueryParams) -> Answer {
    let query = query.list(KIND)?;
    respond::list(service.list_users(&query).await?, &query).await
}

/// `POST /Users/.search` (RFC 7644 3.4.3).
pub async fn search(service: Service, body: UserBody) -> Answer {
    let query = ListQuery::from_search(KIND, &body)?;
    respond::list(service.list_users(&query).await?, &query).await
}

/// `PUT /Users/{id}` (RFC 7644 3.5.1).
pub async fn replace(
    service: Service,
    caller: ReqData<ScimCaller>,
    id: Path<String>,
    query: QueryParams,
    body: UserBody,
) -> Answer {
    let projection = query.projection(KIND)?;
    let replaced = service.replace_user(&caller, &id, &body, &projection).await?;
    Ok(respond::resource(replaced, &projection))
}

/// `PATCH /Users/{id}` (RFC 7644 3.5.2).
pub async fn patch(
    service: Service,
    caller: ReqData<ScimCaller>,
    id: Path<String>,
    query: QueryParams,
    body: UserBody,
) -> Answer {
    let projection = query.projection(KIND)?;
    let patched = service.patch_user(&caller, &id, &body, &projection).await?;
    Ok(respond::resource(patched, &projection))
}

/// `DELETE /Users/{id}` (RFC 7644 3.6).
pub async fn delete(service: Service, caller: ReqData<ScimCaller>, id: Path<String>) -> Answer {
    service.delete_user(&caller, &id).await?;
    Ok(respond::nothing())
}
