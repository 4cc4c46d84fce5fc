//! One request pipeline for the Azure services that have no client of the SDK: authorization, transport, request ids.
//!
//! It retries nothing but one read after a 401, follows no redirect and interprets no status: what an answer means is up
//! to the client of each service. It has no timeout either; every caller sets its own.

use super::server_certificate;
use super::unreachable::{SystemNames, called_host, unreachable_kind};
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
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

/// An answer larger than this is not read to its end.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A token is renewed this long before it runs out.
const TOKEN_RENEW_BEFORE: time::Duration = time::Duration::minutes(5);
/// How long a call waits for a renewal while the old token is still good.
const RENEW_WAIT: Duration = Duration::from_secs(1);
/// Between two renewals that are tried while the old token is still good.
const RENEW_PAUSE: Duration = Duration::from_secs(15);
/// How long a pooled connection may idle: shorter than Azure's front ends keep theirs.
const POOL_IDLE: Duration = Duration::from_secs(45);
/// No service is further ahead than this.
const YEAR_MAX: i32 = 9000;
/// RFC 9110 5.6.7, the form that everybody must send.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
/// Longer than any error code that ARM or Graph is known to use.
const CODE_CHARS_MAX: usize = 100;

/// Why a pipeline cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// A token or a signature must not travel in the clear.
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
    /// The certificates that the system trusts cannot be read.
    #[error("tls cannot be set up; the authorities are those of the system, or of SSL_CERT_FILE")]
    Tls {
        #[source]
        source: rustls::Error,
    },
}

/// Nothing came back that is an HTTP answer. Whether the request arrived is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NoAnswer {
    pub detail: String,
    /// There is one, and it is longer than the caller takes.
    pub too_large: bool,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct RestAnswer {
    pub status: u16,
    pub body: Bytes,
    headers: Headers,
}

impl RestAnswer {
    /// A header by its lower-case name.
    pub fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get_optional_str(&HeaderName::from_static(name))
    }

    /// The error code of ARM and of Graph: `error.code` of a JSON body.
    pub fn error_code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let code = body.pointer("/error/code")?.as_str()?;
        let plain = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        (plain && !code.is_empty() && code.len() <= CODE_CHARS_MAX).then(|| code.to_owned())
    }

    /// The service's clock.
    pub fn date(&self) -> Option<OffsetDateTime> {
        http_date(self.header("date")?)
    }

    /// How long the service asks us to stay away: seconds, or a moment that counts from the answer's own `Date`, so
    /// that no local clock is involved.
    pub fn retry_after(&self) -> Option<Duration> {
        let asked = self.header("retry-after")?.trim();
        match asked.parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => Some(Duration::try_from(http_date(asked)? - self.date()?).unwrap_or_default()),
        }
    }
}

/// Reads the form of RFC 9110 5.6.7 that everybody must send.
fn http_date(text: &str) -> Option<OffsetDateTime> {
    let date = PrimitiveDateTime::parse(text.trim(), HTTP_DATE).ok()?.assume_utc();
    // Sums with a time of the end of days overflow.
    (date.year() <= YEAR_MAX).then_some(date)
}

/// A moment in the form of RFC 9110 5.6.7.
pub(super) fn to_http_date(moment: OffsetDateTime) -> Option<String> {
    moment.to_offset(UtcOffset::UTC).format(HTTP_DATE).ok()
}

/// Everything a pipeline needs.
pub struct RestOptions {
    pub credential: Arc<dyn TokenCredential>,
    /// The audience of the token, as `https://management.azure.com/.default`.
    pub token_scope: String,
    /// Decides when a token must be renewed.
    pub clock: Arc<dyn Clock>,
    /// Whatever carries requests instead of a pooled client of our own.
    pub transport: Option<Transport>,
}

/// A pipeline to one service.
#[derive(Debug, Clone)]
pub struct RestClient {
    pipeline: Pipeline,
}

impl RestClient {
    /// A pipeline that sends a token, for requests below `endpoint`. A rustls provider must be installed in the process
    /// before.
    pub fn new(endpoint: &Url, options: RestOptions) -> Result<Self, RestError> {
        let bearer = Bearer {
            credential: options.credential,
            scope: options.token_scope,
            clock: options.clock,
            held: Arc::default(),
        };
        Self::authorized(endpoint, Arc::new(bearer), options.transport)
    }

    /// The same with another way to authorize a request: `authorization` sees every send.
    pub(super) fn authorized(
        endpoint: &Url,
        authorization: Arc<dyn Policy>,
        transport: Option<Transport>,
    ) -> Result<Self, RestError> {
        if !may_carry_secret(endpoint) {
            return Err(RestError::Insecure { url: endpoint.to_string() });
        }
        let transport = match transport {
            Some(transport) => transport,
            None => pooled_client(endpoint)?,
        };
        let client = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(transport),
            ..ClientOptions::default()
        };
        let pipeline = Pipeline::new(
            Some(env!("CARGO_PKG_NAME")),
            Some(env!("CARGO_PKG_VERSION")),
            client,
            Vec::new(),
            vec![authorization],
            None,
        );
        Ok(Self { pipeline })
    }

    /// Sends one request and reads the whole answer.
    pub async fn send(&self, request: Request) -> Result<RestAnswer, NoAnswer> {
        self.send_within(request, ANSWER_BYTES_MAX).await
    }

    /// The same, of an answer that has at most so many bytes.
    pub async fn send_within(&self, mut request: Request, bytes_max: usize) -> Result<RestAnswer, NoAnswer> {
        let unchecked = PipelineStreamOptions { skip_checks: true, ..PipelineStreamOptions::default() };
        let answer = self
            .pipeline
            .stream(&Context::new(), &mut request, Some(unchecked))
            .await
            .map_err(|error| NoAnswer { detail: describe(&error), too_large: false })?;
        let (status, headers, body) = answer.deconstruct();
        Ok(RestAnswer { status: status.into(), headers, body: read(body, bytes_max).await? })
    }
}

/// A connection pool of ours to `endpoint`: no redirects, and no proxy between us and a loopback address. Plain http needs no
/// authorities, which a small container may lack.
pub(super) fn pooled_client(endpoint: &Url) -> Result<Transport, RestError> {
    let tls = match endpoint.scheme() {
        "https" => server_certificate::client_config(),
        _ => server_certificate::client_config_without_authorities(),
    };
    let tls = tls.map_err(|source| RestError::Tls { source })?;
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(SystemNames))
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true);
    if is_loopback(endpoint) {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|source| RestError::Transport { source })?;
    Ok(Transport::new(Arc::new(client)))
}

/// The whole of an answer, unless it is longer than that.
pub(super) async fn read(mut body: AsyncResponseBody, bytes_max: usize) -> Result<Bytes, NoAnswer> {
    let mut whole = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| NoAnswer { detail: describe(&error), too_large: false })?;
        if whole.len() + chunk.len() > bytes_max {
            return Err(NoAnswer { detail: "the answer is too large".to_owned(), too_large: true });
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

/// The host, the kind of failure and its innermost cause; the layers between only repeat URLs. For the log and for operators.
pub(super) fn describe(error: &Error) -> String {
    // It is described already.
    if let Some(described) = error.downcast_ref::<NoAnswer>() {
        return described.detail.clone();
    }
    let (kind, cause) = unreachable_kind(error);
    let at = called_host(error).map(|host| format!("{host}: ")).unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::Connection | ErrorKind::Io => kind.in_words(),
        ErrorKind::Credential => "no token",
        _ => "the request failed",
    };
    format!("{at}{what}: {cause}")
}

/// The address of a next page. It is requested with our token, so it must have the origin of the endpoint.
pub(super) fn link_at(endpoint: &Url, link: &str) -> Option<Url> {
    Url::parse(link).ok().filter(|url| url.origin() == endpoint.origin())
}

/// An endpoint as it is configured.
pub(super) fn parse_url(text: &str) -> Result<Url, RestError> {
    Url::parse(text).map_err(|_| RestError::Insecure { url: text.to_owned() })
}

/// Over TLS, or to this machine.
pub(super) fn may_carry_secret(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Puts the token on a request. The policy of `azure_core` rejects plain http everywhere, and keeps the token after a 401.
struct Bearer {
    credential: Arc<dyn TokenCredential>,
    scope: String,
    clock: Arc<dyn Clock>,
    held: Arc<Mutex<Held>>,
}

/// The token that is sent.
#[derive(Default)]
struct Held {
    token: Option<AccessToken>,
    /// No renewal is tried before, as long as the token is good; by the monotonic clock.
    renew_after: Duration,
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

    /// The token that is held, or a fresh one. While the old one is valid, no request waits long for its renewal: an
    /// identity endpoint that is away or hangs takes nothing from a service that still has a token.
    async fn token(&self) -> azure_core::Result<AccessToken> {
        let mut held = self.held.clone().lock_owned().await;
        let now = self.clock.now();
        let uptime = self.clock.monotonic();
        let Some(good) = held.token.clone().filter(|token| token.expires_on > now) else {
            // Other requests wait for this renewal.
            return self.renew(Some(held)).await;
        };
        if good.expires_on > now + TOKEN_RENEW_BEFORE || uptime < held.renew_after {
            return Ok(good);
        }
        held.renew_after = uptime + RENEW_PAUSE;
        drop(held);
        Ok(timeout(RENEW_WAIT, self.renew(None)).await.ok().and_then(Result::ok).unwrap_or(good))
    }

    /// A fresh token, which is kept. The request continues if its caller goes away, so that a slow answer is still used.
    async fn renew(&self, held: Option<OwnedMutexGuard<Held>>) -> azure_core::Result<AccessToken> {
        let credential = self.credential.clone();
        let scope = self.scope.clone();
        let kept = self.held.clone();
        let renewal = tokio::spawn(async move {
            let fresh = credential.get_token(&[&scope], None).await?;
            let mut held = match held {
                Some(held) => held,
                None => kept.lock_owned().await,
            };
            Ok(held.token.insert(fresh).clone())
        });
        let ended = renewal.await.unwrap_or_else(|_| {
            Err(Error::with_message(ErrorKind::Credential, "the renewal ended before its time"))
        });
        ended.map_err(|error| Error::with_error(ErrorKind::Credential, error, "failed to get a token"))
    }

    /// Drops the token: the service rejected it.
    async fn forget(&self) {
        self.held.lock().await.token = None;
    }
}

#[async_trait]
impl Policy for Bearer {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if !may_carry_secret(request.url()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::credentials::{Secret, TokenRequestOptions};
    use std::sync::atomic::{AtomicU32, Ordering};

    fn answer(headers: &[(&'static str, &'static str)]) -> RestAnswer {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.insert(*name, *value);
        }
        RestAnswer { status: 503, body: Bytes::new(), headers: all }
    }

    #[track_caller]
    fn check(retry_after: &'static str, date: &'static str, expected: Option<u64>) {
        let answer = answer(&[("retry-after", retry_after), ("date", date)]);
        assert_eq!(answer.retry_after(), expected.map(Duration::from_secs));
    }

    #[test]
    fn a_wait_is_seconds_or_counts_from_the_date_of_the_answer() {
        let now = "Wed, 25 Nov 2026 11:00:00 GMT";
        check(" 7 ", now, Some(7));
        check("Wed, 25 Nov 2026 11:00:17 GMT", now, Some(17));
        check("Thu, 26 Nov 2026 00:00:00 GMT", now, Some(13 * 3600));
        check("Wed, 25 Nov 2026 10:59:00 GMT", now, Some(0));
        check("soon", now, None);
        check("Wed, 25 Nov 2026 11:00:17 GMT", "today", None);
    }

    /// An identity endpoint that takes its time, and counts.
    #[derive(Debug)]
    struct Slow {
        takes: Duration,
        asked: AtomicU32,
    }

    #[async_trait]
    impl TokenCredential for Slow {
        async fn get_token(
            &self,
            _scopes: &[&str],
            _options: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            Ok(AccessToken::new(Secret::new(format!("token-{number}")), START + LASTS))
        }
    }

    const START: OffsetDateTime = time::macros::datetime!(2026-11-25 12:00 UTC);
    const LASTS: time::Duration = time::Duration::HOUR;

    /// The runtime's own clock, which these tests pause.
    struct Paused(tokio::time::Instant);

    impl Clock for Paused {
        fn now(&self) -> OffsetDateTime {
            START + self.0.elapsed()
        }
        fn monotonic(&self) -> Duration {
            self.0.elapsed()
        }
    }

    fn bearer(takes_seconds: u64) -> (Bearer, Arc<Slow>) {
        let slow = Arc::new(Slow { takes: Duration::from_secs(takes_seconds), asked: AtomicU32::new(0) });
        let clock = Arc::new(Paused(tokio::time::Instant::now()));
        let bearer = Bearer { credential: slow.clone(), scope: "x".to_owned(), clock, held: Arc::default() };
        (bearer, slow)
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_comes_late_is_there_for_the_next_call() {
        let (bearer, slow) = bearer(7);
        // A call of six seconds gives up, and so does the one behind it.
        for _ in 0..2 {
            assert!(timeout(Duration::from_secs(3), bearer.token()).await.is_err());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let token = timeout(Duration::from_millis(1), bearer.token()).await.unwrap().unwrap();
        assert_eq!((token.token.secret(), slow.asked.load(Ordering::SeqCst)), ("token-0", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_a_renewal_while_the_token_is_good() {
        let (bearer, slow) = bearer(7);
        bearer.token().await.unwrap();
        tokio::time::sleep(Duration::from_secs(56 * 60)).await;
        let began = tokio::time::Instant::now();
        let calls = (0..20).map(|_| bearer.token());
        let tokens = futures_util::future::join_all(calls).await;
        assert!(tokens.iter().all(|token| token.as_ref().unwrap().token.secret() == "token-0"));
        assert_eq!((began.elapsed(), slow.asked.load(Ordering::SeqCst)), (RENEW_WAIT, 2));
    }

    #[test]
    fn a_date_is_written_as_it_is_read() {
        let text = "Wed, 25 Nov 2026 11:00:07 GMT";
        assert_eq!(to_http_date(http_date(text).unwrap()).unwrap(), text);
    }
}
