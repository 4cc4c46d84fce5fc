//! The names behind the ids that rows and records hold.

use crate::id::{GroupId, PrincipalId, UserId};
use crate::store::{StateStore, StoreError};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};

/// Reads that are under way at a time.
const READS_MAX: usize = 16;

/// What is read of each of them, where there is something.
async fn read_each<K, V, F>(ids: BTreeSet<K>, read: impl Fn(K) -> F) -> Result<BTreeMap<K, V>, StoreError>
where
    K: Copy + Ord,
    F: Future<Output = Result<Option<V>, StoreError>>,
{
    stream::iter(ids)
        .map(|id| {
            let found = read(id);
            async move { Ok::<_, StoreError>(found.await?.map(|found| (id, found))) }
        })
        .buffered(READS_MAX)
        .try_filter_map(|found| async move { Ok(found) })
        .try_collect()
        .await
}

/// The users who hold these Entra objects.
pub async fn holders_of(
    store: &StateStore,
    principals: BTreeSet<PrincipalId>,
) -> Result<BTreeMap<PrincipalId, UserId>, StoreError> {
    read_each(principals, |principal| async move { Ok(store.holder(principal).await?.record()) }).await
}

/// The userNames of these users; of those who are gone too, until they are erased.
pub async fn user_names(
    store: &StateStore,
    users: BTreeSet<UserId>,
) -> Result<BTreeMap<UserId, String>, StoreError> {
    read_each(users, |user| store.kept_user_name(user)).await
}

/// The userNames of those who hold these Entra objects.
pub async fn principal_names(
    store: &StateStore,
    principals: BTreeSet<PrincipalId>,
) -> Result<BTreeMap<PrincipalId, String>, StoreError> {
    read_each(principals, |principal| async move {
        match store.holder(principal).await?.record() {
            Some(user) => store.kept_user_name(user).await,
            None => Ok(None),
        }
    })
    .await
}

/// The name behind an id of any kind: of a user, a group, or who holds an Entra object. A deleted user has one until it is
/// erased, a deleted group has none.
pub async fn name_of(store: &StateStore, id: &str) -> Result<Option<String>, StoreError> {
    if let Ok(user) = UserId::parse(id)
        && let Some(name) = store.kept_user_name(user).await?
    {
        return Ok(Some(name));
    }
    if let Ok(group) = GroupId::parse(id)
        && let Some(name) = group_name(store, group).await?
    {
        return Ok(Some(name));
    }
    let Ok(principal) = PrincipalId::parse(id) else { return Ok(None) };
    Ok(principal_names(store, BTreeSet::from([principal])).await?.remove(&principal))
}

/// The names behind the ids of a text of words, such as the target of an order; each once.
pub async fn names_in(store: &StateStore, text: &str) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for word in text.split(' ').take(2) {
        names.extend(name_of(store, word).await?.filter(|name| !names.contains(name)));
    }
    Ok(names)
}

/// The text with those names behind it.
pub fn with_names(text: &str, names: &[String]) -> String {
    if names.is_empty() { text.to_owned() } else { format!("{text} ({})", names.join(", ")) }
}

async fn group_name(store: &StateStore, group: GroupId) -> Result<Option<String>, StoreError> {
    let attributes = store.group_attributes(group).await?;
    Ok(attributes.as_ref().readable().and_then(|group| group.text("displayName").map(str::to_owned)))
}

/// Records name groups by their ids: those that are still there get their names.
pub async fn name_groups(store: &StateStore, mut reasons: Vec<&mut String>) -> Result<(), StoreError> {
    let ids: BTreeSet<GroupId> = reasons.iter().flat_map(|reason| group_ids(reason)).collect();
    let names = read_each(ids, |group| group_name(store, group)).await?;
    for reason in &mut reasons {
        for id in group_ids(reason) {
            if let Some(name) = names.get(&id) {
                **reason = reason.replace(&format!("group {id}"), name);
            }
        }
    }
    Ok(())
}

/// The groups that a reason names, as `group {id}`.
fn group_ids(reason: &str) -> Vec<GroupId> {
    let behind = reason.split("group ").skip(1);
    behind.filter_map(|rest| GroupId::parse(rest.get(..36)?).ok()).collect()
}
