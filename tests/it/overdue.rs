//! A revocation that does not happen is never quiet: what `grants[]`, the health check and the audit say of a leaver behind each
//! obstacle, after 1, 20 and 120 minutes, with the record there and deleted.

use crate::harness::{Node, Person, VAULT_EAST, World};
use azure_backup_scim::app;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::service::effects::Inline;
use azure_backup_scim::simulator::{ArmLimits, CallMethod, FaultAction, FaultRule, LockLevel, Scope};
use serde_json::{Value, json};
use std::time::Duration;

/// What keeps the leaver in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Lock,
    Right,
    DenyAssignment,
    Policy,
    Throttle,
    NoAnswer,
    LostAnswer,
    ServerError,
}

const ALL: [Obstacle; 8] = [
    Obstacle::Lock,
    Obstacle::Right,
    Obstacle::DenyAssignment,
    Obstacle::Policy,
    Obstacle::Throttle,
    Obstacle::NoAnswer,
    Obstacle::LostAnswer,
    Obstacle::ServerError,
];

impl Obstacle {
    fn put(self, world: &World) {
        let azure = world.azure();
        let fail = |status, code: &str| {
            let code = code.to_owned();
            let refusal =
                FaultAction::Fail { status, code, message: None, retry_after_seconds: None, executed: false };
            azure.add_rule(FaultRule::new(refusal).method(CallMethod::Delete)).unwrap();
        };
        match self {
            Obstacle::Lock => {
                azure.add_lock(&Scope::parse(VAULT_EAST).unwrap(), LockLevel::CanNotDelete).unwrap();
            }
            Obstacle::Right => fail(403, "AuthorizationFailed"),
            Obstacle::DenyAssignment => fail(403, "DenyAssignmentAuthorizationFailed"),
            Obstacle::Policy => fail(403, "RequestDisallowedByPolicy"),
            Obstacle::ServerError => fail(500, "InternalServerError"),
            Obstacle::Throttle => {
                let throttle = FaultAction::Throttle { retry_after_seconds: Some(40) };
                azure.add_rule(FaultRule::new(throttle).method(CallMethod::Delete)).unwrap();
            }
            Obstacle::NoAnswer => {
                azure.add_rule(FaultRule::new(FaultAction::LoseRequest)).unwrap();
            }
            Obstacle::LostAnswer => {
                azure.add_rule(FaultRule::new(FaultAction::LoseRequest).method(CallMethod::Delete)).unwrap();
                azure.add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Get)).unwrap();
            }
        }
    }

    /// Azure refuses every grant.
    fn put_for_grants(world: &World) {
        let code = "AuthorizationFailed".to_owned();
        let refusal = FaultAction::Fail {
            status: 403,
            code,
            message: None,
            retry_after_seconds: None,
            executed: false,
        };
        world.azure().add_rule(FaultRule::new(refusal).method(CallMethod::Put)).unwrap();
    }

    const fn reason(self) -> &'static str {
        match self {
            Obstacle::Lock => "scope-locked",
            Obstacle::Right | Obstacle::DenyAssignment => "not-authorized",
            Obstacle::Policy => "policy-denied",
            Obstacle::Throttle => "throttled",
            Obstacle::NoAnswer | Obstacle::LostAnswer | Obstacle::ServerError => "no-answer",
        }
    }
}

fn operators() -> (World, Node, String, Person) {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    let node = world.start_with(Inline { wait: Duration::ZERO, people_max: 0 });
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    (world, node, group, ana)
}

fn minutes(world: &World, node: &Node, number: usize) {
    for _ in 0..number {
        node.run(node.service.tick.run()).unwrap();
        world.pass(60);
    }
    node.run(node.service.tick.run()).unwrap();
}

fn health(node: &Node) -> Value {
    Value::Object(app::standing(&node.service))
}

/// People overdue, and the reason that is given for them.
fn overdue(health: &Value) -> (u64, Vec<String>) {
    let reasons = health["revocationsOverdue"]["reasons"].as_object().unwrap();
    (health["revocationsOverdue"]["people"].as_u64().unwrap(), reasons.keys().cloned().collect())
}

#[track_caller]
fn assert_shown(node: &Node, obstacle: Obstacle, ana: &Person) {
    let grants = node.grants_of(ana);
    assert_eq!(grants.len(), 1, "{obstacle:?}: {grants:?}");
    let grant = &grants[0];
    assert_eq!((&grant["wanted"], &grant["holds"]), (&json!(false), &json!(true)), "{obstacle:?}: {grant}");
    assert_eq!(grant["reason"], obstacle.reason(), "{obstacle:?}: {grant}");
    assert_eq!(grant["since"], "2026-03-01T10:00:00Z", "{obstacle:?}: the wish keeps its time");
    assert_eq!(grant["settled"], json!(obstacle.reason() != "no-answer"), "{obstacle:?}: {grant}");
}

#[test]
fn a_leaver_who_cannot_be_revoked_shows_why_and_turns_health_after_a_quarter_of_an_hour() {
    for obstacle in ALL {
        let (world, node, group, ana) = operators();
        obstacle.put(&world);
        node.leave(&group, &[&ana]);
        minutes(&world, &node, 1);
        assert_shown(&node, obstacle, &ana);
        assert_eq!(overdue(&health(&node)), (0, vec![]), "{obstacle:?}");
        for more in [19, 100] {
            minutes(&world, &node, more);
            assert_shown(&node, obstacle, &ana);
            let health = health(&node);
            assert_eq!(overdue(&health), (1, vec![obstacle.reason().to_owned()]), "{obstacle:?}");
            assert_eq!(health["status"], "degraded");
            assert_eq!(health["revocationsOverdue"]["oldest"], "2026-03-01T10:00:00Z");
            assert!(!health.to_string().contains(&ana.id), "health names nobody");
        }
        let kinds = if obstacle.reason() == "no-answer" { ["effect-opened"] } else { ["effect-answered"] };
        assert!(
            kinds
                .iter()
                .all(|kind| node.audit_of(kind).iter().any(|change| change["person"] == ana.id.as_str()))
        );

        world.azure().reset_faults();
        world.azure().locks().iter().for_each(|lock| world.azure().remove_lock(lock.id).unwrap());
        minutes(&world, &node, 15);
        world.assert_holds_nothing(&ana);
        assert_eq!(overdue(&health(&node)), (0, vec![]), "{obstacle:?}");
        assert_eq!(node.grants_of(&ana), Vec::<Value>::new());
    }
}

#[test]
fn a_leaver_whose_record_was_deleted_is_counted_all_the_same() {
    for obstacle in ALL {
        let (world, node, _, ana) = operators();
        obstacle.put(&world);
        node.delete_user(&ana);
        minutes(&world, &node, 20);
        let health = health(&node);
        assert_eq!(overdue(&health), (1, vec![obstacle.reason().to_owned()]), "{obstacle:?}");
        assert_eq!(health["status"], "degraded");
        world.assert_holds(&ana, Operator, VAULT_EAST);

        world.azure().reset_faults();
        world.azure().locks().iter().for_each(|lock| world.azure().remove_lock(lock.id).unwrap());
        minutes(&world, &node, 15);
        world.assert_holds_nothing(&ana);
        assert_eq!(overdue(&self::health(&node)).0, 0, "{obstacle:?}");
    }
}

#[test]
fn every_process_shows_what_the_ticks_of_another_one_counted() {
    let (world, node, group, ana) = operators();
    Obstacle::Lock.put(&world);
    node.leave(&group, &[&ana]);
    minutes(&world, &node, 20);
    let other = world.start_with(Inline { wait: Duration::ZERO, people_max: 0 });
    let watched = other.service.clone();
    let watching = other.spawn(watched.watch_for_ever());
    other.run(async {
        for _ in 0..2000 {
            if overdue(&health(&other)).0 == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{}", health(&other));
    });
    watching.abort();
    assert_eq!(health(&other)["status"], "degraded");
}

#[test]
fn the_error_line_is_repeated_every_hour_while_anything_is_overdue() {
    let (world, node, group, ana) = operators();
    let logged = || node.run(node.service.store.overdue()).unwrap().value.and_then(|stored| stored.logged);
    Obstacle::Lock.put(&world);
    node.leave(&group, &[&ana]);
    minutes(&world, &node, 14);
    assert_eq!(logged(), None);
    minutes(&world, &node, 2);
    let first = logged().unwrap();
    minutes(&world, &node, 58);
    assert_eq!(logged(), Some(first));
    minutes(&world, &node, 5);
    assert_eq!(logged(), Some(first + time::Duration::HOUR));
}

#[test]
fn who_comes_back_is_not_overdue_and_who_leaves_again_counts_from_then() {
    let (world, node, group, ana) = operators();
    Obstacle::Lock.put(&world);
    node.leave(&group, &[&ana]);
    minutes(&world, &node, 20);
    node.join(&group, &[&ana]);
    minutes(&world, &node, 1);
    assert_eq!(overdue(&health(&node)).0, 0);
    let grants = node.grants_of(&ana);
    assert_eq!((&grants[0]["wanted"], &grants[0]["holds"]), (&json!(true), &json!(true)), "{grants:?}");
    node.leave(&group, &[&ana]);
    minutes(&world, &node, 10);
    assert_eq!(overdue(&health(&node)).0, 0, "ten minutes since she left again");
    minutes(&world, &node, 6);
    assert_eq!(overdue(&health(&node)).0, 1);
}

#[test]
fn grants_that_wait_are_counted_by_reason_in_every_process() {
    let (world, node, group, _) = operators();
    let ben = node.create_user(json!({"userName": "ben"}));
    let eve = node.provision("eve");
    Obstacle::put_for_grants(&world);
    let members = json!({"op": "add", "path": "members", "value": [{"value": ben}, {"value": eve.id}]});
    node.try_patch_group(&group, members).unwrap();
    node.settle();
    world.pass(3700);
    node.settle();
    node.settle();
    let health = health(&node);
    assert_eq!(health["grantsPending"], json!({"pending-principal": 1, "not-authorized": 1}), "{health}");
    assert_eq!(health["lastSweep"], "2026-03-01T11:01:40Z");
    assert_eq!(overdue(&health).0, 0, "no grant is an overdue revocation");
}

#[test]
fn where_no_process_ever_ticks_health_says_so() {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    let node = world.start_with(Inline { wait: Duration::ZERO, people_max: 0 });
    let watch = |node: &Node| {
        let watching = node.spawn(node.service.clone().watch_for_ever());
        node.run(async { tokio::time::sleep(Duration::from_millis(200)).await });
        watching.abort();
    };
    watch(&node);
    assert_eq!(health(&node)["status"], Value::Null);
    world.pass(1000);
    watch(&node);
    assert_eq!(health(&node)["status"], "degraded");
    node.run(node.service.tick.run()).unwrap();
    assert_eq!(health(&node)["status"], Value::Null);
}

#[test]
fn who_is_overdue_stays_so_whatever_else_is_taken_away() {
    for change in ["delete", "leave", "deactivate again"] {
        let (world, node, group, ana) = operators();
        let throttle = FaultAction::Throttle { retry_after_seconds: Some(3600) };
        world.azure().add_rule(FaultRule::new(throttle).method(CallMethod::Delete)).unwrap();
        match change {
            "deactivate again" => node.leave(&group, &[&ana]),
            _ => node.set_active(&ana, false),
        }
        world.pass(1300);
        minutes(&world, &node, 1);
        assert_eq!(overdue(&health(&node)), (1, vec!["throttled".to_owned()]), "{change}");
        match change {
            "delete" => node.delete_user(&ana),
            "leave" => node.leave(&group, &[&ana]),
            _ => node.set_active(&ana, false),
        }
        for _ in 0..4 {
            node.run(node.service.tick.run()).unwrap();
            let health = health(&node);
            assert_eq!(overdue(&health).0, 1, "{change}: {health}");
            assert_eq!(health["revocationsOverdue"]["oldest"], "2026-03-01T10:00:00Z", "{change}");
            world.pass(60);
        }
    }
}

/// The request's own look is still under way when the tick comes.
#[test]
fn a_look_of_a_request_beside_a_tick_does_not_begin_the_wish_anew() {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    let node = world.start();
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    node.settle();
    let throttle = FaultAction::Throttle { retry_after_seconds: Some(3600) };
    world.azure().add_rule(FaultRule::new(throttle).method(CallMethod::Delete)).unwrap();
    node.set_active(&ana, false);
    world.pass(1300);
    node.run(node.service.tick.run()).unwrap();
    node.delete_user(&ana);
    for _ in 0..3 {
        node.run(node.service.tick.run()).unwrap();
        let health = health(&node);
        assert_eq!(overdue(&health), (1, vec!["throttled".to_owned()]));
        assert_eq!(health["revocationsOverdue"]["oldest"], "2026-03-01T10:00:00Z");
    }
}
