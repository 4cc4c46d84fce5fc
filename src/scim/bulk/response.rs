//! The answer to a bulk request (RFC 7644 section 3.7.3).

use crate::scim::error::Error;
use crate::scim::urn;
use serde_json::{Map, Value, json};

/// The result of one operation.
#[derive(Debug, Clone)]
pub(crate) struct OperationResponse<'a> {
    pub method: &'a str,
    pub bulk_id: Option<&'a str>,
    /// The address of the resource, where there is one.
    pub location: Option<&'a str>,
    pub version: Option<&'a str>,
    /// The status of a success, or the error.
    pub outcome: Result<u16, Error>,
}

/// The body.
pub(crate) fn bulk_response(operations: Vec<Value>) -> Value {
    json!({"schemas": [urn::BULK_RESPONSE], "Operations": operations})
}

impl OperationResponse<'_> {
    /// Its element of the body. The status is text.
    pub fn render(&self) -> Value {
        let status = match &self.outcome {
            Ok(status) => *status,
            Err(error) => error.status,
        };
        let mut shown = Map::new();
        let mut put = |name: &str, text: Option<&str>| {
            shown.extend(text.map(|text| (name.to_owned(), Value::from(text))));
        };
        put("location", self.location);
        put("method", Some(self.method));
        put("bulkId", self.bulk_id);
        put("version", self.version);
        put("status", Some(&status.to_string()));
        if let Err(error) = &self.outcome {
            shown.insert("response".to_owned(), error.body());
        }
        Value::Object(shown)
    }
}
