//! Builds the adapters and the services and hands each of them its ports. The only place that does.

use crate::adapters::arm::{ArmOptions, ArmRoleAssignments, PUBLIC_TOKEN_SCOPE};
use crate::adapters::credential::Credential;
use crate::adapters::rest::RestError;
use crate::adapters::tables::TablesOptions;
use crate::http::{self, Edge};
use crate::ports::clock::Clock;
use crate::ports::ids::Ids;
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::tables::TableOps;
use crate::service::effects::{Effects, Inline};
use crate::service::provisioning::Provisioning;
use crate::service::reconcile::{EffectLimits, Reconciler};
use crate::service::snapshots::Snapshots;
use crate::service::tick::Tick;
use crate::store::Store;
use secrecy::SecretString;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

pub use crate::adapters::clock::SystemClock;
pub use crate::adapters::ids::RandomIds;
pub use crate::adapters::tables::{
    AzureTables, ConnectionString, ConnectionStringError, TablesAccount, TablesClientError,
};
#[cfg(feature = "local")]
pub use crate::http::inspect;
pub use crate::http::{TokenError, TokenSet};

/// Worker threads of the HTTP server.
const HTTP_WORKERS: usize = 2;

/// The real ends of the ports, and the settings.
pub struct Parts {
    pub tables: Arc<dyn TableOps>,
    pub assignments: Arc<dyn RoleAssignments>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    /// The partition of this installation: `[a-z0-9-]{1,36}`.
    pub tenant: String,
    /// Public, ends in `/scim/v2`.
    pub base_url: String,
    pub effects: EffectLimits,
    pub inline: Inline,
    /// How long one tick goes on.
    pub tick_deadline: Duration,
}

/// A service, ready to be served.
#[derive(Clone)]
pub struct Service {
    pub provisioning: Arc<Provisioning>,
    pub snapshots: Arc<Snapshots>,
    pub tick: Arc<Tick>,
    pub store: Store,
    base_url: String,
}

/// Puts a service together. Nothing is read yet.
pub fn build(parts: Parts) -> Service {
    let base_url = parts.base_url.clone();
    let store = Store::new(parts.tables, parts.tenant, parts.clock, parts.ids);
    let snapshots = Arc::new(Snapshots::new(store.clone()));
    let reconciler =
        Reconciler::new(store.clone(), parts.assignments.clone(), snapshots.clone(), parts.effects);
    let effects = Effects::new(store.clone(), reconciler, snapshots.clone(), parts.inline);
    let known = snapshots.clone();
    let principal_from = Arc::new(move || known.principal_from());
    let provisioning =
        Arc::new(Provisioning::new(store.clone(), parts.base_url, principal_from, effects.clone()));
    let tick = Arc::new(Tick::new(effects, parts.assignments, parts.tick_deadline));
    Service { provisioning, snapshots, tick, store, base_url }
}

/// The role assignments behind the ARM at `endpoint` (origin only), with a fixed token.
pub fn arm(
    endpoint: &str,
    token: SecretString,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn RoleAssignments>, RestError> {
    let options = ArmOptions { token_scope: PUBLIC_TOKEN_SCOPE.to_owned(), clock, transport: None };
    Ok(Arc::new(ArmRoleAssignments::at(endpoint, Credential::Static(token).build(), options)?))
}

/// One table of a storage account, not asked yet whether it is there. `clock` is real time.
pub fn tables(
    account: TablesAccount,
    table: &str,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
) -> Result<AzureTables, TablesClientError> {
    AzureTables::new(account, table, TablesOptions { clock, ids, transport: None })
}

/// The HTTP server of a service. It answers when the returned value is awaited.
pub fn serve(
    listener: TcpListener,
    service: &Service,
    tokens: TokenSet,
) -> io::Result<impl Future<Output = io::Result<()>> + Send + use<>> {
    let edge = Edge {
        provisioning: service.provisioning.clone(),
        tokens: Arc::new(tokens),
        clock: service.store.clock.clone(),
        ids: service.store.ids.clone(),
        base_url: service.base_url.clone(),
        health: Arc::new(serde_json::Map::new),
    };
    http::server(listener, edge, HTTP_WORKERS)
}
