//! Every limit of a request over HTTP: at the limit it is carried out, one past it it is refused with the status and the scimType
//! of docs/scim.md, and nothing has changed.

use crate::grants::over_http::Front;
use crate::scim::http_edge::{Response, bearer};
use crate::support::harness::{PATCH_OP, World};
use azure_backup_scim::ports::tables::TableRow;
use serde_json::{Value, json};
use uuid::Uuid;

const MIB: usize = 1024 * 1024;
const VALUES_MAX: usize = 120_000;
const DEPTH_MAX: usize = 64;
const OPERATIONS_MAX: usize = 1_000;
const FILTER_BYTES_MAX: usize = 8 * 1024;
const FILTER_DEPTH_MAX: usize = 32;
const FILTER_TERMS_MAX: usize = 256;
const PAGE_MAX: usize = 1_000;
const MEMBERS_MAX: usize = 10_000;

/// A text of that size.
type TextOf<'a> = &'a dyn Fn(usize) -> String;

struct Stage {
    /// What the service stands on.
    _world: World,
    front: Front,
}

impl Stage {
    fn new() -> Self {
        let world = World::new();
        let front = Front::of(world.start());
        Self { _world: world, front }
    }

    fn send(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Response {
        let headers = [&bearer(), "content-type: application/scim+json"];
        self.front.http.send(method, &format!("/scim/v2{path}"), &headers, body.as_ref())
    }

    fn rows(&self) -> Vec<TableRow> {
        let rows = self.front.node.service.store.rows_between(String::new(), "~".to_owned(), usize::MAX);
        self.front.node.run(rows).unwrap()
    }

    /// The status of what is carried out.
    #[track_caller]
    fn accepted(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> u16 {
        let answer = self.send(method, path, body);
        assert!((200..300).contains(&answer.status), "{} {:?}", answer.status, answer.json());
        answer.status
    }

    /// Refused, with the number of the limit in the detail, and no row has changed.
    #[track_caller]
    fn refused(
        &self,
        method: &str,
        path: &str,
        body: impl AsRef<[u8]>,
        error: (u16, Option<&str>),
        number: &str,
    ) {
        let before = self.rows();
        let answer = self.send(method, path, body);
        let shown = answer.json();
        assert_eq!((answer.status, shown["scimType"].as_str()), error, "{shown}");
        assert_eq!(shown["status"], error.0.to_string());
        assert!(shown["detail"].as_str().unwrap().contains(number), "{shown}");
        assert_eq!(self.rows(), before, "{shown}");
    }
}

/// The body with so many bytes.
fn padded(body: &Value, bytes: usize) -> String {
    let text = body.to_string();
    let rest = text.strip_prefix('{').unwrap();
    format!("{{{}{rest}", " ".repeat(bytes - text.len()))
}

fn user(name: &str) -> Value {
    json!({"userName": name})
}

fn patch(operations: Value) -> String {
    json!({"schemas": [PATCH_OP], "Operations": operations}).to_string()
}

#[test]
fn a_body_has_as_many_bytes_as_it_may() {
    let stage = Stage::new();
    let group = |name: &str| json!({"displayName": name});
    stage.accepted("POST", "/Users", padded(&user("ana"), MIB));
    stage.refused("POST", "/Users", padded(&user("ben"), MIB + 1), (413, None), &MIB.to_string());
    let limit = 8 * MIB;
    stage.accepted("POST", "/Groups", padded(&group("ops"), limit));
    stage.refused("POST", "/Groups", padded(&group("dev"), limit + 1), (413, None), &limit.to_string());
    let bulk = json!({"Operations": [
        {"method": "POST", "path": "/Users", "bulkId": "1", "data": user("cleo")},
    ]});
    stage.accepted("POST", "/Bulk", padded(&bulk, limit));
    stage.refused("POST", "/Bulk", padded(&bulk, limit + 1), (413, None), &limit.to_string());
}

#[test]
fn a_body_has_as_many_values_and_levels_as_it_may() {
    let stage = Stage::new();
    // The object, the name, the list and what is in it: an attribute that there is not, which is dropped.
    let many =
        |name: &str, values: usize| json!({"userName": name, "displayName": name, "zz": vec![0; values - 4]});
    let number = VALUES_MAX.to_string();
    for endpoint in ["/Users", "/Groups"] {
        stage.accepted("POST", endpoint, many("ana", VALUES_MAX).to_string());
        stage.refused("POST", endpoint, many("ben", VALUES_MAX + 1).to_string(), (413, None), &number);
    }
    let bulk = |name: &str, values: usize| {
        let data = json!({"userName": name, "zz": vec![0; values - 9]});
        json!({"Operations": [{"method": "POST", "path": "/Users", "bulkId": "1", "data": data}]}).to_string()
    };
    assert!(bulk("cleo", VALUES_MAX + 1).len() < 8 * MIB);
    stage.accepted("POST", "/Bulk", bulk("cleo", VALUES_MAX));
    stage.refused("POST", "/Bulk", bulk("dora", VALUES_MAX + 1), (413, None), &number);

    let deep = |name: &str, levels: usize| {
        let inner = levels - 1;
        format!("{{\"userName\":\"{name}\",\"zz\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
    };
    stage.accepted("POST", "/Users", deep("eve", DEPTH_MAX));
    let syntax = (400, Some("invalidSyntax"));
    stage.refused("POST", "/Users", deep("finn", DEPTH_MAX + 1), syntax, "too deeply");
    stage.refused("POST", "/Users", deep("finn", 500_000), syntax, "too deeply");
}

#[test]
fn a_bulk_request_has_as_many_operations_as_it_may() {
    let stage = Stage::new();
    let many = |operations: usize| {
        let made = json!({"method": "POST", "path": "/Users", "bulkId": "1", "data": user("ana")});
        // A mistake in an operation is the result of that operation.
        let rest = vec![json!({"method": "GET", "path": "/Users"}); operations - 1];
        json!({"Operations": std::iter::once(made).chain(rest).collect::<Vec<_>>()}).to_string()
    };
    let number = OPERATIONS_MAX.to_string();
    stage.refused("POST", "/Bulk", many(OPERATIONS_MAX + 1), (413, None), &number);
    let answer = stage.send("POST", "/Bulk", many(OPERATIONS_MAX)).json();
    let results = answer["Operations"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["status"]), (OPERATIONS_MAX, &json!("201")));
}

#[test]
fn a_filter_is_as_long_and_as_deep_as_it_may_be() {
    let stage = Stage::new();
    let of_bytes = |bytes: usize| format!("title eq \"{}\"", "x".repeat(bytes - "title eq \"\"".len()));
    let nested = |depth: usize| format!("{}title pr{}", "not (".repeat(depth), ")".repeat(depth));
    let terms = |terms: usize| vec!["title pr"; terms].join(" or ");
    let limits: [(TextOf<'_>, usize); 3] =
        [(&of_bytes, FILTER_BYTES_MAX), (&nested, FILTER_DEPTH_MAX), (&terms, FILTER_TERMS_MAX)];
    for (filter, most) in limits {
        for path in ["/Users/.search", "/.search"] {
            let search = |filter: String| json!({"filter": filter}).to_string();
            stage.accepted("POST", path, search(filter(most)));
            let error = (400, Some("invalidFilter"));
            stage.refused("POST", path, search(filter(most + 1)), error, &most.to_string());
        }
    }
    // Nothing recursive: as deep as the text allows.
    let search = json!({"filter": "(".repeat(FILTER_BYTES_MAX)}).to_string();
    stage.refused(
        "POST",
        "/Users/.search",
        search,
        (400, Some("invalidFilter")),
        &FILTER_DEPTH_MAX.to_string(),
    );
}

#[test]
fn a_path_is_as_long_and_as_deep_as_it_may_be() {
    let stage = Stage::new();
    let id = stage.send("POST", "/Users", user("ana").to_string()).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/Users/{id}");
    let in_brackets = |filter: String| patch(json!([{"op": "remove", "path": format!("emails[{filter}]")}]));
    let of_bytes = |bytes: usize| {
        let around = "emails[type eq \"\"]".len();
        in_brackets(format!("type eq \"{}\"", "x".repeat(bytes - around)))
    };
    let nested = |depth: usize| {
        // The brackets are a level.
        let depth = depth - 1;
        in_brackets(format!("{}type pr{}", "not (".repeat(depth), ")".repeat(depth)))
    };
    let terms = |terms: usize| in_brackets(vec!["type pr"; terms].join(" and "));
    let limits: [(TextOf<'_>, usize, &str); 3] = [
        (&of_bytes, FILTER_BYTES_MAX, "invalidPath"),
        (&nested, FILTER_DEPTH_MAX, "invalidFilter"),
        (&terms, FILTER_TERMS_MAX, "invalidFilter"),
    ];
    for (body, most, scim_type) in limits {
        stage.accepted("PATCH", &path, body(most));
        stage.refused("PATCH", &path, body(most + 1), (400, Some(scim_type)), &most.to_string());
    }
}

/// Operations of a PATCH have no limit of their own: the bytes and the values of a body bound them.
#[test]
fn a_patch_has_as_many_operations_as_a_body_has_values() {
    let stage = Stage::new();
    let group = json!({"displayName": "Ops"}).to_string();
    let id = stage.send("POST", "/Groups", group).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/Groups/{id}");
    // Each is four values; the body, two lists and the schema are four more.
    let many = |operations: usize| {
        let operation = json!({"op": "replace", "path": "externalId", "value": "T"});
        patch(Value::from(vec![operation; operations]))
    };
    let most = (VALUES_MAX - 4) / 4;
    stage.accepted("PATCH", &path, many(most));
    stage.refused("PATCH", &path, many(most + 1), (413, None), &VALUES_MAX.to_string());
}

#[test]
fn an_attribute_has_as_many_values_as_it_may() {
    let stage = Stage::new();
    let id = stage.send("POST", "/Users", user("ana").to_string()).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/Users/{id}");
    for (name, most) in [("emails", 40), ("ims", 200)] {
        let replace = |values: usize| {
            let values: Vec<Value> = (0..values).map(|n| json!({"value": format!("v{n}")})).collect();
            patch(json!([{"op": "replace", "path": name, "value": values}]))
        };
        stage.accepted("PATCH", &path, replace(most));
        let error = (400, Some("invalidValue"));
        stage.refused("PATCH", &path, replace(most + 1), error, &most.to_string());
        let one_more = patch(json!([{"op": "add", "path": name, "value": [{"value": "one more"}]}]));
        stage.refused("PATCH", &path, one_more, error, &most.to_string());
    }
}

#[test]
fn a_request_names_as_many_members_as_it_may() {
    let stage = Stage::new();
    let created = |name: &str| stage.send("POST", "/Users", user(name).to_string()).json()["id"].clone();
    let (ana, ben) = (created("ana"), created("ben"));
    let group = stage.send("POST", "/Groups", json!({"displayName": "ops"}).to_string()).json()["id"].clone();
    let path = format!("/Groups/{}", group.as_str().unwrap());
    // One who exists and many who do not.
    let many = |member: &Value, members: usize| {
        let others = (1..members).map(|_| json!({"value": Uuid::new_v4()}));
        std::iter::once(json!({"value": member})).chain(others).collect::<Vec<_>>()
    };
    let add = |members: Vec<Value>| patch(json!([{"op": "add", "path": "members", "value": members}]));
    let put = |members: Vec<Value>| json!({"displayName": "ops", "members": members}).to_string();
    let number = MEMBERS_MAX.to_string();
    stage.refused("PATCH", &path, add(many(&ana, MEMBERS_MAX + 1)), (413, None), &number);
    stage.accepted("PATCH", &path, add(many(&ana, MEMBERS_MAX)));
    let members = || stage.front.node.members_of(group.as_str().unwrap());
    assert_eq!(json!(members()), json!([ana]));
    stage.refused("PUT", &path, put(many(&ben, MEMBERS_MAX + 1)), (413, None), &number);
    stage.accepted("PUT", &path, put(many(&ben, MEMBERS_MAX)));
    assert_eq!(json!(members()), json!([ben]));
    let post = |members| json!({"displayName": "dev", "members": members}).to_string();
    stage.refused("POST", "/Groups", post(many(&ana, MEMBERS_MAX + 1)), (413, None), &number);
    stage.accepted("POST", "/Groups", post(many(&ana, MEMBERS_MAX)));
}

#[test]
fn a_page_has_as_many_resources_as_it_may() {
    let stage = Stage::new();
    for number in 0..=PAGE_MAX {
        stage.front.node.create_user(user(&format!("user{number}")));
    }
    for (count, shown) in [(PAGE_MAX - 1, PAGE_MAX - 1), (PAGE_MAX, PAGE_MAX), (PAGE_MAX + 1, PAGE_MAX)] {
        let query = json!({"count": count, "attributes": ["userName"]}).to_string();
        let answer = stage.send("POST", "/Users/.search", query);
        let page = answer.json();
        assert_eq!((answer.status, page["totalResults"].as_u64()), (200, Some(PAGE_MAX as u64 + 1)));
        assert_eq!(page["itemsPerPage"].as_u64(), Some(shown as u64), "count {count}");
        assert_eq!(page["Resources"].as_array().unwrap().len(), shown, "count {count}");
    }
}
