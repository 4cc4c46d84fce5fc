//! What is known of the selectors of a snapshot: read once for everybody, where a reconcile reads it for one person.

use crate::bindings::Selector;
use crate::id::{GroupId, MemberId};
use crate::rbac::ReasonCode;
use crate::service::bindings::active::{ActiveSnapshot, BindingsSnapshot};
use crate::service::effective_groups::{EffectiveGroups, GroupGraph, parents_if};
use crate::service::join_reads::join_reads;
use crate::service::reconcile::desired::{GroupFacts, SelectorFacts};
use crate::service::reconcile::selectors::{
    Selectors, held_through, is_only, selectors_by_key, selectors_of,
};
use crate::store::ledger::UserLedger;
use crate::store::pins::{PinRow, SelectorKey};
use crate::store::tenant_walk::ListedGroup;
use crate::store::waiting_requests::WaitingRequests;
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Two groups that carry a value tell that it is shared.
const CLAIMANTS_MAX: usize = 2;

/// A living group that some selector of a snapshot has to do with.
#[derive(Debug, Default)]
struct BoundGroup {
    is_unreadable: bool,
    claims: BTreeSet<SelectorKey>,
    leads: BTreeSet<SelectorKey>,
}

/// What is known of the selectors of one snapshot.
#[derive(Debug, Default)]
pub(super) struct SelectorView {
    groups: BTreeMap<GroupId, BoundGroup>,
    pins: BTreeMap<SelectorKey, PinRow>,
    /// Pinned groups that are gone.
    gone: BTreeSet<GroupId>,
    only: BTreeMap<SelectorKey, GroupId>,
}

/// Reads the pins and the groups, for all these snapshots at once; and which groups are in which, once the changes under way
/// are done.
pub(super) async fn read(
    store: &StateStore,
    snapshots: &[&ActiveSnapshot],
    requests: &WaitingRequests,
) -> Result<(Vec<SelectorView>, GroupGraph<()>), StoreError> {
    let known = |snapshot: &&ActiveSnapshot| match snapshot {
        ActiveSnapshot::Known(snapshot) => Some(snapshot.clone()),
        ActiveSnapshot::Absent | ActiveSnapshot::Unreadable => None,
    };
    let known: Vec<_> = snapshots.iter().map(known).collect();
    let by_key: Vec<Selectors<'_>> =
        known.iter().map(|snapshot| snapshot.as_deref().map(selectors_by_key).unwrap_or_default()).collect();
    let wanted: BTreeSet<&SelectorKey> =
        by_key.iter().flat_map(|selectors| selectors.keys().copied()).collect();
    let pins = store.pins_of(&wanted).await?;
    let leads = store.leads_to(&wanted).await?;
    let mut building: Vec<Building<'_>> =
        by_key.iter().map(|selectors| Building::new(selectors, &pins, &leads)).collect();
    let mut groups = store.groups();
    let mut nesting = GroupGraph::default();
    while let Some(page) = groups.next().await? {
        let parents = page.iter().map(|group| parents_if(store, group.id, group.may_be_nested));
        for (group, parents) in page.iter().zip(join_reads(parents).await?) {
            nesting.add(group.id, (), requests.groups_after(MemberId::Group(group.id), &parents));
        }
        for ListedGroup { id, resource, .. } in page {
            let facts = resource.map(|resource| GroupFacts { id, resource });
            building.iter_mut().for_each(|view| view.add(id, facts.as_ref()));
        }
    }
    let finished = building.into_iter().map(|view| view.finish(store));
    Ok((join_reads(finished).await?, nesting))
}

/// A view while the groups are read.
struct Building<'a> {
    by_key: &'a Selectors<'a>,
    leads: &'a BTreeMap<GroupId, BTreeSet<SelectorKey>>,
    pinned: BTreeSet<GroupId>,
    claimants: BTreeMap<SelectorKey, Vec<GroupId>>,
    view: SelectorView,
}

impl<'a> Building<'a> {
    fn new(
        by_key: &'a Selectors<'a>,
        pins: &BTreeMap<SelectorKey, PinRow>,
        leads: &'a BTreeMap<GroupId, BTreeSet<SelectorKey>>,
    ) -> Self {
        let own = pins.iter().filter(|(key, _)| by_key.contains_key(*key));
        let pins: BTreeMap<_, _> = own.map(|(key, pin)| (key.clone(), pin.clone())).collect();
        let pinned: BTreeSet<GroupId> =
            pins.values().filter_map(PinRow::pinned).map(|pin| pin.group).collect();
        let view = SelectorView { pins, gone: pinned.clone(), ..SelectorView::default() };
        Self { by_key, leads, pinned, claimants: BTreeMap::new(), view }
    }

    /// A living group. `facts`: where its header can be read.
    fn add(&mut self, id: GroupId, facts: Option<&GroupFacts>) {
        self.view.gone.remove(&id);
        let claims: BTreeSet<SelectorKey> =
            facts.map(|facts| selectors_of(facts, self.by_key).collect()).unwrap_or_default();
        for key in &claims {
            let claimants = self.claimants.entry(key.clone()).or_default();
            if claimants.len() < CLAIMANTS_MAX {
                claimants.push(id);
            }
        }
        let leads = self.leads.get(&id).into_iter().flatten();
        let leads: BTreeSet<SelectorKey> =
            leads.filter(|key| self.by_key.contains_key(*key)).cloned().collect();
        if !claims.is_empty() || !leads.is_empty() || self.pinned.contains(&id) {
            self.view.groups.insert(id, BoundGroup { is_unreadable: facts.is_none(), claims, leads });
        }
    }

    async fn finish(mut self, store: &StateStore) -> Result<SelectorView, StoreError> {
        let free = |key: &SelectorKey| match self.view.pins.get(key) {
            None => true,
            Some(PinRow::Pinned(pin)) => self.view.gone.contains(&pin.group),
            Some(PinRow::Unreadable) => false,
        };
        let mut reads = Vec::new();
        for (key, claimants) in self.claimants.iter().filter(|(key, _)| free(key)) {
            if let ([claimant], Some(selectors)) = (claimants.as_slice(), self.by_key.get(key)) {
                reads.push(is_only(store, key.clone(), selectors, *claimant));
            }
        }
        self.view.only = join_reads(reads).await?.into_iter().flatten().collect();
        Ok(self.view)
    }
}

/// The group that a selector means, whoever is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectedGroup {
    /// No group carries the value.
    None,
    One(GroupId),
    /// Groups carry it, and none of them may be pinned.
    Ambiguous(Vec<GroupId>),
    /// The pinned group no longer carries it.
    Stale(GroupId),
    /// The pinned group cannot be read.
    UnreadableGroup(GroupId),
    /// The row of the pin cannot be read.
    UnreadablePin,
}

impl SelectedGroup {
    /// The groups that are meant.
    pub fn groups(&self) -> &[GroupId] {
        match self {
            SelectedGroup::None | SelectedGroup::UnreadablePin => &[],
            SelectedGroup::One(group)
            | SelectedGroup::Stale(group)
            | SelectedGroup::UnreadableGroup(group) => std::slice::from_ref(group),
            SelectedGroup::Ambiguous(groups) => groups,
        }
    }

    /// Why the binding gives nothing new.
    pub const fn reason(&self) -> Option<ReasonCode> {
        match self {
            SelectedGroup::None | SelectedGroup::One(_) => None,
            SelectedGroup::Ambiguous(_) => Some(ReasonCode::BindingAmbiguous),
            SelectedGroup::Stale(_) => Some(ReasonCode::BindingStale),
            SelectedGroup::UnreadableGroup(_) | SelectedGroup::UnreadablePin => {
                Some(ReasonCode::RowUnreadable)
            }
        }
    }
}

impl SelectorView {
    /// The group that a selector means now, as a reconcile of its members finds it.
    pub(super) fn selected(&self, key: &SelectorKey, selector: &Selector) -> SelectedGroup {
        let claims = |group: &GroupId| self.groups.get(group).is_some_and(|bound| bound.claims.contains(key));
        let is_unreadable = |group| self.groups.get(group).is_some_and(|bound| bound.is_unreadable);
        let pin = match self.pins.get(key) {
            Some(PinRow::Unreadable) => return SelectedGroup::UnreadablePin,
            Some(PinRow::Pinned(pin)) => Some(pin.group),
            None => None,
        };
        if let Some(group) = pin.filter(|group| !self.gone.contains(group)) {
            return match selector {
                Selector::Id(_) => SelectedGroup::One(group),
                _ if claims(&group) => SelectedGroup::One(group),
                _ if is_unreadable(&group) => SelectedGroup::UnreadableGroup(group),
                _ => SelectedGroup::Stale(group),
            };
        }
        let claimants: Vec<GroupId> = self.groups.keys().copied().filter(claims).collect();
        let may_pin = pin.is_none() || !matches!(selector, Selector::DisplayName(_));
        match claimants.as_slice() {
            [] => SelectedGroup::None,
            [only] if may_pin => SelectedGroup::One(*only),
            _ => SelectedGroup::Ambiguous(claimants),
        }
    }

    /// Whether none of these groups has to do with a selector.
    pub(super) fn concerns_none(&self, groups: &EffectiveGroups) -> bool {
        !groups.groups.iter().any(|group| self.groups.contains_key(&group.id))
    }

    /// What a reconcile of a person in these groups would know.
    pub(super) fn facts(
        &self,
        groups: &EffectiveGroups,
        ledger: &UserLedger,
        snapshot: &BindingsSnapshot,
    ) -> SelectorFacts {
        let mut facts = SelectorFacts::default();
        let mut led: BTreeMap<&SelectorKey, GroupId> = BTreeMap::new();
        let found = groups.groups.iter();
        facts.through = found.clone().filter_map(|group| Some((group.id, group.through?))).collect();
        for (id, group) in found.filter_map(|group| Some((group.id, self.groups.get(&group.id)?))) {
            facts.member_of.insert(id);
            facts.unreadable.extend(group.is_unreadable.then_some(id));
            led.extend(group.leads.iter().map(|key| (key, id)));
            for key in &group.claims {
                facts.claimants.entry(key.clone()).or_default().push(id);
            }
        }
        let concerned: BTreeSet<&SelectorKey> =
            facts.claimants.keys().chain(led.keys().copied()).chain(held_through(ledger, snapshot)).collect();
        for key in concerned {
            let Some(pin) = self.pins.get(key) else { continue };
            facts.pins.insert(key.clone(), pin.clone());
            match pin {
                PinRow::Unreadable => facts.leads.extend(led.get(key).map(|group| (key.clone(), *group))),
                PinRow::Pinned(pin) => facts.gone.extend(self.gone.get(&pin.group)),
            }
        }
        let only = |key: &SelectorKey| Some((key.clone(), *self.only.get(key)?));
        facts.only = facts.claimants.keys().filter_map(only).collect();
        facts
    }
}
