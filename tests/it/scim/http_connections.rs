//! What a client can hold: its connection has an end whatever it sends or does not send, and a refusal reaches it.

use crate::scim::http_edge::{Response, Service, bearer};
use crate::support::cloud::PROGRAM;
use crate::support::host::Transport;
use crate::support::host::{Host, HostOptions};
use crate::support::host_client::{ask, ready, repository};
use crate::support::local_process::LocalProcess;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;
/// Longer than any connection may be held by a client that owes something, on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// Requests in flight that every installation must bear.
const HONEST: usize = 500;
/// Held by a test that opens hundreds of connections: a process often has no more than a thousand file descriptors.
static CROWD: Mutex<()> = Mutex::new(());

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.set_write_timeout(Some(SOON)).unwrap();
    socket
}

fn head(method: &str, path: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{lines}\r\n")
}

/// Whether the other end closes, and not only falls silent.
fn ends(socket: &mut TcpStream) -> bool {
    loop {
        match socket.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// Sends a little again and again until the other end is gone: how long that took.
fn trickle(mut socket: TcpStream, drop: &[u8]) -> Duration {
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        if socket.write_all(drop).is_err() {
            return begun.elapsed();
        }
        thread::park_timeout(Duration::from_millis(100));
    }
    panic!("the connection is still there after {SOON:?}");
}

#[test]
fn a_body_that_never_ends_ends_its_connection_whatever_the_answer_is() {
    let service = Service::start();
    let (bearer, chunked) = (bearer(), "transfer-encoding: chunked");
    let endless = "content-length: 99999999999";
    let cases: [(&str, &str, Vec<&str>, u16); 9] = [
        ("POST", "/scim/v2/Users", vec![chunked], 401),
        ("POST", "/scim/v2/Users", vec![endless], 401),
        ("GET", "/", vec![chunked], 200),
        ("GET", "/healthz", vec![endless], 200),
        ("POST", "/nothing", vec![&bearer, chunked], 404),
        ("PUT", "/scim/v2/Users", vec![&bearer, chunked], 405),
        ("POST", "/scim/v2/Users", vec![&bearer, chunked, "content-type: text/plain"], 415),
        ("POST", "/scim/v2/Users", vec![&bearer, endless], 413),
        ("GET", "/scim/v2/Schemas", vec![&bearer, chunked], 200),
    ];
    let clients = cases.map(|(method, path, lines, status)| {
        let (head, address) = (head(method, path, &lines), service.0);
        thread::spawn(move || {
            let mut socket = connect(address);
            socket.write_all(head.as_bytes()).unwrap();
            let answer = Response::read(&mut socket);
            assert_eq!(answer.status, status, "{head}");
            assert_eq!(answer.header("connection"), Some("close"), "{head}");
            trickle(socket, b"1\r\nx\r\n")
        })
    });
    let longest = clients.map(|client| client.join().unwrap()).into_iter().max();
    println!("the last one was closed after {longest:?}");
}

#[test]
fn a_body_that_comes_fast_and_never_ends_is_read_up_to_a_bound() {
    let service = Service::start();
    let mut socket = connect(service.0);
    socket.write_all(head("POST", "/scim/v2/Users", &["transfer-encoding: chunked"]).as_bytes()).unwrap();
    let chunk = format!("{MIB:x}\r\n{}\r\n", " ".repeat(MIB));
    let sent = (0..1000).take_while(|_| socket.write_all(chunk.as_bytes()).is_ok()).count();
    println!("{sent} MiB were taken");
    assert!(sent < 50, "{sent} MiB were taken");
}

#[test]
fn large_bodies_take_turns_and_a_small_one_waits_for_none_of_them() {
    let service = Service::start();
    let (bearer, json) = (bearer(), "content-type: application/json");
    let unfinished = || {
        let mut socket = connect(service.0);
        let head = head("POST", "/scim/v2/Groups", &[&bearer, json, "content-length: 1000000"]);
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(format!("{{\"x\":\"{}", "y".repeat(200_000)).as_bytes()).unwrap();
        socket
    };
    let large = [unfinished(), unfinished(), unfinished()];
    let body = r#"{"userName": "ana"}"#;
    let mut socket = connect(service.0);
    let length = format!("content-length: {}", body.len());
    let head = head("POST", "/scim/v2/Users", &[&bearer, json, &length]);
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    assert_eq!(Response::read(&mut socket).status, 201);
    // One of the three gets no turn, and comes again later. The others have more time for their rest.
    let (answers, answered) = std::sync::mpsc::channel();
    for mut socket in large {
        let answers = answers.clone();
        thread::spawn(move || answers.send(Response::read(&mut socket)));
    }
    let first = answered.recv_timeout(SOON).unwrap();
    assert_eq!((first.status, first.header("retry-after")), (503, Some("5")));
}

#[test]
fn a_refused_request_whose_small_body_has_arrived_keeps_its_connection() {
    let service = Service::start();
    let mut socket = connect(service.0);
    for _ in 0..3 {
        let head = head("POST", "/scim/v2/Users", &["content-length: 2"]);
        socket.write_all(format!("{head}{{}}").as_bytes()).unwrap();
        let answer = Response::read(&mut socket);
        assert_eq!((answer.status, answer.header("connection")), (401, None));
    }
}

#[test]
fn a_client_that_reads_only_after_it_has_sent_everything_gets_its_refusal() {
    let service = Service::start();
    let (bearer, length) = (bearer(), format!("content-length: {}", 5 * MIB));
    let body = vec![b' '; 5 * MIB];
    for (lines, status) in [(vec![length.as_str()], 401), (vec![&length, &bearer], 413)] {
        for time in 0..10 {
            let mut socket = connect(service.0);
            socket.write_all(head("POST", "/scim/v2/Users", &lines).as_bytes()).unwrap();
            socket.write_all(&body).unwrap_or_else(|error| panic!("{status}, time {time}: {error}"));
            let answer = Response::read(&mut socket);
            assert_eq!(answer.status, status, "time {time}");
            assert!(answer.header("connection").is_none() || ends(&mut socket), "time {time}");
        }
    }
}

#[test]
fn what_is_still_to_come_after_an_answer_is_taken_before_the_connection_ends() {
    let service = Service::start();
    let rest = vec![b' '; 5 * MIB];
    for method in ["POST", "PUT", "PATCH"] {
        let mut socket = connect(service.0);
        let length = format!("content-length: {}", 5 * MIB + 2);
        socket.write_all(format!("{}{{", head(method, "/scim/v2/Users", &[&length])).as_bytes()).unwrap();
        let answer = Response::read(&mut socket);
        assert_eq!((answer.status, answer.header("connection")), (401, Some("close")));
        for part in rest.chunks(MIB) {
            socket.write_all(part).unwrap();
            thread::park_timeout(Duration::from_millis(20));
        }
        socket.write_all(b"}").unwrap();
        assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0, "the end, and no reset");
    }
}

/// `local` under the stand-in for the Functions host, and its token.
fn hosted(state: &std::path::Path, transport: Transport) -> (Host, String) {
    let state_text = state.to_str().unwrap();
    let options = HostOptions::new(repository()).program(PROGRAM, &["local", "--state", state_text]);
    let host = ready(options.transport(transport));
    let token = std::fs::read_to_string(state.join("token")).unwrap();
    (host, token)
}

#[test]
fn a_refusal_of_a_large_body_reaches_the_client_through_the_host_ten_times_of_ten() {
    for transport in [Transport::Proxy, Transport::Forward] {
        let state = tempfile::tempdir().unwrap();
        let (host, token) = hosted(state.path(), transport);
        let body = " ".repeat(5 * MIB);
        let send = |authorization: &str| {
            let ask = ask(&host, "POST", "/scim/v2/Users").header("authorization", authorization);
            ask.body(body.clone()).try_send().map(|answer| answer.status).map_err(|error| error.to_string())
        };
        for (authorization, status) in [("Bearer wrong".to_owned(), 401), (format!("Bearer {token}"), 413)] {
            let answers: Vec<_> = (0..10).map(|_| send(&authorization)).collect();
            assert!(answers.iter().all(|answer| *answer == Ok(status)), "{transport:?}: {answers:?}");
        }
    }
}

#[test]
fn four_hundred_connections_that_send_for_ever_lock_nobody_out() {
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &[]);
    let address = address(&local);
    let head = head("POST", "/scim/v2/Users", &["transfer-encoding: chunked"]);
    let mut held: Vec<TcpStream> = (0..400).map(|_| connect(address)).collect();
    for socket in &mut held {
        socket.write_all(head.as_bytes()).unwrap();
        socket.set_nonblocking(true).unwrap();
    }
    let chunk = format!("{:x}\r\n{}\r\n", 16 * 1024, " ".repeat(16 * 1024));
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while !held.is_empty() {
        assert!(begun.elapsed() < SOON, "{} connections are still held", held.len());
        held.retain_mut(|socket| match socket.write(chunk.as_bytes()) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        let asked = Instant::now();
        let mut honest = connect(address);
        honest.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        assert_eq!(Response::read(&mut honest).status, 200);
        longest = longest.max(asked.elapsed());
    }
    println!("all were closed after {:?}; the longest honest request took {longest:?}", begun.elapsed());
    assert!(longest < Duration::from_secs(10), "{longest:?}");
}

fn address(local: &LocalProcess) -> SocketAddr {
    let origin = local.ready.base_url.strip_suffix("/scim/v2").unwrap();
    origin.strip_prefix("http://").unwrap().parse().unwrap()
}

#[test]
fn five_hundred_honest_requests_in_flight_are_all_answered() {
    let _alone = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &[]);
    let bearer = format!("authorization: Bearer {}", local.ready.token);
    let head = head("POST", "/scim/v2/Users", &[&bearer, "content-length: 23"]);
    // All are in flight before the first can be answered: its body ends with the last byte.
    let begin = |number| {
        let mut socket = connect(address(&local));
        socket.write_all(format!("{head}{{\"userName\": \"u-{number:05}\"").as_bytes()).unwrap();
        socket
    };
    let begun = Instant::now();
    let mut sockets: Vec<TcpStream> = (0..HONEST).map(begin).collect();
    println!("all were in flight after {:?}", begun.elapsed());
    for socket in &mut sockets {
        socket.write_all(b"}").unwrap();
    }
    for socket in &mut sockets {
        assert_eq!(Response::read(socket).status, 201);
    }
    println!("all were answered after {:?}", begun.elapsed());
}

#[test]
fn a_head_that_never_ends_has_a_deadline_on_every_request_of_a_connection() {
    let service = Service::start();
    let first = connect(service.0);
    let mut later = connect(service.0);
    later.write_all(head("GET", "/", &[]).as_bytes()).unwrap();
    assert_eq!(Response::read(&mut later).status, 200);
    let clients = [first, later].map(|mut socket| {
        socket.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        thread::spawn(move || trickle(socket, b"a: b\r\n"))
    });
    let took = clients.map(|client| client.join().unwrap());
    println!("closed after {took:?}");
}

#[test]
fn requests_that_do_not_wait_for_the_answer_before_end_their_connection() {
    let service = Service::start();
    let mut socket = connect(service.0);
    socket.write_all(head("GET", "/", &[]).repeat(40).as_bytes()).unwrap();
    let mut text = String::new();
    // How it ends is tried elsewhere.
    let _ = socket.read_to_string(&mut text);
    let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses[..2], ["200", "200"], "{text}");
    assert!(statuses[2..].iter().all(|status| *status == "503"), "nothing more is carried out: {text}");
}

/// Seconds of processor time that a process has used.
#[cfg(target_os = "linux")]
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

/// The framework polls itself again and again while more has arrived than it has a use for.
#[cfg(target_os = "linux")]
#[test]
fn connections_that_send_on_and_read_nothing_do_not_spin() {
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &[]);
    let bearer = format!("authorization: Bearer {}", local.ready.token);
    let begun = Instant::now();
    let before = processor_seconds(local.ready.pid);
    let mut reconnects = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let mut silent: Vec<TcpStream> = (0..2).map(|_| connect(address(&local))).collect();
        for socket in &mut silent {
            socket.set_nonblocking(true).unwrap();
            let requests = head("GET", "/scim/v2/Schemas", &[&bearer]).repeat(4000);
            // What the other end does not take is not sent.
            let _: io::Result<usize> = socket.write(requests.as_bytes());
        }
        thread::park_timeout(Duration::from_millis(1500));
        reconnects += 1;
    }
    let used = processor_seconds(local.ready.pid) - before;
    println!("{used} s of processor time for {reconnects} times two connections in {:?}", begun.elapsed());
    assert!(used < 0.6, "{used} s of processor time");
}
