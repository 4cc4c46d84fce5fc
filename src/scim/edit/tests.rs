//! What is dropped, what is refused, and what is carried out whatever else the request asks for.

use crate::scim::assignment::DROPPED_MAX;
use crate::scim::edit::*;
use crate::scim::error::ScimType;
use crate::scim::filter::Filter;
use crate::scim::group::EditedGroup;
use crate::scim::patch::PatchRequest;
use crate::scim::urn::{BACKUP_USER, ENTERPRISE_USER, USER};
use crate::scim::{GroupInput, UserInput};
use ResourceType::{Group, User};
use serde_json::json;

fn create_user(body: &Value, deciding: &DecidingAttributes) -> Result<EditedResource, Error> {
    UserInput::parse(body)?.create(deciding)
}

fn replace_user(
    body: &Value,
    current: &Resource,
    deciding: &DecidingAttributes,
) -> Result<EditedResource, Error> {
    UserInput::parse(body)?.replace(current, deciding)
}

fn create_group(body: &Value, deciding: &DecidingAttributes) -> Result<EditedGroup, Error> {
    GroupInput::parse(body)?.create(deciding)
}

fn replace_group(
    body: &Value,
    current: &Resource,
    deciding: &DecidingAttributes,
) -> Result<EditedGroup, Error> {
    GroupInput::parse(body)?.replace(current, deciding)
}

fn stored(kind: ResourceType, attributes: Value) -> Resource {
    Resource::from_stored(kind, attributes.as_object().unwrap().clone())
}

fn ana() -> Resource {
    stored(
        User,
        json!({"userName": "ana", "externalId": "e1", "active": true, "title": "T",
        ENTERPRISE_USER: {"department": "Finance", "manager": {"value": "m1", "$ref": "https://x/m1"}}}),
    )
}

fn ops() -> Resource {
    stored(Group, json!({"displayName": "Ops", "externalId": "g1"}))
}

/// The active bindings ask for the department and the addresses.
fn conditions() -> DecidingAttributes {
    let filter = Filter::parse(User, "department eq \"Finance\" and emails.value pr").unwrap();
    DecidingAttributes::of([&filter])
}

fn patched(
    before: &Resource,
    operations: Value,
    deciding: &DecidingAttributes,
) -> Result<EditedResource, Error> {
    PatchRequest::parse(before.kind(), &json!({"Operations": operations}))?.apply(before, deciding)
}

/// The attributes that differ from `before`, and what was dropped.
#[track_caller]
fn check(before: &Resource, edited: Result<EditedResource, Error>, after: Value, dropped: &[&str]) {
    let edited = edited.unwrap();
    let changed: JsonObject = edited
        .resource
        .attributes()
        .iter()
        .filter(|(name, value)| before.attributes().get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    assert_eq!(
        (Value::Object(changed), edited.dropped.names()),
        (after, dropped.iter().map(|n| (*n).to_owned()).collect())
    );
}

#[track_caller]
fn patches(operations: Value, after: Value, dropped: &[&str]) {
    check(&ana(), patched(&ana(), operations, &DecidingAttributes::default()), after, dropped);
}

#[track_caller]
fn refuses(operations: Value, scim_type: ScimType) {
    let error = patched(&ana(), operations.clone(), &conditions()).unwrap_err();
    assert_eq!((error.status, error.scim_type), (400, Some(scim_type)), "{operations}: {error}");
}

fn leaving() -> Value {
    json!({"op": "Replace", "path": "active", "value": "False"})
}

#[test]
fn what_cannot_be_carried_out_is_dropped_and_the_rest_is_applied() {
    let inactive = || json!({"active": false});
    for (beside, dropped) in [
        (
            json!({"op": "add", "path": "urn:contoso:2.0:User:badge", "value": 7}),
            "urn:contoso:2.0:User:badge",
        ),
        (json!({"op": "add", "path": "shoeSize", "value": 44}), "shoeSize"),
        (json!({"op": "add", "path": "emails[type eq \"work\"", "value": "a@b"}), "emails"),
        (json!({"op": "add", "path": "emails[type sw \"w\"].value", "value": "a@b"}), "emails.value"),
        (json!({"op": "replace", "path": "id", "value": "x"}), "id"),
        (json!({"op": "remove", "path": "groups"}), "groups"),
        (json!({"op": "replace", "path": "title", "value": {"value": "x"}}), "title"),
        (json!({"op": "replace", "path": "name", "value": "Ana"}), "name"),
        (json!({"op": "add", "path": "emails", "value": vec!["x"; 41]}), "emails"),
        (json!({"op": "add", "path": "phoneNumbers", "value": [{"value": {}}]}), "phoneNumbers"),
        (json!({"op": "replace", "path": "photos.primary", "value": "perhaps"}), "photos.primary"),
        (json!({"op": "replace", "path": ENTERPRISE_USER, "value": "x"}), ENTERPRISE_USER),
        (json!({"op": "replace", "value": {"shoeSize": 44}}), "shoeSize"),
        (json!({"op": "replace", "value": {ENTERPRISE_USER: {"shoeSize": 44}}}), "shoeSize"),
        (json!({"op": "remove", "path": USER}), USER),
    ] {
        patches(json!([leaving(), beside]), inactive(), &[dropped]);
        patches(json!([beside, leaving()]), inactive(), &[dropped]);
    }
    patches(
        json!([{"op": "replace", "value": {"active": false, "title": ["a", "b"], "urn:x:User": {"a": 1}, "nickName": "N"}}]),
        json!({"active": false, "nickName": "N"}),
        &["title", "urn:x:User"],
    );
}

#[test]
fn an_operation_that_fails_halfway_leaves_no_trace() {
    let operations = json!([
        {"op": "add", "path": "emails", "value": [{"value": "a", "primary": true}]},
        {"op": "add", "path": "emails", "value": [{"value": "b", "primary": true}, {"value": "c", "primary": true}]},
        {"op": "replace", "path": "emails", "value": [{"value": {}}]},
        {"op": "replace", "path": "emails[value sw \"z\"]", "value": {"value": "d"}},
        {"op": "replace", "path": "name", "value": {"givenName": "G"}},
        {"op": "replace", "path": "name", "value": {"familyName": "F", "givenName": {}}},
    ]);
    let emails = json!([{"value": "a", "primary": true}]);
    patches(operations, json!({"emails": emails, "name": {"givenName": "G"}}), &["emails", "name"]);
}

#[test]
fn a_patch_of_which_nothing_is_left_is_refused() {
    refuses(json!([{"op": "replace", "path": "id", "value": "x"}]), ScimType::Mutability);
    refuses(json!([{"op": "add", "path": "shoeSize", "value": 1}]), ScimType::InvalidPath);
    refuses(json!([{"op": "add", "value": {"shoeSize": 1}}]), ScimType::InvalidPath);
    refuses(
        json!([{"op": "add", "path": "title", "value": {}}, {"op": "add", "path": "id", "value": "x"}]),
        ScimType::InvalidValue,
    );
    let foreign = json!({"op": "add", "path": "urn:contoso:2.0:User:badge", "value": 7});
    refuses(json!([foreign, {"op": "add", "path": "shoeSize", "value": 1}]), ScimType::InvalidPath);
}

#[test]
fn what_is_all_under_a_schema_that_is_not_ours_changes_nothing() {
    let badge = "urn:contoso:2.0:User:badge";
    patches(json!([{"op": "add", "path": badge, "value": 7}]), json!({}), &[badge]);
    patches(json!([{"op": "add", "value": {badge: 7}}]), json!({}), &[badge]);
    patches(json!([{"op": "remove", "path": format!("{badge}[type eq \"x\"]")}]), json!({}), &[badge]);
    patches(
        json!([{"op": "add", "value": {"urn:contoso:2.0:User": {"active": true}}}]),
        json!({}),
        &["urn:contoso:2.0:User"],
    );
    patches(json!([]), json!({}), &[]);
    patches(json!([{"op": "add", "value": {}}]), json!({}), &[]);
    patches(json!([{"op": "add", "value": {"id": "x", "schemas": []}}]), json!({}), &[]);
}

#[test]
fn broken_messages_are_refused_whatever_else_they_hold() {
    refuses(json!([leaving(), {"op": "move", "path": "title"}]), ScimType::InvalidSyntax);
    refuses(json!([leaving(), {"path": "title", "value": "x"}]), ScimType::InvalidSyntax);
    refuses(json!([leaving(), {"op": "add", "path": "title"}]), ScimType::InvalidValue);
    refuses(json!([leaving(), "x"]), ScimType::InvalidSyntax);
}

#[test]
fn a_mistake_in_what_decides_refuses_the_rest() {
    let title = || json!({"op": "replace", "path": "title", "value": "Boss"});
    let replace =
        |path: &str, value: Value| json!([title(), {"op": "replace", "path": path, "value": value}]);
    refuses(replace("userName", json!(12345)), ScimType::InvalidValue);
    refuses(replace("userName", json!("an\u{AD}a")), ScimType::InvalidValue);
    refuses(replace("externalId", json!(["x"])), ScimType::InvalidValue);
    refuses(replace("externalId", json!("e\t1")), ScimType::InvalidValue);
    // What is left of them is not what was sent.
    refuses(replace("externalId", json!(1e23)), ScimType::InvalidValue);
    refuses(replace("externalId", json!(1.5)), ScimType::InvalidValue);
    refuses(replace("userType", json!({})), ScimType::InvalidValue);
    refuses(replace("active", json!("maybe")), ScimType::InvalidValue);
    refuses(replace("active", json!([])), ScimType::InvalidValue);
    refuses(replace("active.value", json!(false)), ScimType::InvalidPath);
    refuses(replace("userName[value eq \"x\"]", json!("x")), ScimType::InvalidPath);
    refuses(replace(&format!("{USER}.active"), json!(false)), ScimType::InvalidPath);
    refuses(replace(&format!("{BACKUP_USER}:entraObjectId"), json!("1234")), ScimType::InvalidValue);
    refuses(replace(BACKUP_USER, json!("x")), ScimType::InvalidValue);
    refuses(replace("department", json!("Fin\nance")), ScimType::InvalidValue);
    refuses(replace("department", json!(5)), ScimType::InvalidValue);
    refuses(replace("emails[type eq \"work\"", json!("x")), ScimType::InvalidFilter);
    refuses(replace(ENTERPRISE_USER, json!("x")), ScimType::InvalidValue);
    refuses(json!([title(), {"op": "replace", "value": {"userName": null}}]), ScimType::InvalidValue);
    refuses(json!([title(), {"op": "remove", "path": "userName"}]), ScimType::Mutability);
}

#[test]
fn what_no_condition_reads_does_not_decide() {
    patches(
        json!([leaving(), {"op": "replace", "path": "department", "value": {}}]),
        json!({"active": false}),
        &["department"],
    );
    let enterprise = json!({"department": "Fin ance", "manager": {"value": "m1", "$ref": "https://x/m1"}});
    patches(
        json!([{"op": "replace", "path": "department", "value": "Fin\nance"}]),
        json!({ENTERPRISE_USER: enterprise}),
        &[],
    );
}

#[test]
fn a_value_that_is_stored_already_is_accepted() {
    let legacy = stored(
        User,
        json!({"userName": "an\u{AD}a", "active": true, ENTERPRISE_USER: {"department": "a b"},
        "emails": [{"value": "5"}]}),
    );
    let same = |operation: Value| {
        check(&legacy, patched(&legacy, json!([operation]), &conditions()), json!({}), &[]);
    };
    same(json!({"op": "replace", "path": "userName", "value": "an\u{AD}a"}));
    same(json!({"op": "replace", "path": "department", "value": "a\tb"}));
    same(json!({"op": "add", "path": "emails", "value": [{"value": 5}]}));
    let body = json!({"userName": "an\u{AD}a", "title": "T", "emails": [{"value": 5}], "department": "a\nb"});
    check(&legacy, replace_user(&body, &legacy, &conditions()), json!({"title": "T"}), &[]);
    let body = json!({"userName": "an\u{AD}b"});
    assert_eq!(replace_user(&body, &legacy, &conditions()).unwrap_err().status, 400);
    assert_eq!(
        create_user(&json!({"userName": "an\u{AD}a"}), &DecidingAttributes::default()).unwrap_err().status,
        400
    );
}

#[test]
fn who_leaves_is_not_kept_by_a_mistake_in_what_decides() {
    let inactive = || json!({"active": false});
    for (path, value) in [
        ("userName", json!("an\u{200B}a")),
        ("userName", json!("")),
        ("externalId", json!({})),
        ("userType", json!(7)),
        ("entraObjectId", json!("1234")),
        ("department", json!("a\nb")),
        ("userName.x", json!("a")),
    ] {
        let operation = json!({"op": "replace", "path": path, "value": value});
        let edited = patched(&ana(), json!([operation, leaving()]), &conditions());
        check(&ana(), edited, inactive(), &[path]);
    }
    let path_less =
        json!([{"op": "replace", "value": {"active": "false", "userName": null, "externalId": []}}]);
    patches(path_less, inactive(), &["externalId", "userName"]);
    refuses(
        json!([leaving(), {"op": "replace", "path": "active", "value": "maybe"}]),
        ScimType::InvalidValue,
    );
    let back = json!({"op": "replace", "path": "active", "value": true});
    refuses(
        json!([leaving(), {"op": "replace", "path": "userName", "value": 5}, back]),
        ScimType::InvalidValue,
    );
}

#[test]
fn a_put_keeps_what_it_names_and_cannot_read() {
    let put = |body: Value| replace_user(&body, &ana(), &conditions());
    let kept = |edited: Result<EditedResource, Error>, name: &str| {
        assert_eq!(edited.unwrap().resource.attributes().get(name), ana().attributes().get(name), "{name}");
    };
    let body = || json!({"userName": "ana", "externalId": "e1", "title": {"x": 1}, "nickName": "N"});
    kept(put(body()), "title");
    kept(put(body()), "active");
    let leaves = json!({"userName": "a\u{200B}", "externalId": ["e"], "active": false, "department": {}});
    let edited = put(leaves).unwrap();
    let expected = json!({"userName": "ana", "externalId": "e1", "active": false, ENTERPRISE_USER: {"department": "Finance"}});
    assert_eq!(Value::Object(edited.resource.attributes().clone()), expected);
    assert_eq!(edited.dropped.names(), ["department", "externalId", "userName"]);
    let edited = put(json!({"active": "False"})).unwrap();
    assert_eq!(
        (edited.resource.text("userName"), edited.dropped.names()),
        (Some("ana"), vec!["userName".to_owned()])
    );
    for refused in
        [json!({"title": "x"}), json!({"userName": "ana", "active": "maybe"}), json!({"userName": 5})]
    {
        assert_eq!(put(refused.clone()).unwrap_err().scim_type, Some(ScimType::InvalidValue), "{refused}");
    }
}

#[test]
fn a_record_without_a_name_can_still_be_ended() {
    let nameless = stored(User, json!({"active": true}));
    check(
        &nameless,
        patched(&nameless, json!([leaving()]), &DecidingAttributes::default()),
        json!({"active": false}),
        &["userName"],
    );
    let title = json!([{"op": "add", "path": "title", "value": "T"}]);
    assert!(patched(&nameless, title, &DecidingAttributes::default()).is_err());
}

#[test]
fn a_mistake_in_a_group_waits_for_who_is_removed() {
    let body = json!({"displayName": ["x"], "externalId": "g1", "members": [{"value": "u1"}]});
    let EditedGroup { edited, .. } = replace_group(&body, &ops(), &DecidingAttributes::default()).unwrap();
    assert_eq!(edited.clone().unless_refused(false).unwrap_err().scim_type, Some(ScimType::InvalidValue));
    check(&ops(), edited.unless_refused(true), json!({}), &["displayName"]);
    let EditedGroup { edited, .. } =
        replace_group(&json!({"members": []}), &ops(), &DecidingAttributes::default()).unwrap();
    assert!(edited.clone().unless_refused(false).is_err());
    assert_eq!(edited.unless_refused(true).unwrap().resource.text("displayName"), Some("Ops"));
    let operations = json!([
        {"op": "replace", "path": "displayName", "value": 5},
        {"op": "remove", "path": "members", "value": [{"value": "u1"}]},
    ]);
    let edited = patched(&ops(), operations, &DecidingAttributes::default()).unwrap();
    assert!(edited.clone().unless_refused(false).is_err());
    check(&ops(), edited.unless_refused(true), json!({}), &["displayName"]);
    assert!(create_group(&body, &DecidingAttributes::default()).is_err());
}

#[test]
fn the_address_of_a_manager_comes_and_goes_with_its_value() {
    let manager = |edited: Result<EditedResource, Error>| {
        edited.unwrap().resource.attributes()[ENTERPRISE_USER]["manager"].clone()
    };
    let patch = |operations: Value| manager(patched(&ana(), operations, &DecidingAttributes::default()));
    let both = || json!({"value": "m2", "$ref": "https://x/m2"});
    assert_eq!(patch(json!([{"op": "replace", "path": "manager", "value": both()}])), both());
    let dotted = json!({"manager.$ref": "https://x/m2", "manager.value": "m2"});
    assert_eq!(patch(json!([{"op": "replace", "value": {ENTERPRISE_USER: dotted}}])), both());
    let in_turn = json!([
        {"op": "replace", "path": "manager.$ref", "value": "https://x/m2"},
        {"op": "replace", "path": "manager.value", "value": "m2"},
    ]);
    assert_eq!(patch(in_turn), both());
    assert_eq!(patch(json!([{"op": "replace", "path": "manager", "value": "m2"}])), json!({"value": "m2"}));
    assert_eq!(
        patch(json!([{"op": "replace", "path": "manager.value", "value": "m2"}])),
        json!({"value": "m2"})
    );
    // A manager of whom nothing is left is none.
    let gone =
        patched(&ana(), json!([{"op": "remove", "path": "manager.value"}]), &DecidingAttributes::default());
    assert_eq!(gone.unwrap().resource.attributes()[ENTERPRISE_USER], json!({"department": "Finance"}));
    let same = json!([{"op": "replace", "path": "manager", "value": {"value": "m1"}}]);
    assert_eq!(patch(same), json!({"value": "m1", "$ref": "https://x/m1"}));
    let body = json!({"userName": "ana", ENTERPRISE_USER: {"manager": both()}});
    assert_eq!(manager(create_user(&body, &DecidingAttributes::default())), both());
    assert_eq!(manager(replace_user(&body, &ana(), &DecidingAttributes::default())), both());
}

#[test]
fn an_attribute_that_cannot_be_written_can_stay_as_it_was() {
    let operations = json!([leaving(), {"op": "replace", "path": "userName", "value": "bob"},
        {"op": "remove", "path": "department"}, {"op": "add", "path": "nickName", "value": "N"}]);
    let edited = patched(&ana(), operations, &DecidingAttributes::default()).unwrap();
    let mut name = edited.clone();
    name.keep_current(&ana(), DropReason::Taken, |name| name == "userName");
    assert_eq!((name.resource.text("userName"), name.resource.text("nickName")), (Some("ana"), Some("N")));
    assert_eq!(name.dropped.names(), ["userName"]);
    let mut all = edited;
    all.keep_current(&ana(), DropReason::TooLarge, |name| name != "active");
    check(&ana(), Ok(all), json!({"active": false}), &["department", "nickName", "userName"]);
}

#[test]
fn a_record_of_what_was_dropped_is_bounded() {
    let mut body: JsonObject = (0..500).map(|n| (format!("x{n}{}", "y".repeat(100)), json!(n))).collect();
    body.insert("userName".to_owned(), json!("ana"));
    let edited = create_user(&Value::Object(body), &DecidingAttributes::default()).unwrap();
    assert_eq!(edited.dropped.names().len(), DROPPED_MAX);
    assert!(edited.dropped.names().iter().all(|name| name.chars().count() == 64));
}

/// Numbers that look random and are the same every time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.roll(list.len())]
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.roll(if depth == 0 { 6 } else { 8 }) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 => json!(self.roll(1000)),
            3 => json!(""),
            4 => json!("a\u{0}b\u{AD}\r\n\t"),
            5 => json!("plain"),
            6 => (0..self.roll(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let names = ["value", "type", "primary", "$ref", "formatted", "active", "x"];
                let members =
                    (0..self.roll(4)).map(|_| ((*self.of(&names)).to_owned(), self.value(depth - 1)));
                Value::Object(members.collect())
            }
        }
    }

    fn name(&mut self) -> String {
        let names = [
            "title",
            "name",
            "name.givenName",
            "emails",
            "emails[type eq \"work\"].value",
            "addresses",
            "roles",
            "manager",
            "photos.value",
            "x509Certificates",
            "ims[",
            "id",
            "meta",
            "groups",
            "schemas",
            "password",
            "shoeSize",
            "..",
            "",
            "urn:contoso:2.0:User",
            "urn:contoso:2.0:User:badge",
            ENTERPRISE_USER,
            "department.x",
            "userName",
            "externalId",
            "userType",
            "entraObjectId",
            BACKUP_USER,
            "userName[",
            "members",
            "active ",
            "name.x.y",
            "grants",
            "locale",
        ];
        (*self.of(&names)).to_owned()
    }
}

/// In every dialect, with anything beside it: a user who is set inactive is inactive, and none becomes active unasked.
#[test]
fn nothing_beside_it_keeps_a_leaver_in() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for round in 0..3000 {
        let junk: Vec<(String, Value)> = (0..dice.roll(6)).map(|_| (dice.name(), dice.value(3))).collect();
        let about_activity = |name: &str| name.trim() == "active";
        let junk: Vec<_> = junk.into_iter().filter(|(name, _)| !about_activity(name)).collect();
        let off = dice.of(&[json!(false), json!("False"), json!("false")]).clone();
        let mut body: JsonObject = junk.iter().cloned().collect();
        body.insert("active".to_owned(), off.clone());
        let mut operations: Vec<Value> = junk
            .iter()
            .map(|(name, value)| match name.trim() {
                "" => json!({"op": "add", "value": {}}),
                name => json!({"op": *dice.of(&["add", "Replace", "remove"]), "path": name, "value": value}),
            })
            .collect();
        let at = dice.roll(operations.len() + 1);
        operations.insert(at, json!({"op": "replace", "path": "active", "value": off}));
        let put = replace_user(&Value::Object(body.clone()), &ana(), &conditions());
        let path_less = json!([{"op": "replace", "value": body.clone()}]);
        for edited in [
            put,
            patched(&ana(), path_less, &conditions()),
            patched(&ana(), json!(operations), &conditions()),
        ] {
            let edited = edited.unwrap_or_else(|error| panic!("round {round}: {error}: {body:?}"));
            assert!(!edited.resource.active() && edited.deactivates, "round {round}: {body:?}");
            assert_eq!(edited.resource.text("userName").map(str::is_empty), Some(false), "round {round}");
        }
        body.remove("active");
        let inactive = stored(User, json!({"userName": "ana", "active": false}));
        if let Ok(edited) = replace_user(&Value::Object(body.clone()), &inactive, &conditions()) {
            assert!(!edited.resource.active(), "round {round}: {body:?}");
        }
        if let Ok(edited) = replace_user(&Value::Object(body.clone()), &ana(), &conditions()) {
            assert!(edited.resource.active(), "round {round}: {body:?}");
        }
    }
}
