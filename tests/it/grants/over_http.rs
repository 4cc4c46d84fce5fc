//! Leavers of large installations, revoked by requests over HTTP and by the ticks that the host's timer starts.

use crate::scim::http_edge::{self, TOKEN, bearer};
use crate::scim::membership_limit::fill;
use crate::support::harness::{Node, PATCH_OP, Person, VAULT_EAST, VAULT_WEST, World, binding, members};
use crate::support::rows::{quiet, write};
use azure_backup_scim::app;
use azure_backup_scim::http::TimerTrigger;
use azure_backup_scim::ports::tables::TableWrite;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::service::tokens::{BearerTokens, TokenSet};
use azure_backup_scim::store::codec::RowFields;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Everything is left to ticks.
const TICKS_ONLY: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };
/// What the Functions host sends when the timer is due.
const ENVELOPE: &[u8] =
    br#"{"Data":{"timer":{"Schedule":{},"IsPastDue":false}},"Metadata":{"sys":{"MethodName":"Reconcile"}}}"#;

/// A service behind its HTTP server.
pub struct Front {
    pub node: Node,
    pub http: http_edge::Service,
}

impl Front {
    pub fn of(node: Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let service = node.service.clone();
        let tokens = TokenSet::new([("entra".to_owned(), TOKEN.to_owned().into())]).unwrap();
        let tokens = Arc::new(BearerTokens::fixed(tokens, service.store.clock.clone()));
        let probed = service.clone();
        let timer = TimerTrigger::of_host(service.tick.clone());
        let health = Arc::new(move || app::health_report(&probed));
        node.spawn(async move { app::serve(listener, &service, tokens, health, timer).unwrap().await });
        Self { node, http: http_edge::Service(address) }
    }

    /// Ends in `/scim/v2`.
    pub fn base_url(&self) -> String {
        format!("http://{}/scim/v2", self.http.0)
    }

    /// Answered with success.
    #[track_caller]
    fn send(&self, method: &str, path: &str, body: &Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [&bearer(), "content-type: application/scim+json"];
        let answer = self.http.send(method, &format!("/scim/v2{path}"), &headers, body.as_bytes());
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.status);
    }

    #[track_caller]
    pub fn patch(&self, path: &str, operation: Value) {
        self.send("PATCH", path, &json!({"schemas": [PATCH_OP], "Operations": [operation]}));
    }

    #[track_caller]
    pub fn change_members(&self, op: &str, group: &str, people: &[&Person]) {
        let at_once = if op == "add" { 24 } else { 19 };
        for part in people.chunks(at_once) {
            self.patch(&format!("/Groups/{group}?excludedAttributes=members"), members(op, part));
        }
    }

    /// What the health check answers to a request with those headers.
    pub fn health(&self, headers: &[&str]) -> Value {
        let answer = self.http.send("GET", "/healthz", headers, b"");
        assert_eq!(answer.status, 200);
        answer.json()
    }

    /// The timer of the host is due.
    #[track_caller]
    pub fn tick(&self) {
        let answer = self.http.send("POST", "/Reconcile", &["content-type: application/json"], ENVELOPE);
        assert_eq!(answer.status, 200);
    }
}

fn operators() -> (World, Front, Person, String) {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let front = Front::of(world.start_with(TICKS_ONLY));
    let ana = front.node.provision("ana");
    let operators = front.node.group("operators");
    front.node.join(&operators, &[&ana]);
    front.tick();
    world.assert_holds(&ana, Operator, VAULT_EAST);
    (world, front, ana, operators)
}

#[test]
fn a_person_in_five_thousand_groups_is_revoked_by_a_request() {
    let requests: [fn(&Front, &Person, &str); 3] = [
        |front, ana, _| {
            let off = json!({"op": "Replace", "path": "active", "value": "False"});
            front.patch(&format!("/Users/{}", ana.id), off);
        },
        |front, ana, group| front.change_members("remove", group, &[ana]),
        |front, ana, _| front.send("DELETE", &format!("/Users/{}", ana.id), &Value::Null),
    ];
    for request in requests {
        let (world, front, ana, operators) = operators();
        fill(&world, &front.node, &ana, 5_000);
        request(&front, &ana, &operators);
        world.assert_holds(&ana, Operator, VAULT_EAST);
        front.tick();
        world.assert_holds_nothing(&ana);
    }
}

#[test]
fn a_leaver_is_revoked_by_a_request_after_five_thousand_selectors_were_pinned() {
    let (world, front, ana, operators) = operators();
    let pin = |n: u32| TableWrite::Insert {
        key: format!("b:{n:064}"),
        properties: RowFields::row()
            .text("attribute", "externalId")
            .text("value", n.to_string())
            .text("group", Uuid::from_u128(u128::from(n)).to_string())
            .done(),
    };
    write(&world, &front.node, &(0..5_002).map(pin).collect::<Vec<_>>());
    front.change_members("remove", &operators, &[&ana]);
    front.tick();
    world.assert_holds_nothing(&ana);
}

/// The change of the bindings comes with a package; who takes part in it, and the groups in its way, come by requests.
#[test]
fn a_change_of_bindings_revokes_beside_a_thousand_groups_that_requests_made_of_one_bound_value() {
    let world = quiet(World::new().bind("shared", Operator, VAULT_EAST).bind("readers", Reader, VAULT_WEST));
    let front = Front::of(world.start_with(TICKS_ONLY));
    let node = &front.node;
    let ana = node.provision("ana");
    let eve = node.provision("eve");
    let joe = node.provision("joe");
    let shared = node.group("shared");
    let readers = node.group("readers");
    front.change_members("add", &readers, &[&ana, &joe]);
    front.change_members("add", &shared, &[&eve]);
    front.tick();
    world.assert_holds(&ana, Reader, VAULT_WEST);
    world.assert_holds(&eve, Operator, VAULT_EAST);
    for n in 0..1_005 {
        let body = json!({"displayName": format!("shared {n}"), "externalId": "shared"});
        front.send("POST", "/Groups", &body);
    }
    front.change_members("remove", &readers, &[&joe]);
    front.tick();
    world.assert_holds_nothing(&joe);
    world.pass(60);
    node.adopt(&[binding(1, "shared", Reader, VAULT_EAST)]);
    front.tick();
    front.tick();
    world.assert_holds_nothing(&ana);
    assert!(world.holds(&eve, Reader, VAULT_EAST) && !world.holds(&eve, Operator, VAULT_EAST));
    front.change_members("remove", &shared, &[&eve]);
    front.tick();
    world.assert_holds_nothing(&eve);
}
