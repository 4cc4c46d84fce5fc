//! A simulated Azure on loopback: ARM role assignments and role definitions in their real REST shapes, and an API to make
//! trouble. It imports nothing of the service, so that it cannot share its mistakes.
//!
//! ARM, at [`Simulator::arm_url`], api-version `2022-04-01`, any bearer token for writes and none for reads:
//!
//! - `PUT`, `GET`, `DELETE {scope}/providers/Microsoft.Authorization/roleAssignments/{guid}`
//! - `GET {scope}/providers/Microsoft.Authorization/roleAssignments`, with `$filter` by `atScope()`, `principalId eq '…'`,
//!   `assignedTo('…')`
//! - `GET [{scope}]/providers/Microsoft.Authorization/roleDefinitions[/{guid}]`
//!
//! Control, at [`Simulator::control_url`]; `GET` of it describes every endpoint:
//!
//! - `rules`: throttle, fail, delay, lose or hold the calls that match; `held`: deliver or drop held calls; `reset`
//! - `locks`, `principals` (and `principals/strict`), `assignments` (hand-made), `scopes`
//! - `clock` (and `clock/advance`), `limits`, `calls`, `unrecognised`
//!
//! The same orders are functions of [`Handle`]. Scopes, assignments, locks, principals and the clock's offset survive a
//! restart where there is a state file; rules, held calls, limits and logs do not.
//!
//! Left out: groups have no members (`assignedTo` is direct), conditions are kept but not evaluated, tokens are not looked
//! into, every management group is above every subscription, and calling before Retry-After does not lengthen the wait.

mod arm;
mod azure;
mod buckets;
mod clock;
mod control;
mod error;
mod filter;
mod handle;
mod request;
mod role_assignments;
mod role_definitions;
mod role_table;
mod rules;
mod scope;
mod state;

pub use azure::{Call, Unrecognised};
pub use clock::StartClock;
pub use handle::{ControlError, HandMade, Handle};
pub use request::Method;
pub use role_assignments::Limits;
pub use rules::{Action, Rule, RuleInForce};
pub use scope::{Scope, ScopeKind};
pub use state::{Lock, LockLevel, Principal, PrincipalType, RoleAssignment};

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpServer};
use azure::Azure;
use state::State;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than a client keeps an idle connection, so that no call meets one that is just being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Routes that somebody else adds under `/control`.
pub type ExtraRoutes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// How an Azure starts.
#[derive(Clone, Default)]
pub struct Options {
    /// On 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// Where the state is kept; nowhere if left out.
    pub state_file: Option<PathBuf>,
    /// Scopes that exist, those above them included. One that an earlier run removed by order stays away.
    pub scopes: Vec<Scope>,
    pub clock: StartClock,
    pub limits: Limits,
    pub extra_routes: Option<ExtraRoutes>,
}

/// A running Azure, in a thread and an actix system of its own. Dropping it stops it.
pub struct Simulator {
    address: SocketAddr,
    azure: Handle,
    server: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Simulator {
    /// Starts; when this returns, it answers.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        let address = listener.local_addr()?;
        let azure = Handle::new(create(&options)?);
        let (started, starts) = mpsc::channel();
        let (shown, extra_routes) = (azure.clone(), options.extra_routes);
        let thread = std::thread::Builder::new().name("simulated-azure".to_owned()).spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = serve(listener, shown, extra_routes)?;
                // An error only says that the starter is gone.
                let _ = started.send(server.handle());
                server.await
            })
        })?;
        match starts.recv() {
            Ok(server) => Ok(Self { address, azure, server, thread: Some(thread) }),
            Err(_) => {
                Err(outcome(thread).err().unwrap_or_else(|| io::Error::other("the server did not start")))
            }
        }
    }

    /// The base address of ARM, without a slash at its end.
    pub fn arm_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The base address of the control API, without a slash at its end.
    pub fn control_url(&self) -> String {
        format!("http://{}/control", self.address)
    }

    /// A handle to look into it and to give it orders.
    pub fn handle(&self) -> Handle {
        self.azure.clone()
    }

    /// Requests that it did not recognise: tests assert that there are none.
    pub fn unrecognised(&self) -> Vec<Unrecognised> {
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
        // Nobody is left to hear of an error.
        let _ = self.halt();
    }
}

fn create(options: &Options) -> io::Result<Azure> {
    let mut state = options.state_file.as_deref().map_or_else(|| Ok(State::default()), State::load)?;
    for scope in &options.scopes {
        state.offer_scope(scope);
    }
    let azure = Azure::new(state, options.limits, options.clock, options.state_file.clone());
    azure.save()?;
    Ok(azure)
}

fn serve(listener: TcpListener, azure: Handle, extra_routes: Option<ExtraRoutes>) -> io::Result<Server> {
    let azure = web::Data::new(azure);
    let server = HttpServer::new(move || {
        let extra = extra_routes.clone();
        let control = web::scope("/control")
            .configure(control::routes)
            .configure(move |config| extra.iter().for_each(|add| add(config)))
            .default_service(web::to(control::unknown));
        App::new().app_data(azure.clone()).service(control).route("/{path:.*}", web::to(arm::endpoint))
    });
    Ok(server.workers(1).keep_alive(KEEP_ALIVE).disable_signals().listen(listener)?.run())
}

fn outcome(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the simulator's thread panicked")))
}
