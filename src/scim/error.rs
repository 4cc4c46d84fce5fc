//! What a SCIM client is told when its request cannot be carried out (RFC 7644 section 3.12).

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

/// The keywords of RFC 7644 table 9.
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
    /// The protocol version is not supported.
    InvalidVers,
    /// The request carries personal data in its URI.
    Sensitive,
}

impl Error {
    /// An error of any kind.
    pub fn new(status: u16, scim_type: Option<ScimType>, detail: impl Into<String>) -> Self {
        Self { status, scim_type, detail: detail.into() }
    }

    /// The body of the answer; the status is text there.
    pub fn body(&self) -> Value {
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

    pub(super) fn bad(scim_type: ScimType, detail: impl Into<String>) -> Self {
        Self::new(400, Some(scim_type), detail)
    }

    pub(super) fn invalid_value(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::InvalidValue, detail)
    }

    pub(super) fn invalid_syntax(detail: impl Into<String>) -> Self {
        Self::bad(ScimType::InvalidSyntax, detail)
    }
}

impl ScimType {
    /// The keyword as it stands in an answer.
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
            ScimType::InvalidVers => "invalidVers",
            ScimType::Sensitive => "sensitive",
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
        let known = Error::bad(ScimType::NoTarget, "nothing there").body();
        assert_eq!(
            known,
            json!({"schemas": [urn::ERROR], "status": "400", "scimType": "noTarget", "detail": "nothing there"})
        );
        let plain = Error::new(404, None, "no such user").body();
        assert_eq!(plain, json!({"schemas": [urn::ERROR], "status": "404", "detail": "no such user"}));
    }
}
