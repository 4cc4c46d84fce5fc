//! A resource as it is answered.

use serde_json::Value;

/// A resource as it is answered, before the projection.
#[derive(Debug, Clone)]
pub struct RenderedResource {
    pub id: String,
    pub location: String,
    pub version: String,
    /// It shows what the version does not cover, so that the same version does not mean the same answer.
    pub varies: bool,
    pub body: Value,
}
