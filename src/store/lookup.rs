//! Which resources an index lists. What an index gives is a candidate: the caller evaluates the whole filter on it.

use crate::id::{GroupId, UserId};
use crate::scim::IndexLookup;
use crate::store::resources::ResourceId;
use crate::store::{StateStore, StoreError, keys};

impl StateStore {
    /// The ids that an index lists, in no order. An id is taken at its word. The meter says when there are too many.
    pub async fn find<I: ResourceId>(&self, lookup: &IndexLookup) -> Result<Vec<I>, StoreError> {
        self.find_first(lookup, usize::MAX).await
    }

    /// The first ids that an index lists.
    pub async fn find_first<I: ResourceId>(
        &self,
        lookup: &IndexLookup,
        rows_max: usize,
    ) -> Result<Vec<I>, StoreError> {
        let prefix = match lookup {
            IndexLookup::Id(text) => return Ok(I::from_text(text).into_iter().collect()),
            IndexLookup::UserName(text) | IndexLookup::DisplayName(text) => {
                return Ok(self.owner(text).await?.map(|owner| owner.id).into_iter().collect());
            }
            IndexLookup::ExternalId(text) => Some(I::external_prefix(text)),
            IndexLookup::Email(text) => Some(keys::user_email_prefix(text)),
            IndexLookup::Member(text) => UserId::from_text(text).map(keys::groups_prefix),
            IndexLookup::GroupOf(text) => {
                let Ok(group) = GroupId::parse(text) else { return Ok(Vec::new()) };
                let people = self.people_in(group, rows_max).await?;
                return Ok(people.iter().map(|person| I::of(person.uuid())).collect());
            }
        };
        let Some(prefix) = prefix else { return Ok(Vec::new()) };
        let (from, to) = keys::range_of(&prefix);
        Ok(self.ids_of(&self.rows_between(from, to, rows_max).await?))
    }
}
