//! The `local` command: the service on an embedded store or a table service, with a simulated Azure beside it, in one
//! process.

mod certificate;
mod changed_bindings;
mod demo;
mod greeting;
mod options;
mod running;
mod simulated_clock;
mod state_folder;
mod table_service;

use crate::app::{self, DEGRADED, FolderArchive, HealthProbe, RandomIds, ServiceDeps, SystemClock, inspect};
use crate::bindings::{self, Bindings, BindingsError};
use crate::engine::{EngineError, TableEngine};
use crate::id::PrincipalId;
use crate::ports::clock::Clock;
use crate::ports::tables::TableOps;
use crate::service::audit::seal::AuditKeeping;
use crate::service::bindings::active::ActivateError;
use crate::service::drill::DrillSettings;
use crate::service::reconcile::EffectLimits;
use crate::service::reconcile_queue::inline::InlineLimits;
use crate::service::reconcile_queue::overdue::OVERDUE_AFTER;
use crate::service::reconcile_queue::tick::TickLimits;
use crate::service::tokens::BearerTokens;
use crate::simulator::{self, Simulator};
use crate::store::orders::OrderTable;
use crate::store::request_log::RequestTable;
pub use certificate::CertificateError;
pub use changed_bindings::ChangedBindingsError;
pub use demo::DemoError;
use demo::DriftCount;
pub use options::LocalOptions;
use running::RunningLocal;
use secrecy::SecretString;
use simulated_clock::SimulatedClock;
use state_folder::{StateFolder, StateFolderError};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
pub use table_service::TableServiceError;
use uuid::uuid;

/// The bindings of a first run.
const EXAMPLE: &[u8] = include_bytes!("bindings.json");

/// The simulated Azure accepts any token.
const AZURE_TOKEN: &str = "simulated";

/// The leaver of a drill, which the simulated Azure takes for one of its directory.
const DRILL_PRINCIPAL: PrincipalId = PrincipalId::new(uuid!("d0000000-0000-4000-8000-000000000001"));

/// How often `local` ticks.
const TICK_EVERY: Duration = Duration::from_secs(5);

/// Why `local` did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("plain http is served on loopback only, not on {address}")]
    NotLoopback { address: SocketAddr },
    #[error("cannot listen on {address} (--listen takes another address; port 0 picks a free one)")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot read the bindings file {path}")]
    BindingsFile { path: PathBuf, source: io::Error },
    #[error("the bindings file is not in order; nothing was changed")]
    Bindings(#[source] BindingsError),
    #[error("cannot store the bindings")]
    Adopt(#[source] ActivateError),
    #[error(transparent)]
    Changed(#[from] ChangedBindingsError),
    #[error("cannot use the state folder (--state chooses another)")]
    State(#[from] StateFolderError),
    #[error("cannot open the embedded store (--state chooses another folder)")]
    TableEngine(#[from] EngineError),
    #[error("{} is missing, and the simulated Azure beside it holds {held} role assignments: put it back, or choose another folder with --state", path.display())]
    TableGone { path: PathBuf, held: usize },
    #[error("cannot use the table service")]
    Tables(#[from] TableServiceError),
    #[error("the certificate of the simulated Azure cannot be made or read")]
    Certificate(#[from] CertificateError),
    #[error("the simulated Azure does not start")]
    Simulator(#[source] io::Error),
    #[error("the client of the simulated Azure cannot be built")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the server stopped")]
    Server(#[source] io::Error),
    #[error("the demo could not be played")]
    Demo(#[from] DemoError),
    #[error("what Azure holds is not what should be held: {missing} missing, {extra} too many")]
    Drift { missing: usize, extra: usize },
}

/// Runs the command on a runtime of its own.
pub fn block_on(options: LocalOptions) -> Result<(), LocalError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(LocalError::Server)?.block_on(run(options))
}

/// Starts, prints its addresses, and serves until it is stopped; with `demo`, until the demo ends.
async fn run(options: LocalOptions) -> Result<(), LocalError> {
    if !options.listen.ip().is_loopback() {
        return Err(LocalError::NotLoopback { address: options.listen });
    }
    let file = read_bindings(options.bindings.as_ref())?;
    let bindings = Bindings::parse(&file).map_err(LocalError::Bindings)?;
    let state = StateFolder::open(&options.state)?;
    let address = options.listen;
    let listener = app::listen(address).map_err(|source| LocalError::Listen { address, source })?;
    let address = listener.local_addr().map_err(|source| LocalError::Listen { address, source })?;
    let running = start(&options, &state, bindings, address).await?;
    changed_bindings::confirm(&running.service, &file, &running.bindings, options.yes).await?;
    running.service.active_bindings.activate(&file).await.map_err(LocalError::Adopt)?;
    let tokens = Arc::new(BearerTokens::fixed(state.tokens(), running.service.store.clock.clone()));
    let health = health(&running);
    let timer = app::timer(&running.service, options.handler_port);
    let server = app::serve(listener, &running.service, tokens, health, timer).map_err(LocalError::Server)?;
    tokio::spawn(running.service.clone().tick_for_ever(TICK_EVERY));
    tokio::spawn(running.service.clone().log_requests_for_ever());
    greeting::print(&options, &running);
    if options.demo {
        tokio::spawn(server);
        let DriftCount { missing, extra } = demo::play(&running).await?;
        return if missing + extra == 0 { Ok(()) } else { Err(LocalError::Drift { missing, extra }) };
    }
    server.await.map_err(LocalError::Server)
}

/// What the health check reports: the health of the service, and whether the embedded store can be written.
fn health(running: &RunningLocal) -> HealthProbe {
    let service = running.service.clone();
    let engine = running.engine.clone();
    Arc::new(move || {
        let mut members = app::health_report(&service);
        if engine.as_ref().is_some_and(TableEngine::is_failing) {
            members.insert("status".to_owned(), DEGRADED.into());
            members.insert("store".to_owned(), "the last write failed".into());
        }
        members
    })
}

/// The embedded store. A missing store is not replaced by an empty one while Azure still holds roles: they would never be
/// revoked.
fn open_engine(
    state: &StateFolder,
    simulator: &Simulator,
    clock: Arc<dyn Clock>,
) -> Result<TableEngine, LocalError> {
    let path = state.tables_file();
    let held = simulator.handle().assignments().len();
    if held > 0 && !path.exists() {
        return Err(LocalError::TableGone { path, held });
    }
    Ok(TableEngine::redb(path, clock)?)
}

/// Clients are started in other folders.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn read_bindings(path: Option<&PathBuf>) -> Result<Vec<u8>, LocalError> {
    match path {
        None => Ok(EXAMPLE.to_vec()),
        Some(path) => {
            bindings::read(path).map_err(|source| LocalError::BindingsFile { path: path.clone(), source })
        }
    }
}

async fn start(
    options: &LocalOptions,
    state: &StateFolder,
    bindings: Bindings,
    address: SocketAddr,
) -> Result<RunningLocal, LocalError> {
    let slot: inspect::ResponseSlot = Arc::new(OnceLock::new());
    let routes = slot.clone();
    let scopes =
        bindings.scopes().iter().filter_map(|scope| simulator::Scope::parse(scope.as_str())).collect();
    let certificate_files = state.certificate_files();
    let tls = options.tls.then(|| certificate::open(&certificate_files, SystemClock::new().now()));
    let tls = tls.transpose()?;
    let ca_file = tls.as_ref().map(|_| absolute(certificate_files.ca));
    let simulator = Simulator::start(simulator::SimulatorOptions {
        tls,
        state_file: Some(state.azure_file()),
        scopes,
        extra_routes: Some(Arc::new(move |config| inspect::configure(config, routes.clone()))),
        ..simulator::SimulatorOptions::default()
    })
    .map_err(LocalError::Simulator)?;
    let leaver = simulator::DirectoryPrincipal::new(
        DRILL_PRINCIPAL.uuid(),
        simulator::PrincipalType::ServicePrincipal,
    );
    let added = simulator.handle().add_principal(leaver);
    added.map_err(|error| LocalError::Simulator(io::Error::other(error)))?;
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(simulator.handle(), SystemClock::new()));
    let token = SecretString::from(AZURE_TOKEN);
    let arm = app::arm(&simulator.arm_url(), token, clock.clone())
        .map_err(|error| LocalError::Client(error.into()))?;
    let (tables, engine): (Arc<dyn TableOps>, _) = match &options.tables {
        Some(connection) => (table_service::open(connection, clock.clone()).await?, None),
        None => {
            let engine = open_engine(state, &simulator, clock.clone())?;
            (Arc::new(engine.clone()), Some(engine))
        }
    };
    let operator_tables = tables.clone();
    let origin = options.public_origin.clone().unwrap_or_else(|| format!("http://{address}"));
    let base_url = format!("{origin}/scim/v2");
    let service = app::build(ServiceDeps {
        orders: OrderTable::new(tables.clone(), app::LOCAL_ORDERS.to_owned()),
        requests: RequestTable::new(tables.clone(), app::LOCAL_REQUESTS.to_owned()),
        tables,
        assignments: arm.clone(),
        access: arm,
        connectivity: Arc::default(),
        ids: Arc::new(RandomIds::new(clock.clone())),
        clock,
        tenant: app::LOCAL_TENANT.to_owned(),
        instance: None,
        base_url: base_url.clone(),
        effect_limits: EffectLimits::default(),
        inline: InlineLimits::default(),
        tick: TickLimits { deadline: Duration::from_secs(45), overdue_after: OVERDUE_AFTER },
        audit: AuditKeeping {
            archive: Some(Arc::new(FolderArchive::new(state.heads_folder()))),
            ..AuditKeeping::default()
        },
        drill: Some(DrillSettings { principal: DRILL_PRINCIPAL, every: None }),
    })
    .announcing_cursors(options.announce_cursors);
    // The slot is new, so it is empty.
    let _ = slot.set(inspect::InspectedResponse {
        tables: operator_tables.clone(),
        orders: OrderTable::new(operator_tables, app::LOCAL_ORDERS.to_owned()),
        store: service.store.clone(),
        tick: service.tick.clone(),
        request_log: service.request_log.clone(),
    });
    let token = state.token_text();
    Ok(RunningLocal { service, simulator, engine, ca_file, base_url, token, bindings })
}
