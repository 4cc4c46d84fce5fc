//! Rows that only groups have: what the selectors of bindings are pinned to.

use super::codec::Reader;
use super::resources::ResourceId;
use super::{Store, StoreError};
use crate::id::GroupId;
use crate::ports::tables::Row;

/// Selectors that one reading goes through; a file of bindings holds fewer.
const SELECTORS_MAX: usize = 20_000;
/// Groups that may share an externalId before nobody can say any more which of them is meant.
const SHARING_MAX: usize = 1000;

/// What a binding selects by, and the group it was pinned to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selector {
    group: GroupId,
    attribute: String,
    value: String,
}

impl Selector {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let reader = Reader::new(row)?;
        Ok(Self {
            group: reader.parsed("group", GroupId::parse)?,
            attribute: reader.text("attribute")?.to_owned(),
            value: reader.text("value")?.to_owned(),
        })
    }
}

impl Store {
    /// The groups that match now what was pinned to `gone`.
    pub async fn heirs_of(&self, gone: GroupId) -> Result<Vec<GroupId>, StoreError> {
        let mut heirs = Vec::new();
        for row in self.rows("b:", SELECTORS_MAX).await? {
            let selector = Selector::read(&row)?;
            if selector.group == gone {
                heirs.extend(self.matching(&selector).await?);
            }
        }
        heirs.sort();
        heirs.dedup();
        heirs.retain(|group| *group != gone);
        Ok(heirs)
    }

    async fn matching(&self, selector: &Selector) -> Result<Vec<GroupId>, StoreError> {
        match selector.attribute.as_str() {
            "externalId" => self.listed(&GroupId::external_prefix(&selector.value), SHARING_MAX).await,
            "displayName" => {
                Ok(self.owner(&selector.value).await?.map(|owner| owner.id).into_iter().collect())
            }
            _ => Ok(Vec::new()),
        }
    }
}
