//! `/Bulk`: parse, call, respond.

use super::body::BulkBody;
use super::error::{EndpointResult, HttpError};
use super::request_record::{self, ArrivedBody, NotedWrites, WriteTarget};
use super::respond;
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::id::RequestId;
use crate::scim::BulkRequest;
use crate::scim::bulk::{OperationResponse, bulk_response};
use crate::service::provisioning::OperationResult;
use crate::service::{Provisioning, ScimCaller, ServiceError};
use actix_web::http::StatusCode;
use actix_web::web::{Data, ReqData};
use actix_web::{HttpMessage, HttpRequest};
use serde_json::Value;

/// Failed operations of one request that are noted one by one. The others are counted, unless they would have taken access away.
const NOTED_MAX: usize = 10;

/// The path of bulk requests.
pub(super) const PATH: &str = "/scim/v2/Bulk";

/// `POST /Bulk` (RFC 7644 3.7).
pub(super) async fn bulk(
    service: Data<Provisioning>,
    caller: ReqData<ScimCaller>,
    request_id: ReqData<RequestId>,
    request: HttpRequest,
    mut body: BulkBody,
) -> EndpointResult {
    let bulk = BulkRequest::parse(body.take_json())?;
    let results = service.run_bulk(&caller, bulk).await;
    note_refusals(&request, &caller, &results);
    let operations = results.into_iter().map(|result| render(result, *request_id)).collect();
    Ok(respond::scim(StatusCode::OK, &bulk_response(operations)))
}

/// Notes the operations that failed as if each had come alone. Of a large body, which is not kept, the results say what they
/// were.
fn note_refusals(request: &HttpRequest, caller: &ScimCaller, results: &[OperationResult]) {
    let mut refused = results.iter().filter_map(|result| Some((result, result.outcome.as_ref().err()?)));
    let Some(first) = refused.next() else { return };
    let body = request.extensions().get::<ArrivedBody>().and_then(|body| request_record::parsed(&body.0));
    let operations = body.as_ref().and_then(BulkRequest::operations).unwrap_or_default();
    for (place, (result, error)) in std::iter::once(first).chain(refused).enumerate() {
        let refusal = HttpError::refusal(error);
        let noted = if place < NOTED_MAX { NotedWrites::All } else { NotedWrites::TakingAway };
        let operation = result.number.checked_sub(1).and_then(|at| operations.get(at));
        let target = match operation {
            Some(operation) => WriteTarget::of_operation(operation),
            None => WriteTarget::of_result(&result.method, result.location.as_deref()),
        };
        let data = operation.and_then(|operation| operation.get("data"));
        let operation = (Some(result.number), noted);
        request_record::note_write(request, caller, operation, target, &refusal, data);
    }
}

fn render(result: OperationResult, request: RequestId) -> Value {
    let OperationResult { number: _, method, bulk_id, location, version, outcome } = result;
    let response = OperationResponse {
        method: &method,
        bulk_id: bulk_id.as_deref(),
        location: location.as_deref(),
        version: version.as_deref(),
        outcome: outcome.map_err(|error| logged(error, request).scim_in(request)),
    };
    response.render()
}

/// What answers an operation that failed. A bug is hidden behind the id of the request.
fn logged(error: ServiceError, request: RequestId) -> HttpError {
    let error = HttpError::from(error);
    if error.is_bug() {
        log_event!(RequestFailed, error = %ErrorChain(&error), "an operation of a bulk request failed");
        return HttpError::Internal { request };
    }
    if error.is_unavailable() {
        log_event!(RequestDeferred, error = %ErrorChain(&error), "an operation of a bulk request cannot be carried out now");
    }
    error
}
