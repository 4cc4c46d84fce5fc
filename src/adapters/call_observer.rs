//! Watches the calls to one dependency: whether it is reached, and if not, why. The call itself is not changed.

use super::rest::{RestError, is_loopback, pooled_client};
use super::unreachable::unreachable_kind;
use crate::ports::clock::Clock;
use crate::ports::connectivity::{Connectivity, ConnectivityChange, Dependency, UnreachableKind};
use async_trait::async_trait;
use azure_core::http::headers::{CONTENT_TYPE, Headers};
use azure_core::http::{AsyncRawResponse, Context, HttpClient, Request, Transport, Url};
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

/// `transport`, whose calls an observer is told of.
pub(super) fn observe(transport: Transport, observer: Option<CallObserver>) -> Transport {
    match observer {
        Some(observer) => Transport::new(Arc::new(ObservedTransport { observer, transport })),
        None => transport,
    }
}

impl CallObserver {
    /// A pooled client for that endpoint, whose calls this observer is told of.
    pub fn pooled(self, endpoint: &str) -> Result<Transport, RestError> {
        let loopback = Url::parse(endpoint).is_ok_and(|url| is_loopback(&url));
        Ok(observe(pooled_client(loopback)?, Some(self)))
    }

    fn record(&self, failure: Option<UnreachableKind>, request: &Request, cause: &str) {
        let change = self.connectivity.record(self.dependency, failure, self.clock.monotonic());
        let Some(change) = change else { return };
        let dependency = self.dependency.as_str();
        let origin = request.url().origin().ascii_serialization();
        match change {
            ConnectivityChange::Lost => {
                let kind = failure.map(UnreachableKind::as_str);
                tracing::warn!(dependency, kind, origin, cause, "a dependency cannot be reached");
            }
            ConnectivityChange::Back(after) => {
                let after_s = after.as_secs();
                tracing::info!(dependency, origin, after_s, "a dependency is reached again");
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
        let mut call =
            CallInFlight { observer: &self.observer, request, began: Some(self.observer.clock.monotonic()) };
        let outcome = self.transport.send(&Context::new(), &mut request.clone()).await;
        call.began = None;
        let (failure, cause) = match &outcome {
            Ok(answer) => {
                match is_azure(self.observer.dependency, answer.status().into(), answer.headers()) {
                    true => (None, String::new()),
                    false => {
                        (Some(UnreachableKind::NotAzure), format!("status {}", u16::from(answer.status())))
                    }
                }
            }
            Err(error) => {
                let (kind, cause) = unreachable_kind(error);
                (Some(kind), cause)
            }
        };
        self.observer.record(failure, request, &cause);
        outcome
    }
}

/// A call that has not ended yet. Callers end a call that takes too long by dropping it.
struct CallInFlight<'a> {
    observer: &'a CallObserver,
    request: &'a Request,
    began: Option<Duration>,
}

impl Drop for CallInFlight<'_> {
    fn drop(&mut self) {
        let Some(began) = self.began else { return };
        if self.observer.clock.monotonic().saturating_sub(began) >= GIVEN_UP_AFTER {
            self.observer.record(Some(UnreachableKind::TimedOut), self.request, "given up");
        }
    }
}

/// Every service of Azure names the request in its answer (`x-ms-…`); from 500 on it may be a gateway's that does not. The identity
/// endpoint names nothing. Facts: F-168.
fn is_azure(dependency: Dependency, status: u16, headers: &Headers) -> bool {
    let is_named = || headers.iter().any(|(name, _)| name.as_str().starts_with("x-ms-"));
    !is_page(headers) && (dependency == Dependency::Identity || status >= GATEWAY_STATUS || is_named())
}

/// A page for people, as proxies and sign-ins show it. No service of Azure answers with one.
pub(super) fn is_page(headers: &Headers) -> bool {
    headers.get_optional_str(&CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"))
}
