//! One request pipeline for every Azure service that we speak to ourselves: bearer token, transport, request ids.
//!
//! It retries nothing but one read after a 401, follows no redirect and judges no status: what an answer means is for
//! the client of each service to say. It knows no timeout either; every caller stands under its own.

use crate::ports::clock::Clock;
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, Headers};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{
    AsyncResponseBody, ClientOptions, Context, Method, Pipeline, PipelineStreamOptions, Request,
    RetryOptions, StatusCode, Transport, Url,
};
use azure_core::{Bytes, Error};
use futures_util::StreamExt;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// An answer larger than this is not read to its end.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A token is renewed this long before it runs out.
const TOKEN_RENEW_BEFORE: time::Duration = time::Duration::minutes(5);
/// How long a pooled connection may idle: shorter than Azure's front ends keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(45);
/// Longest text of a cause that is passed on.
const CAUSE_CHARS_MAX: usize = 200;

/// Why a pipeline cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// A token must not travel in the clear.
    #[error("{url} is neither https nor plain http on a loopback address")]
    Insecure { url: String },
    /// Only services on this machine are reached by such a transport.
    #[error("{url} is not http or https on a loopback address")]
    NotLoopback { url: String },
    /// The HTTP client does not start.
    #[error("the http client cannot be built")]
    Transport {
        #[source]
        source: reqwest::Error,
    },
}

/// Nothing came back that is an HTTP answer. Whether the request arrived is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NoAnswer {
    pub detail: String,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
    headers: Headers,
}

impl Answer {
    /// A header by its lower-case name.
    pub fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get_optional_str(&HeaderName::from_static(name))
    }
}

/// Everything a pipeline needs.
pub struct RestOptions {
    pub credential: Arc<dyn TokenCredential>,
    /// The audience of the token, as `https://management.azure.com/.default`.
    pub token_scope: String,
    /// Says when a token has to be renewed.
    pub clock: Arc<dyn Clock>,
    /// Whatever carries requests instead of a pooled client of our own.
    pub transport: Option<Transport>,
}

/// A pipeline to one service.
#[derive(Debug, Clone)]
pub struct Rest {
    pipeline: Pipeline,
}

impl Rest {
    /// Builds the pipeline for requests below `endpoint`. A rustls provider must be installed in the process before.
    pub fn new(endpoint: &Url, options: RestOptions) -> Result<Self, RestError> {
        if !may_carry_token(endpoint) {
            return Err(RestError::Insecure { url: endpoint.to_string() });
        }
        let transport = match options.transport {
            Some(transport) => transport,
            None => pooled_client(is_loopback(endpoint))?,
        };
        let client = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(transport),
            ..ClientOptions::default()
        };
        let bearer = Bearer {
            credential: options.credential,
            scope: options.token_scope,
            clock: options.clock,
            cached: Mutex::new(None),
        };
        let pipeline = Pipeline::new(
            Some(env!("CARGO_PKG_NAME")),
            Some(env!("CARGO_PKG_VERSION")),
            client,
            Vec::new(),
            vec![Arc::new(bearer)],
            None,
        );
        Ok(Self { pipeline })
    }

    /// Sends one request and reads the whole answer.
    pub async fn send(&self, mut request: Request) -> Result<Answer, NoAnswer> {
        let unchecked = PipelineStreamOptions { skip_checks: true, ..PipelineStreamOptions::default() };
        let answer = self
            .pipeline
            .stream(&Context::new(), &mut request, Some(unchecked))
            .await
            .map_err(|error| NoAnswer { detail: describe(&error) })?;
        let (status, headers, body) = answer.deconstruct();
        Ok(Answer { status: status.into(), headers, body: read(body).await? })
    }
}

/// A connection pool of ours: no redirects, and no proxy between us and a loopback address.
pub(super) fn pooled_client(loopback: bool) -> Result<Transport, RestError> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true);
    if loopback {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|source| RestError::Transport { source })?;
    Ok(Transport::new(Arc::new(client)))
}

async fn read(mut body: AsyncResponseBody) -> Result<Bytes, NoAnswer> {
    let mut whole = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| NoAnswer { detail: describe(&error) })?;
        if whole.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(NoAnswer { detail: "the answer is too large".to_owned() });
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

/// The kind of failure and its innermost cause; the layers between name URLs and say nothing more.
fn describe(error: &Error) -> String {
    let what = match error.kind() {
        ErrorKind::Connection => "no connection",
        ErrorKind::Io => "the connection broke",
        ErrorKind::Credential => "no token",
        _ => "the request failed",
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause: String = cause.to_string().chars().take(CAUSE_CHARS_MAX).collect();
    format!("{what}: {cause}")
}

fn may_carry_token(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Puts the token on a request. `azure_core` has such a policy, but it refuses plain http everywhere and lets a 401 stand.
struct Bearer {
    credential: Arc<dyn TokenCredential>,
    scope: String,
    clock: Arc<dyn Clock>,
    cached: Mutex<Option<AccessToken>>,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Bearer {
    async fn authorize(&self, request: &mut Request) -> azure_core::Result<()> {
        let token = self.token().await?;
        request.insert_header(AUTHORIZATION, format!("Bearer {}", token.token.secret()));
        Ok(())
    }

    /// The cached token, or a fresh one. A renewal that fails is forgiven as long as the old token is good.
    async fn token(&self) -> azure_core::Result<AccessToken> {
        let mut cached = self.cached.lock().await;
        let now = self.clock.now();
        if let Some(token) = cached.as_ref().filter(|token| token.expires_on > now + TOKEN_RENEW_BEFORE) {
            return Ok(token.clone());
        }
        match (self.credential.get_token(&[&self.scope], None).await, cached.as_ref()) {
            (Ok(fresh), _) => Ok(cached.insert(fresh).clone()),
            (Err(_), Some(old)) if old.expires_on > now => Ok(old.clone()),
            (Err(error), _) => Err(Error::with_error(ErrorKind::Credential, error, "failed to get a token")),
        }
    }

    async fn forget(&self) {
        *self.cached.lock().await = None;
    }
}

#[async_trait]
impl Policy for Bearer {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if !may_carry_token(request.url()) {
            return Err(Error::with_message(ErrorKind::Other, "a token is not sent in the clear"));
        }
        let Some((transport, rest)) = next.split_first() else {
            return Err(Error::with_message(ErrorKind::Other, "the pipeline has no transport"));
        };
        self.authorize(request).await?;
        let answer = transport.send(ctx, request, rest).await?;
        if answer.status() != StatusCode::Unauthorized {
            return Ok(answer);
        }
        self.forget().await;
        if request.method() != Method::Get {
            return Ok(answer);
        }
        self.authorize(request).await?;
        transport.send(ctx, request, rest).await
    }
}
