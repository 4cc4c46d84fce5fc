//! `/Bulk`: parse, call, respond.

use super::body::BulkBody;
use super::error::{EndpointResult, HttpError};
use super::respond;
use super::trace::RequestObserver;
use crate::error_chain::ErrorChain;
use crate::ports::ids::IdSource;
use crate::scim::BulkRequest;
use crate::scim::bulk::{OperationResponse, bulk_response};
use crate::service::provisioning::OperationResult;
use crate::service::{Provisioning, ScimCaller, ServiceError};
use actix_web::http::StatusCode;
use actix_web::web::{Data, ReqData};
use serde_json::Value;

/// `POST /Bulk` (RFC 7644 3.7).
pub(super) async fn bulk(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    observer: Data<RequestObserver>,
    mut body: BulkBody,
) -> EndpointResult {
    let request = BulkRequest::parse(body.take_json())?;
    let results = service.run_bulk(&caller, request).await;
    let operations = results.into_iter().map(|result| render(result, observer.ids.as_ref())).collect();
    Ok(respond::scim(StatusCode::OK, &bulk_response(operations)))
}

fn render(result: OperationResult, ids: &dyn IdSource) -> Value {
    let OperationResult { method, bulk_id, location, version, outcome } = result;
    let response = OperationResponse {
        method: &method,
        bulk_id: bulk_id.as_deref(),
        location: location.as_deref(),
        version: version.as_deref(),
        outcome: outcome.map_err(|error| logged(error, ids).scim()),
    };
    response.render()
}

/// What answers an operation that failed. A bug is hidden behind an id that the log has.
fn logged(error: ServiceError, ids: &dyn IdSource) -> HttpError {
    let error = HttpError::from(error);
    if error.is_bug() {
        let correlation = ids.random().to_string();
        tracing::error!(error = %ErrorChain(&error), correlation, "an operation of a bulk request failed");
        return HttpError::Internal { correlation };
    }
    if error.is_unavailable() {
        tracing::warn!(error = %ErrorChain(&error), "an operation of a bulk request cannot be carried out now");
    }
    error
}
