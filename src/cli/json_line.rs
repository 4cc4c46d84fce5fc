//! How JSON is printed: one line for each value.

use crate::error_chain::escape_json;
use serde_json::Value;

/// The line of a value. A terminal may show it, and others wrote some of its texts.
pub(super) fn json_line(value: &Value) -> String {
    escape_json(&value.to_string())
}
