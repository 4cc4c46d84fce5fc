//! The answer to a request that cannot be carried out (RFC 7644 section 3.12).

use crate::scim::schema::ResourceType;
use crate::scim::urn;
use serde_json::{Value, json};
use std::fmt;

/// A refusal: status, `scimType` where the RFC has one, and a sentence that says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// The HTTP status.
    pub status: u16,
    /// The RFC's keyword for the mistake.
    pub scim_type: Option<ScimType>,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// The keywords of RFC 7644 table 9 and RFC 9865 that this service answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScimType {
    /// The filter cannot be understood, or names what cannot be filtered.
    InvalidFilter,
    /// Answering would take more rows than this service reads for one request.
    TooMany,
    /// Another resource holds this value.
    Uniqueness,
    /// The attribute cannot be changed by clients.
    Mutability,
    /// The body is not the message it should be.
    InvalidSyntax,
    /// The PATCH path, or `sortBy`, names nothing that exists.
    InvalidPath,
    /// The PATCH path selects nothing to change.
    NoTarget,
    /// A value is missing, of the wrong type, or not allowed.
    InvalidValue,
    /// The cursor is none of ours, or was given for another query or caller.
    InvalidCursor,
    /// The cursor was given too long ago.
    ExpiredCursor,
    /// The size of a page that is asked for with a cursor.
    InvalidCount,
}

impl Error {
    fn new(status: u16, scim_type: Option<ScimType>, detail: impl Into<String>) -> Self {
        Self { status, scim_type, detail: detail.into() }
    }

    /// 400 with that keyword.
    pub(super) fn bad_request(scim_type: ScimType, detail: impl Into<String>) -> Self {
        Self::new(400, Some(scim_type), detail)
    }

    /// 400 `invalidFilter`.
    pub(super) fn invalid_filter(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidFilter, detail)
    }

    /// 400 `invalidPath`.
    pub(super) fn invalid_path(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidPath, detail)
    }

    /// 400 `invalidSyntax`.
    pub(crate) fn invalid_syntax(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidSyntax, detail)
    }

    /// 400 `invalidValue`.
    pub(crate) fn invalid_value(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidValue, detail)
    }

    /// 400 `invalidCursor`.
    pub(crate) fn invalid_cursor() -> Self {
        let detail = "the cursor is not one that was given for this endpoint, filter, order and token; send an empty \
            cursor for the first page, and then nextCursor or previousCursor as it was answered, with the same parameters";
        Self::bad_request(ScimType::InvalidCursor, detail)
    }

    /// 400 `expiredCursor`: it was taken for so many seconds.
    pub(crate) fn expired_cursor(timeout_seconds: u64) -> Self {
        let detail = format!(
            "the cursor has expired: it was good for {timeout_seconds} seconds; begin again with an empty cursor"
        );
        Self::bad_request(ScimType::ExpiredCursor, detail)
    }

    /// 400 `invalidCount`.
    pub(super) fn invalid_count(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::InvalidCount, detail)
    }

    /// 400 `mutability`.
    pub(crate) fn mutability(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::Mutability, detail)
    }

    /// 400 `noTarget`.
    pub(crate) fn no_target(detail: impl Into<String>) -> Self {
        Self::bad_request(ScimType::NoTarget, detail)
    }

    /// 400 `tooMany`: `limit` is what answering would exceed.
    pub(crate) fn too_many(limit: impl fmt::Display) -> Self {
        let detail = format!("answering this would read more than {limit}; narrow the filter");
        Self::bad_request(ScimType::TooMany, detail)
    }

    /// 401.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(401, None, detail)
    }

    /// 403.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, None, detail)
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, None, detail)
    }

    /// 404: no resource of that kind has the id of the path.
    pub(crate) fn no_such_resource(kind: ResourceType) -> Self {
        Self::not_found(format!("there is no {} with this id", kind.name()))
    }

    /// 405.
    pub(crate) fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(405, None, detail)
    }

    /// 408.
    pub(crate) fn request_timeout(detail: impl Into<String>) -> Self {
        Self::new(408, None, detail)
    }

    /// 409 `uniqueness`: another resource of that kind has the value of this attribute.
    pub(crate) fn uniqueness(kind: ResourceType, attribute: &str) -> Self {
        let kind = kind.name();
        let detail =
            format!("a {kind} with this {attribute} exists; find it with the filter {attribute} eq \"…\"");
        Self::new(409, Some(ScimType::Uniqueness), detail)
    }

    /// 409: what the request refers to does not exist.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(409, None, detail)
    }

    /// 412.
    pub(crate) fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(412, None, detail)
    }

    /// 413.
    pub(crate) fn payload_too_large(detail: impl Into<String>) -> Self {
        Self::new(413, None, detail)
    }

    /// 415.
    pub(crate) fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(415, None, detail)
    }

    /// 500.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(500, None, detail)
    }

    /// 501.
    pub(crate) fn not_implemented(detail: impl Into<String>) -> Self {
        Self::new(501, None, detail)
    }

    /// 503.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(503, None, detail)
    }

    /// An error of the web framework, with the status that it chose.
    pub(crate) fn of_framework(status: u16, detail: impl Into<String>) -> Self {
        Self::new(status, None, detail)
    }

    /// Whether the request asks for more than fits.
    pub(crate) fn is_payload_too_large(&self) -> bool {
        self.status == 413
    }

    /// The body of the answer; the status is text there.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "schemas": [urn::ERROR],
            "status": self.status.to_string(),
            "detail": self.detail,
        });
        if let (Some(scim_type), Some(body)) = (self.scim_type, body.as_object_mut()) {
            body.insert("scimType".to_owned(), Value::from(scim_type.keyword()));
        }
        body
    }
}

impl ScimType {
    /// The keyword as an answer writes it.
    pub const fn keyword(self) -> &'static str {
        match self {
            ScimType::InvalidFilter => "invalidFilter",
            ScimType::TooMany => "tooMany",
            ScimType::Uniqueness => "uniqueness",
            ScimType::Mutability => "mutability",
            ScimType::InvalidSyntax => "invalidSyntax",
            ScimType::InvalidPath => "invalidPath",
            ScimType::NoTarget => "noTarget",
            ScimType::InvalidValue => "invalidValue",
            ScimType::InvalidCursor => "invalidCursor",
            ScimType::ExpiredCursor => "expiredCursor",
            ScimType::InvalidCount => "invalidCount",
        }
    }
}

impl fmt::Display for ScimType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_status_as_text_and_no_empty_scim_type() {
        let known = Error::no_target("nothing there").body();
        assert_eq!(
            known,
            json!({"schemas": [urn::ERROR], "status": "400", "scimType": "noTarget", "detail": "nothing there"})
        );
        let plain = Error::not_found("no such user").body();
        assert_eq!(plain, json!({"schemas": [urn::ERROR], "status": "404", "detail": "no such user"}));
    }
}
