//! The HTTP server: the web framework over [`TimedConnection`]s, with a limit on their number.

use super::connection::{KEEP_ALIVE, TimedConnection};
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, ServiceResponse};
use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::time::Duration;
use tokio::net::TcpStream;

/// Open connections, idle ones included; further ones wait in the backlog. The host may have 500 requests in flight, and a
/// process often has no more than 1,024 file descriptors.
const CONNECTIONS_MAX: usize = 800;
/// How long the head of the first request may take.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the framework reads on before it closes a connection whose request was not read to its end.
const LINGER: Duration = Duration::from_secs(1);
/// How long requests under way may take to end once the server has to stop.
const SHUTDOWN_SECONDS: u64 = 10;

/// A server with one app from `factory` per worker. It starts when the returned value is awaited, and leaves signals to the
/// caller.
pub(super) fn serve<F, I, S, B>(listener: TcpListener, workers: usize, factory: F) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let connect = || {
        fn_service(|io: TcpStream| {
            let peer = io.peer_addr().ok();
            ready(Ok::<_, DispatchError>((TimedConnection::new(io), Protocol::Http1, peer)))
        })
    };
    let http = move || {
        let app = factory().into_factory().map_err(|error| error.error_response());
        let http = HttpService::build()
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(FIRST_HEAD_TIMEOUT)
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(|connection: &TimedConnection, data| {
                data.insert(connection.handle());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        connect().and_then(http)
    };
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(CONNECTIONS_MAX / workers)
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .disable_signals();
    Ok(server.listen("http", listener, http)?.run())
}
