//! What groups arrived from the identity provider, and which bindings mean them.

use crate::id::GroupId;
use crate::rbac::{BindingName, ReasonCode};
use crate::service::access::preview::{self, SelectedGroup};
use crate::service::bindings::active::ActiveSnapshot;
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Every group, and the bindings that mean none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupOverview {
    /// In the order of their ids.
    pub groups: Vec<ArrivedGroup>,
    pub without_group: Vec<UnmatchedBinding>,
}

/// A group as it was provisioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrivedGroup {
    pub id: GroupId,
    /// `None`: the group cannot be read.
    pub display_name: Option<String>,
    pub external_id: Option<String>,
    /// No other group has that `externalId`.
    pub is_only_of_external_id: bool,
    /// The bindings that mean it. `Some`: why it gives nothing new through one.
    pub bindings: Vec<(BindingName, Option<ReasonCode>)>,
    /// The bindings of the groups that it is in: they reach its people too.
    pub above: BTreeSet<BindingName>,
}

/// A binding that means no group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmatchedBinding {
    pub binding: BindingName,
    pub attribute: &'static str,
    pub value: String,
    /// Why that is not known; `None`: no group carries the value.
    pub reason: Option<ReasonCode>,
}

/// Reads the groups, and what the selectors of these bindings mean. What is of drills is left out.
pub async fn overview(store: &StateStore, snapshot: &ActiveSnapshot) -> Result<GroupOverview, StoreError> {
    let (selected, nesting) = preview::selected_groups(store, snapshot).await?;
    let of_drill = store.drill_marks().await?.group;
    let mut overview = GroupOverview::default();
    let mut meant: BTreeMap<GroupId, Vec<(BindingName, Option<ReasonCode>)>> = BTreeMap::new();
    if let ActiveSnapshot::Known(snapshot) = snapshot {
        for (key, binding) in snapshot.by_selector_key() {
            let selected = selected.get(key).unwrap_or(&SelectedGroup::None);
            for group in selected.groups() {
                meant.entry(*group).or_default().push((binding.name.clone(), selected.reason()));
            }
            if selected.groups().is_empty() && !binding.is_drill() {
                overview.without_group.push(UnmatchedBinding {
                    binding: binding.name.clone(),
                    attribute: binding.selector.attribute(),
                    value: binding.selector.value(),
                    reason: selected.reason(),
                });
            }
        }
    }
    let mut carriers: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups = store.groups();
    while let Some(page) = groups.next().await? {
        for group in page.into_iter().filter(|group| Some(group.id) != of_drill) {
            let text = |name: &str| group.resource.as_ref()?.text(name).map(str::to_owned);
            let (display_name, external_id) = (text("displayName"), text("externalId"));
            if let Some(value) = &external_id {
                *carriers.entry(value.clone()).or_default() += 1;
            }
            let above = nesting.above(&[group.id]).groups.into_iter().skip(1);
            let above = above.filter_map(|outer| meant.get(&outer.id)).flatten();
            overview.groups.push(ArrivedGroup {
                id: group.id,
                display_name,
                external_id,
                is_only_of_external_id: false,
                bindings: meant.get(&group.id).cloned().unwrap_or_default(),
                above: above.map(|(binding, _)| binding.clone()).collect(),
            });
        }
    }
    for group in &mut overview.groups {
        let carriers = group.external_id.as_ref().and_then(|value| carriers.get(value));
        group.is_only_of_external_id = carriers == Some(&1);
    }
    Ok(overview)
}
