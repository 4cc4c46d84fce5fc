//! Who may call. Everything is denied but two probes, before any routing, so that no spelling of a path gets around it.
//!
//! A token is compared as its SHA-256, in constant time, against every token there is. It is taken from one place only:
//! a single `Authorization` header with a single bearer token.

use super::error::HttpError;
use super::trace::TraceId;
use crate::service::Caller;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// A shorter token can be guessed.
pub const TOKEN_CHARS_MIN: usize = 32;

/// Why a set of tokens cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("there is no bearer token")]
    Empty,
    #[error("the bearer token labelled {label:?} has fewer than {TOKEN_CHARS_MIN} characters")]
    TooShort { label: String },
    #[error("the bearer token labelled {label:?} holds characters that no bearer token has (RFC 6750 2.1)")]
    Characters { label: String },
}

/// The tokens that may call, by label. Holds hashes only.
pub struct TokenSet(Vec<(String, [u8; 32])>);

impl TokenSet {
    /// Checks and hashes tokens, each with the label that audit records show.
    pub fn new(tokens: impl IntoIterator<Item = (String, SecretString)>) -> Result<Self, TokenError> {
        let entries: Vec<_> = tokens.into_iter().map(entry).collect::<Result<_, _>>()?;
        if entries.is_empty() { Err(TokenError::Empty) } else { Ok(Self(entries)) }
    }

    /// The label of a presented token. Compares with every token, whatever matches.
    fn label_of(&self, presented: &str) -> Option<&str> {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let mut found = None;
        for (label, known) in &self.0 {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(label.as_str());
            }
        }
        found
    }
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(label, _)| label)).finish()
    }
}

fn entry((label, token): (String, SecretString)) -> Result<(String, [u8; 32]), TokenError> {
    let token = token.expose_secret();
    if !is_b64token(token) && !token.is_empty() {
        return Err(TokenError::Characters { label });
    }
    if token.len() < TOKEN_CHARS_MIN {
        return Err(TokenError::TooShort { label });
    }
    Ok((label, Sha256::digest(token).into()))
}

/// Lets a request pass with its [`Caller`], or answers 401.
pub async fn authenticate<B: MessageBody>(
    tokens: Data<TokenSet>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if is_open(&request) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let label = presented(request.headers()).and_then(|token| tokens.label_of(token));
    let Some(label) = label else {
        return Ok(request.error_response(HttpError::Unauthorized).map_into_right_body());
    };
    let trace_id = request.extensions().get::<TraceId>().map(|TraceId(id)| id.clone());
    let caller = Caller { token_label: label.to_owned(), trace_id };
    request.extensions_mut().insert(caller);
    Ok(next.call(request).await?.map_into_left_body())
}

/// The host's probe and the health check, spelled exactly so.
fn is_open(request: &ServiceRequest) -> bool {
    request.method() == Method::GET && matches!(request.uri().path(), "/" | "/healthz")
}

/// The token of the only `Authorization` header, whose scheme is `Bearer` in any case (RFC 6750 2.1).
fn presented(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let (Some(only), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && is_b64token(token)).then_some(token)
}

fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    const TOKEN: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

    fn set(tokens: &[(&str, &str)]) -> Result<TokenSet, TokenError> {
        TokenSet::new(tokens.iter().map(|(label, token)| ((*label).to_owned(), (*token).to_owned().into())))
    }

    #[test]
    fn weak_sets_are_refused() {
        let label = || "entra".to_owned();
        assert_eq!(set(&[]).unwrap_err(), TokenError::Empty);
        for token in ["", "short", "abcdefghijklmnopqrstuvwxyz01234"] {
            assert_eq!(set(&[("entra", token)]).unwrap_err(), TokenError::TooShort { label: label() });
        }
        for token in
            ["                                    ", "abcdefghijklmnop qrstuvwxyz0123456789", "====="]
        {
            assert_eq!(set(&[("entra", token)]).unwrap_err(), TokenError::Characters { label: label() });
        }
    }

    #[test]
    fn a_token_is_known_by_its_label_and_never_printed() {
        let other = TOKEN.to_uppercase();
        let tokens = set(&[("entra", TOKEN), ("okta", &other)]).unwrap();
        assert_eq!(tokens.label_of(TOKEN), Some("entra"));
        assert_eq!(tokens.label_of(&other), Some("okta"));
        assert_eq!(tokens.label_of(""), None);
        assert_eq!(tokens.label_of("bcdefghijklmnopqrstuvwxyz0123456789"), None);
        assert_eq!(format!("{tokens:?}"), r#"["entra", "okta"]"#);
    }

    #[track_caller]
    fn check(values: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(presented(&headers), expected, "{values:?}");
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
