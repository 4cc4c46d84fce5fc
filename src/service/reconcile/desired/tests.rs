use crate::bindings::Bindings;
use crate::id::OpId;
use crate::rbac::ledger::RetryState;
use crate::scim::ResourceType;
use crate::service::reconcile::desired::*;
use crate::store::ledger::StoredEntry;
use serde_json::json;
use std::sync::Arc;
use time::OffsetDateTime;
use uuid::Uuid;

const VAULT: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/east";

fn key() -> SelectorKey {
    SelectorKey::of("externalId", "ops")
}

const fn group(n: u128) -> GroupId {
    GroupId::new(Uuid::from_u128(n))
}

fn external() -> Selector {
    Selector::ExternalId("ops".to_owned())
}

fn named() -> Selector {
    Selector::DisplayName("ops".to_owned())
}

/// The groups with these numbers.
fn groups(numbers: &[u128]) -> BTreeSet<GroupId> {
    numbers.iter().copied().map(group).collect()
}

/// A member of these groups, of which some carry the value.
fn facts(member_of: &[u128], carrying: &[u128]) -> SelectorFacts {
    let claimants = carrying.iter().copied().map(group).collect();
    SelectorFacts {
        member_of: groups(member_of),
        claimants: [(key(), claimants)].into_iter().filter(|_| !carrying.is_empty()).collect(),
        ..SelectorFacts::default()
    }
}

impl SelectorFacts {
    fn pinned(mut self, to: u128) -> Self {
        let attribute = "externalId".to_owned();
        let value = "ops".to_owned();
        let pin = SelectorPin { attribute, value, group: group(to), etag: ETag("1".to_owned()) };
        self.pins.insert(key(), PinRow::Pinned(pin));
        self
    }

    fn pin_unreadable(mut self) -> Self {
        self.pins.insert(key(), PinRow::Unreadable);
        self
    }

    fn gone(mut self, number: u128) -> Self {
        self.gone.insert(group(number));
        self
    }

    fn only(mut self, number: u128) -> Self {
        self.only.insert(key(), group(number));
        self
    }

    fn unreadable(mut self, number: u128) -> Self {
        self.unreadable.insert(group(number));
        self
    }

    fn led_by(mut self, number: u128) -> Self {
        self.leads.insert(key(), group(number));
        self
    }
}

#[track_caller]
fn check(selector: &Selector, facts: &SelectorFacts, expected: &Claim) {
    assert_eq!(&claim(&key(), selector, facts), expected);
}

/// What a pin that must be made says; `before`: the group that was pinned.
fn pinning(selector: &Selector, to: u128, before: Option<u128>) -> Claim {
    let before = before.map(|number| (group(number), ETag("1".to_owned())));
    let attribute = selector.attribute();
    let value = selector.value();
    let pin = NewPin { key: key(), attribute, value, group: group(to), before };
    Claim::Member(group(to), Some(pin))
}

#[test]
fn a_selector_is_pinned_where_exactly_one_living_group_matches() {
    let refused = Claim::Refused(ReasonCode::BindingAmbiguous);
    check(&external(), &facts(&[1], &[]), &Claim::None);
    check(&external(), &facts(&[1], &[1]).only(1), &pinning(&external(), 1, None));
    check(&named(), &facts(&[1], &[1]).only(1), &pinning(&named(), 1, None));
    check(&external(), &facts(&[1], &[1]), &refused);
    check(&external(), &facts(&[1, 2], &[1, 2]), &refused);
}

#[test]
fn once_pinned_only_the_pinned_group_gives_anything() {
    let refused = Claim::Refused(ReasonCode::BindingAmbiguous);
    check(&external(), &facts(&[1], &[1]).pinned(1), &Claim::Member(group(1), None));
    check(&external(), &facts(&[1, 2], &[1, 2]).pinned(1), &Claim::Member(group(1), None));
    check(&external(), &facts(&[2], &[2]).pinned(1), &refused);
    check(&external(), &facts(&[2], &[2]).pinned(1).only(2), &refused);
    check(&external(), &facts(&[2], &[]).pinned(1), &Claim::None);
}

#[test]
fn a_pin_whose_group_is_gone_is_made_anew_by_the_same_rule_and_a_display_name_by_order() {
    let refused = Claim::Refused(ReasonCode::BindingAmbiguous);
    let heir = || facts(&[2], &[2]).pinned(1).gone(1);
    check(&external(), &heir().only(2), &pinning(&external(), 2, Some(1)));
    check(&external(), &heir(), &refused);
    check(&named(), &heir().only(2), &refused);
}

#[test]
fn a_pinned_group_that_lost_the_value_or_cannot_be_read_keeps_whom_it_has() {
    let stale = Claim::Keeps(group(1), ReasonCode::BindingStale);
    let unreadable = Claim::Keeps(group(1), ReasonCode::RowUnreadable);
    check(&external(), &facts(&[1], &[]).pinned(1), &stale);
    check(&external(), &facts(&[1, 2], &[2]).pinned(1), &stale);
    check(&external(), &facts(&[1], &[]).pinned(1).unreadable(1), &unreadable);
    // An id is no value that a group could lose, nor one that its header says.
    let by_id = Selector::Id(group(1));
    check(&by_id, &facts(&[1], &[]).pinned(1).unreadable(1), &Claim::Member(group(1), None));
}

#[test]
fn a_pin_that_cannot_be_read_keeps_the_possible_holders() {
    let keeps = |number| Claim::Keeps(group(number), ReasonCode::RowUnreadable);
    check(&external(), &facts(&[1], &[1]).pin_unreadable(), &keeps(1));
    check(&external(), &facts(&[1, 2], &[1]).pin_unreadable().led_by(2), &keeps(2));
    check(&external(), &facts(&[1], &[]).pin_unreadable(), &Claim::None);
}

/// A binding of the group with externalId `ops`.
fn snapshot() -> BindingsSnapshot {
    let binding =
        json!({"name": "b1", "group": {"externalId": "ops"}, "role": "Backup Operator", "scope": VAULT});
    let file = json!({"version": 1, "bindings": [binding]}).to_string();
    BindingsSnapshot::new("stamp", "hash", Bindings::parse(file.as_bytes()).unwrap())
}

/// What one person holds, as the ledger has it.
fn entry(holding: AssignmentState, retry: Option<StepKind>) -> LedgerEntry {
    let snapshot = snapshot();
    let (_, binding) = snapshot.by_selector_key().next().unwrap();
    let now = OffsetDateTime::UNIX_EPOCH;
    let retry = retry.map(|kind| RetryState {
        kind,
        attempts: 1,
        not_before: now,
        reason: ReasonCode::Throttled,
        cause: None,
    });
    LedgerEntry {
        assignment: AssignmentName::derive(&binding.scope, binding.role, principal(), instance()),
        principal: principal(),
        role: binding.role,
        scope: binding.scope.clone(),
        state: holding,
        unsettled_until: None,
        op: OpId::new(Uuid::nil()),
        bindings: vec![binding.name.clone()],
        correlation: None,
        retry,
        unwanted_since: None,
        hold: None,
        since: now,
        written: now,
    }
}

const fn principal() -> PrincipalId {
    PrincipalId::new(Uuid::from_u128(7))
}

const fn instance() -> InstanceId {
    InstanceId::new(Uuid::from_u128(8))
}

fn ledger(entries: Vec<LedgerEntry>) -> UserLedger {
    let stored = |entry| StoredEntry { entry, etag: ETag("1".to_owned()), kept: Default::default() };
    UserLedger { entries: entries.into_iter().map(stored).collect(), ..UserLedger::default() }
}

fn resource(active: bool) -> Resource {
    let attributes = json!({"userName": "ana", "active": active}).as_object().unwrap().clone();
    Resource::from_stored(ResourceType::User, attributes)
}

/// Whether the person keeps what the ledger says, in a pinned group that lost the value.
fn keeps(
    ledger: &UserLedger,
    header: HeaderState<&Resource>,
    claim: PrincipalClaim,
) -> (bool, Vec<ReasonCode>) {
    let snapshot = snapshot();
    let (key, _) = snapshot.by_selector_key().next().unwrap();
    let mut selectors = facts(&[1], &[]).pinned(1);
    selectors.pins = selectors.pins.into_values().map(|pin| (key.to_owned(), pin)).collect();
    let user = UserId::new(Uuid::nil());
    let facts = AccessFacts {
        user,
        header,
        claim,
        selectors: &selectors,
        ledger,
        braked: &BTreeSet::new(),
        instance: instance(),
    };
    let decided = decide(&facts, &ActiveSnapshot::Known(Arc::new(snapshot)));
    let reasons = decided.desired.blocked.iter().map(|blocked| blocked.reason).collect();
    (!decided.desired.grants.is_empty(), reasons)
}

#[test]
fn a_stale_binding_keeps_its_holders_and_gives_no_new_grant() {
    let ours = PrincipalClaim::Ours(principal());
    let resource = resource(true);
    let header = HeaderState::Readable(&resource);
    let stale = vec![ReasonCode::BindingStale];
    let held = |holding, retry| keeps(&ledger(vec![entry(holding, retry)]), header, ours);
    assert_eq!(held(AssignmentState::Present, None), (true, vec![]));
    assert_eq!(held(AssignmentState::Present, Some(StepKind::Revoke)), (true, vec![]));
    // It was deleted in Azure, and making it again failed.
    assert_eq!(held(AssignmentState::Gone, Some(StepKind::Grant)), (true, vec![]));
    assert_eq!(held(AssignmentState::Gone, None), (false, stale.clone()));
    assert_eq!(held(AssignmentState::Gone, Some(StepKind::Revoke)), (false, stale.clone()));
    assert_eq!(keeps(&UserLedger::default(), header, ours), (false, stale.clone()));
    let other = LedgerEntry { bindings: Vec::new(), ..entry(AssignmentState::Present, None) };
    assert_eq!(keeps(&ledger(vec![other]), header, ours), (false, stale));
    let changed = PrincipalClaim::Blocked(ReasonCode::IdentityChanged);
    let held = ledger(vec![entry(AssignmentState::Present, None)]);
    assert_eq!(keeps(&held, header, changed), (false, vec![ReasonCode::IdentityChanged]));
    let of_another = PrincipalClaim::Ours(PrincipalId::new(Uuid::from_u128(9)));
    assert_eq!(keeps(&held, header, of_another), (false, vec![ReasonCode::BindingStale]));
}

#[test]
fn who_is_gone_or_inactive_holds_nothing_and_who_cannot_be_read_keeps_what_there_is() {
    let unknown = PrincipalClaim::Blocked(ReasonCode::PendingPrincipal);
    let held = ledger(vec![entry(AssignmentState::Present, None)]);
    let inactive = resource(false);
    assert_eq!(keeps(&held, HeaderState::Gone, unknown), (false, vec![]));
    assert_eq!(
        keeps(&held, HeaderState::Readable(&inactive), PrincipalClaim::Ours(principal())),
        (false, vec![])
    );
    assert_eq!(keeps(&held, HeaderState::Unreadable, unknown), (true, vec![]));
    assert_eq!(
        keeps(&UserLedger::default(), HeaderState::Unreadable, unknown),
        (false, vec![ReasonCode::BindingStale])
    );
}

#[test]
fn an_assignment_whose_ledger_row_cannot_be_read_is_left_as_it_is() {
    let resource = resource(true);
    let mut held = ledger(vec![entry(AssignmentState::Present, None)]);
    held.unreadable.insert(entry(AssignmentState::Present, None).assignment);
    let found = keeps(&held, HeaderState::Readable(&resource), PrincipalClaim::Ours(principal()));
    assert_eq!(found, (false, vec![ReasonCode::RowUnreadable]));
}
