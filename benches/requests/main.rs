//! What a request costs beside a bare actix-web server that reads as much and answers as much.
//!
//! `cargo bench --bench requests` starts the release build of `local` on a new state folder, measures both servers in
//! turns, so that whatever else the machine does slows down both, and prints one table. Processor time is that of the
//! server's process alone; for `local` that is the service, its store and the simulated Azure together, and what a
//! request leaves to be done in the background is counted too. `-- --tables UseDevelopmentStorage=true` measures on Azurite, or on
//! any other table service, instead of the embedded store. `-- --users 100000` measures something else: the same requests beside
//! so many users and beside 1,000, in turns. The store flushes to the disk that the temporary folder is on. Linux only: it
//! reads `/proc`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on stops, it has the real clock, and prints what it found"
)]

mod sizes;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CONNECTIONS: [usize; 2] = [1, 16];
/// Turns of each server in a row of the table; the row shows the median.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(1);
/// Users that are there before anything is measured; a round ends early when all of them were used.
const USERS: usize = 4000;
/// Members of a group before one more is added: from 101 on, the answer to a PATCH is 204.
const MEMBERS_BEFORE: usize = 120;
const MEMBERS_PER_REQUEST: usize = 24;
/// Groups that each user of a page is in, and users on it.
const GROUPS_OF_ALL: usize = 3;
const PAGE_USERS: usize = 100;
const STARTS: usize = 20;
/// Connections that create the users before anything is measured.
const CREATING_CONNECTIONS: usize = 16;
/// A server that used at most so many clock ticks in this time has nothing left to do.
const QUIET: (Duration, u64) = (Duration::from_millis(200), 1);
/// Clock ticks of `/proc` in a second; the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;
/// Where the bare server takes its answers from.
static FILL: [u8; 256 * 1024] = [b'x'; 256 * 1024];
const BARE: &str = "bare";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == BARE) {
        return serve_bare();
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing is measured without `cargo bench --bench requests`");
        return;
    }
    match argument("--users") {
        Some(users) => sizes::measure(users.parse().unwrap()),
        None => measure(),
    }
}

/// What follows an argument.
fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// The table service that was asked for with `-- --tables CONNECTION_STRING`, instead of the embedded store.
fn tables() -> Option<String> {
    argument("--tables")
}

// The two servers.

/// Answers any request with as many bytes as its path says, after reading its body.
fn serve_bare() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async |size: web::Path<usize>, _body: web::Bytes| match *size {
        0 => HttpResponse::NoContent().finish(),
        size => HttpResponse::Ok()
            .content_type("application/scim+json; charset=utf-8")
            .body(web::Bytes::from_static(&FILL[..size])),
    };
    let server = HttpServer::new(move || App::new().route("/{size}", web::to(answer))).workers(2);
    println!("{}", json!({ "base_url": format!("http://{address}"), "token": BARE, "control_url": "" }));
    actix_web::rt::System::new().block_on(server.listen(listener).unwrap().run()).unwrap();
}

/// A server in a process of its own. Dropping it kills it.
struct Server {
    process: Child,
    address: SocketAddr,
    token: String,
    control: String,
    ready_after: Duration,
}

impl Server {
    fn bare() -> Self {
        Self::start(Command::new(std::env::current_exe().unwrap()).arg(BARE))
    }

    fn local(state: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
        command.args(["local", "--json", "--listen", "127.0.0.1:0", "--state"]).arg(state);
        if let Some(tables) = tables() {
            command.args(["--tables", &tables]);
        }
        Self::start(&mut command)
    }

    /// Returns once the line is there that says the server is ready.
    fn start(command: &mut Command) -> Self {
        let started = Instant::now();
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready_after = started.elapsed();
        let line: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        Self {
            process,
            address: address_of(&text("base_url")),
            token: text("token"),
            control: text("control_url"),
            ready_after,
        }
    }

    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Processor time so far, read once nothing is left to do.
    fn ticks_when_quiet(&self) -> u64 {
        let mut before = self.ticks();
        loop {
            thread::sleep(QUIET.0);
            let now = self.ticks();
            if now - before <= QUIET.1 {
                return now;
            }
            before = now;
        }
    }

    fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    fn call(&self, request: &Request) -> Value {
        let (status, body) = Connection::to(self.address).exchange(&request.bytes(&self.token));
        assert!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn address_of(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").split('/').next().unwrap().parse().unwrap()
}

// The client.

#[derive(Clone)]
struct Request {
    method: &'static str,
    path: String,
    body: String,
}

impl Request {
    fn get(path: String) -> Self {
        Self { method: "GET", path, body: String::new() }
    }

    fn send(method: &'static str, path: impl Into<String>, body: &Value) -> Self {
        Self { method, path: path.into(), body: body.to_string() }
    }

    /// The same to the bare server, which is to answer with `size` bytes.
    fn bare(self, size: usize) -> Self {
        Self { path: format!("/{size}"), ..self }
    }

    fn bytes(&self, token: &str) -> Vec<u8> {
        let Self { method, path, body } = self;
        let length = body.len();
        let kind = if path.starts_with("/control/") { "application/json" } else { "application/scim+json" };
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// One connection that stays open.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn exchange(&mut self, request: &[u8]) -> (u16, Vec<u8>) {
        self.0.get_mut().write_all(request).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, body)
    }
}

/// What one server did in one round.
struct Round {
    requests: u64,
    per_second: f64,
    cpu_us: f64,
    answer_bytes: u64,
}

/// Sends the requests that `make` makes of 0, 1, 2… until the time is over or there are no more.
fn round(
    server: &Server,
    connections: usize,
    next: &AtomicUsize,
    make: &(dyn Fn(usize) -> Option<Request> + Sync),
) -> Option<Round> {
    let (requests, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let ticks = server.ticks();
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut connection = Connection::to(server.address);
                while started.elapsed() < ROUND {
                    let Some(request) = make(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let (status, body) = connection.exchange(&request.bytes(&server.token));
                    assert!(matches!(status, 200..=204), "{status}: {}", String::from_utf8_lossy(&body));
                    requests.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = (server.ticks_when_quiet() - ticks) as f64 / TICKS_PER_SECOND as f64;
    let requests = requests.into_inner();
    (requests > 0).then(|| Round {
        requests,
        per_second: requests as f64 / elapsed,
        cpu_us: cpu * 1e6 / requests as f64,
        answer_bytes: bytes.into_inner() / requests,
    })
}

// What is asked for.

const USERS_URL: &str = "/scim/v2/Users";
const GROUPS_URL: &str = "/scim/v2/Groups";

/// As Entra ID sends it.
fn create_user(name: &str, number: usize) -> Request {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "externalId": format!("{number:08x}-0000-4000-8000-{:012x}", name.len()),
        "userName": format!("{name}-{number}@contoso.example"), "active": true,
        "displayName": format!("Person {number}"), "title": "Engineer", "preferredLanguage": "en-GB",
        "name": {"formatted": format!("Person {number}"), "givenName": "Person", "familyName": format!("{number}")},
        "emails": [{"primary": true, "type": "work", "value": format!("{name}-{number}@contoso.example")}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Storage", "employeeNumber": format!("{number}")},
    });
    Request::send("POST", USERS_URL, &body)
}

fn add_members(group: &str, users: &[String]) -> Request {
    let members: Vec<Value> = users.iter().map(|id| json!({ "value": id })).collect();
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "Add", "path": "members", "value": members}],
    });
    Request::send("PATCH", format!("{GROUPS_URL}/{group}"), &body)
}

/// A group with its first members; `external_id` decides whether a binding is about it.
fn create_group(server: &Server, external_id: &str, users: &[String]) -> String {
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": external_id, "externalId": external_id,
    });
    let created = server.call(&Request::send("POST", GROUPS_URL, &body));
    let group = created["id"].as_str().unwrap().to_owned();
    for some in users[..MEMBERS_BEFORE].chunks(MEMBERS_PER_REQUEST) {
        server.call(&add_members(&group, some));
    }
    group
}

/// Everyone is in a few groups that are not bound.
fn create_groups_of_all(server: &Server, users: &[String]) {
    for n in 0..GROUPS_OF_ALL {
        let group = create_group(server, &format!("everyone-{n}"), users);
        for some in users[MEMBERS_BEFORE..].chunks(MEMBERS_PER_REQUEST) {
            server.call(&add_members(&group, some));
        }
    }
}

/// Their ids, in the order of their numbers.
fn create_users(server: &Server, number: usize) -> Vec<String> {
    let (next, ids) = (AtomicUsize::new(0), Mutex::new(vec![String::new(); number]));
    thread::scope(|scope| {
        for _ in 0..CREATING_CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::to(server.address);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= ids.lock().unwrap().len() {
                        return;
                    }
                    let request = create_user("pool", number);
                    let (status, body) = connection.exchange(&request.bytes(&server.token));
                    assert_eq!(status, 201);
                    let body: Value = serde_json::from_slice(&body).unwrap();
                    ids.lock().unwrap()[number] = body["id"].as_str().unwrap().to_owned();
                }
            });
        }
    });
    ids.into_inner().unwrap()
}

/// The simulated Azure is to throttle nobody: it would be measured instead of the service.
fn lift_limits(server: &Server) {
    let body = json!({"assignments_per_subscription": 1_000_000, "buckets": false}).to_string();
    let request = Request { method: "PUT", path: "/control/limits".to_owned(), body };
    let (status, body) = Connection::to(address_of(&server.control)).exchange(&request.bytes("any"));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
}

// The table.

struct Bench {
    local: Server,
    bare: Server,
    users: Vec<String>,
    table: String,
}

impl Bench {
    fn row(&mut self, name: &str, connections: usize, make: impl Fn(usize) -> Option<Request> + Sync) {
        let (mut ours, mut bares) = (Vec::new(), Vec::new());
        let (next, next_bare) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // The bare server may be asked more often; what it is asked does not matter to it.
        let sample = make(0).unwrap();
        for _ in 0..ROUNDS {
            let Some(one) = round(&self.local, connections, &next, &make) else { break };
            let bare = sample.clone().bare(one.answer_bytes as usize);
            bares.extend(round(&self.bare, connections, &next_bare, &|_| Some(bare.clone())));
            ours.push(one);
        }
        let median_of = |rounds: &[Round], of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
        let (rate, bare_rate) = (median_of(&ours, |r| r.per_second), median_of(&bares, |r| r.per_second));
        let (cpu, bare_cpu) = (median_of(&ours, |r| r.cpu_us), median_of(&bares, |r| r.cpu_us));
        let (size, requests) = (ours[0].answer_bytes, ours.iter().map(|r| r.requests).sum::<u64>());
        let line = format!(
            "| {name:<28} | {connections:>5} | {requests:>8} | {size:>6} | {rate:>7.0} | {bare_rate:>7.0} | {:>5.1} | {cpu:>7.0} | {bare_cpu:>7.0} | {:>5.1} |",
            bare_rate / rate,
            cpu / bare_cpu,
        );
        eprintln!("{line}");
        writeln!(self.table, "{line}").unwrap();
    }

    fn rows(&mut self, connections: usize) {
        let users = self.users.clone();
        let name = format!("new{connections}");
        self.row("create user", connections, |n| Some(create_user(&name, n)));
        let user = |n: usize| &users[n * 7919 % users.len()];
        self.row("get user by id", connections, |n| Some(Request::get(format!("{USERS_URL}/{}", user(n)))));
        self.row("filter by userName", connections, |n| {
            let name = format!("pool-{}@contoso.example", n * 7919 % USERS);
            Some(Request::get(format!("{USERS_URL}?filter=userName%20eq%20%22{name}%22")))
        });
        let page = |n: usize, query: &str| {
            let start = 1 + n * 7919 % (USERS - PAGE_USERS);
            Some(Request::get(format!("{USERS_URL}?startIndex={start}&count={PAGE_USERS}{query}")))
        };
        self.row("page of 100 users", connections, |n| page(n, "&excludedAttributes=groups"));
        self.row("page of 100, with groups", connections, |n| page(n, ""));
        let groups = [
            ("add member, group not bound", format!("unbound-{connections}")),
            ("add member, group bound", bound(connections).to_owned()),
        ];
        for (title, external_id) in groups {
            let group = create_group(&self.local, &external_id, &users);
            let left = &users[MEMBERS_BEFORE..];
            self.row(title, connections, |n| left.get(n..=n).map(|one| add_members(&group, one)));
        }
    }
}

/// Another binding for each number of connections, so that every add is a new role.
fn bound(connections: usize) -> &'static str {
    if connections == 1 { "vault-operators" } else { "vault-readers" }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn median_start(starts: usize, start: impl Fn() -> Duration) -> f64 {
    median((0..starts).map(|_| start().as_secs_f64() * 1e3).collect())
}

fn load_average() -> String {
    fs::read_to_string("/proc/loadavg").unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn binary_mib(path: &Path) -> String {
    let found = fs::metadata(path).map(|file| format!("{:.1} MiB", file.len() as f64 / 1024.0 / 1024.0));
    found.unwrap_or_else(|_| "not built".to_owned())
}

fn measure() {
    let load_before = load_average();
    let first_start = median_start(STARTS, || Server::local(TempDir::new().unwrap().path()).ready_after);
    let state = TempDir::new().unwrap();
    let local = Server::local(state.path());
    thread::sleep(Duration::from_secs(1));
    let idle = local.resident_mib();
    lift_limits(&local);
    let users = create_users(&local, USERS);
    create_groups_of_all(&local, &users);
    let mut bench = Bench { local, bare: Server::bare(), users, table: String::new() };
    for connections in CONNECTIONS {
        bench.rows(connections);
    }
    let Bench { local, bare, table, .. } = bench;
    let (after, bare_after) = (local.resident_mib(), bare.resident_mib());
    drop(local);
    let restart = median_start(STARTS, || Server::local(state.path()).ready_after);
    let release = Path::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
    let dist = release.parent().unwrap().with_file_name("dist").join("azure-backup-scim");
    println!(
        "| operation                    | conns | requests | answer |   req/s |    bare | ratio |  CPU µs |    bare | ratio |"
    );
    println!(
        "|------------------------------|-------|----------|--------|---------|---------|-------|---------|---------|-------|"
    );
    println!("{table}");
    println!(
        "ready after start, median of {STARTS}: {first_start:.1} ms on a new state folder, {restart:.1} ms on that of this run, after a kill"
    );
    println!(
        "resident memory: {idle:.1} MiB idle, {after:.1} MiB after the run (bare server: {bare_after:.1} MiB)"
    );
    println!("binary: {} release, {} dist", binary_mib(release), binary_mib(&dist));
    println!(
        "load average: {load_before} before, {} after, on {} cores",
        load_average(),
        thread::available_parallelism().unwrap()
    );
}
