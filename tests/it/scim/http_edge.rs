//! The HTTP edge over a real socket: who gets in, what is read, and what every answer looks like.
//!
//! Nothing here needs the service behind the edge to do anything.

use crate::support::fault_injection::Faults;
use azure_backup_scim::app::{self, ServiceDeps};
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::http::{HealthDetails, HttpDeps, TimerTrigger, server};
use azure_backup_scim::id::OpId;
use azure_backup_scim::ports::tables::TableOps;
use azure_backup_scim::ports::{clock::Clock, ids::IdSource};
use azure_backup_scim::service::audit::seal::AuditKeeping;
use azure_backup_scim::service::reconcile::EffectLimits;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::service::reconcile_queue::tick::TickLimits;
use azure_backup_scim::service::tokens::{BearerTokens, TokenSet};
use azure_backup_scim::store::orders::OrderTable;
use azure_backup_scim::store::request_log::RequestTable;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

pub const TOKEN: &str = "a-token-of-more-than-32-characters";
const MIB: usize = 1024 * 1024;

struct Fixed;

/// The id of a row that is broken.
const BROKEN: &str = "0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10";

/// The id of every request here.
const REQUEST: &str = "00000000-0000-0000-0000-000000000000";

impl Clock for Fixed {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

impl IdSource for Fixed {
    fn random(&self) -> Uuid {
        Uuid::from_u128(7)
    }
    fn op(&self) -> OpId {
        OpId::new(Uuid::nil())
    }
    fn jitter(&self) -> f64 {
        0.0
    }
}

/// A service on an empty table, but for one row that nobody can understand.
fn service() -> app::BackupScim {
    // A provider that an earlier test installed serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let engine = TableEngine::memory(Arc::new(Fixed));
    let key = format!("u:{BROKEN}");
    futures_util::future::FutureExt::now_or_never(engine.insert("default", &key, Default::default()));
    service_on(Arc::new(engine))
}

fn service_on(tables: Arc<dyn TableOps>) -> app::BackupScim {
    let arm = app::arm("http://127.0.0.1:9", "unused".to_owned().into(), Arc::new(Fixed)).unwrap();
    let parts = ServiceDeps {
        orders: OrderTable::new(tables.clone(), "orders".to_owned()),
        requests: RequestTable::new(tables.clone(), "requests".to_owned()),
        tables,
        assignments: arm.clone(),
        access: arm,
        connectivity: Arc::default(),
        clock: Arc::new(Fixed),
        ids: Arc::new(Fixed),
        tenant: "default".to_owned(),
        instance: None,
        base_url: "https://scim.example/scim/v2".to_owned(),
        effect_limits: EffectLimits::default(),
        inline: InlineLimits::default(),
        tick: TickLimits { deadline: Duration::from_secs(45), overdue_after: Duration::from_secs(900) },
        audit: AuditKeeping::default(),
        drill: None,
    };
    app::build(parts)
}

fn edge() -> HttpDeps {
    edge_of(service())
}

fn edge_of(service: app::BackupScim) -> HttpDeps {
    let tokens = TokenSet::new([("entra".to_owned(), TOKEN.to_owned().into())]).unwrap();
    HttpDeps {
        provisioning: service.provisioning,
        request_log: service.request_log,
        gate: service.gate,
        tokens: Arc::new(BearerTokens::fixed(tokens, Arc::new(Fixed))),
        timer: Arc::new(TimerTrigger::of_host(service.tick)),
        clock: Arc::new(Fixed),
        ids: Arc::new(Fixed),
        base_url: "https://scim.example/scim/v2".to_owned(),
        announce_cursors: false,
        health: Arc::new(|| [("bindings".to_owned(), Value::from(2))].into_iter().collect()),
        details: HealthDetails(Arc::new(|| [("version".to_owned(), "1".into())].into_iter().collect())),
    }
}

/// A running edge.
pub struct Service(pub SocketAddr);

impl Service {
    pub fn start() -> Self {
        Self::start_with(edge)
    }

    fn start_with(edge: impl FnOnce() -> HttpDeps + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async { server(listener, edge(), 1).unwrap().await })
        });
        Self(address)
    }

    /// Sends bytes and reads the one answer.
    fn raw(&self, request: &[u8]) -> Response {
        let mut socket = TcpStream::connect(self.0).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(request).unwrap();
        Response::read(&mut socket)
    }

    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Response {
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.0);
        for header in headers {
            text += &format!("{header}\r\n");
        }
        if !body.is_empty() {
            text += &format!("content-length: {}\r\n", body.len());
        }
        self.raw(&[(text + "\r\n").as_bytes(), body].concat())
    }

    fn anonymous(&self, method: &str, path: &str) -> Response {
        self.send(method, path, &[], b"")
    }

    /// With the right token.
    fn call(&self, method: &str, path: &str) -> Response {
        self.send(method, path, &[&bearer()], b"")
    }

    fn post(&self, path: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Response {
        let bearer = bearer();
        let headers: Vec<&str> = headers.iter().copied().chain([bearer.as_str()]).collect();
        self.send("POST", path, &headers, body.as_ref())
    }
}

pub fn bearer() -> String {
    format!("authorization: Bearer {TOKEN}")
}

pub struct Response {
    pub status: u16,
    head: String,
    body: String,
}

impl Response {
    pub fn read(socket: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Self { status, head: head.to_owned(), body: body.to_owned() };
                }
            }
            let read = socket.read(&mut chunk).unwrap();
            assert!(read > 0, "closed after {text:?}");
            bytes.extend_from_slice(&chunk[..read]);
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn text(&self) -> &str {
        &self.body
    }

    /// A SCIM error of that status, with the headers that every answer has.
    #[track_caller]
    fn assert_error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        let body = self.json();
        assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
        assert_eq!(body["status"], status.to_string());
        assert!(self.header("content-type").unwrap().starts_with("application/scim+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        body
    }

    #[track_caller]
    fn assert_syntax_error(&self) {
        assert_eq!(self.assert_error(400)["scimType"], "invalidSyntax");
    }

    #[track_caller]
    fn assert_denied(&self) {
        self.assert_error(401);
        assert_eq!(self.header("www-authenticate"), Some(r#"Bearer realm="azure-backup-scim""#));
    }
}

/// A token is checked, and what does not depend on anybody is answered, without asking the table.
#[test]
fn tokens_discovery_and_health_ask_no_table() {
    let _ = service();
    let faults = Faults::new(Arc::new(TableEngine::memory(Arc::new(Fixed))));
    let tables: Arc<dyn TableOps> = faults.clone();
    let service = Service::start_with(|| edge_of(service_on(tables)));
    for path in
        ["/", "/healthz", "/scim/v2/ServiceProviderConfig", "/scim/v2/ResourceTypes", "/scim/v2/Schemas"]
    {
        assert_eq!(service.call("GET", path).status, 200, "{path}");
    }
    service.anonymous("GET", "/scim/v2/Users").assert_denied();
    assert_eq!(faults.counts().requests, 0);
    service.call("GET", &format!("/scim/v2/Users/{BROKEN}?excludedAttributes=groups")).assert_error(404);
    assert_eq!(faults.counts().requests, 1);
}

/// Facts: F-124.
#[test]
fn two_probes_answer_without_a_token_and_nothing_else_does() {
    let service = Service::start();
    assert_eq!(service.anonymous("GET", "/").status, 200);
    let health = service.anonymous("GET", "/healthz");
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok", "bindings": 2})));
    // A token that is known is shown more, and one that is not is no reason to refuse.
    let shown = json!({"status": "ok", "bindings": 2, "details": {"version": "1"}});
    assert_eq!(service.call("GET", "/healthz").json(), shown);
    for wrong in ["authorization: Bearer wrong", "authorization: Basic eDp5"] {
        let answer = service.send("GET", "/healthz", &[wrong], b"");
        assert_eq!((answer.status, answer.json()), (200, health.json()), "{wrong}");
    }
    for path in [
        "/scim/v2/Users",
        "/scim/v2/%55sers",
        "//scim/v2/Users",
        "/scim/v2//Users",
        "/scim/v2/Users/",
        "/scim/v2/Users%2F..",
        "/scim/v2/Users%2Fx",
        "/./scim/v2/Users",
        "/healthz/../scim/v2/Users",
        "/healthz/",
        "//",
        "/%2e",
        "/healthz;a=b",
        "/scim/v2/Users;a=b",
        "/SCIM/V2/USERS",
        "/scim/v2/ServiceProviderConfig",
        "/admin/host/status",
        "/host.json",
        "/.git/config",
        "/scim/v2/Users?access_token=a-token-of-more-than-32-characters",
        "http://evil.example/scim/v2/Users",
        "/%68ealthz",
        "/Reconcile",
        "/scim/v2/Users/%0d%0aX:%201",
    ] {
        service.anonymous("GET", path).assert_denied();
    }
    for method in ["POST", "PUT", "HEADX", "OPTIONS", "TRACE"] {
        service.anonymous(method, "/").assert_denied();
        service.anonymous(method, "/scim/v2/Users").assert_denied();
    }
}

#[test]
fn the_hosts_envelope_ticks_without_a_token_and_nothing_else_gets_in_that_way() {
    let service = Service::start();
    let json = "content-type: application/json; charset=utf-8";
    let envelope =
        br#"{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":true}},
        "Metadata":{"sys":{"MethodName":"Reconcile"}}}"#;
    let answer = service.send("POST", "/Reconcile", &[json], envelope);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"Outputs": {}, "Logs": ["the tick is done"], "ReturnValue": null}));
    for body in [&b"{}"[..], b"", b"null", b"[]", b"{", br#"{"Data":{},"Metadata":{}}"#] {
        assert_eq!(service.send("POST", "/Reconcile", &[json], body).status, 404);
    }
    for path in ["/reconcile", "/Reconcile/", "/RECONCILE", "//Reconcile", "/Reconcile%20", "/x/../Reconcile"]
    {
        service.send("POST", path, &[json], envelope).assert_denied();
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        service.send(method, "/Reconcile", &[json], envelope).assert_denied();
    }
    // What was passed on carries where it came from, or the name that its caller knows.
    for passed_on in
        ["x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https", "x-original-url: /x", "via: 1.1 x"]
    {
        service.send("POST", "/Reconcile", &[json, passed_on], envelope).assert_denied();
    }
    for host in ["scim.example", "localhost", "127.0.0.1", "127.0.0.1:1"] {
        let head = format!("POST /Reconcile HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{json}\r\n");
        let head = format!("{head}content-length: {}\r\n\r\n", envelope.len());
        service.raw(&[head.as_bytes(), envelope].concat()).assert_denied();
    }
    // Not with a token either.
    let passed_on = [json, "x-forwarded-for: 203.0.113.9", &bearer()];
    assert_eq!(service.send("POST", "/Reconcile", &passed_on, envelope).status, 404);
}

/// Facts: F-128.
#[test]
fn only_one_right_bearer_token_opens() {
    let service = Service::start();
    let path = "/scim/v2/ServiceProviderConfig";
    assert_eq!(service.call("GET", path).status, 200);
    assert_eq!(service.send("GET", path, &[&format!("authorization: bEaReR  {TOKEN}")], b"").status, 200);
    let wrong = [
        "authorization: Bearer",
        "authorization: Bearer   ",
        "authorization: Bearer wrong",
        "authorization: Basic eDp5",
    ];
    for header in wrong {
        service.send("GET", path, &[header], b"").assert_denied();
        service.send("GET", path, &[header, &bearer()], b"").assert_denied();
        service.send("GET", path, &[&bearer(), header], b"").assert_denied();
    }
    service.send("GET", path, &[&format!("{0}, Bearer {TOKEN}", bearer())], b"").assert_denied();
    for forged in ["x-ms-client-principal", "x-functions-key", "x-forwarded-for", "proxy-authorization"] {
        service.send("GET", path, &[&format!("{forged}: Bearer {TOKEN}")], b"").assert_denied();
    }
}

#[test]
fn discovery_answers_reads_only() {
    let service = Service::start();
    for path in [
        "ServiceProviderConfig",
        "ResourceTypes",
        "ResourceTypes/User",
        "Schemas",
        "Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
    ] {
        let path = format!("/scim/v2/{path}");
        let found = service.call("GET", &path);
        assert_eq!(found.status, 200, "{path}");
        assert!(found.header("content-type").unwrap().starts_with("application/scim+json"));
        assert_eq!(found.header("cache-control"), Some("no-store"));
        service.call("GET", &format!("{path}?filter=id%20pr")).assert_error(403);
        for method in ["POST", "DELETE", "PUT", "PATCH"] {
            let refused = service.call(method, &path);
            refused.assert_error(405);
            assert_eq!(refused.header("allow"), Some("GET, HEAD"));
        }
    }
    service.call("GET", "/scim/v2/ResourceTypes/Nothing").assert_error(404);
    service.call("GET", "/scim/v2/Schemas/urn:x").assert_error(404);
}

#[test]
fn a_query_has_one_reading() {
    let service = Service::start();
    for path in [
        "/Users?filter=userName%20pr&FILTER=title%20pr",
        "/Users?count=1&Count=2",
        "/Groups?excludedAttributes=members&excludedattributes=id",
        "/Users?filter=",
        "/Groups?Filter=%20",
    ] {
        service.call("GET", &format!("/scim/v2{path}")).assert_error(400);
    }
    service.call("GET", "/scim/v2/Schemas?FILTER=id%20pr").assert_error(403);
    let search = [&bearer()[..], "content-type: application/scim+json"];
    service.send("POST", "/scim/v2/Users/.search", &search, br#"{"filter": ""}"#).assert_error(400);
}

#[test]
fn how_lists_are_paged_is_announced_only_where_that_is_asked_for() {
    let config = |service: &Service| service.call("GET", "/scim/v2/ServiceProviderConfig").body;
    assert!(!config(&Service::start()).contains("pagination"));
    let announcing = Service::start_with(|| HttpDeps { announce_cursors: true, ..edge() });
    assert!(config(&announcing).contains("\"pagination\":{"));
}

/// The order of the checks: the message, then the id, then what the body says.
#[test]
fn a_text_that_is_no_id_is_404_once_the_message_is_in_order() {
    let service = Service::start();
    let bearer = bearer();
    let headers = [bearer.as_str(), "content-type: application/scim+json"];
    for (kind, wrong_value) in [("User", r#"{"userName": 5}"#), ("Group", r#"{"members": "a"}"#)] {
        for id in ["not-an-id", "7c1f0f3e-0f4a-4f53-9d8e-0a4f7e0b1c2d", "7c1f0f3e0f4a4f539d8e0a4f7e0b1c2d"] {
            let path = format!("/scim/v2/{kind}s/{id}");
            let send = |method, body: &str| service.send(method, &path, &headers, body.as_bytes());
            for (method, body) in [
                ("GET", ""),
                ("DELETE", ""),
                ("PUT", wrong_value),
                ("PATCH", r#"{"Operations": []}"#),
                ("PATCH", r#"{"Operations": [{"op": "add", "path": "noSuchAttribute", "value": 1}]}"#),
            ] {
                let detail = &send(method, body).assert_error(404)["detail"];
                let expected = format!("there is no {kind} with this id (request {REQUEST})");
                assert_eq!(*detail, expected, "{method} {path}");
            }
            send("PUT", "{").assert_error(400);
            send("PUT", "[]").assert_error(400);
            send("PATCH", r#"{"Operations": [{"op": "jump"}]}"#).assert_error(400);
        }
    }
}

#[test]
fn every_answer_names_its_request_and_an_error_says_it_too() {
    let service = Service::start();
    let created = service.post("/scim/v2/Users", &[], r#"{"userName": "ana"}"#);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let (path, version) = (format!("/scim/v2/Users/{id}"), created.json()["meta"]["version"].clone());
    let known = format!("if-none-match: {}", version.as_str().unwrap());
    let answers = [
        (201, created),
        (200, service.anonymous("GET", "/")),
        (200, service.anonymous("GET", "/healthz")),
        (200, service.call("GET", "/scim/v2/Users")),
        (304, service.send("GET", &path, &[&bearer(), &known], b"")),
        (400, service.post("/scim/v2/Users", &[], "{")),
        (400, service.call("GET", "/scim/v2/Users?filter=")),
        (401, service.anonymous("GET", "/scim/v2/Users")),
        (404, service.call("GET", "/scim/v2/Users/nothing")),
        (405, service.call("PUT", "/scim/v2/Users")),
        (415, service.post("/scim/v2/Users", &["content-encoding: gzip"], "x")),
        (500, service.call("GET", &format!("/scim/v2/Users/{BROKEN}"))),
        (501, service.call("GET", "/scim/v2/Me")),
        (204, service.call("DELETE", &path)),
    ];
    for (status, answer) in answers {
        assert_eq!(
            (answer.status, answer.header("x-request-id")),
            (status, Some(REQUEST)),
            "{}",
            answer.head
        );
        if status >= 400 {
            let detail = answer.json()["detail"].clone();
            assert!(detail.as_str().unwrap().ends_with(&format!(" (request {REQUEST})")), "{detail}");
        }
    }
}

#[test]
fn unknown_paths_and_methods_are_scim_errors() {
    let service = Service::start();
    for path in ["/scim/v2/Spaceships", "/scim/v1/Users", "/nothing", "//scim/v2/Users", "/scim/v2/Users/a/b"]
    {
        service.call("GET", path).assert_error(404);
    }
    // The base URL is not told to one who uses it.
    let detail = service.call("GET", "/scim/v2/Spaceships").json()["detail"].clone();
    assert_eq!(detail, format!("there is no such endpoint (request {REQUEST})"));
    service.call("GET", "/scim/v2/Me").assert_error(501);
    service.post("/scim/v2/Me", &[], "{}").assert_error(501);
    for (method, path, allow) in [
        ("GET", "/scim/v2/Bulk", "POST"),
        ("PUT", "/scim/v2/Users", "GET, HEAD, POST"),
        ("PATCH", "/scim/v2/Groups", "GET, HEAD, POST"),
        ("POST", "/scim/v2/Users/x", "GET, HEAD, PUT, PATCH, DELETE"),
        ("GET", "/scim/v2/Users/.search", "POST"),
        ("GET", "/scim/v2/.search", "POST"),
        ("POST", "/scim/v2", "GET, HEAD"),
        ("DELETE", "/scim/v2/", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("BREW", "/scim/v2/Groups/x", "GET, HEAD, PUT, PATCH, DELETE"),
    ] {
        let refused = service.call(method, path);
        refused.assert_error(405);
        assert_eq!(refused.header("allow"), Some(allow), "{method} {path}");
    }
}

/// As a tenant URL is pasted, and as clients then put paths behind it.
/// Facts: F-118.
#[test]
fn slashes_too_many_under_the_base_url_do_not_count() {
    let service = Service::start();
    let user = service.post("/scim/v2/Users", &[], r#"{"userName": "ana"}"#).json()["id"].clone();
    let user = user.as_str().unwrap();
    let one = [format!("/scim/v2//Users//{user}/"), format!("/scim/v2/Users/{user}/?attributes=userName")];
    let fixed = ["/scim/v2//Users", "/scim/v2/Users/", "/scim/v2///Groups//", "/scim/v2/Schemas/"];
    for path in fixed.into_iter().chain(one.iter().map(String::as_str)) {
        assert_eq!(service.call("GET", path).status, 200, "{path}");
        service.send("GET", path, &[], b"").assert_error(401);
    }
    let made = service.post("/scim/v2//Users/", &[], r#"{"userName": "ben"}"#);
    assert_eq!(made.status, 201);
    assert!(made.header("location").unwrap().contains("/scim/v2/Users/"), "{:?}", made.header("location"));
    for path in [format!("/scim/v2/Users/%2F{user}"), format!("/scim/v2/Users/{user}%2F")] {
        service.call("GET", &path).assert_error(404);
    }
    for path in [
        "/scim/v1/Users",
        "/scim",
        "/scim/",
        "/scim/Users",
        "/SCIM/v2/Users",
        "//scim/v2/Users",
        "/scim//v2/Users",
    ] {
        service.anonymous("GET", path).assert_denied();
        let detail = service.call("GET", path).assert_error(404)["detail"].to_string();
        assert!(detail.contains("the base URL is http"), "{path}: {detail}");
    }
    assert_eq!(service.call("DELETE", &one[0]).status, 204);
}

#[test]
fn bodies_are_read_strictly() {
    let service = Service::start();
    let users = "/scim/v2/Users";
    for body in ["{\"a\": ", "[]", "\"x\"", "{\"active\": true, \"Active\": false}", "{\"a\":\"\\ud800\"}"] {
        service.post(users, &["content-type: application/scim+json"], body).assert_syntax_error();
    }
    service.post(users, &["content-length: 0"], "").assert_syntax_error();
    service.post(users, &[], b"{\"a\": \"\xff\"}").assert_syntax_error();
    service.post(users, &[], format!("{{\"a\":{}", "[".repeat(100_000))).assert_syntax_error();
    service.send("PATCH", "/scim/v2/Groups/x", &[&bearer()], b"[]").assert_syntax_error();
    service.post("/scim/v2/Groups/.search", &[], "1").assert_syntax_error();
}

#[test]
fn only_plain_json_is_read() {
    let service = Service::start();
    let users = "/scim/v2/Users";
    for header in [
        "content-type: text/plain",
        "content-type: application/xml",
        "content-encoding: gzip",
        "content-encoding: identity, br",
    ] {
        service.post(users, &[header], "{}").assert_error(415);
    }
    for headers in [
        vec![],
        vec!["content-type: "],
        vec!["content-type: application/json"],
        vec!["content-type: APPLICATION/SCIM+JSON ;charset=latin1", "content-encoding: identity"],
    ] {
        // Read, and then refused for what it says.
        service.post(users, &headers, "[]").assert_syntax_error();
    }
}

/// Facts: F-135.
#[test]
fn bodies_have_their_bounds() {
    let service = Service::start();
    let text = |bytes: usize| format!("[{}]", " ".repeat(bytes - 2));
    service.post("/scim/v2/Users", &[], text(MIB)).assert_syntax_error();
    service.post("/scim/v2/Users", &[], text(MIB + 1)).assert_error(413);
    service.post("/scim/v2/Users", &[], text(3 * MIB)).assert_error(413);
    service.post("/scim/v2/Groups", &[], text(8 * MIB)).assert_syntax_error();
    service.post("/scim/v2/Groups", &[], text(8 * MIB + 1)).assert_error(413);
    let head = format!("POST /scim/v2/Users HTTP/1.1\r\nhost: x\r\n{}\r\n", bearer());
    service.raw(format!("{head}content-length: 10737418240\r\n\r\n").as_bytes()).assert_error(413);
    let chunk = format!("{:x}\r\n{}\r\n", MIB, " ".repeat(MIB));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    service.raw(chunked.as_bytes()).assert_error(413);
}

#[test]
fn a_smuggled_request_is_never_served() {
    let service = Service::start();
    let head = format!("POST /scim/v2/Users HTTP/1.1\r\nhost: x\r\n{}\r\n", bearer());
    for framing in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /scim/v2/Schemas HTTP/1.1\r\n\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        "content-length: +2\r\n\r\n{}",
        "content-length: 0x2\r\n\r\n{}",
        "transfer-encoding: xchunked\r\n\r\n{}",
        "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ] {
        let answer = service.raw(format!("{head}{framing}").as_bytes());
        assert_eq!(answer.status, 400, "{framing:?} {}", answer.body);
    }
}

/// Facts: F-083.
#[test]
fn repeated_parameters_are_refused_and_unknown_ones_ignored() {
    let service = Service::start();
    let twice = service.call("GET", "/scim/v2/Users?count=1&count=2");
    assert_eq!(twice.assert_error(400)["scimType"], "invalidValue");
    assert_eq!(service.call("GET", "/scim/v2/Schemas?aadOptscim062020&x=1&x=2").status, 200);
}

/// Facts: F-129.
#[test]
fn nothing_of_a_request_reaches_a_header() {
    let service = Service::start();
    for path in [
        "/scim/v2/Users/%0d%0aX-Injected:%201",
        "/scim/v2/%0aX-Injected:1",
        "/scim/v2/Groups/a%00b%C4%8D%C4%8A",
    ] {
        let answer = service.call("GET", path);
        assert!(!answer.head.to_lowercase().contains("x-injected"), "{}", answer.head);
        assert!(answer.header("location").is_none());
    }
    let config = service.send(
        "GET",
        "/scim/v2/ServiceProviderConfig",
        &[&bearer(), "x-forwarded-host: evil.example"],
        b"",
    );
    assert!(config.body.contains("https://scim.example/scim/v2") && !config.body.contains("evil"));
}

#[test]
fn a_bug_shows_its_id_and_nothing_else() {
    let service = Service::start();
    let body = service.call("GET", &format!("/scim/v2/Users/{BROKEN}")).assert_error(500);
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains(REQUEST) && !detail.contains("row"), "{detail}");
}
