//! What the fuzz targets share: sample resources, a service in this process, and the same service over HTTP.

pub mod over_http;
pub mod sample;
pub mod service;
pub mod transport;

use azure_backup_scim::scim::ResourceType;

/// Both kinds of resources.
pub const KINDS: [ResourceType; 2] = [ResourceType::User, ResourceType::Group];

/// The first byte, which chooses between variants of a target, and the rest.
pub fn choice(input: &[u8], variants: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = input.split_first()?;
    Some((usize::from(*first) % variants, rest))
}
