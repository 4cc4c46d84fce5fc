//! Which resource a request is about, and in which versions.

use crate::scim::{Error, Preconditions, ReadCondition};
use crate::service::ServiceError;
use crate::service::provisioning::rendered_resource::RenderedResource;
use crate::service::provisioning::resource_answer::ResourceAnswer;
use crate::store::resources::{ResourceId, StoredResource};

/// The resource that a request names, and what the request requires of its version. An id alone requires nothing.
#[derive(Debug, Clone)]
pub struct RequestTarget<I> {
    pub id: I,
    pub preconditions: Preconditions,
}

impl<I: ResourceId> From<I> for RequestTarget<I> {
    fn from(id: I) -> Self {
        Self { id, preconditions: Preconditions::default() }
    }
}

impl<I: ResourceId> RequestTarget<I> {
    /// Whether the request requires anything of the version.
    pub(super) fn is_conditional(&self) -> bool {
        self.preconditions != Preconditions::default()
    }

    /// The error about a resource that does not exist.
    pub(super) fn missing(&self) -> Error {
        self.preconditions.missing(I::KIND)
    }

    /// The version, where the client has it already; 412 where it is not one that the request requires.
    pub(super) fn not_modified(&self, version: &str) -> Result<Option<String>, Error> {
        let condition = self.preconditions.check_read(version)?;
        Ok((condition == ReadCondition::NotModified).then(|| version.to_owned()))
    }

    /// The answer to a read, once everything that it shows is there.
    pub(super) fn answer_read(&self, shown: RenderedResource) -> Result<ResourceAnswer, ServiceError> {
        Ok(match self.not_modified(&shown.version)? {
            Some(version) if !shown.varies => ResourceAnswer::VersionOnly(version),
            _ => ResourceAnswer::Shown(shown),
        })
    }

    /// Passes the header that a write was given on, unless it is missing or in another version. The commit must carry the
    /// ETag of this header: then of two requests that name one version only one is carried out.
    pub(super) fn check_write(&self, header: Option<StoredResource<I>>) -> Result<StoredResource<I>, Error> {
        let header = header.ok_or_else(|| self.missing())?;
        self.preconditions.check_write(&header.version())?;
        Ok(header)
    }
}
