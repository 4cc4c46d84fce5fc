//! The clients of what the service calls: Azure as the settings describe it, for the service or for a command of an operator, and
//! the simulated Azure of a `local` that runs.

use crate::adapters::RestError;
use crate::adapters::arm::{ArmOptions, ArmRoleAssignments, PUBLIC_TOKEN_SCOPE};
use crate::adapters::blob_archive::{BlobArchive, BlobArchiveOptions};
use crate::adapters::call_observer::CallObserver;
use crate::adapters::clock::SystemClock;
#[cfg(feature = "local")]
use crate::adapters::control_client::{ControlClient, ControlClientError};
#[cfg(feature = "local")]
use crate::adapters::control_tables::ControlTables;
use crate::adapters::credential::{BuiltCredential, Credential, CredentialError};
use crate::adapters::endpoint::Endpoint;
use crate::adapters::graph::{self, GraphDirectory, GraphOptions};
use crate::adapters::ids::RandomIds;
use crate::adapters::key_vault::{KeyVault, KeyVaultError};
use crate::adapters::tables::{
    AzureTables, ConnectionString, ConnectionStringError, TablesAccount, TablesClientError, TablesOptions,
};
use crate::config::{self, Config, HeadsContainer, OperatorConfig};
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::ports::azure_access::{AccessReader, DirectoryReader};
use crate::ports::clock::Clock;
use crate::ports::connectivity::{Connectivity, Dependency};
use crate::ports::head_archive::HeadArchive;
use crate::ports::ids::IdSource;
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::secrets::{SecretKeeper, SecretSource};
use crate::ports::tables::TableOps;
use crate::store::StateStore;
use crate::store::orders::OrderTable;
use crate::store::request_log::RequestTable;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// The partition of the state of `local`.
#[cfg(feature = "local")]
pub const LOCAL_TENANT: &str = "default";
/// The partition of its orders, in the same table: no tenant can have that name.
#[cfg(feature = "local")]
pub const LOCAL_ORDERS: &str = "~orders";
/// The partition of its request log, in the same table.
#[cfg(feature = "local")]
pub const LOCAL_REQUESTS: &str = "~requests";

/// Between two attempts to make the table.
const MAKE_TABLE_PAUSE: Duration = Duration::from_secs(5);

/// The Azure clients that the settings describe.
pub struct AzureClients {
    pub tables: Arc<dyn TableOps>,
    pub orders: OrderTable,
    pub requests: RequestTable,
    pub arm: Arc<ArmRoleAssignments>,
    pub secrets: Arc<dyn SecretSource>,
    /// Where the heads of the audit go, if anywhere.
    pub heads: Option<Arc<dyn HeadArchive>>,
    /// Completes when the tables exist. In Azure the deployment has created them.
    pub table_is_made: BoxFuture<'static, ()>,
    /// How their calls end.
    pub connectivity: Arc<Connectivity>,
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
    #[error("cannot use AUDIT_HEADS_ENDPOINT")]
    Heads(#[source] RestError),
    #[error("cannot use the settings of the tables")]
    Tables(#[from] TablesClientError),
}

/// Builds the clients of all remote services. Makes no call yet.
pub fn connect(
    config: &Config,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn IdSource>,
) -> Result<AzureClients, ConnectError> {
    let connectivity = Arc::new(Connectivity::default());
    let observer = |dependency| {
        let (connectivity, clock) = (connectivity.clone(), clock.clone());
        Some(CallObserver { dependency, connectivity, clock })
    };
    let credential = config.credential.clone().build_observed(observer(Dependency::Identity))?;
    let tables_config = &config.tables;
    let table =
        |name| table_of(tables_config, name, credential.clone(), clock, ids, observer(Dependency::Tables));
    let tables = Arc::new(table(&tables_config.table)?);
    let orders = Arc::new(table(&tables_config.orders_table)?);
    let requests = Arc::new(table(&tables_config.requests_table)?);
    let made: BoxFuture<'static, ()> = match tables_config.account {
        config::TablesAccount::Entra(_) => Box::pin(std::future::ready(())),
        config::TablesAccount::ConnectionString(_) => {
            let (tables, orders, requests) = (tables.clone(), orders.clone(), requests.clone());
            Box::pin(async move {
                tokio::join!(make_table(tables), make_table(orders), make_table(requests));
            })
        }
    };
    let heads =
        config.audit.heads.as_ref().map(|heads| heads_in(heads, credential.clone(), clock)).transpose()?;
    Ok(AzureClients {
        heads,
        arm: Arc::new(arm_with(&config.arm, credential.clone(), clock.clone(), observer(Dependency::Arm))?),
        secrets: Arc::new(KeyVault::new(&config.vault, credential, observer(Dependency::KeyVault))?),
        orders: OrderTable::new(orders, config.tenant.clone()),
        requests: RequestTable::new(requests, config.tenant.clone()),
        tables,
        table_is_made: made,
        connectivity,
    })
}

fn arm_with(
    endpoint: &Endpoint,
    credential: BuiltCredential,
    clock: Arc<dyn Clock>,
    observer: Option<CallObserver>,
) -> Result<ArmRoleAssignments, ConnectError> {
    let token_scope = token_scope(endpoint, PUBLIC_TOKEN_SCOPE);
    let transport = observer.map(|observer| observer.pooled(endpoint.origin())).transpose();
    let options = ArmOptions { token_scope, clock, transport: transport.map_err(ConnectError::Arm)? };
    ArmRoleAssignments::at(endpoint.origin(), credential, options).map_err(ConnectError::Arm)
}

/// Each cloud's service is the audience of its own tokens.
fn token_scope(endpoint: &Endpoint, public: &str) -> String {
    match endpoint.is_simulated() {
        true => public.to_owned(),
        false => format!("{endpoint}/.default"),
    }
}

fn heads_in(
    heads: &HeadsContainer,
    credential: BuiltCredential,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn HeadArchive>, ConnectError> {
    let address = format!("{}/{}", heads.endpoint, heads.container);
    let options = BlobArchiveOptions { credential, clock: clock.clone(), transport: None };
    Ok(Arc::new(BlobArchive::at(&address, options).map_err(ConnectError::Heads)?))
}

/// The heads of the audit, as the operator may read them. Makes no call yet.
pub fn operator_heads(
    config: &OperatorConfig,
    heads: &HeadsContainer,
) -> Result<Arc<dyn HeadArchive>, ConnectError> {
    heads_in(heads, config.credential.clone().build()?, &(Arc::new(SystemClock::new()) as Arc<dyn Clock>))
}

/// What a command of an operator uses: the state and the request log, which it only reads, and the table of orders.
#[derive(Clone)]
pub struct OperatorAccess {
    pub store: StateStore,
    pub orders: OrderTable,
    pub requests: RequestTable,
}

/// The state and the orders of an installation, for a command of an operator.
pub fn operator_access(config: &OperatorConfig) -> Result<OperatorAccess, ConnectError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ids: Arc<dyn IdSource> = Arc::new(RandomIds::new(clock.clone()));
    let credential = config.credential.clone().build()?;
    let tables_config = &config.tables;
    let table = |name| table_of(tables_config, name, credential.clone(), &clock, &ids, None);
    let (tables, orders) = (table(&tables_config.table)?, table(&tables_config.orders_table)?);
    let requests = table(&tables_config.requests_table)?;
    Ok(OperatorAccess {
        store: StateStore::new(Arc::new(tables), config.tenant.clone(), clock, ids),
        orders: OrderTable::new(Arc::new(orders), config.tenant.clone()),
        requests: RequestTable::new(Arc::new(requests), config.tenant.clone()),
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
    arm_with(arm, config.credential.clone().build()?, clock, None)
}

/// The vault of the bearer tokens, as far as the operator may read it. Makes no call yet.
pub fn operator_secrets(
    config: &OperatorConfig,
    vault: &Endpoint,
) -> Result<Arc<dyn SecretSource>, ConnectError> {
    Ok(Arc::new(KeyVault::new(vault, config.credential.clone().build()?, None)?))
}

/// The vault of the bearer tokens, as far as the operator may write to it. Makes no call yet.
pub fn operator_secret_keeper(
    credential: Credential,
    vault: &Endpoint,
) -> Result<Arc<dyn SecretKeeper>, ConnectError> {
    Ok(Arc::new(KeyVault::new(vault, credential.build()?, None)?))
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
        requests: RequestTable::new(tables.clone(), LOCAL_REQUESTS.to_owned()),
        orders: OrderTable::new(tables, LOCAL_ORDERS.to_owned()),
    })
}

fn table_of(
    tables_config: &config::TablesConfig,
    table: &str,
    credential: BuiltCredential,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn IdSource>,
    observer: Option<CallObserver>,
) -> Result<AzureTables, ConnectError> {
    let (account, endpoint) = match &tables_config.account {
        config::TablesAccount::Entra(endpoint) => {
            let endpoint = endpoint.to_string();
            (TablesAccount::Entra { endpoint: endpoint.clone(), credential }, endpoint)
        }
        config::TablesAccount::ConnectionString(text) => {
            let connection = ConnectionString::parse(text.expose_secret())?;
            let endpoint = connection.endpoint().to_owned();
            (TablesAccount::Key(connection), endpoint)
        }
    };
    let transport = observer.map(|observer| observer.pooled(&endpoint)).transpose();
    let transport = transport.map_err(TablesClientError::Rest)?;
    let options = TablesOptions { clock: clock.clone(), ids: ids.clone(), transport };
    Ok(AzureTables::new(account, table, options)?)
}

/// Makes the table, trying until it is there: with an account's key, as with Azurite, no deployment has made it.
async fn make_table(tables: Arc<AzureTables>) {
    while let Err(error) = tables.create_table().await {
        log_event!(WorkDeferred, error = %ErrorChain(&error), "creating the table failed and is retried");
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

/// One table of a storage account, not asked yet whether it is there. `clock` is real time.
pub fn tables(
    account: TablesAccount,
    table: &str,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
) -> Result<AzureTables, TablesClientError> {
    AzureTables::new(account, table, TablesOptions { clock, ids, transport: None })
}
