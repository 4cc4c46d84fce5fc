//! What kind of failure a call ended with that got no answer. The kinds are in the causes of the client's error, some layers deep.

use super::server_certificate::RejectedCertificate;
use crate::ports::connectivity::UnreachableKind;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::io;
use std::net::SocketAddr;

/// Longest text of a cause that is passed on.
const CAUSE_CHARS_MAX: usize = 500;

/// The kind of failure, and its innermost cause; the layers between only repeat URLs.
pub(super) fn unreachable_kind(error: &(dyn Error + 'static)) -> (UnreachableKind, String) {
    let mut kind = None;
    let mut cause = error;
    loop {
        kind = kind.or_else(|| kind_of(cause));
        match inner(cause) {
            Some(next) => cause = next,
            None => break,
        }
    }
    let text = cause.to_string().chars().take(CAUSE_CHARS_MAX).collect();
    (kind.unwrap_or(UnreachableKind::Broken), text)
}

/// The next cause. An `io::Error` hides the one that it holds, whose source is its `source`; an error of TLS hides the certificate.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(certificate) = error.downcast_ref().and_then(RejectedCertificate::of) {
        return Some(certificate);
    }
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(held) => Some(held),
        None => error.source(),
    }
}

fn kind_of(error: &(dyn Error + 'static)) -> Option<UnreachableKind> {
    if let Some(error) = error.downcast_ref::<NameNotFound>() {
        return Some(error.kind());
    }
    if let Some(certificate) = error.downcast_ref::<RejectedCertificate>() {
        return Some(certificate.kind);
    }
    if error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout) {
        return Some(UnreachableKind::TimedOut);
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(UnreachableKind::Refused),
        io::ErrorKind::TimedOut => Some(UnreachableKind::TimedOut),
        _ => None,
    }
}

/// A name without an address. The innermost cause: what the system says does not name it.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {detail}")]
struct NameNotFound {
    name: String,
    detail: io::Error,
}

impl NameNotFound {
    /// Only the text tells that the name servers gave no answer: glibc's, and musl's.
    fn kind(&self) -> UnreachableKind {
        let text = self.detail.to_string();
        match text.contains("Temporary failure") || text.contains("Try again") {
            true => UnreachableKind::TimedOut,
            false => UnreachableKind::NameNotFound,
        }
    }
}

/// The names as the system resolves them, with an error that can be told from the other ones.
pub(super) struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map_err(|detail| NameNotFound { name: name.as_str().to_owned(), detail })?;
            let addresses: Vec<SocketAddr> = found.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::http::{Context, Method, Request, Transport, Url};
    use std::sync::Arc;

    /// No name has an address.
    struct NoNames;

    impl Resolve for NoNames {
        fn resolve(&self, name: Name) -> Resolving {
            let detail = io::Error::other("no such host");
            let error = NameNotFound { name: name.as_str().to_owned(), detail };
            Box::pin(std::future::ready(Err(error.into())))
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told_from_a_host_that_is_away() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(NoNames)).build().unwrap();
        let transport = Transport::new(Arc::new(client));
        let mut request = Request::new(Url::parse("https://vault.example/secrets").unwrap(), Method::Get);
        let error = transport.send(&Context::new(), &mut request).await.err().unwrap();
        let found = unreachable_kind(&error);
        assert_eq!(found, (UnreachableKind::NameNotFound, "vault.example: no such host".to_owned()));
    }

    #[test]
    fn name_servers_that_do_not_answer_say_nothing_about_the_name() {
        let detail =
            io::Error::other("failed to lookup address information: Temporary failure in name resolution");
        let error = NameNotFound { name: "vault.example".to_owned(), detail };
        assert_eq!(unreachable_kind(&error).0, UnreachableKind::TimedOut);
    }

    #[tokio::test]
    async fn the_names_are_those_of_the_system() {
        let found = SystemNames.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(found.into_iter().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_cause_is_found_however_deep_it_is() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = io::Error::other(io::Error::other(refused));
        assert_eq!(unreachable_kind(&error).0, UnreachableKind::Refused);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(unreachable_kind(&reset).0, UnreachableKind::Broken);
    }
}
