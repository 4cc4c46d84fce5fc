//! What the SCIM engine costs: reading and evaluating filters, PATCH, projection and serialisation. Beside it, in the same run,
//! the crate `scim_v2` on the same texts, and a bare actix-web server that answers as many bytes.
//!
//! `cargo bench --manifest-path benches/scim/Cargo.toml`, and behind it `-- filter` for a part of it.

use actix_web::rt::System;
use actix_web::{App, HttpResponse, HttpServer, web};
use azure_backup_scim::app::{self, BackupScim, RandomIds, ServiceDeps, SystemClock};
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::http::{HealthDetails, HttpDeps, TimerTrigger, server};
use azure_backup_scim::id::{GroupId, UserId};
use azure_backup_scim::scim::{
    DecidingAttributes, Filter, GroupInput, PatchRequest, Projection, Resource, ResourceType, UserInput,
};
use azure_backup_scim::service::ScimCaller;
use azure_backup_scim::service::audit::seal::AuditKeeping;
use azure_backup_scim::service::reconcile::EffectLimits;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::service::reconcile_queue::tick::TickLimits;
use azure_backup_scim::service::tokens::{BearerTokens, TokenSet};
use azure_backup_scim::store::orders::OrderTable;
use azure_backup_scim::store::request_log::RequestTable;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;

const TOKEN: &str = "a-token-of-more-than-32-characters";
const MEMBERS: usize = 1000;

/// What clients ask, and one that is as long as a careful one gets.
const FILTERS: [(&str, &str); 5] = [
    ("lookup", "userName eq \"ana@example.test\""),
    ("value path", "emails[type eq \"work\" and value co \"@example.test\"]"),
    ("negation", "not (active eq false) and (title pr or nickName sw \"a\")"),
    ("urn", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq \"Storage\""),
    ("twenty terms", TWENTY),
];
const TWENTY: &str = "userName eq \"a\" or userName eq \"b\" or userName eq \"c\" or userName eq \"d\" or userName eq \"e\" \
    or userName eq \"f\" or userName eq \"g\" or userName eq \"h\" or userName eq \"i\" or userName eq \"j\" \
    or userName eq \"k\" or userName eq \"l\" or userName eq \"m\" or userName eq \"n\" or userName eq \"o\" \
    or userName eq \"p\" or userName eq \"q\" or userName eq \"r\" or userName eq \"s\" or userName eq \"ana@example.test\"";

/// A user as Entra ID sends it.
fn user(number: usize) -> Value {
    json!({
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        ],
        "externalId": format!("{number:08x}-0000-4000-8000-000000000000"),
        "userName": format!("person-{number}@example.test"),
        "active": true,
        "displayName": format!("Person {number}"),
        "title": "Engineer",
        "preferredLanguage": "en-GB",
        "name": {"formatted": format!("Person {number}"), "givenName": "Person", "familyName": format!("{number}")},
        "emails": [{"primary": true, "type": "work", "value": format!("person-{number}@example.test")}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "department": "Storage", "employeeNumber": format!("{number}"),
        },
    })
}

/// What Entra ID sends when someone moves: three attributes, one of them of an element of a list.
const PATCH: &str = r#"{
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [
        {"op": "replace", "path": "title", "value": "Lead"},
        {"op": "replace", "path": "emails[type eq \"work\"].value", "value": "lead@example.test"},
        {"op": "add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "Backup"}
    ]
}"#;

/// A service on a table in memory, with a user and a group of [`MEMBERS`] in it.
struct World {
    runtime: Runtime,
    service: BackupScim,
    user: UserId,
    group: GroupId,
}

impl World {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let service = runtime.block_on(async { service() });
        let (user, group) = runtime.block_on(fill(&service));
        Self { runtime, service, user, group }
    }
}

fn service() -> BackupScim {
    app::install_tls();
    let clock = Arc::new(SystemClock::new());
    let tables = Arc::new(TableEngine::memory(clock.clone()));
    let arm = app::arm("http://127.0.0.1:9", "unused".to_owned().into(), clock.clone()).expect("a client");
    app::build(ServiceDeps {
        orders: OrderTable::new(tables.clone(), "orders".to_owned()),
        requests: RequestTable::new(tables.clone(), "requests".to_owned()),
        tables,
        assignments: arm.clone(),
        access: arm,
        connectivity: Arc::default(),
        ids: Arc::new(RandomIds::new(clock.clone())),
        clock,
        tenant: "default".to_owned(),
        instance: None,
        base_url: "https://scim.example/scim/v2".to_owned(),
        effect_limits: EffectLimits::default(),
        inline: InlineLimits::default(),
        tick: TickLimits { deadline: Duration::from_secs(45), overdue_after: Duration::from_secs(900) },
        audit: AuditKeeping::default(),
        drill: None,
    })
}

async fn fill(service: &BackupScim) -> (UserId, GroupId) {
    let (provisioning, caller) = (&service.provisioning, ScimCaller::new("bench".to_owned()));
    let (users, groups) = (Projection::all(ResourceType::User), Projection::all(ResourceType::Group));
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        let input = UserInput::parse(&user(number)).expect("a user");
        members.push(provisioning.create_user(&caller, &input, &users).await.expect("created").id);
    }
    let named: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
    let input = GroupInput::parse(&json!({"displayName": "Operators", "members": named})).expect("a group");
    let group = provisioning.create_group(&caller, &input, &groups).await.expect("created");
    (UserId::parse(&members[0]).expect("an id"), GroupId::parse(&group.id).expect("an id"))
}

fn filters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("filter/parse");
    for (name, text) in FILTERS {
        group.bench_with_input(BenchmarkId::new("ours", name), text, |bench, text| {
            bench.iter(|| Filter::parse(ResourceType::User, black_box(text)).expect("a filter"));
        });
        if text.parse::<scim_v2::filter::Filter>().is_ok() {
            group.bench_with_input(BenchmarkId::new("scim_v2", name), text, |bench, text| {
                bench.iter(|| black_box(text).parse::<scim_v2::filter::Filter>().expect("a filter"));
            });
        }
    }
    group.finish();
    let mut group = criterion.benchmark_group("filter/evaluate");
    let rendered = user(1);
    for (name, text) in FILTERS {
        let filter = Filter::parse(ResourceType::User, text).expect("a filter");
        group.bench_function(name, |bench| bench.iter(|| filter.matches(black_box(&rendered))));
    }
    group.finish();
}

fn patch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("patch");
    let Value::Object(mut attributes) = user(1) else { return };
    attributes.remove("schemas");
    let current = Resource::from_stored(ResourceType::User, attributes);
    let deciding = DecidingAttributes::of([]);
    let read = |text: &str| {
        let body: Value = serde_json::from_str(text).expect("JSON");
        PatchRequest::parse(ResourceType::User, &body).expect("a patch")
    };
    group.bench_function("read/ours", |bench| bench.iter(|| read(black_box(PATCH))));
    group.bench_function("read/JSON alone", |bench| {
        bench.iter(|| serde_json::from_str::<Value>(black_box(PATCH)).expect("JSON"));
    });
    if serde_json::from_str::<scim_v2::models::others::PatchOp>(PATCH).is_ok() {
        group.bench_function("read/scim_v2", |bench| {
            bench.iter(|| {
                serde_json::from_str::<scim_v2::models::others::PatchOp>(black_box(PATCH)).expect("a patch")
            });
        });
    }
    let patch = read(PATCH);
    group.bench_function("apply", |bench| {
        bench.iter(|| patch.apply(black_box(&current), &deciding).expect("applied"));
    });
    let world = World::start();
    let (caller, all) = (ScimCaller::new("bench".to_owned()), Projection::all(ResourceType::User));
    let titles = ["A", "B"].map(|title| {
        let body = json!({"Operations": [{"op": "replace", "path": "title", "value": title}]});
        PatchRequest::parse(ResourceType::User, &body).expect("a patch")
    });
    let mut turns = 0;
    group.bench_function("whole, on a table in memory", |bench| {
        bench.iter(|| {
            turns += 1;
            let patch = &titles[turns % 2];
            world.runtime.block_on(world.service.provisioning.patch_user(&caller, world.user, patch, &all))
        });
    });
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let world = World::start();
    let (users, groups) = (Projection::all(ResourceType::User), Projection::all(ResourceType::Group));
    let provisioning = &world.service.provisioning;
    let one = world
        .runtime
        .block_on(provisioning.get_user(world.user, &users))
        .expect("read")
        .shown()
        .expect("shown");
    let many = world
        .runtime
        .block_on(provisioning.get_group(world.group, &groups))
        .expect("read")
        .shown()
        .expect("shown");
    let mut group = criterion.benchmark_group("answer");
    for (name, kind, body) in
        [("user", ResourceType::User, &one.body), ("group of 1,000", ResourceType::Group, &many.body)]
    {
        let all = Projection::all(kind);
        let some = Projection::parse(kind, Some("displayName,externalId"), None).expect("a projection");
        group.bench_function(format!("copy/{name}"), |bench| bench.iter(|| black_box(body).clone()));
        group.bench_function(format!("copy and project all/{name}"), |bench| {
            bench.iter(|| all.apply(black_box(body).clone()));
        });
        group.bench_function(format!("copy and project two/{name}"), |bench| {
            bench.iter(|| some.apply(black_box(body).clone()));
        });
        group.bench_function(format!("serialise/{name}"), |bench| {
            bench.iter(|| serde_json::to_vec(black_box(body)).expect("text"));
        });
    }
    group.bench_function("read/user", |bench| {
        bench.iter(|| world.runtime.block_on(provisioning.get_user(world.user, &users)));
    });
    group.bench_function("read/group of 1,000", |bench| {
        bench.iter(|| world.runtime.block_on(provisioning.get_group(world.group, &groups)));
    });
    group.finish();
}

/// Answers any request with as many bytes as its path says.
fn serve_bare(listener: TcpListener) {
    static FILL: [u8; 512 * 1024] = [b'x'; 512 * 1024];
    let answer = async |size: web::Path<usize>, _body: web::Bytes| {
        let body = web::Bytes::from_static(&FILL[..*size]);
        HttpResponse::Ok().content_type("application/scim+json; charset=utf-8").body(body)
    };
    let server = HttpServer::new(move || App::new().route("/{size}", web::to(answer))).workers(1);
    System::new().block_on(server.listen(listener).expect("listening").run()).expect("served");
}

fn serve_service(listener: TcpListener, ready: &std::sync::mpsc::Sender<(UserId, GroupId)>) {
    System::new().block_on(async {
        let service = service();
        ready.send(fill(&service).await).expect("someone waits");
        let clock = Arc::new(SystemClock::new());
        let tokens = TokenSet::new([("bench".to_owned(), TOKEN.to_owned().into())]).expect("a token");
        let deps = HttpDeps {
            provisioning: service.provisioning,
            request_log: service.request_log,
            gate: service.gate,
            tokens: Arc::new(BearerTokens::fixed(tokens, clock.clone())),
            timer: Arc::new(TimerTrigger::of_host(service.tick)),
            ids: Arc::new(RandomIds::new(clock.clone())),
            clock,
            base_url: "https://scim.example/scim/v2".to_owned(),
            announce_cursors: false,
            health: Arc::new(Map::new),
            details: HealthDetails(Arc::new(Map::new)),
        };
        server(listener, deps, 1).expect("a server").await.expect("served");
    });
}

/// One connection that stays open.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("set");
        Self(BufReader::new(stream))
    }

    /// The bytes of the answer's body.
    fn get(&mut self, path: &str) -> usize {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("sent");
        let (mut line, mut length) = (String::new(), 0);
        self.0.read_line(&mut line).expect("a status");
        assert!(line.contains(" 200 "), "{line}");
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("a header");
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().expect("a length"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        length
    }
}

fn over_http(criterion: &mut Criterion) {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let (ours, bare) = (bind(), bind());
    let (at_ours, at_bare) = (ours.local_addr().expect("bound"), bare.local_addr().expect("bound"));
    let (sender, ready) = std::sync::mpsc::channel();
    thread::spawn(move || serve_service(ours, &sender));
    thread::spawn(move || serve_bare(bare));
    let (user, members) = ready.recv().expect("filled");
    let (mut ours, mut bare) = (Connection::to(at_ours), Connection::to(at_bare));
    let mut group = criterion.benchmark_group("over HTTP");
    for (name, path) in
        [("user", format!("/scim/v2/Users/{user}")), ("group of 1,000", format!("/scim/v2/Groups/{members}"))]
    {
        let size = ours.get(&path);
        group.bench_function(format!("{name}/ours, {size} bytes"), |bench| bench.iter(|| ours.get(&path)));
        let same_size = format!("/{size}");
        group.bench_function(format!("{name}/bare, {size} bytes"), |bench| {
            bench.iter(|| bare.get(&same_size))
        });
    }
    group.finish();
}

criterion_group!(benches, filters, patch, answers, over_http);
criterion_main!(benches);
