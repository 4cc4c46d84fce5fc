//! Drills: a synthetic leaver is granted, revoked and gone in the simulated Azure; green, red for each cause, and never anything
//! of it left.

use crate::support::harness::{DRILL_GROUP, DRILL_LEAVER, Node, OWN, Person, VAULT_EAST, VAULT_WEST, World};
use crate::support::harness::{caller, whole_page};
use crate::support::rows::{later, nonsense, quiet, restore, with_text, write};
use azure_backup_scim::id::{OpId, PrincipalId};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::tables::{PropertyValue, TableRow, TableWrite};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::rbac::Scope as BoundScope;
use azure_backup_scim::scim::{ListQuery, ResourceType};
use azure_backup_scim::service::access::groups::overview;
use azure_backup_scim::service::access::parity::gather::{our_groups, our_people};
use azure_backup_scim::service::access::report;
use azure_backup_scim::service::access::report::history::AccessHistory;
use azure_backup_scim::service::drill::days::DrillDays;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{
    CallMethod, FaultAction, FaultRule, HandMade, LockLevel, PrincipalType, Scope,
};
use azure_backup_scim::store::drills::{DrillPhase, DrillResult, StepTimes};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAILY: Option<Duration> = Some(Duration::from_secs(24 * HOUR));
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };
const LEAVER: &str = "azure-backup-scim-drill-leaver";

pub fn drills(every: Option<Duration>) -> World {
    quiet(World::new().bind("operators", Operator, VAULT_EAST).with_drill(every))
}

/// The leaver, as Azure knows them.
pub fn leaver() -> Person {
    Person { id: String::new(), principal: DRILL_LEAVER }
}

pub fn tick(node: &Node) {
    node.run(node.service.tick.run()).unwrap();
}

/// Ticks that come every minute.
pub fn minutes(world: &World, node: &Node, number: u64) {
    for _ in 0..number {
        tick(node);
        world.pass(MINUTE);
    }
    tick(node);
}

pub fn results(node: &Node) -> Vec<DrillResult> {
    node.run(node.service.store.drill_results()).unwrap()
}

/// The result of the only drill.
#[track_caller]
fn only_result(node: &Node) -> DrillResult {
    let mut results = results(node);
    assert_eq!(results.len(), 1, "{results:?}");
    results.remove(0)
}

/// Phase and reason of the only drill, which is red.
#[track_caller]
fn failure(node: &Node) -> (String, String) {
    let result = only_result(node);
    let failure = result.drill.failure.expect("the drill is red");
    (failure.phase, failure.reason)
}

fn names(node: &Node, kind: ResourceType, name: &str) -> Vec<String> {
    let query = ListQuery::from_pairs(kind, &[("count".to_owned(), "1000".to_owned())]).unwrap();
    let listed =
        node.run(async { whole_page(node.service.provisioning.list(&caller(), &query).await).await });
    let all = listed.unwrap().resources;
    all.iter().map(|resource| resource[name].as_str().unwrap().to_owned()).collect()
}

/// Who and what is in the directory, by name.
fn directory(node: &Node) -> (Vec<String>, Vec<String>) {
    (names(node, ResourceType::User, "userName"), names(node, ResourceType::Group, "displayName"))
}

/// Nothing of a drill is in Azure, in the directory or in the queue.
#[track_caller]
pub fn assert_nothing_left(world: &World, node: &Node) {
    world.assert_holds_nothing(&leaver());
    assert_eq!(directory(node), (vec![], vec![]));
    for prefix in ["d:", "w:", "dl:", "dg:", "i:", "m:", "ug:", "p:", "un:", "gn:", "ux:", "gx:"] {
        let rows = node.run(node.service.store.rows(prefix, 100)).unwrap();
        assert!(rows.is_empty(), "{prefix}: {rows:?}");
    }
    let stored = node.run(node.service.store.drill()).unwrap().value.unwrap();
    assert_eq!(stored.state.running, None);
}

#[track_caller]
fn assert_in_order(times: &StepTimes) {
    let all = times.each().map(|(name, time)| time.unwrap_or_else(|| panic!("{name} is known")));
    assert!(all.is_sorted(), "{times:?}");
}

fn is_degraded(node: &Node) -> bool {
    node.service.health.snapshot().is_finding()
}

#[test]
fn an_order_begins_a_drill_that_is_green_with_the_times_of_its_grant_and_its_revocation() {
    let world = drills(None);
    let node = world.start();
    let order = node.place(OrderVerb::Drill);
    tick(&node);

    let outcome = node.outcome(order).unwrap();
    assert!(!outcome.is_refused, "{outcome:?}");
    let result = only_result(&node);
    assert!(result.is_green(), "{result:?}");
    assert_eq!((result.drill.id, result.drill.set_off.as_str()), (outcome.op, &*order.to_string()));
    assert_in_order(&result.drill.grant);
    assert_in_order(&result.drill.revocation);
    assert!(result.drill.grant.seen <= result.drill.revocation.received);
    let made = world.azure().calls();
    let of = |method| made.iter().filter(|call| call.method == method).count();
    assert_eq!((of(CallMethod::Put), of(CallMethod::Delete)), (1, 1), "one grant and one revocation");
    node.settle();
    assert_nothing_left(&world, &node);
    // A row that leads from a group that is gone to its selector is no harm, and would be one more with every drill.
    assert!(node.run(node.service.store.rows("bg:", 10)).unwrap().is_empty());

    let kinds = ["drill-began", "drill-ended", "order-carried-out"].map(|kind| node.audit_of(kind).len());
    assert_eq!(kinds, [1, 1, 1]);
    let ended = &node.audit_of("drill-ended")[0];
    assert_eq!((&ended["green"], ended["times"].as_array().unwrap().len()), (&json!(true), 8));
    assert!(node.audit().iter().all(|change| change["record"]["actor"] != "entra"));
    assert!(!is_degraded(&node));
}

#[test]
fn an_order_is_carried_out_once_and_refused_where_a_drill_cannot_be() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    let [first, second] = [OrderVerb::Drill, OrderVerb::Drill].map(|verb| node.place(verb));
    tick(&node);
    assert!(!node.outcome(first).unwrap().is_refused);
    assert!(node.outcome(second).unwrap().detail.contains("still runs"));
    minutes(&world, &node, 4);
    assert_eq!(results(&node).len(), 1);

    node.carry_out(OrderVerb::Pause);
    assert!(node.order(OrderVerb::Drill).detail.contains("paused"));

    let without = quiet(World::new());
    let refused = without.start().order(OrderVerb::Drill);
    assert!(refused.is_refused && refused.detail.contains("DRILL_PRINCIPAL_ID"), "{refused:?}");
}

#[test]
fn the_timer_begins_a_drill_every_day_and_days_are_counted() {
    let world = drills(DAILY);
    let node = world.start_with(TICKS_ONLY);
    for _ in 0..3 {
        minutes(&world, &node, 5);
        world.pass(24 * HOUR - 5 * MINUTE);
    }
    let all = results(&node);
    assert_eq!(all.iter().map(DrillResult::is_green).collect::<Vec<_>>(), [true, true, true]);
    assert!(all.iter().all(|result| result.drill.set_off == "timer"));
    let days = DrillDays::of(&all, all[2].ended);
    assert_eq!((days.green, days.red), (3, 0));
    let health = node.service.health.snapshot().drill.unwrap();
    assert_eq!((health.red, health.is_late, health.green), (None, false, Some(all[2].ended)));
    world.pass(HOUR);
    node.settle();
}

#[test]
fn a_lock_makes_a_drill_red_and_nothing_is_left_once_it_is_taken_away() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    let scope = Scope::parse(VAULT_WEST).unwrap();
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 1);
    world.assert_holds(&leaver(), Reader, VAULT_WEST);
    let lock = world.azure().add_lock(&scope, LockLevel::CanNotDelete).unwrap();

    minutes(&world, &node, 40);
    assert_eq!(failure(&node), ("deactivated".to_owned(), "scope-locked".to_owned()));
    assert!(is_degraded(&node));
    assert!(node.order(OrderVerb::Drill).detail.contains("still runs"), "Azure still holds the role");
    // The record is gone, and the ordinary reconcile goes on.
    assert_eq!(directory(&node), (vec![], vec![]));
    world.assert_holds(&leaver(), Reader, VAULT_WEST);

    world.azure().remove_lock(lock).unwrap();
    minutes(&world, &node, 15);
    assert_nothing_left(&world, &node);
    assert_eq!(node.audit_of("drill-ended").len(), 1);
    assert!(!node.order(OrderVerb::Drill).is_refused);
    minutes(&world, &node, 5);
    assert_eq!(results(&node).iter().map(DrillResult::is_green).collect::<Vec<_>>(), [false, true]);
    assert!(!is_degraded(&node));
}

#[test]
fn a_missing_right_makes_a_drill_red() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    let refusal = FaultAction::Fail {
        status: 403,
        code: "AuthorizationFailed".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    world.azure().add_rule(FaultRule::new(refusal).method(CallMethod::Put)).unwrap();
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 35);
    assert_eq!(failure(&node), ("group-made".to_owned(), "not-authorized".to_owned()));
    assert_nothing_left(&world, &node);
    assert!(is_degraded(&node));
}

/// Whether a drill runs.
fn is_running(node: &Node) -> bool {
    let stored = node.run(node.service.store.drill()).unwrap().value.unwrap();
    stored.state.running.is_some()
}

#[test]
fn a_drill_whose_scope_is_gone_ends_and_another_begins() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 1);
    world.assert_holds(&leaver(), Reader, VAULT_WEST);
    world.azure().remove_scope(&Scope::parse(VAULT_WEST).unwrap()).unwrap();
    minutes(&world, &node, 10);
    assert_eq!(results(&node).len(), 1);
    assert_nothing_left(&world, &node);

    assert!(!node.order(OrderVerb::Drill).is_refused);
    minutes(&world, &node, 40);
    let all = results(&node);
    let failure = all[1].drill.failure.clone().unwrap();
    assert_eq!((failure.phase.as_str(), failure.reason.as_str()), ("group-made", "scope-not-found"));
    assert_nothing_left(&world, &node);
}

#[test]
fn a_drill_whose_scope_may_not_be_read_ends_by_the_ledger_after_its_time() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 1);
    world.assert_holds(&leaver(), Reader, VAULT_WEST);
    let refusal = FaultAction::Fail {
        status: 403,
        code: "AuthorizationFailed".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    world.azure().add_rule(FaultRule::new(refusal).method(CallMethod::Get)).unwrap();
    minutes(&world, &node, 10);
    world.assert_holds_nothing(&leaver());
    assert!(is_running(&node) && results(&node).is_empty(), "Azure may still say so itself");
    minutes(&world, &node, 25);
    assert_eq!(failure(&node), ("deactivated".to_owned(), "no-answer".to_owned()));
    assert_nothing_left(&world, &node);
    assert!(!node.order(OrderVerb::Drill).is_refused);
}

/// The row is as a later release left it, or damaged: the leaver is removed all the same.
#[track_caller]
fn check_unreadable(name: &str, value: PropertyValue, is_set: bool) {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    node.place(OrderVerb::Drill);
    // The leaver is active, and in the group.
    tick(&node);
    assert_eq!(directory(&node).0, [LEAVER]);
    node.kill();
    let world = if is_set { world } else { world.without_drill() };
    let node = world.start_with(TICKS_ONLY);
    let mut row = drill_row(&node);
    row.properties.insert(name.to_owned(), value);
    restore(&world, &node, row);

    minutes(&world, &node, 5);
    assert_eq!(failure(&node), ("removing".to_owned(), "row-unreadable".to_owned()));
    assert_nothing_left(&world, &node);
    assert_eq!(node.audit_of("drill-ended").len(), 1);
    if is_set {
        assert_eq!(node.service.health.snapshot().drill.unwrap().red.as_deref(), Some("row-unreadable"));
        assert!(!node.order(OrderVerb::Drill).is_refused);
        minutes(&world, &node, 5);
        assert!(results(&node)[1].is_green() && !is_degraded(&node));
    }
}

#[test]
fn a_drill_whose_row_is_of_a_later_release_is_removed() {
    for is_set in [true, false] {
        check_unreadable("phase", PropertyValue::Text("audited".to_owned()), is_set);
        check_unreadable("v", PropertyValue::Int(2), is_set);
        check_unreadable("looked", PropertyValue::Text("yesterday".to_owned()), is_set);
    }
}

#[test]
fn a_row_of_drills_that_has_no_ids_shows_in_health_until_it_has() {
    let world = drills(DAILY);
    let node = world.start_with(TICKS_ONLY);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 1);
    let row = drill_row(&node);
    assert!(!is_degraded(&node));
    let red = || node.service.health.snapshot().drill.unwrap().red;
    for broken in [nonsense("s:drill"), overwrite(with_text(row.clone(), "user", "x"))] {
        write(&world, &node, &[broken]);
        tick(&node);
        assert_eq!(red().as_deref(), Some("row-unreadable"));
        assert!(is_degraded(&node) && results(&node).is_empty());
        assert_eq!(directory(&node).0, [LEAVER], "no id says that it is the leaver");
        restore(&world, &node, row.clone());
    }
    minutes(&world, &node, 5);
    assert_eq!(red(), None);
    assert!(only_result(&node).is_green());
    assert_nothing_left(&world, &node);
}

fn drill_row(node: &Node) -> TableRow {
    node.run(node.service.store.get("s:drill")).unwrap().unwrap()
}

fn overwrite(row: TableRow) -> TableWrite {
    TableWrite::InsertOrReplace { key: row.key, properties: row.properties }
}

#[test]
fn ticks_that_stop_make_a_drill_red_and_the_next_tick_removes_it() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 1);
    world.assert_holds(&leaver(), Reader, VAULT_WEST);
    world.pass(31 * MINUTE);
    minutes(&world, &node, 5);
    let (phase, reason) = failure(&node);
    assert_eq!(reason, "no-tick", "in phase {phase}");
    assert_nothing_left(&world, &node);
}

#[test]
fn a_drill_that_is_due_and_never_green_is_late() {
    let world = drills(DAILY);
    let node = world.start_with(TICKS_ONLY);
    node.carry_out(OrderVerb::Pause);
    node.settle();
    let is_late = || node.service.health.snapshot().drill.unwrap().is_late;
    assert!(!is_late());
    world.pass(48 * HOUR + 31 * MINUTE);
    node.settle();
    assert!(is_late() && results(&node).is_empty());
    node.carry_out(OrderVerb::Resume);
    minutes(&world, &node, 5);
    assert!(!is_late() && only_result(&node).is_green());
}

/// A client has what the drill needs: the drill is red, and what the client has stays as it is.
#[track_caller]
fn check_taken(take: impl Fn(&Node), reason: &str) {
    let world = drills(None);
    let node = world.start();
    take(&node);
    node.settle();
    let held = |world: &World| world.azure().assignments().len();
    let (before, held_before) = (directory(&node), held(&world));
    let versions = |node: &Node| {
        let rows = ["u:", "g:"].map(|prefix| node.run(node.service.store.rows(prefix, 100)).unwrap());
        rows.concat().into_iter().map(|row| (row.key, row.etag)).collect::<Vec<_>>()
    };
    let versions_before = versions(&node);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 5);
    assert_eq!(failure(&node), ("begun".to_owned(), reason.to_owned()));
    assert_eq!((directory(&node), held(&world)), (before, held_before));
    assert_eq!(versions(&node), versions_before);
    let stored = node.run(node.service.store.drill()).unwrap().value.unwrap();
    assert_eq!(stored.state.running, None, "the drill is over");
}

#[test]
fn a_client_that_has_a_name_of_the_drill_makes_it_red_and_keeps_it() {
    check_taken(|node| drop(node.provision(LEAVER)), "name-taken");
    check_taken(|node| drop(node.create_user(json!({"userName": LEAVER, "active": false}))), "name-taken");
    check_taken(|node| drop(node.group(DRILL_GROUP)), "name-taken");
    check_taken(|node| drop(node.group("Drill of Azure Backup SCIM")), "name-taken");
    check_taken(|node| drop(node.provision_as("ana", DRILL_LEAVER)), "principal-taken");
    // Who holds the role of the drill through the group of the drill goes on to hold it.
    check_taken(
        |node| {
            let ana = node.provision_as("ana", DRILL_LEAVER);
            let group = node.group(DRILL_GROUP);
            node.join(&group, &[&ana]);
        },
        "name-taken",
    );
}

#[test]
fn without_its_binding_a_drill_is_red_and_without_bindings_too() {
    let mut world = drills(None);
    world.rebind(&[("operators", Operator, VAULT_EAST)]);
    let node = world.start();
    node.place(OrderVerb::Drill);
    node.settle();
    assert_eq!(failure(&node), ("begun".to_owned(), "no-binding".to_owned()));
    assert_nothing_left(&world, &node);
}

/// A file from before the name was reserved.
#[test]
fn a_binding_that_has_only_the_name_of_that_of_drills_is_an_ordinary_one() {
    let world = quiet(World::new().with_drill_binding("fire-drill", Operator));
    let node = world.start();
    let store = &node.service.store;
    let snapshot = || {
        node.run(async { node.service.active_bindings.read(&store.pointer().await.unwrap()).await.unwrap() })
    };
    assert_eq!(node.run(overview(store, &snapshot())).unwrap().without_group.len(), 1);
    later(&world, &node);
    let counted = node.service.health.snapshot().swept.bindings_without_group;
    assert_eq!(counted.number(), 1, "{counted:?}");

    let ana = node.provision("ana");
    let group = node.group("fire-drill");
    node.join(&group, &[&ana]);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 2);
    assert_eq!(failure(&node), ("begun".to_owned(), "no-binding".to_owned()));
    world.assert_holds(&ana, Operator, VAULT_WEST);
}

#[test]
fn a_client_that_deactivates_or_deletes_the_leaver_makes_the_drill_red() {
    for deletes in [false, true] {
        let world = drills(None);
        let node = world.start_with(TICKS_ONLY);
        node.place(OrderVerb::Drill);
        tick(&node);
        let stored = node.run(node.service.store.drill()).unwrap().value.unwrap();
        let user = stored.state.running.unwrap().drill.user;
        let person = Person { id: user.to_string(), principal: DRILL_LEAVER };
        if deletes {
            node.delete_user(&person);
        } else {
            node.set_active(&person, false);
        }
        minutes(&world, &node, 40);
        assert!(!only_result(&node).is_green());
        assert_nothing_left(&world, &node);
    }
}

#[test]
fn a_client_that_lets_the_leaver_in_again_makes_the_drill_red_at_once() {
    let world = drills(None);
    let scope = Scope::parse(VAULT_WEST).unwrap();
    let lock = world.azure().add_lock(&scope, LockLevel::CanNotDelete).unwrap();
    let node = world.start_with(TICKS_ONLY);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 4);
    let stored = node.run(node.service.store.drill()).unwrap().value.unwrap();
    let running = stored.state.running.unwrap();
    assert_eq!(running.phase, DrillPhase::Deactivated);
    let person = Person { id: running.drill.user.to_string(), principal: DRILL_LEAVER };
    node.set_active(&person, true);
    minutes(&world, &node, 2);
    let result = only_result(&node);
    assert_eq!(result.drill.failure.unwrap().reason, "changed-by-others");
    world.azure().remove_lock(lock).unwrap();
    minutes(&world, &node, 40);
    assert_nothing_left(&world, &node);
}

#[test]
fn reports_comparisons_and_groups_leave_a_drill_out_now_and_in_the_past() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    let ana = node.provision("ana");
    let group = node.group("operators");
    node.join(&group, &[&ana]);
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 1);
    world.assert_holds(&leaver(), Reader, VAULT_WEST);
    let then = node.run(node.service.store.table_time()).unwrap();

    let store = &node.service.store;
    let targets: BTreeSet<BoundScope> =
        [VAULT_EAST, VAULT_WEST].map(|scope| BoundScope::parse(scope).unwrap()).into();
    let holders = |made: &report::AccessReport| -> BTreeSet<PrincipalId> {
        made.rows.iter().map(|row| row.holder).collect()
    };
    let ours = BTreeSet::from([PrincipalId::new(ana.principal)]);
    let now = node.run(report::now(store, None, &targets, &|_| {})).unwrap();
    assert_eq!(holders(&now), ours);
    assert!(now.unseen.iter().any(|unseen| unseen.contains("drill")), "{:?}", now.unseen);

    let snapshot =
        node.run(async { node.service.active_bindings.read(&store.pointer().await.unwrap()).await.unwrap() });
    let found = node.run(overview(store, &snapshot)).unwrap();
    assert_eq!(found.groups.iter().map(|group| group.id.to_string()).collect::<Vec<_>>(), [group]);
    let groups = node.run(our_groups(store, &snapshot)).unwrap();
    let people = node.run(our_people(store, &snapshot, &groups, &BTreeSet::new(), &|_| {})).unwrap();
    assert_eq!(people.people.iter().map(|person| person.user_name.as_str()).collect::<Vec<_>>(), ["ana"]);

    minutes(&world, &node, 5);
    assert!(only_result(&node).is_green());
    // The drill's binding has no group now, and that is as it should be.
    assert!(node.run(overview(store, &snapshot)).unwrap().without_group.is_empty());
    let mut history = AccessHistory::default();
    for record in node.run(store.audit(None, 10_000)).unwrap() {
        history.fold(&record);
    }
    let past = node.run(report::at(store, None, &history, then, &targets)).unwrap();
    assert_eq!(holders(&past), ours);
    let (spans, ever) = node.run(report::ever(store, None, &history, &targets)).unwrap();
    assert_eq!((spans.len(), holders(&ever)), (1, ours));
}

#[test]
fn what_others_gave_to_the_leaver_is_not_left_out() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    let made = HandMade::new(Scope::parse(VAULT_EAST).unwrap(), Operator.name(), DRILL_LEAVER);
    world.azure().make_assignment(&made.of_type(PrincipalType::ServicePrincipal)).unwrap();
    node.place(OrderVerb::Drill);
    minutes(&world, &node, 1);
    node.run(node.service.tick.sweep()).unwrap();
    let targets = BTreeSet::from([BoundScope::parse(VAULT_EAST).unwrap()]);
    let now = node.run(report::now(&node.service.store, None, &targets, &|_| {})).unwrap();
    assert_eq!(now.rows.len(), 1, "{:?}", now.rows);
    assert_eq!(now.rows[0].holder, PrincipalId::new(DRILL_LEAVER));
    minutes(&world, &node, 5);
}

/// What a client gives to the leaver is no part of the drill, and not left out.
#[test]
fn what_a_client_gave_to_the_leaver_is_not_left_out() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    let group = node.group("operators");
    node.place(OrderVerb::Drill);
    tick(&node);
    let user = node.run(node.service.store.drill_marks()).unwrap().user.unwrap();
    let marked = Person { id: user.to_string(), principal: DRILL_LEAVER };
    node.join(&group, &[&marked]);
    tick(&node);
    world.assert_holds(&marked, Operator, VAULT_EAST);
    let then = node.run(node.service.store.table_time()).unwrap();
    let store = &node.service.store;
    let scopes = BTreeSet::from([VAULT_EAST, VAULT_WEST].map(|scope| BoundScope::parse(scope).unwrap()));
    let now = node.run(report::now(store, None, &scopes, &|_| {})).unwrap();
    assert_eq!(now.rows.iter().map(|row| &row.role_name).collect::<Vec<_>>(), ["Backup Operator"]);

    world.pass(MINUTE);
    minutes(&world, &node, 5);
    world.assert_holds_nothing(&marked);
    let mut history = AccessHistory::default();
    for record in node.run(store.audit(None, 10_000)).unwrap() {
        history.fold(&record);
    }
    let past = node.run(report::at(store, None, &history, then, &scopes)).unwrap();
    assert_eq!(past.rows.iter().map(|row| &row.role_name).collect::<Vec<_>>(), ["Backup Operator"]);
}

#[test]
fn a_client_can_set_no_mark() {
    let world = drills(None);
    let node = world.start_with(TICKS_ONLY);
    let name = format!("Drill {}", Uuid::new_v4());
    let id = node.create_user(json!({"userName": name, "drill": true, OWN: {"drill": true}}));
    assert_eq!(node.run(node.service.store.drill_marks()).unwrap().user, None);
    node.place(OrderVerb::Drill);
    tick(&node);
    let marked = node.run(node.service.store.drill_marks()).unwrap();
    assert!(marked.user.is_some_and(|user| user.to_string() != id) && marked.group.is_some());
    minutes(&world, &node, 5);
    assert_eq!(node.run(node.service.store.drill_marks()).unwrap(), Default::default());
}

#[test]
fn two_processes_play_one_drill() {
    let world = drills(None);
    let nodes = [world.start(), world.start()];
    let order: OpId = nodes[0].place(OrderVerb::Drill);
    for _ in 0..4 {
        let [one, other] = [&nodes[0], &nodes[1]].map(|node| node.service.tick.clone());
        let other = nodes[1].spawn(async move { other.run().await });
        nodes[0].run(one.run()).unwrap();
        nodes[1].run(other).unwrap().unwrap();
        world.pass(MINUTE);
    }
    let result = only_result(&nodes[0]);
    assert!(result.is_green(), "{result:?}");
    assert_eq!(nodes[0].outcome(order).unwrap().op, result.drill.id);
    assert_nothing_left(&world, &nodes[1]);
    assert_eq!(nodes[0].audit_of("drill-ended").len(), 1);
}
