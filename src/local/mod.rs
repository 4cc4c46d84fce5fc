//! The `local` command: the service on an embedded store, with a simulated Azure beside it, in one process.

mod clock;
mod demo;
mod state;

use crate::adapters::arm::{ArmOptions, ArmRoleAssignments, PUBLIC_TOKEN_SCOPE};
use crate::adapters::clock::SystemClock;
use crate::adapters::credential::Credential;
use crate::adapters::ids::RandomIds;
use crate::adapters::rest::RestError;
use crate::app::{self, Parts, Service};
use crate::bindings::{Bindings, BindingsError};
use crate::engine::{Engine, EngineError};
use crate::http::{self, inspect};
use crate::ports::clock::Clock;
use crate::service::reconcile::EffectLimits;
use crate::service::snapshots::AdoptError;
use crate::simulator::{self, Simulator};
use clock::SimulatedClock;
use serde_json::json;
use state::{State, StateError};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The bindings of a first run.
const EXAMPLE: &[u8] = include_bytes!("bindings.json");
/// How often `local` ticks.
const TICK_EVERY: Duration = Duration::from_secs(5);

/// What `local` is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    pub listen: SocketAddr,
    pub state: PathBuf,
    pub bindings: Option<PathBuf>,
    pub json: bool,
    pub demo: bool,
}

/// Why `local` did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("plain http is served on loopback only, not on {address}")]
    NotLoopback { address: SocketAddr },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot read the bindings file {path}")]
    BindingsFile { path: PathBuf, source: io::Error },
    #[error("the bindings file is not in order; nothing was changed")]
    Bindings(#[source] BindingsError),
    #[error("cannot store the bindings")]
    Adopt(#[source] AdoptError),
    #[error("cannot use the state folder")]
    State(#[from] StateError),
    #[error("cannot open the embedded store")]
    Engine(#[from] EngineError),
    #[error("the simulated Azure does not start")]
    Simulator(#[source] io::Error),
    #[error("the client of the simulated Azure cannot be built")]
    Client(#[from] RestError),
    #[error("the server stopped")]
    Server(#[source] io::Error),
    #[error("the demo could not be played")]
    Demo(#[from] demo::DemoError),
    #[error("what Azure holds is not what should be held: {missing} missing, {extra} too many")]
    Drift { missing: usize, extra: usize },
}

/// Everything that runs.
struct Running {
    service: Service,
    simulator: Simulator,
    base_url: String,
    token: String,
    bindings: Bindings,
}

/// Starts, says where it is, and serves until it is stopped; with `demo`, until the demo is over.
pub async fn run(options: Options) -> Result<(), LocalError> {
    if !options.listen.ip().is_loopback() {
        return Err(LocalError::NotLoopback { address: options.listen });
    }
    let file = read_bindings(options.bindings.as_ref())?;
    let bindings = Bindings::parse(&file).map_err(LocalError::Bindings)?;
    let state = State::open(&options.state)?;
    let address = options.listen;
    let listener = TcpListener::bind(address).map_err(|source| LocalError::Listen { address, source })?;
    let address = listener.local_addr().map_err(|source| LocalError::Listen { address, source })?;
    let running = start(&state, bindings, address)?;
    running.service.snapshots.adopt(&file).await.map_err(LocalError::Adopt)?;
    let server = http::serve(listener, running.service.provisioning.clone(), state.tokens()).map_err(LocalError::Server)?;
    tokio::spawn(tick(running.service.clone()));
    say(&options, &running);
    if options.demo {
        tokio::spawn(server);
        return demo::play(&running.base_url, &running.token, &running.simulator, &running.bindings).await;
    }
    server.await.map_err(LocalError::Server)
}

fn read_bindings(path: Option<&PathBuf>) -> Result<Vec<u8>, LocalError> {
    match path {
        None => Ok(EXAMPLE.to_vec()),
        Some(path) => std::fs::read(path).map_err(|source| LocalError::BindingsFile { path: path.clone(), source }),
    }
}

fn start(state: &State, bindings: Bindings, address: SocketAddr) -> Result<Running, LocalError> {
    let slot: inspect::Slot = Arc::new(OnceLock::new());
    let routes = slot.clone();
    let scopes = bindings.scopes().iter().filter_map(|scope| simulator::Scope::parse(scope.as_str()).ok()).collect();
    let simulator = Simulator::start(simulator::Options {
        state_file: Some(state.azure_file()),
        scopes,
        extra_routes: Some(Arc::new(move |config| inspect::configure(config, routes.clone()))),
        ..simulator::Options::default()
    })
    .map_err(LocalError::Simulator)?;
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(simulator.handle(), SystemClock::new()));
    let options = ArmOptions { token_scope: PUBLIC_TOKEN_SCOPE.to_owned(), clock: clock.clone(), transport: None };
    let credential = Credential::Static(state.token()).build();
    let arm = ArmRoleAssignments::at(&simulator.arm_url(), credential, options)?;
    let base_url = format!("http://{address}/scim/v2");
    let service = app::build(Parts {
        tables: Arc::new(Engine::redb(state.tables_file(), clock.clone())?),
        assignments: Arc::new(arm),
        ids: Arc::new(RandomIds::new(clock.clone())),
        clock,
        tenant: "default".to_owned(),
        base_url: base_url.clone(),
        effects: EffectLimits::default(),
        inline_wait: Duration::from_millis(400),
        tick_deadline: Duration::from_secs(45),
    });
    // The slot is new: nobody has filled it.
    let _ = slot.set(service.clone());
    Ok(Running { service, simulator, base_url, token: state.token_text(), bindings })
}

async fn tick(service: Service) {
    let mut every = tokio::time::interval(TICK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if let Err(error) = service.tick.run().await {
            tracing::warn!(error = %error, "a tick ended early");
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a person or a script reads")]
fn say(options: &Options, running: &Running) {
    let (arm_url, control_url) = (running.simulator.arm_url(), running.simulator.control_url());
    if options.json {
        let line = json!({
            "base_url": running.base_url, "token": running.token, "arm_url": arm_url,
            "control_url": control_url, "pid": std::process::id(),
        });
        println!("{line}");
        return;
    }
    println!("Azure Backup SCIM is ready, on an embedded store and a simulated Azure (state: {}).\n", options.state.display());
    println!("  SCIM base URL    {}", running.base_url);
    println!("  bearer token     {}", running.token);
    println!("  simulated ARM    {arm_url}");
    println!("  its control API  {control_url}   (GET it for help)\n");
    println!("Bindings in force:");
    for binding in &running.bindings.bindings {
        let group = format!("{} {}", binding.selector.attribute(), binding.selector.value());
        println!("  {:<18} group with {group} -> {} @ {}", binding.name, binding.role, binding.scope.short_name());
    }
    println!("\nTry:\n  curl -H 'Authorization: Bearer {}' {}/Users\n", running.token, running.base_url);
}
