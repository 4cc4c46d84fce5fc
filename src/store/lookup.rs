//! Which resources an index lists. What an index gives is a candidate: whoever asks evaluates the whole filter on it.

use super::resources::ResourceId;
use super::{Store, StoreError, keys};
use crate::id::{GroupId, UserId};
use crate::scim::Lookup;

impl Store {
    /// The ids that an index lists, in no order. An id is taken at its word.
    pub async fn find<I: ResourceId>(&self, lookup: &Lookup) -> Result<Vec<I>, StoreError> {
        let prefix = match lookup {
            Lookup::Id(text) => return Ok(I::from_text(text).into_iter().collect()),
            Lookup::UserName(text) | Lookup::DisplayName(text) => {
                return Ok(self.owner(text).await?.map(|owner| owner.id).into_iter().collect());
            }
            Lookup::ExternalId(text) => Some(I::external_prefix(text)),
            Lookup::Email(text) => Some(keys::user_email_prefix(text)),
            Lookup::Member(text) => UserId::parse(text).ok().map(keys::groups_prefix),
            Lookup::GroupOf(text) => GroupId::parse(text).ok().map(keys::members_prefix),
        };
        match prefix {
            // The meter says when there are too many.
            Some(prefix) => self.listed(&prefix, usize::MAX).await,
            None => Ok(Vec::new()),
        }
    }
}
