//! `If-Match` and `If-None-Match` of a request (RFC 7644 3.14).

use super::error::HttpError;
use crate::scim::{self, Preconditions};
use crate::service::RequestTarget;
use crate::store::resources::ResourceId;
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{FromRequest, HttpRequest};
use std::future::{Ready, ready};

/// What a request requires of the version of its resource.
pub(super) struct ConditionHeaders(Preconditions);

impl ConditionHeaders {
    /// The resource that the path names; where it names none, the error about a resource that does not exist.
    pub fn target<I: ResourceId>(self, id: Option<I>) -> Result<RequestTarget<I>, scim::Error> {
        match id {
            Some(id) => Ok(RequestTarget { id, preconditions: self.0 }),
            None => Err(self.0.missing(I::KIND)),
        }
    }
}

impl FromRequest for ConditionHeaders {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let if_match = joined(request.headers(), header::IF_MATCH);
        let if_none_match = joined(request.headers(), header::IF_NONE_MATCH);
        let parsed = Preconditions::parse(if_match.as_deref(), if_none_match.as_deref());
        ready(parsed.map(Self).map_err(HttpError::from))
    }
}

/// A list may be spread over several headers of one name (RFC 9110 section 5.3). Bytes that are no text are in no tag of ours.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines = headers.get_all(name).map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
    lines.reduce(|list, line| format!("{list}, {line}"))
}
