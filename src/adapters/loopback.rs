//! A transport that sends every request to one loopback address, whatever host it names.
//!
//! The clients of Azure's SDK insist on https and on the real host names (the Key Vault client checks that its challenge
//! comes from the vault's own domain). With this transport they reach a service on this machine: only the route of a
//! request changes, not its content. [`ORIGINAL_HOST`] carries the host that it was meant for.

use super::call_observer::{CallObserver, observe};
use super::rest::{RestError, is_loopback, pooled_client};
use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, Context, HttpClient, Request, Transport, Url};
use std::sync::Arc;

/// The host, and the port if it is not the usual one, that a request was meant for.
pub const ORIGINAL_HOST: &str = "x-original-host";

/// A transport to `origin`, which must lie on a loopback address; its path is ignored. `observer` watches the calls. A rustls provider
/// must be installed in the process before.
pub fn loopback_transport(origin: &Url, observer: Option<CallObserver>) -> Result<Transport, RestError> {
    if !is_loopback(origin) || !matches!(origin.scheme(), "http" | "https") {
        return Err(RestError::NotLoopback { url: origin.to_string() });
    }
    let transport = observe(pooled_client(origin)?, observer);
    Ok(Transport::new(Arc::new(Loopback { origin: origin.clone(), transport })))
}

#[derive(Debug)]
struct Loopback {
    origin: Url,
    transport: Transport,
}

impl Loopback {
    /// The same request to the other address. The caller's request is not changed: the pipeline may send it again.
    fn redirected(&self, request: &Request) -> Request {
        let mut redirected = request.clone();
        redirected.insert_header(ORIGINAL_HOST, authority(request.url()));
        let mut url = self.origin.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        *redirected.url_mut() = url;
        redirected
    }
}

#[async_trait]
impl HttpClient for Loopback {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.transport.send(&Context::new(), &mut self.redirected(request)).await
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::http::Method;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn transport(origin: &str) -> Result<Transport, RestError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        loopback_transport(&Url::parse(origin).unwrap(), None)
    }

    #[test]
    fn only_a_loopback_address_is_an_origin() {
        for origin in ["http://127.0.0.1:1", "http://[::1]:1", "https://localhost:1"] {
            assert!(transport(origin).is_ok(), "{origin}");
        }
        for origin in
            ["https://v.vault.azure.net", "http://127.0.0.1.example:1", "http://10.0.0.1", "ftp://127.0.0.1"]
        {
            assert!(matches!(transport(origin), Err(RestError::NotLoopback { .. })), "{origin}");
        }
    }

    #[tokio::test]
    async fn a_request_arrives_with_its_path_and_the_host_it_was_meant_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                seen.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
            String::from_utf8(seen).unwrap()
        });
        let url = Url::parse("https://name.vault.azure.net/secrets/a%20b/?api-version=1&x=%2F").unwrap();
        let mut request = Request::new(url.clone(), Method::Get);

        let answer = transport(&origin).unwrap().send(&Context::new(), &mut request).await.unwrap();

        assert_eq!(u16::from(answer.status()), 204);
        let seen = server.join().unwrap();
        assert!(seen.starts_with("GET /secrets/a%20b/?api-version=1&x=%2F HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("x-original-host: name.vault.azure.net\r\n"), "{seen}");
        assert_eq!(request.url(), &url, "the caller's request is not touched");
    }
}
