//! What Azure's throttling does: nothing is lost, no request waits for it, and revocations do not wait behind grants.

use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World, binding, members, patch_group};
use azure_backup_scim::id::{GroupId, OpId};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::jobs;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule, RecordedCall};
use futures_util::future::{Either, join_all, select};
use std::pin::pin;
use std::time::{Duration, Instant};

/// What is never waited for so long has failed.
const NEVER: Duration = Duration::from_secs(20);

fn operators() -> World {
    World::new().bind("operators", Operator, VAULT_EAST)
}

/// Everything is left to ticks.
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };

fn crowd(node: &Node, number: usize) -> Vec<Person> {
    (0..number).map(|n| node.provision(&format!("p{n}@contoso.example"))).collect()
}

fn throttle(seconds: u64, method: CallMethod) -> FaultRule {
    FaultRule::new(FaultAction::Throttle { retry_after_seconds: Some(seconds) }).method(method)
}

fn calls(world: &World, method: CallMethod) -> Vec<RecordedCall> {
    world.azure().calls().into_iter().filter(|call| call.method == method).collect()
}

/// The methods of the calls that changed something, in their order.
fn executed(world: &World) -> Vec<CallMethod> {
    let changes =
        |call: &RecordedCall| call.executed && matches!(call.method, CallMethod::Put | CallMethod::Delete);
    world.azure().calls().iter().filter(|call| changes(call)).map(|call| call.method).collect()
}

/// No call is made before the time that Azure asked for, except those that were under way.
fn assert_waited(world: &World, method: CallMethod, seconds: i64, under_way: usize) {
    let calls = calls(world, method);
    let Some(first) = calls.iter().find(|call| call.status == Some(429)) else { return };
    let until = first.at + time::Duration::seconds(seconds);
    let early = calls.iter().filter(|call| call.number > first.number && call.at < until).count();
    assert!(early <= under_way, "{early} calls of {method:?} came too early");
}

/// Facts: F-023.
#[test]
fn a_minute_of_throttling_delays_no_answer_loses_nothing_and_revocations_come_first() {
    let world = operators().without_limits_on_revocations();
    let nodes = [world.start_with(InlineLimits::default()), world.start_with(InlineLimits::default())];
    let group = nodes[0].group("operators");
    let people = crowd(&nodes[0], 40);
    let (here, coming) = people.split_at(20);
    nodes[0].join(&group, &here.iter().collect::<Vec<_>>());
    nodes[0].settle();
    world.azure().clear_calls();
    for method in [CallMethod::Put, CallMethod::Delete, CallMethod::Get, CallMethod::List] {
        world.azure().add_rule(throttle(60, method)).unwrap();
    }

    for (n, (comes, leaves)) in coming.iter().zip(here).enumerate() {
        let node = &nodes[n % 2];
        for (op, person) in [("add", comes), ("remove", leaves)] {
            let asked = patch_group(&node.service, &group, members(op, &[person]));
            let answered = node.run(async { tokio::time::timeout(NEVER, asked).await });
            answered.expect("the answer does not wait for azure").unwrap();
        }
        if n % 4 == 3 {
            world.pass(5);
            nodes.iter().for_each(Node::settle);
        }
    }
    // What the last requests began ends before Azure is free again.
    let begun = Instant::now();
    while !nodes[0].run(nodes[0].service.store.rows("d:", 100)).unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "a request is left");
        nodes.iter().for_each(Node::settle);
    }
    assert!(executed(&world).is_empty());
    assert_waited(&world, CallMethod::Put, 60, 16);
    assert_waited(&world, CallMethod::Delete, 60, 16);

    // A reconcile that has not sent its call goes no further: what comes now is sent by the ticks that follow.
    nodes.iter().for_each(|node| node.until_quiet(0));
    nodes.into_iter().for_each(Node::kill);
    world.azure().clear_rules();
    world.azure().clear_calls();
    world.pass(180);
    let node = world.start();
    node.settle();
    let order = executed(&world);
    assert_eq!(order.iter().filter(|method| **method == CallMethod::Delete).count(), 20);
    assert!(order[..20].iter().all(|method| *method == CallMethod::Delete), "{order:?}");
    world.pass(90);
    node.settle();
    coming.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
    here.iter().for_each(|person| world.assert_holds_nothing(person));
}

#[test]
fn a_person_who_keeps_a_role_because_azure_throttles_shows_why() {
    let world = operators();
    let node = world.start();
    let group = node.group("operators");
    let people = crowd(&node, 2);
    node.join(&group, &people.iter().collect::<Vec<_>>());
    world.azure().add_rule(throttle(60, CallMethod::Delete)).unwrap();
    // The first meets the throttle, the second one that is known already.
    for person in &people {
        node.leave(&group, &[person]);
        node.settle();
        world.assert_holds(person, Operator, VAULT_EAST);
        assert_eq!(node.grants(person), [("waiting".to_owned(), "throttled".to_owned())]);
    }
    let told = node.audit_of("wait-changed");
    assert!(
        told.iter().any(|change| change["person"] == people[1].id && change["reason"] == "throttled"),
        "{told:?}"
    );

    world.azure().clear_rules();
    world.pass(90);
    node.settle();
    for person in &people {
        world.assert_holds_nothing(person);
        assert!(node.grants(person).is_empty());
    }
}

#[test]
fn an_answer_does_not_wait_where_azure_throttles() {
    let world = operators();
    let node = world.start();
    let group = node.group("operators");
    let people = crowd(&node, 3);
    // Where Azure does not throttle, the answer comes with its effects.
    let point = world.faults.hold(When::page().key("l:"), Side::Before);
    let asked = pin!(patch_group(&node.service, &group, members("add", &[&people[0]])));
    node.run(async {
        let (asked, ()) = match select(asked, pin!(point.reached())).await {
            Either::Left(_) => panic!("its effects are waited for"),
            Either::Right((reached, asked)) => (asked, reached),
        };
        point.release();
        asked.await.unwrap();
    });
    world.assert_holds(&people[0], Operator, VAULT_EAST);

    world.azure().add_rule(throttle(60, CallMethod::Put)).unwrap();
    node.join(&group, &[&people[1]]);
    let point = world.faults.hold(When::page().key("l:"), Side::Before);
    let asked = patch_group(&node.service, &group, members("add", &[&people[2]]));
    let answered = node.run(async { tokio::time::timeout(NEVER, asked).await });
    answered.expect("the answer is there while its effects are held").unwrap();
    world.assert_holds_nothing(&people[2]);
    point.release();
}

#[test]
fn a_wait_that_could_not_be_written_is_written_the_next_time_azure_asks_for_it() {
    let world = operators();
    let node = world.start();
    let group = node.group("operators");
    let people = crowd(&node, 3);
    world.azure().add_rule(throttle(600, CallMethod::Put)).unwrap();
    world.faults.inject(When::transact().key("s:throttle:").times(1), Fault::RequestLost);
    let stored = || node.run(node.service.store.rows("s:throttle:", 10)).unwrap();
    node.join(&group, &[&people[0]]);
    assert!(stored().is_empty());
    // From here on no answer waits for its effects.
    let wait_for_empty_queue = || {
        let begun = Instant::now();
        while !node.run(node.service.store.rows("d:", 10)).unwrap().is_empty() {
            assert!(begun.elapsed() < NEVER, "a request is left");
            node.settle();
        }
    };
    node.join(&group, &[&people[1]]);
    wait_for_empty_queue();
    assert_eq!(stored().len(), 1);
    node.join(&group, &[&people[2]]);
    wait_for_empty_queue();
    assert_eq!(calls(&world, CallMethod::Put).len(), 2, "the third one waits");
}

#[test]
fn a_scope_that_never_answers_ends_no_sweep_of_the_others() {
    let world = operators().bind("readers", Reader, VAULT_WEST);
    let node = world.start();
    let group = node.group("operators");
    let ana = node.provision("ana@contoso.example");
    node.join(&group, &[&ana]);
    let west = azure_backup_scim::simulator::Scope::parse(VAULT_WEST).unwrap();
    world
        .azure()
        .add_rule(FaultRule::new(FaultAction::LoseRequest).method(CallMethod::List).scope(west))
        .unwrap();
    world.pass(3700);
    node.settle();
    world.azure().delete_assignment(world.azure().assignments()[0].name).unwrap();
    for _ in 0..7 {
        world.pass(610);
        node.settle();
    }
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(node.service.health.snapshot().sweep_finished, None);
}

#[test]
fn a_scope_that_azure_refuses_to_list_is_a_finding_of_every_process() {
    let world = operators().bind("readers", Reader, VAULT_WEST);
    let nodes = [world.start(), world.start()];
    let west = azure_backup_scim::simulator::Scope::parse(VAULT_WEST).unwrap();
    let code = "AuthorizationFailed".to_owned();
    let refused =
        FaultAction::Fail { status: 403, code, message: None, retry_after_seconds: None, executed: false };
    world.azure().add_rule(FaultRule::new(refused).method(CallMethod::List).scope(west)).unwrap();
    nodes.iter().for_each(Node::settle);
    for node in &nodes {
        let standing = node.service.health.snapshot();
        assert!(standing.is_finding());
        assert_eq!(standing.to_json()["scopesRefused"], 1);
    }
    world.azure().clear_rules();
    world.pass(3700);
    nodes.iter().for_each(Node::settle);
    nodes.iter().for_each(|node| assert!(!node.service.health.snapshot().is_finding()));
}

#[test]
fn a_revocation_is_done_before_the_answer_while_grants_are_throttled() {
    let world = operators();
    let node = world.start();
    let group = node.group("operators");
    let people = crowd(&node, 10);
    node.join(&group, &[&people[0]]);
    world.azure().add_rule(throttle(60, CallMethod::Put)).unwrap();
    node.join(&group, &people[1..].iter().collect::<Vec<_>>());
    node.leave(&group, &[&people[0]]);
    world.assert_holds_nothing(&people[0]);
}

#[test]
fn a_revocation_has_a_place_though_every_place_is_taken_by_grants_that_hang() {
    let world = operators();
    let node = world.start_with(InlineLimits { wait: Duration::from_secs(20), people_max: 4 });
    let group = node.group("operators");
    let people = crowd(&node, 6);
    node.join(&group, &[&people[0]]);
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Put)).unwrap();
    for person in &people[1..5] {
        node.begin(&group, members("add", &[person]));
    }
    let azure = world.azure();
    node.run(async {
        let reached = azure.until(|azure| azure.held().len() == 4);
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
    });
    // No place is left for one more joiner.
    node.join(&group, &[&people[5]]);
    assert_eq!(world.azure().held().len(), 4);

    node.leave(&group, &[&people[0]]);
    world.assert_holds_nothing(&people[0]);
}

#[test]
fn every_process_respects_that_asking_by_name_is_throttled() {
    let world = operators();
    let nodes = [world.start(), world.start()];
    let group = nodes[0].group("operators");
    nodes[0].settle();
    // The definitions of the roles, which the first sweep reads.
    let read = calls(&world, CallMethod::Get).len();
    let asked = || calls(&world, CallMethod::Get).len() - read;
    let ana = nodes[0].provision("ana@contoso.example");
    let ben = nodes[0].provision("ben@contoso.example");
    world.azure().add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Put).times(2)).unwrap();
    nodes[0].join(&group, &[&ana]);
    world.pass(165);
    // His time comes after hers, so his request is not deferred with hers.
    nodes[1].join(&group, &[&ben]);
    world.azure().add_rule(throttle(600, CallMethod::Get).times(1)).unwrap();
    world.pass(15);
    nodes[0].settle();
    assert_eq!(asked(), 1);

    for _ in 0..5 {
        world.pass(60);
        nodes[1].settle();
        world.start().settle();
    }
    assert_eq!(asked(), 1, "ten minutes are not over");
    world.pass(400);
    nodes[1].settle();
    for person in [&ana, &ben] {
        assert_eq!(nodes[1].grants(person), [("held".to_owned(), "member".to_owned())]);
    }
    assert_eq!(asked(), 3);
}

/// Facts: F-023.
#[test]
fn a_leaver_is_revoked_though_azure_may_not_be_asked() {
    let world = operators();
    let node = world.start();
    let group = node.group("operators");
    let ana = node.provision("ana@contoso.example");
    world.azure().add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Put).times(1)).unwrap();
    node.join(&group, &[&ana]);
    world.azure().add_rule(throttle(600, CallMethod::Get)).unwrap();
    world.pass(200);
    node.settle();
    node.leave(&group, &[&ana]);
    world.assert_holds_nothing(&ana);
}

#[test]
fn a_throttled_list_ends_no_sweep_and_is_asked_for_again_when_azure_allows_it() {
    let world = operators();
    let node = world.start();
    let group = node.group("operators");
    let ana = node.provision("ana@contoso.example");
    node.join(&group, &[&ana]);
    world.pass(3700);
    world.azure().add_rule(throttle(1000, CallMethod::List).times(1)).unwrap();
    node.settle();
    assert_eq!(calls(&world, CallMethod::List).len(), 1);
    assert_eq!(node.service.health.snapshot().sweep_finished, None);
    world.azure().delete_assignment(world.azure().assignments()[0].name).unwrap();

    world.pass(700);
    node.settle();
    assert_eq!(calls(&world, CallMethod::List).len(), 1, "it is too early");
    world.pass(700);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert!(node.service.health.snapshot().sweep_finished.is_some());
}

#[test]
fn a_question_that_gets_no_answer_is_asked_less_and_less_often() {
    let world = operators();
    let node = world.start();
    let group = node.group("operators");
    let ana = node.provision("ana@contoso.example");
    world.azure().add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Put).times(1)).unwrap();
    node.join(&group, &[&ana]);
    world.azure().add_rule(FaultRule::new(FaultAction::LoseRequest).method(CallMethod::Get)).unwrap();
    world.pass(160);
    for _ in 0..120 {
        node.settle();
        world.pass(30);
    }
    // Role definitions are asked for too, by sweeps.
    let asked = calls(&world, CallMethod::Get).iter().filter(|call| call.principal.is_some()).count();
    assert!((4..12).contains(&asked), "asked {asked} times in an hour");

    world.azure().clear_rules();
    world.pass(3700);
    node.settle();
    assert_eq!(node.grants(&ana), [("held".to_owned(), "member".to_owned())]);
}

#[test]
fn the_status_says_until_when_azure_wants_us_to_wait() {
    let world = operators();
    let nodes = [world.start(), world.start()];
    let group = nodes[0].group("operators");
    let people = crowd(&nodes[0], 2);
    world.azure().add_rule(throttle(60, CallMethod::Put)).unwrap();
    nodes[0].join(&group, &[&people[0]]);
    // The other process learns of it as soon as it reconciles a person.
    nodes[1].join(&group, &[&people[1]]);
    assert_eq!(calls(&world, CallMethod::Put).len(), 1);
    for node in &nodes {
        let standing = node.service.health.snapshot();
        assert_eq!(standing.throttled.keys().copied().collect::<Vec<_>>(), ["grant"]);
        assert_eq!(standing.to_json()["throttledUntil"]["grant"], "2026-03-01T10:01:00Z");
    }
    world.pass(61);
    assert!(nodes[0].service.health.snapshot().throttled.is_empty());
}

/// All people move by other bindings while ana, who was deactivated before, is still to be revoked.
fn all_people_move_after_ana_left(world: &World, node: &Node, group: &str, people: &[Person]) {
    world.pass(60);
    node.adopt(&[binding(1, "operators", Reader, VAULT_EAST)]);
    let store = &node.service.store;
    node.run(async {
        for job in store.rows("i:", 10).await.unwrap() {
            let job = OpId::parse(crate::support::keys::last_part(&job.key)).unwrap();
            while !jobs::run_chunk(store, &node.service.active_bindings, job).await.unwrap().done {}
        }
        let group = GroupId::parse(group).unwrap();
        while !store.fan_out_page(group).await.unwrap().is_done {}
    });
    world.azure().clear_rules();
    world.azure().clear_calls();
    node.run(node.service.tick.run()).unwrap();
    let first = calls(world, CallMethod::Delete).first().and_then(|call| call.name);
    let ana = world.azure().assignments().iter().any(|held| held.principal_id == people[0].principal);
    assert!(first.is_some() && !ana);
    let order = world.azure().calls();
    let changes = |call: &&RecordedCall| matches!(call.method, CallMethod::Put | CallMethod::Delete);
    assert_eq!(
        order.iter().find(changes).map(|call| call.method),
        Some(CallMethod::Delete),
        "she comes first"
    );
}

fn a_crowd_that_holds(world: &World) -> (Node, String, Vec<Person>) {
    let limits = azure_backup_scim::simulator::ArmLimits { buckets: false, ..Default::default() };
    world.azure().set_limits(limits).unwrap();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, 40);
    burst(&node, &group, &people);
    node.settle();
    assert_eq!(world.azure().assignments().len(), 40);
    (node, group, people)
}

#[test]
fn a_change_of_the_bindings_does_not_put_a_leaver_into_the_line_of_those_who_move() {
    let world = operators();
    let (node, group, people) = a_crowd_that_holds(&world);
    node.set_active(&people[0], false);
    all_people_move_after_ana_left(&world, &node, &group, &people);
}

#[test]
fn a_leaver_who_waits_for_azure_comes_before_those_who_move_when_she_is_woken() {
    let world = operators();
    let (node, group, people) = a_crowd_that_holds(&world);
    node.set_active(&people[0], false);
    world.azure().add_rule(throttle(20, CallMethod::Delete)).unwrap();
    node.run(node.service.tick.run()).unwrap();
    world.assert_holds(&people[0], Operator, VAULT_EAST);
    all_people_move_after_ana_left(&world, &node, &group, &people);
}

/// `number` people join in requests of 24 that come side by side.
fn burst(node: &Node, group: &str, people: &[Person]) {
    for requests in people.chunks(24 * 5) {
        let adds = requests
            .chunks(24)
            .map(|part| patch_group(&node.service, group, members("add", &part.iter().collect::<Vec<_>>())));
        node.run(join_all(adds)).into_iter().for_each(|answer| answer.unwrap());
    }
}

#[test]
fn a_thousand_join_at_once_and_a_leaver_in_the_middle_comes_before_every_waiting_grant() {
    let world = operators().with_max_principals(1001);
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let leaver = node.provision("leaver@contoso.example");
    node.join(&group, &[&leaver]);
    node.settle();
    world.pass(60);
    let people = crowd(&node, 1000);
    burst(&node, &group, &people);
    world.azure().clear_calls();
    world.faults.reset();

    let mut ticks = 0;
    while world.azure().assignments().len() < 400 {
        node.run(node.service.tick.run()).unwrap();
        world.pass(30);
        ticks += 1;
    }
    node.leave(&group, &[&leaver]);
    let before = executed(&world).len();
    while executed(&world).len() < people.len() + 1 {
        node.run(node.service.tick.run()).unwrap();
        world.pass(30);
        ticks += 1;
        assert!(ticks < 40, "{} hold a role", world.azure().assignments().len());
    }
    assert_eq!(executed(&world)[before], CallMethod::Delete, "the first call after he left");
    world.assert_holds_nothing(&leaver);
    assert_eq!(world.azure().assignments().len(), people.len());
    people.iter().step_by(100).for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));

    let counts = world.faults.counts();
    let calls = world.azure().calls().len();
    println!("{ticks} ticks, {calls} calls to azure, {counts:?}");
    // Two hundred are in a full bucket: five ticks at the least, and each may run into the end of one.
    assert!(ticks <= 8, "{ticks} ticks");
    assert!(calls <= people.len() + 1 + ticks * 16 + 5, "{calls} calls to azure");
    // One of them to count for the breakers, for several people at once.
    assert!(counts.requests <= 15 * people.len(), "{counts:?}");
}

#[test]
fn a_leaver_who_leaves_while_a_tick_grants_to_a_crowd_does_not_wait_for_its_end() {
    let world = operators();
    let limits = azure_backup_scim::simulator::ArmLimits { buckets: false, ..Default::default() };
    world.azure().set_limits(limits).unwrap();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let leaver = node.provision("leaver@contoso.example");
    node.join(&group, &[&leaver]);
    node.settle();
    let people = crowd(&node, 300);
    burst(&node, &group, &people);
    world.azure().clear_calls();
    world
        .azure()
        .add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Put).skip(100).times(1))
        .unwrap();
    let service = node.service.clone();
    let tick = node.spawn(async move { service.tick.run().await.unwrap() });
    world.until_held(&node);
    node.leave(&group, &[&leaver]);
    world.azure().deliver(world.azure().held()[0].number).unwrap();
    node.run(tick).unwrap();

    let order = executed(&world);
    let revoked = order.iter().position(|method| *method == CallMethod::Delete).unwrap();
    assert!((100..150).contains(&revoked), "after {revoked} grants");
    assert_eq!(order.len(), 301);
    world.assert_holds_nothing(&leaver);
}

#[test]
fn a_change_of_the_bindings_that_moves_a_crowd_leaves_leavers_their_share() {
    let world = operators();
    let limits = |buckets| azure_backup_scim::simulator::ArmLimits { buckets, ..Default::default() };
    world.azure().set_limits(limits(false)).unwrap();
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    let people = crowd(&node, 260);
    burst(&node, &group, &people);
    node.settle();
    assert_eq!(world.azure().assignments().len(), 260);
    world.azure().set_limits(limits(true)).unwrap();
    world.azure().clear_calls();
    world.pass(60);
    node.adopt(&[binding(1, "operators", Reader, VAULT_EAST)]);
    node.run(node.service.tick.run()).unwrap();

    let leaving = &people[..20];
    node.leave(&group, &leaving.iter().collect::<Vec<_>>());
    node.run(node.service.tick.run()).unwrap();
    leaving.iter().for_each(|person| world.assert_holds_nothing(person));
    assert!(
        calls(&world, CallMethod::Delete).iter().all(|call| call.executed),
        "no revocation was throttled"
    );

    for _ in 0..6 {
        world.pass(60);
        node.run(node.service.tick.run()).unwrap();
    }
    people[20..].iter().for_each(|person| {
        world.assert_holds(person, Reader, VAULT_EAST);
        assert!(!world.holds(person, Operator, VAULT_EAST));
    });
}
