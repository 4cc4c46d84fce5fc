//! A resource as it is answered.

use serde_json::Value;

/// A resource as it is answered, before the projection.
#[derive(Debug, Clone)]
pub struct RenderedResource {
    pub id: String,
    pub location: String,
    pub version: String,
    pub body: Value,
}
