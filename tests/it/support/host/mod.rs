//! A stand-in for the Azure Functions host, on loopback: it reads the real `host.json` and `*/function.json`, starts the
//! real program, and is the only way to it, so that a wrong route, prefix, transport or envelope fails a test.
//!
//! It does what the real host's sources do as far as a custom handler can tell. Routes and proxying are held to what the
//! real router, forwarder and server did (`tests/it/process/host_recorded.rs`); forwarding has no such record. It leaves
//! out queues, scaling, keys that an operator manages, and the envelope for HTTP functions (of which the app has none; the
//! lint says so). What it cannot know: what the front end does to a path, how long a cold start takes.

mod address;
mod body;
mod envelope;
mod front;
mod head;
mod layout;
mod process;
mod record;
mod route;
mod schedule;
mod settings;
mod transport;

pub use envelope::{Invocation, Outcome, ScheduleStatus, timer_envelope};
pub use front::FrontEnd;
pub use layout::{Finding, Layout, METHODS};
pub use process::State;
pub use record::{Call, Level, Line, Relay};
pub use schedule::Schedule;
pub use settings::{HostJson, OVERRIDE_PREFIX, SettingsError};

use head::HeadStream;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use layout::Trigger;
use process::{Process, ProcessError, Start};
use record::Records;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Placeholder for the host's own address in the value of a setting, for a handler that needs its public address.
pub const HOST_URL: &str = "{host-url}";
/// How long the end of the handler is waited for.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// What the host says its version is.
const HOST_VERSION: &str = "4.1052.200.0";
/// The host's own limit on a body.
const BODY_BYTES_MAX: u64 = 100 * 1024 * 1024;
const BODY_BYTES_SETTING: &str = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT";
/// More headers than the server is let see than it allows, so that it can refuse them itself.
const HEADERS_READ_MAX: usize = 200;

/// Which host: the newer one proxies requests, the older one does not know that key of host.json and forwards them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Facts: F-064.
    Proxy,
    /// Facts: F-140.
    Forward,
}

/// What to run, and as what.
pub struct HostOptions {
    /// The folder with host.json.
    pub app_root: PathBuf,
    /// The app settings: all that the handler inherits, and overrides of host.json.
    pub settings: BTreeMap<String, String>,
    pub transport: Transport,
    /// Where to listen on the loopback; 0 picks a free port.
    pub port: u16,
    /// Azure's front end before the host.
    pub front: Option<FrontEnd>,
    /// Keys that open functions which are not anonymous.
    pub keys: Vec<String>,
    pub body_bytes_max: u64,
    /// After this long without a byte in either direction a proxied request is given up.
    pub inactivity_max: Duration,
    /// The third failure of the handler inside this window ends the host.
    pub failure_window: Duration,
    /// Called with each line of the handler as it comes.
    pub relay: Option<Relay>,
}

impl HostOptions {
    pub fn new(app_root: impl Into<PathBuf>) -> Self {
        Self {
            app_root: app_root.into(),
            settings: BTreeMap::new(),
            transport: Transport::Proxy,
            port: 0,
            front: None,
            keys: Vec::new(),
            body_bytes_max: BODY_BYTES_MAX,
            inactivity_max: Duration::from_secs(240),
            failure_window: Duration::from_secs(30 * 60),
            relay: None,
        }
    }

    /// One app setting.
    pub fn setting(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// A value of host.json replaced by an app setting: `customHandler__description__arguments__0`.
    pub fn override_host(self, path: &str, value: impl Into<String>) -> Self {
        self.setting(&format!("{OVERRIDE_PREFIX}{path}"), value)
    }

    /// Another program, and arguments in the place of those in host.json. It cannot make them fewer.
    pub fn program(self, executable: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let executable = executable.as_ref().to_string_lossy().into_owned();
        let named = self.override_host("customHandler__description__defaultExecutablePath", executable);
        arguments.iter().enumerate().fold(named, |options, (at, argument)| {
            options.override_host(&format!("customHandler__description__arguments__{at}"), *argument)
        })
    }

    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    pub fn function_timeout(self, limit: Duration) -> Self {
        self.override_host("functionTimeout", span(limit))
    }

    pub fn initialization_timeout(self, limit: Duration) -> Self {
        self.override_host("customHandler__initializationTimeout", span(limit))
    }
}

fn span(limit: Duration) -> String {
    let seconds = limit.as_secs();
    let millis = limit.subsec_millis();
    format!(
        "{}.{:02}:{:02}:{:02}.{millis:03}",
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Why the host does not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("neither proxying nor forwarding is enabled: every HTTP function would get an envelope")]
    NoTransport,
    #[error("{BODY_BYTES_SETTING} is no number")]
    BodyLimit,
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen { port: u16, source: std::io::Error },
    #[error("no runtime")]
    Runtime(#[source] std::io::Error),
}

/// What every request needs.
struct Shared {
    layout: Layout,
    host: HostJson,
    options: HostOptions,
    /// What this host does with this host.json.
    transport: Transport,
    process: Arc<Process>,
    records: Arc<Records>,
    route: transport::Route,
    /// One for each timer: it never overlaps with itself.
    timers: BTreeMap<String, tokio::sync::Mutex<()>>,
}

/// A running host. Dropping it kills the handler.
pub struct Host {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Host {
    /// Starts the server and the handler. Requests wait until the handler is ready.
    pub fn start(options: HostOptions) -> Result<Self, HostError> {
        let mut options = options;
        if let Some(limit) = options.settings.get(BODY_BYTES_SETTING) {
            options.body_bytes_max = limit.parse().map_err(|_| HostError::BodyLimit)?;
        }
        options.app_root = std::path::absolute(&options.app_root).unwrap_or(options.app_root);
        let host = HostJson::read(&options.app_root, &options.settings)?;
        let transport = match options.transport {
            Transport::Proxy if host.proxying => Transport::Proxy,
            _ if host.forwarding => Transport::Forward,
            _ => return Err(HostError::NoTransport),
        };
        let layout = Layout::discover(&options.app_root, &host)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(HostError::Runtime)?;
        let guard = runtime.enter();
        let listener = listen(options.port)?;
        let address =
            listener.local_addr().map_err(|source| HostError::Listen { port: options.port, source })?;
        let url = format!("http://{address}");
        options.settings.values_mut().for_each(|value| *value = value.replace(HOST_URL, &url));
        let shared = Arc::new(Shared::new(options, host, layout, transport)?);
        runtime.spawn(serve(listener, shared.clone()));
        drop(guard);
        Ok(Self { shared, address, runtime: Some(runtime) })
    }

    /// Where clients find the host: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the host found, and what is wrong with it.
    pub fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    pub fn state(&self) -> State {
        self.shared.process.state()
    }

    /// Waits until the handler answers, has ended for good, or the host has given up.
    pub fn settled(&self) -> State {
        let shared = self.shared.clone();
        self.run(async move { shared.process.settled(Duration::MAX).await })
    }

    /// From the start of the process to its first answer, of the handler that runs now.
    pub fn time_to_ready(&self) -> Option<Duration> {
        match self.state() {
            State::Ready { took, .. } => Some(took),
            _ => None,
        }
    }

    /// The timers and when they fire.
    pub fn timers(&self) -> Vec<(String, Schedule)> {
        let timers = self.shared.layout.functions.iter().filter_map(|function| match &function.trigger {
            Trigger::Timer(timer) => Some((function.name.clone(), timer.schedule.clone())),
            Trigger::Http(_) => None,
        });
        timers.collect()
    }

    /// Fires a timer and waits for its end. A function that is no timer fails.
    pub fn fire_timer(&self, function: &str, past_due: bool, status: Option<ScheduleStatus>) -> Invocation {
        let binding =
            self.shared.layout.timer(function).map(|timer| timer.binding.clone()).unwrap_or_default();
        self.fire_envelope(function, &timer_envelope(function, &binding, past_due, status))
    }

    /// Sends an envelope of the caller's making, once the one before has ended.
    pub fn fire_envelope(&self, function: &str, envelope: &Value) -> Invocation {
        let shared = self.shared.clone();
        let function = function.to_owned();
        let envelope = envelope.clone();
        self.run(async move {
            let Some(turn) = shared.timers.get(&function) else {
                return Invocation::without_caller(&function);
            };
            let _turn = turn.lock().await;
            envelope::send(&shared, &function, &envelope).await
        })
    }

    /// SIGKILL, as a crash: it counts, and the host starts another. Returns when the old one is gone.
    pub fn kill(&self) {
        let shared = self.shared.clone();
        self.run(async move { shared.process.kill().await });
    }

    /// SIGKILL, as the host's own shutdown or a new deployment, then another. Returns when the new one is ready.
    pub fn restart(&self) -> State {
        let shared = self.shared.clone();
        self.run(async move {
            shared.process.restart().await;
            shared.process.settled(Duration::MAX).await
        })
    }

    /// The calls that have ended. A client that has read an answer finds its call here.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.records.calls()
    }

    /// What the handler wrote.
    pub fn lines(&self) -> Vec<Line> {
        self.shared.records.lines()
    }

    /// Runs on the host's own threads and waits. May be called from any thread.
    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let runtime = self.runtime.as_ref().expect("the host runs until it is dropped");
        runtime.spawn(async move { tell.send(work.await) });
        told.recv().expect("the host's work does not panic")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let (tell, told) = mpsc::channel();
        let shared = self.shared.clone();
        runtime.spawn(async move {
            shared.process.stop().await;
            tell.send(())
        });
        // The child is killed with the runtime, should it not have been by then.
        let _ = told.recv_timeout(STOP_TIMEOUT);
        runtime.shutdown_background();
    }
}

impl Shared {
    fn new(
        options: HostOptions,
        host: HostJson,
        layout: Layout,
        transport: Transport,
    ) -> Result<Self, HostError> {
        let mut options = options;
        let records = Arc::new(Records::new(options.relay.take()));
        let start = Start::new(&options.app_root, &host, &options.settings, options.failure_window)?;
        let process = Arc::new(Process::start(start, host.port, records.clone())?);
        let route = transport::Route {
            client: Client::builder(TokioExecutor::new()).build_http(),
            port: process.port,
            host_version: HOST_VERSION.to_owned(),
        };
        let timers = layout.functions.iter().filter(|function| matches!(function.trigger, Trigger::Timer(_)));
        let timers = timers.map(|function| (function.name.clone(), tokio::sync::Mutex::default())).collect();
        Ok(Self { layout, host, options, transport, process, records, route, timers })
    }
}

impl Invocation {
    fn without_caller(function: &str) -> Self {
        let outcome = Outcome::Failed(format!("{function} is no timer"));
        Self { id: String::new(), status: None, duration: Duration::ZERO, outcome }
    }
}

fn listen(port: u16) -> Result<TcpListener, HostError> {
    let listen = || {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|source| HostError::Listen { port, source })
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // A connection that was gone before it was taken loses nothing.
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(front::answer(shared, peer, request).await) }
            });
            // How a connection ends is the client's business.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .max_headers(HEADERS_READ_MAX)
                .serve_connection(TokioIo::new(HeadStream::new(stream)), service)
                .await;
        });
    }
}
