//! Whole requests, several one after another on one empty service.
//!
//! An input is requests between lines of `%%`: a method and a path, headers, an empty line, a body. `{{1}}` is the id of the
//! first resource that the input created, `{{c}}` the last cursor that it was given.
//!
//! No answer is a fault of the service, every error is a SCIM error, and a write that is refused changes nothing.

#![no_main]

use azure_backup_scim_fuzz::over_http::{OverHttp, Request, Response};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::cell::RefCell;

const REQUESTS_MAX: usize = 12;
/// The client frames the message; these would frame it differently.
const FRAMING: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "content-encoding"];

thread_local! {
    static SERVER: RefCell<OverHttp> = RefCell::new(OverHttp::start());
}

/// What the answers so far have given.
#[derive(Default)]
struct Given {
    ids: Vec<String>,
    cursor: String,
}

impl Given {
    fn fill_in(&self, text: &str) -> String {
        let mut text = text.replace("{{c}}", &self.cursor);
        for (at, id) in self.ids.iter().enumerate() {
            text = text.replace(&format!("{{{{{}}}}}", at + 1), id);
        }
        text
    }

    fn note(&mut self, response: &Response) {
        let Ok(body) = serde_json::from_slice::<Value>(&response.body) else { return };
        if response.status == 201
            && let Some(id) = body["id"].as_str()
        {
            self.ids.push(id.to_owned());
        }
        if let Some(cursor) = body["nextCursor"].as_str() {
            self.cursor = cursor.to_owned();
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The target of a request, with what no URI can hold encoded: such a request does not reach the service.
fn target(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#' => format!("%{byte:02X}"),
            byte if byte.is_ascii_graphic() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// What of it can be sent in one message.
fn request(text: &str) -> Option<Request> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let path = target(path);
    let is_sent = is_token(method) && method != "CONNECT" && path.starts_with('/');
    let headers = lines.filter_map(|line| line.split_once(':')).filter(|(name, value)| {
        let is_text = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        is_token(name) && is_text && !FRAMING.contains(&name.to_ascii_lowercase().as_str())
    });
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    is_sent.then(|| Request { method: method.to_owned(), path, headers, body: body.as_bytes().to_vec() })
}

/// A read of the one resource that a write is about.
fn read_of(request: &Request) -> Option<Request> {
    let is_write = matches!(request.method.as_str(), "PUT" | "PATCH" | "DELETE");
    let path = request.path.split('?').next()?;
    let id = path.strip_prefix("/scim/v2/Users/").or_else(|| path.strip_prefix("/scim/v2/Groups/"))?;
    let is_one = is_write && is_token(id);
    is_one.then(|| Request { method: "GET".to_owned(), path: path.to_owned(), ..Request::default() })
}

fn check(request: &Request, response: &Response) {
    let status = response.status;
    let is_me = status == 501 && request.path.to_ascii_lowercase().contains("/me");
    assert!((200..500).contains(&status) || is_me, "{status} {response:?} to {request:?}");
    if status >= 400 && request.method != "HEAD" {
        let body: Value = serde_json::from_slice(&response.body)
            .unwrap_or_else(|_| panic!("no SCIM error: {status} {response:?} to {request:?}"));
        assert_eq!(body["status"], status.to_string(), "{request:?}");
        assert_eq!(body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
    } else if !response.body.is_empty() && request.path.starts_with("/scim/") {
        assert!(
            serde_json::from_slice::<Value>(&response.body).is_ok(),
            "no JSON: {response:?} to {request:?}"
        );
    }
}

fuzz_target!(|input: &str| {
    SERVER.with_borrow_mut(|server| {
        server.empty();
        let mut given = Given::default();
        for text in input.split("\n%%\n").take(REQUESTS_MAX) {
            let Some(request) = request(&given.fill_in(text)) else { continue };
            let read = read_of(&request);
            let before = read.as_ref().map(|read| server.send(read));
            let response = server.send(&request);
            check(&request, &response);
            if let (Some(read), Some(before), true) = (read, before, response.status >= 400) {
                let after = server.send(&read);
                // An error has the id of its request in it.
                let is_same =
                    after.status == before.status && (after.status >= 400 || after.body == before.body);
                assert!(is_same, "{request:?} was refused, and made {after:?} of {before:?}");
            }
            given.note(&response);
        }
    });
});
