//! What one person should hold: bindings, groups and the person's attributes become plain facts for `rbac`.

use crate::bindings::{Bindings, ConfiguredBinding, PrincipalSource, Selector};
use crate::id::{GroupId, InstanceId, PrincipalId, UserId};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, StepKind};
use crate::rbac::plan::{BlockedGrant, Desired, DesiredGrant, GrantReason};
use crate::rbac::{AssignmentName, BindingName, PrincipalType, ReasonCode};
use crate::scim::compare::{self, CaseMode};
use crate::scim::{self, Resource};
use crate::service::bindings::active::{ActiveSnapshot, BindingsSnapshot};
use crate::store::ETag;
use crate::store::ledger::{PrincipalHolder, UserLedger};
use crate::store::members::NESTING_DEPTH_MAX;
use crate::store::pins::{PinRow, SelectorKey, SelectorPin};
use crate::store::users::{HeaderState, PersonHeader};
use std::collections::{BTreeMap, BTreeSet};

/// The claim of a record on the Entra object it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalClaim {
    /// The record holds it and may act on it.
    Ours(PrincipalId),
    /// It may not, and why.
    Blocked(ReasonCode),
}

/// What decides the claim of a record on the Entra object it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimFinding {
    Decided(PrincipalClaim),
    /// No record holds it: this one must, before it acts.
    Free(PrincipalId),
    /// Another record holds it.
    HeldBy(PrincipalId, UserId),
}

/// A group that a person is in.
#[derive(Debug, Clone)]
pub struct GroupFacts {
    pub id: GroupId,
    pub resource: Resource,
}

/// What is known of the selectors that concern a person, by the keys of their pins.
#[derive(Debug, Clone, Default)]
pub struct SelectorFacts {
    /// The groups that the person is in, directly or through other groups.
    pub member_of: BTreeSet<GroupId>,
    /// Those of them that the person is in through another, and through which.
    pub through: BTreeMap<GroupId, GroupId>,
    /// Those of them whose headers cannot be read.
    pub unreadable: BTreeSet<GroupId>,
    /// Those of them that carry the value that a selector names.
    pub claimants: BTreeMap<SelectorKey, Vec<GroupId>>,
    pub pins: BTreeMap<SelectorKey, PinRow>,
    /// Where a pin cannot be read: the group of this person that leads to it.
    pub leads: BTreeMap<SelectorKey, GroupId>,
    /// Pinned groups that are gone.
    pub gone: BTreeSet<GroupId>,
    /// Selectors that no living group is pinned to: the only living group that matches, where there is exactly one.
    pub only: BTreeMap<SelectorKey, GroupId>,
}

impl SelectorFacts {
    /// The groups between the person and one that they are in, their own first; none for a direct member.
    fn way_to(&self, group: GroupId) -> Vec<GroupId> {
        let inner = |group: &GroupId| self.through.get(group).copied();
        let mut way: Vec<GroupId> =
            std::iter::successors(inner(&group), inner).take(NESTING_DEPTH_MAX).collect();
        way.reverse();
        way
    }
}

/// Everything that decides what a person should hold.
pub struct AccessFacts<'a> {
    pub user: UserId,
    pub header: HeaderState<&'a Resource>,
    pub claim: PrincipalClaim,
    pub selectors: &'a SelectorFacts,
    pub ledger: &'a UserLedger,
    /// Entra objects that an operator revoked.
    pub braked: &'a BTreeSet<PrincipalId>,
    pub instance: InstanceId,
}

/// A selector that the next open pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPin {
    pub key: SelectorKey,
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

/// May the record act on the Entra object that it names? `braked`: an operator revoked that object.
pub fn find_claim(
    user: UserId,
    header: HeaderState<&PersonHeader>,
    principal: Option<PrincipalId>,
    braked: bool,
    holder_of: impl FnOnce(PrincipalId) -> PrincipalHolder,
) -> ClaimFinding {
    let blocked = |reason| ClaimFinding::Decided(PrincipalClaim::Blocked(reason));
    let (Some(person), Some(principal)) = (header.readable(), principal) else {
        return blocked(ReasonCode::PendingPrincipal);
    };
    if braked {
        return blocked(ReasonCode::Braked);
    }
    if person.pinned.is_some_and(|pinned| pinned != principal) {
        return blocked(ReasonCode::IdentityChanged);
    }
    match holder_of(principal) {
        PrincipalHolder::Record(holder) if holder == user => {
            ClaimFinding::Decided(PrincipalClaim::Ours(principal))
        }
        PrincipalHolder::Record(holder) => ClaimFinding::HeldBy(principal, holder),
        PrincipalHolder::Unreadable => blocked(ReasonCode::RowUnreadable),
        PrincipalHolder::Free => ClaimFinding::Free(principal),
    }
}

/// Why a record waits for an Entra object that another record holds. `still_named`: the other record is of that object now, or
/// cannot be read and may still be.
pub const fn reason_of_wait(still_named: bool) -> ReasonCode {
    if still_named { ReasonCode::PrincipalConflict } else { ReasonCode::PrincipalReleasing }
}

/// What Entra calls this kind of person: bots are service principals.
fn principal_type(resource: &Resource) -> PrincipalType {
    let kind = resource.text("userType").unwrap_or_default();
    let bot = ["service", "serviceprincipal", "agent"].iter().any(|word| kind.eq_ignore_ascii_case(word));
    if bot { PrincipalType::ServicePrincipal } else { PrincipalType::User }
}

/// Whether the group carries the value that the selector names. What a key leaves out counts here, so that a name that only
/// looks the same claims nothing.
pub fn selects(selector: &Selector, group: &GroupFacts) -> bool {
    match selector {
        Selector::Id(id) => *id == group.id,
        Selector::ExternalId(text) => carries(group, "externalId", text, CaseMode::Exact),
        Selector::DisplayName(text) => carries(group, "displayName", text, CaseMode::Folded),
    }
}

/// Whether a person who changes stops matching the `where` of some binding.
pub fn stops_matching(bindings: &Bindings, user: UserId, before: &Resource, after: &Resource) -> bool {
    let mut conditions = bindings.bindings.iter().filter_map(|binding| binding.condition.as_ref()).peekable();
    if conditions.peek().is_none() {
        return false;
    }
    let before = rendered(user, before);
    let after = rendered(user, after);
    conditions.any(|filter| filter.matches_as_written(&before) && !filter.matches_as_written(&after))
}

fn carries(group: &GroupFacts, attribute: &str, text: &str, mode: CaseMode) -> bool {
    let own = group.resource.text(attribute).map(|own| compare::verbatim(own, mode));
    own == Some(compare::verbatim(text, mode))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Claim {
    None,
    /// The person is in the group that the selector is, or will be, pinned to.
    Member(GroupId, Option<NewPin>),
    /// People who hold a role through that group keep it. No other person gets it.
    Keeps(GroupId, ReasonCode),
    Refused(ReasonCode),
}

/// What follows from the facts.
#[derive(Debug, Clone, Default)]
pub struct DesiredAccess {
    pub desired: Desired,
    /// Pins that must be made for it.
    pub pins: Vec<NewPin>,
    /// Bindings that give nothing new, and why. They need a person's attention.
    pub findings: BTreeSet<(BindingName, ReasonCode)>,
}

/// Union over the person's groups and the bindings, each grant with its reasons.
pub fn decide(facts: &AccessFacts<'_>, snapshot: &ActiveSnapshot) -> DesiredAccess {
    let mut decided = DesiredAccess::default();
    decided.desired.braked.clone_from(facts.braked);
    decided.desired.leaving = is_leaving(facts);
    match (facts.header, snapshot) {
        (HeaderState::Gone, _) | (_, ActiveSnapshot::Absent) => {}
        (HeaderState::Readable(resource), _) if !resource.active() => {}
        (_, ActiveSnapshot::Unreadable) => decided.desired.frozen = true,
        (header, ActiveSnapshot::Known(snapshot)) => {
            for (key, binding) in applying(snapshot, facts.user, header) {
                decided.add(key, binding, facts);
            }
            decided.leave_out_unreadable(facts.ledger);
            decided.leave_out_braked();
        }
    }
    decided
}

/// Whether the person is gone, inactive, braked or now another one, so that no hold keeps their revocations back. A person whose
/// object id is not known is none of that: the bindings say where it is read. Of a person who cannot be read it is not known.
fn is_leaving(facts: &AccessFacts<'_>) -> bool {
    match facts.header {
        HeaderState::Gone => true,
        HeaderState::Unreadable => false,
        HeaderState::Readable(resource) => {
            let other_person = PrincipalClaim::Blocked(ReasonCode::IdentityChanged);
            let braked = PrincipalClaim::Blocked(ReasonCode::Braked);
            !resource.active() || facts.claim == other_person || facts.claim == braked
        }
    }
}

/// The bindings whose condition the person meets, each with the key of its selector's pin. Of a person who cannot be read
/// it is not known: nothing new is given to them.
fn applying<'a>(
    snapshot: &'a BindingsSnapshot,
    user: UserId,
    header: HeaderState<&Resource>,
) -> Vec<(&'a SelectorKey, &'a ConfiguredBinding)> {
    let HeaderState::Readable(resource) = header else { return snapshot.by_selector_key().collect() };
    let rendered = rendered(user, resource);
    let applies = |binding: &ConfiguredBinding| {
        binding.condition.as_ref().is_none_or(|filter| filter.matches_as_written(&rendered))
    };
    snapshot.by_selector_key().filter(|(_, binding)| applies(binding)).collect()
}

pub(in crate::service) fn rendered(user: UserId, resource: &Resource) -> serde_json::Value {
    let empty = String::new;
    let meta = scim::Meta {
        id: user.to_string(),
        created: empty(),
        last_modified: empty(),
        version: empty(),
        base_url: empty(),
    };
    scim::user::render(resource.clone(), &meta, None, None)
}

impl DesiredAccess {
    fn add(&mut self, key: &SelectorKey, binding: &ConfiguredBinding, facts: &AccessFacts<'_>) {
        let claim = claim(key, &binding.selector, facts.selectors);
        if let Claim::Keeps(_, reason) | Claim::Refused(reason) = claim {
            self.findings.insert((binding.name.clone(), reason));
        }
        match (claim, facts.header) {
            (Claim::None, _) => {}
            (Claim::Refused(reason), _) => self.add_blocked(binding, reason),
            (Claim::Member(group, _), HeaderState::Unreadable) => {
                self.keep_held(binding, group, ReasonCode::RowUnreadable, None, facts);
            }
            (Claim::Keeps(group, reason), HeaderState::Unreadable) => {
                self.keep_held(binding, group, reason, None, facts);
            }
            (claim, _) => match facts.claim {
                PrincipalClaim::Blocked(reason) => self.add_blocked(binding, reason),
                PrincipalClaim::Ours(principal) => self.grant_for_claim(binding, claim, principal, facts),
            },
        }
    }

    fn grant_for_claim(
        &mut self,
        binding: &ConfiguredBinding,
        claim: Claim,
        principal: PrincipalId,
        facts: &AccessFacts<'_>,
    ) {
        match claim {
            Claim::Keeps(group, reason) => self.keep_held(binding, group, reason, Some(principal), facts),
            Claim::Member(group, pin) => {
                // Two spellings of a value, and two bindings of one selector, are one pin.
                self.pins.extend(pin.filter(|pin| !self.pins.iter().any(|other| other.key == pin.key)));
                let name = AssignmentName::derive(&binding.scope, binding.role, principal, facts.instance);
                self.add_grant(binding, name, principal, group, facts);
            }
            Claim::None | Claim::Refused(_) => {}
        }
    }

    /// What the person holds through this binding stays, even if the assignment is deleted in Azure. Nothing else is given.
    fn keep_held(
        &mut self,
        binding: &ConfiguredBinding,
        group: GroupId,
        reason: ReasonCode,
        principal: Option<PrincipalId>,
        facts: &AccessFacts<'_>,
    ) {
        let entries = facts.ledger.entries.iter().map(|stored| &stored.entry);
        let ours = |entry: &&LedgerEntry| principal.is_none_or(|principal| principal == entry.principal);
        let held: Vec<_> = entries.filter(ours).filter(|entry| is_held_through(entry, binding)).collect();
        if held.is_empty() {
            self.add_blocked(binding, reason);
        }
        for entry in held {
            self.add_grant(binding, entry.assignment, entry.principal, group, facts);
        }
    }

    fn add_grant(
        &mut self,
        binding: &ConfiguredBinding,
        name: AssignmentName,
        principal: PrincipalId,
        group: GroupId,
        facts: &AccessFacts<'_>,
    ) {
        let principal_type = match facts.header {
            HeaderState::Readable(resource) => principal_type(resource),
            HeaderState::Gone | HeaderState::Unreadable => PrincipalType::User,
        };
        let wanted = self.desired.grants.entry(name).or_insert_with(|| DesiredGrant {
            principal,
            principal_type,
            role: binding.role,
            scope: binding.scope.clone(),
            reasons: BTreeSet::new(),
        });
        let through = facts.selectors.way_to(group);
        wanted.reasons.insert(GrantReason { binding: binding.name.clone(), group, through });
    }

    fn add_blocked(&mut self, binding: &ConfiguredBinding, reason: ReasonCode) {
        let scope = binding.scope.clone();
        let role = binding.role;
        let binding = binding.name.clone();
        self.desired.blocked.push(BlockedGrant { binding, role, scope, reason });
    }

    /// An assignment whose ledger row is there and cannot be read is left as it is.
    fn leave_out_unreadable(&mut self, ledger: &UserLedger) {
        ledger.unreadable.iter().for_each(|name| self.block_grant(name, ReasonCode::RowUnreadable));
    }

    /// A brake ends also what a person keeps who cannot be read.
    fn leave_out_braked(&mut self) {
        let Desired { grants, braked, .. } = &self.desired;
        let of_braked = |(name, wanted): (&AssignmentName, &DesiredGrant)| {
            braked.contains(&wanted.principal).then_some(*name)
        };
        let names: Vec<AssignmentName> = grants.iter().filter_map(of_braked).collect();
        names.iter().for_each(|name| self.block_grant(name, ReasonCode::Braked));
    }

    /// A grant is not wanted after all.
    fn block_grant(&mut self, name: &AssignmentName, reason: ReasonCode) {
        let Some(wanted) = self.desired.grants.remove(name) else { return };
        for binding in wanted.bindings() {
            let role = wanted.role;
            let scope = wanted.scope.clone();
            self.desired.blocked.push(BlockedGrant { binding, role, scope, reason });
        }
    }
}

/// Whether the person holds what this binding gives, and because of it. A grant that was sent and failed counts: it was given
/// while that could be decided.
fn is_held_through(entry: &LedgerEntry, binding: &ConfiguredBinding) -> bool {
    let granting = entry.retry.as_ref().is_some_and(|retry| retry.kind == StepKind::Grant);
    entry.role == binding.role
        && entry.scope == binding.scope
        && entry.bindings.contains(&binding.name)
        && (entry.state != AssignmentState::Gone || granting)
}

/// What a selector means for a person.
fn claim(key: &SelectorKey, selector: &Selector, facts: &SelectorFacts) -> Claim {
    let claimants = facts.claimants.get(key).map_or(&[][..], Vec::as_slice);
    let pin = match facts.pins.get(key) {
        Some(PinRow::Unreadable) => {
            let group = facts.leads.get(key).or(claimants.first());
            return group.map_or(Claim::None, |group| Claim::Keeps(*group, ReasonCode::RowUnreadable));
        }
        Some(PinRow::Pinned(pin)) => Some(pin),
        None => None,
    };
    if let Some(pin) = pin.filter(|pin| facts.member_of.contains(&pin.group)) {
        return claim_of_member(selector, pin.group, claimants, facts);
    }
    let Some(claimant) = claimants.first() else { return Claim::None };
    let may_pin = pin.is_none_or(|pin| {
        // The right to name groups must not suffice to take over a binding by a display name: that takes an order.
        facts.gone.contains(&pin.group) && !matches!(selector, Selector::DisplayName(_))
    });
    if may_pin && facts.only.get(key) == Some(claimant) {
        return Claim::Member(*claimant, Some(new_pin(selector, key, *claimant, pin)));
    }
    Claim::Refused(ReasonCode::BindingAmbiguous)
}

/// The person is in the pinned group. An id is no value that a group could lose, nor one that its header says.
fn claim_of_member(
    selector: &Selector,
    group: GroupId,
    claimants: &[GroupId],
    facts: &SelectorFacts,
) -> Claim {
    if matches!(selector, Selector::Id(_)) || claimants.contains(&group) {
        Claim::Member(group, None)
    } else if facts.unreadable.contains(&group) {
        Claim::Keeps(group, ReasonCode::RowUnreadable)
    } else {
        Claim::Keeps(group, ReasonCode::BindingStale)
    }
}

fn new_pin(selector: &Selector, key: &SelectorKey, group: GroupId, pinned: Option<&SelectorPin>) -> NewPin {
    let before = pinned.map(|pin| (pin.group, pin.etag.clone()));
    let attribute = selector.attribute();
    let value = selector.value();
    NewPin { key: key.clone(), attribute, value, group, before }
}

#[cfg(test)]
mod tests;
