//! The attributes of a request that were left out, each with the reason.

use crate::scim::assignment::DROPPED_MAX;
use crate::scim::error::{Error, ScimType};
use std::collections::BTreeMap;

/// Why an assignment of a request was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// It is under a schema that this service does not have.
    UnknownSchema,
    /// There is no such attribute.
    UnknownAttribute,
    /// Clients may not write the attribute.
    ReadOnly,
    /// The attribute cannot hold the value.
    UnusableValue,
    /// The attribute is required, and the request would remove it.
    Required,
    /// Another resource has the unique value.
    Taken,
    /// The resource would be larger than one row can be.
    TooLarge,
}

impl DropReason {
    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            DropReason::UnknownSchema => "unknown-schema",
            DropReason::UnknownAttribute => "unknown-attribute",
            DropReason::ReadOnly => "read-only",
            DropReason::UnusableValue => "unusable-value",
            DropReason::Required => "required",
            DropReason::Taken => "taken",
            DropReason::TooLarge => "too-large",
        }
    }

    /// The reason that an error gives.
    pub(super) fn of(error: &Error) -> Self {
        match error.scim_type {
            Some(ScimType::InvalidPath) => DropReason::UnknownAttribute,
            Some(ScimType::Mutability) => DropReason::ReadOnly,
            _ => DropReason::UnusableValue,
        }
    }
}

/// The names of attributes, each with the reason; a bounded number of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DroppedAttributes(BTreeMap<String, DropReason>);

impl DroppedAttributes {
    /// Adds one. The first reason of a name stays.
    pub(super) fn insert(&mut self, name: &str, reason: DropReason) {
        if self.0.len() < DROPPED_MAX {
            self.0.entry(name.to_owned()).or_insert(reason);
        }
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The reasons, in the order of the names.
    pub fn reasons(&self) -> Vec<String> {
        self.0.values().map(|reason| reason.as_str().to_owned()).collect()
    }
}

impl std::fmt::Display for DroppedAttributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = self.0.iter().map(|(name, reason)| format!("{name} ({})", reason.as_str()));
        f.write_str(&named.collect::<Vec<_>>().join(", "))
    }
}
