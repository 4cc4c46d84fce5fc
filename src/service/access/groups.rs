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
    /// The bindings that mean it. `Some`: why it gives nothing new through one.
    pub bindings: Vec<(BindingName, Option<ReasonCode>)>,
    /// The bindings of the groups that it is in: they reach its people too.
    pub above: BTreeSet<BindingName>,
}

/// A binding whose selector no group carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmatchedBinding {
    pub binding: BindingName,
    pub attribute: &'static str,
    pub value: String,
}

/// Reads every group once.
pub async fn overview(store: &StateStore, snapshot: &ActiveSnapshot) -> Result<GroupOverview, StoreError> {
    let (selected, nesting) = preview::selected_groups(store, snapshot).await?;
    let mut overview = GroupOverview::default();
    let mut meant: BTreeMap<GroupId, Vec<(BindingName, Option<ReasonCode>)>> = BTreeMap::new();
    if let ActiveSnapshot::Known(snapshot) = snapshot {
        for (key, binding) in snapshot.by_selector_key() {
            let mut means = |group: GroupId, reason| {
                meant.entry(group).or_default().push((binding.name.clone(), reason));
            };
            match selected.get(key) {
                Some(SelectedGroup::One(group)) => means(*group, None),
                Some(SelectedGroup::Stale(group)) => means(*group, Some(ReasonCode::BindingStale)),
                Some(SelectedGroup::Several(groups)) => {
                    groups.iter().for_each(|group| means(*group, Some(ReasonCode::BindingAmbiguous)));
                }
                Some(SelectedGroup::Unreadable) => {}
                Some(SelectedGroup::None) | None => overview.without_group.push(UnmatchedBinding {
                    binding: binding.name.clone(),
                    attribute: binding.selector.attribute(),
                    value: binding.selector.value(),
                }),
            }
        }
    }
    let mut groups = store.groups();
    while let Some(page) = groups.next().await? {
        overview.groups.extend(page.into_iter().map(|group| {
            let text = |name: &str| group.resource.as_ref()?.text(name).map(str::to_owned);
            ArrivedGroup {
                id: group.id,
                display_name: text("displayName"),
                external_id: text("externalId"),
                bindings: meant.get(&group.id).cloned().unwrap_or_default(),
                above: {
                    let above = nesting.above(&[group.id]).groups.into_iter().skip(1);
                    let bound = above.filter_map(|outer| meant.get(&outer.id)).flatten();
                    bound.map(|(binding, _)| binding.clone()).collect()
                },
            }
        }));
    }
    Ok(overview)
}
