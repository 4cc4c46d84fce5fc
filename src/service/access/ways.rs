//! How a person is in the group of each binding, in words: "member of Night Shift, which is in vault-operators".

use crate::id::{GroupId, UserId};
use crate::rbac::BindingName;
use crate::service::bindings::active::BindingsSnapshot;
use crate::service::effective_groups::{GroupGraph, parents_of};
use crate::store::members::GROUPS_UPWARDS_MAX;
use crate::store::pins::SelectorKey;
use crate::store::users::HeaderState;
use crate::store::{StateStore, StoreError};
use futures_util::try_join;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is shown of a group.
struct NamedGroup {
    name: String,
    /// The selectors that are pinned to it.
    selectors: BTreeSet<SelectorKey>,
}

/// Adds to each of a person's grants that is wanted how the person is in the group of its binding.
pub async fn add_ways(
    store: &StateStore,
    snapshot: &BindingsSnapshot,
    user: UserId,
    grants: &mut [Value],
) -> Result<(), StoreError> {
    if !grants.iter().any(is_wanted) {
        return Ok(());
    }
    let ways = ways_of(store, snapshot, user).await?;
    for grant in grants.iter_mut().filter(|grant| is_wanted(grant)) {
        let way = ways.iter().find(|(binding, _)| grant["binding"] == binding.as_str());
        if let (Some((_, way)), Value::Object(grant)) = (way, grant) {
            grant.insert("path".to_owned(), way.as_str().into());
        }
    }
    Ok(())
}

fn is_wanted(grant: &Value) -> bool {
    grant["wanted"] == true
}

async fn ways_of(
    store: &StateStore,
    snapshot: &BindingsSnapshot,
    user: UserId,
) -> Result<BTreeMap<BindingName, String>, StoreError> {
    let direct = store.groups_of(user, GROUPS_UPWARDS_MAX + 1).await?;
    let above = direct.iter().copied();
    let graph = GroupGraph::read(above, GROUPS_UPWARDS_MAX, |id| named(store, id)).await?;
    let above = graph.above(&direct);
    let mut ways = BTreeMap::new();
    for group in &above.groups {
        let Some(found) = graph.get(group.id) else { continue };
        for (_, binding) in snapshot.by_selector_key().filter(|(key, _)| found.selectors.contains(*key)) {
            ways.entry(binding.name.clone()).or_insert_with(|| in_words(&above.way_to(group.id), &graph));
        }
    }
    Ok(ways)
}

/// What is shown of a group, and the groups that it is in. `None`: it is gone.
async fn named(store: &StateStore, id: GroupId) -> Result<Option<(NamedGroup, Vec<GroupId>)>, StoreError> {
    let (attributes, selectors, parents) =
        try_join!(store.group_attributes(id), store.selectors_of(id), parents_of(store, id))?;
    let name = match &attributes {
        HeaderState::Gone => return Ok(None),
        HeaderState::Unreadable => None,
        HeaderState::Readable(resource) => resource.text("displayName"),
    };
    let name = name.map_or_else(|| id.to_string(), str::to_owned);
    Ok(Some((NamedGroup { name, selectors }, parents)))
}

fn in_words(way: &[GroupId], graph: &GroupGraph<NamedGroup>) -> String {
    let names = way.iter().filter_map(|group| Some(graph.get(*group)?.name.as_str()));
    format!("member of {}", names.collect::<Vec<_>>().join(", which is in "))
}
