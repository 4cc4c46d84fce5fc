//! Who holds which role after what, through the service, the table engine and the simulated Azure.

use crate::support::fault_injection::{Fault, When};
use crate::support::harness::{Node, Person, START, VAULT_EAST, VAULT_WEST, World, members, patch_group};
use crate::support::requests::group_input;
use azure_backup_scim::audit::{self, AuditEvent, AuditKind, AuditRecord, ChangeCause, ChangeOrigin};
use azure_backup_scim::id::{GroupId, PrincipalId, UserId};
use azure_backup_scim::orders::OrderVerb;
use azure_backup_scim::ports::tables::{EtagMatch as TableMatch, TableOps, TableWrite};
use azure_backup_scim::rbac::AssignmentName;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::ServiceError;
use azure_backup_scim::simulator::{CallMethod, FaultAction, FaultRule, LockLevel, Scope};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// A person, and the bound group that she is not in yet.
fn stranger() -> (World, Node, Person, String) {
    let world = operators();
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    let group = node.group("operators");
    (world, node, ana, group)
}

/// A person in the bound group, who holds its role.
fn member() -> (World, Node, Person, String) {
    let (world, node, ana, group) = stranger();
    node.join(&group, &[&ana]);
    (world, node, ana, group)
}

fn operators() -> World {
    World::new().bind("operators", Operator, VAULT_EAST)
}

#[test]
fn joining_a_bound_group_gives_the_role_and_leaving_it_takes_it() {
    let (world, node, ana, group) = member();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(node.grants(&ana), [("held".to_owned(), "member".to_owned())]);

    node.leave(&group, &[&ana]);
    world.assert_holds_nothing(&ana);
    assert!(node.grants(&ana).is_empty());
}

/// Transactions and calls to Azure of what `work` does.
fn cost(world: &World, work: impl FnOnce()) -> (usize, usize) {
    world.faults.reset();
    world.azure().clear_calls();
    work();
    (world.faults.counts().transactions, world.azure().calls().len())
}

#[test]
fn a_changed_person_costs_one_call_to_azure_an_open_and_a_close() {
    let world = operators().bind("night-shift", Operator, VAULT_EAST);
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    let eve = node.provision("eve@contoso.example");
    let day = node.group("operators");
    let night = node.group("night-shift");

    // The very first reconcile makes the id of the installation.
    node.join(&day, &[&eve]);
    node.leave(&day, &[&eve]);

    // The commit, an open and a close each time; a pin of a selector goes with an open. What the breakers count is one
    // transaction more: a new person, and who loses a role without leaving.
    assert_eq!(cost(&world, || node.join(&day, &[&ana])), (4, 1), "join");
    assert_eq!(cost(&world, || node.join(&day, &[&ana])), (0, 0), "join once more");
    assert_eq!(cost(&world, || node.set_active(&ana, false)), (3, 1), "deactivate");
    assert_eq!(cost(&world, || node.set_active(&ana, true)), (3, 1), "reactivate");

    // Another group gives the same: nothing is opened.
    assert_eq!(cost(&world, || node.join(&night, &[&ana])), (2, 0), "join another");
    assert_eq!(cost(&world, || node.leave(&night, &[&ana])), (2, 0), "leave another");
    assert_eq!(cost(&world, || node.leave(&day, &[&ana])), (4, 1), "leave the last");
    assert_eq!(cost(&world, || node.join(&day, &[&ana, &eve])), (7, 2), "two join in one request");
}

/// Facts: F-161.
#[test]
fn deactivating_takes_the_role_keeps_the_membership_and_reactivating_gives_it_back() {
    let (world, node, ana, group) = member();

    node.set_active(&ana, false);
    world.assert_holds_nothing(&ana);
    assert_eq!(node.members_of(&group), std::slice::from_ref(&ana.id));

    node.set_active(&ana, true);
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_role_that_two_groups_give_goes_with_the_last_of_them() {
    let world = operators().bind("night-shift", Operator, VAULT_EAST);
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    let day = node.group("operators");
    let night = node.group("night-shift");
    node.join(&day, &[&ana]);
    let before = world.azure().assignments();
    node.join(&night, &[&ana]);
    node.leave(&day, &[&ana]);
    assert_eq!(world.azure().assignments().len(), before.len());
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(world.azure().assignments()[0].name, before[0].name);

    node.leave(&night, &[&ana]);
    world.assert_holds_nothing(&ana);
}

#[test]
fn deleting_a_user_of_sixty_groups_takes_every_role() {
    let mut world = World::new();
    for n in 0..60 {
        let (role, scope) = if n % 2 == 0 { (Operator, VAULT_EAST) } else { (Reader, VAULT_WEST) };
        world = world.bind(&format!("g{n}"), role, scope);
    }
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    let groups: Vec<String> = (0..60).map(|n| node.group(&format!("g{n}"))).collect();
    for group in &groups {
        node.join(group, &[&ana]);
    }
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds(&ana, Reader, VAULT_WEST);

    node.delete_user(&ana);
    node.settle();
    world.assert_holds_nothing(&ana);
    for group in &groups {
        assert!(node.members_of(group).is_empty());
    }
}

#[test]
fn deleting_a_group_of_two_hundred_takes_every_role() {
    let world = operators();
    world
        .azure()
        .set_limits(azure_backup_scim::simulator::ArmLimits { buckets: false, ..Default::default() })
        .unwrap();
    let node = world.start();
    let group = node.group("operators");
    let people: Vec<Person> = (0..200).map(|n| node.provision(&format!("p{n}@contoso.example"))).collect();
    for part in people.chunks(20) {
        node.join(&group, &part.iter().collect::<Vec<_>>());
    }
    node.settle();
    assert_eq!(world.azure().assignments().len(), 200);

    node.delete_group(&group);
    node.settle();
    // So many at once are held until an operator says so.
    assert_eq!(world.azure().assignments().len(), 200);
    let batch = node.run(node.service.store.batches()).unwrap().waiting().next().unwrap();
    node.carry_out(node.release_of(batch));
    assert!(world.azure().assignments().is_empty());
}

#[test]
fn killed_after_the_commit_and_before_the_call_the_role_appears_by_itself() {
    let (world, node, ana, group) = stranger();
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Put).times(1)).unwrap();
    node.begin(&group, members("add", &[&ana]));
    world.until_held(&node);
    node.kill();
    world.azure().reset_faults();
    world.assert_holds_nothing(&ana);

    let node = world.start();
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn killed_before_the_call_of_a_revocation_the_role_vanishes_by_itself() {
    let (world, node, ana, group) = member();
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Delete).times(1)).unwrap();
    node.begin(&group, members("remove", &[&ana]));
    world.until_held(&node);
    node.kill();
    world.azure().reset_faults();
    world.assert_holds(&ana, Operator, VAULT_EAST);

    let node = world.start();
    node.settle();
    world.assert_holds_nothing(&ana);
}

/// Facts: F-017.
#[test]
fn a_grant_delivered_after_its_caller_died_and_the_person_left_is_taken_back() {
    let (world, node, ana, group) = stranger();
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Put).times(1)).unwrap();
    node.begin(&group, members("add", &[&ana]));
    world.until_held(&node);
    node.kill();

    let node = world.start();
    node.leave(&group, &[&ana]);
    let late = world.azure().held()[0].number;
    world.azure().deliver(late).unwrap();
    world.assert_holds(&ana, Operator, VAULT_EAST);

    world.pass(200);
    node.settle();
    world.assert_holds_nothing(&ana);
}

#[test]
fn a_revocation_delivered_after_its_caller_died_and_the_person_came_back_is_made_good() {
    let (world, node, ana, group) = member();
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Delete).times(1)).unwrap();
    node.begin(&group, members("remove", &[&ana]));
    world.until_held(&node);
    node.kill();

    let node = world.start();
    node.join(&group, &[&ana]);
    let late = world.azure().held()[0].number;
    world.azure().deliver(late).unwrap();
    world.assert_holds_nothing(&ana);

    world.pass(200);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_grant_that_was_deleted_by_hand_comes_back_with_the_sweep() {
    let (world, node, ana, _) = member();
    node.settle();
    world.azure().delete_assignment(world.azure().assignments()[0].name).unwrap();

    world.pass(3700);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(node.audit_of("difference-found").len(), 1);
}

#[test]
fn a_foreign_assignment_is_shown_and_never_touched() {
    let (world, node, ana, group) = stranger();
    let foreign = world.hand_made(&ana, Operator, VAULT_EAST);
    node.join(&group, &[&ana]);
    assert_eq!(node.grants(&ana), [("held-by-other".to_owned(), "foreign-assignment".to_owned())]);
    node.leave(&group, &[&ana]);
    node.settle();
    world.pass(7200);
    node.settle();
    assert_eq!(world.azure().assignments().iter().map(|held| held.name).collect::<Vec<_>>(), [foreign]);
}

#[test]
fn when_the_foreign_assignment_goes_our_own_takes_its_place() {
    let (world, node, ana, group) = stranger();
    let foreign = world.hand_made(&ana, Operator, VAULT_EAST);
    node.join(&group, &[&ana]);
    world.azure().delete_assignment(foreign).unwrap();
    world.pass(4000);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(node.grants(&ana), [("held".to_owned(), "member".to_owned())]);
}

/// Facts: F-163.
#[test]
fn a_person_without_an_object_id_waits_visibly_and_is_granted_when_it_arrives() {
    let world = operators();
    let node = world.start();
    let id = node.create_user(json!({"userName": "ana@contoso.example"}));
    let ana = Person { id, principal: Uuid::new_v4() };
    let group = node.group("operators");
    node.join(&group, &[&ana]);
    assert_eq!(node.grants(&ana), [("waiting".to_owned(), "pending-principal".to_owned())]);
    assert_eq!(node.audit_of("wait-changed")[0]["reason"], "pending-principal");

    let path = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User:entraObjectId";
    node.patch_user(&ana.id, json!({"op": "add", "path": path, "value": ana.principal.to_string()}));
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn the_same_object_id_in_a_second_record_waits_until_the_first_is_gone() {
    let (world, node, ana, group) = member();
    let again = node.provision_as("ana.new@contoso.example", ana.principal);
    node.join(&group, &[&again]);
    assert_eq!(node.grants(&again), [("waiting".to_owned(), "principal-conflict".to_owned())]);

    node.delete_user(&ana);
    world.assert_holds_nothing(&ana);
    world.pass(120);
    node.settle();
    world.assert_holds(&again, Operator, VAULT_EAST);
}

#[test]
fn a_changed_object_id_gives_nothing_and_takes_what_was_held() {
    let (world, node, ana, _) = member();
    let other = Person { id: ana.id.clone(), principal: Uuid::new_v4() };
    let path = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User:entraObjectId";
    node.patch_user(&ana.id, json!({"op": "replace", "path": path, "value": other.principal.to_string()}));
    node.settle();
    world.assert_holds_nothing(&ana);
    world.assert_holds_nothing(&other);
    assert_eq!(node.grants(&ana), [("refused".to_owned(), "identity-changed".to_owned())]);
}

/// Facts: F-003.
#[test]
fn a_lock_fails_a_revocation_visibly_and_it_is_tried_again() {
    let (world, node, ana, group) = member();
    let lock = world.azure().add_lock(&Scope::parse(VAULT_EAST).unwrap(), LockLevel::CanNotDelete).unwrap();
    node.leave(&group, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(node.grants(&ana), [("failed".to_owned(), "scope-locked".to_owned())]);

    world.azure().remove_lock(lock).unwrap();
    world.pass(120);
    node.settle();
    world.assert_holds_nothing(&ana);
}

#[test]
fn throttling_is_waited_for_and_nothing_is_lost() {
    let (world, node, ana, group) = stranger();
    let throttle = FaultRule::new(FaultAction::Throttle { retry_after_seconds: Some(40) })
        .method(CallMethod::Put)
        .times(1);
    world.azure().add_rule(throttle).unwrap();
    node.join(&group, &[&ana]);
    world.assert_holds_nothing(&ana);
    node.settle();
    world.assert_holds_nothing(&ana);
    world.pass(90);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
}

/// Facts: F-022.
#[test]
fn an_answer_that_was_lost_is_found_out_by_asking() {
    let (world, node, ana, group) = stranger();
    world.azure().add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Put).times(1)).unwrap();
    node.join(&group, &[&ana]);
    world.pass(200);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(node.grants(&ana), [("held".to_owned(), "member".to_owned())]);
    assert_eq!(node.audit_of("effect-observed").len(), 1);
}

#[test]
fn another_group_that_claims_a_pinned_selector_gives_nothing() {
    let world = operators();
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    let eve = node.provision("eve@contoso.example");
    let group = node.group("operators");
    node.join(&group, &[&ana]);
    let body = json!({"displayName": "impostors", "externalId": "operators"});
    let projection = azure_backup_scim::scim::Projection::all(azure_backup_scim::scim::ResourceType::Group);
    let caller = crate::support::harness::caller();
    let impostors = node
        .run(node.service.provisioning.create_group(&caller, &group_input(&body), &projection))
        .unwrap()
        .id;
    node.join(&impostors, &[&eve]);
    world.assert_holds_nothing(&eve);
    assert_eq!(node.grants(&eve), [("refused".to_owned(), "binding-ambiguous".to_owned())]);

    node.delete_group(&group);
    node.settle();
    world.assert_holds_nothing(&ana);
    world.pass(120);
    node.settle();
    world.assert_holds(&eve, Operator, VAULT_EAST);
}

#[test]
fn new_bindings_move_all_people_and_the_new_role_comes_before_the_old_goes() {
    let (world, node, ana, _) = member();
    world.pass(60);
    node.adopt(&[json!({"name": "b1", "group": {"externalId": "operators"}, "role": "Backup Reader", "scope": VAULT_WEST})]);
    world.azure().clear_calls();
    node.settle();
    world.assert_holds(&ana, Reader, VAULT_WEST);
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
    let writes: Vec<CallMethod> = world
        .azure()
        .calls()
        .iter()
        .map(|call| call.method)
        .filter(|method| matches!(method, CallMethod::Put | CallMethod::Delete))
        .collect();
    assert_eq!(writes, [CallMethod::Put, CallMethod::Delete]);
}

/// Sixty adds of one member each to one group, at the same time, dealt out over these services.
fn sixty_adds(world: &World, nodes: &[Node]) {
    let node = &nodes[0];
    let group = node.group("operators");
    let people: Vec<Person> = (0..60).map(|n| node.provision(&format!("p{n}@contoso.example"))).collect();
    let adds = people.iter().enumerate().map(|(n, person)| {
        let service = nodes[n % nodes.len()].service.clone();
        let group = group.clone();
        async move { patch_group(&service, &group, members("add", &[person])).await }
    });
    for answer in node.run(join_all(adds)) {
        answer.unwrap();
    }
    node.settle();
    assert_eq!(node.members_of(&group).len(), 60);
    for person in &people {
        world.assert_holds(person, Operator, VAULT_EAST);
    }
}

#[test]
fn sixty_adds_at_once_through_one_service_lose_no_member() {
    let world = operators();
    sixty_adds(&world, &[world.start()]);
}

/// Facts: F-111.
#[test]
fn sixty_adds_at_once_through_two_services_lose_no_member() {
    let world = operators();
    sixty_adds(&world, &[world.start(), world.start()]);
}

/// Facts: F-084.
#[test]
fn storage_that_is_busy_is_said_with_its_wait_and_nothing_changes() {
    let (world, node, ana, group) = stranger();
    let busy = Fault::Throttled { retry_after: Duration::from_secs(7) };
    world.faults.inject(When::transact().always(), busy);
    let answer = node.try_patch_group(&group, members("add", &[&ana]));
    let said = |error: &ServiceError| matches!(error, ServiceError::Busy { retry_after, .. } if retry_after.as_secs() == 7);
    assert!(answer.as_ref().is_err_and(said), "{answer:?}");
    world.faults.clear();
    assert!(node.members_of(&group).is_empty());
    node.settle();
    world.assert_holds_nothing(&ana);
}

/// A story in which every kind of record is written at least once.
fn story() -> (World, Node) {
    let world = operators();
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    let ben = node.provision("ben@contoso.example");
    let without_id =
        Person { id: node.create_user(json!({"userName": "nobody"})), principal: Uuid::new_v4() };
    let ghost = Person { id: Uuid::new_v4().to_string(), principal: Uuid::new_v4() };
    let group = node.group("operators");
    node.join(&group, &[&ana, &without_id, &ghost]);
    node.leave(&group, &[&ana]);
    node.patch_user(&ben.id, json!({"op": "replace", "value": {"active": "False", "shoeSize": 44}}));
    node.set_active(&ben, true);
    world.azure().add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Put).times(1)).unwrap();
    node.join(&group, &[&ben]);
    let refusal = FaultAction::Fail {
        status: 409,
        code: "ScopeLocked".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    world.azure().add_rule(FaultRule::new(refusal).method(CallMethod::Delete).times(1)).unwrap();
    node.leave(&group, &[&ben]);
    world.pass(200);
    node.settle();
    node.join(&group, &[&ben]);
    let cleo = node.provision("cleo@contoso.example");
    world.azure().add_rule(FaultRule::new(FaultAction::LoseAnswer).method(CallMethod::Put).times(1)).unwrap();
    node.join(&group, &[&cleo]);
    world.pass(200);
    node.settle();
    world.azure().delete_assignment(world.azure().assignments()[0].name).unwrap();
    world.pass(3700);
    node.settle();
    node.delete_user(&ana);
    node.carry_out(OrderVerb::Pause);
    node.carry_out(OrderVerb::Resume);
    assert!(node.order(OrderVerb::Resume).is_refused);
    node.carry_out(OrderVerb::Revoke { principal: PrincipalId::new(cleo.principal) });
    let team: Vec<Person> = (0..6).map(|n| node.provision(&format!("team{n}@contoso.example"))).collect();
    let team: Vec<&Person> = team.iter().collect();
    node.join(&group, &team);
    node.leave(&group, &[team.as_slice(), &[&ben]].concat());
    let batch = node.run(node.service.store.batches()).unwrap().waiting().next().unwrap();
    node.carry_out(node.release_of(batch));
    (world, node)
}

/// The fields of each kind of record that may not be empty.
const RECORD_FIELDS: [(&str, &[&str]); 28] = [
    ("audit-expired", &["throughHead", "throughDay", "months"]),
    ("state-restored", &["exported", "rows", "hash"]),
    ("state-begun", &["instance"]),
    ("assignment-recovered", &["person", "principal", "role", "scope", "assignment"]),
    ("drill-began", &["drill", "person", "group", "principal", "setOff"]),
    ("drill-ended", &["drill", "person", "green", "phase", "reason", "times"]),
    ("resource-created", &["type", "id", "revisionBefore", "revisionAfter", "attributes"]),
    ("resource-changed", &["type", "id", "revisionBefore", "revisionAfter", "attributes"]),
    ("resource-deleted", &["type", "id", "revisionBefore", "revisionAfter", "attributes"]),
    ("attributes-dropped", &["type", "id", "revision", "attributes", "reasons"]),
    ("member-added", &["group", "member", "revision"]),
    ("member-removed", &["group", "member", "revision"]),
    ("member-dropped", &["group", "member", "revision"]),
    (
        "effect-opened",
        &[
            "person",
            "principal",
            "bindings",
            "role",
            "scope",
            "assignment",
            "reasons",
            "heldBefore",
            "wanted",
        ],
    ),
    ("effect-answered", &["person", "assignment", "open", "executed", "correlationId"]),
    ("effect-observed", &["person", "assignment", "open", "held"]),
    ("difference-found", &["person", "assignment", "ledgerHeld", "azureHeld"]),
    ("wait-changed", &["person", "binding", "reason"]),
    ("order-carried-out", &["verb", "because", "detail"]),
    ("order-refused", &["verb", "because", "refusal"]),
    ("pause-changed", &["paused"]),
    ("breaker-tripped", &["batch", "holds", "bindings"]),
    ("step-held", &["person", "assignment", "operation", "batch"]),
    ("batch-decided", &["batch", "decision"]),
    ("brake-changed", &["principal", "braked"]),
    (
        "foreign-access-seen",
        &[
            "seen",
            "principal",
            "holder",
            "assignment",
            "role",
            "roleDefinition",
            "scope",
            "subscription",
            "verbs",
        ],
    ),
    ("role-verbs-seen", &["role", "roleDefinition"]),
    ("setting-changed", &["what"]),
];

/// What takes months, or another table.
fn commit_records_of_the_chain(node: &Node) {
    let store = &node.service.store;
    let op = store.ids.op();
    let id = Uuid::from_u128(7);
    let record = AuditRecord {
        op,
        time: store.clock.now(),
        origin: ChangeOrigin { cause: ChangeCause::Sweep, actor: "service".to_owned(), op },
        request: None,
        stamp: None,
        outcome: None,
        changes: vec![
            AuditEvent::AuditExpired { through_head: 1, through_day: "2026-03-01".to_owned(), months: 13 },
            AuditEvent::StateRestored { exported: START.to_owned(), rows: 1, hash: "00".repeat(32) },
            AuditEvent::StateBegun { instance: id.to_string() },
            AuditEvent::AssignmentRecovered {
                person: UserId::new(id),
                principal: PrincipalId::new(id),
                role: Operator,
                scope: azure_backup_scim::rbac::Scope::parse(VAULT_EAST).unwrap(),
                assignment: AssignmentName::new(id),
            },
            AuditEvent::DrillBegan {
                drill: op,
                person: UserId::new(id),
                group: GroupId::new(id),
                principal: PrincipalId::new(id),
                set_off: "timer".to_owned(),
            },
            AuditEvent::DrillEnded {
                drill: op,
                person: UserId::new(id),
                green: false,
                phase: Some("deactivated".to_owned()),
                reason: Some("scope-locked".to_owned()),
                times: vec![format!("grant received {START}")],
            },
        ],
    };
    node.run(store.commit(&record, Vec::new())).unwrap();
}

#[test]
fn every_kind_of_audit_record_has_every_field() {
    let (world, node) = story();
    let eve = Person { id: String::new(), principal: Uuid::new_v4() };
    world.hand_made(&eve, Operator, VAULT_EAST);
    world.pass(3700);
    node.settle();
    commit_records_of_the_chain(&node);
    let filled = |value: &Value| !(value.is_null() || *value == "" || *value == json!([]));
    let stored: BTreeSet<&str> = audit::kinds().map(AuditKind::stored_name).collect();
    assert_eq!(stored, RECORD_FIELDS.map(|(kind, _)| kind).into());
    for (kind, fields) in RECORD_FIELDS {
        let changes = node.audit_of(kind);
        assert!(!changes.is_empty(), "the story writes no {kind}");
        for change in changes {
            for field in fields {
                assert!(filled(&change[*field]), "{kind} lacks {field}: {change:#}");
            }
            for field in ["op", "time", "cause", "actor", "origin"] {
                assert!(filled(&change["record"][field]), "{kind} lacks {field}: {change:#}");
            }
        }
    }
    let opened = node.audit_of("effect-opened");
    assert!(opened.iter().all(|change| filled(&change["record"]["bindings"])), "effects name their snapshot");
    assert!(
        opened.iter().any(|change| filled(&change["follows"])),
        "an open that ends an unsettled one says which"
    );
    let refused = node.audit_of("effect-answered").into_iter().find(|change| change["executed"] == false);
    assert_eq!(refused.unwrap()["code"], "ScopeLocked");
    let settings: Vec<Value> = node.audit_of("setting-changed");
    assert!(settings.iter().all(|change| filled(&change["before"]) || filled(&change["after"])));
}

#[test]
fn a_person_in_a_hundred_newly_bound_groups_is_granted_all_of_it() {
    let mut world = World::new();
    for n in 0..100 {
        let (role, scope) = if n % 2 == 0 { (Operator, VAULT_EAST) } else { (Reader, VAULT_WEST) };
        world = world.bind(&format!("g{n}"), role, scope);
    }
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    node.set_active(&ana, false);
    for n in 0..100 {
        node.join(&node.group(&format!("g{n}")), &[&ana]);
    }
    node.set_active(&ana, true);
    node.settle();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds(&ana, Reader, VAULT_WEST);
}

#[test]
fn a_revocation_does_not_wait_for_a_grant_that_hangs() {
    let world = operators().bind("readers", Reader, VAULT_WEST);
    let node = world.start();
    let ana = node.provision("ana@contoso.example");
    let operators = node.group("operators");
    let readers = node.group("readers");
    node.join(&operators, &[&ana]);
    world.azure().add_rule(FaultRule::new(FaultAction::Hold).method(CallMethod::Put).times(1)).unwrap();
    node.begin(&readers, members("add", &[&ana]));
    world.until_held(&node);

    node.leave(&operators, &[&ana]);
    assert_eq!(world.azure().held().len(), 1, "the grant still hangs");
    assert!(!world.holds(&ana, Operator, VAULT_EAST));
}

#[test]
fn what_happens_while_the_bindings_cannot_be_read_is_made_good_when_they_can() {
    let world = operators();
    let node = world.start();
    let ana = node.provision("ana");
    let ben = node.provision("ben");
    let cleo = node.provision("cleo");
    let group = node.group("operators");
    node.join(&group, &[&ana, &ben]);
    let snapshot = node.run(node.service.store.rows("c:", 10)).unwrap().remove(0);
    let gone = TableWrite::Delete { key: snapshot.key.clone(), condition: TableMatch::Any };
    node.run(world.faults.transact("default", &[gone])).unwrap();
    node.kill();

    let node = world.start();
    node.leave(&group, &[&ana]);
    node.join(&group, &[&cleo]);
    node.set_active(&ben, false);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds_nothing(&ben);
    world.assert_holds_nothing(&cleo);

    node.run(world.faults.insert("default", &snapshot.key, snapshot.properties)).unwrap();
    world.pass(120);
    node.settle();
    world.assert_holds_nothing(&ana);
    world.assert_holds(&cleo, Operator, VAULT_EAST);
}

#[test]
fn a_user_with_as_many_addresses_as_there_may_be_can_be_deleted() {
    let world = World::new();
    let node = world.start();
    let emails: Vec<Value> = (0..40).map(|n| json!({"value": format!("a{n}@contoso.example")})).collect();
    let id = node.create_user(json!({"userName": "ana", "externalId": "x", "emails": emails}));
    let other: Vec<Value> = (0..40).map(|n| json!({"value": format!("b{n}@contoso.example")})).collect();
    node.patch_user(&id, json!({"op": "replace", "path": "emails", "value": other}));
    node.delete_user(&Person { id, principal: Uuid::new_v4() });
    node.settle();
    assert!(
        node.run(node.service.store.rows_between("u".to_owned(), "v".to_owned(), 100)).unwrap().is_empty()
    );
}
