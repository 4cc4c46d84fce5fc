//! The stand-in for the Functions host beside what the real router, forwarder and server made of the same bytes.
//!
//! `host_recorded/proxied.json` was recorded on 2026-11-28 with Kestrel of .NET 10, the host's own route matcher
//! (`Microsoft.Azure.WebJobs.Extensions.Http` 3.2.0, with the routes of this repository) and YARP's forwarder
//! (`Yarp.ReverseProxy` 2.3.0, set up as the host does for `enableProxyingHttpRequest`). An entry has what was written on
//! the socket (beside `Host` and `Connection`), the status of the answer, the function whose route matched, and what
//! arrived at a recording server: headers in lower case, the body without its chunks.
//!
//! A forwarder that fails answers 502 in the record and 500 in the host. There the function is not in the record.

use crate::support::host::Host;
use crate::support::host_client::{Got, ready, received, recording};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const RECORDED: &str = include_str!("host_recorded/proxied.json");
/// What the stand-in cannot play, and why.
const NOT_PLAYED: [(&str, &str); 3] = [
    ("route /", "the home page is made by the host, which was not part of the recording"),
    ("route /../..", "the same"),
    ("authorization with a control character", "hyper neither reads nor writes one in a header"),
];
const NOT_PLAYED_MAX: usize = 5;
/// Headers that the host makes. The recording left them out; `traceparent` is made outside its forwarder.
const OF_THE_HOST: [&str; 5] =
    ["host", "x-forwarded-", "x-azure-functions-", "x-ms-invocation-id", "traceparent"];

#[derive(Debug, Clone, Deserialize)]
struct Entry {
    name: String,
    sent: Sent,
    status: u16,
    function: Option<String>,
    arrived: Option<Arrived>,
}

#[derive(Debug, Clone, Deserialize)]
struct Sent {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Arrived {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    status: u16,
    function: Option<String>,
    arrived: Option<Arrived>,
}

impl Entry {
    fn outcome(&self) -> Outcome {
        let status = if self.status == 502 { 500 } else { self.status };
        Outcome { status, function: self.function.clone(), arrived: self.arrived.clone() }
    }

    /// The bytes on the socket. A character of the record is a byte.
    fn bytes(&self) -> Vec<u8> {
        let Sent { method, target, headers, body } = &self.sent;
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let own = "Host: scim.contoso.example\r\nConnection: close\r\n";
        let text = format!("{method} {target} HTTP/1.1\r\n{own}{lines}\r\n{body}");
        text.chars().map(|character| u8::try_from(character).unwrap()).collect()
    }
}

fn entries() -> Vec<Entry> {
    serde_json::from_str(RECORDED).unwrap()
}

/// Status and body of the last answer: one that says to go on comes before it.
fn exchange(host: &Host, bytes: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(host.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    loop {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let body = answer.split_off(end + 4);
        let status: u16 = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        if status >= 200 {
            return (status, body);
        }
        answer = body;
    }
}

fn play(host: &Host, entry: &Entry) -> Outcome {
    let calls = host.calls().len();
    let (status, body) = exchange(host, &entry.bytes());
    let arrived = match status {
        200 if entry.sent.method == "HEAD" => received(host).pop(),
        200 => serde_json::from_slice(&body).ok().map(Got),
        _ => None,
    };
    let arrived = arrived.map(|got| arrived_as(&got));
    let called = host.calls().get(calls).map(|call| call.function.clone());
    let is_failure = status == 500 && arrived.is_none();
    Outcome { status, function: called.filter(|_| !is_failure), arrived }
}

fn arrived_as(got: &Got) -> Arrived {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut headers = BTreeMap::new();
    for line in got.0["headers"].as_array().unwrap() {
        let (name, value) = (text(&line[0]), text(&line[1]));
        if !OF_THE_HOST.iter().any(|made| name.starts_with(made)) {
            let earlier = headers.insert(name.clone(), value);
            assert!(earlier.is_none(), "{name} on two lines");
        }
    }
    let [method, target, body] = ["method", "target", "body"].map(|member| text(&got.0[member]));
    Arrived { method, target, headers, body }
}

/// What is not as recorded, a line for each entry.
fn differences<'a>(host: &Host, entries: impl IntoIterator<Item = &'a Entry>) -> Vec<String> {
    let differing = entries.into_iter().filter_map(|entry| {
        let (played, recorded) = (play(host, entry), entry.outcome());
        (played != recorded).then(|| format!("{}: {played:?}, recorded {recorded:?}", entry.name))
    });
    differing.collect()
}

/// Facts: F-117, F-118, F-119, F-125, F-126, F-127, F-128, F-130, F-167.
#[test]
fn every_recorded_request_comes_out_the_same() {
    let host = ready(recording());
    let (left_out, played): (Vec<Entry>, Vec<Entry>) =
        entries().into_iter().partition(|entry| NOT_PLAYED.iter().any(|(name, _)| *name == entry.name));
    assert_eq!(left_out.len(), NOT_PLAYED.len(), "each is an entry");
    assert!(left_out.len() <= NOT_PLAYED_MAX);
    assert_eq!(played.len(), 127 - NOT_PLAYED.len());

    let found = differences(&host, &played);
    assert!(found.is_empty(), "{} differ:\n{}", found.len(), found.join("\n"));
    let arrived = played.iter().filter(|entry| entry.arrived.is_some()).count();
    assert_eq!(received(&host).len(), arrived, "nothing arrived unseen");

    for entry in &left_out {
        assert_ne!(differences(&host, [entry]), [""; 0], "{} can be played: off the list", entry.name);
    }
}

#[test]
fn a_record_that_says_otherwise_is_noticed() {
    let host = ready(recording());
    let all = entries();
    let named = |name: &str| all.iter().find(|entry| entry.name == name).unwrap().clone();
    let (arrives, refused) = (named("body with a length"), named("route /healthz/x"));
    assert_eq!(differences(&host, [&arrives, &refused]), [""; 0]);

    let of_what_arrives: [fn(&mut Arrived); 7] = [
        |arrived| arrived.method = "PUT".to_owned(),
        |arrived| arrived.target += "?",
        |arrived| arrived.body.clear(),
        |arrived| drop(arrived.headers.remove("content-type")),
        |arrived| drop(arrived.headers.insert("content-type".to_owned(), "application/json".to_owned())),
        |arrived| drop(arrived.headers.insert("x-more".to_owned(), String::new())),
        |arrived| arrived.headers.clear(),
    ];
    let mut planted: Vec<Entry> = Vec::new();
    for change in of_what_arrives {
        let mut entry = arrives.clone();
        change(entry.arrived.as_mut().unwrap());
        planted.push(entry);
    }
    planted.push(Entry { function: Some("ScimGroups".to_owned()), ..arrives.clone() });
    planted.push(Entry { arrived: None, ..arrives.clone() });
    planted.push(Entry { status: 400, ..refused.clone() });
    planted.push(Entry { function: Some("Health".to_owned()), ..refused.clone() });
    planted.push(Entry { arrived: arrives.arrived.clone(), ..refused });
    assert_eq!(differences(&host, &planted).len(), planted.len());
}
