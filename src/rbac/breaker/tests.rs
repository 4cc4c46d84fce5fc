use super::*;
use crate::id::{OpId, UserId};
use crate::rbac::BindingName;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);

fn at(minutes: i64) -> OffsetDateTime {
    NOW + time::Duration::minutes(minutes)
}

fn op(n: u128) -> OpId {
    OpId::new(Uuid::from_u128(n))
}

fn person(n: u128) -> HolderId {
    HolderId::from(UserId::new(Uuid::from_u128(n)))
}

fn binding(name: &str) -> BindingName {
    BindingName::parse(name).unwrap()
}

/// An operation of one person.
const ONE: TakenBy = TakenBy { op: OpId::new(Uuid::nil()), size: 1 };

/// A binding that so many people have held for a month.
fn held_by(people: u128) -> BindingTally {
    let holders = (0..people).map(person).collect();
    BindingTally { holders, first_grant: Some(at(-30 * 24 * 60)), ..BindingTally::default() }
}

/// One binding among so many people in all.
fn tallies(tally: BindingTally, all: usize) -> Tallies {
    let all = TenantTally { people: all, ..TenantTally::default() };
    Tallies { bindings: BTreeMap::from([(binding("b"), tally)]), all, ..Tallies::default() }
}

/// A tenant of one binding.
fn of(people: u128) -> Tallies {
    tallies(held_by(people), people as usize)
}

impl Tallies {
    /// Takes the binding from one person; `ONE`: by an operation of its own.
    fn take(&mut self, who: u128, taken: TakenBy, minute: i64) -> Ruling {
        let user = UserId::new(Uuid::from_u128(who));
        let taken = if taken == ONE { TakenBy::one_person(op(7000 + minute as u128), user) } else { taken };
        self.judge_revocation(person(who), &[binding("b")], taken, at(minute), op(9000 + minute as u128))
    }

    fn give(&mut self, who: u128, limits: GrantLimits, minute: i64) -> Ruling {
        let by = [Admission { binding: binding("b"), limits }];
        self.judge_grant(person(who), &by, at(minute), op(9000 + minute as u128))
    }

    fn tally(&mut self) -> &mut BindingTally {
        self.bindings.get_mut(&binding("b")).unwrap()
    }
}

/// How many of the people of one operation may lose the role, in a tenant of `people`.
#[track_caller]
fn check_operation(people: u128, size: usize, passes: bool) {
    let mut tallies = of(people);
    let taken = TakenBy::operation(op(1), size);
    for who in 0..size as u128 {
        let ruling = tallies.take(who, taken, 0);
        assert_eq!(ruling == Ruling::Passes, passes, "{size} of {people}: {ruling:?}");
    }
}

#[test]
fn an_operation_passes_whole_up_to_the_limit_and_is_held_whole_beyond_it() {
    for (people, size, passes) in [
        (100, 20, true),
        (100, 21, false),
        (10, 5, true),
        (10, 6, false),
        (27, 5, true),
        (27, 6, false),
        (30, 6, true),
        (2000, 400, true),
        (2000, 401, false),
        // Emptied.
        (1, 1, true),
        (2, 2, true),
        (3, 3, false),
        (3, 2, true),
        (5, 5, false),
    ] {
        check_operation(people, size, passes);
    }
}

#[test]
fn a_binding_is_not_emptied_by_one_person_after_the_other_within_an_hour() {
    let mut tallies = of(3);
    assert_eq!(tallies.take(0, ONE, 0), Ruling::Passes);
    assert_eq!(tallies.take(1, ONE, 10), Ruling::Passes);
    assert!(matches!(tallies.take(2, ONE, 59), Ruling::Held { .. }));

    let mut tallies = of(3);
    for (who, minute) in [(0, 0), (1, 70), (2, 140)] {
        assert_eq!(tallies.take(who, ONE, minute), Ruling::Passes, "{who}");
    }
}

#[test]
fn people_of_an_operation_who_had_nothing_to_lose_do_not_count_the_next_day() {
    let mut tallies = of(6);
    assert_eq!(tallies.take(0, TakenBy::operation(op(1), 5), 0), Ruling::Passes);
    assert!(matches!(tallies.take(1, ONE, 30), Ruling::Held { .. }), "six within the hour");
    assert_eq!(tallies.take(2, ONE, 90), Ruling::Passes);
}

#[test]
fn the_operations_of_an_hour_count_together_and_a_single_leaver_of_the_next_day_passes() {
    let mut tallies = of(100);
    let pass = |n: u128| TakenBy::operation(op(n), 10);
    for who in 0..10 {
        assert_eq!(tallies.take(who, pass(1), 0), Ruling::Passes);
        assert_eq!(tallies.take(10 + who, pass(2), 30), Ruling::Passes);
    }
    let held = tallies.take(20, pass(3), 45);
    let Ruling::Held { batch } = held else { panic!("{held:?}") };
    // A further operation that crosses the limit within the window joins the batch.
    assert_eq!(tallies.take(50, ONE, 50), Ruling::Held { batch });
    assert_eq!(tallies.trips.iter().filter(|trip| trip.is_new).count(), 1);

    // The others of a held operation are held, however late they come; a new one is judged afresh.
    assert_eq!(tallies.take(60, ONE, 24 * 60 - 60), Ruling::Passes);
    assert_eq!(tallies.take(21, pass(3), 24 * 60), Ruling::Held { batch });
}

#[test]
fn an_old_batch_hides_no_one() {
    let mut tallies = of(100);
    let all = TakenBy::operation(op(1), 80);
    for who in 0..80 {
        assert!(matches!(tallies.take(who, all, 0), Ruling::Held { .. }));
    }
    assert_eq!((tallies.tally().holders.len(), tallies.tally().kept.len()), (20, 80));
    let Ruling::Held { batch: first } = tallies.take(0, all, 1) else { panic!("held") };

    // Of the twenty who are left, five may go in an hour, not twenty of a hundred.
    let six = TakenBy::operation(op(2), 6);
    let Ruling::Held { batch } = tallies.take(80, six, 25 * 60) else { panic!("held") };
    assert_ne!(batch, first, "a batch is closed with its window");
    let five = TakenBy::operation(op(3), 5);
    assert_eq!(tallies.take(90, five, 25 * 60), Ruling::Passes);
}

#[test]
fn a_person_who_is_judged_twice_counts_once() {
    let mut tallies = of(100);
    let taken = TakenBy::operation(op(1), 20);
    for _ in 0..3 {
        assert_eq!(tallies.take(0, taken, 0), Ruling::Passes);
    }
    assert_eq!(tallies.tally().window.revoked(at(0)), 20);
    assert_eq!(tallies.all.window.revoked(at(0)), 20);

    let mut tallies = of(10);
    for _ in 0..3 {
        assert_eq!(tallies.give(50, GrantLimits::default(), 0), Ruling::Passes);
    }
    assert_eq!((tallies.tally().people(), tallies.tally().window.granted(at(0))), (11, 1));
}

#[test]
fn a_person_who_is_held_alone_is_held_again_where_the_hold_was_not_written() {
    let mut tallies = of(3);
    tallies.take(0, TakenBy::operation(op(1), 2), 0);
    tallies.take(1, TakenBy::operation(op(1), 2), 0);
    let held = tallies.take(2, ONE, 1);
    assert!(matches!(held, Ruling::Held { .. }));
    assert_eq!(tallies.take(2, ONE, 1), held);
}

#[test]
fn small_operations_on_many_bindings_count_in_all() {
    let names: Vec<BindingName> = (0..10).map(|n| binding(&format!("b{n}"))).collect();
    let bindings = names.iter().map(|name| (name.clone(), held_by(4))).collect();
    let all = TenantTally { people: 40, ..TenantTally::default() };
    let mut tallies = Tallies { bindings, all, ..Tallies::default() };
    let mut passed = 0;
    for (n, name) in names.iter().enumerate() {
        let taken = TakenBy::operation(op(n as u128), 2);
        for who in 0..2 {
            let ruling =
                tallies.judge_revocation(person(who), std::slice::from_ref(name), taken, at(0), op(9000));
            passed += usize::from(ruling == Ruling::Passes);
        }
    }
    assert_eq!(passed, 8);
}

#[test]
fn an_operation_on_two_bindings_is_held_where_it_crosses_a_limit() {
    let small = binding("small");
    let large = binding("large");
    let bindings = BTreeMap::from([(small.clone(), held_by(4)), (large.clone(), held_by(100))]);
    let all = TenantTally { people: 100, ..TenantTally::default() };
    let mut tallies = Tallies { bindings, all, ..Tallies::default() };
    let taken = TakenBy::operation(op(1), 6);
    let mut take = |who, name: &BindingName| {
        tallies.judge_revocation(person(who), std::slice::from_ref(name), taken, at(0), op(9000))
    };
    assert_eq!(take(0, &large), Ruling::Passes);
    assert_eq!(take(0, &small), Ruling::Held { batch: op(9000) });
    assert_eq!(take(1, &large), Ruling::Passes);
    assert_eq!(take(1, &small), Ruling::Held { batch: op(9000) });
}

#[test]
fn a_first_sync_fills_up_and_an_old_binding_gives_fifty_an_hour() {
    let limits = GrantLimits { max_principals: 200, new_grants_max: 50 };
    let mut first = tallies(BindingTally::default(), 0);
    let passed = (0..300).filter(|who| first.give(*who, limits, 0) == Ruling::Passes).count();
    assert_eq!(passed, 200);
    assert_eq!(first.give(300, limits, 1), Ruling::Full);
    assert_eq!(first.tally().turned_away.len(), 101);
    assert!(first.trips.is_empty());

    let mut old = of(10);
    let passed = (1000..1300).filter(|who| old.give(*who, limits, 0) == Ruling::Passes).count();
    assert_eq!(passed, 50);
    let Ruling::Held { batch } = old.give(1300, limits, 30) else { panic!("held") };
    assert_eq!(old.trips.iter().filter(|trip| trip.is_new).count(), 1);
    assert_eq!(old.give(1301, limits, 61), Ruling::Passes, "the window is over");

    // A released grant does not count again, and a full binding turns it away too.
    let by = [Admission { binding: binding("b"), limits }];
    for who in 1302..1302 + 139 {
        assert_eq!(old.judge_released_grant(person(who), &by, at(62)), Ruling::Passes, "{batch}");
    }
    assert_eq!(old.judge_released_grant(person(1), &by, at(62)), Ruling::Passes, "holds it already");
    assert_eq!(old.judge_released_grant(person(2000), &by, at(62)), Ruling::Full);
    assert_eq!(old.tally().window.granted(at(62)), 1);
}

#[test]
fn a_day_after_the_first_grant_the_hourly_limit_counts() {
    let limits = GrantLimits { max_principals: 500, new_grants_max: 3 };
    let mut tallies = tallies(BindingTally::default(), 0);
    for who in 0..10 {
        assert_eq!(tallies.give(who, limits, 0), Ruling::Passes);
    }
    for who in 10..13 {
        assert_eq!(tallies.give(who, limits, 24 * 60), Ruling::Passes);
    }
    assert!(matches!(tallies.give(13, limits, 24 * 60), Ruling::Held { .. }));
}

#[test]
fn what_was_given_is_unknown_for_an_hour_where_it_cannot_be_read() {
    let mut tallies = of(10);
    tallies.tally().no_grants_before = Some(at(60));
    assert_eq!(tallies.give(20, GrantLimits::default(), 0), Ruling::Unknown { until: at(60) });
    assert_eq!(tallies.give(5, GrantLimits::default(), 0), Ruling::Passes, "holds it already");
    assert_eq!(tallies.give(20, GrantLimits::default(), 60), Ruling::Passes);
}

#[test]
fn one_binding_that_may_give_it_is_enough() {
    let full = GrantLimits { max_principals: 10, new_grants_max: 10 };
    let bindings = BTreeMap::from([(binding("full"), held_by(10)), (binding("open"), held_by(1))]);
    let mut tallies = Tallies { bindings, ..Tallies::default() };
    let by = |name: &str, limits| Admission { binding: binding(name), limits };
    let both = [by("full", full), by("open", GrantLimits::default())];
    assert_eq!(tallies.judge_grant(person(50), &both, NOW, op(9000)), Ruling::Passes);
    assert_eq!(tallies.judge_grant(person(51), &both[..1], NOW, op(9000)), Ruling::Full);
}

#[test]
fn a_recount_takes_out_who_left_unseen_and_keeps_who_came_meanwhile() {
    let before = held_by(10);
    let mut now = before.clone();
    now.holders.insert(person(20));
    now.holders.remove(&person(9));
    now.turned_away.insert(person(30));
    let found = (2..10).map(person).chain([person(11)]).collect();
    now.recount(&before, found, BTreeSet::from([person(2)]));
    let expected: BTreeSet<HolderId> = (3..9).map(person).chain([person(11), person(20)]).collect();
    assert_eq!((now.holders, now.kept), (expected, BTreeSet::from([person(2)])));
    assert!(now.turned_away.is_empty());
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A history of random operations on one binding, with what really passed in it.
struct History {
    tallies: Tallies,
    minute: i64,
    lost: Vec<i64>,
    got: Vec<i64>,
    /// The minute, and how many people held the role after what happened in it.
    people: Vec<(i64, usize)>,
}

impl History {
    const LIMITS: GrantLimits = GrantLimits { max_principals: 80, new_grants_max: 7 };

    fn of(people: u128) -> Self {
        let people_at = vec![(i64::MIN, people as usize)];
        Self { tallies: of(people), minute: 0, lost: Vec::new(), got: Vec::new(), people: people_at }
    }

    /// One operation takes the role from several people, in two visits; all of it has one verdict.
    fn take(&mut self, n: u128, size: u64, first: u64) {
        let taken = TakenBy::operation(op(n), size as usize);
        let holds =
            |history: &Self, who| history.tallies.bindings[&binding("b")].holders.contains(&person(who));
        let people: Vec<u128> =
            (first..first + size).map(u128::from).filter(|who| holds(self, *who)).collect();
        let rulings: Vec<Ruling> =
            people.iter().chain(&people).map(|who| self.tallies.take(*who, taken, self.minute)).collect();
        assert!(rulings.windows(2).all(|pair| pair[0] == pair[1] || size == 1), "{rulings:?}");
        let passed = rulings.iter().take(people.len()).filter(|ruling| **ruling == Ruling::Passes);
        self.lost.extend(passed.map(|_| self.minute));
    }

    fn give(&mut self, who: u128) {
        let is_new = !self.tallies.tally().has(person(who));
        if self.tallies.give(who, Self::LIMITS, self.minute) == Ruling::Passes && is_new {
            self.got.push(self.minute);
        }
    }

    #[track_caller]
    fn check(&mut self) {
        let in_hour = |list: &[i64]| list.iter().filter(|at| **at > self.minute - 60).count();
        let before = self.people.iter().rev().find(|(at, _)| *at < self.minute - 60);
        let start = before.map_or(0, |(_, people)| *people);
        let (lost, got) = (in_hour(&self.lost), in_hour(&self.got));
        assert!(got <= 7, "{got} in an hour");
        // What passed was judged by the start of the hour that ended then.
        if self.lost.last() == Some(&self.minute) {
            assert!(lost <= 5.max(start / 5), "{lost} of {start} in an hour");
        }
        let tally = self.tallies.tally();
        assert!(tally.people() <= 80.max(self.people[0].1));
        self.people.push((self.minute, tally.holders.len()));
    }
}

#[test]
fn nothing_passes_beyond_the_limits_in_any_hour() {
    for seed in 1..400 {
        let mut dice = Dice(seed);
        let mut history = History::of(u128::from(dice.roll(60)));
        for n in 0..120 {
            history.minute += dice.roll(15) as i64;
            match dice.roll(3) {
                0 => history.take(n, 1 + dice.roll(12), dice.roll(60)),
                1 => history.take(n, 1, dice.roll(60)),
                _ => history.give(u128::from(dice.roll(400))),
            }
            history.check();
        }
    }
}

#[test]
fn a_person_who_leaves_one_group_of_many_bindings_is_one_person_however_often_it_is_judged() {
    let names: Vec<BindingName> = (0..6).map(|n| binding(&format!("b{n}"))).collect();
    let bindings = names.iter().map(|name| (name.clone(), held_by(20))).collect();
    let all = TenantTally { people: 20, ..TenantTally::default() };
    let mut tallies = Tallies { bindings, all, ..Tallies::default() };
    let user = UserId::new(Uuid::from_u128(3));
    let taken = TakenBy::one_person(op(1), user);
    for _ in 0..2 {
        for name in &names {
            let ruling = tallies.judge_revocation(person(3), std::slice::from_ref(name), taken, NOW, op(9));
            assert_eq!(ruling, Ruling::Passes);
        }
    }
    assert_eq!(tallies.all.window.revoked(NOW), 1);
}

#[test]
fn all_bindings_have_no_fewer_people_than_any_of_them() {
    // The people of all bindings were counted before the first grant.
    let mut tallies = tallies(held_by(100), 0);
    let taken = TakenBy::operation(op(1), 15);
    assert_eq!(tallies.take(0, taken, 0), Ruling::Passes);
}
