//! The HTTP edge: what arrives is authenticated, read strictly and handed to one service; what leaves is SCIM.
//!
//! Only this folder knows the web framework. [`app`] is the whole application: the routes exist nowhere without the
//! authentication around them.

pub mod auth;
mod body;
mod discovery;
mod error;
mod functions;
mod groups;
mod health;
#[cfg(feature = "local")]
pub mod inspect;
mod query;
mod respond;
mod routes;
mod streaming;
mod strict_json;
mod trace;
mod users;

pub use functions::Timer;
pub use health::{DEGRADED, HealthProbe, UNAVAILABLE};

use crate::ports::{clock::Clock, ids::Ids};
use crate::service::Provisioning;
use crate::service::tokens::Tokens;
use actix_web::body::BoxBody;
use actix_web::dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web::Data};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// How long an idle connection stays open: longer than the Functions host and most proxies keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long requests under way may take to end once the server is told to stop.
const SHUTDOWN_SECONDS: u64 = 10;

/// Everything that the edge is given.
#[derive(Clone)]
pub struct Edge {
    pub provisioning: Arc<Provisioning>,
    pub tokens: Arc<Tokens>,
    pub timer: Arc<Timer>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    /// The public address, ends in `/scim/v2`. Never taken from a request.
    pub base_url: String,
    pub health: HealthProbe,
}

/// The public address, for the endpoints that print it.
struct BaseUrl(String);

/// The whole application, for a server or for a test.
pub fn app(
    edge: Edge,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let Edge { provisioning, tokens, timer, clock, ids, base_url, health } = edge;
    App::new()
        .app_data(Data::from(provisioning))
        .app_data(Data::from(tokens))
        .app_data(Data::from(timer))
        .app_data(Data::new(trace::Observer { clock, ids }))
        .app_data(Data::new(BaseUrl(base_url)))
        .app_data(Data::new(health))
        .configure(routes::configure)
        .wrap(from_fn(auth::authenticate))
        .wrap(from_fn(trace::observe))
}

/// A server on `listener`. It starts when the returned value is awaited, and leaves signals to the caller.
pub fn server(listener: TcpListener, edge: Edge, workers: usize) -> std::io::Result<Server> {
    let server = HttpServer::new(move || app(edge.clone())).workers(workers);
    Ok(server
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// A server that says of everything but the host's probe that the settings are not in order. (A process that ended instead
/// would take the Functions host with it, after three starts.)
pub fn server_not_configured(listener: TcpListener) -> std::io::Result<Server> {
    let probe: HealthProbe = Arc::new(|| {
        [("status", UNAVAILABLE), ("configuration", "not in order; the log says what is missing")]
            .map(|(name, text)| (name.to_owned(), text.into()))
            .into_iter()
            .collect()
    });
    let server = HttpServer::new(move || {
        App::new().app_data(Data::new(probe.clone())).configure(routes::configure_not_configured)
    });
    Ok(server.workers(1).keep_alive(KEEP_ALIVE).disable_signals().listen(listener)?.run())
}
