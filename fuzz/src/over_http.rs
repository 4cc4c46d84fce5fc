//! The service over HTTP on loopback, in this process, and a client for it.

use crate::service::{BASE_URL, Counted, Emptied, Fixed, on};
use actix_web::rt::System;
use azure_backup_scim::http::{HealthDetails, HttpDeps, TimerTrigger, server};
use azure_backup_scim::service::tokens::{BearerTokens, TokenSet};
use serde_json::Map;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const TOKEN: &str = "a-token-of-more-than-32-characters";
/// An answer that takes longer has not come.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request. The client adds its host, its length and, unless it has one, its token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, headers, body } = self;
        write!(f, "{method} {path} {headers:?} {}", String::from_utf8_lossy(body))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body } = self;
        write!(f, "{status} {headers:?} {}", String::from_utf8_lossy(body))
    }
}

impl Response {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// A server, and one connection to it.
pub struct OverHttp {
    address: SocketAddr,
    tables: Arc<Emptied>,
    connection: Option<BufReader<TcpStream>>,
}

impl OverHttp {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let tables = Arc::new(Emptied::default());
        let below = tables.clone();
        thread::spawn(move || {
            System::new().block_on(async {
                let deps = deps(below);
                server(listener, deps, 1).expect("a server").await
            })
        });
        Self { address, tables, connection: None }
    }

    /// Nothing is stored any more.
    pub fn empty(&self) {
        self.tables.empty();
    }

    /// Sends a request and reads its answer.
    pub fn send(&mut self, request: &Request) -> Response {
        // The server may have closed a connection that was idle, or that it did not want to read to its end.
        self.exchange(request)
            .or_else(|_| {
                self.connection = None;
                self.exchange(request)
            })
            .unwrap_or_else(|error| panic!("no answer to {request:?}: {error}"))
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                BufReader::new(stream)
            }
        };
        connection.get_mut().write_all(&bytes(request))?;
        let response = read(&mut connection, request.method == "HEAD")?;
        if response.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}

fn deps(tables: Arc<Emptied>) -> HttpDeps {
    let ids = Arc::new(Counted::default());
    let service = on(tables, ids.clone());
    let tokens = TokenSet::new([("fuzz".to_owned(), TOKEN.to_owned().into())]).expect("a token");
    HttpDeps {
        provisioning: service.provisioning,
        request_log: service.request_log,
        tokens: Arc::new(BearerTokens::fixed(tokens, Arc::new(Fixed))),
        timer: Arc::new(TimerTrigger::of_host(service.tick)),
        clock: Arc::new(Fixed),
        ids,
        base_url: BASE_URL.to_owned(),
        announce_cursors: true,
        health: Arc::new(Map::new),
        details: HealthDetails(Arc::new(Map::new)),
    }
}

fn bytes(request: &Request) -> Vec<u8> {
    let Request { method, path, headers, body } = request;
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        head += &format!("Authorization: Bearer {TOKEN}\r\n");
    }
    head += "\r\n";
    [head.as_bytes(), body.as_slice()].concat()
}

fn line(connection: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match connection.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn nonsense<E>(_: E) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn read(connection: &mut impl BufRead, without_body: bool) -> io::Result<Response> {
    let first = line(connection)?;
    let status = first.split(' ').nth(1).unwrap_or_default().parse().map_err(nonsense)?;
    let mut response = Response { status, ..Response::default() };
    loop {
        let line = line(connection)?;
        match line.split_once(':') {
            Some((name, value)) => {
                response.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => break,
        }
    }
    if without_body || matches!(status, 204 | 304) {
        return Ok(response);
    }
    if let Some(length) = response.header("content-length") {
        response.body = vec![0; length.parse().map_err(nonsense)?];
        connection.read_exact(&mut response.body)?;
    } else if response.header("transfer-encoding").is_some() {
        loop {
            let length = usize::from_str_radix(&line(connection)?, 16).map_err(nonsense)?;
            let mut chunk = vec![0; length];
            connection.read_exact(&mut chunk)?;
            line(connection)?;
            if length == 0 {
                break;
            }
            response.body.extend(chunk);
        }
    } else {
        connection.read_to_end(&mut response.body)?;
    }
    Ok(response)
}
