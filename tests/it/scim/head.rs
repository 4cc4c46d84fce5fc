//! HEAD is GET without the body, on every endpoint that has GET.

use super::http_edge::{Service, bearer};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The status line and the headers of an answer, without the date, and its body.
fn ask(service: &Service, method: &str, path: &str, headers: &[&str]) -> (Vec<String>, String) {
    let mut socket = TcpStream::connect(service.0).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let lines = head.lines().filter(|line| !line.starts_with("date: ")).map(str::to_owned);
    let mut lines: Vec<String> = lines.collect();
    // Their order says nothing.
    lines.sort();
    (lines, body.to_owned())
}

/// The id of a new resource.
fn created(service: &Service, path: &str, body: &str) -> String {
    let headers = [&bearer()[..], "content-type: application/scim+json"];
    let resource = service.send("POST", path, &headers, body.as_bytes()).json();
    resource["id"].as_str().unwrap().to_owned()
}

#[test]
fn head_answers_what_get_would_without_the_body() {
    let service = Service::start();
    let token = bearer();
    let user = format!("/scim/v2/Users/{}", created(&service, "/scim/v2/Users", r#"{"userName": "ana"}"#));
    let group =
        format!("/scim/v2/Groups/{}", created(&service, "/scim/v2/Groups", r#"{"displayName": "a"}"#));
    let paths = [
        "/",
        "/healthz",
        "/scim/v2",
        "/scim/v2/",
        "/scim/v2?filter=userName%20eq%20%22ana%22",
        "/scim/v2?filter=shoeSize%20pr",
        "/scim/v2/Users",
        "/scim/v2//Users/?filter=userName%20eq%20%22ana%22",
        &user,
        &group,
        "/scim/v2/Users/nothing",
        "/scim/v2/Users?filter=",
        "/scim/v2/Users/.search",
        "/scim/v2/Groups",
        "/scim/v2/Groups/nothing",
        "/scim/v2/ServiceProviderConfig",
        "/scim/v2/ResourceTypes",
        "/scim/v2/ResourceTypes/User",
        "/scim/v2/Schemas",
        "/scim/v2/Schemas/urn:ietf:params:scim:schemas:core:2.0:User",
        "/scim/v2/Me",
        "/scim/v2/nothing",
        "/scim/v1/Users",
        "/Reconcile",
        "/nothing",
    ];
    for path in paths {
        for headers in [&[token.as_str()][..], &[], &["authorization: Bearer wrong"]] {
            let (head, body) = ask(&service, "HEAD", path, headers);
            let (get, whole) = ask(&service, "GET", path, headers);
            assert_eq!((head, body.as_str()), (get, ""), "{path} {headers:?}");
            assert!(!whole.is_empty(), "{path}");
        }
    }
}

#[test]
fn a_connection_stays_usable_after_head() {
    let service = Service::start();
    let mut socket = TcpStream::connect(service.0).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("HEAD /scim/v2/Users HTTP/1.1\r\nhost: x\r\n{}\r\n\r\n", bearer());
    for _ in 0..3 {
        socket.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// The framework decides by the last request that it has parsed whether a response has a body: what follows one without could be
/// taken for it. So nothing follows.
#[test]
fn a_pipelined_head_ends_the_connection_and_answers_nothing_in_the_place_of_a_body() {
    let service = Service::start();
    let token = bearer();
    let body = r#"{"userName": "ben"}"#;
    let plain = |method: &str| format!("{method} /scim/v2/Users HTTP/1.1\r\nhost: x\r\n{token}\r\n\r\n");
    let post = format!(
        "POST /scim/v2/Users HTTP/1.1\r\nhost: x\r\n{token}\r\ncontent-type: application/scim+json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let pairs = [
        vec![plain("GET") + &plain("HEAD")],
        vec![plain("HEAD") + &plain("GET")],
        vec![post.clone() + body + &plain("HEAD")],
        vec![post, body.to_owned() + &plain("HEAD")],
    ];
    for packets in pairs {
        let mut socket = TcpStream::connect(service.0).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        for packet in &packets {
            socket.write_all(packet.as_bytes()).unwrap();
        }
        let mut answer = String::new();
        // It may end with a reset.
        let _ = socket.read_to_string(&mut answer);
        assert!(answer.matches("HTTP/1.1").count() <= 1, "{packets:?}: {answer}");
        if let Some((head, body)) = answer.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let is_head = packets.concat().starts_with("HEAD");
            assert!(body.len() <= if is_head { 0 } else { length.unwrap_or(usize::MAX) }, "{answer}");
        }
    }
    // What was begun before the pipelined request was carried out.
    let (_, list) = ask(&service, "GET", "/scim/v2/Users?filter=userName%20eq%20%22ben%22", &[&token]);
    assert!(list.contains(r#""totalResults":1"#), "{list}");
}
