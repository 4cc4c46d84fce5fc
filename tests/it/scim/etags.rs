//! ETags over HTTP (RFC 7644 section 3.14): what answers carry, and what the conditions of a request decide.

use crate::grants::over_http::Front;
use crate::scim::http_edge::TOKEN;
use crate::support::harness::{OWN, VAULT_EAST, World};
use crate::support::idp::{Answer, Idp, member, patch};
use azure_backup_scim::rbac::BackupRole::Operator;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

const NOBODY: &str = "0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10";

/// A service behind HTTP, and a client.
struct Stage {
    runtime: Runtime,
    idp: Idp,
    _world: World,
    _front: Front,
}

impl Stage {
    fn new() -> Self {
        let world = World::new().bind("operators", Operator, VAULT_EAST);
        let front = Front::of(world.start());
        let idp = Idp::new(&front.base_url(), TOKEN);
        Self { runtime: Runtime::new().unwrap(), idp, _world: world, _front: front }
    }

    fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        self.runtime.block_on(self.idp.send_with(method, path, headers, body.as_ref())).unwrap()
    }

    fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None)
    }

    /// A resource, and its version.
    fn post(&self, path: &str, body: Value) -> (String, String) {
        let answer = self.send(Method::POST, path, &[], Some(body));
        assert_eq!(answer.status, 201, "{answer:?}");
        (format!("{path}/{}", answer.body["id"].as_str().unwrap()), version(&answer))
    }

    fn user(&self, name: &str) -> (String, String) {
        self.post("/Users", json!({"userName": name}))
    }

    fn version(&self, path: &str) -> String {
        version(&self.get(path))
    }

    fn title(&self, path: &str, title: &str, headers: &[(&str, &str)]) -> Answer {
        let body = patch(json!({"op": "replace", "path": "title", "value": title}));
        self.send(Method::PATCH, path, headers, Some(body))
    }

    fn change_member(&self, op: &str, group: &str, user: &str) -> Answer {
        let id = user.rsplit('/').next().unwrap();
        let answer = self.send(Method::PATCH, group, &[], Some(patch(member(op, id))));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }
}

/// The version of the answer, which header and body must both have.
#[track_caller]
fn version(answer: &Answer) -> String {
    let etag = answer.etag.clone().unwrap_or_else(|| panic!("no ETag: {answer:?}"));
    assert!(etag.starts_with("W/\"") && etag.ends_with('"'), "{etag}");
    assert_eq!(answer.body["meta"]["version"], json!(etag));
    etag
}

fn strong(version: &str) -> &str {
    version.strip_prefix("W/").unwrap()
}

#[test]
fn every_answer_with_one_resource_carries_its_version_and_lists_carry_none() {
    let stage = Stage::new();
    let (user, posted) = stage.user("ana");
    assert_eq!(stage.version(&user), posted);
    let head = stage.send(Method::HEAD, &user, &[], None);
    assert_eq!((head.status, head.etag.as_deref()), (200, Some(posted.as_str())));
    let patched = version(&stage.title(&user, "Clerk", &[]));
    assert_ne!(patched, posted);
    let put = stage.send(Method::PUT, &user, &[], Some(json!({"userName": "ana"})));
    assert_ne!(version(&put), patched);
    let bare = stage.get(&format!("{user}?attributes=userName"));
    assert_eq!((bare.etag, &bare.body["meta"]), (put.etag, &Value::Null));
    for path in ["/Users", "/Users?filter=userName%20eq%20%22ana%22", "/ServiceProviderConfig"] {
        let answer = stage.send(Method::GET, path, &[("if-none-match", "*"), ("if-match", "\"x\"")], None);
        assert_eq!((answer.status, answer.etag), (200, None), "{path}");
    }
    let config = stage.get("/ServiceProviderConfig");
    assert_eq!(config.body["etag"]["supported"], json!(true));
    let deleted = stage.send(Method::DELETE, &user, &[], None);
    assert_eq!((deleted.status, deleted.etag), (204, None));
}

#[test]
fn a_group_too_large_to_be_echoed_answers_with_its_version() {
    let stage = Stage::new();
    let members: Vec<Value> = (0..101).map(|n| stage.user(&format!("u{n}")).0).map(member_of).collect();
    let (group, _) = stage.post("/Groups", json!({"displayName": "ops", "members": members}));
    let rename = patch(json!({"op": "replace", "path": "displayName", "value": "operators"}));
    let answer = stage.send(Method::PATCH, &group, &[], Some(rename));
    assert_eq!((answer.status, &answer.body), (204, &json!("")));
    assert_eq!(answer.etag.unwrap(), stage.version(&group));
}

fn member_of(user: String) -> Value {
    json!({"value": user.rsplit('/').next().unwrap()})
}

#[test]
fn a_read_of_the_version_that_the_client_has_is_304_without_a_body() {
    let stage = Stage::new();
    let (group, _) = stage.post("/Groups", json!({"displayName": "ops"}));
    let (user, _) = stage.user("ana");
    stage.change_member("add", &group, &user);
    for path in [&user, &group] {
        let known = stage.version(path);
        let list = format!("\"other\", {known}");
        for same in [&known, strong(&known), "*", &list] {
            for method in [Method::GET, Method::HEAD] {
                for query in ["", "?attributes=meta", "?excludedAttributes=groups,members"] {
                    let answer = stage.send(
                        method.clone(),
                        &format!("{path}{query}"),
                        &[("if-none-match", same)],
                        None,
                    );
                    assert_eq!((answer.status, &answer.body), (304, &json!("")), "{same} {query}");
                    assert_eq!(answer.etag.as_ref(), Some(&known));
                }
            }
        }
        for headers in [[("if-none-match", "W/\"0\"")], [("if-match", known.as_str())], [("if-match", "*")]] {
            let answer = stage.send(Method::GET, path, &headers, None);
            assert_eq!((answer.status, version(&answer)), (200, known.clone()), "{headers:?}");
        }
        let others =
            stage.send(Method::GET, path, &[("if-match", "W/\"0\""), ("if-none-match", &known)], None);
        assert_eq!((others.status, &others.body["status"]), (412, &json!("412")));
    }
}

#[test]
fn what_the_version_does_not_cover_is_never_304() {
    let stage = Stage::new();
    let (outer, _) = stage.post("/Groups", json!({"displayName": "outer", "externalId": "operators"}));
    let (inner, _) = stage.post("/Groups", json!({"displayName": "inner"}));
    let body = json!({"userName": "ana", "externalId": Uuid::from_u128(7).to_string()});
    let (user, _) = stage.post("/Users", body);
    stage.change_member("add", &inner, &user);
    let known = stage.version(&user);
    let again = |query: &str| {
        let answer = stage.send(Method::GET, &format!("{user}{query}"), &[("if-none-match", &known)], None);
        (answer.status, answer.body)
    };
    assert_eq!(again("").0, 304);
    for attribute in ["grants", "grantState"] {
        let (status, body) = again(&format!("?attributes={OWN}:{attribute}"));
        assert_eq!(status, 200, "{attribute}: {body}");
    }

    stage.change_member("add", &outer, &inner);
    assert_eq!(stage.version(&user), known, "a membership of his group is none of his own");
    let (status, body) = again("");
    assert_eq!((status, body["groups"].as_array().unwrap().len()), (200, 2));
    // Who was shown a group that is left since must not be told that nothing changed.
    stage.change_member("remove", &outer, &inner);
    assert_eq!(stage.version(&user), known);
    let (status, body) = again("");
    assert_eq!((status, body["groups"].as_array().unwrap().len()), (200, 1));
    assert_eq!(again("?excludedAttributes=groups").0, 304);
}

#[test]
fn a_write_in_another_version_is_412_and_changes_nothing() {
    let stage = Stage::new();
    let (user, first) = stage.user("ana");
    let (group, empty) = stage.post("/Groups", json!({"displayName": "ops"}));
    let second = version(&stage.title(&user, "Clerk", &[]));
    let full = version(&stage.change_member("add", &group, &user));
    let joined = stage.version(&user);
    assert!(second != joined && empty != full);
    for (path, stale, now) in [(&user, &first, &joined), (&user, &second, &joined), (&group, &empty, &full)] {
        let put = if *path == user { json!({"userName": "ana"}) } else { json!({"displayName": "ops"}) };
        let operation = patch(json!({"op": "replace", "path": "externalId", "value": "x"}));
        for (method, body) in
            [(Method::PUT, Some(put)), (Method::PATCH, Some(operation)), (Method::DELETE, None)]
        {
            for headers in
                [[("if-match", stale.as_str())], [("if-none-match", now)], [("if-none-match", "*")]]
            {
                let answer = stage.send(method.clone(), path, &headers, body.clone());
                assert_eq!(answer.status, 412, "{method} {headers:?}");
                assert_eq!(answer.body["status"], json!("412"));
            }
        }
        assert_eq!(&stage.version(path), now);
    }
    let list = format!("{first}, {}", strong(&joined));
    let patched = stage.title(&user, "Boss", &[("if-match", &list), ("if-none-match", &first)]);
    assert_eq!(patched.status, 200);
    assert_eq!(stage.title(&user, "Boss", &[("if-match", "*")]).status, 200);
    assert_eq!(stage.send(Method::DELETE, &group, &[("if-match", &full)], None).status, 204);
    assert_eq!(stage.send(Method::DELETE, &group, &[("if-match", &full)], None).status, 404);
}

#[test]
fn what_is_missing_is_404_and_412_where_it_must_exist() {
    let stage = Stage::new();
    for id in [NOBODY, "no-id"] {
        for kind in ["Users", "Groups"] {
            let path = format!("/{kind}/{id}");
            let bodies = [
                (Method::GET, None),
                (Method::PUT, Some(json!({"userName": "x", "displayName": "x"}))),
                (Method::PATCH, Some(patch(json!({"op": "replace", "path": "externalId", "value": "x"})))),
                (Method::DELETE, None),
            ];
            for (method, body) in bodies {
                let status = |headers: &[(&str, &str)]| {
                    stage.send(method.clone(), &path, headers, body.clone()).status
                };
                assert_eq!(status(&[("if-match", "*")]), 412, "{method} {path}");
                assert_eq!(status(&[("if-match", "W/\"1\"")]), 404, "{method} {path}");
                assert_eq!(status(&[("if-none-match", "*")]), 404, "{method} {path}");
            }
        }
    }
}

#[test]
fn a_malformed_condition_is_400_and_changes_nothing() {
    let stage = Stage::new();
    let (user, known) = stage.user("ana");
    for wrong in ["7", "", "W/7", "*, \"7\"", "\"7\" \"8\"", "\"7"] {
        for header in ["if-match", "if-none-match"] {
            let headers = [(header, wrong)];
            let answer = stage.title(&user, "x", &headers);
            assert_eq!(
                (answer.status, &answer.body["scimType"]),
                (400, &json!("invalidValue")),
                "{headers:?}"
            );
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.to_lowercase().starts_with(header), "{detail}");
            assert_eq!(stage.send(Method::DELETE, &user, &headers, None).status, 400);
            assert_eq!(stage.send(Method::GET, &user, &headers, None).status, 400);
        }
    }
    let two = [("if-match", "*"), ("if-match", "*")];
    assert_eq!(stage.title(&user, "x", &two).status, 400);
    assert_eq!(stage.version(&user), known);
    let spread = [("if-match", "\"0\""), ("if-match", known.as_str())];
    assert_eq!(stage.title(&user, "x", &spread).status, 200);
}

#[test]
fn what_changes_nothing_moves_no_version() {
    let stage = Stage::new();
    let (user, _) = stage.user("ana");
    let (other, _) = stage.user("ben");
    let (group, _) = stage.post("/Groups", json!({"displayName": "ops"}));
    stage.change_member("add", &group, &user);
    stage.title(&user, "Clerk", &[]);
    let known = [&user, &other, &group].map(|path| stage.version(path));
    stage.change_member("add", &group, &user);
    stage.change_member("remove", &group, &other);
    let same = stage.title(&user, "Clerk", &[("if-match", &known[0])]);
    assert_eq!(version(&same), known[0]);
    stage.send(Method::PUT, &user, &[], Some(json!({"userName": "ana", "title": "Clerk"})));
    assert_eq!([&user, &other, &group].map(|path| stage.version(path)), known);

    stage.change_member("add", &group, &other);
    let [ana, ben, ops] = [&user, &other, &group].map(|path| stage.version(path));
    assert_eq!(ana, known[0]);
    assert!(ben != known[1] && ops != known[2]);
    stage.change_member("remove", &group, &other);
    assert!(stage.version(&other) != ben && stage.version(&group) != ops);
}

/// Which groups a group is in is no part of it.
#[test]
fn a_group_that_joins_or_leaves_another_keeps_its_version() {
    let stage = Stage::new();
    let (inner, made) = stage.post("/Groups", json!({"displayName": "inner"}));
    let (outer, _) = stage.post("/Groups", json!({"displayName": "outer"}));
    for op in ["add", "remove"] {
        stage.change_member(op, &outer, &inner);
        assert_eq!(stage.version(&inner), made, "{op}");
    }
    let rename = patch(json!({"op": "replace", "path": "externalId", "value": "x"}));
    let renamed = stage.send(Method::PATCH, &inner, &[("If-Match", &made)], Some(rename));
    assert_eq!(renamed.status, 200, "{renamed:?}");
    assert_ne!(version(&renamed), made);
}
