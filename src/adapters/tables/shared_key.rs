//! The signature of a shared key for the table service: made for every send, with the time of that send.
//!
//! SharedKey for accounts; SharedKeyLite, which signs less, for development storage.

use super::connection_string::{ConnectionString, SignatureScheme};
use crate::adapters::rest::{may_carry_secret, to_http_date};
use crate::ports::clock::Clock;
use async_trait::async_trait;
use azure_core::Error;
use azure_core::base64;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, HeaderName};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use ring::hmac;
use std::fmt;
use std::sync::Arc;

/// Signs requests.
pub struct SharedKey {
    account: String,
    key: hmac::Key,
    scheme: SignatureScheme,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("account", &self.account).finish_non_exhaustive()
    }
}

impl SharedKey {
    pub fn new(connection: &ConnectionString, clock: Arc<dyn Clock>) -> Self {
        Self {
            account: connection.account().to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, connection.key()),
            scheme: connection.scheme(),
            clock,
        }
    }

    /// The text that is signed. The resource is the encoded path; of the query only `comp` counts, and we never send it.
    fn text(&self, request: &Request, date: &str) -> String {
        let resource = format!("/{}{}", self.account, request.url().path());
        match self.scheme {
            SignatureScheme::SharedKeyLite => format!("{date}\n{resource}"),
            SignatureScheme::SharedKey => {
                let content_type = HeaderName::from_static("content-type");
                let content_type = request.headers().get_optional_str(&content_type).unwrap_or_default();
                format!("{}\n\n{content_type}\n{date}\n{resource}", request.method().as_ref())
            }
        }
    }

    fn sign(&self, request: &mut Request) -> azure_core::Result<()> {
        let date = to_http_date(self.clock.now())
            .ok_or_else(|| Error::with_message(ErrorKind::Credential, "the time cannot be written"))?;
        let signature = hmac::sign(&self.key, self.text(request, &date).as_bytes());
        let scheme = match self.scheme {
            SignatureScheme::SharedKey => "SharedKey",
            SignatureScheme::SharedKeyLite => "SharedKeyLite",
        };
        let authorization = format!("{scheme} {}:{}", self.account, base64::encode(signature));
        request.insert_header("x-ms-date", date);
        request.insert_header(AUTHORIZATION, authorization);
        Ok(())
    }
}

#[async_trait]
impl Policy for SharedKey {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if !may_carry_secret(request.url()) {
            return Err(Error::with_message(ErrorKind::Other, "a signature is not sent in the clear"));
        }
        let Some((transport, rest)) = next.split_first() else {
            return Err(Error::with_message(ErrorKind::Other, "the pipeline has no transport"));
        };
        self.sign(request)?;
        transport.send(ctx, request, rest).await
    }
}
