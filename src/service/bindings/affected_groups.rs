//! The groups whose members a change of bindings, or the end of a group, concerns.

use crate::bindings::Selector;
use crate::id::GroupId;
use crate::service::bindings::active::{ActiveBindings, ActiveSnapshot, ChangedSelectors, selector_key};
use crate::service::join_reads::join_reads;
use crate::store::pins::{PinRow, SelectorKey, SelectorPin};
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// The groups of the selectors that differ: the one that is pinned, while it lives; else those that match now. However many share
/// the value of a selector, the others are not held up by it.
pub async fn groups_of_selectors(
    store: &StateStore,
    differing: &ChangedSelectors,
) -> Result<BTreeSet<GroupId>, StoreError> {
    let mut groups = if differing.everything_pinned { store.pinned_groups().await? } else { BTreeSet::new() };
    let by_key: BTreeMap<SelectorKey, &Selector> =
        differing.selectors.iter().map(|selector| (selector_key(selector), selector)).collect();
    let reads = by_key.iter().map(|(key, selector)| groups_of_selector(store, key, selector));
    groups.extend(join_reads(reads).await?.into_iter().flatten());
    Ok(groups)
}

async fn groups_of_selector(
    store: &StateStore,
    key: &SelectorKey,
    selector: &Selector,
) -> Result<Vec<GroupId>, StoreError> {
    if let Some(pin) = pin_of(store, key).await?
        && store.exists(pin.group).await?
    {
        return Ok(vec![pin.group]);
    }
    store.groups_that_match(selector.attribute(), &selector.value()).await
}

/// The groups that match now what was pinned to a group that is gone. What was pinned to it say its `bg:` rows, and, where a
/// former release left none, the pins of the bindings in force.
pub async fn groups_matching_pins_of(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    gone: GroupId,
) -> Result<BTreeSet<GroupId>, StoreError> {
    let mut keys = store.selectors_of(gone).await?;
    if let ActiveSnapshot::Known(in_force) = active_bindings.read(&store.pointer().await?).await? {
        keys.extend(in_force.by_selector_key().map(|(key, _)| key.clone()));
    }
    let reads = keys.iter().map(|key| async move {
        match pin_of(store, key).await? {
            Some(pin) if pin.group == gone => store.groups_that_match(&pin.attribute, &pin.value).await,
            _ => Ok(Vec::new()),
        }
    });
    let mut heirs: BTreeSet<GroupId> = join_reads(reads).await?.into_iter().flatten().collect();
    heirs.remove(&gone);
    Ok(heirs)
}

async fn pin_of(store: &StateStore, key: &SelectorKey) -> Result<Option<SelectorPin>, StoreError> {
    Ok(store.selector_pin(key).await?.as_ref().and_then(PinRow::pinned).cloned())
}
