//! `grants[]` and `grantState`: the state of what is desired or held for a person, with the reason.

use crate::audit::rfc3339;
use crate::id::{PrincipalId, UserId};
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::ledger::{AssignmentState, LedgerEntry, PendingStep, StepKind};
use crate::rbac::{BackupRole, BindingName, ReasonCode, Scope};
use crate::scim::AccessView;
use crate::store::ledger::UserLedger;
use crate::store::{StateStore, StoreError};
use futures_util::try_join;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// What the ledger says of a person, one element for each binding, role and scope. For each row that cannot be read and may
/// hold a leaver there is one without these three.
pub async fn access_of(store: &StateStore, user: UserId) -> Result<AccessView, StoreError> {
    let (ledger, hint) = try_join!(store.ledger(user), store.hint(user))?;
    let hint = hint.filter(|hint| !hint.is_over);
    let mut grants = grants_of(&ledger);
    grants.extend(held_through_others(store, &ledger).await?);
    if let Some(hint) = hint.as_ref().filter(|hint| hint.reason == Some(ReasonCode::BindingsUnreadable)) {
        grants.iter_mut().for_each(|grant| grant.wait_for_bindings(hint.unwanted_since));
    }
    let unreadable = hint.map(|hint| may_be_held(&ledger, hint.unwanted_since)).unwrap_or_default();
    let state = (!unreadable.is_empty()).then(|| ReasonCode::RowUnreadable.state());
    let worst = grants.iter().map(|grant| grant.reason.state()).chain(state).max();
    let grant_state = worst.and_then(|state| serde_json::to_value(state).ok()?.as_str().map(str::to_owned));
    Ok(AccessView { grants: grants.iter().map(GrantView::to_json).chain(unreadable).collect(), grant_state })
}

/// One element for each row that cannot be read and whose assignment no wait names. `since`: when something was taken.
fn may_be_held(ledger: &UserLedger, since: OffsetDateTime) -> Vec<Value> {
    // A hint that knows no time leaves it out.
    let since = (since > OffsetDateTime::UNIX_EPOCH).then(|| rfc3339(since));
    let reason = ReasonCode::RowUnreadable;
    let named = ledger.waits.iter().filter(|wait| wait.wanted && wait.reason == reason).count();
    let mut one = json!({
        "wanted": false, "holds": true, "settled": false,
        "state": reason.state(), "reason": reason.as_str(),
    });
    if let (Some(since), Value::Object(members)) = (since, &mut one) {
        members.insert("since".to_owned(), since.into());
    }
    vec![one; ledger.rows_unreadable.saturating_sub(named)]
}

/// One element of `grants[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantView {
    pub binding: BindingName,
    pub role: BackupRole,
    pub scope: Scope,
    /// The person should hold it.
    pub wanted: bool,
    /// The person holds it, by the last belief: true while a call may have landed.
    pub holds: bool,
    /// The belief is knowledge: no call is under way that may change it.
    pub settled: bool,
    pub reason: ReasonCode,
    /// Since when it is unwanted.
    pub since: OffsetDateTime,
}

impl GrantView {
    /// Something was taken from this person while the bindings cannot be read: whether it was this is not known yet.
    fn wait_for_bindings(&mut self, since: OffsetDateTime) {
        if self.reason == ReasonCode::Member {
            (self.reason, self.since) = (ReasonCode::BindingsUnreadable, since);
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "binding": self.binding.as_str(), "role": self.role.name(), "scope": self.scope.as_str(),
            "wanted": self.wanted, "holds": self.holds, "settled": self.settled,
            "state": self.reason.state(), "reason": self.reason.as_str(), "since": rfc3339(self.since),
        })
    }
}

/// Everything that is desired or may be held.
pub fn grants_of(ledger: &UserLedger) -> Vec<GrantView> {
    let mut grants = Vec::new();
    for entry in ledger.entries.iter().map(|stored| &stored.entry) {
        let wait_of = |binding: &BindingName| {
            let same = |wait: &&PendingStep| wait.is_for(binding, entry.role, &entry.scope);
            ledger.waits.iter().filter(same).find(|wait| wait.wanted == is_wanted(entry))
        };
        let shown = entry.bindings.iter().filter_map(|binding| of_entry(binding, entry, wait_of(binding)));
        grants.extend(shown);
    }
    // A grant that waits and was never opened has no row yet.
    let shown = |grants: &[GrantView], wait: &PendingStep| {
        grants.iter().any(|grant| wait.is_for(&grant.binding, grant.role, &grant.scope) && grant.wanted)
    };
    let waiting: Vec<&PendingStep> =
        ledger.waits.iter().filter(|wait| wait.wanted && !shown(&grants, wait)).collect();
    grants.extend(waiting.into_iter().map(of_wait));
    grants
}

/// What a person no longer has from this service, and holds all the same: an assignment of somebody else gives the same. As far
/// as the last sweep saw.
pub(super) async fn held_through_others(
    store: &StateStore,
    ledger: &UserLedger,
) -> Result<Vec<GrantView>, StoreError> {
    let entries = ledger.entries.iter().map(|stored| &stored.entry);
    let gone: Vec<&LedgerEntry> =
        entries.filter(|entry| entry.state == AssignmentState::Gone && entry.is_settled_and_gone()).collect();
    let principals: BTreeSet<PrincipalId> = gone.iter().map(|entry| entry.principal).collect();
    let mut grants = Vec::new();
    for principal in principals {
        for access in store.seen_access_of(principal).await?.foreign {
            let gives = |entry: &&&LedgerEntry| {
                let same =
                    access.role == entry.role.definition_id() && access.scope == ArmScope::from(&entry.scope);
                entry.principal == principal && same
            };
            let Some(entry) = gone.iter().find(gives) else { continue };
            let of_binding = |binding: &BindingName| GrantView {
                binding: binding.clone(),
                role: entry.role,
                scope: entry.scope.clone(),
                wanted: false,
                holds: true,
                settled: true,
                reason: ReasonCode::ForeignAssignment,
                since: access.first_seen,
            };
            grants.extend(entry.bindings.iter().map(of_binding));
        }
    }
    Ok(grants)
}

/// What the last round found: a row that is not wanted says since when. Rows of before it did say so by their last step.
fn is_wanted(entry: &LedgerEntry) -> bool {
    let revoking = entry.retry.as_ref().is_some_and(|retry| retry.kind == StepKind::Revoke);
    let leaving = entry.state == AssignmentState::Gone && entry.unsettled_until.is_some();
    entry.unwanted_since.is_none() && !revoking && !leaving
}

/// `None`: nothing is held, and whether something is wanted is not this row's to say.
fn of_entry(binding: &BindingName, entry: &LedgerEntry, wait: Option<&PendingStep>) -> Option<GrantView> {
    let wanted = is_wanted(entry);
    let settled = entry.unsettled_until.is_none();
    let holds = entry.state != AssignmentState::Gone || !settled;
    if !holds {
        return None;
    }
    let own = if wanted { StepKind::Grant } else { StepKind::Revoke };
    let retry = entry.retry.as_ref().filter(|retry| retry.kind == own).map(|retry| retry.reason);
    let undisturbed = match (wanted, entry.state) {
        (_, AssignmentState::HeldByOther(_)) => ReasonCode::ForeignAssignment,
        (false, _) => ReasonCode::NoReasonLeft,
        (true, _) if settled => ReasonCode::Member,
        (true, _) => ReasonCode::InFlight,
    };
    let reason = wait.map(|wait| wait.reason).or(retry).unwrap_or(undisturbed);
    let role = entry.role;
    let scope = entry.scope.clone();
    let since = entry.unwanted_since.or(wait.map(|wait| wait.since)).unwrap_or(entry.since);
    Some(GrantView { binding: binding.clone(), role, scope, wanted, holds, settled, reason, since })
}

fn of_wait(wait: &PendingStep) -> GrantView {
    let PendingStep { binding, role, scope, reason, since, .. } = wait.clone();
    GrantView { binding, role, scope, wanted: true, holds: false, settled: true, reason, since }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{OpId, PrincipalId};
    use crate::ports::tables::{ETag, RowProperties};
    use crate::rbac::AssignmentName;
    use crate::rbac::ledger::RetryState;
    use crate::store::ledger::StoredEntry;
    use time::macros::datetime;
    use uuid::Uuid;

    const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);

    fn entry(holding: AssignmentState, settled: bool, unwanted_since: bool) -> LedgerEntry {
        LedgerEntry {
            assignment: AssignmentName::new(Uuid::from_u128(1)),
            principal: PrincipalId::new(Uuid::from_u128(2)),
            role: BackupRole::Operator,
            scope: Scope::parse("/subscriptions/00000000-0000-0000-0000-000000000001").unwrap(),
            state: holding,
            unsettled_until: (!settled).then_some(NOW),
            op: OpId::new(Uuid::from_u128(3)),
            bindings: vec![BindingName::parse("b").unwrap()],
            correlation: None,
            retry: None,
            unwanted_since: unwanted_since.then_some(NOW),
            hold: None,
            since: NOW,
            written: NOW,
        }
    }

    fn retry(entry: LedgerEntry, kind: StepKind, reason: ReasonCode) -> LedgerEntry {
        let retry = RetryState { kind, attempts: 1, not_before: NOW, reason, cause: None };
        LedgerEntry { retry: Some(retry), ..entry }
    }

    /// wanted, holds, settled, reason of the one grant.
    #[track_caller]
    fn check(entry: LedgerEntry, waits: Vec<PendingStep>, expected: Option<(bool, bool, bool, ReasonCode)>) {
        let entries = vec![StoredEntry { entry, etag: ETag("1".to_owned()), kept: RowProperties::new() }];
        let grants = grants_of(&UserLedger { entries, waits, ..UserLedger::default() });
        assert!(grants.len() <= 1, "{grants:?}");
        let parts = |grant: &GrantView| (grant.wanted, grant.holds, grant.settled, grant.reason);
        assert_eq!(grants.first().map(parts), expected);
    }

    #[test]
    fn a_revocation_that_fails_never_looks_like_a_grant_that_fails() {
        use AssignmentState::{Gone, HeldByOther, Present};
        let other = HeldByOther(AssignmentName::new(Uuid::from_u128(9)));
        check(entry(Present, true, false), vec![], Some((true, true, true, ReasonCode::Member)));
        check(entry(Present, false, false), vec![], Some((true, true, false, ReasonCode::InFlight)));
        check(entry(other, true, false), vec![], Some((true, true, true, ReasonCode::ForeignAssignment)));
        check(entry(Gone, true, false), vec![], None);
        check(entry(Present, true, true), vec![], Some((false, true, true, ReasonCode::NoReasonLeft)));
        check(entry(Gone, false, true), vec![], Some((false, true, false, ReasonCode::NoReasonLeft)));
        let locked = |entry| retry(entry, StepKind::Revoke, ReasonCode::ScopeLocked);
        check(locked(entry(Present, true, true)), vec![], Some((false, true, true, ReasonCode::ScopeLocked)));
        let silent = retry(entry(Gone, false, true), StepKind::Revoke, ReasonCode::NoAnswer);
        check(silent, vec![], Some((false, true, false, ReasonCode::NoAnswer)));
        // A row of before rows said since when they are unwanted.
        check(
            locked(entry(Present, true, false)),
            vec![],
            Some((false, true, true, ReasonCode::ScopeLocked)),
        );
    }

    #[test]
    fn what_waits_says_why_and_for_what() {
        let of = |entry: &LedgerEntry, wanted, reason| PendingStep {
            binding: entry.bindings[0].clone(),
            role: entry.role,
            scope: entry.scope.clone(),
            wanted,
            reason,
            since: NOW,
            attempts: 1,
            not_before: NOW,
        };
        let gone = entry(AssignmentState::Gone, true, false);
        let wait = of(&gone, true, ReasonCode::PrincipalNotFound);
        check(gone, vec![wait], Some((true, false, true, ReasonCode::PrincipalNotFound)));
        let leaver = entry(AssignmentState::Present, true, true);
        let wait = of(&leaver, false, ReasonCode::Throttled);
        check(leaver, vec![wait], Some((false, true, true, ReasonCode::Throttled)));
    }
}
