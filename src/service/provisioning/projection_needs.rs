//! What an answer shows beside the header.

use crate::service::provisioning::resource_kind::ResourceKind;

/// What is needed beside the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProjectionNeeds {
    /// The memberships: a user's groups, a group's members.
    pub view: bool,
    /// What the person holds in Azure.
    pub access: bool,
}

impl ProjectionNeeds {
    /// Those that `asks` names.
    pub fn of<I: ResourceKind>(asks: impl Fn(&str) -> bool) -> Self {
        Self { view: asks(I::VIEW), access: I::ACCESS.iter().any(|attribute| asks(attribute)) }
    }

    /// The header is enough.
    pub fn is_nothing(self) -> bool {
        !self.view && !self.access
    }
}
