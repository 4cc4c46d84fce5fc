//! How answers look: SCIM JSON, never cached, never sniffed.

use crate::id::RequestId;
use crate::scim::Projection;
use crate::service::{RenderedResource, ResourceAnswer};
use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

const SCIM_JSON: &str = "application/scim+json; charset=utf-8";
const JSON: &str = "application/json";

/// A SCIM body under any status.
pub(super) fn scim(status: StatusCode, body: &Value) -> HttpResponse {
    answer(status, SCIM_JSON, body)
}

/// Plain JSON, for whatever is not SCIM.
pub(super) fn json(body: &Value) -> HttpResponse {
    answer(StatusCode::OK, JSON, body)
}

/// Plain JSON under any status.
pub(super) fn json_with(status: StatusCode, body: &Value) -> HttpResponse {
    answer(status, JSON, body)
}

/// 200 with what the caller asked to see of a resource.
pub(super) fn resource(rendered: RenderedResource, projection: &Projection) -> HttpResponse {
    with_etag(scim(StatusCode::OK, &projection.apply(rendered.body)), &rendered.version)
}

/// The answer to a read: 304 where the client has this version (RFC 7644 3.14).
pub(super) fn unless_not_modified(answer: ResourceAnswer, projection: &Projection) -> HttpResponse {
    resource_or(answer, projection, StatusCode::NOT_MODIFIED)
}

/// The answer to a PATCH: 204 where the resource is too large to be sent along.
pub(super) fn unless_too_large(answer: ResourceAnswer, projection: &Projection) -> HttpResponse {
    resource_or(answer, projection, StatusCode::NO_CONTENT)
}

fn resource_or(answer: ResourceAnswer, projection: &Projection, otherwise: StatusCode) -> HttpResponse {
    match answer {
        ResourceAnswer::Shown(rendered) => resource(rendered, projection),
        ResourceAnswer::VersionOnly(version) => with_etag(guarded(HttpResponse::new(otherwise)), &version),
    }
}

/// 201 and where the new resource is (RFC 7644 3.3).
pub(super) fn created(rendered: RenderedResource, projection: &Projection) -> HttpResponse {
    let location = HeaderValue::from_str(&rendered.location);
    let created = scim(StatusCode::CREATED, &projection.apply(rendered.body));
    let mut response = with_etag(created, &rendered.version);
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// 200 with a list (RFC 7644 3.4.2) as text, whole or in pieces.
pub(super) fn list<B>(body: B) -> HttpResponse
where
    B: MessageBody + 'static,
{
    typed(HttpResponse::Ok().body(body), SCIM_JSON)
}

/// 204.
pub(super) fn nothing() -> HttpResponse {
    guarded(HttpResponse::new(StatusCode::NO_CONTENT))
}

fn answer(status: StatusCode, content_type: &'static str, body: &Value) -> HttpResponse {
    typed(HttpResponse::build(status).body(body.to_string()), content_type)
}

fn typed(mut response: HttpResponse, content_type: &'static str) -> HttpResponse {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    guarded(response)
}

/// The version of the only resource of an answer, as `meta.version` has it.
fn with_etag(mut response: HttpResponse, version: &str) -> HttpResponse {
    if let Ok(version) = HeaderValue::from_str(version) {
        response.headers_mut().insert(header::ETAG, version);
    }
    response
}

/// Names the request that is answered: log lines and `requests` know it by this id.
pub(super) fn name_request(headers: &mut HeaderMap, request: RequestId) {
    if let Ok(request) = HeaderValue::from_str(&request.to_string()) {
        headers.insert(HeaderName::from_static("x-request-id"), request);
    }
}

fn guarded(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderName::from_static("x-content-type-options");
    headers.insert(nosniff, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::ResourceType;
    use serde_json::json;

    fn rendered(location: &str) -> RenderedResource {
        RenderedResource {
            id: "u-1".to_owned(),
            location: location.to_owned(),
            version: r#"W/"1""#.to_owned(),
            varies: false,
            body: json!({"id": "u-1"}),
        }
    }

    #[test]
    fn a_new_resource_says_where_it_is() {
        let everything = Projection::all(ResourceType::User);
        let response = created(rendered("https://scim.example/scim/v2/Users/u-1"), &everything);
        assert_eq!(response.status(), StatusCode::CREATED);
        let location = response.headers().get(header::LOCATION).unwrap();
        assert_eq!(location, "https://scim.example/scim/v2/Users/u-1");
    }

    #[test]
    fn a_location_is_one_line_or_none() {
        let everything = Projection::all(ResourceType::User);
        let response = created(rendered("https://scim.example/\r\nX-Injected: 1"), &everything);
        assert!(response.headers().get(header::LOCATION).is_none());
    }

    #[test]
    fn nothing_is_204_without_a_body() {
        let response = nothing();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert!(response.headers().get(header::CONTENT_TYPE).is_none());
        assert_eq!(response.headers().get(header::CACHE_CONTROL).unwrap(), "no-store");
    }
}
