//! The HTTP edge: what arrives is authenticated, read strictly and handed to one service; what leaves is SCIM.
//!
//! Only this folder knows the web framework. [`app`] is the whole application: the routes exist nowhere without the
//! authentication around them. Below it, [`connection`] and [`drain`] bound what a client can hold.

mod auth;
mod base;
mod body;
mod bulk;
mod conditions;
mod connection;
mod discovery;
mod drain;
mod error;
mod functions;
mod groups;
mod head;
mod health;
#[cfg(feature = "local")]
pub mod inspect;
mod plain_path;
mod query;
mod rejections;
mod request_record;
mod respond;
mod routes;
mod serving;
mod state_gate;
mod streaming;
mod strict_json;
mod trace;
mod users;
mod without_chunks;

pub use functions::TimerTrigger;
pub use health::{DEGRADED, HealthDetails, HealthProbe, UNAVAILABLE};

use crate::ports::{clock::Clock, ids::IdSource};
use crate::service::Provisioning;
use crate::service::request_log::RequestLog;
use crate::service::state::gate::StateGate;
use crate::service::tokens::BearerTokens;
use actix_web::body::BoxBody;
use actix_web::dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, web::Data};
use body::LargeBodies;
use discovery::{AnnounceCursors, BaseUrl};
use functions::ListenAddress;
use rejections::RejectionLog;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// Everything that the edge is given.
#[derive(Clone)]
pub struct HttpDeps {
    pub provisioning: Arc<Provisioning>,
    pub request_log: Arc<RequestLog>,
    /// Whether there is a state to work with.
    pub gate: Arc<StateGate>,
    pub tokens: Arc<BearerTokens>,
    pub timer: Arc<TimerTrigger>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// The public address, ends in `/scim/v2`. Never taken from a request.
    pub base_url: String,
    /// ServiceProviderConfig says how lists are paged.
    pub announce_cursors: bool,
    pub health: HealthProbe,
    /// What the health check adds for a caller with a token.
    pub details: HealthDetails,
}

/// What all workers of one server have in common.
#[derive(Clone)]
struct SharedByWorkers {
    /// Where it listens.
    address: SocketAddr,
    rejections: Arc<RejectionLog>,
    large_bodies: LargeBodies,
}

/// The whole application.
fn app(
    edge: HttpDeps,
    shared: SharedByWorkers,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let HttpDeps { provisioning, request_log, gate, tokens, timer, clock, ids, base_url, .. } = edge;
    let HttpDeps { announce_cursors, health, details, .. } = edge;
    App::new()
        .app_data(Data::from(provisioning))
        .app_data(Data::from(request_log))
        .app_data(Data::from(gate))
        .app_data(Data::from(tokens))
        .app_data(Data::from(timer))
        .app_data(Data::new(trace::RequestObserver { clock, ids, rejections: shared.rejections }))
        .app_data(Data::new(shared.large_bodies))
        .app_data(Data::new(ListenAddress(shared.address)))
        .app_data(Data::new(BaseUrl(base_url)))
        .app_data(Data::new(AnnounceCursors(announce_cursors)))
        .app_data(Data::new(health))
        .app_data(Data::new(details))
        .configure(routes::configure)
        .wrap(from_fn(state_gate::require_state))
        .wrap(from_fn(auth::authenticate))
        .wrap(from_fn(head::serve_as_get))
        .wrap(from_fn(request_record::note_refusal))
        .wrap(from_fn(without_chunks::end_with_connection))
        .wrap(from_fn(trace::observe))
        .wrap(from_fn(drain::drain_unread_body))
        .wrap(from_fn(plain_path::route_plainly))
}

/// A server on `listener`. It starts when the returned value is awaited, and leaves signals to the caller.
pub fn server(listener: TcpListener, edge: HttpDeps, workers: usize) -> std::io::Result<Server> {
    let shared = SharedByWorkers {
        address: listener.local_addr()?,
        rejections: Arc::default(),
        large_bodies: LargeBodies::default(),
    };
    serving::serve(listener, workers, move || app(edge.clone(), shared.clone()))
}

/// A server that says of everything but the host's probe that the settings are not in order. (A process that ended instead
/// would take the Functions host with it, after three starts.)
pub fn server_not_configured(
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
) -> std::io::Result<Server> {
    let probe: HealthProbe = Arc::new(|| {
        [("status", UNAVAILABLE), ("configuration", "not in order; the log says what is missing")]
            .map(|(name, text)| (name.to_owned(), text.into()))
            .into_iter()
            .collect()
    });
    serving::serve(listener, 1, move || {
        let app = App::new().app_data(Data::new(probe.clone())).configure(routes::configure_not_configured);
        let (clock, ids) = (clock.clone(), ids.clone());
        app.app_data(Data::new(trace::RequestObserver { clock, ids, rejections: Arc::default() }))
            .wrap(from_fn(head::serve_as_get))
            .wrap(from_fn(trace::observe))
            .wrap(from_fn(drain::drain_unread_body))
    })
}
