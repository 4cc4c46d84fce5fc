//! PATCH as identity providers and the RFC's own examples use it.

use crate::scim::error::ScimType;
use crate::scim::filter::Filter;
use crate::scim::patch::*;
use crate::scim::patch_path::PatchPath;
use crate::scim::resource::MemberRef;
use crate::scim::urn::{BACKUP_USER, ENTERPRISE_USER, USER};
use crate::scim::{GroupInput, UserInput};
use ResourceType::{Group, User};
use serde_json::json;

fn ana(extra: Value) -> Resource {
    let mut body = json!({"userName": "ana"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    UserInput::parse(&body).unwrap().create(&DecidingAttributes::default()).unwrap().resource
}

fn patched(before: &Resource, operations: &Value) -> Result<Value, Error> {
    let patch = PatchRequest::parse(before.kind(), &json!({"Operations": operations}))?;
    let after = patch.apply(before, &DecidingAttributes::default())?;
    let mut shown = after.resource.attributes().clone();
    if shown.get("active") == Some(&json!(true)) {
        shown.remove("active");
    }
    shown.remove("userName");
    Ok(Value::Object(shown))
}

#[track_caller]
fn check(before: Value, operations: Value, after: Value) {
    assert_eq!(patched(&ana(before), &operations).unwrap(), after, "{operations}");
}

#[track_caller]
fn one(before: Value, operation: Value, after: Value) {
    check(before, json!([operation]), after);
}

#[test]
fn add_sets_appends_and_merges() {
    check(
        json!({"name": {"familyName": "F"}, "emails": [{"type": "work", "value": "w"}]}),
        json!([
            {"op": "add", "path": "nickName", "value": "N1"},
            {"op": "add", "path": "name", "value": {"givenName": "G"}},
            {"op": "add", "path": "emails", "value": [{"type": "home", "value": "h"}]},
            {"op": "ADD", "path": "nickName", "value": "N2"},
        ]),
        json!({"nickName": "N2", "name": {"familyName": "F", "givenName": "G"},
            "emails": [{"type": "work", "value": "w"}, {"type": "home", "value": "h"}]}),
    );
    let mail = json!({"emails": [{"type": "work", "value": "w", "primary": true}]});
    one(
        mail.clone(),
        json!({"op": "add", "path": "emails", "value": [{"value": "w", "type": "work"}]}),
        mail.clone(),
    );
    one(mail.clone(), json!({"op": "add", "path": "emails", "value": []}), mail.clone());
    one(mail.clone(), json!({"op": "add", "path": "emails", "value": null}), mail);
    let address = json!({"addresses": [{"type": "work", "locality": "L", "primary": true}]});
    one(address.clone(), json!({"op": "add", "value": address}), address.clone());
}

#[test]
fn replace_keeps_unnamed_parts_and_puts_lists_in_place() {
    one(
        json!({"name": {"familyName": "F", "middleName": "M"}}),
        json!({"op": "replace", "path": "name", "value": {"familyName": "G", "middleName": null}}),
        json!({"name": {"familyName": "G"}}),
    );
    one(
        json!({"emails": [{"value": "a"}, {"value": "b"}]}),
        json!({"op": "replace", "path": "emails", "value": {"value": "c"}}),
        json!({"emails": [{"value": "c"}]}),
    );
    one(
        json!({"emails": [{"value": "a"}, {"value": "b"}]}),
        json!({"op": "replace", "path": "emails.type", "value": "home"}),
        json!({"emails": [{"value": "a", "type": "home"}, {"value": "b", "type": "home"}]}),
    );
    one(
        json!({"emails": [{"value": "a", "type": "work", "display": "A"}]}),
        json!({"op": "replace", "path": "emails[type eq \"WORK\"]", "value": {"value": "b"}}),
        json!({"emails": [{"value": "b", "type": "work"}]}),
    );
}

#[test]
fn remove_takes_away_exactly_what_is_named() {
    check(
        json!({"nickName": "N", "name": {"familyName": "F", "middleName": "M"}, "phoneNumbers": [{"value": "1"}],
            "emails": [{"type": "work", "value": "w"}, {"type": "home", "value": "h"}]}),
        json!([
            {"op": "remove", "path": "nickName"},
            {"op": "Remove", "path": "name.middleName"},
            {"op": "remove", "path": "emails[type eq \"home\"]"},
            {"op": "remove", "path": "phoneNumbers"},
            {"op": "remove", "path": "emails[type eq \"other\"]"},
            {"op": "remove", "path": "title"},
        ]),
        json!({"name": {"familyName": "F"}, "emails": [{"type": "work", "value": "w"}]}),
    );
    let two = json!({"emails": [{"value": "a", "type": "work"}, {"value": "b"}]});
    one(
        two.clone(),
        json!({"op": "remove", "path": "emails", "value": [{"value": "a"}]}),
        json!({"emails": [{"value": "b"}]}),
    );
    one(
        two.clone(),
        json!({"op": "remove", "path": "emails[type eq \"work\"].value"}),
        json!({"emails": [{"value": "b"}]}),
    );
    one(
        two,
        json!({"op": "remove", "path": "emails", "value": []}),
        json!({"emails": [{"value": "a", "type": "work"}, {"value": "b"}]}),
    );
}

#[test]
fn a_value_filter_of_equalities_that_matches_nothing_creates_the_element() {
    let work = |value: &str| json!({"emails": [{"type": "work", "value": value}]});
    one(json!({}), json!({"op": "Add", "path": "emails[type eq \"work\"].value", "value": "a"}), work("a"));
    one(work("a"), json!({"op": "Add", "path": "emails[type eq \"work\"].value", "value": "b"}), work("b"));
    one(
        work("a"),
        json!({"op": "replace", "path": "EMAILS[TYPE eq \"work\"].Value", "value": "b"}),
        work("b"),
    );
    one(
        json!({}),
        json!({"op": "replace", "path": "emails[type eq \"work\"]", "value": {"value": "a"}}),
        work("a"),
    );
    one(
        json!({}),
        json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": ""}),
        json!({}),
    );
    one(
        work("a"),
        json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": ""}),
        json!({}),
    );
    one(
        work("w"),
        json!({"op": "replace", "path": "emails[type eq \"work\" and value eq \"z\"].display", "value": "D"}),
        json!({"emails": [{"type": "work", "value": "w"}, {"type": "work", "value": "z", "display": "D"}]}),
    );
    one(
        json!({}),
        json!({"op": "Add", "path": "roles[primary eq \"True\"].value", "value": "Admin"}),
        json!({"roles": [{"primary": true, "value": "Admin"}]}),
    );
}

#[test]
fn at_most_one_value_is_primary() {
    let two = json!({"emails": [{"value": "a", "primary": true}, {"value": "b"}]});
    let swapped = json!({"emails": [{"value": "a", "primary": false}, {"value": "b", "primary": true}]});
    one(
        two.clone(),
        json!({"op": "replace", "path": "emails[value eq \"b\"].primary", "value": "True"}),
        swapped.clone(),
    );
    one(two, json!({"op": "add", "path": "emails", "value": [{"value": "b", "primary": true}]}), swapped);
}

#[test]
fn entra_in_both_dialects() {
    let department =
        json!({"displayName": "Joy", ENTERPRISE_USER: {"department": "D", "employeeNumber": "1"}});
    one(
        department.clone(),
        json!({"op": "replace", "value": {"displayName": "P", "name.givenName": "G", "name.familyName": "F",
            format!("{ENTERPRISE_USER}:employeeNumber"): "55", "emails[type eq \"work\"].value": "w", "id": "x", "schemas": [USER]}}),
        json!({"displayName": "P", "name": {"givenName": "G", "familyName": "F"},
            "emails": [{"type": "work", "value": "w"}], ENTERPRISE_USER: {"department": "D", "employeeNumber": "55"}}),
    );
    one(
        department.clone(),
        json!({"op": "Add", "value": {ENTERPRISE_USER: {"DEPARTMENT": "E", "x": 1}}}),
        json!({"displayName": "Joy", ENTERPRISE_USER: {"department": "E", "employeeNumber": "1"}}),
    );
    one(
        department.clone(),
        json!({"op": "replace", "value": {ENTERPRISE_USER: null}}),
        json!({"displayName": "Joy"}),
    );
    one(department, json!({"op": "remove", "path": ENTERPRISE_USER}), json!({"displayName": "Joy"}));
    let manager = |value: &str| json!({ENTERPRISE_USER: {"manager": {"value": value}}});
    let path = format!("{ENTERPRISE_USER}:manager");
    one(json!({}), json!({"op": "Add", "path": path, "value": "m1"}), manager("m1"));
    one(manager("m1"), json!({"op": "Replace", "path": path, "value": "m2"}), manager("m2"));
    one(manager("m1"), json!({"op": "Replace", "path": path, "value": {"value": "m2"}}), manager("m2"));
    one(manager("m1"), json!({"op": "Replace", "path": path, "value": ""}), json!({}));
    one(manager("m1"), json!({"op": "Replace", "path": path, "value": {"value": ""}}), json!({}));
    one(
        json!({"roles": [{"value": "Admin"}]}),
        json!({"op": "Add", "path": "roles", "value": [{"value": "{\"id\":\"0\",\"value\":\"25\",\"displayName\":\"R\"}"}]}),
        json!({"roles": [{"value": "Admin"}, {"value": "25", "display": "R"}]}),
    );
}

#[test]
fn a_user_without_active_is_inactive() {
    let inactive = json!({"active": false});
    for value in [json!("False"), json!(false), json!(null), json!("")] {
        one(json!({}), json!({"op": "Replace", "path": "active", "value": value}), inactive.clone());
        one(json!({}), json!({"op": "replace", "value": {"active": value}}), inactive.clone());
    }
    one(json!({}), json!({"op": "remove", "path": "active"}), inactive.clone());
    one(inactive, json!({"op": "Replace", "path": "active", "value": "True"}), json!({}));
}

#[test]
fn what_is_derived_or_secret_is_ignored() {
    let title = json!({"title": "T"});
    check(title.clone(), json!([]), title.clone());
    one(title.clone(), json!({"op": "replace", "path": "password", "value": "x"}), title.clone());
    one(title.clone(), json!({"op": "add", "path": "schemas", "value": ["urn:x"]}), title.clone());
    one(
        title.clone(),
        json!({"op": "add", "value": {"groups": [{"value": "g"}], "meta": {}}}),
        title.clone(),
    );
    one(title.clone(), json!({"op": "replace", "path": null, "value": {"TITLE": "T"}}), title);
}

#[track_caller]
fn fails(operation: Value, scim_type: ScimType, detail: &str) {
    let two = json!({"emails": [{"value": "a"}, {"value": "b"}]});
    let error = patched(&ana(two), &json!([operation])).unwrap_err();
    let text = error.detail.strip_prefix("operation 1: ").expect("the operation is named");
    assert_eq!((error.status, error.scim_type, text), (400, Some(scim_type), detail), "{operation}");
}

#[test]
fn an_operation_needs_something_to_change() {
    let no_path = "remove needs a path that says what to remove";
    fails(json!({"op": "remove"}), ScimType::NoTarget, no_path);
    fails(json!({"op": "remove", "value": {"title": "T"}}), ScimType::NoTarget, no_path);
    let core = "the core schema as a path takes an object of attributes and cannot be removed";
    fails(json!({"op": "remove", "path": USER}), ScimType::NoTarget, core);
    let unmatched = "no element of emails matches the filter in the path";
    fails(
        json!({"op": "add", "path": "emails[type sw \"w\"].value", "value": "x"}),
        ScimType::NoTarget,
        unmatched,
    );
    fails(
        json!({"op": "replace", "path": "emails[display pr]", "value": {"value": "x"}}),
        ScimType::NoTarget,
        unmatched,
    );
    let both = "emails[value eq \"x\" and value eq \"y\"].type";
    fails(json!({"op": "add", "path": both, "value": "x"}), ScimType::NoTarget, unmatched);
}

#[test]
fn read_only_and_required_attributes_are_protected() {
    let read_only = |path: &str| format!("{path} is read-only; leave it out of the attribute mapping");
    let state = format!("{BACKUP_USER}:grantState");
    for (op, path) in
        [("replace", "id"), ("replace", "meta.created"), ("remove", "groups"), ("add", state.as_str())]
    {
        fails(json!({"op": op, "path": path, "value": "x"}), ScimType::Mutability, &read_only(path));
    }
    let required = "userName is required and cannot be removed";
    fails(json!({"op": "remove", "path": "userName"}), ScimType::Mutability, required);
    fails(json!({"op": "replace", "path": "userName", "value": ""}), ScimType::InvalidValue, required);
    let empty = "userName is required and must not be empty";
    fails(json!({"op": "replace", "path": "userName", "value": " "}), ScimType::InvalidValue, empty);
}

#[test]
fn paths_must_name_what_exists() {
    let unknown = "the path \"shoeSize\" is not usable: there is no attribute \"shoeSize\" at character 1";
    fails(json!({"op": "add", "path": "shoeSize", "value": "x"}), ScimType::InvalidPath, unknown);
    fails(json!({"op": "add", "path": 5, "value": "x"}), ScimType::InvalidPath, "path must be text");
    let single = "the path \"name[familyName eq \\\"F\\\"]\" is not usable: name has no parts to filter by at character 1";
    fails(json!({"op": "remove", "path": "name[familyName eq \"F\"]"}), ScimType::InvalidPath, single);
}

#[test]
fn values_must_fit() {
    let check = |operation: Value, detail: &str| fails(operation, ScimType::InvalidValue, detail);
    check(json!({"op": "add", "path": "title"}), "add and replace need a value; null removes what is there");
    check(json!({"op": "add", "value": "x"}), "without a path, value must be an object of attributes");
    let extension = format!("{ENTERPRISE_USER} takes an object of attributes");
    check(json!({"op": "add", "path": ENTERPRISE_USER, "value": "x"}), &extension);
    check(
        json!({"op": "add", "path": "active", "value": "maybe"}),
        "active takes true or false, not \"maybe\"",
    );
    let primary = "only one of emails can be primary";
    check(json!({"op": "replace", "path": "emails.primary", "value": true}), primary);
    let many: Vec<Value> =
        (0..=crate::scim::value::values_max(true)).map(|n| json!({"value": n.to_string()})).collect();
    check(json!({"op": "add", "path": "emails", "value": many}), "emails takes at most 40 values");
}

#[test]
fn the_message_must_be_a_patch() {
    let check = |operation: Value, detail: &str| fails(operation, ScimType::InvalidSyntax, detail);
    check(json!({"op": "move", "path": "title"}), "op is add, replace or remove, not \"move\"");
    check(json!({"path": "title"}), "op is missing; it is add, replace or remove");
    check(json!("add"), "an operation is an object with op, path and value");
    for body in [json!([]), json!({}), json!({"Operations": {}})] {
        assert_eq!(PatchRequest::parse(User, &body).unwrap_err().scim_type, Some(ScimType::InvalidSyntax));
    }
}

fn members(operation: Value) -> Result<Vec<MemberChange>, Error> {
    members_of(json!([operation]))
}

/// What happens to the members; an error where nothing is taken away that a mistake could stand beside.
fn members_of(operations: Value) -> Result<Vec<MemberChange>, Error> {
    let patch = PatchRequest::parse(Group, &json!({"Operations": operations}))?;
    patch.apply(&ops(), &DecidingAttributes::default())?.unless_refused(false)?;
    Ok(patch.member_changes().to_vec())
}

fn ops() -> Resource {
    let group = json!({"displayName": "Ops", "externalId": "x"});
    GroupInput::parse(&group).unwrap().create(&DecidingAttributes::default()).unwrap().edited.resource
}

#[track_caller]
fn changes(operation: Value, expected: &[MemberChange]) {
    assert_eq!(members(operation.clone()).unwrap(), expected, "{operation}");
}

fn refs(ids: &[&str]) -> Vec<MemberRef> {
    ids.iter().map(|id| MemberRef { value: (*id).to_owned(), kind: None }).collect()
}

#[test]
fn members_are_added_removed_and_replaced() {
    use MemberChange::{Add, Remove, RemoveWhere, Replace};
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    changes(
        json!({"op": "Add", "path": "members", "value": [{"$ref": null, "value": "a"}, {"value": "b"}]}),
        &[Add(refs(&["a", "b"]))],
    );
    changes(json!({"op": "add", "path": "members", "value": {"value": "a"}}), &[Add(refs(&["a"]))]);
    changes(json!({"op": "add", "path": "members", "value": ["a", "b", "a"]}), &[Add(refs(&["a", "b"]))]);
    changes(json!({"op": "add", "path": "members", "value": []}), &[]);
    changes(
        json!({"op": "add", "value": {"members": [{"value": "a", "type": "Group"}]}}),
        &[Add(vec![MemberRef { value: "a".to_owned(), kind: Some("Group".to_owned()) }])],
    );
    changes(json!({"op": "replace", "value": {"members": [{"value": "a"}]}}), &[Replace(refs(&["a"]))]);
    changes(json!({"op": "replace", "path": "members", "value": []}), &[Replace(vec![])]);
    changes(json!({"op": "replace", "path": "members", "value": null}), &[Replace(vec![])]);
    changes(json!({"op": "remove", "path": "members"}), &[Replace(vec![])]);
    changes(
        json!({"op": "Remove", "path": "members", "value": [{"$ref": null, "value": "a"}]}),
        &[Remove(ids(&["a"]))],
    );
    changes(json!({"op": "remove", "path": "members", "value": []}), &[]);
    changes(
        json!({"op": "remove", "path": "members", "value": [{"value": "a"}, {"display": "x"}]}),
        &[Remove(ids(&["a"]))],
    );
    changes(json!({"op": "remove", "path": "members[value eq \"a\"]"}), &[Remove(ids(&["a"]))]);
    changes(
        json!({"op": "remove", "path": "members[value eq \"a\" or value eq \"b\"]"}),
        &[Remove(ids(&["a", "b"]))],
    );
    let filter = of_members("type eq \"Group\"");
    assert!(
        filter.matches(&json!({"value": "g", "type": "Group"}))
            && !filter.matches(&json!({"value": "u", "type": "User"}))
    );
    changes(json!({"op": "remove", "path": "members[type eq \"Group\"]"}), &[RemoveWhere(filter)]);
    changes(
        json!({"op": "add", "path": "members[value eq \"a\"]", "value": {"value": "a"}}),
        &[Add(refs(&["a"]))],
    );
    changes(json!({"op": "replace", "value": {"id": "g", "displayName": "New"}}), &[]);
}

/// The filter in the brackets of `members[…]`.
fn of_members(filter: &str) -> Filter {
    match PatchPath::parse(Group, &format!("members[{filter}]")).unwrap() {
        PatchPath::Elements { filter, .. } => filter,
        other => panic!("{other}"),
    }
}

#[test]
fn an_element_without_an_id_is_a_member_with_an_empty_id() {
    let unnamed = || refs(&[""]);
    for value in [json!([{"display": "x"}]), json!([{"value": 5}]), json!({}), json!([""]), json!([null, 5])]
    {
        changes(json!({"op": "add", "path": "members", "value": value}), &[MemberChange::Add(unnamed())]);
        changes(
            json!({"op": "replace", "path": "members", "value": value}),
            &[MemberChange::Replace(unnamed())],
        );
    }
}

#[test]
fn ids_of_members_are_read_in_any_case() {
    let (upper, lower) = ("0B5C2C59-6C0E-4A07-8B53-3B1C7F2F9A10", "0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10");
    let path = format!("members[value eq \"{upper}\"]");
    changes(
        json!({"op": "add", "path": "members", "value": [{"value": upper}, {"value": lower}]}),
        &[MemberChange::Add(refs(&[lower]))],
    );
    changes(json!({"op": "remove", "path": path}), &[MemberChange::Remove(vec![lower.to_owned()])]);
    changes(
        json!({"op": "add", "path": path, "value": {"value": lower}}),
        &[MemberChange::Add(refs(&[lower]))],
    );
}

#[test]
fn a_member_can_only_be_replaced_by_itself() {
    let replaced =
        |by: &str| [MemberChange::ReplaceWhere { filter: of_members("value eq \"a\""), by: by.to_owned() }];
    let path = "members[value eq \"a\"]";
    changes(json!({"op": "replace", "path": path, "value": {"value": "b"}}), &replaced("b"));
    for nothing in [json!(null), json!([])] {
        let removed = [MemberChange::Remove(vec!["a".to_owned()])];
        changes(json!({"op": "replace", "path": path, "value": nothing}), &removed);
    }
    changes(json!({"op": "replace", "path": path, "value": ["a", "b"]}), &replaced(""));
    let path = "members[value eq \"a\"].value";
    changes(json!({"op": "replace", "path": path, "value": "b"}), &replaced("b"));
    let path = "members[value eq \"a\"].type";
    changes(json!({"op": "replace", "path": path, "value": "Group"}), &replaced(""));
}

#[test]
fn wrong_member_operations_are_refused() {
    let check = |operation: Value, scim_type: ScimType| {
        let error = members(operation.clone()).unwrap_err();
        assert_eq!((error.status, error.scim_type), (400, Some(scim_type)), "{operation}");
        assert!(error.detail.starts_with("operation 1: "), "{error}");
    };
    for value in [json!(""), json!("a"), json!(true), json!(5)] {
        for op in ["add", "replace", "remove"] {
            check(json!({"op": op, "path": "members", "value": value}), ScimType::InvalidValue);
        }
        check(json!({"op": "replace", "value": {"members": value}}), ScimType::InvalidValue);
    }
    check(json!({"op": "remove", "path": "members", "value": [{"value": ""}]}), ScimType::InvalidValue);
    check(json!({"op": "remove", "path": "members", "value": {"display": "Kim"}}), ScimType::InvalidValue);
    check(json!({"op": "remove", "path": "members[display eq \"Kim\"]"}), ScimType::InvalidFilter);
    check(json!({"op": "remove", "path": "members[value eq \"a\""}), ScimType::InvalidFilter);
    check(json!({"op": "replace", "path": "members.display", "value": "Kim"}), ScimType::InvalidPath);
    check(json!({"op": "replace", "path": "members.value", "value": "b"}), ScimType::Mutability);
    let other = json!({"value": "b"});
    check(json!({"op": "add", "path": "members[value eq \"a\"]", "value": other}), ScimType::Mutability);
    check(json!({"op": "add", "path": "members[type eq \"User\"]", "value": other}), ScimType::NoTarget);
}

#[test]
fn group_attributes_change_without_their_members() {
    let deciding = DecidingAttributes::default();
    let group = ops();
    let apply = |value: Value| {
        let patch =
            PatchRequest::parse(Group, &json!({"Operations": [{"op": "replace", "value": value}]})).unwrap();
        let edited = patch.apply(&group, &deciding)?.unless_refused(false)?;
        Ok::<_, Error>(Value::Object(edited.resource.attributes().clone()))
    };
    assert_eq!(
        apply(json!({"id": "g", "displayName": "New"})),
        Ok(json!({"displayName": "New", "externalId": "x"}))
    );
    assert_eq!(apply(json!({"displayName": "New", "externalId": null})), Ok(json!({"displayName": "New"})));
    assert!(apply(json!({"displayName": null})).is_err());
    assert!(apply(json!({"displayName": ["New"]})).is_err());
}

#[test]
fn a_mistake_about_members_is_dropped_beside_a_removal_and_refused_beside_anything_else() {
    let removal = json!({"op": "remove", "path": "members[value eq \"a\"]"});
    let title = json!({"op": "replace", "path": "displayName", "value": "New"});
    for mistake in [
        json!({"op": "add", "path": "members", "value": ""}),
        json!({"op": "replace", "path": "members.value", "value": "b"}),
        json!({"op": "replace", "value": {"members": 5}}),
    ] {
        for operations in [json!([mistake, removal]), json!([removal, mistake])] {
            let patch = PatchRequest::parse(Group, &json!({"Operations": operations})).unwrap();
            assert_eq!(patch.member_changes(), [MemberChange::Remove(vec!["a".to_owned()])]);
            let edited =
                patch.apply(&ops(), &DecidingAttributes::default()).unwrap().unless_refused(true).unwrap();
            assert_eq!(edited.dropped.names(), ["members"]);
        }
        assert_eq!(members_of(json!([title, mistake])).unwrap_err().status, 400, "{mistake}");
    }
    // A removal that would remove no one is never a silent success.
    for (mistaken, scim_type) in [
        (json!({"op": "remove", "path": "members[display eq \"x\"]"}), ScimType::InvalidFilter),
        (json!({"op": "remove", "value": {"members": [{"value": "b"}]}}), ScimType::NoTarget),
        (json!({"op": "remove", "path": ["members"]}), ScimType::InvalidPath),
    ] {
        for operations in [json!([mistaken, removal]), json!([removal, mistaken])] {
            assert_eq!(members_of(operations).unwrap_err().scim_type, Some(scim_type), "{mistaken}");
        }
    }
}

#[test]
fn an_operation_that_does_not_say_what_it_is_about_is_dropped_beside_a_deactivation_only() {
    let title = json!({"op": "replace", "path": "title", "value": "New"});
    let off = json!({"op": "replace", "path": "active", "value": false});
    for (misshapen, scim_type) in [
        (json!({"op": "replace", "value": "x"}), ScimType::InvalidValue),
        (json!({"op": "add", "value": [{"active": true}]}), ScimType::InvalidValue),
        (json!({"op": "remove"}), ScimType::NoTarget),
        (json!({"op": "remove", "path": 5}), ScimType::InvalidPath),
        (json!({"op": "replace", "path": ["title"], "value": "x"}), ScimType::InvalidPath),
    ] {
        for operations in [json!([misshapen, off]), json!([off, misshapen])] {
            let patch = PatchRequest::parse(User, &json!({"Operations": operations})).unwrap();
            let edited = patch.apply(&ana(json!({})), &DecidingAttributes::default()).unwrap();
            assert!(edited.deactivates, "{misshapen}");
            assert_eq!(edited.dropped.names(), ["unnamed"]);
        }
        for operations in [json!([misshapen]), json!([misshapen, title]), json!([title, misshapen])] {
            let patch = PatchRequest::parse(User, &json!({"Operations": operations})).unwrap();
            let refused = patch.apply(&ana(json!({})), &DecidingAttributes::default()).unwrap_err();
            assert_eq!(refused.scim_type, Some(scim_type), "{operations}");
        }
    }
}
