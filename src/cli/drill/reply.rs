//! What SCIM answered, as both the drill from outside and its removal read it.

use crate::app::ScimReply;
use serde_json::Value;
use std::time::Duration;

/// How often SCIM is asked.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);

/// Whether the next try may be answered.
pub(super) const fn may_pass(reply: &ScimReply) -> bool {
    matches!(reply.status, 429 | 500..=599)
}

/// A refusal in words.
pub(super) fn said(reply: &ScimReply) -> String {
    format!("SCIM answered {}: {}", reply.status, text(&reply.body, "detail"))
}

pub(super) fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
