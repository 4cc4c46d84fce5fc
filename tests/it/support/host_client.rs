//! What the tests of the stand-in host share: the recording handler behind it, and a client that sends given requests.

use crate::support::host::{Host, HostOptions, Level, State};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Where the handler is asked only to see how far it has come.
const MARK: &str = "/mark-";
/// How long a condition may take to come true on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The functions of this repository before a handler that says what it got.
pub fn recording() -> HostOptions {
    let script = repository().join("tests/it/support/host/recording_handler.py");
    HostOptions::new(repository()).program("python3", &[&format!("\"{}\"", script.display())])
}

/// Started, and answering.
pub fn ready(options: HostOptions) -> Host {
    let host = Host::start(options).unwrap();
    let state = host.settled();
    assert!(matches!(state, State::Ready { .. }), "{state:?}: {:?}", host.lines());
    host
}

/// Polls until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {DEADLINE:?}: {what}");
        std::thread::yield_now();
    }
}

/// Why there was no whole answer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// What the recording handler got.
    #[track_caller]
    pub fn got(&self) -> Got {
        let value = serde_json::from_slice(&self.body);
        Got(value.unwrap_or_else(|_| panic!("{} {}: not from the handler", self.status, self.text())))
    }
}

/// A request as the recording handler saw it.
#[derive(Debug, Clone)]
pub struct Got(pub Value);

impl Got {
    pub fn target(&self) -> &str {
        self.0["target"].as_str().unwrap()
    }

    /// Every line of a header, as it was written.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.0["headers"].as_array().unwrap().iter();
        lines.filter(|line| line[0] == name).map(|line| line[1].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let [value] = self.headers(name)[..] else { panic!("{name}: {:?}", self.headers(name)) };
        value
    }
}

/// Every request that reached the handler so far, answered or not. Also those whose line is still on its way: the handler
/// is asked something behind the host's back, and its output before that is complete.
pub fn received(host: &Host) -> Vec<Got> {
    let started = told(host).into_iter().rfind(|value| value["environment"].is_object());
    let port =
        started.and_then(|start| start["environment"]["FUNCTIONS_CUSTOMHANDLER_PORT"].as_str()?.parse().ok());
    let port: u16 = port.expect("the handler said where it listens");
    let mark = format!("{MARK}{}", uuid::Uuid::new_v4());
    let asked = Ask::new(format!("http://127.0.0.1:{port}"), "GET", &mark);
    if asked.try_send().is_ok() {
        eventually("the handler has said what it got", || {
            told(host).iter().any(|value| value["target"] == mark)
        });
    }
    seen(host)
}

/// The requests whose lines have come, without the probes.
pub fn seen(host: &Host) -> Vec<Got> {
    let requests = told(host).into_iter().filter(|value| value["method"].is_string()).map(Got);
    requests.filter(|got| !got.target().starts_with(MARK)).collect()
}

/// What the handler found when it started, each time it did.
pub fn starts(host: &Host) -> Vec<Value> {
    told(host).into_iter().filter(|value| value["environment"].is_object()).collect()
}

fn told(host: &Host) -> Vec<Value> {
    let lines = host.lines().into_iter().filter(|line| line.level == Level::Information);
    lines.filter_map(|line| serde_json::from_str::<Value>(&line.text).ok()).collect()
}

/// A request under construction.
pub struct Ask {
    url: String,
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: Sent,
}

enum Sent {
    Whole(Bytes),
    Chunked(Vec<Bytes>),
}

pub fn ask(host: &Host, method: &str, target: &str) -> Ask {
    Ask::new(host.url(), method, target)
}

impl Ask {
    fn new(url: String, method: &str, target: &str) -> Self {
        let method = method.parse().unwrap();
        let target = target.to_owned();
        Self { url, method, target, headers: Vec::new(), body: Sent::Whole(Bytes::new()) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the recording handler shall do.
    pub fn told(self, to: Value) -> Self {
        self.header("x-do", &to.to_string())
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Sent::Whole(body.into());
        self
    }

    pub fn chunks(mut self, chunks: &[&'static str]) -> Self {
        self.body =
            Sent::Chunked(chunks.iter().rev().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect());
        self
    }

    /// The whole answer.
    #[track_caller]
    pub fn send(self) -> Answer {
        let target = format!("{} {}", self.method, self.target);
        self.try_send().unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    /// An answer that breaks off is an error.
    pub fn try_send(self) -> Result<Answer, BoxError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.exchange())
    }

    /// Sends it from a thread of its own.
    pub fn in_background(self) -> std::thread::JoinHandle<Result<Answer, BoxError>> {
        std::thread::spawn(move || self.try_send())
    }

    /// Sends it, and goes away once `left` is true.
    pub fn send_and_leave(self, mut left: impl FnMut() -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            tokio::select! {
                answer = self.exchange() => panic!("it was answered: {answer:?}"),
                () = async { while !left() { tokio::task::yield_now().await } } => {}
            }
        });
    }

    async fn exchange(self) -> Result<Answer, BoxError> {
        let authority = self.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(authority).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(self.method).uri(self.target);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request = request.header("host", authority);
        }
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = sender.send_request(request.body(self.body).unwrap()).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        let line = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers.iter().map(line).collect(), body })
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = match &mut *self {
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Self::Chunked(chunks) => chunks.pop(),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => Full::new(bytes.clone()).size_hint(),
            Self::Chunked(_) => hyper::body::SizeHint::default(),
        }
    }
}
