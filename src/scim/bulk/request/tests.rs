use super::*;
use crate::scim::bulk::{BulkStep, order};
use crate::scim::deciding::DecidingAttributes;
use crate::scim::error::ScimType;
use crate::scim::patch::MemberChange;
use crate::scim::resource::Resource;
use crate::scim::urn;
use serde_json::json;

fn parse(operations: Value) -> Vec<BulkOperation> {
    BulkRequest::parse(json!({"Operations": operations})).unwrap().operations
}

fn one(operation: Value) -> BulkOperation {
    parse(json!([operation])).remove(0)
}

#[track_caller]
fn needs(operation: Value, expected: &[&str]) {
    let needs: Vec<String> = one(operation.clone()).needs().into_iter().collect();
    assert_eq!(needs, expected, "{operation}");
}

#[track_caller]
fn refuses(operation: Value, scim_type: ScimType, detail: &str) {
    let error = one(operation.clone()).call.unwrap_err();
    assert_eq!((error.status, error.scim_type), (400, Some(scim_type)), "{operation}");
    assert!(error.detail.contains(detail), "{}", error.detail);
}

#[test]
fn a_request_is_an_object_with_operations() {
    for body in [json!([]), json!({}), json!({"Operations": "x"}), json!({"Operations": {}})] {
        let error = BulkRequest::parse(body).unwrap_err();
        assert_eq!((error.status, error.scim_type), (400, Some(ScimType::InvalidSyntax)));
    }
    let errors_max = |value: Value| BulkRequest::parse(json!({"failOnErrors": value, "OPERATIONS": []}));
    assert_eq!(errors_max(json!(3)).unwrap().errors_max, Some(3));
    assert_eq!(errors_max(json!("1")).unwrap().errors_max, Some(1));
    assert_eq!(errors_max(json!(null)).unwrap().errors_max, None);
    assert_eq!(errors_max(json!(2.0)).unwrap().errors_max, Some(2));
    assert_eq!(errors_max(json!(1e30)).unwrap().errors_max, Some(u64::MAX));
    for wrong in [json!(-1), json!(1.5), json!("many"), json!([1])] {
        assert_eq!(errors_max(wrong).unwrap_err().status, 400);
    }
    let many = |number| BulkRequest::parse(json!({"Operations": vec![json!({}); number]}));
    assert_eq!(many(OPERATIONS_MAX).unwrap().operations.len(), OPERATIONS_MAX);
    assert_eq!(many(OPERATIONS_MAX + 1).unwrap_err().status, 413);
}

#[test]
fn a_mistake_in_an_operation_is_its_own() {
    let user = json!({"userName": "ana"});
    let syntax = ScimType::InvalidSyntax;
    let value = ScimType::InvalidValue;
    refuses(json!("x"), syntax, "an object");
    refuses(json!({"path": "/Users"}), value, "the method");
    refuses(json!({"method": "GET", "path": "/Users"}), value, "the method");
    refuses(json!({"method": "POST", "bulkId": "a", "data": user}), value, "the path");
    for path in
        ["/Machines", "/users", "Users/a/b", "/Users/a?attributes=id", "https://x.example/Users", "/.search"]
    {
        refuses(json!({"method": "PATCH", "path": path, "data": {}}), value, "the path");
    }
    for path in ["/Bulk", "Bulk/"] {
        let inner = json!({"Operations": []});
        refuses(json!({"method": "POST", "bulkId": "a", "path": path, "data": inner}), value, "of another");
    }
    refuses(json!({"method": "POST", "path": "/Users", "data": user}), value, "bulkId");
    refuses(json!({"method": "POST", "bulkId": "a", "path": "/Users/x", "data": user}), value, "/Users");
    refuses(json!({"method": "DELETE", "path": "/Groups"}), value, "/Groups/ID");
    refuses(json!({"method": "POST", "bulkId": "a", "path": "/Users"}), syntax, "data");
    refuses(json!({"method": "PUT", "path": "/Users/x", "data": [1]}), syntax, "data");
    refuses(json!({"method": "PATCH", "path": "/Users/x", "data": {"op": "add"}}), syntax, "Operations");
    refuses(json!({"method": "DELETE", "path": "/Users/x", "version": "7"}), value, "version takes");
    for version in [json!(7), json!([]), json!({}), json!(true)] {
        refuses(json!({"method": "DELETE", "path": "/Users/x", "version": version}), value, "is a text");
    }
}

#[test]
fn no_operation_refers_to_itself_and_no_two_create_under_one_bulk_id() {
    let own = json!({"displayName": "g", "members": [{"value": "bulkId:g"}]});
    let value = ScimType::InvalidValue;
    refuses(json!({"method": "POST", "bulkId": "g", "path": "/Groups", "data": own}), value, "its own");
    refuses(json!({"method": "DELETE", "bulkId": "g", "path": "/Groups/bulkId:g"}), value, "its own");
    let post = |bulk_id: &str| json!({"method": "POST", "bulkId": bulk_id, "path": "/Users", "data": {"userName": "a"}});
    let delete = json!({"method": "DELETE", "bulkId": "a", "path": "/Users/x"});
    let operations = parse(json!([post("a"), post("b"), delete, post("a")]));
    let refused: Vec<bool> = operations.iter().map(|operation| operation.call.is_err()).collect();
    assert_eq!(refused, [true, false, false, true]);
}

#[test]
fn references_are_found_where_ids_are_expected() {
    let patch = |path: &str, operations: Value| json!({"method": "patch", "path": path, "data": {"Operations": operations}});
    let manager = format!("{}:manager", urn::ENTERPRISE_USER);
    needs(patch("/Groups/bulkId:g", json!([])), &["g"]);
    needs(json!({"method": "DELETE", "path": "Users/BULKID:u"}), &["u"]);
    needs(
        patch(
            "/Groups/x",
            json!([
                {"op": "add", "path": "members", "value": [{"value": "bulkId:a"}, {"VALUE": "bulkId:b"}, "bulkId:c"]},
                {"op": "Add", "value": {"members": {"value": "bulkId:d"}}},
                {"op": "remove", "path": "members[value eq \"bulkId:e\"]"},
                {"op": "replace", "path": "displayName", "value": "bulkId:f"},
            ]),
        ),
        &["a", "b", "c", "d", "e"],
    );
    needs(
        patch(
            "/Users/x",
            json!([
                {"op": "add", "path": manager, "value": "bulkId:a"},
                {"op": "replace", "path": "manager", "value": {"value": "bulkId:b", "displayName": "bulkId:c"}},
                {"op": "replace", "value": {format!("{manager}.value"): "bulkId:d"}},
                {"op": "replace", "path": "title", "value": "bulkId:e"},
            ]),
        ),
        &["a", "b", "d"],
    );
    let user = json!({"userName": "bulkId:x", urn::ENTERPRISE_USER: {"manager": {"value": "bulkId:m"}}});
    needs(json!({"method": "POST", "bulkId": "u", "path": "/Users", "data": user}), &["m"]);
    let group = json!({"displayName": "g", "members": [{"value": "bulkId:m"}, {"value": "x"}]});
    needs(json!({"method": "PUT", "path": "/Groups/x", "data": group}), &["m"]);
}

fn group_post(bulk_id: &str, members: &[&str]) -> Value {
    let members: Vec<Value> =
        members.iter().map(|member| json!({"value": format!("bulkId:{member}")})).collect();
    let data = json!({"displayName": bulk_id, "members": members});
    json!({"method": "POST", "bulkId": bulk_id, "path": "/Groups", "data": data})
}

#[test]
fn an_operation_comes_after_what_it_refers_to() {
    use BulkStep::{Join, Run};
    let delete = json!({"method": "DELETE", "path": "/Groups/bulkId:b"});
    let mut operations = parse(json!([
        delete,
        group_post("a", &["b", "nothing"]),
        group_post("b", &["a"]),
        group_post("c", &[])
    ]));
    assert_eq!(order(&mut operations), [Run(1), Run(2), Join(1), Run(0), Run(3)]);
}

const ID: &str = "0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10";

fn state(bulk_id: &str) -> ReferenceState<'static> {
    match bulk_id {
        "made" => ReferenceState::Created(ID),
        "later" => ReferenceState::Pending,
        _ => ReferenceState::Lost,
    }
}

fn call(operation: Value) -> BulkCall {
    one(operation).call.unwrap()
}

#[test]
fn an_id_stands_where_the_reference_stood() {
    let mut group = call(group_post("g", &["made"]));
    assert!(group.resolve(state).unwrap().is_none());
    let BulkAction::Create(ResourceBody::Group(input)) = group.action else { panic!() };
    let members = input.create(&DecidingAttributes::default()).unwrap().members.unwrap();
    assert_eq!(members.iter().map(|member| member.value.as_str()).collect::<Vec<_>>(), [ID]);

    let mut delete = call(json!({"method": "DELETE", "path": "/Users/bulkId:made"}));
    assert!(delete.resolve(state).unwrap().is_none());
    assert!(matches!(delete.action, BulkAction::Delete(id) if id == ID));
}

#[test]
fn what_is_pending_follows_and_the_rest_is_created() {
    let mut group = call(group_post("g", &["made", "later"]));
    let (joined, lost) = group
        .resolve(state)
        .unwrap()
        .unwrap()
        .resolve_pending(ResourceType::Group, |_| ReferenceState::Created("0198"));
    let BulkAction::Create(ResourceBody::Group(input)) = group.action else { panic!() };
    assert_eq!(input.create(&DecidingAttributes::default()).unwrap().members.unwrap().len(), 1);
    let [MemberChange::Add(refs)] = joined.as_ref().unwrap().member_changes() else { panic!("{joined:?}") };
    assert_eq!((refs.len(), refs[0].value.as_str(), lost), (1, "0198", None));

    let data = json!({"userName": "u", urn::ENTERPRISE_USER: {"manager": {"value": "bulkId:later"}, "department": "D"}});
    let mut user = call(json!({"method": "POST", "bulkId": "u", "path": "/Users", "data": data}));
    let (joined, _) = user
        .resolve(state)
        .unwrap()
        .unwrap()
        .resolve_pending(ResourceType::User, |_| ReferenceState::Created(ID));
    let BulkAction::Create(ResourceBody::User(input)) = user.action else { panic!() };
    let created = input.create(&DecidingAttributes::default()).unwrap().resource;
    assert_eq!(created.attributes()[urn::ENTERPRISE_USER], json!({"department": "D"}));
    let edited = joined.unwrap().apply(&created, &DecidingAttributes::default()).unwrap().resource;
    assert_eq!(edited.attributes()[urn::ENTERPRISE_USER]["manager"]["value"], json!(ID));

    let mut group = call(group_post("g", &["later"]));
    let join = group.resolve(state).unwrap().unwrap();
    let (rest, lost) = join.resolve_pending(ResourceType::Group, |_| ReferenceState::Lost);
    assert_eq!((rest, lost.unwrap().status), (None, 409));
}

#[test]
fn a_lost_reference_refuses_what_takes_nothing_away() {
    for operation in [
        group_post("g", &["made", "lost"]),
        json!({"method": "DELETE", "path": "/Groups/bulkId:lost"}),
        json!({"method": "PATCH", "path": "/Groups/bulkId:lost", "data": {"Operations": []}}),
        json!({"method": "PUT", "path": "/Groups/x", "data": {"displayName": "g", "members": [{"value": "bulkId:lost"}]}}),
    ] {
        assert_eq!(call(operation.clone()).resolve(state).unwrap_err().status, 409, "{operation}");
    }
}

/// The user after a PATCH, or the status.
fn patched(operations: Value) -> Result<Resource, u16> {
    let data = json!({"Operations": operations});
    let mut call = call(json!({"method": "PATCH", "path": format!("/Users/{ID}"), "data": data}));
    call.resolve(state).map_err(|error| error.status)?;
    let BulkAction::Patch(_, patch) = call.action else { panic!() };
    let stored =
        json!({"userName": "ana", "active": true, urn::ENTERPRISE_USER: {"manager": {"value": "m"}}});
    let stored = Resource::from_stored(ResourceType::User, stored.as_object().unwrap().clone());
    let edited = patch.apply(&stored, &DecidingAttributes::default()).map_err(|error| error.status)?;
    assert_eq!(edited.dropped.names(), ["manager"]);
    Ok(edited.resource)
}

#[test]
fn a_lost_manager_is_dropped_where_the_user_is_deactivated() {
    let manager = json!({"op": "replace", "path": "manager", "value": "bulkId:lost"});
    assert_eq!(patched(json!([manager])), Err(409));
    assert_eq!(patched(json!([manager, {"op": "replace", "path": "title", "value": "T"}])), Err(409));
    let left = patched(json!([manager, {"op": "replace", "path": "active", "value": false}])).unwrap();
    assert!(!left.active());
    assert_eq!(left.attributes()[urn::ENTERPRISE_USER]["manager"]["value"], json!("m"));
}

#[test]
fn lost_members_neither_replace_nor_remove_anyone() {
    let changes = |operations: Value| {
        let data = json!({"Operations": operations});
        let mut call = call(json!({"method": "PATCH", "path": format!("/Groups/{ID}"), "data": data}));
        call.resolve(state).unwrap();
        let BulkAction::Patch(_, patch) = call.action else { panic!() };
        patch.member_changes().to_vec()
    };
    let lost = json!([{"value": "bulkId:lost"}]);
    for operation in [
        json!({"op": "replace", "path": "members", "value": lost}),
        json!({"op": "add", "path": "members", "value": lost}),
        json!({"op": "remove", "path": "members", "value": lost}),
        json!({"op": "remove", "path": "members[value eq \"bulkId:lost\"]"}),
    ] {
        assert_eq!(changes(json!([operation])), [], "{operation}");
    }
    let some = json!([{"value": "bulkId:lost"}, {"value": ID}]);
    let removed = changes(
        json!([{"op": "remove", "path": "members", "value": some}, {"op": "replace", "path": "members", "value": []}]),
    );
    assert_eq!(removed.len(), 2);
}
