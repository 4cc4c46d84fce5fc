//! A request that takes access away is carried out whatever stands beside it: what cannot be is left out and recorded.
//! Where access depends on an attribute, a mistake in it refuses the request; and no mistake empties a group.

use crate::support::harness::{Node, PATCH_OP, Person, VAULT_EAST, World, binding, caller};
use crate::support::requests::{group_id, group_input, group_patch, user_id, user_input, user_patch};
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::scim::{ListQuery, Projection, ResourceType};
use azure_backup_scim::service::{RenderedResource, ResourceAnswer, ResourceListing, ServiceError};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const CUSTOM: &str = "urn:ietf:params:scim:schemas:extension:contoso:2.0:User";

/// What Azure holds, and a service with a group that gives a role.
struct Stage {
    world: World,
    node: Node,
    group: String,
}

impl Stage {
    fn new() -> Self {
        let world = World::new().bind("operators", Operator, VAULT_EAST);
        let node = world.start();
        let group = node.group("operators");
        Self { world, node, group }
    }

    /// With a binding that asks for a department.
    fn asking_for_a_department() -> Self {
        let world = World::new();
        let node = world.start();
        let mut one = binding(1, "operators", Operator, VAULT_EAST);
        one["where"] = json!(format!("{ENTERPRISE}:department eq \"Finance\""));
        node.adopt(&[one]);
        let group = node.group("operators");
        Self { world, node, group }
    }

    /// Somebody who holds the role.
    fn holder(&self, name: &str) -> Person {
        let person = self.node.provision(name);
        self.node
            .patch_user(&person.id, json!({"op": "add", "value": {ENTERPRISE: {"department": "Finance"}}}));
        self.node.join(&self.group, &[&person]);
        self.world.assert_holds(&person, Operator, VAULT_EAST);
        person
    }

    fn patch(&self, person: &Person, operations: Value) -> Result<Value, ServiceError> {
        let body = json!({"schemas": [PATCH_OP], "Operations": operations});
        let all = Projection::all(ResourceType::User);
        let provisioning = &self.node.service.provisioning;
        self.node
            .run(provisioning.patch_user(&caller(), user_id(&person.id), &user_patch(&body)?, &all))
            .map(|user| user.body)
    }

    fn put(&self, person: &Person, body: Value) -> Result<Value, ServiceError> {
        let all = Projection::all(ResourceType::User);
        let provisioning = &self.node.service.provisioning;
        self.node
            .run(provisioning.replace_user(&caller(), user_id(&person.id), &user_input(&body), &all))
            .map(|user| user.body)
    }

    fn patch_group(&self, operations: Value) -> Result<ResourceAnswer, ServiceError> {
        let body = json!({"schemas": [PATCH_OP], "Operations": operations});
        let all = Projection::all(ResourceType::Group);
        self.node.run(self.node.service.provisioning.patch_group(
            &caller(),
            group_id(&self.group),
            &group_patch(&body)?,
            &all,
        ))
    }

    fn put_group(&self, body: Value) -> Result<RenderedResource, ServiceError> {
        let all = Projection::all(ResourceType::Group);
        self.node.run(self.node.service.provisioning.replace_group(
            &caller(),
            group_id(&self.group),
            &group_input(&body),
            &all,
        ))
    }

    fn users(&self, filter: &str) -> Result<ResourceListing, ServiceError> {
        let pairs = [("filter".to_owned(), filter.to_owned())];
        let query = ListQuery::from_pairs(ResourceType::User, &pairs).map_err(ServiceError::from)?;
        self.node.run(self.node.service.provisioning.list(&caller(), &query))
    }

    fn groups(&self, filter: &str) -> Result<ResourceListing, ServiceError> {
        let pairs = [("filter".to_owned(), filter.to_owned())];
        let query = ListQuery::from_pairs(ResourceType::Group, &pairs).map_err(ServiceError::from)?;
        self.node.run(self.node.service.provisioning.list(&caller(), &query))
    }

    /// The names in the newest record of what was dropped.
    fn last_dropped(&self) -> Value {
        self.node.audit_of("attributes-dropped").pop().expect("a record")["attributes"].clone()
    }
}

#[track_caller]
fn refused<T>(result: Result<T, ServiceError>) -> (u16, &'static str) {
    match result.map(|_| ()).expect_err("refused") {
        ServiceError::Scim(error) | ServiceError::StorageLimit { error, .. } => {
            (error.status, error.scim_type.map_or("", |kind| kind.keyword()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_leaver_loses_the_role_whatever_stands_beside_it() {
    let stage = Stage::new();
    let off = || json!({"op": "Replace", "path": "active", "value": "False"});
    let requests = [
        (json!([off(), {"op": "add", "path": format!("{CUSTOM}:badge"), "value": 7}]), &CUSTOM[..55]),
        (json!([{"op": "replace", "path": "id", "value": "x"}, off()]), "id"),
        (json!([{"op": "add", "path": "title", "value": {"value": "Boss"}}, off()]), "title"),
        (json!([off(), {"op": "add", "path": "emails[type eq \"work\"", "value": "a@b"}]), "emails"),
        (json!([{"op": "replace", "value": {"active": false, "shoeSize": 44}}]), "shoeSize"),
        (json!([{"op": "replace", "value": {"active": false, ENTERPRISE: {"shoeSize": 44}}}]), "shoeSize"),
        (json!([{"op": "replace", "value": {"active": false, "userName": "a\u{200B}b"}}]), "userName"),
        (json!([{"op": "replace", "path": "externalId", "value": ["x"]}, off()]), "externalId"),
        (json!([off(), {"op": "replace", "value": "title"}]), "unnamed"),
        (json!([{"op": "remove"}, off()]), "unnamed"),
    ];
    for (number, (operations, dropped)) in requests.into_iter().enumerate() {
        let person = stage.holder(&format!("user{number}"));
        stage.patch(&person, operations.clone()).unwrap_or_else(|error| panic!("{operations}: {error}"));
        stage.world.assert_holds_nothing(&person);
        let name = stage.last_dropped()[0].as_str().unwrap().to_owned();
        assert!(name.starts_with(dropped) && name.chars().count() <= 64, "{name}");
    }
}

#[test]
fn a_put_that_ends_somebody_is_carried_out_whatever_stands_beside_it() {
    let stage = Stage::new();
    for (name, body) in [
        ("ana", json!({"userName": "ana", "active": "False", "title": {"x": 1}, CUSTOM: {"badge": 7}})),
        ("ben", json!({"userName": "b\u{AD}en", "externalId": {}, "active": false})),
        ("cleo", json!({"active": false})),
        (
            "dora",
            json!({"userName": "dora", "active": false, "addresses": [{"formatted": "1\n2"}], "emails": vec!["x"; 41]}),
        ),
    ] {
        let person = stage.holder(name);
        let answer = stage.put(&person, body).unwrap();
        assert_eq!((&answer["userName"], &answer["active"]), (&json!(name), &json!(false)));
        stage.world.assert_holds_nothing(&person);
    }

    // What does not name `active` brings nobody back.
    let person = stage.holder("eve");
    stage.put(&person, json!({"userName": "eve", "active": false, "shoeSize": 44})).unwrap();
    let answer = stage.put(&person, json!({"userName": "eve", "shoeSize": 44})).unwrap();
    assert_eq!(answer["active"], json!(false));
    stage.world.assert_holds_nothing(&person);
}

#[test]
fn a_name_that_is_another_s_or_text_that_does_not_fit_keeps_nobody_in() {
    let stage = Stage::new();
    let (ana, ben) = (stage.holder("ana"), stage.holder("ben"));
    let rename = json!([{"op": "replace", "value": {"userName": "BEN", "nickName": "A", "active": false}}]);
    let answer = stage.patch(&ana, rename.clone()).unwrap();
    assert_eq!((&answer["userName"], &answer["nickName"]), (&json!("ana"), &json!("A")));
    stage.world.assert_holds_nothing(&ana);
    assert_eq!(stage.last_dropped(), json!(["userName"]));
    stage.patch(&ana, rename).expect("the same request again is as good");

    let large = "x".repeat(600 * 1024);
    stage.patch(&ben, json!([{"op": "replace", "path": "title", "value": large}])).unwrap();
    let more = json!([{"op": "replace", "value": {"nickName": large, "active": "False"}}]);
    stage.patch(&ben, more).unwrap();
    stage.world.assert_holds_nothing(&ben);
    assert_eq!(stage.last_dropped(), json!(["nickName"]));

    // Beside nothing that takes access away, both are refused as before.
    let cleo = stage.holder("cleo");
    assert_eq!(refused(stage.put(&cleo, json!({"userName": "BEN", "active": true}))), (409, "uniqueness"));
    stage.patch(&cleo, json!([{"op": "replace", "path": "title", "value": large}])).unwrap();
    let more = json!([{"op": "replace", "value": {"nickName": large}}]);
    assert_eq!(refused(stage.patch(&cleo, more)).0, 413);
    stage.world.assert_holds(&cleo, Operator, VAULT_EAST);
}

#[test]
fn what_a_condition_reads_is_strict_and_what_none_reads_is_not() {
    let stage = Stage::asking_for_a_department();
    let ana = stage.holder("ana");
    for value in [json!({"x": 1}), json!(5), json!("Sales\n"), json!(["Sales", "Finance"])] {
        let operations = json!([
            {"op": "replace", "path": "title", "value": "Boss"},
            {"op": "replace", "path": format!("{ENTERPRISE}:department"), "value": value},
        ]);
        assert_eq!(refused(stage.patch(&ana, operations)), (400, "invalidValue"));
        let body = json!({"userName": "ana", "title": "Boss", "department": value});
        assert_eq!(refused(stage.put(&ana, body)), (400, "invalidValue"));
    }
    let operations = json!([
        {"op": "replace", "path": "title", "value": "Boss"},
        {"op": "replace", "path": format!("{ENTERPRISE}:division"), "value": {"x": 1}},
    ]);
    assert_eq!(stage.patch(&ana, operations).unwrap()["title"], "Boss");
    assert_eq!(stage.last_dropped(), json!(["division"]));

    // Bindings that do not read it let it be dropped.
    stage.node.adopt(&[binding(1, "operators", Operator, VAULT_EAST)]);
    let operations = json!([
        {"op": "replace", "path": "title", "value": "Chief"},
        {"op": "replace", "path": format!("{ENTERPRISE}:department"), "value": {"x": 1}},
    ]);
    assert_eq!(stage.patch(&ana, operations).unwrap()[ENTERPRISE]["department"], "Finance");
    assert_eq!(stage.last_dropped(), json!(["department"]));
}

#[test]
fn nothing_is_recorded_where_nothing_changes_and_a_mapping_of_others_succeeds() {
    let stage = Stage::new();
    let ana = stage.holder("ana");
    let before = stage.node.audit().len();
    stage.patch(&ana, json!([{"op": "add", "path": format!("{CUSTOM}:badge"), "value": 7}])).unwrap();
    stage.patch(&ana, json!([{"op": "add", "value": {CUSTOM: {"badge": 7}}}])).unwrap();
    assert_eq!(stage.node.audit().len(), before);
    let unknown = json!([{"op": "add", "path": "shoeSize", "value": 44}]);
    assert_eq!(refused(stage.patch(&ana, unknown)), (400, "invalidPath"));
    let read_only = json!([{"op": "replace", "path": "meta.created", "value": "x"}]);
    assert_eq!(refused(stage.patch(&ana, read_only)), (400, "mutability"));
    stage.world.assert_holds(&ana, Operator, VAULT_EAST);
}

/// What was logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What this thread logs meanwhile, as text.
pub fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn one_line_of_the_log_names_what_was_dropped_and_no_value() {
    let stage = Stage::new();
    let ana = stage.holder("ana");
    let operations = json!([
        {"op": "replace", "value": {"title": "Boss", "shoeSize": "secret"}},
        {"op": "add", "path": "emails[value eq \"secret@contoso.example\"].colour", "value": "secret"},
    ]);
    let text = logged(|| drop(stage.patch(&ana, operations).unwrap()));
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("dropped")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(
        lines[0].contains("emails (unusable-value), shoeSize (unknown-attribute)")
            && lines[0].contains(&ana.id),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn no_mistake_empties_a_group() {
    let stage = Stage::new();
    let ana = stage.holder("ana");
    let wrong = [
        json!(""),
        json!("x"),
        json!(0),
        json!(false),
        json!([""]),
        json!([{}]),
        json!({}),
        json!([null]),
        json!([[]]),
    ];
    for value in wrong {
        for operation in [
            json!({"op": "replace", "path": "members", "value": value}),
            json!({"op": "replace", "value": {"members": value}}),
            json!({"op": "remove", "path": "members", "value": value}),
        ] {
            assert_eq!(refused(stage.patch_group(json!([operation]))), (400, "invalidValue"), "{operation}");
        }
        let body = json!({"displayName": "operators", "externalId": "operators", "members": value});
        assert_eq!(refused(stage.put_group(body)), (400, "invalidValue"), "{value}");
    }
    let kim = json!([{"op": "remove", "path": "members[display eq \"Kim\"]"}]);
    assert_eq!(refused(stage.patch_group(kim)), (400, "invalidFilter"));
    let kim = json!([{"op": "remove", "path": "members", "value": [{"display": "Kim"}]}]);
    assert_eq!(refused(stage.patch_group(kim)), (400, "invalidValue"));
    stage.world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(stage.node.members_of(&stage.group), [ana.id]);
}

#[test]
fn a_member_without_an_id_is_dropped_like_one_who_does_not_exist() {
    let stage = Stage::new();
    let (ana, ben) = (stage.holder("ana"), stage.node.provision("ben"));
    let added =
        json!([{"op": "add", "path": "members", "value": [{"display": "Kim"}, 5, {"value": ben.id}]}]);
    stage.patch_group(added).unwrap();
    stage.world.assert_holds(&ben, Operator, VAULT_EAST);
    assert_eq!(stage.node.audit_of("member-dropped").pop().unwrap()["member"], "not-an-id");
    let kept = json!({"displayName": "operators", "externalId": "operators", "members": [{"display": "Kim"}, {"value": ana.id}]});
    stage.put_group(kept).unwrap();
    stage.world.assert_holds_nothing(&ben);
    stage.world.assert_holds(&ana, Operator, VAULT_EAST);
}

#[test]
fn a_member_can_be_replaced_by_nobody_else() {
    let stage = Stage::new();
    let (ana, ben) = (stage.holder("ana"), stage.node.provision("ben"));
    let replace = |who: &Person, by: &Person| {
        let path = format!("members[value eq \"{}\"]", who.id.to_uppercase());
        stage.patch_group(json!([{"op": "replace", "path": path, "value": {"value": by.id}}]))
    };
    assert_eq!(refused(replace(&ben, &ana)), (400, "noTarget"));
    assert_eq!(refused(replace(&ben, &ben)), (400, "noTarget"));
    assert_eq!(refused(replace(&ana, &ben)), (400, "mutability"));
    replace(&ana, &ana).unwrap();
    let of_type = |kind: &str| {
        let path = format!("members[type eq \"{kind}\"]");
        stage.patch_group(json!([{"op": "replace", "path": path, "value": {"value": ben.id}}]))
    };
    assert_eq!(refused(of_type("Group")), (400, "noTarget"));
    assert_eq!(refused(of_type("User")), (400, "mutability"));
    let value = format!("members[value eq \"{}\"].value", ben.id);
    let operations = json!([{"op": "replace", "path": value, "value": ana.id}]);
    assert_eq!(refused(stage.patch_group(operations)), (400, "noTarget"));
    let path = format!("members[value eq \"{}\"]", ben.id);
    stage
        .patch_group(json!([{"op": "add", "path": path, "value": {"value": ben.id.to_uppercase()}}]))
        .unwrap();
    stage.world.assert_holds(&ben, Operator, VAULT_EAST);
}

#[test]
fn a_replacement_that_is_none_is_dropped_beside_a_removal_and_recorded() {
    let stage = Stage::new();
    let (ana, ben) = (stage.holder("ana"), stage.holder("ben"));
    let replace = json!({
        "op": "replace", "path": format!("members[value eq \"{}\"]", ben.id), "value": {"value": ana.id},
    });
    let remove = json!({"op": "remove", "path": format!("members[value eq \"{}\"]", ana.id)});
    stage.patch_group(json!([replace, remove])).unwrap();
    stage.world.assert_holds_nothing(&ana);
    stage.world.assert_holds(&ben, Operator, VAULT_EAST);
    assert_eq!(stage.last_dropped(), json!(["members"]));
}

#[test]
fn who_is_removed_is_gone_whatever_is_wrong_with_the_name_of_the_group() {
    let stage = Stage::new();
    let (ana, ben, cleo) = (stage.holder("ana"), stage.holder("ben"), stage.holder("cleo"));
    let other = stage.node.group("other");
    stage
        .patch_group(json!([
            {"op": "replace", "path": "displayName", "value": ["x"]},
            {"op": "remove", "path": "members", "value": [{"value": ana.id.to_uppercase()}]},
        ]))
        .unwrap();
    stage.world.assert_holds_nothing(&ana);
    assert_eq!(stage.last_dropped(), json!(["displayName"]));

    // What no group has, and what nobody may write.
    let dora = stage.holder("dora");
    stage
        .patch_group(json!([
            {"op": "add", "path": format!("{CUSTOM}:owner"), "value": "x"},
            {"op": "replace", "value": {"id": "x", "colour": "red"}},
            {"op": "remove", "path": "meta.created"},
            {"op": "remove", "path": format!("members[value eq \"{}\"]", dora.id)},
        ]))
        .unwrap();
    stage.world.assert_holds_nothing(&dora);
    let beside = json!([
        "colour",
        "meta.created",
        CUSTOM.chars().chain(":owner".chars()).take(64).collect::<String>()
    ]);
    assert_eq!(stage.last_dropped(), beside);

    // A name that is another group's.
    let body = json!({"displayName": "OTHER", "externalId": "operators", "members": [{"value": cleo.id}]});
    let answer = stage.put_group(body.clone()).unwrap();
    assert_eq!(answer.body["displayName"], "operators");
    stage.world.assert_holds_nothing(&ben);
    stage.world.assert_holds(&cleo, Operator, VAULT_EAST);

    // The same when nobody is removed: the name is what the request is about.
    assert_eq!(refused(stage.put_group(body)), (409, "uniqueness"));
    let body = json!({"displayName": ["x"], "externalId": "operators", "members": [{"value": cleo.id}]});
    assert_eq!(refused(stage.put_group(body)), (400, "invalidValue"));
    let operations = json!([{"op": "replace", "value": {"displayName": 5, "members": []}}]);
    stage.patch_group(operations).unwrap();
    stage.world.assert_holds_nothing(&cleo);
    assert_eq!(stage.groups("displayName eq \"operators\"").unwrap().total, 1);
    stage.node.delete_group(&other);
}

#[test]
fn who_is_removed_is_gone_whatever_another_operation_on_the_members_says() {
    let stage = Stage::new();
    let (stays, kim) = (stage.holder("stays"), stage.node.provision("kim"));
    let mistakes = [
        json!({"op": "add", "path": "members", "value": ""}),
        json!({"op": "add", "value": {"members": true}}),
        json!({"op": "replace", "path": "members", "value": "x"}),
        json!({"op": "replace", "path": format!("members[value eq \"{}\"].display", stays.id), "value": "x"}),
        json!({"op": "add", "path": "members[type eq \"User\"]", "value": {"value": kim.id}}),
    ];
    for (number, mistake) in mistakes.into_iter().enumerate() {
        let person = stage.holder(&format!("user{number}"));
        let removal = json!({"op": "remove", "path": format!("members[value eq \"{}\"]", person.id)});
        stage.patch_group(json!([mistake, removal])).unwrap_or_else(|error| panic!("{mistake}: {error}"));
        stage.world.assert_holds_nothing(&person);
        assert_eq!(stage.last_dropped(), json!(["members"]), "{mistake}");

        // Beside a member who is added it refuses the whole.
        let joins = json!({"op": "add", "path": "members", "value": [{"value": kim.id}]});
        assert_eq!(refused(stage.patch_group(json!([joins, mistake]))).0, 400, "{mistake}");
    }
    assert_eq!(stage.node.members_of(&stage.group), std::slice::from_ref(&stays.id));
    stage.world.assert_holds(&stays, Operator, VAULT_EAST);
}

#[test]
fn ids_are_found_in_any_case() {
    let stage = Stage::new();
    let ana = stage.holder("ana");
    let (user, group) = (ana.id.to_uppercase(), stage.group.to_uppercase());
    for filter in [
        format!("id eq \"{user}\""),
        format!("groups.value eq \"{group}\""),
        format!("groups[value eq \"{group}\"]"),
    ] {
        assert_eq!(stage.users(&filter).unwrap().total, 1, "{filter}");
    }
    for filter in [
        format!("id eq \"{group}\""),
        format!("members.value eq \"{user}\""),
        format!("members eq \"{user}\""),
    ] {
        assert_eq!(stage.groups(&filter).unwrap().total, 1, "{filter}");
    }
    assert_eq!(stage.users(&format!("id ne \"{user}\"")).unwrap().total, 0);
    assert_eq!(refused(stage.users(" ")), (400, "invalidFilter"));
    assert_eq!(refused(stage.groups("members.display eq \"Kim\"")), (400, "invalidFilter"));
}
