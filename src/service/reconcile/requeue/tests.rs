//! When a person is looked at again, where the round alone does not say it.

use crate::id::{InstanceId, OpId, PrincipalId};
use crate::rbac::{AssignmentName, BackupRole, Scope};
use crate::service::reconcile::gather::tests::{gathered, ledger, living, unreadable};
use crate::service::reconcile::requeue::*;
use crate::store::reconcile_queue::Priority;
use time::macros::datetime;
use uuid::Uuid;

const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn at(seconds: i64) -> OffsetDateTime {
    NOON + time::Duration::seconds(seconds)
}

fn again(seconds: i64, takes_away: bool) -> Option<Requeue> {
    Some(Requeue { at: at(seconds), takes_away })
}

/// The same person, from whom the change took something.
fn bereft(mut gathered: GatheredState) -> GatheredState {
    gathered.request.request.priority = Priority::Leaver;
    gathered
}

fn frozen() -> GatheredState {
    let mut gathered = gathered();
    gathered.desired.frozen = true;
    gathered
}

fn with_unreadable_row() -> GatheredState {
    let mut gathered = gathered();
    gathered.ledger.rows_unreadable = 1;
    gathered
}

#[test]
fn while_the_bindings_are_unreadable_everyone_is_looked_at_within_a_minute() {
    let check = |gathered: &GatheredState, round, expected| {
        assert_eq!(while_frozen(gathered, round, NOON), expected);
    };
    for round in [None, again(10, false), again(3600, true)] {
        check(&bereft(gathered()), round, round);
    }
    check(&frozen(), None, again(60, false));
    check(&frozen(), again(10, false), again(10, false));
    check(&frozen(), again(3600, true), again(60, true));
    check(&bereft(frozen()), None, again(60, true));
    check(&bereft(frozen()), again(3600, false), again(60, true));
}

#[test]
fn what_is_unreadable_is_read_again_within_the_hour() {
    let check = |gathered: &GatheredState, round, expected| {
        assert_eq!(while_unreadable(gathered, round, NOON), expected);
    };
    for round in [None, again(10, false), again(7200, true)] {
        check(&bereft(gathered()), round, round);
    }
    for gathered in [unreadable(), with_unreadable_row()] {
        check(&gathered, None, again(3600, false));
        check(&gathered, again(10, false), again(10, false));
        check(&gathered, again(7200, false), again(3600, false));
    }
}

#[test]
fn an_unreadable_row_may_be_what_was_taken_away_and_an_unreadable_record_is_not() {
    let takes_away = |gathered: GatheredState, round| {
        while_unreadable(&gathered, round, NOON).is_some_and(|again| again.takes_away)
    };
    assert!(takes_away(bereft(with_unreadable_row()), None));
    assert!(!takes_away(with_unreadable_row(), None));
    assert!(!takes_away(bereft(unreadable()), None));
    for gathered in [with_unreadable_row(), unreadable()] {
        assert!(takes_away(gathered, again(10, true)));
    }
}

#[test]
fn more_principals_than_one_close_frees_are_gone_on_with_at_once() {
    let check = |round, to_free, expected| {
        assert_eq!(while_principals_are_left(round, to_free, NOON), expected);
    };
    for round in [None, again(10, true)] {
        check(round, FREED_MAX, round);
    }
    check(None, FREED_MAX + 1, again(0, false));
    check(again(10, true), FREED_MAX + 1, again(0, true));
    check(again(-10, false), FREED_MAX + 1, again(-10, false));
}

fn entry(unwanted_since: Option<i64>) -> LedgerEntry {
    let subscription = Uuid::from_u128(1);
    let scope = Scope::parse(&format!("/subscriptions/{subscription}/resourceGroups/backup")).unwrap();
    let principal = PrincipalId::new(Uuid::nil());
    let instance = InstanceId::new(Uuid::nil());
    LedgerEntry {
        assignment: AssignmentName::derive(&scope, BackupRole::Operator, principal, instance),
        principal,
        role: BackupRole::Operator,
        scope,
        state: AssignmentState::Present,
        unsettled_until: None,
        op: OpId::new(Uuid::nil()),
        bindings: Vec::new(),
        correlation: None,
        retry: None,
        unwanted_since: unwanted_since.map(at),
        hold: None,
        since: at(-600),
        written: at(-600),
    }
}

#[test]
fn a_revocation_that_waited_and_is_not_wished_any_more_ends_the_hint() {
    let check = |before: Option<i64>, after: Option<i64>, takes_away: bool, expected: bool| {
        let mut gathered = gathered();
        gathered.ledger = ledger([entry(before)]);
        gathered.request.request.priority = if takes_away { Priority::Leaver } else { Priority::Gain };
        assert_eq!(is_wanted_again(&gathered, &[entry(after)]), expected);
    };
    check(Some(-60), None, false, true);
    check(Some(-60), Some(-60), false, false);
    check(Some(-60), None, true, false);
    check(None, None, false, false);
}

#[test]
fn a_look_of_an_hour_is_spread_by_the_person_and_a_short_one_is_not() {
    let mut late = living(true, None, PrincipalId::new(Uuid::nil()));
    late.user = crate::id::UserId::new(Uuid::from_u128(0xab << 120));
    let spread = |minutes| spread_by_user(&late, time::Duration::minutes(minutes)).as_secs();
    assert_eq!([29, 30, 60].map(spread), [0, 0xab, 0xab]);
}

/// The keys that a close writes for the person's later look, and what becomes of the round.
fn requeued(
    mut gathered: GatheredState,
    round: Option<Requeue>,
    has_more: bool,
) -> (RoundResult, Vec<String>) {
    gathered.user = crate::id::UserId::new(Uuid::from_u128(0x3c << 120));
    let plan = Plan { has_more, ..Plan::default() };
    let mut writes = Vec::new();
    let look = gathered.request.etag.clone();
    let result = requeue_writes(&gathered, &plan, &[], round, look, NOON, &mut writes);
    let user = gathered.user.to_string();
    let keys = writes.iter().map(|write| write.key().replace(&format!(":{user}"), ""));
    (result, keys.collect())
}

#[test]
fn a_round_keeps_its_request_ends_it_or_exchanges_it_for_a_later_look() {
    let (result, keys) = requeued(gathered(), again(10, false), true);
    assert_eq!((result, keys.len()), (RoundResult::Continue, 0));
    let (result, keys) = requeued(gathered(), None, false);
    assert_eq!((result, keys.len()), (RoundResult::Settled, 1));
    let at = |seconds, takes_away| {
        let (result, keys) = requeued(gathered(), again(seconds, takes_away), false);
        assert_eq!(result, RoundResult::Requeued);
        keys.into_iter().find_map(|key| key.rsplit(':').next()?.strip_prefix("20260301T").map(str::to_owned))
    };
    // Rounded up to half a minute, a leaver's to a second; one whose time is over is due now.
    assert_eq!(at(10, false).as_deref(), Some("120030Z"));
    assert_eq!(at(10, true).as_deref(), Some("120010Z"));
    assert_eq!(at(-90, false).as_deref(), Some("120000Z"));
    assert_eq!(at(-90, true).as_deref(), Some("120000Z"));
    // An hour, and the person's own minute.
    assert_eq!(at(3600, false).as_deref(), Some("130100Z"));
    assert_eq!(at(3600, true).as_deref(), Some("130000Z"));
}

#[test]
fn the_hint_of_a_leaver_says_that_a_row_cannot_be_read_where_nothing_else_is_in_the_way() {
    let hinted = |rows_unreadable: usize, after: &[LedgerEntry]| {
        let mut gathered = bereft(gathered());
        gathered.ledger.rows_unreadable = rows_unreadable;
        let (plan, mut writes) = (Plan::default(), Vec::new());
        let look = gathered.request.etag.clone();
        requeue_writes(&gathered, &plan, after, again(10, true), look, NOON, &mut writes);
        let with = |reason| {
            let hint = WaitingRevocation { reason, ..waiting(after, &[], NOON) };
            let mark = gathered.request.request.waiting(true);
            reconcile_queue::enqueue_at(at(10), gathered.user, &mark, &hint)
        };
        let reasons = [None, Some(ReasonCode::RowUnreadable), Some(ReasonCode::NoReasonLeft)];
        reasons.into_iter().find(|reason| writes[1..] == with(*reason)).unwrap()
    };
    assert_eq!(hinted(0, &[]), None);
    for rows_unreadable in [1, 2] {
        assert_eq!(hinted(rows_unreadable, &[]), Some(ReasonCode::RowUnreadable));
        assert_eq!(hinted(rows_unreadable, &[entry(Some(-60))]), Some(ReasonCode::NoReasonLeft));
    }
}
