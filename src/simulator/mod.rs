//! A simulated Azure on loopback: ARM role assignments, role definitions and deny assignments, a Key Vault, blobs, the
//! identity endpoint of a Function app, and the people, groups and service principals of Graph, in their real REST
//! shapes, and an API that injects faults. It imports nothing of the service, so that it cannot share its mistakes.
//! Each service listens on its own port, and with a certificate on another one over TLS.
//!
//! ARM, at [`Simulator::arm_url`], api-version `2022-04-01`, any bearer token for writes and none for reads:
//!
//! - `PUT`, `GET`, `DELETE {scope}/providers/Microsoft.Authorization/roleAssignments/{guid}`
//! - `GET {scope}/providers/Microsoft.Authorization/roleAssignments`, with `$filter` by `atScope()`,
//!   `principalId eq '…'`, `assignedTo('…')`
//! - `GET [{scope}]/providers/Microsoft.Authorization/roleDefinitions[/{guid}]`
//! - `GET {scope}/providers/Microsoft.Authorization/denyAssignments`, with `$filter` by `atScope()`,
//!   `principalId eq '…'`
//!
//! Key Vault, at [`Simulator::vault_url`], whatever host a request names, after its challenge:
//! `GET /secrets/{name}/versions`, `GET /secrets/{name}/[{version}]`. The identity endpoint: `GET` of
//! [`Simulator::identity_endpoint`] with [`Simulator::identity_header`]. Graph, at [`Simulator::graph_url`], and for
//! requests to `graph.microsoft.com` that a transport sent to any of the ports: `GET /v1.0/users/{id}`,
//! `GET /v1.0/groups/{id}/members`, `GET /v1.0/groups/{id}/transitiveMembers`,
//! `GET /v1.0/servicePrincipals/{id}/appRoleAssignedTo`, `POST /v1.0/directoryObjects/getByIds`.
//!
//! Blob Storage, at [`Simulator::blob_url`]: `PUT`, `GET`, `DELETE /{container}/{blob}`, block blobs as a whole. Containers
//! are made by order, and may have a time-based immutability policy.
//!
//! A token of the identity endpoint is valid for its audience until it expires, by Azure's clock. Any other text is
//! accepted as a token everywhere, unless the identity settings are strict. The service's own identity may do
//! everything, unless its rights were set ([`SimulatorHandle::set_own_rights`]): then scopes, actions and the text of
//! conditions decide.
//!
//! Control, at [`Simulator::control_url`]; `GET` of it describes every endpoint:
//!
//! - `rules`: throttle, fail, delay, garble, lose or hold the calls that match; `held`: deliver or drop held calls;
//!   `reset`
//! - `locks`, `principals` (and `principals/strict`), `assignments` (hand-made), `deny-assignments`,
//!   `role-definitions`, `scopes`, `own-rights`
//! - `secrets`, `identity`, `users`, `groups`, `service-principals`, `hidden-types`
//! - `clock` (and `clock/advance`), `limits`, `calls`, `unrecognised`
//!
//! It requires no token, so it rejects what a browser sends on behalf of another site: `Host` must be a loopback
//! address, `Origin` the same one where it is sent, and a body `application/json`.
//!
//! A rule is for ARM unless it names another service. The same orders are functions of [`SimulatorHandle`]. With a
//! state file, scopes, assignments, deny assignments, custom roles, locks, principals, own rights, secrets, Graph's
//! objects and the clock's offset survive a restart. Rules, held calls, limits, issued tokens, identity settings and
//! logs do not.
//!
//! Left out: what a group gives its members (`assignedTo` is direct, and so is whom a deny assignment denies), the
//! conditions of assignments that are made here are kept but not evaluated, all callers are the same identity, the
//! other services do not throttle, the control API answers on every one of the addresses, every management group is
//! above every subscription, and calling before Retry-After does not lengthen the wait.

mod answer;
mod arm;
mod blob;
mod call_log;
mod clock;
mod control;
mod errors;
mod fault_rules;
mod graph;
mod identity;
mod key_vault;
mod recognise;
mod request;
mod server;
mod services;
mod simulated_azure;
mod state;
mod state_file;
mod tracked;
mod wire;

pub use arm::condition::{AccessCheck, AttributeSource, Condition, ConditionError, ConditionProblem};
pub use arm::custom_role::{CustomRole, RolePermission};
pub use arm::deny_assignment::{DenyAssignment, DenyPrincipal};
pub use arm::directory_principal::{DirectoryPrincipal, PrincipalType};
pub use arm::management_lock::{LockLevel, ManagementLock};
pub use arm::own_right::OwnRight;
pub use arm::role_assignment::RoleAssignment;
pub use arm::role_assignments::ArmLimits;
pub use arm::scope::{Scope, ScopeKind};
pub use blob::container::{BlobContainer, StoredBlob};
pub use call_log::{RecordedCall, UnrecognisedRequest};
pub use clock::StartClock;
pub use control::arm_orders::HandMade;
pub use control::control_error::ControlError;
pub use control::service_orders::IdentitySettings;
pub use control::simulator_handle::SimulatorHandle;
pub use fault_rules::{ActiveFaultRule, FaultAction, FaultRule};
pub use graph::graph_group::{GraphGroup, GraphServicePrincipal};
pub use graph::graph_user::{GraphUser, UserType};
pub use graph::object_type::ObjectType;
pub use key_vault::vault_secret::{NewSecret, SecretUpdate, SecretVersion, VaultSecret};
pub use request::CallMethod;
pub use server::ExtraRoutes;
pub use services::AzureService;

use actix_web::dev::ServerHandle;
use server::Listeners;
use services::Entrance;
use simulated_azure::SimulatedAzure;
use state::AzureState;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// How an Azure starts.
#[derive(Clone, Default)]
pub struct SimulatorOptions {
    /// Of ARM and the control API, on 127.0.0.1; 0 picks a free one, as the other services always do.
    pub port: u16,
    /// Where the state is kept; nowhere if left out.
    pub state_file: Option<PathBuf>,
    /// Scopes that exist, those above them included. One that an earlier run removed by order stays away.
    pub scopes: Vec<Scope>,
    pub clock: StartClock,
    pub limits: ArmLimits,
    pub extra_routes: Option<ExtraRoutes>,
    /// Everything is served over TLS as well, on ports of its own.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Where clients find the services, without a slash at the end.
pub struct ClientUrls {
    pub arm: String,
    pub vault: String,
    pub graph: String,
    pub identity_endpoint: String,
}

/// A running Azure, in a thread and an actix system of its own. Dropping it stops it.
pub struct Simulator {
    ports: BTreeMap<Entrance, u16>,
    azure: SimulatorHandle,
    server: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Simulator {
    /// Starts the server. It accepts requests when this returns.
    pub fn start(options: SimulatorOptions) -> io::Result<Self> {
        let Listeners { listeners, ports } = Listeners::open(options.port, options.tls.is_some())?;
        let azure = SimulatorHandle::new(create(&options)?);
        let (started, starts) = mpsc::channel();
        let shown = azure.clone();
        let extra_routes = options.extra_routes;
        let tls = options.tls;
        let thread = std::thread::Builder::new().name("simulated-azure".to_owned()).spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = server::serve(listeners, &shown, extra_routes.as_ref(), tls)?;
                // An error only says that the starter is gone.
                let _ = started.send(server.handle());
                server.await
            })
        })?;
        match starts.recv() {
            Ok(server) => Ok(Self { ports, azure, server, thread: Some(thread) }),
            Err(_) => {
                Err(outcome(thread).err().unwrap_or_else(|| io::Error::other("the server did not start")))
            }
        }
    }

    /// The base address of ARM, without a slash at its end.
    pub fn arm_url(&self) -> String {
        self.url(AzureService::Arm)
    }

    /// The base address of the Key Vault, without a slash at its end.
    pub fn vault_url(&self) -> String {
        self.url(AzureService::Vault)
    }

    /// The base address of Graph, without a slash at its end.
    pub fn graph_url(&self) -> String {
        self.url(AzureService::Graph)
    }

    /// The base address of Blob Storage, without a slash at its end.
    pub fn blob_url(&self) -> String {
        self.url(AzureService::Blob)
    }

    /// The identity endpoint: what an app finds in `IDENTITY_ENDPOINT`.
    pub fn identity_endpoint(&self) -> String {
        format!("{}{}", self.url(AzureService::Identity), identity::token_endpoint::PATH)
    }

    /// What an app finds in `IDENTITY_HEADER`: another one at each start.
    pub fn identity_header(&self) -> String {
        self.azure.identity_header()
    }

    /// The base address of the control API, without a slash at its end.
    pub fn control_url(&self) -> String {
        format!("{}/control", self.arm_url())
    }

    fn url(&self, service: AzureService) -> String {
        self.url_of(Entrance { service, over_tls: false })
    }

    fn url_of(&self, entrance: Entrance) -> String {
        let scheme = if entrance.over_tls { "https" } else { "http" };
        let port = self.ports.get(&entrance).copied().unwrap_or_default();
        format!("{scheme}://{}:{port}", Ipv4Addr::LOCALHOST)
    }

    /// The addresses for clients: over TLS, if there is a certificate.
    pub fn client_urls(&self) -> ClientUrls {
        let over_tls = self.ports.keys().any(|entrance| entrance.over_tls);
        let url = |service| self.url_of(Entrance { service, over_tls });
        ClientUrls {
            arm: url(AzureService::Arm),
            vault: url(AzureService::Vault),
            graph: url(AzureService::Graph),
            identity_endpoint: url(AzureService::Identity) + identity::token_endpoint::PATH,
        }
    }

    /// A handle to inspect and control it.
    pub fn handle(&self) -> SimulatorHandle {
        self.azure.clone()
    }

    /// Requests that it did not recognise: tests assert that there are none.
    pub fn unrecognised(&self) -> Vec<UnrecognisedRequest> {
        self.azure.unrecognised()
    }

    /// Stops at once, open connections and held calls included.
    pub fn stop(mut self) -> io::Result<()> {
        self.halt()
    }

    fn halt(&mut self) -> io::Result<()> {
        // The order is given by the call; its future would only wait, as joining the thread does.
        drop(self.server.stop(false));
        self.thread.take().map_or(Ok(()), outcome)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // An error cannot be reported any more.
        let _ = self.halt();
    }
}

fn create(options: &SimulatorOptions) -> io::Result<SimulatedAzure> {
    let mut state =
        options.state_file.as_deref().map_or_else(|| Ok(AzureState::default()), state_file::load)?;
    for scope in &options.scopes {
        state.offer_scope(scope);
    }
    let mut azure = SimulatedAzure::new(state, options.limits, options.clock, options.state_file.clone());
    azure.save()?;
    Ok(azure)
}

fn outcome(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the simulator's thread panicked")))
}
