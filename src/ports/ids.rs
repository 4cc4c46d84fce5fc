//! Fresh identifiers and jitter. Only the adapter behind this trait asks for randomness.

use crate::id::OpId;
use uuid::Uuid;

/// Where random ids come from.
pub trait IdSource: Send + Sync {
    /// A random UUID (version 4): SCIM ids, the instance id.
    fn random(&self) -> Uuid;
    /// A UUIDv7 made from the wall clock, for operations: they list by time.
    fn op(&self) -> OpId;
    /// A number in `0.0..1.0`, for spreading retries.
    fn jitter(&self) -> f64;
}
