//! A service whose table was lost: it takes the id that its settings name, waits for an operator, and does nothing until then.

use crate::grants::over_http::Front;
use crate::scim::http_edge::TOKEN;
use crate::storage::sealed_audit::python;
use crate::support::harness::{Node, Person, TICK_DEADLINE, VAULT_EAST, VAULT_WEST, World};
use crate::support::rows::{nonsense, quiet, write};
use azure_backup_scim::app::FolderArchive;
use azure_backup_scim::id::InstanceId;
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::head_archive::HeadArchive;
use azure_backup_scim::ports::tables::{EtagMatch, TableWrite};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::audit::export::{ExportedDays, export as export_audit};
use azure_backup_scim::service::audit::seal::AuditKeeping;
use azure_backup_scim::service::bindings::bundled::{BundleState, BundledBindings, BundledFile};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::service::state::export::export;
use azure_backup_scim::service::state::restore::{RestoreRequest, Restored, restore};
use azure_backup_scim::simulator::CallMethod;
use serde_json::{Value, json};
use std::io::{self, BufRead, Cursor};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const DAY: u64 = 86_400;

/// Every row of the state, gone.
pub fn lose_table(world: &World, node: &Node) {
    lose(world, node, |_| true);
}

/// The rows of the state whose keys are so, gone.
pub fn lose(world: &World, node: &Node, is_lost: impl Fn(&str) -> bool) {
    let keys = keys(node).into_iter().filter(|key| is_lost(key));
    let delete = |key| TableWrite::Delete { key, condition: EtagMatch::Any };
    write(world, node, &keys.map(delete).collect::<Vec<_>>());
}

pub fn keys(node: &Node) -> Vec<String> {
    node.run(async {
        let mut all = Vec::new();
        let mut pages = node.service.store.every_row();
        while let Some(rows) = pages.next().await.unwrap() {
            all.extend(rows.into_iter().map(|row| row.key));
        }
        all
    })
}

/// A service that comes with its file as a deployed one does: it is stored where there is a state, or the first one begins.
pub fn start_deployed(world: &World) -> (Node, BundledBindings) {
    let inline = InlineLimits { wait: Duration::from_secs(20), ..InlineLimits::default() };
    let node = world.start_without_bindings(inline, TICK_DEADLINE);
    let bundled = BundledBindings::new(node.service.store.clone(), node.service.active_bindings.clone());
    (node, bundled)
}

pub fn package(world: &World) -> BundledFile {
    let bindings = crate::support::harness::bindings_file(world.bindings()).into_bytes();
    BundledFile::Stamped { bindings, stamp: "20260228T120000Z".to_owned() }
}

/// A world of people who hold roles, whose settings name the installation that it is.
fn named() -> (World, Node, String, Vec<Person>) {
    let mut world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let (node, bundled) = start_deployed(&world);
    node.run(bundled.activate_once(&package(&world))).unwrap();
    let group = node.group("operators");
    let people: Vec<Person> = (0..5).map(|n| node.provision(&format!("p{n}"))).collect();
    node.join(&group, &people.iter().collect::<Vec<_>>());
    node.settle();
    let instance = node.run(node.service.store.known_instance()).unwrap().unwrap();
    world.name_installation(instance);
    (world, node, group, people)
}

fn request() -> RestoreRequest {
    RestoreRequest {
        who: "olga".to_owned(),
        because: "the table was deleted".to_owned(),
        accepts_inexact: false,
        instance: None,
    }
}

fn writing_calls(world: &World) -> usize {
    let calls = world.azure().calls();
    calls.iter().filter(|call| matches!(call.method, CallMethod::Put | CallMethod::Delete)).count()
}

#[track_caller]
fn ask(front: &Front, method: &str, path: &str, body: &Value) -> (u16, Option<String>, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let headers = [&format!("authorization: Bearer {TOKEN}"), "content-type: application/scim+json"];
    let answer = front.http.send(method, &format!("/scim/v2{path}"), &headers, body.as_bytes());
    (answer.status, answer.header("retry-after").map(str::to_owned), answer.json())
}

/// Facts: F-193.
#[test]
fn a_service_that_finds_its_table_empty_waits_answers_503_and_sends_nothing() {
    let (world, node, group, people) = named();
    let instance = node.run(node.service.store.known_instance()).unwrap();
    lose_table(&world, &node);
    node.kill();
    world.azure().clear_calls();

    let (node, bundled) = start_deployed(&world);
    let front = Front::of(node);
    // The very first request finds out, before any tick.
    let body = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "new"});
    for (method, path, body) in [
        ("POST", "/Users".to_owned(), body),
        ("GET", "/Users".to_owned(), Value::Null),
        ("GET", format!("/Groups/{group}"), Value::Null),
        ("DELETE", format!("/Users/{}", people[0].id), Value::Null),
    ] {
        let (status, wait, answer) = ask(&front, method, &path, &body);
        assert_eq!((status, wait.as_deref()), (503, Some("300")), "{method} {path}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("state restore") && detail.contains("recover --begin"), "{detail}");
    }
    assert_eq!(ask(&front, "GET", "/ServiceProviderConfig", &Value::Null).0, 200);
    let state = front.node.run(bundled.activate_once(&package(&world))).unwrap();
    assert_eq!(state, BundleState::Pending);
    for _ in 0..3 {
        front.tick();
        world.pass(3700);
    }

    let rows: Vec<String> = keys(&front.node);
    assert_eq!(rows, ["s:instance", "s:lost"], "nothing but what says that it waits");
    assert_eq!(front.node.run(front.node.service.store.known_instance()).unwrap(), instance);
    assert_eq!(writing_calls(&world), 0);
    let health = front.health(&[]);
    assert_eq!((&health["state"], &health["status"]), (&json!("lost"), &json!("degraded")));
    people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
}

/// A 404 would be taken for a delete that is done.
#[test]
fn a_table_that_is_emptied_under_a_running_service_says_of_no_one_that_they_are_gone() {
    let (world, node, group, people) = named();
    node.kill();
    let (node, _) = start_deployed(&world);
    let front = Front::of(node);
    let path = format!("/Users/{}", people[0].id);
    assert_eq!(ask(&front, "GET", &path, &Value::Null).0, 200);
    assert_eq!(ask(&front, "GET", "/Users/00000000-0000-4000-8000-000000000001", &Value::Null).0, 404);
    lose_table(&world, &front.node);
    for (method, path) in [("DELETE", path.clone()), ("GET", path), ("DELETE", format!("/Groups/{group}"))] {
        let (status, wait, answer) = ask(&front, method, &path, &Value::Null);
        assert_eq!((status, wait.as_deref()), (503, Some("300")), "{method} {path}: {answer}");
    }
}

#[test]
fn an_order_begins_anew_and_what_is_pushed_again_is_found_under_its_name() {
    let (world, node, _, people) = named();
    let instance = node.run(node.service.store.known_instance()).unwrap();
    lose_table(&world, &node);
    let (node, bundled) = start_deployed(&world);
    node.settle();
    // Other orders wait for a state.
    let paused = node.place(OrderVerb::Pause);
    node.settle();
    assert!(node.outcome(paused).is_none());
    let held =
        |world: &World| -> Vec<Uuid> { world.azure().assignments().iter().map(|held| held.name).collect() };
    let before = held(&world);
    world.azure().clear_calls();

    // Of before the pause that it would end.
    let resumed = node.place(OrderVerb::Resume);
    world.pass(60);
    let begun = node.place(OrderVerb::RecoverBegin);
    node.run(node.service.tick.run()).unwrap();
    assert!(!node.outcome(begun).unwrap().is_refused);
    node.run(bundled.activate_once(&package(&world))).unwrap();
    node.settle();
    assert!(node.outcome(paused).unwrap().is_refused, "it is paused already");
    let resumed = node.outcome(resumed).unwrap();
    assert!(resumed.is_refused && resumed.detail.contains("before the pause"), "{resumed:?}");
    let group = node.group("operators");
    let again: Vec<Person> = people
        .iter()
        .enumerate()
        .map(|(n, who)| node.provision_as(&format!("p{n}"), who.principal))
        .collect();
    node.join(&group, &again.iter().collect::<Vec<_>>());
    node.settle();
    assert_eq!(writing_calls(&world), 0, "paused");
    node.carry_out(OrderVerb::Resume);

    assert_eq!(node.run(node.service.store.known_instance()).unwrap(), instance);
    assert_eq!(held(&world), before, "each was there and stays as it is");
    assert!(!world.azure().calls().iter().any(|call| call.method == CallMethod::Delete));
    again.iter().for_each(|who| assert_eq!(node.grants(who)[0].0, "held"));
    assert_eq!(node.audit_of("state-begun").len(), 1);
    // The order is for a loss alone.
    assert!(node.order(OrderVerb::RecoverBegin).is_refused);
    // What is taken away from now on goes.
    node.leave(&group, &[&again[0]]);
    node.settle();
    world.assert_holds_nothing(&again[0]);
}

#[test]
fn without_the_setting_an_empty_table_is_a_first_start() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let (node, bundled) = start_deployed(&world);
    assert!(node.run(bundled.activate_once(&package(&world))).unwrap() != BundleState::Pending);
    let group = node.group("operators");
    let ana = node.provision("ana");
    node.join(&group, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(node.service.health.snapshot().state_hold, None);
}

#[test]
fn an_installation_whose_id_alone_is_gone_gets_it_back_from_the_setting() {
    let (world, node, group, _) = named();
    let instance = node.run(node.service.store.known_instance()).unwrap();
    lose(&world, &node, |key| key == "s:instance");
    let node = world.start();
    let new = node.provision("new");
    node.join(&group, &[&new]);
    world.assert_holds(&new, Operator, VAULT_EAST);
    assert_eq!(node.run(node.service.store.known_instance()).unwrap(), instance);
}

#[test]
fn a_state_of_another_installation_is_left_alone_loudly() {
    let (mut world, node, group, people) = named();
    let row = node.run(node.service.store.known_instance()).unwrap();
    node.leave(&group, &[&people[0]]);
    world.assert_holds_nothing(&people[0]);
    world.name_installation(InstanceId::new(Uuid::from_u128(7)));
    let front = Front::of(world.start());
    world.azure().clear_calls();

    let path = format!("/Users/{}", people[1].id);
    front.tick();
    let (status, _, answer) = ask(&front, "DELETE", &path, &Value::Null);
    assert_eq!(status, 503, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("INSTANCE_ID"));
    // Nor does it act on what another process commits.
    node.set_active(&people[2], false);
    world.assert_holds_nothing(&people[2]);
    let calls = writing_calls(&world);
    front.tick();
    assert_eq!(writing_calls(&world), calls);
    assert_eq!(front.health(&[])["state"], "other-installation");
    assert_eq!(node.run(node.service.store.known_instance()).unwrap(), row, "the row wins");
}

#[test]
fn while_a_restore_is_not_complete_nothing_is_done_by_any_process() {
    let (world, node, group, people) = named();
    world.azure().clear_calls();
    write(&world, &node, &[nonsense("s:restore")]);
    // A process that knows nothing of it yet accepts the change; the effect waits.
    node.leave(&group, &[&people[0]]);
    node.settle();
    assert_eq!(writing_calls(&world), 0);
    world.assert_holds(&people[0], Operator, VAULT_EAST);
    assert_eq!(node.service.health.snapshot().state_hold.unwrap().as_str(), "restoring");
    lose(&world, &node, |key| key == "s:restore");
    node.settle();
    world.assert_holds_nothing(&people[0]);
}

#[test]
fn a_restore_into_the_table_of_a_service_that_waits_is_taken_up_by_it() {
    let (world, node, group, people) = named();
    let file = node.run(async {
        let mut file = Vec::new();
        assert!(export(&node.service.store, &mut file, &|_| {}).await.unwrap().exact);
        file
    });
    // Since the export one left, and Azure knows it.
    node.leave(&group, &[&people[0]]);
    world.assert_holds_nothing(&people[0]);
    lose_table(&world, &node);
    node.kill();
    let (node, _) = start_deployed(&world);
    node.settle();
    assert_eq!(node.service.health.snapshot().state_hold.unwrap().as_str(), "lost");

    let open = || -> io::Result<Box<dyn BufRead>> { Ok(Box::new(Cursor::new(file.clone()))) };
    let done = node.run(restore(&node.service.store, &open, &request(), &|_, _| {})).unwrap();
    assert!(matches!(done, Restored::Now { .. }));
    // Hours go by, with sweeps: paused, it gives back to no one what was taken since the export.
    for _ in 0..4 {
        node.settle();
        world.pass(3700);
    }
    assert_eq!(node.service.health.snapshot().state_hold, None);
    world.assert_holds_nothing(&people[0]);
    people[1..].iter().for_each(|who| world.assert_holds(who, Operator, VAULT_EAST));
    // The identity provider says once more who is in the group; another one has left for good, and loses it in the pause.
    node.leave(&group, &[&people[0]]);
    node.delete_user(&people[1]);
    node.settle();
    world.assert_holds_nothing(&people[1]);
    node.carry_out(OrderVerb::Resume);
    node.settle();
    world.assert_holds_nothing(&people[0]);
    people[2..].iter().for_each(|who| world.assert_holds(who, Operator, VAULT_EAST));
}

#[test]
fn the_description_of_a_new_assignment_names_the_installation() {
    let (world, node, ..) = named();
    let instance = node.run(node.service.store.known_instance()).unwrap().unwrap();
    let all = world.azure().assignments();
    assert_eq!(all.len(), 5);
    for made in all {
        let description = made.description.unwrap_or_default();
        assert!(description.contains(&instance.to_string()), "{description}");
    }
}

#[test]
fn what_the_settings_name_is_written_down_for_doctor() {
    let (world, node, ..) = named();
    let row = |node: &Node| node.run(node.service.store.settings()).unwrap().instance_row.unwrap();
    assert_eq!(row(&node).setting, None);
    let next = world.start();
    next.settle();
    assert_eq!(row(&next).setting, Some(row(&next).id));
}

/// Days go by, each with a record, and are sealed.
fn sealed_days(world: &World, node: &Node, number: u64) {
    for day in 0..number {
        node.provision(&format!("day{day} {}", Uuid::new_v4()));
        world.pass(DAY);
        node.settle();
    }
    world.pass(2 * 3600);
    for _ in 0..number + 3 {
        node.settle();
    }
}

/// Every record that is left is what was sealed, by the heads in the container.
#[track_caller]
fn assert_sealed(node: &Node, heads: &Path, what: &str) {
    let audit = node.service.health.snapshot().audit;
    assert!(audit.damaged == 0 && !audit.is_forked && !audit.is_behind, "{what}: {audit:?}");
    let mut records = Vec::new();
    let days = ExportedDays::default();
    node.run(export_audit(&node.service.store, days, &mut records, |_, _| Ok(()))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    std::fs::write(&file, records).unwrap();
    let verified = python(&file, &heads.join("default"), &[]);
    assert!(verified.is_ok(), "{what}: {verified:?}");
}

#[test]
fn the_audit_is_verified_over_a_restore_in_between_and_over_a_loss_without_an_export() {
    for restores in [true, false] {
        let heads = tempfile::tempdir().unwrap();
        let archive: Arc<dyn HeadArchive> = Arc::new(FolderArchive::new(heads.path().to_path_buf()));
        let (world, node, ..) = named();
        let mut world =
            world.keeping_audit(AuditKeeping { archive: Some(archive), ..AuditKeeping::default() });
        node.kill();
        let node = world.start();
        sealed_days(&world, &node, 3);
        let mut file = Vec::new();
        assert!(node.run(export(&node.service.store, &mut file, &|_| {})).unwrap().exact);
        // Two more days are sealed, and then lost.
        sealed_days(&world, &node, 2);
        assert_sealed(&node, heads.path(), "before");
        lose_table(&world, &node);
        node.kill();
        world.revive();
        let (node, bundled) = start_deployed(&world);
        node.settle();
        if restores {
            let open = || -> io::Result<Box<dyn BufRead>> { Ok(Box::new(Cursor::new(file.clone()))) };
            node.run(restore(&node.service.store, &open, &request(), &|_, _| {})).unwrap();
        } else {
            node.place(OrderVerb::RecoverBegin);
            node.settle();
            node.run(bundled.activate_once(&package(&world))).unwrap();
        }
        sealed_days(&world, &node, 4);
        assert_sealed(&node, heads.path(), if restores { "restored" } else { "begun anew" });
    }
}
