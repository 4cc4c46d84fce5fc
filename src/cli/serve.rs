//! `serve`: what the Functions host starts. It listens before anything else, and stays up whatever
//! dependency is down.

use crate::app::{
    self, BackupScim, ConnectError, DEGRADED, HealthProbe, RandomIds, ServiceDeps, SystemClock, UNAVAILABLE,
};
use crate::bindings;
use crate::cli::exit::{EXIT_DEPENDENCY, EXIT_USAGE, complain};
use crate::config::{self, Config, ConfigError};
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::ports::clock::Clock;
use crate::ports::ids::IdSource;
use crate::service::audit::seal::AuditKeeping;
use crate::service::bindings::bundled::{BundleState, BundledBindings, BundledFile};
use crate::service::reconcile::EffectLimits;
use crate::service::reconcile_queue::inline::InlineLimits;
use crate::service::reconcile_queue::tick::TickLimits;
use crate::service::tokens::{BearerTokens, TokenState};
use futures_util::future::BoxFuture;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How often a service without a host ticks; under a host its timer does.
const TICK_EVERY: Duration = Duration::from_secs(60);
/// How long one tick goes on: well below the timeout that `host.json` gives functions.
const TICK_DEADLINE: Duration = Duration::from_secs(45);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to listen when no Functions host has chosen a port. Loopback only: TLS ends at the proxy in front.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

/// Why `serve` did not start, or stopped.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("plain http is served on loopback only, not on {address}")]
    NotLoopback { address: SocketAddr },
    #[error(
        "cannot listen on {address} (--listen takes another address, where no Functions host has chosen the port)"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start")]
    Config(#[source] ConfigError),
    #[error("cannot start")]
    Connect(#[source] ConnectError),
    #[error("the server stopped")]
    Server(#[source] io::Error),
}

/// Runs until it is stopped.
pub fn run(arguments: &Arguments) -> ExitCode {
    app::install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(ServeError::Server).and_then(|runtime| runtime.block_on(serve(arguments))) {
        // The host starts a process again that ended with anything but 0; it is not meant to end at all.
        Ok(()) => ExitCode::from(EXIT_DEPENDENCY),
        Err(error) => {
            complain(&error);
            ExitCode::from(match error {
                ServeError::Server(_) => EXIT_DEPENDENCY,
                _ => EXIT_USAGE,
            })
        }
    }
}

async fn serve(arguments: &Arguments) -> Result<(), ServeError> {
    let variables = config::environment();
    let handler_port = config::handler_port(&variables).map_err(ServeError::Config)?;
    let address = config::listen(handler_port, arguments.listen);
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback { address });
    }
    let listener = app::listen(address).map_err(|source| ServeError::Listen { address, source })?;
    let address = listener.local_addr().map_err(|source| ServeError::Listen { address, source })?;
    let ready = Config::parse(&variables)
        .map_err(ServeError::Config)
        .and_then(|config| Ready::build(&config, address).map_err(ServeError::Connect));
    match ready {
        Ok(ready) => ready.run(listener).await,
        Err(error) if handler_port.is_some() => wait_for_settings(listener, &error).await,
        Err(error) => Err(error),
    }
}

/// The host restarts a process that ends, and stops the whole app after three times. So this process stays, logs what is
/// wrong, and rejects every request.
async fn wait_for_settings(listener: TcpListener, error: &ServeError) -> Result<(), ServeError> {
    log_event!(SettingsInvalid, error = %ErrorChain(error), "nothing can be served before the settings are in order");
    app::serve_not_configured(listener).map_err(ServeError::Server)?.await.map_err(ServeError::Server)
}

/// Everything that runs, before it runs.
struct Ready {
    service: BackupScim,
    tokens: Arc<BearerTokens>,
    bundled: Arc<BundledBindings>,
    package: BundledFile,
    table_is_made: BoxFuture<'static, ()>,
    handler_port: Option<u16>,
}

impl Ready {
    fn build(config: &Config, address: SocketAddr) -> Result<Self, ConnectError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let ids: Arc<dyn IdSource> = Arc::new(RandomIds::new(clock.clone()));
        let ends = app::connect(config, &clock, &ids)?;
        let tokens = BearerTokens::from_vault(
            ends.secrets,
            config.bearer_token_secret.clone(),
            clock.clone(),
            ids.clone(),
        );
        let service = app::build(ServiceDeps {
            tables: ends.tables,
            orders: ends.orders,
            requests: ends.requests,
            assignments: ends.arm.clone(),
            access: ends.arm,
            connectivity: ends.connectivity,
            clock,
            ids,
            tenant: config.tenant.clone(),
            instance: config.instance,
            base_url: config.base_url(address),
            effect_limits: EffectLimits::default(),
            inline: InlineLimits::default(),
            tick: TickLimits { deadline: TICK_DEADLINE, overdue_after: config.revocation_overdue },
            audit: AuditKeeping { archive: ends.heads, retention_months: config.audit.retention_months },
            drill: config.drill,
        })
        .announcing_cursors(config.announce_cursors);
        let bundled = BundledBindings::new(service.store.clone(), service.active_bindings.clone());
        Ok(Self {
            tokens: Arc::new(tokens),
            bundled: Arc::new(bundled),
            package: read_package(&config.bindings_file),
            table_is_made: ends.table_is_made,
            handler_port: config.handler_port,
            service,
        })
    }

    async fn run(self, listener: TcpListener) -> Result<(), ServeError> {
        let health = health(&self);
        let timer = app::timer(&self.service, self.handler_port);
        let server = app::serve(listener, &self.service, self.tokens.clone(), health, timer)
            .map_err(ServeError::Server)?;
        log_event!(Ready, base_url = self.service.base_url(), version = env!("CARGO_PKG_VERSION"), "ready");
        let Self { service, tokens, bundled, package, table_is_made, handler_port } = self;
        tokio::spawn(app::supervise("loading bearer tokens", move || {
            let tokens = tokens.clone();
            async move { tokens.keep_fresh().await }
        }));
        let gate = service.gate.clone();
        tokio::spawn(async move {
            table_is_made.await;
            app::supervise("storing the bundled bindings", move || {
                let (bundled, package, gate) = (bundled.clone(), package.clone(), gate.clone());
                async move {
                    loop {
                        bundled.activate_until_answered(&package).await;
                        // The table may have been lost since.
                        gate.found_again().await;
                    }
                }
            })
            .await;
        });
        let watched = service.clone();
        tokio::spawn(app::supervise("watching for overdue revocations", move || {
            watched.clone().watch_for_ever()
        }));
        let logging = service.clone();
        tokio::spawn(app::supervise("writing the request log", move || {
            logging.clone().log_requests_for_ever()
        }));
        if handler_port.is_none() {
            tokio::spawn(app::supervise("ticking", move || service.clone().tick_for_ever(TICK_EVERY)));
        }
        server.await.map_err(ServeError::Server)
    }
}

/// The file, and beside it the stamp that packaging made.
fn read_package(file: &Path) -> BundledFile {
    let Ok(bindings) = bindings::read(file) else { return BundledFile::Missing };
    let stamp = bindings::read(&file.with_extension("stamp"));
    match stamp.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(stamp) => BundledFile::Stamped { bindings, stamp: stamp.trim().to_owned() },
        None => BundledFile::Unstamped,
    }
}

/// What the health check shows without authentication: words and times, no names.
fn health(ready: &Ready) -> HealthProbe {
    let service = ready.service.clone();
    let tokens = ready.tokens.clone();
    let bundled = ready.bundled.clone();
    Arc::new(move || {
        let token = tokens.health();
        let package = bundled.state();
        let mut members = app::health_report(&service);
        if package.is_finding() {
            members.insert("status".to_owned(), DEGRADED.into());
        }
        if token.state != TokenState::Usable || package == BundleState::Pending {
            members.insert("status".to_owned(), UNAVAILABLE.into());
        }
        members.insert("tokens".to_owned(), token.state.as_str().into());
        if let Some(day) = token.runs_out {
            members.insert("tokensRunOut".to_owned(), day.date().to_string().into());
        }
        if let Some(days) = token.age_days {
            members.insert("tokensAgeDays".to_owned(), days.into());
        }
        members.insert("packagedBindings".to_owned(), package.as_str().into());
        members
    })
}
