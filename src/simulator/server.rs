//! The server: each service listens on a port of its own, and with a certificate on a second one over TLS.
//!
//! HTTP/1.1 only. The web framework's own TLS would bring HTTP/2 with it.

use super::control;
use super::control::simulator_handle::SimulatorHandle;
use super::services::{AzureService, Entrance};
use super::wire;
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::App;
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Longer than a client keeps an idle connection, so that no call meets one that is just being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long the client may take to close a connection after the last answer on it.
const LINGER: Duration = Duration::from_secs(1);
/// A body of a request: the largest is a blob that is written whole.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a client may take to agree on keys.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Routes that the caller adds under `/control`.
pub type ExtraRoutes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// A listener for each entrance, and its port.
pub struct Listeners {
    pub listeners: BTreeMap<Entrance, TcpListener>,
    pub ports: BTreeMap<Entrance, u16>,
}

impl Listeners {
    /// On loopback. Only ARM without TLS can have a certain port; 0 picks a free one.
    pub fn open(arm_port: u16, with_tls: bool) -> io::Result<Self> {
        let mut opened = Self { listeners: BTreeMap::new(), ports: BTreeMap::new() };
        for service in AzureService::ALL {
            let port = if service == AzureService::Arm { arm_port } else { 0 };
            opened.add(Entrance { service, over_tls: false }, port)?;
            if with_tls {
                opened.add(Entrance { service, over_tls: true }, 0)?;
            }
        }
        Ok(opened)
    }

    fn add(&mut self, entrance: Entrance, port: u16) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        self.ports.insert(entrance, listener.local_addr()?.port());
        self.listeners.insert(entrance, listener);
        Ok(())
    }
}

/// One server for all entrances, because each server costs threads.
pub fn serve(
    listeners: BTreeMap<Entrance, TcpListener>,
    azure: &SimulatorHandle,
    extra_routes: Option<&ExtraRoutes>,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> io::Result<Server> {
    let acceptor = tls.map(TlsAcceptor::from);
    let mut server = Server::build().workers(1).disable_signals();
    for (entrance, listener) in listeners {
        let (azure, extra) = (azure.clone(), extra_routes.cloned());
        server = match acceptor.clone().filter(|_| entrance.over_tls) {
            None => server.listen("simulated-azure", listener, move || {
                fn_service(accept).and_then(http(entrance, azure.clone(), extra.clone()))
            })?,
            Some(acceptor) => server.listen("simulated-azure-tls", listener, move || {
                let acceptor = acceptor.clone();
                fn_service(move |io| accept_tls(acceptor.clone(), io)).and_then(http(
                    entrance,
                    azure.clone(),
                    extra.clone(),
                ))
            })?,
        };
    }
    Ok(server.run())
}

/// What the web framework reads a connection from.
type Connection<T> = (T, Protocol, Option<SocketAddr>);

async fn accept(io: TcpStream) -> Result<Connection<TcpStream>, DispatchError> {
    io.set_nodelay(true).map_err(DispatchError::Io)?;
    let peer = io.peer_addr().ok();
    Ok((io, Protocol::Http1, peer))
}

async fn accept_tls(
    acceptor: TlsAcceptor,
    io: TcpStream,
) -> Result<Connection<tokio_rustls::server::TlsStream<TcpStream>>, DispatchError> {
    let (io, protocol, peer) = accept(io).await?;
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(io)).await;
    let io = handshake.map_err(io::Error::from).flatten().map_err(DispatchError::Io)?;
    Ok((io, protocol, peer))
}

/// The routes of an entrance over a stream of bytes.
fn http<T: AsyncRead + AsyncWrite + Unpin + 'static>(
    entrance: Entrance,
    azure: SimulatorHandle,
    extra_routes: Option<ExtraRoutes>,
) -> impl ServiceFactory<Connection<T>, Config = (), Response = (), Error = DispatchError, InitError = ()> {
    let control = web::scope("/control")
        .wrap(from_fn(control::origin_guard::refuse_other_sites))
        .configure(control::http_api::routes)
        .configure(move |config| extra_routes.iter().for_each(|add| add(config)))
        .default_service(web::to(control::http_api::unknown));
    let everything_else = web::to(wire::endpoint);
    let app = App::new().app_data(web::Data::new(azure)).app_data(web::Data::new(entrance));
    let app = app.app_data(web::PayloadConfig::new(BODY_BYTES_MAX));
    let app = app.service(control).route("/{path:.*}", everything_else).into_factory();
    HttpService::build()
        .keep_alive(KEEP_ALIVE)
        .client_disconnect_timeout(LINGER)
        .finish(map_config(app.map_err(|error| error.error_response()), |()| AppConfig::default()))
}
