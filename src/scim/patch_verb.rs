//! What a PATCH operation does with its path (RFC 7644 section 3.5.2).

use crate::scim::error::Error;
use crate::scim::quoted_text::quoted;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchVerb {
    Add,
    Replace,
    Remove,
}

impl PatchVerb {
    /// The operation's name, in any case: Entra ID capitalises it.
    pub fn parse(raw: Option<&Value>) -> Result<Self, Error> {
        match raw.and_then(Value::as_str) {
            Some(op) if op.eq_ignore_ascii_case("add") => Ok(PatchVerb::Add),
            Some(op) if op.eq_ignore_ascii_case("replace") => Ok(PatchVerb::Replace),
            Some(op) if op.eq_ignore_ascii_case("remove") => Ok(PatchVerb::Remove),
            Some(other) => {
                Err(Error::invalid_syntax(format!("op is add, replace or remove, not {}", quoted(other))))
            }
            None => Err(Error::invalid_syntax("op is missing; it is add, replace or remove")),
        }
    }
}
