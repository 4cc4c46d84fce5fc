//! What this service can do (RFC 7644 4). The answers come from the attribute table.

use super::error::EndpointResult;
use super::query::QueryParams;
use super::respond;
use crate::scim::{self, discovery, list_response};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use serde_json::Value;

/// The public address, which the answers print.
pub(super) struct BaseUrl(pub String);

/// Whether ServiceProviderConfig says how lists are paged.
pub(super) struct AnnounceCursors(pub bool);

/// `GET /ServiceProviderConfig`.
pub(super) async fn service_provider_config(
    base: Data<BaseUrl>,
    announce: Data<AnnounceCursors>,
    query: QueryParams,
) -> EndpointResult {
    refuse_filter(&query)?;
    let config = discovery::service_provider_config(&base.0, announce.0);
    Ok(respond::scim(StatusCode::OK, &config))
}

/// `GET /ResourceTypes`.
pub(super) async fn resource_types(base: Data<BaseUrl>, query: QueryParams) -> EndpointResult {
    refuse_filter(&query)?;
    Ok(all(discovery::resource_types(&base.0)))
}

/// `GET /ResourceTypes/{name}`.
pub(super) async fn resource_type(
    base: Data<BaseUrl>,
    query: QueryParams,
    id: Path<String>,
) -> EndpointResult {
    refuse_filter(&query)?;
    one(discovery::resource_types(&base.0), &id)
}

/// `GET /Schemas`.
pub(super) async fn schemas(base: Data<BaseUrl>, query: QueryParams) -> EndpointResult {
    refuse_filter(&query)?;
    Ok(all(discovery::schemas(&base.0)))
}

/// `GET /Schemas/{urn}`.
pub(super) async fn schema(base: Data<BaseUrl>, query: QueryParams, id: Path<String>) -> EndpointResult {
    refuse_filter(&query)?;
    one(discovery::schemas(&base.0), &id)
}

/// Discovery is not searched (RFC 7644 4): 403.
fn refuse_filter(query: &QueryParams) -> Result<(), scim::Error> {
    match query.get("filter") {
        None => Ok(()),
        Some(_) => Err(scim::Error::forbidden("discovery endpoints take no filter")),
    }
}

fn all(resources: Vec<Value>) -> HttpResponse {
    respond::scim(StatusCode::OK, &list_response(resources.len(), 1, resources))
}

/// By id, without case: schema URNs are compared so (RFC 8141 3.1), and names are ours.
fn one(resources: Vec<Value>, id: &str) -> EndpointResult {
    let same = |one: &Value| {
        let own = one.get("id").or_else(|| one.get("name")).and_then(Value::as_str);
        own.is_some_and(|own| own.eq_ignore_ascii_case(id))
    };
    match resources.into_iter().find(same) {
        Some(found) => Ok(respond::scim(StatusCode::OK, &found)),
        None => Err(scim::Error::not_found("there is nothing of that name").into()),
    }
}
