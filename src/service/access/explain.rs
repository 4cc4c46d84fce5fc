//! Why a person has, or has not, what each binding gives: decided by the functions that reconciles decide with.

pub mod behind;

use crate::bindings::{ConfiguredBinding, PrincipalSource};
use crate::id::{GroupId, PrincipalId, UserId};
use crate::rbac::{BackupRole, BindingName, ReasonCode, Scope};
use crate::scim::Resource;
use crate::service::access::grants::{GrantView, grants_of, held_through_others};
use crate::service::access::preview::{self, DecidedPerson, PersonState, PreviewOf, SelectedGroup};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::join_reads::join_reads;
use crate::service::reconcile::desired;
use crate::service::reconcile::gather::reason_of_holder;
use crate::store::members::DIRECT_GROUPS_MAX;
use crate::store::pins::SelectorKey;
use crate::store::tenant_walk::PersonRecord;
use crate::store::users::HeaderState;
use crate::store::{StateStore, StoreError};
use behind::{BrakeInForce, GroupOfPerson, OtherHolder};
use futures_util::try_join;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// What is known of a person's roles.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    pub user: UserId,
    /// Of a deleted person the name that outlived them.
    pub user_name: Option<String>,
    pub state: PersonState,
    /// The Entra object id that the record names, by the active bindings.
    pub principal: Option<PrincipalId>,
    /// What the record has where its object id is expected, if it names none: attribute and text.
    pub sent_for_object_id: Vec<(&'static str, String)>,
    /// That one, where another record holds it.
    pub waits_for: Option<PrincipalId>,
    /// Who that is.
    pub other_holder: Option<OtherHolder>,
    /// What an operator ordered about the object id.
    pub brake: Option<BrakeInForce>,
    /// The person's groups, nearest first.
    pub groups: Vec<GroupOfPerson>,
    pub bindings: ExplainedBindings,
    /// What the ledger has that no answer is about: through bindings of before, at scopes of before, of another object id.
    pub others: Vec<GrantView>,
    /// Rows of the ledger that cannot be read: what they say is in no answer.
    pub rows_unreadable: usize,
    /// The person is in more groups than are read.
    pub groups_are_cut: bool,
}

/// The answers of the active bindings.
#[derive(Debug, Clone, PartialEq)]
pub enum ExplainedBindings {
    /// In the order of the file.
    Known(Vec<BindingAnswer>),
    /// None were ever stored.
    Absent,
    Unreadable,
}

/// Whether a binding gives a person its role.
#[derive(Debug, Clone, PartialEq)]
pub struct BindingAnswer {
    pub binding: BindingName,
    pub role: BackupRole,
    pub scope: Scope,
    /// The person holds the role through it, by the last belief.
    pub holds: bool,
    pub answer: Answer,
    /// Since when the person holds it, waits for it, or should no longer hold it.
    pub since: Option<OffsetDateTime>,
    /// The binding does not give it and the person still holds it: why.
    pub still_held: Option<ReasonCode>,
}

/// Why, or why not.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The binding gives the role. `reason` says whether Azure holds it, or what it waits for.
    Wanted {
        way: String,
        reason: ReasonCode,
    },
    /// A rule keeps the role back. `way`: how the person is in the group, where that is known.
    Blocked {
        way: Option<String>,
        reason: ReasonCode,
    },
    Deleted,
    Inactive,
    /// No group carries the value.
    NoGroup {
        attribute: &'static str,
        value: String,
    },
    /// The group, by its name. `reason`: why the binding would give nothing new to a member either.
    NotMember {
        group: String,
        reason: Option<ReasonCode>,
    },
    /// The person is in the group and does not meet the binding's `where`.
    NoMatch {
        condition: String,
        values: BTreeMap<String, Option<Value>>,
    },
}

impl Answer {
    /// Stable text for programs: a reason code, or why no reason code applies.
    pub const fn code(&self) -> &'static str {
        match self {
            Answer::Wanted { reason, .. } | Answer::Blocked { reason, .. } => reason.as_str(),
            Answer::Deleted => "deleted",
            Answer::Inactive => "inactive",
            Answer::NoGroup { .. } => "no-group",
            Answer::NotMember { .. } => "not-a-member",
            Answer::NoMatch { .. } => "where-does-not-match",
        }
    }
}

/// Explains one person's roles. `None`: there is no such record, and none that left anything.
pub async fn explain(
    store: &StateStore,
    snapshot: ActiveSnapshot,
    user: UserId,
) -> Result<Option<Explanation>, StoreError> {
    let (header, mut groups, ledger, kept_name) = try_join!(
        store.person(user),
        store.groups_of(user, DIRECT_GROUPS_MAX + 1),
        store.ledger(user),
        store.kept_user_name(user)
    )?;
    let left_nothing = ledger.entries.is_empty() && ledger.waits.is_empty() && ledger.rows_unreadable == 0;
    if matches!(header, HeaderState::Gone) && left_nothing && kept_name.is_none() {
        return Ok(None);
    }
    let has_too_many = groups.len() > DIRECT_GROUPS_MAX;
    groups.truncate(DIRECT_GROUPS_MAX);
    let record = PersonRecord { user, header, groups, ledger };
    let of = PreviewOf { snapshot, under_pause: true };
    let (mut person, selected) = preview::decide_person(store, &of, &record).await?;
    correct_wait(store, &of.snapshot, &mut person).await?;
    let names = group_names(store, &person, selected.values()).await?;
    let mut grants = grants_of(&record.ledger);
    grants.extend(held_through_others(store, &record.ledger).await?);
    let resource = record.header.as_ref().readable().map(|person| &person.resource);
    let mut asked =
        Asked { user, resource, person: &person, names: &names, grants: &grants, told: BTreeSet::new() };
    let bindings = match &of.snapshot {
        ActiveSnapshot::Absent => ExplainedBindings::Absent,
        ActiveSnapshot::Unreadable => ExplainedBindings::Unreadable,
        ActiveSnapshot::Known(snapshot) => ExplainedBindings::Known(
            snapshot
                .by_selector_key()
                .map(|(key, binding)| {
                    asked.answer(binding, selected.get(key).unwrap_or(&SelectedGroup::None))
                })
                .collect(),
        ),
    };
    let told = asked.told;
    let others = grants.iter().enumerate().filter(|(place, _)| !told.contains(place));
    let others = others.map(|(_, grant)| grant.clone()).collect();
    let sent_for_object_id = match (person.principal, resource) {
        (None, Some(resource)) => sent_for_object_id(resource, of.snapshot.principal_from()),
        _ => Vec::new(),
    };
    let groups_are_cut = has_too_many || person.groups.is_cut;
    let groups = groups_of(&of.snapshot, &person, &selected, &names);
    let DecidedPerson { state, name, principal, waits_for, .. } = person;
    let (other_holder, brake) = match principal {
        Some(principal) => {
            try_join!(behind::other_holder(store, principal, user), behind::brake_of(store, principal))?
        }
        None => (None, None),
    };
    Ok(Some(Explanation {
        user,
        user_name: name.or(kept_name),
        state,
        principal,
        sent_for_object_id,
        waits_for,
        other_holder,
        brake,
        groups,
        bindings,
        others,
        rows_unreadable: record.ledger.rows_unreadable,
        groups_are_cut,
    }))
}

/// What a record that names no object id has where one is expected.
fn sent_for_object_id(resource: &Resource, sources: &[PrincipalSource]) -> Vec<(&'static str, String)> {
    let sent = sources.iter().filter_map(|source| {
        let text = match source {
            PrincipalSource::EntraObjectId => resource.entra_object_id(),
            PrincipalSource::ExternalId => resource.text("externalId"),
        };
        Some((source.as_str(), text?.to_owned()))
    });
    sent.collect()
}

/// Whether the record that holds the object id is still of it: only then a person has to mend that.
async fn correct_wait(
    store: &StateStore,
    snapshot: &ActiveSnapshot,
    person: &mut DecidedPerson,
) -> Result<(), StoreError> {
    let Some(principal) = person.waits_for else { return Ok(()) };
    let Some(holder) = store.holder(principal).await?.record() else { return Ok(()) };
    let reason = reason_of_holder(store, holder, principal, snapshot.principal_from()).await?;
    let waits = person.desired.blocked.iter_mut();
    waits
        .filter(|blocked| blocked.reason == ReasonCode::PrincipalReleasing)
        .for_each(|blocked| blocked.reason = reason);
    Ok(())
}

/// The groups that a person is in, with the bindings that mean them.
fn groups_of(
    snapshot: &ActiveSnapshot,
    person: &DecidedPerson,
    selected: &BTreeMap<SelectorKey, SelectedGroup>,
    names: &BTreeMap<GroupId, String>,
) -> Vec<GroupOfPerson> {
    let mut meant: BTreeMap<GroupId, Vec<BindingName>> = BTreeMap::new();
    if let ActiveSnapshot::Known(snapshot) = snapshot {
        for (key, binding) in snapshot.by_selector_key() {
            for group in selected.get(key).map(SelectedGroup::groups).unwrap_or_default() {
                meant.entry(*group).or_default().push(binding.name.clone());
            }
        }
    }
    let own = person.groups.groups.iter().map(|group| group.id);
    own.map(|id| GroupOfPerson {
        id,
        name: names.get(&id).cloned().unwrap_or_else(|| id.to_string()),
        bindings: meant.remove(&id).unwrap_or_default(),
    })
    .collect()
}

/// The names of the groups that an answer may be about.
async fn group_names(
    store: &StateStore,
    person: &DecidedPerson,
    selected: impl Iterator<Item = &SelectedGroup>,
) -> Result<BTreeMap<GroupId, String>, StoreError> {
    let own = person.groups.groups.iter().map(|group| group.id);
    let groups: BTreeSet<GroupId> = selected.flat_map(SelectedGroup::groups).copied().chain(own).collect();
    let name = |id: GroupId| async move {
        let found = store.group_attributes(id).await?;
        let name = found.as_ref().readable().and_then(|group| group.text("displayName"));
        Ok::<_, StoreError>((id, name.map_or_else(|| id.to_string(), str::to_owned)))
    };
    Ok(join_reads(groups.into_iter().map(name)).await?.into_iter().collect())
}

/// What every answer about one person reads.
struct Asked<'a> {
    user: UserId,
    resource: Option<&'a Resource>,
    person: &'a DecidedPerson,
    names: &'a BTreeMap<GroupId, String>,
    grants: &'a [GrantView],
    /// Places of the grants that an answer is about.
    told: BTreeSet<usize>,
}

impl Asked<'_> {
    fn answer(&mut self, binding: &ConfiguredBinding, selected: &SelectedGroup) -> BindingAnswer {
        let is_of = |grant: &GrantView| {
            grant.binding == binding.name && grant.role == binding.role && grant.scope == binding.scope
        };
        // Of two object ids the one that is wanted: the other is told apart.
        let own = self.grants.iter().enumerate().filter(|(_, grant)| is_of(grant));
        let place = own.max_by_key(|(_, grant)| (grant.wanted, grant.holds)).map(|(place, _)| place);
        self.told.extend(place);
        let grant = place.and_then(|place| self.grants.get(place));
        let answer = self.why(binding, selected, grant);
        let is_given = matches!(answer, Answer::Wanted { .. });
        let still_held = grant.filter(|grant| grant.holds && !is_given).map(|grant| match grant.reason {
            // A reconcile is to come.
            ReasonCode::Member | ReasonCode::InFlight => ReasonCode::NoReasonLeft,
            reason => reason,
        });
        BindingAnswer {
            binding: binding.name.clone(),
            role: binding.role,
            scope: binding.scope.clone(),
            holds: grant.is_some_and(|grant| grant.holds),
            since: grant.map(|grant| grant.since),
            answer,
            still_held,
        }
    }

    fn why(
        &self,
        binding: &ConfiguredBinding,
        selected: &SelectedGroup,
        grant: Option<&GrantView>,
    ) -> Answer {
        let desired = &self.person.desired;
        let mut reasons = desired.grants.values().flat_map(|wanted| &wanted.reasons);
        if let Some(reason) = reasons.find(|reason| reason.binding == binding.name) {
            // Nothing says yet that it is held: a reconcile is to come.
            let found = grant.filter(|grant| grant.wanted).map(|grant| grant.reason);
            let way = self.way(reason.through.iter().chain([&reason.group]));
            return Answer::Wanted { way, reason: found.unwrap_or(ReasonCode::InFlight) };
        }
        match self.person.state {
            PersonState::Deleted => return Answer::Deleted,
            PersonState::Inactive => return Answer::Inactive,
            PersonState::Active | PersonState::Unreadable => {}
        }
        if let Some(blocked) = desired.blocked.iter().find(|blocked| blocked.binding == binding.name) {
            return Answer::Blocked { way: self.way_in(selected), reason: blocked.reason };
        }
        let (groups, reason) = (selected.groups(), selected.reason());
        let is_in = |group: &GroupId| self.person.groups.groups.iter().any(|own| own.id == *group);
        match (groups.is_empty(), &binding.condition) {
            (true, _) => match reason {
                Some(reason) => Answer::Blocked { way: None, reason },
                None => {
                    let (attribute, value) = (binding.selector.attribute(), binding.selector.value());
                    Answer::NoGroup { attribute, value }
                }
            },
            (false, Some(condition)) if groups.iter().any(is_in) => {
                let rendered = self.resource.map(|resource| desired::rendered(self.user, resource));
                let values = rendered.map(|person| condition.read_values(&person)).unwrap_or_default();
                Answer::NoMatch { condition: condition.to_string(), values }
            }
            (false, _) => {
                let names: BTreeSet<String> = groups.iter().map(|group| self.name(*group)).collect();
                let names: Vec<String> = names.into_iter().collect();
                Answer::NotMember { group: names.join(" or "), reason }
            }
        }
    }

    fn name(&self, group: GroupId) -> String {
        self.names.get(&group).cloned().unwrap_or_else(|| group.to_string())
    }

    /// How the person is in a group that the binding means.
    fn way_in(&self, selected: &SelectedGroup) -> Option<String> {
        let own = &self.person.groups;
        let nearest = own.groups.iter().find(|group| selected.groups().contains(&group.id))?;
        Some(self.way(&own.way_to(nearest.id)))
    }

    fn way<'g>(&self, groups: impl IntoIterator<Item = &'g GroupId>) -> String {
        let names: Vec<String> = groups.into_iter().map(|group| self.name(*group)).collect();
        format!("member of {}", names.join(", which is in "))
    }
}
