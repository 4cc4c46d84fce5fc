//! Who may call. Everything is denied but two probes, before any routing, so that no spelling of a path gets around it.
//!
//! A token is taken from one place only: a single `Authorization` header with a single bearer token. Whether it
//! counts, `service::tokens` says.

use super::error::HttpError;
use super::functions::{self, ListenAddress, TimerTrigger};
use crate::id::RequestId;
use crate::service::ScimCaller;
use crate::service::tokens::{BearerTokens, TokenVerdict, is_b64token};
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};

/// Lets a request pass with its [`ScimCaller`], or answers 401; 503 where the tokens cannot be checked.
pub(super) async fn authenticate<B: MessageBody>(
    tokens: Data<BearerTokens>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if is_open(&request) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let verdict = match bearer_token(request.headers()) {
        Some(token) => tokens.check(token).await,
        None => TokenVerdict::Unknown,
    };
    let token_label = match verdict {
        TokenVerdict::Known { label } => {
            // Of the span that `trace` made: whose call each line of it is about.
            tracing::Span::current().record("token.label", label.as_str());
            label
        }
        TokenVerdict::Unknown => {
            return Ok(request.error_response(HttpError::Unauthorized).map_into_right_body());
        }
        TokenVerdict::Unavailable { retry_after } => {
            let error = HttpError::TokensUnavailable { retry_after };
            return Ok(request.error_response(error).map_into_right_body());
        }
    };
    let request_id = request.extensions().get::<RequestId>().copied();
    request.extensions_mut().insert(ScimCaller::new(token_label).in_request(request_id));
    Ok(next.call(request).await?.map_into_left_body())
}

/// The host's probe, the health check and the host's envelope, spelled exactly so.
fn is_open(request: &ServiceRequest) -> bool {
    match request.uri().path() {
        "/" | "/healthz" => request.method() == Method::GET,
        functions::RECONCILE => {
            let timer =
                request.app_data::<Data<TimerTrigger>>().zip(request.app_data::<Data<ListenAddress>>());
            request.method() == Method::POST
                && timer.is_some_and(|(timer, address)| timer.may_call(request.headers(), address))
        }
        _ => false,
    }
}

/// The token of the only `Authorization` header, whose scheme is `Bearer` in any case (RFC 6750 2.1).
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let (Some(only), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && is_b64token(token)).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[track_caller]
    fn check(values: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(bearer_token(&headers), expected, "{values:?}");
    }

    #[test]
    fn one_header_with_one_bearer_token() {
        check(&["Bearer abc"], Some("abc"));
        check(&["bEARER   abc== "], Some("abc=="));
        check(&[], None);
        for value in ["Bearer", "Bearer ", "Bearer   ", "abc", "Basic abc", "Bearerabc", "Bearer a b"] {
            check(&[value], None);
        }
        check(&["Bearer abc, Bearer def"], None);
        check(&["Bearer abc,"], None);
        check(&["Bearer abc", "Bearer abc"], None);
        check(&["Bearer abc", "Basic x"], None);
    }
}
