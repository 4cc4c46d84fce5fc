//! Builds the adapters and the services and gives each its ports. No other file does.

use crate::adapters::RestError;
use crate::adapters::arm::{ArmOptions, ArmRoleAssignments, PUBLIC_TOKEN_SCOPE};
use crate::adapters::credential::{BuiltCredential, Credential, CredentialError};
use crate::adapters::endpoint::Endpoint;
use crate::adapters::graph::{self, GraphDirectory, GraphOptions};
use crate::adapters::key_vault::{KeyVault, KeyVaultError};
use crate::adapters::tables::TablesOptions;
use crate::config::{self, Config, OperatorConfig};
use crate::error_chain::ErrorChain;
use crate::http::{self, HttpDeps, TimerTrigger};
use crate::ports::azure_access::{AccessReader, DirectoryReader};
use crate::ports::clock::Clock;
use crate::ports::ids::IdSource;
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::secrets::SecretSource;
use crate::ports::tables::TableOps;
use crate::service::bindings::active::ActiveBindings;
use crate::service::health::HealthStatus;
use crate::service::orders::Orders;
use crate::service::provisioning::Provisioning;
use crate::service::provisioning::ProvisioningDeps;
use crate::service::reconcile::{EffectLimits, Reconciler};
use crate::service::reconcile_queue::inline::{InlineLimits, InlineReconciler};
use crate::service::reconcile_queue::overdue;
use crate::service::reconcile_queue::tick::{AzureEnds, ReconcileTick, TickLimits};
use crate::service::tokens::BearerTokens;
use crate::store::StateStore;
use crate::store::orders::OrderTable;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
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
#[cfg(feature = "local")]
use crate::adapters::control_tables::ControlTables;
pub use crate::adapters::ids::RandomIds;
pub use crate::adapters::tables::{
    AzureTables, ConnectionString, ConnectionStringError, TablesAccount, TablesClientError,
};
#[cfg(feature = "local")]
pub use crate::http::inspect;
pub use crate::http::{DEGRADED, HealthProbe, UNAVAILABLE};

/// The partition of the state of `local`.
#[cfg(feature = "local")]
pub const LOCAL_TENANT: &str = "default";
/// The partition of its orders, in the same table: no tenant can have that name.
#[cfg(feature = "local")]
pub const LOCAL_ORDERS: &str = "~orders";

/// Worker threads of the HTTP server.
const HTTP_WORKERS: usize = 2;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Between two attempts to make the table.
const MAKE_TABLE_PAUSE: Duration = Duration::from_secs(5);

/// Before a task that panicked is started again.
const PANIC_PAUSE: Duration = Duration::from_secs(10);

/// The adapters behind the ports, and the settings.
pub struct ServiceDeps {
    pub tables: Arc<dyn TableOps>,
    /// Where operators place their orders.
    pub orders: OrderTable,
    pub assignments: Arc<dyn RoleAssignments>,
    /// Who has access in Azure, whoever gave it.
    pub access: Arc<dyn AccessReader>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// The partition of this installation: `[a-z0-9-]{1,36}`.
    pub tenant: String,
    /// Public, ends in `/scim/v2`.
    pub base_url: String,
    pub effect_limits: EffectLimits,
    pub inline: InlineLimits,
    pub tick: TickLimits,
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
        overdue::watch_counts(self.store, self.health).await;
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
                tracing::warn!(error = %ErrorChain(&error), "a tick ended early");
            }
        }
    }
}

/// Builds a service. It reads nothing yet.
pub fn build(parts: ServiceDeps) -> BackupScim {
    let base_url = parts.base_url.clone();
    let store = StateStore::new(parts.tables, parts.tenant, parts.clock, parts.ids);
    let health = Arc::new(HealthStatus::new(store.clock.clone()).counting(store.unreadable()));
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
    let known = active_bindings.clone();
    let rules = Arc::new(move || known.binding_rules());
    let provisioning = Arc::new(Provisioning::new(ProvisioningDeps {
        store: store.clone(),
        base_url: parts.base_url,
        rules,
        active_bindings: active_bindings.clone(),
        health: health.clone(),
        inline,
    }));
    let orders = Orders::new(
        parts.orders,
        store.clone(),
        active_bindings.clone(),
        parts.assignments.clone(),
        health.clone(),
    );
    let tick = Arc::new(ReconcileTick::new(
        store.clone(),
        reconciler,
        active_bindings.clone(),
        health.clone(),
        AzureEnds { assignments: parts.assignments, reader: parts.access },
        orders,
        parts.tick,
    ));
    BackupScim { provisioning, active_bindings, tick, health, store, base_url, announce_cursors: false }
}

/// The Azure clients that the settings describe.
pub struct AzureClients {
    pub tables: Arc<dyn TableOps>,
    pub orders: OrderTable,
    pub arm: Arc<ArmRoleAssignments>,
    pub secrets: Arc<dyn SecretSource>,
    /// Completes when the tables exist. In Azure the deployment has created them.
    pub table_is_made: BoxFuture<'static, ()>,
}

/// Why the clients cannot be built. No call was made yet: these are mistakes of settings or of this machine.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot use the credential that the settings choose")]
    Credential(#[from] CredentialError),
    #[error("cannot use ARM_ENDPOINT")]
    Arm(#[source] RestError),
    #[error("cannot use GRAPH_ENDPOINT")]
    Graph(#[source] RestError),
    #[error("cannot use KEY_VAULT_URL")]
    Vault(#[from] KeyVaultError),
    #[error("cannot use TABLES_CONNECTION_STRING")]
    ConnectionString(#[from] ConnectionStringError),
    #[error("cannot use the settings of the tables")]
    Tables(#[from] TablesClientError),
}

/// Installs the TLS provider of this process. Every command that builds a client calls it first; calling it twice is harmless.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Builds the clients of all remote services. Makes no call yet.
pub fn connect(
    config: &Config,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn IdSource>,
) -> Result<AzureClients, ConnectError> {
    let credential = config.credential.clone().build()?;
    let tables_config = &config.tables;
    let tables = Arc::new(table_of(tables_config, &tables_config.table, credential.clone(), clock, ids)?);
    let orders =
        Arc::new(table_of(tables_config, &tables_config.orders_table, credential.clone(), clock, ids)?);
    let made: BoxFuture<'static, ()> = match tables_config.account {
        config::TablesAccount::Entra(_) => Box::pin(std::future::ready(())),
        config::TablesAccount::ConnectionString(_) => {
            let (tables, orders) = (tables.clone(), orders.clone());
            Box::pin(async move {
                tokio::join!(make_table(tables), make_table(orders));
            })
        }
    };
    Ok(AzureClients {
        arm: Arc::new(arm_with(&config.arm, credential.clone(), clock.clone())?),
        secrets: Arc::new(KeyVault::new(&config.vault, credential)?),
        orders: OrderTable::new(orders, config.tenant.clone()),
        tables,
        table_is_made: made,
    })
}

fn arm_with(
    endpoint: &Endpoint,
    credential: BuiltCredential,
    clock: Arc<dyn Clock>,
) -> Result<ArmRoleAssignments, ConnectError> {
    let token_scope = token_scope(endpoint, PUBLIC_TOKEN_SCOPE);
    let options = ArmOptions { token_scope, clock, transport: None };
    ArmRoleAssignments::at(endpoint.origin(), credential, options).map_err(ConnectError::Arm)
}

/// Each cloud's service is the audience of its own tokens.
fn token_scope(endpoint: &Endpoint, public: &str) -> String {
    match endpoint.is_simulated() {
        true => public.to_owned(),
        false => format!("{endpoint}/.default"),
    }
}

/// What a command of an operator uses: the state, which it only reads, and the table of orders.
#[derive(Clone)]
pub struct OperatorAccess {
    pub store: StateStore,
    pub orders: OrderTable,
}

/// The state and the orders of an installation, for a command of an operator.
pub fn operator_access(config: &OperatorConfig) -> Result<OperatorAccess, ConnectError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ids: Arc<dyn IdSource> = Arc::new(RandomIds::new(clock.clone()));
    let credential = config.credential.clone().build()?;
    let tables_config = &config.tables;
    let tables = table_of(tables_config, &tables_config.table, credential.clone(), &clock, &ids)?;
    let orders = table_of(tables_config, &tables_config.orders_table, credential, &clock, &ids)?;
    Ok(OperatorAccess {
        store: StateStore::new(Arc::new(tables), config.tenant.clone(), clock, ids),
        orders: OrderTable::new(Arc::new(orders), config.tenant.clone()),
    })
}

/// Role assignments, as the operator may read them. Makes no call yet.
pub fn operator_assignments(
    config: &OperatorConfig,
    arm: &Endpoint,
) -> Result<Arc<dyn RoleAssignments>, ConnectError> {
    Ok(Arc::new(operator_arm(config, arm)?))
}

/// Who has access in Azure, as far as the operator may read it. Makes no call yet.
pub fn operator_access_reader(
    config: &OperatorConfig,
    arm: &Endpoint,
) -> Result<Arc<dyn AccessReader>, ConnectError> {
    Ok(Arc::new(operator_arm(config, arm)?))
}

fn operator_arm(config: &OperatorConfig, arm: &Endpoint) -> Result<ArmRoleAssignments, ConnectError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    arm_with(arm, config.credential.clone().build()?, clock)
}

/// The vault of the bearer tokens, as far as the operator may read it. Makes no call yet.
pub fn operator_secrets(
    config: &OperatorConfig,
    vault: &Endpoint,
) -> Result<Arc<dyn SecretSource>, ConnectError> {
    Ok(Arc::new(KeyVault::new(vault, config.credential.clone().build()?)?))
}

/// Entra ID, as far as the operator may read it. Makes no call yet.
pub fn operator_directory(
    config: &OperatorConfig,
    graph: &Endpoint,
) -> Result<Arc<dyn DirectoryReader>, ConnectError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let token_scope = token_scope(graph, graph::PUBLIC_TOKEN_SCOPE);
    let options = GraphOptions { token_scope, clock, transport: None };
    let credential = config.credential.clone().build()?;
    let directory = GraphDirectory::at(graph.origin(), credential, options).map_err(ConnectError::Graph)?;
    Ok(Arc::new(directory))
}

/// The simulated Azure of the `local` that runs at that control address.
#[cfg(feature = "local")]
pub fn local_assignments(control_url: &str) -> Result<Arc<dyn RoleAssignments>, ConnectError> {
    Ok(Arc::new(local_arm(control_url)?))
}

/// Who has access in the simulated Azure of the `local` that runs at that control address.
#[cfg(feature = "local")]
pub fn local_access_reader(control_url: &str) -> Result<Arc<dyn AccessReader>, ConnectError> {
    Ok(Arc::new(local_arm(control_url)?))
}

#[cfg(feature = "local")]
fn local_arm(control_url: &str) -> Result<ArmRoleAssignments, ConnectError> {
    static_arm(origin_of(control_url), simulated_token(), Arc::new(SystemClock::new()))
}

/// The directory of the simulated Azure of the `local` that runs at that control address.
#[cfg(feature = "local")]
pub fn local_directory(control_url: &str) -> Result<Arc<dyn DirectoryReader>, ConnectError> {
    let credential = Credential::Static(simulated_token()).build()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let directory = GraphDirectory::simulated(origin_of(control_url), credential, clock);
    Ok(Arc::new(directory.map_err(ConnectError::Graph)?))
}

/// The address of the simulated ARM, and of every other service by its host.
#[cfg(feature = "local")]
fn origin_of(control_url: &str) -> &str {
    control_url.trim_end_matches('/').trim_end_matches("/control")
}

/// The simulated Azure takes any token.
#[cfg(feature = "local")]
fn simulated_token() -> SecretString {
    SecretString::from("simulated")
}

/// The state and the orders of the `local` that runs at that control address.
#[cfg(feature = "local")]
pub fn local_access(control_url: &str) -> Result<OperatorAccess, ControlClientError> {
    let tables: Arc<dyn TableOps> =
        Arc::new(ControlTables::new(ControlClient::new(control_url)?, LOCAL_ORDERS));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ids: Arc<dyn IdSource> = Arc::new(RandomIds::new(clock.clone()));
    Ok(OperatorAccess {
        store: StateStore::new(tables.clone(), LOCAL_TENANT.to_owned(), clock, ids),
        orders: OrderTable::new(tables, LOCAL_ORDERS.to_owned()),
    })
}

fn table_of(
    tables_config: &config::TablesConfig,
    table: &str,
    credential: BuiltCredential,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn IdSource>,
) -> Result<AzureTables, ConnectError> {
    let account = match &tables_config.account {
        config::TablesAccount::Entra(endpoint) => {
            TablesAccount::Entra { endpoint: endpoint.to_string(), credential }
        }
        config::TablesAccount::ConnectionString(text) => {
            TablesAccount::Key(ConnectionString::parse(text.expose_secret())?)
        }
    };
    Ok(tables(account, table, clock.clone(), ids.clone())?)
}

/// Makes the table, trying until it is there: with an account's key, as with Azurite, no deployment has made it.
async fn make_table(tables: Arc<AzureTables>) {
    while let Err(error) = tables.create_table().await {
        tracing::warn!(error = %ErrorChain(&error), "creating the table failed and is retried");
        tokio::time::sleep(MAKE_TABLE_PAUSE).await;
    }
}

/// The role assignments behind the ARM at `endpoint` (origin only), with a fixed token.
pub fn arm(
    endpoint: &str,
    token: SecretString,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ArmRoleAssignments>, ConnectError> {
    Ok(Arc::new(static_arm(endpoint, token, clock)?))
}

fn static_arm(
    endpoint: &str,
    token: SecretString,
    clock: Arc<dyn Clock>,
) -> Result<ArmRoleAssignments, ConnectError> {
    let options = ArmOptions { token_scope: PUBLIC_TOKEN_SCOPE.to_owned(), clock, transport: None };
    let credential = Credential::Static(token).build()?;
    ArmRoleAssignments::at(endpoint, credential, options).map_err(ConnectError::Arm)
}

/// Runs a task and restarts it after a panic, so that one panic does not end a background task for good.
pub async fn supervise<F>(what: &'static str, task: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while tokio::spawn(task()).await.is_err() {
        tracing::error!(what, "a task panicked and is restarted");
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

/// One table of a storage account, not asked yet whether it is there. `clock` is real time.
pub fn tables(
    account: TablesAccount,
    table: &str,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
) -> Result<AzureTables, TablesClientError> {
    AzureTables::new(account, table, TablesOptions { clock, ids, transport: None })
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
    http::server_not_configured(listener)
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
