//! The groups whose members a change of bindings, or the end of a group, concerns, and the bindings that have none.

use crate::bindings::Selector;
use crate::id::GroupId;
use crate::service::bindings::active::{
    ActiveBindings, ActiveSnapshot, BindingsSnapshot, ChangedSelectors, selector_key,
};
use crate::service::join_reads::join_reads;
use crate::service::reconcile::desired::{GroupFacts, selects};
use crate::store::pins::{PinRow, SelectorKey, SelectorPin};
use crate::store::sweep_schedule::CountedNames;
use crate::store::users::HeaderState;
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// The groups of the selectors that differ: the one that is pinned, while it lives; else those that match now. However many
/// share the value of a selector, the others are not held up by it.
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
/// former release left none, the pins of the active bindings.
pub async fn groups_matching_pins_of(
    store: &StateStore,
    active_bindings: &ActiveBindings,
    gone: GroupId,
) -> Result<BTreeSet<GroupId>, StoreError> {
    let mut keys = store.selectors_of(gone).await?;
    if let ActiveSnapshot::Known(snapshot) = active_bindings.read(&store.pointer().await?).await? {
        keys.extend(snapshot.by_selector_key().map(|(key, _)| key.clone()));
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

/// The bindings whose selector matches no living group: neither the one that it is pinned to nor another that carries the
/// value. A pin that cannot be read is another finding. The group of drills exists only while one runs.
pub async fn without_group(
    store: &StateStore,
    snapshot: &BindingsSnapshot,
) -> Result<CountedNames, StoreError> {
    let selectors: BTreeMap<&SelectorKey, &Selector> =
        snapshot.by_selector_key().map(|(key, binding)| (key, &binding.selector)).collect();
    let reads = selectors.into_iter().map(|(key, selector)| async move {
        Ok::<_, StoreError>((key, has_group(store, key, selector).await?))
    });
    let with_group: BTreeMap<&SelectorKey, bool> = join_reads(reads).await?.into_iter().collect();
    let mut groupless = CountedNames::default();
    for (key, binding) in snapshot.by_selector_key() {
        if with_group.get(key) == Some(&false) && !binding.is_drill() {
            groupless.add(&binding.name);
        }
    }
    Ok(groupless)
}

async fn has_group(store: &StateStore, key: &SelectorKey, selector: &Selector) -> Result<bool, StoreError> {
    match store.selector_pin(key).await? {
        Some(PinRow::Unreadable) => return Ok(true),
        Some(PinRow::Pinned(pin)) if store.exists(pin.group).await? => return Ok(true),
        _ => {}
    }
    for id in store.groups_that_match(selector.attribute(), &selector.value()).await? {
        let has_group = match store.group_attributes(id).await? {
            HeaderState::Gone => false,
            // What cannot be read is a finding of its own.
            HeaderState::Unreadable => true,
            HeaderState::Readable(resource) => selects(selector, &GroupFacts { id, resource }),
        };
        if has_group {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn pin_of(store: &StateStore, key: &SelectorKey) -> Result<Option<SelectorPin>, StoreError> {
    Ok(store.selector_pin(key).await?.as_ref().and_then(PinRow::pinned).cloned())
}
