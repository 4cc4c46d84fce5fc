//! What one person should hold: bindings, groups and the person's attributes become plain facts for `rbac`.

use super::snapshots::{InForce, Snapshot};
use crate::bindings::{Binding, PrincipalSource, Selector};
use crate::id::{GroupId, InstanceId, PrincipalId, UserId};
use crate::ports::tables::ETag;
use crate::rbac::plan::{Blocked, Desired, Reason, Wanted};
use crate::rbac::{AssignmentName, PrincipalType, ReasonCode};
use crate::scim::compare::{self, Mode};
use crate::scim::{self, Resource};
use crate::store::keys;
use crate::store::settings::SelectorPin;
use std::collections::{BTreeMap, BTreeSet};

/// How a record stands to the Entra object it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The record holds it and may act on it.
    Ours(PrincipalId),
    /// It may not, and why.
    Blocked(ReasonCode),
}

/// A group that a person is in.
#[derive(Debug, Clone)]
pub struct GroupFacts {
    pub id: GroupId,
    pub resource: Resource,
}

/// Everything that decides what a person should hold.
pub struct Facts<'a> {
    pub user: UserId,
    /// `None`: the record is gone.
    pub resource: Option<&'a Resource>,
    pub standing: Standing,
    pub groups: &'a [GroupFacts],
    pub pins: &'a BTreeMap<String, SelectorPin>,
    /// Pinned groups whose header is gone.
    pub gone: &'a BTreeSet<GroupId>,
    pub instance: InstanceId,
}

/// A selector that the next open pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPin {
    pub key: String,
    pub attribute: &'static str,
    pub value: String,
    pub group: GroupId,
    pub before: Option<(GroupId, ETag)>,
}

/// The Entra object id of a person: the first source that yields one.
pub fn principal_of(resource: &Resource, sources: &[PrincipalSource]) -> Option<PrincipalId> {
    sources.iter().find_map(|source| {
        let text = match source {
            PrincipalSource::EntraObjectId => resource.entra_object_id(),
            PrincipalSource::ExternalId => resource.text("externalId"),
        };
        PrincipalId::parse(text?).ok()
    })
}

/// What Entra calls this kind of person: bots are service principals.
fn principal_type(resource: &Resource) -> PrincipalType {
    let kind = resource.text("userType").unwrap_or_default();
    let bot = ["service", "serviceprincipal", "agent"].iter().any(|word| kind.eq_ignore_ascii_case(word));
    if bot { PrincipalType::ServicePrincipal } else { PrincipalType::User }
}

/// The row key of a selector's pin.
pub fn selector_key(selector: &Selector) -> String {
    keys::selector(selector.attribute(), &selector.key())
}

/// Does the group carry the value that the selector names? What a key leaves out counts here, so that a name that only looks
/// the same claims nothing.
pub fn selects(selector: &Selector, group: &GroupFacts) -> bool {
    match selector {
        Selector::Id(id) => *id == group.id,
        Selector::ExternalId(text) => carries(group, "externalId", text, Mode::Exact),
        Selector::DisplayName(text) => carries(group, "displayName", text, Mode::Folded),
    }
}

fn carries(group: &GroupFacts, attribute: &str, text: &str, mode: Mode) -> bool {
    let own = group.resource.text(attribute).map(|own| compare::verbatim(own, mode));
    own == Some(compare::verbatim(text, mode))
}

enum Claim {
    None,
    /// The person is in the group that the selector is, or will be, pinned to.
    Member(GroupId, Option<NewPin>),
    Ambiguous,
}

/// Union over the person's groups and the bindings, each grant with its reasons; and the pins that must be made for it.
pub fn desired(facts: &Facts<'_>, snapshot: &Snapshot) -> (Desired, Vec<NewPin>) {
    let mut desired = Desired::default();
    let mut pins = Vec::new();
    let Some(resource) = facts.resource.filter(|resource| resource.active()) else { return (desired, pins) };
    match snapshot {
        Snapshot::Nothing => {}
        Snapshot::Unreadable => desired.frozen = true,
        Snapshot::InForce(in_force) => {
            let rendered = rendered(facts.user, resource);
            for binding in applying(in_force, &rendered) {
                add(binding, resource, facts, &mut desired, &mut pins);
            }
        }
    }
    (desired, pins)
}

fn applying<'a>(in_force: &'a InForce, rendered: &serde_json::Value) -> Vec<&'a Binding> {
    let applies = |binding: &&Binding| {
        binding.condition.as_ref().is_none_or(|filter| filter.matches_as_written(rendered))
    };
    in_force.bindings.bindings.iter().filter(applies).collect()
}

fn rendered(user: UserId, resource: &Resource) -> serde_json::Value {
    let empty = String::new;
    let meta = scim::Meta {
        id: user.to_string(),
        created: empty(),
        last_modified: empty(),
        version: empty(),
        base_url: empty(),
    };
    scim::user::render(resource, &meta, None, None)
}

fn add(
    binding: &Binding,
    resource: &Resource,
    facts: &Facts<'_>,
    desired: &mut Desired,
    pins: &mut Vec<NewPin>,
) {
    let (group, pin) = match claim(&binding.selector, facts) {
        Claim::None => return,
        Claim::Ambiguous => return desired.blocked.push(blocked(binding, ReasonCode::BindingAmbiguous)),
        Claim::Member(group, pin) => (group, pin),
    };
    let principal = match facts.standing {
        Standing::Blocked(reason) => return desired.blocked.push(blocked(binding, reason)),
        Standing::Ours(principal) => principal,
    };
    if let Some(pin) = pin.filter(|pin| !pins.contains(pin)) {
        pins.push(pin);
    }
    let name = AssignmentName::derive(&binding.scope, binding.role, principal, facts.instance);
    let wanted = desired.grants.entry(name).or_insert_with(|| Wanted {
        principal,
        principal_type: principal_type(resource),
        role: binding.role,
        scope: binding.scope.clone(),
        reasons: BTreeSet::new(),
    });
    wanted.reasons.insert(Reason { binding: binding.name.clone(), group });
}

fn blocked(binding: &Binding, reason: ReasonCode) -> Blocked {
    Blocked { binding: binding.name.clone(), role: binding.role, scope: binding.scope.clone(), reason }
}

fn claim(selector: &Selector, facts: &Facts<'_>) -> Claim {
    let key = selector_key(selector);
    let pinned = facts.pins.get(&key);
    if let Some(pin) = pinned.filter(|pin| facts.groups.iter().any(|group| group.id == pin.group)) {
        return Claim::Member(pin.group, None);
    }
    let Some(group) = facts.groups.iter().find(|group| selects(selector, group)) else { return Claim::None };
    let follows = !matches!(selector, Selector::DisplayName(_));
    match pinned {
        Some(pin) if !(follows && facts.gone.contains(&pin.group)) => Claim::Ambiguous,
        pinned => Claim::Member(group.id, Some(new_pin(selector, key, group.id, pinned))),
    }
}

fn new_pin(selector: &Selector, key: String, group: GroupId, pinned: Option<&SelectorPin>) -> NewPin {
    let before = pinned.map(|pin| (pin.group, pin.etag.clone()));
    NewPin { key, attribute: selector.attribute(), value: selector.value(), group, before }
}
