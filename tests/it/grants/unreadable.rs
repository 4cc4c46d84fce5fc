//! What cannot be read hurts only what it decides: a leaver loses the role all the same, and health says that something is
//! wrong.

use crate::support::harness::{Node, Person, TICK_DEADLINE, VAULT_EAST, VAULT_WEST, World, binding, caller};
use crate::support::idp::patch;
use crate::support::requests::{user_id, user_patch};
use crate::support::rows::{
    delete, later, ledger_row, nonsense, of_a_later_release, only, quiet, restore, with_text, write,
};
use azure_backup_scim::ports::tables::{TableRow, TableWrite};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::ServiceError;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule};
use azure_backup_scim::store::codec::{RowFields, RowReader};
use serde_json::{Value, json};

/// A person in the group of the one binding.
fn operator() -> (World, Node, Person, String) {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let node = world.start();
    let ana = node.provision("ana");
    let operators = node.group("operators");
    node.join(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    (world, node, ana, operators)
}

/// The same person in the groups of two bindings: operators, readers.
fn operator_and_reader() -> (World, Node, Person, [String; 2]) {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start();
    let ana = node.provision("ana");
    let groups = ["operators", "readers"].map(|name| node.group(name));
    groups.iter().for_each(|group| node.join(group, &[&ana]));
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds(&ana, Reader, VAULT_WEST);
    (world, node, ana, groups)
}

#[track_caller]
fn assert_rows_reported(node: &Node, rows: usize) {
    let standing = node.service.health.snapshot();
    assert_eq!((standing.rows_unreadable, standing.quarantined), (rows, 0), "{standing:?}");
    assert!(standing.is_finding());
    assert_eq!(standing.to_json()["rowsUnreadable"], rows);
}

#[track_caller]
fn assert_waits(node: &Node, person: &Person, state: &str, reason: &str) {
    let wait = (state.to_owned(), reason.to_owned());
    assert!(node.grants(person).contains(&wait), "{:?}", node.grants(person));
}

#[test]
fn a_pin_that_cannot_be_read_holds_up_its_own_binding_only() {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start();
    let operators = node.group("operators");
    let readers = node.group("readers");
    let ana = node.provision("ana");
    node.join(&readers, &[&ana]);
    write(&world, &node, &[nonsense(&crate::support::keys::selector("externalId", "operators"))]);
    node.join(&operators, &[&ana]);
    node.leave(&readers, &[&ana]);
    world.assert_holds_nothing(&ana);
    assert_waits(&node, &ana, "waiting", "row-unreadable");
    assert_rows_reported(&node, 1);
    assert_eq!(node.service.health.snapshot().bindings_troubled, 1);

    delete(&world, &node, &crate::support::keys::selector("externalId", "operators"));
    later(&world, &node);
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn what_is_held_through_a_pin_that_cannot_be_read_stays_with_the_members_and_goes_with_the_leavers() {
    for broken in [nonsense, of_a_later_release] {
        let (world, node, ana, operators) = operator();
        let ben = node.provision("ben");
        let cleo = node.provision("cleo");
        node.join(&operators, &[&ben]);
        write(&world, &node, &[broken(&crate::support::keys::selector("externalId", "operators"))]);
        node.patch_user(&ana.id, json!({"op": "add", "path": "title", "value": "x"}));
        world.assert_holds(&ana, Operator, VAULT_EAST);
        node.leave(&operators, &[&ben]);
        world.assert_holds_nothing(&ben);
        node.join(&operators, &[&cleo]);
        world.assert_holds_nothing(&cleo);
    }
}

#[test]
fn while_the_pointer_cannot_be_read_who_is_inactive_or_gone_loses_the_role_and_all_else_waits() {
    for broken in [nonsense, of_a_later_release] {
        let (world, node, ana, operators) = operator();
        let people = ["ben", "cleo", "dora"].map(|name| node.provision(name));
        let [ben, cleo, dora] = &people;
        node.join(&operators, &[ben, cleo]);
        let pointer = node.run(node.service.store.get("s:bindings")).unwrap().unwrap();
        write(&world, &node, &[broken("s:bindings")]);
        node.set_active(&ana, false);
        node.delete_user(ben);
        node.leave(&operators, &[cleo]);
        node.join(&operators, &[dora]);
        later(&world, &node);
        world.assert_holds_nothing(&ana);
        world.assert_holds_nothing(ben);
        world.assert_holds(cleo, Operator, VAULT_EAST);
        world.assert_holds_nothing(dora);
        assert_rows_reported(&node, 1);
        assert_eq!(node.service.health.snapshot().to_json()["bindings"]["state"], "unreadable");

        restore(&world, &node, pointer);
        later(&world, &node);
        world.assert_holds_nothing(cleo);
        world.assert_holds(dora, Operator, VAULT_EAST);
        assert!(!node.service.health.snapshot().is_finding());
    }
}

/// As seen by the older of two releases. The newer one is the service for which the row is restored.
#[test]
fn a_person_whose_row_is_of_a_later_release_is_unavailable_and_the_others_are_served() {
    let (world, node, ana, operators) = operator();
    let ben = node.provision("ben");
    let header = node.run(node.service.store.get(&format!("u:{}", ana.id))).unwrap().unwrap();
    write(&world, &node, &[of_a_later_release(&header.key)]);
    let all = Projection::all(ResourceType::User);
    let provisioning = &node.service.provisioning;
    let read = node.run(provisioning.get_user(user_id(&ana.id), &all)).map(drop);
    let title = user_patch(&patch(json!({"op": "add", "path": "title", "value": "x"}))).unwrap();
    let patched = node.run(provisioning.patch_user(&caller(), user_id(&ana.id), &title, &all)).map(drop);
    for answer in [read, patched] {
        assert!(matches!(answer, Err(ServiceError::NewerRelease { .. })), "{answer:?}");
    }
    node.join(&operators, &[&ben]);
    world.assert_holds(&ben, Operator, VAULT_EAST);
    // The older release makes nothing of what it cannot read, also where she is reconciled.
    node.join(&node.group("unbound"), &[&ana]);
    later(&world, &node);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    node.leave(&operators, &[&ana]);

    restore(&world, &node, header);
    later(&world, &node);
    world.assert_holds_nothing(&ana);
    world.assert_holds(&ben, Operator, VAULT_EAST);
}

#[test]
fn the_header_of_a_group_that_no_binding_selects_decides_nothing() {
    let (world, node, ana, operators) = operator();
    let other = node.group("unbound");
    node.join(&other, &[&ana]);
    write(&world, &node, &[nonsense(&format!("g:{other}"))]);
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
    assert_rows_reported(&node, 1);
    // Nor does it fail the answer about a person who is in it.
    node.set_active(&ana, false);
}

#[test]
fn what_is_held_through_a_group_whose_header_cannot_be_read_stays_while_the_membership_does() {
    let (world, node, ana, [operators, readers]) = operator_and_reader();
    let ben = node.provision("ben");
    let cleo = node.provision("cleo");
    node.join(&readers, &[&cleo]);
    let header = node.run(node.service.store.get(&format!("g:{operators}"))).unwrap().unwrap();
    let membership = [format!("m:{operators}:{}", ben.id), format!("ug:{}:{operators}", ben.id)];
    let rows = membership.map(|key| TableWrite::Insert { key, properties: RowFields::row().done() });
    write(&world, &node, &[nonsense(&header.key)]);
    write(&world, &node, &rows);
    node.leave(&readers, &[&ana]);
    node.join(&readers, &[&ben]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert!(!world.holds(&ana, Reader, VAULT_WEST));
    // It gives no new grant.
    world.assert_holds(&ben, Reader, VAULT_WEST);
    assert!(!world.holds(&ben, Operator, VAULT_EAST));
    assert_waits(&node, &ben, "waiting", "row-unreadable");
    // An assignment that is deleted in Azure is created again, and a person whose membership row is removed loses the role.
    let held =
        world.azure().assignments().into_iter().find(|held| held.principal_id == ana.principal).unwrap();
    world.azure().delete_assignment(held.name).unwrap();
    later(&world, &node);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    delete(&world, &node, &format!("ug:{}:{operators}", ana.id));
    node.patch_user(&ana.id, json!({"op": "add", "path": "title", "value": "x"}));
    world.assert_holds_nothing(&ana);
}

#[test]
fn a_wait_with_the_reason_of_a_later_release_is_another_one() {
    let world =
        quiet(World::new().bind("operators", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let node = world.start();
    let operators = node.group("operators");
    let readers = node.group("readers");
    let ana = node.provision("ana");
    node.join(&operators, &[&ana]);
    refuse(&world, CallMethod::Put);
    node.join(&readers, &[&ana]);
    let key = format!("l:{}:waits", ana.id);
    let list = RowReader::new(&only_waits(&node, &ana)).unwrap().json("list").unwrap();
    let list = list.to_string().replace("not-authorized", "quota-reached");
    let row = TableWrite::InsertOrReplace {
        key,
        properties: RowFields::row().bytes("list", list.as_bytes()).done(),
    };
    write(&world, &node, &[row]);
    assert_waits(&node, &ana, "failed", "other");
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
}

fn refuse(world: &World, method: CallMethod) {
    let code = "AuthorizationFailed".to_owned();
    let refused =
        FaultAction::Fail { status: 403, code, message: None, retry_after_seconds: None, executed: false };
    world.azure().add_rule(FaultRule::new(refused).method(method)).unwrap();
}

fn only_waits(node: &Node, person: &Person) -> TableRow {
    node.run(node.service.store.get(&format!("l:{}:waits", person.id))).unwrap().unwrap()
}

#[test]
fn waits_that_cannot_be_read_are_none_and_are_written_anew() {
    for broken in [nonsense, of_a_later_release] {
        let (world, node, ana, operators) = operator();
        refuse(&world, CallMethod::Put);
        let ben = node.provision("ben");
        node.join(&operators, &[&ben]);
        write(
            &world,
            &node,
            &[broken(&format!("l:{}:waits", ana.id)), broken(&format!("l:{}:waits", ben.id))],
        );
        assert!(node.grants(&ana).iter().all(|grant| grant.0 == "held"));
        node.leave(&operators, &[&ana]);
        world.assert_holds_nothing(&ana);
        assert!(node.run(node.service.store.get(&format!("l:{}:waits", ana.id))).unwrap().is_none());
        later(&world, &node);
        assert_waits(&node, &ben, "failed", "not-authorized");
        assert_eq!(node.service.health.snapshot().rows_unreadable, 0);
    }
}

#[test]
fn a_former_snapshot_that_cannot_be_read_stops_no_change_of_the_bindings() {
    for broken in [nonsense, of_a_later_release] {
        let (world, node, ana, _) = operator();
        world.pass(60);
        write(&world, &node, &[broken(&only(&node, "c:").key)]);
        node.adopt(&[binding(9, "readers", Reader, VAULT_WEST)]);
        node.settle();
        world.assert_holds_nothing(&ana);
        assert!(node.run(node.service.store.rows("i:", 10)).unwrap().is_empty(), "the job is done");
    }
}

#[test]
fn a_snapshot_that_cannot_be_read_is_stepped_over_by_the_next_one() {
    let (world, node, ana, _) = operator();
    world.pass(60);
    node.adopt(&[binding(1, "operators", Reader, VAULT_EAST)]);
    let stamp = node.run(node.service.store.pointer()).unwrap().stamp().unwrap().to_owned();
    node.kill();
    // One that remembers nothing.
    let node = world.start_without_bindings(InlineLimits::default(), TICK_DEADLINE);
    write(&world, &node, &[nonsense(&format!("c:{stamp}"))]);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.pass(60);
    node.adopt(&[binding(9, "readers", Reader, VAULT_WEST)]);
    later(&world, &node);
    world.assert_holds_nothing(&ana);
    assert!(node.run(node.service.store.rows("i:", 10)).unwrap().is_empty(), "both jobs are done");
}

#[test]
fn a_membership_key_that_names_no_user_is_skipped() {
    let (world, node, ana, operators) = operator();
    let ben = node.provision("ben");
    let cleo = node.provision("cleo");
    node.join(&operators, &[&ben]);
    let rows =
        [format!("m:{operators}:nobody"), format!("ug:{}:nowhere", ana.id), "gx:zz:nothing".to_owned()];
    write(&world, &node, &rows.map(|key| nonsense(&key)));
    // Of all members, read one by one.
    assert_eq!(node.members_of(&operators).len(), 2);
    node.try_patch_group(
        &operators,
        json!({"op": "replace", "path": "members", "value": [{"value": cleo.id}]}),
    )
    .unwrap();
    world.assert_holds_nothing(&ana);
    world.assert_holds_nothing(&ben);
    world.assert_holds(&cleo, Operator, VAULT_EAST);
    node.set_active(&ana, false);
    assert_rows_reported(&node, 2);
}

#[test]
fn whose_header_cannot_be_read_keeps_what_their_groups_give_and_gets_nothing_new() {
    let (world, node, ana, [operators, readers]) = operator_and_reader();
    let header = node.run(node.service.store.get(&format!("u:{}", ana.id))).unwrap().unwrap();
    write(&world, &node, &[nonsense(&header.key)]);
    let other = node.group("others");
    node.join(&other, &[&ana]);
    node.leave(&operators, &[&ana]);
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
    world.assert_holds(&ana, Reader, VAULT_WEST);
    node.join(&operators, &[&ana]);
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
    assert_waits(&node, &ana, "waiting", "row-unreadable");
    assert_rows_reported(&node, 1);

    restore(&world, &node, header);
    later(&world, &node);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    node.leave(&readers, &[&ana]);
    node.delete_user(&ana);
    node.settle();
    world.assert_holds_nothing(&ana);
    assert!(node.run(node.service.store.rows("p:", 10)).unwrap().is_empty(), "the object id is free again");
}

#[test]
fn a_ledger_row_with_a_state_of_a_later_release_is_unsettled_and_azure_is_asked_by_name() {
    let (world, node, ana, operators) = operator();
    let row = with_text(ledger_row(&node, &ana.id), "state", "suspended");
    restore(&world, &node, row.clone());
    world.azure().clear_calls();
    node.patch_user(&ana.id, json!({"op": "add", "path": "title", "value": "x"}));
    let asked = world.azure().calls().iter().filter(|call| call.method == CallMethod::Get).count();
    assert_eq!(asked, 1);
    assert_eq!(node.grants(&ana), [("held".to_owned(), "member".to_owned())]);

    // Azure holds it although its row says something unknown: a person who leaves loses it.
    let row = with_text(ledger_row(&node, &ana.id), "state", "suspended");
    restore(&world, &node, row);
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
    assert_eq!(node.service.health.snapshot().quarantined, 0);
}

#[test]
fn a_step_that_failed_for_a_reason_of_a_later_release_is_tried_again() {
    let (world, node, ana, operators) = operator();
    refuse(&world, CallMethod::Delete);
    node.leave(&operators, &[&ana]);
    let row = with_text(ledger_row(&node, &ana.id), "reason", "policy-of-tomorrow");
    restore(&world, &node, row);
    assert_waits(&node, &ana, "failed", "other");
    world.azure().reset_faults();
    later(&world, &node);
    world.assert_holds_nothing(&ana);
}

#[test]
fn what_a_later_release_put_into_a_ledger_row_is_carried_along() {
    let (world, node, ana, operators) = operator();
    let row = with_text(ledger_row(&node, &ana.id), "approved_by", "nobody");
    restore(&world, &node, row);
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
    node.join(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    let row = ledger_row(&node, &ana.id);
    assert_eq!(RowReader::new(&row).unwrap().text("approved_by").unwrap(), "nobody");
    for gone in ["unsettled_until", "tried", "not_before", "attempts", "reason"] {
        assert!(!row.properties.contains_key(gone), "{gone} is ours, and over: {row:?}");
    }
    // A sweep that finds a difference keeps it too.
    node.settle();
    world.pass(3700);
    world.azure().delete_assignment(world.azure().assignments()[0].name).unwrap();
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert!(ledger_row(&node, &ana.id).properties.contains_key("approved_by"));
}

#[test]
fn a_ledger_row_that_cannot_be_read_is_left_alone_and_holds_up_nothing_else() {
    for broken in [nonsense, of_a_later_release] {
        let (world, node, ana, [operators, readers]) = operator_and_reader();
        let rows = node.run(node.service.store.rows(&format!("l:{}:", ana.id), 10)).unwrap();
        let is_readers = |row: &&TableRow| {
            row.properties.get("scope").is_some_and(|scope| format!("{scope:?}").contains("west"))
        };
        let row = rows.iter().find(is_readers).unwrap().clone();
        write(&world, &node, &[broken(&row.key), nonsense(&format!("l:{}:pin:nobody", ana.id))]);
        node.patch_user(&ana.id, json!({"op": "add", "path": "title", "value": "x"}));
        assert_waits(&node, &ana, "waiting", "row-unreadable");
        node.leave(&operators, &[&ana]);
        assert!(!world.holds(&ana, Operator, VAULT_EAST));
        world.assert_holds(&ana, Reader, VAULT_WEST);
        assert_rows_reported(&node, 2);
        node.leave(&readers, &[&ana]);
        world.assert_holds(&ana, Reader, VAULT_WEST);

        restore(&world, &node, row);
        later(&world, &node);
        world.assert_holds_nothing(&ana);
    }
}

#[test]
fn an_object_id_is_not_freed_while_a_row_of_its_record_cannot_be_read() {
    let (world, node, ana, operators) = operator();
    let row = ledger_row(&node, &ana.id);
    write(&world, &node, &[nonsense(&row.key)]);
    node.delete_user(&ana);
    let again = node.provision_as("ana.new", ana.principal);
    node.join(&operators, &[&again]);
    later(&world, &node);
    assert_waits(&node, &again, "waiting", "principal-releasing");
    world.assert_holds(&ana, Operator, VAULT_EAST);

    restore(&world, &node, row);
    node.leave(&operators, &[&again]);
    later(&world, &node);
    world.assert_holds_nothing(&ana);
    let owner = only(&node, "p:");
    assert_eq!(RowReader::new(&owner).unwrap().text("user").unwrap(), again.id);
}

#[test]
fn an_inactive_person_whose_header_is_readable_again_loses_the_role_without_a_request() {
    let (world, node, ana, _) = operator();
    let header = node.run(node.service.store.get(&format!("u:{}", ana.id))).unwrap().unwrap();
    write(&world, &node, &[nonsense(&header.key)]);
    node.join(&node.group("others"), &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    let document = RowReader::new(&header).unwrap().bytes("doc").unwrap();
    let mut document: Value = serde_json::from_slice(&document).unwrap();
    document["active"] = json!(false);
    let mut properties = header.properties.clone();
    properties.extend(RowFields::some().bytes("doc", document.to_string().as_bytes()).done());
    restore(&world, &node, TableRow { properties, ..header });
    later(&world, &node);
    world.assert_holds_nothing(&ana);
}

#[test]
fn a_reason_that_the_former_release_does_not_know_is_written_as_one_that_it_knows() {
    let (world, node, _, operators) = operator();
    let renamed = json!({"op": "replace", "path": "externalId", "value": "others"});
    node.try_patch_group(&operators, renamed).unwrap();
    let ben = node.provision("ben");
    node.join(&operators, &[&ben]);
    assert_waits(&node, &ben, "refused", "binding-stale");
    let list = RowReader::new(&only_waits(&node, &ben)).unwrap().json("list").unwrap();
    assert_eq!(
        (&list[0]["reason"], &list[0]["reasonCode"]),
        (&json!("binding-ambiguous"), &json!("binding-stale"))
    );
    world.assert_holds_nothing(&ben);
}

#[test]
fn an_object_id_whose_owner_cannot_be_read_gives_nothing_new_and_what_is_known_is_not_forgotten() {
    let (world, node, ana, operators) = operator();
    // The record's own side says that the object id is hers: the other side is not needed.
    write(&world, &node, &[nonsense(&format!("p:{}", ana.principal))]);
    let again = node.provision_as("ana.new", ana.principal);
    node.join(&operators, &[&again]);
    assert_waits(&node, &again, "waiting", "row-unreadable");
    // Without that side nothing is sent, and nothing is taken for gone.
    let pin =
        node.run(node.service.store.get(&format!("l:{}:pin:{}", ana.id, ana.principal))).unwrap().unwrap();
    delete(&world, &node, &pin.key);
    node.leave(&operators, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_rows_reported(&node, 1);

    restore(&world, &node, pin);
    later(&world, &node);
    assert_eq!(world.azure().assignments().len(), 0, "{:?}", node.grants(&again));
}

#[test]
fn every_row_of_the_settings_that_cannot_be_read_leaves_ticks_and_revocations_alone() {
    let (world, node, ana, operators) = operator();
    let subscriptions = (0..6000).map(|n| TableWrite::Insert {
        key: format!("s:throttle:00000000-0000-0000-0000-{n:012}:ask"),
        properties: RowFields::row().done(),
    });
    write(&world, &node, &subscriptions.collect::<Vec<_>>());
    write(&world, &node, &["s:sweep", "s:tick", "s:later"].map(nonsense));
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
    node.settle();
}

#[test]
fn a_person_with_more_ledger_rows_than_any_round_writes_is_still_reconciled() {
    let (world, node, ana, operators) = operator();
    let row = ledger_row(&node, &ana.id);
    let gone = with_text(row, "state", "gone").properties;
    let others = (0..5_100).map(|n| TableWrite::Insert {
        key: format!("l:{}:00000000-0000-0000-0000-{n:012}", ana.id),
        properties: gone.clone(),
    });
    write(&world, &node, &others.collect::<Vec<TableWrite>>());
    node.leave(&operators, &[&ana]);
    world.assert_holds_nothing(&ana);
}

#[test]
fn a_request_that_cannot_be_read_still_names_the_person() {
    for broken in [nonsense, of_a_later_release] {
        let world =
            quiet(World::new().bind("operators", Operator, VAULT_EAST)).without_limits_on_revocations();
        let node = world.start_with(InlineLimits { people_max: 0, ..InlineLimits::default() });
        let people = ["ana", "ben", "cleo"].map(|name| node.provision(name));
        let operators = node.group("operators");
        node.join(&operators, &people.iter().collect::<Vec<_>>());
        node.settle();
        people.iter().for_each(|person| world.assert_holds(person, Operator, VAULT_EAST));
        node.leave(&operators, &people.iter().collect::<Vec<_>>());
        let [ana, ben, cleo] = &people;
        write(
            &world,
            &node,
            &[broken(&format!("d:{}", ana.id)), broken(&format!("w:20260301T090000Z:{}", ben.id))],
        );
        delete(&world, &node, &format!("d:{}", ben.id));
        let cause = with_text(
            node.run(node.service.store.get(&format!("d:{}", cleo.id))).unwrap().unwrap(),
            "cause",
            "tomorrow",
        );
        restore(&world, &node, cause);
        node.settle();
        assert_eq!(world.azure().assignments().len(), 0);
        assert_eq!(node.service.health.snapshot().quarantined, 0);
    }
}

#[test]
fn health_counts_what_cannot_be_read_and_names_none_of_it() {
    let (world, node, ana, _) = operator();
    write(&world, &node, &[nonsense(&format!("u:{}", ana.id))]);
    node.join(&node.group("others"), &[&ana]);
    let health = Value::Object(azure_backup_scim::app::health_report(&node.service));
    assert_eq!((&health["status"], &health["rowsUnreadable"]), (&json!("degraded"), &json!(1)));
    assert!(!health.to_string().contains(&ana.id));
}
