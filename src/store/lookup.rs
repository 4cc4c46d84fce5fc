//! Which resources an index lists. What an index gives is a candidate: the caller evaluates the whole filter on it.

use crate::id::{GroupId, PrincipalId, UserId};
use crate::scim::IndexLookup;
use crate::store::resources::ResourceId;
use crate::store::{StateStore, StoreError, keys};
use futures_util::try_join;
use std::collections::BTreeSet;

/// Users of one object id that are found; the others are reconciled within an hour of a change.
const USERS_OF_PRINCIPAL_MAX: usize = 20;

impl StateStore {
    /// The user who holds an Entra object id, and those who have it as `externalId`. Who names it by the extension alone is not
    /// found: no index has it.
    pub async fn users_of(&self, principal: PrincipalId) -> Result<BTreeSet<UserId>, StoreError> {
        let by_external_id = IndexLookup::ExternalId(principal.to_string());
        let (holder, named) = try_join!(
            self.holder(principal),
            self.find_first::<UserId>(&by_external_id, USERS_OF_PRINCIPAL_MAX)
        )?;
        Ok(holder.record().into_iter().chain(named).collect())
    }

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
