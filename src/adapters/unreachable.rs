//! What kind of failure a call ended with that got no answer. The kinds are in the causes of the client's error, some layers deep.

use super::server_certificate::RejectedCertificate;
use crate::ports::connectivity::UnreachableKind;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::io;
use std::iter;
use std::net::SocketAddr;

/// Longest text of a cause that is passed on.
const CAUSE_CHARS_MAX: usize = 500;

/// The kind of failure, and its innermost cause; the layers between only repeat URLs.
pub(super) fn unreachable_kind(error: &(dyn Error + 'static)) -> (UnreachableKind, String) {
    let kind = causes(error).find_map(kind_of);
    let innermost = causes(error).last().unwrap_or(error);
    let text = innermost.to_string().chars().take(CAUSE_CHARS_MAX).collect();
    (kind.unwrap_or(UnreachableKind::Broken), text)
}

/// The host that was called, with the port if it is not the usual one.
pub(super) fn called_host(error: &(dyn Error + 'static)) -> Option<String> {
    let url = causes(error).find_map(|cause| cause.downcast_ref::<reqwest::Error>()?.url())?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// The error and its causes, from the outermost one inwards.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| inner(*error))
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
    if let Some(error) = error.downcast_ref::<UnresolvedName>() {
        return Some(error.kind());
    }
    if let Some(certificate) = error.downcast_ref::<RejectedCertificate>() {
        return Some(certificate.kind);
    }
    if error.downcast_ref::<ForeignAnswer>().is_some() {
        return Some(UnreachableKind::NotAzure);
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

/// An answer of another program in the place of a service.
#[derive(Debug, thiserror::Error)]
#[error("status {status}")]
pub(super) struct ForeignAnswer {
    pub status: u16,
}

/// A name whose address could not be found out. The innermost cause: what the system says does not name it.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {detail}")]
pub(super) struct UnresolvedName {
    pub name: String,
    pub detail: io::Error,
}

impl UnresolvedName {
    /// Only the text tells whether the name servers know the name: glibc's, musl's and that of macOS.
    fn kind(&self) -> UnreachableKind {
        let text = self.detail.to_string();
        let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
        if says(&["not known", "No address", "does not resolve", "no usable address"]) {
            UnreachableKind::NameNotFound
        } else if says(&["Temporary failure", "Try again"]) {
            UnreachableKind::TimedOut
        } else {
            UnreachableKind::Broken
        }
    }
}

/// The names as the system resolves them, with an error that can be told from the other ones.
pub(super) struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map_err(|detail| UnresolvedName { name: name.as_str().to_owned(), detail })?;
            let addresses: Vec<SocketAddr> = found.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_that_answer_say_that_a_name_is_not_found() {
        for (text, expected) in [
            (
                "failed to lookup address information: Name or service not known",
                UnreachableKind::NameNotFound,
            ),
            ("failed to lookup address information: Name does not resolve", UnreachableKind::NameNotFound),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                UnreachableKind::TimedOut,
            ),
            ("Too many open files (os error 24)", UnreachableKind::Broken),
        ] {
            let error = UnresolvedName { name: "vault.example".to_owned(), detail: io::Error::other(text) };
            assert_eq!(unreachable_kind(&error).0, expected, "{text}");
        }
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
