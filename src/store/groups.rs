//! Which groups a binding's selector concerns.

use super::resources::ResourceId;
use super::{Store, StoreError};
use crate::id::GroupId;
use std::collections::BTreeSet;

/// Groups that may share an externalId before nobody can say any more which of them is meant.
const SHARING_MAX: usize = 1000;

impl Store {
    /// The groups that match now what was pinned to `gone`.
    pub async fn heirs_of(&self, gone: GroupId) -> Result<BTreeSet<GroupId>, StoreError> {
        let mut heirs = BTreeSet::new();
        for pin in self.selector_pins().await?.into_values().filter(|pin| pin.group == gone) {
            heirs.extend(self.groups_that_match(&pin.attribute, &pin.value).await?);
        }
        heirs.remove(&gone);
        Ok(heirs)
    }

    /// The groups that carry a selector's value now.
    pub async fn groups_that_match(&self, attribute: &str, value: &str) -> Result<Vec<GroupId>, StoreError> {
        match attribute {
            "externalId" => self.listed(&GroupId::external_prefix(value), SHARING_MAX).await,
            "displayName" => Ok(self.owner(value).await?.map(|owner| owner.id).into_iter().collect()),
            _ => Ok(GroupId::parse(value).into_iter().collect()),
        }
    }
}
