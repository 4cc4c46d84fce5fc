//! What answers a request about one resource.

use crate::service::provisioning::rendered_resource::RenderedResource;

/// The resource, or as much of it as the client needs.
#[derive(Debug, Clone)]
pub enum ResourceAnswer {
    Shown(RenderedResource),
    /// The version alone: the client has the rest already, or it is too large to be sent along.
    VersionOnly(String),
}

impl ResourceAnswer {
    /// The resource, where it is shown.
    pub fn shown(self) -> Option<RenderedResource> {
        match self {
            ResourceAnswer::Shown(resource) => Some(resource),
            ResourceAnswer::VersionOnly(_) => None,
        }
    }
}
