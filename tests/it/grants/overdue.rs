//! A revocation that does not happen is never quiet: what `grants[]`, the health check and the audit say of a leaver behind
//! each obstacle, after 1, 20 and 120 minutes, with the record there and deleted.

use crate::scim::dropped_assignments::logged;
use crate::support::harness::{Node, Person, VAULT_EAST, World};
use crate::support::rows::{delete, ledger_row, nonsense, restore, write};
use azure_backup_scim::app;
use azure_backup_scim::ports::tables::TableRow;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{ArmLimits, CallMethod, FaultAction, FaultRule, LockLevel, Scope};
use serde_json::{Value, json};
use std::sync::Arc;
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
    NoIdentity,
    /// The row of the assignment cannot be read.
    LedgerRow,
    /// The row that says whose the Entra object id is cannot be read, and the record's own side of it is lost.
    Pins,
    /// The row that says which bindings are active cannot be read.
    Pointer,
}

const ALL: [Obstacle; 12] = [
    Obstacle::Lock,
    Obstacle::Right,
    Obstacle::DenyAssignment,
    Obstacle::Policy,
    Obstacle::Throttle,
    Obstacle::NoAnswer,
    Obstacle::LostAnswer,
    Obstacle::ServerError,
    Obstacle::NoIdentity,
    Obstacle::LedgerRow,
    Obstacle::Pins,
    Obstacle::Pointer,
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
            Obstacle::NoIdentity => world.identity().set_away(true),
            Obstacle::LedgerRow | Obstacle::Pins | Obstacle::Pointer => {}
        }
    }

    /// The rows that cannot be read.
    fn rows(self, node: &Node, ana: &Person) -> Vec<TableRow> {
        let row = |key: String| node.run(node.service.store.get(&key)).unwrap().unwrap();
        match self {
            Obstacle::LedgerRow => vec![ledger_row(node, &ana.id)],
            Obstacle::Pins => {
                vec![row(format!("p:{}", ana.principal)), row(format!("l:{}:pin:{}", ana.id, ana.principal))]
            }
            Obstacle::Pointer => vec![row("s:bindings".to_owned())],
            _ => Vec::new(),
        }
    }

    /// Answers the rows that were spoilt, for [`end`](Self::end).
    fn begin(self, world: &World, node: &Node, ana: &Person) -> Vec<TableRow> {
        self.put(world);
        let rows = self.rows(node, ana);
        match self {
            Obstacle::Pins => {
                delete(world, node, &rows[1].key);
                write(world, node, &[nonsense(&rows[0].key)]);
            }
            _ => write(world, node, &rows.iter().map(|row| nonsense(&row.key)).collect::<Vec<_>>()),
        }
        rows
    }

    fn end(world: &World, node: &Node, rows: Vec<TableRow>) {
        world.azure().reset_faults();
        world.azure().locks().iter().for_each(|lock| world.azure().remove_lock(lock.id).unwrap());
        world.identity().set_away(false);
        rows.into_iter().for_each(|row| restore(world, node, row));
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

    /// What the audit says of her beside that she left.
    const fn audit(self) -> Option<&'static str> {
        match self {
            Obstacle::NoAnswer | Obstacle::LostAnswer | Obstacle::ServerError | Obstacle::NoIdentity => {
                Some("effect-opened")
            }
            Obstacle::Pins => Some("wait-changed"),
            // Nothing is known that could be said of the assignment.
            Obstacle::LedgerRow | Obstacle::Pointer => None,
            _ => Some("effect-answered"),
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Obstacle::Lock => "scope-locked",
            Obstacle::Right | Obstacle::DenyAssignment => "not-authorized",
            Obstacle::Policy => "policy-denied",
            Obstacle::Throttle => "throttled",
            Obstacle::NoAnswer | Obstacle::LostAnswer | Obstacle::ServerError | Obstacle::NoIdentity => {
                "no-answer"
            }
            Obstacle::LedgerRow | Obstacle::Pins => "row-unreadable",
            Obstacle::Pointer => "bindings-unreadable",
        }
    }
}

fn operators() -> (World, Node, String, Person) {
    let world = World::new().bind("operators", Operator, VAULT_EAST).with_identity(Arc::default());
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    let node = world.start_with(InlineLimits { wait: Duration::ZERO, people_max: 0 });
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
    Value::Object(app::health_report(&node.service))
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
    // Without the bindings it is not known whether she still should hold it.
    let wanted = obstacle == Obstacle::Pointer;
    assert_eq!((&grant["wanted"], &grant["holds"]), (&json!(wanted), &json!(true)), "{obstacle:?}: {grant}");
    assert_eq!(grant["reason"], obstacle.reason(), "{obstacle:?}: {grant}");
    assert_eq!(grant["since"], "2026-03-01T10:00:00Z", "{obstacle:?}: it keeps its time");
    let settled = obstacle.reason() != "no-answer" && obstacle != Obstacle::LedgerRow;
    assert_eq!(grant["settled"], json!(settled), "{obstacle:?}: {grant}");
}

/// One error line, however many ticks there were.
#[track_caller]
fn assert_logged(log: &str, obstacle: Obstacle) {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("revocations are overdue")).collect();
    assert_eq!(lines.len(), 1, "{obstacle:?}: {log}");
    let reasons = format!("reasons=\"{}: 1\"", obstacle.reason());
    for part in ["ERROR", "operation=\"revoke\"", "people=1", &reasons] {
        assert!(lines[0].contains(part), "{obstacle:?}: {part} in {}", lines[0]);
    }
}

#[test]
fn a_leaver_who_cannot_be_revoked_shows_why_and_turns_health_after_a_quarter_of_an_hour() {
    for obstacle in ALL {
        let (world, node, group, ana) = operators();
        let rows = obstacle.begin(&world, &node, &ana);
        node.leave(&group, &[&ana]);
        minutes(&world, &node, 1);
        assert_shown(&node, obstacle, &ana);
        assert_eq!(overdue(&health(&node)), (0, vec![]), "{obstacle:?}");
        let unreadable = usize::from(!rows.is_empty());
        assert_eq!(health(&node)["rowsUnreadable"], unreadable, "{obstacle:?}");
        for more in [19, 100] {
            assert_logged(&logged(|| minutes(&world, &node, more)), obstacle);
            assert_shown(&node, obstacle, &ana);
            world.assert_holds(&ana, Operator, VAULT_EAST);
            let health = health(&node);
            assert_eq!(overdue(&health), (1, vec![obstacle.reason().to_owned()]), "{obstacle:?}");
            assert_eq!(
                (&health["status"], &health["rowsUnreadable"]),
                (&json!("degraded"), &json!(unreadable))
            );
            assert_eq!(health["revocationsOverdue"]["oldest"], "2026-03-01T10:00:00Z");
            assert!(!health.to_string().contains(&ana.id), "health names no person");
        }
        let told = |kind: &str| node.audit_of(kind).iter().any(|change| change["person"] == ana.id.as_str());
        let member = |change: &Value| change["member"] == ana.id.as_str();
        assert!(node.audit_of("member-removed").iter().any(member), "{obstacle:?}");
        assert!(obstacle.audit().is_none_or(told), "{obstacle:?}");

        Obstacle::end(&world, &node, rows);
        minutes(&world, &node, 15);
        world.assert_holds_nothing(&ana);
        assert_eq!(overdue(&health(&node)), (0, vec![]), "{obstacle:?}");
        assert_eq!(node.grants_of(&ana), Vec::<Value>::new());
    }
}

#[test]
fn a_leaver_whose_record_was_deleted_is_counted_all_the_same() {
    // Who is deleted holds nothing, whatever the bindings are.
    for obstacle in ALL.into_iter().filter(|obstacle| *obstacle != Obstacle::Pointer) {
        let (world, node, _, ana) = operators();
        let rows = obstacle.begin(&world, &node, &ana);
        node.delete_user(&ana);
        minutes(&world, &node, 1);
        assert_eq!(overdue(&health(&node)), (0, vec![]), "{obstacle:?}");
        for more in [19, 100] {
            assert_logged(&logged(|| minutes(&world, &node, more)), obstacle);
            let health = health(&node);
            assert_eq!(overdue(&health), (1, vec![obstacle.reason().to_owned()]), "{obstacle:?}");
            assert_eq!(health["status"], "degraded");
            world.assert_holds(&ana, Operator, VAULT_EAST);
        }
        Obstacle::end(&world, &node, rows);
        minutes(&world, &node, 15);
        world.assert_holds_nothing(&ana);
        assert_eq!(overdue(&self::health(&node)).0, 0, "{obstacle:?}");
    }
}

/// What seems to be an obstacle and is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoObstacle {
    /// The vault of the binding was deleted in Azure, and everything in it with it.
    VaultDeleted,
    /// Both rows of the membership cannot be read.
    Membership,
    /// The record's own side of whose the Entra object id is cannot be read.
    OwnPin,
}

impl NoObstacle {
    fn begin(self, world: &World, node: &Node, group: &str, ana: &Person) {
        let rows = match self {
            Self::VaultDeleted => {
                return world.azure().remove_scope(&Scope::parse(VAULT_EAST).unwrap()).unwrap();
            }
            Self::Membership => vec![format!("m:{group}:{}", ana.id), format!("ug:{}:{group}", ana.id)],
            Self::OwnPin => vec![format!("l:{}:pin:{}", ana.id, ana.principal)],
        };
        write(world, node, &rows.iter().map(|key| nonsense(key)).collect::<Vec<_>>());
    }
}

/// Facts: F-015.
#[test]
fn a_deleted_vault_counts_as_gone_and_rows_that_decide_nothing_keep_no_leaver_in() {
    for obstacle in [NoObstacle::VaultDeleted, NoObstacle::Membership, NoObstacle::OwnPin] {
        for deleted in [false, true] {
            let (world, node, group, ana) = operators();
            obstacle.begin(&world, &node, &group, &ana);
            if deleted {
                node.delete_user(&ana)
            } else {
                node.leave(&group, &[&ana])
            }
            for more in [1, 19, 100] {
                minutes(&world, &node, more);
                let health = health(&node);
                assert_eq!(overdue(&health), (0, vec![]), "{obstacle:?}");
                assert_eq!(
                    (&health["status"], &health["scopesRefused"]),
                    (&Value::Null, &json!(0)),
                    "{health}"
                );
                assert_eq!(node.grants_of(&ana), Vec::<Value>::new(), "{obstacle:?}");
            }
            world.assert_holds_nothing(&ana);
            let answered = node.audit_of("effect-answered").pop().unwrap();
            let code =
                if obstacle == NoObstacle::VaultDeleted { json!("ResourceNotFound") } else { Value::Null };
            assert_eq!((&answered["operation"], &answered["code"]), (&json!("revoke"), &code), "{answered}");
        }
    }
}

#[test]
fn while_the_bindings_cannot_be_read_who_was_deleted_is_revoked_at_once() {
    let (world, node, _, ana) = operators();
    Obstacle::Pointer.begin(&world, &node, &ana);
    node.delete_user(&ana);
    minutes(&world, &node, 1);
    world.assert_holds_nothing(&ana);
    assert_eq!(overdue(&health(&node)), (0, vec![]));
}

/// Facts: F-075.
#[test]
fn every_process_shows_what_the_ticks_of_another_one_counted() {
    let (world, node, group, ana) = operators();
    Obstacle::Lock.put(&world);
    node.leave(&group, &[&ana]);
    minutes(&world, &node, 20);
    let other = world.start_with(InlineLimits { wait: Duration::ZERO, people_max: 0 });
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
    let node = world.start_with(InlineLimits { wait: Duration::ZERO, people_max: 0 });
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

/// The request's own reconcile is still under way when the tick comes.
#[test]
fn a_reconcile_beside_a_tick_does_not_restart_the_wait() {
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
