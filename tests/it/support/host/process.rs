//! The handler's process: started with the host's environment, probed, watched, killed and started again.

use super::record::{Line, Records};
use super::settings::{HostJson, expand};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How often the host asks `GET /` until it is answered.
const PROBE_EVERY: Duration = Duration::from_millis(25);
/// With this many failures inside the window the host gives up.
const FAILURES_MAX: usize = 3;
/// The exit code that asks for a restart which does not count.
const EXIT_RESTART: i32 = 200;
/// How long the last lines of a handler that has ended are waited for; its children may hold its pipes open.
const LINES_TIMEOUT: Duration = Duration::from_secs(1);
/// How many commands can wait. Each is carried out at once.
const COMMANDS_MAX: usize = 16;

/// What the handler does right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Facts: F-141, F-144, F-157.
    Starting,
    /// Facts: F-144.
    Ready {
        pid: u32,
        /// From the start of the process to its first answer.
        took: Duration,
    },
    /// It ended with exit code 0, after which the host starts no other; every call fails.
    /// Facts: F-147.
    Down,
    /// The host has given up, or was stopped.
    /// Facts: F-146, F-148.
    Dead(String),
}

/// What to start and for how long to put up with it.
#[derive(Debug, Clone)]
pub struct Start {
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    environment: BTreeMap<String, String>,
    stderr_is_for_errors: bool,
    initialization_timeout: Duration,
    failure_window: Duration,
}

/// Why the handler cannot be started at all.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("{0} is neither under the app's folder nor on the PATH")]
    NoProgram(String),
    #[error("port {port} for the handler cannot be had")]
    Port { port: u16, source: std::io::Error },
}

enum Order {
    /// As a crash: it counts, and the host starts another.
    Kill(oneshot::Sender<()>),
    /// The host itself starts anew, or killed a handler that took too long: it does not count.
    Restart(oneshot::Sender<()>),
    Stop,
}

/// A handle on the process and its keeper.
pub struct Process {
    pub port: u16,
    state: watch::Receiver<State>,
    orders: mpsc::Sender<Order>,
    /// Bound, never listening: no other process gets the port between two starts of the handler.
    _reserved: TcpSocket,
}

impl Start {
    /// `settings` are all that the handler inherits, with the PATH and what the host adds.
    pub fn new(
        app_root: &Path,
        host: &HostJson,
        settings: &BTreeMap<String, String>,
        failure_window: Duration,
    ) -> Result<Self, ProcessError> {
        let mut environment = settings.clone();
        let path = std::env::var("PATH").unwrap_or_default();
        environment.entry("PATH".to_owned()).or_insert(path);
        let program = find_program(app_root, &expand(&host.executable, &environment), &environment)?;
        let folder =
            host.working_directory.as_ref().map_or_else(|| app_root.to_owned(), |f| app_root.join(f));
        let worker = uuid::Uuid::new_v4().to_string();
        let root = app_root.to_string_lossy().into_owned();
        environment.insert("FUNCTIONS_APP_ROOT_PATH".to_owned(), root);
        for name in ["FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "FUNCTIONS_HTTPWORKER_ID"] {
            environment.insert(name.to_owned(), worker.clone());
        }
        Ok(Self {
            program,
            arguments: command_line(&expand(&host.arguments.join(" "), &environment)),
            folder,
            environment,
            stderr_is_for_errors: host.stderr_is_for_errors,
            initialization_timeout: host.initialization_timeout,
            failure_window,
        })
    }

    fn on_port(mut self, port: u16) -> Self {
        for name in ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"] {
            self.environment.insert(name.to_owned(), port.to_string());
        }
        self
    }
}

/// The host searches the app's folder first, then on the PATH.
fn find_program(
    app_root: &Path,
    name: &str,
    environment: &BTreeMap<String, String>,
) -> Result<PathBuf, ProcessError> {
    let own = app_root.join(name);
    if own.is_file() {
        return Ok(own);
    }
    let path = environment.get("PATH").map(String::as_str).unwrap_or_default();
    let found = std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| ProcessError::NoProgram(name.to_owned()))
}

/// Arguments are joined by spaces, and split again at those outside double quotes.
fn command_line(text: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => arguments.push(String::new()),
            _ => arguments.iter_mut().last().into_iter().for_each(|last| last.push(character)),
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

impl Process {
    /// Starts the handler and keeps it running. Must be called on a tokio runtime.
    pub fn start(
        start: Start,
        wanted_port: Option<u16>,
        records: Arc<Records>,
    ) -> Result<Self, ProcessError> {
        let (reserved, port) = reserve(wanted_port.unwrap_or(0))?;
        let (tell, state) = watch::channel(State::Starting);
        let (orders, inbox) = mpsc::channel(COMMANDS_MAX);
        let keeper = Keeper { start: start.on_port(port), port, records, tell, failures: Vec::new() };
        tokio::spawn(keeper.keep(inbox));
        Ok(Self { port, state, orders, _reserved: reserved })
    }

    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until the handler answers or will not come, at most for `limit`.
    pub async fn settled(&self, limit: Duration) -> State {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| *state != State::Starting);
        match tokio::time::timeout(limit, settled).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) => State::Dead("the host was stopped".to_owned()),
            Err(_) => State::Starting,
        }
    }

    /// SIGKILL, as a crash: it counts, and the host starts another. Returns when the old one is gone.
    pub async fn kill(&self) {
        let (tell, gone) = oneshot::channel();
        self.order(Order::Kill(tell)).await;
        let _ = gone.await;
    }

    /// SIGKILL, then another one, without counting it as a failure. Returns when the old one is gone.
    pub async fn restart(&self) {
        let (tell, gone) = oneshot::channel();
        self.order(Order::Restart(tell)).await;
        // The keeper is gone where the host is dead; then there is nothing to wait for.
        let _ = gone.await;
    }

    /// SIGKILL, and no other.
    pub async fn stop(&self) {
        self.order(Order::Stop).await;
        let mut state = self.state.clone();
        let _ = state.wait_for(|state| matches!(state, State::Dead(_))).await;
    }

    async fn order(&self, order: Order) {
        // A keeper that has ended has nothing left to kill.
        let _ = self.orders.send(order).await;
    }
}

/// A port of the loopback that no other process is given as long as the socket lives. The handler can still listen on it, and
/// a connection to it is refused until then.
fn reserve(port: u16) -> Result<(TcpSocket, u16), ProcessError> {
    let reserve = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        let port = socket.local_addr()?.port();
        Ok((socket, port))
    };
    reserve().map_err(|source| ProcessError::Port { port, source })
}

/// How one life of the handler ended.
enum End {
    Exit(ExitStatus),
    NotStarted(std::io::Error),
    NeverReady,
    Restart,
    Stop,
}

/// Owns the child.
struct Keeper {
    start: Start,
    port: u16,
    records: Arc<Records>,
    tell: watch::Sender<State>,
    /// When the handler failed, the newest last.
    failures: Vec<Instant>,
}

impl Keeper {
    async fn keep(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            self.tell.send_replace(State::Starting);
            let state = match self.one_life(&mut orders).await {
                End::Restart => continue,
                End::Exit(status) if status.code() == Some(EXIT_RESTART) => continue,
                End::Exit(status) if status.success() => State::Down,
                End::Stop => State::Dead("the host was stopped".to_owned()),
                End::Exit(status) => match self.failed(&format!("it ended with {status}")) {
                    Some(dead) => dead,
                    None => continue,
                },
                End::NotStarted(error) => match self.failed(&format!("it cannot be started: {error}")) {
                    Some(dead) => dead,
                    None => continue,
                },
                End::NeverReady => match self.failed("it did not answer in time") {
                    Some(dead) => dead,
                    None => continue,
                },
            };
            let down = state == State::Down;
            self.tell.send_replace(state);
            if !down || !wait_for_restart(&mut orders, &self.tell).await {
                return;
            }
        }
    }

    /// Counts a failure; with too many inside the window the host is dead.
    fn failed(&mut self, why: &str) -> Option<State> {
        let now = Instant::now();
        self.failures.retain(|failure| now.duration_since(*failure) < self.start.failure_window);
        self.failures.push(now);
        let count = self.failures.len();
        (count >= FAILURES_MAX).then(|| State::Dead(format!("the handler failed {count} times; last, {why}")))
    }

    async fn one_life(&self, orders: &mut mpsc::Receiver<Order>) -> End {
        let started = Instant::now();
        let (mut child, readers) = match self.spawn() {
            Ok(spawned) => spawned,
            Err(error) => return End::NotStarted(error),
        };
        let (end, gone) = self.watch(&mut child, started, orders).await;
        // A reader after the end finds all that was written before it.
        let _ = tokio::time::timeout(LINES_TIMEOUT, futures_util::future::join_all(readers)).await;
        if !matches!(end, End::Stop) {
            self.tell.send_replace(State::Starting);
        }
        let _ = gone.map(|gone| gone.send(()));
        end
    }

    /// Until the child has ended. Wakes those who wait for that.
    async fn watch(
        &self,
        child: &mut Child,
        started: Instant,
        orders: &mut mpsc::Receiver<Order>,
    ) -> (End, Option<oneshot::Sender<()>>) {
        let pid = child.id().unwrap_or_default();
        let ready = probe(self.port);
        tokio::pin!(ready);
        let too_late = tokio::time::sleep(self.start.initialization_timeout);
        tokio::pin!(too_late);
        let mut waiting = true;
        loop {
            tokio::select! {
                exit = child.wait() => return (exit.map_or_else(End::NotStarted, End::Exit), None),
                () = &mut ready, if waiting => {
                    waiting = false;
                    self.tell.send_replace(State::Ready { pid, took: started.elapsed() });
                }
                () = &mut too_late, if waiting => {
                    let _ = kill(child).await;
                    return (End::NeverReady, None);
                }
                order = orders.recv() => {
                    let exit = kill(child).await;
                    return match order {
                        Some(Order::Kill(gone)) => (exit.map_or_else(End::NotStarted, End::Exit), Some(gone)),
                        Some(Order::Restart(gone)) => (End::Restart, Some(gone)),
                        Some(Order::Stop) | None => (End::Stop, None),
                    };
                }
            }
        }
    }

    /// The child, and the tasks that read its lines.
    fn spawn(&self) -> std::io::Result<(Child, Vec<JoinHandle<()>>)> {
        let mut child = Command::new(&self.start.program)
            .args(&self.start.arguments)
            .current_dir(&self.start.folder)
            .env_clear()
            .envs(&self.start.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let errors_only = self.start.stderr_is_for_errors;
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(tokio::spawn(read_lines(stdout, self.records.clone(), Line::stdout)));
        }
        if let Some(stderr) = child.stderr.take() {
            let line = move |text: &str| Line::stderr(text, errors_only);
            readers.push(tokio::spawn(read_lines(stderr, self.records.clone(), line)));
        }
        Ok((child, readers))
    }
}

/// After exit code 0 only the host's own restart brings the handler back. False when there is none.
async fn wait_for_restart(orders: &mut mpsc::Receiver<Order>, tell: &watch::Sender<State>) -> bool {
    loop {
        match orders.recv().await {
            Some(Order::Kill(gone)) => {
                let _ = gone.send(());
            }
            Some(Order::Restart(gone)) => {
                tell.send_replace(State::Starting);
                let _ = gone.send(());
                return true;
            }
            Some(Order::Stop) | None => {
                tell.send_replace(State::Dead("the host was stopped".to_owned()));
                return false;
            }
        }
    }
}

async fn kill(child: &mut Child) -> std::io::Result<ExitStatus> {
    // It may have ended by itself.
    let _ = child.start_kill();
    child.wait().await
}

/// Asks `GET /` until it is answered, whatever the answer.
async fn probe(port: u16) {
    while !answers(port).await {
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

async fn answers(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return false };
    let io = hyper_util::rt::TokioIo::new(stream);
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(io).await else { return false };
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("/").header("host", format!("127.0.0.1:{port}"));
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new());
    let answered = match request {
        Ok(request) => sender.send_request(request).await.is_ok(),
        Err(_) => false,
    };
    connection.abort();
    answered
}

async fn read_lines(from: impl AsyncRead + Unpin, records: Arc<Records>, line: impl Fn(&str) -> Line) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while from.read_until(b'\n', &mut bytes).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&bytes);
        records.push_line(line(text.trim_end_matches(['\r', '\n'])));
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts: F-142.
    #[test]
    fn arguments_are_split_at_spaces_outside_quotes() {
        assert_eq!(command_line("serve  --state \"a b\""), ["serve", "--state", "a b"]);
        assert!(command_line("").is_empty());
    }
}
