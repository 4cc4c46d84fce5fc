//! Which groups a binding's selector concerns.

use crate::events::log_event;
use crate::id::GroupId;
use crate::store::named_like::NamedLike;
use crate::store::resources::{Group, NameOwner, ResourceId};
use crate::store::{StateStore, StoreError, keys};
use std::collections::BTreeSet;

/// Groups that are read for one selector. So many that share its value are a mistake or an attack, and the binding is
/// ambiguous.
const SHARING_MAX: usize = 1000;
/// Index rows that are read at once: two tell whether a value is shared.
const TWO: usize = 2;

impl StateStore {
    /// The living groups with every one of these words in their displayName.
    pub async fn groups_named_like(&self, words: &str) -> Result<NamedLike<GroupId>, StoreError> {
        let mut found = NamedLike::of(words);
        let mut pages = self.groups();
        while found.may_read_on()
            && let Some(groups) = pages.next().await?
        {
            for group in groups {
                let name = group.resource.as_ref().and_then(|group| group.text("displayName"));
                found.take(group.id, name.as_slice());
            }
        }
        Ok(found)
    }

    /// The groups that carry a selector's value now, the first [`SHARING_MAX`] by their ids.
    pub async fn groups_that_match(&self, attribute: &str, value: &str) -> Result<Vec<GroupId>, StoreError> {
        match attribute {
            "externalId" => {
                let prefix = GroupId::external_prefix(value);
                let (from, to) = keys::range_of(&prefix);
                let rows = self.rows_between(from, to, SHARING_MAX + 1).await?;
                if rows.len() > SHARING_MAX {
                    log_event!(
                        SelectorShared,
                        index = prefix,
                        rows_max = SHARING_MAX,
                        "too many groups share a value that a binding selects; only some were read"
                    );
                }
                Ok(self.ids_of(rows.get(..SHARING_MAX).unwrap_or(&rows)))
            }
            "displayName" => Ok(self.owner_of_name(value).await?.map(|owner| owner.id).into_iter().collect()),
            _ => Ok(GroupId::parse(value).into_iter().collect()),
        }
    }

    /// Whether `claimant`, which carries a selector's value, is the only living group that does. What an index lists is only a
    /// candidate: a group that is gone or that does not match after all does not count, nor does a row that is missing.
    pub async fn is_only_match(
        &self,
        attribute: &str,
        value: &str,
        claimant: GroupId,
        matches: impl Fn(Group) -> bool,
    ) -> Result<bool, StoreError> {
        match attribute {
            "externalId" => self.is_only_in_index(&GroupId::external_prefix(value), claimant, matches).await,
            "displayName" => {
                let owner = self.owner_of_name(value).await?.map(|owner| owner.id);
                self.none_matches(owner.filter(|owner| *owner != claimant), &matches).await
            }
            _ => Ok(true),
        }
    }

    async fn is_only_in_index(
        &self,
        prefix: &str,
        claimant: GroupId,
        matches: impl Fn(Group) -> bool,
    ) -> Result<bool, StoreError> {
        let (from, to) = keys::range_of(prefix);
        let mut pages = self.pages(from, to);
        let mut groups_read = 0;
        while let Some(rows) = pages.at_most(TWO).await? {
            groups_read += rows.len();
            if groups_read > SHARING_MAX {
                return Ok(false);
            }
            let others: BTreeSet<GroupId> = self.ids_of(&rows).into_iter().collect();
            if !self.none_matches(others.into_iter().filter(|other| *other != claimant), &matches).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A group whose header is there and cannot be read may match.
    async fn none_matches(
        &self,
        groups: impl IntoIterator<Item = GroupId>,
        matches: impl Fn(Group) -> bool,
    ) -> Result<bool, StoreError> {
        for group in groups {
            let Some(row) = self.get(&group.header_key()).await? else { continue };
            if self.readable(&row, Group::read(&row)).is_none_or(&matches) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A name row that cannot be read names no group, and no other group can take the name while the row exists.
    async fn owner_of_name(&self, name: &str) -> Result<Option<NameOwner<GroupId>>, StoreError> {
        match self.owner::<GroupId>(name).await {
            Err(error @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. })) => {
                self.cannot_read(&GroupId::name_key(name), &error);
                Ok(None)
            }
            owner => owner,
        }
    }
}
