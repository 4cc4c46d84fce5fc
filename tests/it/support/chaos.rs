//! A proxy in front of any origin on loopback that does what a network and a busy service do: chosen calls are lost,
//! delayed, refused or answered with nonsense. It speaks plain HTTP/1.1 and notes every call.
//!
//! ```ignore
//! let chaos = Chaos::before(&azurite::origin());
//! chaos.order(When::any().method("POST").path("$batch").body("g:").nth(2), Trouble::LoseAnswer);
//! // … a client on `chaos.url()` …
//! assert_eq!(chaos.count(|call| call.method == "GET"), 1);
//! ```
//!
//! It has threads of its own, so it outlives the runtime of any service, and ends with the test process.

mod message;

use message::Message;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The form of a `Date` header.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is closed; the origin hears nothing.
    LoseRequest,
    /// The origin does it, and the connection is closed.
    LoseAnswer,
    /// The origin does it, and the caller gets 500 with this code.
    FailAfter { code: &'static str },
    /// The origin hears nothing, and the caller gets 503.
    Busy { retry_after: u64 },
    /// The origin hears it late.
    Delay(Duration),
    /// The origin hears nothing, and the caller nothing either until it is calm again; then the connection is closed.
    Silence,
    /// The origin hears nothing, and the caller gets this.
    Answer { status: u16, content_type: &'static str, body: String },
    /// A query of the table service asks for so many rows at most.
    ShortPage { rows_max: usize },
    /// A query of the table service forgets where it was.
    Restart,
}

impl Trouble {
    /// What a captive portal or a proxy in the way says.
    pub fn nonsense() -> Self {
        Self::Answer { status: 200, content_type: "text/html", body: "<html>Please log in</html>".to_owned() }
    }

    /// How the table service refuses a continuation that it does not know.
    pub fn stale_continuation() -> Self {
        let body = r#"{"odata.error":{"code":"InvalidInput","message":{"lang":"en-US","value":"bad continuation"}}}"#;
        Self::Answer { status: 400, content_type: "application/json", body: body.to_owned() }
    }
}

/// A call that reached the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// Line by line, as they were sent.
    pub headers: String,
    pub body: String,
}

/// Which calls an order is for. Unless [`nth`](When::nth) or [`always`](When::always) say otherwise, the next one.
#[derive(Debug, Clone, Default)]
pub struct When {
    methods: Vec<&'static str>,
    target: String,
    body: String,
    skip: usize,
    times: usize,
}

impl When {
    pub fn any() -> Self {
        Self { times: 1, ..Self::default() }
    }

    /// Calls that change nothing.
    pub fn reads() -> Self {
        Self::any().method("GET")
    }

    /// Calls that change something.
    pub fn writes() -> Self {
        Self { methods: vec!["POST", "PUT", "PATCH", "DELETE"], ..Self::any() }
    }

    pub fn method(self, method: &'static str) -> Self {
        Self { methods: vec![method], ..self }
    }

    /// Path or query contains this.
    pub fn path(self, part: &str) -> Self {
        Self { target: part.to_owned(), ..self }
    }

    /// The body contains this.
    pub fn body(self, part: &str) -> Self {
        Self { body: part.to_owned(), ..self }
    }

    /// The `n`th matching call from now on, the next being the first.
    pub fn nth(self, n: usize) -> Self {
        Self { skip: n.saturating_sub(1), ..self }
    }

    /// Not one matching call but all.
    pub fn always(self) -> Self {
        Self { times: usize::MAX, ..self }
    }

    fn is_for(&self, call: &Call) -> bool {
        let method = self.methods.is_empty() || self.methods.contains(&call.method.as_str());
        method && call.target.contains(&self.target) && call.body.contains(&self.body)
    }

    /// Counts a matching call; whether it is met.
    fn take(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let met = self.times > 0;
        self.times = self.times.saturating_sub(usize::from(self.times != usize::MAX));
        met
    }
}

/// A running proxy. Dropping it leaves its threads to the end of the process.
pub struct Chaos {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    origin: SocketAddr,
    inner: Mutex<Inner>,
    calmed: Condvar,
}

#[derive(Default)]
struct Inner {
    away: bool,
    /// How far the origin's clock is ahead.
    ahead: Duration,
    orders: Vec<(When, Trouble)>,
    calls: Vec<Call>,
}

impl Chaos {
    /// A proxy before an origin such as `http://127.0.0.1:1234`.
    pub fn before(origin: &str) -> Self {
        let origin = origin.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { origin, inner: Mutex::default(), calmed: Condvar::new() });
        let accepting = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = accepting.clone();
                thread::spawn(move || state.serve(&client));
            }
        });
        Self { address, state }
    }

    /// Where callers go instead of to the origin.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the next matching call on.
    pub fn order(&self, when: When, trouble: Trouble) {
        self.state.inner().orders.push((when, trouble));
    }

    /// No trouble any more.
    pub fn calm(&self) {
        let mut inner = self.state.inner();
        inner.orders.clear();
        inner.away = false;
        self.state.calmed.notify_all();
    }

    /// The origin's clock moves on: from now on the `Date` of every answer of it lies so much later.
    pub fn move_clock(&self, by: Duration) {
        self.state.inner().ahead += by;
    }

    /// Connections are closed as soon as something is said on them, until it is back.
    pub fn set_away(&self, away: bool) {
        self.state.inner().away = away;
    }

    /// Every call since the last [`forget`](Self::forget), in the order they came.
    pub fn calls(&self) -> Vec<Call> {
        self.state.inner().calls.clone()
    }

    pub fn count(&self, counts: impl Fn(&Call) -> bool) -> usize {
        self.state.inner().calls.iter().filter(|call| counts(call)).count()
    }

    pub fn forget(&self) {
        self.state.inner().calls.clear();
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection of a client and one to the origin, until either ends.
    fn serve(&self, client: &TcpStream) {
        let mut from_client = BufReader::new(client);
        let mut origin: Option<BufReader<TcpStream>> = None;
        while let Some(request) = Message::read_request(&mut from_client) {
            if self.answer(client, &mut origin, request).is_none() {
                break;
            }
        }
        client.shutdown(Shutdown::Both).ok();
    }

    /// `None`: the connection ends here.
    fn answer(
        &self,
        mut client: &TcpStream,
        origin: &mut Option<BufReader<TcpStream>>,
        mut request: Message,
    ) -> Option<()> {
        let troubles = self.note(&request)?;
        for trouble in &troubles {
            match trouble {
                Trouble::LoseRequest => return None,
                Trouble::Busy { retry_after } => {
                    let headers = format!("retry-after: {retry_after}\r\nx-ms-error-code: ServerBusy\r\n");
                    return client.write_all(&message::answer(503, "text/plain", &headers, "busy")).ok();
                }
                Trouble::Answer { status, content_type, body } => {
                    // As real as can be: it says what time it is.
                    let date = format!("date: {}\r\n", OffsetDateTime::now_utc().format(HTTP_DATE).unwrap());
                    return client.write_all(&message::answer(*status, content_type, &date, body)).ok();
                }
                Trouble::Delay(time) => thread::sleep(*time),
                Trouble::Silence => {
                    self.wait_for_calm();
                    return None;
                }
                Trouble::ShortPage { rows_max } => request.limit_rows(*rows_max),
                Trouble::Restart => request.forget_continuation(),
                Trouble::LoseAnswer | Trouble::FailAfter { .. } => {}
            }
        }
        let mut answer = self.forward(origin, &request)?;
        let ahead = self.inner().ahead;
        if !ahead.is_zero() {
            answer.set_header("date", &(OffsetDateTime::now_utc() + ahead).format(HTTP_DATE).unwrap());
        }
        for trouble in &troubles {
            match trouble {
                Trouble::LoseAnswer => return None,
                Trouble::FailAfter { code } => {
                    let headers = format!("x-ms-error-code: {code}\r\n");
                    return client.write_all(&message::answer(500, "text/plain", &headers, "failed")).ok();
                }
                _ => {}
            }
        }
        client.write_all(&answer.into_bytes()).ok()
    }

    fn wait_for_calm(&self) {
        let silent = |inner: &mut Inner| inner.orders.iter().any(|(_, trouble)| *trouble == Trouble::Silence);
        drop(self.calmed.wait_while(self.inner(), silent));
    }

    /// Writes the call down. Returns what happens to it; `None`: the origin is gone.
    fn note(&self, request: &Message) -> Option<Vec<Trouble>> {
        let mut inner = self.inner();
        let call = request.call();
        inner.calls.push(call.clone());
        if inner.away {
            return None;
        }
        let orders = inner.orders.iter_mut().filter(|(when, _)| when.is_for(&call));
        Some(orders.filter_map(|(when, trouble)| when.take().then(|| trouble.clone())).collect())
    }

    /// On the connection that is there, or on a new one where the origin has closed it meanwhile.
    fn forward(&self, origin: &mut Option<BufReader<TcpStream>>, request: &Message) -> Option<Message> {
        if let Some(connection) = origin.as_mut()
            && let Some(answer) = exchange(connection, request)
        {
            return Some(answer);
        }
        let connection = origin.insert(BufReader::new(TcpStream::connect(self.origin).ok()?));
        exchange(connection, request)
    }
}

fn exchange(connection: &mut BufReader<TcpStream>, request: &Message) -> Option<Message> {
    connection.get_mut().set_nodelay(true).ok()?;
    connection.get_mut().write_all(&request.bytes()).ok()?;
    Message::read_answer(connection, &request.call().method)
}
