use super::*;
use crate::rbac::breaker::{GrantLimits, MAX_PRINCIPALS_MAX};
use crate::rbac::{BackupRole, BindingKind};
use serde_json::{Value, json};

const VAULT: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                     Microsoft.RecoveryServices/vaults/east";
const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

fn binding(name: &str) -> Value {
    json!({ "name": name, "group": { "externalId": name }, "role": "Backup Operator", "scope": VAULT })
}

fn file() -> Value {
    json!({ "version": 1, "bindings": [binding("one")] })
}

/// A file whose only binding has `key` set to `value`.
fn with(key: &str, value: Value) -> Value {
    let mut file = file();
    file["bindings"][0][key] = value;
    file
}

fn parse(file: &Value) -> Result<Bindings, BindingsError> {
    Bindings::parse(file.to_string().as_bytes())
}

fn mistakes(bytes: &[u8]) -> Vec<String> {
    Bindings::parse(bytes).unwrap_err().mistakes.iter().map(BindingsMistake::to_string).collect()
}

/// The file has exactly one mistake, there, and its text says this.
#[track_caller]
fn check(file: &Value, place: &str, says: &str) {
    let mistakes = parse(file).unwrap_err().mistakes;
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert_eq!(mistakes[0].place, place);
    assert!(mistakes[0].text.contains(says), "{:?}", mistakes[0].text);
}

#[track_caller]
fn check_bytes(bytes: &[u8], says: &str) {
    let mistakes = mistakes(bytes);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].contains(says), "{mistakes:?}");
}

#[test]
fn the_smallest_file_has_the_defaults() {
    let bindings = parse(&file()).unwrap();
    assert_eq!(bindings.principal_from, [PrincipalSource::EntraObjectId]);
    assert_eq!(bindings.retired, []);
    let binding = &bindings.bindings[0];
    assert_eq!(binding.selector, Selector::ExternalId("one".to_owned()));
    assert_eq!((binding.role, binding.kind), (BackupRole::Operator, BindingKind::Active));
    assert_eq!(binding.condition, None);
    assert_eq!(binding.scope.as_str(), VAULT);
}

#[test]
fn everything_that_a_file_can_say_is_read() {
    let file = json!({
        "$schema": "bindings.schema.json",
        "version": 1,
        "principal": { "from": ["externalId", "entraObjectId"] },
        "retired": [format!("{SUBSCRIPTION}/resourceGroups/old")],
        "bindings": [
            { "name": "a", "group": { "id": "6F9619FF-8B86-4D01-B42D-00CF4FC964FF" }, "where": "title eq \"DBA\"",
              "role": "Backup Contributor", "scope": SUBSCRIPTION, "allowBroadScope": true, "kind": "active" },
            { "name": "b", "group": { "displayName": "Vault Readers", "allowDisplayName": true },
              "role": "Backup Reader", "scope": VAULT },
        ],
    });
    let bindings = parse(&file).unwrap();
    assert_eq!(bindings.principal_from, [PrincipalSource::ExternalId, PrincipalSource::EntraObjectId]);
    let [a, b] = bindings.bindings.as_slice() else { panic!("two bindings") };
    assert_eq!(a.selector.key(), "6f9619ff-8b86-4d01-b42d-00cf4fc964ff");
    assert_eq!(a.condition.as_ref().unwrap().to_string(), "title eq \"DBA\"");
    assert_eq!((b.selector.attribute(), b.selector.key().as_str()), ("displayName", "vault readers"));
}

#[test]
fn scopes_are_the_bound_and_the_retired_ones_once() {
    let mut file = file();
    file["retired"] = json!([format!("{SUBSCRIPTION}/resourceGroups/old")]);
    file["bindings"] = json!([binding("one"), with("scope", json!(VAULT.to_uppercase()))["bindings"][0]]);
    file["bindings"][1]["name"] = json!("two");
    file["bindings"][1]["role"] = json!("Backup Reader");
    let scopes: Vec<_> =
        parse(&file).unwrap().scopes().iter().map(|s| s.short_name().to_lowercase()).collect();
    assert_eq!(scopes, ["east", "old"]);
}

#[test]
fn every_mistake_of_a_file_is_reported_at_once() {
    let text = r#"{ "version": 2, "version": 3, "colour": "red", "principal": { "from": [] }, "retired": ["/", 7],
        "bindings": [ { "name": "A", "group": {}, "where": "title", "role": "Owner", "scope": "/subscriptions/x",
                        "kind": "eligible", "maxPrincipals": 0, "roles": 1, "allowBroadScope": "yes" }, 5 ] }"#;
    let places: Vec<String> =
        Bindings::parse(text.as_bytes()).unwrap_err().mistakes.into_iter().map(|m| m.place).collect();
    let expected = [
        "/version",
        "/colour",
        "/version",
        "/principal/from",
        "/retired/0",
        "/retired/1",
        "/bindings/0/roles",
        "/bindings/0/name",
        "/bindings/0/group",
        "/bindings/0/where",
        "/bindings/0/role",
        "/bindings/0/allowBroadScope",
        "/bindings/0/scope",
        "/bindings/0/kind",
        "/bindings/0/maxPrincipals",
        "/bindings/1",
    ];
    assert_eq!(places, expected);
}

#[test]
fn the_message_names_each_place_on_a_line_of_its_own() {
    let error = Bindings::parse(br#"{ "version": 1, "bindings": 3, "retired": {} }"#).unwrap_err();
    let message = "2 mistakes in the bindings file\n  /retired: is an object: write a list in [ ]\n  \
                   /bindings: is a number: write a list in [ ]";
    assert_eq!(error.to_string(), message);
    let error = Bindings::parse(b"[]").unwrap_err();
    assert_eq!(error.to_string(), "1 mistake in the bindings file\n  the file: is a list: write an object");
}

#[test]
fn a_file_that_is_not_json_says_where() {
    check_bytes(b"", "line 1 column 0");
    check_bytes(b"{ \"version\": 1,\n \"bindings\": [], }", "line 2 column 18");
    check_bytes(b"{} {}", "trailing characters");
    check_bytes(b"{ \"version\": \"\xff\" }", "is not JSON");
    check_bytes(b"\xEF\xBB\xBF{}", "byte order mark");
    check_bytes("[".repeat(5000).as_bytes(), "recursion");
    check_bytes(&vec![b' '; FILE_BYTES_MAX + 1], "614400 are allowed");
}

#[test]
fn a_duplicate_key_is_rejected_at_any_depth() {
    let text = format!(
        r#"{{ "version": 1, "bindings": [ {{ "name": "a", "name": "a", "role": "Backup Reader", "scope": {VAULT:?},
            "group": {{ "id/x~": 1, "externalId": "a", "id/x~": 2 }} }} ] }}"#
    );
    let found = mistakes(text.as_bytes());
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("/bindings/0/name: appears twice"), "{found:?}");
    assert!(found[1].starts_with("/bindings/0/group/id~1x~0: appears twice"), "{found:?}");
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    check(&json!({ "bindings": [binding("a")] }), "", "\"version\" is missing");
    check(&json!({ "version": 1 }), "", "\"bindings\" is missing");
    check(&json!({ "version": "1", "bindings": [binding("a")] }), "/version", "write 1");
    check(&with("Kind", json!("active")), "/bindings/0/Kind", "write one of name, group, where");
    check(&json!({ "version": 1, "$schema": 1, "bindings": [binding("a")] }), "/$schema", "a text");
    for key in ["name", "group", "role", "scope"] {
        let mut file = file();
        file["bindings"][0].as_object_mut().unwrap().remove(key);
        check(&file, "/bindings/0", &format!("{key:?} is missing"));
    }
    check(&with("where", Value::Null), "/bindings/0/where", "is null");
}

#[test]
fn a_name_is_unique_and_has_the_form_of_a_name() {
    check(&with("name", json!("Operators East")), "/bindings/0/name", "in lower case");
    check(&with("name", json!(7)), "/bindings/0/name", "a number");
    let mut file = file();
    file["bindings"] = json!([binding("a"), binding("b"), binding("a")]);
    file["bindings"][2]["group"]["externalId"] = json!("other");
    check(&file, "/bindings/2/name", "taken by /bindings/0/name");
}

#[test]
fn a_group_is_selected_by_exactly_one_attribute() {
    let group = |value: Value| with("group", value);
    check(&group(json!({})), "/bindings/0/group", "names no group");
    let both = json!({ "id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "externalId": "a" });
    check(&group(both), "/bindings/0/group", "externalId and id: write exactly one");
    check(&group(json!({ "id": "a" })), "/bindings/0/group/id", "a GUID with hyphens");
    check(&group(json!({ "externalId": " " })), "/bindings/0/group/externalId", "blank");
    check(&group(json!({ "externalId": "a\nb" })), "/bindings/0/group/externalId", "control");
    check(&group(json!({ "externalId": "a".repeat(257) })), "/bindings/0/group/externalId", "256");
    check(&group(json!("a")), "/bindings/0/group", "write an object");
}

#[test]
fn a_display_name_needs_the_explicit_yes() {
    let group = |allow: Value| with("group", json!({ "displayName": "Ops", "allowDisplayName": allow }));
    parse(&group(json!(true))).unwrap();
    check(&group(json!(false)), "/bindings/0/group/displayName", "\"allowDisplayName\": true");
    check(&group(json!("true")), "/bindings/0/group/allowDisplayName", "write true or false");
    check(&with("group", json!({ "displayName": "Ops" })), "/bindings/0/group/displayName", "could claim");
}

#[test]
fn a_where_is_a_filter_over_the_person() {
    check(&with("where", json!("nonsense")), "/bindings/0/where", "write a SCIM filter");
    for computed in ["groups.value eq \"x\"", "groups[value eq \"x\"]", "grantState eq \"held\""] {
        check(&with("where", json!(computed)), "/bindings/0/where", "which is computed");
    }
}

#[test]
fn a_role_is_one_of_the_closed_list() {
    let list = "\"Backup Contributor\", \"Backup Operator\", \"Backup Reader\"";
    check(&with("role", json!("Owner")), "/bindings/0/role", list);
    check(&with("role", json!("backup operator")), "/bindings/0/role", list);
}

#[test]
fn a_scope_is_one_that_can_be_bound() {
    check(&with("scope", json!("/")), "/bindings/0/scope", "tenant root");
    check(&with("scope", json!(format!("{VAULT}/x"))), "/bindings/0/scope", "vaults/{vault}");
    check(&with("scope", json!(SUBSCRIPTION)), "/bindings/0/scope", "\"allowBroadScope\": true");
}

#[test]
fn kinds_that_come_later_say_so() {
    check(&with("kind", json!("eligible")), "/bindings/0/kind", "comes in a later version");
    check(&with("kind", json!("timeboxed")), "/bindings/0/kind", "comes in a later version");
    check(&with("kind", json!("Active")), "/bindings/0/kind", "write \"active\"");
}

/// The limits of the only binding of a file.
fn limits(file: &Value) -> (u32, u32) {
    let GrantLimits { max_principals, new_grants_max } = parse(file).unwrap().bindings[0].limits;
    (max_principals, new_grants_max)
}

#[test]
fn the_limits_of_a_binding_have_defaults_that_fit_each_other() {
    assert_eq!(limits(&file()), (500, 50));
    assert_eq!(limits(&with("maxPrincipals", json!(2500))), (2500, 50));
    assert_eq!(limits(&with("maxPrincipals", json!(20))), (20, 20));
    assert_eq!(limits(&with("newGrantsMax", json!(500))), (500, 500));
    let mut both = with("maxPrincipals", json!(MAX_PRINCIPALS_MAX));
    both["bindings"][0]["newGrantsMax"] = json!(MAX_PRINCIPALS_MAX);
    assert_eq!(limits(&both), (MAX_PRINCIPALS_MAX, MAX_PRINCIPALS_MAX));
}

#[test]
fn a_limit_that_is_no_number_in_its_range_is_a_mistake() {
    let place = "/bindings/0/maxPrincipals";
    check(&with("maxPrincipals", json!(0)), place, "is 0: write a whole number from 1 to 4000");
    check(&with("maxPrincipals", json!(4001)), place, "is 4001");
    check(&with("maxPrincipals", json!(-1)), place, "is -1");
    check(&with("maxPrincipals", json!(2.5)), place, "is 2.5");
    check(&with("maxPrincipals", json!("500")), place, "is a text");
    check(&with("maxPrincipals", Value::Null), place, "is null");
    check(&with("newGrantsMax", json!(0)), "/bindings/0/newGrantsMax", "from 1 to 500");
    check(&with("newGrantsMax", json!(501)), "/bindings/0/newGrantsMax", "from 1 to 500");
    let mut both = with("maxPrincipals", json!(20));
    both["bindings"][0]["newGrantsMax"] = json!(21);
    check(&both, "/bindings/0/newGrantsMax", "from 1 to 20");
}

#[test]
fn only_more_room_makes_a_change_of_the_limits_concern_anyone() {
    let limited = |max: u32, new: u32| {
        let mut file = with("maxPrincipals", json!(max));
        file["bindings"][0]["newGrantsMax"] = json!(new);
        parse(&file).unwrap().bindings.remove(0)
    };
    let changes_nothing = |earlier: (u32, u32), later: (u32, u32)| {
        limited(later.0, later.1).changes_nothing_after(&limited(earlier.0, earlier.1))
    };
    assert!(changes_nothing((500, 50), (500, 50)));
    assert!(changes_nothing((500, 50), (400, 50)));
    assert!(changes_nothing((500, 50), (500, 100)));
    assert!(!changes_nothing((500, 50), (600, 50)));
    let other_role = parse(&with("role", json!("Backup Reader"))).unwrap().bindings.remove(0);
    assert!(!other_role.changes_nothing_after(&parse(&file()).unwrap().bindings[0]));
}

#[test]
fn the_sources_of_the_principal_are_known_and_unique() {
    let from = |value: Value| {
        let mut file = file();
        file["principal"] = json!({ "from": value });
        file
    };
    check(&from(json!([])), "/principal/from", "at least one");
    check(&from(json!(["externalId", "externalId"])), "/principal/from/1", "listed already");
    check(&from(json!(["mail"])), "/principal/from/0", "one of entraObjectId, externalId");
    check(&from(json!("externalId")), "/principal/from", "a list");
}

#[test]
fn a_retired_scope_is_listed_once_and_is_not_bound() {
    let retired = |value: Value| {
        let mut file = file();
        file["retired"] = value;
        file
    };
    let old = format!("{SUBSCRIPTION}/resourceGroups/old");
    check(&retired(json!([old, old.to_uppercase() + "/"])), "/retired/1", "same scope as /retired/0");
    check(&retired(json!([VAULT.to_lowercase()])), "/retired/0", "bound by /bindings/0/scope");
    parse(&retired(json!([SUBSCRIPTION]))).unwrap();
}

#[test]
fn two_bindings_that_give_the_same_are_a_mistake() {
    let twice = |change: &[(&str, Value)]| {
        let mut file = file();
        let mut second = binding("one");
        second["name"] = json!("two");
        for (key, value) in change {
            second[*key] = value.clone();
        }
        file["bindings"] = json!([binding("one"), second]);
        file
    };
    check(&twice(&[]), "/bindings/1", "the same as /bindings/0");
    check(&twice(&[("scope", json!(VAULT.to_lowercase()))]), "/bindings/1", "the same as");
    parse(&twice(&[("role", json!("Backup Reader"))])).unwrap();
    parse(&twice(&[("where", json!("title pr"))])).unwrap();
    parse(&twice(&[("group", json!({ "externalId": "One" }))])).unwrap();
}

#[test]
fn a_file_that_would_take_everything_away_unsaid_is_refused() {
    check(&json!({ "version": 1, "bindings": [] }), "/bindings", "and so is \"retired\"");
    let leaving = json!({ "version": 1, "bindings": [], "retired": [VAULT] });
    assert_eq!(parse(&leaving).unwrap().scopes().len(), 1);
}

#[test]
fn two_thousand_bindings_fit_and_one_more_does_not() {
    let group = format!("{SUBSCRIPTION}/resourceGroups/g");
    let many = |count: usize| {
        let bindings: Vec<Value> = (0..count)
            .map(|n| {
                let name = format!("b{n}");
                json!({ "name": name, "group": { "externalId": name }, "role": "Backup Reader", "scope": group })
            })
            .collect();
        json!({ "version": 1, "bindings": bindings })
    };
    assert_eq!(parse(&many(BINDINGS_MAX)).unwrap().bindings.len(), BINDINGS_MAX);
    check(&many(BINDINGS_MAX + 1), "/bindings", "2000 are allowed");
}

/// The schema and the walk know the same keys.
#[test]
fn the_schema_names_every_key_that_is_read() {
    let schema = Bindings::json_schema();
    let keys = |at: &str| -> Vec<String> {
        let mut keys: Vec<_> = schema.pointer(at).unwrap().as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let sorted = |keys: &[&str]| {
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys("/properties"), sorted(walk::FILE_KEYS));
    assert_eq!(keys("/$defs/Principal/properties"), sorted(walk::PRINCIPAL_KEYS));
    assert_eq!(keys("/$defs/Binding/properties"), sorted(walk::BINDING_KEYS));
    let mut group: Vec<String> =
        (0..3).flat_map(|n| keys(&format!("/$defs/Group/anyOf/{n}/properties"))).collect();
    group.sort();
    group.dedup();
    assert_eq!(group, sorted(walk::GROUP_KEYS));
}

#[test]
fn the_schema_states_the_limits_and_the_roles_of_the_code() {
    let schema = Bindings::json_schema();
    let at = |pointer: &str| schema.pointer(pointer).cloned().unwrap();
    assert_eq!(at("/properties/bindings/maxItems"), json!(BINDINGS_MAX));
    for limit in ["maxPrincipals", "newGrantsMax"] {
        assert_eq!(at(&format!("/$defs/Binding/properties/{limit}/maximum")), json!(MAX_PRINCIPALS_MAX));
    }
    assert_eq!(at("/$defs/Role/enum"), json!(BackupRole::ALL.map(BackupRole::name)));
    assert_eq!(at("/$defs/PrincipalSource/enum"), json!(PrincipalSource::ALL.map(PrincipalSource::as_str)));
    assert!(!schema.to_string().contains("\"null\""), "what is left out is not null");
}
