//! Containers and what is in them.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobContainer {
    /// The days of its time-based immutability policy, if it has one.
    pub immutable_days: Option<u32>,
}

/// A block blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBlob {
    pub bytes: Vec<u8>,
    #[serde(with = "time::serde::timestamp")]
    pub created: OffsetDateTime,
}

impl BlobContainer {
    /// Whether a blob that is there may not be deleted.
    pub fn keeps(&self, blob: &StoredBlob, now: OffsetDateTime) -> bool {
        self.immutable_days.is_some_and(|days| now < blob.created + Duration::days(i64::from(days)))
    }
}
