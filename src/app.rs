//! Builds the adapters and the services and gives each its ports. No other file does.

mod remote_clients;

pub use remote_clients::{
    AzureClients, ConnectError, OperatorAccess, arm, connect, operator_access, operator_access_reader,
    operator_assignments, operator_directory, operator_heads, operator_secret_keeper, operator_secrets,
    tables,
};
#[cfg(feature = "local")]
pub use remote_clients::{
    LOCAL_ORDERS, LOCAL_REQUESTS, LOCAL_TENANT, local_access, local_access_reader, local_assignments,
    local_directory,
};

use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::http::{self, HttpDeps, TimerTrigger};
use crate::id::InstanceId;
use crate::ports::azure_access::AccessReader;
use crate::ports::clock::Clock;
use crate::ports::connectivity::Connectivity;
use crate::ports::ids::IdSource;
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::tables::TableOps;
use crate::service::audit::seal::{AuditKeeping, AuditSealer};
use crate::service::bindings::active::ActiveBindings;
use crate::service::drill::{DrillSettings, Drills};
use crate::service::health::HealthStatus;
use crate::service::orders::Orders;
use crate::service::provisioning::Provisioning;
use crate::service::provisioning::ProvisioningDeps;
use crate::service::reconcile::{EffectLimits, Reconciler};
use crate::service::reconcile_queue::inline::{InlineLimits, InlineReconciler};
use crate::service::reconcile_queue::overdue;
use crate::service::reconcile_queue::tick::{AzureEnds, ReconcileTick, TickLimits, TickStages};
use crate::service::request_log::RequestLog;
use crate::service::state::gate::StateGate;
use crate::service::tokens::BearerTokens;
use crate::store::StateStore;
use crate::store::orders::OrderTable;
use crate::store::request_log::RequestTable;
use serde_json::{Map, Value};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;

pub use crate::adapters::clock::SystemClock;
#[cfg(feature = "local")]
pub use crate::adapters::control_client::{ControlClient, ControlClientError};
pub use crate::adapters::folder_archive::FolderArchive;
pub use crate::adapters::ids::RandomIds;
pub use crate::adapters::scim_client::{ScimClient, ScimClientError, ScimReply};
pub use crate::adapters::tables::{
    AzureTables, ConnectionString, ConnectionStringError, TablesAccount, TablesClientError,
};
#[cfg(feature = "local")]
pub use crate::http::inspect;
pub use crate::http::{DEGRADED, HealthProbe, UNAVAILABLE};

/// Worker threads of the HTTP server.
const HTTP_WORKERS: usize = 2;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Before a task that panicked is started again.
const PANIC_PAUSE: Duration = Duration::from_secs(10);

/// The adapters behind the ports, and the settings.
pub struct ServiceDeps {
    pub tables: Arc<dyn TableOps>,
    /// Where operators place their orders.
    pub orders: OrderTable,
    /// Where requests are logged that left no audit record.
    pub requests: RequestTable,
    pub assignments: Arc<dyn RoleAssignments>,
    /// Who has access in Azure, whoever gave it.
    pub access: Arc<dyn AccessReader>,
    /// How the calls of these adapters end.
    pub connectivity: Arc<Connectivity>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// The partition of this installation: `[a-z0-9-]{1,36}`.
    pub tenant: String,
    /// The id of this installation, where the settings name it: a table without a state is then a lost one.
    pub instance: Option<InstanceId>,
    /// Public, ends in `/scim/v2`.
    pub base_url: String,
    pub effect_limits: EffectLimits,
    pub inline: InlineLimits,
    pub tick: TickLimits,
    pub audit: AuditKeeping,
    /// Drills, where they are set.
    pub drill: Option<DrillSettings>,
}

/// A service, ready to be served.
#[derive(Clone)]
pub struct BackupScim {
    pub provisioning: Arc<Provisioning>,
    pub active_bindings: Arc<ActiveBindings>,
    pub tick: Arc<ReconcileTick>,
    /// The health of this process.
    pub health: Arc<HealthStatus>,
    pub store: StateStore,
    pub request_log: Arc<RequestLog>,
    /// Whether there is a state to work with.
    pub gate: Arc<StateGate>,
    base_url: String,
    announce_cursors: bool,
}

impl BackupScim {
    /// The public address, ends in `/scim/v2`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Shows in this process what the ticks of any process found.
    pub async fn watch_for_ever(self) {
        overdue::watch_counts(self.store, self.health, self.gate).await;
    }

    /// Writes the request log in the background.
    pub async fn log_requests_for_ever(self) {
        self.request_log.write_for_ever().await;
    }

    /// The same service, whose ServiceProviderConfig says how lists are paged, or does not (RFC 9865).
    pub fn announcing_cursors(self, announce_cursors: bool) -> Self {
        Self { announce_cursors, ..self }
    }

    /// Ticks at a pace of its own, for a service that no host's timer wakes.
    pub async fn tick_for_ever(self, every: Duration) {
        let mut every = tokio::time::interval(every);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = self.tick.run().await {
                log_event!(TickEndedEarly, error = %ErrorChain(&error), "a tick ended early");
            }
        }
    }
}

/// Builds a service. It reads nothing yet.
pub fn build(parts: ServiceDeps) -> BackupScim {
    let base_url = parts.base_url.clone();
    let store = StateStore::new(parts.tables, parts.tenant, parts.clock, parts.ids);
    let store = store.of_installation(parts.instance);
    let health = HealthStatus::new(store.clock.clone()).counting(store.unreadable());
    let health = Arc::new(health.showing(parts.connectivity));
    let active_bindings = Arc::new(ActiveBindings::new(store.clone(), health.clone()));
    let reconciler = Reconciler::new(
        store.clone(),
        parts.assignments.clone(),
        active_bindings.clone(),
        health.clone(),
        parts.effect_limits,
    );
    let inline = InlineReconciler::new(
        store.clone(),
        reconciler.clone(),
        active_bindings.clone(),
        health.clone(),
        parts.inline,
    );
    let process = store.ids.random();
    let request_log = Arc::new(RequestLog::new(parts.requests, store.clock.clone(), process));
    let known = active_bindings.clone();
    let rules = Arc::new(move || known.binding_rules());
    let provisioning = Arc::new(Provisioning::new(ProvisioningDeps {
        store: store.clone(),
        base_url: parts.base_url,
        rules,
        active_bindings: active_bindings.clone(),
        health: health.clone(),
        inline,
        request_log: request_log.clone(),
    }));
    let orders = Orders::new(
        parts.orders,
        request_log.clone(),
        store.clone(),
        active_bindings.clone(),
        parts.assignments.clone(),
        health.clone(),
    )
    .with_drill(parts.drill);
    let azure = parts.assignments.clone();
    let limits = (parts.drill, parts.tick.overdue_after);
    let drills = Drills::new(provisioning.clone(), active_bindings.clone(), azure, health.clone(), limits);
    let gate = Arc::new(StateGate::new(store.clone(), health.clone(), parts.instance.is_some()));
    let sealer = AuditSealer::new(store.clone(), parts.audit, health.clone());
    let tick = Arc::new(ReconcileTick::new(
        store.clone(),
        reconciler,
        active_bindings.clone(),
        health.clone(),
        AzureEnds { assignments: parts.assignments, reader: parts.access },
        TickStages { gate: gate.clone(), orders, sealer, drills },
        parts.tick,
    ));
    BackupScim {
        provisioning,
        active_bindings,
        tick,
        health,
        store,
        request_log,
        gate,
        base_url,
        announce_cursors: false,
    }
}

/// Installs the TLS provider of this process. Every command that builds a client calls it first; calling it twice is harmless.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Runs a task and restarts it after a panic, so that one panic does not end a background task for good.
pub async fn supervise<F>(what: &'static str, task: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while tokio::spawn(task()).await.is_err() {
        log_event!(Panicked, what, "a task panicked and is restarted");
        tokio::time::sleep(PANIC_PAUSE).await;
    }
}

/// What the health check shows of the service itself: its ticks and its calls to Azure. It names no person.
pub fn health_report(service: &BackupScim) -> Map<String, Value> {
    let snapshot = service.health.snapshot();
    let mut members = snapshot.to_json();
    if snapshot.is_finding() {
        members.insert("status".to_owned(), DEGRADED.into());
    }
    members
}

/// The timer of a Functions host, where one has chosen this process' port.
pub fn timer(service: &BackupScim, handler_port: Option<u16>) -> TimerTrigger {
    handler_port.map_or_else(TimerTrigger::none, |_| TimerTrigger::of_host(service.tick.clone()))
}

/// Listens, with room for as many connections that wait to be accepted as may be open. (The standard library's is 128:
/// further ones are tried again after a second.) Needs a runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As the standard library does: on Windows it would let two processes share a port.
    socket.set_reuseaddr(cfg!(unix))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// The HTTP server of a service. It answers when the returned value is awaited.
pub fn serve(
    listener: TcpListener,
    service: &BackupScim,
    tokens: Arc<BearerTokens>,
    health: HealthProbe,
    timer: TimerTrigger,
) -> io::Result<impl Future<Output = io::Result<()>> + Send + use<>> {
    let status = service.health.clone();
    let edge = HttpDeps {
        provisioning: service.provisioning.clone(),
        request_log: service.request_log.clone(),
        gate: service.gate.clone(),
        tokens,
        timer: Arc::new(timer),
        clock: service.store.clock.clone(),
        ids: service.store.ids.clone(),
        base_url: service.base_url.clone(),
        announce_cursors: service.announce_cursors,
        health,
        details: http::HealthDetails(Arc::new(move || status.details())),
    };
    http::server(listener, edge, HTTP_WORKERS)
}

/// The HTTP server of a service whose settings are not in order.
pub fn serve_not_configured(
    listener: TcpListener,
) -> io::Result<impl Future<Output = io::Result<()>> + Send + use<>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    http::server_not_configured(listener, clock.clone(), Arc::new(RandomIds::new(clock)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again() {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        supervise("testing", move || {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(run == 2, "not yet") }
        })
        .await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }
}
