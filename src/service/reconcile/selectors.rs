//! The groups of a person, and what is known of the selectors that could mean them. A reconcile reads the pins of these groups,
//! of the selectors that they match, and of what the person holds already; no others.

use crate::bindings::Selector;
use crate::id::{GroupId, UserId};
use crate::rbac::BindingName;
use crate::rbac::ledger::AssignmentState;
use crate::scim::compare::{self, CaseMode};
use crate::service::bindings::active::BindingsSnapshot;
use crate::service::effective_groups::{EffectiveGroups, GroupGraph, parents_if};
use crate::service::join_reads::join_reads;
use crate::service::reconcile::committed::CommittedGroup;
use crate::service::reconcile::desired::{self, GroupFacts, SelectorFacts};
use crate::service::reconcile::reconciler::Reconciler;
use crate::store::ledger::UserLedger;
use crate::store::members::{DIRECT_GROUPS_MAX, GROUPS_UPWARDS_MAX};
use crate::store::pins::{PinRow, SelectorKey};
use crate::store::resources::Group;
use crate::store::users::{GroupHeader, HeaderState};
use crate::store::{StateStore, StoreError};
use futures_util::try_join;
use std::collections::{BTreeMap, BTreeSet};

/// A group of a person, as it was read.
struct ReadGroup {
    id: GroupId,
    /// `None`: its header is there and cannot be read.
    facts: Option<GroupFacts>,
    /// The selectors that its `bg:` rows lead to.
    leads: BTreeSet<SelectorKey>,
}

/// A `bg:` row that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingLead {
    pub group: GroupId,
    pub selector: SelectorKey,
}

impl Reconciler {
    /// Everything about groups and selectors that decides what a person should hold who is a direct member of these groups.
    /// `changed`: a group that is known as of the request.
    pub(super) async fn selectors(
        &self,
        (user, direct): (UserId, Vec<GroupId>),
        changed: Option<&CommittedGroup>,
        snapshot: &BindingsSnapshot,
        ledger: &UserLedger,
    ) -> Result<(SelectorFacts, Vec<MissingLead>), StoreError> {
        let (groups, through) = self.groups(user, &direct, changed).await?;
        let by_key = selectors_by_key(snapshot);
        let mut facts = SelectorFacts {
            member_of: groups.iter().map(|group| group.id).collect(),
            unreadable: groups.iter().filter(|group| group.facts.is_none()).map(|group| group.id).collect(),
            claimants: claimants(&groups, &by_key),
            through,
            ..SelectorFacts::default()
        };
        let led: BTreeMap<&SelectorKey, GroupId> =
            groups.iter().flat_map(|group| group.leads.iter().map(|key| (key, group.id))).collect();
        let held = held_through(ledger, snapshot);
        let concerned = by_key.keys().copied().filter(|key| {
            facts.claimants.contains_key(*key) || led.contains_key(*key) || held.contains(*key)
        });
        let reads = concerned.map(|key| async move {
            Ok::<_, StoreError>((key.to_owned(), self.store.selector_pin(key).await?))
        });
        for (key, pin) in join_reads(reads).await? {
            facts.pins.extend(pin.map(|pin| (key, pin)));
        }
        for key in facts.pins.iter().filter(|(_, pin)| **pin == PinRow::Unreadable).map(|(key, _)| key) {
            facts.leads.extend(led.get(key).map(|group| (key.clone(), *group)));
        }
        self.who_may_be_pinned(&by_key, &mut facts).await?;
        let missing = missing_leads(&groups, &facts);
        Ok((facts, missing))
    }

    /// The groups that a person is a direct member of, and one more where they are too many.
    pub(super) async fn memberships(&self, user: UserId) -> Result<Vec<GroupId>, StoreError> {
        self.store.groups_of(user, DIRECT_GROUPS_MAX + 1).await
    }

    /// The groups that a person is in, directly or through others, and through which: those whose headers are there. Groups
    /// beyond the limits give nothing, and health says so.
    async fn groups(
        &self,
        user: UserId,
        direct: &[GroupId],
        changed: Option<&CommittedGroup>,
    ) -> Result<(Vec<ReadGroup>, BTreeMap<GroupId, GroupId>), StoreError> {
        let read = |id| {
            let known = changed.filter(|group| group.id == id);
            self.group(id, known.map(|group| &group.header))
        };
        let mut graph = GroupGraph::read(direct.iter().copied(), GROUPS_UPWARDS_MAX, read).await?;
        let EffectiveGroups { groups: found, is_cut } = graph.above(direct);
        match is_cut {
            true => self.health.group_limit_reached(user),
            false => self.health.within_group_limit(user),
        }
        let through = found.iter().filter_map(|group| Some((group.id, group.through?))).collect();
        Ok((found.iter().filter_map(|group| graph.take(group.id)).collect(), through))
    }

    /// A group, and the groups that it is in. `None`: its header is gone.
    async fn group(
        &self,
        id: GroupId,
        known: Option<&GroupHeader>,
    ) -> Result<Option<(ReadGroup, Vec<GroupId>)>, StoreError> {
        let header_and_parents = async {
            let header = match known {
                Some(header) => HeaderState::Readable(header.clone()),
                None => self.store.group_header(id).await?,
            };
            let may_be_nested = match &header {
                HeaderState::Gone => false,
                HeaderState::Unreadable => true,
                HeaderState::Readable(header) => header.may_be_nested,
            };
            Ok((header, parents_if(&self.store, id, may_be_nested).await?))
        };
        let ((header, parents), leads) = try_join!(header_and_parents, self.store.selectors_of(id))?;
        let facts = match header {
            HeaderState::Gone => return Ok(None),
            HeaderState::Unreadable => None,
            HeaderState::Readable(header) => Some(GroupFacts { id, resource: header.resource }),
        };
        Ok(Some((ReadGroup { id, facts, leads }, parents)))
    }

    /// Of the selectors that this person's groups match: whether the pinned group is gone, and whether exactly one matches.
    async fn who_may_be_pinned(
        &self,
        by_key: &Selectors<'_>,
        facts: &mut SelectorFacts,
    ) -> Result<(), StoreError> {
        let elsewhere = |pin: &PinRow| pin.pinned().map(|pin| pin.group);
        let pinned: BTreeSet<GroupId> =
            facts.claimants.keys().filter_map(|key| facts.pins.get(key).and_then(elsewhere)).collect();
        let pinned = pinned.into_iter().filter(|group| !facts.member_of.contains(group));
        let lives =
            pinned.map(|group| async move { Ok::<_, StoreError>((group, self.store.exists(group).await?)) });
        facts.gone =
            join_reads(lives).await?.into_iter().filter(|(_, lives)| !lives).map(|each| each.0).collect();
        let free = |key: &SelectorKey| match facts.pins.get(key) {
            None => true,
            Some(PinRow::Pinned(pin)) => facts.gone.contains(&pin.group),
            Some(PinRow::Unreadable) => false,
        };
        let mut reads = Vec::new();
        for (key, groups) in facts.claimants.iter().filter(|(key, _)| free(key)) {
            if let ([claimant], Some(selectors)) = (groups.as_slice(), by_key.get(key)) {
                reads.push(is_only(&self.store, key.clone(), selectors, *claimant));
            }
        }
        facts.only = join_reads(reads).await?.into_iter().flatten().collect();
        Ok(())
    }
}

/// The claimant of a selector with its key, if no other living group carries the value.
pub(in crate::service) async fn is_only(
    store: &StateStore,
    key: SelectorKey,
    selectors: &[&Selector],
    claimant: GroupId,
) -> Result<Option<(SelectorKey, GroupId)>, StoreError> {
    let Some(selector) = selectors.first() else { return Ok(None) };
    let value = selector.value();
    let matches = |group: Group| is_meant(selectors, &GroupFacts { id: group.id, resource: group.resource });
    let only = store.is_only_match(selector.attribute(), &value, claimant, matches).await?;
    Ok(only.then_some((key, claimant)))
}

/// The selectors of the active bindings by the row keys of their pins: the spellings of one value share a key.
pub(in crate::service) type Selectors<'a> = BTreeMap<&'a SelectorKey, Vec<&'a Selector>>;

/// The selectors of a snapshot, by the row keys of their pins.
pub(in crate::service) fn selectors_by_key(snapshot: &BindingsSnapshot) -> Selectors<'_> {
    let mut by_key = Selectors::new();
    for (key, binding) in snapshot.by_selector_key() {
        by_key.entry(key).or_default().push(&binding.selector);
    }
    by_key
}

fn is_meant(selectors: &[&Selector], group: &GroupFacts) -> bool {
    selectors.iter().any(|selector| desired::selects(selector, group))
}

/// The groups that carry the value of each selector. Found by key, so that the work grows with groups and bindings, not with
/// their product.
fn claimants(groups: &[ReadGroup], by_key: &Selectors<'_>) -> BTreeMap<SelectorKey, Vec<GroupId>> {
    let mut claimants: BTreeMap<SelectorKey, Vec<GroupId>> = BTreeMap::new();
    for facts in groups.iter().filter_map(|group| group.facts.as_ref()) {
        for key in selectors_of(facts, by_key) {
            claimants.entry(key).or_default().push(facts.id);
        }
    }
    claimants
}

/// The row keys of the selectors that mean a group.
pub(in crate::service) fn selectors_of<'a>(
    group: &'a GroupFacts,
    by_key: &'a Selectors<'_>,
) -> impl Iterator<Item = SelectorKey> + use<'a> {
    let means = |key: &SelectorKey| by_key.get(key).is_some_and(|selectors| is_meant(selectors, group));
    keys_of(group).into_iter().filter(move |key| means(key))
}

/// The row keys of the selectors that could mean a group.
fn keys_of(group: &GroupFacts) -> Vec<SelectorKey> {
    let key = |attribute: &str, mode: CaseMode| {
        let text = group.resource.text(attribute)?;
        Some(SelectorKey::of(attribute, &compare::key(text, mode)))
    };
    let external = key("externalId", CaseMode::Exact);
    let named = key("displayName", CaseMode::Folded);
    external.into_iter().chain(named).chain([SelectorKey::of("id", &group.id.to_string())]).collect()
}

/// The row keys of the selectors of bindings that the person holds something through.
pub(in crate::service) fn held_through<'a>(
    ledger: &UserLedger,
    snapshot: &'a BindingsSnapshot,
) -> BTreeSet<&'a SelectorKey> {
    let entries = ledger.entries.iter().map(|stored| &stored.entry);
    let held = entries.filter(|entry| entry.state != AssignmentState::Gone || entry.retry.is_some());
    let names: BTreeSet<&BindingName> = held.flat_map(|entry| &entry.bindings).collect();
    snapshot
        .by_selector_key()
        .filter(|(_, binding)| names.contains(&binding.name))
        .map(|(key, _)| key)
        .collect()
}

/// Pins of the person's groups that no `bg:` row leads to: a former release made them.
fn missing_leads(groups: &[ReadGroup], facts: &SelectorFacts) -> Vec<MissingLead> {
    let by_id: BTreeMap<GroupId, &ReadGroup> = groups.iter().map(|group| (group.id, group)).collect();
    let missing = |(key, pin): (&SelectorKey, &PinRow)| {
        let group = by_id.get(&pin.pinned()?.group)?;
        (!group.leads.contains(key)).then(|| MissingLead { group: group.id, selector: key.clone() })
    };
    facts.pins.iter().filter_map(missing).collect()
}
