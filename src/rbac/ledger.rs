//! What the ledger says of one assignment of one record.

use super::{AssignmentName, BackupRole, BindingName, ReasonCode, Scope};
use crate::backoff::Backoff;
use crate::id::{OpId, PrincipalId};
use std::time::Duration;
use time::OffsetDateTime;

/// The first pause after a failed step, doubled with every further failure up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_secs(30);
/// The longest pause between two attempts at a grant.
pub const RETRY_MAX: Duration = Duration::from_secs(3600);
/// The longest pause between two attempts at a revocation.
pub const REVOKE_RETRY_MAX: Duration = Duration::from_secs(600);

/// What Azure holds, as far as the ledger knows. While the entry is unsettled: what the last open wants to become true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssignmentState {
    /// Our assignment is there.
    Present,
    /// Our assignment is not there.
    Gone,
    /// Ours is not there; a foreign assignment gives the same.
    HeldByOther(AssignmentName),
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepKind {
    Revoke,
    Grant,
}

impl StepKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Revoke, Self::Grant];

    /// The text in rows and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Grant => "grant",
        }
    }

    /// The pause after that many failures: 30 s, doubling, at most an hour for a grant and 10 minutes for a revocation.
    pub fn pause(self, attempts: u32) -> Duration {
        let longest = if self == Self::Revoke { REVOKE_RETRY_MAX } else { RETRY_MAX };
        pause(attempts).min(longest)
    }
}

/// The last step that failed, until one of its kind succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryState {
    pub kind: StepKind,
    pub attempts: u32,
    pub not_before: OffsetDateTime,
    pub reason: ReasonCode,
    /// The change that the attempt was made for. A later change of what decided retries at once.
    pub cause: Option<OpId>,
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    pub assignment: AssignmentName,
    pub principal: PrincipalId,
    pub role: BackupRole,
    pub scope: Scope,
    pub state: AssignmentState,
    /// A call sent for this row may still land until then; `None`: the ledger knows what Azure holds.
    pub unsettled_until: Option<OffsetDateTime>,
    /// The op of the last open, or of the sweep that found a difference.
    pub op: OpId,
    /// The bindings that the last open acted for.
    pub bindings: Vec<BindingName>,
    /// ARM's correlation id of the last answered call.
    pub correlation: Option<String>,
    pub retry: Option<RetryState>,
    /// Since when the assignment is unwanted and not known to be gone. Set when it is first unwanted, cleared when it is
    /// wanted again or gone.
    pub unwanted_since: Option<OffsetDateTime>,
    /// The batch of a breaker that holds the next step: a revocation of what is present, a grant of what is gone.
    pub hold: Option<OpId>,
    /// Since when `holding` is as it is.
    pub since: OffsetDateTime,
    /// When this row was last written, on the table service's clock.
    pub written: OffsetDateTime,
}

impl LedgerEntry {
    /// An assignment for which no call was opened yet.
    pub const fn never_opened(
        assignment: AssignmentName,
        principal: PrincipalId,
        role: BackupRole,
        scope: Scope,
        op: OpId,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            assignment,
            principal,
            role,
            scope,
            state: AssignmentState::Gone,
            unsettled_until: None,
            op,
            bindings: Vec::new(),
            correlation: None,
            retry: None,
            unwanted_since: None,
            hold: None,
            since: now,
            written: now,
        }
    }

    /// The ledger knows that Azure does not hold it.
    pub fn is_settled_and_gone(&self) -> bool {
        self.unsettled_until.is_none() && !matches!(self.state, AssignmentState::Present)
    }

    /// The batch that still holds the next step, where the assignment is `wanted` or not. A hold ends when what it was about has
    /// changed: the assignment is wanted again, or gone, or no longer wanted.
    pub fn hold_after(&self, wanted: bool) -> Option<OpId> {
        self.hold.filter(|_| wanted == self.is_settled_and_gone())
    }

    /// The same entry with another holding; `since` moves only where it differs.
    pub fn becoming(mut self, holding: AssignmentState, now: OffsetDateTime) -> Self {
        if self.state != holding {
            self.since = now;
        }
        self.state = holding;
        self.written = now;
        self
    }

    /// Notes a step that failed: the pause grows with every failure of the same kind.
    pub fn failed(
        mut self,
        kind: StepKind,
        reason: ReasonCode,
        now: OffsetDateTime,
        cause: Option<OpId>,
    ) -> Self {
        let before = self.retry.as_ref().filter(|retry| retry.kind == kind).map_or(0, |retry| retry.attempts);
        let attempts = before.saturating_add(1);
        let not_before = now + kind.pause(attempts);
        self.retry = Some(RetryState { kind, attempts, not_before, reason, cause });
        self
    }
}

/// The pause after that many failures: 30 s, doubling, at most an hour.
pub fn pause(attempts: u32) -> Duration {
    Backoff::new(RETRY_FIRST, RETRY_MAX).pause(attempts)
}

/// A grant or a revocation that cannot be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingStep {
    pub binding: BindingName,
    pub role: BackupRole,
    pub scope: Scope,
    /// A grant that waits; else a revocation.
    pub wanted: bool,
    pub reason: ReasonCode,
    /// Since when it is pending; a new reason does not move it.
    pub since: OffsetDateTime,
    pub attempts: u32,
    pub not_before: OffsetDateTime,
}

impl PendingStep {
    /// The key of a pending grant or revocation, without its reason.
    pub fn is_for(&self, binding: &BindingName, role: BackupRole, scope: &Scope) -> bool {
        &self.binding == binding && self.role == role && &self.scope == scope
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;
    use uuid::Uuid;

    const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);

    #[test]
    fn a_pause_doubles_and_a_revocation_is_retried_within_ten_minutes() {
        let seconds = |kind: StepKind| [1, 2, 3, 5, 6, 20].map(|attempts| kind.pause(attempts).as_secs());
        assert_eq!(seconds(StepKind::Revoke), [30, 60, 120, 480, 600, 600]);
        assert_eq!(seconds(StepKind::Grant), [30, 60, 120, 480, 960, 3600]);
    }

    fn entry(holding: AssignmentState, unsettled: bool) -> LedgerEntry {
        let (assignment, principal) =
            (AssignmentName::new(Uuid::from_u128(1)), PrincipalId::new(Uuid::from_u128(2)));
        let scope = Scope::parse("/subscriptions/00000000-0000-0000-0000-000000000001").unwrap();
        let op = OpId::new(Uuid::nil());
        let entry = LedgerEntry::never_opened(assignment, principal, BackupRole::Operator, scope, op, NOW);
        LedgerEntry { state: holding, unsettled_until: unsettled.then_some(NOW), ..entry }
    }

    #[test]
    fn only_what_is_settled_and_not_ours_is_gone() {
        let other = AssignmentState::HeldByOther(AssignmentName::new(Uuid::from_u128(9)));
        for (holding, gone) in
            [(AssignmentState::Present, false), (AssignmentState::Gone, true), (other, true)]
        {
            assert_eq!(entry(holding, false).is_settled_and_gone(), gone, "{holding:?}");
            assert!(!entry(holding, true).is_settled_and_gone(), "{holding:?}");
        }
    }

    #[test]
    fn a_failure_counts_those_of_its_kind_and_a_holding_keeps_its_since() {
        let failed = |entry: LedgerEntry, kind| entry.failed(kind, ReasonCode::NoAnswer, NOW, None);
        let twice =
            failed(failed(entry(AssignmentState::Present, false), StepKind::Revoke), StepKind::Revoke);
        let retry = twice.retry.clone().unwrap();
        assert_eq!((retry.attempts, retry.not_before - NOW), (2, time::Duration::seconds(60)));
        assert_eq!(failed(twice, StepKind::Grant).retry.unwrap().attempts, 1);
        let later = NOW + time::Duration::HOUR;
        let same = entry(AssignmentState::Present, false).becoming(AssignmentState::Present, later);
        let other = entry(AssignmentState::Present, false).becoming(AssignmentState::Gone, later);
        assert_eq!((same.since, same.written, other.since), (NOW, later, later));
    }

    #[test]
    fn the_texts_of_rows_and_logs_never_change() {
        assert_eq!(StepKind::ALL.map(StepKind::as_str), ["revoke", "grant"]);
    }

    #[test]
    fn a_wait_is_for_one_binding_role_and_scope() {
        let name = |text| BindingName::parse(text).unwrap();
        let LedgerEntry { role, scope, .. } = entry(AssignmentState::Gone, false);
        let elsewhere = Scope::parse("/subscriptions/00000000-0000-0000-0000-000000000002").unwrap();
        let wait = PendingStep {
            binding: name("a"),
            role,
            scope: scope.clone(),
            wanted: true,
            reason: ReasonCode::Throttled,
            since: NOW,
            attempts: 1,
            not_before: NOW,
        };
        assert!(wait.is_for(&name("a"), role, &scope));
        assert!(!wait.is_for(&name("b"), role, &scope));
        assert!(!wait.is_for(&name("a"), BackupRole::Reader, &scope));
        assert!(!wait.is_for(&name("a"), role, &elsewhere));
    }
}
