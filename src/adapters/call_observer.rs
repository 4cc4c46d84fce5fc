//! Watches the calls to one dependency: whether it is reached, and if not, why. The call itself is not changed.

use super::rest::{RestError, parse_url, pooled_client};
use super::unreachable::unreachable_kind;
use crate::events::log_event;
use crate::ports::clock::Clock;
use crate::ports::connectivity::{Connectivity, ConnectivityChange, Dependency, UnreachableKind};
use async_trait::async_trait;
use azure_core::Bytes;
use azure_core::http::headers::{CONTENT_TYPE, Headers};
use azure_core::http::{AsyncRawResponse, AsyncResponseBody, Context, HttpClient, Request, Transport};
use futures_util::stream::{self, Stream, StreamExt};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A call that its caller gives up after this long has timed out. Before, the caller went away for a reason of its own.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(2);
/// From this status on an answer may be of a gateway in front of Azure.
const GATEWAY_STATUS: u16 = 500;

/// What is known of one dependency, and where it is kept.
#[derive(Clone)]
pub struct CallObserver {
    pub dependency: Dependency,
    pub connectivity: Arc<Connectivity>,
    pub clock: Arc<dyn Clock>,
}

/// `transport`, whose calls `observer` watches.
pub(super) fn observe(transport: Transport, observer: Option<CallObserver>) -> Transport {
    match observer {
        Some(observer) => Transport::new(Arc::new(ObservedTransport { observer, transport })),
        None => transport,
    }
}

impl CallObserver {
    /// A pooled client for that endpoint, whose calls this observer watches.
    pub fn pooled(self, endpoint: &str) -> Result<Transport, RestError> {
        Ok(observe(pooled_client(&parse_url(endpoint)?)?, Some(self)))
    }

    fn record(&self, failure: Option<UnreachableKind>, origin: &str, cause: &str) {
        let change = self.connectivity.record(self.dependency, failure, self.clock.monotonic());
        let Some(change) = change else { return };
        let dependency = self.dependency.as_str();
        match change {
            ConnectivityChange::Lost => {
                let kind = failure.map(UnreachableKind::as_str);
                log_event!(
                    DependencyUnreachable,
                    dependency,
                    kind,
                    origin,
                    cause,
                    "a dependency cannot be reached"
                );
            }
            ConnectivityChange::Back(after) => {
                let after_s = after.as_secs();
                log_event!(DependencyReached, dependency, origin, after_s, "a dependency is reached again");
            }
        }
    }
}

struct ObservedTransport {
    observer: CallObserver,
    transport: Transport,
}

impl fmt::Debug for ObservedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedTransport")
            .field("dependency", &self.observer.dependency)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for ObservedTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut call = CallInFlight {
            observer: self.observer.clone(),
            origin: request.url().origin().ascii_serialization(),
            began: Some(self.observer.clock.monotonic()),
            is_awaited: true,
        };
        let answer = match self.transport.send(&Context::new(), &mut request.clone()).await {
            Ok(answer) => answer,
            Err(error) => {
                call.fail(&error);
                return Err(error);
            }
        };
        let (status, headers, body) = answer.deconstruct();
        match answer_origin(self.observer.dependency, status.into(), &headers) {
            AnswerOrigin::Azure => {
                return Ok(AsyncRawResponse::new(status, headers, Box::pin(observed(body, call))));
            }
            AnswerOrigin::Unknown => call.began = None,
            AnswerOrigin::Foreign => {
                call.end(Some(UnreachableKind::NotAzure), &format!("status {}", u16::from(status)));
            }
        }
        Ok(AsyncRawResponse::new(status, headers, Box::pin(body)))
    }
}

/// The body of an answer. Only with its end is the dependency reached: a proxy may let through what is short.
fn observed(body: AsyncResponseBody, call: CallInFlight) -> impl Stream<Item = azure_core::Result<Bytes>> {
    stream::unfold((body, call), |(mut body, mut call)| async move {
        call.is_awaited = true;
        let chunk = body.next().await;
        // Who drops a body between two chunks does not want the rest.
        call.is_awaited = false;
        match chunk {
            Some(Ok(chunk)) => Some((Ok(chunk), (body, call))),
            Some(Err(error)) => {
                call.fail(&error);
                Some((Err(error), (body, call)))
            }
            None => {
                call.end(None, "");
                None
            }
        }
    })
}

/// A call that has not ended yet. Callers end a call that takes too long by dropping it.
struct CallInFlight {
    observer: CallObserver,
    origin: String,
    began: Option<Duration>,
    /// Something is to come of the dependency.
    is_awaited: bool,
}

impl CallInFlight {
    fn fail(&mut self, error: &azure_core::Error) {
        let (kind, cause) = unreachable_kind(error);
        self.end(Some(kind), &cause);
    }

    /// Only the first end counts.
    fn end(&mut self, failure: Option<UnreachableKind>, cause: &str) {
        if self.began.take().is_some() {
            self.observer.record(failure, &self.origin, cause);
        }
    }
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        let now = self.observer.clock.monotonic();
        if self.is_awaited && self.began.is_some_and(|began| now.saturating_sub(began) >= GIVEN_UP_AFTER) {
            self.end(Some(UnreachableKind::TimedOut), "given up");
        }
    }
}

/// Who gave an answer, as far as its head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerOrigin {
    Azure,
    /// A proxy, a sign-in page, another program on the port.
    Foreign,
    /// A gateway, which may be Azure's own.
    Unknown,
}

/// Every service of Azure names the request in its answers (`x-ms-…`), and answers with a page only where its gateway has trouble, from
/// 500 on. The identity endpoint names nothing. Facts: F-168.
pub(super) fn answer_origin(dependency: Dependency, status: u16, headers: &Headers) -> AnswerOrigin {
    let content_type = headers.get_optional_str(&CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let is_page = content_type.starts_with("text/html") || content_type.starts_with("application/xhtml");
    let is_named = headers.iter().any(|(name, _)| name.as_str().starts_with("x-ms-"));
    match !is_page && (is_named || dependency == Dependency::Identity) {
        true => AnswerOrigin::Azure,
        false if status >= GATEWAY_STATUS => AnswerOrigin::Unknown,
        false => AnswerOrigin::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::SystemClock;
    use super::super::unreachable::{UnresolvedName, called_host};
    use super::*;
    use azure_core::http::{Method, Url};
    use reqwest::dns::{Name, Resolve, Resolving};
    use std::io::{self, Write};
    use std::sync::Mutex;

    /// No name has an address.
    struct NoNames;

    impl Resolve for NoNames {
        fn resolve(&self, name: Name) -> Resolving {
            let detail = io::Error::other("Name or service not known");
            let error = UnresolvedName { name: name.as_str().to_owned(), detail };
            Box::pin(std::future::ready(Err(error.into())))
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_name_that_is_not_found_is_logged_and_known() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(NoNames)).build().unwrap();
        let connectivity = Arc::new(Connectivity::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let observer = CallObserver {
            dependency: Dependency::KeyVault,
            connectivity: connectivity.clone(),
            clock: clock.clone(),
        };
        let transport = observe(Transport::new(Arc::new(client)), Some(observer));
        let mut request = Request::new(Url::parse("https://vault.example/secrets").unwrap(), Method::Get);
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _guard = tracing::subscriber::set_default(lines);

        let error = transport.send(&Context::new(), &mut request).await.err().unwrap();

        assert_eq!(called_host(&error).as_deref(), Some("vault.example"));
        let known = connectivity.latest(clock.monotonic())[&Dependency::KeyVault].unwrap();
        assert_eq!(known.kind, UnreachableKind::NameNotFound);
        let line = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        for part in
            ["a dependency cannot be reached", "name-not-found", "https://vault.example", "service not known"]
        {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}
