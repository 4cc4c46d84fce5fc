//! Rows that are missing, incomplete, another record's or unreadable, and the requests that must go through all the same.

use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::{Node, Person, VAULT_EAST, World, caller, member_ids};
use crate::support::requests::{user_id, user_input};
use azure_backup_scim::ports::tables::{EtagMatch, TableOps, TableWrite};
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::scim::{ListQuery, Projection, ResourceType};
use azure_backup_scim::service::ServiceError;
use azure_backup_scim::store::codec::RowFields;
use serde_json::{Value, json};
use std::time::Duration;

/// A service whose state is damaged by hand.
struct Damaged {
    world: World,
    node: Node,
}

impl Damaged {
    fn new() -> Self {
        let world = World::new();
        let node = world.start();
        Self { world, node }
    }

    fn write(&self, write: TableWrite) {
        self.node.run(self.world.faults.transact("default", &[write])).unwrap();
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let range = self.node.service.store.rows_between(prefix.to_owned(), format!("{prefix}~"), 10_000);
        let rows = self.node.run(range).unwrap();
        rows.into_iter().map(|row| row.key).collect()
    }

    /// Takes the rows away that begin so; there must be some.
    fn lose(&self, prefix: &str) {
        let keys = self.keys(prefix);
        assert!(!keys.is_empty(), "{prefix}");
        for key in keys {
            self.write(TableWrite::Delete { key, condition: EtagMatch::Any });
        }
    }

    fn spoil(&self, prefix: &str) {
        for key in self.keys(prefix) {
            let properties = RowFields::row().text("nonsense", "x").done();
            self.write(TableWrite::Replace { key, properties, condition: EtagMatch::Any });
        }
    }

    fn ana(&self) -> String {
        let mails = [json!({"value": "ana@one.example"}), json!({"value": "ana@two.example"})];
        self.node.create_user(json!({"userName": "ana", "externalId": "x", "emails": mails}))
    }

    fn delete(&self, id: &str) -> Result<(), ServiceError> {
        self.node.run(self.node.service.provisioning.delete_user(&caller(), user_id(id)))
    }

    fn try_create(&self, body: Value) -> Result<String, ServiceError> {
        let all = Projection::all(ResourceType::User);
        let created =
            self.node.run(self.node.service.provisioning.create_user(&caller(), &user_input(&body), &all));
        created.map(|created| created.id)
    }

    fn replace(&self, id: &str, body: Value) -> Result<Value, ServiceError> {
        let all = Projection::all(ResourceType::User);
        let replaced = self.node.run(self.node.service.provisioning.replace_user(
            &caller(),
            user_id(id),
            &user_input(&body),
            &all,
        ));
        replaced.map(|replaced| replaced.body)
    }

    fn found(&self, filter: &str) -> usize {
        let pairs = [("filter".to_owned(), filter.to_owned())];
        let query = ListQuery::from_pairs(ResourceType::User, &pairs).unwrap();
        self.node.run(self.node.service.provisioning.list(&caller(), &query)).unwrap().total
    }

    /// All users, by the counters.
    fn total(&self) -> usize {
        let query = ListQuery::from_pairs(ResourceType::User, &[]).unwrap();
        self.node.run(self.node.service.provisioning.list(&caller(), &query)).unwrap().total
    }
}

#[test]
fn a_user_is_deleted_without_the_rows_that_a_delete_only_removes() {
    for missing in [&["ux:"][..], &["un:"], &["ue:"], &["n:"], &["cu:"], &["un:", "ux:", "ue:", "n:", "cu:"]]
    {
        let state = Damaged::new();
        let id = state.ana();
        missing.iter().for_each(|prefix| state.lose(prefix));
        state.delete(&id).unwrap_or_else(|error| panic!("{missing:?}: {error:?}"));
        assert_eq!(state.keys("u"), Vec::<String>::new(), "{missing:?}");
        assert_eq!(state.total(), 0, "{missing:?}");
        state.ana();
        assert_eq!((state.total(), state.found("userName eq \"ANA\"")), (1, 1), "{missing:?}");
    }
}

#[test]
fn a_counter_that_is_damaged_is_counted_anew() {
    let state = Damaged::new();
    let ids: Vec<String> =
        (0..40).map(|n| state.node.create_user(json!({"userName": format!("u{n}")}))).collect();
    state.spoil("cu:");
    // Another process: this one remembers what it counted.
    let other = Damaged { node: state.world.start(), world: state.world };
    assert_eq!(other.total(), 40);
    for id in &ids[..20] {
        other.delete(id).unwrap();
    }
    for n in 0..5 {
        other.node.create_user(json!({"userName": format!("new{n}")}));
    }
    assert_eq!(other.total(), 25);
}

#[test]
fn attributes_change_without_the_index_rows_of_before() {
    for missing in ["un:", "ux:", "ue:"] {
        let state = Damaged::new();
        let id = state.ana();
        state.lose(missing);
        let body =
            json!({"userName": "anna", "externalId": "y", "active": false, "emails": [{"value": "anna@x"}]});
        let after = state.replace(&id, body).unwrap_or_else(|error| panic!("{missing}: {error:?}"));
        assert_eq!((&after["userName"], &after["active"]), (&json!("anna"), &json!(false)));
        for filter in ["userName eq \"anna\"", "externalId eq \"y\"", "emails.value eq \"anna@x\""] {
            assert_eq!(state.found(filter), 1, "{missing} {filter}");
        }
        assert_eq!(state.found("userName eq \"ana\""), 0);
    }
}

#[test]
fn a_name_that_is_only_spelt_otherwise_gets_its_missing_row_back() {
    let state = Damaged::new();
    let id = state.ana();
    state.lose("un:");
    state.replace(&id, json!({"userName": "Ana", "externalId": "x"})).unwrap();
    assert_eq!(state.found("userName eq \"ana\""), 1);
}

#[test]
fn an_index_row_that_is_there_already_refuses_nothing() {
    let state = Damaged::new();
    let id = state.ana();
    let row = state.node.run(state.node.service.store.rows("ux:", 10)).unwrap().remove(0);
    state.replace(&id, json!({"userName": "ana"})).unwrap();
    state.write(TableWrite::Insert { key: row.key, properties: row.properties });
    state.replace(&id, json!({"userName": "ana", "externalId": "x"})).unwrap();
    assert_eq!(state.found("externalId eq \"x\""), 1);
}

#[test]
fn the_name_row_of_another_record_stays() {
    let state = Damaged::new();
    let ana = state.ana();
    state.lose("un:");
    state.lose("ux:");
    let ben = state.node.create_user(json!({"userName": "ANA"}));
    state.delete(&ana).unwrap();
    assert_eq!(state.found("userName eq \"ana\""), 1);
    assert_eq!(state.keys("u:"), [format!("u:{ben}")]);
}

#[test]
fn a_user_whose_header_cannot_be_read_is_deleted_and_the_name_is_free() {
    for spoilt in [true, false] {
        let state = Damaged::new();
        let id = state.ana();
        if spoilt {
            state.spoil("u:");
        } else {
            let properties = RowFields::some().text("rev", "x").done();
            state.write(TableWrite::Merge { key: format!("u:{id}"), properties, condition: EtagMatch::Any });
        }
        let all = Projection::all(ResourceType::User);
        let read = state.node.run(state.node.service.provisioning.get_user(user_id(&id), &all));
        assert!(matches!(read, Err(ServiceError::Bug { .. })), "{read:?}");
        state.delete(&id).unwrap();
        assert_eq!(state.keys("u:"), Vec::<String>::new());
        state.try_create(json!({"userName": "ana", "externalId": "x"})).unwrap();
        assert_eq!((state.total(), state.found("externalId eq \"x\"")), (1, 1));
    }
}

#[test]
fn a_group_whose_header_cannot_be_read_is_deleted_and_its_people_lose_the_role() {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    let state = Damaged { node: world.start(), world };
    let group = state.node.group("operators");
    let ana = state.node.provision("ana");
    state.node.join(&group, &[&ana]);
    state.world.assert_holds(&ana, Operator, VAULT_EAST);
    state.spoil("g:");
    state.node.delete_group(&group);
    state.node.settle();
    state.world.assert_holds_nothing(&ana);
    state.node.group("operators");
}

/// A group of the two, one of whose memberships has lost this row.
fn half_a_membership(lost: &str) -> (Damaged, String, [Person; 2]) {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    let state = Damaged { node: world.start(), world };
    let group = state.node.group("operators");
    let people = [state.node.provision("ana"), state.node.provision("ben")];
    state.node.join(&group, &[&people[0], &people[1]]);
    state.lose(&lost.replace("{g}", &group).replace("{u}", &people[0].id));
    (state, group, people)
}

#[test]
fn half_a_membership_is_removed() {
    let of_group = "m:{g}:{u}";
    let of_user = "ug:{u}:{g}";
    let (state, group, people) = half_a_membership(of_user);
    state.node.delete_group(&group);
    state.node.settle();
    people.iter().for_each(|person| state.world.assert_holds_nothing(person));
    assert_eq!(state.keys("i:"), Vec::<String>::new(), "the job ends");

    let (state, _, people) = half_a_membership(of_group);
    state.node.delete_user(&people[0]);
    state.node.settle();
    state.world.assert_holds_nothing(&people[0]);
    assert_eq!(state.keys("i:"), Vec::<String>::new(), "the job ends");

    for lost in [of_group, of_user] {
        let (state, group, people) = half_a_membership(lost);
        state.node.leave(&group, &[&people[0]]);
        state.node.settle();
        state.world.assert_holds_nothing(&people[0]);
        assert_eq!(state.node.members_of(&group), [people[1].id.clone()], "{lost}");
        assert_eq!(state.keys(&format!("ug:{}:", people[0].id)), Vec::<String>::new(), "{lost}");
    }
}

#[test]
fn a_commit_that_is_known_late_is_found_though_storage_is_busy_then() {
    let throttled = || Fault::Throttled { retry_after: Duration::from_secs(3) };
    // Its answer is lost, and the proof cannot be read at once.
    let state = Damaged::new();
    state.world.faults.inject(When::transact().key("u:"), Fault::AnswerLost);
    state.world.faults.inject(When::get().key("j:"), throttled());
    state.try_create(json!({"userName": "ana"})).unwrap();
    assert_eq!(state.total(), 1);

    // It lands between the proof, which is not there yet, and the second send, which is throttled.
    let state = Damaged::new();
    let faults = state.world.faults.clone();
    let late = faults.delay(When::transact().key("u:"));
    let second = faults.hold(When::transact().key("u:").nth(2), Side::Before);
    faults.inject(When::transact().key("u:").nth(2), throttled());
    let service = state.node.service.provisioning.clone();
    let created = state.node.spawn(async move {
        let all = Projection::all(ResourceType::User);
        service
            .create_user(&caller(), &user_input(&json!({"userName": "ana"})), &all)
            .await
            .map(|created| created.id)
    });
    state.node.run(async {
        second.reached().await;
        late.reached().await;
        late.release();
        late.reached().await;
        second.release();
    });
    let id = state.node.run(created).unwrap().unwrap();
    assert_eq!(state.keys("u:"), [format!("u:{id}")]);
}

/// A membership whose rows say that the member is of a kind that no release knows.
fn spoil_kind(world: &World, node: &Node, group: &str, member: &str) {
    for key in [format!("m:{group}:{member}"), format!("ug:{member}:{group}")] {
        let properties = RowFields::some().text("member", "robot").done();
        let write = TableWrite::Merge { key, properties, condition: EtagMatch::Any };
        node.run(world.faults.transact("default", &[write])).unwrap();
    }
}

/// A bound group with one member, Ana or a group that she is in, whose rows are spoilt.
struct SpoiltMember {
    world: World,
    node: Node,
    group: String,
    member: String,
    ana: Person,
}

impl SpoiltMember {
    fn new(through_a_group: bool) -> Self {
        let world = World::new().bind("operators", Operator, VAULT_EAST);
        let node = world.start();
        let (group, inner, ana) = (node.group("operators"), node.group("inner"), node.provision("ana"));
        node.join(&inner, &[&ana]);
        let member = if through_a_group { inner } else { ana.id.clone() };
        node.try_patch_group(&group, member_ids("add", &[&member])).unwrap();
        node.settle();
        spoil_kind(&world, &node, &group, &member);
        world.assert_holds(&ana, Operator, VAULT_EAST);
        Self { world, node, group, member, ana }
    }
}

#[test]
fn a_member_whose_row_is_damaged_is_shown_and_can_be_taken_out() {
    let remove = |member: &str| member_ids("remove", &[member]);
    let empty = |_: &str| json!({"op": "remove", "path": "members"});
    let replace = |_: &str| json!({"op": "replace", "path": "members", "value": []});
    let by_filter = |member: &str| json!({"op": "remove", "path": format!("members[value eq \"{member}\"]")});
    let ways: [&dyn Fn(&str) -> Value; 4] = [&remove, &empty, &replace, &by_filter];
    for (way, operation) in ways.into_iter().enumerate() {
        for through_a_group in [false, true] {
            let SpoiltMember { world, node, group, member, ana } = SpoiltMember::new(through_a_group);
            assert_eq!(node.members_of(&group), std::slice::from_ref(&member), "{way} {through_a_group}");
            node.try_patch_group(&group, operation(&member))
                .unwrap_or_else(|error| panic!("{way} {through_a_group}: {error:?}"));
            node.settle();
            assert_eq!(node.members_of(&group), Vec::<String>::new(), "{way} {through_a_group}");
            world.assert_holds_nothing(&ana);
        }
    }
}

#[test]
fn a_deleted_group_takes_the_role_of_a_member_whose_row_is_damaged() {
    for through_a_group in [false, true] {
        let SpoiltMember { world, node, group, ana, .. } = SpoiltMember::new(through_a_group);
        node.delete_group(&group);
        node.settle();
        world.assert_holds_nothing(&ana);
    }
}
