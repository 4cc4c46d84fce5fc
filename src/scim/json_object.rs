//! JSON objects as clients write them: the names of members are read in any case.

use serde_json::{Map, Value};

pub(super) type JsonObject = Map<String, Value>;

/// The member of that name, in any case.
pub(super) fn member<'a>(object: &'a JsonObject, name: &str) -> Option<&'a Value> {
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
