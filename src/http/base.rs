//! The base URL: users and groups together (RFC 7644 3.4.2.1).

use super::body::UserBody;
use super::error::EndpointResult;
use super::query::QueryParams;
use super::streaming;
use crate::scim::{self, ListQuery};
use crate::service::{Provisioning, ScimCaller};
use actix_web::web::{Data, ReqData};

/// `GET` of the base URL itself. Without a filter it is the first page of all, so that a set-up test of the URL gets 200.
pub(super) async fn list(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    query: QueryParams,
) -> EndpointResult {
    let query = query.list_of_all_types()?;
    streaming::answer_list(service.list(&caller, &query).await?, &query).await
}

/// `POST /.search` (RFC 7644 3.4.3).
pub(super) async fn search(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    mut body: UserBody,
) -> EndpointResult {
    let query = ListQuery::for_all_types_from_search(&body.take_json())?;
    streaming::answer_list(service.list(&caller, &query).await?, &query).await
}

/// `/Me` (RFC 7644 3.11): no user is behind a bearer token.
pub(super) async fn me() -> EndpointResult {
    let detail = "there is no /Me here: the bearer token is that of a provisioning client and not of a user; find users \
        with GET /Users?filter=userName eq \"…\"";
    Err(scim::Error::not_implemented(detail).into())
}
