//! Places in a list. A list is ordered by its sort value, then by type and id, so every resource has one place.

use crate::scim::{ResourceType, SortKey, SortOrder};
use std::cmp::Ordering;
use uuid::Uuid;

/// The place of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListPosition {
    pub kind: ResourceType,
    pub id: Uuid,
    /// What the order compares; none where there is no order.
    pub key: Option<SortKey>,
}

impl ListPosition {
    /// Which of the two comes first. Equals are in the order of types and ids.
    pub fn compare(&self, other: &Self, sort: Option<&SortOrder>) -> Ordering {
        let by_key = match (sort, &self.key, &other.key) {
            (Some(sort), Some(own), Some(others)) => sort.compare(own, others),
            _ => Ordering::Equal,
        };
        by_key.then_with(|| (self.kind, self.id).cmp(&(other.kind, other.id)))
    }
}
