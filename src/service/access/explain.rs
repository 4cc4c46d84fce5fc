//! Why a person has, or has not, what each binding gives: decided by the functions that reconciles decide with.

use crate::bindings::ConfiguredBinding;
use crate::id::{GroupId, PrincipalId, UserId};
use crate::rbac::plan::GrantReason;
use crate::rbac::{BackupRole, BindingName, ReasonCode, Scope};
use crate::scim::Resource;
use crate::service::access::grants::{GrantView, grants_of};
use crate::service::access::preview::{self, DecidedPerson, PersonState, PreviewOf, SelectedGroup};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::join_reads::join_reads;
use crate::service::reconcile::desired;
use crate::store::members::DIRECT_GROUPS_MAX;
use crate::store::tenant_walk::PersonRecord;
use crate::store::users::HeaderState;
use crate::store::{StateStore, StoreError};
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
    /// The Entra object id that the record names.
    pub principal: Option<PrincipalId>,
    /// That one, where another record holds it.
    pub waits_for: Option<PrincipalId>,
    /// One for each active binding, in the order of the file. `None`: the active bindings cannot be read, or there are none.
    pub bindings: Option<Vec<BindingAnswer>>,
    /// What the ledger has through bindings that are not active any more.
    pub others: Vec<GrantView>,
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
    /// The person holds it and should not: why it is not taken yet.
    pub leaving: Option<ReasonCode>,
}

/// Why, or why not.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The binding gives the role. `reason` says whether Azure holds it, or what it waits for.
    Wanted {
        way: String,
        reason: ReasonCode,
    },
    /// The person is in the group, and a rule keeps the role back.
    Blocked(ReasonCode),
    Deleted,
    Inactive,
    /// No group carries the value.
    NoGroup {
        attribute: &'static str,
        value: String,
    },
    /// The group, by its name.
    NotMember {
        group: String,
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
            Answer::Wanted { reason, .. } | Answer::Blocked(reason) => reason.as_str(),
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
    let (header, groups, ledger) =
        try_join!(store.person(user), store.groups_of(user, DIRECT_GROUPS_MAX), store.ledger(user))?;
    if matches!(header, HeaderState::Gone) && ledger.entries.is_empty() && ledger.waits.is_empty() {
        let Some(user_name) = store.kept_user_name(user).await? else { return Ok(None) };
        return Ok(Some(Explanation::of_nothing(user, user_name)));
    }
    let record = PersonRecord { user, header, groups, ledger };
    let of = PreviewOf { snapshot, under_pause: true };
    let (person, selected) = preview::decide_person(store, &of, &record).await?;
    let names = group_names(store, &person, selected.values()).await?;
    let grants = grants_of(&record.ledger);
    let mut bindings = None;
    if let ActiveSnapshot::Known(snapshot) = &of.snapshot {
        let resource = record.header.as_ref().readable().map(|person| &person.resource);
        let asked = Asked { user, resource, person: &person, names: &names, grants: &grants };
        let answer = |(key, binding)| asked.answer(binding, selected.get(key));
        bindings = Some(snapshot.by_selector_key().map(answer).collect());
    }
    let active: BTreeSet<&BindingName> =
        bindings.iter().flatten().map(|answer: &BindingAnswer| &answer.binding).collect();
    let others = grants.iter().filter(|grant| !active.contains(&grant.binding)).cloned().collect();
    let user_name = match person.name {
        Some(name) => Some(name),
        None => store.kept_user_name(user).await?,
    };
    let DecidedPerson { state, principal, waits_for, .. } = person;
    Ok(Some(Explanation { user, user_name, state, principal, waits_for, bindings, others }))
}

impl Explanation {
    /// A deleted person who never held anything.
    fn of_nothing(user: UserId, user_name: String) -> Self {
        Self {
            user,
            user_name: Some(user_name),
            state: PersonState::Deleted,
            principal: None,
            waits_for: None,
            bindings: Some(Vec::new()),
            others: Vec::new(),
        }
    }
}

/// The names of the groups that an answer may be about.
async fn group_names(
    store: &StateStore,
    person: &DecidedPerson,
    selected: impl Iterator<Item = &SelectedGroup>,
) -> Result<BTreeMap<GroupId, String>, StoreError> {
    let mut groups: BTreeSet<GroupId> = person.groups.groups.iter().map(|group| group.id).collect();
    for selected in selected {
        match selected {
            SelectedGroup::One(group) | SelectedGroup::Stale(group) => drop(groups.insert(*group)),
            SelectedGroup::Several(several) => groups.extend(several),
            SelectedGroup::None | SelectedGroup::Unreadable => {}
        }
    }
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
}

impl Asked<'_> {
    fn answer(&self, binding: &ConfiguredBinding, selected: Option<&SelectedGroup>) -> BindingAnswer {
        let grant = self.grants.iter().find(|grant| {
            grant.binding == binding.name && grant.role == binding.role && grant.scope == binding.scope
        });
        let answer = self.why(binding, selected, grant);
        let leaving = grant.filter(|grant| grant.holds && !grant.wanted).map(|grant| grant.reason);
        BindingAnswer {
            binding: binding.name.clone(),
            role: binding.role,
            scope: binding.scope.clone(),
            holds: grant.is_some_and(|grant| grant.holds),
            since: grant.map(|grant| grant.since),
            answer,
            leaving,
        }
    }

    fn why(
        &self,
        binding: &ConfiguredBinding,
        selected: Option<&SelectedGroup>,
        grant: Option<&GrantView>,
    ) -> Answer {
        let desired = &self.person.desired;
        let mut reasons = desired.grants.values().flat_map(|wanted| &wanted.reasons);
        if let Some(reason) = reasons.find(|reason| reason.binding == binding.name) {
            // Nothing says yet that it is held: a reconcile is to come.
            let found = grant.filter(|grant| grant.wanted).map(|grant| grant.reason);
            let way = self.way(reason);
            return Answer::Wanted { way, reason: found.unwrap_or(ReasonCode::InFlight) };
        }
        match self.person.state {
            PersonState::Deleted => return Answer::Deleted,
            PersonState::Inactive => return Answer::Inactive,
            PersonState::Active | PersonState::Unreadable => {}
        }
        if desired.frozen {
            return Answer::Blocked(ReasonCode::BindingsUnreadable);
        }
        if let Some(blocked) = desired.blocked.iter().find(|blocked| blocked.binding == binding.name) {
            return Answer::Blocked(blocked.reason);
        }
        match selected {
            Some(SelectedGroup::One(group)) if self.is_in(*group) => self.no_match(binding),
            Some(SelectedGroup::One(group) | SelectedGroup::Stale(group)) => {
                Answer::NotMember { group: self.name(*group) }
            }
            Some(SelectedGroup::Several(groups)) if !groups.iter().any(|group| self.is_in(*group)) => {
                let names: Vec<String> = groups.iter().map(|group| self.name(*group)).collect();
                Answer::NotMember { group: names.join(" or ") }
            }
            Some(SelectedGroup::Several(_)) => self.no_match(binding),
            Some(SelectedGroup::Unreadable) => Answer::Blocked(ReasonCode::RowUnreadable),
            Some(SelectedGroup::None) | None => {
                let (attribute, value) = (binding.selector.attribute(), binding.selector.value());
                Answer::NoGroup { attribute, value }
            }
        }
    }

    fn is_in(&self, group: GroupId) -> bool {
        self.person.groups.groups.iter().any(|own| own.id == group)
    }

    fn name(&self, group: GroupId) -> String {
        self.names.get(&group).cloned().unwrap_or_else(|| group.to_string())
    }

    fn way(&self, reason: &GrantReason) -> String {
        let groups = reason.through.iter().chain([&reason.group]);
        let names: Vec<String> = groups.map(|group| self.name(*group)).collect();
        format!("member of {}", names.join(", which is in "))
    }

    /// The binding's condition, and what it read of the person.
    fn no_match(&self, binding: &ConfiguredBinding) -> Answer {
        let Some(condition) = &binding.condition else { return Answer::Blocked(ReasonCode::Other) };
        let rendered = self.resource.map(|resource| desired::rendered(self.user, resource));
        let values = rendered.map(|person| condition.read_values(&person)).unwrap_or_default();
        Answer::NoMatch { condition: condition.to_string(), values }
    }
}
